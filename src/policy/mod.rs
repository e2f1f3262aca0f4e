//! Service provider policy: what the operator configured, and what follows from it.

mod group_uris;
mod id_key;
mod isf_codes;
mod large_mode;
mod parameters;
mod settings;
mod state_dir;
mod trusted_peers;

pub use group_uris::{GroupUris, NotAPattern};
pub use id_key::{ID_KEY_BYTES, IdKeyError};
pub use isf_codes::StatusCodes;
pub use large_mode::{
    AllFailedResponse, LargeModePolicy, LegAck, ListenerError, MsrpListener, NoDestinationsText,
    SessionTimerCheck, SpoolDir,
};
pub use parameters::{ALL as ALL_PARAMETERS, Domain, Parameter, TuneError};
pub use settings::{
    ExploderService, GroupReceipts, IdentitySource, Imdn, MissingListCode, ParameterError, Product,
    ServiceUri, Settings, SettingsError, Trigger, UnknownGroupCode, parameter_names,
};
pub use state_dir::{RunsAs, StateDirError};
pub use trusted_peers::{PeerError, TrustedPeers};
