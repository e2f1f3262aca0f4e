//! Recipients that have become available, for the process that has messages for them: a bitmap in
//! memory that all processes share. Any process writes to it, as often as recipients register; one
//! process reads it. Recipients that share a bit are told apart by nobody: the bit is a hint, after
//! which one more attempt is made.
//!
//! ```text
//!  [is read at all] [which words have bits] x 256 [a bit for each 4096 hashes] x 16384
//! ```
//!
//! A write takes constant time and no memory, and the same recipient twice is one bit: a burst of
//! registrations costs the reader at most one look at each bit.

use std::ops::RangeInclusive;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// Bits of a hash that share one bit here.
const SHARED_BITS: u32 = 12;
const WORDS: usize = 1 << (u32::BITS - SHARED_BITS - u64::BITS.trailing_zeros());
const SUMMARY_WORDS: usize = WORDS / u64::BITS as usize;
/// The first word is alone in its cache line: all processes read it, and it hardly changes.
const HEAD_WORDS: usize = 8;

/// The bitmap. Clones are the same one, and so is the copy that a fork makes.
#[derive(Clone, Copy, Debug)]
pub struct Arrivals {
    words: &'static [AtomicU64],
}

impl Arrivals {
    /// Its size in words.
    pub const WORDS: usize = HEAD_WORDS + SUMMARY_WORDS + WORDS;

    /// The bitmap in `words`, which are [`WORDS`](Self::WORDS) and all 0 before the first use.
    pub fn new(words: &'static [AtomicU64]) -> Self {
        Arrivals { words }
    }

    /// A recipient with this hash is available. Does nothing while nobody reads.
    pub fn note(self, hash: u32) {
        if self.words[0].load(Relaxed) == 0 {
            return;
        }
        let bit = (hash >> SHARED_BITS) as usize;
        let word = bit / 64;
        self.bits(word).fetch_or(1 << (bit % 64), AcqRel);
        // After the bit: who reads this reads that.
        self.summary(word / 64).fetch_or(1 << (word % 64), Release);
    }

    /// Whether arrivals are noted at all from now on. Earlier ones are forgotten.
    pub fn listen(self, is_listening: bool) {
        if (self.words[0].load(Relaxed) != 0) != is_listening {
            self.take(|_| {});
            self.words[0].store(u64::from(is_listening), Relaxed);
        }
    }

    /// Takes what was noted: ranges of hashes, one of which has arrived.
    pub fn take(self, mut each: impl FnMut(RangeInclusive<u32>)) {
        for place in 0..SUMMARY_WORDS {
            let summary = self.summary(place);
            if summary.load(Relaxed) == 0 {
                continue;
            }
            for word in ones(summary.swap(0, Acquire)) {
                let word = place * 64 + word;
                for bit in ones(self.bits(word).swap(0, AcqRel)) {
                    let first = ((word * 64 + bit) as u32) << SHARED_BITS;
                    each(first..=first + ((1 << SHARED_BITS) - 1));
                }
            }
        }
    }

    fn summary(self, place: usize) -> &'static AtomicU64 {
        &self.words[HEAD_WORDS + place]
    }

    fn bits(self, word: usize) -> &'static AtomicU64 {
        &self.words[HEAD_WORDS + SUMMARY_WORDS + word]
    }
}

/// The places of the bits that are set.
fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (place < u64::BITS).then_some(place as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals() -> Arrivals {
        let words: Vec<_> = (0..Arrivals::WORDS).map(|_| AtomicU64::new(0)).collect();
        Arrivals::new(words.leak())
    }

    fn taken(arrivals: Arrivals) -> Vec<RangeInclusive<u32>> {
        let mut taken = Vec::new();
        arrivals.take(|range| taken.push(range));
        taken
    }

    #[test]
    fn who_arrives_twice_is_taken_once() {
        let arrivals = arrivals();
        arrivals.note(7);
        assert!(taken(arrivals).is_empty(), "nobody listens");
        arrivals.listen(true);
        for hash in [0, 7, 0x1234_5678, 0x1234_5679, u32::MAX] {
            arrivals.note(hash);
        }
        let expected = [
            0..=0xfff,
            0x1234_5000..=0x1234_5fff,
            0xffff_f000..=0xffff_ffff,
        ];
        assert_eq!(taken(arrivals), expected);
        assert!(taken(arrivals).is_empty());
        arrivals.note(7);
        arrivals.listen(false);
        arrivals.listen(true);
        assert!(
            taken(arrivals).is_empty(),
            "what was before counts for nothing"
        );
    }

    #[test]
    fn a_burst_from_all_processes_loses_nobody() {
        let arrivals = arrivals();
        arrivals.listen(true);
        let hash = |number: u32| number.wrapping_mul(0x9e37_79b1);
        let place = |hash: u32| (hash >> SHARED_BITS) as usize;
        let mut seen = vec![false; 1 << (u32::BITS - SHARED_BITS)];
        let mut see = |range: RangeInclusive<u32>| seen[place(*range.start())] = true;
        std::thread::scope(|scope| {
            let writers = [0, 1, 2, 3].map(|writer| {
                scope.spawn(move || {
                    for number in (writer..100_000_u32).step_by(4) {
                        arrivals.note(hash(number));
                    }
                })
            });
            while writers.iter().any(|writer| !writer.is_finished()) {
                arrivals.take(&mut see);
            }
            arrivals.take(&mut see);
        });
        assert!((0..100_000).all(|number| seen[place(hash(number))]));
    }
}
