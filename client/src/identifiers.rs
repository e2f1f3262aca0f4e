//! Unique identifiers that nobody can guess.

/// Fills its argument from a cryptographic random source.
pub type Random = fn(&mut [u8]);

/// A version 4 UUID, the form of Conversation-ID and Contribution-ID (spec-notes part 6, Appendix
/// C).
pub fn uuid(random: Random) -> String {
    let mut bytes = [0; 16];
    random(&mut bytes);
    uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .to_string()
}

/// 96 random bits as a token: for tags, branches, Call-IDs, boundaries and session ids.
pub fn token(random: Random) -> String {
    let mut bytes = [0; 12];
    random(&mut bytes);
    hex::encode(bytes)
}

/// A branch of RFC 3261.
pub(super) fn branch(random: Random) -> String {
    format!("z9hG4bK{}", token(random))
}

/// A random number for o= lines and first CSeq numbers.
pub(super) fn number(random: Random) -> u32 {
    let mut bytes = [0; 4];
    random(&mut bytes);
    u32::from_be_bytes(bytes) >> 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fill;

    #[test]
    fn numbers_differ_and_leave_room_to_count_on() {
        let numbers: std::collections::BTreeSet<u32> = (0..100).map(|_| number(fill)).collect();
        assert!(numbers.len() > 90);
        assert!(numbers.iter().all(|number| *number < 1 << 24));
    }

    #[test]
    fn uuids_have_their_form_and_differ() {
        let (one, other) = (uuid(fill), uuid(fill));
        assert_ne!(one, other);
        let lengths: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(one.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&one.as_bytes()[19]));
        assert_eq!(token(fill).len(), 24);
    }
}
