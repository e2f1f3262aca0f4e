//! Hosts of URIs: names and addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) fn is_host(text: &str) -> bool {
    // `Ipv4Addr` rejects octets above 255 and leading zeros, which some resolvers read as octal.
    is_host_name(text) || text.parse::<Ipv4Addr>().is_ok() || ipv6_address(text).is_some()
}

/// `hostname`: the last label begins with a letter, so an IPv4 address is never one.
pub(super) fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let last = name.rsplit('.').next().unwrap_or("");
    last.starts_with(|first: char| first.is_ascii_alphabetic()) && name.split('.').all(is_label)
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
