//! Absolute URIs of any other scheme.

use super::UriError;
use crate::sip::grammar::{is_escaped_text, is_reserved, is_unreserved};

/// An absolute URI whose scheme has no rules here.
#[derive(Debug, Clone, Copy)]
pub struct OtherUri<'a> {
    pub(super) text: &'a str,
    pub(super) scheme: &'a str,
    pub(super) rest: &'a str,
}

impl<'a> OtherUri<'a> {
    /// The part after the scheme and its colon.
    pub fn rest(&self) -> &'a str {
        self.rest
    }

    pub(super) fn parse(text: &'a str, scheme: &'a str, rest: &'a str) -> Result<Self, UriError> {
        let is_scheme_byte =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            || !scheme.bytes().all(is_scheme_byte)
        {
            return Err(UriError::Scheme);
        }
        // Brackets are for the IPv6 hosts of RFC 3986.
        let is_rest_byte =
            |byte| is_reserved(byte) || is_unreserved(byte) || matches!(byte, b'[' | b']');
        if rest.is_empty() || !is_escaped_text(rest, is_rest_byte) {
            return Err(UriError::Rest);
        }
        Ok(Self { text, scheme, rest })
    }
}
