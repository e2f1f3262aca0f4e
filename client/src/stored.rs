//! A message as an object of the message store: MIME header fields, an empty line, the CPIM
//! message.
//!
//! The client keeps sent and received messages in this form, so that replies and the comparison
//! with objects from a message server have one input format.

use std::fmt;

use bytes::Bytes;
use cpm_wire::cpim::CpimMessage;
use cpm_wire::imdn;
use cpm_wire::sip::{HeaderName, Message, NameAddr, split_list};

use super::CPIM_TYPE;

/// Maximum length of an object's header.
pub const MAX_STORED_HEAD_BYTES: usize = 64 * 1024;

/// An object of the message store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Name and value, in order.
    pub fields: Vec<(String, String)>,
    /// The CPIM message; for a message without one, its content.
    pub body: Bytes,
}

/// Bytes that are not such an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnObjectError;

const CONTENT_TYPE: &str = "Content-Type";

/// Header fields of a received request that a stored copy keeps unchanged.
const KEPT: [HeaderName; 12] = [
    HeaderName::Date,
    HeaderName::From,
    HeaderName::To,
    // Whether the message came through a focus.
    HeaderName::Contact,
    HeaderName::PAssertedIdentity,
    HeaderName::ReferredBy,
    HeaderName::ReplyTo,
    HeaderName::ConversationId,
    HeaderName::ContributionId,
    HeaderName::InReplyToContributionId,
    HeaderName::Subject,
    HeaderName::MessageUid,
];

impl StoredMessage {
    /// Makes the object of a received message from its request and its CPIM message.
    pub fn of_received(request: &Message, cpim: &Bytes) -> Self {
        Self::with_cpim(Self::kept(request), cpim)
    }

    /// The same for a message without CPIM: content of this type.
    pub fn of_plain(request: &Message, content_type: &str, content: &Bytes) -> Self {
        let mut fields = Self::kept(request);
        fields.push((CONTENT_TYPE.to_owned(), content_type.to_owned()));
        Self {
            fields,
            body: content.clone(),
        }
    }

    /// Whether the body is a CPIM message.
    pub fn is_cpim(&self) -> bool {
        let content_type = self.field(CONTENT_TYPE).unwrap_or(CPIM_TYPE);
        let media_type = content_type.split(';').next().unwrap_or_default();
        media_type.trim().eq_ignore_ascii_case(CPIM_TYPE)
    }

    fn kept(request: &Message) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        for field in request
            .fields()
            .filter(|field| KEPT.contains(&field.name()))
        {
            let value = field.unfolded_text().into_owned();
            fields.push((field.raw_name().to_owned(), value));
        }
        fields
    }

    /// Adds the data of the CPIM message to these fields, and the message itself.
    pub(super) fn with_cpim(mut fields: Vec<(String, String)>, cpim: &Bytes) -> Self {
        if let Ok(message) = CpimMessage::parse(cpim) {
            if let Some(id) = message.field_of(imdn::NAMESPACE, imdn::MESSAGE_ID) {
                fields.push(("IMDN-Message-ID".to_owned(), id.to_owned()));
            }
            if let Some(types) = payload_types(&message) {
                fields.push(("Payload-Type".to_owned(), types));
            }
        }
        fields.push((CONTENT_TYPE.to_owned(), CPIM_TYPE.to_owned()));
        Self {
            fields,
            body: cpim.clone(),
        }
    }

    /// Parses an object. Folded header lines are unfolded; lines may end with LF alone.
    ///
    /// # Errors
    /// [`NotAnObjectError`].
    pub fn parse(bytes: &Bytes) -> Result<Self, NotAnObjectError> {
        let mut fields: Vec<(String, String)> = Vec::new();
        let mut at = 0;
        loop {
            let rest = &bytes[at..bytes.len().min(MAX_STORED_HEAD_BYTES)];
            let end = rest
                .iter()
                .position(|byte| *byte == b'\n')
                .ok_or(NotAnObjectError)?;
            let line = &rest[..end];
            at += end + 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                break;
            }
            let line = std::str::from_utf8(line).map_err(|_| NotAnObjectError)?;
            match (line.starts_with([' ', '\t']), fields.last_mut()) {
                (true, Some((_, value))) => {
                    value.push(' ');
                    value.push_str(line.trim());
                }
                _ => {
                    let (name, value) = line.split_once(':').ok_or(NotAnObjectError)?;
                    fields.push((name.trim().to_owned(), value.trim().to_owned()));
                }
            }
        }
        Ok(Self {
            fields,
            body: bytes.slice(at..),
        })
    }

    /// Writes the object. Line breaks in values become spaces.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1024 + self.body.len());
        for (name, value) in &self.fields {
            let value = value.replace(['\r', '\n'], " ");
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// The first field of that name, compared case-insensitively.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The URI of the first address in a field.
    pub fn uri(&self, name: &str) -> Option<&str> {
        let first = split_list(self.field(name)?).next()?;
        NameAddr::parse(first).ok().map(|address| address.uri())
    }
}

/// The value of `cpm.Payload-Type`, or the Content-Type of the wrapped content if that field is
/// missing.
pub(super) fn payload_types(message: &CpimMessage) -> Option<String> {
    let listed = message.field_of(super::CPM_NAMESPACE, super::PAYLOAD_TYPE);
    let types = listed.or_else(|| message.content_field("Content-Type"))?;
    Some(types.to_owned())
}

impl fmt::Display for NotAnObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a stored message: header fields, an empty line and a CPIM message are wanted",
        )
    }
}

impl std::error::Error for NotAnObjectError {}

#[cfg(test)]
mod tests {
    use super::*;

    const CPIM: &[u8] =
        b"From: <sip:a@example.com>\r\nTo: <sip:b@example.com>\r\nNS: i <urn:ietf:params:imdn>\r\n\
        i.Message-ID: 42\r\n\r\nContent-Type: text/plain\r\n\r\nHello";

    #[test]
    fn an_object_is_read_back_as_it_was() {
        let request = Message::parse(Bytes::from_static(
            b"MESSAGE sip:b@example.com SIP/2.0\r\nf: <sip:a@example.com>;tag=1\r\nContribution-ID: one\r\n two\r\n\
              X-Other: x\r\nP-Asserted-Identity: <sip:a@example.com>\r\n\r\n",
        ))
        .unwrap();
        let object = StoredMessage::of_received(&request, &Bytes::from_static(CPIM));
        assert_eq!(object.field("contribution-id"), Some("one two"));
        assert_eq!(object.field("IMDN-Message-ID"), Some("42"));
        assert_eq!(object.field("Payload-Type"), Some("text/plain"));
        assert_eq!(object.field("X-Other"), None);
        assert_eq!(object.uri("P-Asserted-Identity"), Some("sip:a@example.com"));
        assert_eq!(
            StoredMessage::parse(&Bytes::from(object.write())),
            Ok(object)
        );
    }

    #[test]
    fn folds_and_bare_line_feeds_are_read() {
        let object = StoredMessage::parse(&Bytes::from_static(b"A: b\n c\nD:e\n\nbody")).unwrap();
        assert_eq!(object.fields[0], ("A".into(), "b c".into()));
        assert_eq!(
            (object.field("d"), &object.body[..]),
            (Some("e"), &b"body"[..])
        );
        for text in ["", "A: b", "no colon\n\n"] {
            assert_eq!(
                StoredMessage::parse(&Bytes::from(text)),
                Err(NotAnObjectError)
            );
        }
    }
}
