//! Recipients that have arrived a short while ago: some of their copies are still on their way to
//! where they were before, and will fail there.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

/// How long an arrival is remembered: a copy may take 32 s (RFC 3261 timer F), at two addresses.
const KEPT_MS: u64 = 64_000;

/// Most arrivals that are remembered. Who is forgotten early is tried by the schedule.
const MOST: usize = 64 * 1024;

/// The last arrivals, by ranges of hashes that do not overlap.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// From the first hash of a range: the last one, and when.
    ranges: BTreeMap<u32, (u32, u64)>,
    order: VecDeque<(u64, u32)>,
}

impl Recent {
    /// One of these has arrived.
    pub(super) fn note(&mut self, hashes: RangeInclusive<u32>, now_ms: u64) {
        while let Some(&(at_ms, first)) = self.order.front()
            && (at_ms + KEPT_MS < now_ms || self.order.len() >= MOST)
        {
            self.order.pop_front();
            // Unless it has arrived again.
            if self
                .ranges
                .get(&first)
                .is_some_and(|(_, last_ms)| *last_ms == at_ms)
            {
                self.ranges.remove(&first);
            }
        }
        let (first, last) = hashes.into_inner();
        self.ranges.insert(first, (last, now_ms));
        self.order.push_back((now_ms, first));
    }

    /// When one that may be this has last arrived.
    pub(super) fn last_ms(&self, hash: u32) -> Option<u64> {
        let (_, (last, at_ms)) = self.ranges.range(..=hash).next_back()?;
        (hash <= *last).then_some(*at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrival_is_remembered_for_a_while_and_so_many_of_them() {
        let mut recent = Recent::default();
        recent.note(0x1000..=0x1fff, 5);
        recent.note(0x3000..=0x3fff, 6);
        recent.note(0x1000..=0x1fff, 7);
        let times = [0xfff, 0x1000, 0x1fff, 0x2000, 0x3001].map(|hash| recent.last_ms(hash));
        assert_eq!(times, [None, Some(7), Some(7), None, Some(6)]);
        recent.note(0..=0xfff, 6 + KEPT_MS + 1);
        assert_eq!(recent.last_ms(0x3000), None);
        assert_eq!(recent.last_ms(0x1000), Some(7));
        for number in 0..2 * MOST as u32 {
            recent.note(number * 4096..=number * 4096 + 4095, 9 + KEPT_MS);
        }
        assert!(recent.order.len() <= MOST && recent.ranges.len() <= MOST);
    }
}
