//! The blocks in use, and when each is due: one number for each in memory that all processes share,
//! so that a sweep skips thousands of blocks quickly.

use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::shared::{Cell, Cells};

/// Maximum number of blocks. Further copies go through the proxy's transactions.
const BLOCKS: usize = 16 * 1024;

/// Maximum number of cells: 64 MiB, of which unused pages take no memory.
const CELLS: usize = 64 * 1024;

const HEAD_WORDS: usize = 8;
const NEXT_PLACE: usize = 0;
const IN_USE: usize = 1;
const OUTSTANDING: usize = 2;
const IS_SWEPT: usize = 3;

/// A block's number: its due time in the upper bits, the link of its head in the lower.
const LINK_BITS: u32 = 24;
const LINK: u64 = (1 << LINK_BITS) - 1;
const _: () = assert!(CELLS < 1 << LINK_BITS);

/// Never due.
pub(super) const NEVER_MS: u64 = (1 << (64 - LINK_BITS)) - 1;

/// The memory of the lane. Clones, and the copies that a fork makes, refer to the same memory.
#[derive(Clone, Debug)]
pub struct LaneMemory {
    head: &'static [AtomicU64],
    places: &'static [AtomicU64],
    pub(super) cells: Cells,
}

impl LaneMemory {
    /// Its size in 64-bit words.
    pub const WORDS: usize = HEAD_WORDS + BLOCKS + Cells::words(CELLS);

    /// The memory in `words`, which are [`WORDS`](Self::WORDS) and all 0 before the first use.
    pub fn new(words: &'static [AtomicU64]) -> Self {
        let (head, rest) = words.split_at(HEAD_WORDS);
        // A smaller memory has fewer places too.
        let (places, cells) = rest.split_at(BLOCKS.min(rest.len() / 8));
        LaneMemory {
            head,
            places,
            cells: Cells::new(cells),
        }
    }

    /// Bytes in use by outstanding copies.
    pub fn bytes(&self) -> u64 {
        self.cells.in_use() * (crate::shared::CELL_WORDS * size_of::<u64>()) as u64
    }

    /// Copies that have not ended.
    pub fn outstanding(&self) -> u64 {
        self.head[OUTSTANDING].load(Relaxed)
    }

    pub(super) fn add_outstanding(&self, copies: u64) {
        self.head[OUTSTANDING].fetch_add(copies, Relaxed);
    }

    pub(super) fn subtract_outstanding(&self, copies: u64) {
        let less = |now: u64| Some(now.saturating_sub(copies));
        let _ = self.head[OUTSTANDING].fetch_update(Relaxed, Relaxed, less);
    }

    /// Whether no block is in use.
    pub(super) fn is_empty(&self) -> bool {
        self.head[IN_USE].load(Acquire) == 0
    }

    /// Sets whether a process sweeps, and returns the previous value.
    pub(super) fn set_swept(&self, is_swept: bool) -> bool {
        self.head[IS_SWEPT].swap(u64::from(is_swept), AcqRel) != 0
    }

    /// The number of places.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Takes a place for a block, which is not due yet. `None`: none is free.
    pub(super) fn enter(&self, head: Cell) -> Option<usize> {
        let places = self.places.len();
        let first = self.head[NEXT_PLACE].fetch_add(1, Relaxed) as usize;
        let word = NEVER_MS << LINK_BITS | head.to_link();
        let place = (0..places)
            .map(|offset| first.wrapping_add(offset) % places)
            .find(|place| {
                let free = &self.places[*place];
                free.load(Relaxed) == 0 && free.compare_exchange(0, word, AcqRel, Acquire).is_ok()
            })?;
        self.head[IN_USE].fetch_add(1, AcqRel);
        Some(place)
    }

    /// Frees the place of a block that has ended.
    pub(super) fn leave(&self, place: u64) {
        if let Some(word) = self.places.get(place as usize) {
            word.store(0, Relaxed);
            self.head[IN_USE].fetch_sub(1, AcqRel);
        }
    }

    /// The block at a place, and when it is due.
    pub(super) fn at(&self, place: usize) -> Option<(Cell, u64)> {
        let word = self.places[place].load(Acquire);
        let head = self.cells.cell(word & LINK)?;
        Some((head, word >> LINK_BITS))
    }

    /// Sets when a block is due. Must be called under its lock.
    pub(super) fn set_due(&self, place: u64, head: Cell, due_ms: u64) {
        if let Some(word) = self.places.get(place as usize) {
            word.store(due_ms.min(NEVER_MS) << LINK_BITS | head.to_link(), Release);
        }
    }

    /// Makes a block due at this time or earlier. Must be called under its lock.
    pub(super) fn due_by(&self, place: u64, head: Cell, due_ms: u64) {
        let now = self.at(place as usize).map_or(NEVER_MS, |(_, due)| due);
        if due_ms < now {
            self.set_due(place, head, due_ms);
        }
    }
}
