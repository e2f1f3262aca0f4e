//! A store that several nodes share: who has sent a message, who has arrived, and what another node
//! has taken over.

use super::keeping::Keeping;
use super::letter::Inquired;
use super::proxy::Proxy;
use crate::controlling::ControllingFunction;
use crate::log::at;
use crate::store::{FoundSender, SenderName, SenderOf};

/// Maximum number of notifications that wait for the store.
const MAX_ASKED: usize = 8192;

/// Hashes that an arrival at another node stands for (see [`Arrivals`](crate::shared::Arrivals)).
const ARRIVAL: u32 = 0xfff;

impl Keeping {
    /// Tells other nodes the senders that were recorded since the last time.
    pub(super) fn tell_senders(&mut self, service: &ControllingFunction, now_ms: u64) {
        let Some(senders) = service.senders().filter(|_| service.shares_store()) else {
            return;
        };
        while let Some(recorded) = self.told.next(senders, now_ms) {
            self.store.note_sender(SenderOf {
                name: SenderName(recorded.name),
                uri: recorded.sender,
                ttl_s: recorded.ttl_s,
            });
        }
    }

    /// Asks the store for the sender of a message. Returned if it cannot be asked.
    pub(super) fn ask(&mut self, inquired: Box<Inquired>) -> Option<Box<Inquired>> {
        self.last_asked += 1;
        let number = self.last_asked;
        if self.asked.len() >= MAX_ASKED || !self.store.find_sender(number, inquired.name) {
            return Some(inquired);
        }
        self.asked.insert(number, inquired);
        None
    }

    /// The store has answered.
    pub(super) fn hear_sender(&mut self, number: u64, found: FoundSender) {
        if let Some(inquired) = self.asked.remove(&number) {
            self.answered.push((inquired, found));
        }
    }

    /// Recipients have arrived at other nodes.
    pub(super) fn hear_arrived(
        &mut self,
        hashes: Vec<u32>,
        service: &ControllingFunction,
        now_ms: u64,
    ) {
        let delay_ms = 1_000 * service.settings().deferral.delay_s as u64;
        for hash in hashes {
            let first = hash & !ARRIVAL;
            self.ledger
                .arrived(first..=first | ARRIVAL, now_ms, delay_ms);
        }
    }

    /// Another node has taken these over.
    pub(super) fn lose(&mut self, ids: Vec<u64>, proxy: &dyn Proxy) {
        let now_ms = proxy.now_ms();
        let known = ids.iter().filter(|id| self.ledger.forget(**id, now_ms));
        let count = known.count();
        proxy.log(
            at!(Error),
            format_args!(
                "another node has taken over {count} messages: this one could not reach the store for longer \
                 than store_lease"
            ),
        );
        self.lost.extend(ids);
    }
}
