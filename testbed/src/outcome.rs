//! How a test's expectation fails: at the line of the test, with the reason.

use std::fmt::Display;

/// The value, or a panic reported at the caller's line. A closure in `unwrap_or_else` would be
/// reported at its own line.
#[track_caller]
pub(crate) fn or_fail<T, E: Display>(what: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error}"),
    }
}
