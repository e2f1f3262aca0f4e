//! The operator's settings for large message mode.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::unset::unset_at_first;
use super::value::MsrpListener;
use crate::sdp::Transport;

/// Maximum age of a session: a backstop for peers without session timers. 100 MiB take four hours
/// at 64 kbit/s.
pub const MAX_SESSION_AGE: Duration = Duration::from_secs(12 * 3600);

/// How long a 2xx may wait for its ACK: 64 times T1 (RFC 3261 §13.3.1.4).
pub const ACK_TIMEOUT: Duration = Duration::from_secs(32);

unset_at_first! {
    /// Large message mode as configured. Without [`listen`](Self::listen) it is off, and INVITEs
    /// are left to the routing script.
    #[derive(Clone, Debug)]
    pub struct LargeModePolicy {
        /// `msrp_listen`: addresses that accept MSRP connections.
        pub listen: Vec<MsrpListener>,
        /// `msrp_advertise`: where peers reach these listeners, one for each transport. Not set:
        /// the listening addresses.
        pub advertise: Vec<MsrpListener>,
        /// `msrp_transport`: the transport offered to recipients.
        pub leg_transport: Transport = Transport::Tcp,
        /// `msrp_max_message`: maximum message length in bytes; 0: no limit (readings N49).
        pub max_message_bytes: u64,
        /// `msrp_chunk_size`: maximum content bytes in one chunk to a recipient; `None`: no limit
        /// (readings N57).
        pub chunk_bytes: Option<u64>,
        /// `msrp_memory`: bytes of content that all sessions may keep in memory.
        pub memory_bytes: usize,
        /// `msrp_session_memory`: bytes of content that one session may keep in memory.
        pub session_memory_bytes: usize,
        /// `msrp_spool_dir`: folder for content that exceeds these.
        pub spool_dir: SpoolDir,
        /// `msrp_spool`: maximum bytes of all spool files together.
        pub spool_bytes: u64,
        /// `msrp_stall_timeout`: how long a recipient may accept no data.
        pub stall_timeout: Duration,
        /// `spool_ttl`: how long a complete message is kept for a slow recipient, and how long the
        /// originator may take to send it; `None`: no limit except the age of the session (readings
        /// N49).
        pub spool_ttl: Option<Duration>,
        /// `msrp_max_connections`: maximum number of MSRP connections.
        pub max_connections: usize,
        /// `msrp_max_unbound`: maximum number of accepted connections that have not named a session
        /// yet.
        pub max_unbound: usize,
        /// `msrp_max_unbound_per_source`: the same for one source; 0: no separate limit.
        pub max_unbound_per_source: usize,
        /// `msrp_tls_certificate`: certificate chain, PEM.
        pub tls_certificate: Option<String>,
        /// `msrp_tls_private_key`: its key, PEM.
        pub tls_private_key: Option<String>,
        /// `msrp_tls_ca_file`: trusted authorities for session descriptions without a fingerprint,
        /// PEM. Not set: the system's.
        pub tls_ca_file: Option<String>,
        /// `max_sessions`: maximum number of sessions; a further INVITE is answered with 503.
        pub max_sessions: usize,
        /// `max_sessions_per_sender`: the same for one originator; 0: no separate limit.
        pub max_sessions_per_sender: usize,
        /// `contact_uri`: the address of this proxy for requests inside our dialogs. Not set: its
        /// first listener.
        pub contact_uri: Option<String>,
        /// `require_session_timer`: which Session-Expires is refused (readings N1).
        pub require_session_timer: SessionTimerCheck,
        /// `session_expires`: interval towards an originator that names none, in seconds.
        pub session_expires_s: u32,
        /// `leg_session_expires`: interval requested of recipients, in seconds; 0: none is
        /// requested (readings N44).
        pub leg_session_expires_s: u32,
        /// `leg_timeout`: how long a recipient may ring (readings N20).
        pub leg_timeout: Duration,
        /// `max_parallel_legs`: maximum number of INVITEs of a session that wait for a final
        /// answer; `None`: no limit (readings N36).
        pub max_parallel_legs: Option<usize>,
        /// `legs_per_second`: INVITEs that a session sends in a second; `None`: no limit (readings
        /// N36).
        pub legs_per_second: Option<u32>,
        /// `all_failed_response`: the answer to the originator when no recipient answers 2xx
        /// (readings N20).
        pub all_failed_response: AllFailedResponse,
        /// `leg_ack`: when a recipient's 2xx gets its ACK (readings N43).
        pub leg_ack: LegAck,
        /// `ack_wait`: how long recipients that have answered wait for the originator's ACK
        /// (readings N43).
        pub ack_wait: Duration,
        /// `large_no_destinations_text`: spelling of the Warning for an empty list (readings N11).
        pub no_destinations_text: NoDestinationsText,
        /// `large_group_no_cpm_code`: 404 or 488, for a group without the CPM service (readings
        /// N13).
        pub group_no_cpm_code: u16,
    }
}

/// Destination of content that does not fit into memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SpoolDir {
    /// The state directory, if there is one.
    #[default]
    OfState,
    /// This folder.
    At(PathBuf),
    /// None: the sender is held back instead.
    Nowhere,
}

/// Which Session-Expires of an originator is refused (readings N1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionTimerCheck {
    /// A Session-Expires that would make us refresh.
    #[default]
    Lenient,
    /// Everything except `refresher=uac`, as 9.1.2-6 is written.
    Literal,
    /// None.
    Off,
}

/// The answer to the originator when no recipient answers 2xx (readings N20).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AllFailedResponse {
    /// 480, which has no other meaning here.
    #[default]
    TemporarilyUnavailable,
    /// The answer that RFC 3261 §16.7 chooses among the recipients'.
    Best,
}

/// When a recipient's 2xx gets its ACK (readings N43).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LegAck {
    /// When the originator's has arrived (9.1.2-ack-1).
    #[default]
    OnSenderAck,
    /// At once.
    Immediate,
}

/// Spelling of the Warning for an empty list (readings N11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoDestinationsText {
    /// With its number, as in pager mode.
    #[default]
    Numbered,
    /// As 9.1.2 writes it.
    Bare,
}

/// Conflicts between the parameters of large message mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LargeModeError {
    /// Addresses to advertise, but no listener.
    NothingToAdvertise,
    /// Peers would be given the unspecified address.
    UnspecifiedAddress,
    /// A TLS listener without a certificate.
    NoCertificate,
    /// Only one of certificate and private key is set.
    HalfACertificate,
    /// Authorities without a certificate of our own.
    OnlyAuthorities,
    /// Recipients would be offered a transport that has no listener.
    NoLegTransport,
}

impl fmt::Display for LargeModeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LargeModeError::NothingToAdvertise => {
                "msrp_advertise is set, but msrp_listen is not"
            }
            LargeModeError::UnspecifiedAddress => {
                "msrp_listen is the unspecified address: set msrp_advertise to the address where peers reach it"
            }
            LargeModeError::NoCertificate => {
                "msrp_listen has TLS: set msrp_tls_certificate and msrp_tls_private_key"
            }
            LargeModeError::HalfACertificate => {
                "only one of msrp_tls_certificate and msrp_tls_private_key is set: set both"
            }
            LargeModeError::OnlyAuthorities => {
                "msrp_tls_ca_file is set, but msrp_tls_certificate is not"
            }
            LargeModeError::NoLegTransport => "no msrp_listen uses msrp_transport",
        })
    }
}

impl std::error::Error for LargeModeError {}

impl LargeModePolicy {
    /// Whether large message mode is enabled.
    pub fn is_on(&self) -> bool {
        !self.listen.is_empty()
    }

    /// Our address for peers over this transport. `None`: there is none.
    pub fn advertised(&self, transport: Transport) -> Option<SocketAddr> {
        let of = |listeners: &[MsrpListener]| {
            let mut of_transport = listeners.iter().filter(|l| l.transport == transport);
            of_transport.next().map(|listener| listener.address)
        };
        of(&self.listen).map(|address| of(&self.advertise).unwrap_or(address))
    }

    pub(super) fn check(&self) -> Result<(), LargeModeError> {
        if !self.is_on() {
            return if self.advertise.is_empty() {
                Ok(())
            } else {
                Err(LargeModeError::NothingToAdvertise)
            };
        }
        let advertised = [Transport::Tcp, Transport::Tls].map(|t| self.advertised(t));
        let is_reachable = |address: &SocketAddr| !address.ip().is_unspecified();
        if !advertised.iter().flatten().all(is_reachable) {
            return Err(LargeModeError::UnspecifiedAddress);
        }
        let has_tls = self.listen.iter().any(|l| l.transport == Transport::Tls);
        if has_tls && (self.tls_certificate.is_none() || self.tls_private_key.is_none()) {
            return Err(LargeModeError::NoCertificate);
        }
        if self.tls_certificate.is_some() != self.tls_private_key.is_some() {
            return Err(LargeModeError::HalfACertificate);
        }
        if self.tls_ca_file.is_some() && self.tls_certificate.is_none() {
            return Err(LargeModeError::OnlyAuthorities);
        }
        if self.advertised(self.leg_transport).is_none() {
            return Err(LargeModeError::NoLegTransport);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Settings;
    use super::*;

    fn with(values: &[(&str, &str)]) -> LargeModePolicy {
        let mut settings = Settings::default();
        for (name, value) in values {
            settings.set(name, value).unwrap();
        }
        settings.large_mode
    }

    #[test]
    fn what_is_advertised() {
        let policy = with(&[("msrp_listen", "tcp:0.0.0.0:2855")]);
        assert!(policy.check().is_err());
        let policy = with(&[
            ("msrp_listen", "tcp:0.0.0.0:2855"),
            ("msrp_advertise", "tcp:192.0.2.1:2855"),
        ]);
        assert_eq!(policy.check(), Ok(()));
        assert_eq!(
            policy.advertised(Transport::Tcp),
            "192.0.2.1:2855".parse().ok()
        );
        assert_eq!(policy.advertised(Transport::Tls), None);
    }

    #[test]
    fn no_limit_is_written_as_0() {
        let policy = with(&[
            ("spool_ttl", "0"),
            ("max_parallel_legs", "0"),
            ("legs_per_second", "0"),
        ]);
        assert_eq!(policy.spool_ttl, None);
        assert_eq!(policy.max_parallel_legs, None);
        assert_eq!(policy.legs_per_second, None);
        let policy = with(&[("spool_ttl", "43200"), ("legs_per_second", "7")]);
        assert_eq!(policy.spool_ttl, Some(Duration::from_secs(43_200)));
        assert_eq!(policy.legs_per_second, Some(7));
        let too_long = Settings::default().set("spool_ttl", "43201");
        assert!(too_long.is_err());
    }

    #[test]
    fn what_does_not_fit_each_other() {
        assert_eq!(with(&[]).check(), Ok(()));
        for bad in [
            &[("msrp_advertise", "tcp:192.0.2.1:2855")][..],
            &[
                ("msrp_listen", "tls:192.0.2.1:2856"),
                ("msrp_transport", "tls"),
            ],
            &[
                ("msrp_listen", "tcp:192.0.2.1:2855"),
                ("msrp_transport", "tls"),
            ],
            &[
                ("msrp_listen", "tcp:192.0.2.1:2855"),
                ("msrp_tls_private_key", "/key.pem"),
            ],
            &[
                ("msrp_listen", "tcp:192.0.2.1:2855"),
                ("msrp_tls_ca_file", "/ca.pem"),
            ],
        ] {
            assert!(with(bad).check().is_err(), "{bad:?}");
        }
        let mut settings = Settings::default();
        assert!(settings.set("leg_session_expires", "89").is_err());
        assert!(settings.set("leg_session_expires", "0").is_ok());
    }
}
