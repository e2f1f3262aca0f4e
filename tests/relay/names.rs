//! Peers with host names: nobody waits for another peer's name.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use cpm::msrp_session::{DeliveryFailure, DeliveryState};
use cpm::names::Names;
use cpm::relay::RelayLimits;
use cpm::sdp::{Role, Transport};
use cpm_testbed::{DEAD, NameServer};

use crate::bench::{Bench, LOOPBACK, expect_ok, send};
use crate::peer::{Peer, content};

#[test]
fn dead_names_of_others_hold_nobody_up() {
    let server = NameServer::start(&[
        ("relay.example.com", "A 127.0.0.2"),
        ("relay.example.com", "A 127.0.0.1"),
    ]);
    let names = Names {
        servers: vec![server.address()],
        table: None,
    };
    let mut bench = Bench::with_names(RelayLimits::default(), names);
    // Two sessions with three recipients each whose name servers never answer.
    let dead: Vec<_> = (0..2)
        .map(|number| {
            let session = bench.session();
            for leg in 0..3 {
                let name = format!("dead-{number}-{leg}");
                let mut end = bench.end(&name, Transport::Tcp, Role::Active, 7);
                end.ends.host = format!("r{number}{leg}{DEAD}");
                bench.open_leg(session, leg, &end);
            }
            session
        })
        .collect();
    let begin = Instant::now();
    let session = bench.session();
    let (sender_end, mut sender) = bench.sender(session, "sender");
    // The first address refuses the connection, the second accepts it.
    let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut end = bench.end("named", Transport::Tcp, Role::Active, port);
    end.ends.host = "Relay.example.com".to_owned();
    bench.open_leg(session, 0, &end);
    let leg = std::thread::spawn(move || Peer::accept(&listener).receive());
    let whole = content(10_000, 1);
    send(&mut sender, &sender_end, &whole, whole.len());
    expect_ok(&mut sender, 1);
    let received = leg.join().unwrap();
    assert!(received.content == whole);
    // A dead name takes more than a second; one after another they would take six.
    assert!(
        begin.elapsed() < Duration::from_secs(1),
        "{:?}",
        begin.elapsed()
    );
    for session in dead {
        let states = bench.wait_for_legs(session, 3);
        assert_eq!(
            states,
            [DeliveryState::Failed(DeliveryFailure::Disconnected); 3]
        );
    }
    assert!(
        begin.elapsed() < Duration::from_secs(6),
        "{:?}",
        begin.elapsed()
    );
    // Of such a host only its addresses are needed.
    let asked = server.asked();
    let named = asked.iter().filter(|name| *name == "relay.example.com");
    assert_eq!(named.count(), 2, "A and AAAA, once each: {asked:?}");
}
