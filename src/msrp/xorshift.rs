//! Repeatable randomness for the tests of the MSRP floors.

/// Marsaglia's xorshift64*.
pub(crate) struct XorShift(u64);

impl XorShift {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number in `0..limit`, which must not be 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 11) as usize % limit
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

thread_local! {
    static FILL: std::cell::RefCell<XorShift> = std::cell::RefCell::new(XorShift::new(7));
}

/// A source of random bytes with the signature that the machines ask for; the same in each run.
pub(crate) fn fill(bytes: &mut [u8]) {
    FILL.with_borrow_mut(|random| bytes.fill_with(|| random.next() as u8));
}
