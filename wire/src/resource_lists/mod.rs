//! Resource lists (RFC 4826, RFC 5364): the URI list of a request, and the list of visible
//! recipients for each of them.
//!
//! [`ResourceLists`] reads a document in one pass; [`write_history`] and [`write_recipient_list`]
//! write one. Which recipients get the message, and whether their URIs are valid, is decided above
//! this floor.

mod error;
mod history;
mod parse;

pub use crate::xml::{MAX_ATTRIBUTES, MAX_NAMESPACE_BINDINGS};
pub use error::ResourceListsError;
pub use history::{
    ANONYMOUS_URI, CONTENT_TYPE, HISTORY_DISPOSITION, HistoryUnqualified,
    RECIPIENT_LIST_DISPOSITION, write_history, write_recipient_list,
};
pub use parse::{
    CopyControl, Entry, Limits, MAX_DEPTH, MAX_DOCUMENT_BYTES, MAX_ENTRIES, MAX_ENTRY_URI_BYTES,
    ResourceLists,
};

const RESOURCE_LISTS_NAMESPACE: &str = "urn:ietf:params:xml:ns:resource-lists";
const COPY_CONTROL_NAMESPACE: &str = "urn:ietf:params:xml:ns:copycontrol";
/// The spelling in the figures of RFC 5366; accepted, never written.
const COPY_CONTROL_NAMESPACE_OF_RFC_5366: &str = "urn:ietf:params:xml:ns:copyControl";
