//! Parsing of parameter values, and reasons for refusal.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use super::group_uris::NotAPattern;
use super::isf_codes::NotAFailureCode;
use super::trusted_peers::PeerError;
use crate::sdp::Transport;
use crate::sip::Uri;

/// The value for no folder, and for no store.
pub(super) const NONE: &str = "none";

/// Why a parameter cannot have a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParameterError {
    /// There is no parameter of this name.
    Unknown,
    /// Not a sip: or sips: URI.
    NotASipUri,
    /// A repeatable parameter already has this many values, which is the limit.
    TooMany(usize),
    /// Not an IP address, with or without a port.
    NotAServer,
    /// Neither yes nor no.
    NotYesOrNo,
    /// Not a number, or one out of range.
    OutOfRange {
        /// Smallest value.
        min: usize,
        /// Largest value.
        max: usize,
        /// Whether 0 is a value too.
        or_zero: bool,
    },
    /// None of the words that the parameter knows.
    NotOneOf(Vec<&'static str>),
    /// Not a trusted peer.
    Peer(PeerError),
    /// Not a list of failure codes.
    Codes(NotAFailureCode),
    /// Not a list of products.
    NotProducts,
    /// Not a list of header field names.
    NotHeaderNames,
    /// Not an address pattern.
    Pattern(NotAPattern),
    /// Not the URL of a group source.
    NotASource,
    /// Neither an absolute path nor the word for no directory.
    NotAStateDir,
    /// Neither `file:` with an absolute path, nor the URL of a server, nor the word for no store.
    NotAStore,
    /// Not a schedule of attempts.
    NotASchedule,
    /// Empty.
    Empty,
    /// Not a host name or address.
    NotAHost,
    /// Not a release such as 2.2.
    NotARelease,
    /// Not an MSRP listener.
    Listener(ListenerError),
}

impl fmt::Display for ParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParameterError::Unknown => f.write_str("is not a parameter"),
            ParameterError::NotASipUri => f.write_str("is not a sip: or sips: URI"),
            ParameterError::TooMany(limit) => write!(f, "exceeds the limit of {limit} values"),
            ParameterError::NotAServer => f.write_str("is not ADDRESS or ADDRESS:PORT"),
            ParameterError::NotYesOrNo => f.write_str("is neither yes (1) nor no (0)"),
            ParameterError::OutOfRange { min, max, or_zero } => {
                let zero = if *or_zero && *min > 0 { ", or 0" } else { "" };
                write!(f, "is not a number from {min} to {max}{zero}")
            }
            ParameterError::NotOneOf(words) => {
                write!(f, "is none of: {}", words.join(", "))
            }
            ParameterError::Peer(error) => error.fmt(f),
            ParameterError::Codes(error) => error.fmt(f),
            ParameterError::NotProducts => f.write_str("is not a list of product[/version]"),
            ParameterError::NotHeaderNames => f.write_str("is not a list of header field names"),
            ParameterError::Pattern(error) => error.fmt(f),
            ParameterError::NotASource => f.write_str("is none of dir:PATH, xcap:URL, db:URL"),
            ParameterError::NotAStateDir => f.write_str("is neither an absolute path nor none"),
            ParameterError::NotAStore => f.write_str("is none of file:/DIRECTORY, redis://HOST[:PORT][/DB], rediss://HOST[:PORT][/DB], none"),
            ParameterError::NotASchedule => {
                f.write_str("is not a list of at most 32 numbers of seconds, each from 1 to 604800")
            }
            ParameterError::Empty => f.write_str("is empty"),
            ParameterError::NotAHost => f.write_str("is not a host name or IP address"),
            ParameterError::NotARelease => f.write_str("is not a release such as 2.2"),
            ParameterError::Listener(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ParameterError {}

/// A value for the log: a URL without its user and password.
pub fn without_credentials(value: &str) -> Cow<'_, str> {
    let (Some(start), Some(end)) = (value.find("//"), value.rfind('@')) else {
        return value.into();
    };
    match value.get(start + 2..end) {
        Some(_) => format!("{}{}", &value[..start + 2], &value[end + 1..]).into(),
        None => value.into(),
    }
}

/// The SIP URI of a server that requests are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUri {
    text: String,
    loose_routing: bool,
}

impl ServiceUri {
    pub(super) fn parse(text: &str) -> Result<Self, ParameterError> {
        let uri = sip_uri(text)?;
        Ok(ServiceUri {
            loose_routing: uri.param("lr").is_some(),
            text: text.to_owned(),
        })
    }

    /// The URI as configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it has the `lr` parameter: then it must be written as a Route header field (RFC 3261
    /// §16.6).
    pub fn loose_routing(&self) -> bool {
        self.loose_routing
    }
}

/// A product that may appear in a User-Agent header field (RFC 3261 §20.41).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    name: String,
    version: Option<String>,
}

impl Product {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, version) = match text.split_once('/') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let token = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        (token(name) && version.is_none_or(token)).then(|| Product {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        })
    }

    /// Whether a product token of a User-Agent matches. A version matches itself and every version
    /// below it: `OMA2` matches `OMA2` and `OMA2.1`, not `OMA21`.
    pub fn matches(&self, name: &str, version: Option<&str>) -> bool {
        self.name.eq_ignore_ascii_case(name)
            && self.version.as_deref().is_none_or(|required| {
                version
                    .and_then(|version| version.strip_prefix(required))
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
    }
}

/// An address that accepts MSRP connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsrpListener {
    /// Plain TCP or TLS.
    pub transport: Transport,
    /// IP address and port, which is not 0.
    pub address: SocketAddr,
}

/// A text is not an MSRP listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerError;

impl fmt::Display for ListenerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is not tcp:ADDRESS:PORT or tls:ADDRESS:PORT with an IP address")
    }
}

impl std::error::Error for ListenerError {}

impl MsrpListener {
    pub(super) fn parse(text: &str) -> Result<Self, ParameterError> {
        let listener = text.split_once(':').and_then(|(transport, address)| {
            let transport = match transport {
                "tcp" => Transport::Tcp,
                "tls" => Transport::Tls,
                _ => return None,
            };
            let address: SocketAddr = address.parse().ok()?;
            (address.port() != 0).then_some(MsrpListener { transport, address })
        });
        listener.ok_or(ParameterError::Listener(ListenerError))
    }
}

pub(super) fn yes_or_no(text: &str) -> Result<bool, ParameterError> {
    match text {
        "yes" | "1" => Ok(true),
        "no" | "0" => Ok(false),
        _ => Err(ParameterError::NotYesOrNo),
    }
}

pub(super) fn sip_uri(text: &str) -> Result<Uri<'_>, ParameterError> {
    match Uri::parse(text) {
        Ok(uri @ Uri::Sip(_)) => Ok(uri),
        _ => Err(ParameterError::NotASipUri),
    }
}

/// Any text except the empty one.
pub(super) fn some_text(text: &str) -> Result<Option<String>, ParameterError> {
    if text.is_empty() {
        return Err(ParameterError::Empty);
    }
    Ok(Some(text.to_owned()))
}

/// Text that starts with one of these prefixes and continues after it.
pub(super) fn group_source(text: &str) -> Result<String, ParameterError> {
    let is_known = ["dir:", "xcap:", "db:"]
        .iter()
        .any(|kind| text.starts_with(kind) && text.len() > kind.len());
    is_known
        .then(|| text.to_owned())
        .ok_or(ParameterError::NotASource)
}

pub(super) fn products(text: &str) -> Result<Vec<Product>, ParameterError> {
    let products: Option<_> = text.split_whitespace().map(Product::parse).collect();
    products.ok_or(ParameterError::NotProducts)
}

/// Names separated by commas or spaces.
pub(super) fn header_names(text: &str) -> Result<Vec<String>, ParameterError> {
    let is_name = |name: &str| {
        name.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
    };
    let names = text.split([' ', ',']).filter(|name| !name.is_empty());
    names
        .map(|name| is_name(name).then(|| name.to_owned()))
        .collect::<Option<_>>()
        .ok_or(ParameterError::NotHeaderNames)
}

pub(super) fn host(text: &str) -> Result<Option<String>, ParameterError> {
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    if text.is_empty() || !text.bytes().all(is_host) {
        return Err(ParameterError::NotAHost);
    }
    Ok(Some(text.to_owned()))
}

pub(super) fn release(text: &str) -> Result<String, ParameterError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(ParameterError::NotARelease);
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners() {
        let listener = |text: &str| {
            MsrpListener::parse(text)
                .ok()
                .map(|l| l.address.to_string())
        };
        assert_eq!(
            listener("tcp:192.0.2.1:2855").as_deref(),
            Some("192.0.2.1:2855")
        );
        assert_eq!(
            listener("tls:[2001:db8::1]:2856").as_deref(),
            Some("[2001:db8::1]:2856")
        );
        for bad in [
            "",
            "tcp",
            "udp:192.0.2.1:1",
            "tcp:host:1",
            "tcp:192.0.2.1:0",
            "tcp:192.0.2.1",
        ] {
            assert_eq!(listener(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_product_matches_its_versions() {
        let product = Product::parse("CPM-client/OMA2").unwrap();
        assert!(product.matches("cpm-client", Some("OMA2")));
        assert!(product.matches("CPM-client", Some("OMA2.1")));
        assert!(!product.matches("CPM-client", Some("OMA21")));
        assert!(!product.matches("CPM-client", None));
        assert!(!product.matches("IM-client", Some("OMA2")));
        assert!(
            Product::parse("CPM-client")
                .unwrap()
                .matches("CPM-client", Some("OMA1.0"))
        );
    }
}
