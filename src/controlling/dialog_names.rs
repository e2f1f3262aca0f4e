//! Names of dialogs, by which a worker recognises our requests and responses.

use ring::hmac;

use crate::msrp_control::{LegNumber, SESSION_ID_BYTES, SessionId, Side};

/// Prefix of the names of our dialogs. Call-IDs of pager mode begin with `cpm-`.
const PREFIX: &str = "cpms-";
/// Identifies one dialog. Its text, written by [`DialogNames`], is our tag in that dialog, and also
/// the Call-ID if we created the dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DialogName {
    /// The session of the dialog.
    pub session: SessionId,
    /// The peer.
    pub side: Side,
}

/// Writes and reads the names of dialogs.
///
/// A name is `cpms-` and 66 hex digits: session and side, enciphered under a secret key that all
/// processes have (as in RFC 5297: a keyed hash of the name authenticates it and is the initial
/// value of the cipher). So whoever has the key finds the session without a table; without the key
/// nothing can be learnt, neither which names belong to one session nor how many there are.
#[derive(Clone, Debug)]
pub struct DialogNames {
    proof: hmac::Key,
    cipher: hmac::Key,
}

/// The authentication tag at the beginning of a name.
const PROOF_BYTES: usize = 12;
/// Session, and 0 for the originator or the leg's number plus one.
const NAMED_BYTES: usize = SESSION_ID_BYTES + 5;
const NAME_BYTES: usize = PROOF_BYTES + NAMED_BYTES;

impl DialogNames {
    /// With two secret keys.
    pub(super) fn new(proof: &[u8; 32], cipher: &[u8; 32]) -> Self {
        DialogNames {
            proof: hmac::Key::new(hmac::HMAC_SHA256, proof),
            cipher: hmac::Key::new(hmac::HMAC_SHA256, cipher),
        }
    }

    /// The text of a name, which is always the same.
    pub fn write(&self, name: DialogName) -> String {
        let number = match name.side {
            Side::Originator => 0,
            Side::Leg(LegNumber(number)) => u64::from(number) + 1,
        };
        let mut named = [0; NAMED_BYTES];
        named[..SESSION_ID_BYTES].copy_from_slice(name.session.as_bytes());
        named[SESSION_ID_BYTES..].copy_from_slice(&number.to_be_bytes()[3..]);
        let proof = self.proof(&named);
        self.encipher(&proof, &mut named);
        let mut text = String::with_capacity(PREFIX.len() + 2 * NAME_BYTES);
        text.push_str(PREFIX);
        for byte in proof.iter().chain(&named) {
            let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
            text.extend([digit(byte >> 4), digit(byte & 15)]);
        }
        text
    }

    /// Reads a tag or Call-ID. `None`: not one of ours.
    pub fn read(&self, text: &str) -> Option<DialogName> {
        let digits = text.strip_prefix(PREFIX)?.as_bytes();
        let mut name = [0; NAME_BYTES];
        if digits.len() != 2 * NAME_BYTES {
            return None;
        }
        for (byte, pair) in name.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = value(pair[0])? << 4 | value(pair[1])?;
        }
        let (proof, enciphered) = name.split_at(PROOF_BYTES);
        let mut named = [0; NAMED_BYTES];
        named.copy_from_slice(enciphered);
        self.encipher(proof, &mut named);
        if self.proof(&named) != proof {
            return None;
        }
        let (session, number) = named.split_at(SESSION_ID_BYTES);
        let mut bytes = [0; SESSION_ID_BYTES];
        bytes.copy_from_slice(session);
        let number = number
            .iter()
            .fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
        Some(DialogName {
            session: SessionId::from_bytes(bytes),
            side: match number.checked_sub(1) {
                None => Side::Originator,
                Some(number) => Side::Leg(LegNumber(u32::try_from(number).ok()?)),
            },
        })
    }

    fn proof(&self, named: &[u8; NAMED_BYTES]) -> [u8; PROOF_BYTES] {
        let mut proof = [0; PROOF_BYTES];
        proof.copy_from_slice(&hmac::sign(&self.proof, named).as_ref()[..PROOF_BYTES]);
        proof
    }

    /// Enciphers or deciphers.
    fn encipher(&self, proof: &[u8], named: &mut [u8; NAMED_BYTES]) {
        let stream = hmac::sign(&self.cipher, proof);
        for (byte, key) in named.iter_mut().zip(stream.as_ref()) {
            *byte ^= key;
        }
    }
}

/// The value of a hex digit; upper case is never ours.
fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> DialogNames {
        DialogNames::new(&[1; 32], &[2; 32])
    }

    const SESSION: SessionId = SessionId::from_bytes([0x0a; SESSION_ID_BYTES]);

    #[test]
    fn names_come_back() {
        for side in [
            Side::Originator,
            Side::Leg(LegNumber(0)),
            Side::Leg(LegNumber(u32::MAX)),
        ] {
            let session = SESSION;
            let name = DialogName { session, side };
            let text = names().write(name);
            assert_eq!(text.len(), PREFIX.len() + 66);
            assert_eq!(names().write(name), text);
            assert_eq!(names().read(&text), Some(name));
            let other = DialogNames::new(&[1; 32], &[3; 32]);
            assert_eq!(other.read(&text), None, "another key");
        }
    }

    #[test]
    fn only_ours_are_read() {
        let side = Side::Leg(LegNumber(1));
        let session = SESSION;
        let text = names().write(DialogName { session, side });
        let digits = text.strip_prefix(PREFIX).unwrap();
        assert!(digits.contains(|digit: char| digit.is_ascii_lowercase()));
        for bad in [
            "",
            PREFIX,
            digits,
            &text[..text.len() - 2],
            &format!("{text}00"),
            &format!("{PREFIX}{}", digits.to_ascii_uppercase()),
            &format!("cpm-{digits}"),
            "cpms-0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a-1",
        ] {
            assert_eq!(names().read(bad), None, "{bad}");
        }
        // One digit changed.
        for place in PREFIX.len()..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[place] = if changed[place] == b'0' { b'1' } else { b'0' };
            assert_eq!(names().read(&String::from_utf8(changed).unwrap()), None);
        }
    }

    #[test]
    fn names_of_one_session_have_nothing_in_common() {
        let session = SESSION;
        let all = names();
        let names: Vec<String> = (0..60)
            .map(|leg| {
                let side = Side::Leg(LegNumber(leg));
                all.write(DialogName { session, side })
            })
            .collect();
        for (place, name) in names.iter().enumerate() {
            for other in &names[..place] {
                let pairs = name.bytes().zip(other.bytes()).skip(PREFIX.len());
                let same = pairs.filter(|(one, other)| one == other).count();
                // By chance, every sixteenth digit is equal.
                assert!(same < 30, "{name} {other}");
            }
        }
    }
}
