//! MSRP sessions without IO: one session end, and the fan-out of one message to many ends.
//!
//! [`Endpoint`] is one end of one session (RFC 4975): towards the originator it receives, towards a
//! recipient it sends. [`FanOut`] distributes the content of one incoming message to any number of
//! legs, each at its own pace. There is no socket, clock, file or source of randomness here: bytes,
//! instants and random bytes are arguments, and `poll_*` returns the actions for the caller.
//!
//! The relay above reads a connection in blocks of at most [`READ_BLOCK_BYTES`], lets a
//! [`Parser`](crate::msrp::Parser) split it into events, finds the session by the To-Path of the
//! head (none: it answers 481 itself), and passes the events of that request to the session's end.

mod content;
mod endpoint;
mod fan_out;
mod hold;
mod reassembly;

pub use endpoint::{
    Accepts, ConnectionId, Endpoint, EndpointConfig, EndpointEvent, IncomingMessage,
    MAX_OPEN_MESSAGES, MAX_PENDING_FRAMES, MAX_UNANSWERED, MessageKey, RESPONSE_TIMEOUT,
};
pub use fan_out::{
    DeliveryFailure, DeliveryState, FanOut, FanOutAction, LegConfig, LegId, LegStatus, Limits,
    MIN_MEMORY_BYTES, Opener, OutgoingMessage,
};
pub use hold::MAX_HOLD;
pub use reassembly::MAX_OUT_OF_ORDER_BYTES;

/// Maximum size of a block that the relay may read. A slice of content keeps its whole block alive,
/// and the bound on memory assumes that blocks are no larger than this.
pub const READ_BLOCK_BYTES: usize = 64 * 1024;
