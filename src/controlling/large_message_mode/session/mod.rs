//! The session machine: one originator, and a leg for each recipient.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;

use super::accepted_invite::AcceptedInvite;
use super::best_response::BestResponse;
use super::leg::{Leg, LegOutcome, LegState, Relay, Success};
use super::offer_answer::{find_sdp, own_media};
use super::outgoing_invite::Template;
use super::pace::Pace;
use super::{DialogName, LegNumber, SessionId, Side};
use crate::controlling::host::Counter;
use crate::controlling::large_mode_settings::{
    ANSWER_WITHIN, BYE_TIMEOUT, CANCEL_TIMEOUT, LargeModeSettings, SENDER_BYE_TIMEOUT,
};
use crate::controlling::service::ControllingFunction;
use crate::msrp_session::{LegFailure, LegState as Delivery};
use crate::sdp::{MsrpMedia, OwnMedia, SessionDescription};
use crate::shared::{SenderNote, SenderTable};
use crate::sip::{Message, StatusCode};
use crate::sip_ua::{Dialog, NotAcceptable, Peer};
use crate::sip_ua::{MAX_SESSION_EXPIRES_S, SessionTimer, min_se};

mod action;
mod clock;
mod legs;
mod originator;
mod output;
mod refreshing;
mod requests;

pub use action::{Action, SessionReply, TransactionKey};

/// How far a session is.
///
/// ```text
///  Inviting --first 2xx: 200--> Answered --ACK: ACK to legs--> Confirmed
///     |                            |                               |
///     | all failed                 | no ACK for ack_wait,          | BYE from him, or to him: session expired,
///     | CANCEL: 487                | message lost,                 | message lost, nobody left to deliver to,
///     | ANSWER_WITHIN: 480         | nobody left: legs get BYE     | or no BYE of his after the last byte
///     |                            v                               v
///     |                        Abandoned                        Closing --complete--> Delivering
///     |                            | ACK, or none: BYE             |                      |
///     v                            v                    incomplete v                      |
///     +----------------------------+-------> Unwinding <-----------+                      |
///                                               | all legs over                           | all legs over
///                                               +----------------> Ended <----------------+
///
///  Where it is known already whether the message is complete, Closing is passed over.
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The originator waits for a final response.
    Inviting,
    /// He has a 200, and has not acknowledged it.
    Answered,
    /// The same, but nothing will come of it: he gets a BYE as soon as RFC 3261 §15 permits.
    Abandoned,
    /// His dialog is up.
    Confirmed,
    /// He is gone; whether his message is complete the relay has yet to say.
    Closing,
    /// He is gone, his message is complete: legs get what they have not got yet.
    Delivering,
    /// No content will come: legs are cancelled or get BYE.
    Unwinding,
    /// All is over.
    Ended,
}

/// A leg as an operator sees it.
#[derive(Clone, Copy, Debug)]
pub struct LegView<'a> {
    /// Its number.
    pub leg: LegNumber,
    /// The recipient.
    pub uri: &'a str,
    /// Whether it is the one by way of the ISF.
    pub to_isf: bool,
    /// How far it is.
    pub state: LegState,
    /// What became of the message.
    pub outcome: Option<LegOutcome>,
}

/// Why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// The INVITE lacks what a dialog is made of: 400.
    Malformed,
    /// Its offer cannot be answered: 488.
    NoMedia,
    /// Nobody is to get the message: 403.
    NoRecipients,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MessageState {
    /// Not complete yet.
    Open,
    Complete,
    Lost,
}

/// One large message: a dialog with the originator, one with each recipient (9.1.2-7).
///
/// Without IO and clock. The one law: call one `handle_*`, take all of [`poll_action`](Self::poll_action) and do it in that
/// order, then wait for the next event or for [`poll_timeout`](Self::poll_timeout), which leads to
/// [`handle_timeout`](Self::handle_timeout). `now` never runs backwards. After [`Action::Ended`] nothing happens any more.
/// Events that come too late, twice or for a leg that is not there change nothing. Where there are hundreds of actions, a caller with
/// other sessions may do some and hand in events before the rest, as long as their order is kept.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    service: Rc<ControllingFunction>,
    settings: Rc<LargeModeSettings>,
    random: fn(&mut [u8]),
    invite: Message,
    offer: SessionDescription,
    template: Template,
    /// For the relay.
    sender_note: Option<Box<SenderNote>>,
    dialog: Dialog,
    transaction: TransactionKey,
    own: OwnMedia,
    /// Our session description towards the originator, once there is one.
    answer: Option<String>,
    /// Session-Expires towards the originator.
    timer: Option<SessionTimer>,
    stage: Stage,
    message: MessageState,
    /// Size of the message, from its first chunk.
    size: Option<u64>,
    sender_connected: bool,
    relay_closed: bool,
    aborted: bool,
    told_no_more_legs: bool,
    /// The relay opens no further leg.
    no_room_for_legs: bool,
    legs: Vec<Leg>,
    /// So many legs from the first on have been invited; the others wait.
    invited: usize,
    pace: Pace,
    best_response: BestResponse,
    /// So many legs from the first on will not be opened any more.
    settled: usize,
    /// Legs that are not over.
    standing: usize,
    /// Legs without outcome.
    undecided: usize,
    /// When the stage has lasted long enough, and what cuts the session in any case.
    deadline: Option<Instant>,
    ack_deadline: Option<Instant>,
    /// When the originator's message has to be complete.
    complete_by: Option<Instant>,
    born: Instant,
    /// No deadline is earlier; it may be too early.
    wake_at: Option<Instant>,
    actions: VecDeque<Action>,
}

impl Session {
    /// Begins a session: an INVITE goes to each recipient, or to as many as may be invited at once. `transaction` is that of
    /// the originator's INVITE, to which 100 has been sent. `random` fills its argument from a cryptographic source.
    ///
    /// # Errors
    /// [`NotStarted`], for an INVITE that the checks would have refused: nothing was sent, and
    /// the caller replies.
    pub fn new(
        now: Instant,
        service: &Rc<ControllingFunction>,
        settings: &Rc<LargeModeSettings>,
        invite: &AcceptedInvite,
        transaction: TransactionKey,
        random: fn(&mut [u8]),
    ) -> Result<Self, NotStarted> {
        let id = invite.session;
        let side = Side::Originator;
        let tag = service
            .ids()
            .names()
            .write(DialogName { session: id, side });
        let dialog =
            Dialog::of_callee(&invite.message, &tag, 0).map_err(|_| NotStarted::Malformed)?;
        let template = Template::new(invite, service, settings, random);
        let template = template.ok_or(NotStarted::Malformed)?;
        let sdp = find_sdp(&invite.message).ok().flatten();
        let offer = sdp.and_then(|sdp| SessionDescription::parse(&sdp).ok());
        let offer = offer.ok_or(NotStarted::NoMedia)?;
        let media = MsrpMedia::of(&offer, &settings.msrp.transports());
        let transport = media.map_err(|_| NotStarted::NoMedia)?.transport;
        let own = own_media(&settings.msrp, transport, random).ok_or(NotStarted::NoMedia)?;
        if invite.recipients.lines().next().is_none() {
            return Err(NotStarted::NoRecipients);
        }
        let note = |(senders, sender): (&SenderTable, &String)| SenderNote {
            senders: senders.clone(),
            sender: sender.clone(),
            ttl_s: service.settings().imdn_ttl_s as u64,
        };
        let sender = invite.notifications_to.as_ref();
        let sender_note = service.senders().zip(sender).map(note).map(Box::new);
        let mut session = Session {
            id,
            service: Rc::clone(service),
            settings: Rc::clone(settings),
            random,
            invite: invite.message.clone(),
            offer,
            template,
            sender_note,
            dialog,
            transaction,
            own,
            answer: None,
            timer: None,
            stage: Stage::Inviting,
            message: MessageState::Open,
            size: None,
            sender_connected: false,
            relay_closed: false,
            aborted: false,
            told_no_more_legs: false,
            no_room_for_legs: false,
            legs: Vec::new(),
            invited: 0,
            pace: Pace::new(now, settings),
            best_response: BestResponse::default(),
            settled: 0,
            standing: 0,
            undecided: 0,
            deadline: Some(now + ANSWER_WITHIN),
            ack_deadline: None,
            complete_by: None,
            born: now,
            wake_at: None,
            actions: VecDeque::new(),
        };
        session.wake_by(Some(now + ANSWER_WITHIN));
        session.count(Counter::Accepted);
        for recipient in invite.recipients.lines() {
            let to_isf = session.template.needs_isf(recipient, service);
            session.call(now, recipient, to_isf, true);
        }
        session.settle(now);
        Ok(session)
    }

    /// Its name.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// How far it is.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The legs in the order of their numbers.
    pub fn legs(&self) -> impl ExactSizeIterator<Item = LegView<'_>> {
        self.legs.iter().enumerate().map(|(place, leg)| LegView {
            leg: place_of(place),
            uri: &leg.uri,
            to_isf: leg.to_isf,
            state: leg.state,
            outcome: leg.outcome,
        })
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted, if nothing happens before. Never `None` before the end.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wake_at.filter(|_| self.stage != Stage::Ended)
    }

    // What happens on the legs' SIP side.

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

    /// A 2xx to a leg's INVITE: each of them, the repeated ones and those of other callees too.
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

    /// A final response from 300 on to a leg's INVITE, which the transaction layer has acknowledged, or its own 408.
    /// `response` where there is a real one.
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

    /// A leg's INVITE could not be handed to the transaction layer, or the operator's script dropped it: no response will come.
    pub fn handle_leg_unsent(&mut self, now: Instant, number: LegNumber) {
        self.handle_leg_failure(now, number, StatusCode::SERVICE_UNAVAILABLE, None);
    }

    /// Whether this is the CSeq of the INVITE that called the leg; of another one it is a re-INVITE.
    pub fn is_call(&self, LegNumber(number): LegNumber, cseq: u32) -> bool {
        let leg = self.legs.get(number as usize);
        leg.is_some_and(|leg| leg.dialog.invite_cseq() == cseq)
    }

    /// The end of a request of ours inside a dialog, which had this CSeq, and each 2xx to a re-INVITE. An ACK has none. `response`
    /// where there is a real one.
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

    // What happens on the originator's SIP side.

    /// The originator cancels his INVITE; the CANCEL itself has been answered. After our 200 it changes nothing (spec-notes
    /// N42).
    pub fn handle_cancel(&mut self, now: Instant) {
        if self.stage == Stage::Inviting {
            self.refuse(now, StatusCode::REQUEST_TERMINATED);
        }
        self.settle(now);
    }

    /// The final reply to the originator's INVITE could not be sent: its transaction had ended by itself.
    pub fn handle_reply_failed(&mut self, now: Instant) {
        match self.stage {
            Stage::Inviting => self.unwind(now, StatusCode::REQUEST_TERMINATED),
            // He never got the 200.
            Stage::Answered | Stage::Abandoned => {
                self.close_originator();
                self.unwind(now, StatusCode::REQUEST_TERMINATED);
            }
            _ => {}
        }
        self.settle(now);
    }

    /// A request inside a dialog, an ACK too. `transaction`: where a reply is due; `None` if there is none any more.
    pub fn handle_request(
        &mut self,
        now: Instant,
        side: Side,
        request: &Message,
        transaction: Option<TransactionKey>,
    ) {
        if self.stage == Stage::Ended {
            return;
        }
        let refusal = requests::refusal(request);
        let accepted = match side {
            Side::Originator => self.accept_from_originator(request),
            Side::Leg(number) => match self.leg(number).filter(|leg| leg.has_dialog()) {
                Some(leg) => leg.dialog.accept(request),
                None => Err(NotAcceptable::NoDialog),
            },
        };
        let method = request.method().unwrap_or_default();
        if method == "BYE" && accepted.is_err() && self.has_hung_up(side, request) {
            // It crosses ours.
            return self.reply(side, transaction, StatusCode::OK, Vec::new(), Bytes::new());
        }
        if method == "ACK" {
            if accepted.is_ok() && side == Side::Originator {
                self.acknowledged(now);
            }
            return self.settle(now);
        }
        if let Err(refusal) = accepted {
            return self.reply(side, transaction, refusal.code(), Vec::new(), Bytes::new());
        }
        if let Some((code, headers)) = refusal {
            self.reply(side, transaction, code, headers.into_bytes(), Bytes::new());
            // Whatever the answer to its BYE says, the peer has left (RFC 3261 §15.1.1).
            if method == "BYE" {
                self.peer_left(now, side);
            }
            return self.settle(now);
        }
        match method {
            "BYE" => {
                self.reply(side, transaction, StatusCode::OK, Vec::new(), Bytes::new());
                self.peer_left(now, side);
            }
            "OPTIONS" => {
                let headers = self.capabilities().into_bytes();
                self.reply(side, transaction, StatusCode::OK, headers, Bytes::new());
            }
            _ => self.refresh(now, side, request, transaction),
        }
        self.settle(now);
    }

    fn peer_left(&mut self, now: Instant, side: Side) {
        match side {
            Side::Originator => self.originator_left(now),
            Side::Leg(number) => self.leg_left(now, number),
        }
    }

    // What happens on the MSRP side.

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

    /// The message will never be complete: given up, connection lost, nothing came for too long, or closed in the midst of it.
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
        if leg.relay == (Relay::Open { connected: false }) {
            leg.relay = Relay::Open { connected: true };
            if leg.state == LegState::Confirmed {
                leg.deadline = kept_until;
                self.watch(number);
            }
        }
    }

    /// The originator could not be kept waiting any longer for recipients who have not answered, and the ISF comes too late for
    /// any: they have failed as if they had rung for too long.
    pub fn handle_no_more_legs(&mut self, now: Instant) {
        self.no_room_for_legs = true;
        // Those who wait for their turn are not invited any more.
        self.invited = self.legs.len();
        for number in (0..self.legs.len()).map(place_of) {
            let leg = &self.legs[number.0 as usize];
            if leg.relay != Relay::Unopened || leg.outcome.is_some() {
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

    /// The relay's last word on a leg: a final state of the fan-out.
    pub fn handle_leg_ended(&mut self, now: Instant, number: LegNumber, delivery: Delivery) {
        let Some(leg) = self.leg(number).filter(|_| delivery.is_final()) else {
            return;
        };
        match leg.relay {
            Relay::Open { .. } => leg.relay = Relay::Ended,
            // The last word upon our close, which tells something new of a leg that its recipient left.
            Relay::Closed => {}
            Relay::Unopened | Relay::Ended => return,
        }
        let state = leg.state;
        if state == LegState::Confirmed {
            leg.deadline = None;
        }
        match (state, delivery) {
            (LegState::Departed, Delivery::Delivered) => {
                self.delivered(number);
                self.end_leg(number);
            }
            (LegState::Departed, _) => {
                self.fail(now, number, StatusCode::TEMPORARILY_UNAVAILABLE, true);
                self.end_leg(number);
            }
            (LegState::Confirmed, Delivery::Delivered) => {
                self.delivered(number);
                if self.stage == Stage::Delivering {
                    self.hang_up(now, number, StatusCode::OK);
                }
            }
            (LegState::Confirmed, Delivery::Failed(failure)) => {
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

    // Time, and the operator.

    /// A deadline may have passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.wake_at.is_none_or(|wake_at| now < wake_at) || self.stage == Stage::Ended {
            return;
        }
        self.wake_at = None;
        self.stage_timeout(now);
        // A leg to the ISF may join while this runs; its deadline is ahead.
        for place in 0..self.legs.len() {
            self.leg_timeout(now, place_of(place));
        }
        self.settle(now);
        self.wake_again();
    }

    /// Ends the session as if the originator had gone in the midst of his message: the operator wants it so.
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

    /// The proxy stops: everybody is told what can be told at once, and no answer is waited for.
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

/// The SIP code that comes closest to an MSRP failure: for BYE, log and event routes.
fn code_of(failure: LegFailure) -> StatusCode {
    match failure {
        LegFailure::Refused(status) => {
            StatusCode::new(status.code()).unwrap_or(StatusCode::NOT_ACCEPTABLE_HERE)
        }
        LegFailure::NoResponse | LegFailure::Stalled | LegFailure::Behind => {
            StatusCode::REQUEST_TIMEOUT
        }
        LegFailure::SpoolLost => StatusCode::SERVER_INTERNAL_ERROR,
        LegFailure::Disconnected | LegFailure::Dropped => StatusCode::TEMPORARILY_UNAVAILABLE,
    }
}

/// Legs are as many as recipients, four times at most: each is offered it twice at most, and so is the ISF.
fn place_of(place: usize) -> LegNumber {
    LegNumber(u32::try_from(place).unwrap_or(u32::MAX))
}
