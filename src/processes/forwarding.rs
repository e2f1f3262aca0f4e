//! Forwarding disposition notifications, as a proxy does.

use std::rc::Rc;

use bytes::Bytes;

use super::letter::{self, Inquired};
use super::outgoing::Outgoing;
use super::process::Process;
use super::proxy::{Answer, Opened, Proxy};
use super::received::{Script, is_of};
use super::sender::Sender;
use super::way::{Located, locate};
use crate::controlling::large_message_mode::TransactionKey;
use crate::controlling::{
    ControllingFunction, Counter, Forwarded, Forwarding, Inquiry, Received, Unparsed,
};
use crate::log::at;

/// Time limit for looking up the name of a notification's next hop: its sender gives up after 32 s
/// (RFC 3261 timer F).
const SUSPENDED_MS: u32 = 30_000;

/// The sender of the message has no address: as the proxies' own transaction layers answer.
pub(super) const UNRESOLVABLE: Answer<'static> = Answer::bare(478, c"Unresolvable Destination");

/// It cannot be forwarded now.
pub(super) const BUSY: Answer<'static> = Answer::bare(503, c"Service Unavailable");

/// Forwards a MESSAGE that is a notification to an address of the service. `is_asked`: the routing
/// script wants it forwarded, regardless of the parameter `imdn`. [`Script::No`]: it is not one,
/// and nothing has changed.
pub fn forward_notification(
    service: &Rc<ControllingFunction>,
    received: &Received<'_>,
    is_asked: bool,
    proxy: &dyn Proxy,
) -> Script {
    if !is_of(received.message, &["MESSAGE"]) {
        return Script::No;
    }
    let sender = Sender::new(service, proxy);
    let notification = service.forward_notification(received, is_asked, &sender);
    if matches!(notification, Forwarded::NotOurs) {
        return Script::No;
    }
    // From here on its retransmissions are absorbed.
    let transaction = match proxy.open() {
        Opened::Not => return Script::No,
        Opened::Absorbed => return Script::End,
        Opened::Open(transaction) => transaction,
    };
    match notification {
        Forwarded::NotOurs => {}
        Forwarded::Refused(reply) => {
            proxy.reply(transaction, &Answer::of(&reply), false);
        }
        Forwarded::Nameless(receipt) => {
            let (reply, is_sent) = service.send_nameless(&receipt, &sender);
            if is_sent {
                proxy.count(Counter::ImdnForwarded, 1);
            }
            proxy.reply(transaction, &Answer::of(&reply), false);
        }
        Forwarded::Forward(forwarding) => {
            forward(service, &forwarding, transaction, proxy);
        }
        Forwarded::Elsewhere(inquiry) => {
            if !inquire(received, &inquiry, transaction, proxy) {
                proxy.reply(transaction, &BUSY, false);
            }
        }
    }
    Script::Yes
}

/// Has the store asked about the message of a notification. `false`: it cannot be asked now.
fn inquire(
    received: &Received<'_>,
    inquiry: &Inquiry,
    transaction: TransactionKey,
    proxy: &dyn Proxy,
) -> bool {
    let mut inquired = Inquired {
        transaction,
        name: inquiry.name,
        next_hop: None,
        correlation: String::new(),
        nameless: None,
    };
    let post = |inquired: &Inquired| {
        let letter = letter::inquiry(inquired);
        proxy.memory().has_room(letter.len()) && proxy.post(Process::FanOut, &letter)
    };
    let Some(forwarding) = &inquiry.forwarding else {
        let message = Bytes::copy_from_slice(received.message);
        inquired.nameless = Some((message, received.request_uri.to_owned()));
        return proxy.keep_open(transaction, SUSPENDED_MS) && post(&inquired);
    };
    let Some(suspended) = proxy.suspend(forwarding, SUSPENDED_MS) else {
        return false;
    };
    inquired.transaction = suspended;
    inquired.next_hop.clone_from(&forwarding.next_hop);
    inquired.correlation.clone_from(&forwarding.correlation);
    let is_posted = post(&inquired);
    if !is_posted {
        proxy.unsuspend(suspended);
    }
    is_posted
}

fn forward(
    service: &ControllingFunction,
    forwarding: &Forwarding,
    transaction: TransactionKey,
    proxy: &dyn Proxy,
) {
    let uri = forwarding.request_uri.as_str();
    let hop = forwarding.next_hop.as_deref().unwrap_or(uri);
    let stand_in = Outgoing::stand_in(uri, &forwarding.headers);
    let why = match locate(service.names(), proxy, &stand_in, hop) {
        Located::At(spot) => {
            if proxy.forward(forwarding, &spot.uri) {
                proxy.count(Counter::ImdnForwarded, 1);
                return;
            }
            "the proxy cannot send it"
        }
        Located::Later(hop) => {
            if let Some(suspended) = proxy.suspend(forwarding, SUSPENDED_MS) {
                if post_forward(proxy, suspended, uri, &hop, &forwarding.correlation) {
                    return;
                }
                proxy.unsuspend(suspended);
            }
            proxy.reply(transaction, &BUSY, false);
            "there is no room for it now"
        }
        Located::Nowhere => {
            proxy.reply(transaction, &UNRESOLVABLE, false);
            "the name of its next hop has no address"
        }
    };
    let correlation = &forwarding.correlation;
    let line =
        format_args!("a disposition notification could not be forwarded: {why}, {correlation}");
    proxy.log(at!(Notice), line);
}

/// The reply to a request for the Controlling Function that the proxy's parser rejects; see
/// [`ControllingFunction::refuse_unparsed`]. `is_unseen`: it has just arrived.
pub fn refuse_unparsed(
    service: &Rc<ControllingFunction>,
    request: &[u8],
    is_unseen: bool,
    proxy: &dyn Proxy,
) -> Option<Unparsed> {
    let sender = Sender::new(service, proxy);
    if is_unseen {
        service.refuse_unseen(request, &sender)
    } else {
        service.refuse_unparsed(request, &sender)
    }
}

/// Passes a suspended notification to the process in which it waits. `false`: currently not
/// possible.
fn post_forward(
    proxy: &dyn Proxy,
    transaction: TransactionKey,
    request_uri: &str,
    hop: &str,
    correlation: &str,
) -> bool {
    let letter = letter::forward(transaction, request_uri, hop, correlation);
    proxy.memory().has_room(letter.len()) && proxy.post(Process::FanOut, &letter)
}
