//! What a session wants done.

use bytes::Bytes;

use super::super::offer_answer::MsrpEnds;
use super::super::outgoing_invite::InviteRequest;
use super::super::{LegNumber, Side};
use crate::controlling::host::{Counter, Fate};
use crate::shared::SenderNote;
use crate::sip::StatusCode;
use crate::sip_ua::InDialogRequest;

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

/// What the relay has to do. Of each `Open` comes exactly one last word: [`handle_message_complete`] or
/// [`handle_message_failed`] for the originator, [`handle_leg_ended`] for a leg; by itself, or upon the `Close`, which comes once.
///
/// [`handle_message_complete`]: super::Session::handle_message_complete
/// [`handle_message_failed`]: super::Session::handle_message_failed
/// [`handle_leg_ended`]: super::Session::handle_leg_ended
#[derive(Clone, Debug)]
pub enum RelayCommand {
    /// Note the sender of the message as soon as its header has named it, if that asks for disposition notifications. Comes before
    /// `OpenOriginator`.
    NoteSender(Box<SenderNote>),
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
    /// Send a request inside a dialog; its end comes back by [`handle_outcome`](super::Session::handle_outcome).
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
