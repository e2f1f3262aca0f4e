//! What the core needs of the proxy that hosts it, as thin as the contract has it: no decision, no
//! budget, no order.

use std::ffi::CStr;
use std::fmt;
use std::sync::atomic::AtomicU64;

use super::outgoing::{Changed, Outgoing};
use super::process::Process;
use crate::controlling::large_message_mode::TransactionKey;
use crate::controlling::{Forwarding, Reply, express};
use crate::group::source::GroupDatabase;
use crate::log::LogLevel;
use crate::operator::{Counter, Event};

/// The proxy, for one call into the core. Implemented by the `ffi` floor over `struct cpm_host`,
/// and by tests.
pub trait Proxy: GroupDatabase {
    /// Milliseconds of a clock that all processes share and that never runs backwards.
    fn now_ms(&self) -> u64;
    /// Writes one line to the proxy's log.
    fn log(&self, level: LogLevel, line: fmt::Arguments<'_>);
    /// Adds to a counter, summed over all processes.
    fn count(&self, counter: Counter, n: u32);
    /// So many numbers, all 0, in memory that every process has. Before the fork only. `None`:
    /// there is none.
    fn share(&self, words: usize) -> Option<&'static [AtomicU64]>;
    /// The memory that transactions and posted entries are in.
    fn memory(&self) -> Memory;
    /// Copies an entry to a process, in order for one sender. Never waits. `false`: not possible
    /// now.
    fn post(&self, process: Process, entry: &[u8]) -> bool;

    /// The transaction of the received request, made where there is none yet.
    fn open(&self) -> Opened;
    /// Keeps it open for another process to reply. `false`: not possible.
    fn keep_open(&self, transaction: TransactionKey, milliseconds: u32) -> bool;
    /// Replies. With `keep` the transaction is held, and a 2xx repeated, up to
    /// [`release`](Self::release). `false`: it could not be sent, or the transaction is gone.
    fn reply(&self, transaction: TransactionKey, answer: &Answer<'_>, keep: bool) -> bool;
    /// Ends what `keep` began.
    fn release(&self, transaction: TransactionKey);
    /// Lets the received request's transaction go without a reply: for a while it absorbs what is
    /// repeated.
    fn absorb(&self);
    /// The INVITE that the received CANCEL is for, where its transaction is kept open.
    fn cancelled(&self) -> Option<TransactionKey>;
    /// The repetition of what the received ACK acknowledges ends. `false`: it belongs to no
    /// transaction.
    fn acknowledged(&self, of_session: bool) -> bool;

    /// Whether a request can go to `hop`, a URI with an IP address. `None`: as far as its length
    /// says it.
    fn way(&self, outgoing: &Outgoing<'_>, hop: Option<&str>) -> Way;
    /// Sends a request to `hop`, a URI with an IP address.
    fn send(&self, outgoing: &Outgoing<'_>, hop: &str) -> Transmitted;
    /// The way of a MESSAGE to `hop` past the transaction layer. `None`: `hop` has no IP address,
    /// it is too long for its transport, or something of the proxy's would be missed.
    fn express_way(&self, outgoing: &Outgoing<'_>, hop: &str) -> Option<express::Way<'_>>;
    /// Sends copies of the express lane as they are. Returns how many; for the others a connection
    /// has no room.
    fn express_send(&self, batch: &express::Batch) -> usize;
    /// Cancels an INVITE.
    fn cancel(&self, invite: TransactionKey);
    /// Sends the received request on. `false`: not sent, and answered.
    fn forward(&self, forwarding: &Forwarding, hop: &str) -> bool;
    /// The first of two steps of the same. `None`: not possible.
    fn suspend(&self, forwarding: &Forwarding) -> Option<TransactionKey>;
    /// The second step. Without `hop` it is answered with 478.
    fn resume(&self, transaction: TransactionKey, request_uri: &str, hop: Option<&str>) -> bool;
    /// There is no second step.
    fn unsuspend(&self, transaction: TransactionKey);

    /// Asks the operator's policy whether the originator of the request that is being checked may
    /// go on. No borrow of its content is outstanding.
    fn authorize(&self) -> bool;
    /// Whether the operator's script wants to be told.
    fn wants(&self, event: Event) -> bool;
    /// Shows the script an outgoing request, whose text ends with NUL.
    fn recipient_request(&self, outgoing: &Outgoing<'_>, text: &[u8]) -> Routed;
    /// Tells the script of an end. `text`: the request that it is about.
    fn event(
        &self,
        event: Event,
        code: u16,
        reason: &[u8],
        text: &[u8],
        about: Option<&Outgoing<'_>>,
    );

    /// Whether the proxy has loaded this database module.
    fn has_database(&self, module: &str) -> bool;
}

/// Shared memory, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// What is free.
    pub free: usize,
    /// All of it.
    pub total: usize,
    /// What a transaction takes beside its request.
    pub transaction: usize,
}

/// The share of the memory that fan-outs leave to everybody else: a sixteenth.
const RESERVED_SHARE: usize = 16;

impl Memory {
    /// Whether it holds a transaction, or an entry, of this size and still leaves some for
    /// everybody else.
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

    /// A reply that says nothing but its code, with a tag of the proxy's own.
    pub(super) fn bare(code: u16, reason: &'a CStr) -> Self {
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
    /// There is none to be had.
    Not,
    /// The request is a retransmission, or the proxy has answered it: nothing is left to do.
    Absorbed,
    /// This one.
    Open(TransactionKey),
}

/// Whether a request can go a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The proxy cannot send there.
    None,
    /// It can.
    Clear,
    /// The connection there has no room for it now.
    Full,
    /// It is too long for a datagram (RFC 3261 §18.1.1).
    TooLong,
}

/// What became of a request that was handed to the transaction layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transmitted {
    /// It is on its way in this transaction; its end will be reported, but for an ACK.
    Sent(TransactionKey),
    /// The operator's script dropped it. No outcome follows.
    Dropped,
    /// It could not be sent. No outcome follows.
    Failed,
}

/// What the operator's script has made of an outgoing request.
#[derive(Debug)]
pub enum Routed {
    /// It goes on so.
    Changed(Changed),
    /// The script dropped it.
    Dropped,
    /// There was no memory for it.
    Failed,
}
