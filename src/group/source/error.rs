use std::fmt;
use std::io::ErrorKind;

use crate::group::{ExternalListError, GroupDocumentError};
use crate::trust::TrustError;

/// Why the configured sources cannot be used: the proxy must not start.
///
/// `source` is the number of the `group_source` value, from 1: the values themselves can contain
/// passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceError {
    /// Neither `dir:`, `xcap:` nor `db:`.
    UnknownKind {
        /// Its number.
        source: usize,
    },
    /// `dir:` with a path that is not absolute.
    RelativePath {
        /// Its number.
        source: usize,
    },
    /// `dir:` with a folder that does not exist, is not a folder, or cannot be read.
    Folder {
        /// Its number.
        source: usize,
        /// The reason.
        why: ErrorKind,
    },
    /// `db:` with a database for which the proxy has loaded no module.
    NoDatabaseModule {
        /// Its number.
        source: usize,
        /// The module, derived from the scheme of the URL.
        module: String,
    },
    /// `xcap:` with anything other than an http or https URL of host, port and path.
    InvalidUrl {
        /// Its number.
        source: usize,
    },
    /// `xcap:` with user or password in the URL; they have parameters of their own.
    CredentialsInUrl {
        /// Its number.
        source: usize,
    },
    /// `db:` without URL.
    MissingDatabaseUrl {
        /// Its number.
        source: usize,
    },
    /// More than [`MAX_SOURCES`](super::MAX_SOURCES).
    TooManySources,
    /// The trusted authorities cannot be read.
    Authorities(TrustError),
    /// A timeout of 0 or above [`MAX_TIMEOUT_MS`](super::MAX_TIMEOUT_MS).
    InvalidTimeout,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind { source } => {
                write!(f, "group source {source} is neither dir:, xcap: nor db:")
            }
            Self::RelativePath { source } => {
                write!(f, "group source {source} is not an absolute path")
            }
            Self::Folder { source, why } => {
                write!(f, "group source {source}: ")?;
                match why {
                    ErrorKind::NotFound => f.write_str("there is no such folder"),
                    ErrorKind::NotADirectory => f.write_str("that is not a folder"),
                    other => write!(f, "the folder cannot be read: {other}"),
                }
            }
            Self::NoDatabaseModule { source, module } => write!(
                f,
                "group source {source}: no such database module is loaded: loadmodule \"{module}.so\""
            ),
            Self::InvalidUrl { source } => {
                write!(f, "group source {source} is not an http or https URL")
            }
            Self::CredentialsInUrl { source } => {
                write!(f, "group source {source} has credentials in its URL")
            }
            Self::MissingDatabaseUrl { source } => {
                write!(f, "group source {source} has no database URL")
            }
            Self::TooManySources => f.write_str("too many group sources"),
            Self::Authorities(error) => write!(f, "group sources: {error}"),
            Self::InvalidTimeout => f.write_str("group source timeout out of range"),
        }
    }
}

impl std::error::Error for SourceError {}

/// Why a source did not return a group.
///
/// Some concern the source as a whole ([`Self::is_outage`]), the others one of its documents.
/// `Display` never contains text from documents, URIs or credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceFailure {
    /// No complete answer in time.
    Timeout,
    /// The host name has no address.
    HostNotFound,
    /// No connection, or it was lost.
    Connection,
    /// No TLS session, for instance because no trusted authority vouches for the server.
    Tls,
    /// The response is not HTTP, or not allowed here.
    NotHttp,
    /// The server requires other credentials, or any.
    Unauthorized,
    /// The server requires the password in clear text (Basic, RFC 7617) over an unprotected
    /// connection.
    PasswordUnprotected,
    /// The server redirects, which is not followed.
    Redirected,
    /// The server answered with this status.
    Status(u16),
    /// The database did not answer.
    Database(DatabaseError),
    /// The folder cannot be read.
    FolderUnreadable,
    /// The folder has more than [`MAX_FILES`](super::MAX_FILES) documents or
    /// [`MAX_FOLDER_BYTES`](super::MAX_FOLDER_BYTES); further ones, in the order of their names,
    /// are ignored.
    FolderTooLarge,
    /// The file cannot be read.
    FileUnreadable,
    /// The document is longer than [`MAX_DOCUMENT_BYTES`](crate::group::MAX_DOCUMENT_BYTES).
    TooLong,
    /// The document cannot be used.
    Document(GroupDocumentError),
    /// The address of a group is not a URI.
    InvalidAddress,
    /// The document belongs to another group.
    OtherGroup,
    /// A list that the group refers to is not on the group's XDMS, or the group comes from a folder
    /// or a database.
    ExternalListElsewhere,
    /// A list that the group refers to does not exist.
    ExternalListMissing,
    /// A list that the group refers to cannot be used.
    ExternalListDocument(GroupDocumentError),
    /// The lists that the group refers to are too many, too large or too deep.
    ExternalList(ExternalListError),
}

impl SourceFailure {
    /// Whether the source as a whole is down.
    pub fn is_outage(self) -> bool {
        match self {
            Self::Timeout
            | Self::HostNotFound
            | Self::Connection
            | Self::Tls
            | Self::NotHttp
            | Self::Unauthorized
            | Self::PasswordUnprotected
            | Self::Database(_)
            | Self::FolderUnreadable => true,
            // Too many requests (RFC 6585 §4) concerns all of them.
            Self::Status(status) => status >= 500 || status == 429,
            Self::Redirected
            | Self::FolderTooLarge
            | Self::FileUnreadable
            | Self::TooLong
            | Self::Document(_)
            | Self::InvalidAddress
            | Self::OtherGroup
            | Self::ExternalListElsewhere
            | Self::ExternalListMissing
            | Self::ExternalListDocument(_)
            | Self::ExternalList(_) => false,
        }
    }
}

impl fmt::Display for SourceFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "no answer in time",
            Self::HostNotFound => "host not found",
            Self::Connection => "no connection",
            Self::Tls => "no TLS session",
            Self::NotHttp => "invalid HTTP response",
            Self::Unauthorized => "credentials missing or refused",
            Self::PasswordUnprotected => "server asks for the password without TLS",
            Self::Redirected => "redirected, which is not followed",
            Self::Status(status) => return write!(f, "HTTP status {status}"),
            Self::Database(error) => return error.fmt(f),
            Self::FolderUnreadable => "folder cannot be read",
            Self::FolderTooLarge => "too many or too large documents in folder",
            Self::FileUnreadable => "file cannot be read",
            Self::TooLong => "document too long",
            Self::Document(error) => return error.fmt(f),
            Self::InvalidAddress => "address of the group is not a URI",
            Self::OtherGroup => "document of another group",
            Self::ExternalListElsewhere => "external list on another server",
            Self::ExternalListMissing => "external list not found",
            Self::ExternalListDocument(error) => return write!(f, "external list: {error}"),
            Self::ExternalList(error) => return error.fmt(f),
        })
    }
}

impl std::error::Error for SourceFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Document(error) | Self::ExternalListDocument(error) => Some(error),
            Self::ExternalList(error) => Some(error),
            Self::Database(error) => Some(error),
            _ => None,
        }
    }
}

/// Why the proxy's database has no answer. The proxy logs the details itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseError {
    /// There is no connection to it.
    NoConnection,
    /// The query failed: table or column missing, no permission, connection lost.
    QueryFailed,
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoConnection => "no connection to the database",
            Self::QueryFailed => "database query failed",
        })
    }
}

impl std::error::Error for DatabaseError {}

#[cfg(test)]
mod tests {
    use super::SourceFailure::*;
    use super::*;

    #[test]
    fn phrases_are_distinct() {
        let failures = [
            Timeout,
            HostNotFound,
            Connection,
            Tls,
            NotHttp,
            Unauthorized,
            PasswordUnprotected,
            Redirected,
            Status(403),
            Status(500),
            Database(DatabaseError::NoConnection),
            Database(DatabaseError::QueryFailed),
            FolderUnreadable,
            FolderTooLarge,
            FileUnreadable,
            TooLong,
            Document(GroupDocumentError::NotAGroup),
            InvalidAddress,
            OtherGroup,
            ExternalListElsewhere,
            ExternalListMissing,
            ExternalListDocument(GroupDocumentError::NotAList),
            ExternalList(ExternalListError::TooDeep),
        ];
        let phrases: std::collections::HashSet<_> =
            failures.iter().map(SourceFailure::to_string).collect();
        assert_eq!(phrases.len(), failures.len());
        assert!(Status(429).is_outage() && Status(503).is_outage() && !Status(403).is_outage());
    }
}
