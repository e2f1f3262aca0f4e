//! Instant Message Disposition Notifications (RFC 5438): the sender's request in the header of a
//! CPIM message, with CPM's value `interworking`; the message that a notification is about; its
//! content.

mod document;

use std::fmt;

use bytes::Bytes;

use crate::cpim::{Fields, MAX_HEAD_BYTES};

pub use document::{
    Disposition, DocumentError, MAX_DEPTH, MAX_DOCUMENT_BYTES, Notification, notified_message_id,
};

/// The namespace of the header fields below (RFC 5438 §6).
pub const NAMESPACE: &str = "urn:ietf:params:imdn";
/// Identifies the message that a notification is about.
pub const MESSAGE_ID: &str = "Message-ID";
/// The notifications that the sender wants.
pub const DISPOSITION_NOTIFICATION: &str = "Disposition-Notification";
/// Hosts that want to be on the path of a notification (RFC 5438 §6.5).
pub const RECORD_ROUTE: &str = "IMDN-Record-Route";
/// The path of a notification, derived from it (RFC 5438 §6.6).
pub const ROUTE: &str = "IMDN-Route";
/// The original addressee, if the address was changed on the way.
pub const ORIGINAL_TO: &str = "Original-To";
/// Content-Type of a notification.
pub const CONTENT_TYPE: (&str, &str) = ("message", "imdn+xml");

/// Maximum length of a Message-ID. RFC 5438 §6.3 requires at least 32 bits of randomness; clients
/// write some 40 characters.
pub const MAX_MESSAGE_ID_BYTES: usize = 256;

/// Whether this can be a Message-ID, in a CPIM header and in a document alike: a document drops
/// white space at the ends, and XML cannot contain most control characters.
fn is_message_id(id: &str) -> bool {
    let is_written = |c: char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    !id.is_empty()
        && id.len() <= MAX_MESSAGE_ID_BYTES
        && id.trim() == id
        && id.chars().all(is_written)
}

/// What the header of a message says about notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageHead {
    /// Names the message in them.
    pub message_id: String,
    /// The requested ones, as far as known here; `None`: the message does not ask for any.
    pub wanted: Option<Notifications>,
}

impl MessageHead {
    /// Of a CPIM message, which may end anywhere after its header. `None`: it has no Message-ID,
    /// one longer than [`MAX_MESSAGE_ID_BYTES`] or with characters that no notification can repeat,
    /// or is not a CPIM message.
    pub fn of(cpim: &Bytes) -> Option<Self> {
        // Names are case-sensitive (RFC 3862 §2.1): a message without one ends here.
        let head = &cpim[..cpim.len().min(MAX_HEAD_BYTES)];
        memchr::memmem::find(head, MESSAGE_ID.as_bytes())?;
        let head = Fields::read(cpim).ok()?;
        let message_id = head.field_of(NAMESPACE, MESSAGE_ID)?;
        let wanted = head.field_of(NAMESPACE, DISPOSITION_NOTIFICATION);
        let wanted = wanted.filter(|wanted| !wanted.is_empty());
        is_message_id(&message_id).then(|| Self {
            message_id,
            wanted: wanted.as_deref().map(Notifications::parse),
        })
    }
}

/// The notifications that the sender of a message wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notifications {
    /// Delivery to the recipient: `positive-delivery`.
    pub delivered: bool,
    /// Failed delivery: `negative-delivery`.
    pub failed: bool,
    /// Display: `display`.
    pub displayed: bool,
    /// Conversion to another service, such as a short message: `interworking`.
    pub interworked: bool,
}

impl Notifications {
    /// Reads the value of a Disposition-Notification field; unknown values are ignored.
    pub fn parse(value: &str) -> Self {
        let has = |wanted: &str| {
            let mut values = value.split([',', ';']).map(str::trim);
            values.any(|one| one.eq_ignore_ascii_case(wanted))
        };
        Self {
            delivered: has("positive-delivery"),
            failed: has("negative-delivery"),
            displayed: has("display"),
            interworked: has("interworking"),
        }
    }

    /// Whether none is wanted.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for Notifications {
    /// The value of a Disposition-Notification field.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = [
            (self.delivered, "positive-delivery"),
            (self.failed, "negative-delivery"),
            (self.displayed, "display"),
            (self.interworked, "interworking"),
        ];
        let wanted = values.iter().filter(|(wanted, _)| *wanted);
        for (index, (_, value)) in wanted.enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &str) -> Option<MessageHead> {
        let text = format!("{fields}\r\nContent-Type: text/plain\r\n\r\nDisposition-Notification");
        MessageHead::of(&Bytes::from(text))
    }

    /// The Message-ID, if notifications are asked for.
    fn requested(fields: &str) -> Option<String> {
        let head = head(fields)?;
        head.wanted.map(|_| head.message_id)
    }

    #[test]
    fn the_message_is_named_where_notifications_are_asked_for() {
        let ns = "NS: x <urn:ietf:params:imdn>\r\n";
        let ask = "x.Disposition-Notification: display\r\n";
        let id = "x.Message-ID: 34jk324j\r\n";
        assert_eq!(
            requested(&[ns, ask, id].concat()).as_deref(),
            Some("34jk324j")
        );
        assert_eq!(
            requested(&[ns, id, ask].concat()).as_deref(),
            Some("34jk324j")
        );
        // The requested values do not matter.
        let other = "x.Disposition-Notification: x-later\r\n";
        assert!(requested(&[ns, other, id].concat()).is_some());
        for without in [
            [ns, id, ""],
            [ns, ask, ""],
            [ask, id, ""],
            [ns, "x.Disposition-Notification:\r\n", id],
            [ns, ask, "x.Message-ID: \r\n"],
            [ns, ask, "x.Message-ID: a\\u0001b\r\n"],
            [ns, ask, "x.Message-ID: a\\u0020\r\n"],
            ["NS: x <urn:other>\r\n", ask, id],
            [ns, ask, "no field\r\n"],
        ] {
            assert_eq!(requested(&without.concat()), None, "{without:?}");
        }
        // Its record names a message that asks for none, too.
        assert_eq!(head(&[ns, id].concat()).unwrap().message_id, "34jk324j");
        for (length, is_known) in [
            (MAX_MESSAGE_ID_BYTES, true),
            (MAX_MESSAGE_ID_BYTES + 1, false),
        ] {
            let id = format!("x.Message-ID: {}\r\n", "a".repeat(length));
            assert_eq!(requested(&[ns, ask, &id].concat()).is_some(), is_known);
        }
        // The content may be missing, the header must not.
        let head = [ns, ask, id, "\r\nA: b\r\n\r\n"].concat();
        for end in 0..=head.len() {
            let known = MessageHead::of(&Bytes::copy_from_slice(&head.as_bytes()[..end]));
            assert_eq!(known.is_some(), end == head.len(), "{end}");
        }
    }

    #[test]
    fn values_are_written_and_read() {
        for bits in 0..16_u8 {
            let notifications = Notifications {
                delivered: bits & 1 != 0,
                failed: bits & 2 != 0,
                displayed: bits & 4 != 0,
                interworked: bits & 8 != 0,
            };
            assert_eq!(
                Notifications::parse(&notifications.to_string()),
                notifications
            );
            assert_eq!(notifications.is_empty(), bits == 0);
        }
        assert_eq!(
            Notifications::parse("positive-delivery, x-other,DISPLAY").to_string(),
            "positive-delivery, display"
        );
    }
}
