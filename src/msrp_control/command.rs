//! Commands of a session machine for the relay.

use super::{LegNumber, SessionId, StoredContent};
use crate::msrp::{MsrpUri, Path};
use crate::sdp::{Fingerprint, Role, Transport};
use crate::shared::HeadNote;

/// Both ends of one MSRP session, as the relay needs them.
#[derive(Clone, Debug)]
pub struct MsrpEnds {
    /// Our own URI, which identifies the session.
    pub own: MsrpUri,
    /// The peer's `a=path`.
    pub peer: Path,
    /// The transport.
    pub transport: Transport,
    /// Which side opens the connection.
    pub role: Role,
    /// The host to connect to, if we do: a name, or an IP address without brackets.
    pub host: String,
    /// The port to connect to.
    pub port: u16,
    /// The required hash of the peer's certificate, if its description has one.
    pub fingerprint: Option<Fingerprint>,
    /// Value of `a=accept-types`: the types that we announced to the originator, or those that the
    /// recipient accepts.
    pub accept_types: String,
    /// `a=max-size`, likewise.
    pub max_size: Option<u64>,
}

/// A command for the relay. Each `Open` has exactly one final event:
/// `Session::handle_message_complete` or `Session::handle_message_failed` for the originator,
/// `Session::handle_leg_ended` for a leg; by itself, or after the `Close`, which is sent once.
#[derive(Clone, Debug)]
pub enum RelayCommand {
    /// Record the Message-ID as soon as the header of the message has it, and the sender if it asks
    /// for disposition notifications. Sent before `OpenOriginator`.
    NoteHead(Box<HeadNote>),
    /// Write the content to a file of the store as it arrives. Its last chunk is answered after
    /// `Kept` or `NotKept`, one of which follows each
    /// [`MsrpEvent::ContentStored`](super::MsrpEvent::ContentStored). Sent before `OpenOriginator`.
    Store,
    /// The message with the stored content is on disk: it is complete.
    Kept,
    /// It is not, and this content, of so many bytes, is of no use.
    NotKept(u64),
    /// The message is complete in the store: its legs get it from there. Sent first, and without
    /// an originator.
    Restore(Box<StoredContent>),
    /// Accept the originator's message at this end. Sent before the 200 that announces it.
    OpenOriginator(Box<MsrpEnds>),
    /// Close the originator's connection. Everything that it has sent and that has been answered
    /// still belongs to its message.
    CloseOriginator,
    /// Set up the connection to this leg and send it the message from the first byte.
    OpenLeg(LegNumber, Box<MsrpEnds>),
    /// Close this leg's connection, once an end-line in progress has been written.
    CloseLeg(LegNumber),
    /// No further leg will be opened: free the content that all have (9.1.2-send-4).
    NoMoreLegs,
    /// The message will not be complete: notify each leg (readings N46).
    AbortMessage,
}

/// A task for the relay.
#[derive(Debug)]
pub enum RelayOrder {
    /// A command for a session.
    Command(SessionId, RelayCommand),
    /// The session has ended: the relay keeps nothing of it.
    Forget(SessionId),
}
