//! Cells of one size in shared memory, to be taken and given back.
//!
//! ```text
//!  [top of the free cells] [cells ever taken] [cells in use]  cell 0 | cell 1 | cell 2 | ..
//!
//!  cell  [lock] [next free cell] [126 words for who has it]
//! ```
//!
//! Free cells form a stack, whose top is changed by compare-and-swap. The first word of a cell is
//! always its lock, whoever owns the cell: a process with the number of a cell that has a new owner
//! finds a lock there, and then sees that the cell belongs to another. The lock stores since when
//! it is held. Work under it takes microseconds: a holder that has had it for [`HELD_MS`] has been
//! killed, and the lock is taken over.

use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::sync::spin_loop;
use crate::sync::yield_now;

use super::bytes::{read_bytes, write_bytes};

/// Words in a cell.
pub const CELL_WORDS: usize = 128;

/// Start of a cell's content.
pub const CONTENT: usize = 2;

/// Words before the cells.
const HEAD_WORDS: usize = 8;

/// The holder of a lock that is held for this many milliseconds has been killed.
pub const HELD_MS: u64 = 1_000;

/// How often a lock is tried: for some microseconds at first, then as long as other threads need to
/// run.
const SPINS: usize = 200;
const YIELDS: usize = 200;

/// The number of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell(u32);

impl Cell {
    /// As a number, which is never 0.
    pub fn to_link(self) -> u64 {
        u64::from(self.0) + 1
    }

    /// From its number; `None` for 0, and for invalid numbers.
    pub fn of_link(link: u64) -> Option<Self> {
        let number = link.checked_sub(1)?;
        u32::try_from(number).ok().map(Cell)
    }
}

/// The cells. Clones are the same cells, and so is the copy that a fork makes.
#[derive(Clone, Debug)]
pub struct Cells {
    words: &'static [AtomicU64],
}

impl Cells {
    /// Number of words for this many cells.
    pub const fn words(cells: usize) -> usize {
        HEAD_WORDS + cells * CELL_WORDS
    }

    /// The cells in `words`, which are all 0 before the first use.
    pub fn new(words: &'static [AtomicU64]) -> Self {
        Cells { words }
    }

    /// The number of cells.
    pub fn len(&self) -> usize {
        self.words.len().saturating_sub(HEAD_WORDS) / CELL_WORDS
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of cells in use.
    pub fn in_use(&self) -> u64 {
        self.words[2].load(Relaxed)
    }

    /// The cell with this number, if it exists.
    pub fn cell(&self, link: u64) -> Option<Cell> {
        Cell::of_link(link).filter(|cell| (cell.0 as usize) < self.len())
    }

    /// Takes a free cell, with its old content. `None`: there is none.
    pub fn take(&self) -> Option<Cell> {
        let cell = self.take_given_back().or_else(|| self.take_unused())?;
        self.words[2].fetch_add(1, Relaxed);
        Some(cell)
    }

    fn take_given_back(&self) -> Option<Cell> {
        let mut top = self.words[0].load(Acquire);
        loop {
            let cell = Cell::of_link(top & u64::from(u32::MAX))?;
            let next = self.word(cell, 1).load(Relaxed);
            // The upper half counts changes: a process that was suspended meanwhile does not
            // mistake an equal top for the same stack.
            let new = (top >> 32).wrapping_add(1) << 32 | next;
            match self.words[0].compare_exchange_weak(top, new, AcqRel, Acquire) {
                Ok(_) => return Some(cell),
                Err(now) => top = now,
            }
        }
    }

    fn take_unused(&self) -> Option<Cell> {
        let cells = self.len() as u64;
        let more = |taken: u64| (taken < cells).then_some(taken + 1);
        let number = self.words[1].fetch_update(Relaxed, Relaxed, more).ok()?;
        Cell::of_link(number + 1)
    }

    /// Gives a cell back that has been taken.
    pub fn give_back(&self, cell: Cell) {
        let mut top = self.words[0].load(Acquire);
        loop {
            self.word(cell, 1).store(top & u64::from(u32::MAX), Relaxed);
            let new = (top >> 32).wrapping_add(1) << 32 | cell.to_link();
            match self.words[0].compare_exchange_weak(top, new, AcqRel, Acquire) {
                Ok(_) => break,
                Err(now) => top = now,
            }
        }
        self.words[2].fetch_sub(1, Relaxed);
    }

    /// A word of a cell.
    pub fn word(&self, cell: Cell, word: usize) -> &'static AtomicU64 {
        debug_assert!(word < CELL_WORDS);
        &self.words[HEAD_WORDS + cell.0 as usize * CELL_WORDS + word]
    }

    /// Reads a word of a cell.
    pub fn get(&self, cell: Cell, word: usize) -> u64 {
        self.word(cell, word).load(Relaxed)
    }

    /// Writes a word of a cell.
    pub fn set(&self, cell: Cell, word: usize, value: u64) {
        self.word(cell, word).store(value, Relaxed);
    }

    /// Locks a cell. `None`: another process has held it longer than we may wait.
    pub fn lock(&self, cell: Cell, now_ms: u64) -> Option<Locked> {
        let word = self.word(cell, 0);
        let since = now_ms + 1;
        for attempt in 0..SPINS + YIELDS {
            let Err(held) = word.compare_exchange(0, since, AcqRel, Acquire) else {
                return Some(Locked {
                    word,
                    since,
                    is_taken_over: false,
                });
            };
            if since >= held + HELD_MS
                && word.compare_exchange(held, since, AcqRel, Acquire).is_ok()
            {
                return Some(Locked {
                    word,
                    since,
                    is_taken_over: true,
                });
            }
            if attempt < SPINS {
                spin_loop();
            } else {
                yield_now();
            }
        }
        None
    }

    /// Writes bytes to a cell, starting at a word; they must fit. Returns the number of words used.
    pub fn write(&self, cell: Cell, word: usize, bytes: &[u8]) -> usize {
        let used = bytes.len().div_ceil(8);
        write_bytes(&self.content(cell)[word..][..used], bytes);
        used
    }

    /// Appends this many bytes, starting at a word of a cell; no more than it holds.
    pub fn read(&self, cell: Cell, word: usize, length: usize, into: &mut Vec<u8>) {
        let words = self.content(cell).get(word..).unwrap_or_default();
        read_bytes(words, length, into);
    }

    fn content(&self, cell: Cell) -> &'static [AtomicU64] {
        &self.words[HEAD_WORDS + cell.0 as usize * CELL_WORDS..][..CELL_WORDS]
    }
}

/// A lock that is held.
#[derive(Debug)]
pub struct Locked {
    word: &'static AtomicU64,
    since: u64,
    is_taken_over: bool,
}

impl Locked {
    /// Whether its holder has been killed: the protected data may be inconsistent.
    pub fn is_taken_over(&self) -> bool {
        self.is_taken_over
    }

    /// Leaves it held, as a killed process does.
    #[cfg(test)]
    pub(crate) fn die(self) {
        std::mem::forget(self);
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // A process that has taken it over keeps it.
        let _ = self.word.compare_exchange(self.since, 0, Release, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::thread;

    use super::*;

    fn cells(count: usize) -> Cells {
        let words = (0..Cells::words(count)).map(|_| AtomicU64::new(0));
        Cells::new(words.collect::<Vec<_>>().leak())
    }

    #[test]
    fn each_cell_is_taken_once_until_it_is_given_back() {
        let cells = cells(5);
        let taken: Vec<Cell> = (0..5).map(|_| cells.take().unwrap()).collect();
        assert_eq!(cells.take(), None);
        assert_eq!(cells.in_use(), 5);
        let links: BTreeSet<u64> = taken.iter().map(|cell| cell.to_link()).collect();
        assert_eq!(links.len(), 5);
        cells.give_back(taken[3]);
        assert_eq!(cells.take(), Some(taken[3]));
        taken.iter().for_each(|cell| cells.give_back(*cell));
        assert_eq!(cells.in_use(), 0);
        assert_eq!(cells.cell(6), None);
        assert_eq!(cells.cell(0), None);
    }

    #[test]
    fn bytes_come_back_as_they_were() {
        let cells = cells(1);
        let cell = cells.take().unwrap();
        for length in [0, 1, 7, 8, 9, 100] {
            let bytes: Vec<u8> = (1..=length).collect();
            assert_eq!(cells.write(cell, CONTENT, &bytes), bytes.len().div_ceil(8));
            let mut read = b"x".to_vec();
            cells.read(cell, CONTENT, bytes.len(), &mut read);
            assert_eq!(read[1..], bytes);
        }
    }

    #[test]
    fn a_lock_whose_holder_is_dead_is_taken_over_and_no_other() {
        let cells = cells(1);
        let cell = cells.take().unwrap();
        let held = cells.lock(cell, 1_000).expect("it is free");
        assert!(!held.is_taken_over());
        assert!(cells.lock(cell, 1_999).is_none());
        let late = cells.lock(cell, 2_000).expect("its holder is dead");
        assert!(late.is_taken_over());
        // It was not dead, but slow: it does not release the other's lock.
        drop(held);
        assert!(cells.lock(cell, 2_001).is_none());
        drop(late);
        let free = cells.lock(cell, 2_002).expect("it is free");
        assert!(!free.is_taken_over());
    }

    /// Cells change owners between threads as fast as possible; each has one owner at a time, and
    /// none is lost.
    #[test]
    fn no_two_have_the_same_cell_and_none_is_lost() {
        let cells = cells(8);
        let work = |own: u64| {
            let cells = cells.clone();
            move || {
                for round in 0..20_000 {
                    let Some(cell) = cells.take() else { continue };
                    cells.set(cell, CONTENT, own);
                    if round % 64 == 0 {
                        yield_now();
                    }
                    assert_eq!(cells.get(cell, CONTENT), own);
                    cells.give_back(cell);
                }
            }
        };
        thread::scope(|scope| {
            for own in 1..=4 {
                scope.spawn(work(own));
            }
        });
        assert_eq!(cells.in_use(), 0);
        let again: BTreeSet<u64> = (0..8).map(|_| cells.take().unwrap().to_link()).collect();
        assert_eq!(again.len(), 8);
        assert_eq!(cells.take(), None);
    }

    /// Data protected by a lock is changed by one thread at a time.
    #[test]
    fn a_lock_lets_one_in_at_a_time() {
        let cells = cells(1);
        let cell = cells.take().unwrap();
        let add = || {
            let cells = cells.clone();
            move || {
                let mut added = 0;
                while added < 5_000 {
                    let Some(_locked) = cells.lock(cell, 1) else {
                        continue;
                    };
                    let before = cells.get(cell, CONTENT);
                    cells.set(cell, CONTENT, before + 1);
                    added += 1;
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(add());
            }
        });
        assert_eq!(cells.get(cell, CONTENT), 15_000);
    }
}
