//! The sessions of large messages: INVITE, ACK, BYE and refreshes.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use cpm_wire::msrp::MsrpUri;
use cpm_wire::msrp_session::{
    Accepts, ConnectionId, Endpoint, EndpointConfig, MessageKey, RESPONSE_TIMEOUT,
};
use cpm_wire::sdp::{
    AcceptedContent, MsrpMedia, OwnMedia, Role, SessionDescription, Transport, message_answer,
};
use cpm_wire::sip::{HeaderName, Message, StatusCode, option_tag, warning_value};

use super::{MAX_SESSIONS, Purpose, Receiver, ReceiverEvent, ReceiverOutput, contact};
use crate::body::sdp_of;
use crate::dialog::{Dialog, Order};
use crate::identifiers::{number, token};
use crate::message::percent_encoded;
use crate::request::{text, texts};
use crate::sender::MsrpTarget;
use crate::session_timer::{Refresher, SessionTimer, session_expires};
use crate::transaction::{T1, TIMEOUT};
use crate::{ALLOW, Way};

/// ```text
///  INVITE: 200 --ACK--> open --MSRP: whole message--> complete --BYE: 200--> gone
///    | again until ACK,          +-- BYE, 32 s without ACK, session timer: failed --> gone
/// ```
#[derive(Debug)]
pub(super) struct Session {
    pub(super) number: u64,
    pub(super) way: Way,
    pub(super) invite: Message,
    pub(super) dialog: Dialog,
    pub(super) endpoint: Endpoint,
    pub(super) message: Option<MessageKey>,
    pub(super) total: Option<u64>,
    pub(super) content: BytesMut,
    pub(super) is_complete: bool,
    pub(super) timer: Option<SessionTimer>,
    pub(super) answer: Bytes,
    /// The 200 is sent again until its ACK comes.
    pub(super) unacknowledged: Option<Unacknowledged>,
}

#[derive(Debug)]
pub(super) struct Unacknowledged {
    pub(super) at: Instant,
    pub(super) interval: Duration,
    pub(super) until: Instant,
}

impl Receiver {
    pub(super) fn handle_invite(&mut self, now: Instant, request: Message, way: Way) {
        if request.tag_in(HeaderName::To).is_some() {
            return self.handle_update(now, &request, way);
        }
        if self.refuses(&request, way, self.config.reject) {
            return;
        }
        if self.sessions.len() == MAX_SESSIONS || self.stopping.is_some() || self.is_leaving {
            return self.refuse(&request, way, StatusCode::BUSY_HERE, Vec::new());
        }
        let offer = sdp_of(&request).and_then(|sdp| SessionDescription::parse(&sdp).ok());
        let media = offer
            .as_ref()
            .and_then(|offer| MsrpMedia::of(offer, &[self.config.msrp_transport]).ok());
        // No message is offered (RFC 3264 §6.1), or one that would be sent past a middlebox (RFC 6714 §4.3).
        let media = media.filter(|media| media.direction.sends() && !media.lacks_cema());
        let (Some(offer), Some(media)) = (&offer, media) else {
            return self.refuse(&request, way, StatusCode::NOT_ACCEPTABLE_HERE, Vec::new());
        };
        let size = media
            .file_selector
            .as_ref()
            .and_then(|selector| selector.size);
        if size.is_some_and(|size| size > self.config.max_size) {
            let host = self.config.local.plain.ip().to_string();
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
        let connect = (media.role_of_answerer() == Role::Active).then(|| {
            let target = media.connection_target(media.msrp_cema);
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
        self.event(ReceiverEvent::Announced {
            session: number,
            from: from.unwrap_or_default(),
            bytes: size,
        });
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

    pub(super) fn refuse(
        &mut self,
        request: &Message,
        way: Way,
        code: StatusCode,
        headers: Vec<(&'static str, String)>,
    ) {
        self.respond(request, way, code, headers);
        self.event(ReceiverEvent::Refused(code));
    }

    pub(super) fn own_media(&self) -> Option<OwnMedia> {
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

    pub(super) fn session_headers(
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

    pub(super) fn handle_ack(&mut self, request: &Message) {
        if let Some(session) = self.sessions.iter_mut().find(|s| s.dialog.owns(request)) {
            session.unacknowledged = None;
        }
    }

    pub(super) fn handle_bye(&mut self, now: Instant, request: &Message, way: Way) {
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
    pub(super) fn handle_update(&mut self, now: Instant, request: &Message, way: Way) {
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

    /// Ends a session with a BYE of ours.
    pub(super) fn end_session(&mut self, now: Instant, number: u64, words: &str) {
        if let Some(session) = self.sessions.iter_mut().find(|s| s.number == number) {
            let mut bye = session.dialog.request("BYE");
            bye.push("Reason", "SIP;cause=480;text=\"Session ended\"");
            self.uac.send(now, session.way, Purpose::Bye(number), bye);
        }
        self.drop_session(now, number, words);
    }

    pub(super) fn drop_session(&mut self, now: Instant, number: u64, words: &str) {
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
            self.event(ReceiverEvent::Failed {
                session: number,
                words: words.to_owned(),
            });
        }
        self.leave_when_idle(now);
    }
}

/// The identifiers of the message, which its answer repeats as a Controlling Function's does.
pub(super) fn echoed(request: &Message) -> Vec<(&'static str, String)> {
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
pub(super) fn agreed_timer(now: Instant, request: &Message) -> Option<SessionTimer> {
    let (seconds, refresher) = session_expires(request)?;
    let supported = texts(request, HeaderName::Supported);
    let peer_can = option_tag::contains(supported.iter().map(String::as_str), "timer");
    let we_refresh = refresher == Some(Refresher::Uas) || !peer_can;
    Some(SessionTimer::new(now, seconds, we_refresh))
}

pub(super) fn sender_of(request: &Message) -> String {
    let asserted = request.uri_in(HeaderName::PAssertedIdentity);
    asserted
        .or_else(|| request.uri_in(HeaderName::From))
        .unwrap_or_default()
}
