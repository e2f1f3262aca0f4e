//! The outgoing MESSAGE requests of a pager mode message (9.1.1 item 6) and the 202 (item 7).
//!
//! The parts that all recipients share (header lines, body) are built once; per recipient only
//! Request-URI, To and Call-ID differ, so that a fan-out allocates nothing per recipient.

use std::collections::BTreeMap;

use super::fan_out_job::{FanOutJob, Isf, NOT_SENDABLE_CODE};
use crate::controlling::charging::put_charging;
use crate::controlling::header_fields::{has_name, put, route_to_isf};
use crate::controlling::hops::{breadth_of_copies, hops_of_copies};
use crate::controlling::host::Host;
use crate::controlling::ids::CopyIds;
use crate::controlling::received::{Kind, PAGER_MODE_GROUP_SERVICE, PAGER_MODE_SERVICE};
use crate::controlling::request::Request;
use crate::log::at;
use crate::mime::{HeaderField, MimeError, NewPart, Rebuilt};
use crate::policy::ExploderService;
use crate::resource_lists::{self, ANONYMOUS_URI};
use crate::shared::{Charge, MessageNumber};
use crate::sip::{FieldLine, HeaderBlock, HeaderName, Message, StatusCode, option_tag};
use crate::sip_ua::texts;

/// Usual size of an outgoing request's header lines: initial allocation.
const USUAL_HEADERS_BYTES: usize = 2048;

/// Option tag that 9.1.1-6g-ex3 moves from Require to Supported.
const RECIPIENT_LIST_MESSAGE: &str = "recipient-list-message";

/// Received header fields that are not passed on (readings N25): those that the transaction layer
/// writes itself, those of the received hop or transaction, those for security between the
/// originator and its proxies, and those replaced below.
const NOT_COPIED: &[HeaderName] = &[
    HeaderName::Via,
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::ContentLength,
    HeaderName::Route,
    HeaderName::RecordRoute,
    HeaderName::Path,
    HeaderName::ServiceRoute,
    HeaderName::Contact,
    HeaderName::Timestamp,
    HeaderName::ProxyRequire,
    HeaderName::Authorization,
    HeaderName::ProxyAuthorization,
    HeaderName::ProxyAuthenticate,
    HeaderName::WwwAuthenticate,
    HeaderName::AuthenticationInfo,
    HeaderName::SecurityClient,
    HeaderName::SecurityServer,
    HeaderName::SecurityVerify,
    HeaderName::Identity,
    HeaderName::IdentityInfo,
    HeaderName::PChargingVector,
    HeaderName::PChargingFunctionAddresses,
    HeaderName::PPreferredIdentity,
    HeaderName::PPreferredService,
    HeaderName::MessageUid,
    HeaderName::MaxForwards,
    HeaderName::MaxBreadth,
    HeaderName::PAssertedIdentity,
    HeaderName::UserAgent,
    HeaderName::Require,
    HeaderName::Supported,
];

impl Request {
    /// The received body without its resource list, or with the history list instead (9.1.1-6g).
    /// `None`: nothing remains.
    pub(in crate::controlling) fn without_received_list(
        &self,
    ) -> Result<Option<Rebuilt>, MimeError> {
        let Some(list) = &self.received_list else {
            return Ok(None);
        };
        let without = list.replaced(None)?;
        if without.is_none() || self.kind != Kind::AdHoc {
            return Ok(without);
        }
        let unqualified = self.service.settings().history_unqualified;
        let Some(history) = resource_lists::write_history(self.recipients.history(), unqualified)
        else {
            return Ok(without);
        };
        let part = NewPart {
            header_fields: vec![
                HeaderField::from_static("Content-Type", resource_lists::CONTENT_TYPE),
                HeaderField::from_static(
                    "Content-Disposition",
                    resource_lists::HISTORY_DISPOSITION,
                ),
            ],
            content: history,
        };
        list.replaced(Some(part))
    }
}

/// The fan-out of an accepted request, whose recipients are counted in `charge`. `None`: an
/// internal error.
pub(in crate::controlling) fn fan_out_job(
    request: &Request,
    charge: Charge,
    host: &dyn Host,
) -> Option<FanOutJob> {
    let rebuilt = request.outgoing_body.as_ref()?;
    let proxy = request.service.settings().outbound_proxy.as_ref();
    let correlation = request.correlation().to_string();
    host.log(
        at!(Debug),
        format_args!("{} recipients, {correlation}", request.recipients.len()),
    );
    let headers = shared_headers(request, rebuilt).into_bytes();
    Some(FanOutJob {
        from: request.message.address_without_tag(HeaderName::From)?,
        isf: isf(request, &headers),
        headers,
        body: rebuilt.body.clone(),
        next_hop: proxy.map(|proxy| proxy.as_str().to_owned()),
        ids: CopyIds::of(request.ids),
        claim: None,
        recipients: request.recipients.lines().to_owned(),
        reply_headers: request.accepted_headers().into_bytes(),
        correlation,
        position: 0,
        place: 0,
        untried: request.recipients.len(),
        failed: 0,
        message: MessageNumber::default(),
        legs: (0..).take(request.recipients.len()).collect(),
        messages: None,
        charge,
        about: request.about(),
        keep: None,
        attempts: BTreeMap::new(),
        unsent_code: NOT_SENDABLE_CODE,
    })
}

/// The ISF for recipients that only it can reach: if no outbound proxy takes every URI.
fn isf(request: &Request, headers: &[u8]) -> Option<Isf> {
    let settings = request.service.settings();
    let uri = settings.interworking_to().filter(|_| {
        settings.outbound_proxy.is_none()
            && settings
                .isf_codes
                .contains(StatusCode::UNSUPPORTED_URI_SCHEME.as_u16())
    })?;
    let mut routed = HeaderBlock::new();
    put(&mut routed, "Route", route_to_isf(uri));
    Some(Isf {
        uri: uri.as_str().to_owned(),
        headers: [routed.as_bytes(), headers].concat(),
    })
}

/// The header lines that all copies share.
fn shared_headers(request: &Request, rebuilt: &Rebuilt) -> HeaderBlock {
    let message = &request.message;
    let settings = request.service.settings();
    let mut headers = HeaderBlock::with_capacity(USUAL_HEADERS_BYTES);

    let hops = hops_of_copies(message, request.kind);
    put(&mut headers, "Max-Forwards", hops.to_string());
    let breadth = breadth_of_copies(message, request.kind);
    put(&mut headers, "Max-Breadth", breadth.to_string());
    if let Some(proxy) = settings
        .outbound_proxy
        .as_ref()
        .filter(|proxy| proxy.loose_routing())
    {
        put(&mut headers, "Route", format!("<{}>", proxy.as_str()));
    }
    put_identity(&mut headers, request);
    put_charging(&mut headers, message, settings);
    put(&mut headers, "User-Agent", request.service.product());
    put(&mut headers, "Supported", supported(message));

    let single =
        request.kind == Kind::Exploder && settings.exploder_service == ExploderService::Single;
    for field in message.fields() {
        let name = field.name();
        if NOT_COPIED.contains(&name)
            || request.kind == Kind::Group && name == HeaderName::ReferredBy
            || rebuilt.header_fields.is_some() && describes_body(&field)
            || settings
                .drop_headers
                .iter()
                .any(|drop| has_name(&field, drop))
        {
            continue;
        }
        if single
            && name == HeaderName::PAssertedService
            && field
                .value()
                .eq_ignore_ascii_case(PAGER_MODE_GROUP_SERVICE.as_bytes())
        {
            put(&mut headers, "P-Asserted-Service", PAGER_MODE_SERVICE);
            continue;
        }
        headers.push_line(&field);
    }
    for field in rebuilt.header_fields.iter().flatten() {
        put(
            &mut headers,
            std::str::from_utf8(&field.name).unwrap_or_default(),
            &field.value,
        );
    }
    headers
}

/// The authenticated originator's CPM Address: the sender for ad-hoc groups (9.1.1-6d) and also for
/// 1-to-many (readings N10). A pre-defined group asserts itself and refers to the sender (6e).
fn put_identity(headers: &mut HeaderBlock, request: &Request) {
    let Some(originator) = &request.originator else {
        return;
    };
    if request.kind != Kind::Group {
        return put(headers, "P-Asserted-Identity", originator.asserted());
    }
    put(
        headers,
        "P-Asserted-Identity",
        format!("<{}>", request.own_address()),
    );
    let sender = match request.anonymity_requested() {
        true => ANONYMOUS_URI,
        false => originator.uri(),
    };
    put(headers, "Referred-By", format!("<{sender}>"));
}

/// Supported as received, with the tag that is no longer required (9.1.1-6g-ex3).
fn supported(message: &Message) -> String {
    let values = texts(message, HeaderName::Supported);
    option_tag::with(values.iter().map(AsRef::as_ref), RECIPIENT_LIST_MESSAGE)
}

/// Whether a field describes the body. If the body is replaced, so are these fields.
fn describes_body(field: &FieldLine<'_>) -> bool {
    let name = field.name();
    name == HeaderName::MimeVersion
        || name
            .as_str()
            .unwrap_or(field.raw_name())
            .get(..8)
            .is_some_and(|start| start.eq_ignore_ascii_case("Content-"))
}
