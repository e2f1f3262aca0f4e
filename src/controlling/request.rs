//! One request for the Controlling Function, from its classification to its reply.

use std::cell::OnceCell;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::SystemTime;

use bytes::Bytes;

use super::body::ReceivedList;
use super::header_fields::put;
use super::host::{Counter, Journal};
use super::ids::RequestIds;
use super::originator::Originator;
use super::received::{Kind, Mode, Received};
use super::recipients::Recipients;
use super::refusal::{Refusal, Reply};
use super::request_identity::RequestIdentity;
use super::service::ControllingFunction;
use super::verdict::{OriginatorPolicy, Verdict};
use crate::group::{Group, Medium, Permissions};
use crate::imdn::MessageHead;
use crate::log::{LogAt, at};
use crate::mime::Rebuilt;
use crate::msrp_control::SessionId;
use crate::operator::Event;
use crate::shared::{Known, MessageTable, RequestName};
use crate::sip::{HeaderBlock, HeaderName, Message, StatusCode, Uri, requests_anonymity};

/// A request for the Controlling Function.
///
/// ```text
/// Checking ──poll_check──► (script asked) ──► Checking ──► Accepted ──fan_out──► Answered 202
///     ├────────────────────────────────────────────► Answered (refusal) ◄──────────────┤
///     └────────────────────────────────────────────► Repeated ◄────────────────────────┘
/// ```
#[derive(Debug)]
pub struct Request {
    pub(super) service: Rc<ControllingFunction>,
    pub(super) message: Message,
    pub(super) request_uri: String,
    pub(super) kind: Kind,
    mode: Mode,
    pub(super) originator: Option<Originator>,
    /// When it was received, on the clock of the records; 0: they are not kept.
    pub(super) received_ms: u64,
    /// The operator's policy for its originator.
    pub(super) policy: OriginatorPolicy,
    /// The refusal that the operator's script has described so far.
    pub(super) verdict: Verdict,
    /// Its source address.
    pub(super) source: Option<IpAddr>,
    /// The body as a tree, with the leaf that is the resource list. Set by the checks.
    pub(super) received_list: Option<ReceivedList>,
    /// The outgoing body. Built by the checks, so that a request for which it cannot be built is
    /// refused before anything is sent.
    pub(super) outgoing_body: Option<Rebuilt>,
    /// The CPIM message of a body that is readable. Set by the checks.
    pub(super) cpim: Option<Bytes>,
    /// What its header says about notifications, once it has been read.
    pub(super) message_head: OnceCell<Option<MessageHead>>,
    /// Its IMS charging identity, once it has been read.
    pub(super) icid: OnceCell<Option<String>>,
    pub(super) recipients: Recipients,
    /// Result of the group lookup. Set by [`Request::handle_group`].
    pub(super) group: Option<GroupLookup>,
    /// The ids derived from it.
    pub(super) ids: RequestIds,
    /// Its name in the table of requests, if requests are remembered.
    pub(super) name: Option<RequestName>,
    pub(super) stage: CheckStage,
    pub(super) reply: Option<Reply>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckStage {
    /// The next check to run.
    Checking(usize),
    /// The check of this number has asked the operator's script.
    Asking(usize, Event),
    /// The check of this number needs the group.
    WantingGroup(usize),
    /// The check of this number has found the list long.
    AtLongList(usize),
    Accepted,
    Answered,
    Repeated,
}

/// Result of looking up a pre-defined group.
#[derive(Clone, Debug)]
pub enum GroupLookup {
    /// The group, and the originator's current permissions by its rules.
    Known(Rc<Group>, Permissions),
    /// No source has it.
    Unknown,
    /// A source could not be queried; retry after this many seconds.
    Unavailable {
        /// For Retry-After (RFC 3261 §20.33).
        retry_after_s: u32,
    },
}

impl Request {
    pub(super) fn new(
        service: Rc<ControllingFunction>,
        received: &Received<'_>,
        message: Message,
        kind: Kind,
        mode: Mode,
    ) -> Self {
        let identity = RequestIdentity::of(&message);
        let name = service
            .requests()
            .map(|requests| identity.name(requests, mode == Mode::Large));
        Request {
            ids: service.ids().of_request(&identity),
            name,
            source: received.source_address,
            originator: Originator::of(service.settings(), received, &message),
            received_ms: service.messages().map_or(0, MessageTable::now_ms),
            policy: OriginatorPolicy::of(service.settings()),
            verdict: Verdict::default(),
            service,
            message,
            request_uri: received.request_uri.to_owned(),
            kind,
            mode,
            received_list: None,
            outgoing_body: None,
            cpim: None,
            message_head: OnceCell::new(),
            icid: OnceCell::new(),
            recipients: Recipients::default(),
            group: None,
            stage: CheckStage::Checking(0),
            reply: None,
        }
    }

    /// The kind of destination.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The request as received.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Its source address; `None`: not an IP address.
    pub fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// Pager mode or large message mode.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The name that its session will have. `None` in pager mode.
    pub fn session(&self) -> Option<SessionId> {
        (self.mode == Mode::Large).then(|| self.ids.session())
    }

    /// Authenticated originator's CPM Address, if there is one.
    pub fn originator(&self) -> Option<&str> {
        self.originator.as_ref().map(Originator::uri)
    }

    /// Conversation-ID, as received.
    pub fn conversation_id(&self) -> Option<&[u8]> {
        self.message
            .first(HeaderName::ConversationId)
            .map(|field| field.value())
    }

    /// Contribution-ID, as received.
    pub fn contribution_id(&self) -> Option<&[u8]> {
        self.message
            .first(HeaderName::ContributionId)
            .map(|field| field.value())
    }

    /// The address of the service it is for, as written in the group's document or the
    /// configuration: the sender's spelling may have arbitrary parameters.
    pub(super) fn own_address(&self) -> &str {
        let own = match &self.group {
            Some(GroupLookup::Known(group, _)) if Uri::parse(group.uri()).is_ok() => {
                Some(group.uri())
            }
            _ => self.service.own_address(&self.request_uri),
        };
        own.unwrap_or(&self.request_uri)
    }

    /// The distinct recipients. Empty before the checks.
    pub fn recipients(&self) -> &Recipients {
        &self.recipients
    }

    /// The reply that is now due.
    pub fn reply(&self) -> Option<&Reply> {
        self.reply.as_ref()
    }

    /// Handles a request that has been accepted before (RFC 3261 §8.2.2.2, §17.2.2). An INVITE gets
    /// no second answer: its sender has it, or the transaction layer retransmits it (RFC 6026
    /// §7.1).
    pub(super) fn handle_known(&mut self, known: Known, host: &dyn Journal) -> CheckStage {
        match known {
            Known::Repeated { is_answered } => {
                host.count(Counter::Repeated, 1);
                if is_answered && self.mode == Mode::Pager {
                    let headers = self.accepted_headers().into_bytes();
                    self.reply = Some(Reply::accepted(headers, self.ids.to_tag()));
                }
                CheckStage::Repeated
            }
            Known::Merged => {
                host.count(Counter::Merged, 1);
                let refusal = Refusal::with_header(
                    at!(Notice),
                    StatusCode::LOOP_DETECTED,
                    None,
                    "it was accepted before over another branch",
                );
                self.refuse(&refusal, host)
            }
        }
    }

    /// The originator's current permissions by the group's rules.
    pub fn permissions(&self, group: &Group, now: SystemTime) -> Permissions {
        let identities = self
            .originator
            .as_ref()
            .map(Originator::identities)
            .unwrap_or_default();
        let medium = match self.mode {
            Mode::Pager => Medium::PagerMode,
            Mode::Large => Medium::LargeMessageMode,
        };
        group.permissions(&identities, medium, now)
    }

    /// The Request-URI, by which a group is looked up.
    pub fn request_uri(&self) -> &str {
        &self.request_uri
    }

    /// Header lines of the 202 (9.1.1-7).
    pub(super) fn accepted_headers(&self) -> HeaderBlock {
        let mut headers = HeaderBlock::new();
        for name in [
            HeaderName::ConversationId,
            HeaderName::ContributionId,
            HeaderName::InReplyToContributionId,
        ] {
            if let Some(field) = self.message.first(name) {
                headers.push_line(&field);
            }
        }
        put(&mut headers, "Server", self.service.product());
        headers
    }

    /// Whether the sender asks for anonymity (readings N17).
    pub(super) fn anonymity_requested(&self) -> bool {
        requests_anonymity(&self.message)
    }

    /// An internal error: 500.
    pub fn fail(&mut self, at: LogAt, cause: &'static str, host: &dyn Journal) {
        let refusal = Refusal::with_header(at, StatusCode::SERVER_INTERNAL_ERROR, None, cause);
        self.stage = self.refuse(&refusal, host);
    }

    pub(super) fn refuse(&mut self, refusal: &Refusal, host: &dyn Journal) -> CheckStage {
        let mut reply = refusal.reply(&self.service.product(), self.warning_agent());
        reply.to_tag = Some(self.ids.to_tag());
        host.count(Counter::Refused, 1);
        if let Some(messages) = self.service.messages() {
            let is_large = self.mode == Mode::Large;
            messages
                .figures()
                .count_response(is_large, reply.code.as_u16());
        }
        host.log(
            *refusal.at,
            format_args!(
                "refused {} {}: {}, {}",
                reply.code.as_u16(),
                reply.warning.unwrap_or(reply.code.reason_phrase()),
                refusal.cause(),
                self.correlation()
            ),
        );
        self.reply = Some(reply);
        CheckStage::Answered
    }

    /// The host named in a Warning (readings N9): configured, or the host of the Request-URI.
    fn warning_agent(&self) -> &str {
        let configured = self.service.settings().warning_agent.as_deref();
        configured.unwrap_or_else(|| {
            Uri::parse(&self.request_uri)
                .ok()
                .and_then(|uri| uri.host())
                .unwrap_or("cpm")
        })
    }

    /// Identifies the request in a log line.
    pub fn correlation(&self) -> Correlation<'_> {
        Correlation::of(&self.message)
    }
}

/// Identifies a request in log lines: its Call-ID, truncated if too long.
pub struct Correlation<'a>(&'a Message);

/// Maximum number of bytes of a Call-ID in a log line.
pub const MAX_LOGGED_CALL_ID_BYTES: usize = 128;

impl<'a> Correlation<'a> {
    /// For this request.
    pub(super) fn of(message: &'a Message) -> Self {
        Correlation(message)
    }
}

impl fmt::Display for Correlation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call_id = self
            .0
            .first(HeaderName::CallId)
            .and_then(|field| field.text().ok());
        let call_id = call_id.unwrap_or("-");
        let end = call_id.floor_char_boundary(MAX_LOGGED_CALL_ID_BYTES);
        write!(f, "callid={}", &call_id[..end])
    }
}
