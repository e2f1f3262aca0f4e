//! URIs: `sip` and `sips` (RFC 3261 §19.1), `tel` (RFC 3966), and any other absolute URI.
//!
//! A [`Uri`] borrows the text that it was parsed from. Only the characters of the grammar are
//! accepted, so a parsed URI contains no CR, LF, NUL, space, quote or angle bracket and can be
//! written into a message unchanged.

mod compare;
mod components;
mod error;
mod host;
mod other;
mod plain;
mod sip;
mod tel;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use components::find_parameter;

use super::grammar::split_once;

pub use compare::ComparisonKeys;
pub use error::{MAX_URI_BYTES, MAX_URI_HEADERS, MAX_URI_PARAMETERS, UriError};
pub use other::OtherUri;
pub use plain::{PlainUri, behind_userinfo, hostport};
pub use sip::SipUri;
pub use tel::TelUri;

/// A URI as parsed from borrowed text.
#[derive(Debug, Clone, Copy)]
pub enum Uri<'a> {
    /// A `sip:` or `sips:` URI.
    Sip(SipUri<'a>),
    /// A `tel:` URI.
    Tel(TelUri<'a>),
    /// An absolute URI of any other scheme.
    Other(OtherUri<'a>),
}

impl<'a> Uri<'a> {
    /// Parses exactly one URI; white space around it is an error.
    pub fn parse(text: &'a str) -> Result<Self, UriError> {
        if text.len() > MAX_URI_BYTES {
            return Err(UriError::TooLong);
        }
        // Nearly every recipient's.
        if let Some(usual) = SipUri::parse_usual(text) {
            return Ok(Uri::Sip(usual));
        }
        let (scheme, rest) = split_once(text, b':').ok_or(UriError::Scheme)?;
        if scheme.eq_ignore_ascii_case("sip") {
            SipUri::parse(text, rest, false).map(Uri::Sip)
        } else if scheme.eq_ignore_ascii_case("sips") {
            SipUri::parse(text, rest, true).map(Uri::Sip)
        } else if scheme.eq_ignore_ascii_case("tel") {
            TelUri::parse(text, rest).map(Uri::Tel)
        } else {
            OtherUri::parse(text, scheme, rest).map(Uri::Other)
        }
    }

    /// The text as it was parsed.
    pub fn as_str(&self) -> &'a str {
        match self {
            Uri::Sip(uri) => uri.text,
            Uri::Tel(uri) => uri.text,
            Uri::Other(uri) => uri.text,
        }
    }

    /// `sip`, `sips` and `tel` in lower case; another scheme as it was written.
    pub fn scheme(&self) -> &'a str {
        match self {
            Uri::Sip(uri) if uri.secure => "sips",
            Uri::Sip(_) => "sip",
            Uri::Tel(_) => "tel",
            Uri::Other(uri) => uri.scheme,
        }
    }

    /// The user part of a sip or sips URI, escapes as written.
    pub fn user(&self) -> Option<&'a str> {
        self.as_sip()?.user
    }

    /// The host of a sip or sips URI as written, an IPv6 address with its brackets.
    pub fn host(&self) -> Option<&'a str> {
        Some(self.as_sip()?.host)
    }

    /// The port of a sip or sips URI, if it is written out.
    pub fn port(&self) -> Option<u16> {
        self.as_sip()?.port
    }

    /// The value of a URI parameter of a sip, sips or tel URI, escapes as written; empty for a
    /// parameter without value, such as `lr`. The name is compared case-insensitively.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        let parameters = match self {
            Uri::Sip(uri) => uri.parameters,
            Uri::Tel(uri) => uri.parameters,
            Uri::Other(_) => return None,
        };
        find_parameter(parameters, name)
    }

    fn as_sip(&self) -> Option<&SipUri<'a>> {
        match self {
            Uri::Sip(uri) => Some(uri),
            _ => None,
        }
    }

    /// The text without parts that a Request-URI may not have (RFC 3261 §19.1.1, table 1): header
    /// components and `method`.
    pub fn as_request_uri(&self) -> Cow<'a, str> {
        match self {
            Uri::Sip(uri) => uri.as_request_uri(),
            Uri::Tel(_) | Uri::Other(_) => Cow::Borrowed(self.as_str()),
        }
    }
}
