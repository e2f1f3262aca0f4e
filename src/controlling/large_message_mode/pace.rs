//! When the next INVITE of a session may be sent: limits on unanswered INVITEs and on INVITEs per
//! second (readings N36).

use std::time::{Duration, Instant};

use crate::controlling::large_mode_settings::LargeModeSettings;

/// INVITEs that are due within this time are sent together: a wake-up for each would cost more than
/// the INVITE.
const PORTION: Duration = Duration::from_millis(20);

/// The pace of one session's INVITEs.
#[derive(Debug)]
pub(super) struct Pace {
    most_unanswered: usize,
    unanswered: usize,
    /// Interval between INVITEs.
    gap: Duration,
    /// When the next one may be sent.
    due: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant, settings: &LargeModeSettings) -> Self {
        let per_second = settings.policy.legs_per_second;
        Pace {
            most_unanswered: settings.policy.max_parallel_legs.unwrap_or(usize::MAX),
            unanswered: 0,
            gap: per_second.map_or(Duration::ZERO, |n| Duration::from_secs(1) / n.max(1)),
            due: now,
        }
    }

    /// Whether an INVITE may be sent now. If so, it counts as sent and unanswered.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self.unanswered >= self.most_unanswered || now < self.due {
            return false;
        }
        self.unanswered += 1;
        // A delay of one portion is made up for, a longer pause is not.
        let portion_ago = now.checked_sub(PORTION).unwrap_or(now);
        self.due = self.due.max(portion_ago) + self.gap;
        true
    }

    /// An INVITE has its final answer, or has been given up.
    pub(super) fn answered(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
    }

    /// When the next INVITE becomes possible by time alone, if none is possible now. `None`: an
    /// answer must arrive first.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        (self.unanswered < self.most_unanswered).then(|| self.due.max(now + PORTION))
    }
}
