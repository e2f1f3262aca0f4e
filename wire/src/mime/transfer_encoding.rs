use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use super::MimeError;

/// A Content-Transfer-Encoding (RFC 2045 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransferEncoding {
    /// `7bit`, `8bit` or `binary`: the octets are not encoded. The default of a part that names
    /// none.
    #[default]
    Identity,
    /// `base64`.
    Base64,
    /// `quoted-printable`.
    QuotedPrintable,
}

/// Peers disagree about padding and about the unused bits of the last character; neither changes
/// the decoded octets.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl TransferEncoding {
    /// Parses a field value; case does not matter.
    ///
    /// # Errors
    /// [`MimeError::UnknownTransferEncoding`] for everything that RFC 2045 §6.1 does not define.
    pub fn parse(value: &[u8]) -> Result<Self, MimeError> {
        let value = value.trim_ascii();
        let is = |name: &str| value.eq_ignore_ascii_case(name.as_bytes());
        if is("7bit") || is("8bit") || is("binary") {
            Ok(Self::Identity)
        } else if is("base64") {
            Ok(Self::Base64)
        } else if is("quoted-printable") {
            Ok(Self::QuotedPrintable)
        } else {
            Err(MimeError::UnknownTransferEncoding)
        }
    }

    /// The decoded octets of `content`: the same slice for [`Self::Identity`], otherwise a new
    /// buffer that is never longer than `content`.
    ///
    /// # Errors
    /// [`MimeError::MalformedBase64`], [`MimeError::MalformedQuotedPrintable`].
    pub fn decode(self, content: &Bytes) -> Result<Bytes, MimeError> {
        match self {
            Self::Identity => Ok(content.clone()),
            Self::Base64 => decode_base64(content),
            Self::QuotedPrintable => decode_quoted_printable(content),
        }
    }
}

/// White space is skipped everywhere. RFC 2045 §6.8 lets a decoder drop other invalid characters or
/// treat them as a transmission error; readers of one message must not differ, so it is an error
/// here.
fn decode_base64(content: &[u8]) -> Result<Bytes, MimeError> {
    let packed: Vec<u8> = content
        .iter()
        .copied()
        .filter(|b| !b" \t\r\n".contains(b))
        .collect();
    BASE64
        .decode(packed)
        .map(Bytes::from)
        .map_err(|_| MimeError::MalformedBase64)
}

fn decode_quoted_printable(content: &[u8]) -> Result<Bytes, MimeError> {
    let mut decoded = Vec::with_capacity(content.len());
    // White space at the end of a line was added in transit (RFC 2045 §6.7 rule 3): everything in
    // `decoded` beyond this length is such white space, if the line ends now.
    let mut solid = 0;
    let mut rest = content;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b' ' | b'\t' => {
                decoded.push(byte);
                continue;
            }
            b'\r' if rest.first() == Some(&b'\n') => {
                decoded.truncate(solid);
                decoded.extend_from_slice(b"\r\n");
                rest = &rest[1..];
            }
            b'\n' => {
                decoded.truncate(solid);
                decoded.push(b'\n');
            }
            b'=' => match rest {
                [high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    decoded.push(hex_value(*high) << 4 | hex_value(*low));
                    rest = tail;
                }
                _ => {
                    rest = after_soft_line_break(rest).ok_or(MimeError::MalformedQuotedPrintable)?
                }
            },
            _ => decoded.push(byte),
        }
        solid = decoded.len();
    }
    decoded.truncate(solid);
    Ok(Bytes::from(decoded))
}

/// The text after the line break of an equals sign. A soft line break at the very end is tolerated.
fn after_soft_line_break(rest: &[u8]) -> Option<&[u8]> {
    let padding = rest
        .iter()
        .take_while(|b| matches!(b, b' ' | b'\t'))
        .count();
    match &rest[padding..] {
        [] => Some(&[]),
        [b'\n', tail @ ..] | [b'\r', b'\n', tail @ ..] => Some(tail),
        _ => None,
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(encoding: &str, content: &'static [u8]) -> Result<Bytes, MimeError> {
        TransferEncoding::parse(encoding.as_bytes())?.decode(&Bytes::from_static(content))
    }

    #[test]
    fn identity_is_the_same_slice() {
        let content = Bytes::from_static(b"=3D \r\n");
        for name in ["7bit", "8BIT", " binary "] {
            let decoded = TransferEncoding::parse(name.as_bytes())
                .unwrap()
                .decode(&content)
                .unwrap();
            assert_eq!(decoded.as_ptr(), content.as_ptr());
            assert_eq!(decoded, content);
        }
    }

    #[test]
    fn unknown_encodings() {
        for name in ["", "gzip", "x-uuencode", "base64; a=b", "7 bit"] {
            let parsed = TransferEncoding::parse(name.as_bytes());
            assert_eq!(parsed, Err(MimeError::UnknownTransferEncoding), "{name:?}");
        }
    }

    #[test]
    fn base64_with_line_breaks_and_any_padding() {
        for content in [
            &b"aGVs\r\nbG8="[..],
            b"aGVsbG8",
            b" aGVsbG8=\n\t",
            b"aGVsbG9=",
        ] {
            assert_eq!(decode("Base64", content).unwrap(), "hello");
        }
        assert_eq!(decode("base64", b"").unwrap(), "");
        for content in [&b"aGVsb"[..], b"aGV*bG8=", b"aGVsbG8=aGVs", b"aGVsbG8\0"] {
            assert_eq!(
                decode("base64", content),
                Err(MimeError::MalformedBase64),
                "{content:?}"
            );
        }
    }

    #[test]
    fn quoted_printable_of_rfc_2045_6_7() {
        let content = b"Now's the time =\r\nfor all folk to come=\r\n to the aid of their country.";
        let decoded = decode("quoted-printable", content).unwrap();
        assert_eq!(
            decoded,
            "Now's the time for all folk to come to the aid of their country."
        );
        let qp = |content| decode("quoted-printable", content).unwrap();
        assert_eq!(qp(b"a=3Db=e9=FF"), &b"a=b\xe9\xff"[..]);
        assert_eq!(qp(b"a \t\r\nb=20 \nc  "), "a\r\nb \nc");
        assert_eq!(qp(b"a = \t\r\nb="), "a b");
        assert_eq!(qp(b"a\rb"), "a\rb");
        for content in [&b"a=4"[..], b"a=zz", b"a= b", b"==3D"] {
            let decoded = decode("quoted-printable", content);
            assert_eq!(
                decoded,
                Err(MimeError::MalformedQuotedPrintable),
                "{content:?}"
            );
        }
    }
}
