//! The body of a request: as a tree, its resource lists, its CPIM message.

use bytes::Bytes;

use super::refusal::Refusal;
use crate::cpim;
use crate::log::{LogAt, at};
use crate::mime::{Entity, EntityFields, HeaderField, Leaf, LeafId, MimeError, NewPart, Rebuilt};
use crate::sip::{HeaderName, Message};

/// The body as a tree (RFC 5621).
pub(super) fn entity(message: &Message) -> Result<Entity, Refusal> {
    Entity::parse(entity_fields(message), message.body()).map_err(malformed(at!(Notice)))
}

/// The header fields that describe the body.
fn entity_fields(message: &Message) -> EntityFields {
    let value = |name| {
        let field = message.first(name);
        field.map(|field| Bytes::copy_from_slice(field.value()))
    };
    EntityFields {
        content_type: value(HeaderName::ContentType),
        content_disposition: value(HeaderName::ContentDisposition),
        content_transfer_encoding: value(HeaderName::ContentTransferEncoding),
    }
}

/// Whether a part is a list of recipients, by its disposition (RFC 5363 §4). A part without
/// disposition counts as one.
pub(super) fn names_recipients(leaf: &Leaf<'_>) -> bool {
    is_resource_list(leaf) && leaf.disposition().is_none_or(|d| d.is("recipient-list"))
}

/// Whether a part is a list about the message's recipients: recipients of this message, or those to
/// which another list server has sent it (RFC 5364 §5). No copy contains it (9.1.1-6g-ex2). A list
/// with another disposition is content, like an attachment.
fn is_recipient_list(leaf: &Leaf<'_>) -> bool {
    names_recipients(leaf)
        || is_resource_list(leaf)
            && leaf
                .disposition()
                .is_some_and(|d| d.is("recipient-list-history"))
}

fn is_resource_list(leaf: &Leaf<'_>) -> bool {
    leaf.content_type().is("application", "resource-lists+xml")
}

/// Whether the body as a whole is encoded, so that its content cannot be read.
pub(super) fn has_content_encoding(message: &Message) -> bool {
    let encoding = message.first(HeaderName::ContentEncoding);
    encoding.is_some_and(|field| !field.value().eq_ignore_ascii_case(b"identity"))
}

/// 400, with the fault as its phrase.
pub(super) fn malformed(at: LogAt) -> impl Fn(MimeError) -> Refusal {
    move |error| Refusal::bad_request(at, error.to_string())
}

/// The CPIM message in a body.
pub(super) fn cpim_of(entity: &Entity) -> Option<Bytes> {
    let (media_type, subtype) = cpim::CONTENT_TYPE;
    let is_cpim = |leaf: &Leaf<'_>| leaf.content_type().is(media_type, subtype);
    entity.leaves().find(is_cpim)?.content().ok()
}

/// A received body with only the first of its lists of recipients.
#[derive(Debug)]
pub(super) struct ReceivedList {
    entity: Entity,
    /// The list.
    leaf: LeafId,
    /// The fields that describe the body, if it differs from the received one.
    header_fields: Option<Vec<HeaderField>>,
}

impl ReceivedList {
    /// `entity` is the body of the message. `None`: it has no such list.
    pub(super) fn in_body(
        message: &Message,
        mut entity: Entity,
    ) -> Result<Option<Self>, MimeError> {
        let mut header_fields = None;
        loop {
            let lists = entity.leaves().filter(is_recipient_list);
            let lists: Vec<LeafId> = lists.map(|leaf| leaf.id()).collect();
            let last = match lists[..] {
                [] => return Ok(None),
                [leaf] => {
                    return Ok(Some(ReceivedList {
                        entity,
                        leaf,
                        header_fields,
                    }));
                }
                [.., last] => last,
            };
            // At least the first list remains.
            let Some(rebuilt) = entity.with_leaf(last, None)? else {
                return Ok(None);
            };
            header_fields = rebuilt.header_fields.or(header_fields);
            let fields = match &header_fields {
                None => entity_fields(message),
                Some(fields) => {
                    let value = |name: &str| {
                        let is =
                            |field: &&HeaderField| field.name.eq_ignore_ascii_case(name.as_bytes());
                        fields.iter().find(is).map(|field| field.value.clone())
                    };
                    EntityFields {
                        content_type: value("Content-Type"),
                        content_disposition: value("Content-Disposition"),
                        content_transfer_encoding: None,
                    }
                }
            };
            entity = Entity::parse(fields, rebuilt.body)?;
        }
    }

    /// The body with the list replaced or, for `None`, removed. `None`: nothing remains.
    pub(super) fn replaced(&self, new: Option<NewPart>) -> Result<Option<Rebuilt>, MimeError> {
        let rebuilt = self.entity.with_leaf(self.leaf, new)?;
        Ok(rebuilt.map(|rebuilt| Rebuilt {
            header_fields: rebuilt.header_fields.or_else(|| self.header_fields.clone()),
            ..rebuilt
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_list(media_type: &str, disposition: &str) -> bool {
        let fields = EntityFields {
            content_type: Some(Bytes::copy_from_slice(media_type.as_bytes())),
            content_disposition: Some(Bytes::copy_from_slice(disposition.as_bytes())),
            content_transfer_encoding: None,
        };
        let entity = Entity::parse(fields, Bytes::from_static(b"x")).unwrap();
        entity.leaves().any(|leaf| is_recipient_list(&leaf))
    }

    #[test]
    fn a_list_is_known_by_its_type_and_its_disposition() {
        let list = "application/resource-lists+xml";
        assert!(is_list(list, "recipient-list"));
        assert!(is_list(list, "recipient-list-history"));
        assert!(!is_list(list, "attachment"));
        assert!(!is_list("text/plain", "recipient-list"));
        assert!(!is_list("text/plain", "recipient-list-history"));
    }
}
