//! Instant Message Disposition Notifications (RFC 5438): what a sender asks for in the header of a CPIM message,
//! with the value `interworking` that CPM adds, and what he is told.

mod document;

use std::fmt;

pub use document::{Disposition, DocumentError, MAX_DOCUMENT_BYTES, Notification};

/// The namespace of the header fields below (RFC 5438 §6).
pub const NAMESPACE: &str = "urn:ietf:params:imdn";
/// Names the message that a notification is about.
pub const MESSAGE_ID: &str = "Message-ID";
/// Which notifications the sender wants.
pub const DISPOSITION_NOTIFICATION: &str = "Disposition-Notification";
/// Who wants to be on the way of a notification (RFC 5438 §6.5).
pub const RECORD_ROUTE: &str = "IMDN-Record-Route";
/// The way of a notification, made of that (RFC 5438 §6.6).
pub const ROUTE: &str = "IMDN-Route";
/// Whom the message was addressed to before somebody on its way changed that.
pub const ORIGINAL_TO: &str = "Original-To";
/// Content-Type of a notification.
pub const CONTENT_TYPE: (&str, &str) = ("message", "imdn+xml");

/// Which notifications the sender of a message wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notifications {
    /// That it has come to the recipient: `positive-delivery`.
    pub delivered: bool,
    /// That it cannot: `negative-delivery`.
    pub failed: bool,
    /// That it has been shown: `display`.
    pub displayed: bool,
    /// That it has gone on as something else, such as a short message: `interworking`.
    pub interworked: bool,
}

impl Notifications {
    /// Reads the value of a Disposition-Notification field; values that are not known here do not count.
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
