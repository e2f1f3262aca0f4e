//! What sessions of large message mode go by: policy, addresses, and the times that are fixed.

use std::net::IpAddr;
use std::time::Duration;

use crate::policy::LargeModePolicy;
pub use crate::policy::{ACK_TIMEOUT, MAX_SESSION_AGE};
use crate::sdp::{Fingerprint, Transport};

/// How soon at the latest the originator's INVITE gets its final response from us. The transaction
/// layer must keep that transaction for longer, or it answers 408 by itself: set its timer to some
/// ten seconds more, below 180 s.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(160);
/// How long a cancelled INVITE may go without final response: 64 times T1 (RFC 3261 §9.1).
pub const CANCEL_TIMEOUT: Duration = Duration::from_secs(32);
/// How long a BYE may go without response: 64 times T1, timer F of RFC 3261 §17.1.2.2. Till then a
/// repeated 2xx gets its ACK.
pub const BYE_TIMEOUT: Duration = Duration::from_secs(32);
/// How long an MSRP connection may take to come about, by either side.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(32);
/// How long the relay may take for its final event on a leg or on the message that it was told to
/// close.
pub const RELAY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a leg may take to be told by the flag `#` that its message was given up.
pub const ABORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the originator may take for its BYE once its message is complete. A client sends it
/// when it has the last 200.
pub const SENDER_BYE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a recipient's INVITE may go without any response, since a request that could not be
/// sent makes no noise for half a minute.
pub const LEG_SILENCE: Duration = Duration::from_secs(10);

/// What a session of large message mode goes by.
#[derive(Clone, Debug)]
pub struct LargeModeSettings {
    /// What the operator has configured.
    pub policy: LargeModePolicy,
    /// [`LEG_SILENCE`] but in tests.
    pub leg_silence: Duration,
    /// URI of Contact: where requests inside of dialogs reach this proxy. Without header fields.
    pub contact: String,
    /// Where peers reach our relay.
    pub msrp: MsrpAddresses,
}

/// Where peers reach our relay (`msrp_advertise`, `msrp_transport`).
#[derive(Clone, Debug)]
pub struct MsrpAddresses {
    /// For MSRP over TCP.
    pub tcp: Option<MsrpAddress>,
    /// For MSRP over TLS.
    pub tls: Option<MsrpAddress>,
    /// Fingerprint of our certificate.
    pub fingerprint: Option<Fingerprint>,
    /// What recipients are offered.
    pub leg_transport: Transport,
}

/// Where peers reach one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsrpAddress {
    /// The address.
    pub address: IpAddr,
    /// The port, not 0.
    pub port: u16,
}

impl MsrpAddresses {
    /// The listener for a transport.
    pub fn of(&self, transport: Transport) -> Option<MsrpAddress> {
        match transport {
            Transport::Tcp => self.tcp,
            Transport::Tls => self.tls,
        }
    }

    /// The transports that have a listener.
    pub fn transports(&self) -> Vec<Transport> {
        [Transport::Tcp, Transport::Tls]
            .into_iter()
            .filter(|&transport| self.of(transport).is_some())
            .collect()
    }
}

impl LargeModeSettings {
    /// What `policy` says, for a proxy that is reached at `contact` and a relay at these addresses.
    pub fn new(policy: &LargeModePolicy, contact: String, msrp: MsrpAddresses) -> Self {
        LargeModeSettings {
            policy: policy.clone(),
            leg_silence: LEG_SILENCE,
            contact,
            msrp,
        }
    }
}

impl MsrpAddresses {
    /// Where `policy` says that peers reach the relay, whose certificate has this fingerprint.
    pub fn new(policy: &LargeModePolicy, fingerprint: Option<Fingerprint>) -> Self {
        let address = |transport| {
            policy.advertised(transport).map(|address| MsrpAddress {
                address: address.ip(),
                port: address.port(),
            })
        };
        MsrpAddresses {
            tcp: address(Transport::Tcp),
            tls: address(Transport::Tls),
            fingerprint,
            leg_transport: policy.leg_transport,
        }
    }
}
