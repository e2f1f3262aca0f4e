//! The transfer of a large message, byte by byte, against a peer that the test plays by hand.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use cpm_wire::msrp_session::ConnectionId;
use cpm_wire::sip::Message;

use super::script::Script;
use super::*;

/// A session whose connection is open, and bound.
fn open(answer: &str) -> (Script, Vec<String>) {
    open_with(answer, "")
}

/// The same, with these additional header lines in the 200.
pub(super) fn open_with(answer: &str, headers: &str) -> (Script, Vec<String>) {
    let mut script = Script::new(draft(20_000));
    let headers = format!("{ANSWER_HEADERS}{headers}");
    script.answer("INVITE", "200", &headers, answer);
    script.sender.handle_msrp_connected(script.now);
    let mut heads = Vec::new();
    write(&mut script, &mut heads);
    respond(&mut script, &heads[0], "200 OK");
    heads.clear();
    (script, heads)
}

/// Takes all pending output: heads of requests, and everything else except content.
pub(super) fn write(script: &mut Script, heads: &mut Vec<String>) {
    while let Some(bytes) = script.sender.poll_msrp(script.now) {
        if bytes.starts_with(b"MSRP ") || bytes.starts_with(b"\r\n-------") {
            heads.push(String::from_utf8(bytes.to_vec()).unwrap());
        }
    }
}

fn line<'a>(head: &'a str, name: &str) -> &'a str {
    let mut lines = head.split("\r\n");
    lines.find_map(|line| line.strip_prefix(name)).unwrap()
}

/// Answers a request.
pub(super) fn respond(script: &mut Script, head: &str, status: &str) {
    let id = head.split(' ').nth(1).unwrap();
    let (to, from) = (line(head, "From-Path: "), line(head, "To-Path: "));
    let first = from.split(' ').next().unwrap();
    let text =
        format!("MSRP {id} {status}\r\nTo-Path: {to}\r\nFrom-Path: {first}\r\n-------{id}$\r\n");
    let mut input = BytesMut::from(text.as_str());
    script.sender.handle_msrp_bytes(script.now, &mut input);
    script.collect();
}

fn is_released(script: &Script) -> bool {
    script.outputs.contains(&SenderOutput::CloseMsrp)
}

pub(super) fn is_chunk(head: &str) -> bool {
    head.starts_with("MSRP ") && head.contains(" SEND\r\n")
}

#[test]
fn nothing_is_sent_after_a_refused_chunk() {
    for status in ["413 Stop", "415 Type", "481 Gone", "400 Bad", "500 Oops"] {
        // In the middle of a chunk, and between two.
        for is_inside in [true, false] {
            let (mut script, mut heads) = open(ANSWER);
            while heads.iter().filter(|head| is_chunk(head)).count() < 3 {
                let bytes = script.sender.poll_msrp(script.now).unwrap();
                if bytes.starts_with(b"MSRP ") {
                    heads.push(String::from_utf8(bytes.to_vec()).unwrap());
                }
            }
            if !is_inside {
                // The content of the third, and its end.
                script.sender.poll_msrp(script.now);
                script.sender.poll_msrp(script.now);
            }
            let first = heads[0].clone();
            respond(&mut script, &first, status);
            assert_eq!(script.methods().last(), Some(&"BYE"));
            let mut rest = Vec::new();
            write(&mut script, &mut rest);
            match is_inside {
                true => assert!(
                    matches!(&rest[..], [end] if end.ends_with("#\r\n")),
                    "{rest:?}"
                ),
                false => assert!(rest.is_empty(), "{rest:?}"),
            }
            // Answers to the others have no effect.
            respond(&mut script, &heads[1].clone(), "200 OK");
            write(&mut script, &mut rest);
            assert_eq!(rest.len(), usize::from(is_inside));
            assert!(!is_released(&script), "before the BYE is answered");
            script.answer("BYE", "200", "", "");
            assert!(is_released(&script));
            let Some(Err(Failure::Msrp(MsrpFailure::Refused(refused)))) = script.done() else {
                panic!("{:?}", script.done())
            };
            assert!(status.starts_with(&refused.code().to_string()));
        }
    }
}

#[test]
fn a_peer_that_reads_nothing_is_given_up_at_the_millisecond() {
    let (mut script, _) = open(ANSWER);
    assert_eq!(
        script.sender.poll_timeout(),
        Some(script.now + STALL_TIMEOUT)
    );
    let moment = Duration::from_millis(1);
    script.pass(STALL_TIMEOUT - moment);
    assert_eq!(script.methods().last(), Some(&"ACK"));
    script.pass(moment);
    assert_eq!(script.methods().last(), Some(&"BYE"));
    script.answer("BYE", "200", "", "");
    let stalled = Failure::Msrp(MsrpFailure::Stalled);
    assert_eq!(script.done(), Some(&Err(stalled)));
}

#[test]
fn a_message_that_is_taken_back_is_never_complete() {
    let (mut script, mut heads) = open(&ANSWER.replace("a=recvonly", "a=recvonly\r\na=y"));
    // All the content of all chunks, without the end of the last.
    let mut last = Bytes::new();
    let total = script.sender.outgoing().cpim.len();
    let mut content = 0;
    while content < total {
        let Some(bytes) = script.sender.poll_msrp(script.now) else {
            for head in std::mem::take(&mut heads) {
                respond(&mut script, &head, "200 OK");
            }
            continue;
        };
        match bytes.starts_with(b"MSRP ") {
            true => heads.push(String::from_utf8(bytes.to_vec()).unwrap()),
            false if bytes.starts_with(b"\r\n-------") => last = bytes,
            false => content += bytes.len(),
        }
    }
    assert!(last.ends_with(b"+\r\n"));
    script.sender.cancel(script.now);
    let end = script.sender.poll_msrp(script.now).unwrap();
    assert!(end.ends_with(b"#\r\n"), "{end:?}");
}

#[test]
fn the_media_are_released_when_the_bye_is_answered() {
    for (answer, code) in [("200", "Message-UID: 9\r\n"), ("481", ""), ("500", "")] {
        let (mut script, mut heads) = open(ANSWER);
        loop {
            write(&mut script, &mut heads);
            if heads.is_empty() {
                break;
            }
            for head in std::mem::take(&mut heads)
                .iter()
                .filter(|head| is_chunk(head))
            {
                respond(&mut script, head, "200 OK");
            }
        }
        assert_eq!(script.methods().last(), Some(&"BYE"));
        assert!(!is_released(&script) && script.done().is_none());
        script.answer("BYE", "100", "", "");
        assert!(!is_released(&script), "not yet");
        script.answer("BYE", answer, code, "");
        assert!(is_released(&script), "{answer}");
        assert!(matches!(script.done(), Some(Ok(_))));
    }
}

#[test]
fn every_uri_of_the_path_is_named() {
    let path = "msrp://relay.example.com:7/r;tcp msrp://192.0.2.9:9/x;tcp";
    let answer = ANSWER.replace("msrp://192.0.2.9:9/x;tcp", path);
    let (mut script, mut heads) = open(&answer);
    let target = script.outputs.iter().find_map(|output| match output {
        SenderOutput::ConnectMsrp(target) => Some((target.host.as_str(), target.port)),
        _ => None,
    });
    assert_eq!(target, Some(("relay.example.com", 7)), "the relay is next");
    write(&mut script, &mut heads);
    let chunks: Vec<&String> = heads.iter().filter(|head| is_chunk(head)).collect();
    assert!(chunks.len() > 3);
    for chunk in chunks {
        assert_eq!(line(chunk, "To-Path: "), path);
        assert_eq!(line(chunk, "From-Path: ").split(' ').count(), 1);
    }
}

#[test]
fn content_that_cannot_be_undone_is_refused() {
    for (encoding, status, comes) in [("gzip", "415", false), ("identity", "200", true)] {
        let (mut receiver, now) = (receiver(), Instant::now());
        let offer = ANSWER
            .replace("recvonly", "sendonly")
            .replace("passive", "actpass");
        let invite = format!(
            "INVITE sip:bill@example.com SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKx\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:bill@example.com>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
             {ANSWER_HEADERS}\r\n{offer}"
        );
        let invite = Message::parse(Bytes::from(invite)).unwrap();
        receiver.handle_sip(now, invite, way(CLIENT));
        let Some(ReceiverOutput::Sip(_, answer)) = receiver.poll_output() else {
            panic!("no answer")
        };
        let answer = String::from_utf8(answer.to_vec()).unwrap();
        let path = line(&answer, "a=path:");
        let connection = ConnectionId(1);
        receiver.handle_msrp_accepted(connection);
        let text = format!(
            "MSRP abcd SEND\r\nTo-Path: {path}\r\nFrom-Path: msrp://192.0.2.9:9/x;tcp\r\n\
             Message-ID: 1\r\nByte-Range: 1-5/5\r\nContent-Encoding: {encoding}\r\n\
             Content-Type: message/cpim\r\n\r\nHello\r\n-------abcd$\r\n"
        );
        let mut input = BytesMut::from(text.as_str());
        receiver.handle_msrp_bytes(now, connection, &mut input);
        let response = receiver.poll_msrp(connection).unwrap();
        let expected = format!("MSRP abcd {status} ");
        assert!(response.starts_with(expected.as_bytes()), "{response:?}");
        let came = std::iter::from_fn(|| receiver.poll_output())
            .any(|one| matches!(one, ReceiverOutput::Event(ReceiverEvent::Message { .. })));
        assert_eq!(came, comes, "{encoding}");
    }
}
