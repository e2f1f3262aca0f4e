//! The branch of a copy (RFC 3261 8.1.1.7). It encodes the recipient's place in shared memory,
//! readable only by this module.
//!
//! ```text
//!  z9hG4bKcpm  [place, 8 digits]  [key, 16 digits]
//! ```
//!
//! The key is random, one for each copy: nobody can forge a response to a copy that it has not
//! received. The place is masked with a hash of the key and a secret, so that a recipient cannot
//! tell from its branch how many other recipients there are.

use std::hash::{DefaultHasher, Hasher};

/// Prefix of all branches of the lane. No branch of the proxy has it: tm's digits follow the magic
/// cookie directly.
pub(super) const COOKIE: &[u8] = b"z9hG4bKcpm";

/// Digits after the prefix.
pub(super) const DIGITS: usize = 24;

/// Length of a branch in bytes.
pub const BYTES: usize = COOKIE.len() + DIGITS;

/// The content of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Branch {
    /// The recipient's place in shared memory.
    pub(super) place: u32,
    /// Random, known only to the module and this recipient.
    pub(super) key: u64,
}

impl Branch {
    /// Appends the branch in the form used in Via.
    pub(super) fn write(self, secret: u64, to: &mut Vec<u8>) {
        let mut digits = [0; DIGITS];
        write_hex(
            u64::from(self.place ^ mask(self.key, secret)),
            &mut digits[..8],
        );
        write_hex(self.key, &mut digits[8..]);
        to.extend_from_slice(COOKIE);
        to.extend_from_slice(&digits);
    }

    /// Reads the digits after the prefix. `None`: the module did not write them.
    pub(super) fn read(digits: &[u8], secret: u64) -> Option<Self> {
        let (place, key) = digits.split_at_checked(8)?;
        let key = hex(key.get(..16)?)?;
        let place = u32::try_from(hex(place)?).ok()?;
        Some(Branch {
            place: place ^ mask(key, secret),
            key,
        })
    }
}

fn mask(key: u64, secret: u64) -> u32 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(secret);
    hasher.write_u64(key);
    hasher.finish() as u32
}

fn write_hex(value: u64, to: &mut [u8]) {
    for (place, digit) in to.iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(value >> (4 * place)) as usize & 15];
    }
}

/// Lower case only, as `write_hex` writes it.
fn hex(digits: &[u8]) -> Option<u64> {
    let (mut value, mut all) = (0, 0);
    for digit in digits {
        let digit = VALUES[usize::from(*digit)];
        all |= digit;
        value = value << 4 | u64::from(digit & 15);
    }
    (all < 16).then_some(value)
}

/// The value of each digit; 16 for everything else.
const VALUES: [u8; 256] = {
    let mut values = [16; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_comes_back_and_hides_its_place() {
        let (first, second) = (
            Branch {
                place: 1,
                key: 0x0123_4567_89ab_cdef,
            },
            Branch {
                place: 2,
                key: u64::MAX,
            },
        );
        let written = |branch: Branch| {
            let mut text = Vec::new();
            branch.write(7, &mut text);
            assert_eq!(text.len(), BYTES);
            text
        };
        for branch in [first, second] {
            let text = written(branch);
            assert_eq!(Branch::read(&text[COOKIE.len()..], 7), Some(branch));
            let elsewhere = Branch::read(&text[COOKIE.len()..], 8).unwrap();
            assert_ne!(elsewhere.place, branch.place, "another secret");
        }
        assert_ne!(&written(first)[10..18], b"00000001");
        assert_eq!(Branch::read(b"0123", 7), None);
        for wrong in [b'X', b'A', b'g', b' ', 0, 255] {
            let mut digits = *b"0123456789abcdef01234567";
            assert!(Branch::read(&digits, 7).is_some());
            digits[23] = wrong;
            assert_eq!(Branch::read(&digits, 7), None);
        }
    }
}
