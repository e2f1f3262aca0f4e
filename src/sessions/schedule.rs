//! The order and time of the sessions' work: alarms, sessions with actions, and those that wait for
//! memory in the proxy.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::entry::Entry;
use crate::controlling::large_message_mode::SessionId;

/// Retry interval while the proxy lacks memory.
const ROOM_RETRY: Duration = Duration::from_millis(20);

/// When to call [`Sessions::work`](super::Sessions::work) again, if nothing happens before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// At once.
    Now,
    /// At this time.
    At(Instant),
    /// Only after an event.
    Never,
}

/// Decides which session is next.
#[derive(Debug)]
pub(super) struct Schedule {
    alarms: BTreeSet<(Instant, SessionId)>,
    /// Sessions with actions.
    busy: VecDeque<SessionId>,
    /// Sessions whose INVITE the proxy refused for lack of memory, and when to retry.
    crowded: Vec<SessionId>,
    crowded_until: Instant,
}

impl Schedule {
    pub(super) fn new(now: Instant) -> Self {
        Schedule {
            alarms: BTreeSet::new(),
            busy: VecDeque::new(),
            crowded: Vec::new(),
            crowded_until: now,
        }
    }

    /// Sets the alarm that its state machine requests.
    pub(super) fn set_alarm(&mut self, entry: &mut Entry) {
        let alarm = entry.machine.poll_timeout();
        if alarm != entry.alarm {
            self.end_alarm(entry);
            if let Some(alarm) = alarm {
                self.alarms.insert((alarm, entry.id()));
            }
            entry.alarm = alarm;
        }
    }

    pub(super) fn end_alarm(&mut self, entry: &Entry) {
        if let Some(alarm) = entry.alarm {
            self.alarms.remove(&(alarm, entry.id()));
        }
    }

    /// A session whose alarm is due.
    pub(super) fn next_alarm(&mut self, now: Instant) -> Option<SessionId> {
        let &(at, id) = self.alarms.first()?;
        if at > now {
            return None;
        }
        self.alarms.pop_first();
        Some(id)
    }

    /// The session has actions.
    pub(super) fn make_busy(&mut self, entry: &mut Entry) {
        if !entry.is_busy && !self.is_crowded(entry.id()) {
            entry.is_busy = true;
            self.busy.push_back(entry.id());
        }
    }

    pub(super) fn next_busy(&mut self) -> Option<SessionId> {
        self.busy.pop_front()
    }

    /// The session waits until the proxy may have memory again.
    pub(super) fn wait_for_room(&mut self, id: SessionId, now: Instant) {
        self.crowded.push(id);
        self.crowded_until = now + ROOM_RETRY;
    }

    pub(super) fn is_crowded(&self, id: SessionId) -> bool {
        self.crowded.contains(&id)
    }

    /// Those that may retry.
    pub(super) fn take_crowded(&mut self, now: Instant) -> Vec<SessionId> {
        if now < self.crowded_until {
            return Vec::new();
        }
        std::mem::take(&mut self.crowded)
    }

    /// A session is lost.
    pub(super) fn forget(&mut self, id: SessionId) {
        self.alarms.retain(|&(_, of)| of != id);
        self.busy.retain(|&of| of != id);
        self.crowded.retain(|&of| of != id);
    }

    pub(super) fn wake(&self) -> Wake {
        if !self.busy.is_empty() {
            return Wake::Now;
        }
        let alarm = self.alarms.first().map(|&(at, _)| at);
        let room = (!self.crowded.is_empty()).then_some(self.crowded_until);
        let next = alarm.into_iter().chain(room).min();
        next.map_or(Wake::Never, Wake::At)
    }
}
