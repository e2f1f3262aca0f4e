//! One leg: our dialog with one recipient, from before its INVITE to its end. It only changes
//! state; the session determines the resulting actions.

use std::time::Instant;

use crate::msrp_control::MsrpEnds;
use crate::sdp::{OwnMedia, Role};
use crate::sip_ua::SessionTimer;
use crate::sip_ua::{Dialog, Peer};

/// Maximum number of callees of one forked INVITE that are remembered, besides the one in the
/// dialog: each gets one BYE. Others get one for each of their 2xx.
pub const MAX_FORKS: usize = 8;

/// State of a leg.
///
/// ```text
///  Waiting --its turn: INVITE--> Calling; session over--> Over
///
///  Calling --1xx--> Proceeding        Answered --ACK--> Confirmed --BYE--> Ending --reply--> Over
///   |   |             |   |            ^                 |   |             ^
///   |   +----2xx------|---+---2xx------+                 |   +--given up--> Aborting: `#`, BYE
///   | cancelled       | cancelled                        |
///   v                 v                                  +--its BYE--> Departed --its end: Over
///  CancelDue --1xx--> Cancelling
///   |   |             |   |
///   |   +-------------|---+---2xx: ACK and BYE--> Ending
///   +-----------------+---final response, or none--> Over
///
///  Calling, Proceeding --final response--> Over --late 2xx: ACK and BYE--> Ending
///
///  Answered waits for the originator's ACK; once that has come, ACK follows at once.
///  BYE of the recipient ends Answered, Aborting and Ending too: Over.
///  A 2xx repeated after its ACK gets that ACK again, one of another callee gets ACK and BYE, in
///  any state.
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegState {
    /// Not invited yet: others come first.
    Waiting,
    /// INVITE sent, no response yet.
    Calling,
    /// A provisional response has arrived.
    Proceeding,
    /// To be cancelled, once a provisional response permits it (RFC 3261 §9.1).
    CancelDue,
    /// CANCEL sent.
    Cancelling,
    /// 2xx received; its ACK waits for that of the originator.
    Answered,
    /// ACK sent.
    Confirmed,
    /// It is being told that the message was abandoned; BYE follows.
    Aborting,
    /// The recipient has sent BYE, and how much it received is not known yet.
    Departed,
    /// BYE sent, not answered yet.
    Ending,
    /// Nothing remains except answering retransmitted 2xx.
    Over,
}

/// Outcome of the message on a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegOutcome {
    /// The recipient has it.
    Delivered,
    /// It does not; with the SIP status code, or the closest one.
    Failed(u16),
    /// It waits in the store for the recipient, which has failed with this code.
    Deferred(u16),
    /// It was sent to the ISF, on another leg.
    Interworked,
    /// It is offered again, without msrp-cema (RFC 6714 §4.2), on another leg.
    OfferedAgain,
}

/// What to do about a 2xx.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Success {
    /// The leg is answered.
    Answered,
    /// It was to be cancelled, or had failed: ACK and BYE. The leg is now ending.
    TooLate,
    /// Nothing: its ACK is not due yet.
    NotDue,
    /// The same ACK again.
    AckAgain,
    /// Another callee, or one with which no dialog is possible: ACK, and BYE for its first 2xx.
    Fork { first: bool },
    /// There was no INVITE.
    Ignored,
}

/// State of the MSRP side of a leg, handled by the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MsrpSide {
    /// The relay does not know the leg yet.
    Unopened,
    /// It is active; connected or not.
    Open { connected: bool },
    /// The relay has reported the final state; the connection is still open.
    Ended,
    /// The relay has been told to close.
    Closed,
}

#[derive(Debug)]
pub(super) struct Leg {
    pub(super) uri: String,
    /// Number of the recipient, from 0: that of its first leg.
    pub(super) recipient: u32,
    pub(super) to_isf: bool,
    /// Whether it is offered msrp-cema.
    pub(super) cema: bool,
    pub(super) dialog: Dialog,
    pub(super) own: OwnMedia,
    /// The data of the recipient's answer, until the relay has it.
    pub(super) ends: Option<Box<MsrpEnds>>,
    pub(super) role: Role,
    pub(super) state: LegState,
    pub(super) outcome: Option<LegOutcome>,
    pub(super) relay: MsrpSide,
    pub(super) timer: Option<SessionTimer>,
    /// Deadline of the state.
    pub(super) deadline: Option<Instant>,
    /// Deadline for ringing, once it is invited.
    pub(super) rings_until: Option<Instant>,
    /// A 422 has been followed; a second one counts as a refusal.
    pub(super) asked_again: bool,
    /// The size of the message in our last offer: a repeated offer must be the same (RFC 3264 §8).
    pub(super) offered_size: Option<u64>,
    forks: Vec<String>,
}

impl Leg {
    pub(super) fn new(
        (recipient, uri): (u32, &str),
        to_isf: bool,
        cema: bool,
        dialog: Dialog,
        own: OwnMedia,
    ) -> Self {
        Leg {
            uri: uri.to_owned(),
            recipient,
            to_isf,
            cema,
            dialog,
            own,
            ends: None,
            role: Role::Active,
            state: LegState::Waiting,
            outcome: None,
            relay: MsrpSide::Unopened,
            timer: None,
            deadline: None,
            rings_until: None,
            asked_again: false,
            offered_size: None,
            forks: Vec::new(),
        }
    }

    /// Its INVITE is sent, possibly again. It may ring until the deadline of the first one.
    pub(super) fn invite(&mut self, silent_until: Instant, rings_until: Instant) {
        let rings_until = *self.rings_until.get_or_insert(rings_until);
        self.state = LegState::Calling;
        self.deadline = Some(silent_until.min(rings_until));
    }

    /// Whether an answer to its INVITE still counts.
    pub(super) fn is_inviting(&self) -> bool {
        matches!(self.state, LegState::Calling | LegState::Proceeding)
    }

    /// Whether it has a dialog for requests.
    pub(super) fn has_dialog(&self) -> bool {
        use LegState::*;
        matches!(
            self.state,
            Answered | Confirmed | Aborting | Departed | Ending
        )
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let timer = self.timer.filter(|_| self.state == LegState::Confirmed);
        let timer = timer.map(|timer| timer.deadline());
        self.deadline.into_iter().chain(timer).min()
    }

    /// A provisional response. True: CANCEL must be sent now.
    pub(super) fn provisional(&mut self, cancel_until: Instant) -> bool {
        match self.state {
            LegState::Calling => {
                self.state = LegState::Proceeding;
                self.deadline = self.rings_until;
                false
            }
            LegState::CancelDue => {
                self.state = LegState::Cancelling;
                self.deadline = Some(cancel_until);
                true
            }
            _ => false,
        }
    }

    /// Gives up an INVITE without final response. True: CANCEL must be sent now.
    pub(super) fn cancel(&mut self, cancel_until: Instant) -> bool {
        let (next, now) = match self.state {
            LegState::Calling => (LegState::CancelDue, false),
            LegState::Proceeding => (LegState::Cancelling, true),
            _ => return false,
        };
        self.state = next;
        self.deadline = Some(cancel_until);
        now
    }

    /// A 2xx to the INVITE. `bye_until`: deadline for the BYE, if one follows.
    pub(super) fn success(&mut self, peer: &Peer, bye_until: Instant) -> Success {
        use LegState::*;
        let known = self.has_dialog() || !self.dialog.remote_tag().is_empty();
        let is_ours = known && peer.tag == self.dialog.remote_tag();
        if !is_ours && self.state != Waiting && (known || !peer.makes_dialog) {
            let first = !self.forks.iter().any(|known| known == peer.key());
            if first && self.forks.len() < MAX_FORKS {
                self.forks.push(peer.key().to_owned());
            }
            return Success::Fork { first };
        }
        match self.state {
            Calling | Proceeding => {
                self.dialog.establish(peer);
                self.state = Answered;
                self.deadline = None;
                Success::Answered
            }
            CancelDue | Cancelling => self.late(peer, bye_until),
            Waiting => Success::Ignored,
            Answered => Success::NotDue,
            Over if !known => self.late(peer, bye_until),
            Confirmed | Aborting | Departed | Ending | Over => Success::AckAgain,
        }
    }

    fn late(&mut self, peer: &Peer, bye_until: Instant) -> Success {
        self.dialog.establish(peer);
        self.state = LegState::Ending;
        self.deadline = Some(bye_until);
        Success::TooLate
    }

    /// The leg has ended.
    pub(super) fn end(&mut self) {
        self.state = LegState::Over;
        self.deadline = None;
        self.timer = None;
        self.ends = None;
    }
}
