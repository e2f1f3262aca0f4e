//! Sessions with random events: whatever happens, each end has exactly one final event, and nothing
//! is left.

use std::collections::HashMap;
use std::io::Read as _;
use std::time::Duration;

use cpm::msrp_control::MsrpEvent;
use cpm::msrp_control::{LegNumber, RelayCommand, SessionId};
use cpm::relay::RelayLimits;
use cpm::sdp::{Role, Transport};

use crate::bench::{Bench, End};
use crate::peer::{Peer, chunk, content};

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

struct Life {
    session: SessionId,
    end: End,
    sender: Option<Peer>,
    sent: usize,
    legs: u32,
    closed: Vec<u32>,
    originator_closed: bool,
}

const WHOLE: usize = 400_000;

fn recipient(kind: u64) -> impl FnOnce(Peer) + Send + 'static {
    move |mut peer| match kind {
        0..=4 => {
            peer.receive();
            let _ = peer.read();
        }
        // Dies halfway.
        5 => {
            let mut some = vec![0; 50_000];
            let _ = peer.wire.read(&mut some);
        }
        // Refuses everything; responses are written by hand.
        6 => {
            while let Some(message) = peer.read() {
                peer.answer(&message, "413 Enough");
            }
        }
        // Disconnects at once.
        _ => {}
    }
}

fn step(bench: &mut Bench, random: &mut Random, life: &mut Life, whole: &[u8]) {
    match random.below(12) {
        0..=5 => {
            let Some(sender) = &mut life.sender else {
                return;
            };
            let len = (1 + random.below(120_000) as usize).min(WHOLE - life.sent);
            let flag = match random.below(30) {
                0 => '#',
                _ if life.sent + len == WHOLE => '$',
                _ => '+',
            };
            let part = &whole[life.sent..life.sent + len];
            let (own, peer) = (&life.end.own, &life.end.peer);
            let bytes = chunk(own, peer, life.sent, Some(WHOLE), part, flag);
            // The relay may have disconnected.
            let _ = std::io::Write::write_all(&mut sender.wire, &bytes);
            life.sent += len;
            if flag != '+' && random.below(2) == 0 {
                life.sender = None;
            } else if flag != '+' {
                life.sent = WHOLE;
            }
        }
        6 | 7 if life.legs < 6 => {
            let number = life.legs;
            life.legs += 1;
            match random.below(6) {
                0 => drop(bench.passive_leg(life.session, number)),
                1 => {
                    let name = format!("{}-{number}", life.session);
                    let nobody = bench.end(&name, Transport::Tcp, Role::Active, 1);
                    bench.open_leg(life.session, number, &nobody);
                }
                _ => {
                    let kind = random.below(8);
                    drop(bench.leg(life.session, number, recipient(kind)));
                }
            }
        }
        8 if random.below(6) == 0 => life.sender = None,
        9 if random.below(6) == 0 && life.legs > 0 => {
            let number = random.below(u64::from(life.legs)) as u32;
            if !life.closed.contains(&number) {
                life.closed.push(number);
                let close = RelayCommand::CloseLeg(LegNumber(number));
                bench.command(life.session, close);
            }
        }
        10 if random.below(8) == 0 => {
            bench.command(life.session, RelayCommand::AbortMessage);
        }
        11 if random.below(8) == 0 && !life.originator_closed => {
            life.originator_closed = true;
            bench.command(life.session, RelayCommand::CloseOriginator);
        }
        _ => {}
    }
}

fn close(bench: &mut Bench, life: &Life) {
    let session = life.session;
    if !life.originator_closed {
        bench.command(session, RelayCommand::CloseOriginator);
    }
    bench.command(session, RelayCommand::NoMoreLegs);
    for number in (0..life.legs).filter(|number| !life.closed.contains(number)) {
        bench.command(session, RelayCommand::CloseLeg(LegNumber(number)));
    }
}

#[test]
fn each_end_has_one_last_word() {
    for seed in 1..=6 {
        let mut random = Random(seed * 0x9e37_79b9);
        let mut bench = Bench::new(RelayLimits {
            memory_bytes: 16 << 20,
            session_memory_bytes: 1 << 20,
            stall: Duration::from_secs(2),
            unbound: Duration::from_secs(1),
            ..RelayLimits::default()
        });
        let whole = content(WHOLE, seed);
        let mut lives: Vec<Life> = (0..12)
            .map(|number| {
                let session = bench.session();
                let (end, sender) = bench.sender(session, &format!("s{number}"));
                Life {
                    session,
                    end,
                    sender: Some(sender),
                    sent: 0,
                    legs: 0,
                    closed: Vec::new(),
                    originator_closed: false,
                }
            })
            .collect();
        for _ in 0..400 {
            let some = random.below(lives.len() as u64) as usize;
            step(&mut bench, &mut random, &mut lives[some], &whole);
        }
        for life in &lives {
            close(&mut bench, life);
        }
        for life in lives {
            let mut said: HashMap<Option<u32>, usize> = HashMap::new();
            while said.len() < 1 + life.legs as usize {
                let event = bench.wait(life.session, "all last words", |_| true);
                let of = match event {
                    MsrpEvent::MessageComplete | MsrpEvent::MessageFailed => None,
                    MsrpEvent::LegEnded(LegNumber(number), state) => {
                        assert!(state.is_final());
                        Some(number)
                    }
                    _ => continue,
                };
                *said.entry(of).or_default() += 1;
            }
            bench.relay().forget(life.session);
            for event in bench.events(life.session) {
                let last = matches!(
                    event,
                    MsrpEvent::MessageComplete | MsrpEvent::MessageFailed | MsrpEvent::LegEnded(..)
                );
                assert!(!last, "seed {seed}: said again: {event:?}");
            }
            assert!(said.values().all(|times| *times == 1), "seed {seed}");
            drop(life.sender);
        }
        bench.assert_empty();
    }
}
