//! The branch of a copy (RFC 3261 8.1.1.7): where its recipient stands, which only we can read.
//!
//! ```text
//!  z9hG4bKcpm  [place, 8 digits]  [key, 16 digits]
//! ```
//!
//! The key is random, one for each copy: nobody can make a response to a copy that it has not got.
//! The place is hidden by a hash of the key and a secret: from its branch no recipient sees how
//! many others there are, or when.

use std::hash::{DefaultHasher, Hasher};

/// What all branches of ours begin with. No branch of a proxy does: the digits of tm follow the
/// cookie at once.
pub(super) const COOKIE: &[u8] = b"z9hG4bKcpm";

/// Digits behind the cookie.
pub(super) const DIGITS: usize = 24;

/// Bytes of a branch.
pub const BYTES: usize = COOKIE.len() + DIGITS;

/// What a branch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Branch {
    /// Where the recipient stands.
    pub(super) place: u32,
    /// What nobody else can know.
    pub(super) key: u64,
}

impl Branch {
    /// Appends the branch as it stands in Via.
    pub(super) fn write(self, secret: u64, to: &mut Vec<u8>) {
        to.extend_from_slice(COOKIE);
        push_hex(u64::from(self.place ^ mask(self.key, secret)), 8, to);
        push_hex(self.key, 16, to);
    }

    /// From the digits behind the cookie. `None`: they are none of ours.
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

fn push_hex(value: u64, digits: u32, to: &mut Vec<u8>) {
    for digit in (0..digits).rev() {
        to.push(b"0123456789abcdef"[(value >> (4 * digit)) as usize & 15]);
    }
}

/// In lower case, as we have written them.
fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

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
        assert_eq!(Branch::read(b"0123456789abcdef0123456X", 7), None);
    }
}
