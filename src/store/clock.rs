//! The wall clock, by which messages expire while no proxy runs, and what shows that it was set.
//!
//! A machine that starts without knowing the time accepts messages at a time long ago; once its
//! clock is set they would all have expired. The time since the machine has started shows by how
//! much the clock was set.

use std::fs;
use std::time::SystemTime;

use rustix::time::{ClockId, clock_gettime};

/// Differences below are no setting of the clock but its adjustment, and rounding.
const TOLERANCE_S: i64 = 2;

/// The wall clock of one start of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WallClock {
    /// Which start of the machine it is.
    pub(super) boot: String,
    /// What the clock said at that start, as Unix time in seconds, if it had gone right since.
    pub(super) started_s: i64,
}

impl WallClock {
    /// Now. `None`: the system does not say which start of the machine this is.
    pub(super) fn now() -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(WallClock {
            boot: boot.trim().to_owned(),
            started_s: started_s(),
        })
    }

    /// The same start of the machine by the clock as it is now.
    pub(super) fn read_again(&self) -> Self {
        WallClock {
            boot: self.boot.clone(),
            started_s: started_s(),
        }
    }

    /// By how many seconds the clock was set since `before`; 0: it was not, or the machine has
    /// been started meanwhile.
    pub(super) fn set_since(&self, before: &Self) -> i64 {
        let seconds = self.started_s - before.started_s;
        let is_set = self.boot == before.boot && seconds.abs() > TOLERANCE_S;
        if is_set { seconds } else { 0 }
    }
}

fn started_s() -> i64 {
    let running_s = clock_gettime(ClockId::Boottime).tv_sec;
    i64::try_from(unix_s()).unwrap_or(0) - running_s
}

/// Unix time in seconds.
pub(super) fn unix_s() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_was_set_counts() {
        let clock = |boot: &str, started_s| WallClock {
            boot: boot.to_owned(),
            started_s,
        };
        let before = clock("a", 1_000);
        for (now, seconds) in [
            (clock("a", 1_002), 0),
            (clock("a", 1_003), 3),
            (clock("a", 0), -1_000),
            (clock("b", 5_000), 0),
        ] {
            assert_eq!(now.set_since(&before), seconds, "{now:?}");
        }
        let now = WallClock::now().expect("this is Linux");
        assert_eq!(WallClock::now().map(|again| again.set_since(&now)), Some(0));
        assert_eq!(now.read_again().set_since(&now), 0);
    }
}
