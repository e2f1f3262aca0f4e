//! `name-addr` and `addr-spec` with parameters: the values of From, To, Contact,
//! P-Asserted-Identity, Referred-By and the like (RFC 3261 §20.10, §25.1).

use std::borrow::Cow;
use std::fmt;

use super::grammar::{quoted_string_end, trim_lws};
use super::list::{Parameter, Parameters, unquote};

/// One address value. A field that may hold several is split with
/// [`split_list`](super::split_list) first.
#[derive(Debug, Clone, Copy)]
pub struct NameAddr<'a> {
    display_name: &'a str,
    uri: &'a str,
    is_bracketed: bool,
    parameters: &'a str,
}

/// Why a value is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameAddrError {
    /// A quoted display name or the `<` of the URI is never closed, or there is other text where
    /// the URI should begin.
    DisplayName,
    /// There is no URI, or it contains quotes, brackets or characters other than visible ASCII, or
    /// a comma or question mark outside `<…>`.
    Uri,
    /// The text after the URI is not a parameter list.
    Parameter,
}

impl<'a> NameAddr<'a> {
    /// Parses one address in either form. Without `<…>`, all parameters belong to the header field
    /// and none to the URI (§20.10).
    pub fn parse(value: &'a str) -> Result<Self, NameAddrError> {
        let value = trim_lws(value);
        let (display_name, rest) = match value.starts_with('"') {
            true => {
                let end =
                    quoted_string_end(value.as_bytes(), 0).ok_or(NameAddrError::DisplayName)?;
                let (name, rest) = value.split_at(end);
                let rest = trim_lws(rest);
                if !rest.starts_with('<') {
                    return Err(NameAddrError::DisplayName);
                }
                (name, rest)
            }
            // A `;` before the bracket means that the bracket is inside a parameter.
            false => match value
                .find(['<', ';'])
                .filter(|&at| value[at..].starts_with('<'))
            {
                Some(at) => (trim_lws(&value[..at]), &value[at..]),
                None => ("", value),
            },
        };
        if !display_name.starts_with('"') && display_name.contains(['"', '>', ',']) {
            return Err(NameAddrError::DisplayName);
        }
        let is_bracketed = rest.starts_with('<');
        let (uri, parameters) = match rest.strip_prefix('<') {
            Some(rest) => rest.split_once('>').ok_or(NameAddrError::DisplayName)?,
            None => {
                let (uri, parameters) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
                if uri.contains([',', '?']) {
                    return Err(NameAddrError::Uri);
                }
                (trim_lws(uri), parameters)
            }
        };
        let is_illegal = |byte: u8| !byte.is_ascii_graphic() || matches!(byte, b'<' | b'>' | b'"');
        if uri.is_empty() || uri.bytes().any(is_illegal) {
            return Err(NameAddrError::Uri);
        }
        if Parameters::new(parameters).any(|parsed| parsed.is_err()) {
            return Err(NameAddrError::Parameter);
        }
        Ok(Self {
            display_name,
            uri,
            is_bracketed,
            parameters,
        })
    }

    /// The display name without quotes, if it is not empty and was UTF-8 (see
    /// [`FieldLine::unfolded_text`](super::FieldLine::unfolded_text)).
    pub fn display_name(&self) -> Option<Cow<'a, str>> {
        let name = unquote(self.display_name);
        (!name.is_empty() && !name.contains(char::REPLACEMENT_CHARACTER)).then_some(name)
    }

    /// Whether the URI is in `<…>`.
    pub fn is_bracketed(&self) -> bool {
        self.is_bracketed
    }

    /// The URI as written; validate it with [`Uri::parse`](super::Uri::parse).
    pub fn uri(&self) -> &'a str {
        self.uri
    }

    /// The parameters of the header field, not those of the URI.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'a>> + use<'a> {
        // `parse` has rejected every list with an error.
        Parameters::new(self.parameters).flatten()
    }

    /// The first parameter of that name, for example `tag`.
    pub fn parameter(&self, name: &str) -> Option<Parameter<'a>> {
        self.parameters()
            .find(|parameter| parameter.name.eq_ignore_ascii_case(name))
    }

    /// The address as [`Display`](fmt::Display) writes it, without the header field parameter of
    /// that name.
    pub fn without(&self, parameter: &str) -> String {
        self.written(|one| !one.name.eq_ignore_ascii_case(parameter))
    }

    /// The address as [`Display`](fmt::Display) writes it, without header field parameters.
    pub fn without_parameters(&self) -> String {
        self.written(|_| false)
    }

    fn written(&self, is_kept: impl Fn(&Parameter<'a>) -> bool) -> String {
        let mut text = String::with_capacity(self.display_name.len() + self.uri.len() + 32);
        // Writing to a String cannot fail.
        let _ = self.write(&mut text, is_kept);
        text
    }

    fn write(
        &self,
        out: &mut impl fmt::Write,
        is_kept: impl Fn(&Parameter<'a>) -> bool,
    ) -> fmt::Result {
        if let Some(name) = self.display_name() {
            out.write_char('"')?;
            for character in name.chars() {
                if matches!(character, '"' | '\\') {
                    out.write_char('\\')?;
                }
                out.write_char(character)?;
            }
            out.write_str("\" ")?;
        }
        write!(out, "<{}>", self.uri)?;
        for parameter in self.parameters().filter(is_kept) {
            write!(out, ";{}", parameter.name)?;
            if let Some(value) = parameter.raw_value {
                write!(out, "={value}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for NameAddr<'_> {
    /// The address in `<…>`, a display name before it as a quoted string.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, |_| true)
    }
}

impl fmt::Display for NameAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameAddrError::DisplayName => "display name or bracket is malformed",
            NameAddrError::Uri => "address has no well-formed URI",
            NameAddrError::Parameter => "parameter of an address is malformed",
        })
    }
}

impl std::error::Error for NameAddrError {}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::test_random::mutate_text;

    fn parts(value: &str) -> (Option<String>, &str, Vec<&str>) {
        let parsed = NameAddr::parse(value).unwrap_or_else(|error| panic!("{value}: {error}"));
        let names = parsed
            .parameters()
            .map(|parameter| parameter.name)
            .collect();
        (
            parsed.display_name().map(Cow::into_owned),
            parsed.uri(),
            names,
        )
    }

    #[test]
    fn rfc3261_20_10_and_20_20_examples() {
        assert_eq!(
            parts(
                "\"Mr. Watson\" <sip:watson@worcester.bell-telephone.com>\r\n ;q=0.7; expires=3600"
            ),
            (
                Some("Mr. Watson".into()),
                "sip:watson@worcester.bell-telephone.com",
                vec!["q", "expires"]
            )
        );
        assert_eq!(
            parts("\"A. G. Bell\" <sip:agb@bell-telephone.com> ;tag=a48s"),
            (
                Some("A. G. Bell".into()),
                "sip:agb@bell-telephone.com",
                vec!["tag"]
            )
        );
        assert_eq!(
            parts("sip:+12125551212@server.phone2net.com;tag=887s"),
            (None, "sip:+12125551212@server.phone2net.com", vec!["tag"])
        );
        assert_eq!(
            parts("Anonymous <sip:c8oqz84zk7z@privacy.org>;tag=hyh8"),
            (
                Some("Anonymous".into()),
                "sip:c8oqz84zk7z@privacy.org",
                vec!["tag"]
            )
        );
    }

    #[test]
    fn brackets_decide_whose_the_parameters_are() {
        assert_eq!(
            parts("<sip:a@h;lr?x=y>;tag=1"),
            (None, "sip:a@h;lr?x=y", vec!["tag"])
        );
        assert_eq!(parts("sip:a@h;lr"), (None, "sip:a@h", vec!["lr"]));
        assert_eq!(parts("\"\"<tel:+1>"), (None, "tel:+1", vec![]));
        assert_eq!(parts(r#""a\\\"<b>" <sip:a@h>"#).0, Some(r#"a\"<b>"#.into()));
        assert_eq!(
            parts("Jos\u{e9} P. <sip:a@h>").0,
            Some("Jos\u{e9} P.".into())
        );
        assert_eq!(parts("sip:a@h;x=\"<\"").2, ["x"]);
        let tagged = NameAddr::parse("<sip:a@h>;TAG=x").unwrap();
        assert_eq!(tagged.parameter("tag").unwrap().raw_value, Some("x"));
        assert!(tagged.parameter("q").is_none());
    }

    #[test]
    fn malformed_addresses() {
        use NameAddrError::*;
        for (value, error) in [
            ("", Uri),
            ("<>", Uri),
            (";tag=1", Uri),
            ("<sip:a@h", DisplayName),
            ("\"a <sip:a@h>", DisplayName),
            ("\"a\" sip:a@h", DisplayName),
            ("a\"b\" <sip:a@h>", DisplayName),
            ("sip:a@h, <sip:b@h>", DisplayName),
            ("sip:a@h,sip:b@h", Uri),
            ("sip:a@h?x=y", Uri),
            ("<sip:a b@h>", Uri),
            ("<sip:a\r\n b@h>", Uri),
            ("<<sip:a@h>>", Uri),
            ("sip:a@h b", Uri),
            ("<sip:a@h>tag=1", Parameter),
            ("<sip:a@h>;", Parameter),
            ("<sip:a@h>, <sip:b@h>", Parameter),
        ] {
            assert_eq!(NameAddr::parse(value).err(), Some(error), "{value}");
        }
    }

    #[test]
    fn mutated_addresses_never_panic_and_uris_stay_clean() {
        let mut random = Rng::with_seed(0xfeed);
        let mut accepted = 0;
        for _ in 0..10_000 {
            let text = mutate_text(
                &mut random,
                "\"A \\\"B\" <sip:a@h;lr>;tag=1;x=\"y\"",
                b"\"\\<>,;= \r\n",
            );
            let Ok(parsed) = NameAddr::parse(&text) else {
                continue;
            };
            accepted += 1;
            assert!(!parsed.uri().is_empty());
            assert!(
                !parsed
                    .uri()
                    .contains(['\r', '\n', '\0', ' ', '<', '>', '"']),
                "{text:?}"
            );
            let _ = (parsed.display_name(), parsed.parameters().count());
        }
        assert!(accepted > 500, "only {accepted} mutants parsed");
    }
}
