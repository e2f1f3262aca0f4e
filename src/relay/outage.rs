//! When to log an outage: once when it begins, and once when it ends.

use std::time::{Duration, Instant};

/// Outages in quicker succession than this are treated as one.
const QUIET: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Outage {
    is_on: bool,
    /// When it was last logged.
    said: Option<Instant>,
    /// Its beginning has been logged, its end has not.
    owed: bool,
}

impl Outage {
    /// The outage exists. True: it is new, and must be logged.
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

    /// The outage has ended. True: this must be logged.
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
