//! Receiving messages: registers, answers MESSAGE and INVITE, receives content over MSRP.

mod known;
mod msrp;
mod msrp_connection;
mod notifying;
mod session;
mod sessions;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cpm_wire::imdn::{Disposition, Notification};
use cpm_wire::msrp_session::ConnectionId;
use cpm_wire::sdp::{Fingerprint, Transport};
use cpm_wire::sip::{HeaderName, Message, StatusCode, option_tag};
use cpm_wire::sip_ua::{Due, SessionTimer, texts};

use super::body::{cpim_of, is_encoded, text_of};
use super::digest::Credentials;
use super::identifiers::{Random, token};
use super::notification::notification_of;
use super::outcome::Failure;
use super::registration::{Registered, Registration, RegistrationConfig};
use super::request::{OutResponse, SipNames, branch_of, way_back};
use super::sender::MsrpTarget;
use super::stored::StoredMessage;
use super::transaction::T2;
use super::uac::{Uac, UacEvent};
use super::{ALLOW, OwnAddresses, SipTransport, Way};
use known::Known;
use msrp_connection::MsrpConnection;
use session::{Session, echoed};

/// Maximum number of sessions; a further INVITE is answered 486. Together with the size limit of
/// one message this bounds the memory.
pub const MAX_SESSIONS: usize = 16;
/// Number of responses kept to answer retransmitted requests.
const MAX_KEPT_RESPONSES: usize = 64;
/// How long signing off may take before the program just ends.
const FAREWELL: Duration = Duration::from_secs(2);
/// Connections that we open are numbered from here on, those of the caller below.
const FIRST_OWN_CONNECTION: u64 = 1 << 63;

/// Configuration of a receiver.
#[derive(Debug, Clone)]
pub struct ReceiverConfig {
    /// The user's address.
    pub address: String,
    /// The address that receives SIP.
    pub local: OwnAddresses,
    /// For challenges of the registrar.
    pub credentials: Option<Credentials>,
    /// Where to register; `None`: listen only.
    pub registration: Option<RegistrationConfig>,
    /// Destination of our requests: the routes to the outbound proxy, or to the registrar, best
    /// first. Without any, notifications go back to the source of the message, and nothing is
    /// registered.
    pub outbound: Vec<Way>,
    /// Our identity in notifications, as asserted by a trusted element (P-Asserted-Identity). A
    /// user agent normally must not do this; it is for testing a server that trusts this machine.
    pub asserted: Option<String>,
    /// The address that receives MSRP, for the answer.
    pub msrp: SocketAddr,
    /// The transport of MSRP.
    pub msrp_transport: Transport,
    /// The fingerprint of our certificate, if we have one.
    pub fingerprint: Option<Fingerprint>,
    /// Maximum length of a message in bytes.
    pub max_size: u64,
    /// Refuses every message with this code, to act as a recipient that rejects messages.
    pub reject: Option<StatusCode>,
    /// Release in User-Agent and Server.
    pub oma_release: String,
}

/// A completely received message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The message as an object of the message store.
    pub object: StoredMessage,
    /// The source of its request.
    pub came: Way,
    /// Whether it came over MSRP.
    pub is_large: bool,
    /// The list of the other recipients, if the sender shows one: URIs with their role (`to`,
    /// `cc`).
    pub history: Vec<(String, String)>,
}

/// An event for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiverEvent {
    /// Registered.
    Registered {
        /// The lifetime.
        seconds: u32,
        /// The Service-Route for our requests.
        routes: Vec<String>,
    },
    /// Not registered, although all servers have been tried.
    NotRegistered {
        /// The failure of the last one.
        failure: Failure,
        /// Time until the next attempt. `None`: given up, since it has never succeeded.
        again: Option<Duration>,
    },
    /// A large message is announced.
    Announced {
        /// The session's number.
        session: u64,
        /// The sender.
        from: String,
        /// Its size, if announced.
        bytes: Option<u64>,
    },
    /// Part of a large message has arrived.
    Progress {
        /// The session's number.
        session: u64,
        /// Bytes received so far.
        bytes: u64,
    },
    /// A message has arrived.
    Message {
        /// The session's number if it came over MSRP.
        session: Option<u64>,
        /// The message.
        received: Box<Received>,
    },
    /// A message has arrived that was received before; its sender gets the answer again.
    Repeated {
        /// The session's number if it came over MSRP.
        session: Option<u64>,
    },
    /// A notification about a message of ours.
    Notification(Box<Notification>),
    /// One of our notifications has been answered.
    Notified {
        /// Its Request-URI.
        to: String,
        /// Its disposition.
        disposition: Disposition,
        /// The code of the 2xx.
        result: Result<u16, Failure>,
    },
    /// A large message will not arrive.
    Failed {
        /// The session's number.
        session: u64,
        /// The reason.
        words: String,
    },
    /// A message was refused, because of [`ReceiverConfig::reject`] or a limit.
    Refused(StatusCode),
    /// After [`Receiver::stop`]: no more events.
    Stopped,
}

/// An action for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiverOutput {
    /// Send these bytes.
    Sip(Way, Bytes),
    /// Open a connection with this number.
    ConnectMsrp(ConnectionId, MsrpTarget),
    /// Close a connection, once its pending output is written.
    CloseMsrp(ConnectionId),
    /// An event for the user.
    Event(ReceiverEvent),
}

/// A notification in progress.
#[derive(Debug)]
struct Notifying {
    number: u64,
    to: String,
    disposition: Disposition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Register,
    Unregister,
    /// BYE or UPDATE in the session with this number.
    Bye(u64),
    Refresh(u64),
    /// The notification with this number.
    Notify(u64),
}

/// Receives messages.
#[derive(Debug)]
pub struct Receiver {
    config: ReceiverConfig,
    random: Random,
    uac: Uac<Purpose>,
    registration: Option<Registration>,
    /// The outbound route in use.
    server: usize,
    tag: String,
    sessions: Vec<Session>,
    next_session: u64,
    next_connection: u64,
    next_notification: u64,
    notifying: Vec<Notifying>,
    /// Service-Route, for our requests.
    routes: Vec<String>,
    connections: Vec<MsrpConnection>,
    known: Known,
    /// By branch and method.
    kept: VecDeque<(String, Bytes)>,
    /// Deadline for signing off.
    stopping: Option<Instant>,
    stopped: bool,
    is_leaving: bool,
    is_unregistering: bool,
    output: VecDeque<ReceiverOutput>,
}

impl Receiver {
    /// A receiver; it registers with [`start`](Self::start).
    pub fn new(config: ReceiverConfig, random: Random) -> Self {
        Self {
            uac: Uac::new(config.local, config.credentials.clone(), random),
            random,
            registration: None,
            server: 0,
            tag: token(random),
            sessions: Vec::new(),
            next_session: 1,
            next_connection: FIRST_OWN_CONNECTION,
            next_notification: 1,
            notifying: Vec::new(),
            routes: Vec::new(),
            connections: Vec::new(),
            known: Known::new(random),
            kept: VecDeque::new(),
            stopping: None,
            stopped: false,
            is_leaving: false,
            is_unregistering: false,
            output: VecDeque::new(),
            config,
        }
    }

    /// Registers, if configured.
    pub fn start(&mut self, now: Instant) {
        let config = self.config.registration.clone();
        let Some(config) = config.filter(|_| self.outbound().is_some()) else {
            return;
        };
        let names = SipNames {
            call_id: token(self.random),
            tag: token(self.random),
            cseq: 1,
        };
        let registration = Registration::new(config, &self.config.address, names);
        self.registration = Some(registration);
        self.register(now);
    }

    /// The route of our requests, if they have their own.
    fn outbound(&self) -> Option<Way> {
        let ways = &self.config.outbound;
        ways.get(self.server % ways.len().max(1)).copied()
    }

    /// The route to the registrar, if there is one: requests may arrive over its connection (RFC
    /// 5626 §5.3).
    pub fn registrar(&self) -> Option<Way> {
        self.outbound().filter(|_| self.registration.is_some())
    }

    /// The connection to this peer is lost, for this reason. Requests waiting for an answer are
    /// sent again or have failed; if it was the registrar, requests may have arrived over that
    /// connection, so the user is registered again.
    pub fn handle_way_lost(&mut self, now: Instant, way: Way, words: &str) {
        for event in self.uac.handle_way_lost(way) {
            if let UacEvent::Lost(purpose) = event {
                self.handle_failure(now, purpose, Failure::Unreachable(words.to_owned()));
            }
        }
        let is_connection = way.transport.is_reliable() && self.outbound() == Some(way);
        if let Some(registration) = self.registration.as_mut().filter(|_| is_connection) {
            registration.renew(now);
        }
    }

    fn register(&mut self, now: Instant) {
        self.send_register(now, Purpose::Register);
    }

    fn send_register(&mut self, now: Instant, purpose: Purpose) {
        let user_agent = super::user_agent(&self.config.oma_release);
        let way = self.outbound();
        if let (Some(registration), Some(way)) = (&mut self.registration, way) {
            let expires = match purpose {
                Purpose::Unregister => 0,
                _ => registration.expires(),
            };
            let contact = contact(&self.config, way.transport);
            let request = registration.request(&contact, expires, &user_agent);
            let servers = self.config.outbound.len();
            self.uac
                .set_has_next(registration.servers_tried + 1 < servers);
            self.uac.send(now, way, purpose, request);
        }
    }

    /// The registrar has refused. If it was unreachable, the next one is tried (RFC 3263 §4.3);
    /// after all of them, registration is retried later, unless it never succeeded.
    fn handle_not_registered(&mut self, now: Instant, failure: Failure) {
        let is_staying = self.stopping.is_none();
        let Some(registration) = self.registration.as_mut().filter(|_| is_staying) else {
            return;
        };
        registration.servers_tried += 1;
        let is_last = registration.servers_tried >= self.config.outbound.len();
        if failure.is_for_next_server() {
            self.server += 1;
            if !is_last {
                return self.register(now);
            }
        }
        let retry_after = match &failure {
            Failure::Refused(refusal) | Failure::Unauthenticated(refusal) => refusal.retry_after,
            _ => None,
        };
        let again = registration
            .has_succeeded
            .then(|| registration.retry(now, retry_after, self.random));
        self.event(ReceiverEvent::NotRegistered { failure, again });
    }

    /// Signs off: ends the sessions and removes the registration. [`ReceiverEvent::Stopped`]
    /// reports completion.
    pub fn stop(&mut self, now: Instant) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(now + FAREWELL);
        let numbers: Vec<u64> = self.sessions.iter().map(|session| session.number).collect();
        for number in numbers {
            self.end_session(now, number, "the receiver was stopped");
        }
        if self.registration.is_some() {
            self.is_unregistering = true;
            self.send_register(now, Purpose::Unregister);
        } else {
            self.finish_when_done();
        }
    }

    /// Accepts no more sessions, and stops once the running ones have ended.
    pub fn stop_when_idle(&mut self, now: Instant) {
        self.is_leaving = true;
        self.leave_when_idle(now);
    }

    fn leave_when_idle(&mut self, now: Instant) {
        if self.is_leaving && self.sessions.is_empty() {
            self.stop(now);
        }
    }

    /// Signed off; waits for pending notifications, within the time limit for signing off.
    fn finish_when_done(&mut self) {
        if self.notifying.is_empty() && !self.is_unregistering {
            self.finish();
        }
    }

    fn unregistered(&mut self) {
        self.is_unregistering = false;
        self.finish_when_done();
    }

    fn finish(&mut self) {
        if !self.stopped {
            self.stopped = true;
            self.event(ReceiverEvent::Stopped);
        }
    }

    /// A SIP message has arrived.
    pub fn handle_sip(&mut self, now: Instant, message: Message, way: Way) {
        let Some(method) = message.method().map(str::to_owned) else {
            if let Some(event) = self.uac.handle_response(now, message) {
                self.handle_uac(now, event);
            }
            return;
        };
        let key = format!("{} {method}", branch_of(&message).unwrap_or_default());
        if let Some((_, bytes)) = self.kept.iter().find(|(known, _)| *known == key) {
            let bytes = bytes.clone();
            let back = way_back(&message, way);
            return self.output.push_back(ReceiverOutput::Sip(back, bytes));
        }
        if matches!(method.as_str(), "MESSAGE" | "INVITE" | "UPDATE") && is_encoded(&message) {
            let code = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return self.respond(&message, way, code, accepted());
        }
        match method.as_str() {
            "ACK" => self.handle_ack(&message),
            "MESSAGE" => self.handle_message(&message, way),
            "INVITE" => self.handle_invite(now, message, way),
            "BYE" => self.handle_bye(now, &message, way),
            "UPDATE" => self.handle_update(now, &message, way),
            // All our answers are final at once, so there is nothing to cancel.
            "CANCEL" => {
                let branch = branch_of(&message).unwrap_or_default();
                let invite = format!("{branch} INVITE");
                let code = match self.kept.iter().any(|(known, _)| *known == invite) {
                    true => StatusCode::OK,
                    false => StatusCode::CALL_TRANSACTION_DOES_NOT_EXIST,
                };
                self.respond(&message, way, code, Vec::new());
            }
            "OPTIONS" => {
                let mut headers = accepted();
                headers.push(("Allow", ALLOW.to_owned()));
                self.respond(&message, way, StatusCode::OK, headers);
            }
            _ => {
                let headers = vec![("Allow", ALLOW.to_owned())];
                self.respond(&message, way, StatusCode::METHOD_NOT_ALLOWED, headers);
            }
        }
    }

    fn handle_message(&mut self, request: &Message, way: Way) {
        let content = cpim_of(request);
        let notification = content.as_ref().and_then(|(cpim, _)| notification_of(cpim));
        // A notification is not a message that the user may reject.
        let reject = self.config.reject.filter(|_| notification.is_none());
        if self.refuses(request, way, reject) {
            return;
        }
        let object = match &content {
            Some((cpim, _)) => StoredMessage::of_received(request, cpim),
            // Not from a CPM client, but accepted.
            None => match text_of(request) {
                Some((kind, text)) => StoredMessage::of_plain(request, &kind, &text),
                None => {
                    let code = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                    return self.respond(request, way, code, accepted());
                }
            },
        };
        self.respond(request, way, StatusCode::OK, echoed(request));
        if let Some(notification) = notification {
            return self.event(ReceiverEvent::Notification(Box::new(notification)));
        }
        if self.known.has(request, &object) {
            return self.event(ReceiverEvent::Repeated { session: None });
        }
        let received = Received {
            object,
            came: way,
            is_large: false,
            history: content.map_or_else(Vec::new, |(_, history)| history),
        };
        self.event(ReceiverEvent::Message {
            session: None,
            received: Box::new(received),
        });
    }

    /// Whether a new message is refused before its content is read; `reject`: with this code.
    fn refuses(&mut self, request: &Message, way: Way, reject: Option<StatusCode>) -> bool {
        let required = texts(request, HeaderName::Require);
        let known = ["timer", "recipient-list-message", "recipient-list-invite"];
        let unknown = option_tag::without(required.iter().map(AsRef::as_ref), &known);
        if let Some(unknown) = unknown.filter(|unknown| !unknown.is_empty()) {
            let headers = vec![("Unsupported", unknown)];
            self.respond(request, way, StatusCode::BAD_EXTENSION, headers);
            return true;
        }
        let Some(code) = reject else {
            return false;
        };
        self.respond(request, way, code, Vec::new());
        self.event(ReceiverEvent::Refused(code));
        true
    }

    fn handle_uac(&mut self, now: Instant, event: UacEvent<Purpose>) {
        match event {
            UacEvent::Response {
                purpose,
                request,
                message,
            } => {
                let Some(status) = message.status().filter(|status| !status.is_provisional())
                else {
                    return;
                };
                match purpose {
                    Purpose::Register => self.handle_registered(now, status, &request, &message),
                    Purpose::Unregister => self.unregistered(),
                    Purpose::Notify(number) => {
                        let result = match status.is_success() {
                            true => Ok(status.as_u16()),
                            false => Err(Failure::of(&message, status)),
                        };
                        self.handle_notified(number, result);
                    }
                    Purpose::Bye(_) => {}
                    Purpose::Refresh(number) => {
                        self.handle_refreshed(now, number, status, &request, &message);
                    }
                }
            }
            UacEvent::TimedOut(purpose) | UacEvent::Lost(purpose) => {
                let method = match purpose {
                    Purpose::Register | Purpose::Unregister => "REGISTER",
                    Purpose::Bye(_) => "BYE",
                    Purpose::Refresh(_) => "UPDATE",
                    Purpose::Notify(_) => "MESSAGE",
                };
                self.handle_failure(now, purpose, Failure::NoAnswer(method));
            }
            UacEvent::Again { .. } => {}
        }
    }

    /// A request of ours got no final response.
    fn handle_failure(&mut self, now: Instant, purpose: Purpose, failure: Failure) {
        match purpose {
            Purpose::Register => self.handle_not_registered(now, failure),
            Purpose::Unregister => self.unregistered(),
            Purpose::Notify(number) => self.handle_notified(number, Err(failure)),
            Purpose::Refresh(number) => {
                self.end_session(now, number, "the session refresh was not answered");
            }
            Purpose::Bye(_) => {}
        }
    }

    fn handle_registered(
        &mut self,
        now: Instant,
        status: StatusCode,
        request: &super::OutRequest,
        response: &Message,
    ) {
        let Some(registration) = &mut self.registration else {
            return;
        };
        match registration.handle_response(now, status, request, response) {
            Registered::For(seconds, routes) => {
                self.routes.clone_from(&routes);
                self.event(ReceiverEvent::Registered { seconds, routes });
            }
            Registered::Again(request) => {
                if let Some(way) = self.outbound() {
                    self.uac.send(now, way, Purpose::Register, request);
                }
            }
            Registered::Refused(status) => {
                self.handle_not_registered(now, Failure::of(response, status));
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.stopped {
            return None;
        }
        let registration = self
            .registration
            .as_ref()
            .filter(|_| self.stopping.is_none());
        let sessions = self.sessions.iter().filter_map(|session| {
            let again = session.unacknowledged.as_ref().map(|u| u.at.min(u.until));
            let timer = session.timer.as_ref().map(SessionTimer::deadline);
            let times = [again, timer, session.endpoint.poll_timeout()];
            times.into_iter().flatten().min()
        });
        let others = [
            self.uac.poll_timeout(),
            registration.and_then(Registration::poll_timeout),
            self.stopping,
        ];
        sessions.chain(others.into_iter().flatten()).min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        for event in self.uac.handle_timeout(now) {
            self.handle_uac(now, event);
        }
        if self.stopping.is_some_and(|until| until <= now) {
            self.finish();
        }
        let registration = self
            .registration
            .as_ref()
            .and_then(Registration::poll_timeout);
        if self.stopping.is_none() && registration.is_some_and(|at| at <= now) {
            self.register(now);
        }
        let (mut ended, mut refreshes) = (Vec::new(), Vec::new());
        for session in &mut self.sessions {
            session.endpoint.handle_timeout(now);
            if let Some(waiting) = &mut session.unacknowledged {
                if waiting.until <= now {
                    ended.push((session.number, "its ACK never came"));
                } else if waiting.at <= now {
                    waiting.interval = (waiting.interval * 2).min(T2);
                    waiting.at = now + waiting.interval;
                    let branch = branch_of(&session.invite).unwrap_or_default();
                    let key = format!("{branch} INVITE");
                    if let Some((_, bytes)) = self.kept.iter().find(|(known, _)| *known == key) {
                        let back = way_back(&session.invite, session.way);
                        self.output
                            .push_back(ReceiverOutput::Sip(back, bytes.clone()));
                    }
                }
            }
            match session.timer.as_mut().and_then(|timer| timer.poll(now)) {
                Some(Due::Expired) => ended.push((session.number, "the session timer ran out")),
                Some(Due::Refresh(method)) => refreshes.push((session.number, method)),
                None => {}
            }
        }
        for (number, method) in refreshes {
            self.refresh(now, number, method);
        }
        for (number, words) in ended {
            self.end_session(now, number, words);
        }
    }

    /// The next action.
    pub fn poll_output(&mut self) -> Option<ReceiverOutput> {
        if let Some((way, bytes)) = self.uac.poll_output() {
            return Some(ReceiverOutput::Sip(way, bytes));
        }
        self.output.pop_front()
    }

    fn event(&mut self, event: ReceiverEvent) {
        self.output.push_back(ReceiverOutput::Event(event));
    }

    fn respond(
        &mut self,
        request: &Message,
        way: Way,
        code: StatusCode,
        headers: Vec<(&'static str, String)>,
    ) {
        let bytes = self.respond_with(request, way, code, headers, None);
        self.keep(request, bytes);
    }

    fn respond_with(
        &mut self,
        request: &Message,
        way: Way,
        code: StatusCode,
        mut headers: Vec<(&'static str, String)>,
        sdp: Option<Bytes>,
    ) -> Bytes {
        headers.push(("Server", super::user_agent(&self.config.oma_release)));
        let body = sdp.map(|sdp| ("application/sdp", sdp));
        let response = OutResponse {
            code,
            tag: &self.tag,
            headers,
            body,
        };
        let bytes = response.write(request, way);
        let back = way_back(request, way);
        self.output
            .push_back(ReceiverOutput::Sip(back, bytes.clone()));
        bytes
    }

    fn keep(&mut self, request: &Message, bytes: Bytes) {
        if self.kept.len() == MAX_KEPT_RESPONSES {
            self.kept.pop_front();
        }
        let branch = branch_of(request).unwrap_or_default();
        let method = request.method().unwrap_or_default();
        self.kept.push_back((format!("{branch} {method}"), bytes));
    }
}

/// The receiver's Contact.
fn contact(config: &ReceiverConfig, transport: SipTransport) -> String {
    let parameter = match transport {
        SipTransport::Udp => "",
        SipTransport::Tcp => ";transport=tcp",
        SipTransport::Tls => ";transport=tls",
    };
    let user = cpm_wire::sip::Uri::parse(&config.address)
        .ok()
        .and_then(|uri| uri.user());
    format!(
        "sip:{}@{}{parameter}",
        user.unwrap_or("receiver"),
        config.local.of(transport)
    )
}

/// Accepted content types and encodings.
fn accepted() -> Vec<(&'static str, String)> {
    let types = "message/cpim, text/plain, application/sdp, application/resource-lists+xml, multipart/mixed";
    vec![
        ("Accept", types.to_owned()),
        ("Accept-Encoding", "identity".to_owned()),
    ]
}
