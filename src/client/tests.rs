//! The two machines against each other and against a scripted peer, in virtual time.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};

use crate::msrp::xorshift::{XorShift, fill};
use crate::sdp::Transport;
use crate::session::ConnectionId;
use crate::sip::{HeaderName, Message};

use super::*;

const CLIENT: &str = "192.0.2.1:5060";
const SERVER: &str = "192.0.2.2:5060";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn way(to: &str) -> Way {
    Way {
        transport: SipTransport::Udp,
        address: address(to),
    }
}

fn draft(size: usize) -> Draft {
    Draft {
        from: "sip:anne@example.com".into(),
        display_name: None,
        identity: None,
        asserted: None,
        destination: Destination::One("sip:bill@example.com".into()),
        parts: vec![Part {
            content_type: "application/octet-stream".into(),
            content: Bytes::from(XorShift::new(3).bytes(size)),
            file_name: None,
        }],
        subject: None,
        reply_to: None,
        anonymous: false,
        expires: None,
        notifications: Default::default(),
        conversation_id: None,
        in_reply_to: None,
        routes: Vec::new(),
        oma_release: "2.2".into(),
        session_expires: SessionExpires::Absent,
    }
}

fn sender(draft: Draft) -> Sender {
    let config = SenderConfig {
        way: way(SERVER),
        local: address(CLIENT),
        credentials: None,
        msrp: address("192.0.2.1:2855"),
        msrp_transport: Transport::Tcp,
        fingerprint: None,
        chunk_bytes: 1000,
    };
    let outgoing = draft.prepare(PAGER_MAX_BYTES, SizeOf::Cpim, SystemTime::now(), fill);
    Sender::new(config, outgoing.unwrap(), fill)
}

fn receiver() -> Receiver {
    let config = ReceiverConfig {
        address: "sip:bill@example.com".into(),
        local: address(SERVER),
        credentials: None,
        registration: None,
        msrp: address("192.0.2.2:2855"),
        msrp_transport: Transport::Tcp,
        fingerprint: None,
        max_size: 1 << 20,
        reject: None,
        oma_release: "2.2".into(),
    };
    Receiver::new(config, fill)
}

/// A network between the two that loses packets, and what the ends tell their users.
struct Pair {
    now: Instant,
    sender: Sender,
    receiver: Receiver,
    random: XorShift,
    /// Of 100 datagrams so many are lost.
    loss: usize,
    connected: bool,
    to_sender: BytesMut,
    to_receiver: BytesMut,
    done: Option<Result<Sent, Failure>>,
    received: Vec<Received>,
    events: Vec<ReceiverEvent>,
    requests: Vec<Message>,
}

impl Pair {
    fn new(draft: Draft) -> Self {
        let mut pair = Self {
            now: Instant::now(),
            sender: sender(draft),
            receiver: receiver(),
            random: XorShift::new(11),
            loss: 0,
            connected: false,
            to_sender: BytesMut::new(),
            to_receiver: BytesMut::new(),
            done: None,
            received: Vec::new(),
            events: Vec::new(),
            requests: Vec::new(),
        };
        pair.sender.start(pair.now);
        pair
    }

    fn is_lost(&mut self) -> bool {
        self.random.below(100) < self.loss
    }

    /// Passes on all that is under way. True if there was anything.
    fn exchange(&mut self) -> bool {
        let mut any = false;
        while let Some(output) = self.sender.poll_output() {
            any = true;
            match output {
                SenderOutput::Sip(_, bytes) => {
                    let message = Message::parse(bytes).unwrap();
                    if message.method().is_some() {
                        self.requests.push(message.clone());
                    }
                    if !self.is_lost() {
                        self.receiver.handle_sip(self.now, message, way(CLIENT));
                    }
                }
                SenderOutput::ConnectMsrp(target) => {
                    assert_eq!((target.host.as_str(), target.port), ("192.0.2.2", 2855));
                    self.connected = true;
                    self.receiver.handle_msrp_accepted(ConnectionId(1));
                    self.sender.handle_msrp_connected(self.now);
                }
                SenderOutput::CloseMsrp => {
                    self.connected = false;
                    self.receiver.handle_msrp_closed(self.now, ConnectionId(1));
                }
                SenderOutput::Event(SenderEvent::Done(result)) => self.done = Some(result),
                SenderOutput::Event(_) => {}
            }
        }
        while let Some(output) = self.receiver.poll_output() {
            any = true;
            match output {
                ReceiverOutput::Sip(_, bytes) => {
                    if !self.is_lost() {
                        let message = Message::parse(bytes).unwrap();
                        self.sender.handle_sip(self.now, message, way(SERVER));
                    }
                }
                ReceiverOutput::Event(ReceiverEvent::Message(_, received)) => {
                    self.received.push(*received);
                }
                ReceiverOutput::Event(event) => self.events.push(event),
                ReceiverOutput::ConnectMsrp(..) | ReceiverOutput::CloseMsrp(_) => {}
            }
        }
        if self.connected {
            // One piece each way, so that the ends take turns.
            if let Some(bytes) = self.sender.poll_msrp(self.now) {
                any = true;
                self.to_receiver.extend_from_slice(&bytes);
            }
            self.receiver
                .handle_msrp_bytes(self.now, ConnectionId(1), &mut self.to_receiver);
            while let Some(bytes) = self.receiver.poll_msrp(ConnectionId(1)) {
                any = true;
                self.to_sender.extend_from_slice(&bytes);
            }
            self.sender.handle_msrp_bytes(self.now, &mut self.to_sender);
        }
        any
    }

    /// Lets time pass until the sender is done, or this long.
    fn run(&mut self, longest: Duration) {
        let end = self.now + longest;
        while self.done.is_none() {
            if self.exchange() {
                continue;
            }
            let times = [self.sender.poll_timeout(), self.receiver.poll_timeout()];
            let Some(next) = times
                .into_iter()
                .flatten()
                .min()
                .filter(|next| *next <= end)
            else {
                return;
            };
            self.now = self.now.max(next);
            self.sender.handle_timeout(self.now);
            self.receiver.handle_timeout(self.now);
        }
        while self.exchange() {}
    }

    fn methods(&self) -> Vec<&str> {
        self.requests.iter().filter_map(Message::method).collect()
    }
}

#[test]
fn small_messages_go_in_a_message_and_large_ones_over_msrp() {
    for size in [0, 1, 900, 1500, 40_000] {
        let mut pair = Pair::new(draft(size));
        let cpim = pair.sender.outgoing().cpim.clone();
        pair.run(Duration::from_secs(60));
        assert!(
            matches!(pair.done, Some(Ok(Sent { code: 200, .. }))),
            "{:?}",
            pair.done
        );
        let [received] = &pair.received[..] else {
            panic!("{size}: {:?}", pair.events)
        };
        assert_eq!(received.object.body, cpim, "bit for bit");
        assert_eq!(received.is_large, cpim.len() > PAGER_MAX_BYTES);
        match received.is_large {
            false => assert_eq!(pair.methods(), ["MESSAGE"]),
            true => assert_eq!(pair.methods(), ["INVITE", "ACK", "BYE"]),
        }
    }
}

#[test]
fn the_size_decides_at_the_byte() {
    let empty = sender(draft(0)).outgoing().cpim.len();
    let mode = |size| sender(draft(size - empty)).outgoing().mode;
    assert_eq!(mode(PAGER_MAX_BYTES), Mode::Pager);
    assert_eq!(mode(PAGER_MAX_BYTES + 1), Mode::Large);
}

#[test]
fn lost_packets_delay_but_do_not_hurt() {
    for seed in 1..60 {
        for size in [10, 3000] {
            let mut pair = Pair::new(draft(size));
            pair.random = XorShift::new(seed);
            pair.loss = 20;
            pair.run(Duration::from_secs(120));
            let done = pair.done.as_ref();
            assert!(done.is_some(), "{seed} {size}");
            assert!(pair.received.len() <= 1, "never twice");
            if matches!(done, Some(Ok(_))) {
                assert_eq!(pair.received.len(), 1);
            }
        }
    }
}

#[test]
fn nobody_answers() {
    for (size, method) in [(10, "MESSAGE"), (3000, "INVITE")] {
        let mut pair = Pair::new(draft(size));
        pair.loss = 100;
        let start = pair.now;
        pair.run(Duration::from_secs(60));
        assert_eq!(pair.done, Some(Err(Failure::NoAnswer(method))));
        assert_eq!(pair.now - start, TIMEOUT);
    }
}

#[test]
fn the_receiver_takes_no_more_than_it_said() {
    let mut pair = Pair::new(draft((1 << 20) + 1));
    pair.run(Duration::from_secs(60));
    let Some(Err(Failure::Refused(refusal))) = &pair.done else {
        panic!("{:?}", pair.done)
    };
    assert_eq!(
        (refusal.code, &refusal.warnings[..]),
        (403, &["133 Size exceeded".to_owned()][..])
    );
    assert_eq!(pair.methods(), ["INVITE", "ACK"]);
}

#[test]
fn taken_back_in_the_midst() {
    let mut pair = Pair::new(draft(100_000));
    while !pair.connected || pair.sender.outgoing().cpim.len() < 100 {
        pair.exchange();
    }
    for _ in 0..20 {
        pair.exchange();
    }
    pair.sender.cancel(pair.now);
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.done, Some(Err(Failure::Cancelled)));
    let bye = pair.requests.last().unwrap();
    assert_eq!(bye.method(), Some("BYE"));
    let reason = bye.first(HeaderName::Reason).unwrap().text().unwrap();
    assert!(reason.starts_with("SIP;cause=480"), "{reason}");
    assert!(pair.received.is_empty());
    assert!(
        matches!(pair.events.last(), Some(ReceiverEvent::Failed(..))),
        "{:?}",
        pair.events
    );
}

/// A server that the test plays by hand.
struct Script {
    now: Instant,
    sender: Sender,
    sent: Vec<Message>,
    outputs: Vec<SenderOutput>,
}

impl Script {
    fn new(draft: Draft) -> Self {
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

    fn collect(&mut self) {
        while let Some(output) = self.sender.poll_output() {
            match output {
                SenderOutput::Sip(_, bytes) => self.sent.push(Message::parse(bytes).unwrap()),
                other => self.outputs.push(other),
            }
        }
    }

    /// Answers the last request of that method.
    fn answer(&mut self, method: &str, code: &str, headers: &str, body: &str) {
        let request = self
            .sent
            .iter()
            .rev()
            .find(|r| r.method() == Some(method))
            .unwrap();
        let field = |name| request.first(name).unwrap().text().unwrap();
        let text = format!(
            "SIP/2.0 {code} X\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=s\r\nCall-ID: {}\r\nCSeq: {}\r\n{headers}\r\n{body}",
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

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.sender.handle_timeout(self.now);
        self.collect();
    }

    fn methods(&self) -> Vec<&str> {
        self.sent.iter().filter_map(Message::method).collect()
    }

    fn done(&self) -> Option<&Result<Sent, Failure>> {
        self.outputs.iter().find_map(|output| match output {
            SenderOutput::Event(SenderEvent::Done(result)) => Some(result),
            _ => None,
        })
    }
}

const ANSWER_HEADERS: &str = "Contact: <sip:cf@192.0.2.2>\r\nContent-Type: application/sdp\r\n";
const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n\
    m=message 2855 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=path:msrp://192.0.2.9:9/x;tcp\r\n\
    a=recvonly\r\na=setup:passive\r\na=msrp-cema\r\n";

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
    // Peer without UPDATE: the offer again; and now the peer refreshes, and does not.
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
        .map(|r| request::cseq(r).unwrap().0)
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
    // The same once more, then another.
    script.answer("INVITE", "200", ANSWER_HEADERS, ANSWER);
    assert_eq!(script.methods(), ["INVITE", "ACK", "ACK"]);
    let invite = script.sent[0].clone();
    let field = |name| invite.first(name).unwrap().text().unwrap();
    let text = format!(
        "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: <sip:bill@example.com>;tag=other\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         {ANSWER_HEADERS}\r\n{ANSWER}",
        field(HeaderName::Via),
        field(HeaderName::From),
        field(HeaderName::CallId),
        field(HeaderName::CSeq)
    );
    let other = Message::parse(Bytes::from(text)).unwrap();
    script.sender.handle_sip(script.now, other, way(SERVER));
    script.collect();
    assert_eq!(script.methods()[3..], ["ACK", "BYE"]);
    assert_eq!(script.done(), None);
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
fn mutated_answers_never_panic() {
    let mut random = XorShift::new(5);
    for _ in 0..2000 {
        let mut script = Script::new(draft(3000));
        let mut body = ANSWER.as_bytes().to_vec();
        let mut headers =
            format!("{ANSWER_HEADERS}Session-Expires: 90;refresher=uas\r\n").into_bytes();
        for _ in 0..random.below(4) {
            let at = random.below(body.len());
            body[at] = random.next() as u8 & 0x7f;
            let at = random.below(headers.len());
            headers[at] = b" ;:<>=\"a9"[random.below(9)];
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
    let mut random = XorShift::new(21);
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
        for _ in 0..random.below(5) {
            let at = random.below(bytes.len());
            bytes[at] = b" ;:<>=\"a9\r\n"[random.below(11)];
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
        let length = random.below(200);
        input.extend_from_slice(b"MSRP abcd SEND\r\n");
        input.extend_from_slice(&random.bytes(length));
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

#[test]
fn a_session_outlives_its_way_to_the_server() {
    let mut script = Script::new(draft(3000));
    script.answer("INVITE", "200", ANSWER_HEADERS, ANSWER);
    script.sender.handle_sip_failed("gone");
    script.sender.handle_msrp_connected(script.now);
    script.sender.handle_sip_failed("gone");
    script.collect();
    assert_eq!(script.done(), None);
    script.sender.cancel(script.now);
    script.collect();
    // Nobody is there for the BYE: the first word stands.
    script.sender.handle_sip_failed("gone");
    script.collect();
    assert_eq!(script.done(), Some(&Err(Failure::Cancelled)));
    let mut script = Script::new(draft(10));
    script.sender.handle_sip_failed("gone");
    script.collect();
    assert_eq!(
        script.done(),
        Some(&Err(Failure::Unreachable("gone".into())))
    );
}
