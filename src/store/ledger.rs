//! Which copies of which stored message are outstanding, and which of them wait for their
//! recipient. In memory, without IO: it says what must be written and what is due.
//!
//! ```text
//!  on its way --> ended
//!     ^  |  a code that is deferred
//!     |  v
//!  waiting: until its step of the schedule is over, or its recipient has arrived
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::RangeInclusive;

use super::copy::{CopyId, RecipientKey, SHORT};
use super::known::{Known, Names};
use super::recent::Recent;

/// When a recipient that could not be reached is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Retry<'a> {
    /// Seconds after each attempt; the last step repeats.
    pub steps_s: &'a [u32],
    /// Seconds after it has arrived.
    pub delay_s: u32,
    /// How many messages may wait for one recipient.
    pub most: usize,
}

/// What became of a copy whose code is deferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deferred {
    /// It waits.
    Waiting,
    /// Its recipient has it: a late 2xx to an earlier attempt said so.
    HasIt,
    /// It is to be given up: enough wait for its recipient, or it has expired.
    GivenUp,
    /// It has ended before.
    Unknown,
}

/// Why nothing more is sent to a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unsent {
    /// The message has expired, or an operator has given it up.
    Expired,
    /// Enough messages wait for it: it ends with its own code.
    TooMany(u16),
}

impl Unsent {
    /// The code it ends with.
    pub fn code(self) -> u16 {
        match self {
            Unsent::Expired => EXPIRED,
            Unsent::TooMany(code) => code,
        }
    }
}

/// A copy that is to be sent now, or given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its CSeq number: the number of the attempt.
    pub cseq: u32,
    /// Whether it may have been sent under this number before.
    pub is_again: bool,
    /// Why it is to be given up; `None`: it is to be sent.
    pub give_up: Option<Unsent>,
}

/// Size of a recipient in the store: the beginning of its copy's name, and its code, or the number
/// of its attempt with [`ATTEMPT`].
pub(super) const ENDED_BYTES: usize = SHORT + 2;
/// The recipient has not ended; the other bits are the number of its attempt, from 2.
pub(super) const ATTEMPT: u16 = 0x8000;
const MAX_ATTEMPTS: u16 = ATTEMPT - 1;

/// The code of a recipient that the message has expired for.
const EXPIRED: u16 = 408;
/// The code of a recipient that has the message by a late 2xx.
const DELIVERED: u16 = 200;

/// How long to wait for the end of a copy: each of the eight addresses of a name may take 32 s (RFC
/// 3261 timer F), the look-up and the wait for memory 25 s. After that the end is taken to be lost,
/// and the copy is sent again.
const LOST_MS: u64 = 600_000;

/// How many ends of unknown copies are remembered.
const EARLY: usize = 256;

/// How many changes are written together, and how long the first of them waits at most.
const TOGETHER: usize = 256;
const GATHER_MS: u64 = 10;

/// What is to be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Messages, each with all of its recipients that have ended.
    pub ended: Vec<(u64, Vec<u8>)>,
    /// Messages whose last recipient has ended.
    pub done: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) left: usize,
    /// Its ended recipients, as written to the store.
    pub(super) ended: Vec<u8>,
    /// Attempts of the others, by the beginning of their copy's name, from the second on.
    attempts: BTreeMap<[u8; SHORT], u16>,
    expires_ms: u64,
    /// Whether it was due because it has expired.
    is_expired: bool,
    /// When to see what became of the copies on their way.
    pub(super) check_ms: u64,
    /// It is not due before, except to expire.
    not_before_ms: u64,
    /// Its copies that wait, by the time at which they are due.
    pub(super) waiting: BTreeSet<(u64, CopyId)>,
    /// When it is due; in the ledger's list unless it is at work.
    due_ms: u64,
    /// Whether it is being sent: it is not due until it [rests](Ledger::rest).
    is_at_work: bool,
    /// Whether it was resumed. Then all outstanding copies are known: an unknown one has ended.
    is_resumed: bool,
    /// A number of the caller's.
    pub(super) mark: [u64; 2],
    /// What it is known by.
    pub(super) names: Names,
}

impl Message {
    fn next_due_ms(&self) -> u64 {
        let on_way = self.left > self.waiting.len();
        let check_ms = if on_way { self.check_ms } else { u64::MAX };
        let first_ms = self.waiting.first().map_or(u64::MAX, |(due_ms, _)| *due_ms);
        let next_ms = check_ms.min(first_ms).max(self.not_before_ms);
        match self.is_expired {
            true => next_ms,
            false => next_ms.min(self.expires_ms),
        }
    }

    fn cseq(&self, copy: CopyId) -> u16 {
        self.attempts.get(&copy.short()).copied().unwrap_or(1)
    }
}

/// Where a copy is.
#[derive(Clone, Copy, Debug)]
pub(super) enum At {
    /// Not on its way.
    Idle,
    /// On its way since then.
    Sent(u64),
    /// Since then in a session, which says what becomes of it, however long that takes.
    InSession(u64),
    /// It waits for its recipient until then.
    Waiting(u64, RecipientKey),
    /// To be given up.
    Over(Unsent),
    /// Another copy, to the same recipient, is on its way in its place since then.
    Replaced(u64),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    pub(super) message: u64,
    /// Whether a previous process may have sent this attempt.
    is_left_over: bool,
    /// Whether its recipient is known to have the message, by a late 2xx to an earlier attempt.
    has_it: bool,
    /// The copy that it replaces.
    replaces: Option<CopyId>,
    pub(super) at: At,
}

impl Copy {
    fn new(message: u64, at: At) -> Self {
        Copy {
            message,
            is_left_over: false,
            has_it: false,
            replaces: None,
            at,
        }
    }
}

/// What is outstanding.
#[derive(Debug, Default)]
pub struct Ledger {
    pub(super) messages: HashMap<u64, Message>,
    pub(super) copies: HashMap<CopyId, Copy>,
    due: BTreeSet<(u64, u64)>,
    /// Copies that wait, by each hash of their recipient.
    pub(super) awaited: BTreeSet<(u32, CopyId)>,
    /// Recipients that have arrived a while ago: their copy may still be on its way to where they
    /// were before.
    recent: Recent,
    waiting: usize,
    changed: BTreeSet<u64>,
    done: Vec<u64>,
    /// Time of the first change that is not written, and the number of changes.
    changed_ms: Option<u64>,
    changes: usize,
    outstanding: usize,
    /// The last ends of unknown copies: one of them may be about to [replace](Self::replaced) a
    /// known one.
    early: VecDeque<(CopyId, u16)>,
    pub(super) known: Known,
}

impl Ledger {
    /// Enters a stored message whose copies are about to be sent: it is at work.
    pub fn begin(&mut self, id: u64, recipients: usize, expires_ms: u64, now_ms: u64) {
        self.enter(id, recipients, &[], expires_ms, now_ms + LOST_MS);
        self.set_at_work(id, true);
    }

    /// Enters a message that a previous process stored, with all of its copies and what it wrote of
    /// them. It is due at once, and so is whoever waited.
    pub fn restore(
        &mut self,
        id: u64,
        copies: impl Iterator<Item = CopyId>,
        ended: &[u8],
        expires_ms: u64,
        now_ms: u64,
    ) {
        let known: HashSet<&[u8]> = ended
            .chunks_exact(ENDED_BYTES)
            .filter(|one| number_in(one) & ATTEMPT == 0)
            .map(|one| &one[..SHORT])
            .collect();
        let mut left = 0;
        for copy in copies.filter(|copy| !known.contains(&copy.short()[..])) {
            left += 1;
            let known = Copy {
                is_left_over: true,
                ..Copy::new(id, At::Idle)
            };
            self.copies.insert(copy, known);
        }
        self.enter(id, left, ended, expires_ms, now_ms);
        if left == 0 {
            self.end_message(id, now_ms);
        }
    }

    fn enter(&mut self, id: u64, left: usize, written: &[u8], expires_ms: u64, check_ms: u64) {
        let mut message = Message {
            left,
            ended: Vec::with_capacity(written.len()),
            attempts: BTreeMap::new(),
            expires_ms,
            is_expired: false,
            check_ms,
            not_before_ms: 0,
            waiting: BTreeSet::new(),
            due_ms: 0,
            is_at_work: false,
            is_resumed: false,
            mark: [0; 2],
            names: Names::default(),
        };
        for one in written.chunks_exact(ENDED_BYTES) {
            let (number, mut short) = (number_in(one), [0; SHORT]);
            short.copy_from_slice(&one[..SHORT]);
            match number & ATTEMPT {
                0 => message.ended.extend_from_slice(one),
                _ => drop(message.attempts.insert(short, number & !ATTEMPT)),
            }
        }
        message.due_ms = message.next_due_ms();
        self.outstanding += left;
        self.due.insert((message.due_ms, id));
        self.messages.insert(id, message);
    }

    /// Which of these copies of a message are to be sent or given up now: those that have not
    /// ended, are not on their way, and do not wait any longer.
    pub fn wanted(
        &self,
        id: u64,
        copies: impl Iterator<Item = CopyId>,
        now_ms: u64,
    ) -> Vec<Option<Wanted>> {
        let Some(message) = self.messages.get(&id) else {
            return copies.map(|_| None).collect();
        };
        let ended: HashSet<&[u8]> = message
            .ended
            .chunks_exact(ENDED_BYTES)
            .map(|one| &one[..SHORT])
            .collect();
        let is_expired = message.expires_ms <= now_ms;
        let wanted = |copy: CopyId| {
            let (is_again, over) = match self.copies.get(&copy).map(|known| (known, known.at)) {
                Some((_, At::Sent(sent_ms) | At::Replaced(sent_ms)))
                    if sent_ms + LOST_MS > now_ms =>
                {
                    return None;
                }
                Some((_, At::Waiting(due_ms, _))) if due_ms > now_ms && !is_expired => return None,
                Some((_, At::InSession(_))) => return None,
                Some((_, At::Sent(_) | At::Replaced(_))) => (true, None),
                Some((_, At::Over(why))) => (false, Some(why)),
                Some((known, At::Idle | At::Waiting(..))) => (known.is_left_over, None),
                None if ended.contains(&copy.short()[..]) => return None,
                None => (false, None),
            };
            Some(Wanted {
                cseq: message.cseq(copy).into(),
                is_again,
                give_up: over.or(is_expired.then_some(Unsent::Expired)),
            })
        };
        copies.map(wanted).collect()
    }

    /// Enters copies of a resumed message that are about to be sent: they wait no longer.
    pub fn expect(&mut self, id: u64, copies: impl Iterator<Item = CopyId>) {
        for copy in copies {
            self.leave(copy);
            let known = Copy::new(id, At::Idle);
            self.copies.entry(copy).or_insert(known);
        }
    }

    /// A copy is on its way. One that has ended meanwhile stays so.
    pub fn sent(&mut self, id: u64, copy: CopyId, now_ms: u64) {
        self.set_at(id, copy, At::Sent(now_ms));
    }

    /// A session has a copy: it is neither due nor lost until its end is known, or it is
    /// [unsent](Self::unsent).
    pub fn in_session(&mut self, id: u64, copy: CopyId, now_ms: u64) {
        self.set_at(id, copy, At::InSession(now_ms));
    }

    fn set_at(&mut self, id: u64, copy: CopyId, at: At) {
        if self.has_ended(id, copy) {
            return;
        }
        self.leave(copy);
        let known = Copy::new(id, At::Idle);
        let known = self.copies.entry(copy).or_insert(known);
        known.at = at;
    }

    /// Whether a copy of a message is known to have ended.
    fn has_ended(&self, id: u64, copy: CopyId) -> bool {
        match self.messages.get(&id) {
            Some(message) => message.is_resumed && !self.copies.contains_key(&copy),
            None => true,
        }
    }

    /// A copy could not be sent after all: it is to be sent after this delay.
    pub fn unsent(&mut self, copy: CopyId, now_ms: u64, delay_ms: u64) {
        self.leave(copy);
        if let Some(known) = self.copies.get_mut(&copy) {
            known.at = At::Idle;
            let id = known.message;
            self.put_off(id, now_ms, delay_ms);
        }
    }

    /// A late 2xx to a copy has come, of which no transaction knows: its recipient has the message,
    /// and the copy has ended. Returns its message, and whom it has waited for. `None`: nothing has
    /// ended, since it had before, or a transaction of this process will say how.
    pub fn late(&mut self, copy: CopyId, now_ms: u64) -> Option<(u64, RecipientKey)> {
        let known = self.copies.get_mut(&copy)?;
        let (id, at) = (known.message, known.at);
        match at {
            At::Waiting(..) | At::Over(_) => {}
            At::Idle if known.is_left_over => {}
            At::InSession(_) => return None,
            At::Idle | At::Sent(_) | At::Replaced(_) => {
                known.has_it = true;
                return None;
            }
        }
        let recipient = match at {
            At::Waiting(_, recipient) => recipient,
            _ => RecipientKey::default(),
        };
        self.end_recipient(id, copy, DELIVERED, now_ms);
        Some((id, recipient))
    }

    /// Another copy, to the same recipient, is on its way in place of this one.
    pub fn replaced(&mut self, copy: CopyId, other: CopyId, now_ms: u64) {
        self.leave(copy);
        if let Some(known) = self.copies.get_mut(&copy) {
            known.at = At::Replaced(now_ms);
            let replacing = Copy {
                at: At::Sent(now_ms),
                replaces: Some(copy),
                ..*known
            };
            self.copies.insert(other, replacing);
            if let Some(at) = self.early.iter().position(|(early, _)| *early == other) {
                let (_, code) = self.early.swap_remove_back(at).unwrap_or((other, 0));
                self.ended(other, code, now_ms);
            }
        }
    }

    /// A copy has ended with this code. False: no copy of that name is outstanding.
    pub fn ended(&mut self, copy: CopyId, code: u16, now_ms: u64) -> bool {
        let Some(known) = self.copies.get(&copy).copied() else {
            self.early.truncate(EARLY - 1);
            self.early.push_front((copy, code));
            return false;
        };
        if matches!(known.at, At::Replaced(_)) {
            return false;
        }
        self.end_recipient(known.message, copy, code, now_ms)
    }

    /// A copy of that message has ended, whether or not it was on its way.
    pub fn end_recipient(&mut self, id: u64, copy: CopyId, code: u16, now_ms: u64) -> bool {
        let had_ended = self.has_ended(id, copy);
        self.leave(copy);
        let known = self.copies.remove(&copy);
        // What the store knows of is the first copy to a recipient.
        let first = known.and_then(|known| known.replaces);
        let copy = first.unwrap_or(copy);
        // The recipient may have ended otherwise.
        if first.is_some() && self.copies.remove(&copy).is_none() {
            return false;
        }
        let Some(message) = self.messages.get_mut(&id).filter(|_| !had_ended) else {
            return false;
        };
        message.left = message.left.saturating_sub(1);
        message.attempts.remove(&copy.short());
        message.ended.extend_from_slice(&copy.short());
        message.ended.extend_from_slice(&code.to_be_bytes());
        let is_over = message.left == 0;
        self.outstanding = self.outstanding.saturating_sub(1);
        self.changes += 1;
        if is_over {
            self.end_message(id, now_ms);
        } else {
            self.changed.insert(id);
            self.changed_ms.get_or_insert(now_ms);
            self.plan(id);
        }
        true
    }

    /// A copy has ended with this code, which is deferred: it waits for its recipient.
    pub fn defer(
        &mut self,
        copy: CopyId,
        code: u16,
        recipient: RecipientKey,
        retry: Retry<'_>,
        now_ms: u64,
    ) -> Deferred {
        let Some(known) = self.copies.get(&copy).copied() else {
            return Deferred::Unknown;
        };
        self.defer_recipient((known.message, copy), code, recipient, retry, now_ms)
    }

    /// The same for a copy of that message, which may not have been on its way.
    pub fn defer_recipient(
        &mut self,
        (id, copy): (u64, CopyId),
        code: u16,
        recipient: RecipientKey,
        retry: Retry<'_>,
        now_ms: u64,
    ) -> Deferred {
        if self.has_ended(id, copy) {
            return Deferred::Unknown;
        }
        self.leave(copy);
        let known = self.copies.get(&copy).copied();
        if known.is_some_and(|known| matches!(known.at, At::Replaced(_))) {
            return Deferred::Unknown;
        }
        if known.is_some_and(|known| known.has_it) {
            self.end_recipient(id, copy, DELIVERED, now_ms);
            return Deferred::HasIt;
        }
        let sent_ms = match known.map(|known| known.at) {
            Some(At::Sent(since_ms) | At::InSession(since_ms)) => since_ms,
            _ => now_ms,
        };
        let awaited = self.awaited.range(least(recipient.address)..);
        let same = awaited.take_while(|(hash, _)| *hash == recipient.address);
        let is_full = same.take(retry.most).count() == retry.most;
        let arrived = recipient.hashes().map(|hash| self.recent.last_ms(hash));
        let has_arrived = arrived.into_iter().flatten().any(|at_ms| at_ms > sent_ms);
        let Some(message) = self.messages.get_mut(&id) else {
            return Deferred::Unknown;
        };
        let attempt = message.cseq(copy);
        let is_over = is_full || attempt >= MAX_ATTEMPTS || message.expires_ms <= now_ms;
        let at = if is_over {
            message.check_ms = now_ms;
            let is_expired = message.expires_ms <= now_ms;
            At::Over(if is_expired {
                Unsent::Expired
            } else {
                Unsent::TooMany(code)
            })
        } else {
            message.attempts.insert(copy.short(), attempt + 1);
            let last = retry.steps_s.len().saturating_sub(1);
            let step_s = retry.steps_s.get(last.min(usize::from(attempt) - 1));
            let step_s = step_s.filter(|_| !has_arrived).copied();
            let due_ms = now_ms + 1_000 * u64::from(step_s.unwrap_or(retry.delay_s));
            message.waiting.insert((due_ms, copy));
            let entries = recipient.hashes().map(|hash| (hash, copy));
            self.awaited.extend(entries);
            self.waiting += 1;
            self.changed.insert(id);
            self.changed_ms.get_or_insert(now_ms);
            self.changes += 1;
            At::Waiting(due_ms, recipient)
        };
        self.copies.insert(copy, Copy::new(id, at));
        self.plan(id);
        match is_over {
            true => Deferred::GivenUp,
            false => Deferred::Waiting,
        }
    }

    /// A copy waits no longer.
    pub(super) fn leave(&mut self, copy: CopyId) {
        let Some(known) = self.copies.get_mut(&copy) else {
            return;
        };
        if let At::Waiting(due_ms, recipient) = known.at {
            known.at = At::Idle;
            for hash in recipient.hashes() {
                self.awaited.remove(&(hash, copy));
            }
            self.waiting -= 1;
            if let Some(message) = self.messages.get_mut(&known.message) {
                message.waiting.remove(&(due_ms, copy));
            }
        }
    }

    /// A recipient with one of these hashes has arrived: what waits for it is due after this delay.
    pub fn arrived(&mut self, hashes: RangeInclusive<u32>, now_ms: u64, delay_ms: u64) {
        let first = least(*hashes.start());
        let awaited = self.awaited.range(first..);
        let awaited = awaited.take_while(|(hash, _)| hashes.contains(hash));
        let copies: Vec<CopyId> = awaited.map(|(_, copy)| *copy).collect();
        for copy in copies {
            self.hasten(copy, now_ms + delay_ms);
        }
        self.recent.note(hashes, now_ms);
    }

    /// A copy that waits is due at this time at the latest.
    pub(super) fn hasten(&mut self, copy: CopyId, due_ms: u64) {
        let Some(known) = self.copies.get_mut(&copy) else {
            return;
        };
        if let At::Waiting(before_ms, recipient) = known.at
            && due_ms < before_ms
            && let Some(message) = self.messages.get_mut(&known.message)
        {
            known.at = At::Waiting(due_ms, recipient);
            message.waiting.remove(&(before_ms, copy));
            message.waiting.insert((due_ms, copy));
            let id = known.message;
            self.plan(id);
        }
    }

    /// All copies of a message that wait are due now.
    pub fn retry(&mut self, id: u64, now_ms: u64) {
        let message = self.messages.get(&id);
        let waiting = message.map(|message| message.waiting.clone());
        let waiting = waiting.unwrap_or_default();
        for (_, copy) in &waiting {
            self.hasten(*copy, now_ms);
        }
    }

    /// A message expires now.
    pub fn expire(&mut self, id: u64, now_ms: u64) {
        if let Some(message) = self.messages.get_mut(&id) {
            message.expires_ms = message.expires_ms.min(now_ms);
            self.plan(id);
        }
    }

    fn end_message(&mut self, id: u64, now_ms: u64) {
        if let Some(message) = self.messages.remove(&id) {
            self.due.remove(&(message.due_ms, id));
            self.known.forget(id, message.names);
            self.outstanding = self.outstanding.saturating_sub(message.left);
        }
        self.changed.remove(&id);
        self.done.push(id);
        self.changes += 1;
        self.changed_ms.get_or_insert(now_ms);
    }

    /// Enters when a message is due next.
    pub(super) fn plan(&mut self, id: u64) {
        if let Some(message) = self.messages.get_mut(&id) {
            self.due.remove(&(message.due_ms, id));
            message.due_ms = message.next_due_ms();
            if !message.is_at_work {
                self.due.insert((message.due_ms, id));
            }
        }
    }

    /// Makes a message due after this delay, or when it expires if that is earlier.
    pub fn put_off(&mut self, id: u64, now_ms: u64, delay_ms: u64) {
        if let Some(message) = self.messages.get_mut(&id) {
            message.check_ms = now_ms + delay_ms;
            message.not_before_ms = message.check_ms;
            self.plan(id);
        }
    }

    /// Takes the next message that is due. It is at work from now on, and what is sent now is due
    /// again `LOST_MS` later.
    pub fn take_due(&mut self, now_ms: u64) -> Option<u64> {
        let &(due_ms, id) = self.due.first()?;
        if due_ms > now_ms {
            return None;
        }
        if let Some(message) = self.messages.get_mut(&id) {
            message.check_ms = now_ms + LOST_MS;
            message.not_before_ms = 0;
            message.is_resumed = true;
            message.is_expired = message.expires_ms <= now_ms;
        }
        self.set_at_work(id, true);
        Some(id)
    }

    /// A message is not at work any more: it may be due again.
    pub fn rest(&mut self, id: u64) {
        self.set_at_work(id, false);
    }

    fn set_at_work(&mut self, id: u64, is_at_work: bool) {
        if let Some(message) = self.messages.get_mut(&id) {
            message.is_at_work = is_at_work;
            self.plan(id);
        }
    }

    /// A message is no longer in the store. False: its recipients had all ended.
    pub fn forget(&mut self, id: u64, now_ms: u64) -> bool {
        let Some(message) = self.messages.get(&id) else {
            return false;
        };
        for (_, copy) in message.waiting.clone() {
            self.leave(copy);
        }
        self.copies.retain(|_, copy| copy.message != id);
        self.end_message(id, now_ms);
        true
    }

    /// Whether a message is outstanding.
    pub fn knows(&self, id: u64) -> bool {
        self.messages.contains_key(&id)
    }

    /// When the next message is due.
    pub fn due_ms(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, _)| *due_ms)
    }

    /// Whether a message has expired.
    pub fn is_expired(&self, id: u64, now_ms: u64) -> bool {
        let message = self.messages.get(&id);
        message.is_some_and(|message| message.expires_ms <= now_ms)
    }

    /// Marks a message with a number, for the life of this process.
    pub fn set_mark(&mut self, id: u64, mark: [u64; 2]) {
        if let Some(message) = self.messages.get_mut(&id) {
            message.mark = mark;
        }
    }

    /// The mark of a message; 0: it has none.
    pub fn mark(&self, id: u64) -> [u64; 2] {
        self.messages
            .get(&id)
            .map_or([0; 2], |message| message.mark)
    }

    /// The mark of a copy's message.
    pub fn mark_of(&self, copy: CopyId) -> [u64; 2] {
        let known = self.copies.get(&copy);
        known.map_or([0; 2], |known| self.mark(known.message))
    }

    /// How many recipients of a message have not ended, without those that wait for longer.
    pub fn left(&self, id: u64, now_ms: u64) -> usize {
        self.messages.get(&id).map_or(0, |message| {
            let due = message
                .waiting
                .iter()
                .take_while(|(due_ms, _)| *due_ms <= now_ms);
            message.left - message.waiting.len() + due.count()
        })
    }

    /// How many recipients have not ended and do not wait.
    pub fn outstanding(&self) -> usize {
        self.outstanding - self.waiting
    }

    /// How many recipients messages wait for.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// When changes are to be written; `None`: there are none.
    pub fn write_ms(&self) -> Option<u64> {
        let changed_ms = self.changed_ms?;
        let wait = if self.changes >= TOGETHER {
            0
        } else {
            GATHER_MS
        };
        Some(changed_ms + wait)
    }

    /// All changes since the last time.
    pub fn take_changes(&mut self) -> Changes {
        self.changed_ms = None;
        self.changes = 0;
        let changed = std::mem::take(&mut self.changed);
        let ended = changed.into_iter().filter_map(|id| {
            let message = self.messages.get(&id)?;
            let mut written = message.ended.clone();
            for (short, attempt) in &message.attempts {
                written.extend_from_slice(short);
                written.extend_from_slice(&(attempt | ATTEMPT).to_be_bytes());
            }
            Some((id, written))
        });
        Changes {
            ended: ended.collect(),
            done: std::mem::take(&mut self.done),
        }
    }
}

/// The number behind the beginning of a copy's name.
pub(super) fn number_in(one: &[u8]) -> u16 {
    u16::from_be_bytes([one[SHORT], one[SHORT + 1]])
}

/// The first entry of those with this hash.
fn least(hash: u32) -> (u32, CopyId) {
    (hash, CopyId([0; 16]))
}

#[cfg(test)]
mod tests;
