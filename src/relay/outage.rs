//! When an outage is worth a line in the log: once when it begins, and once when it is over.

use std::time::{Duration, Instant};

/// Outages that follow each other sooner than this are one.
const QUIET: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Outage {
    is_on: bool,
    /// When it was last spoken of.
    said: Option<Instant>,
    /// The line that it has begun is waiting for the one that it is over.
    owed: bool,
}

impl Outage {
    /// It is there. True: it is new, and to be spoken of.
    pub(super) fn begins(&mut self, now: Instant) -> bool {
        let is_new = !std::mem::replace(&mut self.is_on, true);
        let is_time = self.said.is_none_or(|said| now >= said + QUIET);
        if is_new && is_time {
            self.said = Some(now);
            self.owed = true;
            return true;
        }
        false
    }

    /// It is over. True: to be spoken of.
    pub(super) fn ends(&mut self, now: Instant) -> bool {
        self.is_on = false;
        if std::mem::take(&mut self.owed) {
            self.said = Some(now);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outage_has_two_lines_and_flapping_no_more() {
        let start = Instant::now();
        let mut outage = Outage::default();
        assert!(!outage.ends(start));
        assert!(outage.begins(start) && !outage.begins(start + 2 * QUIET));
        assert!(outage.ends(start) && !outage.ends(start));
        assert!(!outage.begins(start) && !outage.ends(start));
        assert!(outage.begins(start + QUIET) && outage.ends(start + QUIET));
    }
}
