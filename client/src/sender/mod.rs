//! Sending one message: 7.2.1.1 for pager mode, 7.2.1.2 for large message mode.

mod msrp_sender;
mod session;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use cpm_wire::msrp::MsrpUri;
use cpm_wire::sdp::{Fingerprint, OwnMedia, Transport, message_offer};
use cpm_wire::sip::{HeaderName, Message, StatusCode};
use cpm_wire::sip_ua::{Dialog, SessionTimer, text};

use super::Way;
use super::digest::Credentials;
use super::identifiers::{Random, number, token};
use super::message::{Mode, Outgoing};
use super::outcome::{Failure, MsrpFailure, Sent};
use super::request::{OutRequest, SipNames};
use super::uac::{Uac, UacEvent};

pub use msrp_sender::STALL_TIMEOUT;
use msrp_sender::{MsrpEvent, MsrpSender};

/// Time limit for opening the MSRP connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an INVITE may ring before it is cancelled.
const INVITE_TIMEOUT: Duration = Duration::from_secs(180);
/// Maximum number of forks of an INVITE whose 2xx are remembered, to be acknowledged again.
pub const MAX_FORKS: usize = 8;

/// Configuration of a sender.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// The route of all requests: the outbound proxy.
    pub way: Way,
    /// Our own address, for Via and Contact.
    pub local: SocketAddr,
    /// For challenges of the server.
    pub credentials: Option<Credentials>,
    /// Our MSRP address, for the offer.
    pub msrp: SocketAddr,
    /// The transport of MSRP.
    pub msrp_transport: Transport,
    /// The fingerprint of our certificate, if we have one.
    pub fingerprint: Option<Fingerprint>,
    /// Maximum length of a chunk in bytes; 0: the whole message in one.
    pub chunk_bytes: usize,
    /// Whether another server could be tried if this one does not answer: see
    /// [`Sender::elsewhere`].
    pub has_next: bool,
}

/// The destination of the MSRP connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MsrpTarget {
    /// Host name or IP address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether to use TLS.
    pub secure: bool,
    /// Required fingerprint of the peer's certificate; `None`: an authority must vouch for it.
    pub fingerprint: Option<Fingerprint>,
}

/// An action for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SenderOutput {
    /// Send these bytes.
    Sip(Way, Bytes),
    /// Open the MSRP connection.
    ConnectMsrp(MsrpTarget),
    /// Close the MSRP connection: the media are released.
    CloseMsrp,
    /// An event for the user.
    Event(SenderEvent),
}

/// An event for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SenderEvent {
    /// A provisional answer.
    Provisional(u16),
    /// The session is established; the Call-ID by which the server knows it.
    Accepted {
        /// Call-ID.
        call_id: String,
    },
    /// This many bytes of the total are confirmed.
    Progress(u64, u64),
    /// The end: no more events.
    Done(Result<Sent, Failure>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Message,
    Invite,
    Refresh,
    Bye,
    /// The BYE to an unused fork.
    ForkBye,
}

/// ```text
///  pager:  Asking --2xx--> Done            Asking --3xx..6xx, 32 s--> Done
///
///  large:  Asking --2xx: ACK--> Connecting --connected: empty SEND--> Transferring
///            |  --failure: ACK--> Done    |                             |
///            |  cancel: CANCEL            +--- failure, cancel ---------+--> Ending (Reason 480)
///            |  2xx after CANCEL: ACK --> Ending                        |
///                                                                       +-all 200-> Ending (200)
///          Ending --BYE answered--> Done
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Idle,
    /// The MESSAGE or INVITE has been sent.
    Asking,
    /// The deadline for the MSRP connection to be open.
    Connecting(Instant),
    Transferring,
    /// The BYE has been sent; possibly without waiting for its answer.
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
    /// The ACKs for all forks that answered 2xx, by the tag of the fork.
    acks: Vec<(String, OutRequest)>,
    peer_media: Option<(cpm_wire::msrp::Path, MsrpTarget)>,
    msrp: Option<MsrpSender>,
    timer: Option<SessionTimer>,
    ringing_until: Option<Instant>,
    cancelled: bool,
    /// Whether a provisional answer has arrived.
    is_ringing: bool,
    /// The result, once the BYE is answered.
    result: Option<Result<Sent, Failure>>,
    output: VecDeque<SenderOutput>,
}

impl Sender {
    /// A sender that has not started.
    pub fn new(config: SenderConfig, outgoing: Outgoing, random: Random) -> Self {
        let names = SipNames {
            call_id: token(random),
            tag: token(random),
            cseq: 1,
        };
        Self::with_names(config, outgoing, names, random)
    }

    /// Starts again with the next server, after a failure [that allows it](Self::may_go_elsewhere):
    /// with the identifiers of the first request, so that a recipient of both can recognise them
    /// (RFC 3263 §4.3).
    pub fn elsewhere(&mut self, config: SenderConfig) {
        let (outgoing, names) = (self.outgoing.clone(), self.names.clone());
        *self = Self::with_names(config, outgoing, names, self.random);
    }

    fn with_names(
        config: SenderConfig,
        outgoing: Outgoing,
        names: SipNames,
        random: Random,
    ) -> Self {
        let mut uac = Uac::new(config.local.into(), config.credentials.clone(), random);
        uac.set_has_next(config.has_next);
        Self {
            uac,
            config,
            outgoing,
            random,
            state: State::Idle,
            names,
            own_path: None,
            offer: String::new(),
            dialog: None,
            acks: Vec::new(),
            peer_media: None,
            msrp: None,
            timer: None,
            ringing_until: None,
            cancelled: false,
            is_ringing: false,
            result: None,
            output: VecDeque::new(),
        }
    }

    /// The message being sent.
    pub fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// The Call-ID by which the server knows it.
    pub fn call_id(&self) -> &str {
        &self.names.call_id
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

    /// The user cancels the message (7.2.1.2-cancel). In pager mode nothing can be cancelled: the
    /// sender only stops waiting.
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

    /// A SIP message has arrived.
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

    /// The connection to the server is lost. A session continues: its next request opens a new one.
    /// A request waiting for its answer is sent again, if the connection had worked.
    pub fn handle_sip_failed(&mut self, now: Instant, words: &str) {
        for event in self.uac.handle_way_lost(self.config.way) {
            let UacEvent::Lost(purpose) = event else {
                continue;
            };
            let failure = Failure::Unreachable(words.to_owned());
            match purpose {
                // The first failure is the one to report.
                Purpose::Message | Purpose::Invite => {
                    let result = self.result.take().unwrap_or(Err(failure));
                    self.finish(result);
                }
                Purpose::Refresh if self.has_session() => self.fail(now, failure),
                // The result of the transfer remains.
                Purpose::Bye => self.end(),
                Purpose::Refresh | Purpose::ForkBye => {}
            }
        }
    }

    /// Whether the next server may be tried after this failure: this one is unreachable, and nobody
    /// has been rung.
    pub fn may_go_elsewhere(&self, failure: &Failure) -> bool {
        failure.is_for_next_server() && !self.is_ringing && self.dialog.is_none()
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

    /// Bytes have arrived over the MSRP connection.
    pub fn handle_msrp_bytes(&mut self, now: Instant, input: &mut BytesMut) {
        let Some(msrp) = &mut self.msrp else {
            input.clear();
            return;
        };
        let events = msrp.handle_bytes(now, input);
        self.handle_msrp(now, events);
    }

    /// The MSRP connection could not be opened, or was lost.
    pub fn handle_msrp_failed(&mut self, now: Instant, words: &str) {
        if matches!(self.state, State::Connecting(_) | State::Transferring) {
            let failure = MsrpFailure::Connection(words.to_owned());
            self.fail(now, Failure::Msrp(failure));
        }
    }

    /// The next bytes for the MSRP connection; call it while the connection has space.
    pub fn poll_msrp(&mut self, now: Instant) -> Option<Bytes> {
        self.msrp.as_mut()?.poll_bytes(now)
    }

    /// The next action.
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
            timer.map(SessionTimer::deadline),
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
        // An IP address, a port and hexadecimal digits are always a valid URI.
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
            // A session that is ending is no longer refreshed.
            UacEvent::TimedOut(Purpose::Refresh) if self.has_session() => {
                self.fail(now, Failure::NoAnswer("UPDATE"));
            }
            // The result of the transfer remains; the UID is unknown.
            UacEvent::TimedOut(Purpose::Bye) => self.end(),
            UacEvent::TimedOut(Purpose::Refresh | Purpose::ForkBye) | UacEvent::Lost(_) => {}
        }
    }

    fn handle_message_response(&mut self, status: StatusCode, response: &Message) {
        if status.is_provisional() {
            return self.event(SenderEvent::Provisional(status.as_u16()));
        }
        // Any 2xx is a success (readings N22).
        let result = match status.is_success() {
            true => Ok(sent(status, response)),
            false => Err(Failure::of(response, status)),
        };
        self.finish(result);
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
        let mut bye = OutRequest::from(dialog.request("BYE"));
        bye.push("Reason", reason);
        self.uac.send(now, self.config.way, Purpose::Bye, bye);
    }

    fn handle_bye_response(&mut self, status: StatusCode, response: &Message) {
        if status.is_provisional() {
            return;
        }
        if let Some(Ok(sent)) = &mut self.result {
            sent.message_uid = text(response, HeaderName::MessageUid).map(Cow::into_owned);
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

    /// Tells the user. Nothing is told after the end, whatever comes late.
    fn event(&mut self, event: SenderEvent) {
        if self.state != State::Done || matches!(event, SenderEvent::Done(_)) {
            self.output.push_back(SenderOutput::Event(event));
        }
    }
}

fn sent(status: StatusCode, response: &Message) -> Sent {
    Sent {
        code: status.as_u16(),
        message_uid: text(response, HeaderName::MessageUid).map(Cow::into_owned),
    }
}
