//! The document of a notification (RFC 5438 §11.2), with the element that CPM adds.

use std::fmt;

use super::is_message_id;
use crate::xml::{self, Attributes, Name, Visitor, XmlError};

/// Maximum length of a document in bytes. A real one has 500.
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;
/// Maximum nesting of elements: those of RFC 5438 are 4 deep, the rest is for extensions.
pub const MAX_DEPTH: usize = 16;

/// The namespace of the document (RFC 5438 §11.1).
const DOCUMENT_NAMESPACE: &str = "urn:ietf:params:xml:ns:imdn";
/// The namespace of CPM's extensions.
const CPM_NAMESPACE: &str = "urn:oma:xml:cpm:imdn-extensions:1.0";

/// The disposition of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disposition {
    /// It has been delivered to the recipient.
    Delivered,
    /// It has not been delivered, or this is not disclosed.
    Failed,
    /// It is in transit, or stored for later.
    Processed,
    /// It has been displayed.
    Displayed,
    /// Whether it is displayed is not disclosed.
    NotDisplayed,
    /// It has been converted to another service.
    Interworked,
}

/// A notification: the disposition of one message at one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The Message-ID of the message.
    pub message_id: String,
    /// Time of the disposition, in the form of RFC 3339.
    pub date_time: String,
    /// URI of the recipient.
    pub recipient: Option<String>,
    /// The original addressee, if the address was changed on the way.
    pub original_recipient: Option<String>,
    /// The disposition.
    pub disposition: Disposition,
}

/// A document that is not a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentError {
    /// It is not XML.
    Xml(XmlError),
    /// It has another root element.
    Root,
    /// It has no `message-id`, an empty one, several, one of more than
    /// [`MAX_MESSAGE_ID_BYTES`](super::MAX_MESSAGE_ID_BYTES), or one with control characters.
    MessageId,
    /// It has no disposition, or an unknown one.
    Disposition,
}

impl Disposition {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Processed => "processed",
            Self::Displayed => "displayed",
            Self::NotDisplayed => "not-displayed",
            Self::Interworked => "interworked",
        }
    }

    /// The two innermost elements.
    fn elements(self) -> (&'static str, &'static str) {
        match self {
            Self::Delivered => ("delivery-notification", "delivered"),
            Self::Failed => ("delivery-notification", "failed"),
            Self::Processed => ("processing-notification", "processed"),
            Self::Displayed => ("display-notification", "displayed"),
            Self::NotDisplayed => ("display-notification", "forbidden"),
            Self::Interworked => ("interworking-notification", "interworked"),
        }
    }

    fn of_elements(kind: &str, status: &str) -> Option<Self> {
        Some(match (kind, status) {
            ("delivery-notification", "delivered") => Self::Delivered,
            ("delivery-notification", "failed" | "forbidden" | "error") => Self::Failed,
            ("processing-notification", "processed" | "stored") => Self::Processed,
            ("processing-notification", "forbidden" | "error") => Self::Failed,
            ("display-notification", "displayed") => Self::Displayed,
            ("display-notification", "forbidden" | "error") => Self::NotDisplayed,
            // Its statuses name the service that the message was converted to.
            ("interworking-notification", _) => Self::Interworked,
            _ => return None,
        })
    }
}

impl Notification {
    /// Reads a document.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn parse(document: &[u8]) -> Result<Self, DocumentError> {
        let reader = Reader::read(document)?;
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(Self {
            message_id: reader.message_id.ok_or(DocumentError::MessageId)?,
            date_time: reader.date_time.unwrap_or_default(),
            recipient: given(reader.recipient),
            original_recipient: given(reader.original_recipient),
            disposition: reader.disposition.ok_or(DocumentError::Disposition)?,
        })
    }

    /// Writes the document.
    pub fn write(&self) -> String {
        let (kind, status) = self.disposition.elements();
        let element = |name: &str, uri: &Option<String>| {
            uri.as_ref().map_or(String::new(), |uri| {
                format!("<{name}>{}</{name}>", escaped(uri))
            })
        };
        let recipient = element("recipient-uri", &self.recipient);
        let original = element("original-recipient-uri", &self.original_recipient);
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<imdn xmlns=\"{DOCUMENT_NAMESPACE}\">\
             <message-id>{}</message-id><datetime>{}</datetime>{recipient}{original}\
             <{kind}><status><{status}/></status></{kind}></imdn>\r\n",
            escaped(&self.message_id),
            escaped(&self.date_time),
        )
    }
}

/// The message that a document is about, regardless of its disposition: the text of its
/// `message-id`, without surrounding white space.
///
/// # Errors
///
/// [`DocumentError`], except [`DocumentError::Disposition`].
pub fn notified_message_id(document: &[u8]) -> Result<String, DocumentError> {
    Reader::read(document)?
        .message_id
        .ok_or(DocumentError::MessageId)
}

/// Text between tags. Characters that XML cannot contain become the replacement character.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Collects the significant elements; those of other extensions are ignored.
#[derive(Debug, Default)]
struct Reader {
    /// The names of the open elements, empty for unknown ones.
    open: Vec<String>,
    text: String,
    message_id: Option<String>,
    date_time: Option<String>,
    recipient: Option<String>,
    original_recipient: Option<String>,
    disposition: Option<Disposition>,
}

impl Reader {
    /// Reads a document that names a message.
    fn read(document: &[u8]) -> Result<Self, DocumentError> {
        let limits = xml::Limits {
            depth: MAX_DEPTH,
            document_bytes: MAX_DOCUMENT_BYTES,
            fragment: false,
        };
        let mut reader = Self::default();
        xml::scan(limits, document, &mut reader)?;
        Ok(reader)
    }

    fn set_message_id(&mut self) -> Result<(), DocumentError> {
        let id = self.text.trim();
        if !is_message_id(id) || self.message_id.is_some() {
            return Err(DocumentError::MessageId);
        }
        self.message_id = Some(id.to_owned());
        Ok(())
    }
}

impl Visitor for Reader {
    type Error = DocumentError;

    fn start(&mut self, name: Name<'_>, _: &Attributes<'_>) -> Result<(), DocumentError> {
        let is_imdn = (name.namespace, name.local) == (DOCUMENT_NAMESPACE, "imdn");
        if self.open.is_empty() && !is_imdn {
            return Err(DocumentError::Root);
        }
        let is_known = [DOCUMENT_NAMESPACE, CPM_NAMESPACE].contains(&name.namespace);
        let local = if is_known { name.local } else { "" };
        self.open.push(local.to_owned());
        self.text.clear();
        if let [_, kind, status, word] = &self.open[..]
            && status == "status"
            && self.disposition.is_none()
        {
            self.disposition = Disposition::of_elements(kind, word);
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn end(&mut self) -> Result<(), DocumentError> {
        if let [_, name] = &self.open[..] {
            let place = match name.as_str() {
                "message-id" => {
                    self.set_message_id()?;
                    None
                }
                "datetime" => Some(&mut self.date_time),
                "recipient-uri" => Some(&mut self.recipient),
                "original-recipient-uri" => Some(&mut self.original_recipient),
                _ => None,
            };
            if let Some(place) = place.filter(|place| place.is_none()) {
                *place = Some(self.text.trim().to_owned());
            }
        }
        self.open.pop();
        self.text.clear();
        Ok(())
    }
}

impl From<XmlError> for DocumentError {
    fn from(error: XmlError) -> Self {
        Self::Xml(error)
    }
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xml(error) => error.fmt(f),
            Self::Root => f.write_str("its root is no imdn"),
            Self::MessageId => f.write_str("it names no message"),
            Self::Disposition => f.write_str("it does not say what has become of the message"),
        }
    }
}

impl std::error::Error for DocumentError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imdn::MAX_MESSAGE_ID_BYTES;
    use fastrand::Rng;

    const DISPOSITIONS: [Disposition; 6] = [
        Disposition::Delivered,
        Disposition::Failed,
        Disposition::Processed,
        Disposition::Displayed,
        Disposition::NotDisplayed,
        Disposition::Interworked,
    ];

    fn notification(disposition: Disposition) -> Notification {
        Notification {
            message_id: "a<b>&\"c".into(),
            date_time: "2026-11-24T19:36:56Z".into(),
            recipient: Some("sip:bill@example.com?a=1&b=2".into()),
            original_recipient: Some("sip:all@example.com".into()),
            disposition,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for disposition in DISPOSITIONS {
            let mut one = notification(disposition);
            assert_eq!(Notification::parse(one.write().as_bytes()), Ok(one.clone()));
            (one.recipient, one.original_recipient) = (None, None);
            assert_eq!(Notification::parse(one.write().as_bytes()), Ok(one));
        }
    }

    fn about(content: &str) -> Result<String, DocumentError> {
        let document = format!(
            "<i:imdn xmlns:i=\"{DOCUMENT_NAMESPACE}\" xmlns=\"urn:other\">{content}</i:imdn>"
        );
        notified_message_id(document.as_bytes())
    }

    #[test]
    fn it_names_the_message() {
        let mixed =
            "<i:message-id>\n a&amp;<![CDATA[<b>]]> </i:message-id><message-id>other</message-id>";
        assert_eq!(about(mixed).as_deref(), Ok("a&<b>"));
        let longest = "a".repeat(MAX_MESSAGE_ID_BYTES);
        let id = format!("<i:message-id>{longest}</i:message-id>");
        assert_eq!(about(&id), Ok(longest));
        let too_long = format!("<i:message-id>{}</i:message-id>", "a".repeat(257));
        for content in [
            "",
            "<message-id>1</message-id>",
            "<i:message-id/>",
            "<i:message-id> </i:message-id>",
            "<i:message-id>1</i:message-id><i:message-id>1</i:message-id>",
            "<i:status><i:message-id>1</i:message-id></i:status>",
            "<i:message-id>a&#13;b</i:message-id>",
            "<i:message-id>a\u{85}b</i:message-id>",
            &too_long,
        ] {
            assert_eq!(about(content), Err(DocumentError::MessageId), "{content}");
        }
        for document in ["<imdn/>", "<a xmlns=\"urn:ietf:params:xml:ns:imdn\"/>"] {
            let id = notified_message_id(document.as_bytes());
            assert_eq!(id, Err(DocumentError::Root));
        }
        for document in ["", "text", "<imdn", "<!DOCTYPE imdn><imdn/>"] {
            let id = notified_message_id(document.as_bytes());
            assert!(matches!(id, Err(DocumentError::Xml(_))), "{document}");
        }
        assert!(about(&"<i:a>".repeat(MAX_DEPTH)).is_err());
        let too_large = about(&" ".repeat(MAX_DOCUMENT_BYTES));
        assert_eq!(too_large, Err(DocumentError::Xml(XmlError::TooLarge)));
    }

    #[test]
    fn documents_of_others_are_read() {
        let document = |inner: &str| {
            format!(
                "<?xml version=\"1.0\"?>\n<i:imdn xmlns:i=\"{DOCUMENT_NAMESPACE}\" xmlns:x=\"urn:x\">\n\
                 <i:message-id> 42 </i:message-id><i:datetime>2008-04-04T12:16:49-05:00</i:datetime>\n\
                 <x:other><x:message-id>43</x:message-id></x:other>\n{inner}</i:imdn>"
            )
        };
        for (inner, disposition) in [
            (
                "<i:delivery-notification><i:status>\n<i:delivered/></i:status></i:delivery-notification>",
                Disposition::Delivered,
            ),
            (
                "<i:display-notification><i:status><i:error/></i:status></i:display-notification>",
                Disposition::NotDisplayed,
            ),
            (
                "<i:processing-notification><i:status><i:stored/></i:status></i:processing-notification>",
                Disposition::Processed,
            ),
            (
                "<c:interworking-notification xmlns:c=\"urn:oma:xml:cpm:imdn-extensions:1.0\"><c:status>\
                 <c:legacy-sms/></c:status></c:interworking-notification>",
                Disposition::Interworked,
            ),
        ] {
            let read = Notification::parse(document(inner).as_bytes()).unwrap();
            assert_eq!(
                (read.message_id.as_str(), read.disposition),
                ("42", disposition)
            );
        }
        for (text, error) in [
            (document(""), DocumentError::Disposition),
            ("<imdn/>".to_owned(), DocumentError::Root),
            (String::new(), DocumentError::Xml(XmlError::Malformed)),
        ] {
            assert_eq!(Notification::parse(text.as_bytes()), Err(error), "{text}");
        }
    }

    /// Any readable document is written so that it names the same message.
    fn assert_survives(document: &[u8]) {
        if let Ok(read) = Notification::parse(document) {
            let again = Notification::parse(read.write().as_bytes());
            let again = again.map(|again| (again.message_id, again.disposition));
            assert_eq!(again, Ok((read.message_id, read.disposition)));
        }
    }

    #[test]
    fn what_fuzzing_found_is_refused() {
        // Its Message-ID has bare carriage returns, and is short enough only until it is written
        // again.
        let found = include_bytes!("testdata/found-by-fuzzing.xml");
        assert_eq!(Notification::parse(found), Err(DocumentError::MessageId));
        let mended: Vec<u8> = found
            .iter()
            .copied()
            .filter(|byte| *byte != b'\r')
            .collect();
        assert!(Notification::parse(&mended).is_ok());
        assert_survives(&mended);
    }

    #[test]
    fn mutated_documents_never_panic() {
        let mut random = Rng::with_seed(3);
        let sound = notification(Disposition::Displayed).write().into_bytes();
        for _ in 0..5_000 {
            let mut bytes = sound.clone();
            for _ in 0..1 + random.usize(..4) {
                let at = random.usize(..bytes.len());
                bytes[at] = b"<>/&;\"= \xff\0"[random.usize(..10)];
            }
            assert_survives(&bytes);
        }
    }
}
