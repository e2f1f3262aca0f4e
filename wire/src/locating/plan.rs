//! The location of a target according to name servers (RFC 3263 §4): the next questions to ask, or
//! the result.
//!
//! A plan has no state. It is computed anew from all known answers whenever one arrives.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::system::Hosts;
use super::target::{Place, Server, Target, Wanted};
use crate::dns::{Kind, Naptr, Question, Record, Srv};
use crate::sip::Transport;

/// Maximum number of places kept for one target.
pub const MAX_PLACES: usize = 8;
/// Maximum number of servers kept for one target.
pub const MAX_SERVERS: usize = 16;
/// Maximum number of servers whose addresses are asked for.
const MAX_HOSTS: usize = 4;
/// Maximum number of services of one domain whose servers are asked for.
const MAX_SERVICES: usize = 8;

/// The result of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The records, possibly none, and for how many seconds they are valid.
    Records(Vec<Record>, u32),
    /// Name servers answered, but none of them knows.
    Failed,
    /// No name server answered.
    Silent,
}

/// The answers so far.
pub(super) type Answers = HashMap<Question, Answer>;

/// The next step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// These questions are open.
    Ask(Vec<Question>),
    /// The result.
    Done {
        /// Best first. `None`: the domain has no such service.
        servers: Vec<Server>,
        /// Best first. `None`: there are none, or addresses are not asked for.
        places: Vec<Place>,
        /// For how many seconds the result is valid.
        ttl_s: u32,
    },
}

/// Step by step, as far as the answers reach.
struct Planner<'a> {
    answers: &'a Answers,
    open: Vec<Question>,
    ttl_s: u32,
    ticket: u64,
}

/// `hosts`: the machine's own names; `None`: addresses are not asked for. `ticket` decides among
/// servers of the same priority, and must not change during a look-up.
pub(super) fn plan(target: &Target, hosts: Option<&Hosts>, answers: &Answers, ticket: u64) -> Plan {
    let mut planner = Planner {
        answers,
        open: Vec::new(),
        ttl_s: u32::MAX,
        ticket,
    };
    let mut servers = planner.servers(target, hosts);
    if !planner.open.is_empty() {
        return Plan::Ask(planner.open);
    }
    servers.truncate(MAX_SERVERS);
    let mut places = Vec::new();
    if let Some(hosts) = hosts {
        for server in servers.iter().take(MAX_HOSTS) {
            for address in planner.addresses(&server.host, hosts) {
                let place = Place {
                    transport: server.transport,
                    address: SocketAddr::new(address, server.port),
                };
                // Two servers may have one address, which is not tried twice.
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
    }
    if !planner.open.is_empty() {
        return Plan::Ask(planner.open);
    }
    places.truncate(MAX_PLACES);
    Plan::Done {
        servers,
        places,
        ttl_s: planner.ttl_s,
    }
}

impl Planner<'_> {
    /// The answer to a question. `None`: it is open, or not worth asking.
    fn ask(&mut self, name: &str, kind: Kind) -> Option<&Answer> {
        let question = Question::new(name, kind)?;
        let answer = self.answers.get(&question);
        match answer {
            None if !self.open.contains(&question) => self.open.push(question),
            Some(Answer::Records(_, ttl_s)) => self.ttl_s = self.ttl_s.min(*ttl_s),
            _ => {}
        }
        answer
    }

    fn records(&mut self, name: &str, kind: Kind) -> &[Record] {
        match self.ask(name, kind) {
            Some(Answer::Records(records, _)) => records,
            _ => &[],
        }
    }

    fn servers(&mut self, target: &Target, hosts: Option<&Hosts>) -> Vec<Server> {
        let (host, wanted) = (target.host(), target.wanted());
        let mut itself = Server::itself(host, target.port(), wanted);
        // With a port, and for names in the machine's own file, there is nothing to ask; a name of
        // one label is not a domain.
        let is_own = hosts.is_some_and(|hosts| hosts.find(host).is_some());
        let is_domain = host.contains('.') && host.parse::<IpAddr>().is_err();
        if *wanted == Wanted::Host || target.port().is_some() || !is_domain || is_own {
            return itself;
        }
        let mut services = Vec::new();
        if !matches!(wanted, Wanted::Only(_)) {
            // If no server answers this, its services are not asked for, so that a dead name is
            // reported sooner. Some name servers do not know NAPTR, and fail.
            match self.ask(host, Kind::Naptr) {
                Some(Answer::Records(records, _)) => services = services_of(records, wanted),
                Some(Answer::Failed) => {}
                Some(Answer::Silent) | None => return itself,
            }
        }
        if services.is_empty() {
            let named = wanted.services().iter();
            services.extend(named.map(|one| (*one, format!("{}.{host}", service_label(*one)))));
        }
        let mut servers = Vec::new();
        for (transport, name) in services {
            let records = self.records(&name, Kind::Srv).iter();
            let records = records.filter_map(|record| match record {
                Record::Srv(srv) => Some(srv.clone()),
                _ => None,
            });
            let mut records: Vec<Srv> = records.collect();
            let has_any = !records.is_empty();
            // An empty target means that the service does not exist; port 0 is not a usable port.
            records.retain(|record| !record.target.is_empty() && record.port != 0);
            if has_any && records.is_empty() {
                // The domain offers no such service (RFC 2782).
                itself.retain(|server| server.transport != transport);
            }
            for record in in_turn(records, self.ticket) {
                servers.push(Server {
                    transport,
                    host: record.target,
                    port: record.port,
                });
            }
        }
        match servers.is_empty() {
            true => itself,
            false => servers,
        }
    }

    /// The addresses of a host, alternating between both families.
    fn addresses(&mut self, host: &str, hosts: &Hosts) -> Vec<IpAddr> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse() {
            return vec![address];
        }
        if let Some(addresses) = hosts.find(host) {
            return addresses.to_vec();
        }
        let mut of = |kind| -> Vec<IpAddr> {
            let records = self.records(host, kind).iter();
            let addresses = records.filter_map(|record| match record {
                Record::Address(address) => Some(*address),
                _ => None,
            });
            addresses.collect()
        };
        let (v4, v6) = (of(Kind::A), of(Kind::Aaaa));
        taking_turns(v4, v6)
    }
}

/// One of each list alternately until both are empty, without duplicates.
pub fn taking_turns<T: PartialEq>(
    first: impl IntoIterator<Item = T>,
    second: impl IntoIterator<Item = T>,
) -> Vec<T> {
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair.iter().all(Option::is_none) {
            return ordered;
        }
        for one in pair.into_iter().flatten() {
            if !ordered.contains(&one) {
                ordered.push(one);
            }
        }
    }
}

/// Transports and the names of their SRV records, in the domain's order of preference.
fn services_of(records: &[Record], wanted: &Wanted) -> Vec<(Transport, String)> {
    let naptr = records.iter().filter_map(|record| match record {
        Record::Naptr(naptr) => Some(naptr),
        _ => None,
    });
    let mut naptr: Vec<&Naptr> = naptr.collect();
    naptr.sort_by_key(|record| (record.order, record.preference));
    let known = naptr.into_iter().filter_map(|record| {
        let transport = match record.service.to_ascii_uppercase().as_str() {
            "SIP+D2U" => Transport::Udp,
            "SIP+D2T" => Transport::Tcp,
            "SIPS+D2T" => Transport::Tls,
            _ => return None,
        };
        let leads_to_srv = record.flags.eq_ignore_ascii_case("s");
        (leads_to_srv && wanted.takes(transport)).then(|| (transport, record.replacement.clone()))
    });
    let mut services: Vec<_> = known.collect();
    if *wanted == Wanted::Large {
        services.sort_by_key(|(transport, _)| !transport.is_reliable());
    }
    services.truncate(MAX_SERVICES);
    services
}

/// The beginning of the name of a service's SRV records (RFC 3263 §4.1).
fn service_label(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
    }
}

/// The order in which servers are tried (RFC 2782): by priority, and within a priority by weighted
/// random choice.
pub(super) fn in_turn(mut records: Vec<Srv>, mut ticket: u64) -> Vec<Srv> {
    records.sort_by_key(|record| (record.priority, record.weight));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let priority = first.priority;
        let rivals = records.iter();
        let rivals = rivals.take_while(|record| record.priority == priority);
        let total: u64 = rivals.map(|record| u64::from(record.weight)).sum();
        let mut left = ticket % (total + 1);
        // The rest of the random number chooses the next one.
        ticket = ticket.rotate_left(17).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let drawn = records.iter().position(|record| {
            let own = u64::from(record.weight);
            let is_drawn = left <= own;
            left = left.saturating_sub(own);
            is_drawn
        });
        ordered.push(records.remove(drawn.unwrap_or(0)));
    }
    ordered
}
