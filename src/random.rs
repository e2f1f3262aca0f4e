//! The one source of randomness: unguessable bytes of the operating system.
//!
//! State machines without IO get it as an argument (`fn(&mut [u8])`), so that a test can pass its
//! own numbers; a running service passes [`fill_random`].

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
///
/// If the system has no random numbers. The service checks this once at its start
/// (`try_fill_random`), so that it does not happen later.
pub fn fill_random(bytes: &mut [u8]) {
    try_fill_random(bytes).expect("the system gave random numbers at the start");
}
