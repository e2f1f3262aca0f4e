//! The messages that an agent has received: each once, with retransmissions counted. Waiting is by
//! event.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::message::Message;
use crate::sys;
use crate::way::Way;

/// A message together with where it came from.
#[derive(Debug, Clone)]
pub struct Received {
    message: Arc<Message>,
    way: Way,
    repetitions: Arc<AtomicUsize>,
}

impl Received {
    /// Its source, and the destination of an answer.
    pub fn way(&self) -> &Way {
        &self.way
    }

    /// The number of retransmissions so far.
    pub fn retransmissions(&self) -> usize {
        self.repetitions.load(Ordering::Acquire)
    }
}

impl Deref for Received {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    history: Vec<Received>,
    /// Indices into the history, oldest first.
    unread: Vec<usize>,
    seen: HashMap<String, usize>,
    barriers: u64,
}

impl Inbox {
    /// Records a message; `None` if it is a repetition of one that is here already.
    pub(crate) fn record(&self, message: Message, way: Way) -> Option<Received> {
        let key = transaction_key(&message);
        let mut state = self.lock();
        if let Some(&index) = key.as_ref().and_then(|key| state.seen.get(key)) {
            state.history[index]
                .repetitions
                .fetch_add(1, Ordering::AcqRel);
            self.changed.notify_all();
            return None;
        }
        let index = state.history.len();
        let received = Received {
            message: Arc::new(message),
            way,
            repetitions: Arc::default(),
        };
        state.history.push(received.clone());
        state.unread.push(index);
        if let Some(key) = key {
            state.seen.insert(key, index);
        }
        self.changed.notify_all();
        Some(received)
    }

    pub(crate) fn record_barrier(&self) {
        self.lock().barriers += 1;
        self.changed.notify_all();
    }

    pub(crate) fn barriers(&self) -> u64 {
        self.lock().barriers
    }

    /// Waits until more than `seen` barriers have come.
    pub(crate) fn wait_barrier(&self, seen: u64, timeout: Duration) -> bool {
        self.wait(timeout, |state| (state.barriers > seen).then_some(()))
            .is_some()
    }

    /// The oldest unread message that fits, marked as read; waits for it.
    pub(crate) fn take(
        &self,
        timeout: Duration,
        fits: impl Fn(&Message) -> bool,
    ) -> Option<Received> {
        self.wait(timeout, |state| {
            let position = state
                .unread
                .iter()
                .position(|&index| fits(&state.history[index]))?;
            let index = state.unread.remove(position);
            Some(state.history[index].clone())
        })
    }

    /// Waits until `received` has been retransmitted `times` times.
    pub(crate) fn wait_repeated(
        &self,
        received: &Received,
        times: usize,
        timeout: Duration,
    ) -> bool {
        self.wait(timeout, |_| {
            (received.retransmissions() >= times).then_some(())
        })
        .is_some()
    }

    /// Everything received since the start, read or not.
    pub(crate) fn history(&self) -> Vec<Received> {
        self.lock().history.clone()
    }

    /// The start lines of unread messages, for the message of a failing test.
    pub(crate) fn unread(&self) -> Vec<String> {
        let state = self.lock();
        let lines = state
            .unread
            .iter()
            .map(|&index| state.history[index].start_line());
        lines.map(str::to_owned).collect()
    }

    fn wait<T>(
        &self,
        timeout: Duration,
        mut found: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let mut result = None;
        let waiting = |state: &mut State| {
            result = found(state);
            result.is_none()
        };
        drop(
            self.changed
                .wait_timeout_while(self.lock(), timeout, waiting),
        );
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        sys::lock(&self.state)
    }
}

/// The identity of a message (RFC 3261 §17.1.3, §17.2.3); for a response with its status.
fn transaction_key(message: &Message) -> Option<String> {
    let branch = message.branch()?;
    let (number, method) = message.cseq()?;
    let via = message.header("Via")?.split(';').next()?;
    let tag = message.parameter("To", "tag").unwrap_or_default();
    let kind = message
        .status()
        .map_or_else(String::new, |status| format!("{status} {tag}"));
    Some(format!("{via} {branch} {number} {method} {kind}"))
}
