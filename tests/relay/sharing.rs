//! Several sessions on one connection (RFC 4975 §5.4), and many sessions at once.

use std::collections::HashMap;

use cpm::msrp_control::MsrpEvent;
use cpm::msrp_control::RelayCommand;
use cpm::msrp_session::DeliveryState;
use cpm::relay::RelayLimits;
use cpm::sdp::{Role, Transport};

use crate::bench::{Bench, expect_ok, send};
use crate::peer::{Peer, Received, content, empty_send};

#[test]
fn senders_who_share_a_connection() {
    let mut bench = Bench::new(RelayLimits::default());
    let mut shared = Peer::connect(bench.addresses[0]);
    let mut running = Vec::new();
    for number in 0..3_u64 {
        let session = bench.session();
        let end = bench.end(&format!("s{number}"), Transport::Tcp, Role::Passive, 1);
        bench.open_originator(session, &end);
        let leg = bench.leg(session, 0, |mut peer| peer.receive());
        running.push((session, end, leg, content(200_000, number)));
    }
    for (_, end, _, content) in &running {
        send(&mut shared, end, content, 30_000);
    }
    expect_ok(&mut shared, 21);
    for (session, _, leg, content) in running {
        assert_eq!(bench.wait_for_legs(session, 1), [DeliveryState::Delivered]);
        assert!(leg.join().unwrap().content == content);
        bench.end_session(session, 1);
    }
    assert!(shared.read().is_none(), "the last session closes it");
    bench.assert_empty();
}

/// A gateway: originator and recipients share one connection.
#[test]
fn legs_that_share_a_connection_take_turns() {
    let mut bench = Bench::new(RelayLimits::default());
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    let legs: Vec<_> = (0..4)
        .map(|number| {
            let end = bench.end(&format!("l{number}"), Transport::Tcp, Role::Passive, 1);
            bench.open_leg(session, number, &end);
            end
        })
        .collect();
    bench.command(session, RelayCommand::NoMoreLegs);
    let (to, ends) = (bench.addresses[0], legs.clone());
    let gateway = std::thread::spawn(move || {
        let mut peer = Peer::connect(to);
        for end in &ends {
            peer.write(&empty_send(&end.own, &end.peer));
        }
        let mut received: HashMap<String, Received> = HashMap::new();
        let (mut complete, mut refused) = (0, 0);
        // The legs' chunks alternate; an unexpected request in between gets its response.
        let stray = empty_send(&ends[0].own.replace("own-l0", "own-x"), &ends[0].peer);
        peer.write(&stray);
        let mut last = String::new();
        let mut turns = 0;
        while complete < 4 {
            let message = peer.read().unwrap();
            if message.what != "SEND" {
                refused += usize::from(message.code() == "481");
                continue;
            }
            peer.answer(&message, "200 OK");
            let to = message.field("To-Path").to_owned();
            turns += usize::from(last != to);
            last.clone_from(&to);
            complete += usize::from(received.entry(to).or_default().take(message));
        }
        (received, refused, turns)
    });
    for _ in 0..4 {
        bench.wait(session, "a leg's connection", |event| {
            matches!(event, MsrpEvent::LegConnected(_))
        });
    }
    let whole = content(2_000_000, 1);
    send(&mut sender, &end, &whole, usize::MAX);
    expect_ok(&mut sender, 1);
    assert_eq!(
        bench.wait_for_legs(session, 4),
        [DeliveryState::Delivered; 4]
    );
    let (received, refused, turns) = gateway.join().unwrap();
    assert_eq!((received.len(), refused), (4, 1));
    for end in &legs {
        assert!(received[&end.peer].content == whole);
    }
    assert!(turns > 20, "no leg has to wait for another's end: {turns}");
    bench.end_session(session, 4);
    drop(sender);
    bench.assert_empty();
}

/// A leg that is dropped within its chunk leaves the connection usable for the others that share
/// it.
#[test]
fn a_leg_that_is_closed_leaves_its_connection_to_others() {
    // Wherever in the alternation of both it happens.
    for chunks in 0..6 {
        close_one_of_two(chunks);
    }
}

/// Two legs share a connection; this many chunks have been read when one is closed.
fn close_one_of_two(chunks: usize) {
    use cpm::msrp_control::LegNumber;
    let mut bench = Bench::new(RelayLimits::default());
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    let mut gateway = Peer::connect(bench.addresses[0]);
    for number in 0..2 {
        let end = bench.end(&format!("l{number}"), Transport::Tcp, Role::Passive, 1);
        bench.open_leg(session, number, &end);
        gateway.write(&empty_send(&end.own, &end.peer));
        expect_ok(&mut gateway, 1);
    }
    bench.command(session, RelayCommand::NoMoreLegs);
    let whole = content(30_000_000, 1);
    let expected = whole.clone();
    let writer = std::thread::spawn(move || {
        send(&mut sender, &end, &whole, usize::MAX);
        expect_ok(&mut sender, 1);
        sender
    });
    bench.until("content", |totals| totals.memory_bytes > 2_000_000);
    let mut received: HashMap<String, Received> = HashMap::new();
    let mut take = |gateway: &mut Peer| {
        let message = gateway.read().unwrap();
        gateway.answer(&message, "200 OK");
        let to = message.field("To-Path").to_owned();
        let ended = received.entry(to.clone()).or_default().take(message);
        ended && to.contains("peer-l1")
    };
    for _ in 0..chunks {
        take(&mut gateway);
    }
    bench.command(session, RelayCommand::CloseLeg(LegNumber(0)));
    bench.wait(session, "the closed leg", |event| {
        matches!(event, MsrpEvent::LegEnded(LegNumber(0), _))
    });
    while !take(&mut gateway) {}
    bench.wait_for(
        session,
        MsrpEvent::LegEnded(LegNumber(1), DeliveryState::Delivered),
    );
    let other = received.iter().find(|(to, _)| to.contains("peer-l1"));
    assert!(other.unwrap().1.content == expected);
    let closed = received.iter().find(|(to, _)| to.contains("peer-l0"));
    assert!(closed.is_none_or(|(_, closed)| closed.end != Some('$')));
    bench.end_session(session, 2);
    drop(writer.join().unwrap());
    drop(gateway);
    bench.assert_empty();
}

#[test]
fn two_hundred_sessions_at_once() {
    // All come from one address, and senders name their session last: together with the recipients
    // that connect meanwhile they exceed the share of one source.
    let mut bench = Bench::new(RelayLimits {
        max_unbound_per_source: 0,
        ..RelayLimits::default()
    });
    let whole = content(100_000, 1);
    let mut running = Vec::new();
    for number in 0..200 {
        let session = bench.session();
        let (end, sender) = bench.sender(session, &format!("s{number}"));
        let legs = [
            bench.leg(session, 0, |mut peer| peer.receive()),
            bench.passive_leg(session, 1),
        ];
        bench.command(session, RelayCommand::NoMoreLegs);
        running.push((session, end, sender, legs));
    }
    for (_, end, sender, _) in &mut running {
        send(sender, end, &whole, 60_000);
    }
    for (session, _, mut sender, legs) in running {
        expect_ok(&mut sender, 2);
        assert_eq!(
            bench.wait_for_legs(session, 2),
            [DeliveryState::Delivered; 2]
        );
        for leg in legs {
            assert!(leg.join().unwrap().content == whole);
        }
        bench.end_session(session, 2);
    }
    bench.assert_empty();
}
