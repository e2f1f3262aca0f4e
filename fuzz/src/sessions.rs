//! Input of the sessions process from other processes and the relay, in any order: each INVITE has
//! one final response, whatever the relay opens it forgets, and at the end there is no session.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cpm::controlling::AboutRequest;
use cpm::controlling::large_message_mode::{
    AcceptedInvite, InDialogRequest, LargeModeSettings, LegNumber, SessionId, SessionReply,
    TransactionKey,
};
use cpm::controlling::{
    ControllingFunction, Counter, FanOutJob, Ids, Journal, KeptInvite, Kind, LogAt, OutgoingRequest,
};
use cpm::msrp_control::{MsrpEvent, RelayOrder, StoredContent};
use cpm::operator::Event;
use cpm::policy::{ID_KEY_BYTES, Settings};
use cpm::sessions::{Invited, SessionHost, Sessions, Wake};
use cpm::shared::{MessageNumber, StoreSpace};
use cpm::store::Settled;
use cpm_wire::msrp_session::{DeliveryFailure, DeliveryState, OutgoingMessage};
use cpm_wire::sip::Message;

use crate::session::msrp_addresses;

/// Maximum number of portions of work for one event: more means a livelock.
const MAX_TURNS: usize = 20_000;

/// Nothing of it is used.
static SPACE: [AtomicU64; StoreSpace::WORDS] = [const { AtomicU64::new(0) }; StoreSpace::WORDS];

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
    m=message 7394 TCP/MSRP *\r\na=accept-types:message/cpim\r\n\
    a=path:msrp://192.0.2.1:7394/anne;tcp\r\na=sendonly\r\na=setup:actpass\r\n";
const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n\
    m=message 9 TCP/MSRP *\r\na=accept-types:message/cpim\r\n\
    a=path:msrp://192.0.2.2:7777/bill;tcp\r\na=recvonly\r\na=setup:active\r\n";

#[derive(Default)]
struct Stage {
    /// Call-ID, tag and transaction of our INVITEs.
    invites: RefCell<Vec<(String, u64)>>,
    cancelled: RefCell<BTreeSet<u64>>,
    /// Our tag of each session, by the transaction of its INVITE.
    tags: RefCell<BTreeMap<u64, String>>,
    replies: RefCell<BTreeMap<u64, usize>>,
    held: RefCell<BTreeSet<u64>>,
    requests: RefCell<Vec<InDialogRequest>>,
    answer: Cell<u8>,
    /// Messages for the store.
    kept: RefCell<Vec<Vec<u8>>>,
    /// Messages that a session has, by their numbers.
    with_session: RefCell<BTreeSet<u64>>,
}

impl Journal for Stage {
    fn log(&self, at: LogAt, line: fmt::Arguments<'_>) {
        let line = line.to_string();
        assert!(
            !line.contains(['\r', '\n', '\0']),
            "a line break in the log: {line:?}"
        );
        // Logged for bytes that are not an INVITE of ours.
        let is_unreadable = line.contains("cannot be read");
        assert!(
            at.level() != cpm::log::LogLevel::Critical || is_unreadable,
            "{line}"
        );
    }

    fn count(&self, _: Counter, _: u32) {}
}

impl SessionHost for Stage {
    fn invite(&self, invite: &OutgoingRequest<'_>) -> Invited {
        match self.answer.get() {
            0 => return Invited::NotNow,
            1 => return Invited::Unsent,
            _ => {}
        }
        let mut invites = self.invites.borrow_mut();
        let key = 1_000 + invites.len() as u64;
        invites.push((invite.call_id.to_owned(), key));
        match self.answer.get() {
            2 => Invited::Elsewhere,
            _ => Invited::Sent(TransactionKey(key)),
        }
    }

    fn cancel(&self, invite: TransactionKey) {
        assert!(self.cancelled.borrow_mut().insert(invite.0), "CANCEL twice");
    }

    fn request(&self, request: &InDialogRequest) -> bool {
        self.requests.borrow_mut().push(request.clone());
        self.answer.get() != 1
    }

    fn reply(&self, reply: &SessionReply, keep: bool) -> bool {
        let key = reply.transaction.0;
        let mut replies = self.replies.borrow_mut();
        let count = replies.entry(key).or_default();
        *count += 1;
        assert_eq!(*count, 1, "{key} has two final responses");
        self.tags.borrow_mut().insert(key, reply.to_tag.clone());
        if keep {
            self.held.borrow_mut().insert(key);
        }
        true
    }

    fn release(&self, transaction: TransactionKey) {
        assert!(
            self.held.borrow_mut().remove(&transaction.0),
            "released, and not held"
        );
    }

    fn keep(&self, kept: &KeptInvite) -> bool {
        let written = kept.write();
        assert!(KeptInvite::read(written.clone().into()).is_some());
        self.kept.borrow_mut().push(written);
        self.answer.get() != 1
    }

    fn discard(&self, number: u64) {
        assert!(
            self.with_session.borrow_mut().remove(&number),
            "it was given up before"
        );
    }

    fn settle(&self, job: &FanOutJob, recipient: &str, _: Settled) {
        assert!(job.recipients().any(|known| known == recipient));
    }

    fn event(&self, _: Event, _: u16, _: &OutgoingRequest<'_>) {}
}

struct World {
    now: Instant,
    sessions: Sessions,
    stage: Stage,
    invited: BTreeSet<u64>,
    forgotten: usize,
    next: u64,
}

impl World {
    fn new(stores: bool) -> Self {
        let mut settings = Settings::default();
        for (name, value) in [
            ("exploder_uri", "sip:all@example.com"),
            ("max_sessions", "4"),
        ] {
            if settings.set(name, value).is_err() {
                panic!("{name}");
            }
        }
        let contact = "sip:cpm@203.0.113.1".to_owned();
        let large_mode = LargeModeSettings::new(&settings.large_mode, contact, msrp_addresses());
        let service = ControllingFunction::new(settings, 1).expect("it has addresses");
        let service = service
            .with_ids(Ids::new(&[7; ID_KEY_BYTES]))
            .with_large_mode(large_mode);
        let service = match stores {
            true => service.with_store_space(StoreSpace::new(&SPACE, 1 << 30)),
            false => service,
        };
        let now = Instant::now();
        let sessions = Sessions::new(now, &Rc::new(service)).expect("it has large message mode");
        let stage = Stage::default();
        stage.answer.set(9);
        World {
            now,
            sessions,
            stage,
            invited: BTreeSet::new(),
            forgotten: 0,
            next: 1,
        }
    }

    fn begin(&mut self, number: u8, recipients: u8) {
        let key = u64::from(number) + 1;
        if !self.invited.insert(key) {
            return;
        }
        let message = format!(
            "INVITE sip:all@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{number}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:anne@example.com>;tag=1\r\nTo: <sip:all@example.com>\r\n\
             Call-ID: {number}\r\nCSeq: 1 INVITE\r\nContact: <sip:anne@192.0.2.1>\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{OFFER}",
            OFFER.len()
        );
        let invite = AcceptedInvite {
            session: SessionId::from_bytes([number; 16]),
            claim: None,
            kind: Kind::Exploder,
            message: Message::parse(message.into()).expect("our own SIP"),
            own_address: "sip:all@example.com".to_owned(),
            originator: format!("sip:anne{}@example.com", number % 2),
            asserted: "<sip:anne@example.com>".to_owned(),
            notifications_to: None,
            recipients: (0..=recipients % 4)
                .map(|of| format!("sip:r{of}@192.0.2.2\n"))
                .collect(),
            history: None,
            about: AboutRequest {
                recipients: 1,
                ..AboutRequest::default()
            },
            record: MessageNumber::default(),
        };
        let bytes = Bytes::from(invite.write());
        let key = TransactionKey(key);
        self.sessions
            .handle_invite(self.now, bytes, key, &self.stage);
    }

    fn work(&mut self) -> Wake {
        for _ in 0..MAX_TURNS {
            let wake = self.sessions.work(self.now, &self.stage);
            let mut had_commands = false;
            while let Some(order) = self.sessions.poll_command() {
                had_commands = true;
                self.forgotten += usize::from(matches!(order, RelayOrder::Forget(_)));
            }
            if wake != Wake::Now && !had_commands {
                return wake;
            }
        }
        panic!("work without end");
    }

    fn until(&mut self, end: Instant) {
        for _ in 0..MAX_TURNS {
            match self.work() {
                Wake::At(at) if at <= end => {
                    self.now = at.max(self.now + Duration::from_millis(1));
                }
                _ => {
                    self.now = end;
                    self.work();
                    return;
                }
            }
        }
        panic!("a livelock of timeouts");
    }

    /// A response to one of our INVITEs, or to a request in a dialog.
    fn respond(&mut self, which: u8, code: u16, tag: u8) {
        let invites = self.stage.invites.borrow();
        let requests = self.stage.requests.borrow();
        let text = match (which & 1, requests.is_empty(), invites.is_empty()) {
            (1, false, _) => {
                let last = &requests[usize::from(which >> 1) % requests.len()];
                format!(
                    "SIP/2.0 {code} X\r\nCall-ID: {}\r\nCSeq: {} {}\r\nFrom: {};tag={}\r\nTo: {};tag={}\r\n\r\n",
                    last.call_id,
                    last.cseq,
                    last.method,
                    last.from,
                    last.from_tag,
                    last.to,
                    last.to_tag
                )
            }
            (_, _, false) => {
                let (call_id, _) = &invites[usize::from(which >> 1) % invites.len()];
                let body = if code == 200 { ANSWER } else { "" };
                format!(
                    "SIP/2.0 {code} X\r\nVia: SIP/2.0/UDP 192.0.2.9\r\n\
                     From: <sip:anne@example.com>;tag={call_id}\r\nTo: <sip:r@192.0.2.2>;tag=b{tag}\r\n\
                     Call-ID: {call_id}\r\nCSeq: 1 INVITE\r\nContact: <sip:r@192.0.2.2>\r\n\
                     Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )
            }
            _ => return,
        };
        drop((invites, requests));
        self.sessions
            .handle_response(self.now, text.into(), &self.stage);
    }

    fn request(&mut self, number: u8, method: &str) {
        let tags = self.stage.tags.borrow();
        let tag = tags
            .get(&(u64::from(number) + 1))
            .cloned()
            .unwrap_or_default();
        drop(tags);
        self.next += 1;
        let cseq = if method == "ACK" { 1 } else { 1 + self.next };
        let text = format!(
            "{method} sip:cpm@203.0.113.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK2\r\n\
             From: <sip:anne@example.com>;tag=1\r\nTo: <sip:all@example.com>;tag={tag}\r\n\
             Call-ID: {number}\r\nCSeq: {cseq} {method}\r\n\r\n"
        );
        let key = (method != "ACK").then_some(TransactionKey(100_000 + self.next));
        self.sessions
            .handle_request(self.now, text.into(), key, &self.stage);
    }
}

/// A script of events; those with bytes have as many as their argument says.
pub fn sessions(data: &[u8]) {
    let mut world = World::new(data.first().is_some_and(|first| first & 64 != 0));
    let mut rest = data;
    for _ in 0..200 {
        let Some((head, more)) = rest.split_at_checked(2) else {
            break;
        };
        let (event, argument) = (head[0], head[1]);
        rest = more;
        let number = argument % 6;
        let (now, session) = (world.now, SessionId::from_bytes([number; 16]));
        let leg = LegNumber(u32::from(argument >> 5));
        let mut bytes = || {
            let (bytes, more) = more.split_at(usize::from(argument).min(more.len()));
            rest = more;
            Bytes::copy_from_slice(bytes)
        };
        match event % 24 {
            0 | 1 => world.begin(number, argument >> 3),
            2 | 3 => world.respond(argument, 200, event >> 6),
            4 => {
                let codes = [100, 180, 302, 404, 408, 422, 480, 486, 487, 503, 603, 200];
                world.respond(argument, codes[usize::from(event >> 4) % 12], 0);
            }
            5 | 6 => world.request(number, "ACK"),
            7 => world.request(
                number,
                ["BYE", "UPDATE", "INVITE", "INFO"][usize::from(event >> 6)],
            ),
            8 => {
                let key = TransactionKey(u64::from(number) + 1);
                world.sessions.handle_cancel(now, key, &world.stage);
            }
            9 => {
                let relayed = match event >> 5 {
                    0 => MsrpEvent::SenderConnected,
                    1 => MsrpEvent::MessageStarted { size: Some(4_000) },
                    2 => MsrpEvent::MessageComplete,
                    3 => MsrpEvent::MessageFailed,
                    4 => MsrpEvent::LegConnected(leg),
                    5 => MsrpEvent::NoMoreLegs,
                    6 => MsrpEvent::LegEnded(leg, DeliveryState::Delivered),
                    _ => MsrpEvent::LegEnded(leg, DeliveryState::Failed(DeliveryFailure::Stalled)),
                };
                world
                    .sessions
                    .handle_relay_event(now, session, relayed, &world.stage);
            }
            10 => {
                // Of an INVITE that another process has sent, also to a further address: each
                // report is of a transaction of its own.
                let invites = world.stage.invites.borrow().clone();
                if let Some((call_id, _)) = invites.get(usize::from(argument >> 1)) {
                    world.next += 1;
                    let key = TransactionKey(300_000 + world.next);
                    let key = (argument & 1 == 0).then_some(key);
                    let call_id = call_id.as_bytes();
                    world
                        .sessions
                        .handle_invited(now, call_id, key, &world.stage);
                }
            }
            11 => world.stage.answer.set(argument & 7),
            12 => world.until(now + Duration::from_millis(u64::from(argument) * 10)),
            13 => world.until(now + Duration::from_secs(u64::from(argument))),
            14 => world.sessions.handle_response(now, bytes(), &world.stage),
            15 => {
                world.next += 1;
                let key = (event & 32 != 0).then_some(TransactionKey(100_000 + world.next));
                world
                    .sessions
                    .handle_request(now, bytes(), key, &world.stage);
            }
            16 => {
                let code = 300 + u16::from(event);
                world
                    .sessions
                    .handle_no_response(now, code, bytes(), &world.stage);
            }
            17 => world
                .sessions
                .handle_invited(now, &bytes(), None, &world.stage),
            18 => {
                world.next += 1;
                let key = TransactionKey(200_000 + world.next);
                world
                    .sessions
                    .handle_invite(now, bytes(), key, &world.stage);
            }
            19 => {
                let content = StoredContent {
                    file: session,
                    size: 4_000,
                    message: OutgoingMessage {
                        message_id: "m".into(),
                        content_type: "message/cpim".into(),
                        content_fields: Vec::new(),
                        total: Some(4_000),
                    },
                    head: bytes(),
                };
                let stored = MsrpEvent::ContentStored(Box::new(content));
                world
                    .sessions
                    .handle_relay_event(now, session, stored, &world.stage);
            }
            20 if event & 32 == 0 => {
                world.next += 1;
                world.stage.with_session.borrow_mut().insert(world.next);
                world
                    .sessions
                    .handle_kept(session, world.next, &world.stage);
            }
            20 => world.sessions.handle_not_kept(session, 4_000),
            21 => {
                let kept = world.stage.kept.borrow().last().cloned();
                let kept = kept.map_or_else(bytes, Bytes::from);
                world.next += 1;
                world
                    .sessions
                    .handle_resume(now, world.next, kept, &world.stage);
            }
            _ => {
                world.work();
            }
        }
    }
    // The proxy accepts everything again, all peers fall silent, and the relay gives up.
    world.stage.answer.set(9);
    world.work();
    for number in 0..6 {
        for leg in 0..8 {
            let ended = MsrpEvent::LegEnded(
                LegNumber(leg),
                DeliveryState::Failed(DeliveryFailure::Stalled),
            );
            let session = SessionId::from_bytes([number; 16]);
            for event in [MsrpEvent::MessageFailed, ended] {
                world
                    .sessions
                    .handle_relay_event(world.now, session, event, &world.stage);
            }
        }
    }
    world.until(world.now + Duration::from_secs(13 * 3600));
    assert!(
        world.sessions.is_empty(),
        "{} sessions without end",
        world.sessions.len()
    );
    let replies = world.stage.replies.borrow();
    for key in &world.invited {
        assert_eq!(replies.get(key), Some(&1), "no final response for {key}");
    }
    assert!(
        world.stage.held.borrow().is_empty(),
        "a transaction is held for ever"
    );
}
