//! Common parts of the schemes: parameters and header components, and their comparison.

use super::{MAX_URI_HEADERS, MAX_URI_PARAMETERS, UriError};
use crate::sip::grammar::{is_escaped_text, is_unreserved, split_once, unescape};

#[derive(Clone, Copy)]
pub(super) enum Case {
    Sensitive,
    Insensitive,
}

impl Case {
    /// The character in its form for comparison.
    pub(super) fn of(self, character: u16) -> u16 {
        match (self, u8::try_from(character)) {
            (Case::Insensitive, Ok(byte)) => u16::from(byte.to_ascii_lowercase()),
            _ => character,
        }
    }
}

/// Compares two components with their escapes decoded (§19.1.4).
pub(super) fn components_match(a: &str, b: &str, case: Case) -> bool {
    let is_same = match case {
        Case::Sensitive => a == b,
        Case::Insensitive => a.eq_ignore_ascii_case(b),
    };
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    let is_plain = |text: &str| memchr::memchr(b'%', text.as_bytes()).is_none();
    // Decoding never makes a text longer.
    if is_same || is_plain(long) && (short.len() < long.len() || is_plain(short)) {
        return is_same;
    }
    let fold = |character| case.of(character);
    unescape(a.bytes())
        .map(fold)
        .eq(unescape(b.bytes()).map(fold))
}

/// Compares names of parameters or header components, which may also be escaped.
pub(super) fn names_match(a: &str, b: &str) -> bool {
    components_match(a, b, Case::Insensitive)
}

pub(super) fn split_tail(text: &str, separator: u8) -> (&str, Option<&str>) {
    match split_once(text, separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// Name and value of each parameter; the value is empty if there is none.
pub(super) fn parameters(text: &str) -> impl Iterator<Item = (&str, &str)> {
    pieces(text, b';')
        .filter(|parameter| !parameter.is_empty())
        .map(name_and_value)
}

/// Name and value of each header component.
pub(super) fn headers(text: &str) -> impl Iterator<Item = (&str, &str)> {
    pieces(text, b'&')
        .filter(|header| !header.is_empty())
        .map(name_and_value)
}

/// The same as [`str::split`], which takes longer to set up than most texts to be split.
fn pieces(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let (piece, tail) = split_tail(rest?, separator);
        rest = tail;
        Some(piece)
    })
}

pub(super) fn name_and_value(text: &str) -> (&str, &str) {
    split_once(text, b'=').unwrap_or((text, ""))
}

pub(super) fn find_parameter<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    parameters(text)
        .find(|(candidate, _)| names_match(candidate, name))
        .map(|(_, value)| value)
}

/// Checks a non-empty parameter list; `is_allowed` checks one name with its value.
pub(super) fn check_parameters(
    text: &str,
    is_allowed: impl Fn(&str, Option<&str>) -> bool,
) -> Result<(), UriError> {
    for (index, parameter) in pieces(text, b';').enumerate() {
        if index == MAX_URI_PARAMETERS {
            return Err(UriError::TooManyParameters);
        }
        let (name, value) = split_tail(parameter, b'=');
        if !is_allowed(name, value) {
            return Err(UriError::Parameter);
        }
        let is_same = |earlier: (&str, &str)| names_match(earlier.0, name);
        if parameters(text).take(index).any(is_same) {
            return Err(UriError::DuplicateParameter);
        }
    }
    Ok(())
}

pub(super) fn check_headers(text: &str) -> Result<(), UriError> {
    let is_header_byte = |byte: u8| {
        is_unreserved(byte) || matches!(byte, b'[' | b']' | b'/' | b'?' | b':' | b'+' | b'$')
    };
    for (index, header) in pieces(text, b'&').enumerate() {
        if index == MAX_URI_HEADERS {
            return Err(UriError::TooManyHeaders);
        }
        let (name, value) = split_once(header, b'=').ok_or(UriError::Header)?;
        if name.is_empty()
            || !is_escaped_text(name, is_header_byte)
            || !is_escaped_text(value, is_header_byte)
        {
            return Err(UriError::Header);
        }
    }
    Ok(())
}

/// `1*paramchar`, the same in both RFCs.
pub(super) fn is_parameter_text(text: &str) -> bool {
    let is_parameter_byte = |byte: u8| {
        is_unreserved(byte) || matches!(byte, b'[' | b']' | b'/' | b':' | b'&' | b'+' | b'$')
    };
    !text.is_empty() && is_escaped_text(text, is_parameter_byte)
}
