//! DNS questions and answers as packets (RFC 1035). `simple-dns` reads and writes them.

#[cfg(test)]
pub(crate) mod test_zone;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, RCODE, TYPE};

/// Maximum length of a name, as text without the final dot (RFC 1035 §2.3.4).
pub const MAX_NAME_BYTES: usize = 253;
/// Maximum number of records taken from one answer. More do not make a name easier to reach.
const MAX_RECORDS: usize = 32;
/// Maximum number of aliases (CNAME) followed within one answer.
const MAX_ALIASES: usize = 8;

/// A question to a name server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The name, in lower case and without the final dot.
    pub name: String,
    /// The kind of records.
    pub kind: Kind,
}

/// Kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// RFC 2782.
    Srv,
    /// RFC 3403.
    Naptr,
}

/// A record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A or AAAA.
    Address(IpAddr),
    /// SRV.
    Srv(Srv),
    /// NAPTR.
    Naptr(Naptr),
}

impl Record {
    /// Lower is better. Addresses are all equal.
    fn rank(&self) -> (u16, u16) {
        match self {
            Record::Address(_) => (0, 0),
            Record::Srv(srv) => (srv.priority, u16::MAX - srv.weight),
            Record::Naptr(naptr) => (naptr.order, naptr.preference),
        }
    }
}

/// An SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Lower ones are tried first.
    pub priority: u16,
    /// Share of the load among records of the same priority.
    pub weight: u16,
    /// Port of the service.
    pub port: u16,
    /// Its host; empty if there is explicitly no such service.
    pub target: String,
}

/// A NAPTR record as RFC 3263 §4.1 uses it (RFC 3403): those with a regular expression are left
/// out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naptr {
    /// Lower ones are tried first.
    pub order: u16,
    /// The same, among records of the same order.
    pub preference: u16,
    /// "s": the replacement has SRV records.
    pub flags: String,
    /// "SIP+D2U" and so on.
    pub service: String,
    /// The name to look up next.
    pub replacement: String,
}

/// A name server's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The records; none if the name does not exist, or has none of this kind.
    Records {
        /// At most a few dozen.
        records: Vec<Record>,
        /// For how many seconds they are valid.
        ttl_s: u32,
    },
    /// The answer is too long for a datagram: ask again over TCP.
    Truncated,
    /// It does not know. Another server may.
    Failed,
}

impl Question {
    /// `None`: the name cannot be asked for in DNS.
    pub fn new(name: &str, kind: Kind) -> Option<Self> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let has_labels = name.split('.').all(|label| {
            let letters = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            (1..=63).contains(&label.len()) && label.bytes().all(letters)
        });
        (has_labels && name.len() <= MAX_NAME_BYTES).then(|| Question {
            name: name.to_ascii_lowercase(),
            kind,
        })
    }

    /// The packet with the question. `None`: the name does not fit into one.
    pub fn write(&self, id: u16) -> Option<Vec<u8>> {
        let mut packet = Packet::new_query(id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let name = Name::new(&self.name).ok()?;
        let question = simple_dns::Question::new(name, self.kind().into(), CLASS::IN.into(), false);
        packet.questions.push(question);
        packet.build_bytes_vec().ok()
    }

    /// The answer in a packet. `None`: the packet does not answer this question, and the answer may
    /// still arrive.
    pub fn read(&self, packet: &[u8], id: u16) -> Option<Reply> {
        if !is_plausible(packet) {
            return None;
        }
        let packet = Packet::parse(packet).ok()?;
        let answers = match &packet.questions[..] {
            [asked] => {
                asked.qtype == self.kind().into()
                    && asked.qclass == CLASS::IN.into()
                    && self.is(&asked.qname)
            }
            _ => false,
        };
        if !answers || packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) {
            return None;
        }
        if packet.has_flags(PacketFlag::TRUNCATION) {
            return Some(Reply::Truncated);
        }
        Some(match packet.rcode() {
            RCODE::NoError | RCODE::NameError => self.records(&packet),
            _ => Reply::Failed,
        })
    }

    fn kind(&self) -> TYPE {
        match self.kind {
            Kind::A => TYPE::A,
            Kind::Aaaa => TYPE::AAAA,
            Kind::Srv => TYPE::SRV,
            Kind::Naptr => TYPE::NAPTR,
        }
    }

    fn is(&self, name: &Name<'_>) -> bool {
        text_of(name) == self.name
    }

    /// The records of the name, or of the name it is an alias of. Anything else in the answer was
    /// not asked for, and is not trusted.
    fn records(&self, packet: &Packet<'_>) -> Reply {
        let mut owner = self.name.clone();
        let mut ttl_s = u32::MAX;
        for _ in 0..=MAX_ALIASES {
            let own = packet
                .answers
                .iter()
                .filter(|one| one.class == CLASS::IN && text_of(&one.name) == owner);
            let mut alias = None;
            let mut records = Vec::new();
            for one in own {
                if let RData::CNAME(target) = &one.rdata {
                    alias = Some((text_of(&target.0), one.ttl));
                } else if let Some(record) = self.record(&one.rdata) {
                    ttl_s = ttl_s.min(one.ttl);
                    records.push(record);
                }
            }
            // Their number is limited by the packet. Those cut off would be tried last.
            records.sort_by_key(Record::rank);
            records.truncate(MAX_RECORDS);
            match alias.filter(|_| records.is_empty()) {
                Some((target, ttl)) => {
                    owner = target;
                    ttl_s = ttl_s.min(ttl);
                }
                None => return Reply::Records { records, ttl_s },
            }
        }
        // A loop of aliases.
        Reply::Failed
    }

    fn record(&self, data: &RData<'_>) -> Option<Record> {
        match (self.kind, data) {
            (Kind::A, RData::A(a)) => Some(Record::Address(Ipv4Addr::from(a.address).into())),
            (Kind::Aaaa, RData::AAAA(a)) => Some(Record::Address(Ipv6Addr::from(a.address).into())),
            (Kind::Srv, RData::SRV(srv)) => Some(Record::Srv(Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: text_of(&srv.target),
            })),
            (Kind::Naptr, RData::NAPTR(naptr)) if naptr.regexp.to_string().is_empty() => {
                Some(Record::Naptr(Naptr {
                    order: naptr.order,
                    preference: naptr.preference,
                    flags: naptr.flags.to_string(),
                    service: naptr.services.to_string(),
                    replacement: text_of(&naptr.replacement),
                }))
            }
            _ => None,
        }
    }
}

/// A name in the form of questions; a dot within a label is escaped.
fn text_of(name: &Name<'_>) -> String {
    name.to_string().to_ascii_lowercase()
}

/// Whether a packet announces no more records than it can hold: the parser allocates for as many as
/// announced.
fn is_plausible(packet: &[u8]) -> bool {
    let counts = packet.get(4..12).unwrap_or_default().chunks(2);
    let announced: usize = counts
        .map(|count| usize::from(count[0]) << 8 | usize::from(count[1]))
        .sum();
    packet.len() > 12 && announced <= packet.len() / 5
}
