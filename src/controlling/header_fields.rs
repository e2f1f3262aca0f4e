//! Reading and writing header fields, as this floor needs it.

use crate::sip::{FieldLine, HeaderBlock, HeaderName, Message};

/// Max-Forwards of requests that came without one, and of our own (RFC 3261 §8.1.1.6).
pub(super) const INITIAL_MAX_FORWARDS: u8 = 70;

/// Adds a field whose value is ours or has passed a parser of ours. One that could not stand on a line of
/// its own, which such a value never is, is left out rather than sent.
pub(super) fn put(headers: &mut HeaderBlock, name: &str, value: impl AsRef<[u8]>) {
    let written = headers.push(name, value);
    debug_assert!(written.is_ok(), "{name}: {written:?}");
}

/// Max-Forwards as received; where it is missing, one more than what our own requests begin with.
pub(super) fn hops_of(message: &Message) -> u8 {
    message
        .first(HeaderName::MaxForwards)
        .and_then(|field| field.text().ok()?.trim().parse().ok())
        .unwrap_or(INITIAL_MAX_FORWARDS + 1)
}

/// Whether a field has this name, whichever of a full and a compact form either uses.
pub(super) fn has_name(field: &FieldLine<'_>, name: &str) -> bool {
    match HeaderName::parse(name.as_bytes()) {
        HeaderName::Other => name.eq_ignore_ascii_case(field.raw_name()),
        known => known == field.name(),
    }
}
