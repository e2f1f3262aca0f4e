//! Requests of peers: CANCEL, and all requests inside dialogs.

use std::time::Instant;

use bytes::Bytes;

use super::super::outgoing_invite::ALLOW;
use super::{Session, Stage, TransactionKey};
use crate::controlling::header_fields::put;
use crate::msrp_control::Side;
use crate::sip::{HeaderBlock, HeaderName, Message, StatusCode, option_tag};
use crate::sip_ua::{NotAcceptable, texts};

/// Option tags of Require that are supported inside a dialog (RFC 3261 §8.2.2.3).
const UNDERSTOOD: &[&str] = &["timer"];

/// Methods that are known but not allowed in our dialogs: 405. Others are unknown: 501 (RFC 3261
/// §8.2.1, §21.5.2).
const NOT_ALLOWED: &[&str] = &[
    "INFO",
    "MESSAGE",
    "NOTIFY",
    "PRACK",
    "PUBLISH",
    "REFER",
    "REGISTER",
    "SUBSCRIBE",
];

/// Why a request inside a dialog is refused, regardless of the dialog's state.
fn refusal(request: &Message) -> Option<(StatusCode, HeaderBlock)> {
    let mut headers = HeaderBlock::new();
    if request.repeated_field().is_some() {
        return Some((StatusCode::BAD_REQUEST, headers));
    }
    let method = request.method().unwrap_or_default();
    if !ALLOW.split(", ").any(|allowed| allowed == method) {
        put(&mut headers, "Allow", ALLOW);
        let code = match NOT_ALLOWED.contains(&method) {
            true => StatusCode::METHOD_NOT_ALLOWED,
            false => StatusCode::NOT_IMPLEMENTED,
        };
        return Some((code, headers));
    }
    let required = texts(request, HeaderName::Require);
    let unknown: Vec<&str> = option_tag::tags(required.iter().map(AsRef::as_ref))
        .filter(|tag| {
            !UNDERSTOOD
                .iter()
                .any(|known| known.eq_ignore_ascii_case(tag))
        })
        .collect();
    if unknown.is_empty() {
        return None;
    }
    put(&mut headers, "Unsupported", unknown.join(", "));
    Some((StatusCode::BAD_EXTENSION, headers))
}

impl Session {
    /// The originator cancels its INVITE; the CANCEL itself has been answered. After our 200 it has
    /// no effect (spec-notes N42).
    pub fn handle_cancel(&mut self, now: Instant) {
        if self.stage == Stage::Inviting {
            self.refuse(now, StatusCode::REQUEST_TERMINATED);
        }
        self.settle(now);
    }

    /// The final reply to the originator's INVITE could not be sent: its transaction had ended by
    /// itself.
    pub fn handle_reply_failed(&mut self, now: Instant) {
        match self.stage {
            Stage::Inviting => self.unwind(now, StatusCode::REQUEST_TERMINATED),
            // It never received the 200.
            Stage::Answered | Stage::Abandoned => {
                self.close_originator();
                self.unwind(now, StatusCode::REQUEST_TERMINATED);
            }
            _ => {}
        }
        self.settle(now);
    }

    /// A request inside a dialog, including ACK. `transaction`: for the reply; `None` if it no
    /// longer exists.
    pub fn handle_request(
        &mut self,
        now: Instant,
        side: Side,
        request: &Message,
        transaction: Option<TransactionKey>,
    ) {
        if self.stage == Stage::Ended {
            return;
        }
        let refusal = refusal(request);
        let accepted = match side {
            Side::Originator => self.accept_from_originator(request),
            Side::Leg(number) => match self.leg(number).filter(|leg| leg.has_dialog()) {
                Some(leg) => leg.dialog.accept(request),
                None => Err(NotAcceptable::NoDialog),
            },
        };
        let method = request.method().unwrap_or_default();
        if method == "BYE" && accepted.is_err() && self.has_hung_up(side, request) {
            // It crosses our BYE.
            return self.reply(side, transaction, StatusCode::OK, Vec::new(), Bytes::new());
        }
        if method == "ACK" {
            if accepted.is_ok() && side == Side::Originator {
                self.acknowledged(now);
            }
            return self.settle(now);
        }
        if let Err(refusal) = accepted {
            return self.reply(side, transaction, refusal.code(), Vec::new(), Bytes::new());
        }
        if let Some((code, headers)) = refusal {
            self.reply(side, transaction, code, headers.into_bytes(), Bytes::new());
            // Whatever the answer to its BYE, the peer has left (RFC 3261 §15.1.1).
            if method == "BYE" {
                self.peer_left(now, side);
            }
            return self.settle(now);
        }
        match method {
            "BYE" => {
                self.reply(side, transaction, StatusCode::OK, Vec::new(), Bytes::new());
                self.peer_left(now, side);
            }
            "OPTIONS" => {
                let headers = self.capabilities().into_bytes();
                self.reply(side, transaction, StatusCode::OK, headers, Bytes::new());
            }
            _ => self.refresh(now, side, request, transaction),
        }
        self.settle(now);
    }

    fn peer_left(&mut self, now: Instant, side: Side) {
        match side {
            Side::Originator => self.originator_left(now),
            Side::Leg(number) => self.leg_left(now, number),
        }
    }

    /// The header fields of an answer to a re-INVITE, without the description (RFC 3261 §11.2).
    fn capabilities(&self) -> HeaderBlock {
        let mut headers = HeaderBlock::new();
        put(&mut headers, "Allow", ALLOW);
        put(&mut headers, "Accept", "application/sdp");
        put(&mut headers, "Accept-Encoding", "identity");
        put(&mut headers, "Accept-Language", "en");
        put(&mut headers, "Supported", "timer");
        let contact = format!("<{}>", self.settings.contact);
        put(&mut headers, "Contact", contact);
        put(&mut headers, "Server", self.service.product());
        headers
    }
}
