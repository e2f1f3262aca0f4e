//! What a session machine wants of the relay.

use super::LegNumber;
use crate::msrp::{MsrpUri, Path};
use crate::sdp::{Fingerprint, Role, Transport};
use crate::shared::SenderNote;

/// Both ends of one MSRP session, as the relay has to know them.
#[derive(Clone, Debug)]
pub struct MsrpEnds {
    /// Our own URI, which the relay knows the session by.
    pub own: MsrpUri,
    /// The peer's `a=path`.
    pub peer: Path,
    /// What carries it.
    pub transport: Transport,
    /// Who opens the connection.
    pub role: Role,
    /// Where to connect to if we do: a host name, or an IP address without brackets.
    pub host: String,
    /// The port to connect to.
    pub port: u16,
    /// What the peer's certificate must hash to, where its description says so.
    pub fingerprint: Option<Fingerprint>,
    /// Value of `a=accept-types`: what we told the originator to take, or what the recipient takes.
    pub accept_types: String,
    /// `a=max-size`, in the same sense.
    pub max_size: Option<u64>,
}

/// What the relay has to do. Of each `Open` comes exactly one final event:
/// `Session::handle_message_complete` or `Session::handle_message_failed` for the originator,
/// `Session::handle_leg_ended` for a leg; by itself, or upon the `Close`, which comes once.
#[derive(Clone, Debug)]
pub enum RelayCommand {
    /// Note the sender of the message as soon as its header has named it, if that asks for
    /// disposition notifications. Comes before `OpenOriginator`.
    NoteSender(Box<SenderNote>),
    /// Take the originator's message at this end. Comes before the 200 that tells it of it.
    OpenOriginator(Box<MsrpEnds>),
    /// Hang up on the originator. What it has sent and had answered is its message all the same.
    CloseOriginator,
    /// Set up the connection to this leg and give it the message from the first byte.
    OpenLeg(LegNumber, Box<MsrpEnds>),
    /// Hang up on this leg, once an end-line on its way has been written.
    CloseLeg(LegNumber),
    /// No leg will be opened any more: let go what all have (9.1.2-send-4).
    NoMoreLegs,
    /// The message will not be complete: tell each leg so (readings N46).
    AbortMessage,
}
