//! Sending one message: 7.2.1.1 for pager mode, 7.2.1.2 for large message mode.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::mime::{Entity, EntityFields};
use crate::msrp::MsrpUri;
use crate::sdp::{
    Fingerprint, MsrpMedia, OwnMedia, Role, SessionDescription, Transport, message_offer,
};
use crate::sip::{HeaderName, Message, StatusCode};

use super::dialog::{Dialog, Order};
use super::digest::Credentials;
use super::identifiers::{Random, number, token};
use super::message::{Mode, Outgoing};
use super::msrp_sender::{MsrpEvent, MsrpSender};
use super::outcome::{Failure, MsrpFailure, Refusal, Sent};
use super::request::{OutRequest, OutResponse, SipNames, cseq, text, way_back};
use super::session_timer::{Due, MIN_SESSION_EXPIRES_S, SessionTimer};
use super::uac::{Uac, UacEvent};
use super::{ALLOW, Way};

/// How long opening the MSRP connection may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an INVITE may ring before it is taken back.
const INVITE_TIMEOUT: Duration = Duration::from_secs(180);
/// Most forks of an INVITE whose 2xx are remembered, to be acknowledged again.
pub const MAX_FORKS: usize = 8;

/// What a sender has to know of its surroundings.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// Where all requests go: the outbound proxy.
    pub way: Way,
    /// Our own end of it, for Via and Contact.
    pub local: SocketAddr,
    /// For when the server asks.
    pub credentials: Option<Credentials>,
    /// Where we could be reached over MSRP: what the offer says.
    pub msrp: SocketAddr,
    /// What carries MSRP.
    pub msrp_transport: Transport,
    /// The fingerprint of our certificate, if we have one.
    pub fingerprint: Option<Fingerprint>,
    /// Largest chunk in bytes; 0: the whole message in one.
    pub chunk_bytes: usize,
}

/// Where the MSRP connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MsrpTarget {
    /// Host name or IP address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub secure: bool,
    /// What the certificate of the other end has to be; `None`: whatever an authority vouches for.
    pub fingerprint: Option<Fingerprint>,
}

/// What is to be done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SenderOutput {
    /// These bytes are to be sent.
    Sip(Way, Bytes),
    /// The MSRP connection is to be opened.
    ConnectMsrp(MsrpTarget),
    /// The MSRP connection is to be closed: the media are released.
    CloseMsrp,
    /// For the user.
    Event(SenderEvent),
}

/// What the user may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SenderEvent {
    /// A provisional answer.
    Provisional(u16),
    /// The session is there; the Call-ID by which the server knows it.
    Accepted {
        /// Call-ID.
        call_id: String,
    },
    /// So many bytes of so many are confirmed.
    Progress(u64, u64),
    /// The end: nothing more comes.
    Done(Result<Sent, Failure>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Message,
    Invite,
    Refresh,
    Bye,
    /// The BYE to a fork that was not needed.
    ForkBye,
}

/// ```text
///  pager:  Asking --2xx--> Done            Asking --3xx..6xx, 32 s--> Done
///
///  large:  Asking --2xx: ACK--> Connecting --connected: empty SEND--> Transferring --all 200--> Ending --BYE answered--> Done
///            |  --failure: ACK--> Done    |                             |                        (Reason 200)
///            |  cancel: CANCEL            +--- failure, cancel ---------+--> Ending (Reason 480)
///            |  2xx after CANCEL: ACK --> Ending
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Idle,
    /// The MESSAGE or INVITE is out.
    Asking,
    /// Until then the MSRP connection has to be open.
    Connecting(Instant),
    Transferring,
    /// The BYE is out, or answers to it are no longer waited for.
    Ending,
    Done,
}

/// Sends one message.
#[derive(Debug)]
pub struct Sender {
    config: SenderConfig,
    outgoing: Outgoing,
    random: Random,
    uac: Uac<Purpose>,
    state: State,
    names: SipNames,
    own_path: Option<MsrpUri>,
    offer: String,
    dialog: Option<Dialog>,
    /// The ACKs of all forks that answered 2xx, by the tag of the fork.
    acks: Vec<(String, OutRequest)>,
    peer_media: Option<(crate::msrp::Path, MsrpTarget)>,
    msrp: Option<MsrpSender>,
    timer: Option<SessionTimer>,
    ringing_until: Option<Instant>,
    cancelled: bool,
    /// How it ends once the BYE is answered.
    result: Option<Result<Sent, Failure>>,
    output: VecDeque<SenderOutput>,
}

impl Sender {
    /// A sender that has done nothing yet.
    pub fn new(config: SenderConfig, outgoing: Outgoing, random: Random) -> Self {
        let sent_by = config.local.to_string();
        Self {
            uac: Uac::new(&sent_by, config.credentials.clone(), random),
            config,
            outgoing,
            random,
            state: State::Idle,
            names: SipNames {
                call_id: token(random),
                tag: token(random),
                cseq: 1,
            },
            own_path: None,
            offer: String::new(),
            dialog: None,
            acks: Vec::new(),
            peer_media: None,
            msrp: None,
            timer: None,
            ringing_until: None,
            cancelled: false,
            result: None,
            output: VecDeque::new(),
        }
    }

    /// The message that is being sent.
    pub fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// Sends the MESSAGE or the INVITE.
    pub fn start(&mut self, now: Instant) {
        self.state = State::Asking;
        let (purpose, request) = match self.outgoing.mode {
            Mode::Pager => (Purpose::Message, self.outgoing.message(&self.names)),
            Mode::Large => {
                self.make_offer();
                self.ringing_until = Some(now + INVITE_TIMEOUT);
                let contact = self.contact();
                (
                    Purpose::Invite,
                    self.outgoing.invite(&self.names, &contact, &self.offer),
                )
            }
        };
        self.uac.send(now, self.config.way, purpose, request);
    }

    /// The user takes the message back (7.2.1.2-cancel). In pager mode nothing can be taken back: the sender then only
    /// stops to wait.
    pub fn cancel(&mut self, now: Instant) {
        match self.state {
            State::Asking if self.outgoing.mode == Mode::Pager => {
                self.finish(Err(Failure::Cancelled))
            }
            State::Asking => {
                self.cancelled = true;
                self.ringing_until = None;
                self.uac.cancel(now, Purpose::Invite);
            }
            State::Connecting(_) | State::Transferring => self.fail(now, Failure::Cancelled),
            State::Idle => self.finish(Err(Failure::Cancelled)),
            State::Ending | State::Done => {}
        }
    }

    /// A SIP message has come.
    pub fn handle_sip(&mut self, now: Instant, message: Message, way: Way) {
        match message.method().map(str::to_owned) {
            None => {
                if let Some(event) = self.uac.handle_response(now, message) {
                    self.handle_uac(now, event);
                }
            }
            Some(method) => self.handle_request(now, &method, &message, way),
        }
    }

    /// The way to the server is gone.
    pub fn handle_sip_failed(&mut self, words: &str) {
        if self.state != State::Done {
            let failure = Failure::Unreachable(words.to_owned());
            // What went wrong first is what the user has to know.
            let result = match self.result.take() {
                Some(Err(first)) => Err(first),
                _ => Err(failure),
            };
            self.finish(result);
        }
    }

    /// The MSRP connection is open.
    pub fn handle_msrp_connected(&mut self, now: Instant) {
        let (State::Connecting(_), Some(own), Some((peer, _))) =
            (&self.state, self.own_path.clone(), self.peer_media.clone())
        else {
            return;
        };
        self.state = State::Transferring;
        let content = self.outgoing.cpim.clone();
        let chunk = self.config.chunk_bytes;
        self.msrp = Some(MsrpSender::new(now, own, peer, content, chunk, self.random));
    }

    /// Bytes have come over the MSRP connection.
    pub fn handle_msrp_bytes(&mut self, now: Instant, input: &mut BytesMut) {
        let Some(msrp) = &mut self.msrp else {
            input.clear();
            return;
        };
        let events = msrp.handle_bytes(now, input);
        self.handle_msrp(now, events);
    }

    /// The MSRP connection could not be opened, or is gone.
    pub fn handle_msrp_failed(&mut self, now: Instant, words: &str) {
        if matches!(self.state, State::Connecting(_) | State::Transferring) {
            let failure = MsrpFailure::Connection(words.to_owned());
            self.fail(now, Failure::Msrp(failure));
        }
    }

    /// The next bytes for the MSRP connection, to be asked for while it has room.
    pub fn poll_msrp(&mut self, now: Instant) -> Option<Bytes> {
        self.msrp.as_mut()?.poll_bytes(now)
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<SenderOutput> {
        if let Some((way, bytes)) = self.uac.poll_output() {
            return Some(SenderOutput::Sip(way, bytes));
        }
        self.output.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.state == State::Done {
            return None;
        }
        let connecting = match self.state {
            State::Connecting(until) => Some(until),
            _ => None,
        };
        let msrp = self
            .msrp
            .as_ref()
            .filter(|_| self.state == State::Transferring);
        let timer = self.timer.as_ref().filter(|_| self.has_session());
        [
            self.uac.poll_timeout(),
            self.ringing_until,
            connecting,
            msrp.and_then(MsrpSender::poll_timeout),
            timer.map(SessionTimer::poll_timeout),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        for event in self.uac.handle_timeout(now) {
            self.handle_uac(now, event);
        }
        if self.ringing_until.is_some_and(|until| until <= now) {
            self.ringing_until = None;
            self.result = Some(Err(Failure::NoAnswer("INVITE")));
            self.uac.cancel(now, Purpose::Invite);
        }
        if let State::Connecting(until) = self.state
            && until <= now
        {
            let words = format!("not open within {CONNECT_TIMEOUT:?}");
            self.fail(now, Failure::Msrp(MsrpFailure::Connection(words)));
        }
        if self.state == State::Transferring
            && let Some(msrp) = &mut self.msrp
        {
            let events = msrp.handle_timeout(now);
            self.handle_msrp(now, events);
        }
        self.look_at_session_timer(now);
    }

    fn has_session(&self) -> bool {
        matches!(self.state, State::Connecting(_) | State::Transferring)
    }

    fn contact(&self) -> String {
        let transport = match self.config.way.transport {
            super::SipTransport::Udp => "",
            super::SipTransport::Tcp => ";transport=tcp",
            super::SipTransport::Tls => ";transport=tls",
        };
        let (user, local) = (self.outgoing.contact_user(), self.config.local);
        format!("sip:{user}@{local}{transport}")
    }

    fn make_offer(&mut self) {
        let secure = self.config.msrp_transport == Transport::Tls;
        let address = self.config.msrp;
        let host = address.ip().to_string();
        // An IP address, a port and hexadecimal digits always make a URI.
        let Ok(path) = MsrpUri::new(secure, &host, address.port(), &token(self.random)) else {
            return;
        };
        let own = OwnMedia {
            session_id: number(self.random).into(),
            address: address.ip(),
            port: address.port(),
            path: path.clone(),
            transport: self.config.msrp_transport,
            fingerprint: self.config.fingerprint.clone(),
        };
        let types = self.outgoing.wrapped_types.join(" ");
        self.offer = message_offer(&own, &types, self.outgoing.cpim.len() as u64);
        self.own_path = Some(path);
    }

    fn handle_uac(&mut self, now: Instant, event: UacEvent<Purpose>) {
        match event {
            UacEvent::Response {
                purpose,
                request,
                message,
            } => {
                let Some(status) = message.status() else {
                    return;
                };
                match purpose {
                    Purpose::Message => self.handle_message_response(status, &message),
                    Purpose::Invite => self.handle_invite_response(now, status, &request, &message),
                    Purpose::Refresh => {
                        self.handle_refresh_response(now, status, &request, &message);
                    }
                    Purpose::Bye => self.handle_bye_response(status, &message),
                    Purpose::ForkBye => {}
                }
            }
            UacEvent::Again { request, message } => self.acknowledge_again(now, &request, &message),
            UacEvent::TimedOut(Purpose::Message) => self.finish(Err(Failure::NoAnswer("MESSAGE"))),
            UacEvent::TimedOut(Purpose::Invite) => {
                let failure = if self.cancelled {
                    Failure::Cancelled
                } else {
                    Failure::NoAnswer("INVITE")
                };
                let result = self.result.take().unwrap_or(Err(failure));
                self.finish(result);
            }
            UacEvent::TimedOut(Purpose::Refresh) => self.fail(now, Failure::NoAnswer("UPDATE")),
            // Whatever the transfer came to stands; the UID is not to be had.
            UacEvent::TimedOut(Purpose::Bye) => self.end(),
            UacEvent::TimedOut(Purpose::ForkBye) => {}
        }
    }

    fn handle_message_response(&mut self, status: StatusCode, response: &Message) {
        if status.is_provisional() {
            return self.event(SenderEvent::Provisional(status.as_u16()));
        }
        // Any 2xx is a success (spec-notes N22).
        let result = match status.is_success() {
            true => Ok(sent(status, response)),
            false => Err(refused(response, status)),
        };
        self.finish(result);
    }

    fn handle_invite_response(
        &mut self,
        now: Instant,
        status: StatusCode,
        request: &OutRequest,
        response: &Message,
    ) {
        if status.is_provisional() {
            return self.event(SenderEvent::Provisional(status.as_u16()));
        }
        self.ringing_until = None;
        if !status.is_success() {
            let failure = match self.cancelled {
                true => Failure::Cancelled,
                false => refused(response, status),
            };
            let result = self.result.take().unwrap_or(Err(failure));
            return self.finish(result);
        }
        let Some(dialog) = self.acknowledge(request, response) else {
            let words = "a 2xx to INVITE without tag or Contact".to_owned();
            return self.finish(Err(Failure::WrongAnswer(words)));
        };
        self.dialog = Some(dialog);
        self.timer = SessionTimer::of_answer(now, response);
        if self.cancelled || self.result.is_some() {
            // It crossed our CANCEL (spec-notes N42).
            return self.fail(now, Failure::Cancelled);
        }
        let call_id = self.names.call_id.clone();
        self.event(SenderEvent::Accepted { call_id });
        match self.read_answer(response) {
            Ok((path, target)) => {
                self.state = State::Connecting(now + CONNECT_TIMEOUT);
                self.peer_media = Some((path, target.clone()));
                self.output.push_back(SenderOutput::ConnectMsrp(target));
            }
            Err(failure) => self.fail(now, failure),
        }
    }

    /// Sends the ACK for a 2xx and remembers it. `None` if the response makes no dialog.
    fn acknowledge(&mut self, request: &OutRequest, response: &Message) -> Option<Dialog> {
        let dialog = Dialog::of_caller(request, response)?;
        let mut ack = dialog.ack(request.cseq);
        // §22.1: the ACK has the credentials of its INVITE, as nobody can challenge it.
        let is_answer = |name: &str| matches!(name, "Authorization" | "Proxy-Authorization");
        ack.headers.extend(
            request
                .headers
                .iter()
                .filter(|(name, _)| is_answer(name))
                .cloned(),
        );
        self.uac.send_ack(self.config.way, &ack);
        if self.acks.len() < MAX_FORKS {
            self.acks.push((dialog.remote_tag.clone(), ack));
        }
        Some(dialog)
    }

    /// A 2xx has come once more: its ACK was lost. Or it comes from another fork, which is not needed.
    fn acknowledge_again(&mut self, now: Instant, request: &OutRequest, response: &Message) {
        if !response.status().is_some_and(StatusCode::is_success) {
            return;
        }
        let tag = super::request::tag_of(response, HeaderName::To).unwrap_or_default();
        if let Some((_, ack)) = self.acks.iter().find(|(known, _)| *known == tag) {
            // That of a re-INVITE differs by its number alone.
            let ack = OutRequest {
                cseq: request.cseq,
                ..ack.clone()
            };
            return self.uac.send_ack(self.config.way, &ack);
        }
        if let Some(mut fork) = self.acknowledge(request, response)
            && self.acks.len() < MAX_FORKS
        {
            let mut bye = fork.request("BYE");
            bye.push("Reason", "SIP;cause=480;text=\"Answered elsewhere\"");
            self.uac.send(now, self.config.way, Purpose::ForkBye, bye);
        }
    }

    /// What the answer says of the other end of MSRP.
    fn read_answer(&self, response: &Message) -> Result<(crate::msrp::Path, MsrpTarget), Failure> {
        let wrong = |words: String| Failure::WrongAnswer(words);
        let sdp = sdp_of(response).ok_or_else(|| wrong("a 2xx to INVITE without SDP".into()))?;
        let answer = SessionDescription::parse(&sdp).map_err(|e| wrong(format!("SDP: {e}")))?;
        let media = MsrpMedia::of(&answer, &[self.config.msrp_transport])
            .map_err(|error| wrong(format!("SDP: {error}")))?;
        // 7.2.1.2-200-D: the client opens the connection. Who answers active waits for nobody.
        match media.role_of_offerer() {
            Ok(Role::Active) => {}
            Ok(Role::Passive) => {
                return Err(wrong("SDP: setup:active, as if it were to connect".into()));
            }
            Err(error) => return Err(wrong(format!("SDP: {error}"))),
        }
        let size = self.outgoing.cpim.len() as u64;
        if let Some(limit) = media.max_size.filter(|limit| size > *limit) {
            return Err(Failure::TooLarge(limit));
        }
        let target = media.connection_target();
        let target = MsrpTarget {
            host: target.host.to_owned(),
            port: target.port,
            secure: media.transport == Transport::Tls,
            fingerprint: media.fingerprint.clone(),
        };
        Ok((media.path, target))
    }

    fn handle_msrp(&mut self, now: Instant, events: Vec<MsrpEvent>) {
        for event in events {
            if self.state != State::Transferring {
                return;
            }
            match event {
                MsrpEvent::Progress(bytes) => {
                    let total = self.outgoing.cpim.len() as u64;
                    self.event(SenderEvent::Progress(bytes, total));
                }
                MsrpEvent::Complete => {
                    let done = Ok(Sent {
                        code: 200,
                        message_uid: None,
                    });
                    self.hang_up(now, done, "SIP;cause=200;text=\"Call completed\"");
                }
                MsrpEvent::Failed(failure) => self.fail(now, Failure::Msrp(failure)),
            }
        }
    }

    /// Ends the session because of a failure (7.2.1.2-msrperr).
    fn fail(&mut self, now: Instant, failure: Failure) {
        if let Some(msrp) = &mut self.msrp {
            msrp.abort();
        }
        let result = match self.result.take() {
            Some(Err(first)) => Err(first),
            _ => Err(failure),
        };
        self.hang_up(now, result, "SIP;cause=480;text=\"Transmission Failed\"");
    }

    fn hang_up(&mut self, now: Instant, result: Result<Sent, Failure>, reason: &str) {
        self.state = State::Ending;
        self.result = Some(result);
        let Some(dialog) = &mut self.dialog else {
            return self.end();
        };
        let mut bye = dialog.request("BYE");
        bye.push("Reason", reason);
        self.uac.send(now, self.config.way, Purpose::Bye, bye);
    }

    fn handle_bye_response(&mut self, status: StatusCode, response: &Message) {
        if status.is_provisional() {
            return;
        }
        if let Some(Ok(sent)) = &mut self.result {
            sent.message_uid = text(response, HeaderName::MessageUid);
        }
        self.end();
    }

    /// The BYE has been answered, or never will be: the media are released.
    fn end(&mut self) {
        let result = self.result.take().unwrap_or(Err(Failure::PeerLeft));
        self.finish(result);
    }

    fn finish(&mut self, result: Result<Sent, Failure>) {
        if self.state == State::Done {
            return;
        }
        self.state = State::Done;
        if self.peer_media.is_some() {
            self.output.push_back(SenderOutput::CloseMsrp);
        }
        self.event(SenderEvent::Done(result));
    }

    fn event(&mut self, event: SenderEvent) {
        self.output.push_back(SenderOutput::Event(event));
    }

    fn look_at_session_timer(&mut self, now: Instant) {
        if !self.has_session() {
            return;
        }
        let Some(timer) = &mut self.timer else {
            return;
        };
        match timer.due(now) {
            Due::Nothing => {}
            Due::Expired => self.fail(now, Failure::NoAnswer("session refresh")),
            Due::Refresh => {
                timer.restart(now);
                let interval = timer.interval_s;
                self.refresh(now, interval);
            }
        }
    }

    /// Keeps the session (RFC 4028 §10), by UPDATE where the peer knows it, else by the same offer again.
    fn refresh(&mut self, now: Instant, interval_s: u32) {
        let contact = format!("<{}>", self.contact());
        let Some(dialog) = &mut self.dialog else {
            return;
        };
        let method = if dialog.allows_update {
            "UPDATE"
        } else {
            "INVITE"
        };
        let mut request = dialog.request(method);
        request.push("Contact", contact);
        request.push("Supported", "timer");
        // No refresher: 7.2.1.2-14 bars the client from naming itself, and the answer does.
        request.push("Session-Expires", interval_s.to_string());
        if method == "INVITE" {
            request.push("Allow", ALLOW);
            let offer = Bytes::from(self.offer.clone());
            request.body = Some(("application/sdp".to_owned(), offer));
        }
        self.uac
            .send(now, self.config.way, Purpose::Refresh, request);
    }

    fn handle_refresh_response(
        &mut self,
        now: Instant,
        status: StatusCode,
        request: &OutRequest,
        response: &Message,
    ) {
        if status.is_provisional() {
            return;
        }
        if let Some(dialog) = &mut self.dialog {
            dialog.local_cseq = dialog.local_cseq.max(request.cseq);
        }
        if status.is_success() {
            if request.method == "INVITE"
                && let Some(dialog) = &self.dialog
            {
                let ack = dialog.ack(request.cseq);
                self.uac.send_ack(self.config.way, &ack);
            }
            self.timer = SessionTimer::of_answer(now, response);
        } else if status == StatusCode::SESSION_INTERVAL_TOO_SMALL && self.has_session() {
            let wanted = text(response, HeaderName::MinSe);
            let wanted = wanted.and_then(|value| value.split(';').next()?.trim().parse().ok());
            let sent: Option<u32> = request
                .headers
                .iter()
                .find(|(name, _)| *name == "Session-Expires")
                .and_then(|(_, value)| value.parse().ok());
            let wanted = wanted.unwrap_or(MIN_SESSION_EXPIRES_S);
            match sent {
                Some(sent) if sent < wanted => self.refresh(now, wanted),
                _ => self.fail(now, refused(response, status)),
            }
        } else if self.has_session() {
            self.fail(now, refused(response, status));
        }
    }

    /// Requests inside of our dialog; nobody else sends us any.
    fn handle_request(&mut self, now: Instant, method: &str, request: &Message, way: Way) {
        if method == "ACK" {
            return;
        }
        let owned = self
            .dialog
            .as_ref()
            .is_some_and(|dialog| dialog.owns(request));
        let order = match &mut self.dialog {
            Some(dialog) if owned => dialog.take(request),
            _ => Order::InOrder,
        };
        let mut headers = Vec::new();
        let mut body = None;
        let code = match (owned, order, method) {
            (true, Order::OutOfOrder, _) => StatusCode::SERVER_INTERNAL_ERROR,
            (true, _, "BYE") => StatusCode::OK,
            (true, _, "UPDATE" | "INVITE") => {
                headers.push(("Contact", format!("<{}>", self.contact())));
                headers.push(("Allow", ALLOW.to_owned()));
                if let Some((seconds, refresher)) = super::session_timer::session_expires(request) {
                    let we = refresher == Some(super::session_timer::Refresher::Uas);
                    self.timer = Some(SessionTimer::new(now, seconds, we));
                    let who = if we { "uas" } else { "uac" };
                    headers.push(("Require", "timer".to_owned()));
                    headers.push(("Session-Expires", format!("{seconds};refresher={who}")));
                }
                if method == "INVITE" || !request.body().is_empty() {
                    // The session stays as it is.
                    body = Some(("application/sdp", Bytes::from(self.offer.clone())));
                }
                StatusCode::OK
            }
            (_, _, "OPTIONS") => {
                headers.push(("Allow", ALLOW.to_owned()));
                StatusCode::OK
            }
            (_, _, "BYE" | "UPDATE" | "INVITE" | "CANCEL") => {
                StatusCode::CALL_TRANSACTION_DOES_NOT_EXIST
            }
            _ => {
                headers.push(("Allow", ALLOW.to_owned()));
                StatusCode::METHOD_NOT_ALLOWED
            }
        };
        let response = OutResponse {
            code,
            tag: &self.names.tag,
            headers,
            body,
        };
        self.output.push_back(SenderOutput::Sip(
            way_back(request, way),
            response.write(request, way),
        ));
        let left = owned && order == Order::InOrder && method == "BYE";
        if left && self.state != State::Done && cseq(request).is_some() {
            // The peer ends the session: there is nobody left for a BYE of ours.
            let result = match (self.state.clone(), self.result.take()) {
                (State::Ending, Some(result)) => result,
                (_, first) => first.unwrap_or(Err(Failure::PeerLeft)),
            };
            self.finish(result);
        }
    }
}

fn sent(status: StatusCode, response: &Message) -> Sent {
    Sent {
        code: status.as_u16(),
        message_uid: text(response, HeaderName::MessageUid),
    }
}

fn refused(response: &Message, status: StatusCode) -> Failure {
    let refusal = Refusal::of(response, status);
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            Failure::Unauthenticated(refusal)
        }
        _ => Failure::Refused(refusal),
    }
}

/// The session description in a message, alone or as a part.
pub(super) fn sdp_of(message: &Message) -> Option<Bytes> {
    let value = |name| Some(Bytes::copy_from_slice(message.first(name)?.value()));
    let fields = EntityFields {
        content_type: Some(value(HeaderName::ContentType)?),
        content_disposition: value(HeaderName::ContentDisposition),
        content_transfer_encoding: value(HeaderName::ContentTransferEncoding),
    };
    let entity = Entity::parse(fields, message.body()).ok()?;
    let leaf = entity
        .leaves()
        .find(|leaf| leaf.content_type().is("application", "sdp"))?;
    leaf.content().ok()
}
