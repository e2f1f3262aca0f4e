//! A session whose caller wants the receiver to refresh it, every 45 s.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cpm_wire::sip::{HeaderName, Message};
use cpm_wire::sip_ua::cseq;

use super::*;

const INTERVAL: Duration = Duration::from_secs(45);
const AGREED: &str = "Session-Expires: 90;refresher=uac\r\n";

struct Callee {
    now: Instant,
    receiver: Receiver,
    sent: Vec<Message>,
    failures: Vec<String>,
}

impl Callee {
    /// One that has answered such an INVITE, and got the ACK.
    fn in_session(allow: &str) -> Self {
        Self::answered(allow, "uas").0
    }

    /// With who is to refresh; and the 200.
    fn answered(allow: &str, refresher: &str) -> (Self, Message) {
        let mut callee = Self {
            now: Instant::now(),
            receiver: receiver(),
            sent: Vec::new(),
            failures: Vec::new(),
        };
        let offer = ANSWER
            .replace("passive", "actpass")
            .replace("recvonly", "sendonly")
            .replace("192.0.2.9:9", "192.0.2.2:2855");
        callee.hear(&format!(
            "INVITE sip:c@d SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=f\r\n\
             To: <sip:c@d>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nSupported: timer\r\nAllow: {allow}\r\n\
             Session-Expires: 90;refresher={refresher}\r\n{ANSWER_HEADERS}\r\n{offer}"
        ));
        let ok = callee.sent.pop().unwrap();
        let to = ok.first(HeaderName::To).unwrap().text().unwrap().to_owned();
        callee.hear(&format!(
            "ACK sip:c@d SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK2\r\nFrom: <sip:a@b>;tag=f\r\n\
             To: {to}\r\nCall-ID: 1\r\nCSeq: 1 ACK\r\n\r\n"
        ));
        assert!(callee.sent.is_empty());
        (callee, ok)
    }

    fn hear(&mut self, text: &str) {
        let message = Message::parse(Bytes::from(text.to_owned())).unwrap();
        self.receiver.handle_sip(self.now, message, way(CLIENT));
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(output) = self.receiver.poll_output() {
            match output {
                ReceiverOutput::Sip(_, bytes) => self.sent.push(Message::parse(bytes).unwrap()),
                ReceiverOutput::Event(ReceiverEvent::Failed { words, .. }) => {
                    self.failures.push(words);
                }
                _ => {}
            }
        }
    }

    /// Lets time pass. What it sent in that time.
    fn pass(&mut self, time: Duration) -> Vec<&str> {
        self.sent.clear();
        self.now += time;
        self.receiver.handle_timeout(self.now);
        self.collect();
        self.sent.iter().filter_map(Message::method).collect()
    }

    /// The peer answers the last request.
    fn answer(&mut self, code: &str, headers: &str) {
        let response = response_to(self.sent.last().unwrap(), code, headers);
        self.receiver.handle_sip(self.now, response, way(CLIENT));
        self.collect();
    }
}

#[test]
fn each_refresh_that_is_answered_extends_the_session() {
    let mut callee = Callee::in_session("UPDATE");
    for _ in 0..3 {
        assert!(callee.pass(INTERVAL - Duration::from_secs(1)).is_empty());
        assert_eq!(callee.pass(Duration::from_secs(1)), ["UPDATE"]);
        callee.answer("200", AGREED);
    }
    assert!(callee.failures.is_empty());
}

#[test]
fn a_refresh_by_invite_gets_its_ack() {
    let mut callee = Callee::in_session("INVITE, ACK, BYE");
    assert_eq!(callee.pass(INTERVAL), ["INVITE"]);
    assert!(!callee.sent[0].body().is_empty(), "the answer again");
    callee.answer("200", AGREED);
    let [invite, ack] = callee.sent.as_slice() else {
        panic!("{:?}", callee.sent);
    };
    assert_eq!(ack.method(), Some("ACK"));
    assert_eq!(cseq(ack).unwrap().0, cseq(invite).unwrap().0);
    assert_eq!(callee.pass(INTERVAL), ["INVITE"]);
}

#[test]
fn a_session_that_the_peer_no_longer_knows_is_over() {
    let mut callee = Callee::in_session("UPDATE");
    assert_eq!(callee.pass(INTERVAL), ["UPDATE"]);
    callee.answer("481", "");
    let last = callee.sent.last().and_then(Message::method);
    assert_eq!(last, Some("BYE"));
    assert_eq!(callee.failures, ["the session refresh was refused"]);
}

#[test]
fn another_refusal_is_no_end() {
    let mut callee = Callee::in_session("UPDATE");
    assert_eq!(callee.pass(INTERVAL), ["UPDATE"]);
    callee.answer("503", "");
    assert_eq!(callee.sent.len(), 1);
    assert!(callee.failures.is_empty());
    // Once more, half-way to its end, which is 30 s before the 90 s are over (RFC 4028 §10).
    let methods = callee.pass(Duration::from_millis(7_500));
    assert_eq!(methods, ["UPDATE"]);
}

#[test]
fn a_refresh_without_an_answer_ends_the_session() {
    let mut callee = Callee::in_session("UPDATE");
    assert_eq!(callee.pass(INTERVAL), ["UPDATE"]);
    callee.pass(TIMEOUT);
    assert_eq!(callee.failures, ["the session refresh was not answered"]);
}

/// The value of a field of the last message.
fn last(sent: &[Message], name: HeaderName) -> Option<String> {
    let field = sent.last()?.first(name)?;
    Some(field.text().ok()?.into())
}

/// Only where the peer is to refresh it has to know the extension (RFC 4028 §9).
#[test]
fn the_200_says_who_refreshes() {
    for (refresher, required) in [("uas", None), ("uac", Some("timer"))] {
        let (mut callee, ok) = Callee::answered("UPDATE", refresher);
        let expires = last(std::slice::from_ref(&ok), HeaderName::SessionExpires);
        assert_eq!(expires, Some(format!("90;refresher={refresher}")));
        let require = last(std::slice::from_ref(&ok), HeaderName::Require);
        assert_eq!(require.as_deref(), required, "{refresher}");
        let refreshes = callee.pass(INTERVAL).contains(&"UPDATE");
        assert_eq!(refreshes, refresher == "uas");
    }
}

#[test]
fn a_refresh_of_the_peer_extends_the_session() {
    let (mut callee, ok) = Callee::answered("UPDATE", "uac");
    let to = last(&[ok], HeaderName::To).unwrap();
    for number in 2..6 {
        assert_eq!(callee.pass(INTERVAL), [""; 0]);
        callee.hear(&format!(
            "UPDATE sip:c@d SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{number}u\r\n\
             From: <sip:a@b>;tag=f\r\nTo: {to}\r\nCall-ID: 1\r\nCSeq: {number} UPDATE\r\n\
             Contact: <sip:a@192.0.2.1>\r\nSupported: timer\r\n\
             Session-Expires: 90;refresher=uac\r\n\r\n"
        ));
        let status = callee.sent.last().and_then(Message::status);
        assert_eq!(status.map(|status| status.as_u16()), Some(200));
        let expires = last(&callee.sent, HeaderName::SessionExpires);
        assert_eq!(expires.as_deref(), Some("90;refresher=uac"));
    }
    assert!(callee.failures.is_empty());
    // One that is not refreshed ends.
    callee.pass(2 * INTERVAL);
    assert_eq!(callee.failures.len(), 1, "{:?}", callee.failures);
}
