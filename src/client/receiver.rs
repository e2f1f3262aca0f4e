//! Receiving messages: registers, answers MESSAGE and INVITE, takes what comes over MSRP.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::mime::{Entity, EntityFields};
use crate::msrp::{MsrpUri, Status};
use crate::sdp::{
    AcceptedContent, Fingerprint, MsrpMedia, OwnMedia, Role, SessionDescription, Transport,
    message_answer,
};
use crate::session::{
    Accepts, ConnectionId, Endpoint, EndpointConfig, EndpointEvent, MessageKey, RESPONSE_TIMEOUT,
};
use crate::sip::{HeaderName, Message, StatusCode, option_tag, warning_value};

use super::dialog::{Dialog, Order};
use super::digest::Credentials;
use super::identifiers::{Random, number, token};
use super::message::percent_encoded;
use super::msrp_receiver::MsrpConnection;
use super::outcome::{Failure, Refusal};
use super::registration::{Registered, Registration, RegistrationConfig};
use super::request::{OutResponse, SipNames, branch_of, tag_of, text, texts, way_back};
use super::sender::{MsrpTarget, sdp_of};
use super::session_timer::{Due, Refresher, SessionTimer, session_expires};
use super::stored::StoredMessage;
use super::transaction::{T1, T2, TIMEOUT};
use super::uac::{Uac, UacEvent};
use super::{ALLOW, SipTransport, Way};

/// Most sessions at once; the next INVITE is answered 486. With the size limit of one message this bounds the memory.
pub const MAX_SESSIONS: usize = 16;
/// Responses that are kept to answer requests that come once more.
const MAX_KEPT_RESPONSES: usize = 64;
/// How long an end of ours may take to sign off before it just leaves.
const FAREWELL: Duration = Duration::from_secs(2);
/// Connections that we open ourselves have their numbers from here on, those of the caller below.
const FIRST_OWN_CONNECTION: u64 = 1 << 63;

/// What a receiver has to know of its surroundings.
#[derive(Debug, Clone)]
pub struct ReceiverConfig {
    /// The user's address.
    pub address: String,
    /// Where SIP comes in.
    pub local: SocketAddr,
    /// For when the registrar asks.
    pub credentials: Option<Credentials>,
    /// Where to register; `None`: only listen.
    pub registration: Option<RegistrationConfig>,
    /// Where MSRP comes in: what the answer says.
    pub msrp: SocketAddr,
    /// What carries MSRP.
    pub msrp_transport: Transport,
    /// The fingerprint of our certificate, if we have one.
    pub fingerprint: Option<Fingerprint>,
    /// Largest message in bytes.
    pub max_size: u64,
    /// Refuses every message with this code, to play an unwilling recipient.
    pub reject: Option<StatusCode>,
    /// Release in User-Agent and Server.
    pub oma_release: String,
}

/// A message that has come, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The message as an object of the message store.
    pub object: StoredMessage,
    /// Whether it came over MSRP.
    pub is_large: bool,
    /// The list of those who also got it, if the sender shows one: URIs with their role (`to`, `cc`).
    pub history: Vec<(String, String)>,
}

/// What the user may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiverEvent {
    /// Registered for so many seconds; the Service-Route for requests of ours.
    Registered(u32, Vec<String>),
    /// Not registered.
    NotRegistered(Failure),
    /// A large message is announced: the session's number, who sends it, its size in bytes.
    Announced(u64, String, Option<u64>),
    /// So many bytes of it have come.
    Progress(u64, u64),
    /// A message has come; the session's number if it came over MSRP.
    Message(Option<u64>, Box<Received>),
    /// A large message will not come.
    Failed(u64, String),
    /// A message was refused, as [`ReceiverConfig::reject`] or a limit says.
    Refused(StatusCode),
    /// After [`Receiver::stop`]: nothing more comes.
    Stopped,
}

/// What is to be done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiverOutput {
    /// These bytes are to be sent.
    Sip(Way, Bytes),
    /// A connection of this number is to be opened.
    ConnectMsrp(ConnectionId, MsrpTarget),
    /// A connection is to be closed, once what waits is written.
    CloseMsrp(ConnectionId),
    /// For the user.
    Event(ReceiverEvent),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Register,
    Unregister,
    /// BYE or UPDATE in the session of this number.
    Bye(u64),
    Refresh(u64),
}

/// Receives messages.
#[derive(Debug)]
pub struct Receiver {
    config: ReceiverConfig,
    random: Random,
    uac: Uac<Purpose>,
    registration: Option<Registration>,
    tag: String,
    sessions: Vec<Session>,
    next_session: u64,
    next_connection: u64,
    connections: Vec<MsrpConnection>,
    /// By branch and method.
    kept: VecDeque<(String, Bytes)>,
    /// Since when we sign off, and until when at most.
    stopping: Option<Instant>,
    stopped: bool,
    is_leaving: bool,
    output: VecDeque<ReceiverOutput>,
}

/// ```text
///  INVITE: 200 --ACK--> open --MSRP: whole message--> complete --BYE: 200--> gone
///    | again until ACK,          +-- BYE, 32 s without ACK, session timer: failed --> gone
/// ```
#[derive(Debug)]
struct Session {
    number: u64,
    way: Way,
    invite: Message,
    dialog: Dialog,
    endpoint: Endpoint,
    message: Option<MessageKey>,
    total: Option<u64>,
    content: BytesMut,
    is_complete: bool,
    timer: Option<SessionTimer>,
    answer: Bytes,
    /// The 200 is sent again until its ACK comes.
    unacknowledged: Option<Unacknowledged>,
}

#[derive(Debug)]
struct Unacknowledged {
    at: Instant,
    interval: Duration,
    until: Instant,
}

impl Receiver {
    /// A receiver; it registers with [`start`](Self::start).
    pub fn new(config: ReceiverConfig, random: Random) -> Self {
        Self {
            uac: Uac::new(
                &config.local.to_string(),
                config.credentials.clone(),
                random,
            ),
            random,
            registration: None,
            tag: token(random),
            sessions: Vec::new(),
            next_session: 1,
            next_connection: FIRST_OWN_CONNECTION,
            connections: Vec::new(),
            kept: VecDeque::new(),
            stopping: None,
            stopped: false,
            is_leaving: false,
            output: VecDeque::new(),
            config,
        }
    }

    /// Registers, if that is configured.
    pub fn start(&mut self, now: Instant) {
        let Some(config) = self.config.registration.clone() else {
            return;
        };
        let names = SipNames {
            call_id: token(self.random),
            tag: token(self.random),
            cseq: 1,
        };
        let contact = contact(&self.config, config.way.transport);
        let registration = Registration::new(config, &self.config.address, &contact, names);
        self.registration = Some(registration);
        self.register(now);
    }

    fn register(&mut self, now: Instant) {
        let user_agent = super::user_agent(&self.config.oma_release);
        if let Some(registration) = &mut self.registration {
            let expires = registration.expires();
            let request = registration.request(expires, &user_agent);
            self.uac
                .send(now, registration.way(), Purpose::Register, request);
        }
    }

    /// Signs off: ends the sessions and takes the registration back. [`ReceiverEvent::Stopped`] tells when it is done.
    pub fn stop(&mut self, now: Instant) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(now + FAREWELL);
        let numbers: Vec<u64> = self.sessions.iter().map(|session| session.number).collect();
        for number in numbers {
            self.end_session(now, number, "the receiver was stopped");
        }
        let user_agent = super::user_agent(&self.config.oma_release);
        match &mut self.registration {
            Some(registration) => {
                let request = registration.request(0, &user_agent);
                self.uac
                    .send(now, registration.way(), Purpose::Unregister, request);
            }
            None => self.finish(),
        }
    }

    /// Takes no more sessions, and stops once the running ones are over.
    pub fn stop_when_idle(&mut self, now: Instant) {
        self.is_leaving = true;
        self.leave_when_idle(now);
    }

    fn leave_when_idle(&mut self, now: Instant) {
        if self.is_leaving && self.sessions.is_empty() {
            self.stop(now);
        }
    }

    fn finish(&mut self) {
        if !self.stopped {
            self.stopped = true;
            self.event(ReceiverEvent::Stopped);
        }
    }

    /// A SIP message has come.
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
        match method.as_str() {
            "ACK" => self.handle_ack(&message),
            "MESSAGE" => self.handle_message(&message, way),
            "INVITE" => self.handle_invite(now, message, way),
            "BYE" => self.handle_bye(now, &message, way),
            "UPDATE" => self.handle_update(now, &message, way),
            // All our answers are final at once, so there is nothing left to be taken back.
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
                let headers = vec![("Allow", ALLOW.to_owned()), ("Accept", ACCEPT.to_owned())];
                self.respond(&message, way, StatusCode::OK, headers);
            }
            _ => {
                let headers = vec![("Allow", ALLOW.to_owned())];
                self.respond(&message, way, StatusCode::METHOD_NOT_ALLOWED, headers);
            }
        }
    }

    fn handle_message(&mut self, request: &Message, way: Way) {
        if self.refuses(request, way) {
            return;
        }
        let Some((cpim, history)) = cpim_of(request) else {
            let headers = vec![("Accept", ACCEPT.to_owned())];
            return self.respond(request, way, StatusCode::UNSUPPORTED_MEDIA_TYPE, headers);
        };
        self.respond(request, way, StatusCode::OK, echoed(request));
        let received = Received {
            object: StoredMessage::of_received(request, &cpim),
            is_large: false,
            history,
        };
        self.event(ReceiverEvent::Message(None, Box::new(received)));
    }

    /// Whether a new message is refused before its content is looked at.
    fn refuses(&mut self, request: &Message, way: Way) -> bool {
        let required = texts(request, HeaderName::Require);
        let known = ["timer", "recipient-list-message", "recipient-list-invite"];
        let unknown = option_tag::without(required.iter().map(String::as_str), &known);
        if let Some(unknown) = unknown.filter(|unknown| !unknown.is_empty()) {
            let headers = vec![("Unsupported", unknown)];
            self.respond(request, way, StatusCode::BAD_EXTENSION, headers);
            return true;
        }
        let Some(code) = self.config.reject else {
            return false;
        };
        self.respond(request, way, code, Vec::new());
        self.event(ReceiverEvent::Refused(code));
        true
    }

    fn handle_invite(&mut self, now: Instant, request: Message, way: Way) {
        if tag_of(&request, HeaderName::To).is_some() {
            return self.handle_update(now, &request, way);
        }
        if self.refuses(&request, way) {
            return;
        }
        if self.sessions.len() == MAX_SESSIONS || self.stopping.is_some() || self.is_leaving {
            return self.refuse(&request, way, StatusCode::BUSY_HERE, Vec::new());
        }
        let offer = sdp_of(&request).and_then(|sdp| SessionDescription::parse(&sdp).ok());
        let media = offer
            .as_ref()
            .and_then(|offer| MsrpMedia::of(offer, &[self.config.msrp_transport]).ok());
        let (Some(offer), Some(media)) = (&offer, media) else {
            return self.refuse(&request, way, StatusCode::NOT_ACCEPTABLE_HERE, Vec::new());
        };
        let size = media
            .file_selector
            .as_ref()
            .and_then(|selector| selector.size);
        if size.is_some_and(|size| size > self.config.max_size) {
            let host = self.config.local.ip().to_string();
            let warning = warning_value(&host, "133 Size exceeded").unwrap_or_default();
            return self.refuse(
                &request,
                way,
                StatusCode::FORBIDDEN,
                vec![("Warning", warning)],
            );
        }
        let accepted = AcceptedContent {
            types: "message/cpim".to_owned(),
            wrapped_types: "*".to_owned(),
            max_size: self.config.max_size,
        };
        let own = self.own_media();
        let answer = own
            .as_ref()
            .and_then(|own| message_answer(offer, own, &accepted).ok());
        let dialog = Dialog::of_callee(&request, &self.tag, number(self.random));
        let (Some(own), Some(answer), Some(dialog)) = (own, answer, dialog) else {
            return self.refuse(&request, way, StatusCode::NOT_ACCEPTABLE_HERE, Vec::new());
        };
        let endpoint = Endpoint::new(
            EndpointConfig {
                own: own.path,
                peer: media.path.clone(),
                accepts: Some(Accepts {
                    types: accepted.types,
                    max_size: Some(self.config.max_size),
                }),
                response_timeout: RESPONSE_TIMEOUT,
            },
            self.random,
        );
        let connect = (media.role_of_answerer() == Ok(Role::Active)).then(|| {
            let target = media.connection_target();
            MsrpTarget {
                host: target.host.to_owned(),
                port: target.port,
                secure: media.transport == Transport::Tls,
                fingerprint: media.fingerprint.clone(),
            }
        });
        let number = self.next_session;
        self.next_session += 1;
        let answer = Bytes::from(answer);
        let timer = agreed_timer(now, &request);
        let headers = self.session_headers(way, &request, timer.as_ref());
        let bytes = self.respond_with(&request, way, StatusCode::OK, headers, Some(answer.clone()));
        self.keep(&request, bytes);
        self.sessions.push(Session {
            number,
            way,
            dialog,
            endpoint,
            message: None,
            total: size,
            content: BytesMut::new(),
            is_complete: false,
            timer,
            answer,
            unacknowledged: Some(Unacknowledged {
                at: now + T1,
                interval: T1,
                until: now + TIMEOUT,
            }),
            invite: request,
        });
        let from = self
            .sessions
            .last()
            .map(|session| sender_of(&session.invite));
        self.event(ReceiverEvent::Announced(
            number,
            from.unwrap_or_default(),
            size,
        ));
        if let Some(target) = connect {
            let id = ConnectionId(self.next_connection);
            self.next_connection += 1;
            if let Some(session) = self.sessions.last_mut() {
                // New: bound to nothing yet.
                let _ = session.endpoint.bind(id);
            }
            self.output
                .push_back(ReceiverOutput::ConnectMsrp(id, target));
        }
    }

    fn refuse(
        &mut self,
        request: &Message,
        way: Way,
        code: StatusCode,
        headers: Vec<(&'static str, String)>,
    ) {
        self.respond(request, way, code, headers);
        self.event(ReceiverEvent::Refused(code));
    }

    fn own_media(&self) -> Option<OwnMedia> {
        let (address, secure) = (
            self.config.msrp,
            self.config.msrp_transport == Transport::Tls,
        );
        let host = address.ip().to_string();
        Some(OwnMedia {
            session_id: number(self.random).into(),
            address: address.ip(),
            port: address.port(),
            path: MsrpUri::new(secure, &host, address.port(), &token(self.random)).ok()?,
            transport: self.config.msrp_transport,
            fingerprint: self.config.fingerprint.clone(),
        })
    }

    fn session_headers(
        &self,
        way: Way,
        request: &Message,
        timer: Option<&SessionTimer>,
    ) -> Vec<(&'static str, String)> {
        let icsi = percent_encoded("urn:urn-7:3gpp-service.ims.icsi.oma.cpm.largemsg");
        let contact = format!(
            "<{}>;+g.3gpp.icsi-ref=\"{icsi}\"",
            contact(&self.config, way.transport)
        );
        let mut headers = vec![
            ("Contact", contact),
            ("Allow", ALLOW.to_owned()),
            ("Supported", "timer".to_owned()),
        ];
        if let Some(timer) = timer {
            let who = if timer.we_refresh { "uas" } else { "uac" };
            headers.push((
                "Session-Expires",
                format!("{};refresher={who}", timer.interval_s),
            ));
            if !timer.we_refresh {
                headers.push(("Require", "timer".to_owned()));
            }
        }
        headers.extend(echoed(request));
        headers
    }

    fn handle_ack(&mut self, request: &Message) {
        if let Some(session) = self.sessions.iter_mut().find(|s| s.dialog.owns(request)) {
            session.unacknowledged = None;
        }
    }

    fn handle_bye(&mut self, now: Instant, request: &Message, way: Way) {
        let found = self
            .sessions
            .iter_mut()
            .position(|s| s.dialog.owns(request));
        let Some(index) = found else {
            let code = StatusCode::CALL_TRANSACTION_DOES_NOT_EXIST;
            return self.respond(request, way, code, Vec::new());
        };
        if self.sessions[index].dialog.take(request) == Order::OutOfOrder {
            return self.respond(request, way, StatusCode::SERVER_INTERNAL_ERROR, Vec::new());
        }
        self.respond(request, way, StatusCode::OK, Vec::new());
        let reason = text(request, HeaderName::Reason);
        let words = match reason {
            Some(reason) => format!("the sender hung up: {reason}"),
            None => "the sender hung up".to_owned(),
        };
        let number = self.sessions[index].number;
        self.drop_session(now, number, &words);
    }

    /// UPDATE, or an INVITE inside of a dialog: a session refresh.
    fn handle_update(&mut self, now: Instant, request: &Message, way: Way) {
        let found = self.sessions.iter().position(|s| s.dialog.owns(request));
        let Some(index) = found else {
            let code = StatusCode::CALL_TRANSACTION_DOES_NOT_EXIST;
            return self.respond(request, way, code, Vec::new());
        };
        let session = &mut self.sessions[index];
        if session.dialog.take(request) == Order::OutOfOrder {
            return self.respond(request, way, StatusCode::SERVER_INTERNAL_ERROR, Vec::new());
        }
        session.timer = agreed_timer(now, request).or(session.timer);
        let is_invite = request.method() == Some("INVITE");
        if is_invite {
            let (at, until) = (now + T1, now + TIMEOUT);
            session.unacknowledged = Some(Unacknowledged {
                at,
                interval: T1,
                until,
            });
        }
        // The session stays as it is.
        let body = (is_invite || !request.body().is_empty()).then(|| session.answer.clone());
        let timer = session.timer;
        let headers = self.session_headers(way, request, timer.as_ref());
        let bytes = self.respond_with(request, way, StatusCode::OK, headers, body);
        self.keep(request, bytes);
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
                    Purpose::Unregister => self.finish(),
                    Purpose::Bye(_) => {}
                    Purpose::Refresh(number) if !status.is_success() => {
                        self.end_session(now, number, "the session refresh was refused");
                    }
                    Purpose::Refresh(_) => {}
                }
            }
            UacEvent::TimedOut(Purpose::Register) => {
                self.event(ReceiverEvent::NotRegistered(Failure::NoAnswer("REGISTER")));
            }
            UacEvent::TimedOut(Purpose::Unregister) => self.finish(),
            UacEvent::TimedOut(Purpose::Refresh(number)) => {
                self.end_session(now, number, "the session refresh was not answered");
            }
            UacEvent::TimedOut(Purpose::Bye(_)) | UacEvent::Again { .. } => {}
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
                self.event(ReceiverEvent::Registered(seconds, routes));
            }
            Registered::Again(request) => {
                let way = registration.way();
                self.uac.send(now, way, Purpose::Register, request);
            }
            Registered::Refused(status) => {
                let refusal = Refusal::of(response, status);
                let failure = match status {
                    StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                        Failure::Unauthenticated(refusal)
                    }
                    _ => Failure::Refused(refusal),
                };
                self.event(ReceiverEvent::NotRegistered(failure));
            }
        }
    }

    /// A connection was accepted; its number is below 2^63.
    pub fn handle_msrp_accepted(&mut self, connection: ConnectionId) {
        self.connections.push(MsrpConnection::new(connection));
    }

    /// A connection that was asked for is open.
    pub fn handle_msrp_connected(&mut self, now: Instant, connection: ConnectionId) {
        self.connections.push(MsrpConnection::new(connection));
        let mut sessions = self.sessions.iter_mut();
        if let Some(session) = sessions.find(|s| s.endpoint.connection() == Some(connection)) {
            session.endpoint.send_empty(now);
        }
    }

    /// Bytes have come over a connection.
    pub fn handle_msrp_bytes(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        input: &mut BytesMut,
    ) {
        let Some(index) = self.connections.iter().position(|one| one.id == connection) else {
            return input.clear();
        };
        loop {
            let sessions = &mut self.sessions;
            let find = |uri: &MsrpUri| {
                let session = sessions.iter_mut().find(|s| s.endpoint.own_uri() == uri);
                session
                    .ok_or(Status::NO_SUCH_SESSION)?
                    .endpoint
                    .bind(connection)
            };
            match self.connections[index].poll_event(input, find) {
                Ok(Some((uri, event))) => {
                    let mut sessions = self.sessions.iter_mut();
                    if let Some(session) = sessions.find(|s| *s.endpoint.own_uri() == uri) {
                        session.endpoint.handle_event(event);
                        let number = session.number;
                        self.look_at_endpoint(number);
                    }
                }
                Ok(None) => return,
                Err(_) => {
                    self.output.push_back(ReceiverOutput::CloseMsrp(connection));
                    return self.handle_msrp_closed(now, connection);
                }
            }
        }
    }

    /// A connection is gone, or could not be opened.
    pub fn handle_msrp_closed(&mut self, _now: Instant, connection: ConnectionId) {
        self.connections.retain(|one| one.id != connection);
        for session in &mut self.sessions {
            if session.endpoint.connection() == Some(connection) {
                session.endpoint.handle_disconnected();
            }
        }
    }

    /// Whether nothing should be read from this connection for now, as its peer does not read either.
    pub fn is_congested(&self, connection: ConnectionId) -> bool {
        let mut bound = self
            .sessions
            .iter()
            .filter(|s| s.endpoint.connection() == Some(connection));
        let mut connections = self.connections.iter().filter(|one| one.id == connection);
        bound.any(|session| session.endpoint.is_congested())
            || connections.any(MsrpConnection::is_congested)
    }

    /// The next bytes for a connection, to be asked for while it has room.
    pub fn poll_msrp(&mut self, connection: ConnectionId) -> Option<Bytes> {
        let own = self
            .connections
            .iter_mut()
            .find(|one| one.id == connection)?;
        own.poll_frame().or_else(|| {
            let mut sessions = self.sessions.iter_mut();
            sessions
                .by_ref()
                .filter(|session| session.endpoint.connection() == Some(connection))
                .find_map(|session| session.endpoint.poll_frame())
        })
    }

    fn look_at_endpoint(&mut self, number: u64) {
        let Some(session) = self.sessions.iter_mut().find(|s| s.number == number) else {
            return;
        };
        let mut events = Vec::new();
        while let Some(event) = session.endpoint.poll_event() {
            match event {
                EndpointEvent::Started(incoming) => {
                    // A session carries one message.
                    if session.message.is_some() {
                        session.endpoint.refuse(incoming.key, Status::STOP_SENDING);
                    } else {
                        session.message = Some(incoming.key);
                        session.total = incoming.total.or(session.total);
                    }
                }
                EndpointEvent::Content(key, bytes) if session.message == Some(key) => {
                    session.content.extend_from_slice(&bytes);
                    let so_far = session.content.len() as u64;
                    events.push(ReceiverEvent::Progress(number, so_far));
                }
                EndpointEvent::Complete(key, _) if session.message == Some(key) => {
                    session.is_complete = true;
                    let cpim = std::mem::take(&mut session.content).freeze();
                    let invite = &session.invite;
                    let received = Received {
                        object: StoredMessage::of_received(invite, &cpim),
                        is_large: true,
                        history: history_of(invite),
                    };
                    events.push(ReceiverEvent::Message(Some(number), Box::new(received)));
                }
                EndpointEvent::Aborted(key) if session.message == Some(key) => {
                    session.content = BytesMut::new();
                    session.message = None;
                }
                _ => {}
            }
        }
        for event in events {
            self.event(event);
        }
    }

    /// Ends a session with a BYE of ours.
    fn end_session(&mut self, now: Instant, number: u64, words: &str) {
        if let Some(session) = self.sessions.iter_mut().find(|s| s.number == number) {
            let mut bye = session.dialog.request("BYE");
            bye.push("Reason", "SIP;cause=480;text=\"Session ended\"");
            self.uac.send(now, session.way, Purpose::Bye(number), bye);
        }
        self.drop_session(now, number, words);
    }

    fn drop_session(&mut self, now: Instant, number: u64, words: &str) {
        let Some(index) = self.sessions.iter().position(|s| s.number == number) else {
            return;
        };
        let mut session = self.sessions.remove(index);
        // The last response of ours still has to get out.
        if let Some(connection) = session.endpoint.connection() {
            while let Some(frame) = session.endpoint.poll_frame() {
                let mut connections = self.connections.iter_mut();
                if let Some(own) = connections.find(|one| one.id == connection) {
                    own.push_frame(frame);
                }
            }
            self.output.push_back(ReceiverOutput::CloseMsrp(connection));
        }
        if !session.is_complete {
            self.event(ReceiverEvent::Failed(number, words.to_owned()));
        }
        self.leave_when_idle(now);
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
            let timer = session.timer.as_ref().map(SessionTimer::poll_timeout);
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
        let mut ended = Vec::new();
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
            match session.timer.as_ref().map(|timer| timer.due(now)) {
                Some(Due::Expired) => ended.push((session.number, "the session timer ran out")),
                Some(Due::Refresh) => {
                    let interval = session.timer.as_mut().map_or(0, |timer| {
                        timer.restart(now);
                        timer.interval_s
                    });
                    let mut request = session.dialog.request("UPDATE");
                    request.push(
                        "Contact",
                        format!("<{}>", contact(&self.config, session.way.transport)),
                    );
                    request.push("Supported", "timer");
                    request.push("Session-Expires", format!("{interval};refresher=uac"));
                    self.uac
                        .send(now, session.way, Purpose::Refresh(session.number), request);
                }
                Some(Due::Nothing) | None => {}
            }
        }
        for (number, words) in ended {
            self.end_session(now, number, words);
        }
    }

    /// What is to be done next.
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

/// Where the receiver is reached.
fn contact(config: &ReceiverConfig, transport: SipTransport) -> String {
    let parameter = match transport {
        SipTransport::Udp => "",
        SipTransport::Tcp => ";transport=tcp",
        SipTransport::Tls => ";transport=tls",
    };
    let user = crate::sip::Uri::parse(&config.address)
        .ok()
        .and_then(|uri| uri.user());
    format!(
        "sip:{}@{}{parameter}",
        user.unwrap_or("receiver"),
        config.local
    )
}

/// What a MESSAGE may have in it.
const ACCEPT: &str =
    "message/cpim, application/sdp, application/resource-lists+xml, multipart/mixed";

/// The identifiers of the message, which its answer repeats as a Controlling Function's does.
fn echoed(request: &Message) -> Vec<(&'static str, String)> {
    [
        ("Conversation-ID", HeaderName::ConversationId),
        ("Contribution-ID", HeaderName::ContributionId),
        (
            "InReplyTo-Contribution-ID",
            HeaderName::InReplyToContributionId,
        ),
    ]
    .into_iter()
    .filter_map(|(name, header)| Some((name, text(request, header)?)))
    .collect()
}

/// The session timer that our 200 agrees to: what the request asks for; without refresher the peer refreshes.
fn agreed_timer(now: Instant, request: &Message) -> Option<SessionTimer> {
    let (seconds, refresher) = session_expires(request)?;
    let supported = texts(request, HeaderName::Supported);
    let peer_can = option_tag::contains(supported.iter().map(String::as_str), "timer");
    let we_refresh = refresher == Some(Refresher::Uas) || !peer_can;
    Some(SessionTimer::new(now, seconds, we_refresh))
}

fn sender_of(request: &Message) -> String {
    let asserted = text(request, HeaderName::PAssertedIdentity);
    let value = asserted
        .or_else(|| text(request, HeaderName::From))
        .unwrap_or_default();
    let first = crate::sip::split_list(&value).next().unwrap_or_default();
    crate::sip::NameAddr::parse(first).map_or(value.clone(), |address| address.uri().to_owned())
}

fn entity_of(request: &Message) -> Option<Entity> {
    let value = |name| Some(Bytes::copy_from_slice(request.first(name)?.value()));
    let fields = EntityFields {
        content_type: value(HeaderName::ContentType),
        content_disposition: value(HeaderName::ContentDisposition),
        content_transfer_encoding: value(HeaderName::ContentTransferEncoding),
    };
    Entity::parse(fields, request.body()).ok()
}

/// The CPIM message of a MESSAGE, and who else got it.
fn cpim_of(request: &Message) -> Option<(Bytes, Vec<(String, String)>)> {
    let entity = entity_of(request)?;
    let leaf = entity
        .leaves()
        .find(|leaf| leaf.content_type().is("message", "cpim"))?;
    Some((leaf.content().ok()?, history_of(request)))
}

/// The recipient-list-history (RFC 5364 §5) of a request.
fn history_of(request: &Message) -> Vec<(String, String)> {
    let Some(entity) = entity_of(request) else {
        return Vec::new();
    };
    let list = entity
        .leaves()
        .find(|leaf| leaf.content_type().is("application", "resource-lists+xml"));
    let document = list.and_then(|leaf| leaf.content().ok());
    let lists = document.and_then(|bytes| crate::resource_lists::ResourceLists::parse(&bytes).ok());
    let Some(lists) = lists else {
        return Vec::new();
    };
    let role = |control| match control {
        Some(crate::resource_lists::CopyControl::Cc) => "cc",
        Some(crate::resource_lists::CopyControl::Bcc) => "bcc",
        Some(crate::resource_lists::CopyControl::To) | None => "to",
    };
    let entries = lists.entries();
    entries
        .map(|entry| (entry.uri.to_owned(), role(entry.copy_control).to_owned()))
        .collect()
}
