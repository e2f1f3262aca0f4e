//! Received requests of a large message session: CANCEL, ACK, and requests inside its dialogs. The
//! proxy keeps their transactions open, and CPM sessions answers.

use bytes::Bytes;

use super::letter::SessionInput;
use super::proxy::{Answer, Opened, Proxy};
use super::received::Script;
use super::tell::tell_sessions;
use super::transaction::Transaction;
use crate::controlling::ControllingFunction;

/// Handles such a request. `None`: it belongs to no session.
pub fn handle_session_traffic(
    service: &ControllingFunction,
    message: &[u8],
    to_tag: &str,
    proxy: &dyn Proxy,
) -> Option<Script> {
    service.large_mode()?;
    let method = message.split(|&byte| byte == b' ').next()?;
    if method == b"CANCEL" {
        return cancel(proxy);
    }
    let is_ack = method == b"ACK";
    if to_tag.is_empty() || service.ids().names().read(to_tag).is_none() {
        // An ACK for our refusal stops retransmission of that, regardless of the script's handling
        // of ACKs.
        return (is_ack && proxy.acknowledged(false)).then_some(Script::End);
    }
    let request = Bytes::copy_from_slice(message);
    if is_ack {
        // If the proxy still has the transaction, it stops retransmitting the 2xx.
        proxy.acknowledged(true);
        tell_sessions(proxy, &SessionInput::Request(None, request));
        return Some(Script::Yes);
    }
    let opened = Transaction::new(method == b"INVITE");
    let transaction = match opened.open(proxy) {
        Opened::Absorbed => return Some(Script::End),
        Opened::Not => return Some(Script::Yes),
        Opened::Open(transaction) => transaction,
    };
    let is_taken = opened.keep_open(proxy)
        && tell_sessions(proxy, &SessionInput::Request(Some(transaction), request));
    if !is_taken {
        let busy = Answer::bare(503, c"Service Unavailable");
        proxy.reply(transaction, &busy, false);
    }
    Some(Script::Yes)
}

/// A CANCEL belongs to the transaction of its INVITE, hop by hop.
fn cancel(proxy: &dyn Proxy) -> Option<Script> {
    let invite = proxy.cancelled()?;
    let transaction = match proxy.open() {
        Opened::Absorbed => return Some(Script::End),
        Opened::Not => return Some(Script::Yes),
        Opened::Open(transaction) => transaction,
    };
    proxy.reply(transaction, &Answer::bare(200, c"OK"), false);
    tell_sessions(proxy, &SessionInput::Cancel(invite));
    Some(Script::Yes)
}
