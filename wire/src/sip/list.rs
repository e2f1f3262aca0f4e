//! The two list shapes of header field values: comma-separated values and `;name=value` parameters
//! (RFC 3261 §7.3.1, §25.1).

use std::borrow::Cow;
use std::fmt;

use super::grammar::{is_lws_byte, is_token_byte, quoted_string_end, trim_lws};

/// Splits a header field value at its commas, except inside quoted strings or `<…>`.
///
/// Values are returned without surrounding white space; empty ones are skipped. An unclosed quoted
/// string or bracket extends to the end: the parser of that value rejects it.
pub fn split_list(value: &str) -> ListItems<'_> {
    ListItems { rest: value }
}

/// Iterator of [`split_list`].
#[derive(Debug, Clone)]
pub struct ListItems<'a> {
    rest: &'a str,
}

impl<'a> Iterator for ListItems<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        while !self.rest.is_empty() {
            let end = list_item_end(self.rest.as_bytes());
            let item = trim_lws(&self.rest[..end]);
            self.rest = self.rest.get(end + 1..).unwrap_or("");
            if !item.is_empty() {
                return Some(item);
            }
        }
        None
    }
}

/// One `;name` or `;name=value` parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// The name, a token; compare it case-insensitively.
    pub name: &'a str,
    /// The value as written, a quoted string with its quotes.
    pub raw_value: Option<&'a str>,
}

/// Iterates the parameters of a header field value. After an error it ends.
#[derive(Debug, Clone)]
pub struct Parameters<'a> {
    rest: &'a str,
}

/// A parameter without a name, with an illegal character, or with a quoted string that never
/// closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterError;

impl<'a> Parameter<'a> {
    /// The value without quotes and backslashes.
    pub fn value(&self) -> Option<Cow<'a, str>> {
        self.raw_value.map(unquote)
    }
}

impl<'a> Parameters<'a> {
    /// Reads parameters from text that is empty or begins with the first `;`.
    pub fn new(text: &'a str) -> Self {
        Self {
            rest: trim_lws(text),
        }
    }

    fn parse_next(&mut self) -> Result<Parameter<'a>, ParameterError> {
        let text = self.rest.strip_prefix(';').ok_or(ParameterError)?;
        let text = text.trim_start_matches(LWS);
        let name_end = text
            .bytes()
            .position(|byte| !is_token_byte(byte))
            .unwrap_or(text.len());
        let (name, rest) = text.split_at(name_end);
        if name.is_empty() {
            return Err(ParameterError);
        }
        let rest = rest.trim_start_matches(LWS);
        let Some(rest) = rest.strip_prefix('=') else {
            self.rest = rest;
            return Ok(Parameter {
                name,
                raw_value: None,
            });
        };
        let rest = rest.trim_start_matches(LWS);
        let value_end = match rest.starts_with('"') {
            true => quoted_string_end(rest.as_bytes(), 0).ok_or(ParameterError)?,
            false => rest.bytes().position(ends_bare_value).unwrap_or(rest.len()),
        };
        let (value, rest) = rest.split_at(value_end);
        if value.is_empty() {
            return Err(ParameterError);
        }
        self.rest = rest.trim_start_matches(LWS);
        Ok(Parameter {
            name,
            raw_value: Some(value),
        })
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<Parameter<'a>, ParameterError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = self.parse_next();
        if parsed.is_err() {
            self.rest = "";
        }
        Some(parsed)
    }
}

impl fmt::Display for ParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("header field parameter is malformed")
    }
}

impl std::error::Error for ParameterError {}

/// The text of a quoted string; other text unchanged. Borrowed unless a backslash must be removed.
pub(super) fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inner) = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
    else {
        return Cow::Borrowed(text);
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            _ => plain.push(character),
        }
    }
    Cow::Owned(plain)
}

const LWS: [char; 4] = [' ', '\t', '\r', '\n'];

/// Characters that end an unquoted value. The grammar allows a token or a host there; peers also
/// send URIs and other text, so only ambiguous characters are excluded.
fn ends_bare_value(byte: u8) -> bool {
    is_lws_byte(byte) || byte.is_ascii_control() || matches!(byte, b';' | b',' | b'"' | b'<' | b'>')
}

/// The index of the comma that ends the first value, or the length.
fn list_item_end(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at = match byte {
            b',' => return at,
            b'"' => quoted_string_end(bytes, at).unwrap_or(bytes.len()),
            b'<' => {
                let close = bytes[at..].iter().position(|&byte| byte == b'>');
                close.map_or(bytes.len(), |length| at + length + 1)
            }
            _ => at + 1,
        };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::test_random::mutate_text;

    fn split(value: &str) -> Vec<&str> {
        split_list(value).collect()
    }

    type NamedValue<'a> = (&'a str, Option<Cow<'a, str>>);

    fn parameters(text: &str) -> Result<Vec<NamedValue<'_>>, ParameterError> {
        Parameters::new(text)
            .map(|parsed| parsed.map(|one| (one.name, one.value())))
            .collect()
    }

    #[test]
    fn commas_split_only_at_the_top() {
        assert_eq!(split("a, b ,\r\n c"), ["a", "b", "c"]);
        assert_eq!(
            split(r#""x, \"y,", <sip:a,b@h>;p="1,2""#),
            [r#""x, \"y,""#, r#"<sip:a,b@h>;p="1,2""#]
        );
        assert_eq!(split(r#"<"a>, b"#), [r#"<"a>"#, "b"]);
        assert_eq!(split(r#""<a", b"#), [r#""<a""#, "b"]);
        assert_eq!(split(" , ,,\t"), [""; 0]);
        assert_eq!(split(""), [""; 0]);
        assert_eq!(split("a,"), ["a"]);
    }

    #[test]
    fn open_quotes_and_brackets_run_to_the_end() {
        assert_eq!(split(r#"a, "b, c"#), ["a", r#""b, c"#]);
        assert_eq!(split("a, <b, c"), ["a", "<b, c"]);
        assert_eq!(split(r#""a\"#), [r#""a\"#]);
    }

    #[test]
    fn parameters_with_and_without_values() {
        assert_eq!(
            parameters(" ; tag = 1928 ;lr\r\n ;q=\"a\\\"b;c\" ; r=[::1]:5060"),
            Ok(vec![
                ("tag", Some("1928".into())),
                ("lr", None),
                ("q", Some("a\"b;c".into())),
                ("r", Some("[::1]:5060".into())),
            ])
        );
        assert_eq!(parameters(""), Ok(vec![]));
        assert_eq!(parameters(";e=\"\""), Ok(vec![("e", Some("".into()))]));
        let raw = Parameters::new(";a=\"b\"").next().unwrap().unwrap();
        assert_eq!(raw.raw_value, Some("\"b\""));
        assert!(matches!(raw.value(), Some(Cow::Borrowed("b"))));
    }

    #[test]
    fn malformed_parameters_end_the_iteration() {
        for bad in [
            "x",
            ";",
            ";;a",
            ";=a",
            ";a=",
            ";a=\"b",
            ";a=\"b\\\"",
            ";a=b c",
            ";a=\"b\"c",
            ";a=<b>",
            ";a,b",
            ";a=b\0",
        ] {
            assert_eq!(parameters(bad), Err(ParameterError), "{bad}");
            let mut rest = Parameters::new(bad);
            let _ = rest.find(Result::is_err);
            assert_eq!(rest.next(), None, "{bad}");
        }
    }

    #[test]
    fn mutated_values_never_panic() {
        let mut random = Rng::with_seed(0xabcd);
        let sample = "\"A \\\" B\" <sip:a@h;lr>;tag=1 ; p=\"x,y\" , sip:b@h;q=0.5";
        for _ in 0..10_000 {
            let text = mutate_text(&mut random, sample, b"\"\\<>,;= \r\n");
            let mut total = 0;
            for item in split_list(&text) {
                total += item.len();
                assert!(!item.is_empty() && trim_lws(item) == item);
                let from = item.find(';').unwrap_or(item.len());
                for one in Parameters::new(&item[from..]).flatten() {
                    assert!(!one.name.is_empty());
                    assert!(one.value().is_none_or(|value| value.len() <= item.len()));
                }
            }
            assert!(total <= text.len());
        }
    }
}
