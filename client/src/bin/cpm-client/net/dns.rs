//! Questions to name servers (RFC 1035): the records by which SIP servers are found. Addresses are
//! the system's business. `simple-dns` reads and writes the packets; `hickory-resolver` would do
//! all of it, with an asynchronous runtime and 100 crates.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, CharacterString, Name, Packet, PacketFlag, Question, RCODE, TYPE};

use crate::random::fill;

/// Where the system names its servers.
const SYSTEM_FILE: &str = "/etc/resolv.conf";
/// Most servers that are asked, as the system does it.
const MAX_SERVERS: usize = 3;
/// How long one server may take. One that does not answer is not asked again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest answer over UDP: without EDNS it has 512 bytes.
const MAX_DATAGRAM_BYTES: usize = 4096;
const DNS_PORT: u16 = 53;

/// A record of RFC 3403, as RFC 3263 §4.1 uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Naptr {
    pub(super) order: u16,
    pub(super) preference: u16,
    pub(super) flags: String,
    pub(super) service: String,
    pub(super) replacement: String,
}

/// A record of RFC 2782.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Srv {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) target: String,
}

/// Whoever knows records of names. `None`: nobody answers.
pub(super) trait LookUp {
    fn naptr(&self, name: &str) -> Option<Vec<Naptr>>;
    fn srv(&self, name: &str) -> Option<Vec<Srv>>;
}

/// Name servers, in the order in which they are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameServers(Vec<SocketAddr>);

impl NameServers {
    /// This one.
    pub(crate) fn one(server: SocketAddr) -> Self {
        Self(vec![server])
    }

    /// Those of the system; none where it names none.
    pub(crate) fn of_system() -> Self {
        Self::read(&fs::read_to_string(SYSTEM_FILE).unwrap_or_default())
    }

    fn read(text: &str) -> Self {
        let servers = text.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let address = words.next().filter(|word| *word == "nameserver");
            let address: IpAddr = address.and(words.next())?.parse().ok()?;
            Some(SocketAddr::new(address, DNS_PORT))
        });
        Self(servers.take(MAX_SERVERS).collect())
    }

    /// The records of a name; none where there is no such name. `None`: nobody answers.
    fn ask<T>(
        &self,
        name: &str,
        kind: TYPE,
        read: impl Fn(&RData<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut id = [0; 2];
        fill(&mut id);
        let mut query = Packet::new_query(u16::from_be_bytes(id));
        query.set_flags(PacketFlag::RECURSION_DESIRED);
        let question = Question::new(Name::new(name).ok()?, kind.into(), CLASS::IN.into(), false);
        query.questions.push(question);
        let bytes = query.build_bytes_vec().ok()?;
        let mut has_answered = false;
        for server in &self.0 {
            let Ok(answer) = answer_of(*server, &bytes, &query) else {
                continue;
            };
            let Some(packet) = Packet::parse(&answer)
                .ok()
                .filter(|one| answers(one, &query))
            else {
                continue;
            };
            if matches!(packet.rcode(), RCODE::NoError | RCODE::NameError) {
                let records = packet.answers.iter();
                return Some(records.filter_map(|record| read(&record.rdata)).collect());
            }
            // It cannot tell: perhaps the next one can.
            has_answered = true;
        }
        has_answered.then(Vec::new)
    }
}

impl LookUp for NameServers {
    fn naptr(&self, name: &str) -> Option<Vec<Naptr>> {
        self.ask(name, TYPE::NAPTR, |data| match data {
            // With a regexp the record makes something of the name that RFC 3263 has no use for.
            RData::NAPTR(own) if text(&own.regexp).is_empty() => Some(Naptr {
                order: own.order,
                preference: own.preference,
                flags: text(&own.flags),
                service: text(&own.services),
                replacement: own.replacement.to_string(),
            }),
            _ => None,
        })
    }

    fn srv(&self, name: &str) -> Option<Vec<Srv>> {
        self.ask(name, TYPE::SRV, |data| match data {
            RData::SRV(own) => Some(Srv {
                priority: own.priority,
                weight: own.weight,
                port: own.port,
                target: own.target.to_string(),
            }),
            _ => None,
        })
    }
}

fn text(value: &CharacterString<'_>) -> String {
    value.to_string()
}

/// Whether this answers that.
fn answers(packet: &Packet<'_>, query: &Packet<'_>) -> bool {
    let same_question = match (&packet.questions[..], &query.questions[..]) {
        ([own], [asked]) => {
            let names = (own.qname.to_string(), asked.qname.to_string());
            names.0.eq_ignore_ascii_case(&names.1) && own.qtype == asked.qtype
        }
        _ => false,
    };
    packet.id() == query.id() && packet.has_flags(PacketFlag::RESPONSE) && same_question
}

fn answer_of(server: SocketAddr, bytes: &[u8], query: &Packet<'_>) -> io::Result<Vec<u8>> {
    let answer = over_udp(server, bytes, query)?;
    let packet = Packet::parse(&answer).map_err(io::Error::other)?;
    match packet.has_flags(PacketFlag::TRUNCATION) {
        true => over_tcp(server, bytes),
        false => Ok(answer),
    }
}

fn over_udp(server: SocketAddr, bytes: &[u8], query: &Packet<'_>) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.send(bytes)?;
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let mut answer = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let count = socket.recv(&mut answer)?;
        // What is no answer to this question may be a forgery: the right one is waited for.
        if Packet::parse(&answer[..count]).is_ok_and(|packet| answers(&packet, query)) {
            answer.truncate(count);
            return Ok(answer);
        }
    }
}

fn over_tcp(server: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, ANSWER_TIMEOUT)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], bytes].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_of_the_system() {
        let text = "# nameserver 192.0.2.1\nsearch example.com\nnameserver 192.0.2.2\nnameserver ::1\n\
                    nameserver nobody\nnameserver 192.0.2.3 # x\nnameserver 192.0.2.4\n";
        let servers = ["192.0.2.2:53", "[::1]:53", "192.0.2.3:53"];
        let servers = servers.map(|server| server.parse().unwrap());
        assert_eq!(NameServers::read(text), NameServers(servers.to_vec()));
        assert_eq!(NameServers::read(""), NameServers(Vec::new()));
    }
}
