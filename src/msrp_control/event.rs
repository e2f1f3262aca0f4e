//! Events of a session that the relay reports.

use super::{LegNumber, StoredContent};
use crate::msrp_session::DeliveryState;

/// An event of a session; see [`RelayCommand`](super::RelayCommand) for the final events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MsrpEvent {
    /// The originator's connection is established.
    SenderConnected,
    /// Its message has begun.
    MessageStarted {
        /// Its size in bytes, if its first chunk has it.
        size: Option<u64>,
    },
    /// All content is on disk; what is to become of the message waits for
    /// [`RelayCommand::Kept`](super::RelayCommand::Kept) or `NotKept`.
    ContentStored(Box<StoredContent>),
    /// The whole message has arrived. A final event.
    MessageComplete,
    /// It will not arrive completely. A final event.
    MessageFailed,
    /// The connection to a leg is established.
    LegConnected(LegNumber),
    /// The originator was held back too long because more legs could follow: none can be opened any
    /// more.
    NoMoreLegs,
    /// A leg has reached this final state. A final event.
    LegEnded(LegNumber, DeliveryState),
}
