use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::MimeError;
use super::parameters::{self, Cursor, Malformed};

/// A Content-Disposition field value (RFC 2183 §2, for SIP RFC 3261 §20.11 and RFC 5621 §8), kept
/// as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentDisposition {
    /// Valid UTF-8, checked by `parse`, as is the grammar of the parameters.
    value: Bytes,
    disposition_type: Range<usize>,
    parameters: usize,
}

impl ContentDisposition {
    /// Parses a field value, the text after `Content-Disposition:`.
    ///
    /// # Errors
    /// [`MimeError::MalformedContentDisposition`].
    pub fn parse(value: Bytes) -> Result<Self, MimeError> {
        let text =
            std::str::from_utf8(&value).map_err(|_| MimeError::MalformedContentDisposition)?;
        let (disposition_type, parameters) =
            split(text).map_err(|Malformed| MimeError::MalformedContentDisposition)?;
        Ok(Self {
            value,
            disposition_type,
            parameters,
        })
    }

    /// The field value as received.
    pub fn value(&self) -> &Bytes {
        &self.value
    }

    /// Whether the disposition type is this one, such as `recipient-list`, case-insensitively.
    pub fn is(&self, disposition_type: &str) -> bool {
        self.value[self.disposition_type.clone()].eq_ignore_ascii_case(disposition_type.as_bytes())
    }

    /// The value of a parameter without its quotes; the name is compared case-insensitively.
    pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        parameters::find(self.text(), self.parameters, name)
    }

    /// Whether a receiver may ignore the part if it does not understand it: `handling=optional`.
    /// Without the parameter handling is required (RFC 3261 §20.11).
    pub fn is_optional(&self) -> bool {
        self.param("handling")
            .is_some_and(|value| value.eq_ignore_ascii_case("optional"))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.value).unwrap_or_default()
    }
}

fn split(text: &str) -> Result<(Range<usize>, usize), Malformed> {
    let mut cursor = Cursor::new(text, 0);
    let disposition_type = cursor.token()?;
    let parameters = cursor.position();
    parameters::check(text, parameters)?;
    Ok((disposition_type, parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &'static str) -> Result<ContentDisposition, MimeError> {
        ContentDisposition::parse(Bytes::from_static(value.as_bytes()))
    }

    #[test]
    fn recipient_lists_of_rfc_5363_and_5364() {
        assert!(parse("Recipient-List").unwrap().is("recipient-list"));
        let history = parse("recipient-list-history; handling=Optional").unwrap();
        assert!(history.is("recipient-list-history") && !history.is("recipient-list"));
        assert!(history.is_optional());
        assert!(!parse("render;handling=required").unwrap().is_optional());
        assert!(!parse("render").unwrap().is_optional());
    }

    #[test]
    fn example_of_rfc_2183_2_10() {
        let value = "attachment; filename=genome.jpeg;\r\n  modification-date=\"Wed, 12 Feb 1997 16:29:51 -0500\";";
        let disposition = parse(value).unwrap();
        assert_eq!(disposition.param("FileName").unwrap(), "genome.jpeg");
        assert_eq!(
            disposition.param("modification-date").unwrap(),
            "Wed, 12 Feb 1997 16:29:51 -0500"
        );
    }

    #[test]
    fn malformed_values() {
        for value in ["", ";", "a b", "a; b=\"", "a; b=1; b=2", "a/b"] {
            assert_eq!(
                parse(value),
                Err(MimeError::MalformedContentDisposition),
                "{value:?}"
            );
        }
    }
}
