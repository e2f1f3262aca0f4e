//! Effects of time, and of several events together.

use std::time::Instant;

use super::super::leg::{Leg, LegState, MsrpSide};
use super::super::{LegNumber, Side};
use super::{Action, MessageState, Session, Stage, place_of};
use crate::controlling::large_mode_settings::MAX_SESSION_AGE;
use crate::msrp_control::RelayCommand;
use crate::sip::StatusCode;
use crate::sip_ua::Due;

impl Session {
    /// A deadline may have passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.wake_at.is_none_or(|wake_at| now < wake_at) || self.stage == Stage::Ended {
            return;
        }
        self.wake_at = None;
        self.stage_timeout(now);
        // A leg to the ISF may be added while this runs; its deadline is in the future.
        for place in 0..self.legs.len() {
            self.leg_timeout(now, place_of(place));
        }
        self.settle(now);
        self.wake_again();
    }

    pub(super) fn stage_timeout(&mut self, now: Instant) {
        let is_past = |deadline: Option<Instant>| deadline.is_some_and(|deadline| now >= deadline);
        if self.may_age() && now >= self.born + MAX_SESSION_AGE {
            return self.handle_end(now);
        }
        if self.is_receiving() && is_past(self.complete_by) {
            self.message_failed(now);
        }
        if is_past(self.deadline) {
            self.deadline = None;
            match self.stage {
                Stage::Inviting => self.refuse(now, StatusCode::TEMPORARILY_UNAVAILABLE),
                Stage::Answered => self.abandon(now),
                Stage::Abandoned => {
                    self.leave_originator(now, StatusCode::REQUEST_TIMEOUT);
                }
                Stage::Confirmed if self.message == MessageState::Complete => {
                    self.leave_originator(now, StatusCode::OK);
                }
                Stage::Confirmed if !self.sender_connected => {
                    self.lose_message();
                    self.leave_originator(now, StatusCode::REQUEST_TIMEOUT);
                }
                Stage::Closing => self.unwind(now, StatusCode::TEMPORARILY_UNAVAILABLE),
                _ => {}
            }
        }
        let timer = self
            .timer
            .as_mut()
            .filter(|_| self.stage == Stage::Confirmed);
        let due = timer.and_then(|timer| timer.poll(now));
        match due {
            Some(Due::Refresh(method)) => self.send_refresh(Side::Originator, method),
            Some(Due::Expired) => self.originator_lost(now),
            None => {}
        }
    }

    pub(super) fn leg_timeout(&mut self, now: Instant, number: LegNumber) {
        let leg = &mut self.legs[number.0 as usize];
        if leg.deadline.is_some_and(|deadline| now >= deadline) {
            leg.deadline = None;
            match leg.state {
                LegState::Calling | LegState::Proceeding => {
                    self.fail(now, number, StatusCode::REQUEST_TIMEOUT, true);
                    self.cancel_leg(now, number);
                }
                LegState::CancelDue | LegState::Cancelling | LegState::Ending => {
                    self.end_leg(number);
                }
                LegState::Confirmed => self.leg_lost(now, number, StatusCode::REQUEST_TIMEOUT),
                LegState::Aborting => {
                    self.hang_up(now, number, StatusCode::TEMPORARILY_UNAVAILABLE);
                }
                LegState::Departed => {
                    self.fail(now, number, StatusCode::TEMPORARILY_UNAVAILABLE, true);
                    self.end_leg(number);
                }
                LegState::Waiting | LegState::Answered | LegState::Over => {}
            }
        }
        let leg = &mut self.legs[number.0 as usize];
        if leg.state != LegState::Confirmed {
            return;
        }
        match leg.timer.as_mut().and_then(|timer| timer.poll(now)) {
            Some(Due::Refresh(method)) => self.send_refresh(Side::Leg(number), method),
            Some(Due::Expired) => self.leg_lost(now, number, StatusCode::REQUEST_TIMEOUT),
            None => {}
        }
    }

    /// Handles the combined effects of several events.
    pub(super) fn settle(&mut self, now: Instant) {
        self.invite_waiting(now);
        if self.undecided == 0 {
            match self.stage {
                // Readings N20, N74.
                Stage::Inviting => {
                    let takes = self.deferred > 0 && self.service.settings().deferral.large;
                    if !takes || !self.answer_originator(now, None) {
                        self.refuse_as_all_did(now);
                    }
                }
                // Nobody is left to receive the content.
                Stage::Answered if self.message == MessageState::Open && self.deferred == 0 => {
                    self.abandon(now);
                }
                Stage::Confirmed if self.message == MessageState::Open && self.deferred == 0 => {
                    self.lose_message();
                    self.leave_originator(now, StatusCode::TEMPORARILY_UNAVAILABLE);
                }
                _ => {}
            }
        }
        self.say_no_more_legs();
        let last = matches!(self.stage, Stage::Delivering | Stage::Unwinding);
        if last && self.standing == 0 {
            self.stage = Stage::Ended;
            self.actions.push_back(Action::Ended);
        }
    }

    /// 9.1.2-send-4: content is kept as long as a leg may be added that needs it from the first
    /// byte; that includes one to the ISF after a failed delivery (readings N49).
    pub(super) fn say_no_more_legs(&mut self) {
        let at_work = matches!(
            self.stage,
            Stage::Confirmed | Stage::Closing | Stage::Delivering
        );
        if self.told_no_more_legs || !at_work {
            return;
        }

        let may_open = |leg: &Leg| {
            leg.outcome.is_none() && (leg.relay == MsrpSide::Unopened || self.may_interwork(leg))
        };
        // A leg that cannot be opened now never will be, so that none is checked again.
        let settled = self.legs[self.settled..]
            .iter()
            .take_while(|leg| !may_open(leg))
            .count();
        self.settled += settled;
        if self.settled == self.legs.len() {
            self.told_no_more_legs = true;
            self.relay(RelayCommand::NoMoreLegs);
        }
    }

    /// How long a complete message is kept for a leg that is connected from now on (readings N49).
    pub(super) fn kept_until(&self, now: Instant) -> Option<Instant> {
        let ttl = self.settings.policy.spool_ttl;
        ttl.filter(|_| self.message == MessageState::Complete)
            .map(|ttl| now + ttl)
    }

    /// The message is complete: from now on the time limit of connected legs runs.
    pub(super) fn keep_for_legs(&mut self, now: Instant) {
        let kept_until = self.kept_until(now);
        for leg in &mut self.legs {
            if leg.state == LegState::Confirmed && leg.relay == (MsrpSide::Open { connected: true })
            {
                leg.deadline = kept_until;
            }
        }
        self.wake_by(kept_until);
    }

    /// Whether the originator still has to send some of its message.
    fn is_receiving(&self) -> bool {
        self.stage == Stage::Confirmed && self.message == MessageState::Open
    }

    pub(super) fn stay(&mut self, until: Instant) {
        self.deadline = Some(until);
        self.wake_by(self.deadline);
        let timer = self.timer.map(|timer| timer.deadline());
        self.wake_by(timer);
    }

    pub(super) fn watch(&mut self, number: LegNumber) {
        let deadline = self.legs.get(number.0 as usize);
        self.wake_by(deadline.and_then(Leg::next_deadline));
    }

    pub(super) fn wake_by(&mut self, deadline: Option<Instant>) {
        self.wake_at = self.wake_at.into_iter().chain(deadline).min();
    }

    /// A session that is already ending ends sooner by itself.
    pub(super) fn may_age(&self) -> bool {
        use Stage::*;
        !matches!(self.stage, Abandoned | Unwinding | Ended)
    }

    pub(super) fn wake_again(&mut self) {
        let age = self.may_age().then(|| self.born + MAX_SESSION_AGE);
        self.wake_by(age);
        self.wake_by(self.deadline);
        self.wake_by(self.complete_by.filter(|_| self.is_receiving()));
        let timer = self.timer.filter(|_| self.stage == Stage::Confirmed);
        self.wake_by(timer.map(|timer| timer.deadline()));
        let legs = self.legs.iter().filter_map(Leg::next_deadline).min();
        self.wake_by(legs);
    }
}
