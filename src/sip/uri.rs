//! URIs: `sip` and `sips` (RFC 3261 §19.1), `tel` (RFC 3966), and any other absolute URI.
//!
//! A [`Uri`] borrows the text that it was parsed from. Only the characters of the grammar pass, so a
//! parsed URI holds no CR, LF, NUL, space, quote or angle bracket and can be written into a message
//! as it is.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::grammar::{is_escaped_text, is_reserved, is_unreserved, split_once, unescape};

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

    /// Whether both name the same resource: RFC 3261 §19.1.4 for sip and sips, RFC 3966 §4 for tel;
    /// for others the scheme without regard to case and the rest byte by byte.
    ///
    /// The relation of §19.1.4 is not transitive: parameters that it ignores when one side lacks them
    /// still have to match when both have them.
    pub fn equivalent(&self, other: &Uri<'_>) -> bool {
        match (self, other) {
            (Uri::Sip(a), Uri::Sip(b)) => a.equivalent(b),
            (Uri::Tel(a), Uri::Tel(b)) => a.equivalent(b),
            (Uri::Other(a), Uri::Other(b)) => {
                a.scheme.eq_ignore_ascii_case(b.scheme) && a.rest == b.rest
            }
            _ => false,
        }
    }

    /// A hash that is the same for [equivalent](Self::equivalent) URIs under the same seed.
    ///
    /// It covers scheme, user, host and port, or the digits of the number. With a random seed that
    /// peers do not learn, they cannot aim at collisions.
    pub fn comparison_key(&self, seed: u64) -> u64 {
        let mut hasher = KeyHasher::new(seed);
        match self {
            Uri::Sip(uri) => uri.hash_comparable(&mut hasher),
            Uri::Tel(uri) => {
                hasher.push(b't');
                for digit in number_digits(uri.number) {
                    hasher.push(digit);
                }
            }
            Uri::Other(uri) => {
                hasher.push(b'o');
                hasher.push_lower(uri.scheme);
                hasher.push(b':');
                hasher.push_all(uri.rest.as_bytes());
            }
        }
        hasher.finish()
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

    fn equivalent(&self, other: &SipUri<'_>) -> bool {
        self.secure == other.secure
            && self.port == other.port
            && optional_components_match(self.user, other.user, Case::Sensitive)
            && optional_components_match(self.password, other.password, Case::Sensitive)
            && hosts_match(self.host, other.host)
            && self.parameters_match(other)
            && self.headers_match(other)
    }

    fn parameters_match(&self, other: &SipUri<'_>) -> bool {
        let agree = |(name, value): (&str, &str), there: &str| {
            let is = |known| names_match(name, known);
            match find_parameter(there, name) {
                // Method names are case-sensitive (RFC 3261 §7.1).
                Some(theirs) if is("method") => components_match(value, theirs, Case::Sensitive),
                Some(theirs) if is("maddr") => hosts_match(value, theirs),
                Some(theirs) => components_match(value, theirs, Case::Insensitive),
                None => !COUNTS_WHEN_ABSENT.into_iter().any(is),
            }
        };
        parameters(self.parameters).all(|parameter| agree(parameter, other.parameters))
            && parameters(other.parameters).all(|parameter| agree(parameter, self.parameters))
    }

    /// Header components match one to one in any order. Values are compared case-sensitively: which
    /// of their characters are not depends on the header field, and of the two possible mistakes a
    /// missed match is harmless where a false one would lose a recipient.
    fn headers_match(&self, other: &SipUri<'_>) -> bool {
        const _: () = assert!(MAX_URI_HEADERS <= u32::BITS as usize);
        let mut taken = 0_u32;
        let all_found = headers(self.headers).all(|(name, value)| {
            let partner = headers(other.headers)
                .enumerate()
                .position(|(index, theirs)| {
                    taken & (1 << index) == 0
                        && names_match(name, theirs.0)
                        && components_match(value, theirs.1, Case::Sensitive)
                });
            partner.inspect(|index| taken |= 1 << index).is_some()
        });
        all_found && headers(other.headers).count() == taken.count_ones() as usize
    }

    fn hash_comparable(&self, hasher: &mut KeyHasher) {
        hasher.push(if self.secure { b'S' } else { b's' });
        if let Some(user) = self.user {
            for character in unescape(user.bytes()) {
                hasher.push_all(&character.to_ne_bytes());
            }
            hasher.push_all(&u16::from(b'@').to_ne_bytes());
        }
        match ipv6_address(self.host) {
            Some(address) => hasher.push_all(&address.octets()),
            None => hasher.push_lower(self.host),
        }
        hasher.push_all(&self.port.map_or(u32::MAX, u32::from).to_ne_bytes());
    }
}

/// SipHash over bytes that come one by one. It is handed whole blocks, since it is slow on single bytes.
struct KeyHasher {
    hasher: DefaultHasher,
    block: [u8; 64],
    used: usize,
}

impl KeyHasher {
    fn new(seed: u64) -> Self {
        // The key of this SipHash is public; the secret seed as its first block makes the state unknown.
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(seed);
        Self {
            hasher,
            block: [0; 64],
            used: 0,
        }
    }

    fn push(&mut self, byte: u8) {
        if self.used == self.block.len() {
            self.hasher.write(&self.block);
            self.used = 0;
        }
        self.block[self.used] = byte;
        self.used += 1;
    }

    fn push_all(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.push(byte);
        }
    }

    fn push_lower(&mut self, text: &str) {
        for byte in text.bytes() {
            self.push(byte.to_ascii_lowercase());
        }
    }

    fn finish(mut self) -> u64 {
        self.hasher.write(&self.block[..self.used]);
        self.hasher.finish()
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

    fn equivalent(&self, other: &TelUri<'_>) -> bool {
        let same_value = |name: &str, ours: &str, theirs: &str| {
            let is_number = name.eq_ignore_ascii_case("ext")
                || (name.eq_ignore_ascii_case(PHONE_CONTEXT) && ours.starts_with('+'));
            match is_number {
                true => number_digits(ours).eq(number_digits(theirs)),
                false => components_match(ours, theirs, Case::Insensitive),
            }
        };
        number_digits(self.number).eq(number_digits(other.number))
            && parameters(self.parameters).count() == parameters(other.parameters).count()
            && parameters(self.parameters).all(|(name, ours)| {
                find_parameter(other.parameters, name)
                    .is_some_and(|theirs| same_value(name, ours, theirs))
            })
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

/// Parameters of a sip URI that make two URIs differ when only one has them (§19.1.4: the first four
/// by rule, `transport` by example, since the URIs can resolve to different transports).
const COUNTS_WHEN_ABSENT: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

const PHONE_CONTEXT: &str = "phone-context";

#[derive(Clone, Copy)]
enum Case {
    Sensitive,
    Insensitive,
}

/// Compares two components with their escapes resolved (§19.1.4).
fn components_match(a: &str, b: &str, case: Case) -> bool {
    match case {
        Case::Sensitive => unescape(a.bytes()).eq(unescape(b.bytes())),
        Case::Insensitive => {
            let fold = |character: u16| match u8::try_from(character) {
                Ok(byte) => u16::from(byte.to_ascii_lowercase()),
                Err(_) => character,
            };
            unescape(a.bytes())
                .map(fold)
                .eq(unescape(b.bytes()).map(fold))
        }
    }
}

/// Compares names of parameters or header components, which may be escaped like all else.
fn names_match(a: &str, b: &str) -> bool {
    components_match(a, b, Case::Insensitive)
}

fn optional_components_match(a: Option<&str>, b: Option<&str>, case: Case) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => components_match(a, b, case),
        _ => false,
    }
}

/// Host names without regard to case, IPv6 addresses by value (RFC 5954 §4.2).
fn hosts_match(a: &str, b: &str) -> bool {
    match (ipv6_address(a), ipv6_address(b)) {
        (None, None) => a.eq_ignore_ascii_case(b),
        (a, b) => a == b,
    }
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

/// The number as compared: without visual separators, hexadecimal digits in lower case.
fn number_digits(number: &str) -> impl Iterator<Item = u8> {
    number
        .bytes()
        .filter(|&byte| !is_visual_separator(byte))
        .map(|byte| byte.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::super::test_random::XorShift;
    use super::*;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// Checks both directions, and that equivalent URIs have one key.
    fn equivalent(a: &str, b: &str) -> bool {
        let (a, b) = (uri(a), uri(b));
        let verdict = a.equivalent(&b);
        assert_eq!(verdict, b.equivalent(&a), "{a:?} {b:?}");
        assert!(a.equivalent(&a) && b.equivalent(&b));
        if verdict {
            assert_eq!(a.comparison_key(7), b.comparison_key(7), "{a:?} {b:?}");
        }
        verdict
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
        assert!(equivalent(&full, &full));
        assert_eq!(
            Uri::parse(&headers(MAX_URI_HEADERS + 1)).err(),
            Some(UriError::TooManyHeaders)
        );
    }

    #[test]
    fn rfc3261_19_1_4_equivalent_examples() {
        for set in [
            &[
                "sip:%61lice@atlanta.com;transport=TCP",
                "sip:alice@AtLanTa.CoM;Transport=tcp",
            ][..],
            &["sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"],
            &["sip:carol@chicago.com", "sip:carol@chicago.com;security=on"],
            &[
                "sip:carol@chicago.com;newparam=5",
                "sip:carol@chicago.com;security=on",
            ],
            &[
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ],
            &[
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ],
        ] {
            assert!(equivalent(set[0], set[1]), "{set:?}");
        }
    }

    #[test]
    fn rfc3261_19_1_4_different_examples() {
        for (a, b) in [
            (
                "SIP:ALICE@AtLanTa.CoM;Transport=udp",
                "sip:alice@AtLanTa.CoM;Transport=UDP",
            ),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            (
                "sip:bob@biloxi.com",
                "sip:bob@biloxi.com:6000;transport=tcp",
            ),
            (
                "sip:carol@chicago.com",
                "sip:carol@chicago.com?Subject=next%20meeting",
            ),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            // Equality is not transitive: both equal sip:carol@chicago.com.
            (
                "sip:carol@chicago.com;security=on",
                "sip:carol@chicago.com;security=off",
            ),
        ] {
            assert!(!equivalent(a, b), "{a} {b}");
        }
    }

    #[test]
    fn further_rules_of_19_1_4() {
        assert!(equivalent("sip:a%2db@h", "sip:a-b@h"));
        assert!(equivalent("sip:a%2Db@h", "sip:a%2db@h"));
        assert!(
            !equivalent("sip:a%3Bb@h", "sip:a;b@h"),
            "reserved differs from its escape"
        );
        assert!(!equivalent("sip:a%2Bb@h", "sip:a+b@h"));
        assert!(equivalent("sip:a@h:5060", "sip:a@h:05060"));
        assert!(
            equivalent("sip:a@[2001:DB8::1]", "sip:a@[2001:db8:0::1]"),
            "RFC 5954 §4.2"
        );
        assert!(equivalent("sip:a@h;x=%41", "sip:a@h;X=a"));
        assert!(equivalent("sip:a@h;maddr=[::1]", "sip:a@h;MADDR=[0::1]"));
        for (a, b) in [
            ("sip:a@h", "sips:a@h"),
            ("sip:h", "sip:a@h"),
            ("sip:a@h", "sip:a:@h"),
            ("sip:a:b@h", "sip:a:B@h"),
            ("sip:a@h;user=phone", "sip:a@h"),
            ("sip:a@h;ttl=1", "sip:a@h"),
            ("sip:a@h;maddr=1.2.3.4", "sip:a@h"),
            ("sip:a@h;%75ser=ip", "sip:a@h"),
            ("sip:a@h;method=INVITE", "sip:a@h;method=invite"),
            ("sip:a@h;m%65thod=INVITE", "sip:a@h;method=invite"),
            ("sip:a@h;lr", "sip:a@h;lr=on"),
            ("sip:h?a=b&a=b", "sip:h?a=b"),
            ("sip:h?a=b&a=c", "sip:h?a=b&a=b"),
            ("sip:+123@h;user=phone", "tel:+123"),
        ] {
            assert!(!equivalent(a, b), "{a} {b}");
        }
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
    fn rfc3966_4_comparison() {
        assert!(equivalent("tel:+1-201-555-0123", "TEL:+1(201)555.0123"));
        assert!(equivalent("tel:+1;a=x;b=y", "tel:+1;B=Y;A=X"));
        assert!(equivalent(
            "tel:aB;phone-context=X.com",
            "tel:Ab;phone-context=x.COM"
        ));
        assert!(equivalent(
            "tel:7;phone-context=+1-914",
            "tel:7;phone-context=+1914"
        ));
        assert!(equivalent("tel:+1;ext=1-2", "tel:+1;ext=12"));
        for (a, b) in [
            ("tel:+1201", "tel:1201;phone-context=+1"),
            ("tel:+1", "tel:+1;a"),
            ("tel:+1;a", "tel:+1;b"),
            ("tel:+1;a=x-y", "tel:+1;a=xy"),
            ("tel:7;phone-context=a-b.com", "tel:7;phone-context=ab.com"),
            ("tel:7;phone-context=a.com", "tel:7;phone-context=b.com"),
        ] {
            assert!(!equivalent(a, b), "{a} {b}");
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
        assert!(equivalent("im:bob@example.com", "IM:bob@example.com"));
        assert!(!equivalent("im:bob@example.com", "im:bob@EXAMPLE.com"));
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
    fn keys_depend_on_seed_and_on_what_they_cover() {
        let key = |text, seed| uri(text).comparison_key(seed);
        assert_ne!(key("sip:a@h", 1), key("sip:a@h", 2));
        let texts = [
            "sip:a@h",
            "sips:a@h",
            "sip:b@h",
            "sip:a@i",
            "sip:a@h:5060",
            "sip:h",
            "sip:a%40h@h",
            "tel:+1",
            "tel:+2",
            "im:a@h",
            "im:b@h",
            "pres:a@h",
        ];
        for (index, a) in texts.iter().enumerate() {
            for b in &texts[index + 1..] {
                assert_ne!(key(a, 1), key(b, 1), "{a} {b}");
            }
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
        let mut random = XorShift::new(0x5151);
        let mut accepted = 0;
        for round in 0..20_000 {
            let text =
                random.mutate_text(samples[round % samples.len()], b":;@?&=%[]+-.0aZ \r\n<>\"");
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
