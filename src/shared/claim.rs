//! The first word of a record in a ring: its number, and who has it in hand. Nobody waits for
//! another: a place that somebody else has is not taken.

use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{Acquire, Release};
use crate::sync::atomic::fence;

/// The record is being written.
const WRITING: u64 = 1 << 63;
/// Above the number: how many add to the record at the moment.
pub(super) const HOLDER: u64 = 1 << NUMBER_BITS;
const NUMBER_BITS: u32 = 56;

/// Begins to write the record with this number; returns the number before it. `None`: the place has
/// a newer one, or another process is writing or adding to the older one.
pub(super) fn claim(word: &AtomicU64, number: u64) -> Option<u64> {
    // Not a load, which could see a mark that has gone.
    let mut expected = 0;
    loop {
        match word.compare_exchange(expected, number | WRITING, Acquire, Acquire) {
            Ok(before) => {
                // What is written is seen by nobody who has not seen the mark.
                fence(Release);
                return Some(before);
            }
            Err(before) if before <= number => expected = before,
            // A mark makes the word greater than any number.
            Err(_) => return None,
        }
    }
}

/// Whether the first word of a message says that all of the one with this number is there.
pub(super) fn is_complete(word: u64, number: u64) -> bool {
    word & !(WRITING - HOLDER) == number
}
