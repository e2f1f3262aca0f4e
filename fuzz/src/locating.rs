//! The machine that finds out where a host or domain is (RFC 3263), under scripts: name servers that
//! answer, know nothing, lie, stay silent or are not there.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cpm_wire::locating::{
    Hop, Hosts, MAX_NAME_SERVERS, MAX_PLACES, MAX_SERVERS, Patience, Place, Resolver, Target,
    Transmit, Wanted, name_servers_in, parse_server,
};
use cpm_wire::sip::{Transport, Uri};

use crate::numbered::{begin, fill};

const PATIENCE: Patience = Patience {
    retry: Duration::from_millis(500),
    tries: 3,
    deadline: Duration::from_secs(4),
};
/// NAPTR, SRV of 8 services, both kinds of addresses of 4 hosts; each 3 times, and over TCP.
const MAX_PACKETS: usize = (1 + 8 + 2 * 4) * 3 * 2;
const MAX_STEPS: usize = 400;

/// Who waits: its number, and when it has asked.
type Waiter = (usize, Instant);

struct World {
    now: Instant,
    resolver: Resolver<Waiter>,
    hops: Vec<Target>,
    in_flight: VecDeque<Transmit>,
    asked: usize,
    looked_up: usize,
    packets: usize,
    open: BTreeSet<usize>,
    asks_for_addresses: bool,
}

/// A text of lines before the first NUL: hosts(5), resolv.conf(5) and URIs in one, of which each
/// reader takes what it knows; then a script.
pub fn locating(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == 0);
    let (text, script) = data.split_at(end.unwrap_or(data.len()));
    let Some(text) = crate::text(text) else {
        return;
    };
    let servers = name_servers_in(text);
    assert!((1..=MAX_NAME_SERVERS).contains(&servers.len()));
    let mut hops = Vec::new();
    for line in text.lines().take(16) {
        if let Some(server) = parse_server(line) {
            assert_eq!(parse_server(&server.to_string()), Some(server), "{line}");
        }
        let hop = Hop::of_text(line);
        if let Ok(uri) = Uri::parse(line) {
            assert_eq!(hop, Hop::of_uri(&uri), "{line}");
        }
        if let Hop::Named(target) = hop {
            hops.push(target);
        }
        for wanted in [Wanted::Large, Wanted::Host, Wanted::Over(Transport::Tls)] {
            hops.extend(Target::new(line, None, wanted));
        }
    }
    begin(script.len() as u64);
    let asks_for_addresses = script.get(1).is_none_or(|byte| byte % 4 != 0);
    let hosts = asks_for_addresses.then(|| Hosts::read(text));
    let mut world = World {
        now: Instant::now(),
        resolver: Resolver::new(servers, hosts, PATIENCE, fill),
        hops,
        in_flight: VecDeque::new(),
        asked: 0,
        looked_up: 0,
        packets: 0,
        open: BTreeSet::new(),
        asks_for_addresses,
    };
    for step in script.chunks_exact(2).take(MAX_STEPS) {
        world.step(step[0], step[1], text);
        world.look();
    }
    world.end();
}

impl World {
    fn step(&mut self, what: u8, how: u8, text: &str) {
        match what % 8 {
            0 | 1 => self.ask(usize::from(how)),
            2..=4 => self.answer(what, how),
            5 => {
                if let Some(sent) = self.in_flight.pop_front() {
                    self.resolver.handle_refused(sent.server, sent.channel);
                }
            }
            6 => {
                self.now += Duration::from_millis(u64::from(how) * 20);
                self.resolver.handle_timeout(self.now);
            }
            _ if self.asks_for_addresses => {
                let servers = name_servers_in(text);
                self.resolver.set_system(servers, Hosts::read(text));
            }
            _ => {}
        }
    }

    fn ask(&mut self, which: usize) {
        if self.hops.is_empty() {
            return;
        }
        let target = self.hops[which % self.hops.len()].clone();
        let waiter = (self.asked, self.now);
        self.resolver
            .ask(self.now, target, waiter)
            .expect("far fewer than can be looked up");
        self.open.insert(self.asked);
        self.asked += 1;
    }

    /// Answers the oldest question, or another one's packet comes in its place.
    fn answer(&mut self, what: u8, how: u8) {
        let Some(sent) = self.in_flight.pop_front() else {
            return;
        };
        let mut reply = reply_to(&sent.packet, how);
        let (mut server, mut channel) = (sent.server, sent.channel);
        // A liar off the path.
        match what {
            0x40..0x50 => reply[0] ^= how | 1,
            0x50..0x60 => channel = channel.wrapping_add(1),
            0x60..0x70 => server.set_port(server.port() ^ 1),
            0x70..0x80 => {
                let at = usize::from(how) % reply.len();
                reply[at] ^= 0xff;
            }
            0x80..0x90 => reply.truncate(usize::from(how)),
            _ => {}
        }
        self.resolver.handle_packet(server, channel, &reply);
    }

    /// What it does after each step.
    fn look(&mut self) {
        while let Some(sent) = self.resolver.poll_transmit(self.now) {
            self.packets += 1;
            assert!(sent.packet.len() > 12);
            self.in_flight.push_back(sent);
        }
        while let Some(found) = self.resolver.poll_found() {
            self.looked_up += 1;
            assert!(!found.waiting.is_empty());
            for (number, since) in found.waiting {
                assert!(self.open.remove(&number), "told twice");
                let late = self.now.duration_since(since);
                // Time passes in steps of up to 5.1 s.
                assert!(late <= PATIENCE.deadline + Duration::from_millis(255 * 20));
            }
            assert!(found.servers.len() <= MAX_SERVERS);
            check_places(&found.places);
            assert!(self.asks_for_addresses || found.places.is_empty());
        }
        let waits = !self.open.is_empty();
        assert_eq!(self.resolver.is_idle(), !waits);
        assert!(!waits || self.resolver.poll_timeout().is_some());
        assert!(self.packets <= self.asked * MAX_PACKETS);
    }

    /// Nobody answers any more: everybody is told in time, and nothing is left.
    fn end(&mut self) {
        let last = self.now;
        while let Some(at) = self.resolver.poll_timeout() {
            assert!(
                at <= last + PATIENCE.deadline,
                "a deadline without an owner"
            );
            self.now = self.now.max(at);
            self.resolver.handle_timeout(self.now);
            self.look();
        }
        assert!(self.open.is_empty() && self.resolver.is_idle());
    }
}

fn check_places(places: &[Place]) {
    assert!(places.len() <= MAX_PLACES);
    let mut seen: HashMap<(SocketAddr, &str), usize> = HashMap::new();
    for place in places {
        let count = seen
            .entry((place.address, place.transport.as_str()))
            .or_default();
        *count += 1;
        assert_eq!(*count, 1, "{place:?} twice");
    }
}

/// A name server's reply to a question. `how`: its code, or how many records of which content.
fn reply_to(question: &[u8], how: u8) -> Vec<u8> {
    let mut reply = question.to_vec();
    // A response; truncated, or with a code.
    let (truncated, code) = match how {
        0xf0..=0xf3 => (2, 0),
        0xf4..=0xf7 => (0, 2),
        0xf8..=0xfb => (0, 3),
        _ => (0, 0),
    };
    reply[2] |= 0x80 | truncated;
    reply[3] = reply[3] & 0xf0 | code;
    let count = if how >= 0xf0 { 0 } else { how % 5 };
    reply[7] = count;
    let kind = question[question.len() - 3];
    for number in 0..count {
        let mixed = how.wrapping_mul(31).wrapping_add(number);
        let data: Vec<u8> = match kind {
            1 => vec![192, 0, 2, mixed],
            28 => [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[mixed]].concat(),
            33 => {
                let port = if mixed % 16 == 15 { 0 } else { 60 };
                let head = [0, mixed % 3, 0, mixed % 4 * 20, 0x13, port];
                [&head[..], &name(mixed)].concat()
            }
            _ => {
                let services = ["SIP+D2U", "SIP+D2T", "SIPS+D2T", "SIP+D2S"];
                let service = services[usize::from(mixed % 4)].as_bytes();
                let flags = if mixed % 16 == 15 { b'u' } else { b's' };
                let head = [0, mixed % 3, 0, number, 1, flags, service.len() as u8];
                [&head[..], service, &[0], &name(mixed)].concat()
            }
        };
        // Its owner is the name of the question; one of them is an alias instead.
        let is_alias = how % 32 == 31 && number == 0;
        let (kind, data) = if is_alias {
            (5, name(mixed))
        } else {
            (kind, data)
        };
        reply.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, mixed, 0, data.len() as u8]);
        reply.extend(data);
    }
    reply
}

/// A name of one or two labels; rarely the root, which says that there is no such service.
fn name(mixed: u8) -> Vec<u8> {
    match mixed % 8 {
        7 => vec![0],
        6 => b"\x01b\x07example\0".to_vec(),
        n => [&[2, b'h', b'0' + n][..], b"\x07example\0"].concat(),
    }
}
