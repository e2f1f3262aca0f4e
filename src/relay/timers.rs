//! One queue for all deadlines of the relay.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::controlling::large_message_mode::SessionId;
use crate::session::ConnectionId;

/// Whose deadline it is. The owner looks itself at what is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimerKey {
    Session(SessionId),
    Connection(ConnectionId),
    /// Listeners that could not accept.
    Accept,
}

/// The owner keeps the time of its earliest entry and does not arm a later one; an entry that came to nothing fires all the same.
#[derive(Debug, Default)]
pub(super) struct Timers {
    entries: BTreeMap<(Instant, u64), TimerKey>,
    next: u64,
}

impl Timers {
    /// Arms `key` for `at` unless `armed` says that it will fire no later anyway.
    pub(super) fn arm(&mut self, key: TimerKey, armed: &mut Option<Instant>, at: Instant) {
        if armed.is_none_or(|armed| at < armed) {
            *armed = Some(at);
            self.entries.insert((at, self.next), key);
            self.next += 1;
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.entries.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next entry that is due, and for when it was.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, TimerKey)> {
        let entry = self.entries.first_entry()?;
        let at = entry.key().0;
        (at <= now).then(|| (at, entry.remove()))
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
        let (mut a, mut b) = (None, None);
        let of = |number| TimerKey::Connection(ConnectionId(number));
        timers.arm(of(1), &mut a, start + 3 * second);
        timers.arm(of(1), &mut a, start + 4 * second);
        timers.arm(of(2), &mut b, start + 2 * second);
        assert_eq!(timers.next(), Some(start + 2 * second));
        assert_eq!(timers.pop(start + second), None);
        let late = start + 9 * second;
        assert_eq!(timers.pop(late), Some((start + 2 * second, of(2))));
        assert_eq!(timers.pop(late), Some((start + 3 * second, of(1))));
        assert_eq!((timers.pop(late), timers.next()), (None, None));
    }
}
