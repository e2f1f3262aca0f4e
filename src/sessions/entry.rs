//! A session's state machine plus the process's bookkeeping for it: transaction, timers, queue
//! membership.

use std::time::Instant;

use super::stored::Stored;
use crate::controlling::large_message_mode::{
    AcceptedInvite, Action, LegNumber, LegOutcome, Session, SessionId, Stage, TransactionKey,
};
use crate::controlling::{AboutRequest, Kind};
use crate::shared::MessageNumber;
use crate::sip::{HeaderBlock, HeaderName, Message};

/// One session.
pub(super) struct Entry {
    pub(super) machine: Session,
    /// The key of the originator's address, if the session counts as one of its own.
    pub(super) originator: Option<u64>,
    /// The transaction of the originator's INVITE.
    pub(super) transaction: TransactionKey,
    /// Whether the transaction layer is retransmitting its 2xx.
    pub(super) kept: bool,
    /// Whether it has its final response.
    pub(super) answered: bool,
    /// The legs' INVITEs, by leg number.
    legs: Vec<Invite>,
    /// The action to carry out first.
    pub(super) held_back: Option<HeldBack>,
    /// Whether it is in the queue of sessions with actions.
    pub(super) is_busy: bool,
    /// The current setting of its alarm.
    pub(super) alarm: Option<Instant>,
    pub(super) born: Instant,
    pub(super) kind: Kind,
    pub(super) request_uri: String,
    pub(super) call_id: String,
    /// For the operator's script.
    pub(super) about: AboutRequest,
    /// Its record.
    pub(super) record: MessageNumber,
    /// What the store has to do with it.
    pub(super) stored: Stored,
    /// The recipients' numbers in the record; empty: their own.
    pub(super) places: Vec<u32>,
    /// From, and header lines with the ids, of the requests shown to scripts.
    pub(super) from: String,
    pub(super) id_headers: Vec<u8>,
}

/// The state of a leg's INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Invite {
    /// Not sent by this process. Another one may be sending it.
    Unsent,
    /// Sent, in this transaction.
    Sent(TransactionKey),
    /// To be cancelled, once the process that has sent it has reported its transaction.
    CancelDue,
}

/// An action to retry or postpone: an INVITE that the proxy refused for lack of memory, or a reply
/// that waits for the relay.
pub(super) struct HeldBack {
    pub(super) action: Action,
    /// Since when memory was lacking.
    pub(super) since: Option<Instant>,
}

impl Entry {
    pub(super) fn new(
        now: Instant,
        machine: Session,
        transaction: TransactionKey,
        invite: &AcceptedInvite,
        originator: Option<u64>,
    ) -> Self {
        let message = &invite.message;
        let mut id_headers = HeaderBlock::new();
        for name in [HeaderName::ConversationId, HeaderName::ContributionId] {
            if let Some(field) = message.first(name) {
                id_headers.push_line(&field);
            }
        }
        let bytes = machine.size().unwrap_or(0);
        Entry {
            machine,
            originator,
            transaction,
            kept: false,
            answered: false,
            legs: Vec::new(),
            held_back: None,
            is_busy: false,
            alarm: None,
            born: now,
            kind: invite.kind,
            request_uri: invite.own_address.clone(),
            call_id: text(message, HeaderName::CallId),
            about: AboutRequest {
                bytes,
                ..invite.about.clone()
            },
            record: invite.record,
            stored: Stored::Not,
            places: Vec::new(),
            from: format!("<{}>", invite.originator),
            id_headers: id_headers.into_bytes(),
        }
    }

    pub(super) fn id(&self) -> SessionId {
        self.machine.id()
    }

    /// The number of a recipient in the record.
    pub(super) fn place(&self, recipient: u32) -> u32 {
        let place = self.places.get(recipient as usize);
        place.copied().unwrap_or(recipient)
    }

    /// The INVITE of a leg.
    pub(super) fn invite(&mut self, leg: LegNumber) -> &mut Invite {
        let place = leg.0 as usize;
        if self.legs.len() <= place {
            self.legs.resize(place + 1, Invite::Unsent);
        }
        &mut self.legs[place]
    }

    /// The next action; one that was held back comes first.
    pub(super) fn next_action(&mut self) -> Option<(Action, Option<Instant>)> {
        match self.held_back.take() {
            Some(HeldBack { action, since }) => Some((action, since)),
            None => self.machine.poll_action().map(|action| (action, None)),
        }
    }

    /// Whether the originator's 2xx still waits for its ACK.
    pub(super) fn awaits_ack(&self) -> bool {
        matches!(self.machine.stage(), Stage::Answered | Stage::Abandoned)
    }

    /// The number of recipients that have the message, and of those that have finally failed.
    pub(super) fn outcomes(&self) -> (usize, usize) {
        let of = |wanted: fn(LegOutcome) -> bool| {
            let legs = self.machine.legs();
            legs.filter(|leg| leg.outcome.is_some_and(wanted)).count()
        };
        (
            of(|outcome| outcome == LegOutcome::Delivered),
            of(|outcome| matches!(outcome, LegOutcome::Failed(_))),
        )
    }
}

/// The value of a header field, or nothing.
fn text(message: &Message, name: HeaderName) -> String {
    let field = message.first(name);
    let text = field.and_then(|field| field.text().ok().map(str::to_owned));
    text.unwrap_or_default()
}
