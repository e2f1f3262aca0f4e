//! What the program says: to people, or as JSON.

use std::io::{IsTerminal as _, Write as _, stderr, stdout};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::args::ProgressKind;
use crate::exit::Problem;

/// Where words and numbers go.
#[derive(Clone)]
pub(crate) struct Report {
    json: bool,
    progress: ProgressKind,
    bars: MultiProgress,
}

impl Report {
    pub(crate) fn new(json: bool, progress: ProgressKind) -> Self {
        let progress = match progress {
            ProgressKind::Auto if json || !stderr().is_terminal() => ProgressKind::None,
            other => other,
        };
        Self {
            json,
            progress,
            bars: MultiProgress::new(),
        }
    }

    /// Says something: a line for people, or an object for scripts.
    pub(crate) fn say(&self, words: &str, object: Value) {
        let line = match self.json {
            true => object.to_string(),
            false if words.is_empty() => return,
            false => words.to_owned(),
        };
        self.bars.suspend(|| {
            // Nobody listens any more: nothing to be done about it.
            let _ = writeln!(stdout(), "{line}");
        });
    }

    /// Only for scripts.
    pub(crate) fn tell(&self, object: Value) {
        self.say("", object);
    }

    /// Says what went wrong.
    pub(crate) fn problem(&self, problem: &Problem) {
        if self.json {
            self.tell(problem.json());
        } else {
            self.bars.suspend(|| {
                let _ = writeln!(stderr(), "cpm-client: {problem}");
            });
        }
    }

    /// A bar for so many bytes.
    pub(crate) fn bar(&self, name: &str, total: u64) -> Bar {
        let bar = match self.progress {
            ProgressKind::Auto => {
                let bar = self.bars.add(ProgressBar::new(total));
                // The template is a constant, and a test draws it.
                if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                    bar.set_style(style.progress_chars("=> "));
                }
                bar.set_prefix(name.to_owned());
                Some(bar)
            }
            ProgressKind::Plain | ProgressKind::None => None,
        };
        Bar {
            bar,
            plain: self.progress == ProgressKind::Plain,
            name: name.to_owned(),
            total,
            told: None,
        }
    }
}

const TEMPLATE: &str =
    "{prefix:24!} [{bar:30}] {bytes:>10}/{total_bytes} {bytes_per_sec:>12} {wide_msg}";

/// The progress of one transfer.
pub(crate) struct Bar {
    bar: Option<ProgressBar>,
    plain: bool,
    name: String,
    total: u64,
    /// The last tenth that was told.
    told: Option<u64>,
}

impl Bar {
    /// So many bytes are through.
    pub(crate) fn set(&mut self, bytes: u64, total: u64) {
        self.total = total;
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(bytes);
        }
        let tenth = bytes.saturating_mul(10).checked_div(total).unwrap_or(10);
        if self.plain && self.told != Some(tenth) {
            self.told = Some(tenth);
            let _ = writeln!(
                stderr(),
                "{:24} {:3} % of {total} bytes",
                self.name,
                bytes.saturating_mul(100).checked_div(total).unwrap_or(100)
            );
        }
    }

    /// A word behind the bar.
    pub(crate) fn note(&self, words: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(words.to_owned());
        }
    }

    /// It stands still from now on.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_sound() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
