//! When recipients that cannot be reached are tried again.

use super::isf_codes::StatusCodes;
use super::value::ParameterError;

/// Most steps of a schedule.
const MAX_STEPS: usize = 32;
/// Longest step, in seconds: a week.
const MAX_STEP_S: u32 = 7 * 86_400;

/// Deferred delivery.
#[derive(Clone, Debug, Default)]
pub struct Deferral {
    /// `deferred_codes`: the final codes after which the message waits for its recipient.
    pub codes: StatusCodes,
    /// `deferred_ttl`: seconds for which a message of the store is of use, unless its sender says
    /// fewer.
    pub ttl_s: usize,
    /// `deferred_retry`: seconds after each attempt; the last step repeats.
    pub steps_s: Vec<u32>,
    /// `deferred_delay`: seconds between a recipient's arrival and the next attempt.
    pub delay_s: usize,
    /// `deferred_max`: how many messages may wait for one recipient.
    pub most: usize,
    /// `deferred_large`: whether a large message is taken though all recipients are away.
    pub large: bool,
    /// `deferred_on_register`: whether the proxy's own registrar says who has arrived.
    pub on_register: bool,
}

/// Reads a schedule: seconds, separated by spaces or commas.
pub(super) fn steps(text: &str) -> Result<Vec<u32>, ParameterError> {
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let step = |word: &str| {
        let step = word.parse().ok();
        step.filter(|step| (1..=MAX_STEP_S).contains(step))
    };
    let steps: Option<Vec<u32>> = words.map(step).collect();
    steps
        .filter(|steps| (1..=MAX_STEPS).contains(&steps.len()))
        .ok_or(ParameterError::NotASchedule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_has_steps_of_a_second_to_a_week() {
        assert_eq!(steps("60, 300 1800"), Ok(vec![60, 300, 1_800]));
        assert_eq!(steps("604800"), Ok(vec![MAX_STEP_S]));
        let long = "1 ".repeat(MAX_STEPS + 1);
        for wrong in ["", " ", "0", "604801", "60 x", "-1", &long] {
            assert_eq!(steps(wrong), Err(ParameterError::NotASchedule), "{wrong}");
        }
    }
}
