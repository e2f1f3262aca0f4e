//! Names of sessions and of their ends.

use std::fmt;

/// Bytes of a [`SessionId`].
pub const SESSION_ID_BYTES: usize = 16;

/// Identifies a session: 128 bits of a keyed hash over its INVITE, which nobody can guess.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; SESSION_ID_BYTES]);

/// A leg of one session: the index of its INVITE in the order of sending. The second INVITE of a
/// recipient, the one to the ISF, is a leg of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegNumber(pub u32);

/// One of the dialogs of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The dialog with the originator, in which we are the callee.
    Originator,
    /// The dialog with a recipient, in which we are the caller.
    Leg(LegNumber),
}

impl SessionId {
    /// The 128 bits.
    pub fn as_bytes(&self) -> &[u8; SESSION_ID_BYTES] {
        &self.0
    }

    /// From its 128 bits.
    pub const fn from_bytes(bytes: [u8; SESSION_ID_BYTES]) -> Self {
        SessionId(bytes)
    }

    /// Parses the 32 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let canonical = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 2 * SESSION_ID_BYTES || !text.bytes().all(canonical) {
            return None;
        }
        let number = u128::from_str_radix(text, 16).ok()?;
        Some(SessionId(number.to_be_bytes()))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
