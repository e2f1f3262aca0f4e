//! A disposition notification that the service sends in its own name (RFC 5438 §7.2.1.1), without
//! any data of a recipient.

use crate::controlling::attempt::Attempt;
use crate::controlling::header_fields::put;
use crate::controlling::host::{Host, OutgoingRequest, Sent};
use crate::controlling::ids::CopyIds;
use crate::controlling::service::ControllingFunction;
use crate::cpim::{CpimField, CpimMessage};
use crate::imdn::{self, Notification};
use crate::random::fill_random;
use crate::sip::HeaderBlock;

/// Its content.
#[derive(Debug)]
pub(in crate::controlling) struct OwnNotification {
    /// The address of the service that sends it.
    pub(in crate::controlling) own: String,
    /// Its destination: the sender of the message it is about.
    pub(in crate::controlling) sender: String,
    /// To of the CPIM message.
    pub(in crate::controlling) cpim_to: String,
    /// The notification.
    pub(in crate::controlling) notification: Notification,
    /// Its Call-ID and From tag.
    pub(in crate::controlling) ids: CopyIds,
    /// Its Max-Forwards.
    pub(in crate::controlling) hops: u8,
    /// Header fields that relate it to the conversation.
    pub(in crate::controlling) headers: HeaderBlock,
}

impl ControllingFunction {
    /// Sends one. `None`: it cannot be written.
    pub(in crate::controlling) fn send_notification(
        &self,
        one: &OwnNotification,
        host: &dyn Host,
    ) -> Option<Sent> {
        let own = format!("<{}>", one.own);
        let body = cpim_message(one, &own)?;
        let proxy = self.settings().outbound_proxy.as_ref();
        let mut headers = HeaderBlock::new();
        put(&mut headers, "Max-Forwards", one.hops.to_string());
        if let Some(proxy) = proxy.filter(|proxy| proxy.loose_routing()) {
            put(&mut headers, "Route", format!("<{}>", proxy.as_str()));
        }
        put(&mut headers, "P-Asserted-Identity", &own);
        put(&mut headers, "User-Agent", self.product());
        put(&mut headers, "Content-Type", "message/cpim");
        let headers = [headers.as_bytes(), one.headers.as_bytes()].concat();
        Some(host.send(&OutgoingRequest {
            method: "MESSAGE",
            request_uri: &one.sender,
            next_hop: proxy.map(|proxy| proxy.as_str()),
            from: &own,
            from_tag: one.ids.tag(),
            to: &format!("<{}>", one.sender),
            call_id: one.ids.call_id(),
            cseq: 1,
            headers: &headers,
            body: &body,
            attempt: Attempt::Notification.bits(),
            about: None,
        }))
    }
}

fn cpim_message(one: &OwnNotification, own: &str) -> Option<bytes::Bytes> {
    let document = one.notification.write();
    let mut random = [0; 16];
    fill_random(&mut random);
    let own_id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let (media_type, subtype) = imdn::CONTENT_TYPE;
    let message = CpimMessage {
        fields: vec![
            CpimField::new("From", own),
            CpimField::new("To", &*one.cpim_to),
            CpimField::new("NS", format!("imdn <{}>", imdn::NAMESPACE)),
            CpimField::new(format!("imdn.{}", imdn::MESSAGE_ID), own_id),
        ],
        content_fields: vec![
            ("Content-Type".to_owned(), format!("{media_type}/{subtype}")),
            ("Content-Disposition".to_owned(), "notification".to_owned()),
            ("Content-Length".to_owned(), document.len().to_string()),
        ],
        content: document.into(),
    };
    message.write().ok()
}
