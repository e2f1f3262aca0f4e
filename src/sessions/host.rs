//! What the sessions need of the proxy.

use crate::controlling::large_message_mode::{InDialogRequest, SessionReply, TransactionKey};
use crate::controlling::{Host, OutgoingRequest};
use crate::operator::Event;

/// The proxy, as the process of the sessions uses it. [`TransactionKey`]s are the proxy's own.
pub trait SessionHost: Host {
    /// Sends an INVITE, without ACK to its 2xx by the transaction layer.
    fn invite(&self, invite: &OutgoingRequest<'_>) -> Invited;

    /// Cancels an INVITE of ours, to which a provisional response has come.
    fn cancel(&self, invite: TransactionKey);

    /// Sends a request inside a dialog. `false`: it could not be sent, and no outcome follows. An
    /// ACK never has one.
    fn request(&self, request: &InDialogRequest) -> bool;

    /// Sends a reply. With `keep` its transaction is held, so that a 2xx is repeated until its ACK
    /// comes, up to [`release`](Self::release). `false`: the transaction has ended by itself.
    fn reply(&self, reply: &SessionReply, keep: bool) -> bool;

    /// Releases a transaction that a reply has held.
    fn release(&self, transaction: TransactionKey);

    /// Tells the operator's script. `about` stands for the request that the event is about.
    fn event(&self, event: Event, code: u16, about: &OutgoingRequest<'_>);
}

/// What became of an INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invited {
    /// It is on its way in this transaction.
    Sent(TransactionKey),
    /// Another process sends it, and [`Sessions::handle_invited`](super::Sessions::handle_invited)
    /// will tell.
    Elsewhere,
    /// Not now: transactions hold too much memory, or the connection is full.
    NotNow,
    /// It could not be sent, or the operator's script dropped it.
    Unsent,
}
