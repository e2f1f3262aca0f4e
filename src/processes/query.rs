//! An operator's questions, from any process that serves the command. The process that is asked
//! writes its answer to a memory file that all processes have from before the fork: an answer can
//! have any length, and none is kept.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};

use super::process::Process;
use super::proxy::Proxy;
use crate::operator::Gauge;

/// How long a command waits for its answer, and before that for its turn.
const WAIT_MS: u64 = 2_000;
/// Polling interval for the answer.
const LOOK: Duration = Duration::from_millis(1);

/// Result of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryResult {
    /// There is an answer.
    Answered,
    /// Nothing has that name.
    Unknown,
    /// The service does not have that function.
    Off,
    /// The process concerned is busy.
    NoAnswer,
    /// It cannot be done; the log says why.
    Refused,
}

/// Receives an answer. `false`: stop.
pub trait Visitor {
    /// A record begins.
    fn record(&mut self) -> bool;
    /// A part of the current record begins.
    fn part(&mut self) -> bool;
    /// A field.
    fn text(&mut self, name: &CString, value: &str) -> bool;
    /// A field that is a number.
    fn number(&mut self, name: &CString, value: u64) -> bool;
}

/// Prefix of a part's line.
const PART: &str = "leg=";
/// Longer numbers are shown as text: some commands would print them with decimals.
const MAX_DIGITS: usize = 9;

/// Visits lines of fields, `name=value` separated by tabs.
pub(super) fn visit(answer: &str, visitor: &mut dyn Visitor) {
    let mut is_in_record = false;
    for line in answer.lines() {
        let goes_on = if line.starts_with(PART) && is_in_record {
            visitor.part()
        } else {
            is_in_record = true;
            visitor.record()
        };
        if !goes_on {
            return;
        }
        for (name, value) in line.split('\t').filter_map(|field| field.split_once('=')) {
            // Names are our own, and contain no NUL.
            let name = CString::new(name).unwrap_or_default();
            let goes_on = match value.parse() {
                Ok(number) if value.len() <= MAX_DIGITS => visitor.number(&name, number),
                _ => visitor.text(&name, value),
            };
            if !goes_on {
                return;
            }
        }
    }
}

/// Where a question waits for its answer: one at a time.
///
/// ```text
/// Free --take--> Asked --answer--> Answered (there is one), Unknown --give back--> Free
/// ```
///
/// The word holds the state and the number of the question. An asking process gives up after a
/// while, and takes the desk from one that has held it too long: its process was killed.
#[derive(Debug)]
pub(super) struct Desk {
    word: &'static AtomicU64,
    file: File,
}

const FREE: u64 = 0;
const ASKED: u64 = 1;
const ANSWERED: u64 = 2;
const UNKNOWN: u64 = 3;
const STATES: u64 = 4;

impl Desk {
    pub(super) const WORDS: usize = 1;

    /// Before the fork.
    pub(super) fn new(word: &'static AtomicU64) -> io::Result<Self> {
        let file = memfd_create("cpm-answer", MemfdFlags::CLOEXEC)?;
        Ok(Desk {
            word,
            file: File::from(file),
        })
    }

    /// Asks this process, by the letter that bears the number of the question. The outer `None`:
    /// there was no answer; the inner one: nothing has that name.
    pub(super) fn ask(
        &self,
        process: Process,
        letter: impl FnOnce(u64) -> Vec<u8>,
        proxy: &dyn Proxy,
    ) -> Option<Option<String>> {
        let number = self.take(proxy)?;
        if !proxy.post(process, &letter(number)) {
            self.give_back(number, ASKED);
            return None;
        }
        let until = proxy.now_ms() + WAIT_MS;
        loop {
            let state = match self.word.load(Acquire) {
                word if word / STATES != number => return None,
                word => word % STATES,
            };
            match state {
                ANSWERED => {
                    let answer = self.read();
                    return self.give_back(number, ANSWERED).then_some(Some(answer?));
                }
                UNKNOWN => {
                    self.give_back(number, UNKNOWN);
                    return Some(None);
                }
                _ if proxy.now_ms() >= until && self.give_back(number, ASKED) => return None,
                _ => std::thread::sleep(LOOK),
            }
        }
    }

    /// The number of the question.
    fn take(&self, proxy: &dyn Proxy) -> Option<u64> {
        let mut until = proxy.now_ms() + WAIT_MS;
        let mut seen = self.word.load(Acquire);
        loop {
            let is_over = proxy.now_ms() >= until;
            if seen % STATES == FREE || is_over {
                let next = (seen / STATES).wrapping_add(1) % (u64::MAX / STATES);
                let taken =
                    self.word
                        .compare_exchange(seen, next * STATES + ASKED, AcqRel, Acquire);
                match taken {
                    Ok(_) => return Some(next),
                    Err(now) if is_over && now % STATES != FREE => {
                        seen = now;
                        until = proxy.now_ms() + WAIT_MS;
                        continue;
                    }
                    Err(now) => seen = now,
                }
            }
            std::thread::sleep(LOOK);
            let now = self.word.load(Acquire);
            if now / STATES != seen / STATES {
                // Another process has had a turn: the desk is in use, not abandoned.
                until = proxy.now_ms() + WAIT_MS;
            }
            seen = now;
        }
    }

    fn give_back(&self, number: u64, state: u64) -> bool {
        let word = number * STATES;
        let _ = self.file.set_len(0);
        self.word
            .compare_exchange(word + state, word + FREE, AcqRel, Acquire)
            .is_ok()
    }

    fn read(&self) -> Option<String> {
        let length = usize::try_from(self.file.metadata().ok()?.len()).ok()?;
        let mut answer = vec![0; length];
        self.file.read_exact_at(&mut answer, 0).ok()?;
        String::from_utf8(answer).ok()
    }

    /// Whether a process still waits for the answer to this question.
    pub(super) fn awaits(&self, number: u64) -> bool {
        self.word.load(Acquire) == number * STATES + ASKED
    }

    /// In the process that was asked. `None`: nothing has that name.
    pub(super) fn answer(&self, number: u64, answer: Option<&str>) {
        let state = match answer {
            None => UNKNOWN,
            Some(answer) => {
                let written = self.file.set_len(0).is_ok()
                    && self.file.write_all_at(answer.as_bytes(), 0).is_ok();
                if !written {
                    // Without an answer, the asking process times out.
                    return;
                }
                ANSWERED
            }
        };
        let word = number * STATES;
        let _ = self
            .word
            .compare_exchange(word + ASKED, word + state, AcqRel, Acquire);
    }
}

/// The gauges, visible to all processes.
#[derive(Debug)]
pub(super) struct SharedGauges(pub(super) &'static [AtomicU64]);

impl SharedGauges {
    pub(super) const WORDS: usize = Gauge::ALL.len();

    /// Only the sessions process writes them.
    pub(super) fn publish(&self, value_of: impl Fn(Gauge) -> u64) {
        for (word, gauge) in self.0.iter().zip(Gauge::ALL) {
            word.store(value_of(*gauge), Relaxed);
        }
    }

    pub(super) fn read(&self, gauge: Gauge) -> u64 {
        let word = self.0.get(gauge.number());
        word.map_or(0, |word| word.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controlling::large_message_mode::SessionId;
    use crate::sessions::Question;

    #[derive(Default)]
    struct Written(Vec<String>);

    impl Visitor for Written {
        fn record(&mut self) -> bool {
            self.0.push("record".to_owned());
            true
        }

        fn part(&mut self) -> bool {
            self.0.push("part".to_owned());
            true
        }

        fn text(&mut self, name: &CString, value: &str) -> bool {
            self.0.push(format!("{}={value:?}", name.to_string_lossy()));
            true
        }

        fn number(&mut self, name: &CString, value: u64) -> bool {
            self.0.push(format!("{}={value}", name.to_string_lossy()));
            value != 9
        }
    }

    #[test]
    fn an_answer_is_records_with_parts_and_fields() {
        let mut written = Written::default();
        visit(
            "id=0a\tn=12\tlong=1234567890\nleg=0\turi=sip:a=b\nid=1\tstop=9\tnever=1\n",
            &mut written,
        );
        assert_eq!(
            written.0,
            [
                "record",
                "id=\"0a\"",
                "n=12",
                "long=\"1234567890\"",
                "part",
                "leg=0",
                "uri=\"sip:a=b\"",
                "record",
                "id=1",
                "stop=9"
            ]
        );
    }

    #[test]
    fn questions_are_read_as_they_were_written() {
        let session = SessionId::parse(&"0a".repeat(16)).unwrap();
        for question in [
            Question::Sessions,
            Question::Session(session),
            Question::End(session),
            Question::Relay,
        ] {
            assert_eq!(Question::parse(&question.to_string()), Some(question));
        }
        assert_eq!(Question::parse("end"), None);
    }

    #[test]
    fn an_answer_that_comes_too_late_is_nobodys() {
        let desk = Desk::new(Box::leak(Box::default())).unwrap();
        desk.word.store(7 * STATES + ASKED, Relaxed);
        assert!(desk.awaits(7) && !desk.awaits(6));
        desk.answer(6, Some("id=1"));
        assert!(desk.awaits(7));
        desk.answer(7, Some("id=1"));
        assert_eq!(desk.word.load(Relaxed), 7 * STATES + ANSWERED);
        assert_eq!(desk.read().as_deref(), Some("id=1"));
        assert!(desk.give_back(7, ANSWERED));
        assert!(!desk.awaits(7) && desk.read().as_deref() == Some(""));
    }
}
