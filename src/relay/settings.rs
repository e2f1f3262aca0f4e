//! The operator's settings for the relay.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::names::Names;
use crate::policy::Settings;
use crate::sdp::Transport;
use crate::shared::StoreSpace;
use crate::store::ContentFolder;
use cpm_wire::msrp_session::{MAX_HOLD, RESPONSE_TIMEOUT};

/// Everything that the relay needs to know before it starts.
#[derive(Clone, Debug, Default)]
pub struct RelaySettings {
    /// Addresses to listen on (`msrp_listen`).
    pub listen: Vec<Listen>,
    /// Its limits.
    pub limits: RelayLimits,
    /// Certificate and authorities; needed for a listener with TLS. Without it, `msrps` is used
    /// only towards peers that listen themselves, without a certificate of our own.
    pub tls: Option<TlsFiles>,
    /// How peers' host names are looked up.
    pub names: Names,
    /// Where content is kept; `None`: nowhere.
    pub store: Option<RelayStore>,
}

/// The store, as far as it keeps content.
#[derive(Clone, Debug)]
pub struct RelayStore {
    /// The folder of its files.
    pub folder: ContentFolder,
    /// The room in it.
    pub space: StoreSpace,
}

/// One address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// With TLS or without.
    pub transport: Transport,
    /// Address and port; port 0 takes any free one. An IPv6 address does not also accept IPv4
    /// connections.
    pub address: SocketAddr,
}

/// The limits of the relay, for everything that peers could use up.
#[derive(Clone, Debug)]
pub struct RelayLimits {
    /// Content in memory, of all sessions together (`msrp_memory`).
    pub memory_bytes: usize,
    /// Content in memory, of one session (`msrp_session_memory`); at least 1 MiB is granted.
    pub session_memory_bytes: usize,
    /// Folder for content that exceeds the memory (`msrp_spool_dir`). The files have no name there.
    /// `None`: the sender is held back instead.
    pub spool_dir: Option<PathBuf>,
    /// Size of all spool files together (`msrp_spool`).
    pub spool_bytes: u64,
    /// A leg that accepts no byte for this time while some are waiting for it is dropped
    /// (`msrp_stall_timeout`).
    pub stall: Duration,
    /// How long the originator may be held back for legs that are behind; then these fail.
    pub hold: Duration,
    /// Maximum content in one chunk to a recipient (`msrp_chunk_size`); `None`: no limit.
    pub chunk_bytes: Option<u64>,
    /// Maximum number of connections (`msrp_max_connections`); a further one is closed at once.
    pub max_connections: usize,
    /// Maximum number of connections without a session (`msrp_max_unbound`); beyond it, the oldest
    /// one of the source with most of them is closed.
    pub max_unbound: usize,
    /// The same for one source (`msrp_max_unbound_per_source`), which loses its own; 0: no separate
    /// limit.
    pub max_unbound_per_source: usize,
    /// Time limit for the first request of a session on a connection, including the TLS handshake.
    pub unbound: Duration,
    /// Time limit for establishing a connection that we open, including the TLS handshake, for all
    /// addresses of the host together.
    pub connect: Duration,
    /// How long the originator may send nothing while its message is incomplete.
    pub sender_idle: Duration,
    /// Time limit for the response to a SEND of ours (RFC 4975 §7.1).
    pub response: Duration,
    /// How long the peer may take to read the last bytes of a connection that we close.
    pub linger: Duration,
}

/// PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Our certificate, then those of its issuers (`msrp_tls_certificate`).
    pub certificate: PathBuf,
    /// Its private key (`msrp_tls_private_key`).
    pub private_key: PathBuf,
    /// Authorities trusted for peers whose session description has no fingerprint
    /// (`msrp_tls_ca_file`). `None`: those of the system.
    pub ca: Option<PathBuf>,
}

impl TlsFiles {
    /// Those of the operator's configuration, if there are any.
    pub fn new(settings: &Settings) -> Option<Self> {
        let policy = &settings.large_mode;
        Some(TlsFiles {
            certificate: policy.tls_certificate.as_ref()?.into(),
            private_key: policy.tls_private_key.as_ref()?.into(),
            ca: policy.tls_ca_file.as_ref().map(PathBuf::from),
        })
    }
}

impl RelayLimits {
    /// From the operator's configuration.
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

/// The defaults of the configuration, without a spool.
impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            spool_dir: None,
            ..Self::new(&Settings::default())
        }
    }
}

impl RelaySettings {
    /// From the operator's configuration.
    pub fn new(settings: &Settings) -> Self {
        let policy = &settings.large_mode;
        let listen = policy.listen.iter().map(|listener| Listen {
            transport: listener.transport,
            address: listener.address,
        });
        RelaySettings {
            listen: listen.collect(),
            limits: RelayLimits::new(settings),
            tls: TlsFiles::new(settings),
            names: Names::default(),
            store: None,
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
