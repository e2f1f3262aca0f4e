//! Division of content between memory and spool, and time limits for holding back the originator.

use std::time::Instant;

use super::leg::Leg;
use super::{DeliveryFailure, DeliveryState, FanOut, FanOutAction, LegId, MessageEnd, Through};

impl FanOut {
    /// Writes all content to the spool as it arrives, whether or not memory is short. Before the
    /// message begins.
    pub fn write_through(&mut self) {
        self.through = Through::On;
    }

    /// All content has arrived. Once it is in the spool, [`FanOutAction::Written`] follows. The
    /// message is [complete](Self::handle_complete) when the caller says so.
    pub fn handle_last_content(&mut self) {
        if self.through == Through::On {
            self.through = Through::Last;
            self.content.close_page();
            self.write_on();
        }
    }

    pub(super) fn write_on(&mut self) {
        if self.through == Through::Not {
            return;
        }
        if let Some((offset, pieces)) = self.content.write_on() {
            self.actions
                .push_back(FanOutAction::Spill { offset, pieces });
        } else if self.through == Through::Last && self.content.written() == self.content.end() {
            self.through = Through::Reported;
            self.actions.push_back(FanOutAction::Written);
        }
    }

    /// Whether all content has arrived, and is being written to the spool.
    pub fn is_all_here(&self) -> bool {
        self.end == MessageEnd::Open && matches!(self.through, Through::Last | Through::Reported)
    }

    /// The originator is held back if it has more to send.
    pub(super) fn note_hold(&mut self, now: Instant) {
        let held = !self.reading || self.room.is_some();
        if held && self.end == MessageEnd::Open && self.message.is_some() {
            self.hold.begin(now);
            self.note_deadline(self.hold.poll_timeout(self.limits.hold));
        }
    }

    pub(super) fn hold_timeout(&mut self, now: Instant) {
        if self.hold.take_notice(now) {
            self.actions.push_back(FanOutAction::HeldBack);
        }
        if self
            .hold
            .until(self.limits.hold)
            .is_some_and(|at| at <= now)
        {
            let since = self.hold.since().unwrap_or(now);
            self.hold.relieved(now);
            self.give_up_those_behind(since);
        }
        self.note_deadline(self.hold.poll_timeout(self.limits.hold));
    }

    /// Gives up legs until the originator can be read from again: first future ones, then those
    /// furthest behind, and those that have accepted nothing in the meantime, since they would hold
    /// it back again.
    fn give_up_those_behind(&mut self, since: Instant) {
        let own = if self.reading {
            usize::MAX
        } else {
            self.limits.high_water()
        };
        let target = own.min(self.room.unwrap_or(usize::MAX));
        if self.end == MessageEnd::Open && std::mem::replace(&mut self.open, false) {
            self.actions.push_back(FanOutAction::NoMoreLegs);
        }
        let mut positions: Vec<u64> = self.legs.iter().filter_map(Leg::needs).collect();
        positions.sort_unstable();
        let too_far = positions.partition_point(|&at| self.content.memory_from(at) > target);
        let keep_from = positions.get(too_far).copied().unwrap_or(u64::MAX);
        for index in 0..self.legs.len() {
            let leg = &mut self.legs[index];
            let Some(at) = leg.needs().filter(|&at| at < self.content.end()) else {
                continue;
            };
            // Waiting for our own spool is not the peer's fault.
            let stuck = leg.progress <= since && leg.awaited.is_none() && !leg.paused;
            if at < keep_from || stuck {
                leg.abort_chunk();
                self.decide(LegId(index), DeliveryState::Failed(DeliveryFailure::Behind));
            }
        }
        self.release();
    }

    /// Frees content that nobody needs, then balances memory and spool.
    pub(super) fn release(&mut self) {
        let lowest = if self.open && self.end != MessageEnd::Aborted {
            0
        } else {
            self.legs
                .iter()
                .filter_map(Leg::needs)
                .min()
                .unwrap_or(self.content.end())
        };
        let lowest = match self.through {
            _ if self.end == MessageEnd::Aborted => lowest,
            Through::Not => lowest,
            _ => lowest.min(self.content.written()),
        };
        self.content.release(lowest);
        self.balance();
    }

    pub(super) fn balance(&mut self) {
        let high_water = self.limits.high_water();
        if self.content.memory() > high_water {
            let sending = |leg: &&Leg| leg.state == DeliveryState::Sending;
            let mut positions: Vec<u64> = self
                .legs
                .iter()
                .filter(sending)
                .map(|leg| leg.written)
                .collect();
            positions.sort_unstable();
            let awaited: Vec<u64> = self.legs.iter().filter_map(|leg| leg.awaited).collect();
            let spool_bytes = match self.spool_full {
                Some(_) => 0,
                None => self.limits.spool_bytes,
            };
            let spill = self
                .content
                .evict(high_water, spool_bytes, &positions, &awaited);
            if let Some((offset, pieces)) = spill {
                self.actions
                    .push_back(FanOutAction::Spill { offset, pieces });
            }
        }
        let memory = self.content.memory();
        if self.reading && memory >= self.limits.memory() {
            self.reading = false;
            self.actions.push_back(FanOutAction::StopReading);
        } else if !self.reading && memory <= high_water {
            self.reading = true;
            if self.room.is_none() {
                self.hold.end();
            }
            self.actions.push_back(FanOutAction::ReadAgain);
        }
    }
}
