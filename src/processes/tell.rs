//! Messages of other processes to CPM sessions.

use bytes::Bytes;

use super::letter::{self, SessionInput};
use super::process::Process;
use super::proxy::Proxy;
use crate::controlling::large_message_mode::TransactionKey;
use crate::log::LogLevel;

/// A response below 300 to an INVITE of ours has arrived.
pub fn responded(proxy: &dyn Proxy, response: &[u8]) {
    tell_sessions(
        proxy,
        &SessionInput::Response(Bytes::copy_from_slice(response)),
    );
}

/// Sends a message to CPM sessions. `false`: its queue is full.
pub(super) fn tell_sessions(proxy: &dyn Proxy, input: &SessionInput) -> bool {
    let is_told = proxy.post(Process::Sessions, &letter::session(input));
    if !is_told {
        let line = "the sessions process is overloaded: an event for it is lost";
        proxy.log(LogLevel::Error, format_args!("{line}"));
    }
    is_told
}

/// Tells CPM sessions the transaction of a sent INVITE.
pub(super) fn tell_invited(proxy: &dyn Proxy, call_id: &str, transaction: Option<TransactionKey>) {
    let call_id = Bytes::copy_from_slice(call_id.as_bytes());
    tell_sessions(proxy, &SessionInput::Invited(transaction, call_id));
}
