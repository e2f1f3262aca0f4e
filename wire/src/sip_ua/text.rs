//! Reading the header fields that say which transaction a message is of.

use crate::sip::{HeaderName, Message};

/// Number and method of CSeq. `None`: it has none, or one that is not of RFC 3261 §8.1.1.5.
pub fn cseq(message: &Message) -> Option<(u32, &str)> {
    let value = message.first(HeaderName::CSeq)?.text().ok()?;
    let mut words = value.split_ascii_whitespace();
    let number = words.next()?.parse::<u32>().ok()?;
    (number < 1 << 31).then_some((number, words.next()?))
}
