//! Header fields as text.

use std::borrow::Cow;

use crate::sip::{HeaderName, Message};

/// Number and method of CSeq. `None`: it is missing, or violates RFC 3261 §8.1.1.5.
pub fn cseq(message: &Message) -> Option<(u32, &str)> {
    let value = message.first(HeaderName::CSeq)?.text().ok()?;
    let mut words = value.split_ascii_whitespace();
    let number = words.next()?.parse::<u32>().ok()?;
    (number < 1 << 31).then_some((number, words.next()?))
}

/// The text of the first header field of a name, on one line.
pub fn text(message: &Message, name: HeaderName) -> Option<Cow<'_, str>> {
    Some(message.first(name)?.unfolded_text())
}

/// The texts of all header fields of a name, each on one line.
pub fn texts(message: &Message, name: HeaderName) -> Vec<Cow<'_, str>> {
    let fields = message.all(name);
    fields.map(|field| field.unfolded_text()).collect()
}
