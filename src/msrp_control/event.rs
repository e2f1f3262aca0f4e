//! What the relay reports of a session.

use super::LegNumber;
use crate::msrp_session::DeliveryState;

/// What happened to a session; see [`RelayCommand`](super::RelayCommand) for the final events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MsrpEvent {
    /// The originator's connection is there.
    SenderConnected,
    /// Its message has begun.
    MessageStarted {
        /// Its size in bytes, if its first chunk says so.
        size: Option<u64>,
    },
    /// The whole message is here. A final event.
    MessageComplete,
    /// It will never be. A final event.
    MessageFailed,
    /// The connection to a leg is there.
    LegConnected(LegNumber),
    /// The originator was held back for too long because legs could still come: none can be opened
    /// any more.
    NoMoreLegs,
    /// A leg has reached this final state. A final event.
    LegEnded(LegNumber, DeliveryState),
}
