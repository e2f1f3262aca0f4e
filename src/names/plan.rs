//! Where a target is, by what name servers say (RFC 3263 §4): which questions have to be asked
//! next, or the places.
//!
//! A plan remembers nothing. It is made anew from the answers that there are, each time that one
//! has come.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::hosts::Hosts;
use super::question::{Kind, Naptr, Question, Record, Srv};
use super::target::{Place, Target, Transport, Wanted};

/// Places of one target that are kept.
pub const MAX_PLACES: usize = 8;
/// Hosts whose addresses are asked for.
const MAX_HOSTS: usize = 4;

/// What is known so far; `None` in it: no server has an answer.
pub(super) type Answers = HashMap<Question, Option<(Vec<Record>, u32)>>;

/// The next step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// These questions are open.
    Ask(Vec<Question>),
    /// The places, best first, and for how many seconds they hold. None: there are none.
    Done(Vec<Place>, u32),
}

/// A server whose address is yet to be found.
struct Server {
    transport: Transport,
    host: String,
    port: u16,
}

/// One step after another, as far as the answers go.
struct Planner<'a> {
    answers: &'a Answers,
    open: Vec<Question>,
    ttl_s: u32,
    ticket: u64,
}

/// `ticket` draws among servers of the same priority, and has to stay the same for one look-up.
pub(super) fn plan(target: &Target, hosts: &Hosts, answers: &Answers, ticket: u64) -> Plan {
    let mut planner = Planner {
        answers,
        open: Vec::new(),
        ttl_s: u32::MAX,
        ticket,
    };
    let servers = planner.servers(target, hosts);
    if !planner.open.is_empty() {
        return Plan::Ask(planner.open);
    }
    let mut places = Vec::new();
    for server in servers.iter().take(MAX_HOSTS) {
        let addresses = planner.addresses(&server.host, hosts);
        places.extend(addresses.into_iter().map(|address| Place {
            transport: server.transport,
            address: SocketAddr::new(address, server.port),
        }));
    }
    if !planner.open.is_empty() {
        return Plan::Ask(planner.open);
    }
    places.truncate(MAX_PLACES);
    Plan::Done(places, planner.ttl_s)
}

impl Planner<'_> {
    /// The answer to a question. `None`: it is open, nobody has one, or it makes no sense to ask.
    fn ask(&mut self, name: &str, kind: Kind) -> Option<&[Record]> {
        let question = Question::new(name, kind)?;
        match self.answers.get(&question) {
            None => {
                if !self.open.contains(&question) {
                    self.open.push(question);
                }
                None
            }
            Some(None) => None,
            Some(Some((records, ttl_s))) => {
                self.ttl_s = self.ttl_s.min(*ttl_s);
                Some(records)
            }
        }
    }

    fn servers(&mut self, target: &Target, hosts: &Hosts) -> Vec<Server> {
        let host = target.host();
        let itself = |transport: Transport, port: Option<u16>| Server {
            transport,
            host: host.to_owned(),
            port: port.unwrap_or(transport.default_port()),
        };
        let (transports, is_only) = match target.wanted() {
            Wanted::Host => return vec![itself(Transport::Tcp, target.port())],
            Wanted::Only(transport) => (vec![*transport], true),
            Wanted::Any => (vec![Transport::Udp, Transport::Tcp, Transport::Tls], false),
        };
        // With a port, and for what the operator's own file has, there is nothing to be asked for;
        // names of one label are no domains.
        if target.port().is_some() || !host.contains('.') || hosts.find(host).is_some() {
            return vec![itself(transports[0], target.port())];
        }
        let mut services = Vec::new();
        if !is_only {
            // Where not even this is answered, the services are not asked for: a name that is dead
            // is told sooner.
            match self.ask(host, Kind::Naptr) {
                Some(records) => services = services_of(records),
                None => return vec![itself(transports[0], None)],
            }
        }
        if services.is_empty() {
            let named = transports.iter();
            services.extend(named.map(|one| (*one, format!("{}.{host}", one.service()))));
        }
        let mut servers = Vec::new();
        for (transport, name) in services {
            let records = self.ask(&name, Kind::Srv).unwrap_or_default();
            let records = records.iter().filter_map(|record| match record {
                // An empty target: there decidedly is no such service.
                Record::Srv(srv) if !srv.target.is_empty() => Some(srv.clone()),
                _ => None,
            });
            for record in in_turn(records.collect(), self.ticket) {
                servers.push(Server {
                    transport,
                    host: record.target,
                    port: record.port,
                });
            }
        }
        if servers.is_empty() {
            servers.push(itself(transports[0], None));
        }
        servers
    }

    /// The addresses of a host, those of both families in turn.
    fn addresses(&mut self, host: &str, hosts: &Hosts) -> Vec<IpAddr> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse() {
            return vec![address];
        }
        if let Some(addresses) = hosts.find(host) {
            return addresses.to_vec();
        }
        let mut of = |kind| -> Vec<IpAddr> {
            let records = self.ask(host, kind).unwrap_or_default().iter();
            let addresses = records.filter_map(|record| match record {
                Record::Address(address) => Some(*address),
                _ => None,
            });
            addresses.collect()
        };
        let (v4, v6) = (of(Kind::A), of(Kind::Aaaa));
        let mut addresses = Vec::with_capacity(v4.len() + v6.len());
        for place in 0..v4.len().max(v6.len()) {
            addresses.extend(v4.get(place));
            addresses.extend(v6.get(place));
        }
        addresses
    }
}

/// Transports and the names of their SRV records, as the domain prefers them.
fn services_of(records: &[Record]) -> Vec<(Transport, String)> {
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
        leads_to_srv.then(|| (transport, record.replacement.clone()))
    });
    known.take(MAX_HOSTS).collect()
}

/// The order in which servers are tried (RFC 2782): by priority, and within one by lot, a weight
/// being so many tickets.
fn in_turn(mut records: Vec<Srv>, mut ticket: u64) -> Vec<Srv> {
    records.sort_by_key(|record| (record.priority, record.weight));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let priority = first.priority;
        let rivals = records.iter();
        let rivals = rivals.take_while(|record| record.priority == priority);
        let total: u64 = rivals.map(|record| u64::from(record.weight)).sum();
        let mut left = ticket % (total + 1);
        // What is left of the lot draws the next one.
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
