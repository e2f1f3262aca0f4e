//! Actions of a session.

use bytes::Bytes;

use super::super::outgoing_invite::InviteRequest;
use crate::controlling::host::{Counter, Fate};
use crate::msrp_control::{LegNumber, RelayCommand, Side};
use crate::sip::StatusCode;
use crate::sip_ua::InDialogRequest;

/// Identifies a transaction in which a reply of ours is due; the numbers are the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionKey(pub u64);

/// A reply to a request of a peer.
#[derive(Clone, Debug)]
pub struct SessionReply {
    /// The transaction.
    pub transaction: TransactionKey,
    /// Status code, sent with its usual phrase.
    pub code: StatusCode,
    /// Our tag, the same in each reply to the INVITE.
    pub to_tag: String,
    /// Header lines, each ended by CRLF.
    pub headers: Vec<u8>,
    /// The body; Content-Type is among the header lines.
    pub body: Bytes,
}

/// An action for the caller, to be carried out in order.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send an INVITE, without ACK for its 2xx by the transaction layer.
    Invite(Box<InviteRequest>),
    /// Cancel the INVITE of this leg. A provisional response has arrived.
    Cancel(LegNumber),

    /// Send an ACK, or the BYE to another callee of a forked INVITE: its outcome does not matter.
    Send(Side, Box<InDialogRequest>),
    /// Send a request inside a dialog; its outcome is passed to
    /// [`handle_outcome`](super::Session::handle_outcome).
    Request(Side, Box<InDialogRequest>),
    /// Send a reply.
    Reply(Box<SessionReply>),
    /// Send a command to the relay.
    Relay(RelayCommand),
    /// Add to a counter.
    Count(Counter, u32),
    /// The outcome of a recipient: for event routes and log.
    Recipient {
        /// Its leg.
        leg: LegNumber,
        /// Its number, from 0.
        recipient: u32,
        /// Its URI.
        uri: String,
        /// Delivered, finally failed, or passed to the ISF.
        fate: Fate,
        /// SIP status code.
        code: u16,
    },
    /// The last action: the relay frees everything of this session, and the state machine can be
    /// dropped.
    Ended,
}
