//! Measures how long the originator has been held back, and limits it.

use std::time::{Duration, Instant};

/// How long the originator may be held back for legs that are behind. It waits 30 s for a response
/// (RFC 4975 §7.1), and the remaining time is for the rest of its chunk.
pub const MAX_HOLD: Duration = Duration::from_secs(20);

/// A hold of this duration is logged; a slightly slow spool is not.
const NOTICE_AFTER: Duration = Duration::from_secs(1);

/// The timing of one message's holds.
#[derive(Debug, Default)]
pub(super) struct Hold {
    since: Option<Instant>,
    noticed: bool,
    /// When legs were last given up.
    relieved: Option<Instant>,
}

impl Hold {
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    pub(super) fn is_on(&self) -> bool {
        self.since.is_some()
    }

    pub(super) fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    pub(super) fn end(&mut self) {
        self.since = None;
    }

    /// Legs have been given up: the originator can be read from again.
    pub(super) fn relieved(&mut self, now: Instant) {
        self.relieved = Some(now);
        self.since = self.since.map(|_| now);
    }

    /// True once, when the hold has lasted long enough to be logged.
    pub(super) fn take_notice(&mut self, now: Instant) -> bool {
        let is_due = self.since.is_some_and(|since| now >= since + NOTICE_AFTER);
        is_due && !std::mem::replace(&mut self.noticed, true)
    }

    /// When the hold will have lasted too long, with `longest` as the limit.
    pub(super) fn until(&self, longest: Duration) -> Option<Instant> {
        let since = self.since?;
        let recently = |relieved: Instant| since < relieved + longest;
        // The previous hold has nearly used up the originator's time.
        match self.relieved.is_some_and(recently) {
            true => Some(since + longest / 4),
            false => Some(since + longest),
        }
    }

    /// The next deadline.
    pub(super) fn poll_timeout(&self, longest: Duration) -> Option<Instant> {
        let notice = self.since.filter(|_| !self.noticed);
        let notice = notice.map(|since| since + NOTICE_AFTER);
        notice.into_iter().chain(self.until(longest)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_hold_gets_what_the_first_has_left() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut hold = Hold::default();
        assert_eq!(hold.poll_timeout(MAX_HOLD), None);
        hold.begin(start);
        hold.begin(start + second / 2);
        assert_eq!(hold.poll_timeout(MAX_HOLD), Some(start + NOTICE_AFTER));
        assert!(!hold.take_notice(start));
        assert!(hold.take_notice(start + second) && !hold.take_notice(start + second));
        assert_eq!(hold.poll_timeout(MAX_HOLD), Some(start + MAX_HOLD));
        let relieved = start + MAX_HOLD;
        hold.relieved(relieved);
        hold.end();
        assert_eq!(hold.until(MAX_HOLD), None);
        hold.begin(relieved + second);
        // 26 s in all: the originator still waits.
        assert_eq!(hold.until(MAX_HOLD), Some(relieved + 6 * second));
        hold.end();
        let later = relieved + MAX_HOLD;
        hold.begin(later);
        assert_eq!(hold.until(MAX_HOLD), Some(later + MAX_HOLD));
    }
}
