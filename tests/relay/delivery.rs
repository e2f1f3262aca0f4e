//! One message, many legs: each gets what it should, whatever happens to the others.

use cpm::msrp_control::MsrpEvent;
use cpm::msrp_control::{LegNumber, RelayCommand};
use cpm::msrp_session::{DeliveryFailure, DeliveryState};
use cpm::relay::RelayLimits;
use std::time::Duration;

use crate::bench::{Bench, expect_ok, send};
use crate::peer::{chunk, content};

#[test]
fn one_message_to_several_legs_bit_for_bit() {
    let mut bench = Bench::new(RelayLimits::default());
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    let mut legs = vec![
        bench.leg(session, 0, |mut peer| peer.receive()),
        bench.leg(session, 1, |mut peer| peer.receive()),
        bench.passive_leg(session, 2),
    ];
    let whole = content(3_000_000, 1);
    send(&mut sender, &end, &whole, 700_001);
    expect_ok(&mut sender, 5);
    bench.wait_for(session, MsrpEvent::SenderConnected);
    let size = Some(3_000_000);
    bench.wait_for(session, MsrpEvent::MessageStarted { size });
    bench.wait_for(session, MsrpEvent::MessageComplete);
    // A leg that joins late.
    legs.push(bench.leg(session, 3, |mut peer| peer.receive()));
    bench.command(session, RelayCommand::NoMoreLegs);
    assert_eq!(
        bench.wait_for_legs(session, 4),
        [DeliveryState::Delivered; 4]
    );
    for leg in legs {
        let received = leg.join().unwrap();
        assert!(received.content == whole);
        assert_eq!(received.end, Some('$'));
        assert_eq!(received.message_id, "m1");
        assert_eq!(received.content_type, "message/cpim");
    }
    let progress = bench.relay().progress(session).unwrap();
    assert_eq!((progress.received, progress.total), (3_000_000, size));
    for leg in &progress.legs {
        assert_eq!((leg.written, leg.delivered), (3_000_000, 3_000_000));
        assert_eq!(leg.state, DeliveryState::Delivered);
    }
    assert_eq!(bench.relay().totals().memory_bytes, 0);
    bench.end_session(session, 4);
    // The peer sees the connection close.
    assert!(sender.read().is_none());
    bench.assert_empty();
    assert_eq!(bench.relay().progress(session), None);
}

#[test]
fn legs_may_be_there_before_the_message() {
    let mut bench = Bench::new(RelayLimits::default());
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    let active = bench.leg(session, 0, |mut peer| peer.receive());
    let passive = bench.passive_leg(session, 1);
    bench.command(session, RelayCommand::NoMoreLegs);
    for _ in 0..2 {
        bench.wait(session, "a leg's connection", |event| {
            matches!(event, MsrpEvent::LegConnected(_))
        });
    }
    send(&mut sender, &end, b"hello", 100);
    expect_ok(&mut sender, 1);
    assert_eq!(
        bench.wait_for_legs(session, 2),
        [DeliveryState::Delivered; 2]
    );
    let received = active.join().unwrap();
    // RFC 4975 §5.4: the side that connects sends at once.
    assert_eq!(
        (received.empty_sends, &received.content[..]),
        (1, &b"hello"[..])
    );
    let received = passive.join().unwrap();
    assert_eq!(
        (received.empty_sends, &received.content[..]),
        (0, &b"hello"[..])
    );
    bench.end_session(session, 2);
    drop(sender);
    bench.assert_empty();
}

/// Cut-through: received content is passed on before the message, or even its chunk, is complete.
#[test]
fn content_goes_on_before_its_chunk_ends() {
    let mut bench = Bench::new(RelayLimits::default());
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    let leg = bench.leg(session, 0, |mut peer| peer.receive());
    let whole = content(400_000, 2);
    let stream = chunk(&end.own, &end.peer, 0, None, &whole, '$');
    let (half, rest) = stream.split_at(stream.len() / 2);
    sender.write(half);
    bench.until_written(session, 190_000);
    sender.write(rest);
    bench.wait_for(session, MsrpEvent::MessageComplete);
    assert_eq!(bench.wait_for_legs(session, 1), [DeliveryState::Delivered]);
    assert!(leg.join().unwrap().content == whole);
}

#[test]
fn a_leg_that_stalls_and_one_that_dies_cost_only_themselves() {
    let mut bench = Bench::new(RelayLimits {
        stall: Duration::from_millis(500),
        ..RelayLimits::default()
    });
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let mut legs = Vec::new();
    for number in [0, 3] {
        legs.push(bench.leg(session, number, |mut peer| peer.receive()));
    }
    // Reads nothing, but stays connected.
    let stalled = bench.leg(session, 1, move |peer| {
        let _ = finished.recv();
        drop(peer);
    });
    let dead = bench.leg(session, 2, |mut peer| {
        let mut some = vec![0; 100_000];
        std::io::Read::read_exact(&mut peer.wire, &mut some).unwrap();
    });
    bench.command(session, RelayCommand::NoMoreLegs);
    let whole = content(20_000_000, 3);
    send(&mut sender, &end, &whole, usize::MAX);
    expect_ok(&mut sender, 1);
    let states = bench.wait_for_legs(session, 4);
    assert_eq!(
        states,
        [
            DeliveryState::Delivered,
            DeliveryState::Failed(DeliveryFailure::Stalled),
            DeliveryState::Failed(DeliveryFailure::Disconnected),
            DeliveryState::Delivered,
        ]
    );
    for leg in legs {
        assert!(leg.join().unwrap().content == whole);
    }
    dead.join().unwrap();
    drop(finish);
    stalled.join().unwrap();
    bench.end_session(session, 4);
    drop(sender);
    bench.assert_empty();
}

#[test]
fn chunks_are_no_longer_than_is_set() {
    let mut bench = Bench::new(RelayLimits {
        chunk_bytes: Some(10_000),
        ..RelayLimits::default()
    });
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    let leg = bench.leg(session, 0, |mut peer| peer.receive());
    let whole = content(95_000, 4);
    send(&mut sender, &end, &whole, usize::MAX);
    assert_eq!(bench.wait_for_legs(session, 1), [DeliveryState::Delivered]);
    let received = leg.join().unwrap();
    assert!(received.content == whole);
    assert_eq!(received.chunks, 10);
}

#[test]
fn no_leg_after_the_last_and_none_twice() {
    let mut bench = Bench::new(RelayLimits::default());
    let session = bench.session();
    let end = bench.end(
        "twice",
        cpm::sdp::Transport::Tcp,
        cpm::sdp::Role::Passive,
        1,
    );
    bench.open_leg(session, 0, &end);
    bench.open_leg(session, 0, &end);
    let dropped = |number| {
        let state = DeliveryState::Failed(DeliveryFailure::Dropped);
        MsrpEvent::LegEnded(LegNumber(number), state)
    };
    bench.wait_for(session, dropped(0));
    bench.command(session, RelayCommand::NoMoreLegs);
    bench.open_leg(session, 1, &end);
    bench.wait_for(session, dropped(1));
    bench.relay().forget(session);
    bench.assert_empty();
}

#[test]
fn ipv6_and_ipv4_on_the_same_port() {
    use crate::peer::{Peer, empty_send};
    use cpm::relay::{Listen, Listeners, RelaySettings};
    use cpm::sdp::Transport;
    let listen = |address: &str, port: u16| Listen {
        transport: Transport::Tcp,
        address: std::net::SocketAddr::new(address.parse().unwrap(), port),
    };
    let on = |listen| RelaySettings {
        listen,
        ..RelaySettings::default()
    };
    // A port that is free for IPv6 may be in use for IPv4.
    let mut tries = 0..20;
    let (both, listeners) = loop {
        let Ok(free) = Listeners::bind(&on(vec![listen("::1", 0)])) else {
            eprintln!("no IPv6 here");
            return;
        };
        let port = free.addresses()[0].port();
        drop(free);
        let both = on(vec![listen("::", port), listen("0.0.0.0", port)]);
        match Listeners::bind(&both) {
            Ok(listeners) => break (both, listeners),
            Err(error) => assert!(tries.next().is_some(), "{error:?}"),
        }
    };
    let addresses = listeners.addresses();
    let relay = cpm::relay::Relay::start(both, listeners).unwrap();
    for (mut to, host) in addresses.into_iter().zip(["::1", "127.0.0.1"]) {
        to.set_ip(host.parse().unwrap());
        let mut peer = Peer::connect(to);
        let uri = format!("msrp://{to}/nobody;tcp");
        peer.write(&empty_send(&uri, "msrp://peer:9/x;tcp"));
        assert_eq!(peer.read().unwrap().code(), "481");
    }
    relay.stop(crate::peer::PATIENCE);
}
