//! All sessions in virtual time: no relay, no proxy, no clock.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::controlling::AboutRequest;
use crate::controlling::large_message_mode::{
    AcceptedInvite, InDialogRequest, LargeModeSettings, MsrpAddress, MsrpAddresses, SessionReply,
    TransactionKey,
};
use crate::controlling::{
    ControllingFunction, Counter, FanOutJob, Ids, Journal, KeptInvite, Kind, OutgoingRequest,
};
use crate::log::LogAt;
use crate::msrp_control::{LegNumber, MsrpEvent, RelayOrder, SessionId, StoredContent};
use crate::msrp_session::{DeliveryState, OutgoingMessage};
use crate::operator::Event;
use crate::policy::{ID_KEY_BYTES, Settings};
use crate::relay::{RelayTotals, SessionProgress};
use crate::sdp::Transport;
use crate::shared::{MessageNumber, StoreSpace};
use crate::sip::Message;
use crate::store::Settled;

const INVITE: TransactionKey = TransactionKey(7);

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
    m=message 7394 TCP/MSRP *\r\na=accept-types:message/cpim\r\n\
    a=path:msrp://192.0.2.1:7394/anne;tcp\r\na=sendonly\r\na=setup:actpass\r\n";
const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n\
    m=message 9 TCP/MSRP *\r\na=accept-types:message/cpim\r\n\
    a=path:msrp://192.0.2.2:7777/bill;tcp\r\na=recvonly\r\na=setup:active\r\n";

/// The proxy: its calls, in order.
#[derive(Default)]
struct Proxy {
    done: RefCell<Vec<String>>,
    call_ids: RefCell<Vec<String>>,
    tag: RefCell<String>,
    has_no_room: Cell<bool>,
    kept: RefCell<Vec<u8>>,
}

impl Proxy {
    fn note(&self, line: String) {
        self.done.borrow_mut().push(line);
    }

    fn done(&self) -> Vec<String> {
        self.done.take()
    }
}

impl Journal for Proxy {
    fn log(&self, _: LogAt, _: fmt::Arguments<'_>) {}

    fn count(&self, _: Counter, _: u32) {}
}

impl SessionHost for Proxy {
    fn invite(&self, invite: &OutgoingRequest<'_>) -> Invited {
        if self.has_no_room.get() {
            self.note("no room".to_owned());
            return Invited::NotNow;
        }
        self.note(format!("INVITE {}", invite.request_uri));
        let mut call_ids = self.call_ids.borrow_mut();
        call_ids.push(invite.call_id.to_owned());
        Invited::Sent(TransactionKey(100 + call_ids.len() as u64))
    }

    fn cancel(&self, invite: TransactionKey) {
        self.note(format!("CANCEL {}", invite.0));
    }

    fn request(&self, request: &InDialogRequest) -> bool {
        self.note(request.method.to_owned());
        true
    }

    fn reply(&self, reply: &SessionReply, keep: bool) -> bool {
        let held = if keep { ", held" } else { "" };
        self.note(format!("{}{held}", reply.code.as_u16()));
        self.tag.replace(reply.to_tag.clone());
        true
    }

    fn release(&self, transaction: TransactionKey) {
        self.note(format!("release {}", transaction.0));
    }

    fn keep(&self, kept: &KeptInvite) -> bool {
        self.note(format!("keep {}", kept.content.size));
        self.kept.replace(kept.write());
        true
    }

    fn discard(&self, number: u64) {
        self.note(format!("discard {number}"));
    }

    fn settle(&self, job: &FanOutJob, recipient: &str, settled: Settled) {
        assert!(job.recipients().any(|known| known == recipient));
        self.note(format!("{settled:?} {recipient}"));
    }

    fn event(&self, event: Event, code: u16, _: &OutgoingRequest<'_>) {
        self.note(format!("{event:?} {code}"));
    }
}

/// A relay without sessions.
struct Unseen;

impl RelayView for Unseen {
    fn progress(&self, _: SessionId) -> Option<SessionProgress> {
        None
    }

    fn totals(&self) -> RelayTotals {
        RelayTotals::default()
    }
}

struct Scene {
    now: Instant,
    sessions: Sessions,
    proxy: Proxy,
}

impl Scene {
    fn new(parameters: &[(&str, &str)]) -> Self {
        let mut settings = Settings::default();
        let own = [("exploder_uri", "sip:all@example.com")];
        for (name, value) in own.iter().chain(parameters) {
            settings.set(name, value).unwrap();
        }
        let address = MsrpAddress {
            address: "203.0.113.5".parse().unwrap(),
            port: 2855,
        };
        let large_mode = LargeModeSettings::new(
            &settings.large_mode,
            "sip:cpm@203.0.113.1".to_owned(),
            MsrpAddresses {
                tcp: Some(address),
                tls: None,
                fingerprint: Default::default(),
                leg_transport: Transport::Tcp,
            },
        );
        let service = ControllingFunction::new(settings, 1).unwrap();
        let mut service = service
            .with_ids(Ids::new(&[7; ID_KEY_BYTES]))
            .with_large_mode(large_mode);
        if parameters.iter().any(|(name, _)| *name == "store") {
            let words = (0..StoreSpace::WORDS).map(|_| AtomicU64::new(0));
            service = service.with_store_space(StoreSpace::new(Box::leak(words.collect()), 10_000));
        }
        let now = Instant::now();
        Scene {
            now,
            sessions: Sessions::new(now, &Rc::new(service)).unwrap(),
            proxy: Proxy::default(),
        }
    }

    fn begin(&mut self, number: u8, transaction: TransactionKey) {
        let message = format!(
            "INVITE sip:all@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
             Max-Forwards: 70\r\nFrom: <sip:anne@example.com>;tag=1\r\n\
             To: <sip:all@example.com>\r\nCall-ID: {number}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:anne@192.0.2.1>\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{OFFER}",
            OFFER.len()
        );
        let invite = AcceptedInvite {
            session: SessionId::from_bytes([number; 16]),
            claim: None,
            kind: Kind::Exploder,
            message: Message::parse(message.into()).unwrap(),
            own_address: "sip:all@example.com".to_owned(),
            originator: "sip:anne@example.com".to_owned(),
            asserted: "<sip:anne@example.com>".to_owned(),
            notifications_to: None,
            recipients: "sip:bill@192.0.2.2\n".to_owned(),
            history: None,
            about: AboutRequest {
                recipients: 1,
                ..AboutRequest::default()
            },
            record: MessageNumber::default(),
        };
        let bytes = Bytes::from(invite.write());
        self.sessions
            .handle_invite(self.now, bytes, transaction, &self.proxy);
    }

    /// Works until there is nothing more to do now; a command to the relay appears as a word among
    /// the calls.
    fn work(&mut self) -> Wake {
        loop {
            let wake = self.sessions.work(self.now, &self.proxy);
            let mut had_commands = false;
            while let Some(order) = self.sessions.poll_command() {
                had_commands = true;
                let word = match order {
                    RelayOrder::Command(_, command) => format!("{command:?}"),
                    RelayOrder::Forget(_) => "Forget".to_owned(),
                };
                let end = word.find([' ', '(', '{']).unwrap_or(word.len());
                self.proxy.note(format!("relay: {}", &word[..end]));
            }
            if wake != Wake::Now && !had_commands {
                return wake;
            }
        }
    }

    /// Lets this much time pass.
    fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Wake::At(at) = self.work() {
            if at > end {
                break;
            }
            self.now = at.max(self.now + Duration::from_millis(1));
        }
        self.now = end;
        self.work();
    }

    fn respond(&mut self, status: &str, body: &str) {
        let call_id = self.proxy.call_ids.borrow()[0].clone();
        let response = format!(
            "SIP/2.0 {status}\r\nVia: SIP/2.0/UDP 192.0.2.9\r\n\
             From: <sip:anne@example.com>;tag={call_id}\r\nTo: <sip:bill@192.0.2.2>;tag=b\r\n\
             Call-ID: {call_id}\r\nCSeq: 1 INVITE\r\nContact: <sip:bill@192.0.2.2>\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.sessions
            .handle_response(self.now, response.into(), &self.proxy);
    }

    fn acknowledge(&mut self) {
        let tag = self.proxy.tag.borrow().clone();
        let ack = format!(
            "ACK sip:cpm@203.0.113.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK2\r\n\
             From: <sip:anne@example.com>;tag=1\r\nTo: <sip:all@example.com>;tag={tag}\r\n\
             Call-ID: 1\r\nCSeq: 1 ACK\r\n\r\n"
        );
        self.sessions
            .handle_request(self.now, ack.into(), None, &self.proxy);
    }
}

#[test]
fn the_relay_has_its_commands_before_a_reply_leaves() {
    let mut scene = Scene::new(&[]);
    scene.begin(1, INVITE);
    scene.work();
    assert_eq!(scene.proxy.done(), ["INVITE sip:bill@192.0.2.2"]);
    scene.respond("200 OK", ANSWER);
    scene.work();
    let done = scene.proxy.done();
    let reply = done.iter().position(|word| word == "200, held").unwrap();
    let opened = done.iter().filter(|word| word.starts_with("relay: Open"));
    assert_eq!(opened.count(), 1, "the originator's end: {done:?}");
    assert!(
        done[..reply]
            .iter()
            .any(|word| word.starts_with("relay: Open")),
        "{done:?}"
    );
    // The whole message arrives, and Bill has it.
    scene.acknowledge();
    scene.work();
    let done = scene.proxy.done();
    // After the ACK the recipient may connect.
    let ack = done.iter().position(|word| word == "ACK").unwrap();
    assert!(
        done[..ack].iter().any(|word| word.starts_with("relay: ")),
        "{done:?}"
    );
    let session = SessionId::from_bytes([1; 16]);
    for event in [
        MsrpEvent::SenderConnected,
        MsrpEvent::MessageStarted { size: Some(9) },
        MsrpEvent::MessageComplete,
    ] {
        scene
            .sessions
            .handle_relay_event(scene.now, session, event, &scene.proxy);
    }
    let question = Question::Session(session);
    let answer = scene
        .sessions
        .answer(scene.now, question, &Unseen, &scene.proxy)
        .unwrap();
    assert!(answer.starts_with(&format!("id={session}\t")), "{answer}");
    assert_eq!(answer.lines().count(), 2, "{answer}");
}

/// Retries every 20 ms, for at most five seconds in all.
#[test]
fn an_invite_without_room_is_tried_again_and_given_up_in_time() {
    let mut scene = Scene::new(&[]);
    scene.proxy.has_no_room.set(true);
    scene.begin(1, INVITE);
    let Wake::At(next) = scene.work() else {
        panic!("it is tried again")
    };
    assert_eq!(next - scene.now, Duration::from_millis(20));
    assert_eq!(scene.proxy.done(), ["no room"]);
    scene.pass(4);
    let tries = scene.proxy.done();
    assert!((150..=201).contains(&tries.len()), "{}", tries.len());
    scene.pass(2);
    let done = scene.proxy.done();
    assert!(done.contains(&"RecipientFailed 503".to_owned()), "{done:?}");
    assert!(done.contains(&"480".to_owned()), "{done:?}");
    assert!(scene.sessions.is_empty(), "{done:?}");
}

/// A recipient that never answers, and an originator that never acknowledges, end by timeout.
#[test]
fn whoever_is_silent_ends_by_the_clock() {
    let mut scene = Scene::new(&[("leg_timeout", "60")]);
    scene.begin(1, INVITE);
    scene.work();
    scene.respond("180 Ringing", "");
    scene.pass(200);
    let done = scene.proxy.done();
    assert!(done.contains(&"CANCEL 101".to_owned()), "{done:?}");
    assert!(done.contains(&"480".to_owned()), "{done:?}");
    assert!(done.contains(&"SessionEnd 480".to_owned()), "{done:?}");
    assert!(scene.sessions.is_empty());

    let mut scene = Scene::new(&[]);
    scene.begin(1, INVITE);
    scene.work();
    scene.respond("200 OK", ANSWER);
    scene.pass(100);
    let done = scene.proxy.done();
    assert!(done.contains(&"release 7".to_owned()), "{done:?}");
    assert!(done.contains(&"BYE".to_owned()), "{done:?}");
}

#[test]
fn a_panic_costs_the_one_session_that_was_at_work() {
    let mut scene = Scene::new(&[]);
    for number in 1..=2 {
        scene.begin(number, TransactionKey(u64::from(number)));
    }
    scene.work();
    scene.proxy.done();
    scene.sessions.at_work = Some(SessionId::from_bytes([1; 16]));
    scene.sessions.handle_panic(&scene.proxy);
    scene.work();
    assert_eq!(scene.proxy.done(), ["500", "relay: Forget"]);
    assert_eq!(scene.sessions.len(), 1);
}

#[test]
fn a_proxy_that_stops_tells_everybody() {
    let mut scene = Scene::new(&[]);
    scene.begin(1, INVITE);
    scene.work();
    scene.respond("180 Ringing", "");
    scene.work();
    scene.proxy.done();
    scene.sessions.shut_down(scene.now, &scene.proxy);
    let done = scene.proxy.done();
    assert!(done.contains(&"CANCEL 101".to_owned()), "{done:?}");
    assert!(done.iter().any(|word| word.starts_with("503")), "{done:?}");
}

const STORE: (&str, &str) = ("store", "file:/nowhere");

fn session() -> SessionId {
    SessionId::from_bytes([1; 16])
}

impl Scene {
    fn relayed(&mut self, event: MsrpEvent) -> Vec<String> {
        let of = session();
        self.sessions
            .handle_relay_event(self.now, of, event, &self.proxy);
        self.work();
        self.proxy.done()
    }

    /// Up to the ACK of the sender, and all content on disk.
    fn stores(&mut self) {
        self.begin(1, INVITE);
        self.work();
        self.respond("200 OK", ANSWER);
        self.work();
        assert!(self.proxy.done().contains(&"relay: Store".to_owned()));
        self.acknowledge();
        self.relayed(MsrpEvent::SenderConnected);
        self.content_arrives();
    }

    fn content_arrives(&mut self) {
        let content = StoredContent {
            file: session(),
            size: 9,
            message: OutgoingMessage {
                message_id: "m".into(),
                content_type: "message/cpim".into(),
                content_fields: Vec::new(),
                total: Some(9),
            },
            head: Bytes::new(),
        };
        let done = self.relayed(MsrpEvent::ContentStored(Box::new(content)));
        assert_eq!(done, ["keep 9"]);
    }
}

#[test]
fn a_message_is_complete_once_it_is_kept() {
    let mut scene = Scene::new(&[STORE]);
    scene.stores();
    scene.sessions.handle_kept(session(), 5, &scene.proxy);
    scene.work();
    assert_eq!(scene.proxy.done(), ["relay: Kept"]);
    scene.relayed(MsrpEvent::MessageComplete);
    let ended = MsrpEvent::LegEnded(LegNumber(0), DeliveryState::Delivered);
    let done = scene.relayed(ended);
    assert!(
        done.contains(&"Code(200) sip:bill@192.0.2.2".to_owned()),
        "{done:?}"
    );
    scene.pass(300);
    assert!(scene.sessions.is_empty());
}

#[test]
fn a_message_that_is_not_kept_is_none() {
    let mut scene = Scene::new(&[STORE]);
    scene.stores();
    scene.sessions.handle_not_kept(session(), 9);
    scene.work();
    assert_eq!(scene.proxy.done(), ["relay: NotKept"]);
    // The store has it after all, and nobody waits for it.
    scene.sessions.handle_kept(session(), 5, &scene.proxy);
    assert_eq!(scene.proxy.done(), ["discard 5"]);
}

#[test]
fn a_message_waits_for_nobody_until_it_is_kept() {
    const AWAY: [(&str, &str); 3] = [STORE, ("deferred_codes", "480"), ("deferred_large", "yes")];
    let deferred = "RecipientDeferred 480".to_owned();
    let waits = "Deferred(480) sip:bill@192.0.2.2".to_owned();
    let stores = || {
        let mut scene = Scene::new(&AWAY);
        scene.begin(1, INVITE);
        scene.work();
        scene.respond("480 Temporarily Unavailable", "");
        scene.work();
        scene.acknowledge();
        scene.relayed(MsrpEvent::SenderConnected);
        scene.content_arrives();
        scene
    };
    let mut scene = stores();
    scene.sessions.handle_kept(session(), 5, &scene.proxy);
    scene.work();
    let done = scene.proxy.done();
    assert_eq!(done, [waits, deferred.clone(), "relay: Kept".to_owned()]);

    // Its sender goes, or the store has no room for it.
    let mut scene = stores();
    scene.sessions.handle_not_kept(session(), 9);
    let lost = scene.relayed(MsrpEvent::MessageFailed);
    scene.pass(300);
    let done = [lost, scene.proxy.done()].concat();
    assert!(!done.contains(&deferred), "{done:?}");
    assert!(done.contains(&"RecipientFailed 480".to_owned()), "{done:?}");
    assert!(scene.sessions.is_empty());
}

#[test]
fn what_is_left_of_a_kept_message_is_invited_to_in_new_calls() {
    let mut scene = Scene::new(&[STORE]);
    scene.stores();
    let kept = Bytes::from(scene.proxy.kept.take());
    let first = scene.proxy.call_ids.take();
    let mut scene = Scene::new(&[STORE]);
    let now = scene.now;
    scene
        .sessions
        .handle_resume(now, 5, kept.clone(), &scene.proxy);
    scene.work();
    assert_eq!(
        scene.proxy.done(),
        ["relay: Restore", "INVITE sip:bill@192.0.2.2"]
    );
    assert_ne!(*scene.proxy.call_ids.borrow(), first);
    scene.respond("486 Busy Here", "");
    scene.work();
    let done = scene.proxy.done();
    assert!(
        done.contains(&"Code(486) sip:bill@192.0.2.2".to_owned()),
        "{done:?}"
    );
    assert!(scene.sessions.is_empty());
    // A proxy that ends has not failed.
    scene
        .sessions
        .handle_resume(now, 6, kept.clone(), &scene.proxy);
    scene.work();
    scene.proxy.done();
    scene.sessions.shut_down(now, &scene.proxy);
    let done = scene.proxy.done();
    let failed = |word: &String| word.starts_with("Code") || word.contains("Failed");
    assert!(!done.iter().any(failed), "{done:?}");
}

#[test]
fn what_finds_no_room_for_a_session_stays_in_the_store() {
    let mut scene = Scene::new(&[STORE]);
    scene.stores();
    let kept = Bytes::from(scene.proxy.kept.take());
    let mut scene = Scene::new(&[STORE, ("max_sessions", "1")]);
    scene.begin(1, INVITE);
    scene.work();
    scene.proxy.done();
    let now = scene.now;
    scene.sessions.handle_resume(now, 5, kept, &scene.proxy);
    assert_eq!(scene.proxy.done(), ["Unsent sip:bill@192.0.2.2"]);
}

#[test]
fn a_store_without_room_refuses_before_anything_is_sent() {
    let mut scene = Scene::new(&[STORE]);
    let space = scene.sessions.service.store_space().unwrap();
    space.set_database(9_000);
    scene.begin(1, INVITE);
    scene.work();
    assert_eq!(scene.proxy.done(), ["503"]);
    space.set_database(0);
    space.set_down(true);
    scene.begin(2, INVITE);
    scene.work();
    assert_eq!(scene.proxy.done(), ["503"]);
}
