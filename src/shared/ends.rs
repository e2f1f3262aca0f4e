//! How copies of stored messages ended: a ring in memory that all processes share. Any process
//! that sees a copy end writes to it; one process reads it. A write wakes no process: a fan-out to
//! thousands ends thousands of times within a moment.
//!
//! ```text
//!  [next to write] [next to read] [number|how, name, name, recipient] x SLOTS
//! ```
//!
//! A writer first takes a number, and stores that number in front of its entry last: the reader
//! sees a whole entry or none.

use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// Ends that are not read yet.
const SLOTS: usize = 16 * 1024;
const SLOT_WORDS: usize = 4;
/// Each number that processes write to has a cache line of its own.
const HEAD_WORDS: usize = 16;
const NEXT_READ: usize = 8;
const HOW_BITS: u32 = 16;
/// Place of the recipient in a slot.
const RECIPIENT: usize = 3;

/// How long a writer may take to fill its slot, in milliseconds. One that takes longer has been
/// killed.
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
}

impl Ends {
    /// Its size in words.
    pub const WORDS: usize = HEAD_WORDS + SLOTS * SLOT_WORDS;

    /// The ring in `words`, which are [`WORDS`](Self::WORDS) and all 0 before the first use.
    pub fn new(words: &'static [AtomicU64]) -> Self {
        Ends { words }
    }

    /// Writes an end. False: there is no room.
    pub fn push(self, end: End) -> bool {
        let End {
            copy,
            how,
            recipient,
        } = end;
        let (next_write, next_read) = (&self.words[0], &self.words[NEXT_READ]);
        let mut number = next_write.load(Relaxed);
        loop {
            if number.wrapping_sub(next_read.load(Acquire)) >= SLOTS as u64 {
                return false;
            }
            match next_write.compare_exchange_weak(number, number + 1, AcqRel, Relaxed) {
                Ok(_) => break,
                Err(found) => number = found,
            }
        }
        let slot = self.slot(number);
        for (word, half) in slot[1..].iter().zip(copy.chunks_exact(8)) {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(half);
            word.store(u64::from_ne_bytes(bytes), Relaxed);
        }
        slot[RECIPIENT].store(recipient, Relaxed);
        slot[0].store((number + 1) << HOW_BITS | u64::from(how), Release);
        true
    }

    /// Reads the next end. Only one process may do so. `stuck`: the reader's own note of when it
    /// began to wait for a slot that a writer has taken and not filled.
    pub fn pop(self, now_ms: u64, stuck: &mut Option<u64>) -> Option<End> {
        let next_read = &self.words[NEXT_READ];
        let mut number = next_read.load(Relaxed);
        loop {
            let slot = self.slot(number);
            let word = slot[0].load(Acquire);
            if word >> HOW_BITS == (number + 1) & (u64::MAX >> HOW_BITS) {
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
            *stuck = None;
            number += 1;
            next_read.store(number, Release);
        }
    }

    fn slot(self, number: u64) -> &'static [AtomicU64] {
        let place = HEAD_WORDS + (number % SLOTS as u64) as usize * SLOT_WORDS;
        &self.words[place..place + SLOT_WORDS]
    }
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
