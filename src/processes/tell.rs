//! Messages of other processes to CPM sessions and CPM fan-out.

use bytes::Bytes;

use super::letter::{self, SessionInput};
use super::process::Process;
use super::proxy::Proxy;
use crate::controlling::large_message_mode::TransactionKey;
use crate::controlling::{ControllingFunction, copy_of_call_id};
use crate::log::at;
use crate::shared::End;
use crate::sip::{HeaderName, Message};
use crate::store::{CopyId, RecipientKey, Settled};

/// A response below 300 to an INVITE of ours has arrived, or a 2xx to a MESSAGE that no transaction
/// waits for.
pub fn responded(service: &ControllingFunction, proxy: &dyn Proxy, response: &[u8]) {
    let response = Bytes::copy_from_slice(response);
    let parsed = Message::parse(response.clone()).ok();
    let cseq = parsed.as_ref().and_then(|it| it.first(HeaderName::CSeq));
    match cseq.is_some_and(|field| field.value().ends_with(b"MESSAGE")) {
        true => tell_late(service, proxy, &response),
        false => {
            tell_sessions(proxy, &SessionInput::Response(response));
        }
    }
}

/// Sends a message to CPM sessions. `false`: its queue is full.
pub(super) fn tell_sessions(proxy: &dyn Proxy, input: &SessionInput) -> bool {
    let is_told = proxy.post(Process::Sessions, &letter::session(input));
    if !is_told {
        let line = "the sessions process is overloaded: an event for it is lost";
        proxy.log(at!(Error), format_args!("{line}"));
    }
    is_told
}

/// Tells CPM sessions the transaction of a sent INVITE.
pub(super) fn tell_invited(proxy: &dyn Proxy, call_id: &str, transaction: Option<TransactionKey>) {
    let call_id = Bytes::copy_from_slice(call_id.as_bytes());
    tell_sessions(proxy, &SessionInput::Invited(transaction, call_id));
}

/// Tells CPM fan-out how a copy has ended, if there is a store. `request`: as it was sent.
pub(super) fn tell_settled(
    service: &ControllingFunction,
    proxy: &dyn Proxy,
    request: &[u8],
    settled: Settled,
) {
    let Some(copy) = kept_copy(service, request) else {
        return;
    };
    let recipient = match settled {
        Settled::Deferred(_) => Message::parse(Bytes::copy_from_slice(request)).map_or_else(
            |_| RecipientKey::default(),
            |request| service.recipient_of(&request),
        ),
        _ => RecipientKey::default(),
    };
    tell_end(service, proxy, copy, settled, recipient);
}

/// The same for a copy of this name.
pub(super) fn tell_end(
    service: &ControllingFunction,
    proxy: &dyn Proxy,
    copy: CopyId,
    settled: Settled,
    recipient: RecipientKey,
) {
    let end = End {
        copy: copy.0,
        how: settled.bits(),
        recipient: recipient.bits(),
    };
    if !service.ends().is_some_and(|ends| ends.push(end)) {
        // If its queue is full too, the copy is sent again later.
        proxy.post(Process::FanOut, &letter::settled(copy, settled, recipient));
    }
}

/// Tells CPM fan-out that a copy to the ISF replaces this one.
pub(super) fn tell_interworked(service: &ControllingFunction, proxy: &dyn Proxy, request: &[u8]) {
    if let Some(copy) = kept_copy(service, request)
        && let Some(other) = service.copy_to_isf(request)
    {
        proxy.post(Process::FanOut, &letter::replaced(copy, other));
    }
}

/// The name of a copy, if there is a store.
fn kept_copy(service: &ControllingFunction, request: &[u8]) -> Option<CopyId> {
    const CALL_ID: &[u8] = b"\r\nCall-ID: ";
    if !service.keeps_messages() {
        return None;
    }
    // As this module writes it: before all that a peer wrote, except From and To.
    let rest = &request[memchr::memmem::find(request, CALL_ID)? + CALL_ID.len()..];
    copy_of_call_id(&rest[..memchr::memchr(b'\r', rest)?])
}

/// Tells CPM fan-out of a response that no transaction waits for, because a previous process sent
/// the copy. Only a 2xx counts: after any other response the copy is sent again.
pub(super) fn tell_late(service: &ControllingFunction, proxy: &dyn Proxy, response: &[u8]) {
    if !service.keeps_messages() || !response.starts_with(b"SIP/2.0 2") {
        return;
    }
    let copy = Message::parse(Bytes::copy_from_slice(response))
        .ok()
        .and_then(|response| copy_of_call_id(response.first(HeaderName::CallId)?.value()));
    if let Some(copy) = copy {
        proxy.post(Process::FanOut, &letter::late(copy));
    }
}
