//! The address of the server.

use std::fmt;

use cpm_client::{SipTransport, Way};
use cpm_wire::locating::Wanted;
use cpm_wire::sip::Uri;

use super::dns::NameServers;
use super::race::addresses;

/// A server as the user names it: `HOST`, `HOST:PORT` or a SIP URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// Name or IP address, without brackets.
    pub(crate) host: String,
    port: Option<u16>,
    /// The transport in the URI.
    pub(crate) transport: Option<SipTransport>,
}

/// Text that is not a server.
#[derive(Debug)]
pub(crate) struct NoServerError(String);

impl Server {
    /// Parses the user's input.
    pub(crate) fn parse(text: &str) -> Result<Self, NoServerError> {
        let error = || NoServerError(text.to_owned());
        let uri = match text.split_once(':') {
            Some(("sip" | "sips", _)) => text.to_owned(),
            _ => format!("sip:{text}"),
        };
        let uri = Uri::parse(&uri).map_err(|_| error())?;
        Self::of_uri(&uri).ok_or_else(error)
    }

    /// The destination of a SIP URI.
    pub(crate) fn of_uri(uri: &Uri<'_>) -> Option<Self> {
        let named = uri.param("transport").and_then(SipTransport::of_parameter);
        let is_secure = uri.scheme().eq_ignore_ascii_case("sips");
        let transport = named.or(is_secure.then_some(SipTransport::Tls));
        let host = uri.host()?;
        Some(Self {
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: uri.port(),
            transport,
        })
    }

    /// The routes to it, best first, at least one (RFC 3263 §4). Those of one group are the
    /// addresses of one connection-oriented target, which are tried in parallel.
    pub(crate) fn ways(
        &self,
        wanted: Wanted,
        name_servers: &NameServers,
    ) -> Result<Vec<Vec<Way>>, String> {
        let mut groups = Vec::new();
        let mut failure = format!("{} offers no such service", self.host);
        for place in name_servers.servers(&self.host, self.port, wanted) {
            let way = |address| Way {
                transport: place.transport,
                address,
            };
            match addresses(&place.host, place.port) {
                Ok(found) if place.transport.is_reliable() => {
                    groups.push(found.into_iter().map(way).collect());
                }
                Ok(found) => groups.extend(found.into_iter().map(|address| vec![way(address)])),
                Err(words) => failure = words,
            }
        }
        match groups.is_empty() {
            true => Err(failure),
            false => Ok(groups),
        }
    }
}

impl fmt::Display for NoServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no server: {} (HOST, HOST:PORT or a sip: URI)", self.0)
    }
}

impl std::error::Error for NoServerError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_in_each_form() {
        let server = |text| {
            let server = Server::parse(text).unwrap();
            (server.host, server.port, server.transport)
        };
        assert_eq!(server("example.com"), ("example.com".into(), None, None));
        assert_eq!(
            server("127.0.0.1:5070"),
            ("127.0.0.1".into(), Some(5070), None)
        );
        assert_eq!(server("[::1]:5070"), ("::1".into(), Some(5070), None));
        let tcp = Some(SipTransport::Tcp);
        assert_eq!(server("sip:a.b;transport=TCP"), ("a.b".into(), None, tcp));
        assert_eq!(
            server("sips:a.b:9"),
            ("a.b".into(), Some(9), Some(SipTransport::Tls))
        );
        assert!(Server::parse("a b").is_err() && Server::parse("").is_err());
    }
}
