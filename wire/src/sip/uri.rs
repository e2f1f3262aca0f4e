//! URIs: `sip` and `sips` (RFC 3261 §19.1), `tel` (RFC 3966), and any other absolute URI.
//!
//! A [`Uri`] borrows the text that it was parsed from. Only the characters of the grammar pass, so a
//! parsed URI holds no CR, LF, NUL, space, quote or angle bracket and can be written into a message
//! as it is.

mod comparison;

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

pub use self::comparison::ComparisonKeys;
use self::comparison::{Case, components_match};
use super::grammar::{is_escaped_text, is_reserved, is_unreserved, split_once};

/// The longest URI that is parsed, in bytes. The RFCs set no bound; the longest seen in practice (a
/// GRUU with its instance, a URI with embedded header fields) stay well below 1 KiB.
pub const MAX_URI_BYTES: usize = 2048;

/// The most parameters that one URI may have. A dozen are registered for sip; comparing two URIs
/// looks at every pair.
pub const MAX_URI_PARAMETERS: usize = 32;

/// The most header components that one URI may have; comparing two URIs looks at every pair.
pub const MAX_URI_HEADERS: usize = 32;

/// A URI as parsed from borrowed text.
#[derive(Debug, Clone, Copy)]
pub enum Uri<'a> {
    /// A `sip:` or `sips:` URI.
    Sip(SipUri<'a>),
    /// A `tel:` URI.
    Tel(TelUri<'a>),
    /// An absolute URI of any other scheme.
    Other(OtherUri<'a>),
}

/// A `sip:` or `sips:` URI (RFC 3261 §19.1.1).
#[derive(Debug, Clone, Copy)]
pub struct SipUri<'a> {
    text: &'a str,
    secure: bool,
    user: Option<&'a str>,
    password: Option<&'a str>,
    host: &'a str,
    port: Option<u16>,
    /// Without the first `;`. Empty if there are none, since a parameter has a name.
    parameters: &'a str,
    /// Without the `?`. Empty if there are none, since a header component has a name.
    headers: &'a str,
}

/// A `tel:` URI (RFC 3966 §3).
#[derive(Debug, Clone, Copy)]
pub struct TelUri<'a> {
    text: &'a str,
    number: &'a str,
    /// Without the first `;`. Empty if there are none.
    parameters: &'a str,
}

/// An absolute URI whose scheme has no rules here.
#[derive(Debug, Clone, Copy)]
pub struct OtherUri<'a> {
    text: &'a str,
    scheme: &'a str,
    rest: &'a str,
}

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

impl<'a> Uri<'a> {
    /// Parses exactly one URI; white space around it is an error.
    pub fn parse(text: &'a str) -> Result<Self, UriError> {
        if text.len() > MAX_URI_BYTES {
            return Err(UriError::TooLong);
        }
        let (scheme, rest) = split_once(text, b':').ok_or(UriError::Scheme)?;
        if scheme.eq_ignore_ascii_case("sip") {
            SipUri::parse(text, rest, false).map(Uri::Sip)
        } else if scheme.eq_ignore_ascii_case("sips") {
            SipUri::parse(text, rest, true).map(Uri::Sip)
        } else if scheme.eq_ignore_ascii_case("tel") {
            TelUri::parse(text, rest).map(Uri::Tel)
        } else {
            OtherUri::parse(text, scheme, rest).map(Uri::Other)
        }
    }

    /// The text as it was parsed.
    pub fn as_str(&self) -> &'a str {
        match self {
            Uri::Sip(uri) => uri.text,
            Uri::Tel(uri) => uri.text,
            Uri::Other(uri) => uri.text,
        }
    }

    /// `sip`, `sips` and `tel` in lower case; another scheme as it was written.
    pub fn scheme(&self) -> &'a str {
        match self {
            Uri::Sip(uri) if uri.secure => "sips",
            Uri::Sip(_) => "sip",
            Uri::Tel(_) => "tel",
            Uri::Other(uri) => uri.scheme,
        }
    }

    /// The user part of a sip or sips URI, escapes as written.
    pub fn user(&self) -> Option<&'a str> {
        self.as_sip()?.user
    }

    /// The host of a sip or sips URI as written, an IPv6 address with its brackets.
    pub fn host(&self) -> Option<&'a str> {
        Some(self.as_sip()?.host)
    }

    /// The port of a sip or sips URI, if it is written out.
    pub fn port(&self) -> Option<u16> {
        self.as_sip()?.port
    }

    /// The value of a URI parameter of a sip, sips or tel URI, escapes as written; empty for a
    /// parameter without value, such as `lr`. The name is compared without regard to case.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        let parameters = match self {
            Uri::Sip(uri) => uri.parameters,
            Uri::Tel(uri) => uri.parameters,
            Uri::Other(_) => return None,
        };
        find_parameter(parameters, name)
    }

    fn as_sip(&self) -> Option<&SipUri<'a>> {
        match self {
            Uri::Sip(uri) => Some(uri),
            _ => None,
        }
    }
}

impl<'a> SipUri<'a> {
    /// Whether header fields are part of it (`?name=value`).
    pub fn has_headers(&self) -> bool {
        !self.headers.is_empty()
    }

    /// Whether the scheme is `sips`.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    fn parse(text: &'a str, rest: &'a str, secure: bool) -> Result<Self, UriError> {
        // `@` is allowed nowhere else without an escape, so the first one ends the userinfo.
        let (userinfo, rest) = match split_once(rest, b'@') {
            Some((userinfo, rest)) => (Some(userinfo), rest),
            None => (None, rest),
        };
        let (user, password) = match userinfo.map(|text| split_once(text, b':').ok_or(text)) {
            None => (None, None),
            Some(Err(user)) => (Some(user), None),
            Some(Ok((user, password))) => (Some(user), Some(password)),
        };
        if user.is_some_and(|user| user.is_empty() || !is_escaped_text(user, is_user_byte)) {
            return Err(UriError::User);
        }
        if password.is_some_and(|password| !is_escaped_text(password, is_password_byte)) {
            return Err(UriError::Password);
        }

        let (address, headers) = split_tail(rest, b'?');
        let (host_port, parameters) = split_tail(address, b';');
        let host_end = match host_port.starts_with('[') {
            true => host_port.find(']').ok_or(UriError::Host)? + 1,
            false => memchr::memchr(b':', host_port.as_bytes()).unwrap_or(host_port.len()),
        };
        let (host, port) = host_port.split_at(host_end);
        if !is_host(host) {
            return Err(UriError::Host);
        }
        let port = match port.strip_prefix(':') {
            Some(port) => Some(parse_port(port).ok_or(UriError::Port)?),
            None if port.is_empty() => None,
            None => return Err(UriError::Host),
        };

        let parameters = parameters.map_or(Ok(""), |parameters| {
            check_parameters(parameters, is_sip_parameter).map(|()| parameters)
        })?;
        let headers = headers.map_or(Ok(""), |headers| check_headers(headers).map(|()| headers))?;
        Ok(Self {
            text,
            secure,
            user,
            password,
            host,
            port,
            parameters,
            headers,
        })
    }
}

impl<'a> Uri<'a> {
    /// The text without what a Request-URI may not have (RFC 3261 §19.1.1, table 1): header components and `method`.
    pub fn as_request_uri(&self) -> Cow<'a, str> {
        match self {
            Uri::Sip(uri) => uri.as_request_uri(),
            Uri::Tel(_) | Uri::Other(_) => Cow::Borrowed(self.as_str()),
        }
    }
}

impl<'a> SipUri<'a> {
    fn as_request_uri(&self) -> Cow<'a, str> {
        let is_method = |name: &str| names_match(name, "method");
        let has_method = parameters(self.parameters).any(|(name, _)| is_method(name));
        // Both are slices at the end of the text, behind their separator.
        let end = match self.headers {
            "" => self.text.len(),
            headers => self.text.len() - headers.len() - 1,
        };
        if !has_method {
            return Cow::Borrowed(&self.text[..end]);
        }
        let mut text = self.text[..end - self.parameters.len() - 1].to_owned();
        let kept = self.parameters.split(';');
        for parameter in kept.filter(|parameter| !is_method(name_and_value(parameter).0)) {
            text.push(';');
            text.push_str(parameter);
        }
        Cow::Owned(text)
    }
}

impl<'a> TelUri<'a> {
    /// The number as written, with its visual separators and, if it is global, its `+`.
    pub fn number(&self) -> &'a str {
        self.number
    }

    /// Whether the number is a global one, which begins with `+`.
    pub fn is_global(&self) -> bool {
        self.number.starts_with('+')
    }

    fn parse(text: &'a str, rest: &'a str) -> Result<Self, UriError> {
        let (number, parameters) = split_tail(rest, b';');
        let uri = Self {
            text,
            number,
            parameters: parameters.unwrap_or(""),
        };
        if !is_global_number(number) && !is_local_number(number) {
            return Err(UriError::Number);
        }
        if let Some(parameters) = parameters {
            check_parameters(parameters, is_tel_parameter)?;
        }
        if !uri.is_global() && find_parameter(uri.parameters, PHONE_CONTEXT).is_none() {
            return Err(UriError::MissingPhoneContext);
        }
        Ok(uri)
    }
}

impl<'a> OtherUri<'a> {
    /// What follows the scheme and its colon.
    pub fn rest(&self) -> &'a str {
        self.rest
    }

    fn parse(text: &'a str, scheme: &'a str, rest: &'a str) -> Result<Self, UriError> {
        let is_scheme_byte =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            || !scheme.bytes().all(is_scheme_byte)
        {
            return Err(UriError::Scheme);
        }
        // Brackets are for the IPv6 hosts of RFC 3986.
        let is_rest_byte =
            |byte| is_reserved(byte) || is_unreserved(byte) || matches!(byte, b'[' | b']');
        if rest.is_empty() || !is_escaped_text(rest, is_rest_byte) {
            return Err(UriError::Rest);
        }
        Ok(Self { text, scheme, rest })
    }
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

const PHONE_CONTEXT: &str = "phone-context";

/// Compares names of parameters or header components, which may be escaped like all else.
fn names_match(a: &str, b: &str) -> bool {
    components_match(a, b, Case::Insensitive)
}

fn split_tail(text: &str, separator: u8) -> (&str, Option<&str>) {
    match split_once(text, separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// Name and value of each parameter; the value is empty where there is none.
fn parameters(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(';')
        .filter(|parameter| !parameter.is_empty())
        .map(name_and_value)
}

/// Name and value of each header component.
fn headers(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('&')
        .filter(|header| !header.is_empty())
        .map(name_and_value)
}

fn name_and_value(text: &str) -> (&str, &str) {
    split_once(text, b'=').unwrap_or((text, ""))
}

fn find_parameter<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    parameters(text)
        .find(|(candidate, _)| names_match(candidate, name))
        .map(|(_, value)| value)
}

/// Checks a non-empty parameter list; `is_allowed` judges one name with its value.
fn check_parameters(
    text: &str,
    is_allowed: impl Fn(&str, Option<&str>) -> bool,
) -> Result<(), UriError> {
    for (index, parameter) in text.split(';').enumerate() {
        if index == MAX_URI_PARAMETERS {
            return Err(UriError::TooManyParameters);
        }
        let (name, value) = split_tail(parameter, b'=');
        if !is_allowed(name, value) {
            return Err(UriError::Parameter);
        }
        let is_same = |earlier: (&str, &str)| names_match(earlier.0, name);
        if parameters(text).take(index).any(is_same) {
            return Err(UriError::DuplicateParameter);
        }
    }
    Ok(())
}

fn check_headers(text: &str) -> Result<(), UriError> {
    let is_header_byte = |byte: u8| {
        is_unreserved(byte) || matches!(byte, b'[' | b']' | b'/' | b'?' | b':' | b'+' | b'$')
    };
    for (index, header) in text.split('&').enumerate() {
        if index == MAX_URI_HEADERS {
            return Err(UriError::TooManyHeaders);
        }
        let (name, value) = split_once(header, b'=').ok_or(UriError::Header)?;
        if name.is_empty()
            || !is_escaped_text(name, is_header_byte)
            || !is_escaped_text(value, is_header_byte)
        {
            return Err(UriError::Header);
        }
    }
    Ok(())
}

fn is_sip_parameter(name: &str, value: Option<&str>) -> bool {
    let has_form = is_parameter_text(name) && value.is_none_or(is_parameter_text);
    let is = |known| names_match(name, known);
    let has_sense = if is("maddr") {
        value.is_some_and(is_host)
    } else if is("ttl") {
        let is_number = |ttl: &str| ttl.bytes().all(|byte| byte.is_ascii_digit());
        value.is_some_and(|ttl| is_number(ttl) && ttl.parse::<u8>().is_ok())
    } else {
        value.is_some() || !["user", "method", "transport"].into_iter().any(is)
    };
    has_form && has_sense
}

fn is_tel_parameter(name: &str, value: Option<&str>) -> bool {
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_value = if name.eq_ignore_ascii_case(PHONE_CONTEXT) {
        value.is_some_and(|context| is_global_number(context) || is_host_name(context))
    } else if name.eq_ignore_ascii_case("ext") {
        value.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(is_phone_digit))
    } else if name.eq_ignore_ascii_case("isub") {
        let is_uric = |byte| is_reserved(byte) || is_unreserved(byte);
        value.is_some_and(|address| !address.is_empty() && is_escaped_text(address, is_uric))
    } else {
        value.is_none_or(is_parameter_text)
    };
    is_name && is_value
}

/// `1*paramchar`, the same in both RFCs.
fn is_parameter_text(text: &str) -> bool {
    let is_parameter_byte = |byte: u8| {
        is_unreserved(byte) || matches!(byte, b'[' | b']' | b'/' | b':' | b'&' | b'+' | b'$')
    };
    !text.is_empty() && is_escaped_text(text, is_parameter_byte)
}

const fn is_user_byte(byte: u8) -> bool {
    is_password_byte(byte) || matches!(byte, b';' | b'?' | b'/')
}

const fn is_password_byte(byte: u8) -> bool {
    is_unreserved(byte) || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',')
}

fn is_host(text: &str) -> bool {
    // `Ipv4Addr` refuses octets above 255 and leading zeros, which some resolvers read as octal.
    is_host_name(text) || text.parse::<Ipv4Addr>().is_ok() || ipv6_address(text).is_some()
}

/// `hostname`: the last label begins with a letter, so an IPv4 address never is one.
fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let last = name.rsplit('.').next().unwrap_or("");
    last.starts_with(|first: char| first.is_ascii_alphabetic()) && name.split('.').all(is_label)
}

/// The address of an `IPv6reference`, which has brackets.
fn ipv6_address(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

fn parse_port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = if is_number {
        text.parse().ok()?
    } else {
        return None;
    };
    (port != 0).then_some(port)
}

const fn is_visual_separator(byte: u8) -> bool {
    matches!(byte, b'-' | b'.' | b'(' | b')')
}

const fn is_phone_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || is_visual_separator(byte)
}

fn is_global_number(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        digits.bytes().all(is_phone_digit) && digits.bytes().any(|byte| byte.is_ascii_digit())
    })
}

fn is_local_number(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b'*' | b'#');
    text.bytes()
        .all(|byte| is_digit(byte) || is_visual_separator(byte))
        && text.bytes().any(is_digit)
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::test_random::mutate_text;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn rfc3261_19_1_3_examples_parse() {
        for text in [
            "sip:alice@atlanta.com",
            "sip:alice:secretword@atlanta.com;transport=tcp",
            "sips:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:+1-212-555-1212:1234@gateway.com;user=phone",
            "sips:1212@gateway.com",
            "sip:alice@192.0.2.4",
            "sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com",
            "sip:alice;day=tuesday@atlanta.com",
        ] {
            assert_eq!(uri(text).as_str(), text);
        }
    }

    #[test]
    fn components_of_a_sip_uri() {
        let parsed = uri("SIPS:a%40b;x=1:pw@[2001:db8::1]:5061;lr;Transport=tls?to=x&p=");
        assert_eq!(parsed.scheme(), "sips");
        assert_eq!(parsed.user(), Some("a%40b;x=1"));
        assert_eq!(parsed.host(), Some("[2001:db8::1]"));
        assert_eq!(parsed.port(), Some(5061));
        assert_eq!(parsed.param("transport"), Some("tls"));
        assert_eq!(parsed.param("LR"), Some(""));
        assert_eq!(parsed.param("maddr"), None);
        assert!(matches!(parsed, Uri::Sip(sip) if sip.is_secure() && sip.password == Some("pw")));
    }

    #[test]
    fn illegal_sip_uris_are_refused() {
        use UriError::*;
        for (text, error) in [
            ("", Scheme),
            ("alice@example.com", Scheme),
            (":alice", Scheme),
            ("sip:", Host),
            ("sip:@example.com", User),
            ("sip:a b@example.com", User),
            ("sip:a%4@example.com", User),
            ("sip:a@b@example.com", Host),
            ("sip:\u{e9}@example.com", User),
            ("sip:a:b:c@example.com", Password),
            ("sip:a@", Host),
            ("sip:a@-x.com", Host),
            ("sip:a@x..com", Host),
            ("sip:a@example.123", Host),
            ("sip:a@1.2.3.256", Host),
            ("sip:a@01.2.3.4", Host),
            ("sip:a@[::1", Host),
            ("sip:a@[::1%25eth0]", Host),
            ("sip:a@[::1]x", Host),
            ("sip:a@::1", Host),
            ("sip:a@h:", Port),
            ("sip:a@h:0", Port),
            ("sip:a@h:65536", Port),
            ("sip:a@h:+5", Port),
            ("sip:a@h;", Parameter),
            ("sip:a@h;;lr", Parameter),
            ("sip:a@h;=x", Parameter),
            ("sip:a@h;x=", Parameter),
            ("sip:a@h;x=a=b", Parameter),
            ("sip:a@h;maddr=", Parameter),
            ("sip:a@h;maddr=a/b", Parameter),
            ("sip:a@h;ttl=256", Parameter),
            ("sip:a@h;user", Parameter),
            ("sip:a@h;lr;LR", DuplicateParameter),
            ("sip:a@h;lr;%6cr=1", DuplicateParameter),
            ("sip:a@h?", Header),
            ("sip:a@h?x", Header),
            ("sip:a@h?=x", Header),
            ("sip:a@h?a=b&", Header),
            ("sip:a@h?a=b;c", Header),
        ] {
            assert_eq!(Uri::parse(text).err(), Some(error), "{text}");
        }
    }

    #[test]
    fn dangerous_characters_never_pass() {
        for scheme in ["sip:", "sips:", "tel:+1", "im:", "urn:"] {
            for bad in [
                "\r", "\n", "\0", " ", "\t", "<", ">", "\"", "\\", "\u{7f}", "{", "^",
            ] {
                for place in ["a@h", "a@h;p=v", "a@h?n=v"] {
                    for at in 0..=place.len() {
                        let text = format!("{scheme}{}{bad}{}", &place[..at], &place[at..]);
                        assert!(Uri::parse(&text).is_err(), "{text:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn limits_hold() {
        let longest = format!("sip:{}@h", "a".repeat(MAX_URI_BYTES - 6));
        assert!(Uri::parse(&longest).is_ok());
        assert_eq!(
            Uri::parse(&format!("{longest}h")).err(),
            Some(UriError::TooLong)
        );

        let with_parameters =
            |count| (0..count).fold("sip:h".to_string(), |text, n| format!("{text};p{n}"));
        assert!(Uri::parse(&with_parameters(MAX_URI_PARAMETERS)).is_ok());
        assert_eq!(
            Uri::parse(&with_parameters(MAX_URI_PARAMETERS + 1)).err(),
            Some(UriError::TooManyParameters)
        );
        let headers = |count| format!("sip:h?{}", vec!["a=b"; count].join("&"));
        let full = headers(MAX_URI_HEADERS);
        assert!(uri(&full).equivalent(&uri(&full)));
        assert_eq!(
            Uri::parse(&headers(MAX_URI_HEADERS + 1)).err(),
            Some(UriError::TooManyHeaders)
        );
    }

    #[test]
    fn rfc3966_examples_parse() {
        for (text, is_global) in [
            ("tel:+1-201-555-0123", true),
            ("tel:7042;phone-context=example.com", false),
            ("tel:863-1234;phone-context=+1-914-555", false),
            ("tel:+1-201-555-0123;ext=12-3;isub=a@b%20", true),
            ("tel:*69#;phone-context=+1", false),
        ] {
            let Uri::Tel(tel) = uri(text) else {
                panic!("{text}")
            };
            assert_eq!(tel.is_global(), is_global, "{text}");
        }
        assert_eq!(
            uri("TEL:7042;Phone-Context=x.com").param("phone-context"),
            Some("x.com")
        );
        assert!(matches!(uri("tel:+1-2;a"), Uri::Tel(tel) if tel.number() == "+1-2"));
    }

    #[test]
    fn illegal_tel_uris_are_refused() {
        use UriError::*;
        for (text, error) in [
            ("tel:", Number),
            ("tel:+", Number),
            ("tel:+-", Number),
            ("tel:+12a", Number),
            ("tel:()", Number),
            ("tel:12+3", Number),
            ("tel:7042", MissingPhoneContext),
            ("tel:7042;phone-context=", Parameter),
            ("tel:7042;phone-context=a_b", Parameter),
            ("tel:7042;phone-context=+", Parameter),
            ("tel:+1;ext=", Parameter),
            ("tel:+1;ext=a", Parameter),
            ("tel:+1;isub", Parameter),
            ("tel:+1;a_b=c", Parameter),
            ("tel:+1;", Parameter),
            ("tel:+1;a=1;A=2", DuplicateParameter),
        ] {
            assert_eq!(Uri::parse(text).err(), Some(error), "{text}");
        }
    }

    #[test]
    fn a_request_uri_has_neither_method_nor_headers() {
        for (text, expected) in [
            ("sip:a@h", "sip:a@h"),
            ("sip:a@h;x=1?Subject=y", "sip:a@h;x=1"),
            ("sip:a?b;c@h?Subject=y&To=z", "sip:a?b;c@h"),
            ("sip:a@h;method=INVITE", "sip:a@h"),
            ("sip:a@h;x=1;METHOD=BYE;lr;y", "sip:a@h;x=1;lr;y"),
            ("sips:h:5061;%6dethod=BYE;x?a=b", "sips:h:5061;x"),
            ("tel:+1;method=2", "tel:+1;method=2"),
        ] {
            let uri = Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(uri.as_request_uri(), expected);
        }
    }

    #[test]
    fn other_schemes() {
        let parsed = uri("Im:bob@example.com");
        assert_eq!(
            (parsed.scheme(), parsed.user(), parsed.param("x")),
            ("Im", None, None)
        );
        assert!(matches!(parsed, Uri::Other(other) if other.rest() == "bob@example.com"));
        for (text, error) in [
            ("1m:x", UriError::Scheme),
            ("i_m:x", UriError::Scheme),
            ("im:", UriError::Rest),
            ("im:%", UriError::Rest),
            ("http://h/#frag", UriError::Rest),
        ] {
            assert_eq!(Uri::parse(text).err(), Some(error), "{text}");
        }
    }

    #[test]
    fn mutated_uris_never_panic_and_stay_clean() {
        let samples = [
            "sip:a%40b;x=1:pw@[2001:db8::1]:5061;lr;maddr=1.2.3.4;ttl=1?to=x&p=%20",
            "sips:alice@example.com:5061;transport=tls",
            "tel:7042;phone-context=+1-914-555;ext=1;isub=a%20",
            "urn:service:sos",
        ];
        let mut random = Rng::with_seed(0x5151);
        let mut accepted = 0;
        for round in 0..20_000 {
            let text = mutate_text(
                &mut random,
                samples[round % samples.len()],
                b":;@?&=%[]+-.0aZ \r\n<>\"",
            );
            let Ok(parsed) = Uri::parse(&text) else {
                continue;
            };
            accepted += 1;
            assert_eq!(parsed.as_str(), text);
            let is_clean = |byte: u8| byte.is_ascii_graphic() && !b"<>\"\\".contains(&byte);
            assert!(text.bytes().all(is_clean), "{text:?}");
            assert!(parsed.equivalent(&parsed), "{text}");
            let sample = uri(samples[round % samples.len()]);
            if parsed.equivalent(&sample) {
                assert_eq!(parsed.comparison_key(9), sample.comparison_key(9), "{text}");
            }
        }
        assert!(accepted > 1_000, "only {accepted} mutants parsed");
    }
}
