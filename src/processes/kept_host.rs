//! Sends the copies of a stored message, and records which of them are on their way.

use std::cell::RefCell;
use std::fmt;

use super::sender::Sender;
use crate::controlling::{
    ControllingFunction, Counter, Host, Journal, OutgoingRequest, Sent, copy_of_call_id,
};
use crate::log::LogAt;
use crate::store::{Deferred, Ledger, Retry, Settled};

/// The code of a request that could not be sent (RFC 3261 §8.1.3.1).
const UNSENT: u16 = 503;

/// When recipients are tried again.
pub(super) fn retry(service: &ControllingFunction) -> Retry<'_> {
    let deferral = &service.settings().deferral;
    Retry {
        steps_s: &deferral.steps_s,
        delay_s: u32::try_from(deferral.delay_s).unwrap_or(u32::MAX),
        most: deferral.most,
    }
}

/// A host that records which copies of a stored message are on their way.
pub(super) struct KeptHost<'a> {
    pub(super) sender: &'a Sender<'a>,
    pub(super) ledger: RefCell<&'a mut Ledger>,
    pub(super) id: u64,
    pub(super) now_ms: u64,
    /// Nothing more is sent: recipients end with this code.
    pub(super) give_up: Option<u16>,
}

impl KeptHost<'_> {
    fn note(&self, outgoing: &OutgoingRequest<'_>, sent: Sent) {
        let Some(copy) = copy_of_call_id(outgoing.call_id.as_bytes()) else {
            return;
        };
        let mut ledger = self.ledger.borrow_mut();
        let code = match sent {
            Sent::Queued => return ledger.sent(self.id, copy, self.now_ms),
            Sent::NoRoom | Sent::Busy => return,
            Sent::Dropped => Settled::Dropped.bits(),
            Sent::Failed => self.give_up.unwrap_or(UNSENT),
            Sent::Deferred => {
                let service = self.sender.service();
                let recipient = service.recipient_key(outgoing.request_uri);
                let id = (self.id, copy);
                let deferred =
                    ledger.defer_recipient(id, UNSENT, recipient, retry(service), self.now_ms);
                match deferred {
                    Deferred::Waiting => self.sender.count(Counter::Deferred, 1),
                    Deferred::HasIt => self.sender.count(Counter::Delivered, 1),
                    Deferred::GivenUp | Deferred::Unknown => {}
                }
                return;
            }
        };
        ledger.end_recipient(self.id, copy, code, self.now_ms);
    }
}

impl Journal for KeptHost<'_> {
    fn log(&self, at: LogAt, line: fmt::Arguments<'_>) {
        self.sender.log(at, line);
    }

    fn count(&self, counter: Counter, n: u32) {
        self.sender.count(counter, n);
    }
}

impl Host for KeptHost<'_> {
    fn send(&self, outgoing: &OutgoingRequest<'_>) -> Sent {
        if self.give_up.is_some() {
            return Sent::NoRoom;
        }
        let sent = self.sender.send(outgoing);
        self.note(outgoing, sent);
        sent
    }

    fn give_up(&self, outgoing: &OutgoingRequest<'_>) -> Sent {
        let sent = self.sender.give_up(outgoing);
        self.note(outgoing, sent);
        sent
    }

    fn is_turn_over(&self) -> bool {
        self.sender.is_turn_over()
    }

    fn hand_over(&self, _: &[u8]) -> bool {
        false
    }

    fn begin_session(&self, _: &[u8]) -> bool {
        false
    }
}
