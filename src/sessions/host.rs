//! The functions of the proxy that the sessions need.

use crate::controlling::large_message_mode::{InDialogRequest, SessionReply, TransactionKey};
use crate::controlling::{FanOutJob, Journal, KeptInvite, OutgoingRequest};
use crate::operator::Event;
use crate::store::Settled;

/// The proxy as the sessions process uses it. [`TransactionKey`]s are the proxy's own.
pub trait SessionHost: Journal {
    /// Sends an INVITE; the transaction layer sends no ACK for its 2xx.
    fn invite(&self, invite: &OutgoingRequest<'_>) -> Invited;

    /// Cancels one of our INVITEs, after a provisional response.
    fn cancel(&self, invite: TransactionKey);

    /// Sends a request inside a dialog. `false`: it could not be sent, and no outcome follows. An
    /// ACK never has an outcome.
    fn request(&self, request: &InDialogRequest) -> bool;

    /// Sends a reply. With `keep` its transaction is held, so that a 2xx is retransmitted until its
    /// ACK arrives, until [`release`](Self::release). `false`: the transaction has ended by itself.
    fn reply(&self, reply: &SessionReply, keep: bool) -> bool;

    /// Releases a transaction that a reply has held.
    fn release(&self, transaction: TransactionKey);

    /// Has the store keep a message; [`Sessions::handle_kept`](super::Sessions::handle_kept) or
    /// [`handle_not_kept`](super::Sessions::handle_not_kept) follows. `false`: it cannot be asked.
    fn keep(&self, kept: &KeptInvite) -> bool;

    /// A kept message is of no use.
    fn discard(&self, number: u64);

    /// What became of a recipient of a kept message.
    fn settle(&self, job: &FanOutJob, recipient: &str, settled: Settled);

    /// Raises an event for the operator's script. `about` represents the request concerned.
    fn event(&self, event: Event, code: u16, about: &OutgoingRequest<'_>);
}

/// Result of sending an INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invited {
    /// It has been sent in this transaction.
    Sent(TransactionKey),
    /// Another process sends it, and [`Sessions::handle_invited`](super::Sessions::handle_invited)
    /// will report the result.
    Elsewhere,
    /// Currently not possible: transactions use too much memory, or the connection is full.
    NotNow,
    /// It could not be sent, or the operator's script dropped it.
    Unsent,
}
