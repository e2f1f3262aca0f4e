//! The destination of a plain URI, at a fraction of the cost of parsing it: a fan-out needs it
//! several times for each copy.

use std::net::Ipv4Addr;

use super::host::is_host_name;

/// A `sip:` URI without parameters, header fields and password, whose host is a name or an IPv4
/// address: nearly every recipient's URI (RFC 3261 §19.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainUri<'a> {
    /// The user, if present.
    pub user: Option<&'a str>,
    /// The host as written.
    pub host: &'a str,
    /// The host if it is an address.
    pub address: Option<Ipv4Addr>,
    /// The port, if present.
    pub port: Option<u16>,
}

impl<'a> PlainUri<'a> {
    /// Reads a URI. `None` means only that [`Uri::parse`](super::Uri::parse) is needed.
    pub fn read(uri: &'a str) -> Option<Self> {
        let bytes = uri.as_bytes();
        if !matches!(bytes, [b's' | b'S', b'i' | b'I', b'p' | b'P', b':', ..]) {
            return None;
        }
        let (user, start) = match bytes[4..].iter().position(|byte| !is_user(*byte)) {
            Some(0) => return None,
            Some(length) if bytes[4 + length] == b'@' => {
                (Some(uri.get(4..4 + length)?), 4 + length + 1)
            }
            _ => (None, 4),
        };
        let host = bytes[start..].iter().position(|byte| !is_host(*byte));
        let end = host.map_or(bytes.len(), |length| start + length);
        let port = match bytes.get(end) {
            None => None,
            Some(b':') => Some(port(&bytes[end + 1..])?),
            Some(_) => return None,
        };
        let host = uri.get(start..end)?;
        // The last label of a name begins with a letter, and none is empty.
        let is_numeric = bytes[start..end]
            .iter()
            .all(|byte| !byte.is_ascii_alphabetic());
        let address = match is_numeric {
            true => Some(host.parse().ok()?),
            false => None,
        };
        (is_numeric || is_host_name(host)).then_some(Self {
            user,
            host,
            address,
            port,
        })
    }

    /// The same for a valid URI that may have parameters, which are ignored.
    pub fn read_before_parameters(uri: &'a str) -> Option<Self> {
        let end = memchr::memchr(b';', uri.as_bytes()).unwrap_or(uri.len());
        let (plain, parameters) = uri.split_at_checked(end)?;
        // A user may have a semicolon; behind the user there is no other `@`.
        let is_in_user = memchr::memchr(b'@', parameters.as_bytes()).is_some();
        PlainUri::read(plain).filter(|_| !is_in_user)
    }
}

/// What follows the userinfo of a `sip:` URI: hostport and uri-parameters (RFC 3261 §25.1). URIs
/// with the same text there have the same destination. `None`: not a `sip:` URI, or it has header
/// fields, or characters in its user that may stand elsewhere too.
pub fn behind_userinfo(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_at_checked(4)?;
    let (user, behind) = match memchr::memrchr(b'@', rest.as_bytes()) {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => ("", rest),
    };
    let is_clear = memchr::memchr3(b';', b'?', b'@', user.as_bytes()).is_none();
    let has_headers = memchr::memchr(b'?', behind.as_bytes()).is_some();
    (scheme.eq_ignore_ascii_case("sip:") && is_clear && !has_headers).then_some(behind)
}

/// The hostport (RFC 3261 §25.1) at the beginning of what [`behind_userinfo`] finds in a valid URI.
/// `None` means only that [`Uri::parse`](super::Uri::parse) is needed.
pub fn hostport(behind_userinfo: &str) -> Option<(&str, Option<u16>)> {
    let bytes = behind_userinfo.as_bytes();
    let end_of = |start: usize, is_part: fn(u8) -> bool| {
        let length = bytes[start..].iter().position(|byte| !is_part(*byte));
        length.map_or(bytes.len(), |length| start + length)
    };
    let host_end = end_of(0, is_host);
    let (port, end) = match bytes.get(host_end) {
        Some(b':') => {
            let end = end_of(host_end + 1, |byte| byte.is_ascii_digit());
            (Some(port(&bytes[host_end + 1..end])?), end)
        }
        _ => (None, host_end),
    };
    let host = behind_userinfo.get(..host_end)?;
    let is_whole = matches!(bytes.get(end), None | Some(b';'));
    (is_whole && !host.is_empty()).then_some((host, port))
}

/// Characters of usual user names, a subset of the grammar.
fn is_user(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+')
}

fn is_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')
}

/// A number from 1 to 65535 without leading zeros.
fn port(digits: &[u8]) -> Option<u16> {
    if !matches!(digits, [b'1'..=b'9', ..]) || digits.len() > 5 {
        return None;
    }
    let number = digits.iter().try_fold(0_u32, |number, digit| {
        let value = digit.is_ascii_digit().then(|| u32::from(digit - b'0'));
        value.map(|value| 10 * number + value)
    });
    u16::try_from(number?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Uri;

    #[test]
    fn it_reads_what_the_parser_reads() {
        for (text, host, port) in [
            ("sip:bill@example.com", "example.com", None),
            ("SIP:+1555@192.0.2.1:5070", "192.0.2.1", Some(5070)),
            ("sip:example.com.:65535", "example.com.", Some(65535)),
            ("sip:example.com", "example.com", None),
            ("sip:a_b-c.d@x1.example.com:1", "x1.example.com", Some(1)),
        ] {
            let plain = PlainUri::read(text).expect(text);
            assert_eq!((plain.host, plain.port), (host, port), "{text}");
            assert_eq!(plain.address, host.parse().ok(), "{text}");
            let parsed = Uri::parse(text).expect(text);
            assert_eq!((parsed.host(), parsed.port()), (Some(host), port), "{text}");
            assert_eq!(parsed.user(), plain.user, "{text}");
        }
    }

    #[test]
    fn parameters_are_ignored_where_they_may_be() {
        for text in [
            "sip:bill@example.com:5070",
            "sip:bill@example.com:5070;transport=tcp",
            "sip:bill@example.com:5070;x;y=sip%3aa%40b",
        ] {
            let plain = PlainUri::read_before_parameters(text).expect(text);
            assert_eq!((plain.host, plain.port), ("example.com", Some(5070)));
            let parsed = Uri::parse(text).expect(text);
            assert_eq!(parsed.host(), Some(plain.host), "{text}");
        }
        for text in ["sip:a;b@example.com", "sip:a?x=y;z", "tel:+1;ext=2"] {
            assert_eq!(PlainUri::read_before_parameters(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_behind_the_userinfo_is_the_destination_and_nothing_else() {
        for (uri, behind) in [
            ("sip:bill@example.com", "example.com"),
            ("SIP:bill:secret@[2001:db8::1]:5070", "[2001:db8::1]:5070"),
            ("sip:b@192.0.2.1;transport=tcp", "192.0.2.1;transport=tcp"),
            ("sip:192.0.2.1:5070", "192.0.2.1:5070"),
        ] {
            assert_eq!(behind_userinfo(uri), Some(behind), "{uri}");
        }
        for uri in [
            "sip:a;b@example.com",
            "sip:a?b@example.com",
            "sip:a@example.com?Subject=x",
            // Whose destination this is nobody knows: not that of the second.
            "sip:a@192.0.2.1;x=@192.0.2.2",
            "sip:192.0.2.1;x=@192.0.2.2",
            "sips:a@example.com",
            "tel:+15550100",
            "im:a@example.com",
            "s\u{e9}p:a@example.com",
            "sip",
            "",
        ] {
            assert_eq!(behind_userinfo(uri), None, "{uri}");
        }
    }

    #[test]
    fn the_hostport_is_what_the_parser_reads() {
        for uri in [
            "sip:bill@example.com",
            "sip:bill@Example.COM.:5070",
            "sip:bill:secret@192.0.2.1:65535;transport=tcp",
            "sip:192.0.2.1;x",
        ] {
            let parsed = Uri::parse(uri).expect(uri);
            let found = behind_userinfo(uri).and_then(hostport);
            assert_eq!(
                found,
                parsed.host().map(|host| (host, parsed.port())),
                "{uri}"
            );
        }
        for text in [
            "",
            ":5070",
            ";x",
            "[2001:db8::1]:5070",
            "example.com:",
            "example.com:;x",
            "example.com:0",
            "example.com:123456",
            "example.com:50x",
            "exampl\u{e9}.com",
            "example.com>",
        ] {
            assert_eq!(hostport(text), None, "{text}");
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
            "sip:bill@example.com:123456",
            "sip:bill@192.0.2.256",
            "sip:bill@192.0.2.1.",
            "sip:bill@192.0.2",
            "sip:bill@-",
            "sip:bill@exa mple.com",
            "sip:bill@@example.com",
            "sip:bill\u{e9}@example.com",
            "s\u{e9}:bill@example.com",
            "sip:bill@exampl\u{e9}.com",
            "sip:a..com",
        ] {
            assert_eq!(PlainUri::read(text), None, "{text}");
        }
    }
}
