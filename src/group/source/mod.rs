//! Where group documents come from: folders, XDMSs (RFC 4825) and the proxy's database.
//!
//! [`GroupSources::find`] blocks while it asks a server or the database, so it is for a process
//! that may wait; how long one XDMS can take is [`SourceOptions::timeout_ms`]. Virtual time: the
//! caller says what time it is, except for how long an HTTP request may still take.
//!
//! | file | job |
//! |---|---|
//! | `sources` | all sources; the first that has a group wins |
//! | `options` | what holds for all of them |
//! | `answer`, `error` | what they say, and why they cannot |
//! | `folder` | a folder of documents |
//! | `remote` | a source that takes time to answer: what it said is kept for a while |
//! | `xcap`, `http`, `resolver` | an XDMS; the HTTP client for it, and how it finds the server |
//! | `database` | what is needed of the proxy's database |
//! | `stored`, `cache`, `address` | complete groups; where they are kept, and under which address |

mod address;
mod answer;
mod cache;
mod database;
mod error;
mod folder;
mod http;
mod options;
mod remote;
mod resolver;
mod sources;
mod stored;
#[cfg(test)]
mod test_documents;
#[cfg(test)]
mod test_server;
mod xcap;

pub use answer::{Found, SourceFault, Unavailable};
pub use database::GroupDatabase;
pub use error::{DatabaseError, SourceError, SourceFailure};
pub use folder::{FOLDER_INTERVAL_MS, MAX_FILES, MAX_FOLDER_BYTES};
pub use options::{
    Credentials, MAX_CACHE_BYTES, MAX_SOURCES, MAX_TIMEOUT_MS, RETRY_AFTER_MS, STALE_GRACE_MS,
    SourceOptions,
};
pub use sources::GroupSources;
