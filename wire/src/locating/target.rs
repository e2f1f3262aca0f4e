//! What is looked up, and what is found.

use std::net::{IpAddr, SocketAddr};

use crate::dns::{Kind, Question};
use crate::sip::{PlainUri, Transport, Uri};

/// How a target may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// SIP, by whatever the domain prefers; where it says nothing, over UDP.
    Any,
    /// SIP, for what is too large for a datagram: as [`Any`](Self::Any), connections first. Where
    /// the domain says nothing, over TCP, and over UDP after all (RFC 3261 §18.1.1).
    Large,
    /// SIP over this, where the domain says that it has it.
    Over(Transport),
    /// SIP over this, since the URI names it: NAPTR records are not asked for (RFC 3263 §4.1).
    Only(Transport),
    /// Something else than SIP: nothing counts but the host's addresses.
    Host,
}

impl Wanted {
    /// By which transports the domain is asked for its services, where no NAPTR record names them.
    pub(super) fn services(&self) -> &[Transport] {
        match self {
            Wanted::Any => &[Transport::Udp, Transport::Tcp, Transport::Tls],
            Wanted::Large => &[Transport::Tcp, Transport::Udp, Transport::Tls],
            Wanted::Over(only) | Wanted::Only(only) => std::slice::from_ref(only),
            Wanted::Host => &[],
        }
    }

    /// By which transports the host itself is tried, where it has no such services.
    fn fallback(&self) -> &[Transport] {
        match self {
            Wanted::Any => &[Transport::Udp],
            Wanted::Large => &[Transport::Tcp, Transport::Udp],
            Wanted::Over(only) | Wanted::Only(only) => std::slice::from_ref(only),
            Wanted::Host => &[Transport::Tcp],
        }
    }

    /// Whether a service that a NAPTR record names is one that is wanted.
    pub(super) fn takes(&self, transport: Transport) -> bool {
        match self {
            Wanted::Over(only) | Wanted::Only(only) => *only == transport,
            _ => true,
        }
    }
}

/// Where a service is: a host, whose addresses are another matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// TCP where it is not about SIP.
    pub transport: Transport,
    /// Name or IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Server {
    /// A host that is asked nobody about, or that says nothing: over each transport that is wanted.
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
