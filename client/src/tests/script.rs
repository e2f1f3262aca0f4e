//! A sender against a server that the test plays by hand.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use cpm_wire::sip::{HeaderName, Message};

use super::*;

/// A server that the test plays by hand.
pub(super) struct Script {
    pub(super) now: Instant,
    pub(super) sender: Sender,
    pub(super) sent: Vec<Message>,
    pub(super) outputs: Vec<SenderOutput>,
}

impl Script {
    pub(super) fn new(draft: Draft) -> Self {
        let mut script = Self {
            now: Instant::now(),
            sender: sender(draft),
            sent: Vec::new(),
            outputs: Vec::new(),
        };
        script.sender.start(script.now);
        script.collect();
        script
    }

    pub(super) fn collect(&mut self) {
        while let Some(output) = self.sender.poll_output() {
            match output {
                SenderOutput::Sip(_, bytes) => self.sent.push(Message::parse(bytes).unwrap()),
                other => self.outputs.push(other),
            }
        }
    }

    /// Answers the last request of that method.
    pub(super) fn answer(&mut self, method: &str, code: &str, headers: &str, body: &str) {
        self.answer_from(";tag=s", method, code, headers, body);
    }

    /// As a callee with this tag does.
    fn answer_from(&mut self, tag: &str, method: &str, code: &str, headers: &str, body: &str) {
        let request = self
            .sent
            .iter()
            .rev()
            .find(|r| r.method() == Some(method))
            .unwrap();
        let field = |name| request.first(name).unwrap().text().unwrap();
        let text = format!(
            "SIP/2.0 {code} X\r\nVia: {}\r\nFrom: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n{headers}\r\n{body}",
            field(HeaderName::Via),
            field(HeaderName::From),
            field(HeaderName::To).split(";tag").next().unwrap(),
            field(HeaderName::CallId),
            field(HeaderName::CSeq)
        );
        let message = Message::parse(Bytes::from(text)).unwrap();
        self.sender.handle_sip(self.now, message, way(SERVER));
        self.collect();
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.sender.handle_timeout(self.now);
        self.collect();
    }

    pub(super) fn methods(&self) -> Vec<&str> {
        self.sent.iter().filter_map(Message::method).collect()
    }

    pub(super) fn done(&self) -> Option<&Result<Sent, Failure>> {
        self.outputs.iter().find_map(|output| match output {
            SenderOutput::Event(SenderEvent::Done(result)) => Some(result),
            _ => None,
        })
    }
}

#[test]
fn a_cancel_waits_for_a_provisional_answer() {
    let mut script = Script::new(draft(3000));
    script.sender.cancel(script.now);
    script.collect();
    assert_eq!(script.methods(), ["INVITE"]);
    script.answer("INVITE", "180", "", "");
    assert_eq!(script.methods(), ["INVITE", "CANCEL"]);
    script.answer("CANCEL", "200", "", "");
    script.answer("INVITE", "487", "", "");
    assert_eq!(script.methods(), ["INVITE", "CANCEL", "ACK"]);
    assert_eq!(script.done(), Some(&Err(Failure::Cancelled)));
}

#[test]
fn a_200_that_crosses_the_cancel_is_ended() {
    let mut script = Script::new(draft(3000));
    script.answer("INVITE", "100", "", "");
    script.sender.cancel(script.now);
    script.collect();
    script.answer("INVITE", "200", ANSWER_HEADERS, ANSWER);
    assert_eq!(script.methods(), ["INVITE", "CANCEL", "ACK", "BYE"]);
    assert_eq!(script.done(), None, "until the BYE is answered");
    script.answer("BYE", "200", "", "");
    assert_eq!(script.done(), Some(&Err(Failure::Cancelled)));
}

#[test]
fn nothing_is_told_after_the_end() {
    for code in ["100", "200"] {
        let mut script = Script::new(draft(10));
        script.sender.cancel(script.now);
        script.collect();
        script.answer("MESSAGE", code, "", "");
        let done = SenderOutput::Event(SenderEvent::Done(Err(Failure::Cancelled)));
        assert_eq!(script.outputs, [done], "{code}");
    }
}

#[test]
fn a_cancel_without_any_answer_ends_too() {
    let mut script = Script::new(draft(3000));
    script.answer("INVITE", "100", "", "");
    script.sender.cancel(script.now);
    script.pass(TIMEOUT);
    assert_eq!(script.done(), Some(&Err(Failure::Cancelled)));
}

#[test]
fn the_session_is_refreshed_by_whom_the_answer_names() {
    let mut script = Script::new(draft(3000));
    let headers = format!("{ANSWER_HEADERS}Session-Expires: 20;refresher=uac\r\nAllow: UPDATE\r\n");
    script.answer("INVITE", "200", &headers, ANSWER);
    script.sender.handle_msrp_connected(script.now);
    script.pass(Duration::from_secs(9));
    assert_eq!(script.methods(), ["INVITE", "ACK"]);
    script.pass(Duration::from_secs(1));
    assert_eq!(script.methods(), ["INVITE", "ACK", "UPDATE"]);
    let update = script.sent.last().unwrap();
    assert_eq!(
        update.first(HeaderName::SessionExpires).unwrap().value(),
        b"20"
    );
    // A peer without UPDATE: the offer again; then the peer is the refresher, and does not refresh.
    script.answer("UPDATE", "200", "Session-Expires: 6;refresher=uas\r\n", "");
    script.pass(Duration::from_secs(4));
    let reason = script
        .sent
        .last()
        .unwrap()
        .first(HeaderName::Reason)
        .unwrap();
    assert!(reason.value().starts_with(b"SIP;cause=480"));
    script.answer("BYE", "200", "", "");
    assert_eq!(
        script.done(),
        Some(&Err(Failure::NoAnswer("session refresh")))
    );
}

/// RFC 4028 §7.3, RFC 3261 §14.1: a refusal's instructions are followed, and other refusals end no
/// session that has not expired.
#[test]
fn a_refused_refresh_is_tried_again_until_the_session_expires() {
    let mut script = Script::new(draft(3000));
    let headers = format!("{ANSWER_HEADERS}Session-Expires: 18;refresher=uac\r\nAllow: UPDATE\r\n");
    script.answer("INVITE", "200", &headers, ANSWER);
    script.sender.handle_msrp_connected(script.now);
    let field = |script: &Script, name| {
        let request = script.sent.last().unwrap();
        request
            .first(name)
            .map(|field| field.unfolded_text().into_owned())
    };
    script.pass(Duration::from_secs(9));
    script.answer("UPDATE", "422", "Min-SE: 120\r\n", "");
    assert_eq!(script.methods()[2..], ["UPDATE", "UPDATE"]);
    let again = [HeaderName::SessionExpires, HeaderName::MinSe].map(|name| field(&script, name));
    assert_eq!(again, [Some("120".to_owned()), Some("120".to_owned())]);
    // Until 12 s: once more, half-way there; then it has ended.
    script.answer("UPDATE", "503", "", "");
    script.pass(Duration::from_millis(1_500));
    assert_eq!(script.methods()[4..], ["UPDATE"]);
    script.answer("UPDATE", "503", "", "");
    script.pass(Duration::from_millis(1_500));
    assert_eq!(script.methods()[5..], ["BYE"]);
    script.answer("BYE", "200", "", "");
    let expired = Failure::NoAnswer("session refresh");
    assert_eq!(script.done(), Some(&Err(expired)));
}

#[test]
fn a_peer_without_update_gets_the_offer_again() {
    let mut script = Script::new(draft(3000));
    let headers = format!("{ANSWER_HEADERS}Session-Expires: 20\r\n");
    script.answer("INVITE", "200", &headers, ANSWER);
    script.sender.handle_msrp_connected(script.now);
    script.pass(Duration::from_secs(10));
    assert_eq!(script.methods(), ["INVITE", "ACK", "INVITE"]);
    assert_eq!(script.sent[0].body(), script.sent[2].body());
    script.answer("INVITE", "200", &headers, ANSWER);
    assert_eq!(script.methods(), ["INVITE", "ACK", "INVITE", "ACK"]);
    let numbers: Vec<_> = script.sent[2..]
        .iter()
        .map(|r| cpm_wire::sip_ua::cseq(r).unwrap().0)
        .collect();
    assert_eq!(numbers, [2, 2]);
}

#[test]
fn answers_that_break_the_protocol_are_ended_and_told() {
    let wrong: [(&str, &str, &str); 5] = [
        ("", "", "without SDP"),
        (ANSWER_HEADERS, "hello", "SDP"),
        (
            ANSWER_HEADERS,
            "v=0\r\nc=IN IP4 192.0.2.2\r\nm=audio 4 RTP/AVP 0\r\n",
            "SDP",
        ),
        ("active", "", "setup:active"),
        ("small", "", "up to 99 bytes"),
    ];
    for (headers, body, words) in wrong {
        let mut script = Script::new(draft(3000));
        let (headers, body) = match headers {
            "" => ("Contact: <sip:cf@192.0.2.2>\r\n", String::new()),
            "active" => (ANSWER_HEADERS, ANSWER.replace("passive", "active")),
            "small" => (ANSWER_HEADERS, format!("{ANSWER}a=max-size:99\r\n")),
            _ => (headers, body.to_owned()),
        };
        script.answer("INVITE", "200", headers, &body);
        assert_eq!(script.methods(), ["INVITE", "ACK", "BYE"], "{words}");
        script.answer("BYE", "481", "", "");
        let Some(Err(failure)) = script.done() else {
            panic!("{words}")
        };
        assert!(failure.to_string().contains(words), "{failure}");
    }
}

#[test]
fn an_unneeded_fork_is_hung_up() {
    let mut script = Script::new(draft(3000));
    script.answer("INVITE", "200", ANSWER_HEADERS, ANSWER);
    // The same retransmitted, then another.
    script.answer("INVITE", "200", ANSWER_HEADERS, ANSWER);
    assert_eq!(script.methods(), ["INVITE", "ACK", "ACK"]);
    script.answer_from(";tag=other", "INVITE", "200", ANSWER_HEADERS, ANSWER);
    assert_eq!(script.methods()[3..], ["ACK", "BYE"]);
    assert_eq!(script.done(), None);
}

#[test]
fn a_2xx_that_makes_no_dialog_is_hung_up_on() {
    let unusable = ANSWER_HEADERS.replace("Contact: <", "Contact: \"<");
    let missing = ANSWER_HEADERS.replace("Contact: <", "X-Contact: <");
    // Where its ACK and BYE go, if not to the destination of the INVITE.
    for (headers, tag, contact) in [
        (unusable.as_str(), ";tag=s", None),
        (missing.as_str(), ";tag=s", None),
        (ANSWER_HEADERS, "", Some("sip:cf@192.0.2.2")),
    ] {
        let mut script = Script::new(draft(3000));
        script.answer_from(tag, "INVITE", "200", headers, ANSWER);
        assert_eq!(script.methods(), ["INVITE", "ACK", "BYE"]);
        let destination = contact.or(script.sent[0].request_uri());
        let mut others = script.sent[1..].iter();
        assert!(others.all(|sent| sent.request_uri() == destination));
        let known = script.sent[2].tag_in(HeaderName::To);
        assert_eq!(known.as_deref(), tag.strip_prefix(";tag="));
        assert!(matches!(script.done(), Some(Err(Failure::WrongAnswer(_)))));
    }
}

#[test]
fn the_connection_goes_where_c_and_m_say() {
    let mut script = Script::new(draft(3000));
    script.answer("INVITE", "200", ANSWER_HEADERS, ANSWER);
    let target = script.outputs.iter().find_map(|output| match output {
        SenderOutput::ConnectMsrp(target) => Some((target.host.as_str(), target.port)),
        _ => None,
    });
    assert_eq!(target, Some(("192.0.2.2", 2855)));
    script.pass(CONNECT_TIMEOUT);
    assert_eq!(script.methods().last(), Some(&"BYE"));
}

#[test]
fn a_recipient_rings_for_three_minutes() {
    let mut script = Script::new(draft(3000));
    script.answer("INVITE", "180", "", "");
    let moment = Duration::from_millis(1);
    script.pass(Duration::from_secs(180) - moment);
    assert_eq!(script.methods(), ["INVITE"]);
    script.pass(moment);
    assert_eq!(script.methods(), ["INVITE", "CANCEL"]);
}

/// RFC 3263 §4.3: a recipient of both can recognise them.
#[test]
fn the_next_server_gets_the_same_request() {
    let mut script = Script::new(draft(3000));
    let next = way("192.0.2.7:5060");
    script.sender.elsewhere(SenderConfig {
        way: next,
        ..sender_config()
    });
    script.sender.start(script.now);
    let Some(SenderOutput::Sip(to, bytes)) = script.sender.poll_output() else {
        panic!("it begins again");
    };
    assert_eq!(to, next);
    let (first, next) = (&script.sent[0], Message::parse(bytes).unwrap());
    for name in [HeaderName::CallId, HeaderName::From, HeaderName::CSeq] {
        assert_eq!(
            first.first(name).unwrap().value(),
            next.first(name).unwrap().value()
        );
    }
}

#[test]
fn the_contact_of_an_anonymous_sender_names_nobody() {
    for (anonymous, user) in [(false, "anne"), (true, "anonymous")] {
        let script = Script::new(Draft {
            anonymous,
            ..draft(3000)
        });
        let contact = script.sent[0].first(HeaderName::Contact).unwrap();
        let text = contact.text().unwrap();
        assert!(
            text.starts_with(&format!("<sip:{user}@192.0.2.1")),
            "{text}"
        );
    }
}

/// By which its carrier is chosen (RFC 3261 §18.1.1) before there is one.
#[test]
fn the_length_of_the_first_request_is_known_beforehand() {
    for size in [0, 10, 1_000, 3_000] {
        let outgoing = draft(size).prepare(PAGER_MAX_BYTES, SizeOf::Cpim, SystemTime::now(), fill);
        let outgoing = outgoing.unwrap();
        let expected = outgoing.request_bytes();
        let mut sender = Sender::new(sender_config(), outgoing, fill);
        sender.start(Instant::now());
        let Some(SenderOutput::Sip(_, bytes)) = sender.poll_output() else {
            panic!("it begins with its request");
        };
        let longest = expected + 100;
        assert!(
            (expected - 400..longest).contains(&bytes.len()),
            "{expected}, {}",
            bytes.len()
        );
    }
}

#[test]
fn a_session_outlives_its_way_to_the_server() {
    let mut script = Script::new(draft(3000));
    script.answer("INVITE", "200", ANSWER_HEADERS, ANSWER);
    script.sender.handle_sip_failed(script.now, "gone");
    script.sender.handle_msrp_connected(script.now);
    script.sender.handle_sip_failed(script.now, "gone");
    script.collect();
    assert_eq!(script.done(), None);
    script.sender.cancel(script.now);
    script.collect();
    // The BYE reaches nobody: the first result remains.
    script.sender.handle_sip_failed(script.now, "gone");
    script.collect();
    assert_eq!(script.done(), Some(&Err(Failure::Cancelled)));
    let mut script = Script::new(draft(10));
    script.sender.handle_sip_failed(script.now, "gone");
    script.collect();
    assert_eq!(
        script.done(),
        Some(&Err(Failure::Unreachable("gone".into())))
    );
}

/// Appendix D. Each request, and each answer as Server.
#[test]
fn each_end_says_what_it_is() {
    let product = |release: &str| {
        let version = env!("CARGO_PKG_VERSION");
        format!("CPM-client/OMA{release} cpm-client/{version}")
    };
    for size in [10, 20_000] {
        let mut draft = draft(size);
        draft.oma_release = "2.0".to_owned();
        let script = Script::new(draft);
        let field = script.sent[0].first(HeaderName::UserAgent).unwrap();
        assert_eq!(field.text(), Ok(&*product("2.0")), "{size}");
    }
    let sent = Script::new(draft(10)).sent.remove(0);
    let mut receiver = receiver();
    receiver.handle_sip(Instant::now(), sent, way(CLIENT));
    let outputs = std::iter::from_fn(|| receiver.poll_output());
    let answers: Vec<Message> = outputs
        .filter_map(|output| match output {
            ReceiverOutput::Sip(_, bytes) => Message::parse(bytes).ok(),
            _ => None,
        })
        .collect();
    let server = format!("\r\nServer: {}\r\n", product(OMA_RELEASE));
    let text = String::from_utf8_lossy(answers[0].buffer());
    assert!(text.contains(&server), "{text}");
}

/// The peer's refresh names who goes on refreshing.
#[test]
fn the_session_is_refreshed_by_whom_the_peer_names_later() {
    for (refresher, refreshes) in [("uas", true), ("uac", false)] {
        let mut script = Script::new(draft(3000));
        let headers = format!("{ANSWER_HEADERS}Allow: UPDATE\r\n");
        script.answer("INVITE", "200", &headers, ANSWER);
        script.sender.handle_msrp_connected(script.now);
        script.collect();
        let invite = script.sent[0].clone();
        let field = |name| invite.first(name).unwrap().text().unwrap().to_owned();
        let update = format!(
            "UPDATE sip:anne@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKu\r\n\
             From: {};tag=s\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 1 UPDATE\r\nAllow: UPDATE\r\n\
             Contact: <sip:cf@192.0.2.2>\r\nSupported: timer\r\n\
             Session-Expires: 20;refresher={refresher}\r\n\r\n",
            field(HeaderName::To),
            field(HeaderName::From),
            field(HeaderName::CallId)
        );
        let update = Message::parse(Bytes::from(update)).unwrap();
        script.sender.handle_sip(script.now, update, way(SERVER));
        script.collect();
        let answer = script.sent.last().unwrap();
        assert_eq!(answer.status().map(|status| status.as_u16()), Some(200));
        let expires = answer.first(HeaderName::SessionExpires).unwrap();
        assert_eq!(expires.text(), Ok(&*format!("20;refresher={refresher}")));
        script.pass(Duration::from_secs(10));
        let last = script.sent.last().and_then(Message::method);
        assert_eq!(last == Some("UPDATE"), refreshes, "{refresher}");
    }
}
