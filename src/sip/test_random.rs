//! Mutated input for the robustness tests: a small xorshift generator with a fixed seed.

/// xorshift64: the same seed gives the same run on every machine.
pub(super) struct XorShift(u64);

impl XorShift {
    pub(super) fn new(seed: u64) -> Self {
        assert_ne!(seed, 0, "xorshift stays at zero");
        Self(seed)
    }

    /// A number below `bound`, which must not be zero.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// The sample with a few bytes replaced, removed, inserted or doubled. `alphabet` holds the
    /// bytes that mean something to the parser under test.
    pub(super) fn mutate(&mut self, sample: &[u8], alphabet: &[u8]) -> Vec<u8> {
        let mut bytes = sample.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let new = match self.below(4) {
                0 => self.below(256) as u8,
                _ => alphabet[self.below(alphabet.len())],
            };
            match self.below(4) {
                0 => bytes.insert(at, new),
                1 if at < bytes.len() => bytes[at] = new,
                2 if at < bytes.len() => drop(bytes.remove(at)),
                _ => bytes.extend_from_within(at..),
            }
            bytes.truncate(4 * sample.len() + 16);
        }
        bytes
    }

    /// [`Self::mutate`] for parsers that take text.
    pub(super) fn mutate_text(&mut self, sample: &str, alphabet: &[u8]) -> String {
        String::from_utf8_lossy(&self.mutate(sample.as_bytes(), alphabet)).into_owned()
    }
}
