//! The tables in shared memory of the module, compiled once more with loom's atomics. `tests/` has
//! their races.

// The tables' own tests are for the standard library's atomics.
#![cfg(not(test))]

/// Loom's, in place of `src/sync.rs`.
pub mod sync {
    pub use loom::hint::spin_loop;
    pub use loom::sync::atomic;
    pub use loom::thread::yield_now;
}

pub use cpm_wire::imdn;

#[allow(unused, missing_docs, unreachable_pub)]
#[path = "../../src/shared/mod.rs"]
pub mod shared;

#[allow(dead_code)]
#[path = "../../src/controlling/express/table.rs"]
mod table;

pub use table::LaneMemory;

use shared::{Cell, Ends, MessageTable};
use sync::atomic::AtomicU64;

/// The parts of [`LaneMemory`] that the rest of the express lane uses.
impl LaneMemory {
    /// A block takes a cell and a place. `None`: there is none.
    pub fn begin(&self) -> Option<(Cell, usize)> {
        let cell = self.cells.take()?;
        let Some(place) = self.enter(cell) else {
            self.cells.give_back(cell);
            return None;
        };
        Some((cell, place))
    }

    /// It ends, unless its end has been seen already: an answer and the sweep may come together.
    /// In the order of the express lane: the lock, the place, the lock, the cell.
    pub fn end(&self, (cell, place): (Cell, usize), now_ms: u64) -> bool {
        let Some(locked) = self.cells.lock(cell, now_ms) else {
            return false;
        };
        if self.at(place).is_none_or(|(head, _)| head != cell) {
            return false;
        }
        self.leave(place as u64);
        drop(locked);
        self.cells.give_back(cell);
        true
    }

    /// Cells in use.
    pub fn cells_in_use(&self) -> u64 {
        self.cells.in_use()
    }
}

impl MessageTable {
    /// A table for two messages and one recipient, in words that `of` makes.
    pub fn smallest(of: fn(usize) -> &'static [AtomicU64]) -> Self {
        MessageTable::new(of(MessageTable::words_for(2, 1)), 2, || 1_000)
    }
}

impl Ends {
    /// A ring with one place, in words that `of` makes.
    pub fn smallest(of: fn(usize) -> &'static [AtomicU64]) -> Self {
        Ends::new(of(Ends::words_for(1)))
    }
}
