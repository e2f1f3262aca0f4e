//! Which copies of which stored message are outstanding. In memory, without IO: it says what must
//! be written and what is due.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

/// The name of a copy, from its Call-ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CopyId(pub [u8; 16]);

impl CopyId {
    /// Its beginning, which tells the copies of one message apart.
    fn short(self) -> [u8; SHORT] {
        let mut short = [0; SHORT];
        short.copy_from_slice(&self.0[..SHORT]);
        short
    }
}

const SHORT: usize = 8;

/// Size of an ended recipient in the store: the beginning of its copy's name, and its code.
const ENDED_BYTES: usize = SHORT + 2;

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
struct Message {
    left: usize,
    /// Its ended recipients, as written to the store.
    ended: Vec<u8>,
    expires_ms: u64,
    /// When it is due again if it has not ended by then.
    due_ms: u64,
    /// Whether it is being sent: it is not due until it [rests](Ledger::rest).
    is_at_work: bool,
    /// Whether it was resumed. Then all outstanding copies are known: an unknown one has ended.
    is_resumed: bool,
    /// A number of the caller's.
    mark: [u64; 2],
}

#[derive(Clone, Copy, Debug)]
struct Copy {
    message: u64,
    /// `None`: only a previous process may have sent it.
    sent_ms: Option<u64>,
}

/// What is outstanding.
#[derive(Debug, Default)]
pub struct Ledger {
    messages: HashMap<u64, Message>,
    copies: HashMap<CopyId, Copy>,
    due: BTreeSet<(u64, u64)>,
    changed: BTreeSet<u64>,
    done: Vec<u64>,
    /// Time of the first change that is not written, and the number of changes.
    changed_ms: Option<u64>,
    changes: usize,
    outstanding: usize,
    /// The last ends of unknown copies: one of them may be about to [replace](Self::replaced) a
    /// known one.
    early: VecDeque<(CopyId, u16)>,
}

impl Ledger {
    /// Enters a stored message whose copies are about to be sent: it is at work.
    pub fn begin(&mut self, id: u64, recipients: usize, expires_ms: u64, now_ms: u64) {
        self.enter(id, recipients, Vec::new(), expires_ms, now_ms + LOST_MS);
        self.set_at_work(id, true);
    }

    /// Enters a message that a previous process stored, with all of its copies and those that had
    /// ended. It is due at once.
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
            .map(|one| &one[..SHORT])
            .collect();
        let mut left = 0;
        for copy in copies.filter(|copy| !known.contains(&copy.short()[..])) {
            left += 1;
            let message = Copy {
                message: id,
                sent_ms: None,
            };
            self.copies.insert(copy, message);
        }
        self.enter(id, left, ended.to_vec(), expires_ms, now_ms);
        if left == 0 {
            self.end_message(id, now_ms);
        }
    }

    fn enter(&mut self, id: u64, left: usize, ended: Vec<u8>, expires_ms: u64, due_ms: u64) {
        let due_ms = due_ms.min(expires_ms);
        let message = Message {
            left,
            ended,
            expires_ms,
            due_ms,
            is_at_work: false,
            is_resumed: false,
            mark: [0; 2],
        };
        self.outstanding += left;
        self.due.insert((due_ms, id));
        self.messages.insert(id, message);
    }

    /// Which of these copies of a message are to be sent now: those that have not ended and are not
    /// on their way.
    pub fn wanted(&self, id: u64, copies: impl Iterator<Item = CopyId>, now_ms: u64) -> Vec<bool> {
        let ended = self
            .messages
            .get(&id)
            .map_or(&[][..], |message| &message.ended);
        let ended: HashSet<&[u8]> = ended
            .chunks_exact(ENDED_BYTES)
            .map(|one| &one[..SHORT])
            .collect();
        let is_wanted = |copy: CopyId| match self.copies.get(&copy) {
            Some(known) => known.sent_ms.is_none_or(|sent| sent + LOST_MS <= now_ms),
            None => !ended.contains(&copy.short()[..]),
        };
        copies.map(is_wanted).collect()
    }

    /// Enters copies of a resumed message that are about to be sent.
    pub fn expect(&mut self, id: u64, copies: impl Iterator<Item = CopyId>) {
        for copy in copies {
            self.copies.entry(copy).or_insert(Copy {
                message: id,
                sent_ms: None,
            });
        }
    }

    /// A copy is on its way. One that has ended meanwhile stays so.
    pub fn sent(&mut self, id: u64, copy: CopyId, now_ms: u64) {
        if self.has_ended(id, copy) {
            return;
        }
        let sent = Copy {
            message: id,
            sent_ms: Some(now_ms),
        };
        self.copies.insert(copy, sent);
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
        if let Some(known) = self.copies.get_mut(&copy) {
            known.sent_ms = None;
            let id = known.message;
            self.put_off(id, now_ms, delay_ms);
        }
    }

    /// Whether only a previous process may have sent a copy.
    pub fn is_left_over(&self, copy: CopyId) -> bool {
        let known = self.copies.get(&copy);
        known.is_some_and(|known| known.sent_ms.is_none())
    }

    /// Another copy, to the same recipient, is on its way in place of this one.
    pub fn replaced(&mut self, copy: CopyId, other: CopyId, now_ms: u64) {
        if let Some(known) = self.copies.get(&copy).copied() {
            self.copies.remove(&copy);
            let replacing = Copy {
                sent_ms: Some(now_ms),
                ..known
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
        self.end_recipient(known.message, copy, code, now_ms)
    }

    /// A copy of that message has ended, whether or not it was on its way.
    pub fn end_recipient(&mut self, id: u64, copy: CopyId, code: u16, now_ms: u64) -> bool {
        if self.has_ended(id, copy) {
            self.copies.remove(&copy);
            return false;
        }
        self.copies.remove(&copy);
        let Some(message) = self.messages.get_mut(&id) else {
            return false;
        };
        message.left = message.left.saturating_sub(1);
        message.ended.extend_from_slice(&copy.short());
        message.ended.extend_from_slice(&code.to_be_bytes());
        self.outstanding = self.outstanding.saturating_sub(1);
        self.changes += 1;
        if message.left == 0 {
            self.end_message(id, now_ms);
        } else {
            self.changed.insert(id);
            self.changed_ms.get_or_insert(now_ms);
        }
        true
    }

    fn end_message(&mut self, id: u64, now_ms: u64) {
        if let Some(message) = self.messages.remove(&id) {
            self.due.remove(&(message.due_ms, id));
            self.outstanding = self.outstanding.saturating_sub(message.left);
        }
        self.changed.remove(&id);
        self.done.push(id);
        self.changes += 1;
        self.changed_ms.get_or_insert(now_ms);
    }

    /// Makes a message due after this delay, or when it expires if that is earlier.
    pub fn put_off(&mut self, id: u64, now_ms: u64, delay_ms: u64) {
        if let Some(message) = self.messages.get_mut(&id) {
            self.due.remove(&(message.due_ms, id));
            message.due_ms = now_ms + delay_ms;
            if message.expires_ms > now_ms {
                message.due_ms = message.due_ms.min(message.expires_ms);
            }
            if !message.is_at_work {
                self.due.insert((message.due_ms, id));
            }
        }
    }

    /// Takes the next message that is due. It is at work from now on, and due again `LOST_MS` later
    /// at the earliest.
    pub fn take_due(&mut self, now_ms: u64) -> Option<u64> {
        let &(due_ms, id) = self.due.first()?;
        if due_ms > now_ms {
            return None;
        }
        self.set_at_work(id, true);
        if let Some(message) = self.messages.get_mut(&id) {
            message.due_ms = now_ms + LOST_MS;
            message.is_resumed = true;
        }
        Some(id)
    }

    /// A message is not at work any more: it may be due again.
    pub fn rest(&mut self, id: u64) {
        self.set_at_work(id, false);
    }

    fn set_at_work(&mut self, id: u64, is_at_work: bool) {
        if let Some(message) = self.messages.get_mut(&id) {
            message.is_at_work = is_at_work;
            if is_at_work {
                self.due.remove(&(message.due_ms, id));
            } else {
                self.due.insert((message.due_ms, id));
            }
        }
    }

    /// A message is no longer in the store. False: its recipients had all ended.
    pub fn forget(&mut self, id: u64, now_ms: u64) -> bool {
        if !self.messages.contains_key(&id) {
            return false;
        }
        self.copies.retain(|_, copy| copy.message != id);
        self.end_message(id, now_ms);
        true
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

    /// How many recipients of a message have not ended.
    pub fn left(&self, id: u64) -> usize {
        self.messages.get(&id).map_or(0, |message| message.left)
    }

    /// How many recipients have not ended.
    pub fn outstanding(&self) -> usize {
        self.outstanding
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
            Some((id, message.ended.clone()))
        });
        Changes {
            ended: ended.collect(),
            done: std::mem::take(&mut self.done),
        }
    }

    /// The codes with which recipients of a message have ended.
    pub fn codes(&self, id: u64) -> BTreeMap<u16, usize> {
        let mut codes = BTreeMap::new();
        if let Some(message) = self.messages.get(&id) {
            for one in message.ended.chunks_exact(ENDED_BYTES) {
                let code = u16::from_be_bytes([one[SHORT], one[SHORT + 1]]);
                *codes.entry(code).or_default() += 1;
            }
        }
        codes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(number: u8) -> CopyId {
        CopyId([number; 16])
    }

    const NEVER: u64 = u64::MAX;

    #[test]
    fn a_message_is_over_with_its_last_recipient() {
        let mut ledger = Ledger::default();
        ledger.begin(7, 3, NEVER, 0);
        for number in [1, 2] {
            ledger.sent(7, copy(number), 0);
        }
        assert!(ledger.end_recipient(7, copy(3), 503, 5), "never sent");
        assert!(ledger.ended(copy(1), 200, 6));
        assert!(!ledger.ended(copy(1), 200, 6), "once");
        assert_eq!((ledger.outstanding(), ledger.left(7)), (1, 1));
        assert_eq!(ledger.write_ms(), Some(5 + GATHER_MS));
        let changes = ledger.take_changes();
        assert_eq!(changes.ended[0].0, 7);
        assert_eq!(changes.ended[0].1.len(), 2 * ENDED_BYTES);
        assert_eq!(ledger.codes(7), BTreeMap::from([(200, 1), (503, 1)]));
        assert!(ledger.ended(copy(2), 404, 9));
        let changes = ledger.take_changes();
        assert_eq!((changes.ended, changes.done), (vec![], vec![7]));
        assert_eq!((ledger.outstanding(), ledger.due_ms()), (0, None));
        assert_eq!(ledger.write_ms(), None);
    }

    #[test]
    fn the_next_process_sends_what_has_not_ended_and_hears_the_ends_of_what_the_first_has_sent() {
        let mut first = Ledger::default();
        first.begin(7, 3, NEVER, 0);
        for number in [1, 2, 3] {
            first.sent(7, copy(number), 0);
        }
        first.ended(copy(2), 200, 1);
        let (_, ended) = first.take_changes().ended.remove(0);
        let mut next = Ledger::default();
        next.restore(7, [1, 2, 3].into_iter().map(copy), &ended, NEVER, 100);
        assert_eq!(next.outstanding(), 2);
        assert!(next.is_left_over(copy(3)) && !next.is_left_over(copy(2)));
        assert!(next.ended(copy(3), 200, 101), "late, but not too late");
        assert_eq!(next.take_due(102), Some(7));
        let wanted = |ledger: &Ledger, now_ms| {
            let all = ledger.wanted(7, [1, 2, 3].into_iter().map(copy), now_ms);
            [all[0], all[1], all[2]]
        };
        assert_eq!(wanted(&next, 102), [true, false, false]);
        next.sent(7, copy(1), 102);
        assert_eq!(wanted(&next, 103), [false; 3], "it is on its way");
        assert!(!next.is_left_over(copy(1)));
        let lost = wanted(&next, 102 + LOST_MS);
        assert_eq!(lost, [true, false, false], "its end was lost");
        assert!(next.ended(copy(1), 482, 110));
        assert_eq!(next.take_changes().done, [7]);
    }

    #[test]
    fn a_message_that_expires_while_it_is_sent_is_due_when_that_is_done() {
        let mut ledger = Ledger::default();
        ledger.begin(7, 2, 5, 0);
        ledger.sent(7, copy(1), 1);
        assert_eq!(ledger.take_due(6), None, "it is being sent");
        ledger.put_off(7, 6, 20);
        assert_eq!(ledger.take_due(30), None);
        ledger.rest(7);
        assert_eq!((ledger.take_due(25), ledger.take_due(26)), (None, Some(7)));
        assert_eq!(ledger.take_due(u64::MAX), None, "one at a time");
        let wanted = ledger.wanted(7, [1, 2].into_iter().map(copy), 26);
        assert_eq!(wanted, [false, true], "the first is on its way");
    }

    #[test]
    fn a_recipient_ends_once() {
        let mut ledger = Ledger::default();
        ledger.restore(7, [1, 2].into_iter().map(copy), &[], NEVER, 0);
        assert_eq!(ledger.take_due(0), Some(7));
        ledger.expect(7, [1, 2].into_iter().map(copy));
        assert!(ledger.ended(copy(1), 200, 1), "late, to the process before");
        // The job that resumes the message does not know, and sends to both.
        ledger.sent(7, copy(1), 2);
        ledger.sent(7, copy(2), 2);
        assert!(!ledger.ended(copy(1), 482, 3));
        assert!(!ledger.end_recipient(7, copy(1), 408, 3));
        assert_eq!((ledger.left(7), ledger.outstanding()), (1, 1));
        assert!(ledger.ended(copy(2), 200, 4));
        assert_eq!((ledger.left(7), ledger.outstanding()), (0, 0));
    }

    #[test]
    fn what_is_gone_from_the_store_is_not_waited_for() {
        let mut ledger = Ledger::default();
        ledger.restore(7, [1, 2].into_iter().map(copy), &[], NEVER, 0);
        assert_eq!(ledger.take_due(0), Some(7));
        assert!(ledger.forget(7, 1));
        assert!(!ledger.forget(7, 1));
        assert_eq!((ledger.outstanding(), ledger.due_ms()), (0, None));
        assert!(!ledger.ended(copy(1), 200, 2));
    }

    #[test]
    fn all_but_the_last_line_may_have_been_written() {
        let mut ledger = Ledger::default();
        let ended = [&copy(1).short()[..], &200_u16.to_be_bytes()].concat();
        ledger.restore(7, [copy(1)].into_iter(), &ended, NEVER, 0);
        assert_eq!(ledger.take_changes().done, [7]);
        assert_eq!((ledger.outstanding(), ledger.due_ms()), (0, None));
    }

    #[test]
    fn a_message_is_due_again_until_it_is_over() {
        let mut ledger = Ledger::default();
        ledger.begin(1, 2, NEVER, 0);
        ledger.begin(2, 1, 50, 0);
        assert_eq!(ledger.due_ms(), None, "both are being sent");
        ledger.rest(1);
        ledger.rest(2);
        assert_eq!(ledger.take_due(49), None);
        assert_eq!(ledger.take_due(50), Some(2));
        assert!(ledger.is_expired(2, 50) && !ledger.is_expired(1, 50));
        ledger.put_off(1, 0, 60);
        assert_eq!((ledger.take_due(59), ledger.take_due(60)), (None, Some(1)));
        assert_eq!(ledger.due_ms(), None, "both are at work again");
        ledger.rest(2);
        assert_eq!(ledger.due_ms(), Some(50 + LOST_MS));
        ledger.expect(1, [1, 2].into_iter().map(copy));
        ledger.rest(1);
        ledger.sent(1, copy(1), 61);
        ledger.unsent(copy(1), 61, 9);
        assert_eq!(ledger.wanted(1, [copy(1)].into_iter(), 62), [true]);
        assert_eq!(ledger.take_due(70), Some(1));
        ledger.sent(1, copy(1), 71);
        ledger.replaced(copy(1), copy(9), 72);
        assert!(!ledger.ended(copy(1), 415, 73));
        assert_eq!(ledger.left(1), 2);
        assert!(ledger.ended(copy(9), 200, 74));
        assert_eq!(ledger.left(1), 1);
        // The end of the second copy arrives before the copy is known.
        ledger.sent(1, copy(2), 75);
        assert!(!ledger.ended(copy(8), 200, 76));
        ledger.replaced(copy(2), copy(8), 77);
        assert_eq!(ledger.left(1), 0);
    }
}
