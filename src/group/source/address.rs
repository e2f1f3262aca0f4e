use std::net::Ipv6Addr;

use crate::sip::{TelUri, Uri};

/// The parameters that tell two sip URIs apart even if only one of them has it (RFC 3261 §19.1.4).
const SIP_PARAMETERS: [&str; 5] = ["maddr", "method", "transport", "ttl", "user"];

/// The parameters that determine which number a tel URI denotes (RFC 3966 §5.1).
const TEL_PARAMETERS: [&str; 3] = ["ext", "isub", "phone-context"];

/// The canonical spelling by which a group is looked up, so that URIs that differ in case, escapes
/// or meaningless parameters lead to the same document: `sip:group@example.com`,
/// `tel:+12125551212`.
///
/// A password, header components and all other parameters are omitted. So a URI can have the
/// address of a group and still not be [the group's](crate::group::Group::has_address).
pub(super) fn group_address(uri: &Uri<'_>) -> String {
    match uri {
        Uri::Sip(sip) => {
            let scheme = if sip.is_secure() { "sips:" } else { "sip:" };
            let mut address = String::from(scheme);
            if let Some(user) = uri.user() {
                address.push_str(&normalize(user));
                address.push('@');
            }
            address.push_str(&normalize_host(uri.host().unwrap_or_default()));
            if let Some(port) = uri.port() {
                address.push(':');
                address.push_str(&port.to_string());
            }
            push_parameters(&mut address, uri, &SIP_PARAMETERS);
            address
        }
        Uri::Tel(tel) => tel_address(uri, tel),
        Uri::Other(other) => format!("{}:{}", uri.scheme().to_ascii_lowercase(), other.rest()),
    }
}

fn tel_address(uri: &Uri<'_>, tel: &TelUri<'_>) -> String {
    let mut address = format!("tel:{}", digits(tel.number()));
    push_parameters(&mut address, uri, &TEL_PARAMETERS);
    address
}

fn push_parameters(address: &mut String, uri: &Uri<'_>, names: &[&str]) {
    for &name in names {
        let Some(value) = uri.param(name) else {
            continue;
        };
        let value = match name {
            // Method names are case-sensitive (RFC 3261 §7.1).
            "method" => normalize(value),
            "maddr" => normalize_host(value),
            "ext" => digits(value),
            "phone-context" if value.starts_with('+') => digits(value),
            _ => normalize(value).to_ascii_lowercase(),
        };
        address.extend([";", name, "=", value.as_str()]);
    }
}

/// Without visual separators (RFC 3966 §5.1.1).
fn digits(number: &str) -> String {
    let digits = number
        .chars()
        .filter(|c| !matches!(c, '-' | '.' | '(' | ')'));
    digits.map(|c| c.to_ascii_lowercase()).collect()
}

/// With escapes only where they change the meaning, in upper case (RFC 3261 §19.1.4).
fn normalize(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        normal.push_str(before);
        // A parsed URI has two hexadecimal digits after each `%`.
        let (hex, behind) = after.split_at_checked(2).unwrap_or((after, ""));
        match u8::from_str_radix(hex, 16) {
            Ok(byte) if is_unreserved(byte) => normal.push(char::from(byte)),
            _ => {
                normal.push('%');
                normal.push_str(&hex.to_ascii_uppercase());
            }
        }
        rest = behind;
    }
    normal.push_str(rest);
    normal
}

/// In lower case, an IPv6 address in its shortest form (RFC 5952).
fn normalize_host(host: &str) -> String {
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    match inner.and_then(|inner| inner.parse::<Ipv6Addr>().ok()) {
        Some(address) => format!("[{address}]"),
        None => host.to_ascii_lowercase(),
    }
}

/// The address as one segment of an HTTP path. `:` and `@` are not escaped: RFC 3986 §3.3 allows
/// them, and the XUIs of RFC 4825 use them.
pub(super) fn path_segment(address: &str) -> String {
    let mut segment = String::with_capacity(address.len());
    for byte in address.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    segment
}

/// `unreserved` of RFC 3261 §25.1.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(uri: &str) -> String {
        group_address(&Uri::parse(uri).unwrap())
    }

    #[test]
    fn equivalent_uris_have_one_address() {
        for (uri, expected) in [
            ("SIP:Group@EXAMPLE.com", "sip:Group@example.com"),
            ("sip:%67roup@example.com;foo=1;lr", "sip:group@example.com"),
            ("sip:a%2fb@example.com", "sip:a%2Fb@example.com"),
            ("sip:g:secret@example.com?Subject=x", "sip:g@example.com"),
            ("sips:g@example.com:5061", "sips:g@example.com:5061"),
            ("sip:example.com", "sip:example.com"),
            ("sip:g@[2001:DB8:0:0::1]", "sip:g@[2001:db8::1]"),
            (
                "sip:g@x.org;USER=Phone;Transport=TCP;method=INVITE",
                "sip:g@x.org;method=INVITE;transport=tcp;user=phone",
            ),
            ("tel:+1(212)555-12.12", "tel:+12125551212"),
            (
                "tel:7042;phone-context=EXAMPLE.com",
                "tel:7042;phone-context=example.com",
            ),
            ("tel:7042;phone-context=+1-2", "tel:7042;phone-context=+12"),
            ("URN:Group:A", "urn:Group:A"),
        ] {
            assert_eq!(address(uri), expected);
            let normal = Uri::parse(expected).unwrap();
            assert_eq!(group_address(&normal), expected);
            // The key of both is the same, so the address denotes the same resource.
            let key = |uri: Uri<'_>| uri.comparison_key(1);
            if !uri.contains("secret") {
                assert_eq!(key(Uri::parse(uri).unwrap()), key(normal), "{uri}");
            }
        }
    }

    #[test]
    fn a_segment_is_never_more_than_one() {
        assert_eq!(path_segment("sip:g@example.com"), "sip:g@example.com");
        assert_eq!(path_segment("tel:+12"), "tel:%2B12");
        assert_eq!(
            path_segment("urn:../a?b#c%d;e"),
            "urn:..%2Fa%3Fb%23c%25d%3Be"
        );
        for byte in 0..=127_u8 {
            let segment = path_segment(&format!("urn:{}", char::from(byte)));
            assert!(!segment.contains(['/', '?', '#', ' ', '"', '\\']));
        }
    }
}
