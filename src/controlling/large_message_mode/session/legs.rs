//! The legs' side: calling, confirming, hanging up, and the outcome of the message on each.

use std::time::{Duration, Instant};

use super::super::leg::{Leg, LegOutcome, LegState, MsrpSide};
use super::super::offer_answer::{self, NoDelivery, find_sdp, own_media, read_answer};
use super::super::{DialogName, LegNumber, Side};
use super::{Action, MessageState, Session, Stage, place_of};
use crate::controlling::host::{Counter, Fate};
use crate::controlling::large_mode_settings::{
    ABORT_TIMEOUT, BYE_TIMEOUT, CANCEL_TIMEOUT, CONNECT_TIMEOUT, RELAY_TIMEOUT,
};
use crate::msrp_control::RelayCommand;
use crate::policy::{AllFailedResponse, LegAck};
use crate::sdp::{Role, SessionDescription};
use crate::sip::{HeaderName, Message, StatusCode};
use crate::sip_ua::{
    Agreed, Dialog, MIN_SESSION_EXPIRES_S, OwnInvite, Refresher, SessionExpires, SessionTimer,
};

impl Session {
    /// Adds a leg to a recipient, or through the ISF. Its INVITE is sent in turn. `cema`: whether
    /// msrp-cema is offered.
    pub(super) fn call(&mut self, now: Instant, recipient: (u32, &str), to_isf: bool, cema: bool) {
        let number = place_of(self.legs.len());
        let transport = self.settings.msrp.leg_transport;
        let Some(own) = own_media(&self.settings.msrp, transport, self.random) else {
            return self.report(
                number,
                recipient,
                Fate::Failed,
                StatusCode::SERVER_INTERNAL_ERROR,
            );
        };
        let uri = recipient.1;
        let side = Side::Leg(number);
        let session = self.id;
        let names = self.service.ids().names();
        let name = names.write(DialogName { session, side });
        let dialog = Dialog::of_caller(&OwnInvite {
            call_id: &name,
            from: self.template.from(),
            from_tag: &name,
            to: &format!("<{uri}>"),
            target: uri,
            cseq: 1,
        });
        self.legs
            .push(Leg::new(recipient, to_isf, cema, dialog, own));
        self.standing += 1;
        self.undecided += 1;
        self.invite_waiting(now);
    }

    /// Invites as many of the waiting legs as possible now, in the order of their numbers.
    pub(super) fn invite_waiting(&mut self, now: Instant) {
        // None while it is unknown whether there is a message, or if there is none.
        let may_deliver = matches!(
            self.stage,
            Stage::Inviting | Stage::Answered | Stage::Confirmed | Stage::Delivering
        );
        while may_deliver && self.invited < self.legs.len() {
            if !self.pace.take(now) {
                return self.wake_by(self.pace.next(now));
            }
            let number = place_of(self.invited);
            self.invited += 1;
            self.invite(now, number);
        }
    }

    fn invite(&mut self, now: Instant, number: LegNumber) {
        let (silence, rings) = (self.settings.leg_silence, self.ring_time());
        let Some(leg) = self.leg(number) else { return };
        leg.invite(now + silence, now + rings);
        let counter = match leg.to_isf {
            true => Counter::Interworked,
            false => Counter::Recipients,
        };
        // A recipient that gets a second offer has already been counted.
        if leg.cema {
            self.count(counter);
        }
        self.send_invite(number, None);
        self.watch(number);
    }

    /// Sends the INVITE again with the interval that the 422 requires (RFC 4028 §7.3). At once: it
    /// has already had its turn.
    pub(super) fn call_again(&mut self, now: Instant, number: LegNumber, min_se: u32) {
        let (silence, rings) = (self.settings.leg_silence, self.ring_time());
        let Some(leg) = self.leg(number) else { return };
        leg.asked_again = true;
        leg.invite(now + silence, now + rings);
        leg.dialog.next_invite();
        self.send_invite(number, Some(min_se));
        self.watch(number);
    }

    pub(super) fn send_invite(&mut self, number: LegNumber, min_se: Option<u32>) {
        let leg = &mut self.legs[number.0 as usize];
        leg.offered_size = self.size;
        // The offer has been parsed before, and our offer is our own.
        let offer = offer_answer::offer(&self.offer, &leg.own, self.size, leg.cema);
        let offer = offer.unwrap_or_default();
        let invite = self.template.invite(number, leg, &offer, min_se);
        self.actions.push_back(Action::Invite(Box::new(invite)));
    }

    /// How long a recipient may ring: the invitation itself may be limited (readings N8).
    pub(super) fn ring_time(&self) -> Duration {
        let expires = self.invite.first(HeaderName::Expires);
        let expires = expires.and_then(|field| field.text().ok()?.trim().parse::<u32>().ok());
        let limit = expires.map(|seconds| Duration::from_secs(u64::from(seconds.max(1))));
        let time = self.settings.policy.leg_timeout;
        limit.map_or(time, |limit| time.min(limit))
    }

    pub(super) fn leg_answered(&mut self, now: Instant, number: LegNumber, response: &Message) {
        let leg = &self.legs[number.0 as usize];
        let allows_update = leg.dialog.allows_update();
        let sdp = find_sdp(response).ok().flatten();
        let description = sdp.and_then(|sdp| SessionDescription::parse(&sdp).ok());
        let unusable = NoDelivery::Refused(StatusCode::NOT_ACCEPTABLE_HERE);
        let mut ends = match &description {
            Some(answer) => read_answer(answer, &leg.own, &self.offer, self.size, leg.cema),
            None => Err(unusable),
        };
        // An answer that does not suit this message is not used: the session waits for the next one
        // (readings N56).
        if let (Some(answer), true, Stage::Inviting) = (&description, ends.is_ok(), self.stage)
            && !self.answer_originator(now, Some(answer))
        {
            ends = Err(unusable);
        }
        let timer = SessionExpires::of(response).ok().flatten().map(|expires| {
            // Without refresher it is us, because we asked for the timer (RFC 4028 §7.2).
            let we_refresh = expires.refresher != Some(Refresher::Uas);
            SessionTimer::new(
                now,
                Agreed {
                    seconds: expires.seconds,
                    shortest: MIN_SESSION_EXPIRES_S,
                    we_refresh,
                    allows_update,
                    owns_call_id: true,
                },
            )
        });
        let leg = &mut self.legs[number.0 as usize];
        leg.timer = timer;
        let ends = match ends {
            Ok(ends) => ends,
            Err(no_delivery) => return self.undo_answer(now, number, no_delivery),
        };
        leg.role = ends.role;
        leg.ends = Some(Box::new(ends));
        let is_due = match self.stage {
            // 9.1.2-more200.
            Stage::Confirmed | Stage::Closing | Stage::Delivering => true,
            // Otherwise with the originator's ACK, at the latest when this stage ends.
            _ => self.settings.policy.leg_ack == LegAck::Immediate,
        };
        if is_due {
            self.confirm(now, number);
        }
    }

    /// A 2xx that creates no dialog has arrived, and its callee has been told to hang up.
    pub(super) fn answered_in_vain(&mut self, now: Instant, number: LegNumber) {
        use LegState::{Calling, CancelDue, Cancelling, Proceeding};
        let Some(leg) = self.leg(number) else { return };
        let awaits_response = matches!(leg.state, Calling | Proceeding | CancelDue | Cancelling);
        if awaits_response {
            self.fail(now, number, StatusCode::BAD_GATEWAY, false);
            self.end_leg(number);
        }
    }

    /// Ends the dialog of an unsuitable answer.
    fn undo_answer(&mut self, now: Instant, number: LegNumber, why: NoDelivery) {
        self.ack(number);
        let code = match why {
            NoDelivery::Refused(code) => {
                self.fail(now, number, code, true);
                code
            }
            NoDelivery::OfferWithoutCema => {
                self.offer_again(now, number);
                StatusCode::NOT_ACCEPTABLE_HERE
            }
        };
        self.hang_up(now, number, code);
    }

    /// A new offer in a new INVITE, without msrp-cema (RFC 6714 §4.2).
    fn offer_again(&mut self, now: Instant, number: LegNumber) {
        let Some(leg) = self.leg(number) else { return };
        let (recipient, uri, to_isf) = (leg.recipient, leg.uri.clone(), leg.to_isf);
        // The new leg first, so that there is a leg left to wait for.
        self.call(now, (recipient, &uri), to_isf, false);
        self.decide(number, LegOutcome::OfferedAgain);
    }

    /// ACK, and an MSRP session (9.1.2-ack-1, -2, 9.1.2-more200).
    pub(super) fn confirm(&mut self, now: Instant, number: LegNumber) {
        let Some(leg) = self.leg(number) else { return };
        leg.state = LegState::Confirmed;
        leg.deadline = Some(now + CONNECT_TIMEOUT);
        leg.relay = MsrpSide::Open { connected: false };
        let (ends, role) = (leg.ends.take(), leg.role);
        // A peer that connects itself may do so as soon as it has the ACK: the relay must know of
        // it by then.
        if role == Role::Active {
            self.ack(number);
        }
        if let Some(ends) = ends {
            self.relay(RelayCommand::OpenLeg(number, ends));
        }
        if role == Role::Passive {
            self.ack(number);
        }
        self.watch(number);
    }

    /// The recipient sent BYE (readings N45).
    pub(super) fn leg_left(&mut self, now: Instant, number: LegNumber) {
        let Some(leg) = self.leg(number) else { return };
        if leg.state == LegState::Confirmed && matches!(leg.relay, MsrpSide::Open { .. }) {
            // It may have the whole message: the relay knows.
            leg.state = LegState::Departed;
            leg.deadline = Some(now + RELAY_TIMEOUT);
            leg.timer = None;
            self.close_leg(number);
            return self.watch(number);
        }
        self.close_leg(number);
        self.fail(now, number, StatusCode::TEMPORARILY_UNAVAILABLE, true);
        self.end_leg(number);
    }

    /// Delivery has failed on a connected leg; no effect if it had everything.
    pub(super) fn leg_lost(&mut self, now: Instant, number: LegNumber, code: StatusCode) {
        self.fail(now, number, code, true);
        self.hang_up(now, number, code);
    }

    /// BYE to a leg that has been acknowledged.
    pub(super) fn hang_up(&mut self, now: Instant, number: LegNumber, code: StatusCode) {
        self.close_leg(number);
        self.bye(number, code);
        let Some(leg) = self.leg(number) else { return };
        leg.state = LegState::Ending;
        leg.deadline = Some(now + BYE_TIMEOUT);
        leg.timer = None;
        self.watch(number);
    }

    /// Gives up an INVITE without final response: CANCEL, now or once a provisional response
    /// permits it.
    pub(super) fn cancel_leg(&mut self, now: Instant, number: LegNumber) {
        let Some(leg) = self.leg(number) else { return };
        if leg.cancel(now + CANCEL_TIMEOUT) {
            self.actions.push_back(Action::Cancel(number));
        }
        self.watch(number);
    }

    pub(super) fn close_leg(&mut self, number: LegNumber) {
        let Some(leg) = self.leg(number) else { return };
        if matches!(leg.relay, MsrpSide::Open { .. } | MsrpSide::Ended) {
            leg.relay = MsrpSide::Closed;
            self.relay(RelayCommand::CloseLeg(number));
        }
    }

    pub(super) fn delivered(&mut self, number: LegNumber) {
        if self.decide(number, LegOutcome::Delivered) {
            self.count(Counter::Delivered);
            let leg = &self.legs[number.0 as usize];
            let (recipient, uri) = (leg.recipient, leg.uri.clone());
            self.report(number, (recipient, &uri), Fate::Delivered, StatusCode::OK);
        }
    }

    /// The message does not reach this recipient on this leg. `delivery`: it was refused or could
    /// not be delivered, in which case the ISF may help if policy permits (9.1.2 last list,
    /// readings N45, N47).
    pub(super) fn fail(
        &mut self,
        now: Instant,
        number: LegNumber,
        code: StatusCode,
        delivery: bool,
    ) {
        self.fail_with(now, number, code, delivery, None);
    }

    /// The same, with the response.
    pub(super) fn fail_with(
        &mut self,
        now: Instant,
        number: LegNumber,
        code: StatusCode,
        delivery: bool,
        response: Option<&Message>,
    ) {
        let Some(leg) = self.leg(number) else { return };
        if leg.outcome.is_some() {
            return;
        }
        let was_up = !leg.is_inviting();
        let policy = self.service.settings();
        let leg = &self.legs[number.0 as usize];
        let interwork = delivery
            && self.may_interwork(leg)
            && (was_up || policy.isf_codes.contains(code.as_u16()));
        let (recipient, uri, number_of_code) = (leg.recipient, leg.uri.clone(), code.as_u16());
        if interwork {
            self.decide(number, LegOutcome::Interworked);
            self.report(number, (recipient, &uri), Fate::Interworked, code);
            return self.call(now, (recipient, &uri), true, true);
        }
        let defers = delivery && self.may_defer(number_of_code);
        if self.settings.policy.all_failed_response == AllFailedResponse::Best {
            self.best_response.consider(code, response);
        }
        if defers {
            self.decide(number, LegOutcome::Deferred(number_of_code));
            self.deferred += 1;
            // Without an answer to the originator it will have failed.
            if self.stage != Stage::Inviting {
                self.report(number, (recipient, &uri), Fate::Deferred, code);
            }
            return;
        }
        self.decide(number, LegOutcome::Failed(number_of_code));
        self.count(Counter::Failed);
        self.report(number, (recipient, &uri), Fate::Failed, code);
    }

    /// Whether the ISF may get the message instead of this leg.
    pub(super) fn may_interwork(&self, leg: &Leg) -> bool {
        self.may_have_message()
            && !self.no_room_for_legs
            && !leg.to_isf
            && self.service.settings().interworking_to().is_some()
    }

    /// Whether the message is, or may still become, complete.
    fn may_have_message(&self) -> bool {
        match self.stage {
            Stage::Inviting | Stage::Answered | Stage::Confirmed => {
                self.message != MessageState::Lost
            }
            Stage::Delivering => true,
            Stage::Closing => self.message == MessageState::Open,
            Stage::Abandoned | Stage::Unwinding | Stage::Ended => false,
        }
    }

    /// Whether the message may wait in the store for a recipient that failed with this code.
    fn may_defer(&self, code: u16) -> bool {
        self.may_have_message()
            && self.service.content_space().is_some()
            && self.service.defers(code)
    }

    /// Recipients that were away before the originator had its answer.
    pub(super) fn tell_of_deferred(&mut self) {
        for number in (0..self.legs.len()).map(place_of) {
            if let Some((recipient, uri, code)) = self.deferred_leg(number) {
                self.report(number, (recipient, &uri), Fate::Deferred, code);
            }
        }
    }

    /// There is nothing to wait for: who was away has failed.
    fn fail_deferred(&mut self) {
        if std::mem::take(&mut self.deferred) == 0 {
            return;
        }
        for number in (0..self.legs.len()).map(place_of) {
            if let Some((recipient, uri, code)) = self.deferred_leg(number) {
                let leg = &mut self.legs[number.0 as usize];
                leg.outcome = Some(LegOutcome::Failed(code.as_u16()));
                self.count(Counter::Failed);
                self.report(number, (recipient, &uri), Fate::Failed, code);
            }
        }
    }

    fn deferred_leg(&self, number: LegNumber) -> Option<(u32, String, StatusCode)> {
        let leg = self.legs.get(number.0 as usize)?;
        match leg.outcome {
            Some(LegOutcome::Deferred(code)) => {
                let code = StatusCode::new(code).unwrap_or(StatusCode::REQUEST_TIMEOUT);
                Some((leg.recipient, leg.uri.clone(), code))
            }
            _ => None,
        }
    }

    /// True if the outcome is new.
    pub(super) fn decide(&mut self, number: LegNumber, outcome: LegOutcome) -> bool {
        let Some(leg) = self.leg(number).filter(|leg| leg.outcome.is_none()) else {
            return false;
        };
        leg.outcome = Some(outcome);
        // The result of its INVITE no longer concerns waiting legs.
        if leg.is_inviting() {
            self.pace.answered();
        }
        self.undecided -= 1;
        true
    }

    pub(super) fn end_leg(&mut self, number: LegNumber) {
        let Some(leg) = self.leg(number) else { return };
        if leg.state != LegState::Over {
            leg.end();
            self.standing -= 1;
            self.close_leg(number);
        }
    }

    /// Nothing more is delivered: INVITEs are cancelled, connected legs are told.
    pub(super) fn unwind(&mut self, now: Instant, code: StatusCode) {
        self.stage = Stage::Unwinding;
        self.deadline = None;
        self.ack_deadline = None;
        self.timer = None;
        self.lose_message();
        self.wind_up_legs(now, code);
        self.close_originator();
    }

    pub(super) fn wind_up_legs(&mut self, now: Instant, code: StatusCode) {
        if self.message != MessageState::Complete {
            self.fail_deferred();
        }
        if self.message == MessageState::Lost && !self.aborted {
            self.aborted = true;
            if self.answer.is_some() {
                self.relay(RelayCommand::AbortMessage);
            }
        }
        for number in (0..self.legs.len()).map(place_of) {
            // If the recipient has left, the relay will report how much it has.
            if self.legs[number.0 as usize].state != LegState::Departed {
                self.fail(now, number, code, false);
            }
            let leg = &mut self.legs[number.0 as usize];
            match leg.state {
                LegState::Waiting => self.end_leg(number),
                LegState::Calling | LegState::Proceeding => self.cancel_leg(now, number),
                LegState::Answered => {
                    self.ack(number);
                    self.hang_up(now, number, code);
                }
                LegState::Confirmed if matches!(leg.relay, MsrpSide::Open { .. }) => {
                    leg.state = LegState::Aborting;
                    leg.deadline = Some(now + ABORT_TIMEOUT);
                    leg.timer = None;
                }
                LegState::Confirmed => {
                    let delivered = leg.outcome == Some(LegOutcome::Delivered);
                    let code = if delivered { StatusCode::OK } else { code };
                    self.hang_up(now, number, code);
                }
                _ => {}
            }
            self.watch(number);
        }
    }
}
