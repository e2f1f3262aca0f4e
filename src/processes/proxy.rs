//! The functions of the proxy that the core needs, as thin as the contract: no decision, no budget,
//! no order.

use std::cell::RefCell;
use std::ffi::CStr;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;

use super::outgoing::{Changed, Outgoing};
use super::process::Process;
use crate::controlling::large_message_mode::TransactionKey;
use crate::controlling::{AboutRequest, Forwarding, Reply, Request, express};
use crate::group::source::GroupDatabase;
use crate::log::LogAt;
use crate::operator::{Counter, Event};

/// The proxy, for one call into the core. Implemented by the `ffi` floor over `struct cpm_host`,
/// and by tests.
pub trait Proxy: GroupDatabase {
    /// Milliseconds of a clock that all processes share and that never runs backwards.
    fn now_ms(&self) -> u64;

    /// Microseconds of the same clock.
    fn now_us(&self) -> u64 {
        self.now_ms() * 1_000
    }
    /// Writes one line to the proxy's log.
    fn log(&self, at: LogAt, line: fmt::Arguments<'_>);
    /// Adds to a counter, summed over all processes.
    fn count(&self, counter: Counter, n: u32);
    /// This many words, all 0, in memory that every process has. Before the fork only. `None`: not
    /// available.
    fn share(&self, words: usize) -> Option<&'static [AtomicU64]>;
    /// The memory of transactions and posted entries.
    fn memory(&self) -> Memory;
    /// Copies an entry to a process, in order for each sender. Never blocks. `false`: currently not
    /// possible.
    fn post(&self, process: Process, entry: &[u8]) -> bool;

    /// The transaction of the received request, created if there is none yet.
    fn open(&self) -> Opened;
    /// Keeps it open for another process to reply. `false`: not possible.
    fn keep_open(&self, transaction: TransactionKey, milliseconds: u32) -> bool;
    /// Replies. With `keep` the transaction is held, and a 2xx retransmitted, until
    /// [`release`](Self::release). `false`: it could not be sent, or the transaction no longer
    /// exists.
    fn reply(&self, transaction: TransactionKey, answer: &Answer<'_>, keep: bool) -> bool;
    /// Ends the effect of `keep`.
    fn release(&self, transaction: TransactionKey);
    /// Ends the received request's transaction without a reply: for a while it absorbs
    /// retransmissions.
    fn absorb(&self);
    /// The INVITE of the received CANCEL, if its transaction is kept open.
    fn cancelled(&self) -> Option<TransactionKey>;
    /// Stops retransmission of the response that the received ACK acknowledges. `false`: it belongs
    /// to no transaction.
    fn acknowledged(&self, of_session: bool) -> bool;

    /// Whether a request can go to `hop`, a URI with an IP address. `None`: decided by its length
    /// alone.
    fn way(&self, outgoing: &Outgoing<'_>, hop: Option<&str>) -> Way;
    /// Sends a request to `hop`, a URI with an IP address.
    fn send(&self, outgoing: &Outgoing<'_>, hop: &str) -> Transmitted;
    /// The route of a MESSAGE to `hop` without the transaction layer. `None`: `hop` has no IP
    /// address, the request is too long for its transport, or a function of the proxy would be
    /// bypassed.
    fn express_way(&self, outgoing: &Outgoing<'_>, hop: &str) -> Option<express::Way<'_>>;
    /// Sends copies of the express lane unchanged.
    fn express_send(&self, batch: &express::Batch) -> express::Accepted;
    /// Cancels an INVITE.
    fn cancel(&self, invite: TransactionKey);
    /// Forwards the received request. `false`: not sent, and answered.
    fn forward(&self, forwarding: &Forwarding, hop: &str) -> bool;
    /// The first of two steps of forwarding; the second follows within this time. `None`: not
    /// possible.
    fn suspend(&self, forwarding: &Forwarding, milliseconds: u32) -> Option<TransactionKey>;
    /// The second step.
    fn resume(&self, transaction: TransactionKey, request_uri: &str, hop: &str) -> bool;
    /// The second step of one that cannot be forwarded: its answer.
    fn refuse_suspended(&self, transaction: TransactionKey, answer: &Answer<'_>);
    /// Instead of the second step.
    fn unsuspend(&self, transaction: TransactionKey);

    /// Asks the operator's script whether a request may go on. Not borrowed meanwhile: the script
    /// may read it, and set what [`Request::set`] takes. Only if it [`wants`](Self::wants) the
    /// event.
    fn ask(&self, question: Event, request: &Rc<RefCell<Request>>) -> bool;
    /// Whether the operator's script handles this event.
    fn wants(&self, event: Event) -> bool;
    /// Shows the script an outgoing request, whose text ends with NUL.
    fn recipient_request(&self, outgoing: &Outgoing<'_>, text: &[u8]) -> Routed;
    /// Reports an event to the script. `text`: the request concerned.
    fn event(
        &self,
        event: Event,
        code: u16,
        reason: &[u8],
        text: &[u8],
        about: Option<&AboutRequest>,
    );

    /// Whether the proxy has loaded this database module.
    fn has_database(&self, module: &str) -> bool;
}

/// Shared memory, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// The free part.
    pub free: usize,
    /// All of it.
    pub total: usize,
    /// Size of a transaction in addition to its request.
    pub transaction: usize,
}

/// The share of the memory that fan-outs leave free: a sixteenth.
const RESERVED_SHARE: usize = 16;

impl Memory {
    /// Whether there is memory for a transaction, or an entry, of this size in addition to the
    /// reserve.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.free > self.total / RESERVED_SHARE + self.transaction + bytes
    }
}

/// A reply, borrowed for the call that sends it.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Status code.
    pub code: u16,
    /// Reason phrase.
    pub reason: &'a CStr,
    /// Header lines, each ended by CRLF.
    pub headers: &'a [u8],
    /// For the To; `None`: one of the proxy's own.
    pub to_tag: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// A reply of the core.
    pub fn of(reply: &'a Reply) -> Self {
        Answer {
            code: reply.code.as_u16(),
            reason: reply.reason(),
            headers: &reply.headers,
            to_tag: reply.to_tag.as_deref(),
            body: b"",
        }
    }

    /// A reply with only a code, and a tag of the proxy's own.
    pub(super) const fn bare(code: u16, reason: &'a CStr) -> Self {
        Answer {
            code,
            reason,
            headers: b"",
            to_tag: None,
            body: b"",
        }
    }
}

/// The transaction of a received request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// None could be created.
    Not,
    /// The request is a retransmission, or the proxy has answered it: nothing more to do.
    Absorbed,
    /// This one.
    Open(TransactionKey),
}

/// Whether a request can be sent to a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The proxy cannot send there.
    None,
    /// It can.
    Clear,
    /// The connection currently has no room for it.
    Full,
    /// It is too long for a datagram (RFC 3261 §18.1.1).
    TooLong,
}

/// Result of passing a request to the transaction layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transmitted {
    /// It has been sent in this transaction; its end will be reported, except for an ACK.
    Sent(TransactionKey),
    /// The operator's script dropped it. No outcome follows.
    Dropped,
    /// It could not be sent. No outcome follows.
    Failed,
}

/// Result of showing an outgoing request to the operator's script.
#[derive(Debug)]
pub enum Routed {
    /// It continues in this form.
    Changed(Changed),
    /// The script dropped it.
    Dropped,
    /// There was no memory for it.
    Failed,
}
