//! Why something cannot be the store, as one line for the operator.

use std::fmt;
use std::io;
use std::path::Path;

use super::server::ServerAddress;

/// Why something cannot be the store.
#[derive(Debug)]
pub struct StoreError {
    /// The store as the operator knows it.
    place: String,
    cause: Cause,
}

/// The cause.
#[derive(Debug)]
pub(super) enum Cause {
    /// A file operation failed.
    Io(io::Error),
    /// The database failed.
    Database(rusqlite::Error),
    /// The server of the store refuses.
    Server(String),
    /// Another proxy is using it.
    InUse,
    /// It was written by a later release, with this version of the tables.
    Newer(i64),
}

impl StoreError {
    /// Of the store in this folder.
    pub(super) fn of_folder(dir: &Path, cause: impl Into<Cause>) -> Self {
        StoreError {
            place: dir.display().to_string(),
            cause: cause.into(),
        }
    }

    /// Of the store on this server.
    pub fn of_server(server: &ServerAddress, why: String) -> Self {
        StoreError {
            place: server.to_string(),
            cause: Cause::Server(why),
        }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Cause::Io(error)
    }
}

impl From<rusqlite::Error> for Cause {
    fn from(error: rusqlite::Error) -> Self {
        Cause::Database(error)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store {} ", self.place)?;
        match &self.cause {
            Cause::Io(error) => write!(f, "cannot be used: {error}"),
            Cause::Database(error) => write!(f, "cannot be used: {error}"),
            Cause::Server(why) => write!(f, "cannot be used: {why}"),
            Cause::InUse => f.write_str("is in use by another proxy"),
            Cause::Newer(version) => write!(
                f,
                "was written by a later release (version {version}): start that one, or name another directory"
            ),
        }
    }
}

impl std::error::Error for StoreError {}
