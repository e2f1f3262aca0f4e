//! Our Call-IDs and tags.
//!
//! They are derived by a keyed hash from the request and the recipient. So they are the same when
//! the same request arrives again, also after a restart or at another node with the same key.
//! Nobody without the key can guess one, or learn from its own the session of another, its place,
//! or how many there are.

use std::fmt;

use ring::hmac;

use super::dialog_names::DialogNames;
use super::request_identity::RequestIdentity;
use crate::msrp_control::SessionId;
use crate::policy::ID_KEY_BYTES;
use crate::random::fill_random;
use crate::store::CopyId;

/// Prefix of Call-IDs of pager mode; those of large message mode begin differently.
const CALL_ID_PREFIX: &str = "cpm-";
const CALL_ID_BYTES: usize = 16;
const TAG_BYTES: usize = 8;

/// What ids of copies are a hash for.
const COPY: &str = "copy";

/// Derives ids. Clones have the same key.
#[derive(Clone, Debug)]
pub struct Ids {
    key: hmac::Key,
    names: DialogNames,
}

impl Ids {
    /// With the key of this service.
    pub fn new(key: &[u8; ID_KEY_BYTES]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let names = DialogNames::new(
            &hash(&key, "dialog proof", &[]),
            &hash(&key, "dialog names", &[]),
        );
        Ids { key, names }
    }

    /// With an unknown key that ends with the process.
    pub fn random() -> Self {
        let mut key = [0; ID_KEY_BYTES];
        fill_random(&mut key);
        Ids::new(&key)
    }

    /// A key for another purpose, the same at all nodes with this key.
    pub fn derived(&self, purpose: &str) -> [u8; ID_KEY_BYTES] {
        hash(&self.key, purpose, &[])
    }

    /// The names of the dialogs of large message mode.
    pub fn names(&self) -> &DialogNames {
        &self.names
    }

    /// The ids derived from a received request.
    pub(super) fn of_request(&self, identity: &RequestIdentity) -> RequestIds {
        let parts: Vec<&[u8]> = identity.request.iter().map(Vec::as_slice).collect();
        RequestIds(hash(&self.key, "request", &parts))
    }

    /// The ids of a request that is derived from one of ours: `purpose` distinguishes them.
    pub(super) fn following(&self, purpose: &str, call_id: &[u8]) -> RequestIds {
        RequestIds(hash(&self.key, purpose, &[call_id]))
    }
}

/// The secret from which the ids of one request are derived.
#[derive(Clone, Copy)]
pub(super) struct RequestIds([u8; 32]);

impl fmt::Debug for RequestIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestIds(..)")
    }
}

impl RequestIds {
    /// The To tag of our replies. No copy has it.
    pub(super) fn to_tag(self) -> String {
        hex(&self.hash("to", &[])[..TAG_BYTES])
    }

    /// The name of the session.
    pub(super) fn session(&self) -> SessionId {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.hash("session", &[])[..16]);
        SessionId::from_bytes(bytes)
    }

    fn hash(&self, what: &str, parts: &[&[u8]]) -> [u8; 32] {
        hash(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), what, parts)
    }
}

/// Call-ID and From tag of outgoing requests, one after another.
#[derive(Clone, Debug)]
pub(super) struct CopyIds {
    request: RequestIds,
    key: hmac::Key,
    call_id: String,
    tag: String,
    room: Vec<u8>,
}

impl CopyIds {
    /// For the copies of one message.
    pub(super) fn of(request: RequestIds) -> Self {
        CopyIds {
            key: hmac::Key::new(hmac::HMAC_SHA256, &request.0),
            request,
            call_id: String::with_capacity(CALL_ID_PREFIX.len() + 2 * CALL_ID_BYTES),
            tag: String::with_capacity(2 * TAG_BYTES),
            room: Vec::new(),
        }
    }

    /// Sets them for the copy to this recipient, who occurs once in the message.
    pub(super) fn set(&mut self, recipient: &str) {
        // The same as `hash`, in one piece: this is called for each copy.
        self.room.clear();
        self.room.extend_from_slice(COPY.as_bytes());
        self.room
            .extend_from_slice(&(recipient.len() as u64).to_be_bytes());
        self.room.extend_from_slice(recipient.as_bytes());
        let hash = hmac::sign(&self.key, &self.room);
        let (call_id, rest) = hash.as_ref().split_at(CALL_ID_BYTES);
        self.call_id.clear();
        self.call_id.push_str(CALL_ID_PREFIX);
        push_hex(&mut self.call_id, call_id);
        self.tag.clear();
        push_hex(&mut self.tag, &rest[..TAG_BYTES]);
    }

    /// The name of the copy for this recipient.
    pub(super) fn copy_of(&self, recipient: &str) -> CopyId {
        let hash = hash(&self.key, COPY, &[recipient.as_bytes()]);
        let mut copy = [0; CALL_ID_BYTES];
        copy.copy_from_slice(&hash[..CALL_ID_BYTES]);
        CopyId(copy)
    }

    /// The Call-ID.
    pub(super) fn call_id(&self) -> &str {
        &self.call_id
    }

    /// The From tag.
    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    /// The secret that they are derived from, for another process.
    pub(super) fn secret(&self) -> &[u8; 32] {
        &self.request.0
    }

    /// From the result of [`secret`](Self::secret).
    pub(super) fn of_secret(secret: [u8; 32]) -> Self {
        CopyIds::of(RequestIds(secret))
    }

    /// The To tag of the reply.
    pub(super) fn to_tag(&self) -> String {
        self.request.to_tag()
    }
}

/// The name of the copy with this Call-ID. `None`: it is no copy of pager mode.
pub fn copy_of_call_id(call_id: &[u8]) -> Option<CopyId> {
    let digits = call_id.strip_prefix(CALL_ID_PREFIX.as_bytes())?;
    let mut copy = [0; CALL_ID_BYTES];
    hex::decode_to_slice(digits, &mut copy).ok()?;
    Some(CopyId(copy))
}

/// A hash for one purpose; the parts are delimited.
fn hash(key: &hmac::Key, what: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    context.update(what.as_bytes());
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.sign().as_ref());
    hash
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    text
}

/// Called for each copy: several times faster than the crate `hex`, which works byte by byte.
fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 64];
    for part in bytes.chunks(digits.len() / 2) {
        let digits = &mut digits[..2 * part.len()];
        for (digits, byte) in digits.chunks_exact_mut(2).zip(part) {
            digits[0] = DIGITS[usize::from(byte >> 4)];
            digits[1] = DIGITS[usize::from(byte & 15)];
        }
        text.push_str(std::str::from_utf8(digits).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::sip::Message;

    fn request(call_id: &str) -> RequestIdentity {
        let text = format!(
            "MESSAGE sip:exploder@example.com SIP/2.0\r\nFrom: <sip:anne@example.com>;tag=1\r\n\
             To: <sip:exploder@example.com>\r\nCall-ID: {call_id}\r\nCSeq: 1 MESSAGE\r\n\r\n"
        );
        RequestIdentity::of(&Message::parse(text.into_bytes().into()).unwrap())
    }

    fn ids_for(ids: &mut CopyIds, recipient: &str) -> [String; 2] {
        ids.set(recipient);
        [ids.call_id().to_owned(), ids.tag().to_owned()]
    }

    #[test]
    fn they_are_the_same_for_the_same_request_and_key() {
        let of = |key: u8, call_id| Ids::new(&[key; 32]).of_request(&request(call_id));
        let (first, again) = (of(1, "a"), of(1, "a"));
        assert_eq!(first.to_tag(), again.to_tag());
        assert_eq!(first.session(), again.session());
        let bill = ids_for(&mut CopyIds::of(first), "sip:bill@example.com");
        let mut copies = CopyIds::of(again);
        ids_for(&mut copies, "sip:carol@example.com");
        assert_eq!(ids_for(&mut copies, "sip:bill@example.com"), bill);
        let mut elsewhere = CopyIds::of_secret(*copies.secret());
        assert_eq!(ids_for(&mut elsewhere, "sip:bill@example.com"), bill);
        assert_eq!(elsewhere.to_tag(), first.to_tag());
        let copy = elsewhere.copy_of("sip:bill@example.com");
        assert_eq!(copy_of_call_id(bill[0].as_bytes()), Some(copy));
        assert_eq!(copy_of_call_id(b"cpm-0"), None);
        for other in [of(1, "b"), of(2, "a")] {
            assert_ne!(first.to_tag(), other.to_tag());
            assert_ne!(first.session(), other.session());
            assert_ne!(
                ids_for(&mut CopyIds::of(other), "sip:bill@example.com"),
                bill
            );
        }
    }

    #[test]
    fn no_two_ids_have_anything_in_common() {
        let ids = Ids::new(&[1; 32]);
        let request = ids.of_request(&request("a"));
        let mut copies = CopyIds::of(request);
        let mut all = vec![request.to_tag(), request.session().to_string()];
        for number in 0..1_000 {
            let [call_id, tag] = ids_for(&mut copies, &format!("sip:user{number}@example.com"));
            assert_eq!((call_id.len(), tag.len()), (36, 16));
            all.extend([call_id[4..].to_owned(), tag]);
        }
        // The first and the last eight digits of all of them.
        let ends = all.iter().flat_map(|id| [&id[..8], &id[id.len() - 8..]]);
        let ends: BTreeSet<&str> = ends.collect();
        assert!(
            ends.len() >= 2 * all.len() - 4,
            "{} of {}",
            ends.len(),
            all.len()
        );
    }

    #[test]
    fn what_follows_from_a_copy_is_stable_too() {
        let ids = Ids::new(&[1; 32]);
        let of = |purpose, call_id| {
            ids_for(&mut CopyIds::of(ids.following(purpose, call_id)), "sip:a@b")
        };
        assert_eq!(of("isf", b"1"), of("isf", b"1"));
        assert_ne!(of("isf", b"1"), of("isf", b"2"));
        assert_ne!(of("isf", b"1"), of("failure", b"1"));
    }
}
