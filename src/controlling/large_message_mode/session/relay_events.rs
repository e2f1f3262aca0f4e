//! Events of the MSRP sessions, reported by the relay.

use std::time::Instant;

use super::super::leg::{LegState, MsrpSide};
use super::{MessageState, Session, Stage, place_of};
use crate::controlling::large_mode_settings::SENDER_BYE_TIMEOUT;
use crate::msrp_control::LegNumber;
use crate::msrp_session::{DeliveryFailure, DeliveryState};
use crate::sip::StatusCode;

impl Session {
    /// The originator's MSRP session is connected.
    pub fn handle_sender_connected(&mut self) {
        self.sender_connected = true;
    }

    /// The originator's message has begun, with its size if its first chunk has it.
    pub fn handle_message_started(&mut self, size: Option<u64>) {
        self.sender_connected = true;
        self.size = size;
    }

    /// The whole message has arrived.
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

    /// The message will never be complete: it was abandoned, its connection was lost, nothing
    /// arrived for too long, or it was closed in the middle.
    pub fn handle_message_failed(&mut self, now: Instant) {
        if self.message != MessageState::Open {
            return;
        }
        self.message_failed(now);
        self.settle(now);
    }

    /// A leg's MSRP session is connected.
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

    /// The originator could not be held back any longer for recipients that have not answered, and
    /// it is too late for the ISF: they fail as if they had rung too long.
    pub fn handle_no_more_legs(&mut self, now: Instant) {
        self.no_room_for_legs = true;
        // Waiting legs will not be invited any more.
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
            // The final event after our close; for a leg whose recipient has left it is new
            // information.
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

/// The SIP code closest to an MSRP failure: for BYE, log and event routes.
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
