//! The `;name=value` parameters of Content-Type and Content-Disposition (RFC 2045 §5.1).

use std::borrow::Cow;
use std::ops::Range;

/// Maximum number of parameters in one header field. Real ones have one to three; the limit keeps
/// the search for a repeated parameter linear.
pub const MAX_PARAMETERS: usize = 32;

/// The text violates the grammar. The caller knows which header field it was.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads the field value from left to right. `at` is always next to an ASCII character, so slicing
/// the text there cannot split a UTF-8 sequence.
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// A parameter as written in the field value.
pub(super) struct Parameter<'a> {
    pub(super) name: &'a str,
    raw: &'a str,
    quoted: bool,
}

impl<'a> Parameter<'a> {
    /// The value without quotes, quoted pairs and folds; copied only if it has one of the latter.
    pub(super) fn value(&self) -> Cow<'a, str> {
        if !self.quoted || !self.raw.contains(['\\', '\r', '\n']) {
            return Cow::Borrowed(self.raw);
        }
        let mut value = String::with_capacity(self.raw.len());
        let mut characters = self.raw.chars();
        while let Some(c) = characters.next() {
            match c {
                '\\' => value.extend(characters.next()),
                '\r' | '\n' => {}
                _ => value.push(c),
            }
        }
        Cow::Owned(value)
    }
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str, at: usize) -> Self {
        Self { text, at }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Takes a token of RFC 2045 with surrounding white space and comments.
    pub(super) fn token(&mut self) -> Result<Range<usize>, Malformed> {
        self.skip_cfws()?;
        let token = self.take_while(is_token_byte);
        self.skip_cfws()?;
        if token.is_empty() {
            Err(Malformed)
        } else {
            Ok(token)
        }
    }

    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return Err(Malformed);
        }
        self.at += 1;
        Ok(())
    }

    /// Takes the next parameter. `None` at the end of the text.
    ///
    /// Three leniencies for existing peers: an empty parameter (a trailing semicolon), a parameter
    /// without value (RFC 3261 generic-param; the value is then empty), and an unquoted value with
    /// specials that cannot be mistaken for a separator (`boundary=--=_Part/1`).
    pub(super) fn parameter(&mut self) -> Result<Option<Parameter<'a>>, Malformed> {
        loop {
            self.skip_cfws()?;
            match self.peek() {
                None => return Ok(None),
                Some(b';') => self.at += 1,
                Some(_) => return Err(Malformed),
            }
            self.skip_cfws()?;
            if !matches!(self.peek(), None | Some(b';')) {
                break;
            }
        }
        let name = self.token()?;
        let name = &self.text[name];
        if self.peek() != Some(b'=') {
            return Ok(Some(Parameter {
                name,
                raw: "",
                quoted: false,
            }));
        }
        self.at += 1;
        self.skip_cfws()?;
        let (raw, quoted) = if self.peek() == Some(b'"') {
            (self.quoted_string()?, true)
        } else {
            let value = self.take_while(is_lenient_value_byte);
            if value.is_empty() {
                return Err(Malformed);
            }
            (&self.text[value], false)
        };
        Ok(Some(Parameter { name, raw, quoted }))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take_while(&mut self, accepts: fn(u8) -> bool) -> Range<usize> {
        let start = self.at;
        while self.peek().is_some_and(accepts) {
            self.at += 1;
        }
        start..self.at
    }

    /// Skips white space (including folds) and comments, which may nest. A counter tracks the
    /// nesting, so depth costs nothing.
    fn skip_cfws(&mut self) -> Result<(), Malformed> {
        let mut open_comments = 0usize;
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'(' => open_comments += 1,
                _ if open_comments == 0 => return Ok(()),
                b')' => open_comments -= 1,
                b'\\' => self.at += 1,
                _ => {}
            }
            self.at += 1;
        }
        if open_comments == 0 {
            Ok(())
        } else {
            Err(Malformed)
        }
    }

    fn quoted_string(&mut self) -> Result<&'a str, Malformed> {
        self.expect(b'"')?;
        let start = self.at;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.at += 1;
                    return Ok(&self.text[start..self.at - 1]);
                }
                b'\\' => {
                    self.at += 1;
                    if self.peek().is_none_or(is_forbidden_control) {
                        return Err(Malformed);
                    }
                }
                _ if is_forbidden_control(byte) => return Err(Malformed),
                _ => {}
            }
            self.at += 1;
        }
        Err(Malformed)
    }
}

/// Checks all parameters from `at` to the end, so that later look-ups cannot fail. A repeated name
/// is rejected: readers could disagree about which one applies.
pub(super) fn check(text: &str, at: usize) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(text, at);
    for index in 0.. {
        let Some(parameter) = cursor.parameter()? else {
            break;
        };
        if index == MAX_PARAMETERS {
            return Err(Malformed);
        }
        let mut earlier = Cursor::new(text, at);
        for _ in 0..index {
            if let Some(other) = earlier.parameter()?
                && other.name.eq_ignore_ascii_case(parameter.name)
            {
                return Err(Malformed);
            }
        }
    }
    Ok(())
}

/// The value of one parameter; names are compared case-insensitively.
pub(super) fn find<'a>(text: &'a str, at: usize, name: &str) -> Option<Cow<'a, str>> {
    let mut cursor = Cursor::new(text, at);
    while let Ok(Some(parameter)) = cursor.parameter() {
        if parameter.name.eq_ignore_ascii_case(name) {
            return Some(parameter.value());
        }
    }
    None
}

/// RFC 2045 §5.1 `token`; a header field name is the same without the colon.
pub(super) fn is_token_byte(byte: u8) -> bool {
    const TOKEN: [bool; 256] = graphic_but(br#"()<>@,;:\"/[]?="#);
    TOKEN[usize::from(byte)]
}

fn is_lenient_value_byte(byte: u8) -> bool {
    const VALUE: [bool; 256] = graphic_but(br#"(),;\""#);
    VALUE[usize::from(byte)]
}

/// For each byte, whether it is a visible ASCII character and not one of the specials.
const fn graphic_but(specials: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        table[byte as usize] = true;
        byte += 1;
    }
    let mut index = 0;
    while index < specials.len() {
        table[specials[index] as usize] = false;
        index += 1;
    }
    table
}

fn is_forbidden_control(byte: u8) -> bool {
    byte.is_ascii_control() && !matches!(byte, b'\t' | b'\r' | b'\n')
}
