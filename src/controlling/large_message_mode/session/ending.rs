//! Ends requested from outside: by the operator, by the proxy.

use std::time::Instant;

use super::super::leg::LegState;
use super::{Session, Stage, place_of};
use crate::sip::StatusCode;

impl Session {
    /// Ends the session as if the originator had left in the middle of its message: the operator
    /// requests it.
    pub fn handle_end(&mut self, now: Instant) {
        match self.stage {
            Stage::Inviting => self.refuse(now, StatusCode::TEMPORARILY_UNAVAILABLE),
            Stage::Answered => self.abandon(now),
            Stage::Confirmed => {
                self.leave_originator(now, StatusCode::TEMPORARILY_UNAVAILABLE);
                self.unwind(now, StatusCode::TEMPORARILY_UNAVAILABLE);
            }
            Stage::Closing | Stage::Delivering => {
                self.unwind(now, StatusCode::TEMPORARILY_UNAVAILABLE);
            }
            Stage::Abandoned | Stage::Unwinding | Stage::Ended => {}
        }
        self.settle(now);
    }

    /// The proxy stops: peers are told everything that can be sent at once, without waiting for
    /// answers.
    pub fn handle_shutdown(&mut self, now: Instant) {
        if self.stage == Stage::Ended {
            return;
        }
        let code = StatusCode::SERVICE_UNAVAILABLE;
        match self.stage {
            Stage::Inviting => self.refuse(now, code),
            Stage::Answered | Stage::Abandoned | Stage::Confirmed => {
                self.lose_message();
                self.leave_originator(now, code);
            }
            _ => {}
        }
        if self.stage != Stage::Unwinding {
            self.unwind(now, code);
        }
        for number in (0..self.legs.len()).map(place_of) {
            self.fail(now, number, code, false);
            if self.legs[number.0 as usize].state == LegState::Aborting {
                self.hang_up(now, number, code);
            }
            self.end_leg(number);
        }
        self.settle(now);
    }
}
