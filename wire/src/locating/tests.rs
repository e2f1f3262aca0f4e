//! The resolver in virtual time, against name servers that answer, stay silent, or lie.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use simple_dns::{Name, Packet, PacketFlag, RCODE, TYPE};

use super::plan::in_turn;
use super::{
    Hop, Hosts, MAX_LOOKUPS, MAX_SERVERS, Patience, Place, Resolver, Server, Target, Transmit,
    Wanted, taking_turns,
};
use crate::dns::Srv;
use crate::dns::test_zone::{Zone, answer, zone};
use crate::sip::{Transport, Uri};
use crate::test_random::fill;

const DEADLINE: Duration = Duration::from_secs(4);
const PATIENCE: Patience = Patience {
    retry: Duration::from_millis(500),
    tries: 3,
    deadline: DEADLINE,
};

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
            resolver: Resolver::new(servers, Some(Hosts::read("")), PATIENCE, fill),
            begin,
            now: begin,
            packets: 0,
        }
    }

    fn ask(&mut self, text: &str, waiter: u32) {
        let uri = Uri::parse(text).unwrap();
        let Hop::Named(target) = Hop::of_uri(&uri) else {
            panic!("{text} is not a name");
        };
        self.resolver.ask(self.now, target, waiter).unwrap();
    }

    /// Everything that is sent now, answered by `server`.
    fn exchange(&mut self, server: &mut dyn FnMut(&Transmit) -> Option<Vec<u8>>) {
        while let Some(transmit) = self.resolver.poll_transmit(self.now) {
            self.packets += 1;
            if let Some(packet) = server(&transmit) {
                let (server, channel) = (transmit.server, transmit.channel);
                self.resolver.handle_packet(server, channel, &packet);
            }
        }
    }

    /// Lets time pass until there is a result: for whom, what, and after how many milliseconds.
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
        assert_eq!(after, 0, "{uri}: no server was silent");
        places
    }
}

/// The servers of a name, for a resolver that asks for no addresses, and how many packets that
/// took.
fn servers(uri: &str, wanted: Wanted, zone: &Zone) -> (Vec<String>, usize) {
    let mut bed = one();
    bed.resolver = Resolver::new(vec!["192.0.2.53:53".parse().unwrap()], None, PATIENCE, fill);
    let uri = Uri::parse(uri).unwrap();
    let target = Target::new(uri.host().unwrap(), uri.port(), wanted).unwrap();
    bed.resolver.ask(bed.now, target, 0).unwrap();
    bed.exchange(&mut |transmit| Some(answer(&transmit.packet, zone)));
    let found = bed.resolver.poll_found().unwrap();
    assert_eq!(found.places, []);
    let servers = found.servers.iter().map(|server| {
        let transport = server.transport.as_str();
        format!("{transport} {}:{}", server.host, server.port)
    });
    (servers.collect(), bed.packets)
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

/// Where one does not answer, the next is another.
#[test]
fn two_names_of_one_address_are_one_place() {
    let zone = zone(&[
        ("_sip._udp.example.com", "SRV 1 0 5060 a.example.com"),
        ("_sip._udp.example.com", "SRV 2 0 5060 b.example.com"),
        ("_sip._udp.example.com", "SRV 3 0 5070 b.example.com"),
        ("a.example.com", "A 192.0.2.1"),
        ("b.example.com", "A 192.0.2.1"),
        ("b.example.com", "A 192.0.2.2"),
    ]);
    let places = one().find("sip:example.com;transport=udp", &zone);
    let expected = [
        "Udp 192.0.2.1:5060",
        "Udp 192.0.2.2:5060",
        "Udp 192.0.2.1:5070",
        "Udp 192.0.2.2:5070",
    ];
    assert_eq!(places, expected);
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
    // Those that joined later wait no longer than the first.
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
    // NAPTR, A and AAAA, three times each, for every name.
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
        // From then on the one that answered is asked first.
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

/// None of these is trusted; the correct answer that follows them is.
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
        // As if thousands of records were announced.
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
fn secure_sip_is_found_by_naptr_alone() {
    let zone = zone(&[
        ("example.com", "NAPTR 1 1 s SIP+D2U _sip._udp.example.com"),
        ("example.com", "NAPTR 2 1 s SIPS+D2T elsewhere.example.net"),
        ("elsewhere.example.net", "SRV 1 0 5071 192.0.2.4"),
        ("_sips._tcp.example.com", "SRV 1 0 5072 192.0.2.5"),
    ]);
    for (uri, expected) in [
        ("sips:example.com", "Tls 192.0.2.4:5071"),
        // The URI names the transport, so no NAPTR record is asked for (RFC 3263 §4.1).
        ("sips:example.com;transport=tcp", "Tls 192.0.2.5:5072"),
        ("sip:example.com;transport=tls", "Tls 192.0.2.5:5072"),
    ] {
        assert_eq!(one().find(uri, &zone), [expected], "{uri}");
    }
}

fn domain(naptr: &[&'static str]) -> Zone {
    let mut zone = zone(&[
        ("_sip._udp.example.com", "SRV 2 0 5070 b"),
        ("_sip._udp.example.com", "SRV 1 0 5071 a"),
        ("elsewhere.example.net", "SRV 1 0 5072 c"),
        ("_sips._tcp.example.com", "SRV 1 0 5073 d"),
    ]);
    zone.insert("example.com", naptr.to_vec());
    zone
}

#[test]
fn what_is_too_large_for_a_datagram_goes_over_connections_first() {
    let zone = domain(&[
        "NAPTR 20 5 s SIP+D2U _sip._udp.example.com",
        "NAPTR 30 20 s SIP+D2T elsewhere.example.net",
        "NAPTR 10 10 s SIPS+D2T _sips._tcp.example.com",
        "NAPTR 1 1 s SIP+D2S _sip._sctp.example.com",
        "NAPTR 1 1 s E2U+email mail.example.com",
    ]);
    for (wanted, expected) in [
        (
            Wanted::Any,
            &["TLS d:5073", "UDP a:5071", "UDP b:5070", "TCP c:5072"][..],
        ),
        (
            Wanted::Large,
            &["TLS d:5073", "TCP c:5072", "UDP a:5071", "UDP b:5070"],
        ),
        (Wanted::Over(Transport::Tcp), &["TCP c:5072"]),
        (Wanted::Only(Transport::Tcp), &["TCP example.com:5060"]),
    ] {
        assert_eq!(
            servers("sip:example.com", wanted, &zone).0,
            expected,
            "{wanted:?}"
        );
        assert_eq!(
            servers("sip:EXAMPLE.com.", wanted, &zone).0,
            expected,
            "{wanted:?}"
        );
    }
    let zone = domain(&[]);
    for (wanted, expected) in [
        (Wanted::Any, &["UDP a:5071", "UDP b:5070", "TLS d:5073"][..]),
        (Wanted::Over(Transport::Tls), &["TLS d:5073"]),
        (Wanted::Over(Transport::Tcp), &["TCP example.com:5060"]),
    ] {
        assert_eq!(
            servers("sip:example.com", wanted, &zone).0,
            expected,
            "{wanted:?}"
        );
    }
}

#[test]
fn servers_that_need_no_question() {
    let zone = domain(&[]);
    for (uri, expected) in [
        (
            "sip:192.0.2.1",
            ["TCP 192.0.2.1:5060", "UDP 192.0.2.1:5060"],
        ),
        (
            "sip:a.example.org:9",
            ["TCP a.example.org:9", "UDP a.example.org:9"],
        ),
        (
            "sip:localhost",
            ["TCP localhost:5060", "UDP localhost:5060"],
        ),
    ] {
        let (found, packets) = servers(uri, Wanted::Large, &zone);
        assert_eq!((&found[..], packets), (&expected.map(String::from)[..], 0));
    }
    assert_eq!(Server::itself("::1", None, &Wanted::Any).len(), 1);
}

/// A name without any answer is tried by itself; one whose deadline is reached, with what is known
/// of it.
#[test]
fn silence_is_no_refusal() {
    let mut bed = one();
    let by_name = |wanted| Target::new("example.com", None, wanted).unwrap();
    let servers = vec!["192.0.2.53:53".parse().unwrap()];
    bed.resolver = Resolver::new(servers, None, PATIENCE, fill);
    let over_tls = by_name(Wanted::Over(Transport::Tls));
    bed.resolver.ask(bed.now, over_tls, 0).unwrap();
    while !bed.resolver.is_idle() {
        bed.exchange(&mut |_| None);
        bed.now = bed.resolver.poll_timeout().unwrap();
        bed.resolver.handle_timeout(bed.now);
    }
    let found = bed.resolver.poll_found().unwrap();
    let itself = Server::itself("example.com", None, &Wanted::Over(Transport::Tls));
    assert_eq!(found.servers, itself);
    // NAPTR is answered at the third attempt, SRV never; then A at once, and AAAA not in time.
    let zone = full();
    let mut bed = one();
    bed.ask("sip:t.example.com", 1);
    let mut naptr = 0;
    let (_, places, after) = bed.run(&mut |transmit| {
        let query = Packet::parse(&transmit.packet).unwrap();
        let kind = query.questions[0].qtype;
        naptr += usize::from(kind == TYPE::NAPTR.into());
        let is_answered = kind == TYPE::A.into() || naptr == 3 && kind == TYPE::NAPTR.into();
        is_answered.then(|| answer(&transmit.packet, &zone))
    });
    assert_eq!(places, ["Udp 192.0.2.2:5060", "Udp 192.0.2.3:5060"]);
    assert_eq!(after, DEADLINE.as_millis());
}

#[test]
fn a_name_server_that_does_not_know_naptr_is_asked_for_srv() {
    let zone = full();
    let mut bed = one();
    bed.ask("sip:gone.example.com", 1);
    let (_, places, _) = bed.run(&mut |transmit| {
        let mut packet = Packet::parse(&transmit.packet).unwrap();
        if packet.questions[0].qtype != TYPE::NAPTR.into() {
            return Some(answer(&transmit.packet, &zone));
        }
        packet.set_flags(PacketFlag::RESPONSE);
        *packet.rcode_mut() = RCODE::NotImplemented;
        Some(packet.build_bytes_vec().unwrap())
    });
    assert_eq!(places, ["Tcp 192.0.2.6:5062"]);
}

#[test]
fn a_service_that_the_domain_denies_is_not_tried() {
    let over_udp = Wanted::Over(Transport::Udp);
    let denied = zone(&[
        ("_sip._udp.example.com", "SRV 0 0 0 ."),
        ("example.com", "A 192.0.2.1"),
    ]);
    assert_eq!(servers("sip:example.com", over_udp, &denied).0, [""; 0]);
    assert_eq!(one().find("sip:example.com", &denied), [""; 0]);
    let large = servers("sip:example.com", Wanted::Large, &denied).0;
    assert_eq!(large, ["TCP example.com:5060"]);
    // Only port 0 is skipped.
    let nowhere = zone(&[
        ("_sip._udp.example.com", "SRV 0 0 0 a"),
        ("_sip._udp.example.com", "SRV 1 0 5070 b"),
    ]);
    assert_eq!(
        servers("sip:example.com", over_udp, &nowhere).0,
        ["UDP b:5070"]
    );
}

#[test]
fn priority_comes_first_and_weight_is_drawn() {
    let srv = |priority, weight, target: &str| Srv {
        priority,
        weight,
        port: 1,
        target: target.to_owned(),
    };
    let order = |ticket| -> Vec<String> {
        let records = vec![
            srv(2, 100, "last"),
            srv(1, 0, "zero"),
            srv(1, 10, "ten"),
            srv(1, 90, "ninety"),
        ];
        let ordered = in_turn(records, ticket).into_iter();
        ordered.map(|record| record.target).collect()
    };
    assert_eq!(order(0), ["zero", "ten", "ninety", "last"]);
    assert_eq!(order(100)[0], "ninety");
}

#[test]
fn there_is_a_bound_for_servers() {
    static ALL: LazyLock<Vec<String>> = LazyLock::new(|| {
        (0..100)
            .map(|port| format!("SRV {} 0 {} x", 100 - port, port + 1))
            .collect()
    });
    let mut crowd = domain(&[]);
    let all = ALL.iter().map(String::as_str).collect();
    crowd.insert("_sip._udp.example.com", all);
    let (found, _) = servers("sip:example.com", Wanted::Any, &crowd);
    assert_eq!((found.len(), found[0].as_str()), (MAX_SERVERS, "UDP x:100"));
}

#[test]
fn families_take_turns() {
    assert_eq!(taking_turns([1, 2, 1, 3], [7]), [1, 7, 2, 3]);
    assert_eq!(taking_turns([], [7, 8]), [7, 8]);
}
