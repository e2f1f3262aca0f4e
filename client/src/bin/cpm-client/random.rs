//! Randomness.

use crate::exit::Exit;

/// Random bytes from the system, for everything that must be unguessable.
pub(crate) fn fill(bytes: &mut [u8]) {
    if let Err(error) = getrandom::fill(bytes) {
        // Guessable identifiers would be worse than none.
        eprintln!("cpm-client: no random numbers from the system: {error}");
        std::process::exit(i32::from(Exit::Local as u8));
    }
}
