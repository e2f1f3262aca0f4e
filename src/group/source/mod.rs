//! Sources of group documents: folders, XDMSs (RFC 4825) and the proxy's database.
//!
//! [`GroupSources::find`] blocks while it waits for a server or the database, so it is for a
//! process that may wait; [`SourceOptions::timeout_ms`] limits the time of one XDMS. Virtual time:
//! the caller passes the time, except for the remaining time of an HTTP request.
//!
//! | file | job |
//! |---|---|
//! | `sources` | all sources; the first that has a group wins |
//! | `options` | options common to all of them |
//! | `answer`, `error` | their answers, and reasons for failure |
//! | `folder` | a folder of documents |
//! | `remote` | a slow source: its answers are kept for a while |
//! | `xcap`, `http`, `resolver` | an XDMS; its HTTP client, and name resolution |
//! | `database` | the interface to the proxy's database |
//! | `stored`, `cache`, `address` | complete groups; their cache, and its keys |

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
