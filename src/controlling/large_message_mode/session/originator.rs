//! The originator's side: its answer, its ACK, its end, its refreshes.

use std::time::Instant;

use bytes::Bytes;

use super::super::Side;
use super::super::leg::{LegOutcome, LegState};
use super::super::offer_answer::{self, SDP_CONTENT_TYPE, offer_as_answer};
use super::super::outgoing_invite::ALLOW;
use super::{MessageState, Session, Stage, TransactionKey, place_of};
use crate::controlling::header_fields::put;
use crate::controlling::large_mode_settings::{
    ACK_TIMEOUT, CONNECT_TIMEOUT, RELAY_TIMEOUT, SENDER_BYE_TIMEOUT,
};
use crate::msrp_control::RelayCommand;
use crate::sdp::SessionDescription;
use crate::sip::{HeaderBlock, HeaderName, Message, StatusCode};
use crate::sip_ua::{
    Agreed, MIN_SESSION_EXPIRES_S, NotAcceptable, Refresher, SessionExpires, SessionTimer, min_se,
    supports_timer,
};

impl Session {
    pub(super) fn accept_from_originator(
        &mut self,
        request: &Message,
    ) -> Result<(), NotAcceptable> {
        match self.stage {
            Stage::Answered | Stage::Abandoned | Stage::Confirmed => self.dialog.accept(request),
            _ => Err(NotAcceptable::NoDialog),
        }
    }

    /// The first 2xx answers the originator (9.1.2-200). False: it cannot. `None`: all recipients
    /// are away, and the message is taken for them (readings N74).
    pub(super) fn answer_originator(
        &mut self,
        now: Instant,
        first: Option<&SessionDescription>,
    ) -> bool {
        let limit = self.settings.policy.max_message_bytes;
        let Ok((answer, ends)) = offer_answer::answer(&self.offer, first, &self.own, limit) else {
            return false;
        };
        if let Some(note) = self.head_note.take() {
            self.relay(RelayCommand::NoteHead(note));
        }
        if self.service.content_space().is_some() {
            self.relay(RelayCommand::Store);
        }
        self.relay(RelayCommand::OpenOriginator(Box::new(ends)));
        let mut headers = HeaderBlock::new();
        self.put_identifiers(&mut headers);
        let asked = SessionExpires::of(&self.invite).ok().flatten();
        // Without `timer` in Supported, nothing would refresh (readings N1).
        if supports_timer(&self.invite) {
            // A request without interval may still specify the minimum that it accepts (RFC 4028
            // §9).
            let least = min_se(&self.invite).unwrap_or(0);
            let usual = self.settings.policy.session_expires_s.max(least);
            let seconds = asked.map_or(usual, |asked| asked.seconds);
            let refresher = asked.and_then(|asked| asked.refresher);
            let we_refresh = refresher == Some(Refresher::Uas);
            let allows_update = self.dialog.allows_update();
            let timer = SessionTimer::new(
                now,
                Agreed {
                    seconds,
                    shortest: MIN_SESSION_EXPIRES_S,
                    we_refresh,
                    allows_update,
                    owns_call_id: false,
                },
            );
            put_timer(&mut headers, &timer, refresher);
            self.timer = Some(timer);
        }
        put(&mut headers, "Supported", "timer");
        put(&mut headers, "Allow", ALLOW);
        put(
            &mut headers,
            "Contact",
            format!("<{}>", self.settings.contact),
        );
        put(&mut headers, "Server", self.service.product());
        put(&mut headers, "Content-Type", SDP_CONTENT_TYPE);
        let body = Bytes::copy_from_slice(answer.as_bytes());
        self.answer = Some(answer);
        self.reply_to_invite(StatusCode::OK, headers, body);
        self.stage = Stage::Answered;
        self.tell_of_deferred();
        self.ack_deadline = Some(now + ACK_TIMEOUT);
        self.stay(now + self.settings.policy.ack_wait.min(ACK_TIMEOUT));
        true
    }

    /// 9.1.2-ack-1, -2.
    pub(super) fn acknowledged(&mut self, now: Instant) {
        match self.stage {
            Stage::Answered => {
                self.stage = Stage::Confirmed;
                self.ack_deadline = None;
                self.complete_by = self.settings.policy.spool_ttl.map(|ttl| now + ttl);
                self.wake_by(self.complete_by);
                let wait = match self.message {
                    MessageState::Open => CONNECT_TIMEOUT,
                    _ => SENDER_BYE_TIMEOUT,
                };
                self.stay(now + wait);
                for number in (0..self.legs.len()).map(place_of) {
                    if self.legs[number.0 as usize].state == LegState::Answered {
                        self.confirm(now, number);
                    }
                }
            }
            Stage::Abandoned => {
                self.leave_originator(now, StatusCode::TEMPORARILY_UNAVAILABLE);
            }
            _ => {}
        }
    }

    /// Its BYE (9.1.2-bye).
    pub(super) fn originator_left(&mut self, now: Instant) {
        // The ACK is still on its way from another process, or lost: it has the 200 in any case.
        if self.stage == Stage::Answered {
            self.acknowledged(now);
        }
        self.originator_gone(now);
    }

    /// Its message will never be complete.
    pub(super) fn message_failed(&mut self, now: Instant) {
        self.lose_message();
        match self.stage {
            Stage::Answered => self.abandon(now),
            Stage::Confirmed => self.leave_originator(now, StatusCode::TEMPORARILY_UNAVAILABLE),
            Stage::Closing => self.unwind(now, StatusCode::TEMPORARILY_UNAVAILABLE),
            _ => {}
        }
    }

    /// It is unreachable, or its session has expired.
    pub(super) fn originator_lost(&mut self, now: Instant) {
        if self.stage == Stage::Confirmed {
            self.leave_originator(now, StatusCode::REQUEST_TIMEOUT);
        }
    }

    /// Sends it BYE and continues without it.
    pub(super) fn leave_originator(&mut self, now: Instant, code: StatusCode) {
        let bye = self.dialog.bye(code);
        self.request(Side::Originator, bye);
        self.originator_gone(now);
    }

    pub(super) fn originator_gone(&mut self, now: Instant) {
        self.timer = None;
        self.ack_deadline = None;
        self.close_originator();
        match self.message {
            _ if self.stage == Stage::Abandoned => {
                self.unwind(now, StatusCode::TEMPORARILY_UNAVAILABLE);
            }
            MessageState::Complete => self.deliver(now),
            MessageState::Lost => self.unwind(now, StatusCode::TEMPORARILY_UNAVAILABLE),
            MessageState::Open => {
                self.stage = Stage::Closing;
                self.stay(now + RELAY_TIMEOUT);
            }
        }
    }

    /// No recipient has answered 2xx, and none will (readings N20).
    pub(super) fn refuse_as_all_did(&mut self, now: Instant) {
        let usual = (StatusCode::TEMPORARILY_UNAVAILABLE, HeaderBlock::new());
        let (code, headers) = self.best_response.take().unwrap_or(usual);
        self.refuse_with(now, code, headers);
    }

    /// Ends an INVITE that has no final response yet.
    pub(super) fn refuse(&mut self, now: Instant, code: StatusCode) {
        self.refuse_with(now, code, HeaderBlock::new());
    }

    /// The identifiers of the INVITE, which every final response repeats.
    fn put_identifiers(&self, headers: &mut HeaderBlock) {
        for name in [
            HeaderName::ConversationId,
            HeaderName::ContributionId,
            HeaderName::InReplyToContributionId,
        ] {
            if let Some(field) = self.invite.first(name) {
                headers.push_line(&field);
            }
        }
    }

    fn refuse_with(&mut self, now: Instant, code: StatusCode, mut headers: HeaderBlock) {
        self.put_identifiers(&mut headers);
        put(&mut headers, "Server", self.service.product());
        self.reply_to_invite(code, headers, Bytes::new());
        self.unwind(now, code);
    }

    /// A session whose 200 is not acknowledged yet has become useless.
    pub(super) fn abandon(&mut self, now: Instant) {
        self.lose_message();
        self.wind_up_legs(now, StatusCode::TEMPORARILY_UNAVAILABLE);
        self.stage = Stage::Abandoned;
        self.deadline = self.ack_deadline;
        self.wake_by(self.deadline);
    }

    pub(super) fn deliver(&mut self, now: Instant) {
        self.stage = Stage::Delivering;
        self.deadline = None;
        // 9.1.2-bye-3.
        for number in (0..self.legs.len()).map(place_of) {
            let leg = &self.legs[number.0 as usize];
            if leg.state == LegState::Confirmed && leg.outcome == Some(LegOutcome::Delivered) {
                self.hang_up(now, number, StatusCode::OK);
            }
        }
    }

    /// Answers a session refresh, with the unchanged session description (readings N44).
    pub(super) fn refresh(
        &mut self,
        now: Instant,
        side: Side,
        request: &Message,
        transaction: Option<TransactionKey>,
    ) {
        // RFC 3261 §14.2, RFC 3311 §5.2: one offer at a time.
        let has_offer = !request.body().is_empty();
        let is_inviting = self
            .dialog_of(side)
            .is_some_and(|(dialog, _)| dialog.is_inviting());
        if is_inviting && (has_offer || request.method() == Some("INVITE")) {
            let code = StatusCode::REQUEST_PENDING;
            return self.reply(side, transaction, code, Vec::new(), Bytes::new());
        }
        let answer = has_offer.then(|| self.answer_again(side, request));
        if let Some(None) = answer {
            let code = StatusCode::NOT_ACCEPTABLE_HERE;
            return self.reply(side, transaction, code, Vec::new(), Bytes::new());
        }
        let asked = SessionExpires::of(request);
        let refusal = match asked {
            Err(_) => Some(StatusCode::BAD_REQUEST),
            Ok(Some(asked)) if asked.seconds < MIN_SESSION_EXPIRES_S => {
                Some(StatusCode::SESSION_INTERVAL_TOO_SMALL)
            }
            Ok(_) => None,
        };
        let mut headers = HeaderBlock::new();
        if let Some(code) = refusal {
            if code == StatusCode::SESSION_INTERVAL_TOO_SMALL {
                put(&mut headers, "Min-SE", MIN_SESSION_EXPIRES_S.to_string());
            }
            return self.reply(side, transaction, code, headers.into_bytes(), Bytes::new());
        }
        let asked = asked.ok().flatten();
        let Some((dialog, timer)) = self.dialog_of(side) else {
            return;
        };
        dialog.refresh_target(request);
        let known = timer.map(|timer| timer.seconds());
        let seconds = asked.map(|asked| asked.seconds).or(known);

        if let Some(timer) = timer {
            timer.refreshed(now);
        }
        if let Some(seconds) = seconds.filter(|_| supports_timer(request)) {
            let refresher = asked.and_then(|asked| asked.refresher);
            let we_refresh = refresher == Some(Refresher::Uas);
            let owns_call_id = side != Side::Originator;
            let allows_update = dialog.allows_update();
            let running = timer.get_or_insert_with(|| {
                SessionTimer::new(
                    now,
                    Agreed {
                        seconds,
                        shortest: MIN_SESSION_EXPIRES_S,
                        we_refresh,
                        allows_update,
                        owns_call_id,
                    },
                )
            });
            running.restart(now, seconds, we_refresh);
            put_timer(&mut headers, running, refresher);
        }
        let deadline = timer.map(|timer| timer.deadline());
        self.wake_by(deadline);
        put(&mut headers, "Supported", "timer");
        put(&mut headers, "Allow", ALLOW);
        put(
            &mut headers,
            "Contact",
            format!("<{}>", self.settings.contact),
        );
        let mut body = answer.flatten().unwrap_or_default();
        if has_offer || request.method() == Some("INVITE") {
            if !has_offer {
                body = self.description(side, false);
            }
            put(&mut headers, "Content-Type", SDP_CONTENT_TYPE);
        }
        self.reply(
            side,
            transaction,
            StatusCode::OK,
            headers.into_bytes(),
            body,
        );
    }

    /// The answer to a further offer, with our unchanged session description. `None`: the offer is
    /// not acceptable.
    fn answer_again(&self, side: Side, request: &Message) -> Option<Bytes> {
        let own = match side {
            Side::Originator => &self.own,
            Side::Leg(number) => &self.legs.get(number.0 as usize)?.own,
        };
        let ours = self.description(side, true);
        let ours = std::str::from_utf8(&ours).ok()?;
        let is_leg = side != Side::Originator;
        offer_answer::answer_again(ours, request, own, is_leg).map(Bytes::from)
    }

    /// Our session description, unchanged.
    pub(super) fn description(&self, side: Side, as_answer: bool) -> Bytes {
        match side {
            Side::Originator => Bytes::from(self.answer.clone().unwrap_or_default()),
            Side::Leg(number) => {
                let leg = &self.legs[number.0 as usize];
                let offer = offer_answer::offer(&self.offer, &leg.own, leg.offered_size, leg.cema);
                let offer = offer.unwrap_or_default();
                Bytes::from(match as_answer {
                    true => offer_as_answer(&offer, leg.role),
                    false => offer,
                })
            }
        }
    }
}

/// Session-Expires of a 2xx. The refresher is the sender of the request, unless it requested
/// otherwise (9.1.2-200-1c).
fn put_timer(headers: &mut HeaderBlock, timer: &SessionTimer, refresher: Option<Refresher>) {
    let seconds = timer.seconds();
    let name = match refresher {
        Some(Refresher::Uas) => "uas",
        _ => "uac",
    };
    put(
        headers,
        "Session-Expires",
        format!("{seconds};refresher={name}"),
    );
    if name == "uac" {
        put(headers, "Require", "timer");
    }
}
