//! Ends of outgoing requests: whether to try another address of the name, whom to tell, and what
//! follows.

use bytes::Bytes;

use super::express::send_by_transaction;
use super::letter::SessionInput;
use super::outgoing::{Outgoing, Token};
use super::proxy::{Proxy, Transmitted};
use super::sender::Sender;
use super::tell::{tell_interworked, tell_invited, tell_sessions, tell_settled};
use super::way::{choose, uri_of};
use crate::controlling::{Again, ControllingFunction, Fate, Outcome};
use crate::names::NameTag;
use crate::operator::Event;
use crate::sip::StatusCode;
use crate::store::Settled;

/// Maximum number of further targets of one name that are tried.
const MAX_TRIED: u32 = 7;

/// The end of an outgoing request, in any process in which the proxy sees it.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// Final status code; 408 if there was no answer.
    pub code: u16,
    /// Whether it was cancelled.
    pub is_cancelled: bool,
    /// From [`Outgoing::token`].
    pub token: Token,
    /// The request as it was sent.
    pub request: &'a [u8],
    /// The response; `None`: there was none.
    pub response: Option<&'a [u8]>,
    /// Its reason phrase.
    pub reason: &'a [u8],
    /// Where it was sent, as `uri_of` writes it; empty below 300.
    pub place: &'a [u8],
}

impl Ended<'_> {
    /// Handles its consequences.
    pub fn handle(&self, service: &ControllingFunction, proxy: &dyn Proxy) {
        if self.goes_to_another_place(service, proxy) {
            return;
        }
        if self.request.starts_with(b"MESSAGE ") {
            message_ended(
                service,
                &Sender::new(service, proxy),
                self.code,
                self.token.attempt,
                self.request,
                self.reason,
            );
            return;
        }
        let input = match self.response {
            Some(response) => SessionInput::Response(Bytes::copy_from_slice(response)),
            None => SessionInput::NoResponse(self.code, Bytes::copy_from_slice(self.request)),
        };
        tell_sessions(proxy, &input);
    }

    /// If its target has not answered, or answered 503, and its name has another one: sends it
    /// there; its end is then the end of that (RFC 3263 §4.3).
    fn goes_to_another_place(&self, service: &ControllingFunction, proxy: &dyn Proxy) -> bool {
        let is_unanswered =
            self.code == StatusCode::REQUEST_TIMEOUT.as_u16() && self.response.is_none();
        let is_unavailable = self.code == StatusCode::SERVICE_UNAVAILABLE.as_u16();
        // A cancelled request is not sent again.
        if self.is_cancelled || self.token.tried >= MAX_TRIED || !(is_unanswered || is_unavailable)
        {
            return false;
        }
        let (Some(name), Some(table)) =
            (NameTag::from_bits(self.token.name), &service.names().table)
        else {
            return false;
        };
        let left = table.after(name, |place| uri_of(place).as_bytes() == self.place);
        if left.is_empty() {
            return false;
        }
        let Some(again) = Again::of(self.request) else {
            return false;
        };
        let mut outgoing = Outgoing::of(&again.outgoing());
        let Some(spot) = choose(proxy, &outgoing, &left, Some(name)) else {
            return false;
        };
        if spot.is_full || !proxy.memory().has_room(outgoing.size_at_most()) {
            return false;
        }
        outgoing.token = Token {
            tried: self.token.tried + 1,
            ..self.token
        };
        let Transmitted::Sent(transaction) = send_by_transaction(proxy, &outgoing, &spot.uri)
        else {
            return false;
        };
        if outgoing.method == "INVITE" {
            tell_invited(proxy, outgoing.call_id, Some(transaction));
        }
        true
    }
}

/// A MESSAGE of ours has ended.
pub(super) fn message_ended(
    service: &ControllingFunction,
    sender: &Sender<'_>,
    code: u16,
    attempt: u64,
    request: &[u8],
    reason: &[u8],
) {
    let outcome = Outcome {
        code,
        attempt,
        request,
    };
    let proxy = sender.proxy();
    let (event, settled) = match service.handle_outcome(&outcome, sender) {
        Some(Fate::Delivered) => (Event::RecipientDelivered, Settled::Code(code)),
        Some(Fate::Failed) => (Event::RecipientFailed, Settled::Code(code)),
        Some(Fate::Deferred) => (Event::RecipientDeferred, Settled::Deferred(code)),
        Some(Fate::Interworked) => return tell_interworked(service, proxy, request),
        None => return,
    };
    tell_settled(service, proxy, request, settled);
    if proxy.wants(event) {
        let about = service.about(attempt).map(|(about, _)| about);
        let phrase = StatusCode::new(code).map_or("", StatusCode::reason_phrase);
        let reason = if reason.is_empty() {
            phrase.as_bytes()
        } else {
            reason
        };
        proxy.event(event, code, reason, request, about.as_ref());
    }
}
