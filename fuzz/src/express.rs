//! The express lane under events in any order: no copy is sent more often than timer E permits,
//! each ends once, and at the end nothing is kept.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;

use cpm::controlling::OutgoingRequest;
use cpm::controlling::express::{Batch, Lane, LaneMemory, Outbox, Swept, Timers, Transport, Way};

use crate::numbered;

/// Maximum number of copies in one script.
const MAX_COPIES: usize = 100;

/// A lane with so few cells that it is soon full.
const WORDS: usize = 8 + 64 + 8 + 48 * 128;

/// How much later than due a timer may fire: a sweep runs every 100 ms.
const FAR_MS: u64 = 700_000;

/// Maximum time until a copy has ended whose connection cannot be made: the rest of one sweep of
/// all places, and the next one.
const LOST_MS: u64 = 300;

/// What an observer knows of a copy.
#[derive(Default)]
struct Copy {
    is_reliable: bool,
    /// When it was first sent; over a connection: whether it was.
    sent_ms: Option<u64>,
    /// How often it has been sent since.
    repeated: u64,
    /// When a provisional response arrived.
    provisional_ms: Option<u64>,
    last_request: Vec<u8>,
    /// When its connection could not be made.
    lost_ms: Option<u64>,
    /// Whether an answer has come nevertheless, perhaps a forged one.
    is_heard: bool,
    ended: Option<u16>,
}

/// Maximum number of times that timer E has fired this long after a copy was sent (RFC 3261
/// 17.1.2.2).
fn most_repetitions(age_ms: u64, timers: &Timers) -> u64 {
    let (mut at_ms, mut interval_ms, mut count) = (0, u64::from(timers.t1_ms), 0);
    loop {
        at_ms += interval_ms.max(1);
        if at_ms > age_ms || at_ms >= u64::from(timers.f_ms) {
            return count;
        }
        count += 1;
        interval_ms = (2 * interval_ms).min(u64::from(timers.t2_ms));
    }
}

/// The Request-URI of a copy.
fn uri_of(request: &[u8]) -> &str {
    let text = std::str::from_utf8(request).expect("our own text");
    text.split(' ').nth(1).expect("a Request-URI")
}

/// What the proxy's connection does with copies.
#[derive(Clone, Copy, PartialEq)]
enum Connection {
    /// It takes so many at once.
    Takes(usize),
    CannotBeMade,
}

struct World {
    now_ms: u64,
    /// Two workers, and the process that sweeps.
    lanes: [Lane; 3],
    timers: Timers,
    copies: BTreeMap<String, Copy>,
    sweeps: u64,
    swept: Option<u64>,
    /// Until when the process that sweeps did not run.
    stopped_ms: u64,
    strays: u32,
}

impl World {
    fn new(first: u8) -> Self {
        let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        let words = MEMORY.with(|memory| {
            let memory = *memory;
            memory.iter().zip(words).for_each(|(to, from)| {
                to.store(from.into_inner(), std::sync::atomic::Ordering::Relaxed);
            });
            memory
        });
        let memory = LaneMemory::new(words);
        // All have the first one's secret, as after a fork.
        let lane = || {
            numbered::begin(7);
            Lane::new(memory.clone(), numbered::fill)
        };
        let lanes = [lane(), lane(), lane()];
        let timers = [
            Timers::default(),
            Timers {
                t1_ms: 100,
                t2_ms: 400,
                f_ms: 5_000,
            },
            Timers {
                t1_ms: 500,
                t2_ms: 4_000,
                f_ms: 300,
            },
            Timers {
                t1_ms: 1,
                t2_ms: 1,
                f_ms: 1_000,
            },
        ];
        World {
            now_ms: 10_000,
            lanes,
            timers: timers[usize::from(first & 3)],
            copies: BTreeMap::new(),
            sweeps: 0,
            swept: None,
            stopped_ms: 0,
            strays: 0,
        }
    }

    fn take(&mut self, argument: u8) {
        let number = self.copies.len();
        if number >= MAX_COPIES {
            return;
        }
        let long = "x".repeat(usize::from(argument >> 5) * 100);
        let uri = format!("sip:user{number}{long}@example.com");
        let to = match argument & 16 {
            0 => format!("<{uri}>"),
            _ => format!("\"Somebody\" <{uri}>"),
        };
        let call_id = format!("cpm-{number:032x}");
        let body = ["Hello", "Another text", ""][usize::from(argument & 3) % 3].repeat(20);
        let transport = match argument & 4 {
            0 => Transport::Udp,
            _ => Transport::Tcp,
        };
        let copy = OutgoingRequest {
            method: "MESSAGE",
            request_uri: &uri,
            next_hop: None,
            from: "<sip:anne@example.com>",
            from_tag: "0123456789abcdef",
            to: &to,
            call_id: &call_id,
            cseq: 1,
            headers: b"Max-Forwards: 69\r\nContent-Type: text/plain\r\n",
            body: body.as_bytes(),
            attempt: number as u64,
            about: None,
        };
        let way = Way {
            transport,
            socket: 9,
            address: SocketAddr::from(([192, 0, 2, 9], 5_000 + u16::from(argument >> 3 & 1))),
            via: [b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=", b";rport\r\n"],
            timers: self.timers,
            max_datagram_bytes: 65_507,
        };
        let mut outbox = Outbox::default();
        let lane = &mut self.lanes[usize::from(argument >> 3 & 1)];
        if lane.take(&copy, &way, self.now_ms, &mut outbox) {
            let is_reliable = transport == Transport::Tcp;
            let copy = Copy {
                is_reliable,
                ..Copy::default()
            };
            self.copies.insert(uri, copy);
        }
        self.carry_out(outbox, Connection::Takes(usize::MAX));
    }

    fn flush(&mut self, worker: usize, connection: Connection) {
        let mut outbox = Outbox::default();
        self.lanes[worker].flush(self.now_ms, &mut outbox);
        self.carry_out(outbox, connection);
    }

    fn carry_out(&mut self, outbox: Outbox, connection: Connection) {
        if outbox.wakes {
            self.swept = Some(self.now_ms);
        }
        self.strays += outbox.strays;
        for batch in &outbox.batches {
            let taken = match (batch.transport, connection) {
                (Transport::Tcp, Connection::Takes(room)) => room.min(batch.len()),
                _ => batch.len(),
            };
            self.transmit(batch, taken);
            if (batch.transport, connection) == (Transport::Tcp, Connection::CannotBeMade) {
                for (request, _) in batch.copies() {
                    let copy = self.copies.get_mut(uri_of(request)).expect("ours");
                    copy.lost_ms = Some(self.now_ms);
                }
                let all: Vec<usize> = (0..batch.len()).collect();
                self.lanes[0].lose(batch, &all, self.now_ms);
            }
            if taken < batch.len() {
                self.lanes[0].unsent(batch, taken, self.now_ms);
            }
        }
        for ended in outbox.ended {
            let uri = uri_of(&outbox.texts[ended.request]);
            let copy = self.copies.get_mut(uri).expect("a copy of ours");
            assert!(copy.ended.replace(ended.code).is_none(), "{uri} ends twice");
            let sent_ms = copy.sent_ms.expect("nobody answers what was not sent");
            let reason = &outbox.texts[ended.reason];
            if reason == b"Request Timeout" {
                let f_ms = u64::from(self.timers.f_ms);
                assert!(self.now_ms - sent_ms >= f_ms, "given up too soon");
            }
            if reason == b"Not Sendable" {
                assert_eq!(ended.code, 503);
                assert!(copy.lost_ms.is_some(), "{uri} was not lost");
            }
        }
    }

    fn transmit(&mut self, batch: &Batch, taken: usize) {
        for (request, _) in batch.copies().take(taken) {
            let uri = uri_of(request);
            let copy = self.copies.get_mut(uri).expect("a copy of ours");
            assert!(copy.ended.is_none(), "{uri} is sent after its end");
            match copy.sent_ms {
                None => copy.sent_ms = Some(self.now_ms),
                Some(sent_ms) => {
                    assert!(!copy.is_reliable, "sent again over a connection");
                    copy.repeated += 1;
                    let most = most_repetitions(self.now_ms - sent_ms, &self.timers);
                    assert!(
                        copy.repeated <= most,
                        "{uri}: {} of {most} after {} ms",
                        copy.repeated,
                        self.now_ms - sent_ms
                    );
                }
            }
            copy.last_request = request.to_vec();
        }
    }

    /// A recipient answers, or someone who has seen a request forges an answer.
    fn answer(&mut self, which: usize, code: u16, forged: Option<u8>, worker: usize) {
        let sent = self
            .copies
            .values()
            .filter(|copy| !copy.last_request.is_empty());
        let sent: Vec<&Copy> = sent.collect();
        if sent.is_empty() {
            return;
        }
        let copy = sent[which % sent.len()];
        let request = String::from_utf8_lossy(&copy.last_request);
        let mut text = format!("SIP/2.0 {code} Some Reason\r\n").into_bytes();
        for line in request.lines().skip(1).take_while(|line| !line.is_empty()) {
            let name = line.split(':').next().unwrap_or_default();
            if ["Via", "To", "From", "Call-ID", "CSeq"].contains(&name) {
                text.extend_from_slice(line.as_bytes());
                text.extend_from_slice(b"\r\n");
            }
        }
        text.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        if let Some(forged) = forged {
            let at = usize::from(forged) * 3 % text.len();
            text[at] = text[at].wrapping_add(forged | 1);
        }
        let uri = request
            .split(' ')
            .nth(1)
            .map(str::to_owned)
            .expect("a Request-URI");
        let was_ended = copy.ended.is_some();
        self.copies.get_mut(&uri).expect("a copy of ours").is_heard = true;
        self.hear(&text, worker, forged.is_none());
        let copy = self.copies.get_mut(&uri).expect("a copy of ours");
        if forged.is_none() && code >= 200 {
            assert!(
                copy.ended.is_some(),
                "{uri} has its final response, and goes on"
            );
        }
        if forged.is_none() && code < 200 && !was_ended {
            copy.provisional_ms.get_or_insert(self.now_ms);
        }
    }

    fn hear(&mut self, datagram: &[u8], worker: usize, is_ours: bool) {
        let mut outbox = Outbox::default();
        let heard = self.lanes[worker].hear(datagram, self.now_ms, &mut outbox);
        assert!(heard || !is_ours);
        self.lanes[worker].go_on(self.now_ms, &mut outbox);
        self.carry_out(outbox, Connection::Takes(usize::MAX));
    }

    fn sweep(&mut self, room: usize) {
        // At most one step for each cell, and one for each place with something to do.
        for _ in 0..10_000 {
            self.sweeps += 1;
            let mut outbox = Outbox::default();
            let swept = self.lanes[2].sweep(self.now_ms, &mut outbox);
            self.carry_out(outbox, Connection::Takes(room));
            if let Swept::Until(until_ms) = swept {
                if let Some(until_ms) = until_ms {
                    assert!(until_ms > self.now_ms, "a livelock of sweeps");
                }
                self.swept = until_ms;
                return;
            }
        }
        panic!("a sweep has no end");
    }

    /// Lets time pass, with the sweeps that are due.
    fn until(&mut self, end_ms: u64, room: usize) {
        while let Some(at_ms) = self.swept.filter(|at_ms| *at_ms <= end_ms) {
            self.now_ms = self.now_ms.max(at_ms);
            self.sweep(room);
        }
        self.now_ms = self.now_ms.max(end_ms);
        let now_ms = self.now_ms;
        let is_overdue = |since_ms: u64| now_ms >= since_ms.max(self.stopped_ms) + LOST_MS;
        for (uri, copy) in self.copies.iter().filter(|(_, copy)| !copy.is_heard) {
            if copy.lost_ms.is_some_and(is_overdue) {
                assert_eq!(copy.ended, Some(503), "{uri} has no connection");
            }
        }
    }
}

thread_local!(static MEMORY: &'static [AtomicU64] = {
    let words = (0..WORDS).map(|_| AtomicU64::new(0));
    words.collect::<Vec<_>>().leak()
});

/// A script: the first byte selects the timers, each further pair is an event.
pub fn express(data: &[u8]) {
    let Some((&first, events)) = data.split_first() else {
        return;
    };
    let mut world = World::new(first);
    for pair in events.chunks_exact(2).take(400) {
        let (event, argument) = (pair[0], pair[1]);
        let (which, worker) = (usize::from(argument), usize::from(argument & 1));
        let codes = [100, 180, 200, 202, 301, 404, 408, 486, 503, 606, 699];
        let code = codes[usize::from(event >> 4) % codes.len()];
        match event % 16 {
            0..=4 => world.take(argument),
            5 => (0..which % 70).for_each(|_| world.take(argument)),
            7 if argument >= 0xe0 => world.flush(worker, Connection::CannotBeMade),
            6 | 7 => world.flush(worker, Connection::Takes(which >> 1)),
            8..=10 => world.answer(which, code, None, worker),
            11 => world.answer(which, code, Some(argument), worker),
            12 => world.until(world.now_ms + u64::from(argument), which),
            13 => world.until(world.now_ms + 100 * u64::from(argument), which),
            // Without sweeps meanwhile: the process was stopped.
            14 => {
                world.now_ms += 100 * u64::from(argument);
                world.stopped_ms = world.now_ms;
            }
            _ => world.hear(&data[which.min(data.len())..], worker, false),
        }
    }
    // All recipients fall silent.
    for worker in 0..2 {
        world.flush(worker, Connection::Takes(usize::MAX));
    }
    let sweeps = world.sweeps;
    let end_ms = world.now_ms + FAR_MS;
    world.until(end_ms, usize::MAX);
    for (uri, copy) in &world.copies {
        assert!(copy.ended.is_some(), "{uri} is outstanding for ever");
    }
    let memory = world.lanes[0].memory();
    assert_eq!(memory.outstanding(), 0);
    assert_eq!(memory.bytes(), 0, "cells are lost");
    assert!(world.lanes[0].list(world.now_ms, 99).is_empty());
    assert_eq!(world.swept, None, "it is swept for ever");
    // As often as the clock demands, some cells at a time.
    assert!(
        world.sweeps - sweeps <= FAR_MS / 2,
        "{} sweeps",
        world.sweeps - sweeps
    );
}
