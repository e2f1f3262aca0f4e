//! Fields as bytes, for another process of the same build.

use bytes::{Buf, BufMut, Bytes};

use crate::shared::Claim;

/// Its length, then the field.
pub(super) fn put(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.put_u64(field.len() as u64);
    bytes.put_slice(field);
}

/// An optional field.
pub(super) fn put_option(bytes: &mut Vec<u8>, field: Option<&[u8]>) {
    bytes.put_u8(u8::from(field.is_some()));
    put(bytes, field.unwrap_or_default());
}

/// The outer `None` is the error.
pub(super) fn take_option(bytes: &mut Bytes) -> Option<Option<Bytes>> {
    let is_some = bytes.try_get_u8().ok()? == 1;
    let field = take(bytes)?;
    Some(is_some.then_some(field))
}

/// A claim for another process.
pub(super) fn put_claim(bytes: &mut Vec<u8>, claim: Option<Claim>) {
    bytes.put_u8(u8::from(claim.is_some()));
    for word in claim.map_or([0; 2], Claim::to_words) {
        bytes.put_u64(word);
    }
}

/// The outer `None` is the error.
pub(super) fn take_claim(bytes: &mut Bytes) -> Option<Option<Claim>> {
    let is_some = bytes.try_get_u8().ok()? == 1;
    let words = [bytes.try_get_u64().ok()?, bytes.try_get_u64().ok()?];
    Some(is_some.then(|| Claim::of_words(words)))
}

/// The next field. `None`: it is truncated.
pub(super) fn take(bytes: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(bytes.try_get_u64().ok()?).ok()?;
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

/// The next field, as text.
pub(super) fn take_text(bytes: &mut Bytes) -> Option<String> {
    String::from_utf8(take(bytes)?.to_vec()).ok()
}
