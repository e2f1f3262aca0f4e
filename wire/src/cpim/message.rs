use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;

use bytes::Bytes;

/// Maximum length of a CPIM message's header, both blocks together. A real one has less than 1 KiB.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Usual number of fields in a block: initial allocation.
const USUAL_FIELDS: usize = 16;

/// A CPIM message (RFC 3862): header fields, MIME header fields, content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpimMessage {
    /// Header fields in order, `NS` ones included.
    pub fields: Vec<CpimField>,
    /// The MIME header fields of the content: name and value.
    pub content_fields: Vec<(String, String)>,
    /// The wrapped content.
    pub content: Bytes,
}

/// A header field: name as written, with its prefix, and value with escapes decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpimField {
    /// For example `From` or `imdn.Message-ID`; names are case-sensitive (RFC 3862 §2.1).
    pub name: String,
    /// The value.
    pub value: String,
}

/// Bytes that are not a CPIM message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpimError {
    /// A header block does not end, or not within [`MAX_HEAD_BYTES`].
    Truncated,
    /// A header line is not `name: value` in UTF-8.
    Field,
}

/// Text that cannot be in a header field, because it would end its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineBreakError;

impl CpimMessage {
    /// Parses a message; its content is a slice of `bytes`. Lines may end with LF alone.
    ///
    /// # Errors
    /// [`CpimError`].
    pub fn parse(bytes: &Bytes) -> Result<Self, CpimError> {
        let head = Fields::read(bytes)?;
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let unescaped = |(name, value): &(&str, &str)| CpimField::new(*name, unescape(value));
        Ok(Self {
            fields: head.fields.iter().map(unescaped).collect(),
            content_fields: head.content_fields.iter().map(own).collect(),
            content: bytes.slice(head.length..),
        })
    }

    /// The first field of the base namespace with that name, such as `From`.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields.find(|field| field.name == name).map(value)
    }

    /// The first field of that name in a namespace that the message declares, with any prefix (RFC
    /// 3862 §2.3).
    pub fn field_of(&self, namespace: &str, name: &str) -> Option<&str> {
        self.fields_of(namespace, name).first().copied()
    }

    /// All fields of that name in a namespace, in their order.
    pub fn fields_of(&self, namespace: &str, name: &str) -> Vec<&str> {
        let mut namespace = Namespace::new(namespace);
        let fields = self.fields.iter();
        fields
            .filter(|field| namespace.has(&field.name, name, || Cow::Borrowed(&*field.value)))
            .map(value)
            .collect()
    }

    /// The MIME header field of that name, compared case-insensitively.
    pub fn content_field(&self, name: &str) -> Option<&str> {
        let mut fields = self.content_fields.iter();
        fields
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The URI of a field such as `From: Anne <im:anne@example.com>`.
    pub fn address(&self, name: &str) -> Option<&str> {
        let value = self.field(name)?;
        let (_, rest) = value.rsplit_once('<')?;
        rest.strip_suffix('>')
    }

    /// Writes the message.
    ///
    /// # Errors
    ///
    /// [`LineBreakError`] if a name or a value of the MIME header has a line break. In the values
    /// of the message's own header they are escaped (RFC 3862 §2.2).
    pub fn write(&self) -> Result<Bytes, LineBreakError> {
        let mut head = String::with_capacity(512);
        for CpimField { name, value } in &self.fields {
            if name.contains(['\r', '\n']) {
                return Err(LineBreakError);
            }
            head.push_str(name);
            head.push_str(": ");
            escape(value, &mut head);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        for (name, value) in &self.content_fields {
            if name.contains(['\r', '\n']) || value.contains(['\r', '\n']) {
                return Err(LineBreakError);
            }
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = Vec::with_capacity(head.len() + self.content.len());
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(&self.content);
        Ok(bytes.into())
    }
}

/// The header of a CPIM message, with values as written.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    fields: Vec<(&'a str, &'a str)>,
    content_fields: Vec<(&'a str, &'a str)>,
    /// In bytes, both blocks together.
    length: usize,
}

impl<'a> Fields<'a> {
    /// Reads the header of a message, which may end anywhere after it. Lines may end with LF alone.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, CpimError> {
        let mut at = 0;
        let mut block = || {
            let mut fields = Vec::with_capacity(USUAL_FIELDS);
            loop {
                let rest = &bytes[at..bytes.len().min(MAX_HEAD_BYTES)];
                let end = memchr::memchr(b'\n', rest);
                let line = &rest[..end.ok_or(CpimError::Truncated)?];
                at += line.len() + 1;
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if line.is_empty() {
                    return Ok(fields);
                }
                let line = std::str::from_utf8(line).map_err(|_| CpimError::Field)?;
                let (name, value) = line.split_once(':').ok_or(CpimError::Field)?;
                let name = name.trim();
                if name.is_empty() || name.contains(char::is_whitespace) {
                    return Err(CpimError::Field);
                }
                fields.push((name, value.trim()));
            }
        };
        let (fields, content_fields) = (block()?, block()?);
        Ok(Self {
            fields,
            content_fields,
            length: at,
        })
    }

    /// The same as [`CpimMessage::field_of`].
    pub(crate) fn field_of(&self, namespace: &str, name: &str) -> Option<String> {
        let mut namespace = Namespace::new(namespace);
        let mut fields = self.fields.iter();
        fields
            .find(|(own, value)| namespace.has(own, name, || Cow::Owned(unescape(value))))
            .map(|(_, value)| unescape(value))
    }
}

/// A namespace, with the prefixes that a message declares for it (RFC 3862 §2.3).
struct Namespace<'a> {
    uri: &'a str,
    prefixes: Vec<String>,
}

impl<'a> Namespace<'a> {
    fn new(uri: &'a str) -> Self {
        let prefixes = Vec::new();
        Self { uri, prefixes }
    }

    /// Looks at the next field of the message: whether it is the one of that name in this
    /// namespace. `value` is only asked for that of a declaration.
    fn has<'f>(&mut self, field: &str, name: &str, value: impl FnOnce() -> Cow<'f, str>) -> bool {
        if field == "NS" {
            if let Some((prefix, uri)) = value().split_once('<')
                && uri.strip_suffix('>') == Some(self.uri)
            {
                self.prefixes.push(prefix.trim().to_owned());
            }
            return false;
        }
        field.split_once('.').is_some_and(|(prefix, own)| {
            own == name && self.prefixes.iter().any(|known| known == prefix)
        })
    }
}

impl CpimField {
    /// A field.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }
}

fn value(field: &CpimField) -> &str {
    &field.value
}

/// White space at the ends is escaped too: unescaped, it would not belong to the value.
fn escape(value: &str, out: &mut String) {
    let starts = value.len() - value.trim_start().len();
    let ends = value.trim_end().len();
    for (at, character) in value.char_indices() {
        let is_at_end = at < starts || at >= ends;
        match character {
            '\\' => out.push_str("\\\\"),
            '\r' => out.push_str("\\r"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' | '\u{7f}' => escape_code(character, out),
            _ if is_at_end => escape_code(character, out),
            _ => out.push(character),
        }
    }
}

/// Escaped characters are in Unicode's basic plane, like all its white space.
fn escape_code(character: char, out: &mut String) {
    let _ = write!(out, "\\u{:04x}", u32::from(character));
}

fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(escaped) = rest.chars().next() else {
            break;
        };
        rest = &rest[escaped.len_utf8()..];
        match escaped {
            'r' => out.push('\r'),
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'b' => out.push('\u{8}'),
            'u' => {
                let digits = rest
                    .get(..4)
                    .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
                let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                match code.and_then(char::from_u32) {
                    Some(character) => {
                        out.push(character);
                        rest = &rest[4..];
                    }
                    None => out.push('u'),
                }
            }
            other => out.push(other),
        }
    }
    out.push_str(rest);
    out
}

impl fmt::Display for CpimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "CPIM header does not end, or not soon enough",
            Self::Field => "CPIM header line is no field",
        })
    }
}

impl std::error::Error for CpimError {}

impl fmt::Display for LineBreakError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("line break in a header field")
    }
}

impl std::error::Error for LineBreakError {}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    /// RFC 5438 §6.3, with another prefix.
    const SAMPLE: &[u8] = b"From: Alice <im:alice@example.com>\r\nTo: Bob <im:bob@example.com>\r\n\
        NS: x <urn:ietf:params:imdn>\r\nx.Message-ID: 34jk324j\r\nDateTime: 2006-04-04T12:16:49-05:00\r\n\
        Subject: a\\nb\\\\c\\u00e9\r\n\r\nContent-type: text/plain\r\nContent-length: 12\r\n\r\nHello World\n";

    #[test]
    fn fields_by_namespace() {
        let message = CpimMessage::parse(&Bytes::from_static(SAMPLE)).unwrap();
        assert_eq!(message.address("From"), Some("im:alice@example.com"));
        assert_eq!(
            message.field_of("urn:ietf:params:imdn", "Message-ID"),
            Some("34jk324j")
        );
        assert_eq!(message.field_of("urn:other", "Message-ID"), None);
        assert_eq!(message.field("Message-ID"), None);
        assert_eq!(message.field("from"), None, "names have case");
        assert_eq!(message.field("Subject"), Some("a\nb\\c\u{e9}"));
        assert_eq!(message.content_field("Content-Type"), Some("text/plain"));
        assert_eq!(message.content, "Hello World\n");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let message = CpimMessage {
            fields: vec![
                CpimField::new("From", "<sip:a@example.com>"),
                CpimField::new("Subject", "two\r\nlines, a\ttab, \\ and \u{1}"),
            ],
            content_fields: vec![("Content-Type".into(), "text/plain;charset=UTF-8".into())],
            content: Bytes::from_static(b"\r\n\r\nbody\0"),
        };
        let bytes = message.write().unwrap();
        assert_eq!(CpimMessage::parse(&bytes), Ok(message.clone()));
        let broken = CpimMessage {
            content_fields: vec![("Content-Type".into(), "a/b\r\nEvil: yes".into())],
            ..message
        };
        assert_eq!(broken.write(), Err(LineBreakError));
    }

    #[test]
    fn white_space_at_the_ends_of_a_value_is_kept() {
        for value in [
            " ",
            "  a b  ",
            "\ta\u{a0}",
            "\u{2003}a\u{3000}",
            "a\\ ",
            "\u{c}\u{1}a\r",
            "a\u{7f}",
        ] {
            let message = CpimMessage {
                fields: vec![CpimField::new("Subject", value)],
                content_fields: Vec::new(),
                content: Bytes::new(),
            };
            let bytes = message.write().unwrap();
            assert_eq!(CpimMessage::parse(&bytes), Ok(message), "{value:?}");
        }
    }

    /// Any readable message is written so that it reads the same.
    fn assert_survives(bytes: &Bytes) {
        let Ok(message) = CpimMessage::parse(bytes) else {
            return;
        };
        let Ok(written) = message.write() else { return };
        if written.len() - message.content.len() <= MAX_HEAD_BYTES {
            assert_eq!(CpimMessage::parse(&written), Ok(message));
        }
    }

    #[test]
    fn what_fuzzing_found_survives() {
        let found = Bytes::from_static(include_bytes!("testdata/found-by-fuzzing.cpim"));
        assert!(CpimMessage::parse(&found).is_ok());
        assert_survives(&found);
    }

    #[test]
    fn what_is_no_cpim_is_refused() {
        for text in [
            "",
            "Hello",
            "a: b\r\n\r\nc: d",
            "no colon\r\n\r\n\r\n",
            ": x\n\n\n",
        ] {
            assert!(CpimMessage::parse(&Bytes::from(text)).is_err(), "{text:?}");
        }
        let endless = Bytes::from("a: b\r\n".repeat(MAX_HEAD_BYTES));
        assert_eq!(CpimMessage::parse(&endless), Err(CpimError::Truncated));
    }

    #[test]
    fn mutated_messages_never_panic() {
        let mut random = Rng::with_seed(77);
        for _ in 0..5_000 {
            let mut bytes = SAMPLE.to_vec();
            for _ in 0..1 + random.usize(..5) {
                let at = random.usize(..bytes.len());
                bytes[at] = b"\r\n:\\u<. \xff"[random.usize(..9)];
            }
            let bytes = Bytes::from(bytes);
            if let Ok(message) = CpimMessage::parse(&bytes) {
                let _ = message.address("From");
            }
            assert_survives(&bytes);
        }
    }
}
