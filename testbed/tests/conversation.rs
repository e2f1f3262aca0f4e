//! Agents talk through a real proxy, and the judge has heard everything.

mod common;

use std::time::Duration;

use common::{answering, relaying};
use cpm_testbed::{
    Answer, Bench, ProxyConfig, Reply, Request, Scenario, Way, bcc, cc, cpm_message, to,
};

fn cpm_request() -> Request {
    cpm_message("sip:alice@example.com", "sip:exploder@example.com")
        .recipients([
            to("sip:bob@example.com"),
            cc("sip:carol@example.com"),
            bcc("tel:+15550100"),
        ])
        .text("Lunch?")
        .request()
}

#[test]
fn a_message_is_answered_and_captured() {
    let bench = Bench::new("a_message_is_answered_and_captured");
    let proxy = bench.proxy(&answering());
    let alice = bench.agent();
    let capture = bench.capture();

    let message = cpm_request().with("Privacy", "id");
    alice.send(&message, proxy.udp());
    let response = alice.expect_response(&message, 200);
    assert_eq!(Some(response.call_id()), message.header("Call-ID"));
    assert_eq!(response.way().address().port(), proxy.port());

    let recording = capture.stop();
    recording.assert_clean();
    let heard = recording.fields("sip.Method == \"MESSAGE\"", &["sip.Call-ID", "sip.CSeq"]);
    assert_eq!(heard, [[message.header("Call-ID").unwrap(), "1 MESSAGE"]]);
    assert_eq!(
        recording.fields(&recording.sent_by_proxy(), &["sip.Status-Code"]),
        [["200"]]
    );
    let lists = recording.fields("xml", &["xml.tag"]);
    assert_eq!(lists.len(), 1, "tshark reads the list as XML");
    proxy.stop();
}

#[test]
fn a_request_is_forwarded_over_udp_and_tcp() {
    let bench = Bench::new("a_request_is_forwarded_over_udp_and_tcp");
    let proxy = bench.proxy(&relaying());
    let (alice, bob) = (bench.agent(), bench.agent());
    bob.answers(Answer::sequence([
        Answer::code(200),
        Answer::code(404),
        Answer::code(200),
    ]));
    let capture = bench.capture();

    let over_udp = cpm_request().with_uri(&bob.uri("bob"));
    alice.send(&over_udp, proxy.udp());
    alice.expect_response(&over_udp, 200);
    let got = bob.expect_request("MESSAGE");
    assert_eq!(got.headers("Via").len(), 2);
    assert_eq!(got.body(), over_udp.body());

    let over_tcp = cpm_request().with_uri(&bob.tcp_uri("bob"));
    alice.send(&over_tcp, proxy.tcp());
    alice.expect_response(&over_tcp, 404);
    let got = bob.expect_request("MESSAGE");
    assert!(got.header("Via").unwrap().starts_with("SIP/2.0/TCP"));
    assert_eq!(got.body(), over_tcp.body());

    // In pieces: the proxy and the agents put the stream together again.
    let in_pieces = cpm_request().with_uri(&bob.tcp_uri("bob"));
    let bytes = in_pieces.write(
        "TCP",
        format!("127.0.0.1:{}", alice.port()).parse().unwrap(),
    );
    for piece in bytes.chunks(100) {
        alice.send_bytes(piece, proxy.tcp());
    }
    alice.expect_response(&in_pieces, 200);
    assert_eq!(bob.expect_request("MESSAGE").body(), in_pieces.body());
    assert_eq!(bob.received().len(), 3);

    let recording = capture.stop();
    recording.assert_clean();
    let relayed = format!("sip.Method == \"MESSAGE\" && {}", recording.sent_by_proxy());
    assert_eq!(recording.fields(&relayed, &["sip.Call-ID"]).len(), 3);
    proxy.stop();
}

#[test]
fn a_retransmission_is_seen_once_and_counted() {
    let bench = Bench::new("a_retransmission_is_seen_once_and_counted");
    let proxy = bench.proxy(&relaying());
    let (alice, bob) = (bench.agent(), bench.agent());
    bob.answers(Answer::Silent);

    let message = cpm_request().with_uri(&bob.uri("bob"));
    alice.send(&message, proxy.udp());
    let got = bob.expect_request("MESSAGE");
    // tm repeats what is not answered after 500 ms.
    bob.expect_retransmissions(&got, 1);
    assert!(bob.recv_request(Duration::ZERO).is_none());
    bob.reply(
        &got,
        &Reply::new(486).with("Warning", "399 testbed \"no time\""),
    );
    let response = alice.expect_response(&message, 486);
    assert_eq!(response.header("Warning"), Some("399 testbed \"no time\""));
    proxy.stop();
}

#[test]
fn answers_may_be_late_and_may_be_written_by_a_function() {
    let bench = Bench::new("answers_may_be_late_and_may_be_written_by_a_function");
    let proxy = bench.proxy(&relaying());
    let (alice, bob) = (bench.agent(), bench.agent());

    bob.answers(Answer::code_after(Duration::from_millis(20), 480));
    let message = cpm_request().with_uri(&bob.uri("bob"));
    alice.send(&message, proxy.udp());
    alice.expect_response(&message, 480);

    bob.answers(Answer::with(|request| match request.uri() {
        Some(uri) if uri.starts_with("sip:dave@") => vec![Reply::new(404)],
        _ => vec![Reply::new(100), Reply::new(202)],
    }));
    for (user, status) in [("dave", 404), ("bob", 202)] {
        let message = cpm_request().with_uri(&bob.uri(user));
        alice.send(&message, proxy.udp());
        alice.expect_response(&message, status);
    }
    proxy.stop();
}

#[test]
fn silence_is_certain_when_the_event_is_over() {
    let bench = Bench::new("silence_is_certain_when_the_event_is_over");
    let proxy = bench.proxy(&relaying());
    let (alice, bob, carol) = (bench.agent(), bench.agent(), bench.agent());
    let message = cpm_request().with_uri(&bob.uri("bob"));
    carol.expect_nothing_until(|| {
        alice.send(&message, proxy.udp());
        alice.expect_response(&message, 200)
    });
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let again = message.again();
        bob.expect_request("MESSAGE");
        bob.expect_nothing_until(|| {
            alice.send(&again, proxy.udp());
            alice.expect_response(&again, 200)
        });
    }));
    assert!(broken.is_err(), "the second message broke the silence");
    proxy.stop();
}

#[test]
fn sipp_plays_to_its_end_or_says_why_not() {
    const CALLER: &str = r#"<?xml version="1.0"?>
<scenario name="one MESSAGE">
  <send><![CDATA[
MESSAGE sip:bob@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:sipp@example.com>;tag=[call_number]
To: <sip:bob@example.com>
Call-ID: [call_id]
CSeq: 1 MESSAGE
Max-Forwards: 70
Content-Type: text/plain
Content-Length: [len]

hello
]]></send>
  <recv response="@STATUS@"/>
</scenario>"#;
    let bench = Bench::new("sipp_plays_to_its_end_or_says_why_not");
    let proxy = bench.proxy(&answering());
    for way in [proxy.udp(), proxy.tcp()] {
        let scenario = Scenario::new(&CALLER.replace("@STATUS@", "200"))
            .towards(way)
            .calls(5);
        bench.sipp(&scenario).finish();
    }
    let wrong = Scenario::new(&CALLER.replace("@STATUS@", "202")).towards(proxy.udp());
    let words = bench.sipp(&wrong).outcome().unwrap_err();
    assert!(words.contains("200 OK"), "{words}");
    let endless = Scenario::new(&CALLER.replace("@STATUS@", "200")).towards(proxy.udp());
    let endless = endless.calls(1_000_000).argument("-r").argument("1");
    let words = bench
        .sipp(&endless.deadline(Duration::from_millis(100)))
        .outcome()
        .unwrap_err();
    assert!(words.contains("not done"), "{words}");
    proxy.stop();
}

#[test]
fn a_burst_of_messages_loses_none() {
    // As many as the smallest buffer holds that Linux gives to an ordinary user.
    const BURST: usize = 80;
    let bench = Bench::new("a_burst_of_messages_loses_none");
    let (alice, bob) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let message = cpm_request();
    for _ in 0..BURST {
        alice.send(
            &message.again(),
            Way::Udp(([127, 0, 0, 1], bob.port()).into()),
        );
    }
    assert_eq!(bob.expect_requests("MESSAGE", BURST).len(), BURST);
    let recording = capture.stop();
    recording.assert_clean();
    assert_eq!(
        recording.fields("sip.Method", &["sip.Call-ID"]).len(),
        BURST
    );
}

#[test]
fn a_call_is_set_up_and_ended_inside_its_dialog() {
    let bench = Bench::new("a_call_is_set_up_and_ended_inside_its_dialog");
    let proxy = bench.proxy(
        &ProxyConfig::new(
            "request_route {
                if ($tt != $null) { loose_route(); t_relay(); exit; }
                record_route();
                t_relay();
            }",
        )
        .load("tm")
        .load("sl")
        .load("rr")
        .load("pv"),
    );
    let (alice, bob) = (bench.agent(), bench.agent());
    let bob_contact = format!("<{}>", bob.tcp_uri("bob"));
    bob.answers(Answer::with(move |request| match request.method() {
        Some("INVITE") => {
            vec![
                Reply::new(180),
                Reply::new(200).with("Contact", &bob_contact),
            ]
        }
        _ => vec![Reply::new(200)],
    }));
    let capture = bench.capture();

    let invite = Request::new("INVITE", "sip:alice@example.com", "sip:bob@example.com")
        .with_uri(&bob.tcp_uri("bob"))
        .with("Contact", &format!("<{}>", alice.uri("alice")));
    alice.send(&invite, proxy.udp());
    let answer = alice.expect_response(&invite, 200);
    alice.send(&invite.in_dialog("ACK", 1, &answer), proxy.udp());
    let bye = invite.in_dialog("BYE", 2, &answer);
    alice.send(&bye, proxy.udp());
    alice.expect_response(&bye, 200);
    for method in ["INVITE", "ACK", "BYE"] {
        assert_eq!(bob.expect_request(method).call_id(), answer.call_id());
    }
    capture.stop().assert_clean();
    proxy.stop();
}
