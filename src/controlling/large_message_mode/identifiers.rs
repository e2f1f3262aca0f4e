//! Names of sessions and of their dialogs, by which a worker sees that a message is ours.

use std::fmt;

/// What the names of our dialogs begin with. Call-IDs of pager mode begin with `cpm-`.
const PREFIX: &str = "cpms-";
/// Bytes of a [`SessionId`].
pub(super) const SESSION_ID_BYTES: usize = 16;

/// Names a session: 128 random bits, which nobody can guess.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; SESSION_ID_BYTES]);

/// A leg of one session: the place of its INVITE in the order of sending. The second INVITE of a recipient, the one to the
/// ISF, is a leg of its own.
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

/// Names one dialog. Its text, `cpms-<32 hex digits>-<number>`, is our tag in that dialog, and the Call-ID too
/// if we have made the dialog: `0` for the originator, the leg's number plus one for a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DialogName {
    /// Whose dialog it is.
    pub session: SessionId,
    /// With whom.
    pub side: Side,
}

impl SessionId {
    /// A new name. `random` fills its argument from a cryptographic source.
    pub fn new(random: fn(&mut [u8])) -> Self {
        let mut bytes = [0; SESSION_ID_BYTES];
        random(&mut bytes);
        SessionId(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn from_bytes(bytes: [u8; SESSION_ID_BYTES]) -> Self {
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

impl fmt::Display for DialogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = match self.side {
            Side::Originator => 0,
            Side::Leg(LegNumber(number)) => u64::from(number) + 1,
        };
        write!(f, "{PREFIX}{}-{number}", self.session)
    }
}

impl DialogName {
    /// Parses a tag or Call-ID. `None`: not one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let (session, number) = text.strip_prefix(PREFIX)?.split_once('-')?;
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        let canonical = digits && (number == "0" || !number.starts_with('0'));
        let side = match number.parse::<u64>().ok().filter(|_| canonical)? {
            0 => Side::Originator,
            number => Side::Leg(LegNumber(u32::try_from(number - 1).ok()?)),
        };
        Some(DialogName {
            session: SessionId::parse(session)?,
            side,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        let session = SessionId::new(|bytes| bytes.fill(0x0a));
        for side in [
            Side::Originator,
            Side::Leg(LegNumber(0)),
            Side::Leg(LegNumber(u32::MAX)),
        ] {
            let name = DialogName { session, side };
            assert_eq!(DialogName::parse(&name.to_string()), Some(name));
        }
        let text = "cpms-0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a-0";
        assert!(DialogName::parse(text).is_some());
        for bad in [
            "",
            "cpms-",
            "cpm-0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a-0",
            "cpms-0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
            "cpms-0A0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a-0",
            "cpms-0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a-",
            "cpms-0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a-00",
            "cpms-0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a-+1",
            "cpms-0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a-4294967297",
            "cpms-0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0-1",
        ] {
            assert_eq!(DialogName::parse(bad), None, "{bad}");
        }
    }
}
