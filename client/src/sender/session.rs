//! The session of a large message: its answer and forks, its refreshes, and requests of the peer
//! inside it.

use std::time::Instant;

use bytes::Bytes;
use cpm_wire::msrp::Path;
use cpm_wire::sdp::{MsrpMedia, NotTaken, Role, SessionDescription, Transport};
use cpm_wire::sip::{HeaderName, Message, StatusCode};
use cpm_wire::sip_ua::{
    Dialog, Due, NotAcceptable, OwnInvite, Peer, RefreshMethod, Refresher, SessionExpires,
    SessionTimer,
};

use super::{
    CONNECT_TIMEOUT, MAX_FORKS, MsrpTarget, Purpose, Sender, SenderEvent, SenderOutput, State,
};
use crate::body::{is_encoded, sdp_of};
use crate::outcome::Failure;
use crate::request::{OutRequest, OutResponse, way_back};
use crate::session_timer::agreed;
use crate::{ALLOW, Way};

impl Sender {
    pub(super) fn handle_invite_response(
        &mut self,
        now: Instant,
        status: StatusCode,
        request: &OutRequest,
        response: &Message,
    ) {
        if status.is_provisional() {
            self.is_ringing |= status != StatusCode::TRYING;
            return self.event(SenderEvent::Provisional(status.as_u16()));
        }
        self.ringing_until = None;
        if !status.is_success() {
            let failure = match self.cancelled {
                true => Failure::Cancelled,
                false => Failure::of(response, status),
            };
            let result = self.result.take().unwrap_or(Err(failure));
            return self.finish(result);
        }
        let Some(dialog) = self.acknowledge(now, request, response) else {
            let words = "a 2xx to INVITE without tag or Contact".to_owned();
            return self.finish(Err(Failure::WrongAnswer(words)));
        };
        // Without refresher it is us, because we asked for the timer (RFC 4028 §7.2).
        let expires = SessionExpires::of(response).ok().flatten();
        self.timer = expires.map(|expires| {
            let we_refresh = expires.refresher != Some(Refresher::Uas);
            SessionTimer::new(now, agreed(&dialog, expires.seconds, we_refresh, true))
        });
        self.dialog = Some(dialog);
        if self.cancelled || self.result.is_some() {
            // It crossed our CANCEL (readings N42).
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

    /// Sends the ACK for a 2xx and remembers it. `None` if the response creates no dialog: then BYE
    /// follows.
    pub(super) fn acknowledge(
        &mut self,
        now: Instant,
        request: &OutRequest,
        response: &Message,
    ) -> Option<Dialog> {
        let peer = Peer::of_response(response);
        // If its Contact is unusable, ACK and BYE go to the destination of the INVITE.
        let makes_dialog = peer.makes_dialog && !peer.tag.is_empty() && peer.target.is_some();
        let own_tag = format!(";tag={}", self.names.tag);
        let mut dialog = Dialog::of_caller(&OwnInvite {
            call_id: &request.call_id,
            from: request.from.strip_suffix(&own_tag).unwrap_or(&request.from),
            from_tag: &self.names.tag,
            to: &request.to,
            target: &request.uri,
            cseq: request.cseq,
        });
        dialog.establish(&peer);
        let mut ack = OutRequest::from(dialog.ack());
        // §22.1: the ACK has the credentials of its INVITE, since it cannot be challenged.
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
            self.acks.push((peer.tag, ack));
        }
        if !makes_dialog {
            self.hang_up_on(now, &mut dialog, "No dialog");
        }
        makes_dialog.then_some(dialog)
    }

    fn hang_up_on(&mut self, now: Instant, callee: &mut Dialog, why: &str) {
        let mut bye = OutRequest::from(callee.request("BYE"));
        bye.push("Reason", format!("SIP;cause=480;text=\"{why}\""));
        self.uac.send(now, self.config.way, Purpose::ForkBye, bye);
    }

    /// A 2xx was retransmitted: its ACK was lost. Or it comes from another fork, which is not
    /// needed.
    pub(super) fn acknowledge_again(
        &mut self,
        now: Instant,
        request: &OutRequest,
        response: &Message,
    ) {
        if !response.status().is_some_and(StatusCode::is_success) {
            return;
        }
        let tag = response.tag_in(HeaderName::To).unwrap_or_default();
        if let Some((_, ack)) = self.acks.iter().find(|(known, _)| *known == tag) {
            // That of a re-INVITE differs only in its number.
            let ack = OutRequest {
                cseq: request.cseq,
                ..ack.clone()
            };
            return self.uac.send_ack(self.config.way, &ack);
        }
        if let Some(mut fork) = self.acknowledge(now, request, response)
            && self.acks.len() < MAX_FORKS
        {
            self.hang_up_on(now, &mut fork, "Answered elsewhere");
        }
    }

    /// The peer's MSRP end, from its answer.
    pub(super) fn read_answer(&self, response: &Message) -> Result<(Path, MsrpTarget), Failure> {
        let wrong = |words: String| Failure::WrongAnswer(words);
        let sdp = sdp_of(response).ok_or_else(|| wrong("a 2xx to INVITE without SDP".into()))?;
        let answer = SessionDescription::parse(&sdp).map_err(|e| wrong(format!("SDP: {e}")))?;
        let media = MsrpMedia::of(&answer, &[self.config.msrp_transport])
            .map_err(|error| wrong(format!("SDP: {error}")))?;
        // 7.2.1.2-200-D: the client opens the connection. A peer that answers active does not
        // accept one.
        if media.role_of_offerer() == Role::Passive {
            return Err(wrong("SDP: setup:active, as if it were to connect".into()));
        }
        let size = self.outgoing.cpim.len() as u64;
        let offer = SessionDescription::parse(self.offer.as_bytes());
        let offer = offer.map_err(|e| wrong(format!("SDP: {e}")))?;
        let offered = MsrpMedia::of(&offer, &[self.config.msrp_transport])
            .map_err(|error| wrong(format!("SDP: {error}")))?;
        media.takes(&offered, Some(size)).map_err(|why| match why {
            NotTaken::Size => Failure::TooLarge(media.max_size.unwrap_or(0)),
            NotTaken::Type => wrong("SDP: it does not accept the types of the message".into()),
            NotTaken::Direction => wrong("SDP: it receives nothing".into()),
        })?;
        if media.wants_offer_without_cema() {
            return Err(wrong(
                "SDP: no msrp-cema, although c= and m= are not those of the relay in its path"
                    .into(),
            ));
        }
        let target = media.connection_target(true);
        let target = MsrpTarget {
            host: target.host.to_owned(),
            port: target.port,
            secure: media.transport == Transport::Tls,
            fingerprint: media.fingerprint.clone(),
        };
        Ok((media.path, target))
    }

    pub(super) fn look_at_session_timer(&mut self, now: Instant) {
        if !self.has_session() {
            return;
        }
        let Some(timer) = &mut self.timer else {
            return;
        };
        match timer.poll(now) {
            None => {}
            Some(Due::Expired) => self.fail(now, Failure::NoAnswer("session refresh")),
            Some(Due::Refresh(method)) => self.refresh(now, method),
        }
    }

    /// Refreshes the session (RFC 4028 §10), by UPDATE if the peer supports it, else by the same
    /// offer again.
    fn refresh(&mut self, now: Instant, method: RefreshMethod) {
        let contact = format!("<{}>", self.contact());
        let (Some(dialog), Some(timer)) = (&mut self.dialog, &self.timer) else {
            return;
        };
        let is_invite = method == RefreshMethod::Invite;
        let method = if is_invite { "INVITE" } else { "UPDATE" };
        let mut request = OutRequest::from(dialog.request(method));
        request.push("Contact", contact);
        request.push("Supported", "timer");
        // No refresher: 7.2.1.2-14 forbids the client to name itself, and the answer names one.
        request.push("Session-Expires", timer.request_seconds().to_string());
        if let Some(min_se) = timer.request_min_se() {
            request.push("Min-SE", min_se.to_string());
        }
        if is_invite {
            request.push("Allow", ALLOW);
            let offer = Bytes::from(self.offer.clone());
            request.body = Some(("application/sdp".to_owned(), offer));
        }
        self.uac
            .send(now, self.config.way, Purpose::Refresh, request);
    }

    pub(super) fn handle_refresh_response(
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
            dialog.sent(request.cseq);
        }
        if status.is_success() {
            if request.method == "INVITE"
                && let Some(dialog) = &self.dialog
            {
                let ack = dialog.ack_to(request.cseq).into();
                self.uac.send_ack(self.config.way, &ack);
            }
            let timer = self.timer.take();
            self.timer = timer.and_then(|timer| timer.handle_success(now, response));
        } else if self.has_session() {
            let random = self.random;
            let timer = self.timer.as_mut();
            let goes_on =
                timer.is_none_or(|it| it.handle_refusal(now, status, Some(response), random));
            if !goes_on {
                return self.fail(now, Failure::of(response, status));
            }
            self.look_at_session_timer(now);
        }
    }

    /// Requests inside our dialog; there are no others.
    pub(super) fn handle_request(
        &mut self,
        now: Instant,
        method: &str,
        request: &Message,
        way: Way,
    ) {
        if method == "ACK" {
            return;
        }
        let order = match &mut self.dialog {
            Some(dialog) => dialog.accept(request),
            None => Err(NotAcceptable::NoDialog),
        };
        let mut headers = Vec::new();
        let mut body = None;
        let code = match (order, method) {
            (Err(NotAcceptable::OutOfOrder), _) => NotAcceptable::OutOfOrder.code(),
            (Ok(()), "UPDATE" | "INVITE") if is_encoded(request) => {
                headers.push(("Accept-Encoding", "identity".to_owned()));
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            (Ok(()), "BYE") => StatusCode::OK,
            (Ok(()), "UPDATE" | "INVITE") => {
                headers.push(("Contact", format!("<{}>", self.contact())));
                headers.push(("Allow", ALLOW.to_owned()));
                if let Some(dialog) = &mut self.dialog {
                    dialog.refresh_target(request);
                    if let Some(asked) = SessionExpires::of(request).ok().flatten() {
                        let we = asked.refresher == Some(Refresher::Uas);
                        let timer = SessionTimer::new(now, agreed(dialog, asked.seconds, we, true));
                        let who = if we { "uas" } else { "uac" };
                        let value = format!("{};refresher={who}", timer.seconds());
                        headers.push(("Require", "timer".to_owned()));
                        headers.push(("Session-Expires", value));
                        self.timer = Some(timer);
                    }
                }
                if method == "INVITE" || !request.body().is_empty() {
                    // The session stays unchanged.
                    body = Some(("application/sdp", Bytes::from(self.offer.clone())));
                }
                StatusCode::OK
            }
            (_, "OPTIONS") => {
                headers.push(("Allow", ALLOW.to_owned()));
                StatusCode::OK
            }
            (_, "BYE" | "UPDATE" | "INVITE" | "CANCEL") => NotAcceptable::NoDialog.code(),
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
        let left = order.is_ok() && method == "BYE";
        if left && self.state != State::Done {
            // The peer ends the session: a BYE of ours would reach nobody.
            let result = match (self.state.clone(), self.result.take()) {
                (State::Ending, Some(result)) => result,
                (_, first) => first.unwrap_or(Err(Failure::PeerLeft)),
            };
            self.finish(result);
        }
    }
}
