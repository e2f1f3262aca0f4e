//! The Privacy header field (RFC 3323 §4.2, RFC 3325 §9.3).

use super::grammar::trim_lws;
use super::{HeaderName, Message};

/// Whether a request asks for its sender's identity to be withheld: it has a Privacy value `id`,
/// `user` or `header`.
///
/// Other values do not matter, not even `none`, which RFC 3323 §4.2 forbids next to them: the
/// fields are passed on unchanged, and the next hop may act on `id`. Values are separated by
/// semicolons; commas, which some senders use, are accepted too.
pub fn requests_anonymity(message: &Message) -> bool {
    message.all(HeaderName::Privacy).any(|field| {
        let text = field.unfolded_text();
        let mut values = text.split([';', ',']).map(trim_lws);
        values.any(|value| {
            ["id", "user", "header"]
                .iter()
                .any(|name| value.eq_ignore_ascii_case(name))
        })
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn asks(fields: &[&[u8]]) -> bool {
        let mut text = b"MESSAGE sip:a@b SIP/2.0\r\n".to_vec();
        for value in fields {
            text.extend_from_slice(&[b"Privacy: ", *value, b"\r\n"].concat());
        }
        text.extend_from_slice(b"\r\n");
        requests_anonymity(&Message::parse(Bytes::from(text)).unwrap())
    }

    #[test]
    fn values_that_withhold_the_identity() {
        let values: [&[u8]; _] = [
            b"id",
            b"user",
            b"header",
            b"ID",
            b"session; id ;critical",
            b"history,id",
            b"history;\r\n id",
            b"none;id",
            b"id;NONE",
            b"id;\xff",
        ];
        for value in values {
            assert!(asks(&[value]), "{}", value.escape_ascii());
        }
        assert!(asks(&[b"session", b"user"]), "several header fields");
        assert!(asks(&[b"none", b"id"]), "none in a field of its own");
    }

    #[test]
    fn values_that_do_not() {
        let values: [&[u8]; _] = [b"", b"none", b"session", b"critical", b"history", b"idx"];
        for value in values {
            assert!(!asks(&[value]), "{}", value.escape_ascii());
        }
        assert!(!asks(&[]));
    }
}
