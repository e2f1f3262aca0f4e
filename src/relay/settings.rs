//! What the operator can set for the relay.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::names::Names;
use crate::policy::Settings;
use crate::sdp::Transport;
use cpm_wire::msrp_session::{MAX_HOLD, RESPONSE_TIMEOUT};

/// All that the relay must know before it starts.
#[derive(Clone, Debug, Default)]
pub struct RelaySettings {
    /// Where it listens (`msrp_listen`).
    pub listen: Vec<Listen>,
    /// What bounds it.
    pub limits: RelayLimits,
    /// Certificate and authorities; needed for a listener with TLS. Without it, `msrps` is spoken
    /// towards peers that listen themselves, with no certificate of our own.
    pub tls: Option<TlsFiles>,
    /// How peers that are named are found.
    pub names: Names,
}

/// One address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// With TLS or without.
    pub transport: Transport,
    /// Address and port; port 0 takes any free one. An IPv6 address does not take IPv4 connections
    /// too.
    pub address: SocketAddr,
}

/// What bounds the relay. Each of these is something that peers could use up.
#[derive(Clone, Debug)]
pub struct RelayLimits {
    /// Content in memory, of all sessions together (`msrp_memory`).
    pub memory_bytes: usize,
    /// Content in memory, of one session (`msrp_session_memory`); at least 1 MiB is granted.
    pub session_memory_bytes: usize,
    /// Folder for content that does not fit into memory (`msrp_spool_dir`). The files have no name
    /// there. `None`: what does not fit holds the sender back.
    pub spool_dir: Option<PathBuf>,
    /// Size of all spool files together (`msrp_spool`).
    pub spool_bytes: u64,
    /// A leg that takes no byte for so long while some wait for it is dropped
    /// (`msrp_stall_timeout`).
    pub stall: Duration,
    /// How long the originator may be held back for legs that are behind; then they have failed.
    pub hold: Duration,
    /// Most content in one chunk towards a recipient (`msrp_chunk_size`); `None`: no limit.
    pub chunk_bytes: Option<u64>,
    /// Connections in all (`msrp_max_connections`); beyond it, a new one is closed at once.
    pub max_connections: usize,
    /// Connections that no session is bound to (`msrp_max_unbound`); beyond it, the oldest one of
    /// the source that has most of them is closed.
    pub max_unbound: usize,
    /// The same for those from one source (`msrp_max_unbound_per_source`), which closes its own; 0:
    /// no limit of its own.
    pub max_unbound_per_source: usize,
    /// How long a connection may go without its first request for a session, TLS handshake
    /// included.
    pub unbound: Duration,
    /// How long a connection that we open may take to come about, TLS handshake included, all
    /// addresses of the host together.
    pub connect: Duration,
    /// How long the originator may send nothing while its message is not complete.
    pub sender_idle: Duration,
    /// How long a response to a SEND of ours may take (RFC 4975 §7.1).
    pub response: Duration,
    /// How long a connection that we close may take for the peer to read the last bytes.
    pub linger: Duration,
}

/// PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Our certificate, then those of its issuers (`msrp_tls_certificate`).
    pub certificate: PathBuf,
    /// Its private key (`msrp_tls_private_key`).
    pub private_key: PathBuf,
    /// Authorities that we trust for peers whose session description has no fingerprint
    /// (`msrp_tls_ca_file`). `None`: those of the system.
    pub ca: Option<PathBuf>,
}

impl RelayLimits {
    /// What the operator has configured.
    pub fn new(settings: &Settings) -> Self {
        let policy = &settings.large_mode;
        Self {
            memory_bytes: policy.memory_bytes,
            session_memory_bytes: policy.session_memory_bytes,
            spool_dir: settings.spool_dir().map(PathBuf::from),
            spool_bytes: policy.spool_bytes,
            stall: policy.stall_timeout,
            hold: MAX_HOLD,
            chunk_bytes: policy.chunk_bytes,
            max_connections: policy.max_connections,
            max_unbound: policy.max_unbound,
            max_unbound_per_source: policy.max_unbound_per_source,
            unbound: Duration::from_secs(10),
            connect: Duration::from_secs(20),
            sender_idle: Duration::from_secs(60),
            response: RESPONSE_TIMEOUT,
            linger: Duration::from_secs(2),
        }
    }
}

/// As with a configuration that says nothing, and without a spool.
impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            spool_dir: None,
            ..Self::new(&Settings::default())
        }
    }
}

impl RelaySettings {
    /// What the operator has configured.
    pub fn new(settings: &Settings) -> Self {
        let policy = &settings.large_mode;
        let listen = policy.listen.iter().map(|listener| Listen {
            transport: listener.transport,
            address: listener.address,
        });
        let files = policy
            .tls_certificate
            .as_ref()
            .zip(policy.tls_private_key.as_ref());
        RelaySettings {
            listen: listen.collect(),
            limits: RelayLimits::new(settings),
            tls: files.map(|(certificate, private_key)| TlsFiles {
                certificate: certificate.into(),
                private_key: private_key.into(),
                ca: policy.tls_ca_file.as_ref().map(PathBuf::from),
            }),
            names: Names::default(),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        };
        write!(f, "{transport}:{}", self.address)
    }
}
