//! What is outstanding, as an operator looks for it: by what a message is known by, by who waits.

use std::collections::{BTreeMap, HashMap};

use super::copy::{CopyId, RecipientKey, SHORT};
use super::known::Names;
use super::ledger::{ATTEMPT, At, ENDED_BYTES, Ledger, Unsent, number_in};

/// Which messages an operator looks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sought {
    /// Known by this hash.
    pub name: Option<u64>,
    /// Those that wait for this recipient.
    pub recipient: Option<RecipientKey>,
    /// Those that do nothing but wait, or the others.
    pub waits: Option<bool>,
}

/// What became of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyState {
    /// Its copy is on its way, or is to be sent.
    Outstanding,
    /// Its message waits for it.
    Waiting,
    /// It has ended with this code.
    Ended(u16),
}

impl Ledger {
    /// Sets what a message is known by.
    pub fn set_names(&mut self, id: u64, names: Names) {
        if let Some(message) = self.messages.get_mut(&id) {
            let before = std::mem::replace(&mut message.names, names);
            self.known.forget(id, before);
            self.known.note(id, names);
        }
    }

    /// The newest message that is known by this hash.
    pub fn named(&self, name: u64) -> Option<u64> {
        self.known.of(name).next_back()
    }

    /// The messages that are sought, newest first. Takes linear time, unless they have a name or
    /// wait for a recipient. `is_listed`: whether one with this mark is in another list already.
    pub fn seek(&self, sought: Sought, is_listed: impl Fn([u64; 2]) -> bool) -> Vec<u64> {
        let mut found: Vec<u64> = match (sought.name, sought.recipient) {
            (Some(name), _) => self.known.of(name).collect(),
            (None, Some(recipient)) => self.waiting_for(recipient).map(|(id, _)| id).collect(),
            (None, None) => self.messages.keys().copied().collect(),
        };
        found.retain(|id| {
            self.messages.get(id).is_some_and(|message| {
                let waits = message.left == message.waiting.len();
                sought.waits.is_none_or(|wanted| wanted == waits) && !is_listed(message.mark)
            })
        });
        found.sort_unstable_by(|one, other| other.cmp(one));
        found.dedup();
        found
    }

    /// Messages and copies that wait for a recipient.
    fn waiting_for(&self, recipient: RecipientKey) -> impl Iterator<Item = (u64, CopyId)> {
        let first = (recipient.address, CopyId([0; 16]));
        let awaited = self.awaited.range(first..);
        let awaited = awaited.take_while(move |(hash, _)| *hash == recipient.address);
        awaited.filter_map(move |(_, copy)| {
            let known = self.copies.get(copy)?;
            let is_same = matches!(known.at, At::Waiting(_, key) if key == recipient);
            is_same.then_some((known.message, *copy))
        })
    }

    /// What became of these copies of a message.
    pub fn states(&self, id: u64, copies: impl Iterator<Item = CopyId>) -> Vec<CopyState> {
        let ended: HashMap<&[u8], u16> =
            self.messages.get(&id).map_or_else(HashMap::new, |message| {
                let all = message.ended.chunks_exact(ENDED_BYTES);
                all.map(|one| (&one[..SHORT], number_in(one) & !ATTEMPT))
                    .collect()
            });
        let state = |copy: CopyId| match self.copies.get(&copy).map(|known| known.at) {
            Some(At::Waiting(..)) => CopyState::Waiting,
            Some(_) => CopyState::Outstanding,
            None => ended
                .get(&copy.short()[..])
                .map_or(CopyState::Outstanding, |code| CopyState::Ended(*code)),
        };
        copies.map(state).collect()
    }

    /// The codes with which recipients of a message have ended.
    pub fn codes(&self, id: u64) -> BTreeMap<u16, usize> {
        let mut codes = BTreeMap::new();
        if let Some(message) = self.messages.get(&id) {
            for one in message.ended.chunks_exact(ENDED_BYTES) {
                *codes.entry(number_in(one)).or_default() += 1;
            }
        }
        codes
    }

    /// How many recipients a message waits for.
    pub fn waiting_in(&self, id: u64) -> usize {
        let message = self.messages.get(&id);
        message.map_or(0, |message| message.waiting.len())
    }

    /// All that waits for a recipient is due now. Returns how much that is.
    pub fn retry_recipient(&mut self, recipient: RecipientKey, now_ms: u64) -> usize {
        let waiting: Vec<(u64, CopyId)> = self.waiting_for(recipient).collect();
        for (_, copy) in &waiting {
            self.hasten(*copy, now_ms);
        }
        waiting.len()
    }

    /// All that waits for a recipient is given up now. Returns how much that is.
    pub fn expire_recipient(&mut self, recipient: RecipientKey, now_ms: u64) -> usize {
        let waiting: Vec<(u64, CopyId)> = self.waiting_for(recipient).collect();
        for (id, copy) in &waiting {
            self.leave(*copy);
            if let Some(known) = self.copies.get_mut(copy) {
                known.at = At::Over(Unsent::Expired);
            }
            if let Some(message) = self.messages.get_mut(id) {
                message.check_ms = now_ms;
            }
            self.plan(*id);
        }
        waiting.len()
    }
}
