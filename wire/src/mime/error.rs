use std::fmt;

/// Why a body, or a header field that describes one, cannot be used. It concerns only this message.
///
/// `Display` is a phrase short enough for the status line of a SIP response; it never contains text
/// from the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MimeError {
    /// Content-Type that violates the grammar of RFC 2045 §5.1, a repeated parameter, or one part
    /// with two Content-Type fields.
    MalformedContentType,
    /// Content-Disposition that violates the grammar of RFC 2183 §2, or is repeated.
    MalformedContentDisposition,
    /// A Content-Transfer-Encoding that RFC 2045 §6.1 does not define, or a repeated one.
    UnknownTransferEncoding,
    /// A multipart that is itself base64 or quoted-printable, which RFC 2045 §6.4 forbids.
    EncodedMultipart,
    /// A multipart without boundary parameter, or with one that RFC 2046 §5.1.1 does not allow.
    InvalidBoundary,
    /// The close-delimiter of a multipart is missing: the body was cut short.
    MissingCloseDelimiter,
    /// A multipart without any part.
    EmptyMultipart,
    /// The header block of a part does not consist of header fields, or lacks the blank line after
    /// it.
    MalformedPartHeader,
    /// The header block of a part exceeds [`MAX_PART_HEADER_BYTES`](super::MAX_PART_HEADER_BYTES).
    PartHeaderTooLarge,
    /// More parts than [`MAX_PARTS`](super::MAX_PARTS).
    TooManyParts,
    /// Multiparts nested deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    NestedTooDeep,
    /// Base64 content with invalid characters or an impossible length.
    MalformedBase64,
    /// Quoted-printable content with an equals sign that starts neither an octet nor a line break.
    MalformedQuotedPrintable,
    /// The new part contains a line that would be read as a delimiter of an enclosing multipart.
    BoundaryCollision,
    /// The caller named a leaf that this entity does not have.
    NoSuchLeaf,
}

impl fmt::Display for MimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MalformedContentType => "Malformed Content-Type",
            Self::MalformedContentDisposition => "Malformed Content-Disposition",
            Self::UnknownTransferEncoding => "Unknown Content-Transfer-Encoding",
            Self::EncodedMultipart => "Transfer-Encoded Multipart",
            Self::InvalidBoundary => "Invalid Multipart Boundary",
            Self::MissingCloseDelimiter => "Multipart Not Closed",
            Self::EmptyMultipart => "Multipart Without Parts",
            Self::MalformedPartHeader => "Malformed Body Part Header",
            Self::PartHeaderTooLarge => "Body Part Header Too Large",
            Self::TooManyParts => "Too Many Body Parts",
            Self::NestedTooDeep => "Multipart Nested Too Deep",
            Self::MalformedBase64 => "Malformed Base64 Body",
            Self::MalformedQuotedPrintable => "Malformed Quoted-Printable Body",
            Self::BoundaryCollision => "Multipart Boundary Collision",
            Self::NoSuchLeaf => "No Such Body Part",
        })
    }
}

impl std::error::Error for MimeError {}
