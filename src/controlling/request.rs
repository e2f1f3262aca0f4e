//! One request that is ours, from its classification to its reply.

use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::SystemTime;

use bytes::Bytes;

use super::checks::{self as check, Checked};
use super::host::{Counter, Host};
use super::ids::RequestIds;
use super::large_message_mode::{AcceptedInvite, SessionId};
use super::originator::Originator;
use super::pager_mode;
use super::pager_mode::{Progress, RETRY_AFTER_S};
use super::recipients::Recipients;
use super::refusal::{Refusal, Reply};
use super::request_identity::RequestIdentity;
use super::service::{ControllingFunction, Kind, Mode, Received};
use crate::group::{Group, Medium, Permissions};
use crate::log::LogLevel;
use crate::mime::Rebuilt;
use crate::shared::{Claim, Known, RequestName, Share};
use crate::sip::{HeaderName, Message, StatusCode, Uri};

/// A request that is ours.
///
/// ```text
/// Checking ──poll_check──► (operator asked) ──► Checking ──► Accepted ──fan_out──► Answered 202
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
    /// The address that it came from.
    pub(super) source: Option<IpAddr>,
    /// The body as a tree, with the leaf that is the resource list. Set by the checks.
    pub(super) received_list: Option<pager_mode::ReceivedList>,
    /// The body that goes out. Made by the checks, so that what cannot be made is refused before anything is
    /// sent.
    pub(super) outgoing_body: Option<Rebuilt>,
    /// The CPIM message of a body that could be looked into. Set by the checks.
    pub(super) cpim: Option<Bytes>,
    pub(super) recipients: Recipients,
    /// What is known of the pre-defined group. Set by [`Request::handle_group`].
    pub(super) group: Option<GroupLookup>,
    /// The ids that follow from it.
    pub(super) ids: RequestIds,
    /// What it is remembered by, where requests are.
    name: Option<RequestName>,
    stage: Stage,
    reply: Option<Reply>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The next check to run.
    Checking(usize),
    /// The operator has been asked by the check of this number.
    Asking(usize),
    /// The group is wanted by the check of this number.
    WantingGroup(usize),
    Accepted,
    Answered,
    Repeated,
}

/// What a request needs next, or what its checks came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Ask the operator's own policy, give [`Request::handle_operator`] its answer, poll again.
    AskOperator,
    /// Look the group up, give it to [`Request::handle_group`], poll again.
    WantGroup,
    /// Every check passed: fan out.
    Accepted,
    /// Refused, or answered already: see [`Request::reply`].
    Answered,
    /// It has been taken before: it gets the same reply again, or none where there is none yet, and nothing else comes
    /// of it.
    Repeated,
}

/// What came of looking for a pre-defined group.
#[derive(Clone, Debug)]
pub enum GroupLookup {
    /// The group, and what its rules let the originator do now.
    Known(Rc<Group>, Permissions),
    /// No source has it.
    Unknown,
    /// A source could not be asked; it may be worth another try after so many seconds.
    Unavailable {
        /// For Retry-After (RFC 3261 §20.33).
        retry_after_s: u32,
    },
}

/// What came of a fan-out.
#[derive(Debug)]
pub enum FanOut {
    /// All is done; with the reply.
    Done(Reply),
    /// The rest was handed over, and the job will say the reply.
    HandedOver,
    /// It has been taken before, here or by another process a moment ago.
    Known(Known),
    /// There was no room for a single transaction.
    NoRoom,
    /// Its originator or its source has as many recipients awaited as it may have.
    OverShare(Share),
    /// A failure of our own.
    Failed,
    /// The request has not passed its checks.
    NotAccepted,
}

/// The originator cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginatorError {
    /// No sip, sips or tel URI.
    NotAUri,
    /// The checks have begun: it would be too late.
    TooLate,
}

impl fmt::Display for OriginatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OriginatorError::NotAUri => {
                "the originator that the script set is no sip, sips or tel URI"
            }
            OriginatorError::TooLate => "the script set the originator after the checks",
        })
    }
}

impl std::error::Error for OriginatorError {}

impl Request {
    pub(super) fn new(
        service: Rc<ControllingFunction>,
        received: &Received<'_>,
        message: Message,
        kind: Kind,
        mode: Mode,
    ) -> Self {
        let identity = RequestIdentity::of(&message);
        let name = service.requests().map(|requests| {
            let [request, branch] = [&identity.request, &identity.branch]
                .map(|parts| parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
            requests.name(&request, &branch, mode == Mode::Large)
        });
        Request {
            ids: service.ids().of_request(&identity),
            name,
            source: received.source_address,
            originator: Originator::of(service.settings(), received, &message),
            service,
            message,
            request_uri: received.request_uri.to_owned(),
            kind,
            mode,
            received_list: None,
            outgoing_body: None,
            cpim: None,
            recipients: Recipients::default(),
            group: None,
            stage: Stage::Checking(0),
            reply: None,
        }
    }

    /// The kind of destination.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Pager mode or large message mode.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The name that its session has, once it is fanned out. `None` in pager mode.
    pub fn session(&self) -> Option<SessionId> {
        (self.mode == Mode::Large).then(|| self.ids.session())
    }

    /// Authenticated originator's CPM Address, where somebody vouches for one.
    pub fn originator(&self) -> Option<&str> {
        self.originator.as_ref().map(Originator::uri)
    }

    /// The routing script has authenticated the originator by its own means. Before the checks only.
    pub fn set_originator(&mut self, uri: &str) -> Result<(), OriginatorError> {
        if self.stage != Stage::Checking(0) {
            return Err(OriginatorError::TooLate);
        }
        self.originator = Some(Originator::named(uri).ok_or(OriginatorError::NotAUri)?);
        Ok(())
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

    /// The address of ours that it is for, as the group's document or the configuration writes it: what the sender wrote may
    /// have parameters of his own choice.
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

    /// The reply that the request calls for now.
    pub fn reply(&self) -> Option<&Reply> {
        self.reply.as_ref()
    }

    /// Runs the checks as far as they get. Repeated after the end it says the same again.
    pub fn poll_check(&mut self, host: &dyn Host) -> Check {
        loop {
            let step = match self.stage {
                Stage::Checking(step) => step,
                Stage::Asking(_) => return Check::AskOperator,
                Stage::WantingGroup(_) => return Check::WantGroup,
                Stage::Accepted => return Check::Accepted,
                Stage::Answered => return Check::Answered,
                Stage::Repeated => return Check::Repeated,
            };
            if step == 0 {
                let requests = self.service.requests().zip(self.name.as_ref());
                let known = requests.and_then(|(requests, name)| requests.find(name));
                if !matches!(known, Some(Known::Repeated { .. })) {
                    host.count(Counter::Requests, 1);
                }
                if let Some(known) = known {
                    self.stage = self.handle_known(known, host);
                    continue;
                }
            }
            self.stage = match check::run(self, step, host) {
                Ok(Checked::Passed) => Stage::Checking(step + 1),
                Ok(Checked::AskOperator) => Stage::Asking(step),
                Ok(Checked::WantGroup) => Stage::WantingGroup(step),
                Ok(Checked::All) => Stage::Accepted,
                Err(refusal) => self.refuse(&refusal, host),
            };
        }
    }

    /// What becomes of a request that has been taken before (RFC 3261 §8.2.2.2, §17.2.2). An INVITE gets no answer again:
    /// its sender has it, or the transaction layer repeats it (RFC 6026 §7.1).
    fn handle_known(&mut self, known: Known, host: &dyn Host) -> Stage {
        match known {
            Known::Repeated { is_answered } => {
                host.count(Counter::Repeated, 1);
                if is_answered && self.mode == Mode::Pager {
                    let headers = pager_mode::accepted_headers(self).into_bytes();
                    self.reply = Some(Reply::accepted(headers, self.ids.to_tag()));
                }
                Stage::Repeated
            }
            Known::Merged => {
                host.count(Counter::Merged, 1);
                let refusal = Refusal::with_header(
                    StatusCode::LOOP_DETECTED,
                    None,
                    "it has come by another branch before",
                );
                self.refuse(&refusal, host)
            }
        }
    }

    /// The operator's answer to [`Check::AskOperator`].
    pub fn handle_operator(&mut self, allowed: bool, host: &dyn Host) {
        let Stage::Asking(step) = self.stage else {
            return;
        };
        self.stage = if allowed {
            Stage::Checking(step + 1)
        } else {
            let refusal = Refusal::forbidden(
                check::NOT_AUTHORISED,
                "the operator's script refused the originator",
            );
            self.refuse(&refusal, host)
        };
    }

    /// The group that [`Check::WantGroup`] asked for.
    pub fn handle_group(&mut self, lookup: GroupLookup) {
        if let Stage::WantingGroup(step) = self.stage {
            self.group = Some(lookup);
            self.stage = Stage::Checking(step + 1);
        }
    }

    /// Goes on where another process has come to [`Check::WantGroup`]: the checks before it have passed there,
    /// for this originator.
    pub fn resume_at_group(&mut self, originator: &str) {
        if let Some(step) =
            check::group_step(self.kind).filter(|_| self.stage == Stage::Checking(0))
        {
            if self.originator() != Some(originator) {
                self.originator = Originator::named(originator);
            }
            self.stage = Stage::WantingGroup(step);
        }
    }

    /// What the group's rules let the originator of this request do at this time.
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

    /// Sends one request to each recipient (9.1.1 item 6), or has the process of the sessions do so (9.1.2-8, -9). Takes
    /// `&self`: the host may run a routing script in between that looks at this request. [`Request::handle_fan_out`] takes the
    /// result.
    pub fn fan_out(&self, host: &dyn Host) -> FanOut {
        if self.stage != Stage::Accepted {
            return FanOut::NotAccepted;
        }
        let claim = match self.claim(host) {
            Ok(claim) => claim,
            Err(known) => return FanOut::Known(known),
        };
        let result = match self.mode {
            Mode::Pager => self.send_copies(claim, host),
            Mode::Large => match AcceptedInvite::of(self, claim) {
                None => FanOut::Failed,
                Some(invite) if host.begin_session(&invite.write()) => FanOut::HandedOver,
                Some(_) => FanOut::NoRoom,
            },
        };
        // What was refused after all may come again.
        if matches!(
            result,
            FanOut::Failed | FanOut::NoRoom | FanOut::OverShare(_)
        ) {
            self.service.give_back(claim);
        }
        result
    }

    /// The right to fan it out, which one process gets, once.
    fn claim(&self, host: &dyn Host) -> Result<Option<Claim>, Known> {
        let Some((requests, name)) = self.service.requests().zip(self.name.as_ref()) else {
            return Ok(None);
        };
        let claimed = requests.claim(name)?;
        if claimed.forgot {
            host.count(Counter::Forgotten, 1);
        }
        Ok(Some(claimed.claim))
    }

    fn send_copies(&self, claim: Option<Claim>, host: &dyn Host) -> FanOut {
        let charge = match self.charge() {
            Ok(charge) => charge,
            Err(share) => return FanOut::OverShare(share),
        };
        let free = || {
            if let Some(outstanding) = &self.service.outstanding {
                outstanding.release(charge, self.recipients.len());
            }
        };
        let Some(mut job) = pager_mode::fan_out_job(self, charge, host) else {
            free();
            return FanOut::Failed;
        };
        job.claim = claim;
        let noted = self.note_sender();
        if let Some(noted) = &noted {
            job.set_link(noted.link());
        }
        loop {
            let progress = self.service.run(&mut job, host, false);
            if progress == Progress::Done {
                self.service.handle_done(&job, host);
                return FanOut::Done(job.reply());
            }
            if host.hand_over(&job.write()) {
                return FanOut::HandedOver;
            }
            if progress == Progress::NoRoom {
                if job.is_untouched() {
                    free();
                    if let (Some(senders), Some(noted)) = (self.service.senders(), &noted) {
                        senders.forget(noted);
                    }
                    return FanOut::NoRoom;
                }
                self.service.run(&mut job, host, true);
                self.service.handle_done(&job, host);
                return FanOut::Done(job.reply());
            }
        }
    }

    /// Makes the reply to what [`Request::fan_out`] came to.
    pub fn handle_fan_out(&mut self, result: FanOut, host: &dyn Host) {
        self.stage = match result {
            FanOut::NotAccepted => return,
            FanOut::Known(known) => self.handle_known(known, host),
            FanOut::HandedOver => {
                // A session counts itself once it is there.
                if self.mode == Mode::Pager {
                    host.count(Counter::Accepted, 1);
                }
                Stage::Answered
            }
            FanOut::Done(reply) => {
                host.count(Counter::Accepted, 1);
                self.reply = Some(reply);
                Stage::Answered
            }
            FanOut::NoRoom => {
                let refusal = Refusal::with_header(
                    StatusCode::SERVICE_UNAVAILABLE,
                    Some(("Retry-After", RETRY_AFTER_S.to_string())),
                    "there is no room for it now",
                );
                self.refuse(&refusal, host)
            }
            FanOut::OverShare(share) => {
                let refusal = self.over_share(share, host);
                self.refuse_at(LogLevel::Debug, &refusal, host)
            }
            FanOut::Failed => return self.fail("its fan-out could not be made", host),
        };
    }

    /// A failure of our own: 500.
    pub fn fail(&mut self, cause: &'static str, host: &dyn Host) {
        let refusal = Refusal::with_header(StatusCode::SERVER_INTERNAL_ERROR, None, cause);
        self.stage = self.refuse(&refusal, host);
    }

    fn refuse(&mut self, refusal: &Refusal, host: &dyn Host) -> Stage {
        // While a group source is down, each request to a group comes to this; the outage itself is logged.
        let level = match self.group {
            Some(GroupLookup::Unavailable { .. }) => LogLevel::Debug,
            _ => LogLevel::Notice,
        };
        self.refuse_at(level, refusal, host)
    }

    fn refuse_at(&mut self, level: LogLevel, refusal: &Refusal, host: &dyn Host) -> Stage {
        let mut reply = refusal.reply(&self.service.product(), self.warning_agent());
        reply.to_tag = Some(self.ids.to_tag());
        host.count(Counter::Refused, 1);
        host.log(
            level,
            format_args!(
                "refused {} {}: {}, {}",
                reply.code.as_u16(),
                reply.warning.unwrap_or(reply.code.reason_phrase()),
                refusal.cause(),
                self.correlation()
            ),
        );
        self.reply = Some(reply);
        Stage::Answered
    }

    /// The host that a Warning names (spec-notes N9): configured, or the one that was addressed.
    fn warning_agent(&self) -> &str {
        let configured = self.service.settings().warning_agent.as_deref();
        configured.unwrap_or_else(|| {
            Uri::parse(&self.request_uri)
                .ok()
                .and_then(|uri| uri.host())
                .unwrap_or("cpm")
        })
    }

    /// What ties a log line to the request.
    pub(super) fn correlation(&self) -> Correlation<'_> {
        Correlation::of(&self.message)
    }
}

/// What ties log lines to a request: its Call-ID, cut where somebody made it endless.
pub(super) struct Correlation<'a>(&'a Message);

/// As much of a Call-ID as a log line holds.
const MAX_LOGGED_CALL_ID_BYTES: usize = 128;

impl<'a> Correlation<'a> {
    /// Of this request.
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
