//! How copies of stored messages ended: a ring in memory that all processes share. Any process
//! that sees a copy end writes to it; one process reads it. A write wakes no process: a fan-out to
//! thousands ends thousands of times within a moment.
//!
//! ```text
//!  [next to write] [next to read] [number|how, name, name, recipient] x SLOTS
//! ```
//!
//! A writer first takes a number and marks the slot, and stores that number in front of its entry
//! last: the reader sees a whole entry or none. It does not wait long for a writer that is stopped
//! meanwhile, and tells it so; no other writer gets the slot before that one has left it.

use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::sync::atomic::fence;

/// Ends that are not read yet.
const SLOTS: usize = 16 * 1024;
const SLOT_WORDS: usize = 4;
/// Each number that processes write to has a cache line of its own.
const HEAD_WORDS: usize = 16;
const NEXT_READ: usize = 8;
const HOW_BITS: u32 = 16;
const LOWER: u64 = (1 << HOW_BITS) - 1;
/// Place of the recipient in a slot.
const RECIPIENT: usize = 3;

/// In place of how a copy ended: the slot is being written.
const WRITING: u16 = u16::MAX;
/// The same, and the reader has passed by.
const PASSED: u16 = WRITING - 1;
/// The reader has passed by, and nobody writes.
const FREE: u16 = WRITING - 2;

/// How long a writer may take to fill its slot, in milliseconds. One that takes longer has been
/// stopped.
const UNFINISHED_MS: u64 = 1_000;

/// The end of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The copy's name.
    pub copy: [u8; 16],
    /// How it ended.
    pub how: u16,
    /// Its recipient, as a number.
    pub recipient: u64,
}

/// The ring. Clones are the same one, and so is the copy that a fork makes.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    words: &'static [AtomicU64],
    /// A power of two.
    slots: u64,
}

impl Ends {
    /// Its size in words.
    pub const WORDS: usize = Self::words_for(SLOTS);

    pub(crate) const fn words_for(slots: usize) -> usize {
        HEAD_WORDS + slots * SLOT_WORDS
    }

    /// The ring in `words`, which are [`WORDS`](Self::WORDS) and all 0 before the first use.
    pub fn new(words: &'static [AtomicU64]) -> Self {
        let slots = ((words.len() - HEAD_WORDS) / SLOT_WORDS) as u64;
        debug_assert!(slots.is_power_of_two());
        Ends { words, slots }
    }

    /// Writes an end. False: it will not be read, because there is no room, or because this took
    /// too long.
    pub fn push(self, end: End) -> bool {
        let End {
            copy,
            how,
            recipient,
        } = end;
        debug_assert!(how < FREE);
        let (next_write, next_read) = (&self.words[0], &self.words[NEXT_READ]);
        let mut number = next_write.load(Relaxed);
        loop {
            if number.wrapping_sub(next_read.load(Acquire)) >= self.slots {
                return false;
            }
            match next_write.compare_exchange_weak(number, number + 1, AcqRel, Relaxed) {
                Ok(_) => break,
                Err(found) => number = found,
            }
        }
        let slot = self.slot(number);
        let own = word_of(number, WRITING);
        let mark = |word: u64| {
            let is_free = !matches!(word as u16, WRITING | PASSED);
            (is_free && word >> HOW_BITS < own >> HOW_BITS).then_some(own)
        };
        if slot[0].fetch_update(Acquire, Relaxed, mark).is_err() {
            return false;
        }
        // What is written is seen by nobody who has not seen the mark.
        fence(Release);
        for (word, half) in slot[1..].iter().zip(copy.chunks_exact(8)) {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(half);
            word.store(u64::from_ne_bytes(bytes), Relaxed);
        }
        slot[RECIPIENT].store(recipient, Relaxed);
        let whole = word_of(number, how);
        let is_in_time = slot[0].compare_exchange(own, whole, Release, Relaxed);
        if is_in_time.is_err() {
            let leave = |word: u64| Some(word & !LOWER | u64::from(FREE));
            let _ = slot[0].fetch_update(Release, Relaxed, leave);
        }
        is_in_time.is_ok()
    }

    /// Reads the next end. Only one process may do so. `stuck`: the reader's own note of when it
    /// began to wait for a slot that a writer has taken and not filled.
    pub fn pop(self, now_ms: u64, stuck: &mut Option<u64>) -> Option<End> {
        let next_read = &self.words[NEXT_READ];
        let mut number = next_read.load(Relaxed);
        loop {
            let slot = self.slot(number);
            let word = slot[0].load(Acquire);
            if is_whole(word, number) {
                let mut copy = [0; 16];
                for (half, word) in copy.chunks_exact_mut(8).zip(&slot[1..]) {
                    half.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
                }
                *stuck = None;
                let end = End {
                    copy,
                    how: word as u16,
                    recipient: slot[RECIPIENT].load(Relaxed),
                };
                next_read.store(number + 1, Release);
                return Some(end);
            }
            if self.words[0].load(Acquire) == number {
                *stuck = None;
                return None;
            }
            if now_ms < *stuck.get_or_insert(now_ms) + UNFINISHED_MS {
                return None;
            }
            let pass = |word: u64| {
                let how = match word as u16 {
                    WRITING | PASSED => PASSED,
                    _ => FREE,
                };
                (!is_whole(word, number)).then_some(word_of(number, how))
            };
            // Otherwise it has just been filled.
            if slot[0].fetch_update(AcqRel, Relaxed, pass).is_ok() {
                *stuck = None;
                number += 1;
                next_read.store(number, Release);
            }
        }
    }

    fn slot(self, number: u64) -> &'static [AtomicU64] {
        let place = HEAD_WORDS + (number & (self.slots - 1)) as usize * SLOT_WORDS;
        &self.words[place..place + SLOT_WORDS]
    }
}

/// The first word of a slot.
fn word_of(number: u64, how: u16) -> u64 {
    (number + 1) << HOW_BITS | u64::from(how)
}

/// Whether the entry with this number is there.
fn is_whole(word: u64, number: u64) -> bool {
    word & !LOWER == word_of(number, 0) && (word as u16) < FREE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> Ends {
        let words: Vec<_> = (0..Ends::WORDS).map(|_| AtomicU64::new(0)).collect();
        Ends::new(words.leak())
    }

    fn copy(number: u64) -> [u8; 16] {
        let mut copy = [7; 16];
        copy[..8].copy_from_slice(&number.to_ne_bytes());
        copy
    }

    fn end(number: u64, how: u16) -> End {
        End {
            copy: copy(number),
            how,
            recipient: number << 32,
        }
    }

    #[test]
    fn what_many_write_one_reads_once() {
        let ring = ring();
        let writers = 4_u64;
        let each = 3 * SLOTS as u64;
        let mut seen = vec![0; writers as usize];
        std::thread::scope(|scope| {
            for writer in 0..writers {
                scope.spawn(move || {
                    for n in 0..each {
                        while !ring.push(end(n, writer as u16)) {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            let mut stuck = None;
            while seen.iter().sum::<u64>() < writers * each {
                match ring.pop(0, &mut stuck) {
                    Some(found) => {
                        let next = &mut seen[usize::from(found.how)];
                        assert_eq!(found, end(*next, found.how), "in order for each");
                        *next += 1;
                    }
                    None => std::thread::yield_now(),
                }
            }
        });
        assert_eq!(ring.pop(0, &mut None), None);
    }

    #[test]
    fn a_ring_that_is_full_says_so() {
        let ring = ring();
        for n in 0..SLOTS as u64 {
            assert!(ring.push(end(n, 200)));
        }
        assert!(!ring.push(end(0, 200)));
        assert_eq!(ring.pop(0, &mut None), Some(end(0, 200)));
        assert!(ring.push(end(1, 404)));
    }

    #[test]
    fn who_is_killed_while_it_writes_holds_up_nobody_for_long() {
        let ring = ring();
        ring.words[0].store(1, Relaxed);
        ring.push(end(5, 200));
        let mut stuck = None;
        assert_eq!(ring.pop(10, &mut stuck), None);
        assert_eq!(ring.pop(10 + UNFINISHED_MS - 1, &mut stuck), None);
        let found = ring.pop(10 + UNFINISHED_MS, &mut stuck);
        assert_eq!(found, Some(end(5, 200)));
    }
}
