//! Requests inside of dialogs that are refused for what they are, and OPTIONS.

use super::super::outgoing_invite::ALLOW;
use super::Session;
use crate::controlling::header_fields::put;
use crate::sip::{HeaderBlock, HeaderName, Message, StatusCode, option_tag};
use crate::sip_ua::texts;

/// Option tags of Require that are understood inside of a dialog (RFC 3261 §8.2.2.3).
const UNDERSTOOD: &[&str] = &["timer"];

/// Methods that are known, and have nothing to do in a dialog of ours: 405. Others are not known: 501 (RFC 3261 §8.2.1, §21.5.2).
const NOT_ALLOWED: &[&str] = &[
    "INFO",
    "MESSAGE",
    "NOTIFY",
    "PRACK",
    "PUBLISH",
    "REFER",
    "REGISTER",
    "SUBSCRIBE",
];

/// Why a request inside of a dialog is refused, whatever the dialog is at.
pub(super) fn refusal(request: &Message) -> Option<(StatusCode, HeaderBlock)> {
    let mut headers = HeaderBlock::new();
    if request.repeated_field().is_some() {
        return Some((StatusCode::BAD_REQUEST, headers));
    }
    let method = request.method().unwrap_or_default();
    if !ALLOW.split(", ").any(|allowed| allowed == method) {
        put(&mut headers, "Allow", ALLOW);
        let code = match NOT_ALLOWED.contains(&method) {
            true => StatusCode::METHOD_NOT_ALLOWED,
            false => StatusCode::NOT_IMPLEMENTED,
        };
        return Some((code, headers));
    }
    let required = texts(request, HeaderName::Require);
    let unknown: Vec<&str> = option_tag::tags(required.iter().map(AsRef::as_ref))
        .filter(|tag| {
            !UNDERSTOOD
                .iter()
                .any(|known| known.eq_ignore_ascii_case(tag))
        })
        .collect();
    if unknown.is_empty() {
        return None;
    }
    put(&mut headers, "Unsupported", unknown.join(", "));
    Some((StatusCode::BAD_EXTENSION, headers))
}

impl Session {
    /// What a re-INVITE would be answered with, but for the description (RFC 3261 §11.2).
    pub(super) fn capabilities(&self) -> HeaderBlock {
        let mut headers = HeaderBlock::new();
        put(&mut headers, "Allow", ALLOW);
        put(&mut headers, "Accept", "application/sdp");
        put(&mut headers, "Accept-Encoding", "identity");
        put(&mut headers, "Accept-Language", "en");
        put(&mut headers, "Supported", "timer");
        let contact = format!("<{}>", self.settings.contact);
        put(&mut headers, "Contact", contact);
        put(&mut headers, "Server", self.service.product());
        headers
    }
}
