//! Responses to our own requests: to INVITEs and to requests inside dialogs.

use std::time::Instant;

use super::super::leg::{Leg, LegState, Success};
use super::{Action, Session, Stage};
use crate::controlling::large_mode_settings::{BYE_TIMEOUT, CANCEL_TIMEOUT};
use crate::msrp_control::{LegNumber, Side};
use crate::sip::{Message, StatusCode};
use crate::sip_ua::{MAX_SESSION_EXPIRES_S, Peer, min_se};

impl Session {
    /// A provisional response to a leg's INVITE.
    pub fn handle_leg_provisional(&mut self, now: Instant, number: LegNumber) {
        let until = now + CANCEL_TIMEOUT;
        let Some(leg) = self.leg(number) else { return };
        let cancel = leg.provisional(until);
        self.watch(number);
        if cancel {
            self.actions.push_back(Action::Cancel(number));
        }
        self.settle(now);
    }

    /// A 2xx to a leg's INVITE: each of them, including retransmitted ones and those of other
    /// callees.
    pub fn handle_leg_success(&mut self, now: Instant, number: LegNumber, response: &Message) {
        let Some(leg) = self.leg(number) else { return };
        let peer = Peer::of_response(response);
        let was_over = leg.state == LegState::Over;
        match leg.success(&peer, now + BYE_TIMEOUT) {
            Success::NotDue | Success::Ignored => {}
            Success::AckAgain => self.ack(number),
            Success::Fork { first } => {
                let mut fork = leg.dialog.forked(&peer);
                self.send(number, fork.ack());
                if first {
                    self.send(number, fork.bye(StatusCode::REQUEST_TERMINATED));
                }
                if !peer.makes_dialog {
                    self.answered_in_vain(now, number);
                }
            }
            Success::TooLate => {
                if was_over {
                    self.standing += 1;
                }
                self.ack(number);
                self.bye(number, StatusCode::REQUEST_TERMINATED);
                self.watch(number);
            }
            Success::Answered => {
                self.pace.answered();
                self.leg_answered(now, number, response);
            }
        }
        self.settle(now);
    }

    /// A final response from 300 on to a leg's INVITE, which the transaction layer has
    /// acknowledged, or its own 408. `response` if there is a real one.
    pub fn handle_leg_failure(
        &mut self,
        now: Instant,
        number: LegNumber,
        code: StatusCode,
        response: Option<&Message>,
    ) {
        let Some(leg) = self.leg(number) else { return };
        match leg.state {
            LegState::Calling | LegState::Proceeding => {
                let longer = response.and_then(min_se).filter(|&longer| {
                    code == StatusCode::SESSION_INTERVAL_TOO_SMALL
                        && longer <= MAX_SESSION_EXPIRES_S
                });
                if let Some(longer) = longer.filter(|_| !leg.asked_again) {
                    self.call_again(now, number, longer);
                } else {
                    self.fail_with(now, number, code, true, response);
                    self.end_leg(number);
                }
            }
            LegState::CancelDue | LegState::Cancelling => self.end_leg(number),
            _ => {}
        }
        self.settle(now);
    }

    /// A leg's INVITE could not be passed to the transaction layer, or the operator's script
    /// dropped it: no response will arrive.
    pub fn handle_leg_unsent(&mut self, now: Instant, number: LegNumber) {
        self.handle_leg_failure(now, number, StatusCode::SERVICE_UNAVAILABLE, None);
    }

    /// Whether this is the CSeq of the INVITE that called the leg; any other is that of a
    /// re-INVITE.
    pub fn is_call(&self, LegNumber(number): LegNumber, cseq: u32) -> bool {
        let leg = self.legs.get(number as usize);
        leg.is_some_and(|leg| leg.dialog.invite_cseq() == cseq)
    }

    /// The end of a request of ours inside a dialog, which had this CSeq, and each 2xx to a
    /// re-INVITE. An ACK has none. `response` if there is a real one.
    pub fn handle_outcome(
        &mut self,
        now: Instant,
        side: Side,
        (cseq, method): (u32, &str),
        code: StatusCode,
        response: Option<&Message>,
    ) {
        if self.stage == Stage::Ended {
            return;
        }
        match (side, method) {
            (_, "INVITE") => self.re_invite_answered(now, side, cseq, code, response),
            _ if code.is_provisional() => {}
            (_, "UPDATE") => self.refresh_answered(now, side, code, response),
            (Side::Leg(number), "BYE") => {
                let ending = |leg: &&mut Leg| leg.state == LegState::Ending;
                if self.leg(number).filter(ending).is_some() {
                    self.end_leg(number);
                }
            }
            _ => {}
        }
        self.settle(now);
    }
}
