//! Our own refreshes (RFC 4028), towards the originator and towards recipients alike.

use std::time::Instant;

use super::super::Side;
use super::super::leg::LegState;
use super::super::offer_answer::SDP_CONTENT_TYPE;
use super::super::outgoing_invite::ALLOW;
use super::{Action, Session};
use crate::controlling::header_fields::put;
use crate::sip::{HeaderBlock, Message, StatusCode};
use crate::sip_ua::Dialog;
use crate::sip_ua::{RefreshMethod, SessionTimer};

impl Session {
    /// One side's dialog and its timer.
    pub(super) fn dialog_of(
        &mut self,
        side: Side,
    ) -> Option<(&mut Dialog, &mut Option<SessionTimer>)> {
        match side {
            Side::Originator => Some((&mut self.dialog, &mut self.timer)),
            Side::Leg(number) => {
                let leg = self.legs.get_mut(number.0 as usize)?;
                Some((&mut leg.dialog, &mut leg.timer))
            }
        }
    }

    /// Sends a refresh. A re-INVITE has our session description unchanged.
    pub(super) fn send_refresh(&mut self, side: Side, method: RefreshMethod) {
        let contact = format!("<{}>", self.settings.contact);
        let description = (method == RefreshMethod::Invite).then(|| self.description(side, false));
        let Some((dialog, Some(timer))) = self.dialog_of(side) else {
            return;
        };
        let mut headers = HeaderBlock::new();
        put(&mut headers, "Session-Expires", timer.request_value());
        if let Some(min_se) = timer.request_min_se() {
            put(&mut headers, "Min-SE", min_se.to_string());
        }
        put(&mut headers, "Supported", "timer");
        put(&mut headers, "Allow", ALLOW);
        put(&mut headers, "Contact", contact);
        let request = match description {
            None => dialog.update(headers.into_bytes()),
            Some(description) => {
                put(&mut headers, "Content-Type", SDP_CONTENT_TYPE);
                dialog.re_invite(headers.into_bytes(), description)
            }
        };
        self.request(side, request);
    }

    /// A response to a re-INVITE of ours, or its end without one. Each 2xx gets its ACK, including
    /// retransmitted ones.
    pub(super) fn re_invite_answered(
        &mut self,
        now: Instant,
        side: Side,
        cseq: u32,
        code: StatusCode,
        response: Option<&Message>,
    ) {
        let Some((dialog, _)) = self.dialog_of(side) else {
            return;
        };
        let is_end = !code.is_provisional() && dialog.end_invite(cseq);
        if is_end && let Some(response) = response.filter(|_| code.is_success()) {
            dialog.refresh_target(response);
        }
        let ack = response.filter(|_| code.is_success());
        if let Some(ack) = ack.and_then(|response| dialog.ack_again(response)) {
            self.actions.push_back(Action::Send(side, Box::new(ack)));
        }
        if is_end {
            self.refresh_answered(now, side, code, response);
        }
    }

    /// The final response to a refresh of ours, or its end without one.
    pub(super) fn refresh_answered(
        &mut self,
        now: Instant,
        side: Side,
        code: StatusCode,
        response: Option<&Message>,
    ) {
        let random = self.random;
        let Some((dialog, timer)) = self.dialog_of(side) else {
            return;
        };
        let Some(running) = timer else { return };
        if code.is_success() {
            if let Some(response) = response {
                dialog.refresh_target(response);
                *timer = running.handle_success(now, response);
            }
        } else if !running.handle_refusal(now, code, response, random) {
            return self.dialog_lost(now, side);
        }
        let deadline = timer.map(|timer| timer.deadline());
        self.wake_by(deadline);
    }

    /// The peer no longer has this dialog, or does not answer (RFC 3261 §12.2.1.2), or the session
    /// has expired.
    pub(super) fn dialog_lost(&mut self, now: Instant, side: Side) {
        match side {
            Side::Originator => self.originator_lost(now),
            Side::Leg(number) => {
                let confirmed = |leg: &&mut super::Leg| leg.state == LegState::Confirmed;
                if self.leg(number).filter(confirmed).is_some() {
                    self.leg_lost(now, number, StatusCode::REQUEST_TIMEOUT);
                }
            }
        }
    }
}
