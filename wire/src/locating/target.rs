//! What is looked up, and results.

use std::net::{IpAddr, SocketAddr};

use crate::dns::{Kind, Question};
use crate::sip::{PlainUri, Transport, Uri};

/// How a target may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// SIP, over whatever the domain prefers; UDP if it states nothing.
    Any,
    /// SIP, for a request too large for a datagram: like [`Any`](Self::Any), but connections first.
    /// If the domain states nothing, over TCP, and finally over UDP (RFC 3261 §18.1.1).
    Large,
    /// SIP over this transport, if the domain states that it supports it.
    Over(Transport),
    /// SIP over this transport, because the URI names it: NAPTR records are not asked for (RFC 3263
    /// §4.1).
    Only(Transport),
    /// Not SIP: only the host's addresses matter.
    Host,
}

impl Wanted {
    /// Transports for which the domain's services are asked for if no NAPTR record names any.
    pub(super) fn services(&self) -> &[Transport] {
        match self {
            Wanted::Any => &[Transport::Udp, Transport::Tcp, Transport::Tls],
            Wanted::Large => &[Transport::Tcp, Transport::Udp, Transport::Tls],
            Wanted::Over(only) | Wanted::Only(only) => std::slice::from_ref(only),
            Wanted::Host => &[],
        }
    }

    /// Transports over which the host itself is tried if it has no such services.
    fn fallback(&self) -> &[Transport] {
        match self {
            Wanted::Any => &[Transport::Udp],
            Wanted::Large => &[Transport::Tcp, Transport::Udp],
            Wanted::Over(only) | Wanted::Only(only) => std::slice::from_ref(only),
            Wanted::Host => &[Transport::Tcp],
        }
    }

    /// Whether the service named by a NAPTR record is a wanted one.
    pub(super) fn takes(&self, transport: Transport) -> bool {
        match self {
            Wanted::Over(only) | Wanted::Only(only) => *only == transport,
            _ => true,
        }
    }
}

/// Location of a service: a host, whose addresses are looked up separately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// TCP if it is not for SIP.
    pub transport: Transport,
    /// Name or IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Server {
    /// A host for which nothing is asked, or that states nothing: over each wanted transport.
    pub fn itself(host: &str, port: Option<u16>, wanted: &Wanted) -> Vec<Self> {
        let transports = wanted.fallback().iter();
        let server = |transport: &Transport| Server {
            transport: *transport,
            host: host.to_owned(),
            port: port.unwrap_or(transport.default_port()),
        };
        transports.map(server).collect()
    }
}

/// A name to reach.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    host: String,
    port: Option<u16>,
    wanted: Wanted,
}

/// A place where a target can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// TCP if it is not for SIP.
    pub transport: Transport,
    /// Including the port.
    pub address: SocketAddr,
}

/// The next hop of a SIP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Nothing to look up: an IP address, or a scheme other than SIP.
    Numeric,
    /// The IP address in its `maddr`, which overrides its host.
    Known(Place),
    /// A name.
    Named(Target),
    /// A name that cannot be asked for in DNS.
    Impossible,
}

impl Hop {
    /// The next hop named by the text of a URI. Called for each copy of a message.
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

    /// The next hop named by a SIP URI, by its `maddr` if it has one (RFC 3263 §4).
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
        let is_secure = uri.scheme().eq_ignore_ascii_case("sips");
        let transport = uri.param("transport");
        let wanted = match (transport.map(Transport::of_parameter), is_secure) {
            (None, true) => Wanted::Over(Transport::Tls),
            (Some(_), true) => Wanted::Only(Transport::Tls),
            (None, false) => Wanted::Any,
            (Some(Some(transport)), false) => Wanted::Only(transport),
            (Some(None), false) => return Hop::Impossible,
        };
        if let Some(address) = address {
            let transport = wanted.fallback()[0];
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
    /// `None`: it cannot be asked for in DNS.
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
