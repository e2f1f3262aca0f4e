use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicU64, fence};

use rustix::process::{Pid, getpid, test_kill_process};

/// A text shared by all processes, with a version that grows with each change: a process that keeps
/// data derived from the text only checks the version, which is one load from memory.
///
/// The text is in one of two places, and the next one is written to the other. So a reader never
/// waits, and reads again only if two changes have occurred while it was reading. A writer that is
/// killed leaves the text unchanged.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    version: &'static AtomicU64,
    /// Id of the process that is writing; 0: none.
    writer: &'static AtomicU64,
    /// Each begins with its length in bytes.
    places: [&'static [AtomicU64]; 2],
}

const HEAD: usize = 2;
const WORD: usize = size_of::<u64>();

/// The text has become longer than its space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl Snapshot {
    /// Number of words that [`new`](Self::new) needs for texts of this many bytes.
    pub const fn words(bytes: usize) -> usize {
        HEAD + 2 * (1 + bytes.div_ceil(WORD))
    }

    /// The text is initially empty, and its version 0. `words`: all 0, and shared by all processes.
    /// `None`: too few even for that.
    pub fn new(words: &'static [AtomicU64]) -> Option<Self> {
        let ([version, writer], places) = words.split_first_chunk()?;
        let (first, second) = places.split_at(places.len() / 2);
        let _ = (first.first()?, second.first()?);
        Some(Snapshot {
            version,
            writer,
            places: [first, second],
        })
    }

    /// The current version. Cheap enough to check for each request.
    pub fn version(&self) -> u64 {
        self.version.load(Acquire)
    }

    /// The text, and its version.
    pub fn read(&self) -> (u64, Vec<u8>) {
        loop {
            let version = self.version();
            let place = self.place(version);
            let len = place[0].load(Relaxed) as usize;
            let words = place[1..].iter().take(len.div_ceil(WORD));
            let bytes = words.flat_map(|word| word.load(Relaxed).to_ne_bytes());
            let mut text: Vec<u8> = bytes.collect();
            text.truncate(len);
            // Data written to this place belongs to a version after the next one.
            fence(Acquire);
            if self.version.load(Relaxed) == version {
                return (version, text);
            }
        }
    }

    /// The right to change the text. `None`: another process has it, briefly.
    pub fn claim(&self) -> Option<Writing<'_>> {
        let own = Pid::as_raw(Some(getpid())) as u64;
        let claimed = self.writer.compare_exchange(0, own, Acquire, Relaxed);
        let claimed = claimed.or_else(|holder| {
            if is_running(holder) {
                return Err(holder);
            }
            self.writer.compare_exchange(holder, own, Acquire, Relaxed)
        });
        // Created only if claimed: its end releases the right.
        claimed.is_ok().then(|| Writing { snapshot: self })
    }

    fn place(&self, version: u64) -> &'static [AtomicU64] {
        self.places[(version % 2) as usize]
    }
}

/// Whether the process that holds the right still exists.
fn is_running(process: u64) -> bool {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    process.is_some_and(|process| test_kill_process(process) != Err(rustix::io::Errno::SRCH))
}

/// The right to change the text, which ends with the value.
pub struct Writing<'a> {
    snapshot: &'a Snapshot,
}

impl Writing<'_> {
    /// Replaces the text. Returns its version.
    ///
    /// # Errors
    ///
    /// It is too long, and nothing has changed.
    pub fn publish(&self, text: &[u8]) -> Result<u64, TooLong> {
        let next = self.snapshot.version() + 1;
        let (len, words) = self.snapshot.place(next).split_first().ok_or(TooLong)?;
        if text.len() > words.len() * WORD {
            return Err(TooLong);
        }
        // A reader that sees any of this also sees that its version is outdated.
        fence(Release);
        len.store(text.len() as u64, Relaxed);
        for (word, bytes) in words.iter().zip(text.chunks(WORD)) {
            let mut whole = [0; WORD];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(whole), Relaxed);
        }
        self.snapshot.version.store(next, Release);
        Ok(next)
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.snapshot.writer.store(0, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(bytes: usize) -> Snapshot {
        let words = (0..Snapshot::words(bytes)).map(|_| AtomicU64::new(0));
        let words: Vec<_> = words.collect();
        Snapshot::new(words.leak()).unwrap()
    }

    #[test]
    fn a_text_follows_the_other() {
        let snapshot = snapshot(20);
        assert_eq!(snapshot.read(), (0, Vec::new()));
        for (version, text) in (1..).zip(["first", "", "the longest of all!!", "x"]) {
            let writing = snapshot.claim().unwrap();
            assert_eq!(writing.publish(text.as_bytes()), Ok(version));
            assert_eq!(snapshot.version(), version);
            assert_eq!(snapshot.read(), (version, text.into()));
        }
        let writing = snapshot.claim().unwrap();
        assert_eq!(writing.publish(&[0; 25]), Err(TooLong));
        assert_eq!(snapshot.read(), (4, "x".into()));
    }

    #[test]
    fn one_writes_at_a_time() {
        let snapshot = snapshot(8);
        let writing = snapshot.claim().unwrap();
        for _ in 0..2 {
            assert!(
                snapshot.claim().is_none(),
                "who is refused takes nothing away"
            );
        }
        drop(writing);
        assert!(snapshot.claim().is_some());
    }

    #[test]
    fn a_writer_that_was_killed_keeps_nobody_out() {
        let snapshot = snapshot(8);
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        let id = u64::from(gone.id());
        gone.wait().unwrap();
        snapshot.writer.store(id, Relaxed);
        let writing = snapshot.claim().unwrap();
        assert_eq!(writing.publish(b"on"), Ok(1));
        assert_eq!(snapshot.read(), (1, b"on".into()));
    }

    #[test]
    fn nobody_reads_half_a_text() {
        const ROUNDS: u8 = 200;
        let snapshot = snapshot(4096);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = 0;
                    while last < u64::from(ROUNDS) {
                        let (version, text) = snapshot.read();
                        assert!(version >= last, "it only grows");
                        assert_eq!(text, vec![version as u8; 16 * version as usize]);
                        last = version;
                    }
                });
            }
            for number in 1..=ROUNDS {
                let writing = snapshot.claim().unwrap();
                let text = vec![number; 16 * usize::from(number)];
                assert_eq!(writing.publish(&text), Ok(u64::from(number)));
            }
        });
    }
}
