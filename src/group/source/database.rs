//! The proxy's database.

use super::error::DatabaseError;

/// The proxy's database.
pub trait GroupDatabase {
    /// The document stored for the address of a group, `None` if there is no such row.
    ///
    /// `url` is the configured text after `db:`, for the proxy's own database interface.
    /// `group_uri` is the address in canonical spelling: scheme and host in lower case, without
    /// insignificant parameters. It comes from a request: bind or quote it. Blocks no longer than
    /// the proxy's interface to that database does.
    ///
    /// # Errors
    ///
    /// The database has no answer.
    fn document(&self, url: &str, group_uri: &str) -> Result<Option<Vec<u8>>, DatabaseError>;
}
