//! The resolver in virtual time, against name servers that answer, are silent, or lie.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use simple_dns::rdata::{A, AAAA, CNAME, NAPTR, RData, SRV};
use simple_dns::{CLASS, CharacterString, Name, Packet, PacketFlag, RCODE, ResourceRecord};

use super::hosts::Hosts;
use super::question::{Kind, Question, Reply};
use super::resolver::{DEADLINE, MAX_LOOKUPS, Resolver, Transmit};
use super::target::{Hop, Place, Target, Transport, Wanted};
use crate::random::fill_random;
use crate::sip::Uri;

/// Records by name, in the notation of [`record`].
type Zone = HashMap<&'static str, Vec<&'static str>>;

fn zone(records: &[(&'static str, &'static str)]) -> Zone {
    let mut zone = Zone::new();
    for (name, record) in records {
        zone.entry(name).or_default().push(record);
    }
    zone
}

fn record(text: &'static str) -> RData<'static> {
    let words: Vec<&str> = text.split(' ').collect();
    let number = |at: usize| words[at].parse().unwrap();
    let string = |at: usize| CharacterString::new(words[at].as_bytes()).unwrap();
    match words[0] {
        "A" => RData::A(A::from(words[1].parse::<std::net::Ipv4Addr>().unwrap())),
        "AAAA" => RData::AAAA(AAAA::from(words[1].parse::<std::net::Ipv6Addr>().unwrap())),
        "CNAME" => RData::CNAME(CNAME(Name::new_unchecked(words[1]))),
        "SRV" => RData::SRV(SRV {
            priority: number(1),
            weight: number(2),
            port: number(3),
            target: Name::new_unchecked(words[4].trim_end_matches('.')),
        }),
        "NAPTR" => RData::NAPTR(NAPTR {
            order: number(1),
            preference: number(2),
            flags: string(3),
            services: string(4),
            regexp: CharacterString::new(b"").unwrap(),
            replacement: Name::new_unchecked(words[5]),
        }),
        _ => panic!("{text}"),
    }
}

/// What a name server with this zone answers.
fn answer(query: &[u8], zone: &Zone) -> Vec<u8> {
    let query = Packet::parse(query).unwrap();
    let mut reply = Packet::new_reply(query.id());
    reply.questions = query.questions.clone();
    let mut name = query.questions[0].qname.to_string();
    if !zone.contains_key(name.as_str()) {
        *reply.rcode_mut() = RCODE::NameError;
    }
    for _ in 0..4 {
        let mut alias = None;
        for text in zone.get(name.as_str()).into_iter().flatten() {
            let data = record(text);
            let is_asked = query.questions[0].qtype == data.type_code().into();
            if let RData::CNAME(target) = &data {
                alias = Some(target.0.to_string());
            } else if !is_asked {
                continue;
            }
            let owner = Name::new(&name).unwrap().into_owned();
            reply
                .answers
                .push(ResourceRecord::new(owner, CLASS::IN, 60, data));
        }
        match alias {
            Some(alias) => name = alias,
            None => break,
        }
    }
    reply.build_bytes_vec().unwrap()
}

struct Bed {
    resolver: Resolver<u32>,
    begin: Instant,
    now: Instant,
    packets: usize,
}

impl Bed {
    fn new(servers: &[&str]) -> Self {
        let servers: Vec<SocketAddr> = servers.iter().map(|text| text.parse().unwrap()).collect();
        let begin = Instant::now();
        Bed {
            resolver: Resolver::new(servers, Hosts::read(""), fill_random),
            begin,
            now: begin,
            packets: 0,
        }
    }

    fn ask(&mut self, text: &str, waiter: u32) {
        let uri = Uri::parse(text).unwrap();
        let Hop::Named(target) = Hop::of_uri(&uri) else {
            panic!("{text} is no name");
        };
        self.resolver.ask(self.now, target, waiter).unwrap();
    }

    /// All that is sent now, each answered by `server`.
    fn exchange(&mut self, server: &mut dyn FnMut(&Transmit) -> Option<Vec<u8>>) {
        while let Some(transmit) = self.resolver.poll_transmit(self.now) {
            self.packets += 1;
            if let Some(packet) = server(&transmit) {
                let (server, channel) = (transmit.server, transmit.channel);
                self.resolver.handle_packet(server, channel, &packet);
            }
        }
    }

    /// Lets time pass until somebody has found something: who, what, and after how many
    /// milliseconds.
    fn run(
        &mut self,
        server: &mut dyn FnMut(&Transmit) -> Option<Vec<u8>>,
    ) -> (Vec<u32>, Vec<String>, u128) {
        loop {
            self.exchange(server);
            if let Some(found) = self.resolver.poll_found() {
                let places = found.places.iter();
                let places = places.map(|place| format!("{:?} {}", place.transport, place.address));
                let after = self.now.duration_since(self.begin).as_millis();
                return (found.waiting, places.collect(), after);
            }
            self.now = self.resolver.poll_timeout().expect("somebody waits");
            self.resolver.handle_timeout(self.now);
        }
    }

    fn find(&mut self, uri: &str, zone: &Zone) -> Vec<String> {
        self.ask(uri, 0);
        let (_, places, after) = self.run(&mut |transmit| Some(answer(&transmit.packet, zone)));
        assert_eq!(after, 0, "{uri}: nobody was silent");
        places
    }
}

fn one() -> Bed {
    Bed::new(&["192.0.2.53:53"])
}

fn full() -> Zone {
    zone(&[
        ("example.com", "NAPTR 20 5 s SIP+D2U _sip._udp.example.com"),
        ("example.com", "NAPTR 10 20 s SIP+D2T elsewhere.example.net"),
        (
            "example.com",
            "NAPTR 10 10 s SIPS+D2T _sips._tcp.example.com",
        ),
        ("example.com", "NAPTR 1 1 s SIP+D2S _sip._sctp.example.com"),
        ("_sip._udp.example.com", "SRV 1 0 5070 u.example.com"),
        ("elsewhere.example.net", "SRV 2 0 5072 t.example.com"),
        ("elsewhere.example.net", "SRV 1 0 5073 d.example.com"),
        ("_sips._tcp.example.com", "SRV 1 0 5071 s.example.com"),
        ("_sip._tcp.example.com", "SRV 1 0 5074 t.example.com"),
        ("u.example.com", "A 192.0.2.1"),
        ("t.example.com", "A 192.0.2.2"),
        ("t.example.com", "AAAA 2001:db8::2"),
        ("t.example.com", "A 192.0.2.3"),
        ("s.example.com", "CNAME other.example.com"),
        ("other.example.com", "A 192.0.2.4"),
        ("d.example.com", "AAAA 2001:db8::5"),
        ("plain.example.com", "A 192.0.2.6"),
        ("gone.example.com", "A 192.0.2.7"),
        ("_sip._udp.gone.example.com", "SRV 0 0 0 ."),
        (
            "_sip._tcp.gone.example.com",
            "SRV 0 0 5062 plain.example.com",
        ),
    ])
}

#[test]
fn the_domain_says_what_it_prefers() {
    assert_eq!(
        one().find("sip:example.com", &full()),
        [
            "Tls 192.0.2.4:5071",
            "Tcp [2001:db8::5]:5073",
            "Tcp 192.0.2.2:5072",
            "Tcp [2001:db8::2]:5072",
            "Tcp 192.0.2.3:5072",
            "Udp 192.0.2.1:5070",
        ]
    );
    for (uri, expected) in [
        (
            "sip:example.com;transport=tcp",
            vec![
                "Tcp 192.0.2.2:5074",
                "Tcp [2001:db8::2]:5074",
                "Tcp 192.0.2.3:5074",
            ],
        ),
        ("sips:example.com", vec!["Tls 192.0.2.4:5071"]),
        ("sip:plain.example.com", vec!["Udp 192.0.2.6:5060"]),
        ("sips:plain.example.com", vec!["Tls 192.0.2.6:5061"]),
        (
            "sip:plain.example.com:5090;transport=tcp",
            vec!["Tcp 192.0.2.6:5090"],
        ),
        (
            "sip:x@elsewhere.example;maddr=PLAIN.example.com.",
            vec!["Udp 192.0.2.6:5060"],
        ),
        ("sip:gone.example.com", vec!["Tcp 192.0.2.6:5062"]),
        ("sip:nobody.example.com", vec![]),
    ] {
        assert_eq!(one().find(uri, &full()), expected, "{uri}");
    }
}

#[test]
fn where_nothing_is_to_be_asked_nobody_is() {
    let mut bed = one();
    bed.resolver.set_system(
        vec!["192.0.2.53:53".parse().unwrap()],
        Hosts::read("192.0.2.9 own.example.com\n"),
    );
    assert_eq!(
        bed.find("sip:own.example.com", &full()),
        ["Udp 192.0.2.9:5060"]
    );
    assert_eq!(
        bed.find("sip:localhost:5061;transport=tls", &full()),
        ["Tls 127.0.0.1:5061", "Tls [::1]:5061"]
    );
    assert_eq!(bed.packets, 0);
    for (uri, hop) in [
        ("sip:a@192.0.2.1", Hop::Numeric),
        ("sip:a@[2001:db8::1]:5060", Hop::Numeric),
        (
            "sip:a@example.com:5070;maddr=192.0.2.1",
            Hop::Known(Place {
                transport: Transport::Udp,
                address: "192.0.2.1:5070".parse().unwrap(),
            }),
        ),
        ("tel:+4930", Hop::Numeric),
        ("sip:a@example.com;transport=sctp", Hop::Impossible),
    ] {
        assert_eq!(Hop::of_uri(&Uri::parse(uri).unwrap()), hop, "{uri}");
        assert_eq!(Hop::of_text(uri), hop, "{uri}");
    }
    let long = format!("{}.example", "a".repeat(64));
    for name in ["", "a..b", "a b", "a\\b", &long, &"a.".repeat(128)] {
        assert_eq!(Target::new(name, None, Wanted::Host), None, "{name}");
    }
}

#[test]
fn dead_names_cost_nobody_else_anything() {
    let mut bed = one();
    let zone = full();
    for number in 0..2000 {
        bed.ask(&format!("sip:a@dead{number}.example.org"), number);
    }
    bed.ask("sip:plain.example.com", 9999);
    let mut server = |transmit: &Transmit| {
        let query = Packet::parse(&transmit.packet).unwrap();
        let name = query.questions[0].qname.to_string();
        (!name.ends_with("example.org")).then(|| answer(&transmit.packet, &zone))
    };
    let (who, places, after) = bed.run(&mut server);
    assert_eq!((who, places.len(), after), (vec![9999], 1, 0));
    // Those who joined wait no longer than the first.
    bed.ask("sip:b@dead7.example.org", 10_000);
    let mut told = 0;
    while told < 2001 {
        let (who, places, after) = bed.run(&mut server);
        assert!(
            places.is_empty() && after <= DEADLINE.as_millis(),
            "{after}"
        );
        if who.contains(&7) {
            assert_eq!(who, [7, 10_000]);
        }
        told += who.len();
    }
    assert!(bed.resolver.is_idle());
    assert_eq!(
        bed.resolver.poll_timeout(),
        None,
        "no deadline outlives its name"
    );
    // NAPTR, A and AAAA, three times each, whatever the name.
    assert!(bed.packets <= 2000 * 9 + 9, "{}", bed.packets);
}

#[test]
fn there_is_a_bound() {
    let mut bed = one();
    let target =
        |number: usize| Target::new(&format!("n{number}.example"), None, Wanted::Any).unwrap();
    for number in 0..MAX_LOOKUPS {
        bed.resolver.ask(bed.now, target(number), 0).unwrap();
    }
    assert_eq!(bed.resolver.ask(bed.now, target(MAX_LOOKUPS), 5), Err(5));
    assert_eq!(bed.resolver.ask(bed.now, target(0), 5), Ok(()));
}

#[test]
fn another_server_is_asked_when_one_is_silent_refuses_or_cannot_tell() {
    let zone = full();
    let second: SocketAddr = "192.0.2.54:53".parse().unwrap();
    for silent in [true, false] {
        let mut bed = Bed::new(&["192.0.2.53:53", "192.0.2.54:53"]);
        let mut first = 0;
        let mut server = |transmit: &Transmit| {
            if transmit.server == second {
                return Some(answer(&transmit.packet, &zone));
            }
            first += 1;
            let query = Packet::parse(&transmit.packet).unwrap();
            let mut failed = Packet::new_reply(query.id());
            failed.questions = query.questions.clone();
            *failed.rcode_mut() = RCODE::ServerFailure;
            (!silent).then(|| failed.build_bytes_vec().unwrap())
        };
        bed.ask("sip:plain.example.com", 1);
        let (_, places, after) = bed.run(&mut server);
        assert_eq!(places, ["Udp 192.0.2.6:5060"]);
        assert_eq!(after, if silent { 500 } else { 0 });
        // The one that answers is asked first from then on.
        if silent {
            assert_eq!(first, 1);
        }
    }
    let mut bed = Bed::new(&["192.0.2.53:53", "192.0.2.54:53"]);
    bed.ask("sip:plain.example.com", 1);
    let transmit = bed.resolver.poll_transmit(bed.now).unwrap();
    bed.resolver
        .handle_refused(transmit.server, transmit.channel);
    let (_, places, after) = bed.run(&mut |transmit| Some(answer(&transmit.packet, &zone)));
    assert_eq!((places.len(), after), (1, 0));
}

#[test]
fn a_long_answer_is_asked_for_over_tcp() {
    let zone = full();
    let mut bed = one();
    let mut server = |transmit: &Transmit| {
        let whole = answer(&transmit.packet, &zone);
        if transmit.over_tcp {
            return Some(whole);
        }
        let query = Packet::parse(&transmit.packet).unwrap();
        let mut cut = Packet::new_reply(query.id());
        cut.questions = query.questions.clone();
        cut.set_flags(PacketFlag::TRUNCATION);
        Some(cut.build_bytes_vec().unwrap())
    };
    bed.ask("sip:plain.example.com:5080", 1);
    let (_, places, after) = bed.run(&mut server);
    assert_eq!((places, after), (vec!["Udp 192.0.2.6:5080".to_owned()], 0));
}

/// None of these is believed; the right answer that comes after them is.
#[test]
fn forged_answers_are_not_believed() {
    let good = zone(&[("a.example", "A 192.0.2.1")]);
    let evil = zone(&[
        ("a.example", "A 203.0.113.66"),
        ("b.example", "A 203.0.113.66"),
    ]);
    let mut bed = one();
    bed.ask("sip:a.example:5060", 1);
    let mut asked = Vec::new();
    while let Some(transmit) = bed.resolver.poll_transmit(bed.now) {
        asked.push(transmit);
    }
    let forged = |transmit: &Transmit, change: &dyn Fn(&mut Packet<'_>)| {
        let bytes = answer(&transmit.packet, &evil);
        let mut packet = Packet::parse(&bytes).unwrap();
        change(&mut packet);
        packet.build_bytes_vec().unwrap()
    };
    let server = asked[0].server;
    let elsewhere: SocketAddr = "203.0.113.53:53".parse().unwrap();
    for transmit in &asked {
        let channel = transmit.channel;
        let resolver = &mut bed.resolver;
        let evil = forged(transmit, &|_| {});
        resolver.handle_packet(elsewhere, channel, &evil);
        resolver.handle_packet(server, channel ^ 1, &evil);
        for id in 0..=u16::MAX {
            let own = u16::from_be_bytes([transmit.packet[0], transmit.packet[1]]);
            if id != own {
                let other = [&id.to_be_bytes()[..], &evil[2..]].concat();
                resolver.handle_packet(server, channel, &other);
            }
        }
        let other_name = |packet: &mut Packet<'_>| {
            packet.questions[0].qname = Name::new_unchecked("b.example").into_owned();
        };
        resolver.handle_packet(server, channel, &forged(transmit, &other_name));
        resolver.handle_packet(
            server,
            channel,
            &forged(transmit, &|packet| packet.questions.clear()),
        );
        let query = |packet: &mut Packet<'_>| packet.remove_flags(PacketFlag::RESPONSE);
        resolver.handle_packet(server, channel, &forged(transmit, &query));
        // As if it announced thousands of records.
        let mut announced = evil.clone();
        announced[6..8].copy_from_slice(&[0xff, 0xff]);
        resolver.handle_packet(server, channel, &announced);
    }
    assert_eq!(bed.resolver.poll_found(), None);
    for transmit in &asked {
        let packet = answer(&transmit.packet, &good);
        bed.resolver
            .handle_packet(server, transmit.channel, &packet);
    }
    let found = bed.resolver.poll_found().unwrap();
    assert_eq!(found.places.len(), 1);
    assert_eq!(found.places[0].address, "192.0.2.1:5060".parse().unwrap());
    assert_eq!(found.places[0].transport, Transport::Udp);
}

#[test]
fn records_of_other_names_are_not_believed() {
    let question = Question::new("a.example", Kind::A).unwrap();
    let query = question.write(7).unwrap();
    let mut reply = Packet::new_reply(7);
    reply.questions = Packet::parse(&query).unwrap().questions;
    for (owner, data) in [
        ("b.example", record("A 203.0.113.66")),
        ("a.example", record("AAAA 2001:db8::66")),
        ("a.example.", record("SRV 1 1 1 b.example")),
    ] {
        let owner = Name::new_unchecked(owner.trim_end_matches('.'));
        reply
            .answers
            .push(ResourceRecord::new(owner, CLASS::IN, 60, data));
    }
    let records = question.read(&reply.build_bytes_vec().unwrap(), 7);
    assert!(matches!(records, Some(Reply::Records { records, .. }) if records.is_empty()));
}

#[test]
fn circles_and_floods_end() {
    let circle = zone(&[
        ("a.example", "CNAME b.example"),
        ("b.example", "CNAME a.example"),
    ]);
    let mut bed = one();
    assert_eq!(bed.find("sip:a.example:5060", &circle), [""; 0]);
    // A name that points to itself, in the middle of an answer.
    let question = Question::new("a.example", Kind::A).unwrap();
    let mut packet = question.write(7).unwrap();
    packet[2] |= 0x80;
    packet[6..8].copy_from_slice(&[0, 1]);
    let here = packet.len() as u16;
    for pointer in [here, here + 1, 12, 0x3fff] {
        let name = (0xc000 | pointer).to_be_bytes();
        let record = [&name[..], &[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4]].concat();
        // It must come back, whatever it says.
        let reply = question.read(&[&packet[..], &record].concat(), 7);
        let believed =
            matches!(&reply, Some(Reply::Records { records, .. }) if !records.is_empty());
        assert_eq!(believed, pointer == 12, "{pointer:x}");
    }
    // Pointers that point to pointers, as many as fit, and records that use them all.
    let mut chain = packet.clone();
    while chain.len() < 8000 {
        let before = chain.len() as u16 - 2;
        chain.extend((0xc000 | before).to_be_bytes());
    }
    let end = (0xc000 | (chain.len() as u16 - 2)).to_be_bytes();
    while chain.len() < 16_000 {
        chain.extend([&end[..], &[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4]].concat());
    }
    chain[6..8].copy_from_slice(&1000_u16.to_be_bytes());
    let begin = Instant::now();
    let _ = question.read(&chain, 7);
    assert!(begin.elapsed() < Duration::from_secs(1));
    // More addresses than anybody has, of which some are taken.
    let mut reply = Packet::new_reply(7);
    let query = question.write(7).unwrap();
    reply.questions = Packet::parse(&query).unwrap().questions;
    for _ in 0..1000 {
        let owner = Name::new_unchecked("a.example");
        reply.answers.push(ResourceRecord::new(
            owner,
            CLASS::IN,
            60,
            record("A 192.0.2.1"),
        ));
    }
    let many = question.read(&reply.build_bytes_vec().unwrap(), 7);
    assert!(matches!(many, Some(Reply::Records { records, .. }) if records.len() == 32));
}

#[test]
fn any_bytes_are_survived() {
    let question = Question::new("a.example", Kind::Naptr).unwrap();
    let zone = zone(&[("a.example", "NAPTR 1 1 s SIP+D2U _sip._udp.a.example")]);
    let good = answer(&question.write(7).unwrap(), &zone);
    for at in 0..good.len() {
        for value in [0, 1, 0x3f, 0x7f, 0x80, 0xc0, 0xff] {
            let mut bad = good.clone();
            bad[at] = value;
            let _ = question.read(&bad, 7);
            let _ = question.read(&bad[..at], 7);
        }
    }
}
