//! Where a SIP server is, by what its domain says (RFC 3263 §4).

use std::net::IpAddr;

use cpm_client::SipTransport;

use super::dns::{LookUp, Naptr, Srv};

/// Most places of one server.
const MAX_PLACES: usize = 16;

/// What may carry SIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// This and nothing else.
    Only(SipTransport),
    /// What the domain prefers; where it says nothing, these in turn. Those of the first kind come
    /// first.
    First(Vec<SipTransport>),
}

/// A place to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) transport: SipTransport,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Wanted {
    fn transports(&self) -> &[SipTransport] {
        match self {
            Self::Only(transport) => std::slice::from_ref(transport),
            Self::First(transports) => transports,
        }
    }

    fn takes(&self, transport: SipTransport) -> bool {
        match self {
            Self::Only(only) => *only == transport,
            Self::First(_) => true,
        }
    }

    /// What is too large for a datagram goes over a connection first.
    fn is_for_connections(&self) -> bool {
        let first = self.transports().first();
        first.is_some_and(|transport| transport.is_reliable())
    }
}

/// The places of a server, best first; none where its domain says that there is no such service. An
/// IP address, a port or a name of one label leaves nothing to be asked for. `random` draws among
/// servers of the same priority.
pub(super) fn places(
    host: &str,
    port: Option<u16>,
    wanted: &Wanted,
    look_up: &impl LookUp,
    random: fn(&mut [u8]),
) -> Vec<Place> {
    let is_name = host.parse::<IpAddr>().is_err() && host.trim_end_matches('.').contains('.');
    let found = match port.is_none() && is_name {
        true => asked(host.trim_end_matches('.'), wanted, look_up, random),
        false => Found::default(),
    };
    if !found.places.is_empty() {
        return found.places;
    }
    let transports = wanted.transports().iter();
    transports
        .filter(|transport| !found.denied.contains(transport))
        .map(|transport| Place {
            transport: *transport,
            host: host.to_owned(),
            port: port.unwrap_or(default_port(*transport)),
        })
        .collect()
}

/// What name servers say.
#[derive(Debug, Default)]
struct Found {
    places: Vec<Place>,
    /// What has records, and none of them leads anywhere: the domain offers no such service (RFC
    /// 2782).
    denied: Vec<SipTransport>,
}

/// Nothing if nobody says anything.
fn asked(host: &str, wanted: &Wanted, look_up: &impl LookUp, random: fn(&mut [u8])) -> Found {
    let mut found = Found::default();
    let Some(records) = look_up.naptr(host) else {
        return found;
    };
    let mut services = services(records, wanted);
    if services.is_empty() {
        let others = [SipTransport::Udp, SipTransport::Tcp, SipTransport::Tls];
        let others = others.iter().filter(|one| wanted.takes(**one));
        let mut transports = wanted.transports().to_vec();
        for other in others {
            if !transports.contains(other) {
                transports.push(*other);
            }
        }
        let named = transports.into_iter();
        services.extend(named.map(|one| (one, format!("{}.{host}", service_label(one)))));
    }
    for (transport, name) in services {
        let Some(mut records) = look_up.srv(&name) else {
            break;
        };
        let are_there = !records.is_empty();
        // "." is a service that is decidedly not there, port 0 none that could be.
        records.retain(|record| !matches!(record.target.as_str(), "" | ".") && record.port != 0);
        if are_there && records.is_empty() {
            found.denied.push(transport);
        }
        let places = in_turn(records, random).into_iter();
        found.places.extend(places.map(|record| Place {
            transport,
            host: record.target,
            port: record.port,
        }));
    }
    found.places.truncate(MAX_PLACES);
    found
}

/// Transports and the names of their SRV records, as the domain prefers them.
fn services(mut records: Vec<Naptr>, wanted: &Wanted) -> Vec<(SipTransport, String)> {
    records.sort_by_key(|record| (record.order, record.preference));
    let known = records.into_iter().filter_map(|record| {
        let transport = match record.service.to_ascii_uppercase().as_str() {
            "SIP+D2U" => SipTransport::Udp,
            "SIP+D2T" => SipTransport::Tcp,
            "SIPS+D2T" => SipTransport::Tls,
            _ => return None,
        };
        let fits = record.flags.eq_ignore_ascii_case("s") && wanted.takes(transport);
        fits.then_some((transport, record.replacement))
    });
    let mut services: Vec<_> = known.collect();
    if wanted.is_for_connections() {
        services.sort_by_key(|(transport, _)| !transport.is_reliable());
    }
    services
}

/// The order in which servers are tried (RFC 2782): by priority, and within one by lot, a weight
/// being so many tickets. What is cut off are the last ones.
fn in_turn(mut records: Vec<Srv>, random: fn(&mut [u8])) -> Vec<Srv> {
    records.sort_by_key(|record| (record.priority, record.weight));
    let mut ordered = Vec::with_capacity(MAX_PLACES);
    while ordered.len() < MAX_PLACES
        && let Some(first) = records.first()
    {
        let priority = first.priority;
        let rivals = records
            .iter()
            .take_while(|record| record.priority == priority);
        let total: u64 = rivals.map(|record| u64::from(record.weight)).sum();
        let mut bytes = [0; 8];
        random(&mut bytes);
        let mut ticket = u64::from_be_bytes(bytes) % (total + 1);
        let drawn = records.iter().position(|record| {
            let own = u64::from(record.weight);
            let is_drawn = ticket <= own;
            ticket = ticket.saturating_sub(own);
            is_drawn
        });
        ordered.push(records.remove(drawn.unwrap_or(0)));
    }
    ordered
}

fn service_label(transport: SipTransport) -> &'static str {
    match transport {
        SipTransport::Udp => "_sip._udp",
        SipTransport::Tcp => "_sip._tcp",
        SipTransport::Tls => "_sips._tcp",
    }
}

fn default_port(transport: SipTransport) -> u16 {
    match transport {
        SipTransport::Tls => 5061,
        SipTransport::Udp | SipTransport::Tcp => 5060,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use SipTransport::{Tcp, Tls, Udp};

    #[derive(Default)]
    struct Zone {
        naptr: Vec<Naptr>,
        srv: HashMap<&'static str, Vec<Srv>>,
        is_dead: bool,
    }

    impl LookUp for Zone {
        fn naptr(&self, name: &str) -> Option<Vec<Naptr>> {
            assert_eq!(name, "example.com", "asked for nothing else");
            (!self.is_dead).then(|| self.naptr.clone())
        }

        fn srv(&self, name: &str) -> Option<Vec<Srv>> {
            Some(self.srv.get(name).cloned().unwrap_or_default())
        }
    }

    fn naptr(order: u16, preference: u16, service: &str, replacement: &str) -> Naptr {
        Naptr {
            order,
            preference,
            flags: "s".to_owned(),
            service: service.to_owned(),
            replacement: replacement.to_owned(),
        }
    }

    fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Srv {
        Srv {
            priority,
            weight,
            port,
            target: target.to_owned(),
        }
    }

    fn found(zone: &Zone, host: &str, port: Option<u16>, wanted: &Wanted) -> Vec<String> {
        let places = places(host, port, wanted, zone, |bytes| bytes.fill(0));
        let words = |place: &Place| {
            let Place {
                transport,
                host,
                port,
            } = place;
            format!("{} {host}:{port}", transport.as_str())
        };
        places.iter().map(words).collect()
    }

    fn zone() -> Zone {
        let mut zone = Zone {
            naptr: vec![
                naptr(20, 5, "SIP+D2U", "_sip._udp.example.com"),
                naptr(10, 20, "SIP+D2T", "elsewhere.example.net"),
                naptr(10, 10, "SIPS+D2T", "_sips._tcp.example.com"),
                naptr(1, 1, "SIP+D2S", "_sip._sctp.example.com"),
                naptr(1, 1, "E2U+email", "mail.example.com"),
            ],
            ..Zone::default()
        };
        let udp = vec![srv(2, 0, 5070, "b"), srv(1, 0, 5071, "a")];
        zone.srv.insert("_sip._udp.example.com", udp);
        zone.srv
            .insert("elsewhere.example.net", vec![srv(1, 0, 5072, "c")]);
        zone.srv
            .insert("_sips._tcp.example.com", vec![srv(1, 0, 5073, "d")]);
        zone
    }

    #[test]
    fn the_domain_says_what_it_prefers() {
        let any = Wanted::First(vec![Udp]);
        assert_eq!(
            found(&zone(), "example.com", None, &any),
            ["TLS d:5073", "TCP c:5072", "UDP a:5071", "UDP b:5070"]
        );
        let large = Wanted::First(vec![Tcp, Udp]);
        let mut only_udp_preferred = zone();
        only_udp_preferred.naptr[0].order = 1;
        assert_eq!(
            found(&only_udp_preferred, "example.com.", None, &large)[..2],
            ["TLS d:5073", "TCP c:5072"]
        );
        let only = Wanted::Only(Tcp);
        assert_eq!(found(&zone(), "example.com", None, &only), ["TCP c:5072"]);
    }

    #[test]
    fn without_naptr_the_services_are_asked_for() {
        let zone = Zone {
            naptr: Vec::new(),
            ..zone()
        };
        let any = Wanted::First(vec![Udp]);
        assert_eq!(
            found(&zone, "example.com", None, &any),
            ["UDP a:5071", "UDP b:5070", "TLS d:5073"]
        );
        let only = Wanted::Only(Tls);
        assert_eq!(found(&zone, "example.com", None, &only), ["TLS d:5073"]);
        // Nothing of that kind: the name itself.
        let only = Wanted::Only(Tcp);
        assert_eq!(
            found(&zone, "example.com", None, &only),
            ["TCP example.com:5060"]
        );
    }

    #[test]
    fn where_there_is_nothing_to_ask_nobody_is_asked() {
        let large = Wanted::First(vec![Tcp, Udp]);
        for (host, port, expected) in [
            (
                "192.0.2.1",
                None,
                ["TCP 192.0.2.1:5060", "UDP 192.0.2.1:5060"],
            ),
            ("::1", None, ["TCP ::1:5060", "UDP ::1:5060"]),
            (
                "sip.example.org",
                Some(9),
                ["TCP sip.example.org:9", "UDP sip.example.org:9"],
            ),
            (
                "localhost",
                None,
                ["TCP localhost:5060", "UDP localhost:5060"],
            ),
        ] {
            assert_eq!(found(&zone(), host, port, &large), expected);
        }
        let dead = Zone {
            is_dead: true,
            ..zone()
        };
        assert_eq!(
            found(&dead, "example.com", None, &Wanted::Only(Tls)),
            ["TLS example.com:5061"]
        );
    }

    #[test]
    fn priority_comes_first_and_weight_is_drawn() {
        let records = || {
            vec![
                srv(2, 100, 1, "last"),
                srv(1, 0, 1, "zero"),
                srv(1, 10, 1, "ten"),
                srv(1, 90, 1, "ninety"),
            ]
        };
        let order = |random: fn(&mut [u8])| -> Vec<String> {
            let ordered = in_turn(records(), random).into_iter();
            ordered.map(|record| record.target).collect()
        };
        assert_eq!(
            order(|bytes| bytes.fill(0)),
            ["zero", "ten", "ninety", "last"]
        );
        let high = |bytes: &mut [u8]| bytes.copy_from_slice(&100_u64.to_be_bytes());
        assert_eq!(order(high)[0], "ninety");
        // A service that is not there, and more servers than are tried.
        let mut gone = zone();
        gone.srv
            .insert("_sips._tcp.example.com", vec![srv(0, 0, 0, ".")]);
        let crowd = (0..100).map(|port| srv(100 - port, 0, port, "x")).collect();
        gone.srv.insert("_sip._udp.example.com", crowd);
        let any = Wanted::First(vec![Udp]);
        let found = found(&gone, "example.com", None, &any);
        assert_eq!((found.len(), found[0].as_str()), (MAX_PLACES, "TCP c:5072"));
        assert_eq!(found[1], "UDP x:99", "sorted before it is cut");
        assert!(!found.contains(&"UDP x:0".to_owned()));
    }

    #[test]
    fn a_service_that_the_domain_denies_is_not_tried() {
        let mut zone = Zone::default();
        zone.srv
            .insert("_sip._udp.example.com", vec![srv(0, 0, 0, ".")]);
        let udp = Wanted::Only(Udp);
        assert!(found(&zone, "example.com", None, &udp).is_empty());
        let large = Wanted::First(vec![Tcp, Udp]);
        assert_eq!(
            found(&zone, "example.com", None, &large),
            ["TCP example.com:5060"]
        );
        // Port 0 alone is passed over.
        let records = vec![srv(0, 0, 0, "a"), srv(1, 0, 5070, "b")];
        zone.srv.insert("_sip._udp.example.com", records);
        assert_eq!(found(&zone, "example.com", None, &udp), ["UDP b:5070"]);
    }
}
