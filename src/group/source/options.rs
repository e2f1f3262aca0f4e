//! What holds for all sources.

use std::fmt;
use std::path::PathBuf;

use crate::names::Names;

/// Sources at once: each can cost a request its timeout.
pub const MAX_SOURCES: usize = 8;

/// The longest for which one XDMS may keep a request: with the answer that follows it stays well
/// below the 32 s after which the sender's transaction ends (RFC 3261 §17.1.2.2).
pub const MAX_TIMEOUT_MS: u64 = 20_000;

/// For how long a source is not asked again after an outage, and a document not fetched again that
/// could not be used.
pub const RETRY_AFTER_MS: u64 = 10_000;

/// For how long a group still serves after its lifetime while its source is out of order: enough
/// for the restart of a server, too short for a member who was removed to stay for hours.
pub const STALE_GRACE_MS: u64 = 300_000;

/// Length of the documents of all groups that one source keeps.
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

/// What holds for all sources.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// For XDMSs that ask for credentials.
    pub xcap_credentials: Option<Credentials>,
    /// A PEM file of the certification authorities to trust; without it those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long one XDMS may take for a group and all of its external lists.
    pub timeout_ms: u64,
    /// How long a group is used before its source is asked whether it has changed. Those of a
    /// folder are looked at every [`FOLDER_INTERVAL_MS`](super::FOLDER_INTERVAL_MS) instead.
    pub lifetime_s: u64,
    /// How long a source that does not know a group is not asked again.
    pub negative_lifetime_s: u64,
    /// Groups, and as many addresses of no group, that each source keeps.
    pub capacity: usize,
    /// How XDMSs are found.
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
