//! Repeatable randomness for tests: the same seed gives the same run on every machine.

use std::cell::RefCell;

use fastrand::Rng;

thread_local! {
    static FILL: RefCell<Rng> = const { RefCell::new(Rng::with_seed(7)) };
}

/// A source of random bytes with the signature that the state machines expect.
pub(crate) fn fill(bytes: &mut [u8]) {
    FILL.with_borrow_mut(|random| random.fill(bytes));
}

/// `count` random bytes.
pub(crate) fn random_bytes(random: &mut Rng, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    random.fill(&mut bytes);
    bytes
}

/// The sample with a few bytes replaced, removed, inserted or duplicated. `alphabet` holds bytes
/// that are significant for the parser under test.
pub(crate) fn mutate(random: &mut Rng, sample: &[u8], alphabet: &[u8]) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for _ in 0..=random.usize(..4) {
        let at = random.usize(..=bytes.len());
        let new = match random.usize(..4) {
            0 => random.u8(..),
            _ => alphabet[random.usize(..alphabet.len())],
        };
        match random.usize(..4) {
            0 => bytes.insert(at, new),
            1 if at < bytes.len() => bytes[at] = new,
            2 if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.extend_from_within(at..),
        }
        bytes.truncate(4 * sample.len() + 16);
    }
    bytes
}

/// [`mutate`] for parsers that take text.
pub(crate) fn mutate_text(random: &mut Rng, sample: &str, alphabet: &[u8]) -> String {
    String::from_utf8_lossy(&mutate(random, sample.as_bytes(), alphabet)).into_owned()
}
