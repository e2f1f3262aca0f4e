//! What a CPM Client sends in pager mode (OMA CPM 7.2.1.1; lists by RFC 4826, 5364, 5365).

use crate::request::{Request, unique};

/// The feature tag by which a request is known as a CPM Standalone Message in pager mode.
pub const PAGER_FEATURE_TAG: &str =
    r#"*;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg""#;

/// Separates the parts of the bodies made here.
pub const BOUNDARY: &str = "cpm-testbed-boundary";

/// How a recipient is listed (RFC 5364 copyControl).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    uri: String,
    copy_control: Option<&'static str>,
    anonymize: bool,
}

/// A primary recipient.
pub fn to(uri: &str) -> Recipient {
    Recipient {
        uri: uri.to_owned(),
        copy_control: Some("to"),
        anonymize: false,
    }
}

/// A recipient of a copy.
pub fn cc(uri: &str) -> Recipient {
    Recipient {
        copy_control: Some("cc"),
        ..to(uri)
    }
}

/// A recipient that the others do not see.
pub fn bcc(uri: &str) -> Recipient {
    Recipient {
        copy_control: Some("bcc"),
        ..to(uri)
    }
}

/// A recipient without copyControl.
pub fn unmarked(uri: &str) -> Recipient {
    Recipient {
        copy_control: None,
        ..to(uri)
    }
}

impl Recipient {
    /// The others shall not learn this URI (RFC 5364 anonymize).
    pub fn anonymized(self) -> Self {
        Self {
            anonymize: true,
            ..self
        }
    }

    /// The URI.
    pub fn uri(&self) -> &str {
        &self.uri
    }
}

/// A resource-lists document with one list of these entries (RFC 4826 §3, RFC 5364 §5).
pub fn resource_lists(recipients: &[Recipient]) -> String {
    let mut xml = String::from(concat!(
        r#"<?xml version="1.0" encoding="UTF-8"?>"#,
        "\r\n",
        r#"<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists""#,
        r#" xmlns:cp="urn:ietf:params:xml:ns:copycontrol">"#,
        "\r\n  <list>\r\n"
    ));
    for recipient in recipients {
        xml.push_str(&format!(r#"    <entry uri="{}""#, escaped(&recipient.uri)));
        if let Some(copy_control) = recipient.copy_control {
            xml.push_str(&format!(r#" cp:copyControl="{copy_control}""#));
        }
        if recipient.anonymize {
            xml.push_str(r#" cp:anonymize="true""#);
        }
        xml.push_str("/>\r\n");
    }
    xml.push_str("  </list>\r\n</resource-lists>\r\n");
    xml
}

/// A multipart/mixed body with [`BOUNDARY`]; each part is (its headers, its bytes).
pub fn multipart(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (headers, bytes) in parts {
        body.extend_from_slice(format!("--{BOUNDARY}\r\n{headers}\r\n\r\n").as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// A CPM pager MESSAGE from `sender` to `service` (the EXPLODER-URI, the address of the CF, or a
/// group).
pub fn cpm_message(sender: &str, service: &str) -> CpmMessage {
    CpmMessage {
        sender: sender.to_owned(),
        service: service.to_owned(),
        recipients: None,
        content_type: "text/plain; charset=UTF-8".to_owned(),
        content: b"Hello".to_vec(),
        conversation_id: unique(),
        contribution_id: unique(),
    }
}

/// A CPM pager MESSAGE in the making. [`request`](Self::request) gives the request, whose headers
/// can then be replaced or removed one by one.
#[derive(Debug, Clone)]
pub struct CpmMessage {
    sender: String,
    service: String,
    recipients: Option<Vec<Recipient>>,
    content_type: String,
    content: Vec<u8>,
    conversation_id: String,
    contribution_id: String,
}

impl CpmMessage {
    /// With a list (also an empty one) the body is multipart; without, bare message/cpim.
    pub fn recipients(mut self, recipients: impl IntoIterator<Item = Recipient>) -> Self {
        self.recipients = Some(recipients.into_iter().collect());
        self
    }

    /// Says this.
    pub fn text(self, text: &str) -> Self {
        self.content("text/plain; charset=UTF-8", text)
    }

    /// Carries this inside the CPIM wrapper.
    pub fn content(mut self, content_type: &str, content: impl Into<Vec<u8>>) -> Self {
        self.content_type = content_type.to_owned();
        self.content = content.into();
        self
    }

    /// The message/cpim body (RFC 3862), as every recipient must get it.
    pub fn cpim(&self) -> Vec<u8> {
        let mut cpim = format!(
            "From: <{}>\r\nTo: <{}>\r\nDateTime: 2026-01-02T03:04:05Z\r\n\
             NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: {}\r\n\
             imdn.Disposition-Notification: positive-delivery\r\n\r\n\
             Content-Type: {}\r\n\r\n",
            self.sender, self.service, self.contribution_id, self.content_type
        )
        .into_bytes();
        cpim.extend_from_slice(&self.content);
        cpim
    }

    /// The request with all headers that a conforming client sends.
    pub fn request(&self) -> Request {
        let request = Request::new("MESSAGE", &self.sender, &self.service)
            .with("Accept-Contact", PAGER_FEATURE_TAG)
            .with("P-Asserted-Identity", &format!("<{}>", self.sender))
            .with(
                "P-Asserted-Service",
                "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg.group",
            )
            .with("User-Agent", "CPM-client/OMA2.2")
            .with("Conversation-ID", &self.conversation_id)
            .with("Contribution-ID", &self.contribution_id);
        let Some(recipients) = &self.recipients else {
            return request.with_body("message/cpim", self.cpim());
        };
        let list_headers = "Content-Type: application/resource-lists+xml\r\n\
                            Content-Disposition: recipient-list";
        let body = multipart(&[
            ("Content-Type: message/cpim", &self.cpim()),
            (list_headers, resource_lists(recipients).as_bytes()),
        ]);
        request
            .with("Require", "recipient-list-message")
            .with_body(&format!(r#"multipart/mixed;boundary="{BOUNDARY}""#), body)
    }
}

/// In an attribute or as text of XML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_marks_each_recipient_and_escapes() {
        let xml = resource_lists(&[
            to("sip:b@x?a=1&b=2"),
            unmarked("sip:c@x"),
            cc("sip:d@x").anonymized(),
        ]);
        assert!(xml.contains(r#"<entry uri="sip:b@x?a=1&amp;b=2" cp:copyControl="to"/>"#));
        assert!(xml.contains(r#"<entry uri="sip:c@x"/>"#));
        assert!(xml.contains(r#"<entry uri="sip:d@x" cp:copyControl="cc" cp:anonymize="true"/>"#));
    }

    #[test]
    fn only_a_listed_message_is_multipart() {
        let message = cpm_message("sip:a@x", "sip:group@x");
        assert_eq!(
            message.request().header("Content-Type"),
            Some("message/cpim")
        );
        assert_eq!(message.request().header("Require"), None);
        let listed = message.clone().recipients([bcc("sip:b@x")]).request();
        assert_eq!(listed.header("Require"), Some("recipient-list-message"));
        let body = String::from_utf8_lossy(listed.body()).into_owned();
        assert!(body.contains(&*String::from_utf8_lossy(&message.cpim())));
        assert!(body.contains("Content-Disposition: recipient-list\r\n\r\n<?xml"));
    }
}
