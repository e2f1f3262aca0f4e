//! A part of a contest, for whoever changes the lane and wants to see the effect within a minute:
//!
//! ```text
//! QUICK=1 SIZES=1000 ROUNDS=15 CONTESTANTS="cpm,Lua script" BEFORE=/tmp/cpm.so \
//!     cargo run --release -p cpm-benches --features contestants fan_out
//! ```
//!
//! Another build of the module takes part as a contestant of its own: CPU time depends on what else
//! the machine does, so builds can be compared only within one run.

use std::env;
use std::path::PathBuf;
use std::str::FromStr;

use super::contestant::{self, Contestant};

/// The name of the other build among the contestants. It begins with ours, as all names of the
/// module do.
const BEFORE: &str = "cpm before";

/// What the environment leaves of a contest; all of it by default.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Trial {
    /// `SIZES`: numbers of recipients.
    sizes: Vec<usize>,
    /// `CONTESTANTS`: their names.
    contestants: Vec<String>,
    /// `BEFORE`: another build of the module.
    before: Option<PathBuf>,
    /// `ROUNDS`.
    rounds: Option<usize>,
    /// `MESSAGES`: outgoing requests in a round.
    messages: Option<usize>,
}

impl Trial {
    pub(super) fn of_environment() -> Self {
        Self::of(|name| env::var(name).ok())
    }

    /// # Panics
    /// If something that has to be a number is none.
    fn of(value_of: impl Fn(&str) -> Option<String>) -> Self {
        let list = |name| -> Vec<String> {
            let value = value_of(name).unwrap_or_default();
            let parts = value.split(',').map(str::trim);
            parts
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let numbers =
            |name| -> Vec<usize> { list(name).iter().map(|text| number(name, text)).collect() };
        Self {
            sizes: numbers("SIZES"),
            contestants: list("CONTESTANTS"),
            before: value_of("BEFORE").map(PathBuf::from),
            rounds: numbers("ROUNDS").pop(),
            messages: numbers("MESSAGES").pop(),
        }
    }

    /// The sizes that are measured.
    pub(super) fn sizes(&self, all: &[usize]) -> Vec<usize> {
        let is_wanted = |size: &usize| self.sizes.is_empty() || self.sizes.contains(size);
        all.iter().copied().filter(is_wanted).collect()
    }

    /// Rounds, and outgoing requests in each.
    pub(super) fn turns(&self, (rounds, messages): (usize, usize)) -> (usize, usize) {
        (
            self.rounds.unwrap_or(rounds),
            self.messages.unwrap_or(messages),
        )
    }

    /// The contestants that take part, ours first.
    pub(super) fn contestants(&self, all: Vec<Contestant>) -> Vec<Contestant> {
        let is_wanted = |one: &Contestant| {
            self.contestants.is_empty() || self.contestants.iter().any(|name| name == one.name)
        };
        let mut chosen: Vec<Contestant> = all.into_iter().filter(is_wanted).collect();
        if let Some(before) = &self.before {
            let place = chosen.len().min(1);
            let config = contestant::ours(before);
            chosen.insert(
                place,
                Contestant {
                    name: BEFORE,
                    config,
                },
            );
        }
        chosen
    }
}

fn number(name: &str, text: &str) -> usize {
    usize::from_str(text).unwrap_or_else(|_| panic!("{name}: {text} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_out_unless_it_is_asked_for() {
        let all = Trial::of(|_| None);
        assert_eq!(all, Trial::default());
        assert_eq!(all.sizes(&[10, 100]), [10, 100]);
        assert_eq!(all.turns((5, 6_000)), (5, 6_000));
        let some = Trial::of(|name| {
            let value = match name {
                "SIZES" => "100, 7",
                "ROUNDS" => "15",
                _ => return None,
            };
            Some(value.to_owned())
        });
        assert_eq!(some.sizes(&[10, 100]), [100]);
        assert_eq!(some.turns((5, 6_000)), (15, 6_000));
    }
}
