//! One leg: our dialog with one recipient, from before its INVITE to its end. It moves; what has to
//! be done outside is the session's to say.

use std::time::Instant;

use crate::msrp_control::MsrpEnds;
use crate::sdp::{OwnMedia, Role};
use crate::sip_ua::SessionTimer;
use crate::sip_ua::{Dialog, Peer};

/// Most callees of one forked INVITE, besides the one that is talked to, who are remembered: each
/// gets one BYE. Others get one with each 2xx of theirs.
pub const MAX_FORKS: usize = 8;

/// How far a leg is.
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
    /// A provisional response came.
    Proceeding,
    /// To be cancelled, once a provisional response permits it (RFC 3261 §9.1).
    CancelDue,
    /// CANCEL sent.
    Cancelling,
    /// 2xx received; its ACK waits for that of the originator.
    Answered,
    /// ACK sent.
    Confirmed,
    /// Being told that the message was given up; BYE comes then.
    Aborting,
    /// The recipient sent BYE, and what it got is still to be learnt.
    Departed,
    /// BYE sent, not answered yet.
    Ending,
    /// Nothing is left but what repeated 2xx call for.
    Over,
}

/// What became of the message on a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegOutcome {
    /// The recipient has it.
    Delivered,
    /// It does not; with the SIP status code, or the one that comes closest.
    Failed(u16),
    /// It went on to the ISF, which is another leg.
    Interworked,
    /// The recipient is offered it once more, without msrp-cema (RFC 6714 §4.2), which is another
    /// leg.
    OfferedAgain,
}

/// What a 2xx calls for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Success {
    /// The leg is answered.
    Answered,
    /// It was to be cancelled, or had failed: ACK and BYE. The leg is ending now.
    TooLate,
    /// Nothing: its ACK is not due yet.
    NotDue,
    /// The same ACK again.
    AckAgain,
    /// Another callee, or one with whom there can be no dialog: ACK, and BYE if it is the first 2xx
    /// of its.
    Fork { first: bool },
    /// There was no INVITE.
    Ignored,
}

/// How far the MSRP side of a leg is, in the hands of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MsrpSide {
    /// It has not been told of the leg.
    Unopened,
    /// It is at work; the connection is there or not.
    Open { connected: bool },
    /// It has reported the final state, and still has the connection.
    Ended,
    /// It has been told to close.
    Closed,
}

#[derive(Debug)]
pub(super) struct Leg {
    pub(super) uri: String,
    pub(super) to_isf: bool,
    /// Whether it is offered msrp-cema.
    pub(super) cema: bool,
    pub(super) dialog: Dialog,
    pub(super) own: OwnMedia,
    /// What the recipient's answer said, till the relay has it.
    pub(super) ends: Option<Box<MsrpEnds>>,
    pub(super) role: Role,
    pub(super) state: LegState,
    pub(super) outcome: Option<LegOutcome>,
    pub(super) relay: MsrpSide,
    pub(super) timer: Option<SessionTimer>,
    /// When the state has lasted long enough.
    pub(super) deadline: Option<Instant>,
    /// When it has rung long enough, once it is invited.
    pub(super) rings_until: Option<Instant>,
    /// A 422 has been obeyed; a second one is a refusal.
    pub(super) asked_again: bool,
    /// The size of the message as our last offer had it: what is offered again must be the same
    /// (RFC 3264 §8).
    pub(super) offered_size: Option<u64>,
    forks: Vec<String>,
}

impl Leg {
    pub(super) fn new(uri: &str, to_isf: bool, cema: bool, dialog: Dialog, own: OwnMedia) -> Self {
        Leg {
            uri: uri.to_owned(),
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

    /// Its INVITE goes out, once more perhaps. It may ring as long as the first one may.
    pub(super) fn invite(&mut self, silent_until: Instant, rings_until: Instant) {
        let rings_until = *self.rings_until.get_or_insert(rings_until);
        self.state = LegState::Calling;
        self.deadline = Some(silent_until.min(rings_until));
    }

    /// Whether its INVITE may still be answered in a way that counts.
    pub(super) fn is_inviting(&self) -> bool {
        matches!(self.state, LegState::Calling | LegState::Proceeding)
    }

    /// Whether there is a dialog for requests in it.
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

    /// A provisional response. True: CANCEL is to be sent now.
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

    /// Gives up an INVITE without final response. True: CANCEL is to be sent now.
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

    /// A 2xx to the INVITE. `bye_until`: how long a BYE that it leads to may take.
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

    /// Nothing more is to come.
    pub(super) fn end(&mut self) {
        self.state = LegState::Over;
        self.deadline = None;
        self.timer = None;
        self.ends = None;
    }
}
