//! What becomes of copies that a connection has not taken.

use super::block::{Block, Place, owner_of};
use super::lane::{Lane, SWEEP_MS};
use super::outbox::Batch;
use super::table::LaneMemory;
use super::timers::{Progress, State};
use crate::shared::Locked;

impl Lane {
    /// The connection accepted only the first `accepted` of these copies; the others wait for the
    /// next sweep.
    pub fn unsent(&mut self, batch: &Batch, accepted: usize, now_ms: u64) {
        for copy in batch.places.iter().skip(accepted) {
            let Some((block, _locked, place)) = sent(&self.memory, *copy, now_ms) else {
                continue;
            };
            block.set_progress(place, Progress::WAITING);
            block.turn_back_to(place.cell);
            let due_ms = now_ms + SWEEP_MS;
            self.memory.due_by(block.place(), block.head, due_ms);
        }
    }

    /// The connection for these copies of the batch cannot be made: the next sweep ends them.
    pub fn lose(&mut self, batch: &Batch, lost: &[usize], now_ms: u64) {
        for copy in lost.iter().filter_map(|number| batch.places.get(*number)) {
            let Some((block, _locked, place)) = sent(&self.memory, *copy, now_ms) else {
                continue;
            };
            let progress = block.progress(place);
            block.set_progress(place, progress.lost());
            self.fires_by(block, now_ms);
        }
    }
}

/// The block of a copy that was sent and has not been answered, with its lock.
fn sent(
    memory: &LaneMemory,
    (bits, key): (u32, u64),
    now_ms: u64,
) -> Option<(Block<'_>, Locked, Place)> {
    let cells = &memory.cells;
    let (cell, number) = Place::of_bits(bits, cells)?;
    let block = owner_of(cells, cell)?;
    let locked = cells.lock(block.head, now_ms)?;
    let place = block.legs_of(cell).nth(number).filter(|place| {
        block.owns(cell)
            && block.key(*place) == key
            && block.progress(*place).state == State::Trying
    })?;
    Some((block, locked, place))
}
