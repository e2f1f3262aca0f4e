//! The CPM Client of OMA CPM 7.2, without IO: sends and receives Standalone Messages.
//!
//! A [`Draft`] is what the user wants; [`Draft::prepare`] makes the CPIM message of it and chooses
//! the mode (7.2.1.3). A [`Sender`] then sends it, in a MESSAGE (7.2.1.1) or over MSRP (7.2.1.2). A
//! [`Receiver`] registers, answers and hands out what comes. [`StoredMessage`] is a message as an
//! object of the message store, [`HeaderSet`] compares two of them (Table 2).
//!
//! The one law of both machines: pass in what happened (`handle_*`), with the time; then take all
//! that is to be done (`poll_output`), write what MSRP has to say while there is room
//! (`poll_msrp`), and come back by `poll_timeout`. No socket, clock, file or source of randomness
//! is in here; the program `cpm-client` has them.
//!
//! ```text
//!  sockets --bytes--> Framing --Message--> Sender | Receiver --Output--> sockets
//!                                            |  Uac: transactions, digest, CANCEL
//!                                            |  Dialog, SessionTimer
//!                                            +- MSRP: Parser, session::Endpoint
//! ```
//!
//! SIP and SDP are those of floor 0. Of the crates for SIP, `ezk-sip-ua`, `rsipstack` and `rvoip`
//! bring an asynchronous runtime and sockets of their own, which a machine in virtual time cannot
//! use, and 170 crates and more; `rsip` has messages only, which floor 0 has. For SDP, `sdp-types`,
//! `webrtc-sdp` and `ezk-sdp-types` know nothing of MSRP beyond the frame.

#![forbid(unsafe_code)]

mod body;
mod date_time;
mod destination;
mod digest;
mod framing;
mod identifiers;
mod matching;
mod message;
mod notification;
mod outcome;
mod payload;
mod receiver;
mod registration;
mod request;
mod sender;
mod session_timer;
mod stored;
#[cfg(test)]
mod tests;
mod transaction;
mod uac;

use std::net::SocketAddr;

pub use cpm_wire::sip::{MAX_ROUTES, Transport as SipTransport};
pub use cpm_wire::sip_ua::{MAX_SESSION_EXPIRES_S, MIN_SESSION_EXPIRES_S};
pub use date_time::rfc3339;
pub use destination::{Destination, Recipient, ReplySource, reply_address};
pub use digest::Credentials;
pub use framing::{Framing, FramingError, MAX_BODY_BYTES};
pub use identifiers::{Random, token, uuid};
pub use matching::{Comparison, Folder, HeaderSet, Row};
pub use message::{
    Draft, DraftError, MAX_CONTENT_PARTS, Mode, Outgoing, PAGER_MAX_BYTES, SessionExpires, SizeOf,
};
pub use outcome::{Failure, MsrpFailure, Refusal, Sent};
pub use payload::Part;
pub use receiver::{
    MAX_SESSIONS, Received, Receiver, ReceiverConfig, ReceiverEvent, ReceiverOutput,
};
pub use registration::RegistrationConfig;
pub use request::{OutRequest, SipNames};
pub use sender::{
    CONNECT_TIMEOUT, MAX_FORKS, MsrpTarget, STALL_TIMEOUT, Sender, SenderConfig, SenderEvent,
    SenderOutput,
};
pub use stored::{MAX_STORED_HEAD_BYTES, NotAnObjectError, StoredMessage};
pub use transaction::{T1, T2, TIMEOUT};
pub use uac::MAX_CHALLENGES;

/// Namespace of CPM's header fields in CPIM (readings N61).
pub const CPM_NAMESPACE: &str = "http://www.openmobilealliance.org/cpm/";
/// The CPIM header field that lists the content types of a multipart (7.2.1.3-3-i).
pub const PAYLOAD_TYPE: &str = "Payload-Type";
/// Content type of a CPIM message (RFC 3862).
const CPIM_TYPE: &str = "message/cpim";
/// Methods that the client answers.
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, MESSAGE, UPDATE, OPTIONS";

/// How to get to a peer, or how a message came from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Way {
    /// What carries it.
    pub transport: SipTransport,
    /// The peer's end.
    pub address: SocketAddr,
}

/// Where SIP comes in: what Via and Contact name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnAddresses {
    /// Over UDP and TCP.
    pub plain: SocketAddr,
    /// Over TLS, where it has a port of its own; without one, a peer over TLS has but the
    /// connection that is there.
    pub tls: Option<SocketAddr>,
}

impl OwnAddresses {
    /// The one for this transport.
    fn of(self, transport: SipTransport) -> SocketAddr {
        match (transport, self.tls) {
            (SipTransport::Tls, Some(tls)) => tls,
            _ => self.plain,
        }
    }
}

impl From<SocketAddr> for OwnAddresses {
    fn from(plain: SocketAddr) -> Self {
        Self { plain, tls: None }
    }
}

/// The User-Agent of Appendix D.
fn user_agent(oma_release: &str) -> String {
    format!(
        "CPM-client/OMA{oma_release} cpm-client/{}",
        env!("CARGO_PKG_VERSION")
    )
}
