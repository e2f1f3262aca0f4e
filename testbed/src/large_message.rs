//! What a CPM Client sends in large message mode (OMA CPM 7.2.1.2; lists by RFC 4826, 5364, 5366).

use crate::agent::Agent;
use crate::cpm_message::{BOUNDARY, Recipient, multipart, resource_lists};
use crate::msrp_session::MsrpSession;
use crate::request::{Request, unique};
use crate::sdp::SdpText;

/// The feature tag by which a request is known as a CPM Standalone Message in large message mode.
pub const LARGE_FEATURE_TAG: &str =
    r#"*;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.largemsg""#;

/// An INVITE in large message mode from `sender` to `service` (the EXPLODER-URI, the address of the
/// CF, or a group).
pub fn large_message(sender: &str, service: &str) -> LargeMessage {
    LargeMessage {
        sender: sender.to_owned(),
        service: service.to_owned(),
        recipients: None,
        conversation_id: unique(),
        contribution_id: unique(),
    }
}

/// An INVITE in large message mode in the making. [`request`](Self::request) gives the request,
/// whose headers can then be replaced or removed one by one.
#[derive(Debug, Clone)]
pub struct LargeMessage {
    sender: String,
    service: String,
    recipients: Option<Vec<Recipient>>,
    conversation_id: String,
    contribution_id: String,
}

impl LargeMessage {
    /// With a list (also an empty one) the body is multipart; without, the bare session
    /// description.
    pub fn recipients(mut self, recipients: impl IntoIterator<Item = Recipient>) -> Self {
        self.recipients = Some(recipients.into_iter().collect());
        self
    }

    /// The CPIM message of this length: its headers, and letters and digits without sense behind
    /// them. Text, since tshark takes some bytes in binary content for what is none of MSRP.
    pub fn content(&self, length: usize) -> Vec<u8> {
        let mut cpim = format!(
            "From: <{}>\r\nTo: <{}>\r\nDateTime: 2026-01-02T03:04:05Z\r\n\
             NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: {}\r\n\
             imdn.Disposition-Notification: positive-delivery\r\n\r\n\
             Content-Type: text/plain\r\n\r\n",
            self.sender, self.service, self.contribution_id
        )
        .into_bytes();
        let rest = length.saturating_sub(cpim.len());
        cpim.extend(crate::msrp_content::text_noise(rest, length as u64));
        cpim
    }

    /// The request with all headers that a conforming client sends, and the offer of this session
    /// for a message of `size` bytes.
    pub fn request(&self, agent: &Agent, session: &MsrpSession, size: usize) -> Request {
        self.request_with(agent, &SdpText::offer(session, size))
    }

    /// The same with another description.
    pub fn request_with(&self, agent: &Agent, offer: &SdpText) -> Request {
        let contact = format!(
            "<{}>;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.largemsg\";\
             +sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"",
            agent.uri("device")
        );
        let request = Request::new("INVITE", &self.sender, &self.service)
            .with("Contact", &contact)
            .with("Accept-Contact", LARGE_FEATURE_TAG)
            .with("P-Asserted-Identity", &format!("<{}>", self.sender))
            .with(
                "P-Asserted-Service",
                "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.largemsg.group",
            )
            .with("User-Agent", "CPM-client/OMA2.2")
            .with("Supported", "timer")
            .with("Session-Expires", "1800;refresher=uac")
            .with("Allow", "INVITE, ACK, CANCEL, BYE, UPDATE")
            .with("Conversation-ID", &self.conversation_id)
            .with("Contribution-ID", &self.contribution_id);
        let sdp = offer.write();
        let Some(recipients) = &self.recipients else {
            return request.with_body("application/sdp", sdp);
        };
        let list_headers = "Content-Type: application/resource-lists+xml\r\n\
                            Content-Disposition: recipient-list";
        let body = multipart(&[
            ("Content-Type: application/sdp", sdp.as_bytes()),
            (list_headers, resource_lists(recipients).as_bytes()),
        ]);
        request
            .with("Require", "recipient-list-invite")
            .with_body(&format!(r#"multipart/mixed;boundary="{BOUNDARY}""#), body)
    }
}
