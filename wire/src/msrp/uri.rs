use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use bytes::Bytes;
use memchr::memchr;

/// Maximum length of an MSRP URI. RFC 4975 sets no limit; a host name has at most 255 bytes and a
/// session-id some dozens, which leaves room for parameters, and a path of many still fits into a
/// head.
pub const MAX_URI_BYTES: usize = 512;

/// An MSRP URI (RFC 4975 §6), kept as received.
///
/// Equality is that of §6.1: scheme, host and transport without case, IP addresses by value, port
/// and session-id exactly; userinfo and parameters do not count.
#[derive(Clone)]
pub struct MsrpUri {
    /// ASCII without spaces and control characters, checked by `parse`; the ranges lie inside.
    text: Bytes,
    secure: bool,
    host: Range<usize>,
    port: Option<u16>,
    session_id: Range<usize>,
    transport: Range<usize>,
}

/// The address to connect to for an MSRP URI: host as written (an IPv6 address without its
/// brackets) and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'a> {
    /// Host name or IP address.
    pub host: &'a str,
    /// Absent if the URI does not name one; RFC 4975 §6 then says 2855.
    pub port: Option<u16>,
}

/// The text is not an MSRP URI of RFC 4975 §9, or is longer than [`MAX_URI_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedUri;

impl MsrpUri {
    /// Parses a URI, the whole of `text`; the URI keeps that slice.
    ///
    /// # Errors
    /// [`MalformedUri`].
    pub fn parse(text: Bytes) -> Result<Self, MalformedUri> {
        let clean = text
            .iter()
            .all(|&b| b.is_ascii_graphic() && !is_forbidden(b));
        if text.len() > MAX_URI_BYTES || !clean {
            return Err(MalformedUri);
        }
        let scheme_end = memchr(b':', &text).ok_or(MalformedUri)?;
        if !text[scheme_end..].starts_with(b"://") {
            return Err(MalformedUri);
        }
        let secure = match &text[..scheme_end] {
            scheme if scheme.eq_ignore_ascii_case(b"msrp") => false,
            scheme if scheme.eq_ignore_ascii_case(b"msrps") => true,
            _ => return Err(MalformedUri),
        };
        let start = scheme_end + 3;
        let first_semicolon = memchr(b';', &text[start..]).ok_or(MalformedUri)? + start;
        let authority_end = memchr(b'/', &text[start..first_semicolon])
            .map_or(first_semicolon, |slash| slash + start);
        let session_id = (authority_end + 1).min(first_semicolon)..first_semicolon;
        if authority_end < first_semicolon && session_id.is_empty()
            || !text[session_id.clone()].iter().all(|&b| is_session_id(b))
        {
            return Err(MalformedUri);
        }
        let (host, port) = parse_host_port(&text, start..authority_end)?;
        let transport_start = first_semicolon + 1;
        let transport_end = memchr(b';', &text[transport_start..])
            .map_or(text.len(), |semicolon| semicolon + transport_start);
        let transport = transport_start..transport_end;
        let alphanumeric = text[transport.clone()]
            .iter()
            .all(u8::is_ascii_alphanumeric);
        if transport.is_empty() || !alphanumeric {
            return Err(MalformedUri);
        }
        Ok(Self {
            text,
            secure,
            host,
            port,
            session_id,
            transport,
        })
    }

    /// Makes a URI of our own: `msrp(s)://host:port/session_id;tcp`. An IPv6 address is passed
    /// without brackets.
    ///
    /// # Errors
    /// [`MalformedUri`] if a piece does not fit the grammar.
    pub fn new(
        secure: bool,
        host: &str,
        port: u16,
        session_id: &str,
    ) -> Result<Self, MalformedUri> {
        let scheme = if secure { "msrps" } else { "msrp" };
        let (open, close) = if host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        let text = format!("{scheme}://{open}{host}{close}:{port}/{session_id};tcp");
        let uri = Self::parse(Bytes::from(text))?;
        if uri.session_id() != session_id || uri.authority().host != host {
            return Err(MalformedUri);
        }
        Ok(uri)
    }

    /// The URI as received.
    pub fn text(&self) -> &str {
        self.slice(0..self.text.len())
    }

    /// Whether the scheme is `msrps`: the hop uses TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Host and port.
    pub fn authority(&self) -> Authority<'_> {
        let host = self.slice(self.host.clone());
        Authority {
            host: host
                .strip_prefix('[')
                .and_then(|h| h.strip_suffix(']'))
                .unwrap_or(host),
            port: self.port,
        }
    }

    /// Identifies the session at the authority; empty in the URI of a relay that serves many.
    pub fn session_id(&self) -> &str {
        self.slice(self.session_id.clone())
    }

    /// The transport, always `tcp` in RFC 4975.
    pub fn transport(&self) -> &str {
        self.slice(self.transport.clone())
    }

    fn slice(&self, range: Range<usize>) -> &str {
        // Never empty: `parse` has checked that all bytes are ASCII.
        std::str::from_utf8(&self.text[range]).unwrap_or_default()
    }
}

impl PartialEq for MsrpUri {
    fn eq(&self, other: &Self) -> bool {
        if self.text == other.text {
            return true;
        }
        let hosts_equal = || {
            let (ours, theirs) = (self.authority().host, other.authority().host);
            match (ours.parse::<IpAddr>(), theirs.parse::<IpAddr>()) {
                (Ok(ours), Ok(theirs)) => ours == theirs,
                _ => ours.eq_ignore_ascii_case(theirs),
            }
        };
        self.secure == other.secure
            && self.port == other.port
            && self.session_id() == other.session_id()
            && self.transport().eq_ignore_ascii_case(other.transport())
            && hosts_equal()
    }
}

impl Eq for MsrpUri {}

/// Shows scheme and transport only: the rest tells who communicates with whom, and allows to join.
impl fmt::Debug for MsrpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "msrps" } else { "msrp" };
        write!(f, "{scheme}://…;{}", self.transport())
    }
}

impl fmt::Display for MalformedUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Malformed MSRP URI")
    }
}

impl std::error::Error for MalformedUri {}

fn parse_host_port(
    text: &[u8],
    authority: Range<usize>,
) -> Result<(Range<usize>, Option<u16>), MalformedUri> {
    let userinfo_end = text[authority.clone()].iter().rposition(|&b| b == b'@');
    let start = authority.start + userinfo_end.map_or(0, |at| at + 1);
    let host_port = &text[start..authority.end];
    let host_len = if host_port.first() == Some(&b'[') {
        let close = memchr(b']', host_port).ok_or(MalformedUri)?;
        let address = std::str::from_utf8(&host_port[1..close]).map_err(|_| MalformedUri)?;
        address
            .parse::<std::net::Ipv6Addr>()
            .map_err(|_| MalformedUri)?;
        close + 1
    } else {
        let len = memchr(b':', host_port).unwrap_or(host_port.len());
        let name = &host_port[..len];
        let valid = |&b: &u8| b.is_ascii_alphanumeric() || b"-._~%".contains(&b);
        if name.is_empty() || !name.iter().all(valid) {
            return Err(MalformedUri);
        }
        len
    };
    let port = match &host_port[host_len..] {
        [] => None,
        [b':', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            let digits = std::str::from_utf8(digits).map_err(|_| MalformedUri)?;
            Some(digits.parse().map_err(|_| MalformedUri)?)
        }
        _ => return Err(MalformedUri),
    };
    Ok((start..start + host_len, port))
}

fn is_session_id(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'=' | b'/')
}

/// Graphic characters that no URI has.
fn is_forbidden(b: u8) -> bool {
    matches!(
        b,
        b'<' | b'>' | b'"' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> MsrpUri {
        MsrpUri::parse(Bytes::copy_from_slice(text.as_bytes())).expect(text)
    }

    #[test]
    fn parts_of_rfc_4975_section_4_examples() {
        let alice = uri("msrp://atlanta.example.com:7654/jshA7weztas;tcp");
        assert!(!alice.is_secure());
        assert_eq!(
            alice.authority(),
            Authority {
                host: "atlanta.example.com",
                port: Some(7654)
            }
        );
        assert_eq!(
            (alice.session_id(), alice.transport()),
            ("jshA7weztas", "tcp")
        );

        let relay = uri("MSRPS://user@[2001:db8::1];tcp;x=1");
        assert!(relay.is_secure());
        assert_eq!(
            relay.authority(),
            Authority {
                host: "2001:db8::1",
                port: None
            }
        );
        assert_eq!((relay.session_id(), relay.transport()), ("", "tcp"));
        assert_eq!(uri("msrp://h:1/a/b+c=;tcp").session_id(), "a/b+c=");
    }

    #[test]
    fn comparison_of_rfc_4975_section_6_1() {
        let base = "msrp://host.example.com:8493/asfd34;tcp";
        for same in [
            "MSRP://HOST.example.COM:8493/asfd34;TCP",
            "msrp://alice@host.example.com:8493/asfd34;tcp",
            "msrp://host.example.com:8493/asfd34;tcp;unknown=1",
        ] {
            assert_eq!(uri(base), uri(same), "{same}");
        }
        for other in [
            "msrps://host.example.com:8493/asfd34;tcp",
            "msrp://host.example.com/asfd34;tcp",
            "msrp://host.example.com:8494/asfd34;tcp",
            "msrp://host.example.com:8493/asfD34;tcp",
            "msrp://host.example.com:8493/asfd34;sctp",
            "msrp://host.example.org:8493/asfd34;tcp",
        ] {
            assert_ne!(uri(base), uri(other), "{other}");
        }
        assert_eq!(
            uri("msrp://[2001:DB8:0::1]:9/a;tcp"),
            uri("msrp://[2001:db8::1]:9/a;tcp")
        );
        assert_ne!(
            uri("msrp://[2001:db8::2]:9/a;tcp"),
            uri("msrp://[2001:db8::1]:9/a;tcp")
        );
    }

    #[test]
    fn malformed() {
        for text in [
            "",
            "msrp",
            "msrp:",
            "msrp://",
            "msrp://;tcp",
            "msrp://h/s",
            "msrp://h/;tcp",
            "msrp://h/s;",
            "sip://h/s;tcp",
            "msrp://h:/s;tcp",
            "msrp://h:99999/s;tcp",
            "msrp://h:+1/s;tcp",
            "msrp://[::1/s;tcp",
            "msrp://[::g]/s;tcp",
            "msrp://[::1]x/s;tcp",
            "msrp://h/s s;tcp",
            "msrp://h/s\r\n;tcp",
            "msrp://h/s?;tcp",
            "msrp://h/s;t-p",
            "msrp://h/é;tcp",
        ] {
            assert!(
                MsrpUri::parse(Bytes::copy_from_slice(text.as_bytes())).is_err(),
                "{text:?}"
            );
        }
        let long = |n: usize| format!("msrp://h/{};tcp", "s".repeat(n - 13));
        assert!(MsrpUri::parse(Bytes::from(long(MAX_URI_BYTES))).is_ok());
        assert!(MsrpUri::parse(Bytes::from(long(MAX_URI_BYTES + 1))).is_err());
    }

    #[test]
    fn own_uris() {
        let own = MsrpUri::new(true, "::1", 2855, "abc").unwrap();
        assert_eq!(own.text(), "msrps://[::1]:2855/abc;tcp");
        assert_eq!(own, uri(own.text()));
        assert!(MsrpUri::new(false, "h", 1, "a;b").is_err());
        assert!(MsrpUri::new(false, "u@h", 1, "ab").is_err());
        assert!(!format!("{own:?}").contains("abc"));
    }
}
