//! An operator's questions about stored messages, answered in CPM fan-out. What was sought is found
//! in memory; what is shown of it is read from the store, a portion at a time.

use super::keeping::{Keeping, Looking};
use super::kept_large::job_of;
use super::messages::{Filter, write_message, write_recipient};
use crate::controlling::{ControllingFunction, FanOutJob};
use crate::shared::{MessageCounts, MessageRecord, RecipientRecord, RecipientState};
use crate::sip::Uri;
use crate::store::{CopyState, Kept, Settled, Sought};

/// The words before the argument of a question.
pub(super) const LIST: &str = "list";
pub(super) const SHOW: &str = "show";
pub(super) const RETRY: &str = "retry";
pub(super) const EXPIRE: &str = "expire";

/// Of a recipient that has the message already (RFC 3261 8.2.2.2).
const HAS_IT: u16 = 482;

impl Keeping {
    /// Answers a question, or has the store read what it is about.
    pub(super) fn answer_operator(
        &mut self,
        number: u64,
        question: &str,
        service: &ControllingFunction,
        now_ms: u64,
    ) {
        let (word, argument) = question.split_once(' ').unwrap_or((question, ""));
        let found = match word {
            LIST => Filter::parse(argument).map(|filter| self.list(&filter, service)),
            SHOW => {
                let name = service.id_name(argument.as_bytes());
                self.ledger.named(name).map(|id| vec![id])
            }
            _ => {
                let recipients = self.hurry(argument, word == EXPIRE, service, now_ms);
                let answer = recipients.map(|count| format!("recipients={count}\n"));
                return self.desk.answer(number, answer.as_deref());
            }
        };
        match found {
            None => self.desk.answer(number, None),
            Some(ids) if ids.is_empty() => self.desk.answer(number, Some("")),
            Some(ids) => {
                self.store.look(number, ids);
                self.looking = Some(Looking {
                    number,
                    shows: word == SHOW,
                    answer: String::new(),
                });
            }
        }
    }

    /// The messages that a list is to have.
    fn list(&self, filter: &Filter<'_>, service: &ControllingFunction) -> Vec<u64> {
        let waits = match filter.state {
            None => None,
            Some("waiting") => Some(true),
            Some("outstanding") => Some(false),
            // They have ended, and left the store.
            Some(_) => return Vec::new(),
        };
        let originator = filter.originator.map(str::as_bytes);
        let sought = Sought {
            name: originator.map(|uri| service.originator_name(uri)),
            recipient: filter.recipient.map(|uri| service.recipient_key(uri)),
            waits,
        };
        let listed = |[number, _]: [u64; 2]| {
            let messages = service.messages().filter(|_| filter.recipient.is_none());
            number != 0 && messages.is_some_and(|messages| messages.message(number).is_some())
        };
        let found = self.ledger.seek(sought, listed);
        let listed = found.into_iter().skip(filter.skip).take(filter.most);
        listed.collect()
    }

    /// An operator wants what waits to be tried now, or given up: the newest message with this id,
    /// or all that waits for the recipient with this URI. Returns for how many recipients; `None`:
    /// no message has that id.
    fn hurry(
        &mut self,
        wanted: &str,
        gives_up: bool,
        service: &ControllingFunction,
        now_ms: u64,
    ) -> Option<usize> {
        if let Some(id) = self.ledger.named(service.id_name(wanted.as_bytes())) {
            let waiting = self.ledger.waiting_in(id);
            match gives_up {
                true => self.ledger.expire(id, now_ms),
                false => self.ledger.retry(id, now_ms),
            }
            return Some(waiting);
        }
        Uri::parse(wanted).ok()?;
        let recipient = service.recipient_key(wanted);
        let waiting = match gives_up {
            true => self.ledger.expire_recipient(recipient, now_ms),
            false => self.ledger.retry_recipient(recipient, now_ms),
        };
        Some(waiting).filter(|waiting| *waiting > 0)
    }

    /// A portion of what was sought has been read. `rest`: what has not.
    pub(super) fn see(
        &mut self,
        number: u64,
        found: &[Kept],
        rest: Vec<u64>,
        service: &ControllingFunction,
    ) {
        // The last question counts: whoever has asked before waits no longer.
        let Some(mut asked) = self.looking.take_if(|asked| asked.number == number) else {
            return;
        };
        for kept in found {
            if let Some((job, _)) = job_of(kept) {
                self.write_kept(&mut asked, kept.id, &job, service);
            }
        }
        if !self.desk.awaits(asked.number) {
            return;
        }
        if rest.is_empty() {
            return self.desk.answer(asked.number, Some(&asked.answer));
        }
        self.store.look(asked.number, rest);
        self.looking = Some(asked);
    }

    fn write_kept(
        &self,
        asked: &mut Looking,
        id: u64,
        job: &FanOutJob,
        service: &ControllingFunction,
    ) {
        let mut counts = MessageCounts {
            waiting: u32::try_from(self.ledger.waiting_in(id)).unwrap_or(u32::MAX),
            ..MessageCounts::default()
        };
        for (code, count) in self.ledger.codes(id) {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let counted = match state_of(CopyState::Ended(code)).0 {
                RecipientState::Delivered => &mut counts.delivered,
                RecipientState::Dropped => &mut counts.dropped,
                _ => &mut counts.failed,
            };
            *counted += count;
        }
        let now_ms = service.messages().map_or(0, |messages| messages.now_ms());
        let about = MessageRecord {
            // Another start of the machine has another clock.
            received_ms: job.about().received_ms.min(now_ms),
            ..job.about().clone()
        };
        write_message(&mut asked.answer, &about, counts, now_ms);
        if !asked.shows {
            return;
        }
        let states = self.ledger.states(id, job.copies());
        for (leg, (uri, state)) in job.recipients().zip(states).enumerate() {
            let (state, code) = state_of(state);
            let recipient = RecipientRecord {
                leg: u32::try_from(leg).unwrap_or(u32::MAX),
                uri: uri.to_owned(),
                state,
                code,
                end_ms: 0,
            };
            write_recipient(&mut asked.answer, &recipient, about.received_ms);
        }
    }
}

/// The state of a recipient for the operator, and its code.
fn state_of(state: CopyState) -> (RecipientState, u16) {
    match state {
        CopyState::Outstanding => (RecipientState::Outstanding, 0),
        CopyState::Waiting => (RecipientState::Waiting, 0),
        CopyState::Ended(code) => match Settled::of_bits(code) {
            Settled::Dropped => (RecipientState::Dropped, 0),
            Settled::Code(HAS_IT | 200..300) => (RecipientState::Delivered, code),
            _ => (RecipientState::Failed, code),
        },
    }
}
