use std::fmt;

/// Why a session description cannot be used. It concerns one offer or answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SdpError {
    /// More than [`MAX_SDP_BYTES`](super::MAX_SDP_BYTES).
    TooLarge,
    /// Not UTF-8, or control characters in a line.
    NotText,
    /// A line that is not a letter, an equals sign and a value, or `v=0` is not the first.
    MalformedLine,
    /// A c= line that does not name one internet address or host.
    MalformedConnection,
    /// An m= line that violates the grammar of RFC 4566 §5.14.
    MalformedMedia,
    /// More m= lines than [`MAX_MEDIA`](super::MAX_MEDIA).
    TooManyMedia,
    /// More attributes in one section than [`MAX_ATTRIBUTES`](super::MAX_ATTRIBUTES).
    TooManyAttributes,
    /// No m= line for MSRP over a transport that we accept, or all of them with port 0.
    NoMsrpMedia,
    /// The MSRP media has neither a c= line of its own nor one of the session.
    NoConnection,
    /// `a=path` is missing or malformed, or its scheme does not match the transport of the m= line.
    MalformedPath,
    /// `a=accept-types` is missing or empty.
    NoAcceptTypes,
    /// An unknown value of `a=setup`.
    MalformedSetup,
    /// A malformed `a=max-size`.
    MalformedMaxSize,
    /// A malformed `a=file-selector`.
    MalformedFileSelector,
    /// A malformed `a=fingerprint`.
    MalformedFingerprint,
}

impl fmt::Display for SdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "Session Description Too Large",
            Self::NotText => "Session Description Is Not Text",
            Self::MalformedLine => "Malformed Line In Session Description",
            Self::MalformedConnection => "Malformed Connection Line",
            Self::MalformedMedia => "Malformed Media Line",
            Self::TooManyMedia => "Too Many Media Lines",
            Self::TooManyAttributes => "Too Many Attributes",
            Self::NoMsrpMedia => "No MSRP Media",
            Self::NoConnection => "No Connection Line",
            Self::MalformedPath => "MSRP Path Missing Or Malformed",
            Self::NoAcceptTypes => "No Accept-Types",
            Self::MalformedSetup => "Malformed Setup Attribute",
            Self::MalformedMaxSize => "Malformed Max-Size",
            Self::MalformedFileSelector => "Malformed File-Selector",
            Self::MalformedFingerprint => "Malformed Fingerprint",
        })
    }
}

impl std::error::Error for SdpError {}
