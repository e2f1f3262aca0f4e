//! Requests that the relay does not accept, and its responses.

use cpm::msrp::Status;
use cpm::msrp_control::MsrpEvent;
use cpm::msrp_control::{LegNumber, RelayCommand};
use cpm::msrp_session::{DeliveryFailure, DeliveryState};
use cpm::relay::RelayLimits;
use cpm::sdp::{Role, Transport};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::bench::{Bench, expect_ok, send};
use crate::peer::{PATIENCE, Peer, chunk, content, empty_send};

#[test]
fn unknown_sessions_and_sessions_that_are_elsewhere() {
    let mut bench = Bench::new(RelayLimits::default());
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    let wrong = end.own.replace("own-sender", "own-nobody");
    sender.write(&empty_send(&wrong, &end.peer));
    assert_eq!(sender.read().unwrap().code(), "481");
    // A session for TLS must not be served in clear text.
    let secure = end.own.replace("msrp:", "msrps:");
    sender.write(&empty_send(&secure, &end.peer));
    assert_eq!(sender.read().unwrap().code(), "481");
    // The connection can still serve the right session.
    sender.write(&empty_send(&end.own, &end.peer));
    expect_ok(&mut sender, 1);
    let mut other = Peer::connect(bench.addresses[0]);
    send(&mut other, &end, b"hello", 100);
    assert_eq!(other.read().unwrap().code(), "506");
    // An unknown request and its content have no effect either.
    other.write(&chunk(&wrong, &end.peer, 0, None, b"x", '$'));
    assert_eq!(other.read().unwrap().code(), "481");
    send(&mut sender, &end, b"hello", 100);
    expect_ok(&mut sender, 1);
    bench.wait_for(session, MsrpEvent::MessageComplete);
    bench.end_session(session, 0);
    // The session no longer exists, and neither does its name.
    assert!(sender.read().is_none());
    send(&mut other, &end, b"hello", 100);
    assert_eq!(other.read().unwrap().code(), "481");
    drop(other);
    bench.assert_empty();
}

#[test]
fn what_a_session_does_not_take() {
    let mut bench = Bench::new(RelayLimits::default());
    for (name, status, request) in [
        (
            "method",
            "501",
            "MSRP abcd NICKNAME\r\nTo-Path: OWN\r\nFrom-Path: PEER\r\n-------abcd$\r\n",
        ),
        (
            "auth",
            "501",
            "MSRP abcd AUTH\r\nTo-Path: OWN\r\nFrom-Path: PEER\r\n-------abcd$\r\n",
        ),
        (
            "type",
            "415",
            "MSRP abcd SEND\r\nTo-Path: OWN\r\nFrom-Path: PEER\r\nMessage-ID: 1\r\n\
             Byte-Range: 1-1/1\r\nContent-Type: image/png\r\n\r\nx\r\n-------abcd$\r\n",
        ),
        (
            "size",
            "413",
            "MSRP abcd SEND\r\nTo-Path: OWN\r\nFrom-Path: PEER\r\nMessage-ID: 1\r\n\
             Byte-Range: 1-*/1001\r\nContent-Type: text/plain\r\n\r\nx\r\n-------abcd+\r\n",
        ),
        (
            "range",
            "400",
            "MSRP abcd SEND\r\nTo-Path: OWN\r\nFrom-Path: PEER\r\nMessage-ID: 1\r\n\
             Byte-Range: x\r\nContent-Type: text/plain\r\n\r\nx\r\n-------abcd$\r\n",
        ),
    ] {
        let session = bench.session();
        let mut end = bench.end(name, Transport::Tcp, Role::Passive, 1);
        end.ends.max_size = Some(1000);
        bench.open_originator(session, &end);
        let mut sender = Peer::connect(bench.addresses[0]);
        sender.write(&empty_send(&end.own, &end.peer));
        expect_ok(&mut sender, 1);
        let request = request.replace("OWN", &end.own).replace("PEER", &end.peer);
        sender.write(request.as_bytes());
        assert_eq!(sender.read().unwrap().code(), status, "{name}");
        // The session continues.
        send(&mut sender, &end, b"fits", 100);
        expect_ok(&mut sender, 1);
        bench.wait_for(session, MsrpEvent::MessageComplete);
        // A second message is refused.
        let second = chunk(&end.own, &end.peer, 0, None, b"more", '$');
        let second = String::from_utf8(second).unwrap().replace(": m1", ": m2");
        sender.write(second.as_bytes());
        assert_eq!(sender.read().unwrap().code(), "413", "{name}");
        bench.end_session(session, 0);
    }
    bench.assert_empty();
}

#[test]
fn more_than_was_announced_ends_the_message() {
    let mut bench = Bench::new(RelayLimits::default());
    let session = bench.session();
    let mut end = bench.end("large", Transport::Tcp, Role::Passive, 1);
    end.ends.max_size = Some(100_000);
    bench.open_originator(session, &end);
    let mut sender = Peer::connect(bench.addresses[0]);
    let content = content(200_000, 1);
    sender.write(&chunk(&end.own, &end.peer, 0, None, &content, '$'));
    assert_eq!(sender.read().unwrap().code(), "413");
    bench.wait_for(session, MsrpEvent::MessageFailed);
}

/// RFC 4975 §8.6, if no chunk states the message's size.
#[test]
fn a_leg_gets_no_more_than_it_takes() {
    let mut bench = Bench::new(RelayLimits::default());
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    let open = |bench: &mut Bench, number, max_size| {
        let name = format!("leg{number}");
        let mut leg = bench.end(&name, Transport::Tcp, Role::Passive, 1);
        leg.ends.max_size = Some(max_size);
        bench.open_leg(session, number, &leg);
    };
    open(&mut bench, 0, 10);
    open(&mut bench, 1, 20);
    let expect = |bench: &mut Bench, number| {
        let refused = DeliveryState::Failed(DeliveryFailure::Refused(Status::STOP_SENDING));
        bench.wait_for(session, MsrpEvent::LegEnded(LegNumber(number), refused));
    };
    sender.write(&chunk(&end.own, &end.peer, 0, None, &content(11, 1), '+'));
    expect(&mut bench, 0);
    // Another peer, which connects too late.
    open(&mut bench, 2, 10);
    expect(&mut bench, 2);
    sender.write(&chunk(&end.own, &end.peer, 11, None, &content(10, 1), '+'));
    expect(&mut bench, 1);
    sender.write(&chunk(&end.own, &end.peer, 21, None, &content(1, 1), '$'));
    bench.wait_for(session, MsrpEvent::MessageComplete);
    bench.end_session(session, 3);
}

/// The first request may be faster than the command that opens its session; the command then still
/// waits in the queue.
#[test]
fn a_request_waits_for_its_session_to_be_opened() {
    let mut bench = Bench::new(RelayLimits::default());
    for round in 0..200 {
        let session = bench.session();
        let end = bench.end(&format!("r{round}"), Transport::Tcp, Role::Passive, 1);
        let mut sender = Peer::connect(bench.addresses[0]);
        // The relay is idle when the command is given, and the request follows at once.
        for _ in 0..50 {
            bench.command(session, RelayCommand::NoMoreLegs);
        }
        bench.open_originator(session, &end);
        send(&mut sender, &end, b"hello", 100);
        expect_ok(&mut sender, 1);
        bench.wait_for(session, MsrpEvent::MessageComplete);
        bench.end_session(session, 0);
    }
}

#[test]
fn what_is_not_msrp_is_hung_up_on() {
    let mut bench = Bench::new(RelayLimits::default());
    for stream in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"MSRP abcd SEND\nTo-Path: x\n",
        &[b'M'; 100_000],
        &[b"MSRP abcd SEND\r\n", &[b'x'; 100_000][..]].concat(),
    ] {
        let mut peer = Peer::connect(bench.addresses[0]);
        // The relay may close before everything is written.
        let _ = std::io::Write::write_all(&mut peer.wire, stream);
        assert!(peer.read().is_none());
    }
    bench.assert_empty();
}

#[test]
fn connections_without_session_are_limited_in_number_and_time() {
    let mut bench = Bench::new(RelayLimits {
        max_unbound: 4,
        max_connections: 6,
        unbound: Duration::from_millis(700),
        ..RelayLimits::default()
    });
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    sender.write(&empty_send(&end.own, &end.peer));
    expect_ok(&mut sender, 1);
    let mut first = Peer::connect(bench.addresses[0]);
    bench.until("one", |totals| totals.unbound == 1);
    let mut others: Vec<Peer> = (0..4).map(|_| Peer::connect(bench.addresses[0])).collect();
    // The oldest connection has to go, long before its time limit.
    assert!(first.read().is_none());
    bench.until("four", |totals| {
        (totals.unbound, totals.connections) == (4, 5)
    });
    for other in &mut others {
        assert!(other.read().is_none(), "its time is up");
    }
    bench.until("none", |totals| {
        (totals.unbound, totals.connections) == (0, 1)
    });
    // A peer that keeps asking for unknown sessions is disconnected too.
    let mut guessing = Peer::connect(bench.addresses[0]);
    let wrong = end.own.replace("own-sender", "own-guess");
    let mut answers = 0;
    for _ in 0..50 {
        let _ = std::io::Write::write_all(&mut guessing.wire, &empty_send(&wrong, &end.peer));
    }
    while guessing.read().is_some() {
        answers += 1;
    }
    assert!((1..50).contains(&answers), "{answers}");
    send(&mut sender, &end, b"hello", 100);
    expect_ok(&mut sender, 1);
    bench.wait_for(session, MsrpEvent::MessageComplete);
    bench.end_session(session, 0);
    drop((sender, guessing));
    bench.assert_empty();
    assert!(bench.logs.is_empty() || bench.logs.iter().all(|line| line.contains("MSRP")));
}

#[test]
fn no_more_connections_than_are_allowed() {
    let mut bench = Bench::new(RelayLimits {
        max_connections: 2,
        ..RelayLimits::default()
    });
    let two = [0, 1].map(|_| Peer::connect(bench.addresses[0]));
    bench.until("two", |totals| totals.connections == 2);
    assert!(Peer::connect(bench.addresses[0]).read().is_none());
    let session = bench.session();
    let end = bench.end("leg", Transport::Tcp, Role::Active, 9);
    bench.open_leg(session, 0, &end);
    bench.wait_for_legs(session, 1);
    drop(two);
    bench.until("none", |totals| totals.connections == 0);
}

/// From another address of this machine.
fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    let from = SocketAddr::from((from, 0));
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

#[test]
fn an_address_that_connects_without_end_keeps_no_other_from_sending() {
    let mut bench = Bench::new(RelayLimits {
        max_unbound: 40,
        max_unbound_per_source: 20,
        ..RelayLimits::default()
    });
    let to = bench.addresses[0];
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let flood = std::thread::spawn(move || {
        let mut kept = VecDeque::new();
        let mut opened = 0;
        while !stopped.load(Relaxed) {
            kept.push_back(connect_from([127, 0, 0, 2], to));
            opened += 1;
            if kept.len() > 100 {
                kept.pop_front();
            }
        }
        opened
    });
    bench.until("its share", |totals| totals.unbound == 20);
    for place in 0..10 {
        let session = bench.session();
        let end = bench.end(&format!("sender{place}"), Transport::Tcp, Role::Passive, 1);
        bench.open_originator(session, &end);
        let stream = connect_from([127, 0, 0, 3], to);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        std::thread::sleep(Duration::from_millis(150));
        let mut peer = Peer::new(stream);
        peer.write(&empty_send(&end.own, &end.peer));
        expect_ok(&mut peer, 1);
        bench.end_session(session, 0);
    }
    stop.store(true, Relaxed);
    let opened = flood.join().unwrap();
    assert!(opened > 200, "{opened} connections are no flood");
    bench.assert_empty();
}
