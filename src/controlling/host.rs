//! The functions of the proxy that the Controlling Function needs.

use std::fmt;

pub use crate::operator::Counter;

use crate::log::LogAt;
use crate::shared::MessageRecord;

/// The proxy's log and counters. Implemented by the `ffi` floor over the C contract, and by tests.
pub trait Journal {
    /// Writes one line to the proxy's log. Subscribers' addresses and texts only at
    /// [`Debug`](crate::log::LogLevel::Debug).
    fn log(&self, at: LogAt, line: fmt::Arguments<'_>);

    /// Adds to a counter, summed over all processes.
    fn count(&self, counter: Counter, n: u32);
}

/// The proxy as pager mode and the checks use it.
pub trait Host: Journal {
    /// Passes one request to the transaction layer, which reports its end through
    /// [`ControllingFunction::handle_outcome`](super::ControllingFunction::handle_outcome).
    fn send(&self, outgoing: &OutgoingRequest<'_>) -> Sent;

    /// Reports to the operator's script a request that is not sent, because it took too long. Never
    /// [`Sent::Queued`].
    fn give_up(&self, outgoing: &OutgoingRequest<'_>) -> Sent;

    /// Whether this process has worked on the fan-out long enough.
    fn is_turn_over(&self) -> bool;

    /// Passes the rest of a fan-out, written by [`FanOutJob::write`](super::FanOutJob::write), to
    /// another process. `false`: not possible, it continues here.
    fn hand_over(&self, job: &[u8]) -> bool;

    /// Passes an INVITE that has passed its checks, written by
    /// [`AcceptedInvite::write`](super::large_message_mode::AcceptedInvite::write), to the sessions
    /// process, which will answer it. `false`: currently not possible.
    fn begin_session(&self, invite: &[u8]) -> bool;
}

/// Result of [`Host::send`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The transaction layer has it, or it waits for its name; its end will be reported.
    Queued,
    /// Currently not possible: transactions use too much memory.
    NoRoom,
    /// Currently not possible for this recipient: the connection to it is full. Others may be sent.
    Busy,
    /// The operator's script dropped it. No outcome follows.
    Dropped,
    /// It could not be sent. No outcome follows.
    Failed,
    /// It could not be sent, and waits in the store. No outcome follows.
    Deferred,
}

/// One outgoing request. The host adds Via, From, To, Call-ID, CSeq and Content-Length.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// The Request-URI.
    pub request_uri: &'a str,
    /// URI of the next hop, if it is not determined by the Request-URI.
    pub next_hop: Option<&'a str>,
    /// From without its tag.
    pub from: &'a str,
    /// The From tag.
    pub from_tag: &'a str,
    /// To (without a tag, as there is none yet).
    pub to: &'a str,
    /// Call-ID.
    pub call_id: &'a str,
    /// CSeq number.
    pub cseq: u32,
    /// All further header lines, each ended by CRLF.
    pub headers: &'a [u8],
    /// The body.
    pub body: &'a [u8],
    /// Identifies the request; returned in [`Outcome`].
    pub attempt: u64,
    /// About the received request; `None` if it no longer exists.
    pub about: Option<&'a AboutRequest>,
}

/// Data of the received request for routing scripts while its copies are sent, and when they end,
/// in any process: the record of the message.
pub type AboutRequest = MessageRecord;

/// How an outgoing request ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// Final status code; 408 if there was no answer.
    pub code: u16,
    /// From [`OutgoingRequest::attempt`].
    pub attempt: u64,
    /// The request as it was sent.
    pub request: &'a [u8],
}

/// State of a recipient after an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has the message.
    Delivered,
    /// It has finally failed.
    Failed,
    /// The message was sent to the ISF.
    Interworked,
    /// It could not be reached, and the message waits for it in the store.
    Deferred,
}
