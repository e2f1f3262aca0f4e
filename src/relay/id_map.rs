//! Maps by our own ids. Each event of a connection looks several of them up, and the hash of the standard library, made for
//! keys that peers choose, takes longer than the rest of a lookup.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A map by ids that peers have no say in: counted up, or made of our random numbers.
pub(super) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;
/// A set of such ids.
pub(super) type IdSet<K> = HashSet<K, BuildHasherDefault<IdHasher>>;

/// 2^64 divided by the golden ratio (Knuth, The Art of Computer Programming, vol. 3, 6.4): spreads numbers that are counted up.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// Multiplies, word by word.
#[derive(Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_ne_bytes(word));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(MULTIPLIER);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn finish(&self) -> u64 {
        // A multiplication mixes upwards, and maps use the lowest bits too.
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controlling::large_message_mode::SessionId;
    use crate::msrp::xorshift::fill;
    use crate::session::ConnectionId;
    use std::hash::{BuildHasher, Hash};

    /// Most ids in one of 4096 buckets, by the lowest and by the highest bits.
    fn fullest(ids: impl Iterator<Item = impl Hash>) -> [usize; 2] {
        let build = BuildHasherDefault::<IdHasher>::default();
        let mut buckets = [[0; 4096]; 2];
        for id in ids {
            let hash = build.hash_one(id);
            buckets[0][(hash % 4096) as usize] += 1;
            buckets[1][(hash >> 52) as usize] += 1;
        }
        buckets.map(|counts| counts.into_iter().max().unwrap_or(0))
    }

    #[test]
    fn ids_are_spread() {
        // By chance alone it would be about 7.
        for most in [
            fullest((0..4096).map(ConnectionId)),
            fullest((0..4096).map(|number| ConnectionId(number << 12))),
            fullest((0..4096).map(|_| SessionId::new(fill))),
        ]
        .concat()
        {
            assert!(most < 20, "{most}");
        }
    }
}
