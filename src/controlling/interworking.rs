//! How outgoing requests end, and interworking (OMA CPM 6.5, 9.1.1 last list; spec-notes N47).

use bytes::Bytes;

use super::fan_out::LegIdentity;
use super::header_fields::{from_without_tag, put};
use super::host::{Counter, Fate, Host, LogLevel, Outcome, OutgoingRequest, Sent};
use super::service::ControllingFunction;
use crate::policy::ServiceUri;
use crate::sip::{HeaderBlock, HeaderName, Message};

/// [`OutgoingRequest::attempt`] of the recipient's own copy.
pub(super) const TO_RECIPIENT: u32 = 0;
/// [`OutgoingRequest::attempt`] of the copy to the ISF. There is no further one.
pub(super) const TO_ISF: u32 = 1;

/// What the transaction layer writes itself, and where the first copy was routed.
const NOT_COPIED: &[HeaderName] = &[
    HeaderName::Via,
    HeaderName::Route,
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::ContentLength,
];

impl ControllingFunction {
    /// Takes the end of an outgoing request: counts it, and sends the message to the ISF where its code
    /// and policy say so. `None`: the request could not be read.
    pub fn handle_outcome(&self, outcome: &Outcome<'_>, host: &dyn Host) -> Option<Fate> {
        if (200..300).contains(&outcome.code) {
            host.count(Counter::Delivered, 1);
            return Some(Fate::Delivered);
        }
        let request = Message::parse(Bytes::copy_from_slice(outcome.request)).ok();
        let isf = self.settings().interworking_to().filter(|_| {
            outcome.attempt == TO_RECIPIENT && self.settings().isf_codes.contains(outcome.code)
        });
        if let (Some(request), Some(isf)) = (&request, isf)
            && send_to_isf(request, isf, host)
        {
            host.count(Counter::Interworked, 1);
            return Some(Fate::Interworked);
        }
        host.count(Counter::Failed, 1);
        let leg = request
            .as_ref()
            .and_then(|message| message.first(HeaderName::CallId));
        host.log(
            LogLevel::Notice,
            format_args!(
                "{} failed with {}, leg={}",
                if outcome.attempt == TO_ISF {
                    "interworking for a recipient"
                } else {
                    "a recipient"
                },
                outcome.code,
                leg.and_then(|field| field.text().ok()).unwrap_or("-"),
            ),
        );
        request.map(|_| Fate::Failed)
    }
}

/// The failed copy as a new request: the recipient stays the Request-URI, the ISF is the next hop.
fn send_to_isf(request: &Message, isf: &ServiceUri, host: &dyn Host) -> bool {
    let Some(recipient) = request.request_uri() else {
        return false;
    };
    let Some(from) = from_without_tag(request) else {
        return false;
    };
    let Some(mut identity) = LegIdentity::new() else {
        return false;
    };
    let mut headers = HeaderBlock::new();
    put(&mut headers, "Route", route(isf));
    for field in request
        .fields()
        .filter(|field| !NOT_COPIED.contains(&field.name()))
    {
        headers.push_line(&field);
    }
    let to = format!("<{recipient}>");
    identity.set(0);
    let outgoing = OutgoingRequest {
        method: "MESSAGE",
        request_uri: recipient,
        next_hop: Some(isf.as_str()),
        from: &from,
        from_tag: identity.tag(),
        to: &to,
        call_id: identity.call_id(),
        cseq: 1,
        headers: headers.as_bytes(),
        body: &request.body(),
        attempt: TO_ISF,
        about: None,
    };
    matches!(host.send(&outgoing), Sent::Handed | Sent::HandedEnough)
}

/// Value of the Route header field that leads to the ISF.
pub(super) fn route(isf: &ServiceUri) -> String {
    if isf.loose_routing() {
        format!("<{}>", isf.as_str())
    } else {
        format!("<{};lr>", isf.as_str())
    }
}
