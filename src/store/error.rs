//! Why a directory cannot be the store, as one line for the operator.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a directory cannot be the store.
#[derive(Debug)]
pub struct StoreError {
    path: PathBuf,
    cause: Cause,
}

/// The cause.
#[derive(Debug)]
pub(super) enum Cause {
    /// A file operation failed.
    Io(io::Error),
    /// The database failed.
    Database(rusqlite::Error),
    /// Another proxy is using it.
    InUse,
    /// It was written by a later release, with this version of the tables.
    Newer(i64),
}

impl StoreError {
    pub(super) fn new(path: &Path, cause: Cause) -> Self {
        StoreError {
            path: path.to_owned(),
            cause,
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
        write!(f, "the store {} ", self.path.display())?;
        match &self.cause {
            Cause::Io(error) => write!(f, "cannot be used: {error}"),
            Cause::Database(error) => write!(f, "cannot be used: {error}"),
            Cause::InUse => f.write_str("is in use by another proxy"),
            Cause::Newer(version) => write!(
                f,
                "was written by a later release (version {version}): start that one, or name another directory"
            ),
        }
    }
}

impl std::error::Error for StoreError {}
