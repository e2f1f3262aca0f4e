//! Misbehaving peers: no panic, and bounded cost.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use cpm_wire::msrp_session::ConnectionId;
use cpm_wire::sip::{HeaderName, Message};
use fastrand::Rng;

use super::script::Script;
use super::*;
use crate::tests::random_bytes;

#[test]
fn mutated_answers_never_panic() {
    let mut random = Rng::with_seed(5);
    for _ in 0..2000 {
        let mut script = Script::new(draft(3000));
        let mut body = ANSWER.as_bytes().to_vec();
        let mut headers =
            format!("{ANSWER_HEADERS}Session-Expires: 90;refresher=uas\r\n").into_bytes();
        for _ in 0..random.usize(..4) {
            let at = random.usize(..body.len());
            body[at] = random.u8(..) & 0x7f;
            let at = random.usize(..headers.len());
            headers[at] = b" ;:<>=\"a9"[random.usize(..9)];
        }
        let (Ok(headers), Ok(body)) = (String::from_utf8(headers), String::from_utf8(body)) else {
            continue;
        };
        let request = &script.sent[0];
        let field = |name| request.first(name).unwrap().text().unwrap();
        let text = format!(
            "SIP/2.0 200 OK\r\nVia: {}\r\nTo: <a:b>;tag=1\r\nCSeq: 1 INVITE\r\n{headers}\r\n{body}",
            field(HeaderName::Via)
        );
        if let Ok(message) = Message::parse(Bytes::from(text)) {
            script.sender.handle_sip(script.now, message, way(SERVER));
            script.collect();
            script.pass(Duration::from_secs(50));
        }
    }
}

#[test]
fn hostile_requests_never_panic_and_cost_little() {
    let mut random = Rng::with_seed(21);
    let headers = "Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=f\r\nTo: <sip:c@d>\r\n\
        Call-ID: c\r\nContact: <sip:a@192.0.2.1>\r\nSession-Expires: 90;refresher=uas\r\nSupported: timer\r\n";
    let mut receiver = receiver();
    let now = Instant::now();
    let mut input = BytesMut::new();
    receiver.handle_msrp_accepted(ConnectionId(1));
    for round in 0..3000 {
        let (method, kind, body) = match round % 3 {
            0 => (
                "MESSAGE",
                "message/cpim",
                "From: <sip:a>\r\n\r\nContent-Type: text/plain\r\n\r\nHi",
            ),
            1 => ("INVITE", "application/sdp", ANSWER),
            _ => ("UPDATE", "application/sdp", ANSWER),
        };
        let text = format!(
            "{method} sip:c@d SIP/2.0\r\n{headers}CSeq: {round} {method}\r\nContent-Type: {kind}\r\n\r\n{body}"
        );
        let mut bytes = text.into_bytes();
        for _ in 0..random.usize(..5) {
            let at = random.usize(..bytes.len());
            bytes[at] = b" ;:<>=\"a9\r\n"[random.usize(..11)];
        }
        if let Ok(message) = Message::parse(Bytes::from(bytes)) {
            receiver.handle_sip(now, message, way(CLIENT));
        }
        let mut answered = 0;
        while let Some(output) = receiver.poll_output() {
            if let ReceiverOutput::Sip(_, bytes) = output {
                answered += 1;
                assert!(Message::parse(bytes).is_ok());
            }
        }
        assert!(answered <= 2);
        let length = random.usize(..200);
        input.extend_from_slice(b"MSRP abcd SEND\r\n");
        input.extend_from_slice(&random_bytes(&mut random, length));
        receiver.handle_msrp_bytes(now, ConnectionId(1), &mut input);
        while receiver.poll_msrp(ConnectionId(1)).is_some() {}
    }
    receiver.handle_timeout(now + Duration::from_secs(40));
    receiver.stop(now + Duration::from_secs(40));
}

#[test]
fn sessions_are_limited() {
    let mut receiver = receiver();
    let now = Instant::now();
    let mut codes = Vec::new();
    for number in 0..=MAX_SESSIONS {
        let text = format!(
            "INVITE sip:c@d SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z{number}\r\nFrom: <sip:a@b>;tag=f\r\nTo: <sip:c@d>\r\n\
             Call-ID: {number}\r\nCSeq: 1 INVITE\r\n{ANSWER_HEADERS}\r\n{}",
            ANSWER
                .replace("passive", "actpass")
                .replace("recvonly", "sendonly")
                .replace("192.0.2.9:9", "192.0.2.2:2855")
        );
        receiver.handle_sip(now, Message::parse(Bytes::from(text)).unwrap(), way(CLIENT));
        while let Some(output) = receiver.poll_output() {
            if let ReceiverOutput::Sip(_, bytes) = output {
                codes.push(Message::parse(bytes).unwrap().status().unwrap().as_u16());
            }
        }
    }
    let (last, others) = codes.split_last().unwrap();
    assert_eq!((*last, others.len()), (486, MAX_SESSIONS));
    assert!(others.iter().all(|code| *code == 200));
    // Without ACK each is given up after 32 s, with a BYE.
    let mut time = now;
    while let Some(next) = receiver
        .poll_timeout()
        .filter(|next| *next <= now + TIMEOUT)
    {
        time = time.max(next);
        receiver.handle_timeout(time);
        while let Some(output) = receiver.poll_output() {
            if let ReceiverOutput::Sip(_, bytes) = output {
                let message = Message::parse(bytes).unwrap();
                codes.extend(message.method().map(|method| u16::from(method == "BYE")));
            }
        }
    }
    assert_eq!(
        codes.iter().filter(|code| **code == 1).count(),
        MAX_SESSIONS
    );
}

/// RFC 3261 §8.2.3: nothing is shown that would have to be decoded first.
#[test]
fn encoded_content_is_refused() {
    for (encoding, code) in [("", 200), ("identity", 200), ("gzip", 415)] {
        let mut receiver = receiver();
        let text = format!(
            "MESSAGE sip:c@d SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=f\r\n\
             To: <sip:c@d>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\n\
             Content-Encoding: {encoding}\r\n\r\nHello"
        );
        let message = Message::parse(Bytes::from(text)).unwrap();
        receiver.handle_sip(Instant::now(), message, way(CLIENT));
        let outputs = std::iter::from_fn(|| receiver.poll_output());
        let codes: Vec<u16> = outputs
            .filter_map(|output| match output {
                ReceiverOutput::Sip(_, bytes) => Message::parse(bytes).unwrap().status(),
                _ => None,
            })
            .map(cpm_wire::sip::StatusCode::as_u16)
            .collect();
        assert_eq!(codes, [code], "{encoding}");
    }
}
