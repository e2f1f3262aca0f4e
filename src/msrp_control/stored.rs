//! The content of a large message in the store.

use bytes::Bytes;

use super::SessionId;
use crate::msrp_session::OutgoingMessage;

/// A message whose content is in a file of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredContent {
    /// The session that it came in, whose name its file has.
    pub file: SessionId,
    /// Size in bytes.
    pub size: u64,
    /// What describes it in MSRP.
    pub message: OutgoingMessage,
    /// The header of its CPIM wrapper; empty: it has none.
    pub head: Bytes,
}
