//! The outgoing INVITE requests (9.1.2-8, -9).
//!
//! Header lines are built once for all recipients; Request-URI, To, Call-ID and the session
//! description differ.

use std::fmt::Write as _;

use bytes::Bytes;

use super::accepted_invite::AcceptedInvite;
use super::leg::Leg;
use super::offer_answer::SDP_CONTENT_TYPE;
use crate::controlling::charging::put_charging;
use crate::controlling::group_session_identity::{GROUP_SESSION_DIGITS, GROUP_SESSION_USER};
use crate::controlling::header_fields::{has_name, put, route_to_isf};
use crate::controlling::hops::{breadth_of_copies, hops_of_copies};
use crate::controlling::large_mode_settings::LargeModeSettings;
use crate::controlling::received::{Kind, LARGE_MODE_GROUP_SERVICE, LARGE_MODE_SERVICE};
use crate::controlling::service::ControllingFunction;
use crate::msrp_control::LegNumber;
use crate::policy::ExploderService;
use crate::resource_lists::{self, ANONYMOUS_URI};
use crate::sip::{HeaderBlock, HeaderName, StatusCode, Uri};

/// Methods supported inside dialogs.
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, UPDATE, OPTIONS";

/// Received header fields that are copied (9.1.2-8b, -8i, -9b, -9g; P-Asserted-Service and
/// Message-Expires by readings N27 and N8).
const COPIED: &[HeaderName] = &[
    HeaderName::AcceptContact,
    HeaderName::ConversationId,
    HeaderName::ContributionId,
    HeaderName::InReplyToContributionId,
    HeaderName::ReplyTo,
    HeaderName::Expires,
    HeaderName::MessageExpires,
    HeaderName::Subject,
    HeaderName::Privacy,
    HeaderName::PAssertedService,
];

/// Feature parameters of Contact without `+` (RFC 3840 §9). `isfocus` is not a capability of the
/// sender.
const BASE_FEATURES: &[&str] = &[
    "audio",
    "automata",
    "class",
    "duplex",
    "data",
    "control",
    "mobility",
    "description",
    "events",
    "priority",
    "methods",
    "schemes",
    "application",
    "video",
    "language",
    "type",
    "actor",
    "text",
    "extensions",
];

/// An INVITE to one recipient. The host adds Via and Content-Length.
#[derive(Clone, Debug)]
pub struct InviteRequest {
    /// Its leg.
    pub leg: LegNumber,
    /// The recipient.
    pub request_uri: String,
    /// URI of the next hop, if it is not determined by the Request-URI.
    pub next_hop: Option<String>,
    /// From without its tag.
    pub from: String,
    /// The From tag, which is also the Call-ID.
    pub call_id: String,
    /// To.
    pub to: String,
    /// CSeq number.
    pub cseq: u32,
    /// All further header lines, each ended by CRLF.
    pub headers: Bytes,
    /// The body.
    pub body: Bytes,
    /// Whether this is the recipient's second INVITE, through the ISF.
    pub to_isf: bool,
}

/// The common parts of all INVITEs of a session.
#[derive(Debug)]
pub(super) struct Template {
    from: String,
    /// Routing header lines to the recipient, and to the ISF.
    route: Vec<u8>,
    isf_route: Vec<u8>,
    next_hop: Option<String>,
    isf_hop: Option<String>,
    shared: Vec<u8>,
    session_expires_s: u32,
    history: Option<Bytes>,
    boundary: String,
    /// The header lines for all recipients without a Session-Expires of their own; and those
    /// through the ISF.
    to_recipient: Bytes,
    to_isf: Bytes,
}

impl Template {
    /// `None`: the From of the request cannot be copied, which its checks would have detected.
    pub(super) fn new(
        invite: &AcceptedInvite,
        service: &ControllingFunction,
        settings: &LargeModeSettings,
        random: fn(&mut [u8]),
    ) -> Option<Self> {
        let policy = service.settings();
        let mut unguessable = [0; 32];
        random(&mut unguessable);
        let hex = |bytes: &[u8]| {
            bytes.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
        };
        let (identity, boundary) = unguessable.split_at(GROUP_SESSION_DIGITS / 2);
        let mut shared = HeaderBlock::new();
        let hops = hops_of_copies(&invite.message, invite.kind);
        put(&mut shared, "Max-Forwards", hops.to_string());
        let breadth = breadth_of_copies(&invite.message, invite.kind);
        put(&mut shared, "Max-Breadth", breadth.to_string());
        put_identity(&mut shared, invite, settings, &hex(identity));
        put_charging(&mut shared, &invite.message, policy);
        put(&mut shared, "Contact", contact(invite, &settings.contact));
        put(&mut shared, "User-Agent", service.product());
        put(&mut shared, "Allow", ALLOW);
        put(&mut shared, "Supported", "timer");
        let single =
            invite.kind == Kind::Exploder && policy.exploder_service == ExploderService::Single;
        for field in invite.message.fields() {
            let dropped = |name: &String| has_name(&field, name);
            if !COPIED.contains(&field.name()) || policy.drop_headers.iter().any(dropped) {
                continue;
            }
            let group_service = LARGE_MODE_GROUP_SERVICE.as_bytes();
            if single
                && field.name() == HeaderName::PAssertedService
                && field.value().eq_ignore_ascii_case(group_service)
            {
                put(&mut shared, "P-Asserted-Service", LARGE_MODE_SERVICE);
                continue;
            }
            shared.push_line(&field);
        }
        let boundary = hex(boundary);
        let content_type = match invite.history {
            Some(_) => format!("multipart/mixed;boundary={boundary}"),
            None => SDP_CONTENT_TYPE.to_owned(),
        };
        if invite.history.is_some() {
            put(&mut shared, "MIME-Version", "1.0");
        }
        put(&mut shared, "Content-Type", content_type);

        let mut route = HeaderBlock::new();
        let proxy = policy.outbound_proxy.as_ref();
        if let Some(proxy) = proxy.filter(|proxy| proxy.loose_routing()) {
            put(&mut route, "Route", format!("<{}>", proxy.as_str()));
        }
        let isf = policy.interworking_to();
        let mut isf_route = HeaderBlock::new();
        if let Some(isf) = isf {
            put(&mut isf_route, "Route", route_to_isf(isf));
        }
        let mut template = Template {
            from: invite.message.address_without_tag(HeaderName::From)?,
            route: route.into_bytes(),
            isf_route: isf_route.into_bytes(),
            next_hop: proxy.map(|proxy| proxy.as_str().to_owned()),
            isf_hop: isf.map(|isf| isf.as_str().to_owned()),
            shared: shared.into_bytes(),
            session_expires_s: settings.policy.leg_session_expires_s,
            history: invite.history.clone(),
            boundary,
            to_recipient: Bytes::new(),
            to_isf: Bytes::new(),
        };
        template.to_recipient = template.headers(false, None);
        template.to_isf = template.headers(true, None);
        Some(template)
    }

    pub(super) fn from(&self) -> &str {
        &self.from
    }

    /// Whether a recipient can be reached only through the ISF: nothing else accepts a URI of its
    /// scheme, and the resulting 416 would lead there (9.1.2 last list).
    pub(super) fn needs_isf(&self, recipient: &str, service: &ControllingFunction) -> bool {
        let unsupported = StatusCode::UNSUPPORTED_URI_SCHEME.as_u16();
        self.isf_hop.is_some()
            && self.next_hop.is_none()
            && service.settings().isf_codes.contains(unsupported)
            && !matches!(Uri::parse(recipient), Ok(Uri::Sip(_)))
    }

    /// The INVITE of a leg. `min_se` is that of the 422 to the previous one.
    pub(super) fn invite(
        &self,
        number: LegNumber,
        leg: &Leg,
        offer: &str,
        min_se: Option<u32>,
    ) -> InviteRequest {
        let (recipient, to_isf) = (&leg.uri, leg.to_isf);
        let hop = if to_isf {
            &self.isf_hop
        } else {
            &self.next_hop
        };
        InviteRequest {
            leg: number,
            request_uri: recipient.clone(),
            next_hop: hop.clone(),
            from: self.from.clone(),
            call_id: leg.dialog.call_id().to_owned(),
            to: format!("<{recipient}>"),
            cseq: leg.dialog.invite_cseq(),
            headers: match (min_se, to_isf) {
                (Some(_), _) => self.headers(to_isf, min_se),
                (None, true) => self.to_isf.clone(),
                (None, false) => self.to_recipient.clone(),
            },
            body: self.body(offer),
            to_isf,
        }
    }

    fn headers(&self, to_isf: bool, min_se: Option<u32>) -> Bytes {
        let mut headers = HeaderBlock::new();
        let seconds = self.session_expires_s.max(min_se.unwrap_or(0));
        if self.session_expires_s > 0 {
            let value = format!("{seconds};refresher=uas");
            put(&mut headers, "Session-Expires", value);
        }
        if let Some(min_se) = min_se {
            put(&mut headers, "Min-SE", min_se.to_string());
        }
        let route = if to_isf { &self.isf_route } else { &self.route };
        Bytes::from([&route[..], headers.as_bytes(), &self.shared].concat())
    }

    /// The offer alone, or followed by the history list (9.1.2-8c).
    fn body(&self, offer: &str) -> Bytes {
        let Some(history) = &self.history else {
            return Bytes::copy_from_slice(offer.as_bytes());
        };
        let boundary = &self.boundary;
        let mut body = Vec::with_capacity(offer.len() + history.len() + 512);
        let first = format!("--{boundary}\r\nContent-Type: {SDP_CONTENT_TYPE}\r\n\r\n{offer}\r\n");
        body.extend_from_slice(first.as_bytes());
        let second = format!(
            "--{boundary}\r\nContent-Type: {}\r\nContent-Disposition: {}\r\n\r\n",
            resource_lists::CONTENT_TYPE,
            resource_lists::HISTORY_DISPOSITION,
        );
        body.extend_from_slice(second.as_bytes());
        body.extend_from_slice(history);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        Bytes::from(body)
    }
}

/// The authenticated originator's CPM Address (9.1.2-8k, -8l, -9i): an ad-hoc group gets a Group
/// Session Identity of its own, a pre-defined group asserts itself, and both refer to the sender.
fn put_identity(
    headers: &mut HeaderBlock,
    invite: &AcceptedInvite,
    settings: &LargeModeSettings,
    unguessable: &str,
) {
    let asserted = match invite.kind {
        Kind::Exploder => return put(headers, "P-Asserted-Identity", &invite.asserted),
        Kind::Group => format!("<{}>", invite.own_address),
        Kind::AdHoc => {
            let host = [&invite.own_address, &settings.contact]
                .into_iter()
                .find_map(|uri| Uri::parse(uri).ok()?.host().map(str::to_owned));
            let host = host.unwrap_or_else(|| "invalid".to_owned());
            format!("<sip:{GROUP_SESSION_USER}{unguessable}@{host}>")
        }
    };
    put(headers, "P-Asserted-Identity", asserted);
    let sender = match invite.is_anonymous() {
        true => ANONYMOUS_URI,
        false => &invite.originator,
    };
    put(headers, "Referred-By", format!("<{sender}>"));
}

/// Our own URI with the feature parameters of the received Contact (9.1.2-8b-contact, -8e; readings
/// N4): without its URI, and without parameters that name the sender's device or registration.
fn contact(invite: &AcceptedInvite, own: &str) -> String {
    let mut value = format!("<{own}>");
    if invite.kind != Kind::Exploder {
        value.push_str(";isfocus");
    }
    invite.message.address(HeaderName::Contact, |received| {
        for parameter in received.parameters() {
            let name = parameter.name.to_ascii_lowercase();
            let is_feature = name.starts_with('+') && name != "+sip.instance";
            if !is_feature && !BASE_FEATURES.contains(&name.as_str()) {
                continue;
            }
            let _ = write!(value, ";{}", parameter.name);
            if let Some(of_parameter) = parameter.raw_value {
                let _ = write!(value, "={of_parameter}");
            }
        }
    });
    value
}
