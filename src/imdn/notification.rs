use std::fmt;

use quick_xml::escape::escape;

use super::MAX_MESSAGE_ID_BYTES;
use crate::xml::{self, Attributes, Name, Visitor, XmlError};

/// Length of one notification document. A real one has less than 1 KiB.
pub const MAX_NOTIFICATION_BYTES: usize = 64 * 1024;

/// Elements inside each other. RFC 5438 §11 has four; the rest is room for extensions.
pub const MAX_DEPTH: usize = 16;

/// The namespace of the document (RFC 5438 §11.1).
const NAMESPACE: &str = "urn:ietf:params:xml:ns:imdn";

/// A document that says of no message what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationError {
    /// It cannot be read.
    Xml(XmlError),
    /// Its root is no `imdn`.
    NotANotification,
    /// It has no `message-id`, an empty one, several, or one of more than [`MAX_MESSAGE_ID_BYTES`].
    MessageId,
}

impl From<XmlError> for NotificationError {
    fn from(error: XmlError) -> Self {
        NotificationError::Xml(error)
    }
}

impl fmt::Display for NotificationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotificationError::Xml(error) => error.fmt(f),
            NotificationError::NotANotification => f.write_str("its root is no imdn"),
            NotificationError::MessageId => f.write_str("it names no message"),
        }
    }
}

impl std::error::Error for NotificationError {}

/// Which message a notification (RFC 5438 §7.2) is about: the text of its `message-id`, without white space around it.
///
/// # Errors
/// Any [`NotificationError`].
pub fn notified_message_id(document: &[u8]) -> Result<String, NotificationError> {
    let limits = xml::Limits {
        depth: MAX_DEPTH,
        document_bytes: MAX_NOTIFICATION_BYTES,
        fragment: false,
    };
    let mut reader = Reader::default();
    xml::scan(limits, document, &mut reader)?;
    let id = reader.id.as_deref().unwrap_or_default().trim();
    if id.is_empty() || id.len() > MAX_MESSAGE_ID_BYTES {
        return Err(NotificationError::MessageId);
    }
    Ok(id.to_owned())
}

/// The document which says that a message could not be delivered (RFC 5438 §7.2.1.1). `date_time` and `recipient` are those of the
/// message itself: its DateTime, and the URI in its To.
pub fn write_failure(message_id: &str, date_time: &str, recipient: &str) -> String {
    let [message_id, date_time, recipient] = [message_id, date_time, recipient].map(escape);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<imdn xmlns=\"{NAMESPACE}\">\
         <message-id>{message_id}</message-id><datetime>{date_time}</datetime>\
         <recipient-uri>{recipient}</recipient-uri>\
         <delivery-notification><status><failed/></status></delivery-notification></imdn>\r\n"
    )
}

#[derive(Default)]
struct Reader {
    depth: usize,
    is_in_id: bool,
    id: Option<String>,
}

impl Visitor for Reader {
    type Error = NotificationError;

    fn start(&mut self, name: Name<'_>, _: &Attributes<'_>) -> Result<(), NotificationError> {
        let is = |local| name.namespace == NAMESPACE && name.local == local;
        match self.depth {
            0 if !is("imdn") => return Err(NotificationError::NotANotification),
            1 if is("message-id") && self.id.replace(String::new()).is_some() => {
                return Err(NotificationError::MessageId);
            }
            _ => self.is_in_id = self.depth == 1 && is("message-id"),
        }
        self.depth += 1;
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if self.is_in_id
            && let Some(id) = &mut self.id
        {
            id.push_str(text);
        }
    }

    fn end(&mut self) -> Result<(), NotificationError> {
        self.depth -= 1;
        self.is_in_id = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msrp::xorshift::XorShift;

    /// RFC 5438 §7.2.1.1, with CPM's element beside it.
    const SAMPLE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\">\r\n\
        <message-id>34jk324j</message-id><datetime>2008-04-04T12:16:49-05:00</datetime>\r\n\
        <display-notification><status><displayed/></status></display-notification>\r\n\
        <x:note xmlns:x=\"urn:oma:xml:cpm:imdn-extensions:1.0\"><message-id>other</message-id></x:note></imdn>";

    fn named(content: &str) -> Result<String, NotificationError> {
        let document =
            format!("<i:imdn xmlns:i=\"{NAMESPACE}\" xmlns=\"urn:other\">{content}</i:imdn>");
        notified_message_id(document.as_bytes())
    }

    #[test]
    fn it_names_the_message() {
        assert_eq!(
            notified_message_id(SAMPLE.as_bytes()).as_deref(),
            Ok("34jk324j")
        );
        assert_eq!(
            named("<i:message-id>\n a&amp;<![CDATA[<b>]]> </i:message-id>").as_deref(),
            Ok("a&<b>")
        );
        let longest = "a".repeat(MAX_MESSAGE_ID_BYTES);
        assert_eq!(
            named(&format!("<i:message-id>{longest}</i:message-id>")),
            Ok(longest)
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let document = write_failure("a<&>'b", "2026-01-02T03:04:05Z", "sip:x?a=1&b=2");
        assert_eq!(
            notified_message_id(document.as_bytes()).as_deref(),
            Ok("a<&>'b")
        );
        assert!(document.contains("<recipient-uri>sip:x?a=1&amp;b=2</recipient-uri>"));
    }

    #[test]
    fn what_names_none_is_refused() {
        for content in [
            "",
            "<message-id>1</message-id>",
            "<i:message-id/>",
            "<i:message-id> </i:message-id>",
            "<i:message-id>1</i:message-id><i:message-id>1</i:message-id>",
            "<i:status><i:message-id>1</i:message-id></i:status>",
            &format!(
                "<i:message-id>{}</i:message-id>",
                "a".repeat(MAX_MESSAGE_ID_BYTES + 1)
            ),
        ] {
            assert_eq!(
                named(content),
                Err(NotificationError::MessageId),
                "{content}"
            );
        }
        for document in ["<imdn/>", "<a xmlns=\"urn:ietf:params:xml:ns:imdn\"/>"] {
            assert_eq!(
                notified_message_id(document.as_bytes()),
                Err(NotificationError::NotANotification)
            );
        }
        for document in ["", "text", "<imdn", "<!DOCTYPE imdn><imdn/>"] {
            assert!(matches!(
                notified_message_id(document.as_bytes()),
                Err(NotificationError::Xml(_))
            ));
        }
        assert!(named(&"<i:a>".repeat(MAX_DEPTH)).is_err());
        assert_eq!(
            named(&" ".repeat(MAX_NOTIFICATION_BYTES)),
            Err(NotificationError::Xml(XmlError::TooLarge))
        );
    }

    #[test]
    fn mutated_documents_never_panic() {
        let mut random = XorShift::new(5438);
        for _ in 0..5_000 {
            let mut bytes = SAMPLE.as_bytes().to_vec();
            for _ in 0..1 + random.below(5) {
                let at = random.below(bytes.len());
                bytes[at] = b"<>/&;\" \xff"[random.below(8)];
            }
            let _ = notified_message_id(&bytes);
        }
    }
}
