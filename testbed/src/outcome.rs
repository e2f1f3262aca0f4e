//! How an expectation of a test fails: at the test's own line, with the reason.

use std::fmt::Display;

/// The value, or a panic that points at the caller. A closure in `unwrap_or_else` would point at
/// itself.
#[track_caller]
pub(crate) fn or_fail<T, E: Display>(what: &str, result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error}"),
    }
}
