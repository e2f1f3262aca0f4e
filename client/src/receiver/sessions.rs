//! The sessions of large messages: INVITE, ACK, BYE and refreshes.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use cpm_wire::msrp::MsrpUri;
use cpm_wire::msrp_session::{Accepts, ConnectionId, Endpoint, EndpointConfig, RESPONSE_TIMEOUT};
use cpm_wire::sdp::{
    AcceptedContent, MsrpMedia, OwnMedia, Role, SessionDescription, Transport, message_answer,
};
use cpm_wire::sip::{HeaderName, Message, StatusCode, warning_value};
use cpm_wire::sip_ua::{Dialog, NotAcceptable, RefreshMethod, SessionTimer, text};

use super::session::{Session, Unacknowledged, agreed_timer, echoed, sender_of};
use super::{MAX_SESSIONS, Purpose, Receiver, ReceiverEvent, ReceiverOutput, contact};
use crate::body::sdp_of;
use crate::identifiers::{number, token};
use crate::message::percent_encoded;
use crate::request::OutRequest;
use crate::sender::MsrpTarget;
use crate::transaction::{T1, TIMEOUT};
use crate::{ALLOW, Way};

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
        // No message is offered (RFC 3264 §6.1), or one that would bypass a middlebox (RFC 6714
        // §4.3).
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
        let dialog = Dialog::of_callee(&request, &self.tag, number(self.random)).ok();
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
        let timer = agreed_timer(now, &dialog, &request);
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
                // New: not bound yet.
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
            let who = if timer.we_refresh() { "uas" } else { "uac" };
            headers.push((
                "Session-Expires",
                format!("{};refresher={who}", timer.seconds()),
            ));
            if !timer.we_refresh() {
                headers.push(("Require", "timer".to_owned()));
            }
        }
        headers.extend(echoed(request));
        headers
    }

    pub(super) fn handle_ack(&mut self, request: &Message) {
        if let Ok(index) = self.session_of(request) {
            self.sessions[index].unacknowledged = None;
        }
    }

    /// The session that a request inside a dialog is for.
    fn session_of(&mut self, request: &Message) -> Result<usize, NotAcceptable> {
        for (index, session) in self.sessions.iter_mut().enumerate() {
            match session.dialog.accept(request) {
                Ok(()) => return Ok(index),
                Err(NotAcceptable::NoDialog) => {}
                Err(why) => return Err(why),
            }
        }
        Err(NotAcceptable::NoDialog)
    }

    pub(super) fn handle_bye(&mut self, now: Instant, request: &Message, way: Way) {
        let index = match self.session_of(request) {
            Ok(index) => index,
            Err(why) => return self.respond(request, way, why.code(), Vec::new()),
        };
        self.respond(request, way, StatusCode::OK, Vec::new());
        let reason = text(request, HeaderName::Reason);
        let words = match reason {
            Some(reason) => format!("the sender hung up: {reason}"),
            None => "the sender hung up".to_owned(),
        };
        let number = self.sessions[index].number;
        self.drop_session(now, number, &words);
    }

    /// UPDATE, or an INVITE inside a dialog: a session refresh.
    pub(super) fn handle_update(&mut self, now: Instant, request: &Message, way: Way) {
        let index = match self.session_of(request) {
            Ok(index) => index,
            Err(why) => return self.respond(request, way, why.code(), Vec::new()),
        };
        let session = &mut self.sessions[index];
        session.dialog.refresh_target(request);
        session.timer = agreed_timer(now, &session.dialog, request).or(session.timer);
        let is_invite = request.method() == Some("INVITE");
        if is_invite {
            let (at, until) = (now + T1, now + TIMEOUT);
            session.unacknowledged = Some(Unacknowledged {
                at,
                interval: T1,
                until,
            });
        }
        // The session stays unchanged.
        let body = (is_invite || !request.body().is_empty()).then(|| session.answer.clone());
        let timer = session.timer;
        let headers = self.session_headers(way, request, timer.as_ref());
        let bytes = self.respond_with(request, way, StatusCode::OK, headers, body);
        self.keep(request, bytes);
    }

    /// Ends a session with a BYE of ours.
    pub(super) fn end_session(&mut self, now: Instant, number: u64, words: &str) {
        if let Some(session) = self.sessions.iter_mut().find(|s| s.number == number) {
            let mut bye = OutRequest::from(session.dialog.request("BYE"));
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
        // Our last response must still be sent.
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

    /// Refreshes a session (RFC 4028 §10), by UPDATE if the peer supports it, else with the
    /// unchanged answer.
    pub(super) fn refresh(&mut self, now: Instant, number: u64, method: RefreshMethod) {
        let mut sessions = self.sessions.iter_mut();
        let Some(session) = sessions.find(|one| one.number == number) else {
            return;
        };
        let Some(timer) = &session.timer else { return };
        let is_invite = method == RefreshMethod::Invite;
        let method = if is_invite { "INVITE" } else { "UPDATE" };
        let mut request = OutRequest::from(session.dialog.request(method));
        let contact = contact(&self.config, session.way.transport);
        request.push("Contact", format!("<{contact}>"));
        request.push("Supported", "timer");
        request.push("Session-Expires", timer.request_value());
        if let Some(min_se) = timer.request_min_se() {
            request.push("Min-SE", min_se.to_string());
        }
        if is_invite {
            request.push("Allow", ALLOW);
            request.body = Some(("application/sdp".to_owned(), session.answer.clone()));
        }
        let way = session.way;
        self.uac.send(now, way, Purpose::Refresh(number), request);
    }

    pub(super) fn handle_refreshed(
        &mut self,
        now: Instant,
        number: u64,
        status: StatusCode,
        request: &OutRequest,
        response: &Message,
    ) {
        let random = self.random;
        let mut sessions = self.sessions.iter_mut();
        let Some(session) = sessions.find(|one| one.number == number) else {
            return;
        };
        session.dialog.sent(request.cseq);
        let timer = session.timer.as_mut();
        if status.is_success() {
            session.dialog.refresh_target(response);
            session.timer = session
                .timer
                .and_then(|it| it.handle_success(now, response));
            if request.method == "INVITE" {
                let ack = session.dialog.ack_to(request.cseq).into();
                self.uac.send_ack(session.way, &ack);
            }
        } else if timer.is_some_and(|it| !it.handle_refusal(now, status, Some(response), random)) {
            self.end_session(now, number, "the session refresh was refused");
        }
    }
}
