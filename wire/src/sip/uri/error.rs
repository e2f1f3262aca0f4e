//! Errors of URI parsing, and limits of URIs.

use std::fmt;

/// Maximum length of a URI, in bytes. The RFCs set no limit; the longest in practice (a GRUU with
/// its instance, a URI with embedded header fields) are well below 1 KiB.
pub const MAX_URI_BYTES: usize = 2048;

/// Maximum number of parameters in one URI. A dozen are registered for sip; comparing two URIs
/// examines every pair.
pub const MAX_URI_PARAMETERS: usize = 32;

/// Maximum number of header components in one URI; comparing two URIs examines every pair.
pub const MAX_URI_HEADERS: usize = 32;

/// Why a text is not a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UriError {
    /// Longer than [`MAX_URI_BYTES`].
    TooLong,
    /// No scheme, or one with invalid characters.
    Scheme,
    /// The user part is empty or contains a character that must be escaped.
    User,
    /// The password contains a character that must be escaped.
    Password,
    /// The host is not a host name, IPv4 address or bracketed IPv6 address.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// A parameter without a name, or with a name or value that violates the grammar.
    Parameter,
    /// The same parameter twice.
    DuplicateParameter,
    /// More than [`MAX_URI_PARAMETERS`].
    TooManyParameters,
    /// A header component that violates the grammar.
    Header,
    /// More than [`MAX_URI_HEADERS`].
    TooManyHeaders,
    /// The telephone number has no digit, or an invalid character.
    Number,
    /// A local telephone number without `phone-context`.
    MissingPhoneContext,
    /// The part after the scheme of some other URI is empty or contains a character that must be
    /// escaped.
    Rest,
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UriError::TooLong => "URI is too long",
            UriError::Scheme => "URI has no valid scheme",
            UriError::User => "user part is empty or has an illegal character",
            UriError::Password => "password has an illegal character",
            UriError::Host => "host is not a host name or IP address",
            UriError::Port => "port is not a number from 1 to 65535",
            UriError::Parameter => "URI parameter is malformed",
            UriError::DuplicateParameter => "URI parameter occurs twice",
            UriError::TooManyParameters => "URI has too many parameters",
            UriError::Header => "URI header component is malformed",
            UriError::TooManyHeaders => "URI has too many header components",
            UriError::Number => "telephone number is malformed",
            UriError::MissingPhoneContext => "local telephone number without phone-context",
            UriError::Rest => "URI is empty or has an illegal character after its scheme",
        })
    }
}

impl std::error::Error for UriError {}
