//! Reading and writing header fields, as this floor needs it.

use std::borrow::Cow;

use crate::sip::{HeaderBlock, HeaderName, Message};

/// Adds a field whose value is ours or has passed a parser of ours. One that could not stand on a line of
/// its own, which such a value never is, is left out rather than sent.
pub(super) fn put(headers: &mut HeaderBlock, name: &str, value: impl AsRef<[u8]>) {
    let written = headers.push(name, value);
    debug_assert!(written.is_ok(), "{name}: {written:?}");
}

/// The values of all fields of a name, each on one line. What is no text is passed over.
pub(super) fn texts(message: &Message, name: HeaderName) -> Vec<Cow<'_, str>> {
    message
        .all(name)
        .filter_map(|field| field.unfolded_text().ok())
        .collect()
}
