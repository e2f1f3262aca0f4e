//! What the operator can set about large message mode.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::settings::{ParameterError, Setter, assign, number, one_of, sip_uri, text};
use super::state_dir;
use crate::sdp::Transport;

/// Most listeners for MSRP: one of each transport and address family, and some to spare.
const MAX_LISTENERS: usize = 8;

const MIB: usize = 1024 * 1024;

/// A day. Nothing that a peer is waited for takes longer.
const MAX_SECONDS: usize = 86_400;

/// Twelve hours: a session lives no longer.
const MAX_SPOOL_TTL_S: usize = 43_200;

/// Most INVITEs at once or in a second that can be asked for: as many as a message may have recipients.
const MAX_PACE: usize = 10_000;

/// Large message mode as configured. Without [`listen`](Self::listen) it is off, and INVITEs are not ours.
#[derive(Clone, Debug)]
pub struct LargeModePolicy {
    /// `msrp_listen`: where MSRP connections are accepted.
    pub listen: Vec<MsrpListener>,
    /// `msrp_advertise`: where peers reach these listeners, one for each transport. Not set: where they listen.
    pub advertise: Vec<MsrpListener>,
    /// `msrp_transport`: what recipients are offered.
    pub leg_transport: Transport,
    /// `msrp_max_message`: longest message in bytes; 0: no limit (spec-notes N49).
    pub max_message_bytes: u64,
    /// `msrp_chunk_size`: most content bytes in one chunk to a recipient; `None`: no limit (spec-notes N57).
    pub chunk_bytes: Option<u64>,
    /// `msrp_memory`: bytes of content that all sessions may keep in memory.
    pub memory_bytes: usize,
    /// `msrp_session_memory`: bytes of content that one session may keep in memory.
    pub session_memory_bytes: usize,
    /// `msrp_spool_dir`: folder for content beyond that.
    pub spool_dir: SpoolDir,
    /// `msrp_spool`: bytes that all spool files together may have.
    pub spool_bytes: u64,
    /// `msrp_stall_timeout`: how long a recipient may take no byte.
    pub stall_timeout: Duration,
    /// `spool_ttl`: how long a complete message is kept for a recipient; `None`: no limit (spec-notes N49).
    pub spool_ttl: Option<Duration>,
    /// `msrp_max_connections`: most MSRP connections at once.
    pub max_connections: usize,
    /// `msrp_max_unbound`: most accepted connections that have not named a session yet.
    pub max_unbound: usize,
    /// `msrp_max_unbound_per_source`: the same from one source; 0: no limit of its own.
    pub max_unbound_per_source: usize,
    /// `msrp_tls_certificate`: certificate chain, PEM.
    pub tls_certificate: Option<String>,
    /// `msrp_tls_private_key`: its key, PEM.
    pub tls_private_key: Option<String>,
    /// `msrp_tls_ca_file`: whom to trust where a session description has no fingerprint, PEM. Not set: the system's.
    pub tls_ca_file: Option<String>,
    /// `max_sessions`: most sessions at once; beyond it an INVITE is answered with 503.
    pub max_sessions: usize,
    /// `max_sessions_per_sender`: the same of one originator; 0: no limit of its own.
    pub max_sessions_per_sender: usize,
    /// `contact_uri`: where requests inside of our dialogs reach this proxy. Not set: its first listener.
    pub contact_uri: Option<String>,
    /// `require_session_timer`: which Session-Expires is refused (spec-notes N1).
    pub require_session_timer: SessionTimerCheck,
    /// `session_expires`: interval towards an originator who names none, in seconds.
    pub session_expires_s: u32,
    /// `leg_session_expires`: interval asked of recipients, in seconds; 0: none is asked (spec-notes N44).
    pub leg_session_expires_s: u32,
    /// `leg_timeout`: how long a recipient may ring (spec-notes N20).
    pub leg_timeout: Duration,
    /// `max_parallel_legs`: most INVITEs of a session that wait for a final answer; `None`: no limit (spec-notes N36).
    pub max_parallel_legs: Option<usize>,
    /// `legs_per_second`: INVITEs that a session sends in a second; `None`: no limit (spec-notes N36).
    pub legs_per_second: Option<u32>,
    /// `all_failed_response`: what the originator gets when no recipient answers 2xx (spec-notes N20).
    pub all_failed_response: AllFailedResponse,
    /// `leg_ack`: when a recipient's 2xx gets its ACK (spec-notes N43).
    pub leg_ack: LegAck,
    /// `ack_wait`: how long recipients who answered wait for the originator's ACK (spec-notes N43).
    pub ack_wait: Duration,
    /// `large_no_destinations_text`: spelling of the Warning for an empty list (spec-notes N11).
    pub no_destinations_text: NoDestinationsText,
    /// `large_group_no_cpm_code`: 404 or 488, for a group without the CPM service (spec-notes N13).
    pub group_no_cpm_code: u16,
}

/// Where content goes that does not fit into memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolDir {
    /// To the state directory, if there is one.
    OfState,
    /// To this folder.
    At(PathBuf),
    /// Nowhere: the sender is held back instead.
    Nowhere,
}

/// Where MSRP peers reach us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsrpListener {
    /// Plain TCP or TLS.
    pub transport: Transport,
    /// IP address and port, which is not 0.
    pub address: SocketAddr,
}

/// Which Session-Expires of an originator is refused (spec-notes N1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionTimerCheck {
    /// One that would make us refresh.
    Lenient,
    /// Everything but `refresher=uac`, as 9.1.2-6 is written.
    Literal,
    /// None.
    Off,
}

/// What the originator gets when no recipient answers 2xx (spec-notes N20).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllFailedResponse {
    /// 480, which means nothing else here.
    TemporarilyUnavailable,
    /// What RFC 3261 §16.7 chooses among the recipients' answers.
    Best,
}

/// When a recipient's 2xx gets its ACK (spec-notes N43).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegAck {
    /// When the originator's has come (9.1.2-ack-1).
    OnSenderAck,
    /// At once.
    Immediate,
}

/// How the Warning for an empty list is spelt (spec-notes N11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoDestinationsText {
    /// With its number, as in pager mode.
    Numbered,
    /// As 9.1.2 writes it.
    Bare,
}

/// Why a text is no listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerError;

impl fmt::Display for ListenerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is not tcp:ADDRESS:PORT or tls:ADDRESS:PORT with an IP address")
    }
}

impl Default for LargeModePolicy {
    fn default() -> Self {
        LargeModePolicy {
            listen: Vec::new(),
            advertise: Vec::new(),
            leg_transport: Transport::Tcp,
            max_message_bytes: 100 * MIB as u64,
            chunk_bytes: None,
            memory_bytes: 256 * MIB,
            session_memory_bytes: 8 * MIB,
            spool_dir: SpoolDir::OfState,
            spool_bytes: 4096 * MIB as u64,
            stall_timeout: Duration::from_secs(60),
            spool_ttl: Some(Duration::from_secs(14_400)),
            max_connections: 10_000,
            max_unbound: 1024,
            max_unbound_per_source: 256,
            tls_certificate: None,
            tls_private_key: None,
            tls_ca_file: None,
            max_sessions: 1000,
            max_sessions_per_sender: 250,
            contact_uri: None,
            require_session_timer: SessionTimerCheck::Lenient,
            session_expires_s: 1800,
            leg_session_expires_s: 1800,
            leg_timeout: Duration::from_secs(60),
            max_parallel_legs: None,
            legs_per_second: None,
            all_failed_response: AllFailedResponse::TemporarilyUnavailable,
            leg_ack: LegAck::OnSenderAck,
            ack_wait: Duration::from_secs(10),
            no_destinations_text: NoDestinationsText::Numbered,
            group_no_cpm_code: 404,
        }
    }
}

/// Name, and how a value gets in.
pub(super) const PARAMETERS: &[(&str, Setter)] = &[
    ("msrp_listen", |s, v| {
        add_listener(&mut s.large_mode.listen, v)
    }),
    ("msrp_advertise", |s, v| {
        add_listener(&mut s.large_mode.advertise, v)
    }),
    ("msrp_transport", |s, v| {
        let values = [Transport::Tcp, Transport::Tls];
        assign(
            &mut s.large_mode.leg_transport,
            one_of(v, &["tcp", "tls"], &values),
        )
    }),
    ("msrp_max_message", |s, v| {
        let bytes = number(v, 0, usize::MAX >> 1).map(|bytes| bytes as u64);
        assign(&mut s.large_mode.max_message_bytes, bytes)
    }),
    ("msrp_chunk_size", |s, v| {
        let bytes = number(v, 0, usize::MAX >> 1);
        let bytes = bytes.map(|bytes| (bytes > 0).then_some(bytes as u64));
        assign(&mut s.large_mode.chunk_bytes, bytes)
    }),
    ("msrp_memory", |s, v| {
        assign(
            &mut s.large_mode.memory_bytes,
            number(v, MIB, usize::MAX >> 1),
        )
    }),
    ("msrp_session_memory", |s, v| {
        assign(
            &mut s.large_mode.session_memory_bytes,
            number(v, MIB, usize::MAX >> 1),
        )
    }),
    ("msrp_spool_dir", |s, v| {
        let dir = state_dir::parse(v);
        let dir = dir.map(|dir| dir.map_or(SpoolDir::Nowhere, SpoolDir::At));
        assign(&mut s.large_mode.spool_dir, dir)
    }),
    ("msrp_spool", |s, v| {
        let bytes = number(v, 0, usize::MAX >> 1).map(|bytes| bytes as u64);
        assign(&mut s.large_mode.spool_bytes, bytes)
    }),
    ("msrp_stall_timeout", |s, v| {
        assign(&mut s.large_mode.stall_timeout, seconds(v, 1))
    }),
    ("spool_ttl", |s, v| {
        let ttl = number(v, 0, MAX_SPOOL_TTL_S);
        let ttl = ttl.map(|ttl| (ttl > 0).then(|| Duration::from_secs(ttl as u64)));
        assign(&mut s.large_mode.spool_ttl, ttl)
    }),
    ("msrp_max_connections", |s, v| {
        assign(&mut s.large_mode.max_connections, number(v, 1, 1_000_000))
    }),
    ("msrp_max_unbound", |s, v| {
        assign(&mut s.large_mode.max_unbound, number(v, 1, 1_000_000))
    }),
    ("msrp_max_unbound_per_source", |s, v| {
        assign(
            &mut s.large_mode.max_unbound_per_source,
            number(v, 0, 1_000_000),
        )
    }),
    ("msrp_tls_certificate", |s, v| {
        assign(&mut s.large_mode.tls_certificate, text(v))
    }),
    ("msrp_tls_private_key", |s, v| {
        assign(&mut s.large_mode.tls_private_key, text(v))
    }),
    ("msrp_tls_ca_file", |s, v| {
        assign(&mut s.large_mode.tls_ca_file, text(v))
    }),
    ("max_sessions", |s, v| {
        assign(&mut s.large_mode.max_sessions, number(v, 1, 1_000_000))
    }),
    ("max_sessions_per_sender", |s, v| {
        assign(
            &mut s.large_mode.max_sessions_per_sender,
            number(v, 0, 1_000_000),
        )
    }),
    ("contact_uri", |s, v| {
        let uri = sip_uri(v).map(|_| Some(v.to_owned()));
        assign(&mut s.large_mode.contact_uri, uri)
    }),
    ("require_session_timer", |s, v| {
        let values = [
            SessionTimerCheck::Lenient,
            SessionTimerCheck::Literal,
            SessionTimerCheck::Off,
        ];
        assign(
            &mut s.large_mode.require_session_timer,
            one_of(v, &["lenient", "literal", "off"], &values),
        )
    }),
    ("session_expires", |s, v| {
        assign(&mut s.large_mode.session_expires_s, interval(v, 90))
    }),
    ("leg_session_expires", |s, v| {
        let seconds = interval(v, 0).and_then(|seconds| match seconds {
            1..90 => Err(ParameterError::OutOfRange {
                min: 90,
                max: MAX_SECONDS,
            }),
            _ => Ok(seconds),
        });
        assign(&mut s.large_mode.leg_session_expires_s, seconds)
    }),
    ("leg_timeout", |s, v| {
        // The originator's transaction does not last longer.
        let seconds = number(v, 1, 150).map(|seconds| Duration::from_secs(seconds as u64));
        assign(&mut s.large_mode.leg_timeout, seconds)
    }),
    ("max_parallel_legs", |s, v| {
        let legs = number(v, 0, MAX_PACE).map(|legs| (legs > 0).then_some(legs));
        assign(&mut s.large_mode.max_parallel_legs, legs)
    }),
    ("legs_per_second", |s, v| {
        let legs = number(v, 0, MAX_PACE).map(|legs| u32::try_from(legs).ok().filter(|&n| n > 0));
        assign(&mut s.large_mode.legs_per_second, legs)
    }),
    ("all_failed_response", |s, v| {
        let values = [
            AllFailedResponse::TemporarilyUnavailable,
            AllFailedResponse::Best,
        ];
        assign(
            &mut s.large_mode.all_failed_response,
            one_of(v, &["480", "best"], &values),
        )
    }),
    ("leg_ack", |s, v| {
        let values = [LegAck::OnSenderAck, LegAck::Immediate];
        assign(
            &mut s.large_mode.leg_ack,
            one_of(v, &["on_sender_ack", "immediate"], &values),
        )
    }),
    ("ack_wait", |s, v| {
        let seconds = number(v, 1, 32).map(|seconds| Duration::from_secs(seconds as u64));
        assign(&mut s.large_mode.ack_wait, seconds)
    }),
    ("large_no_destinations_text", |s, v| {
        let values = [NoDestinationsText::Numbered, NoDestinationsText::Bare];
        assign(
            &mut s.large_mode.no_destinations_text,
            one_of(v, &["numbered", "bare"], &values),
        )
    }),
    ("large_group_no_cpm_code", |s, v| {
        assign(
            &mut s.large_mode.group_no_cpm_code,
            one_of(v, &["404", "488"], &[404, 488]),
        )
    }),
];

impl LargeModePolicy {
    /// Whether there is large message mode at all.
    pub fn is_on(&self) -> bool {
        !self.listen.is_empty()
    }

    /// Where peers reach us over this transport. `None`: nowhere.
    pub fn advertised(&self, transport: Transport) -> Option<SocketAddr> {
        let of = |listeners: &[MsrpListener]| {
            let mut of_transport = listeners.iter().filter(|l| l.transport == transport);
            of_transport.next().map(|listener| listener.address)
        };
        of(&self.listen).map(|address| of(&self.advertise).unwrap_or(address))
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        if !self.is_on() {
            return match self.advertise.is_empty() {
                true => Ok(()),
                false => Err("msrp_advertise is set, but msrp_listen is not"),
            };
        }
        let advertised = [Transport::Tcp, Transport::Tls].map(|t| self.advertised(t));
        let reachable = |address: &SocketAddr| !address.ip().is_unspecified();
        if !advertised.iter().flatten().all(reachable) {
            return Err(
                "msrp_listen is the unspecified address: say with msrp_advertise where peers reach it",
            );
        }
        let tls = self.listen.iter().any(|l| l.transport == Transport::Tls);
        if tls && (self.tls_certificate.is_none() || self.tls_private_key.is_none()) {
            return Err("msrp_listen has TLS: set msrp_tls_certificate and msrp_tls_private_key");
        }
        if self.tls_certificate.is_some() != self.tls_private_key.is_some() {
            return Err(
                "of msrp_tls_certificate and msrp_tls_private_key there is only one: set both",
            );
        }
        if self.tls_ca_file.is_some() && self.tls_certificate.is_none() {
            return Err("msrp_tls_ca_file is set, but msrp_tls_certificate is not");
        }
        if self.advertised(self.leg_transport).is_none() {
            return Err("msrp_transport is what no msrp_listen has");
        }
        Ok(())
    }
}

fn add_listener(listeners: &mut Vec<MsrpListener>, text: &str) -> Result<(), ParameterError> {
    if listeners.len() == MAX_LISTENERS {
        return Err(ParameterError::TooMany(MAX_LISTENERS));
    }
    let listener = parse_listener(text).ok_or(ParameterError::Listener(ListenerError))?;
    listeners.push(listener);
    Ok(())
}

fn parse_listener(text: &str) -> Option<MsrpListener> {
    let (transport, address) = text.split_once(':')?;
    let transport = match transport {
        "tcp" => Transport::Tcp,
        "tls" => Transport::Tls,
        _ => return None,
    };
    let address: SocketAddr = address.parse().ok()?;
    (address.port() != 0).then_some(MsrpListener { transport, address })
}

fn seconds(text: &str, min: usize) -> Result<Duration, ParameterError> {
    number(text, min, MAX_SECONDS).map(|seconds| Duration::from_secs(seconds as u64))
}

/// An interval of RFC 4028.
fn interval(text: &str, min: usize) -> Result<u32, ParameterError> {
    let max = MAX_SECONDS;
    number(text, min, max)
        .and_then(|n| u32::try_from(n).map_err(|_| ParameterError::OutOfRange { min, max }))
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
    fn listeners() {
        let listener = |text: &str| parse_listener(text).map(|l| l.address.to_string());
        assert_eq!(
            listener("tcp:192.0.2.1:2855").as_deref(),
            Some("192.0.2.1:2855")
        );
        assert_eq!(
            listener("tls:[2001:db8::1]:2856").as_deref(),
            Some("[2001:db8::1]:2856")
        );
        for bad in [
            "",
            "tcp",
            "udp:192.0.2.1:1",
            "tcp:host:1",
            "tcp:192.0.2.1:0",
            "tcp:192.0.2.1",
        ] {
            assert_eq!(listener(bad), None, "{bad}");
        }
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
