//! What is in the body of a SIP message, alone or as one of its parts.

use bytes::Bytes;

use crate::mime::{Entity, EntityFields};
use crate::resource_lists::{CopyControl, ResourceLists};
use crate::sip::{HeaderName, Message};

/// The session description in a message, alone or as a part.
pub(super) fn sdp_of(message: &Message) -> Option<Bytes> {
    let entity = entity_of(message)?;
    let leaf = entity
        .leaves()
        .find(|leaf| leaf.content_type().is("application", "sdp"))?;
    leaf.content().ok()
}

/// The CPIM message of a MESSAGE, and who else got it.
pub(super) fn cpim_of(request: &Message) -> Option<(Bytes, Vec<(String, String)>)> {
    let entity = entity_of(request)?;
    let leaf = entity
        .leaves()
        .find(|leaf| leaf.content_type().is("message", "cpim"))?;
    Some((leaf.content().ok()?, history_of(request)))
}

/// The recipient-list-history (RFC 5364 §5) of a request.
pub(super) fn history_of(request: &Message) -> Vec<(String, String)> {
    let Some(entity) = entity_of(request) else {
        return Vec::new();
    };
    let list = entity
        .leaves()
        .find(|leaf| leaf.content_type().is("application", "resource-lists+xml"));
    let document = list.and_then(|leaf| leaf.content().ok());
    let lists = document.and_then(|bytes| ResourceLists::parse(&bytes).ok());
    let Some(lists) = lists else {
        return Vec::new();
    };
    let role = |control| match control {
        Some(CopyControl::Cc) => "cc",
        Some(CopyControl::Bcc) => "bcc",
        Some(CopyControl::To) | None => "to",
    };
    let entries = lists.entries();
    entries
        .map(|entry| (entry.uri.to_owned(), role(entry.copy_control).to_owned()))
        .collect()
}

fn entity_of(request: &Message) -> Option<Entity> {
    let value = |name| Some(Bytes::copy_from_slice(request.first(name)?.value()));
    let fields = EntityFields {
        content_type: value(HeaderName::ContentType),
        content_disposition: value(HeaderName::ContentDisposition),
        content_transfer_encoding: value(HeaderName::ContentTransferEncoding),
    };
    Entity::parse(fields, request.body()).ok()
}
