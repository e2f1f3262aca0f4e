//! A receiver against a registrar with various behaviour, which the test plays by hand.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cpm_wire::sip::{HeaderName, Message};

use super::*;

struct Registrar {
    now: Instant,
    receiver: Receiver,
    /// The received REGISTERs, with their route.
    requests: Vec<(Way, Message)>,
    /// The same as bytes.
    raw: Vec<Bytes>,
    events: Vec<ReceiverEvent>,
}

fn tcp(to: &str) -> Way {
    Way {
        transport: SipTransport::Tcp,
        address: address(to),
    }
}

impl Registrar {
    /// With servers at these places.
    fn new(ways: Vec<Way>) -> Self {
        let config = ReceiverConfig {
            credentials: Some(Credentials {
                user: "bill".into(),
                password: "secret".into(),
            }),
            registration: Some(RegistrationConfig {
                registrar: "sip:example.com".into(),
                expires: 60,
            }),
            outbound: ways,
            ..receiver_config()
        };
        let mut registrar = Self {
            now: Instant::now(),
            receiver: Receiver::new(config, fill),
            requests: Vec::new(),
            raw: Vec::new(),
            events: Vec::new(),
        };
        registrar.receiver.start(registrar.now);
        registrar.collect();
        registrar
    }

    /// With one server, registered there for 60 s.
    fn registered() -> Self {
        let mut registrar = Self::new(vec![way(CLIENT)]);
        let asked = registrar.last().first(HeaderName::Expires).unwrap();
        assert_eq!(asked.value(), b"60");
        registrar.answer("200", "Expires: 60\r\n");
        let routes = Vec::new();
        let seconds = 60;
        assert_eq!(
            registrar.last_event(),
            ReceiverEvent::Registered { seconds, routes }
        );
        registrar
    }

    fn collect(&mut self) {
        while let Some(output) = self.receiver.poll_output() {
            match output {
                ReceiverOutput::Sip(way, bytes) => {
                    let message = Message::parse(bytes.clone()).unwrap();
                    if message.method().is_some() {
                        self.raw.push(bytes);
                        self.requests.push((way, message));
                    }
                }
                ReceiverOutput::Event(event) => self.events.push(event),
                _ => {}
            }
        }
    }

    fn last(&self) -> &Message {
        &self.requests.last().unwrap().1
    }

    fn last_event(&mut self) -> ReceiverEvent {
        assert_eq!(self.events.len(), 1, "{:?}", self.events);
        self.events.remove(0)
    }

    fn answer(&mut self, code: &str, headers: &str) {
        let (way, request) = self.requests.last().unwrap().clone();
        let message = response_to(&request, code, headers);
        self.receiver.handle_sip(self.now, message, way);
        self.collect();
    }

    /// Lets time pass, with everything that falls due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.receiver.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.receiver.handle_timeout(self.now);
            self.collect();
        }
        self.now = end;
    }

    /// Whether it still answers.
    fn is_alive(&mut self) -> bool {
        let text = format!(
            "OPTIONS sip:bill@example.com SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK{}\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:bill@example.com>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n",
            token(fill)
        );
        let options = Message::parse(Bytes::from(text)).unwrap();
        self.receiver.handle_sip(self.now, options, way(CLIENT));
        matches!(self.receiver.poll_output(), Some(ReceiverOutput::Sip(..)))
    }
}

/// Half of the granted time.
const REFRESH: Duration = Duration::from_secs(30);

#[test]
fn a_refresh_that_fails_is_tried_again() {
    for (code, headers, soonest, latest) in [
        (Some("503"), "Retry-After: 7\r\n", 7, 7),
        (Some("503"), "", 15, 30),
        (Some("500"), "Retry-After: 90 (busy);duration=3\r\n", 90, 90),
        (Some("500"), "", 15, 30),
        (Some("408"), "", 15, 30),
        (Some("403"), "", 15, 30),
        (Some("481"), "", 15, 30),
        (Some("401"), "", 15, 30),
        (None, "", 15, 30),
    ] {
        let mut registrar = Registrar::registered();
        registrar.pass(REFRESH);
        assert_eq!(registrar.requests.len(), 2, "{code:?}: refreshed");
        match code {
            Some(code) => registrar.answer(code, headers),
            None => registrar.pass(TIMEOUT),
        }
        let ReceiverEvent::NotRegistered {
            failure,
            again: Some(again),
        } = registrar.last_event()
        else {
            panic!("{code:?}")
        };
        assert_eq!(failure == Failure::NoAnswer("REGISTER"), code.is_none());
        let bounds = Duration::from_secs(soonest)..=Duration::from_secs(latest);
        assert!(bounds.contains(&again), "{code:?}: {again:?}");
        assert!(registrar.is_alive());
        let so_far = registrar.requests.len();
        registrar.pass(again - Duration::from_millis(1));
        assert_eq!(registrar.requests.len(), so_far, "{code:?}: too early");
        registrar.pass(Duration::from_millis(1));
        assert_eq!(registrar.requests.len(), so_far + 1);
        registrar.answer("200", "Expires: 60\r\n");
        assert!(matches!(
            registrar.last_event(),
            ReceiverEvent::Registered { seconds: 60, .. }
        ));
    }
}

#[test]
fn what_never_succeeded_is_given_up() {
    for code in ["403", "503", "423"] {
        let mut registrar = Registrar::new(vec![way(CLIENT)]);
        registrar.answer(code, "Retry-After: 7\r\n");
        let event = registrar.last_event();
        let given_up = matches!(event, ReceiverEvent::NotRegistered { again: None, .. });
        assert!(given_up, "{event:?}");
        registrar.pass(Duration::from_secs(3600));
        assert_eq!(registrar.requests.len(), 1);
    }
}

#[test]
fn a_lifetime_that_grows_with_each_try_ends() {
    let mut registrar = Registrar::registered();
    registrar.pass(REFRESH);
    for wanted in 100.. {
        registrar.answer("423", &format!("Min-Expires: {wanted}\r\n"));
        if !registrar.events.is_empty() {
            break;
        }
        let expires = registrar.last().first(HeaderName::Expires).unwrap();
        assert_eq!(expires.text(), Ok(wanted.to_string().as_str()));
    }
    assert_eq!(registrar.requests.len(), 5, "the refresh and three more");
    let event = registrar.last_event();
    let again = matches!(event, ReceiverEvent::NotRegistered { again: Some(_), .. });
    assert!(again, "{event:?}");
}

#[test]
fn the_next_server_is_asked() {
    let places = ["192.0.2.7:5060", "192.0.2.8:5060", "192.0.2.9:5060"];
    let ways = vec![way(places[0]), tcp(places[1]), way(places[2])];
    let mut registrar = Registrar::new(ways.clone());
    assert_eq!(registrar.requests.last().unwrap().0, ways[0]);
    // No answer: it had its head start.
    registrar.pass(Duration::from_millis(3999));
    assert!(registrar.requests.iter().all(|(way, _)| *way == ways[0]));
    registrar.pass(Duration::from_millis(1));
    assert_eq!(registrar.requests.last().unwrap().0, ways[1]);
    // Unreachable: at once.
    registrar
        .receiver
        .handle_way_lost(registrar.now, ways[1], "refused");
    registrar.collect();
    assert_eq!(registrar.requests.last().unwrap().0, ways[2]);
    let contact = registrar.last().first(HeaderName::Contact).unwrap();
    assert!(!contact.text().unwrap().contains("transport=tcp"));
    registrar.answer("200", "Expires: 60\r\n");
    assert!(matches!(
        registrar.last_event(),
        ReceiverEvent::Registered { .. }
    ));
    // The one that works is kept; when it is down, the others are tried before a failure is
    // reported.
    registrar.pass(REFRESH);
    assert_eq!(registrar.requests.last().unwrap().0, ways[2]);
    for next in [ways[0], ways[1]] {
        registrar.answer("503", "");
        assert_eq!(registrar.requests.last().unwrap().0, next);
    }
    assert!(registrar.events.is_empty());
    registrar.answer("503", "");
    let event = registrar.last_event();
    let again = matches!(event, ReceiverEvent::NotRegistered { again: Some(_), .. });
    assert!(again, "{event:?}");
    // A refusal applies everywhere.
    registrar.pass(Duration::from_secs(30));
    let asked = registrar.requests.len();
    registrar.answer("403", "");
    assert_eq!(
        (registrar.requests.len(), registrar.events.len()),
        (asked, 1)
    );
}

#[test]
fn a_connection_that_closes_behind_its_401_is_opened_again() {
    let server = tcp("192.0.2.7:5060");
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    // Closed before the next request is sent, or after it.
    for is_early in [true, false] {
        let mut registrar = Registrar::new(vec![server]);
        let answered = registrar.requests[0].1.clone();
        if is_early {
            let text = format!(
                "SIP/2.0 401 X\r\nVia: {}\r\nCSeq: 1 REGISTER\r\n{challenge}\r\n",
                answered.first(HeaderName::Via).unwrap().text().unwrap()
            );
            let message = Message::parse(Bytes::from(text)).unwrap();
            registrar
                .receiver
                .handle_sip(registrar.now, message, server);
        } else {
            registrar.answer("401", challenge);
        }
        let lose = |registrar: &mut Registrar| {
            let now = registrar.now;
            registrar.receiver.handle_way_lost(now, server, "closed");
            registrar.collect();
        };
        lose(&mut registrar);
        let sent = &registrar.requests[1..];
        assert_eq!(sent.len(), if is_early { 1 } else { 2 });
        let raw = &registrar.raw[1..];
        assert!(raw.iter().all(|one| *one == raw[0]), "the same request");
        assert!(sent[0].1.first(HeaderName::Authorization).is_some());
        assert!(registrar.events.is_empty());
        // A server that closes without close_notify.
        lose(&mut registrar);
        let event = registrar.last_event();
        let lost = matches!(
            &event,
            ReceiverEvent::NotRegistered { failure: Failure::Unreachable(words), again: None }
                if words == "closed"
        );
        assert!(lost, "{event:?}");
    }
}

#[test]
fn a_lost_connection_is_no_way_round_the_time_to_wait() {
    let server = tcp("192.0.2.7:5060");
    let mut registrar = Registrar::new(vec![server]);
    registrar.answer("200", "Expires: 600\r\n");
    registrar.events.clear();
    let now = registrar.now;
    registrar.receiver.handle_way_lost(now, server, "closed");
    registrar.pass(Duration::from_secs(5));
    assert_eq!(registrar.requests.len(), 2, "registered anew");
    registrar.answer("503", "Retry-After: 100\r\n");
    registrar
        .receiver
        .handle_way_lost(registrar.now, server, "closed");
    registrar.pass(Duration::from_secs(99));
    assert_eq!(registrar.requests.len(), 2);
    registrar.pass(Duration::from_secs(1));
    assert_eq!(registrar.requests.len(), 3);
}
