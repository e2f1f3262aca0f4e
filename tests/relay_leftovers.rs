//! After all sessions have ended, memory and descriptors are back at their initial numbers. It is a
//! process of its own, because no other test may open anything meanwhile.

#[allow(dead_code, reason = "each test uses a part of it")]
#[path = "relay/bench.rs"]
mod bench;
#[allow(dead_code, reason = "each test uses a part of it")]
#[path = "relay/peer.rs"]
mod peer;

use cpm::msrp_control::RelayCommand;
use cpm::msrp_session::DeliveryState;
use cpm::relay::RelayLimits;

use bench::{Bench, expect_ok, send};
use peer::content;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Sessions whose message is delivered, whose sender dies, and that nobody ever joins.
fn lives(bench: &mut Bench, rounds: usize) {
    let whole = content(300_000, 1);
    for round in 0..rounds {
        let session = bench.session();
        let (end, mut sender) = bench.sender(session, &format!("s{round}"));
        let leg = bench.leg(session, 0, |mut peer| peer.receive());
        bench.command(session, RelayCommand::NoMoreLegs);
        match round % 3 {
            0 => {
                send(&mut sender, &end, &whole, 100_000);
                expect_ok(&mut sender, 3);
                assert_eq!(bench.wait_for_legs(session, 1), [DeliveryState::Delivered]);
            }
            1 => sender.write(&peer::chunk(&end.own, &end.peer, 0, None, &whole, '+')[..200_000]),
            _ => {}
        }
        drop(sender);
        bench.end_session(session, 1);
        leg.join().unwrap();
    }
    bench.assert_empty();
}

#[test]
fn nothing_is_left_behind() {
    let mut bench = Bench::new(RelayLimits::default());
    lives(&mut bench, 60);
    let (files, memory) = (descriptors(), resident_bytes());
    lives(&mut bench, 600);
    // A connection that never said whose it is belongs to no session: the relay may still have to
    // accept it, or to see that its peer has gone.
    bench.until("the descriptors are back at their number", |_| {
        descriptors() <= files
    });
    let grown = resident_bytes().saturating_sub(memory);
    assert!(grown < 8 * 1024 * 1024, "grown by {grown} bytes");
    drop(bench);
}
