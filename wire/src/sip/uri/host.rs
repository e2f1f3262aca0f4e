//! Hosts of URIs: names and addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) fn is_host(text: &str) -> bool {
    // `Ipv4Addr` rejects octets above 255 and leading zeros, which some resolvers read as octal.
    is_host_name(text) || text.parse::<Ipv4Addr>().is_ok() || ipv6_address(text).is_some()
}

/// `hostname`: the last label begins with a letter, so an IPv4 address is never one.
pub(super) fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let mut last = b'.';
    let mut begins_with_letter = false;
    for byte in name.bytes() {
        // No label is empty, or begins or ends with a hyphen.
        let fits = match byte {
            b'.' => last != b'.' && last != b'-',
            b'-' => last != b'.',
            _ => byte.is_ascii_alphanumeric(),
        };
        if !fits {
            return false;
        }
        if last == b'.' {
            begins_with_letter = byte.is_ascii_alphabetic();
        }
        last = byte;
    }
    begins_with_letter && last != b'.' && last != b'-'
}

/// The address of an `IPv6reference`, which has brackets.
pub(super) fn ipv6_address(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Host names case-insensitively, IPv6 addresses by value (RFC 5954 §4.2).
pub(super) fn hosts_match(a: &str, b: &str) -> bool {
    match (ipv6_address(a), ipv6_address(b)) {
        (None, None) => a.eq_ignore_ascii_case(b),
        (a, b) => a == b,
    }
}
