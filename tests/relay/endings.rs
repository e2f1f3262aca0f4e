//! Messages, legs and sessions that end early.

use cpm::msrp_control::MsrpEvent;
use cpm::msrp_control::{LegNumber, RelayCommand};
use cpm::msrp_session::{DeliveryFailure, DeliveryState};
use cpm::relay::RelayLimits;
use cpm::sdp::{Role, Transport};
use std::time::Duration;

use crate::bench::{Bench, expect_ok, send};
use crate::peer::{Peer, chunk, content, empty_send};

#[test]
fn a_message_that_is_given_up() {
    let mut bench = Bench::new(RelayLimits::default());
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    let leg = bench.leg(session, 0, |mut peer| peer.receive());
    let half = content(100_000, 1);
    let (begin, rest) = half.split_at(60_000);
    sender.write(&chunk(&end.own, &end.peer, 0, Some(200_000), begin, '+'));
    bench.until_written(session, 60_000);
    sender.write(&chunk(
        &end.own,
        &end.peer,
        60_000,
        Some(200_000),
        rest,
        '#',
    ));
    expect_ok(&mut sender, 2);
    bench.wait_for(session, MsrpEvent::MessageFailed);
    bench.command(session, RelayCommand::AbortMessage);
    assert_eq!(bench.wait_for_legs(session, 1), [DeliveryState::Aborted]);
    let received = leg.join().unwrap();
    assert_eq!(received.end, Some('#'));
    assert!(half.starts_with(&received.content));
    bench.end_session(session, 1);
    drop(sender);
    bench.assert_empty();
}

#[test]
fn a_sender_who_dies_in_the_midst_of_his_message() {
    let mut bench = Bench::new(RelayLimits::default());
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    let leg = bench.leg(session, 0, |mut peer| peer.receive());
    let whole = chunk(&end.own, &end.peer, 0, None, &content(500_000, 1), '$');
    sender.write(&whole[..300_000]);
    bench.until_written(session, 250_000);
    drop(sender);
    bench.wait_for(session, MsrpEvent::MessageFailed);
    bench.command(session, RelayCommand::AbortMessage);
    assert_eq!(bench.wait_for_legs(session, 1), [DeliveryState::Aborted]);
    assert_eq!(leg.join().unwrap().end, Some('#'));
    bench.end_session(session, 1);
    bench.assert_empty();
    // Each had one final event, and none when it was closed.
    assert_eq!(bench.events(session), []);
}

#[test]
fn a_sender_who_falls_silent() {
    let mut bench = Bench::new(RelayLimits {
        sender_idle: Duration::from_millis(300),
        ..RelayLimits::default()
    });
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    sender.write(&chunk(&end.own, &end.peer, 0, None, b"abc", '+'));
    expect_ok(&mut sender, 1);
    bench.wait_for(session, MsrpEvent::MessageFailed);
    // A recipient that never connects.
    let session = bench.session();
    let end = bench.end("nobody", Transport::Tcp, Role::Passive, 1);
    bench.open_originator(session, &end);
    bench.wait_for(session, MsrpEvent::MessageFailed);
}

/// Content sent before the BYE counts, even if the relay learns of the BYE first.
#[test]
fn what_was_sent_before_the_close_counts() {
    for _ in 0..20 {
        let mut bench = Bench::new(RelayLimits::default());
        let session = bench.session();
        let (end, mut sender) = bench.sender(session, "sender");
        sender.write(&empty_send(&end.own, &end.peer));
        expect_ok(&mut sender, 1);
        let whole = content(50_000, 1);
        send(&mut sender, &end, &whole, 10_000);
        expect_ok(&mut sender, 5);
        bench.command(session, RelayCommand::CloseOriginator);
        bench.wait_for(session, MsrpEvent::MessageComplete);
        bench.relay().forget(session);
    }
    let mut bench = Bench::new(RelayLimits::default());
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    sender.write(&chunk(&end.own, &end.peer, 0, None, b"abc", '+'));
    expect_ok(&mut sender, 1);
    bench.command(session, RelayCommand::CloseOriginator);
    bench.wait_for(session, MsrpEvent::MessageFailed);
}

/// The recipient's last 200 may arrive together with its BYE, which is faster.
#[test]
fn what_a_recipient_answered_before_the_close_counts() {
    for _ in 0..20 {
        let mut bench = Bench::new(RelayLimits::default());
        let session = bench.session();
        let (end, mut sender) = bench.sender(session, "sender");
        let (answered, has_answered) = std::sync::mpsc::channel();
        let leg = bench.leg(session, 0, move |mut peer| {
            let received = peer.receive();
            answered.send(()).unwrap();
            (received, peer)
        });
        send(&mut sender, &end, b"hello", 100);
        has_answered.recv().unwrap();
        bench.command(session, RelayCommand::CloseLeg(LegNumber(0)));
        assert_eq!(bench.wait_for_legs(session, 1), [DeliveryState::Delivered]);
        leg.join().unwrap();
    }
}

#[test]
fn a_leg_that_is_closed_in_the_midst_of_its_message() {
    let mut bench = Bench::new(RelayLimits::default());
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    let legs = [0, 1].map(|number| {
        bench.leg(session, number, |mut peer| {
            let received = peer.receive();
            (received, peer.read().is_none())
        })
    });
    let whole = content(400_000, 5);
    let stream = chunk(&end.own, &end.peer, 0, Some(400_000), &whole, '$');
    sender.write(&stream[..200_000]);
    for number in 0..2 {
        let number = LegNumber(number);
        bench.wait_for(session, MsrpEvent::LegConnected(number));
    }
    bench.until_written(session, 190_000);
    bench.command(session, RelayCommand::CloseLeg(LegNumber(0)));
    let dropped = DeliveryState::Failed(DeliveryFailure::Dropped);
    bench.wait_for(session, MsrpEvent::LegEnded(LegNumber(0), dropped));
    sender.write(&stream[200_000..]);
    bench.wait_for(
        session,
        MsrpEvent::LegEnded(LegNumber(1), DeliveryState::Delivered),
    );
    bench.end_session(session, 2);
    let [(closed, closed_end), (other, _)] = legs.map(|leg| leg.join().unwrap());
    // The end-line was written, then the connection was closed.
    assert_eq!((closed.end, closed_end), (Some('#'), true));
    assert!(other.content == whole);
    drop(sender);
    bench.assert_empty();
}

#[test]
fn recipients_who_refuse_or_do_not_answer() {
    let mut bench = Bench::new(RelayLimits {
        response: Duration::from_millis(400),
        ..RelayLimits::default()
    });
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    let refusing = bench.leg(session, 0, |mut peer| {
        while let Some(message) = peer.read() {
            let status = match message.content {
                Some(_) => "415 Unsupported",
                None => "200 OK",
            };
            peer.answer(&message, status);
        }
    });
    let silent = bench.leg(session, 1, |mut peer| while peer.read().is_some() {});
    let nobody = bench.end("gone", Transport::Tcp, Role::Active, 1);
    bench.open_leg(session, 2, &nobody);
    let mut small = bench.end("small", Transport::Tcp, Role::Passive, 1);
    small.ends.max_size = Some(9);
    bench.open_leg(session, 3, &small);
    let mut nameless = bench.end("nameless", Transport::Tcp, Role::Active, 1);
    nameless.ends.host = "no-such-host.invalid".to_owned();
    bench.open_leg(session, 4, &nameless);
    let named = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut localhost = bench.end("named", Transport::Tcp, Role::Active, 1);
    localhost.ends.host = "localhost".to_owned();
    localhost.ends.port = named.local_addr().unwrap().port();
    bench.open_leg(session, 5, &localhost);
    let named = std::thread::spawn(move || Peer::accept(&named).receive());
    send(&mut sender, &end, b"ten bytes!", 100);
    expect_ok(&mut sender, 1);
    let states = bench.wait_for_legs(session, 6);
    let refused = |state| match state {
        DeliveryState::Failed(DeliveryFailure::Refused(status)) => status.code(),
        other => panic!("{other:?}"),
    };
    assert_eq!((refused(states[0]), refused(states[3])), (415, 413));
    assert_eq!(
        states[1],
        DeliveryState::Failed(DeliveryFailure::NoResponse)
    );
    let disconnected = DeliveryState::Failed(DeliveryFailure::Disconnected);
    assert_eq!((states[2], states[4]), (disconnected, disconnected));
    assert_eq!(states[5], DeliveryState::Delivered);
    assert_eq!(named.join().unwrap().content, b"ten bytes!");
    bench.end_session(session, 6);
    refusing.join().unwrap();
    silent.join().unwrap();
    drop(sender);
    bench.assert_empty();
}

#[test]
fn stopping_closes_everything_and_does_not_wait_long() {
    let mut bench = Bench::new(RelayLimits::default());
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    sender.write(&chunk(&end.own, &end.peer, 0, None, b"abc", '+'));
    expect_ok(&mut sender, 1);
    let relay = bench.relay.take().unwrap();
    let start = std::time::Instant::now();
    relay.stop(Duration::from_secs(20));
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(sender.read().is_none());
}
