//! Header fields that a message may have once.

use super::{HeaderName, Message};

/// Single-value fields, which may occur only once by RFC 3261 §7.3.1: those of RFC 3261 §20, of the
/// extensions that are read here, and of CPM. Privacy is not included: some senders write a field
/// for each of its values.
const SINGLE: &[HeaderName] = &[
    HeaderName::CallId,
    HeaderName::ContentDisposition,
    HeaderName::ContentLength,
    HeaderName::ContentTransferEncoding,
    HeaderName::ContentType,
    HeaderName::ContributionId,
    HeaderName::ConversationId,
    HeaderName::CSeq,
    HeaderName::Date,
    HeaderName::Event,
    HeaderName::Expires,
    HeaderName::From,
    HeaderName::InReplyToContributionId,
    HeaderName::MaxForwards,
    HeaderName::MessageExpires,
    HeaderName::MimeVersion,
    HeaderName::MinSe,
    HeaderName::Organization,
    HeaderName::Priority,
    HeaderName::RAck,
    HeaderName::ReferTo,
    HeaderName::ReferredBy,
    HeaderName::ReplyTo,
    HeaderName::SessionExpires,
    HeaderName::Subject,
    HeaderName::Timestamp,
    HeaderName::To,
    HeaderName::UserAgent,
];

/// A bit for each of [`SINGLE`].
const SINGLE_BITS: u128 = {
    let mut bits = 0;
    let mut at = 0;
    while at < SINGLE.len() {
        bits |= bit(SINGLE[at]);
        at += 1;
    }
    bits
};

const fn bit(name: HeaderName) -> u128 {
    1 << name as u32
}

const _: () = assert!((HeaderName::Other as u32) < u128::BITS);

impl Message {
    /// The first field that occurs again although it may occur only once. Readers differ in which
    /// of the two they use, so the request must be refused (400).
    pub fn repeated_field(&self) -> Option<HeaderName> {
        let mut seen = 0;
        self.fields().map(|field| field.name()).find(|&name| {
            let bit = bit(name) & SINGLE_BITS;
            let is_again = seen & bit != 0;
            seen |= bit;
            is_again
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn repeated(fields: &str) -> Option<HeaderName> {
        let text = format!("MESSAGE sip:a@b SIP/2.0\r\n{fields}\r\n\r\n");
        Message::parse(Bytes::from(text)).unwrap().repeated_field()
    }

    #[test]
    fn each_of_them_counts_in_whatever_form() {
        for name in SINGLE {
            let name_text = name.as_str().unwrap();
            let lower = name_text.to_lowercase();
            let fields = format!("{name_text}: 0\r\nVia: x\r\nVia: y\r\n{lower}: 0");
            assert_eq!(repeated(&fields), Some(*name), "{name_text}");
            assert_eq!(repeated(&format!("{name_text}: 0")), None);
        }
        assert_eq!(
            repeated("c: a/b\r\nContent-Type: a/b"),
            Some(HeaderName::ContentType)
        );
        // Different values too: it is ambiguous which of them is meant.
        assert_eq!(
            repeated("l: 0\r\nContent-Length: 2"),
            Some(HeaderName::ContentLength)
        );
    }

    #[test]
    fn lists_may_go_on_in_another_field() {
        for name in [
            "Accept-Contact",
            "Contact",
            "Privacy",
            "Require",
            "Record-Route",
            "Route",
            "Supported",
            "Via",
            "Warning",
            "X-Other",
        ] {
            assert_eq!(repeated(&format!("{name}: a\r\n{name}: b")), None, "{name}");
        }
    }
}
