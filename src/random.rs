//! The one source of randomness: unguessable bytes of the operating system.
//!
//! Machines without IO get it as an argument (`fn(&mut [u8])`), so that a test can play them with
//! numbers of its own; whoever starts them hands [`fill_random`] in.

use std::io;

/// Fills `bytes`.
///
/// # Errors
/// The system has no random numbers. For the start, and for what may fail by itself.
pub(crate) fn try_fill_random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(io::Error::other)
}

/// Fills `bytes`.
///
/// # Panics
/// If the system has none. The service asks once before it serves anything
/// (`try_fill_random`), so that this does not come up later.
pub fn fill_random(bytes: &mut [u8]) {
    try_fill_random(bytes).expect("the system gave random numbers at the start");
}
