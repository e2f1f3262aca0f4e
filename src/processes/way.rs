//! The destination of a request, from addresses and the shared table of names. Never waits for a
//! name.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::outgoing::Outgoing;
use super::proxy::{Proxy, Way};
use crate::names::{Hop, Known, NameTag, Names, Place, Target};
use crate::sip::Uri;

/// The location of a next hop.
pub(super) enum Located<'a> {
    /// The proxy cannot send there.
    Nowhere,
    /// The name in this URI has to be looked up.
    Later(Cow<'a, str>),
    /// Here.
    At(Spot<'a>),
}

/// A target that the proxy can send to.
pub(super) struct Spot<'a> {
    /// A URI with an IP address.
    pub(super) uri: Cow<'a, str>,
    /// The name that led to it.
    pub(super) name: Option<NameTag>,
    /// Whether that has other targets.
    pub(super) has_others: bool,
    /// Whether the connection there currently has no room.
    pub(super) is_full: bool,
}

/// The destination of a request. Never waits for a name.
pub(super) fn locate<'a>(
    names: &Names,
    proxy: &dyn Proxy,
    outgoing: &Outgoing<'_>,
    wanted: &'a str,
) -> Located<'a> {
    let mut hop = Hop::of_text(wanted);
    let mut uri = Cow::Borrowed(wanted);
    // As far as its size is known without the destination.
    if matches!(hop, Hop::Known(_) | Hop::Named(_)) && proxy.way(outgoing, None) == Way::TooLong {
        uri = over_tcp(wanted);
        hop = Hop::of_text(&uri);
    }
    let found = match hop {
        Hop::Impossible => None,
        Hop::Numeric => spot(proxy, outgoing, uri, None),
        Hop::Known(place) => choose(proxy, outgoing, &[place], None),
        Hop::Named(target) => match known(names, &target) {
            None => return Located::Later(uri),
            Some(Known::Nothing) => None,
            Some(Known::Places(places, name)) => choose(proxy, outgoing, &places, Some(name)),
        },
    };
    found.map_or(Located::Nowhere, Located::At)
}

/// The shared knowledge about a name.
pub(super) fn known(names: &Names, target: &Target) -> Option<Known> {
    names.table.as_ref()?.find(target)
}

/// The first target to which the proxy can send: it may lack TLS, or IPv6.
pub(super) fn choose<'a>(
    proxy: &dyn Proxy,
    outgoing: &Outgoing<'_>,
    places: &[Place],
    name: Option<NameTag>,
) -> Option<Spot<'a>> {
    let found = places.iter().find_map(|place| {
        let uri = Cow::Owned(uri_of(place));
        spot(proxy, outgoing, uri, name)
    })?;
    Some(Spot {
        has_others: places.len() > 1,
        ..found
    })
}

fn spot<'a>(
    proxy: &dyn Proxy,
    outgoing: &Outgoing<'_>,
    uri: Cow<'a, str>,
    name: Option<NameTag>,
) -> Option<Spot<'a>> {
    let mut way = proxy.way(outgoing, Some(&uri));
    let mut uri = uri;
    if way == Way::TooLong {
        // A request too long for a datagram goes over TCP (RFC 3261 §18.1.1), except to a hop that
        // names its transport.
        let other = match uri
            .strip_suffix(UDP)
            .filter(|_| matches!(uri, Cow::Owned(_)))
        {
            Some(place) => Some(format!("{place}{TCP}")),
            None => match over_tcp(&uri) {
                Cow::Owned(other) => Some(other),
                Cow::Borrowed(_) => None,
            },
        };
        if let Some(other) = other {
            way = proxy.way(outgoing, Some(&other));
            uri = Cow::Owned(other);
        }
    }
    (way != Way::None).then_some(Spot {
        uri,
        name,
        has_others: false,
        is_full: way == Way::Full,
    })
}

const UDP: &str = ";transport=udp";
const TCP: &str = ";transport=tcp";

/// The same hop over TCP, where it does not name its transport itself.
fn over_tcp(uri: &str) -> Cow<'_, str> {
    let is_open = |parsed: &Uri<'_>| {
        parsed.scheme().eq_ignore_ascii_case("sip")
            && parsed.param("transport").is_none()
            && !uri.contains('?')
    };
    match Uri::parse(uri) {
        Ok(parsed) if is_open(&parsed) => Cow::Owned(format!("{uri}{TCP}")),
        _ => Cow::Borrowed(uri),
    }
}

/// The URI of a target.
pub(super) fn uri_of(place: &Place) -> String {
    let transport = place.transport.parameter();
    let mut uri = String::with_capacity(80);
    // Writing to a string cannot fail.
    let _ = write!(uri, "sip:{};transport={transport}", place.address);
    uri
}
