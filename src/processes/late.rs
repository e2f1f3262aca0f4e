//! Sends requests that have waited for a name, or reports that this is not possible.

use std::cell::RefCell;

use bytes::Bytes;

use super::express;
use super::forwarding::UNRESOLVABLE;
use super::letter::{SessionInput, Waiting, What};
use super::outcome::message_ended;
use super::outgoing::Outgoing;
use super::proxy::{Proxy, Transmitted};
use super::sender::{NOT_SENDABLE, Sender};
use super::tell::{tell_invited, tell_sessions, tell_settled};
use super::waiting::{Entry, WaitingRoom};
use super::way::choose;
use crate::controlling::{ControllingFunction, Counter, LegCorrelation, copy_of_call_id};
use crate::log::at;
use crate::names::NameTag;
use crate::sip::{HeaderName, Message};
use crate::store::Settled;

/// Maximum number of names handled before other work has its turn.
const NAMES_PER_TURN: usize = 256;

/// Result of an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tried {
    /// It is finished.
    Done,
    /// It cannot be sent.
    Failed,
    /// Currently not possible for lack of memory or connection.
    NotNow,
}

/// Sends requests whose name is known or for which there is now memory. No part of `room` is
/// borrowed while the proxy is called. Returns whether there may be more to do at once.
pub(super) fn work(
    room: &RefCell<WaitingRoom>,
    service: &ControllingFunction,
    proxy: &dyn Proxy,
    is_turn_over: impl Fn() -> bool,
) -> bool {
    let mut left = room.borrow().for_room();
    let mut names = NAMES_PER_TURN;
    while !is_turn_over() {
        let next = room.borrow_mut().next(&mut left, &mut names);
        let Some((ticket, entry)) = next else {
            return names == 0;
        };
        let now_ms = proxy.now_ms();
        let tried = if entry.places.is_empty() {
            Tried::Failed
        } else {
            send(service, proxy, &entry)
        };
        if tried == Tried::NotNow && now_ms < entry.deadline_ms {
            room.borrow_mut().put_back(ticket, entry);
            continue;
        }
        room.borrow_mut().leave(&entry);
        if tried == Tried::NotNow && waits_in_store(service, proxy, &entry.waiting) {
            continue;
        }
        if tried != Tried::Done {
            let why = match tried {
                Tried::NotNow => "there was no room for it",
                _ if entry.places.is_empty() => "the name of its next hop has no address",
                _ => "the proxy cannot send there",
            };
            fail(&entry.waiting, why, service, proxy);
        }
    }
    true
}

/// Leaves a copy of a kept message to the store: what has its 202 waits for room as long as it is
/// of use.
fn waits_in_store(service: &ControllingFunction, proxy: &dyn Proxy, waiting: &Waiting) -> bool {
    let What::Request(request) = &waiting.what else {
        return false;
    };
    let outgoing = request.outgoing();
    let is_kept = service.keeps_messages()
        && outgoing.method == "MESSAGE"
        && copy_of_call_id(outgoing.call_id.as_bytes()).is_some();
    if is_kept {
        service.handle_unsent_copy(outgoing.token.attempt, outgoing.request_uri);
        tell_settled(service, proxy, &outgoing.text(), Settled::Unsent);
    }
    is_kept
}

/// Sends a request whose targets are known.
fn send(service: &ControllingFunction, proxy: &dyn Proxy, entry: &Entry) -> Tried {
    let request = match &entry.waiting.what {
        What::Forward {
            transaction,
            request_uri,
            ..
        } => {
            let stand_in = Outgoing::stand_in(request_uri, b"");
            let Some(spot) = choose(proxy, &stand_in, &entry.places, entry.name) else {
                return Tried::Failed;
            };
            if proxy.resume(*transaction, request_uri, &spot.uri) {
                proxy.count(Counter::ImdnForwarded, 1);
            }
            return Tried::Done;
        }
        What::Request(request) => request,
    };
    let mut outgoing = request.outgoing();
    let Some(spot) = choose(proxy, &outgoing, &entry.places, entry.name) else {
        return Tried::Failed;
    };
    let is_in_dialog = outgoing.to_tag.is_some();
    if !is_in_dialog && (spot.is_full || !proxy.memory().has_room(outgoing.size_at_most())) {
        return Tried::NotNow;
    }
    if !is_in_dialog {
        outgoing.token.name = spot.name.map_or(0, NameTag::bits);
    }
    if !is_in_dialog
        && !spot.has_others
        && express::take(
            service,
            proxy,
            &outgoing,
            &spot.uri,
            proxy.now_ms(),
            &RefCell::default(),
        )
    {
        return Tried::Done;
    }
    match express::send_by_transaction(proxy, &outgoing, &spot.uri) {
        Transmitted::Sent(transaction) => {
            if outgoing.method == "INVITE" && !is_in_dialog {
                tell_invited(proxy, outgoing.call_id, Some(transaction));
            }
            Tried::Done
        }
        Transmitted::Dropped if outgoing.method == "MESSAGE" => {
            tell_settled(service, proxy, &outgoing.text(), Settled::Dropped);
            Tried::Done
        }
        Transmitted::Dropped | Transmitted::Failed => Tried::Failed,
    }
}

/// Reports that a request cannot be sent.
pub(super) fn fail(waiting: &Waiting, why: &str, service: &ControllingFunction, proxy: &dyn Proxy) {
    let request = match &waiting.what {
        What::Forward {
            transaction,
            correlation,
            ..
        } => {
            let line = format_args!(
                "a disposition notification could not be forwarded: {why}, {correlation}"
            );
            proxy.log(at!(Notice), line);
            proxy.refuse_suspended(*transaction, &UNRESOLVABLE);
            return;
        }
        What::Request(request) => request,
    };
    let outgoing = request.outgoing();
    let text = outgoing.text();
    let text = text.strip_suffix(&[0]).unwrap_or(&text);
    let copy = Message::parse(Bytes::copy_from_slice(text)).ok();
    let contribution_id = copy.as_ref().and_then(|copy| {
        let field = copy.first(HeaderName::ContributionId)?;
        field.text().ok()
    });
    let leg = LegCorrelation {
        leg: None,
        call_id: outgoing.call_id,
        about: None,
        contribution_id,
    };
    proxy.log(
        at!(Notice),
        format_args!("a request could not be sent: {why}, {leg}"),
    );
    let (code, reason) = NOT_SENDABLE;
    match (outgoing.method, outgoing.to_tag) {
        // As if it had been answered so (RFC 3261 §8.1.3.1).
        ("MESSAGE", _) => {
            let sender = Sender::new(service, proxy);
            message_ended(service, &sender, code, outgoing.token.attempt, text, reason);
        }
        ("INVITE", None) => tell_invited(proxy, outgoing.call_id, None),
        ("ACK", _) => {}
        _ => {
            let text = outgoing.text();
            let text = Bytes::copy_from_slice(text.strip_suffix(&[0]).unwrap_or(&text));
            tell_sessions(proxy, &SessionInput::NoResponse(code, text));
        }
    }
}
