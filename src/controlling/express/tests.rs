//! The lane in virtual time: a network that loses, duplicates and reorders packets, recipients that
//! answer late, twice or not at all, and processes that are killed.

use std::cell::Cell as StdCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::atomic::AtomicU64;

use super::block::{Block, Place, owner_of};
use super::branch::{Branch, COOKIE};
use super::timers::State;
use super::*;
use crate::controlling::OutgoingRequest;
use crate::shared::HELD_MS;

mod connection;
mod hearing;
mod memory;

thread_local! {
    static SEED: StdCell<u64> = const { StdCell::new(1) };
}

fn next_random() -> u64 {
    SEED.with(|seed| {
        let mut x = seed.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        seed.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    })
}

fn fill(bytes: &mut [u8]) {
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&next_random().to_le_bytes()[..chunk.len()]);
    }
}

fn memory() -> LaneMemory {
    let words = (0..LaneMemory::WORDS / 8).map(|_| AtomicU64::new(0));
    LaneMemory::new(words.collect::<Vec<_>>().leak())
}

const VIA: [&[u8]; 2] = [b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=", b";rport\r\n"];

fn way(transport: Transport, hop: u16) -> Way<'static> {
    Way {
        transport,
        socket: 9,
        address: ([192, 0, 2, 9], 5_000 + hop).into(),
        via: VIA,
        timers: Timers::default(),
        max_datagram_bytes: 65_507,
    }
}

/// The processes of a proxy with one lane, the network, and the recipients.
struct Network {
    now_ms: u64,
    /// Workers, and the process that sweeps.
    workers: Vec<Lane>,
    sweeper: Lane,
    sweeps_at_ms: Option<u64>,
    /// Packets in flight: time of arrival, number, and whether it is a response.
    flying: BinaryHeap<Reverse<(u64, u64)>>,
    packets: BTreeMap<u64, (bool, Vec<u8>)>,
    /// Percentage of packets lost, and duplicated; maximum delay.
    loss: u64,
    doubled: u64,
    delay_ms: u64,
    /// What a recipient does with a copy that it has received this many times before.
    recipient: fn(uri: &str, before: u32) -> Vec<u16>,
    got: BTreeMap<String, u32>,
    transmissions: u32,
    ended: BTreeMap<String, Vec<u16>>,
    /// The largest number of copies that were out at once.
    batch_sizes: Vec<usize>,
    strays: u32,
    repeated: u32,
}

impl Network {
    fn new(recipient: fn(&str, u32) -> Vec<u16>) -> Self {
        let first = Lane::new(memory(), fill);
        let lane = || {
            let mut lane = Lane::new(first.memory().clone(), fill);
            lane.share_secret(&first);
            lane
        };
        Network {
            now_ms: 10_000,
            workers: (0..4).map(|_| lane()).collect(),
            sweeper: lane(),
            sweeps_at_ms: None,
            flying: BinaryHeap::new(),
            packets: BTreeMap::new(),
            loss: 0,
            doubled: 0,
            delay_ms: 1,
            recipient,
            got: BTreeMap::new(),
            transmissions: 0,
            ended: BTreeMap::new(),
            batch_sizes: Vec::new(),
            strays: 0,
            repeated: 0,
        }
    }

    fn send_all(&mut self, count: usize, transport: Transport) {
        let mut outbox = Outbox::default();
        let mut ids = 0;
        for number in 0..count {
            let uri = format!("sip:user{number}@example.com");
            let (to, call_id) = (format!("<{uri}>"), format!("cpm-{number:032x}"));
            ids += 1;
            let copy = copy(&uri, &to, &call_id, ids);
            let worker = &mut self.workers[0];
            assert!(worker.take(&copy, &way(transport, 0), self.now_ms, &mut outbox));
        }
        self.workers[0].flush(self.now_ms, &mut outbox);
        if outbox.wakes {
            self.sweeps_at_ms = Some(self.now_ms);
        }
        self.carry_out(outbox);
    }

    fn carry_out(&mut self, outbox: Outbox) {
        for batch in &outbox.batches {
            self.batch_sizes.push(batch.len());
            for (text, address) in batch.copies() {
                assert_eq!(address.ip().to_string(), "192.0.2.9");
                self.transmissions += 1;
                self.fly(false, text.to_vec());
            }
        }
        for ended in outbox.ended {
            let text = String::from_utf8(outbox.texts[ended.request].to_vec()).unwrap();
            let uri = text.split(' ').nth(1).unwrap().to_owned();
            if ended.code >= 300 {
                assert!(text.ends_with("\r\n\r\nHello"), "{text}");
            }
            self.ended.entry(uri).or_default().push(ended.code);
        }
        self.strays += outbox.strays;
        self.repeated += outbox.repeated;
    }

    fn fly(&mut self, is_to_us: bool, packet: Vec<u8>) {
        let copies = 1 + u64::from(next_random() % 100 < self.doubled);
        for _ in 0..copies {
            if next_random() % 100 < self.loss {
                continue;
            }
            let number = self.packets.keys().last().map_or(0, |last| last + 1);
            let at_ms = self.now_ms + 1 + next_random() % self.delay_ms;
            self.packets.insert(number, (is_to_us, packet.clone()));
            self.flying.push(Reverse((at_ms, number)));
        }
    }

    fn arrive(&mut self, number: u64) {
        let (is_to_us, packet) = self.packets.remove(&number).unwrap();
        if is_to_us {
            let mut outbox = Outbox::default();
            let worker = next_random() as usize % self.workers.len();
            let worker = &mut self.workers[worker];
            assert!(worker.hear(&packet, self.now_ms, &mut outbox));
            worker.go_on(self.now_ms, &mut outbox);
            return self.carry_out(outbox);
        }
        let text = String::from_utf8(packet).unwrap();
        let uri = text.split(' ').nth(1).unwrap().to_owned();
        let before = self.got.entry(uri.clone()).or_default();
        let answers = (self.recipient)(&uri, *before);
        *before += 1;
        for code in answers {
            self.fly(true, answer(&text, code));
        }
    }

    /// Runs until nothing is left to do.
    fn run(&mut self) {
        let end_ms = self.now_ms + 600_000;
        loop {
            let next = [
                self.flying.peek().map(|Reverse((at_ms, _))| *at_ms),
                self.sweeps_at_ms,
            ];
            let Some(at_ms) = next.into_iter().flatten().min() else {
                return;
            };
            self.now_ms = at_ms.max(self.now_ms);
            assert!(self.now_ms < end_ms, "it ends");
            if self.sweeps_at_ms == Some(at_ms) {
                self.sweep();
            } else if let Some(Reverse((_, number))) = self.flying.pop() {
                self.arrive(number);
            }
        }
    }

    fn sweep(&mut self) {
        loop {
            let mut outbox = Outbox::default();
            let swept = self.sweeper.sweep(self.now_ms, &mut outbox);
            self.carry_out(outbox);
            if let Swept::Until(until_ms) = swept {
                self.sweeps_at_ms = until_ms;
                return;
            }
        }
    }

    /// Every copy has ended once, with that code, and nothing is left.
    fn assert_all(&self, count: usize, code: u16) {
        assert_eq!(self.ended.len(), count);
        for (uri, codes) in &self.ended {
            assert_eq!(codes, &[code], "{uri}");
        }
        self.assert_empty();
    }

    fn assert_empty(&self) {
        let memory = self.sweeper.memory();
        assert_eq!(memory.bytes(), 0);
        assert_eq!(memory.outstanding(), 0);
        assert!(memory.is_empty());
    }
}

fn copy<'a>(uri: &'a str, to: &'a str, call_id: &'a str, attempt: u64) -> OutgoingRequest<'a> {
    OutgoingRequest {
        method: "MESSAGE",
        request_uri: uri,
        next_hop: None,
        from: "<sip:anne@example.com>",
        from_tag: "0123456789abcdef",
        to,
        call_id,
        cseq: 1,
        headers: b"Max-Forwards: 69\r\nContent-Type: text/plain\r\n",
        body: b"Hello",
        attempt,
        about: None,
    }
}

/// Answers as a user agent does (RFC 3261 8.2.6.2).
fn answer(request: &str, code: u16) -> Vec<u8> {
    let mut text = format!("SIP/2.0 {code} Some Reason\r\n");
    for line in request.lines().skip(1).take_while(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap();
        if ["Via", "To", "From", "Call-ID", "CSeq"].contains(&name) {
            text.push_str(line);
            text.push_str("\r\n");
        }
    }
    text.push_str("Content-Length: 0\r\n\r\n");
    text.into_bytes()
}

fn block_of<'m>(lane: &Lane, request: &str, memory: &'m LaneMemory) -> (Block<'m>, Place) {
    let at = request.find("z9hG4bKcpm").unwrap() + COOKIE.len();
    let branch = Branch::read(&request.as_bytes()[at..], lane.secret()).unwrap();
    let (cell, number) = Place::of_bits(branch.place, &memory.cells).unwrap();
    let block = owner_of(&memory.cells, cell).unwrap();
    let place = block.legs_of(cell).nth(number).unwrap();
    (block, place)
}

fn at_once(_: &str, _: u32) -> Vec<u16> {
    vec![200]
}

#[test]
fn ten_thousand_recipients_get_one_copy_each_through_the_window() {
    let mut network = Network::new(at_once);
    network.send_all(10_000, Transport::Udp);
    assert_eq!(network.batch_sizes, [312], "the 32nd part");
    let memory = network.sweeper.memory();
    assert_eq!(memory.outstanding(), 10_000);
    let each = memory.bytes() as f64 / 10_000.;
    assert!(each <= 150., "{each} bytes for each");
    network.run();
    network.assert_all(10_000, 200);
    assert_eq!(network.transmissions, 10_000);
    assert_eq!((network.strays, network.repeated), (0, 0));
    assert!(network.got.values().all(|times| *times == 1));
    assert!(network.batch_sizes.iter().all(|size| *size <= 312));
}

#[test]
fn a_lossy_network_costs_repetitions_and_nobody() {
    for seed in 1..6 {
        SEED.set(seed * 7_919);
        let mut network = Network::new(at_once);
        (network.loss, network.doubled, network.delay_ms) = (20, 10, 700);
        network.send_all(1_000, Transport::Udp);
        network.run();
        network.assert_all(1_000, 200);
        assert!(network.repeated > 0 && network.strays > 0);
        assert_eq!(network.transmissions, 1_000 + network.repeated);
    }
}

#[test]
fn who_never_answers_is_given_up_by_timer_f_and_costs_only_himself() {
    let mut network = Network::new(|uri, _| match uri.contains("user7@") {
        true => vec![],
        false => vec![200],
    });
    network.send_all(1_000, Transport::Udp);
    let begun_ms = network.now_ms;
    network.run();
    assert_eq!(network.ended["sip:user7@example.com"], [408]);
    assert!((32_000..32_200).contains(&(network.now_ms - begun_ms)));
    // At 0.5, 1.5, 3.5, 7.5, 11.5, .. 31.5 s.
    assert_eq!(network.repeated, 10);
    assert_eq!(network.got["sip:user7@example.com"], 11);
    assert_eq!(network.ended.len(), 1_000);
    network.assert_empty();
}

#[test]
fn where_nobody_answers_all_copies_go_out_all_the_same() {
    let mut network = Network::new(|_, _| vec![]);
    network.send_all(4_000, Transport::Udp);
    let begun_ms = network.now_ms;
    while network.got.len() < 4_000 {
        let at_ms = network.sweeps_at_ms.unwrap();
        while let Some(Reverse((arrives_ms, number))) = network.flying.peek().copied()
            && arrives_ms < at_ms
        {
            network.flying.pop();
            network.now_ms = arrives_ms;
            network.arrive(number);
        }
        network.now_ms = at_ms;
        network.sweep();
    }
    assert!(network.now_ms - begun_ms < 25_000);
    network.run();
    network.assert_all(4_000, 408);
}

#[test]
fn provisional_responses_stop_nothing_but_the_doubling() {
    let mut network = Network::new(|_, before| match before {
        0 => vec![100, 180],
        4 => vec![486],
        _ => vec![],
    });
    network.send_all(3, Transport::Udp);
    network.run();
    network.assert_all(3, 486);
    // 0.5, then each T2: 4.5, 8.5, 12.5 s.
    assert_eq!(network.repeated, 12);
}

#[test]
fn late_and_repeated_responses_are_absorbed() {
    let mut network = Network::new(|_, _| vec![200, 200, 486, 180]);
    network.send_all(10, Transport::Udp);
    network.run();
    assert_eq!(network.ended.len(), 10);
    assert!(network.ended.values().all(|codes| codes.len() == 1));
    assert_eq!(network.strays, 30);
    network.assert_empty();
}

#[test]
fn what_is_no_response_of_ours_goes_on_to_the_proxy() {
    let mut network = Network::new(at_once);
    let mut outbox = Outbox::default();
    for text in [
        "OPTIONS sip:a@b SIP/2.0\r\n\r\n",
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKcb1f.1\r\n\r\n",
        "",
    ] {
        assert!(!network.workers[0].hear(text.as_bytes(), 1, &mut outbox));
    }
    assert_eq!(outbox.strays, 0);
}

#[test]
fn a_copy_is_a_request_as_tm_would_write_it() {
    let mut lane = Lane::new(memory(), fill);
    let mut outbox = Outbox::default();
    let (uri, to, call_id) = ("sip:bill@example.com", "<sip:bill@example.com>", "cpm-1");
    let longer = "sip:bill.the.second@example.com";
    for copy in [
        copy(uri, to, call_id, 1),
        copy(longer, "Bill <sip:b@c>", call_id, 2),
    ] {
        assert!(lane.take(&copy, &way(Transport::Udp, 0), 5, &mut outbox));
    }
    lane.flush(5, &mut outbox);
    let [batch] = &outbox.batches[..] else {
        panic!("{outbox:?}");
    };
    assert_eq!(batch.socket, 9);
    let texts: Vec<String> = batch
        .copies()
        .map(|(text, _)| String::from_utf8(text.to_vec()).unwrap())
        .collect();
    let branch = |text: &str| text[text.find("z9hG4bKcpm").unwrap()..][..34].to_owned();
    assert_ne!(branch(&texts[0]), branch(&texts[1]));
    let expected = |uri: &str, to: &str, branch: &str, padding: &str| {
        format!(
            "MESSAGE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch={branch};rport\r\nTo: {to}\r\n\
             From: <sip:anne@example.com>;tag=0123456789abcdef\r\nCSeq: {padding}1 MESSAGE\r\nCall-ID: {call_id}\r\n\
             Content-Length: 5\r\nMax-Forwards: 69\r\nContent-Type: text/plain\r\n\r\nHello"
        )
    };
    assert_eq!(
        texts[0],
        expected(uri, to, &branch(&texts[0]), &" ".repeat(3))
    );
    let second = expected(longer, "Bill <sip:b@c>", &branch(&texts[1]), "");
    assert_eq!(texts[1], second);
    assert_eq!(texts[0].len(), texts[1].len(), "they leave as one");
}

#[test]
fn padding_makes_no_datagram_too_long() {
    let mut lane = Lane::new(memory(), fill);
    let mut sizes = |max_datagram_bytes: u32| {
        let mut outbox = Outbox::default();
        for uri in ["sip:a@b", "sip:a.much.longer.name@b"] {
            let to = format!("<{uri}>");
            let copy = copy(uri, &to, "cpm-1", 1);
            let way = Way {
                max_datagram_bytes,
                ..way(Transport::Udp, 0)
            };
            assert!(lane.take(&copy, &way, 5, &mut outbox));
        }
        lane.flush(5, &mut outbox);
        let batch = &outbox.batches[0];
        let sizes = batch.copies().map(|(text, _)| text.len());
        sizes.collect::<Vec<_>>()
    };
    let all = sizes(65_507);
    assert_eq!(all[0], all[1]);
    let all = sizes(all[1] as u32 - 1);
    assert!(all[0] < all[1]);
}

#[test]
fn copies_that_end_otherwise_are_another_block() {
    let mut lane = Lane::new(memory(), fill);
    let mut outbox = Outbox::default();
    let first = copy("sip:a@b", "<sip:a@b>", "1", 1);
    let others = [
        OutgoingRequest {
            body: b"Bye",
            ..first
        },
        OutgoingRequest {
            headers: b"Max-Forwards: 1\r\n",
            ..first
        },
        OutgoingRequest {
            from: "<sip:b@c>",
            ..first
        },
        OutgoingRequest { cseq: 2, ..first },
    ];
    let udp = way(Transport::Udp, 0);
    assert!(lane.take(&first, &udp, 5, &mut outbox));
    assert!(lane.take(&first, &way(Transport::Udp, 1), 5, &mut outbox));
    assert!(
        outbox.batches.is_empty(),
        "another next hop is no other block"
    );
    for other in others {
        assert!(lane.take(&other, &udp, 5, &mut outbox));
    }
    assert!(lane.take(&first, &Way { socket: 8, ..udp }, 5, &mut outbox));
    assert!(lane.take(&first, &way(Transport::Tcp, 0), 5, &mut outbox));
    lane.flush(5, &mut outbox);
    let sizes: Vec<usize> = outbox.batches.iter().map(Batch::len).collect();
    assert_eq!(sizes, [2, 1, 1, 1, 1, 1, 1]);
}

#[test]
fn the_sweep_is_woken_once() {
    let mut lane = Lane::new(memory(), fill);
    let copy = copy("sip:a@b", "<sip:a@b>", "1", 1);
    let wakes = |lane: &mut Lane, transports: &[Transport]| {
        let mut outbox = Outbox::default();
        for transport in transports {
            assert!(lane.take(&copy, &way(*transport, 0), 5, &mut outbox));
        }
        lane.flush(5, &mut outbox);
        outbox.wakes
    };
    let mut outbox = Outbox::default();
    assert_eq!(lane.sweep(1, &mut outbox), Swept::Until(None));
    assert!(!wakes(&mut lane, &[]), "there is nothing");
    // The first of the two blocks has ended before the call that reports it.
    assert!(wakes(&mut lane, &[Transport::Udp, Transport::Tcp]));
    assert!(!wakes(&mut lane, &[Transport::Udp]));
    assert!(matches!(lane.sweep(6, &mut outbox), Swept::Until(Some(_))));
    assert!(!wakes(&mut lane, &[Transport::Udp]));
}

#[test]
fn the_list_says_what_is_outstanding() {
    let mut network = Network::new(at_once);
    network.send_all(600, Transport::Udp);
    let list = network.workers[2].list(network.now_ms + 7, 10);
    assert_eq!(
        list,
        "recipients=600\toutstanding=600\twaiting=536\tage_ms=7\ttransport=udp\tnext_hop=192.0.2.9:5000\n"
    );
    network.run();
    assert_eq!(network.workers[2].list(network.now_ms, 10), "");
}
