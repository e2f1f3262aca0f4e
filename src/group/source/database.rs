//! The proxy's database.

use super::error::DatabaseError;

/// The proxy's database.
pub trait GroupDatabase {
    /// The document that is stored for the address of a group, `None` if there is no such row.
    ///
    /// `url` is what was configured behind `db:`, for the proxy's own database interface.
    /// `group_uri` is the address in one spelling: scheme and host in lower case, without
    /// parameters that do not matter. It comes from a request: a value to bind or quote. It blocks
    /// for no longer than the proxy's interface to that database does.
    ///
    /// # Errors
    /// The database has no answer.
    fn document(&self, url: &str, group_uri: &str) -> Result<Option<Vec<u8>>, DatabaseError>;
}
