//! The CPM Client of OMA CPM 7.2, without IO: sends and receives Standalone Messages.
//!
//! A [`Draft`] is the user's input; [`Draft::prepare`] makes its CPIM message and chooses the mode
//! (7.2.1.3). A [`Sender`] then sends it, in a MESSAGE (7.2.1.1) or over MSRP (7.2.1.2). A
//! [`Receiver`] registers, answers and returns received messages. [`StoredMessage`] is a message as
//! an object of the message store, [`HeaderSet`] compares two of them (Table 2).
//!
//! The rule for both state machines: pass in events (`handle_*`), with the time; then carry out all
//! actions (`poll_output`), write the MSRP output while there is space (`poll_msrp`), and return by
//! `poll_timeout`. There is no socket, clock, file or source of randomness here; the program
//! `cpm-client` has them.
//!
//! ```text
//!  sockets --bytes--> Framing --Message--> Sender | Receiver --Output--> sockets
//!                                            |  Uac: transactions, digest, CANCEL
//!                                            |  Dialog, SessionTimer
//!                                            +- MSRP: Parser, session::Endpoint
//! ```
//!
//! SIP and SDP are those of floor 0. Of the crates for SIP, `ezk-sip-ua`, `rsipstack` and `rvoip`
//! bring an asynchronous runtime and their own sockets, which a state machine in virtual time
//! cannot use, and 170 crates and more; `rsip` has only messages, which floor 0 has. For SDP,
//! `sdp-types`, `webrtc-sdp` and `ezk-sdp-types` support only the frame, not MSRP.

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
    Draft, DraftError, MAX_CONTENT_PARTS, Mode, OMA_RELEASE, Outgoing, PAGER_MAX_BYTES,
    SessionExpires, SizeOf,
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
/// Supported methods.
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, MESSAGE, UPDATE, OPTIONS";

/// The route to a peer, or the source of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Way {
    /// Its transport.
    pub transport: SipTransport,
    /// The peer's end.
    pub address: SocketAddr,
}

/// The addresses that receive SIP, for Via and Contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnAddresses {
    /// Over UDP and TCP.
    pub plain: SocketAddr,
    /// Over TLS, if it has a port of its own; otherwise a peer over TLS can only use the existing
    /// connection.
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
