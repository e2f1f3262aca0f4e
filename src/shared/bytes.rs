//! Texts in shared words. Called several times for each recipient, so whole words are copied as
//! such.

use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Relaxed;

/// Writes bytes; no more than the words hold.
pub(super) fn write_bytes(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks();
    for (word, bytes) in words.iter().zip(whole) {
        word.store(u64::from_le_bytes(*bytes), Relaxed);
    }
    if let Some(word) = words.get(whole.len()).filter(|_| !rest.is_empty()) {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        word.store(u64::from_le_bytes(last), Relaxed);
    }
}

/// Appends this many bytes; no more than the words hold.
pub(super) fn read_bytes(words: &[AtomicU64], length: usize, into: &mut Vec<u8>) {
    let length = length.min(8 * words.len());
    let start = into.len();
    into.resize(start + length.next_multiple_of(8), 0);
    let (whole, _) = into[start..].as_chunks_mut();
    for (bytes, word) in whole.iter_mut().zip(words) {
        *bytes = word.load(Relaxed).to_le_bytes();
    }
    into.truncate(start + length);
}
