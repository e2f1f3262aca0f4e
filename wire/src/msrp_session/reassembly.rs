use std::collections::BTreeMap;

use bytes::{Buf, Bytes};

/// Maximum content of one message kept while earlier content is missing. On one connection chunks
/// arrive in order; only relays that open a second connection (RFC 4976) can swap some.
pub const MAX_OUT_OF_ORDER_BYTES: usize = 256 * 1024;
/// Minimum cost of one kept piece, so that many tiny ones do not use more memory than allowed.
const MIN_PIECE_COST: usize = 256;

/// Puts the chunks of one message in order. Each byte is output once, however often it arrived; if
/// chunks contradict each other, the first one applies, since its bytes may have been passed on
/// already.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    /// All bytes before this have been output.
    next: u64,
    /// Pieces beyond `next` by their offset. They may overlap.
    early: BTreeMap<u64, Bytes>,
    early_cost: usize,
}

/// The piece would exceed [`MAX_OUT_OF_ORDER_BYTES`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMuchOutOfOrder;

impl Reassembly {
    /// Number of bytes that have been output.
    pub(super) fn delivered(&self) -> u64 {
        self.next
    }

    /// Takes the bytes at `offset` and outputs all that is now in order.
    pub(super) fn insert(
        &mut self,
        offset: u64,
        content: Bytes,
        mut out: impl FnMut(Bytes),
    ) -> Result<(), TooMuchOutOfOrder> {
        if offset > self.next {
            return self.keep(offset, content);
        }
        self.emit(offset, content, &mut out);
        while let Some(first) = self
            .early
            .first_entry()
            .filter(|first| *first.key() <= self.next)
        {
            let (offset, content) = first.remove_entry();
            self.early_cost -= cost(&content);
            self.emit(offset, content, &mut out);
        }
        Ok(())
    }

    fn keep(&mut self, offset: u64, content: Bytes) -> Result<(), TooMuchOutOfOrder> {
        let replaced = self.early.get(&offset).map_or(0, cost);
        if self
            .early
            .get(&offset)
            .is_some_and(|kept| kept.len() >= content.len())
        {
            return Ok(());
        }
        let total = self.early_cost - replaced + cost(&content);
        if total > MAX_OUT_OF_ORDER_BYTES {
            return Err(TooMuchOutOfOrder);
        }
        self.early_cost = total;
        // A copy, since a slice would keep a much larger read block alive.
        self.early.insert(offset, Bytes::copy_from_slice(&content));
        Ok(())
    }

    fn emit(&mut self, offset: u64, mut content: Bytes, out: &mut impl FnMut(Bytes)) {
        let known = self.next - offset;
        if known >= content.len() as u64 {
            return;
        }
        content.advance(known as usize);
        self.next += content.len() as u64;
        out(content);
    }
}

fn cost(content: &Bytes) -> usize {
    content.len().max(MIN_PIECE_COST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    use crate::test_random::random_bytes;

    #[test]
    fn any_order_and_overlap_gives_each_byte_once() {
        let mut random = Rng::with_seed(2);
        let whole = random_bytes(&mut random, 500);
        for _ in 0..300 {
            let mut chunks: Vec<(usize, usize)> = (0..500)
                .step_by(50)
                .map(|at| (at, (at + 50 + random.usize(..60)).min(500)))
                .collect();
            for i in (1..chunks.len()).rev() {
                chunks.swap(i, random.usize(..i + 1));
            }
            let (mut reassembly, mut out) = (Reassembly::default(), Vec::new());
            for (from, to) in chunks {
                let content = Bytes::copy_from_slice(&whole[from..to]);
                reassembly
                    .insert(from as u64, content, |piece| out.extend_from_slice(&piece))
                    .unwrap();
                assert_eq!(reassembly.delivered(), out.len() as u64);
            }
            assert_eq!(out, whole);
            assert_eq!((reassembly.early_cost, reassembly.early.len()), (0, 0));
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut reassembly = Reassembly::default();
        let kept = (0..10_000)
            .filter(|i| {
                reassembly
                    .insert(2 * i + 1, Bytes::from_static(b"x"), |_| panic!())
                    .is_ok()
            })
            .count();
        assert_eq!(kept, MAX_OUT_OF_ORDER_BYTES / MIN_PIECE_COST);
        let huge = Bytes::from(vec![0; MAX_OUT_OF_ORDER_BYTES + 1]);
        assert_eq!(
            Reassembly::default().insert(1, huge, |_| ()),
            Err(TooMuchOutOfOrder)
        );
    }
}
