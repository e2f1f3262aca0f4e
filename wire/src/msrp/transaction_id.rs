use std::fmt;

/// Shortest transaction id (RFC 4975 §9, `ident`).
pub const MIN_TRANSACTION_ID_BYTES: usize = 4;
/// Longest transaction id (RFC 4975 §9, `ident`).
pub const MAX_TRANSACTION_ID_BYTES: usize = 32;

/// Digits of an id that we make: 16 of 5 bits each are 80 random bits.
const OWN_ID_BYTES: usize = 16;
/// Number of random bytes taken from the source at once; one byte makes one digit.
const POOL_BYTES: usize = 16 * OWN_ID_BYTES;

/// A transaction id: relates a response to its request, and the end-line to its chunk.
#[derive(Clone, Copy)]
pub struct TransactionId {
    bytes: [u8; MAX_TRANSACTION_ID_BYTES],
    len: u8,
}

impl TransactionId {
    /// Parses an `ident` of RFC 4975 §9; `None` if the text is not one.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let ident = |b: &u8| b.is_ascii_alphanumeric() || b".-+%=".contains(b);
        let valid = (MIN_TRANSACTION_ID_BYTES..=MAX_TRANSACTION_ID_BYTES).contains(&text.len())
            && text[0].is_ascii_alphanumeric()
            && text.iter().all(ident);
        if !valid {
            return None;
        }
        let mut bytes = [0; MAX_TRANSACTION_ID_BYTES];
        bytes[..text.len()].copy_from_slice(text);
        Some(Self {
            bytes,
            len: text.len() as u8,
        })
    }

    /// The id as written on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Whether an end-line with this id, with any flag, would begin inside `content`, the pieces of
    /// one chunk in order. Such an id must not frame that chunk (RFC 4975 §7.1).
    pub fn collides_with(&self, content: &[&[u8]]) -> bool {
        let mut needle = [b'-'; 7 + MAX_TRANSACTION_ID_BYTES];
        needle[7..7 + self.as_bytes().len()].copy_from_slice(self.as_bytes());
        let needle = &needle[..7 + self.as_bytes().len()];
        // The last bytes of all pieces so far, one fewer than the needle has.
        let mut tail: Vec<u8> = Vec::with_capacity(2 * needle.len());
        for piece in content {
            let joint = &piece[..piece.len().min(needle.len() - 1)];
            tail.extend_from_slice(joint);
            if contains(&tail, needle) || contains(piece, needle) {
                return true;
            }
            if piece.len() >= needle.len() - 1 {
                tail.clear();
                tail.extend_from_slice(&piece[piece.len() - (needle.len() - 1)..]);
            } else {
                tail.drain(..tail.len().saturating_sub(needle.len() - 1));
            }
        }
        false
    }
}

impl PartialEq for TransactionId {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for TransactionId {}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

/// Generates transaction ids (and Message-IDs) that nobody can guess.
///
/// A chunk whose content has not arrived yet cannot be searched for its own end-line. Content
/// cannot end its chunk because its author does not know the id: 80 random bits, new for each chunk
/// of each leg.
pub struct TransactionIds {
    fill: fn(&mut [u8]),
    pool: [u8; POOL_BYTES],
    used: usize,
}

impl TransactionIds {
    /// `fill` must fill the slice from a cryptographic random source.
    pub fn new(fill: fn(&mut [u8])) -> Self {
        Self {
            fill,
            pool: [0; POOL_BYTES],
            used: POOL_BYTES,
        }
    }

    /// A new id.
    pub fn next_id(&mut self) -> TransactionId {
        const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        if self.used == POOL_BYTES {
            (self.fill)(&mut self.pool);
            self.used = 0;
        }
        let random = &self.pool[self.used..self.used + OWN_ID_BYTES];
        self.used += OWN_ID_BYTES;
        let mut bytes = [0; MAX_TRANSACTION_ID_BYTES];
        for (digit, random) in bytes.iter_mut().zip(random) {
            *digit = DIGITS[usize::from(random % 32)];
        }
        TransactionId {
            bytes,
            len: OWN_ID_BYTES as u8,
        }
    }

    /// A new id that can frame `content`, the pieces of one chunk in order.
    pub fn next_id_for(&mut self, content: &[&[u8]]) -> TransactionId {
        loop {
            // Ends after one iteration except with a broken random source: content would have to
            // contain all 2^80 ids.
            let id = self.next_id();
            if !id.collides_with(content) {
                return id;
            }
        }
    }
}

impl fmt::Debug for TransactionIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TransactionIds")
    }
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_random::fill;
    use std::cell::Cell;

    #[test]
    fn grammar() {
        for good in ["d93kswow", "a786hjs2", "1234", "a.-+%=", &"x".repeat(32)] {
            assert_eq!(
                TransactionId::parse(good.as_bytes()).unwrap().as_bytes(),
                good.as_bytes()
            );
        }
        for bad in ["", "abc", "-abcd", "ab cd", "abc$", "abcé", &"x".repeat(33)] {
            assert!(TransactionId::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn own_ids_are_idents_and_differ() {
        let mut ids = TransactionIds::new(fill);
        let made: Vec<_> = (0..100).map(|_| ids.next_id()).collect();
        for (i, id) in made.iter().enumerate() {
            assert_eq!(TransactionId::parse(id.as_bytes()), Some(*id));
            assert!(!made[..i].contains(id));
        }
    }

    #[test]
    fn collisions_are_seen_across_any_split() {
        let id = TransactionId::parse(b"d93kswow").unwrap();
        let content = b"text -------d93kswow$ text";
        for first in 0..content.len() {
            for second in first..content.len() {
                let pieces = [
                    &content[..first],
                    &content[first..second],
                    &content[second..],
                ];
                assert!(id.collides_with(&pieces), "{first} {second}");
            }
        }
        let bytes: Vec<&[u8]> = content.chunks(1).collect();
        assert!(id.collides_with(&bytes));
        assert!(!id.collides_with(&[b"-------d93ksw", b"o-------d93kswo"]));
        assert!(!id.collides_with(&[]));
    }

    #[test]
    fn a_colliding_id_is_not_taken() {
        thread_local!(static CALLS: Cell<u8> = const { Cell::new(0) });
        // The first pool is all `a`, the next all `b`.
        fn fill(bytes: &mut [u8]) {
            bytes.fill(CALLS.get());
            CALLS.set(CALLS.get() + 1);
        }
        let id = TransactionIds::new(fill).next_id_for(&[b"x-------aaaaaaaaaaaaaaaa+"]);
        assert_eq!(id.as_bytes(), b"bbbbbbbbbbbbbbbb");
    }
}
