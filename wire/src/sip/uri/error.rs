//! What a URI is refused for, and the limits that it has.

use std::fmt;

/// The longest URI that is parsed, in bytes. The RFCs set no bound; the longest seen in practice (a
/// GRUU with its instance, a URI with embedded header fields) stay well below 1 KiB.
pub const MAX_URI_BYTES: usize = 2048;

/// The most parameters that one URI may have. A dozen are registered for sip; comparing two URIs
/// looks at every pair.
pub const MAX_URI_PARAMETERS: usize = 32;

/// The most header components that one URI may have; comparing two URIs looks at every pair.
pub const MAX_URI_HEADERS: usize = 32;

/// Why a text is not a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UriError {
    /// Longer than [`MAX_URI_BYTES`].
    TooLong,
    /// No scheme, or one with characters that a scheme cannot have.
    Scheme,
    /// The user part is empty or holds a character that must be escaped.
    User,
    /// The password holds a character that must be escaped.
    Password,
    /// The host is no host name, IPv4 address or bracketed IPv6 address.
    Host,
    /// The port is no number from 1 to 65535.
    Port,
    /// A parameter without a name, or with a name or value outside the grammar.
    Parameter,
    /// The same parameter twice.
    DuplicateParameter,
    /// More than [`MAX_URI_PARAMETERS`].
    TooManyParameters,
    /// A header component outside the grammar.
    Header,
    /// More than [`MAX_URI_HEADERS`].
    TooManyHeaders,
    /// The telephone number has no digit or a character that no number has.
    Number,
    /// A local telephone number without `phone-context`.
    MissingPhoneContext,
    /// The part after the scheme of some other URI is empty or holds a character that must be
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
