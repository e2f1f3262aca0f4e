//! What the relay reports of the MSRP sessions.

use std::time::Instant;

use super::super::leg::{LegState, MsrpSide};
use super::{MessageState, Session, Stage, place_of};
use crate::controlling::large_mode_settings::SENDER_BYE_TIMEOUT;
use crate::msrp_control::LegNumber;
use crate::msrp_session::{DeliveryFailure, DeliveryState};
use crate::sip::StatusCode;

impl Session {
    /// The originator's MSRP session has its connection.
    pub fn handle_sender_connected(&mut self) {
        self.sender_connected = true;
    }

    /// The originator's message has begun, with its size if its first chunk says so.
    pub fn handle_message_started(&mut self, size: Option<u64>) {
        self.sender_connected = true;
        self.size = size;
    }

    /// The whole message is here.
    pub fn handle_message_complete(&mut self, now: Instant) {
        if self.message != MessageState::Open {
            return;
        }
        self.message = MessageState::Complete;
        match self.stage {
            Stage::Confirmed => self.stay(now + SENDER_BYE_TIMEOUT),
            Stage::Closing => self.deliver(now),
            _ => {}
        }
        self.keep_for_legs(now);
        self.settle(now);
    }

    /// The message will never be complete: given up, connection lost, nothing came for too long, or
    /// closed in the midst of it.
    pub fn handle_message_failed(&mut self, now: Instant) {
        if self.message != MessageState::Open {
            return;
        }
        self.message_failed(now);
        self.settle(now);
    }

    /// A leg's MSRP session has its connection.
    pub fn handle_leg_connected(&mut self, now: Instant, number: LegNumber) {
        let kept_until = self.kept_until(now);
        let Some(leg) = self.leg(number) else { return };
        if leg.relay == (MsrpSide::Open { connected: false }) {
            leg.relay = MsrpSide::Open { connected: true };
            if leg.state == LegState::Confirmed {
                leg.deadline = kept_until;
                self.watch(number);
            }
        }
    }

    /// The originator could not be kept waiting any longer for recipients who have not answered,
    /// and the ISF comes too late for any: they have failed as if they had rung for too long.
    pub fn handle_no_more_legs(&mut self, now: Instant) {
        self.no_room_for_legs = true;
        // Those who wait for their turn are not invited any more.
        self.invited = self.legs.len();
        for number in (0..self.legs.len()).map(place_of) {
            let leg = &self.legs[number.0 as usize];
            if leg.relay != MsrpSide::Unopened || leg.outcome.is_some() {
                continue;
            }
            self.fail(now, number, StatusCode::REQUEST_TIMEOUT, true);
            match self.legs[number.0 as usize].state {
                LegState::Calling | LegState::Proceeding => self.cancel_leg(now, number),
                LegState::Answered => {
                    self.ack(number);
                    self.hang_up(now, number, StatusCode::REQUEST_TIMEOUT);
                }
                _ => self.end_leg(number),
            }
        }
        self.settle(now);
    }

    /// The final event of a leg: a final state of the fan-out.
    pub fn handle_leg_ended(&mut self, now: Instant, number: LegNumber, delivery: DeliveryState) {
        let Some(leg) = self.leg(number).filter(|_| delivery.is_final()) else {
            return;
        };
        match leg.relay {
            MsrpSide::Open { .. } => leg.relay = MsrpSide::Ended,
            // The final event upon our close, which tells something new of a leg that its recipient
            // left.
            MsrpSide::Closed => {}
            MsrpSide::Unopened | MsrpSide::Ended => return,
        }
        let state = leg.state;
        if state == LegState::Confirmed {
            leg.deadline = None;
        }
        match (state, delivery) {
            (LegState::Departed, DeliveryState::Delivered) => {
                self.delivered(number);
                self.end_leg(number);
            }
            (LegState::Departed, _) => {
                self.fail(now, number, StatusCode::TEMPORARILY_UNAVAILABLE, true);
                self.end_leg(number);
            }
            (LegState::Confirmed, DeliveryState::Delivered) => {
                self.delivered(number);
                if self.stage == Stage::Delivering {
                    self.hang_up(now, number, StatusCode::OK);
                }
            }
            (LegState::Confirmed, DeliveryState::Failed(failure)) => {
                self.leg_lost(now, number, code_of(failure));
            }
            (LegState::Confirmed, _) => {
                self.leg_lost(now, number, StatusCode::TEMPORARILY_UNAVAILABLE);
            }
            (LegState::Aborting, _) => {
                self.hang_up(now, number, StatusCode::TEMPORARILY_UNAVAILABLE);
            }
            _ => {}
        }
        self.settle(now);
    }
}

/// The SIP code that comes closest to an MSRP failure: for BYE, log and event routes.
fn code_of(failure: DeliveryFailure) -> StatusCode {
    match failure {
        DeliveryFailure::Refused(status) => {
            StatusCode::new(status.code()).unwrap_or(StatusCode::NOT_ACCEPTABLE_HERE)
        }
        DeliveryFailure::NoResponse | DeliveryFailure::Stalled | DeliveryFailure::Behind => {
            StatusCode::REQUEST_TIMEOUT
        }
        DeliveryFailure::SpoolLost => StatusCode::SERVER_INTERNAL_ERROR,
        DeliveryFailure::Disconnected | DeliveryFailure::Dropped => {
            StatusCode::TEMPORARILY_UNAVAILABLE
        }
    }
}
