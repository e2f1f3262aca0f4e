//! What is looked up, and what is found.

use std::net::{IpAddr, SocketAddr};

use super::question::{Kind, Question};
use crate::sip::{PlainUri, Uri};

/// What may carry SIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A connection.
    Tcp,
    /// A connection with TLS.
    Tls,
}

impl Transport {
    /// The port where nobody names another (RFC 3261 §19.1.2).
    pub(super) fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
        }
    }

    /// What the name of its SRV records begins with (RFC 3263 §4.1).
    pub(super) fn service(self) -> &'static str {
        match self {
            Transport::Udp => "_sip._udp",
            Transport::Tcp => "_sip._tcp",
            Transport::Tls => "_sips._tcp",
        }
    }
}

/// How a target may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// SIP, by whatever the domain prefers.
    Any,
    /// SIP by this.
    Only(Transport),
    /// Something else than SIP: nothing counts but the host's addresses.
    Host,
}

/// A name that somebody has to get to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    host: String,
    port: Option<u16>,
    wanted: Wanted,
}

/// Where a target can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// TCP where it is not about SIP.
    pub transport: Transport,
    /// With the port.
    pub address: SocketAddr,
}

/// What the next hop of a SIP request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// There is nothing to be looked up: an IP address, or a scheme that is not SIP.
    Numeric,
    /// The IP address of its `maddr`, whatever its host says.
    Known(Place),
    /// A name.
    Named(Target),
    /// What no name server can be asked for.
    Impossible,
}

impl Hop {
    /// The next hop that the text of a URI names. Asked for each copy of a message.
    pub fn of_text(uri: &str) -> Self {
        match PlainUri::read(uri) {
            None => Uri::parse(uri).map_or(Hop::Impossible, |uri| Hop::of_uri(&uri)),
            Some(uri) if uri.address.is_some() => Hop::Numeric,
            Some(uri) => {
                let target = Target::new(uri.host, uri.port, Wanted::Any);
                target.map_or(Hop::Impossible, Hop::Named)
            }
        }
    }

    /// The next hop that a SIP URI names, by its `maddr` where there is one (RFC 3263 §4).
    pub fn of_uri(uri: &Uri<'_>) -> Self {
        let Uri::Sip(_) = uri else {
            return Hop::Numeric;
        };
        let maddr = uri.param("maddr");
        let Some(host) = maddr.or(uri.host()) else {
            return Hop::Impossible;
        };
        let address = address_in(host);
        if address.is_some() && maddr.is_none() {
            return Hop::Numeric;
        }
        let transport = uri.param("transport").map(str::to_ascii_lowercase);
        let wanted = match transport.as_deref() {
            _ if uri.scheme().eq_ignore_ascii_case("sips") => Wanted::Only(Transport::Tls),
            Some("udp") => Wanted::Only(Transport::Udp),
            Some("tcp") => Wanted::Only(Transport::Tcp),
            Some("tls") => Wanted::Only(Transport::Tls),
            None => Wanted::Any,
            Some(_) => return Hop::Impossible,
        };
        if let Some(address) = address {
            let transport = match wanted {
                Wanted::Only(transport) => transport,
                _ => Transport::Udp,
            };
            let port = uri.port().unwrap_or(transport.default_port());
            return Hop::Known(Place {
                transport,
                address: SocketAddr::new(address, port),
            });
        }
        match Target::new(host, uri.port(), wanted) {
            Some(target) => Hop::Named(target),
            None => Hop::Impossible,
        }
    }
}

impl Target {
    /// `None`: no name server could be asked for it.
    pub fn new(host: &str, port: Option<u16>, wanted: Wanted) -> Option<Self> {
        let question = Question::new(host, Kind::A)?;
        Some(Target {
            host: question.name,
            port,
            wanted,
        })
    }

    /// The name, in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> Option<u16> {
        self.port
    }

    pub(super) fn wanted(&self) -> &Wanted {
        &self.wanted
    }
}

fn address_in(host: &str) -> Option<IpAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok()
}
