//! The record of a received request: for routing scripts, for the log and for the operator.

use std::fmt;

use bytes::{Buf, BufMut, Bytes};

use super::attempt::Attempt;
use super::charging::icid_of;
use super::handed_over::{put_option, take_option};
use super::host::AboutRequest;
use super::received::Mode;
use super::request::{MAX_LOGGED_CALL_ID_BYTES, Request};
use super::service::ControllingFunction;
use crate::imdn::MessageHead;
use crate::shared::{Link, MessageNumber, MessageText, RecipientState};
use crate::sip::HeaderName;

impl Request {
    /// Its record.
    pub(super) fn about(&self) -> AboutRequest {
        let session = self.session().map(|session| session.to_string());
        let about = AboutRequest {
            received_ms: self.received_ms,
            bytes: self.content_bytes(),
            recipients: u32::try_from(self.recipients.len()).unwrap_or(u32::MAX),
            ..AboutRequest::default()
        };
        about
            .with(MessageText::Kind, Some(self.kind.as_str()))
            .with(MessageText::Mode, Some(self.mode().as_str()))
            .with(MessageText::CallId, self.call_id())
            .with(MessageText::Originator, self.originator())
            .with(MessageText::ContributionId, self.contribution_id())
            .with(MessageText::ConversationId, self.conversation_id())
            .with(MessageText::Session, session)
            .with(MessageText::Icid, self.icid())
            .with(MessageText::MessageId, self.message_id())
    }

    /// Size of the content for the recipients; 0: not known yet, as for a large message.
    pub fn content_bytes(&self) -> u64 {
        self.outgoing_body
            .as_ref()
            .map_or(0, |body| body.body.len() as u64)
    }

    /// What its CPIM header says about notifications. `None`: nothing, or it arrives later.
    pub(super) fn message_head(&self) -> Option<&MessageHead> {
        let cpim = self.cpim.as_ref()?;
        let head = self.message_head.get_or_init(|| MessageHead::of(cpim));
        head.as_ref()
    }

    /// The Message-ID of its CPIM header. `None`: it has none, or it arrives later.
    pub fn message_id(&self) -> Option<&str> {
        self.message_head().map(|head| &*head.message_id)
    }

    /// The IMS charging identity that it came with (RFC 7315 §5.6).
    pub fn icid(&self) -> Option<&str> {
        let icid = self.icid.get_or_init(|| icid_of(&self.message));
        icid.as_deref()
    }

    /// Call-ID, as received.
    pub fn call_id(&self) -> Option<&[u8]> {
        let field = self.message.first(HeaderName::CallId);
        field.map(|field| field.value())
    }
}

impl ControllingFunction {
    /// Records a message that is about to be sent. `sender`: the record that counts its failures.
    pub(super) fn note_message(&self, about: &AboutRequest, sender: Link) -> MessageNumber {
        let about = AboutRequest {
            link: sender,
            ..about.clone()
        };
        let number = self.messages().map(|messages| messages.note(&about));
        number.unwrap_or_default()
    }

    /// The sender of an accepted message gets its 2xx now.
    pub fn handle_accepted(&self, about: &AboutRequest, code: u16) {
        if let Some(messages) = self.messages() {
            let is_large = about.text(MessageText::Mode) == Some(Mode::Large.as_str().as_bytes());
            let took_ms = messages.now_ms().saturating_sub(about.received_ms);
            messages.figures().count_response(is_large, code);
            messages.figures().observe_response(is_large, took_ms);
        }
    }

    /// The sender of a message that a worker has accepted gets a refusal after all.
    pub fn handle_refused(&self, mode: Mode, code: u16) {
        if let Some(messages) = self.messages() {
            let is_large = mode == Mode::Large;
            messages.figures().count_response(is_large, code);
        }
    }

    /// Records that it was refused after all.
    pub fn forget_message(&self, message: MessageNumber) {
        if let Some(messages) = self.messages() {
            messages.forget(message);
        }
    }

    /// The record of the message that an outgoing request belongs to, and the number of its
    /// recipient.
    pub fn about(&self, attempt: u64) -> Option<(AboutRequest, u32)> {
        match Attempt::of_bits(attempt) {
            Attempt::Copy { link, .. } => self.messages()?.message_of(link),
            Attempt::Notification => None,
        }
    }

    /// Records the state of a recipient.
    pub(super) fn set_recipient(&self, attempt: u64, state: RecipientState, code: u16) {
        if let (Some(messages), Attempt::Copy { link, .. }) =
            (self.messages(), Attempt::of_bits(attempt))
        {
            messages.set(link, state, code);
        }
    }
}

/// Identifies a recipient in log lines: its number, the Call-ID of its request, and its message.
#[derive(Debug)]
pub struct LegCorrelation<'a> {
    /// The number of the recipient; `None`: unknown.
    pub leg: Option<u32>,
    /// Call-ID of the request to it.
    pub call_id: &'a str,
    /// Its message; `None`: unknown.
    pub about: Option<&'a AboutRequest>,
    /// Contribution-ID of the request to it, which is its message's: for one that is unknown.
    pub contribution_id: Option<&'a str>,
}

impl fmt::Display for LegCorrelation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.leg {
            Some(leg) => write!(f, "leg={leg}")?,
            None => f.write_str("leg=-")?,
        }
        write!(f, ", leg_callid={}", cut(self.call_id))?;
        for (name, text) in [
            ("callid", MessageText::CallId),
            ("contribution", MessageText::ContributionId),
            ("session", MessageText::Session),
        ] {
            let value = self.about.and_then(|about| about.text(text));
            if let Some(value) = value.and_then(|value| std::str::from_utf8(value).ok()) {
                write!(f, ", {name}={}", cut(value))?;
            }
        }
        match self.contribution_id.filter(|_| self.about.is_none()) {
            Some(id) => write!(f, ", contribution={}", cut(id)),
            None => Ok(()),
        }
    }
}

fn cut(id: &str) -> &str {
    &id[..id.floor_char_boundary(MAX_LOGGED_CALL_ID_BYTES)]
}

/// A record for another process of the same build.
pub(super) fn put_about(bytes: &mut Vec<u8>, about: &AboutRequest) {
    for text in &about.texts {
        put_option(bytes, text.as_deref());
    }
    bytes.put_u64(about.received_ms);
    bytes.put_u64(about.bytes);
    bytes.put_u32(about.recipients);
}

/// The inverse of [`put_about`].
pub(super) fn take_about(bytes: &mut Bytes) -> Option<AboutRequest> {
    let mut about = AboutRequest::default();
    for text in &mut about.texts {
        *text = take_option(bytes)?.map(|text| text.to_vec());
    }
    about.received_ms = bytes.try_get_u64().ok()?;
    about.bytes = bytes.try_get_u64().ok()?;
    about.recipients = bytes.try_get_u32().ok()?;
    Some(about)
}

/// The number of a record for another process.
pub(super) fn put_number(bytes: &mut Vec<u8>, number: MessageNumber) {
    for word in number.to_words() {
        bytes.put_u64(word);
    }
}

/// The inverse of [`put_number`].
pub(super) fn take_number(bytes: &mut Bytes) -> Option<MessageNumber> {
    let words = [bytes.try_get_u64().ok()?, bytes.try_get_u64().ok()?];
    Some(MessageNumber::of_words(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was() {
        let about = AboutRequest {
            received_ms: 7,
            bytes: 1 << 40,
            recipients: 3,
            ..AboutRequest::default()
        }
        .with(MessageText::CallId, Some("1"))
        .with(MessageText::Icid, Some(""));
        let mut bytes = Vec::new();
        put_about(&mut bytes, &about);
        assert_eq!(take_about(&mut Bytes::from(bytes)), Some(about));
    }

    #[test]
    fn a_line_names_the_recipient_and_its_message() {
        let about = AboutRequest::default()
            .with(MessageText::CallId, Some("1@example.com"))
            .with(MessageText::ContributionId, Some("c"));
        let line = LegCorrelation {
            leg: Some(3),
            call_id: "cpm-1",
            about: Some(&about),
            contribution_id: Some("of the copy"),
        };
        let expected = "leg=3, leg_callid=cpm-1, callid=1@example.com, contribution=c";
        assert_eq!(line.to_string(), expected);
        let unknown = LegCorrelation {
            leg: None,
            call_id: "cpm-1",
            about: None,
            contribution_id: Some("c"),
        };
        let expected = "leg=-, leg_callid=cpm-1, contribution=c";
        assert_eq!(unknown.to_string(), expected);
    }
}
