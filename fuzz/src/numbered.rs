//! Random bytes for the machines: the same for each input, so that a crash can be repeated.

use std::cell::Cell;

thread_local!(static NEXT: Cell<u64> = const { Cell::new(0) });

/// Begins the sequence anew.
pub(crate) fn begin(first: u64) {
    NEXT.set(first);
}

/// The source that the machines are given.
pub(crate) fn fill(bytes: &mut [u8]) {
    for byte in bytes {
        let next = NEXT.get();
        let next = next.wrapping_mul(6_364_136_223_846_793_005);
        let next = next.wrapping_add(1_442_695_040_888_963_407);
        NEXT.set(next);
        *byte = (next >> 56) as u8;
    }
}
