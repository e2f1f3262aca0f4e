//! The end of a large message: events that cross the BYE, in any order. A message with all bytes
//! confirmed has been delivered, and a failed one has not, whatever arrives later.

use std::time::Duration;

use bytes::Bytes;

use cpm_wire::sip::{HeaderName, Message};

use super::script::Script;
use super::transfer::{is_chunk, open_with, respond, write};
use super::*;

/// A session that refreshes by UPDATE, with a refresh pending.
const REFRESHED: &str = "Session-Expires: 90;refresher=uac\r\nAllow: UPDATE\r\n";

/// Sends everything. All chunks except this many of the last ones have been answered; these chunks
/// are returned.
fn all_but(script: &mut Script, left: usize) -> Vec<String> {
    let mut waiting = Vec::new();
    loop {
        let mut heads = Vec::new();
        write(script, &mut heads);
        waiting.extend(heads.into_iter().filter(|head| is_chunk(head)));
        let over = script.sender.poll_msrp(script.now).is_none() && waiting.len() <= left;
        if over {
            return waiting;
        }
        respond(script, &waiting.remove(0), "200 OK");
    }
}

/// A message with all bytes confirmed; its BYE has been sent.
fn complete(headers: &str) -> Script {
    let (mut script, _) = open_with(ANSWER, headers);
    if !headers.is_empty() {
        script.pass(Duration::from_secs(45));
        assert_eq!(script.methods().last(), Some(&"UPDATE"));
    }
    assert!(all_but(&mut script, 0).is_empty());
    assert_eq!(script.methods().last(), Some(&"BYE"));
    assert_eq!(script.done(), None);
    script
}

fn byes(script: &Script) -> usize {
    let methods = script.methods();
    methods.iter().filter(|method| **method == "BYE").count()
}

#[track_caller]
fn delivered(script: &Script) {
    assert!(matches!(script.done(), Some(Ok(_))), "{:?}", script.done());
    let mut ends = script.outputs.iter();
    let is_end = |one: &&SenderOutput| matches!(one, SenderOutput::Event(SenderEvent::Done(_)));
    assert_eq!(ends.by_ref().filter(is_end).count(), 1);
}

/// A BYE of the peer.
fn peer_leaves(script: &mut Script) -> Option<u16> {
    let invite = &script.sent[0];
    let field = |name| invite.first(name).unwrap().text().unwrap().to_owned();
    let text = format!(
        "BYE sip:anne@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKx\r\nFrom: {};tag=s\r\n\
         To: {}\r\nCall-ID: {}\r\nCSeq: 7 BYE\r\n\r\n",
        field(HeaderName::To),
        field(HeaderName::From),
        field(HeaderName::CallId)
    );
    let bye = Message::parse(Bytes::from(text)).unwrap();
    script.sender.handle_sip(script.now, bye, way(SERVER));
    let sent = script.sent.len();
    script.collect();
    let status = script.sent[sent..].iter().find_map(Message::status);
    status.map(cpm_wire::sip::StatusCode::as_u16)
}

#[test]
fn what_crosses_the_bye_changes_nothing() {
    type Crossing = (&'static str, fn(&mut Script));
    let crossings: [Crossing; 5] = [
        ("the connection ends", |script| {
            script.sender.handle_msrp_failed(script.now, "closed");
        }),
        ("the user gives up", |script| {
            script.sender.cancel(script.now);
        }),
        ("an end of MSRP that is late", |script| {
            let mut input = bytes::BytesMut::from("nonsense that is no MSRP\r\n\r\n");
            script.sender.handle_msrp_bytes(script.now, &mut input);
        }),
        ("the connection is there again", |script| {
            script.sender.handle_msrp_connected(script.now);
        }),
        ("a repeated 200 to the INVITE", |script| {
            script.answer("INVITE", "200", ANSWER_HEADERS, ANSWER);
        }),
    ];
    for (what, crosses) in crossings {
        let mut script = complete("");
        crosses(&mut script);
        script.collect();
        assert_eq!(script.done(), None, "{what}: the BYE is not answered");
        assert_eq!(byes(&script), 1, "{what}");
        script.answer("BYE", "200", "Message-UID: 9\r\n", "");
        delivered(&script);
    }
}

#[test]
fn however_the_bye_ends_the_message_is_delivered() {
    // No answer, and a lost connection.
    let mut script = complete("");
    script.pass(TIMEOUT);
    delivered(&script);
    let mut script = complete("");
    // It is sent again over a new one, which is lost too.
    script.sender.handle_sip_failed(script.now, "gone");
    script.sender.handle_sip_failed(script.now, "gone");
    script.collect();
    delivered(&script);
    // The peer hangs up at the same time: each BYE is answered.
    let mut script = complete("");
    assert_eq!(peer_leaves(&mut script), Some(200));
    delivered(&script);
    assert_eq!(byes(&script), 1);
    // And what has ended stays ended.
    script.answer("BYE", "481", "", "");
    script.pass(TIMEOUT);
    delivered(&script);
    assert_eq!(script.sender.poll_timeout(), None);
}

#[test]
fn a_refresh_that_is_still_out_changes_nothing() {
    for code in ["200", "408", "481", "500", "422"] {
        let mut script = complete(REFRESHED);
        script.answer("UPDATE", code, "Session-Expires: 90;refresher=uac\r\n", "");
        assert_eq!(byes(&script), 1, "{code}");
        script.answer("BYE", "200", "", "");
        delivered(&script);
    }
    // No answer either: the refresh is given up first.
    let mut script = complete(REFRESHED);
    script.pass(TIMEOUT - Duration::from_millis(1));
    script.pass(Duration::from_millis(1));
    let numbers: std::collections::BTreeSet<_> = script
        .sent
        .iter()
        .filter(|one| one.method() == Some("BYE"))
        .map(|one| cpm_wire::sip_ua::cseq(one).map(|(number, _)| number))
        .collect();
    assert_eq!(numbers.len(), 1, "one BYE, however often it goes out");
    delivered(&script);
}

/// The last answers may be in transit when the peer hangs up: nobody knows whether they were, and a
/// message that may not be delivered is not reported as delivered.
#[test]
fn a_bye_before_the_last_answer_is_a_failure() {
    for left in [1, 3] {
        let (mut script, _) = open_with(ANSWER, "");
        let waiting = all_but(&mut script, left);
        assert_eq!(waiting.len(), left);
        assert_eq!(peer_leaves(&mut script), Some(200));
        assert_eq!(script.done(), Some(&Err(Failure::PeerLeft)));
        for head in waiting {
            respond(&mut script, &head, "200 OK");
        }
        assert_eq!(script.done(), Some(&Err(Failure::PeerLeft)));
        assert_eq!(byes(&script), 0);
    }
}

/// The first failure is reported to the user, however many follow.
#[test]
fn the_first_failure_is_the_one_that_is_told() {
    let (mut script, _) = open_with(ANSWER, "");
    let waiting = all_but(&mut script, 2);
    respond(&mut script, &waiting[0], "413 Stop");
    respond(&mut script, &waiting[1], "200 OK");
    script.sender.handle_msrp_failed(script.now, "closed");
    script.sender.cancel(script.now);
    script.collect();
    assert_eq!(peer_leaves(&mut script), Some(200));
    let Some(Err(Failure::Msrp(MsrpFailure::Refused(status)))) = script.done() else {
        panic!("{:?}", script.done())
    };
    assert_eq!(status.code(), 413);
    assert_eq!(byes(&script), 1);
}
