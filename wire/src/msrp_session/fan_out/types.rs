//! Inputs and outputs of a fan-out.

use std::time::Duration;

use bytes::Bytes;

use super::super::content::SEGMENT_BYTES;
use super::super::{EndpointConfig, IncomingMessage, READ_BLOCK_BYTES};
use crate::msrp::{Field, Status};

/// Minimum memory for one message: below this, spooling would move pieces too small to be
/// worthwhile.
pub const MIN_MEMORY_BYTES: usize = 1024 * 1024;
/// Segments that may be requested from the spool at once; each may exceed the memory limit.
pub(super) const MAX_FETCHES: usize = 8;

/// Identifies a leg of one [`FanOut`](super::FanOut); calls on another fan-out panic or reach
/// another leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub(super) usize);

impl LegId {
    /// Its index in the order of [`FanOut::add_leg`](super::FanOut::add_leg), from 0.
    pub fn index(self) -> usize {
        self.0
    }
}

/// The limits of one message.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Content in memory; above three quarters of it, content goes to the spool. Raised to at least
    /// [`MIN_MEMORY_BYTES`].
    pub memory_bytes: usize,
    /// Content in the spool; 0 if there is none.
    pub spool_bytes: u64,
    /// A leg that accepts no byte for this time while some are waiting for it is dropped.
    pub stall: Duration,
    /// How long the originator may be held back for legs that are behind
    /// ([`MAX_HOLD`](super::super::MAX_HOLD), except in tests).
    pub hold: Duration,
}

impl Limits {
    /// Upper bound of [`FanOut::memory`](super::FanOut::memory) if the caller obeys
    /// [`FanOutAction::StopReading`] within one read block. As a slice of at least half a block can
    /// keep the block alive, twice this is the bound on real memory.
    pub fn memory_bound(&self) -> usize {
        self.memory() + 2 * READ_BLOCK_BYTES + MAX_FETCHES * SEGMENT_BYTES
    }

    pub(super) fn memory(&self) -> usize {
        self.memory_bytes.max(MIN_MEMORY_BYTES)
    }

    pub(super) fn high_water(&self) -> usize {
        self.memory() / 4 * 3
    }
}

/// The message for all legs: the data that is the same in each copy (9.1.2-send-2, readings N51).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// Message-ID of the originator.
    pub message_id: Bytes,
    /// Content-Type.
    pub content_type: Bytes,
    /// Other fields about the content.
    pub content_fields: Vec<Field>,
    /// Size in bytes, if it is known.
    pub total: Option<u64>,
}

impl From<IncomingMessage> for OutgoingMessage {
    fn from(message: IncomingMessage) -> Self {
        let IncomingMessage {
            message_id,
            content_type,
            content_fields,
            total,
            ..
        } = message;
        Self {
            message_id,
            content_type,
            content_fields,
            total,
        }
    }
}

/// Data of a leg for the fan-out.
#[derive(Debug, Clone)]
pub struct LegConfig {
    /// Both ends of the leg's session.
    pub endpoint: EndpointConfig,
    /// Maximum content in one chunk; `None`: no limit.
    pub chunk_bytes: Option<u64>,
}

/// Which side opened the connection of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opener {
    /// We did: our first SEND, an empty one, binds the session.
    Us,
    /// The peer did: its SEND has bound the session.
    Peer,
}

/// Progress of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// No connection yet.
    Waiting,
    /// Content is being sent, or the end of an abandoned message.
    Sending,
    /// Everything has been sent; responses are due.
    Finishing,
    /// Each chunk was answered with 200.
    Delivered,
    /// The originator abandoned the message, and the leg was told.
    Aborted,
    /// The leg has failed.
    Failed(DeliveryFailure),
}

impl DeliveryState {
    /// Whether the leg has reached a final state.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Aborted | Self::Failed(_))
    }
}

/// Why a leg has failed. It concerns only this leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryFailure {
    /// The peer answered with this status, or a REPORT did.
    Refused(Status),
    /// A response did not come in time.
    NoResponse,
    /// The peer accepted no byte for the time of [`Limits::stall`].
    Stalled,
    /// The originator was held back for the time of [`Limits::hold`], because this leg had not
    /// taken the content in memory.
    Behind,
    /// The connection was lost.
    Disconnected,
    /// Content that this leg needed cannot be read from the spool.
    SpoolLost,
    /// The caller removed the leg.
    Dropped,
}

/// The public view of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegStatus {
    /// Its progress.
    pub state: DeliveryState,
    /// Content bytes that have been sent.
    pub written: u64,
    /// Content bytes in chunks that were answered with 200.
    pub delivered: u64,
}

/// An action for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FanOutAction {
    /// This leg may have something to write now: [`FanOut::gather`](super::FanOut::gather) when its
    /// connection is writable.
    Wake(LegId),
    /// Write these bytes to the spool at `offset` of the message, then
    /// [`FanOut::handle_spilled`](super::FanOut::handle_spilled) or
    /// [`FanOut::handle_not_spilled`](super::FanOut::handle_not_spilled). Never two at a time.
    Spill {
        /// Offset of the first piece in the message.
        offset: u64,
        /// The bytes, one piece after another.
        pieces: Vec<Bytes>,
    },
    /// All content is in the spool, as [`FanOut::write_through`](super::FanOut::write_through)
    /// requires. Once.
    Written,
    /// Read `len` bytes at `offset` from the spool, then
    /// [`FanOut::handle_fetched`](super::FanOut::handle_fetched) or
    /// [`FanOut::handle_not_fetched`](super::FanOut::handle_not_fetched).
    Fetch {
        /// Their offset in the message.
        offset: u64,
        /// How many; at most 64 KiB.
        len: usize,
    },
    /// Stop reading from the originator: memory is full, and the spool is full or slow.
    StopReading,
    /// Read from the originator again.
    ReadAgain,
    /// The originator has been held back for a second: to be reported to the operator. Once.
    HeldBack,
    /// As after [`FanOut::no_more_legs`](super::FanOut::no_more_legs): the originator was held back
    /// too long because legs could still be added.
    NoMoreLegs,
    /// The leg has reached this final state. If [`FanOut::has_output`](super::FanOut::has_output),
    /// an end-line must still be written before its connection is closed.
    LegEnded(LegId, DeliveryState),
}
