//! Content of a SIP message's body, alone or as one of its parts.

use bytes::Bytes;
use cpm_wire::mime::{Entity, EntityFields};
use cpm_wire::resource_lists::{CopyControl, ResourceLists};
use cpm_wire::sip::{HeaderName, Message};

/// The header field that names the compression of content.
pub(super) const CONTENT_ENCODING: &str = "Content-Encoding";

/// The session description in a message, alone or as a part.
pub(super) fn sdp_of(message: &Message) -> Option<Bytes> {
    let entity = entity_of(message)?;
    let leaf = entity
        .leaves()
        .find(|leaf| leaf.content_type().is("application", "sdp"))?;
    leaf.content().ok()
}

/// The CPIM message of a MESSAGE, and its other recipients.
pub(super) fn cpim_of(request: &Message) -> Option<(Bytes, Vec<(String, String)>)> {
    let entity = entity_of(request)?;
    let leaf = entity
        .leaves()
        .find(|leaf| leaf.content_type().is("message", "cpim"))?;
    Some((leaf.content().ok()?, history_of(request)))
}

/// The plain text of a MESSAGE without CPIM message, and its Content-Type.
pub(super) fn text_of(request: &Message) -> Option<(String, Bytes)> {
    let entity = entity_of(request)?;
    let leaf = entity
        .leaves()
        .find(|leaf| leaf.content_type().is("text", "plain"))?;
    let content_type = String::from_utf8_lossy(leaf.content_type().value());
    Some((content_type.into_owned(), leaf.content().ok()?))
}

/// Whether the body, or a part of it that is not optional, has a Content-Encoding: none is
/// supported, so it must be refused with 415 (RFC 3261 §8.2.3).
pub(super) fn is_encoded(message: &Message) -> bool {
    let whole = message.all(HeaderName::ContentEncoding);
    if whole.into_iter().any(|field| is_encoding(field.value())) {
        return true;
    }
    let Some(entity) = entity_of(message).filter(Entity::is_multipart) else {
        return false;
    };
    entity
        .leaves()
        .filter(|leaf| !leaf.disposition().is_some_and(|one| one.is_optional()))
        .filter_map(|leaf| leaf.field(CONTENT_ENCODING))
        .any(|value| is_encoding(&value))
}

/// Whether a value of Content-Encoding names an encoding other than identity.
pub(super) fn is_encoding(value: &[u8]) -> bool {
    let mut encodings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    encodings.any(|one| !one.is_empty() && !one.eq_ignore_ascii_case(b"identity"))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn message(content_type: &str, body: &str) -> Message {
        let text = format!(
            "MESSAGE sip:bill@example.com SIP/2.0\r\nContent-Type: {content_type}\r\n\r\n{body}"
        );
        Message::parse(text.into_bytes().into()).unwrap()
    }

    const LIST: &str = "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" \
        xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\"><list>\
        <entry uri=\"sip:bill@example.com\" cp:copyControl=\"to\"/>\
        <entry uri=\"sip:joe@example.com\" cp:copyControl=\"cc\"/>\
        <entry uri=\"sip:ted@example.com\"/></list></resource-lists>";

    #[test]
    fn a_history_names_who_else_has_got_it_and_in_which_role() {
        let text = "--b\r\nContent-Type: text/plain\r\n\r\nHi\r\n";
        let list = format!("--b\r\nContent-Type: application/resource-lists+xml\r\n\r\n{LIST}\r\n");
        let of = |body: &str| history_of(&message("multipart/mixed;boundary=b", body));
        let names = ["bill", "joe", "ted"].map(|name| format!("sip:{name}@example.com"));
        let roles = ["to", "cc", "to"].map(str::to_owned);
        let expected: Vec<_> = names.into_iter().zip(roles).collect();
        assert_eq!(of(&format!("{text}{list}--b--\r\n")), expected);
        assert_eq!(of(&format!("{text}--b--\r\n")), []);
    }

    #[test]
    fn only_another_encoding_than_identity_is_one() {
        for (value, expected) in [
            ("", false),
            ("identity", false),
            ("Identity , IDENTITY", false),
            ("gzip", true),
            ("identity,gzip", true),
        ] {
            assert_eq!(is_encoding(value.as_bytes()), expected, "{value}");
        }
    }
}
