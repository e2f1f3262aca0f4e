//! Settings of large message mode: policy, addresses, and fixed times.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::policy::LargeModePolicy;
pub use crate::policy::{ACK_TIMEOUT, MAX_SESSION_AGE};
use crate::sdp::{Fingerprint, Transport};

/// Deadline for our final response to the originator's INVITE. The transaction layer must keep that
/// transaction longer, or it answers 408 by itself: set its timer some ten seconds higher, but
/// below 180 s.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(160);
/// How long a cancelled INVITE may go without a final response: 64 times T1 (RFC 3261 §9.1).
pub const CANCEL_TIMEOUT: Duration = Duration::from_secs(32);
/// How long a BYE may go without a response: 64 times T1, timer F of RFC 3261 §17.1.2.2. Until then
/// a retransmitted 2xx gets its ACK.
pub const BYE_TIMEOUT: Duration = Duration::from_secs(32);
/// Time limit for establishing an MSRP connection, by either side.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(32);
/// Time limit for the relay's final event on a leg or message that it was told to close.
pub const RELAY_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit for telling a leg by the flag `#` that its message was abandoned.
pub const ABORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit for the originator's BYE once its message is complete. A client sends it when it has
/// the last 200.
pub const SENDER_BYE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a recipient's INVITE may go without any response, since a request that could not be
/// sent is otherwise noticed only after half a minute.
pub const LEG_SILENCE: Duration = Duration::from_secs(10);

/// The settings of a session of large message mode.
#[derive(Clone, Debug)]
pub struct LargeModeSettings {
    /// The operator's configuration.
    pub policy: LargeModePolicy,
    /// [`LEG_SILENCE`], except in tests.
    pub leg_silence: Duration,
    /// URI of Contact: the address of this proxy for requests inside dialogs. Without header
    /// fields.
    pub contact: String,
    /// The relay's addresses for peers.
    pub msrp: MsrpAddresses,
}

/// The relay's addresses for peers (`msrp_advertise`, `msrp_transport`).
#[derive(Clone, Debug)]
pub struct MsrpAddresses {
    /// For MSRP over TCP.
    pub tcp: Option<MsrpAddress>,
    /// For MSRP over TLS.
    pub tls: Option<MsrpAddress>,
    /// Fingerprint of our certificate.
    pub fingerprint: OwnFingerprint,
    /// The transport offered to recipients.
    pub leg_transport: Transport,
}

/// The fingerprint of our certificate. When the certificate is replaced, it is replaced for all
/// holders in this process.
#[derive(Clone, Debug, Default)]
pub struct OwnFingerprint(Rc<RefCell<Option<Fingerprint>>>);

impl OwnFingerprint {
    /// `None`: there is no certificate.
    pub fn new(fingerprint: Option<Fingerprint>) -> Self {
        OwnFingerprint(Rc::new(RefCell::new(fingerprint)))
    }

    /// That of the certificate in use.
    pub fn get(&self) -> Option<Fingerprint> {
        self.0.borrow().clone()
    }

    /// Another certificate is in use.
    pub fn set(&self, fingerprint: Option<Fingerprint>) {
        self.0.replace(fingerprint);
    }
}

/// The address of one listener for peers.
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
    /// From `policy`, for a proxy that is reached at `contact` and a relay at these addresses.
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
    /// The relay's addresses from `policy`; its certificate has this fingerprint.
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
            fingerprint: OwnFingerprint::new(fingerprint),
            leg_transport: policy.leg_transport,
        }
    }
}
