//! Where a plain URI leads, for a fraction of what parsing it costs: each copy of a message asks
//! several times.

use super::host::is_host;

/// Host and port of a `sip:` URI that has neither parameters nor header fields nor a password, and
/// whose host is a name or an IPv4 address: nearly every recipient's URI (RFC 3261 §19.1.1).
///
/// `None` says nothing about a URI but that [`Uri::parse`](super::Uri::parse) has to look at it.
pub fn plain_host_and_port(uri: &str) -> Option<(&str, Option<u16>)> {
    let (scheme, rest) = uri.split_at_checked(4)?;
    if !scheme.eq_ignore_ascii_case("sip:") {
        return None;
    }
    let (user, address) = match rest.bytes().position(|byte| byte == b'@') {
        Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
        None => (None, rest),
    };
    let is_user_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    if user.is_some_and(|user| user.is_empty() || !user.bytes().all(is_user_byte)) {
        return None;
    }
    let (host, port) = match address.bytes().position(|byte| byte == b':') {
        Some(colon) => (&address[..colon], Some(&address[colon + 1..])),
        None => (address, None),
    };
    let port = match port {
        // No sign, no leading zeros.
        Some(port) if port.starts_with(|first: char| matches!(first, '1'..='9')) => {
            Some(port.parse().ok()?)
        }
        Some(_) => return None,
        None => None,
    };
    is_host(host).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Uri;

    #[test]
    fn it_reads_what_the_parser_reads() {
        for (text, expected) in [
            ("sip:bill@example.com", Some(("example.com", None))),
            ("SIP:+1555@192.0.2.1:5070", Some(("192.0.2.1", Some(5070)))),
            (
                "sip:example.com.:65535",
                Some(("example.com.", Some(65535))),
            ),
            ("sip:example.com", Some(("example.com", None))),
        ] {
            assert_eq!(plain_host_and_port(text), expected, "{text}");
            let parsed = Uri::parse(text).expect("a URI");
            assert_eq!(expected, parsed.host().map(|host| (host, parsed.port())));
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_parser() {
        for text in [
            "",
            "sip",
            "sip:",
            "sip:@example.com",
            "sips:bill@example.com",
            "tel:+15550100",
            "sip:bill:secret@example.com",
            "sip:bill@example.com;transport=tcp",
            "sip:bill@example.com?Subject=x",
            "sip:bill@[2001:db8::1]",
            "sip:bi%6cl@example.com",
            "sip:bill@example.com:",
            "sip:bill@example.com:0",
            "sip:bill@example.com:+5060",
            "sip:bill@example.com:65536",
            "sip:bill@192.0.2.256",
            "sip:bill@exa mple.com",
            "sip:bill@@example.com",
            "sip:bill\u{e9}@example.com",
            "s\u{e9}:bill@example.com",
        ] {
            assert_eq!(plain_host_and_port(text), None, "{text}");
        }
    }
}
