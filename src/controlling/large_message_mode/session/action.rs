//! What a session wants done.

use bytes::Bytes;

use super::super::outgoing_invite::InviteRequest;
use crate::controlling::host::{Counter, Fate};
use crate::msrp_control::{LegNumber, RelayCommand, Side};
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

/// What the caller has to do, in this order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send an INVITE, without ACK to its 2xx by the transaction layer.
    Invite(Box<InviteRequest>),
    /// Cancel the INVITE of this leg. A provisional response has come.
    Cancel(LegNumber),

    /// Send an ACK, or the BYE to another callee of a forked INVITE: what becomes of it does not
    /// matter.
    Send(Side, Box<InDialogRequest>),
    /// Send a request inside a dialog; its end comes back by
    /// [`handle_outcome`](super::Session::handle_outcome).
    Request(Side, Box<InDialogRequest>),
    /// Send a reply.
    Reply(Box<SessionReply>),
    /// Tell the relay.
    Relay(RelayCommand),
    /// Count.
    Count(Counter, u32),
    /// This is what became of a recipient: event routes, log.
    Recipient {
        /// Its leg.
        leg: LegNumber,
        /// Its URI.
        uri: String,
        /// Delivered or failed for good, or handed on to the ISF.
        fate: Fate,
        /// SIP status code.
        code: u16,
    },
    /// The last action: the relay lets go of all that it has of this session, and the machine can
    /// be dropped.
    Ended,
}
