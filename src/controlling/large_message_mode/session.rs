//! The session machine: one originator, and a leg for each recipient.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::header_fields::put;
use super::super::host::{Counter, Fate};
use super::super::service::ControllingFunction;
use super::dialog::{Dialog, InDialogRequest, NotAcceptable, Peer};
use super::leg::{Leg, LegOutcome, LegState, Relay, Success};
use super::offer_answer::{
    self, MsrpEnds, SDP_CONTENT_TYPE, find_sdp, offer_as_answer, own_media, read_answer,
};
use super::outgoing_invite::{ALLOW, AcceptedInvite, InviteRequest, Template};
use super::session_timer::{
    Due, MAX_SESSION_EXPIRES_S, MIN_SESSION_EXPIRES_S, Refresher, SessionExpires, SessionTimer,
    min_se, supports_timer,
};
use super::settings::{
    ABORT_TIMEOUT, ACK_TIMEOUT, ANSWER_WITHIN, BYE_TIMEOUT, CANCEL_TIMEOUT, CONNECT_TIMEOUT,
    LargeModeSettings, MAX_SESSION_AGE, RELAY_TIMEOUT, SENDER_BYE_TIMEOUT,
};
use super::{DialogName, LegNumber, SessionId, Side};
use crate::sdp::{MsrpMedia, OwnMedia, SessionDescription};
use crate::session::{LegFailure, LegState as Delivery};
use crate::sip::{HeaderBlock, HeaderName, Message, StatusCode};

/// Names a transaction in which a reply of ours is due; the numbers are the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionKey(pub u64);

/// A reply to a request of a peer.
#[derive(Clone, Debug)]
pub struct SessionReply {
    /// The transaction.
    pub transaction: TransactionKey,
    /// Status code; the usual phrase goes with it.
    pub code: StatusCode,
    /// Our tag, the same in each reply to the INVITE.
    pub to_tag: String,
    /// Header lines, each ended by CRLF.
    pub headers: Vec<u8>,
    /// The body; Content-Type is among the header lines.
    pub body: Bytes,
}

/// What the relay has to do. Of each `Open` comes exactly one last word: [`Session::handle_message_complete`] or
/// [`Session::handle_message_failed`] for the originator, [`Session::handle_leg_ended`] for a leg; by itself, or upon the `Close`.
#[derive(Clone, Debug)]
pub enum RelayCommand {
    /// Take the originator's message at this end. Comes before the 200 that tells him of it.
    OpenOriginator(Box<MsrpEnds>),
    /// Hang up on the originator. What he has sent and had answered is his message all the same.
    CloseOriginator,
    /// Set up the connection to this leg and give it the message from the first byte.
    OpenLeg(LegNumber, Box<MsrpEnds>),
    /// Hang up on this leg, once an end-line on its way has been written.
    CloseLeg(LegNumber),
    /// No leg will be opened any more: let go what all have (9.1.2-send-4).
    NoMoreLegs,
    /// The message will not be complete: tell each leg so (spec-notes N46).
    AbortMessage,
}

/// What the caller has to do, in this order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send an INVITE, without ACK to its 2xx by the transaction layer.
    Invite(Box<InviteRequest>),
    /// Cancel the INVITE of this leg. A provisional response has come.
    Cancel(LegNumber),

    /// Send an ACK, or the BYE to another callee of a forked INVITE: what becomes of it does not matter.
    Send(Side, Box<InDialogRequest>),
    /// Send a request inside a dialog; its end comes back by [`Session::handle_outcome`].
    Request(Side, Box<InDialogRequest>),
    /// Send a reply.
    Reply(Box<SessionReply>),
    /// Tell the relay.
    Relay(RelayCommand),
    /// Count.
    Count(Counter, u32),
    /// This is what became of a recipient: event routes, log.
    Recipient {
        /// His leg.
        leg: LegNumber,
        /// His URI.
        uri: String,
        /// Delivered or failed for good, or handed on to the ISF.
        fate: Fate,
        /// SIP status code.
        code: u16,
    },
    /// The last action: the relay lets go of all that it has of this session, and the machine can be dropped.
    Ended,
}

/// How far a session is.
///
/// ```text
///  Inviting --first 2xx: 200--> Answered --ACK: ACK to legs--> Confirmed
///     |                            |                               |
///     | all failed: 480            | no ACK for ack_wait,          | BYE from him, or to him: session expired,
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
    legs: Vec<Leg>,
    /// So many legs from the first on will not be opened any more.
    settled: usize,
    /// Legs that are not over.
    standing: usize,
    /// Legs without outcome.
    undecided: usize,
    /// When the stage has lasted long enough, and what cuts the session in any case.
    deadline: Option<Instant>,
    ack_deadline: Option<Instant>,
    born: Instant,
    /// No deadline is earlier; it may be too early.
    wake_at: Option<Instant>,
    actions: VecDeque<Action>,
}

impl Session {
    /// Begins a session: an INVITE goes to each recipient. `transaction` is that of the originator's INVITE, to which 100 has been
    /// sent. `random` fills its argument from a cryptographic source.
    ///
    /// # Errors
    /// [`NotStarted`], for an INVITE that [`check_invite`](super::check_invite) would have refused: nothing was sent, and
    /// the caller replies.
    pub fn new(
        now: Instant,
        service: &Rc<ControllingFunction>,
        settings: &Rc<LargeModeSettings>,
        invite: &AcceptedInvite,
        transaction: TransactionKey,
        random: fn(&mut [u8]),
    ) -> Result<Self, NotStarted> {
        let id = SessionId::new(random);
        let side = Side::Originator;
        let tag = DialogName { session: id, side }.to_string();
        let dialog = Dialog::of_callee(&invite.message, &tag).map_err(|_| NotStarted::Malformed)?;
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
        let mut session = Session {
            id,
            service: Rc::clone(service),
            settings: Rc::clone(settings),
            random,
            invite: invite.message.clone(),
            offer,
            template,
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
            legs: Vec::new(),
            settled: 0,
            standing: 0,
            undecided: 0,
            deadline: Some(now + ANSWER_WITHIN),
            ack_deadline: None,
            born: now,
            wake_at: None,
            actions: VecDeque::new(),
        };
        session.wake_by(Some(now + ANSWER_WITHIN));
        session.count(Counter::Accepted);
        for recipient in invite.recipients.lines() {
            let to_isf = session.template.needs_isf(recipient, service);
            session.call(now, recipient, to_isf);
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
        let Ok(peer) = Peer::of_response(response) else {
            // Nothing could be sent to such a callee. He gives up as nobody acknowledges.
            if leg.is_inviting() {
                leg.cancel(now + CANCEL_TIMEOUT);
                self.fail(now, number, StatusCode::BAD_GATEWAY, false);
                self.end_leg(number);
            }
            return self.settle(now);
        };
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
            }
            Success::TooLate => {
                if was_over {
                    self.standing += 1;
                }
                self.ack(number);
                self.bye(number, StatusCode::REQUEST_TERMINATED);
                self.watch(number);
            }
            Success::Answered => self.leg_answered(now, number, response),
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
                    self.fail(now, number, code, true);
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

    /// The end of a request of ours inside a dialog. An ACK has none.
    pub fn handle_outcome(&mut self, now: Instant, side: Side, method: &str, code: StatusCode) {
        let lost = matches!(
            code,
            StatusCode::REQUEST_TIMEOUT | StatusCode::CALL_TRANSACTION_DOES_NOT_EXIST
        );
        match (side, method) {
            (Side::Leg(number), "BYE") => {
                let ending = |leg: &&mut Leg| leg.state == LegState::Ending;
                if self.leg(number).filter(ending).is_some() && !code.is_provisional() {
                    self.end_leg(number);
                }
            }
            (Side::Leg(number), "UPDATE") => {
                let Some(leg) = self.leg(number) else { return };
                if code.is_success() {
                    if let Some(timer) = &mut leg.timer {
                        timer.refreshed(now);
                    }
                } else if lost && leg.state == LegState::Confirmed {
                    self.leg_lost(now, number, StatusCode::REQUEST_TIMEOUT);
                }
            }
            (Side::Originator, "UPDATE") if code.is_success() => {
                if let Some(timer) = &mut self.timer {
                    timer.refreshed(now);
                }
            }
            (Side::Originator, "UPDATE") if lost => self.originator_lost(now),
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
        let accepted = match side {
            Side::Originator => self.accept_from_originator(request),
            Side::Leg(number) => match self.leg(number).filter(|leg| leg.has_dialog()) {
                Some(leg) => leg.dialog.accept(request),
                None => Err(NotAcceptable::NoDialog),
            },
        };
        let method = request.method().unwrap_or_default();
        if method == "ACK" {
            if accepted.is_ok() && side == Side::Originator {
                self.acknowledged(now);
            }
            return self.settle(now);
        }
        if let Err(refusal) = accepted {
            return self.reply(side, transaction, refusal.code(), Vec::new(), Bytes::new());
        }
        match method {
            "BYE" => {
                self.reply(side, transaction, StatusCode::OK, Vec::new(), Bytes::new());
                match side {
                    Side::Originator => self.originator_left(now),
                    Side::Leg(number) => self.leg_left(now, number),
                }
            }
            "INVITE" | "UPDATE" => self.refresh(now, side, request, transaction),
            _ => {
                let mut headers = HeaderBlock::new();
                put(&mut headers, "Allow", ALLOW);
                let code = StatusCode::METHOD_NOT_ALLOWED;
                self.reply(side, transaction, code, headers.into_bytes(), Bytes::new());
            }
        }
        self.settle(now);
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
        self.settle(now);
    }

    /// The message will never be complete: given up, connection lost, nothing came for too long, or closed in the midst of it.
    pub fn handle_message_failed(&mut self, now: Instant) {
        if self.message != MessageState::Open {
            return;
        }
        self.message = MessageState::Lost;
        match self.stage {
            Stage::Answered => self.abandon(now),
            Stage::Confirmed => self.leave_originator(now, StatusCode::TEMPORARILY_UNAVAILABLE),
            Stage::Closing => self.unwind(now, StatusCode::TEMPORARILY_UNAVAILABLE),
            _ => {}
        }
        self.settle(now);
    }

    /// A leg's MSRP session has its connection.
    pub fn handle_leg_connected(&mut self, number: LegNumber) {
        let Some(leg) = self.leg(number) else { return };
        if leg.relay == (Relay::Open { connected: false }) {
            leg.relay = Relay::Open { connected: true };
            if leg.state == LegState::Confirmed {
                leg.deadline = None;
            }
        }
    }

    /// The relay's last word on a leg: a final state of the fan-out.
    pub fn handle_leg_ended(&mut self, now: Instant, number: LegNumber, delivery: Delivery) {
        let Some(leg) = self.leg(number).filter(|_| delivery.is_final()) else {
            return;
        };
        match leg.relay {
            Relay::Open { .. } => leg.relay = Relay::Ended,
            // The last word of a leg that its recipient left, upon our close.
            Relay::Closed if leg.state == LegState::Departed => {}
            _ => return,
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
            if self.legs[number.0 as usize].state == LegState::Aborting {
                self.hang_up(now, number, code);
            }
            self.end_leg(number);
        }
        self.settle(now);
    }
}

// The originator.
impl Session {
    fn accept_from_originator(&mut self, request: &Message) -> Result<(), NotAcceptable> {
        match self.stage {
            Stage::Answered | Stage::Abandoned | Stage::Confirmed => self.dialog.accept(request),
            _ => Err(NotAcceptable::NoDialog),
        }
    }

    /// The first 2xx answers the originator (9.1.2-200). False: it cannot.
    fn answer_originator(&mut self, now: Instant, first: &SessionDescription) -> bool {
        let limit = self.settings.max_message_bytes;
        let Ok((answer, ends)) = offer_answer::answer(&self.offer, first, &self.own, limit) else {
            return false;
        };
        self.relay(RelayCommand::OpenOriginator(Box::new(ends)));
        let mut headers = HeaderBlock::new();
        for name in [
            HeaderName::ConversationId,
            HeaderName::ContributionId,
            HeaderName::InReplyToContributionId,
        ] {
            if let Some(field) = self.invite.first(name) {
                headers.push_line(&field);
            }
        }
        let asked = SessionExpires::of(&self.invite).ok().flatten();
        // Without `timer` in Supported, nothing would refresh (spec-notes N1).
        if supports_timer(&self.invite) {
            // A request without interval may still name the least that it takes (RFC 4028 §9).
            let least = min_se(&self.invite).unwrap_or(0);
            let usual = self.settings.session_expires_s.max(least);
            let seconds = asked.map_or(usual, |asked| asked.seconds);
            let refresher = asked.and_then(|asked| asked.refresher);
            let we_refresh = refresher == Some(Refresher::Uas);
            let timer = SessionTimer::new(now, seconds, we_refresh);
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
        self.ack_deadline = Some(now + ACK_TIMEOUT);
        self.stay(now + self.settings.ack_wait.min(ACK_TIMEOUT));
        true
    }

    /// 9.1.2-ack-1, -2.
    fn acknowledged(&mut self, now: Instant) {
        match self.stage {
            Stage::Answered => {
                self.stage = Stage::Confirmed;
                self.ack_deadline = None;
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

    /// His BYE (9.1.2-bye).
    fn originator_left(&mut self, now: Instant) {
        // The ACK is still on its way to us through another process, or lost: he has the 200 all the same.
        if self.stage == Stage::Answered {
            self.acknowledged(now);
        }
        self.originator_gone(now);
    }

    /// He cannot be reached any more, or has let his session expire.
    fn originator_lost(&mut self, now: Instant) {
        if self.stage == Stage::Confirmed {
            self.leave_originator(now, StatusCode::REQUEST_TIMEOUT);
        }
    }

    /// Sends him BYE and goes on without him.
    fn leave_originator(&mut self, now: Instant, code: StatusCode) {
        let bye = self.dialog.bye(code);
        self.request(Side::Originator, bye);
        self.originator_gone(now);
    }

    fn originator_gone(&mut self, now: Instant) {
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

    /// Ends an INVITE that has no final response yet.
    fn refuse(&mut self, now: Instant, code: StatusCode) {
        let mut headers = HeaderBlock::new();
        for name in [
            HeaderName::ConversationId,
            HeaderName::ContributionId,
            HeaderName::InReplyToContributionId,
        ] {
            if let Some(field) = self.invite.first(name) {
                headers.push_line(&field);
            }
        }
        put(&mut headers, "Server", self.service.product());
        self.reply_to_invite(code, headers, Bytes::new());
        self.unwind(now, code);
    }

    /// Nothing will come of a session whose 200 is not acknowledged yet.
    fn abandon(&mut self, now: Instant) {
        self.lose_message();
        self.wind_up_legs(now, StatusCode::TEMPORARILY_UNAVAILABLE);
        self.stage = Stage::Abandoned;
        self.deadline = self.ack_deadline;
        self.wake_by(self.deadline);
    }

    fn deliver(&mut self, now: Instant) {
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

    /// Answers a session refresh where it arrives, with the session description as it was (spec-notes N44).
    fn refresh(
        &mut self,
        now: Instant,
        side: Side,
        request: &Message,
        transaction: Option<TransactionKey>,
    ) {
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
        let timer = match side {
            Side::Originator => {
                self.dialog.refresh_target(request);
                &mut self.timer
            }
            Side::Leg(number) => {
                let Some(leg) = self.leg(number) else { return };
                leg.dialog.refresh_target(request);
                &mut leg.timer
            }
        };
        let known = timer.map(|timer| timer.seconds());
        let seconds = asked.map(|asked| asked.seconds).or(known);

        if let Some(timer) = timer {
            timer.refreshed(now);
        }
        if let Some(seconds) = seconds.filter(|_| supports_timer(request)) {
            let refresher = asked.and_then(|asked| asked.refresher);
            let new = SessionTimer::new(now, seconds, refresher == Some(Refresher::Uas));
            put_timer(&mut headers, &new, refresher);
            *timer = Some(new);
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
        let has_offer = !request.body().is_empty();
        let mut body = Bytes::new();
        if has_offer || request.method() == Some("INVITE") {
            body = self.description(side, has_offer);
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

    /// Our session description as it was.
    fn description(&self, side: Side, as_answer: bool) -> Bytes {
        match side {
            Side::Originator => Bytes::from(self.answer.clone().unwrap_or_default()),
            Side::Leg(number) => {
                let leg = &self.legs[number.0 as usize];
                let offer = offer_answer::offer(&self.offer, &leg.own, self.size);
                let offer = offer.unwrap_or_default();
                Bytes::from(match as_answer {
                    true => offer_as_answer(&offer, leg.role),
                    false => offer,
                })
            }
        }
    }
}

// The legs.
impl Session {
    /// Sends an INVITE to a recipient, or by way of the ISF.
    fn call(&mut self, now: Instant, recipient: &str, to_isf: bool) {
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
        let side = Side::Leg(number);
        let name = DialogName {
            session: self.id,
            side,
        }
        .to_string();
        let dialog = Dialog::of_caller(&name, self.template.from(), recipient);
        let silent_until = now + self.settings.leg_silence;
        let rings_until = now + self.ring_time();
        let leg = Leg::new(recipient, to_isf, dialog, own, silent_until, rings_until);
        self.legs.push(leg);
        self.standing += 1;
        self.undecided += 1;
        self.count(match to_isf {
            true => Counter::Interworked,
            false => Counter::Recipients,
        });
        self.send_invite(number, None);
        self.watch(number);
    }

    /// Sends the INVITE again with the interval that the 422 asked for (RFC 4028 §7.3).
    fn call_again(&mut self, now: Instant, number: LegNumber, min_se: u32) {
        let silent_until = now + self.settings.leg_silence;
        let Some(leg) = self.leg(number) else { return };
        leg.asked_again = true;
        leg.state = LegState::Calling;
        leg.deadline = Some(silent_until.min(leg.rings_until));
        leg.dialog.next_invite();
        self.send_invite(number, Some(min_se));
        self.watch(number);
    }

    fn send_invite(&mut self, number: LegNumber, min_se: Option<u32>) {
        let leg = &self.legs[number.0 as usize];
        // The offer has been read before, and what we offer is ours.
        let offer = offer_answer::offer(&self.offer, &leg.own, self.size).unwrap_or_default();
        let invite = self.template.invite(number, leg, &offer, min_se);
        self.actions.push_back(Action::Invite(Box::new(invite)));
    }

    /// How long a recipient may ring: the invitation itself may be limited (spec-notes N8).
    fn ring_time(&self) -> Duration {
        let expires = self.invite.first(HeaderName::Expires);
        let expires = expires.and_then(|field| field.text().ok()?.trim().parse::<u32>().ok());
        let limit = expires.map(|seconds| Duration::from_secs(u64::from(seconds.max(1))));
        let time = self.settings.leg_timeout;
        limit.map_or(time, |limit| time.min(limit))
    }

    fn leg_answered(&mut self, now: Instant, number: LegNumber, response: &Message) {
        let leg = &self.legs[number.0 as usize];
        let sdp = find_sdp(response).ok().flatten();
        let description = sdp.and_then(|sdp| SessionDescription::parse(&sdp).ok());
        let ends = description
            .as_ref()
            .and_then(|description| read_answer(description, &leg.own).ok());
        let usable = match (&description, self.stage) {
            (Some(description), Stage::Inviting) if ends.is_some() => {
                self.answer_originator(now, description)
            }
            _ => ends.is_some(),
        };
        let timer = SessionExpires::of(response).ok().flatten().map(|expires| {
            let we_refresh = expires.refresher == Some(Refresher::Uac);
            SessionTimer::new(now, expires.seconds, we_refresh)
        });
        let leg = &mut self.legs[number.0 as usize];
        leg.timer = timer;
        let Some(ends) = ends.filter(|_| usable) else {
            self.ack(number);
            self.fail(now, number, StatusCode::NOT_ACCEPTABLE_HERE, true);
            return self.hang_up(now, number, StatusCode::NOT_ACCEPTABLE_HERE);
        };
        leg.role = ends.role;
        leg.ends = Some(Box::new(ends));
        match self.stage {
            // 9.1.2-more200.
            Stage::Confirmed | Stage::Closing | Stage::Delivering => self.confirm(now, number),
            // Its ACK is due with the originator's, and no later than this stage lasts.
            _ => {}
        }
    }

    /// ACK, and an MSRP session (9.1.2-ack-1, -2, 9.1.2-more200).
    fn confirm(&mut self, now: Instant, number: LegNumber) {
        self.ack(number);
        let Some(leg) = self.leg(number) else { return };
        leg.state = LegState::Confirmed;
        leg.deadline = Some(now + CONNECT_TIMEOUT);
        leg.relay = Relay::Open { connected: false };
        let ends = leg.ends.take();
        if let Some(ends) = ends {
            self.relay(RelayCommand::OpenLeg(number, ends));
        }
        self.watch(number);
    }

    /// The recipient sent BYE (spec-notes N45).
    fn leg_left(&mut self, now: Instant, number: LegNumber) {
        let Some(leg) = self.leg(number) else { return };
        if leg.state == LegState::Confirmed && matches!(leg.relay, Relay::Open { .. }) {
            // He may have all of it: the relay knows.
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

    /// Delivery has failed on a leg that is up; nothing if it had all.
    fn leg_lost(&mut self, now: Instant, number: LegNumber, code: StatusCode) {
        self.fail(now, number, code, true);
        self.hang_up(now, number, code);
    }

    /// BYE to a leg that has been acknowledged.
    fn hang_up(&mut self, now: Instant, number: LegNumber, code: StatusCode) {
        self.close_leg(number);
        self.bye(number, code);
        let Some(leg) = self.leg(number) else { return };
        leg.state = LegState::Ending;
        leg.deadline = Some(now + BYE_TIMEOUT);
        leg.timer = None;
        self.watch(number);
    }

    fn close_leg(&mut self, number: LegNumber) {
        let Some(leg) = self.leg(number) else { return };
        if matches!(leg.relay, Relay::Open { .. } | Relay::Ended) {
            leg.relay = Relay::Closed;
            self.relay(RelayCommand::CloseLeg(number));
        }
    }

    fn delivered(&mut self, number: LegNumber) {
        if self.decide(number, LegOutcome::Delivered) {
            self.count(Counter::Delivered);
            let uri = self.legs[number.0 as usize].uri.clone();
            self.report(number, &uri, Fate::Delivered, StatusCode::OK);
        }
    }

    /// The message does not get to this recipient on this leg. `delivery`: it was refused or could not be delivered, which the
    /// ISF may mend if policy says so (9.1.2 last list, spec-notes N45, N47).
    fn fail(&mut self, now: Instant, number: LegNumber, code: StatusCode, delivery: bool) {
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
        let (uri, number_of_code) = (leg.uri.clone(), code.as_u16());
        if interwork {
            self.decide(number, LegOutcome::Interworked);
            self.report(number, &uri, Fate::Interworked, code);
            return self.call(now, &uri, true);
        }
        self.decide(number, LegOutcome::Failed(number_of_code));
        self.count(Counter::Failed);
        self.report(number, &uri, Fate::Failed, code);
    }

    /// Whether the ISF may get what this leg does not.
    fn may_interwork(&self, leg: &Leg) -> bool {
        let wanted = match self.stage {
            Stage::Inviting | Stage::Answered | Stage::Confirmed => {
                self.message != MessageState::Lost
            }
            Stage::Delivering => true,
            // Perhaps the message is complete, and then it is worth it.
            Stage::Closing => self.message == MessageState::Open,
            Stage::Abandoned | Stage::Unwinding | Stage::Ended => false,
        };
        wanted
            && !leg.to_isf
            && !self.told_no_more_legs
            && self.service.settings().interworking_to().is_some()
    }

    /// True if the outcome is new.
    fn decide(&mut self, number: LegNumber, outcome: LegOutcome) -> bool {
        let Some(leg) = self.leg(number).filter(|leg| leg.outcome.is_none()) else {
            return false;
        };
        leg.outcome = Some(outcome);
        self.undecided -= 1;
        true
    }

    fn end_leg(&mut self, number: LegNumber) {
        let Some(leg) = self.leg(number) else { return };
        if leg.state != LegState::Over {
            leg.end();
            self.standing -= 1;
            self.close_leg(number);
        }
    }

    /// Nothing more for anybody: INVITEs are cancelled, legs that are up are told.
    fn unwind(&mut self, now: Instant, code: StatusCode) {
        self.stage = Stage::Unwinding;
        self.deadline = None;
        self.ack_deadline = None;
        self.timer = None;
        self.lose_message();
        self.wind_up_legs(now, code);
        self.close_originator();
    }

    fn wind_up_legs(&mut self, now: Instant, code: StatusCode) {
        if self.message == MessageState::Lost && !self.aborted {
            self.aborted = true;
            if self.answer.is_some() {
                self.relay(RelayCommand::AbortMessage);
            }
        }
        for number in (0..self.legs.len()).map(place_of) {
            self.fail(now, number, code, false);
            let leg = &mut self.legs[number.0 as usize];
            match leg.state {
                LegState::Calling | LegState::Proceeding => {
                    if leg.cancel(now + CANCEL_TIMEOUT) {
                        self.actions.push_back(Action::Cancel(number));
                    }
                }
                LegState::Answered => {
                    self.ack(number);
                    self.hang_up(now, number, code);
                }
                LegState::Confirmed if matches!(leg.relay, Relay::Open { .. }) => {
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

// Time.
impl Session {
    fn stage_timeout(&mut self, now: Instant) {
        let is_past = |deadline: Option<Instant>| deadline.is_some_and(|deadline| now >= deadline);
        if self.may_age() && now >= self.born + MAX_SESSION_AGE {
            return self.handle_end(now);
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
        let due = self.timer.as_mut().and_then(|timer| timer.poll(now));
        match due.filter(|_| self.stage == Stage::Confirmed) {
            Some(Due::Refresh) => {
                let headers = self
                    .timer
                    .map(|timer| update_headers(&timer, &self.settings));
                let update = self.dialog.update(headers.unwrap_or_default());
                self.request(Side::Originator, update);
            }
            Some(Due::Expired) => self.originator_lost(now),
            None => {}
        }
    }

    fn leg_timeout(&mut self, now: Instant, number: LegNumber) {
        let leg = &mut self.legs[number.0 as usize];
        if leg.deadline.is_some_and(|deadline| now >= deadline) {
            leg.deadline = None;
            match leg.state {
                LegState::Calling | LegState::Proceeding => {
                    self.fail(now, number, StatusCode::REQUEST_TIMEOUT, true);
                    let leg = &mut self.legs[number.0 as usize];
                    if leg.cancel(now + CANCEL_TIMEOUT) {
                        self.actions.push_back(Action::Cancel(number));
                    }
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
                LegState::Answered | LegState::Over => {}
            }
        }
        let leg = &mut self.legs[number.0 as usize];
        if leg.state != LegState::Confirmed {
            return;
        }
        match leg.timer.as_mut().and_then(|timer| timer.poll(now)) {
            Some(Due::Refresh) => {
                let headers = leg
                    .timer
                    .map(|timer| update_headers(&timer, &self.settings));
                let update = leg.dialog.update(headers.unwrap_or_default());
                self.request(Side::Leg(number), update);
            }
            Some(Due::Expired) => self.leg_lost(now, number, StatusCode::REQUEST_TIMEOUT),
            None => {}
        }
    }

    /// Draws the conclusions that several events lead to.
    fn settle(&mut self, now: Instant) {
        if self.undecided == 0 {
            match self.stage {
                // Spec-notes N20.
                Stage::Inviting => self.refuse(now, StatusCode::TEMPORARILY_UNAVAILABLE),
                // Nobody is left to take what he sends.
                Stage::Answered if self.message == MessageState::Open => self.abandon(now),
                Stage::Confirmed if self.message == MessageState::Open => {
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

    /// 9.1.2-send-4: content is kept as long as a leg may come that needs it from the first byte; that is one to the ISF
    /// too, after a delivery that fails (spec-notes N49).
    fn say_no_more_legs(&mut self) {
        let at_work = matches!(
            self.stage,
            Stage::Confirmed | Stage::Closing | Stage::Delivering
        );
        if self.told_no_more_legs || !at_work {
            return;
        }

        let may_open = |leg: &Leg| {
            leg.outcome.is_none() && (leg.relay == Relay::Unopened || self.may_interwork(leg))
        };
        // Who may not be opened now will not be later, so that nobody is looked at again.
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

    fn stay(&mut self, until: Instant) {
        self.deadline = Some(until);
        self.wake_by(self.deadline);
        let timer = self.timer.map(|timer| timer.deadline());
        self.wake_by(timer);
    }

    fn watch(&mut self, number: LegNumber) {
        let deadline = self.legs.get(number.0 as usize);
        self.wake_by(deadline.and_then(Leg::next_deadline));
    }

    fn wake_by(&mut self, deadline: Option<Instant>) {
        self.wake_at = self.wake_at.into_iter().chain(deadline).min();
    }

    /// What is being ended already ends sooner by itself.
    fn may_age(&self) -> bool {
        use Stage::*;
        !matches!(self.stage, Abandoned | Unwinding | Ended)
    }

    fn wake_again(&mut self) {
        let age = self.may_age().then(|| self.born + MAX_SESSION_AGE);
        self.wake_by(age);
        self.wake_by(self.deadline);
        let timer = self.timer.filter(|_| self.stage == Stage::Confirmed);
        self.wake_by(timer.map(|timer| timer.deadline()));
        let legs = self.legs.iter().filter_map(Leg::next_deadline).min();
        self.wake_by(legs);
    }
}

// What goes out.
impl Session {
    /// `None` after the end, too.
    fn leg(&mut self, number: LegNumber) -> Option<&mut Leg> {
        let ended = self.stage == Stage::Ended;
        self.legs.get_mut(number.0 as usize).filter(|_| !ended)
    }

    fn lose_message(&mut self) {
        if self.message == MessageState::Open {
            self.message = MessageState::Lost;
        }
    }

    fn close_originator(&mut self) {
        if self.answer.is_some() && !self.relay_closed {
            self.relay_closed = true;
            self.relay(RelayCommand::CloseOriginator);
        }
    }

    fn ack(&mut self, number: LegNumber) {
        if let Some(ack) = self.leg(number).map(|leg| leg.dialog.ack()) {
            self.send(number, ack);
        }
    }

    fn bye(&mut self, number: LegNumber, code: StatusCode) {
        if let Some(bye) = self.leg(number).map(|leg| leg.dialog.bye(code)) {
            self.request(Side::Leg(number), bye);
        }
    }

    fn send(&mut self, number: LegNumber, request: InDialogRequest) {
        let side = Side::Leg(number);
        self.actions
            .push_back(Action::Send(side, Box::new(request)));
    }

    fn request(&mut self, side: Side, request: InDialogRequest) {
        self.actions
            .push_back(Action::Request(side, Box::new(request)));
    }

    fn relay(&mut self, command: RelayCommand) {
        self.actions.push_back(Action::Relay(command));
    }

    fn count(&mut self, counter: Counter) {
        self.actions.push_back(Action::Count(counter, 1));
    }

    fn report(&mut self, leg: LegNumber, uri: &str, fate: Fate, code: StatusCode) {
        self.actions.push_back(Action::Recipient {
            leg,
            uri: uri.to_owned(),
            fate,
            code: code.as_u16(),
        });
    }

    fn reply_to_invite(&mut self, code: StatusCode, headers: HeaderBlock, body: Bytes) {
        let transaction = Some(self.transaction);
        self.reply(
            Side::Originator,
            transaction,
            code,
            headers.into_bytes(),
            body,
        );
    }

    fn reply(
        &mut self,
        side: Side,
        transaction: Option<TransactionKey>,
        code: StatusCode,
        headers: Vec<u8>,
        body: Bytes,
    ) {
        let Some(transaction) = transaction else {
            return;
        };
        let dialog = match side {
            Side::Originator => Some(&self.dialog),
            Side::Leg(number) => self.legs.get(number.0 as usize).map(|leg| &leg.dialog),
        };
        let reply = SessionReply {
            transaction,
            code,
            to_tag: dialog
                .map(|dialog| dialog.local_tag().to_owned())
                .unwrap_or_default(),
            headers,
            body,
        };
        self.actions.push_back(Action::Reply(Box::new(reply)));
    }
}

/// Session-Expires of a 2xx. Who refreshes is the sender of the request, unless he asked otherwise (9.1.2-200-1c).
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

/// Header lines of the UPDATE that refreshes.
fn update_headers(timer: &SessionTimer, settings: &LargeModeSettings) -> Vec<u8> {
    let mut headers = HeaderBlock::new();
    let value = format!("{};refresher=uac", timer.seconds());
    put(&mut headers, "Session-Expires", value);
    put(&mut headers, "Supported", "timer");
    put(&mut headers, "Contact", format!("<{}>", settings.contact));
    headers.into_bytes()
}

/// The SIP code that comes closest to an MSRP failure: for BYE, log and event routes.
fn code_of(failure: LegFailure) -> StatusCode {
    match failure {
        LegFailure::Refused(status) => {
            StatusCode::new(status.code()).unwrap_or(StatusCode::NOT_ACCEPTABLE_HERE)
        }
        LegFailure::NoResponse | LegFailure::Stalled => StatusCode::REQUEST_TIMEOUT,
        LegFailure::SpoolLost => StatusCode::SERVER_INTERNAL_ERROR,
        LegFailure::Disconnected | LegFailure::Dropped => StatusCode::TEMPORARILY_UNAVAILABLE,
    }
}

/// Legs are as many as recipients, twice at most.
fn place_of(place: usize) -> LegNumber {
    LegNumber(u32::try_from(place).unwrap_or(u32::MAX))
}
