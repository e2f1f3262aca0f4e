//! Disposition notifications about messages that are unknown here: what the store says of their
//! sender, and how they go on then.

use std::cell::RefCell;

use super::forwarding::{BUSY, UNRESOLVABLE};
use super::late;
use super::letter::{Inquired, Waiting, What};
use super::outgoing::Outgoing;
use super::proxy::{Answer, Proxy};
use super::sender::Sender;
use super::waiting::WaitingRoom;
use super::way::{Located, locate};
use crate::controlling::{ControllingFunction, Counter, Forwarded, Received};
use crate::log::at;
use crate::store::FoundSender;

/// Nobody knows the message that a notification is about (RFC 3261 §21.4.5).
const UNKNOWN: Answer<'static> = Answer::bare(404, c"Not Found");

/// Goes on with a notification, now that the store has answered.
pub(super) fn go_on(
    inquired: Inquired,
    found: FoundSender,
    room: &RefCell<WaitingRoom>,
    service: &ControllingFunction,
    proxy: &dyn Proxy,
) {
    let sender = match found {
        FoundSender::At(sender) => sender,
        FoundSender::Nobody => {
            proxy.count(Counter::ImdnUnknown, 1);
            return fail(&inquired, &UNKNOWN, proxy);
        }
        FoundSender::NotNow => {
            let correlation = &inquired.correlation;
            let line = format_args!(
                "a disposition notification could not be forwarded: the store cannot be asked now, {correlation}"
            );
            proxy.log(at!(Notice), line);
            return fail(&inquired, &BUSY, proxy);
        }
    };
    if let Some((message, request_uri)) = &inquired.nameless {
        let received = Received {
            message,
            request_uri,
            source_address: None,
        };
        let host = Sender::new(service, proxy).in_room(room);
        let reply = match service.forward_found(&received, sender, &host) {
            Forwarded::Nameless(receipt) => {
                let (reply, is_sent) = service.send_nameless(&receipt, &host);
                if is_sent {
                    proxy.count(Counter::ImdnForwarded, 1);
                }
                reply
            }
            Forwarded::Refused(reply) => reply,
            _ => return fail(&inquired, &UNKNOWN, proxy),
        };
        proxy.reply(inquired.transaction, &Answer::of(&reply), false);
        return;
    }
    let hop = inquired.next_hop.as_deref().unwrap_or(&sender);
    let stand_in = Outgoing::stand_in(&sender, b"");
    match locate(service.names(), proxy, &stand_in, hop) {
        Located::At(spot) => {
            if proxy.resume(inquired.transaction, &sender, &spot.uri) {
                proxy.count(Counter::ImdnForwarded, 1);
            }
        }
        Located::Later(hop) => {
            let waiting = Box::new(Waiting {
                hop: hop.into_owned(),
                what: What::Forward {
                    transaction: inquired.transaction,
                    request_uri: sender.clone(),
                    correlation: inquired.correlation,
                },
            });
            let taken = room.borrow_mut().take(waiting, proxy.now_ms());
            if let Err((waiting, why)) = taken {
                late::fail(&waiting, why, service, proxy);
            }
        }
        Located::Nowhere => fail(&inquired, &UNRESOLVABLE, proxy),
    }
}

/// It cannot go on.
fn fail(inquired: &Inquired, answer: &Answer<'_>, proxy: &dyn Proxy) {
    if inquired.nameless.is_none() {
        proxy.refuse_suspended(inquired.transaction, answer);
    } else {
        proxy.reply(inquired.transaction, answer, false);
    }
}
