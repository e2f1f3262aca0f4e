//! Callers, callees and MSRP peers talk to each other, without cpm, and the judge has heard
//! everything.

mod common;

use std::time::{Duration, Instant};

use common::relaying;
use cpm_testbed::{
    Bench, Call, Callees, Certificate, Conduct, InvitedCall, LargeMessage, MsrpRequest,
    MsrpSession, PATIENCE, Plan, Proxy, Request, large_message, noise, sha256, to,
};

/// Straight to one recipient, through a proxy that only relays.
fn message() -> LargeMessage {
    large_message("sip:alice@example.com", "sip:exploder@example.com")
        .recipients([to("sip:bob@example.com")])
}

/// Calls a user of `callees`, up to the ACK.
fn call<'a>(
    alice: &'a cpm_testbed::Agent,
    session: &MsrpSession,
    callees: &Callees,
    user: &str,
    proxy: &Proxy,
) -> (Call<'a>, InvitedCall, Request) {
    let invite = message()
        .request(alice, session, 1000)
        .with_uri(&callees.uri(user));
    let call = alice.invites(&invite, proxy.udp());
    call.ack();
    session.sends_to(call.sdp().path());
    (call, callees.expect_call(user), invite)
}

#[test]
fn a_message_goes_from_end_to_end_in_chunks() {
    let bench = Bench::new("a_message_goes_from_end_to_end");
    let proxy = bench.proxy(&relaying());
    let (alice, callees, peer) = (bench.agent(), bench.callees(), bench.msrp_peer());
    let capture = bench.capture();
    let session = peer.session();
    callees.plan("bob", Plan::accept().ringing());
    let (mut dialog, bob, _) = call(&alice, &session, &callees, "bob", &proxy);
    assert_eq!(bob.sdp().path(), session.path());
    assert_eq!(bob.sdp().attribute("setup"), Some("active"));
    callees.expect_in(&bob, "ACK");
    session.connect_and_bind();
    let content = noise(300_000, 7);
    let mut lookalikes = content.clone();
    lookalikes[1000..1020].copy_from_slice(b"\r\n-------a786hjs2$\r\n");
    session.deliver(&lookalikes, 65_536);
    session.deliver(&content, 300_000);
    let first = bob.session.expect_message();
    assert_eq!((first.sha256(), first.chunks), (sha256(&lookalikes), 5));
    assert_eq!(first.largest_chunk, 65_536);
    assert_eq!(bob.session.expect_message().bytes, content);
    assert_eq!(bob.session.connections(), 1);
    dialog.bye(200);
    let bye = callees.expect_in(&bob, "BYE");
    assert_eq!(bye.header("Reason"), Some("SIP;cause=200"));
    let recording = capture.stop();
    recording.assert_clean();
    let ends = recording.fields("msrp.method == \"SEND\"", &["msrp.messageid"]);
    assert_eq!(ends.len(), 1 + 5 + 1);
    for peer in [&peer, callees.peer()] {
        peer.assert_no_faults();
    }
    proxy.stop();
}

#[test]
fn callees_follow_their_plans() {
    let bench = Bench::new("callees_follow_their_plans");
    let proxy = bench.proxy(&relaying());
    let (alice, callees, peer) = (bench.agent(), bench.callees(), bench.msrp_peer());
    let way = proxy.udp();
    let invite = |user: &str| {
        message()
            .request(&alice, &peer.session(), 1000)
            .with_uri(&callees.uri(user))
    };
    callees.plan("no", Plan::status(486).header("Retry-After", "5"));
    let refusal = alice.is_refused(&invite("no"), way, 486);
    assert_eq!(refusal.header("Retry-After"), Some("5"));

    let late = Duration::from_millis(300);
    callees.plan("late", Plan::accept().ringing().after(late));
    let (begin, request) = (Instant::now(), invite("late"));
    alice.send(&request, way);
    alice.expect_response(&request, 180);
    let mut answered = alice.expect_answered(&request, way);
    assert!(begin.elapsed() >= late);
    answered.ack();
    // Each side in its dialog.
    let bob = callees.expect_call("late");
    let update = answered.request("UPDATE");
    answered.exchange(&update, 200);
    callees.expect_in(&bob, "UPDATE");
    let bye = callees.agent().in_dialog_of(&bob.invite, "BYE", 1);
    callees.agent().send(&bye, way);
    callees.agent().expect_response(&bye, 200);
    assert_eq!(alice.expect_request("BYE").call_id(), bob.invite.call_id());

    callees.plan("silent", Plan::no_answer().ringing());
    let request = invite("silent");
    alice.send(&request, way);
    alice.expect_response(&request, 180);
    let cancel = request.cancel();
    alice.send(&cancel, way);
    alice.expect_response(&cancel, 200);
    let silent = callees.expect_call("silent");
    callees.expect_in(&silent, "CANCEL");
    callees
        .agent()
        .reply(&silent.invite, &cpm_testbed::Reply::new(487));
    alice.expect_refused(&request, way, 487);
    callees.expect_in(&silent, "ACK");
    proxy.stop();
}

#[test]
fn conduct_shows_on_the_wire() {
    let bench = Bench::new("conduct_shows_on_the_wire");
    let proxy = bench.proxy(&relaying());
    let (alice, callees, peer) = (bench.agent(), bench.callees(), bench.msrp_peer());
    let up = |user: &str, conduct: Conduct| {
        callees.plan(user, Plan::accept().conduct(conduct));
        let session = peer.session();
        let (_, there, _) = call(&alice, &session, &callees, user, &proxy);
        session.connect();
        (session, there.session)
    };
    let content = noise(4000, 1);
    let (session, _) = up("refusing", Conduct::RefuseAfter(1500, 413));
    let chunks = session.send_message(&content, 1000);
    session.expect_response(&chunks[0], 200);
    session.expect_response(&chunks[1], 413);

    let (session, there) = up("silent", Conduct::Silent);
    let chunks = session.send_message(&content, 4000);
    there.expect_message();
    assert!(
        session
            .recv_response(&chunks[0], Duration::from_millis(50))
            .is_none()
    );

    let (session, there) = up("dying", Conduct::DieAfter(1000));
    // One chunk: whatever follows may find the connection closed.
    session.send_message(&content[..1000], 1000);
    session.expect_closed();
    there.expect_closed();

    let (session, there) = up("stalling", Conduct::StallAfter(1000));
    let big = noise(16 << 20, 2);
    let sender = std::thread::spawn({
        let session = session.clone();
        move || session.deliver(&big, 1 << 20)
    });
    there.expect_content(1000);
    std::thread::sleep(Duration::from_millis(200));
    assert!(there.content_bytes() < 1 << 20 && !sender.is_finished());
    there.conducts(Conduct::Accept);
    sender.join().expect("it goes on");
    assert_eq!(there.expect_message().bytes, noise(16 << 20, 2));

    let (session, _) = up("slow", Conduct::Slow(Duration::from_millis(100)));
    let begin = Instant::now();
    session.deliver(&content, 1000);
    assert!(begin.elapsed() >= Duration::from_millis(400));
    proxy.stop();
}

#[test]
fn tls_and_ipv6_carry_msrp_and_strangers_get_481() {
    let bench = Bench::new("tls_and_ipv6_carry_msrp");
    let own = [
        Certificate::new(&["127.0.0.1"]),
        Certificate::new(&["127.0.0.1"]),
    ];
    let content = noise(200_000, 3);
    let [left, right] = [0, 1].map(|n: usize| bench.msrps_peer(&own[n]));
    let (sender, receiver) = (left.session(), right.session());
    sender.sends_to(receiver.path());
    sender.connect_and_bind();
    sender.deliver(&content, 50_000);
    assert_eq!(receiver.expect_message().bytes, content);
    assert_eq!(sender.peer_fingerprint(), right.fingerprint());
    assert_eq!(receiver.peer_fingerprint(), left.fingerprint());
    assert_ne!(left.fingerprint(), right.fingerprint());

    let [left, right] = [(), ()].map(|()| bench.msrp_peer_v6());
    let (sender, receiver) = (left.session(), right.session());
    sender.sends_to(&format!(
        "{} {}",
        receiver.path(),
        "msrp://far.example.com:1/x;tcp"
    ));
    sender.connect();
    sender.deliver(&content, 50_000);
    assert_eq!(receiver.expect_message().bytes, content);
    assert_eq!(receiver.chunks()[0].head.to_path().len(), 2);
    right.assert_no_faults();

    let stranger = MsrpRequest::empty_send().with("To-Path", "msrp://[::1]:1/nobody;tcp");
    sender.send(&stranger);
    let answer = sender.recv_response(&stranger, PATIENCE);
    assert_eq!(answer.and_then(|answer| answer.head.status()), Some(481));
    sender.expect_closed();
    assert_eq!(right.faults().len(), 1);
}
