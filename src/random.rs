//! Unguessable bytes.

/// Fills `bytes` from the system's cryptographic source.
///
/// # Panics
/// If the system has none. It is asked once before anything is served, so that this does not come up later.
pub fn fill_random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system gave random numbers at the start");
}
