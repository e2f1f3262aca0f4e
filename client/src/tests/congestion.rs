//! A peer that sends and does not read: nothing more is read from its connection.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use cpm_wire::msrp_session::{ConnectionId, MAX_PENDING_FRAMES};
use cpm_wire::sip::Message;

use super::*;

const ONE: ConnectionId = ConnectionId(1);
const OTHER: ConnectionId = ConnectionId(2);

/// A receiver that two peers have connected to.
fn connected() -> Receiver {
    let mut receiver = receiver();
    receiver.handle_msrp_accepted(ONE);
    receiver.handle_msrp_accepted(OTHER);
    receiver
}

/// A chunk of one byte; the next SEND of a message to this path.
fn send(receiver: &mut Receiver, connection: ConnectionId, to: &str, number: usize) {
    let text = format!(
        "MSRP t{number:03} SEND\r\nTo-Path: {to}\r\nFrom-Path: msrp://192.0.2.9:9/x;tcp\r\n\
         Message-ID: m\r\nByte-Range: {number}-{number}/1000\r\nContent-Type: message/cpim\r\n\r\n\
         x\r\n-------t{number:03}+\r\n"
    );
    let mut input = BytesMut::from(text.as_str());
    receiver.handle_msrp_bytes(Instant::now(), connection, &mut input);
    assert!(input.is_empty());
}

/// Until it reads, which is once.
#[track_caller]
fn is_congested_after(receiver: &mut Receiver, to: &str, first: usize) {
    for number in first..first + MAX_PENDING_FRAMES {
        assert!(!receiver.is_congested(ONE), "{number}");
        send(receiver, ONE, to, number);
    }
    assert!(receiver.is_congested(ONE));
    assert!(!receiver.is_congested(OTHER));
    assert!(receiver.poll_msrp(OTHER).is_none());
    assert!(receiver.poll_msrp(ONE).is_some());
    assert!(!receiver.is_congested(ONE));
}

#[test]
fn who_writes_to_no_session_has_to_read_the_answers() {
    let mut receiver = connected();
    is_congested_after(&mut receiver, "msrp://192.0.2.2:2855/nobody;tcp", 1);
}

#[test]
fn a_sender_has_to_read_the_answers_to_its_chunks() {
    let mut receiver = connected();
    let offer = ANSWER
        .replace("passive", "active")
        .replace("recvonly", "sendonly");
    let invite = format!(
        "INVITE sip:c@d SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=f\r\n\
         To: <sip:c@d>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n{ANSWER_HEADERS}\r\n{offer}"
    );
    let invite = Message::parse(Bytes::from(invite)).unwrap();
    receiver.handle_sip(Instant::now(), invite, way(CLIENT));
    let answers: Vec<String> = std::iter::from_fn(|| receiver.poll_output())
        .filter_map(|output| match output {
            ReceiverOutput::Sip(_, bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            _ => None,
        })
        .collect();
    let path = answers[0]
        .split("a=path:")
        .nth(1)
        .expect("a 200")
        .to_owned();
    let path = path.lines().next().unwrap();
    is_congested_after(&mut receiver, path, 1);
    // Its session is bound to its connection: the other can only be told so.
    send(&mut receiver, OTHER, path, 500);
    let frame = receiver.poll_msrp(OTHER).expect("an answer");
    assert!(frame.starts_with(b"MSRP t500 506"), "{frame:?}");
    assert!(!receiver.is_congested(OTHER));
}
