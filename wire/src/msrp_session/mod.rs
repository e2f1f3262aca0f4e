//! MSRP sessions without IO: one session end, and the fan-out of one message to many ends.
//!
//! [`Endpoint`] is one end of one session (RFC 4975): towards the originator it receives, towards a
//! recipient it sends. [`FanOut`] gives the content of one incoming message to any number of legs,
//! each at its own pace. No socket, clock, file or source of randomness is in here: bytes, instants
//! and random bytes are arguments, and what is to be done outside comes out of `poll_*`.
//!
//! The relay above reads a connection into a buffer of at most [`READ_BLOCK_BYTES`] at a time, has
//! a [`Parser`](crate::msrp::Parser) cut it into events, finds the session by the To-Path of the
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

/// Largest block that the relay may read into at once. A slice of content keeps its whole block
/// alive, and the bound on memory counts on blocks being no larger than this.
pub const READ_BLOCK_BYTES: usize = 64 * 1024;
