//! One queue for all deadlines of the relay.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::msrp_control::SessionId;
use crate::msrp_session::ConnectionId;

/// The owner of a deadline. The owner itself checks what is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimerKey {
    Session(SessionId),
    Connection(ConnectionId),
    /// Listeners that could not accept.
    Accept,
}

/// An owner's entry in the queue, if it has one.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<(Instant, u64)>);

impl Timer {
    pub(super) fn is_armed(&self) -> bool {
        self.0.is_some()
    }
}

/// Each owner has at most one entry, which must be removed with it: an entry left behind wakes the
/// thread for nothing.
#[derive(Debug, Default)]
pub(super) struct Timers {
    entries: BTreeMap<(Instant, u64), TimerKey>,
    next: u64,
}

impl Timers {
    /// Arms `timer` for `at` unless it will already fire by then.
    pub(super) fn arm(&mut self, key: TimerKey, timer: &mut Timer, at: Instant) {
        if timer.0.is_none_or(|(armed, _)| at < armed) {
            self.disarm(timer);
            timer.0 = Some((at, self.next));
            self.entries.insert((at, self.next), key);
            self.next += 1;
        }
    }

    /// Removes the entry. Also needed after it has fired, so that it can be armed again.
    pub(super) fn disarm(&mut self, timer: &mut Timer) {
        if let Some(entry) = timer.0.take() {
            self.entries.remove(&entry);
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.entries.first_key_value().map(|((at, _), _)| *at)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The next due entry, which its owner must [`disarm`](Self::disarm).
    pub(super) fn pop(&mut self, now: Instant) -> Option<TimerKey> {
        let entry = self.entries.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_earliest_first_and_each_once() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut timers = Timers::default();
        let (mut a, mut b) = (Timer::default(), Timer::default());
        let of = |number| TimerKey::Connection(ConnectionId(number));
        timers.arm(of(1), &mut a, start + 3 * second);
        timers.arm(of(1), &mut a, start + 4 * second);
        timers.arm(of(2), &mut b, start + 2 * second);
        assert_eq!(timers.next(), Some(start + 2 * second));
        assert_eq!(timers.pop(start + second), None);
        let late = start + 9 * second;
        assert_eq!(timers.pop(late), Some(of(2)));
        assert_eq!(timers.pop(late), Some(of(1)));
        assert_eq!((timers.pop(late), timers.next()), (None, None));
        // Both have fired and can be armed again.
        timers.disarm(&mut a);
        timers.arm(of(1), &mut a, start + 5 * second);
        assert_eq!(timers.pop(late), Some(of(1)));
    }

    #[test]
    fn nothing_is_left_of_an_entry_that_is_moved_or_taken_out() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut timers = Timers::default();
        let mut timer = Timer::default();
        timers.arm(TimerKey::Accept, &mut timer, start + 3 * second);
        timers.arm(TimerKey::Accept, &mut timer, start + second);
        assert_eq!((timers.next(), timers.len()), (Some(start + second), 1));
        timers.disarm(&mut timer);
        timers.disarm(&mut timer);
        assert!(!timer.is_armed() && timers.next().is_none());
    }
}
