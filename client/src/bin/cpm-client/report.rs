//! Output of the program: for people, or as JSON.

use std::io::{IsTerminal as _, Write as _, stderr, stdout};

use cpm_wire::imdn::Notification;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::args::ProgressKind;
use crate::exit::Problem;

/// The output.
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

    /// Prints a line for people, or an object for scripts.
    pub(crate) fn say(&self, words: &str, object: Value) {
        let line = match self.json {
            true => object.to_string(),
            false if words.is_empty() => return,
            false => words.to_owned(),
        };
        self.bars.suspend(|| {
            // The output is closed: nothing to be done.
            let _ = writeln!(stdout(), "{line}");
        });
    }

    /// Only for scripts.
    pub(crate) fn tell(&self, object: Value) {
        self.say("", object);
    }

    /// Prints an error.
    pub(crate) fn problem(&self, problem: &Problem) {
        if self.json {
            self.tell(problem.json());
        } else {
            self.bars.suspend(|| {
                let _ = writeln!(stderr(), "cpm-client: {problem}");
            });
        }
    }

    /// A progress bar for this many bytes.
    pub(crate) fn bar(&self, name: &str, total: u64) -> Bar {
        let bar = match self.progress {
            ProgressKind::Auto => {
                let bar = self.bars.add(ProgressBar::new(total));
                set_template(&bar, WAITING_TEMPLATE);
                bar.set_prefix(name.to_owned());
                Some(bar)
            }
            ProgressKind::Plain | ProgressKind::None => None,
        };
        Bar {
            bar,
            plain: self.progress == ProgressKind::Plain,
            name: name.to_owned(),
            total: 0,
            told: None,
            noted: String::new(),
        }
    }
}

fn set_template(bar: &ProgressBar, template: &str) {
    // The templates are constants, and a test draws them.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
}

/// Leaves space for a word at the end on a terminal of 80 columns.
const TEMPLATE: &str = "{prefix:22!} [{bar:16}] {bytes:>10}/{total_bytes:10} {wide_msg}";
/// While the number of bytes is unknown: a recipient that is ringing.
const WAITING_TEMPLATE: &str = "{prefix:22!} {wide_msg}";

/// The progress of one transfer.
pub(crate) struct Bar {
    bar: Option<ProgressBar>,
    plain: bool,
    name: String,
    total: u64,
    /// The last tenth reported.
    told: Option<u64>,
    /// The last note after it.
    noted: String,
}

impl Bar {
    /// This many bytes are done. A total of 0: not known yet.
    pub(crate) fn set(&mut self, bytes: u64, total: u64) {
        if total == 0 {
            return;
        }
        if let Some(bar) = &self.bar {
            if self.total == 0 {
                set_template(bar, TEMPLATE);
            }
            bar.set_length(total);
            bar.set_position(bytes);
        }
        self.total = total;
        let tenth = bytes.saturating_mul(10) / total;
        if self.plain && self.told != Some(tenth) {
            self.told = Some(tenth);
            let percent = bytes.saturating_mul(100) / total;
            self.write(&format!("{percent:3} % of {total} bytes"));
        }
    }

    /// A note after the bar.
    pub(crate) fn note(&mut self, words: &str) {
        if self.noted == words {
            return;
        }
        words.clone_into(&mut self.noted);
        if let Some(bar) = &self.bar {
            bar.set_message(words.to_owned());
        }
        if self.plain {
            self.write(words);
        }
    }

    fn write(&self, words: &str) {
        // The output is closed: nothing to be done.
        let _ = writeln!(stderr(), "{:22} {words}", self.name);
    }

    /// Stops the bar.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

/// Prints a recipient's notification.
pub(crate) fn tell_notification(report: &Report, notification: &Notification) {
    let disposition = notification.disposition.as_str();
    let who = notification.recipient.as_deref().unwrap_or("somebody");
    let when = visible(&notification.date_time);
    report.say(
        &format!("  {}: {disposition}, {when}", visible(who)),
        json!({
            "event": "notification", "recipient": notification.recipient, "disposition": disposition,
            "date_time": notification.date_time, "imdn_message_id": notification.message_id,
        }),
    );
}

/// Received text for a terminal: without control characters.
pub(crate) fn visible(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_sound() {
        for template in [TEMPLATE, WAITING_TEMPLATE] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
