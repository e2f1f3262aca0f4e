//! Service provider policy: what the operator configured, and what follows from it.

mod isf_codes;
mod settings;
mod trusted_peers;

pub use isf_codes::StatusCodes;
pub use settings::{
    ExploderService, HistoryUnqualified, IdentitySource, MissingListCode, OwnUri, PARAMETERS,
    ParameterError, ServiceUri, Settings, SettingsError, Trigger,
};
pub use trusted_peers::{PeerError, TrustedPeers};
