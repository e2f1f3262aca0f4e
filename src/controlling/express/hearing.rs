//! Responses: each ends a copy, or shows that it has arrived. Those that are read together are
//! followed by what the window then has room for, once.

use std::mem;

use super::block::{Block, Place, owner_of};
use super::branch::Branch;
use super::copies::has_room;
use super::lane::Lane;
use super::outbox::Outbox;
use super::response::Response;
use super::timers::State;

/// With at least this many unanswered copies it is worth waiting a moment to read responses
/// together.
const GATHERING: u64 = 3;

impl Lane {
    /// Handles a datagram, or a response received over a connection; [`go_on`](Self::go_on)
    /// follows, after any number of them. False: it is not a response to a copy of the lane.
    pub fn hear(&mut self, datagram: &[u8], now_ms: u64, outbox: &mut Outbox) -> bool {
        let Some(response) = Response::read(datagram) else {
            return false;
        };
        let branch = Branch::read(response.digits, self.secret).filter(|_| response.is_fit);
        if branch
            .and_then(|branch| self.respond(&response, branch, now_ms, outbox))
            .is_none()
        {
            outbox.strays += 1;
        }
        true
    }

    /// `None`: no copy is waiting for it.
    fn respond(
        &mut self,
        response: &Response<'_>,
        branch: Branch,
        now_ms: u64,
        outbox: &mut Outbox,
    ) -> Option<()> {
        let memory = self.memory.clone();
        let (cell, number) = Place::of_bits(branch.place, &memory.cells)?;
        let block = owner_of(&memory.cells, cell)?;
        // If the lock cannot be had, the response is lost, as any datagram may be; it comes again
        // when the copy is retransmitted.
        let locked = memory.cells.lock(block.head, now_ms)?;
        if !block.owns(cell) {
            return None;
        }
        if locked.is_taken_over() {
            block.count_again();
        }
        let place = block.legs_of(cell).nth(number)?;
        let progress = block.progress(place);
        if block.key(place) != branch.key
            || !matches!(progress.state, State::Trying | State::Proceeding)
        {
            return None;
        }
        let is_final = response.code >= 200;
        let state = match is_final {
            true => State::Completed,
            false => State::Proceeding,
        };
        if is_final {
            self.end(block, place, response.code, response.reason, outbox);
        }
        block.set_progress(place, progress.now_in(state));
        self.hearing.unanswered = block.fresh();
        if block.unsettled() == 0 {
            memory.leave(block.place());
            block.give_back(Some(locked));
        } else if has_room(block) {
            let roomy = (block.generation(), block.head);
            if !self.hearing.roomy.contains(&roomy) {
                self.hearing.roomy.push(roomy);
            }
        }
        Some(())
    }

    /// Sends what the windows have room for, now that responses have been heard. True: it is worth
    /// waiting a moment to read further responses together.
    pub fn go_on(&mut self, now_ms: u64, outbox: &mut Outbox) -> bool {
        self.count_ended();
        let memory = self.memory.clone();
        let mut roomy = mem::take(&mut self.hearing.roomy);
        for (generation, head) in roomy.drain(..) {
            let block = Block {
                cells: &memory.cells,
                head,
            };
            // If the lock cannot be had, the next response or the sweep sends them.
            let Some(_locked) = memory.cells.lock(head, now_ms) else {
                continue;
            };
            if block.generation() == generation && has_room(block) {
                self.send_waiting(block, now_ms, outbox);
                self.hearing.unanswered = block.fresh();
            }
        }
        self.hearing.roomy = roomy;
        mem::take(&mut self.hearing.unanswered) >= GATHERING
    }
}
