//! Service provider policy: the operator's configuration, and values derived from it.

mod deferral;
mod given;
mod group_uris;
mod id_key;
mod isf_codes;
mod large_mode;
mod parameter;
mod parameters;
mod reload;
mod settings;
mod state_dir;
mod store_place;
mod trusted_peers;
mod tune;
mod unset;
mod value;

pub use deferral::Deferral;
pub use group_uris::{GroupUris, NotAPattern};
pub use id_key::{ID_KEY_BYTES, IdKeyError};
pub use isf_codes::{NotAFailureCode, StatusCodes};
pub use large_mode::{
    ACK_TIMEOUT, AllFailedResponse, LargeModeError, LargeModePolicy, LegAck, MAX_SESSION_AGE,
    NoDestinationsText, SessionTimerCheck, SpoolDir,
};
pub use parameter::{Kind, Parameter, Range, UNLIMITED, Word};
pub use parameters::ALL as ALL_PARAMETERS;
pub use reload::ReloadError;
pub use settings::{
    ChargingVector, ExploderService, GroupReceipts, IdentitySource, Imdn, MissingListCode,
    Settings, SettingsError, ShareLimits, Trigger, UnknownGroupCode,
};
pub use state_dir::{RunsAs, StateDirError};
pub use store_place::{StoreKind, StorePlace};
pub use trusted_peers::{PeerError, TrustedPeers};
pub use tune::TuneError;
pub use value::{
    ListenerError, MsrpListener, ParameterError, Product, ServiceUri, without_credentials,
};
