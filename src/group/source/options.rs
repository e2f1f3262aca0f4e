//! Options common to all sources.

use std::fmt;
use std::path::PathBuf;

use crate::names::Names;

/// Maximum number of sources: each can cost a request its timeout.
pub const MAX_SOURCES: usize = 8;

/// Longest time that one XDMS may delay a request: including the answer, this stays well below the
/// 32 s after which the sender's transaction ends (RFC 3261 §17.1.2.2).
pub const MAX_TIMEOUT_MS: u64 = 20_000;

/// How long a source is not queried after an outage, nor an unusable document fetched again.
pub const RETRY_AFTER_MS: u64 = 10_000;

/// How long a group is still used after its lifetime while its source is down: enough for the
/// restart of a server, too short for a removed member to stay for hours.
pub const STALE_GRACE_MS: u64 = 300_000;

/// Maximum total length of the documents of all groups that one source keeps.
pub const MAX_CACHE_BYTES: usize = 128 << 20;

/// User and password for XDMSs (RFC 7616 and, over TLS only, RFC 7617).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub user: String,
    /// The password.
    pub password: String,
}

/// Without the password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Options common to all sources.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// For XDMSs that ask for credentials.
    pub xcap_credentials: Option<Credentials>,
    /// A PEM file of trusted certification authorities; without it those of the system.
    pub ca_file: Option<PathBuf>,
    /// Time limit of one XDMS for a group and all of its external lists.
    pub timeout_ms: u64,
    /// How long a group is used before its source is asked whether it has changed. Those of a
    /// folder are checked every [`FOLDER_INTERVAL_MS`](super::FOLDER_INTERVAL_MS) instead.
    pub lifetime_s: u64,
    /// How long a source is not asked again for a group that it does not know.
    pub negative_lifetime_s: u64,
    /// Maximum number of groups, and of addresses without a group, that each source keeps.
    pub capacity: usize,
    /// How XDMSs are looked up.
    pub names: Names,
}

impl SourceOptions {
    /// With these times; without credentials, and trusting the authorities of the system.
    pub fn new(timeout_ms: u64, lifetime_s: u64) -> Self {
        Self {
            xcap_credentials: None,
            ca_file: None,
            timeout_ms,
            lifetime_s,
            negative_lifetime_s: 30,
            capacity: 1_000,
            names: Names::default(),
        }
    }
}

#[cfg(test)]
impl Default for SourceOptions {
    fn default() -> Self {
        Self::new(5_000, 60)
    }
}
