//! Figures of the service for Prometheus: numbers in memory that all processes share, each an
//! atomic word, and their text.
//!
//! ```text
//!  per mode: [responses by code] [time to response] [time to last end] [bytes]   [outcomes]
//! ```

use std::fmt::Write as _;

use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Relaxed;

/// Upper bounds of the histograms' buckets, in milliseconds: from what one recipient takes to the
/// longest time in which a sender is answered, and then to hours that a large message may take.
const BOUNDS_MS: [u64; 15] = [
    1, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 25_000, 60_000, 300_000, 3_600_000, 14_400_000,
];

/// Names of the modes, by their number here.
const MODES: [&str; 2] = ["pager", "large"];

/// Final status codes: 200 to 699.
const FIRST_CODE: u16 = 200;
const CODES: usize = 500;

/// The buckets, each with the observations between the bound before and its own; then what is
/// beyond the last, and the sum in milliseconds.
const HISTOGRAM_WORDS: usize = BOUNDS_MS.len() + 2;
const SUM: usize = BOUNDS_MS.len() + 1;

const RESPONSE: usize = CODES;
const LAST_END: usize = RESPONSE + HISTOGRAM_WORDS;
const BYTES: usize = LAST_END + HISTOGRAM_WORDS;
const MODE_WORDS: usize = BYTES + 1;
const OUTCOMES: usize = MODES.len() * MODE_WORDS;

/// How a recipient ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipientOutcome {
    /// It has the message.
    Delivered,
    /// It has finally failed.
    Failed,
    /// The operator's script left it out.
    Dropped,
}

impl RecipientOutcome {
    const ALL: [(Self, &str); 3] = [
        (RecipientOutcome::Delivered, "delivered"),
        (RecipientOutcome::Failed, "failed"),
        (RecipientOutcome::Dropped, "dropped"),
    ];
}

/// The figures. Clones are the same ones, and so is the copy that a fork makes.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    words: &'static [AtomicU64],
}

impl Figures {
    /// Their size in words.
    pub const WORDS: usize = OUTCOMES + RecipientOutcome::ALL.len();

    /// The figures in `words`, which are [`WORDS`](Self::WORDS) and all 0 before the first use.
    pub fn new(words: &'static [AtomicU64]) -> Self {
        debug_assert_eq!(words.len(), Self::WORDS);
        Figures { words }
    }

    fn of_mode(&self, is_large: bool) -> &'static [AtomicU64] {
        &self.words[usize::from(is_large) * MODE_WORDS..][..MODE_WORDS]
    }

    /// A sender has got this final response.
    pub fn count_response(&self, is_large: bool, code: u16) {
        let place = usize::from(code.saturating_sub(FIRST_CODE));
        if code >= FIRST_CODE && place < CODES {
            self.of_mode(is_large)[place].fetch_add(1, Relaxed);
        }
    }

    /// The sender of an accepted message has got its 2xx this long after its request.
    pub fn observe_response(&self, is_large: bool, milliseconds: u64) {
        observe(&self.of_mode(is_large)[RESPONSE..], milliseconds);
    }

    /// A recipient has ended.
    pub fn count_recipient(&self, outcome: RecipientOutcome) {
        self.words[OUTCOMES + outcome as usize].fetch_add(1, Relaxed);
    }

    /// All recipients of a message have ended, the last one this long after the request.
    pub fn observe_last_end(&self, is_large: bool, milliseconds: u64, bytes: u64) {
        let words = self.of_mode(is_large);
        observe(&words[LAST_END..], milliseconds);
        words[BYTES].fetch_add(bytes, Relaxed);
    }

    /// Content of the messages whose recipients have all ended.
    pub fn content_bytes(&self, is_large: bool) -> u64 {
        self.of_mode(is_large)[BYTES].load(Relaxed)
    }

    /// Prometheus's text (exposition format 0.0.4). `version`: that of the module.
    pub fn text(&self, version: &str) -> String {
        let mut text = String::with_capacity(8 * 1024);
        head(&mut text, "build_info", "gauge", "The module's version.");
        let _ = writeln!(text, "cpm_build_info{{version=\"{version}\"}} 1");
        head(
            &mut text,
            "responses_total",
            "counter",
            "Final responses to senders, by code.",
        );
        for (mode, words) in self.modes() {
            for (code, word) in (FIRST_CODE..).zip(&words[..CODES]) {
                let count = word.load(Relaxed);
                if count > 0 {
                    let _ = writeln!(
                        text,
                        "cpm_responses_total{{mode=\"{mode}\",code=\"{code}\"}} {count}"
                    );
                }
            }
        }
        head(
            &mut text,
            "recipients_total",
            "counter",
            "Recipients that have ended, by outcome.",
        );
        for (outcome, name) in RecipientOutcome::ALL {
            let count = self.words[OUTCOMES + outcome as usize].load(Relaxed);
            let _ = writeln!(text, "cpm_recipients_total{{outcome=\"{name}\"}} {count}");
        }
        self.histogram(
            &mut text,
            RESPONSE,
            "response_seconds",
            "Time from a request to its 202 or 200.",
        );
        self.histogram(
            &mut text,
            LAST_END,
            "last_end_seconds",
            "Time from a request to the end of its last recipient.",
        );
        head(
            &mut text,
            "content_bytes_total",
            "counter",
            "Content of the messages whose recipients have all ended.",
        );
        for (mode, is_large) in MODES.into_iter().zip([false, true]) {
            let bytes = self.content_bytes(is_large);
            let _ = writeln!(text, "cpm_content_bytes_total{{mode=\"{mode}\"}} {bytes}");
        }
        text
    }

    fn modes(&self) -> impl Iterator<Item = (&'static str, &'static [AtomicU64])> {
        MODES.into_iter().zip(self.words.chunks_exact(MODE_WORDS))
    }

    fn histogram(&self, text: &mut String, place: usize, name: &str, help: &str) {
        head(text, name, "histogram", help);
        for (mode, words) in self.modes() {
            let words = &words[place..][..HISTOGRAM_WORDS];
            let mut count = 0;
            for (bound, word) in BOUNDS_MS.into_iter().zip(words) {
                count += word.load(Relaxed);
                let le = seconds(bound);
                let _ = writeln!(
                    text,
                    "cpm_{name}_bucket{{mode=\"{mode}\",le=\"{le}\"}} {count}"
                );
            }
            count += words[BOUNDS_MS.len()].load(Relaxed);
            let _ = writeln!(
                text,
                "cpm_{name}_bucket{{mode=\"{mode}\",le=\"+Inf\"}} {count}"
            );
            let sum = seconds(words[SUM].load(Relaxed));
            let _ = writeln!(text, "cpm_{name}_sum{{mode=\"{mode}\"}} {sum}");
            let _ = writeln!(text, "cpm_{name}_count{{mode=\"{mode}\"}} {count}");
        }
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP cpm_{name} {help}\n# TYPE cpm_{name} {kind}");
}

fn observe(histogram: &[AtomicU64], milliseconds: u64) {
    let bucket = BOUNDS_MS.partition_point(|bound| *bound < milliseconds);
    histogram[bucket].fetch_add(1, Relaxed);
    histogram[SUM].fetch_add(milliseconds, Relaxed);
}

/// Seconds with three decimals.
fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1_000, milliseconds % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let words: Vec<AtomicU64> = (0..Figures::WORDS).map(|_| AtomicU64::new(0)).collect();
        Figures::new(words.leak())
    }

    #[test]
    fn buckets_are_cumulative_and_bounds_belong_to_them() {
        let figures = figures();
        for milliseconds in [0, 1, 2, 25_000, 14_400_001] {
            figures.observe_response(false, milliseconds);
        }
        let text = figures.text("1");
        for line in [
            "cpm_response_seconds_bucket{mode=\"pager\",le=\"0.001\"} 2",
            "cpm_response_seconds_bucket{mode=\"pager\",le=\"0.005\"} 3",
            "cpm_response_seconds_bucket{mode=\"pager\",le=\"5.000\"} 3",
            "cpm_response_seconds_bucket{mode=\"pager\",le=\"25.000\"} 4",
            "cpm_response_seconds_bucket{mode=\"pager\",le=\"14400.000\"} 4",
            "cpm_response_seconds_bucket{mode=\"pager\",le=\"+Inf\"} 5",
            "cpm_response_seconds_sum{mode=\"pager\"} 14425.004",
            "cpm_response_seconds_count{mode=\"pager\"} 5",
            "cpm_response_seconds_count{mode=\"large\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    fn codes_and_outcomes_are_labels() {
        let figures = figures();
        for code in [199, 200, 202, 202, 699, 700, 0] {
            figures.count_response(true, code);
        }
        figures.count_recipient(RecipientOutcome::Failed);
        figures.observe_last_end(true, 10, 7);
        let text = figures.text("1.2.3");
        let responses = text
            .lines()
            .filter(|line| line.starts_with("cpm_responses"));
        assert_eq!(
            responses.collect::<Vec<_>>(),
            [
                "cpm_responses_total{mode=\"large\",code=\"200\"} 1",
                "cpm_responses_total{mode=\"large\",code=\"202\"} 2",
                "cpm_responses_total{mode=\"large\",code=\"699\"} 1",
            ]
        );
        for line in [
            "cpm_build_info{version=\"1.2.3\"} 1",
            "cpm_recipients_total{outcome=\"failed\"} 1",
            "cpm_recipients_total{outcome=\"delivered\"} 0",
            "cpm_content_bytes_total{mode=\"large\"} 7",
            "cpm_last_end_seconds_sum{mode=\"large\"} 0.010",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
