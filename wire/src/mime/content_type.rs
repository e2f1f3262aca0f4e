use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::MimeError;
use super::parameters::{self, Cursor, Malformed};

/// Longest boundary that RFC 2046 §5.1.1 allows.
pub const MAX_BOUNDARY_BYTES: usize = 70;

/// A Content-Type field value (RFC 2045 §5.1), kept as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentType {
    /// Valid UTF-8, checked by `parse`, as is the grammar of the parameters.
    value: Bytes,
    media_type: Range<usize>,
    subtype: Range<usize>,
    parameters: usize,
}

impl ContentType {
    /// Parses a field value, the text after `Content-Type:`. Comments and folds are tolerated.
    ///
    /// # Errors
    /// [`MimeError::MalformedContentType`].
    pub fn parse(value: Bytes) -> Result<Self, MimeError> {
        let text = std::str::from_utf8(&value).map_err(|_| MimeError::MalformedContentType)?;
        let (media_type, subtype, parameters) =
            split(text).map_err(|Malformed| MimeError::MalformedContentType)?;
        Ok(Self {
            value,
            media_type,
            subtype,
            parameters,
        })
    }

    /// The type of a part that names none (RFC 2045 §5.2).
    pub fn text_plain() -> Self {
        Self {
            value: Bytes::from_static(b"text/plain"),
            media_type: 0..4,
            subtype: 5..10,
            parameters: 10,
        }
    }

    /// The type of a part of a multipart/digest that names none (RFC 2046 §5.1.5).
    pub(super) fn message_rfc822() -> Self {
        Self {
            value: Bytes::from_static(b"message/rfc822"),
            media_type: 0..7,
            subtype: 8..14,
            parameters: 14,
        }
    }

    /// The field value as received.
    pub fn value(&self) -> &Bytes {
        &self.value
    }

    /// The top-level type, in the peer's case.
    pub fn media_type(&self) -> &str {
        &self.text()[self.media_type.clone()]
    }

    /// The subtype, in the peer's case.
    pub fn subtype(&self) -> &str {
        &self.text()[self.subtype.clone()]
    }

    /// Whether this is `media_type/subtype`, regardless of case and parameters.
    pub fn is(&self, media_type: &str, subtype: &str) -> bool {
        self.value[self.media_type.clone()].eq_ignore_ascii_case(media_type.as_bytes())
            && self.value[self.subtype.clone()].eq_ignore_ascii_case(subtype.as_bytes())
    }

    /// Whether the content is divided into parts (RFC 2046 §5.1), for any subtype.
    pub fn is_multipart(&self) -> bool {
        self.value[self.media_type.clone()].eq_ignore_ascii_case(b"multipart")
    }

    /// The value of a parameter without its quotes. The name is compared case-insensitively;
    /// whether case matters in the value depends on the parameter.
    pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        parameters::find(self.text(), self.parameters, name)
    }

    /// The boundary parameter, checked against RFC 2046 §5.1.1.
    ///
    /// # Errors
    /// [`MimeError::InvalidBoundary`] if it is missing, empty, longer than [`MAX_BOUNDARY_BYTES`],
    /// ends with a space, or holds a character that is not a `bchars`.
    pub fn boundary(&self) -> Result<Cow<'_, str>, MimeError> {
        let boundary = self.param("boundary").ok_or(MimeError::InvalidBoundary)?;
        let bytes = boundary.as_bytes();
        let valid = (1..=MAX_BOUNDARY_BYTES).contains(&bytes.len())
            && bytes
                .iter()
                .all(|&b| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b))
            && !bytes.ends_with(b" ");
        if valid {
            Ok(boundary)
        } else {
            Err(MimeError::InvalidBoundary)
        }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.value).unwrap_or_default()
    }
}

type Split = (Range<usize>, Range<usize>, usize);

fn split(text: &str) -> Result<Split, Malformed> {
    let mut cursor = Cursor::new(text, 0);
    let media_type = cursor.token()?;
    cursor.expect(b'/')?;
    let subtype = cursor.token()?;
    let parameters = cursor.position();
    parameters::check(text, parameters)?;
    Ok((media_type, subtype, parameters))
}

#[cfg(test)]
mod tests {
    use super::super::MAX_PARAMETERS;
    use super::*;

    fn parse(value: &'static str) -> Result<ContentType, MimeError> {
        ContentType::parse(Bytes::from_static(value.as_bytes()))
    }

    #[test]
    fn type_and_parameter_names_ignore_case() {
        let content_type = parse("Multipart/MIXED; Boundary=\"a b\"; charset=UTF-8").unwrap();
        assert!(content_type.is("multipart", "mixed"));
        assert!(content_type.is_multipart());
        assert!(!content_type.is("multipart", "mixe"));
        assert_eq!(
            (content_type.media_type(), content_type.subtype()),
            ("Multipart", "MIXED")
        );
        assert_eq!(content_type.boundary().unwrap(), "a b");
        assert_eq!(content_type.param("CHARSET").unwrap(), "UTF-8");
        assert_eq!(content_type.param("format"), None);
    }

    #[test]
    fn comments_of_rfc_2045_5_1_are_skipped() {
        let content_type =
            parse("text/plain; charset=us-ascii (Plain (\\) text)) ; a = \"b\\\"c\"").unwrap();
        assert_eq!(content_type.param("charset").unwrap(), "us-ascii");
        assert_eq!(content_type.param("a").unwrap(), "b\"c");
        assert!(parse("(x) text (y) / (z) plain (unclosed").is_err());
        assert!(
            parse("(x) text (y) / (z) plain")
                .unwrap()
                .is("text", "plain")
        );
    }

    #[test]
    fn a_folded_quoted_value_is_unfolded() {
        let content_type = parse("multipart/mixed;\r\n boundary=\"ab\r\n cd\"").unwrap();
        assert_eq!(content_type.boundary().unwrap(), "ab cd");
    }

    #[test]
    fn lenient_values_and_semicolons() {
        assert_eq!(
            parse("multipart/mixed; boundary=--=_Part/1:2;;")
                .unwrap()
                .boundary()
                .unwrap(),
            "--=_Part/1:2"
        );
    }

    #[test]
    fn malformed_values() {
        for value in [
            "",
            "text",
            "text/",
            "/plain",
            "text/plain x",
            "text/plain; =x",
            "text/plain; a=",
            "text/plain; a=\"b",
            "text/plain; a=\"b\\",
            "text/plain; a=1; A=2",
            "text/plain, text/html",
            "text/plain; a=\"\u{1}\"",
            "text/plain; a=b c=d",
        ] {
            assert_eq!(
                parse(value),
                Err(MimeError::MalformedContentType),
                "{value:?}"
            );
        }
        assert!(ContentType::parse(Bytes::from_static(b"text/plain; a=\"\xff\"")).is_err());
        let many: String = (0..=MAX_PARAMETERS).map(|i| format!(";p{i}=1")).collect();
        assert!(ContentType::parse(Bytes::from(format!("text/plain{many}"))).is_err());
    }

    #[test]
    fn boundaries_of_rfc_2046_5_1_1() {
        let with = |boundary: &str| {
            let value = format!("multipart/mixed; boundary=\"{boundary}\"");
            ContentType::parse(Bytes::from(value))
                .unwrap()
                .boundary()
                .map(Cow::into_owned)
        };
        assert_eq!(
            with("gc0pJq0M:08jU534c0p").as_deref(),
            Ok("gc0pJq0M:08jU534c0p")
        );
        assert_eq!(with(&"x".repeat(70)).unwrap().len(), 70);
        for bad in ["", "a ", "a*b", "\u{e9}", &"x".repeat(71)] {
            assert_eq!(with(bad), Err(MimeError::InvalidBoundary), "{bad:?}");
        }
        assert_eq!(
            parse("multipart/mixed").unwrap().boundary(),
            Err(MimeError::InvalidBoundary)
        );
    }
}
