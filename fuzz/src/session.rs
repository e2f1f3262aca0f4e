//! The machine of a large message session under events in any order: promises to the originator, to
//! each recipient and to the relay are kept, nothing is left at the end, and the end comes by
//! itself.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cpm::controlling::AboutRequest;
use cpm::controlling::large_message_mode::{
    AcceptedInvite, Action, InDialogRequest, LargeModeSettings, LegNumber, MAX_SESSION_AGE,
    MsrpAddress, MsrpAddresses, RelayCommand, Session, SessionId, Side, TransactionKey,
};
use cpm::controlling::{ControllingFunction, Fate, Ids, Kind};
use cpm::policy::{ID_KEY_BYTES, Settings};
use cpm::shared::MessageNumber;
use cpm_wire::msrp_session::{DeliveryFailure, DeliveryState};
use cpm_wire::sdp::Transport;
use cpm_wire::sip::{HeaderName, Message, StatusCode};

use crate::numbered;

/// The originator's INVITE.
const INVITE: TransactionKey = TransactionKey(1);

/// Maximum number of consecutive timeouts without another event: more means a livelock.
const MAX_TIMEOUTS: usize = 2_000;

/// Maximum number of actions for one event and leg: more means work that grows faster than
/// linearly.
const MAX_ACTIONS_PER_LEG: usize = 24;

const SDP: &str = "v=0\r\no=a 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
    m=message 7654 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=accept-wrapped-types:*\r\n\
    a=path:msrp://198.51.100.1:7654/abc;tcp\r\na=file-selector:size:1000\r\na=sendonly\r\n\
    a=setup:actpass\r\na=msrp-cema\r\n";
const ANSWER: &str = "v=0\r\no=b 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n\
    m=message 9000 TCP/MSRP *\r\na=accept-types:message/cpim\r\n\
    a=path:msrp://192.0.2.7:9000/leg;tcp\r\na=recvonly\r\na=setup:passive\r\n";

/// One address, over TCP.
pub(crate) fn msrp_addresses() -> MsrpAddresses {
    MsrpAddresses {
        tcp: Some(MsrpAddress {
            address: "203.0.113.5".parse().expect("an address"),
            port: 2855,
        }),
        tls: None,
        fingerprint: Default::default(),
        leg_transport: Transport::Tcp,
    }
}

fn message(text: String) -> Message {
    Message::parse(Bytes::from(text)).expect("a message of the test's own")
}

struct World {
    session: Session,
    now: Instant,
    born: Instant,
    actions: usize,
    ended: bool,
    final_replies: usize,
    byes_to_originator: usize,
    own_tag: Option<String>,
    /// Call-IDs of the INVITEs by leg.
    invites: BTreeMap<u32, String>,
    uris: BTreeSet<String>,
    ringing: BTreeSet<u32>,
    cancelled: BTreeSet<u32>,
    open: BTreeSet<Side>,
    opened: BTreeSet<Side>,
    no_more_legs: bool,
    fates: BTreeMap<String, Fate>,
    /// ACKs and BYEs by leg and tag of the callee.
    callees: BTreeMap<(u32, String), (usize, usize)>,
    last: BTreeMap<Side, InDialogRequest>,
    cseq: u32,
}

impl World {
    fn new(first: u8) -> Self {
        let mut settings = Settings::default();
        let isf = [("isf_uri", "sip:isf@home")];
        let always = [
            ("controlling_uri", "sip:cf@home"),
            ("exploder_uri", "sip:all@home"),
        ];
        let isf = isf.iter().filter(|_| first & 4 != 0);
        for (name, value) in always.iter().chain(isf) {
            settings.set(name, value).expect("it is a parameter");
        }
        let service = ControllingFunction::new(settings, 1).expect("it has addresses");
        let service = Rc::new(service.with_ids(Ids::new(&[7; ID_KEY_BYTES])));
        let mut policy = service.settings().large_mode.clone();
        policy.max_parallel_legs = [None, Some(1), Some(2), None][usize::from(first >> 3 & 3)];
        policy.spool_ttl = (first & 32 != 0).then_some(Duration::from_secs(20));
        let contact = "sip:cpm@203.0.113.1:5060".to_owned();
        let settings = Rc::new(LargeModeSettings::new(&policy, contact, msrp_addresses()));
        let recipients: String = (0..=u32::from(first & 3))
            .map(|number| format!("sip:r{number}@home\n"))
            .collect();
        let expires = ["", "Expires: 20\r\n"][usize::from(first >> 6 & 1)];
        let timer = ["", "Supported: timer\r\nSession-Expires: 1800\r\n"][usize::from(first >> 7)];
        let invite = AcceptedInvite {
            session: SessionId::from_bytes([first; 16]),
            claim: None,
            kind: [Kind::Exploder, Kind::AdHoc, Kind::Group][usize::from(first) % 3],
            message: message(format!(
                "INVITE sip:all@home SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
                 Call-ID: c1\r\nCSeq: 7 INVITE\r\nFrom: <sip:alice@home>;tag=a1\r\nTo: <sip:all@home>\r\n\
                 Contact: <sip:alice@phone>\r\n{expires}{timer}Content-Type: application/sdp\r\n\
                 Content-Length: {}\r\n\r\n{SDP}",
                SDP.len()
            )),
            own_address: "sip:all@home".into(),
            originator: "sip:alice@home".into(),
            asserted: "<sip:alice@home>".into(),
            notifications_to: None,
            recipients,
            history: None,
            about: AboutRequest::default(),
            record: MessageNumber::default(),
        };
        let now = Instant::now();
        numbered::begin(u64::from(first));
        let session = Session::new(now, &service, &settings, &invite, INVITE, numbered::fill);
        let mut world = World {
            session: session.expect("it has what a session takes"),
            now,
            born: now,
            actions: 0,
            ended: false,
            final_replies: 0,
            byes_to_originator: 0,
            own_tag: None,
            invites: BTreeMap::new(),
            uris: BTreeSet::new(),
            ringing: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            open: BTreeSet::new(),
            opened: BTreeSet::new(),
            no_more_legs: false,
            fates: BTreeMap::new(),
            callees: BTreeMap::new(),
            last: BTreeMap::new(),
            cseq: 100,
        };
        world.act();
        world
    }

    fn act(&mut self) {
        let mut count = 0;
        while let Some(action) = self.session.poll_action() {
            assert!(!self.ended, "after the end: {action:?}");
            count += 1;
            self.note(action);
        }
        let most = MAX_ACTIONS_PER_LEG * (self.invites.len() + 1);
        assert!(count <= most, "{count} actions for one event");
        self.actions += count;
        assert_eq!(self.session.poll_timeout().is_some(), !self.ended);
    }

    fn note(&mut self, action: Action) {
        match action {
            Action::Invite(invite) => {
                self.uris.insert(invite.request_uri.clone());
                self.invites.insert(invite.leg.0, invite.call_id);
            }
            Action::Cancel(LegNumber(number)) => {
                assert!(self.ringing.contains(&number), "CANCEL before any response");
                assert!(self.cancelled.insert(number), "CANCEL twice");
            }
            Action::Send(side, request) => self.note_request(side, *request, false),
            Action::Request(side, request) => self.note_request(side, *request, true),
            Action::Reply(reply) => {
                if reply.transaction == INVITE {
                    self.final_replies += 1;
                    assert_eq!(self.final_replies, 1, "two final responses");
                    let is_open = self.open.contains(&Side::Originator);
                    assert_eq!(reply.code == StatusCode::OK, is_open);
                    self.own_tag = Some(reply.to_tag);
                }
            }
            Action::Relay(command) => self.note_command(command),
            Action::Recipient { uri, fate, .. } => {
                let before = self.fates.insert(uri, fate);
                assert!(
                    matches!(before, None | Some(Fate::Interworked)),
                    "{before:?}"
                );
            }
            Action::Ended => {
                self.ended = true;
                assert!(self.open.is_empty(), "the relay still has {:?}", self.open);
            }
            Action::Count(..) => {}
        }
    }

    fn note_request(&mut self, side: Side, request: InDialogRequest, has_outcome: bool) {
        match side {
            Side::Originator if request.method == "BYE" => {
                self.byes_to_originator += 1;
                assert_eq!(self.byes_to_originator, 1);
            }
            Side::Originator => {}
            Side::Leg(LegNumber(number)) => {
                let key = (number, request.to_tag.clone());
                let (acks, byes) = self.callees.get_mut(&key).expect("a callee with a 2xx");
                match request.method {
                    "ACK" => *acks += 1,
                    "BYE" => {
                        *byes += 1;
                        assert!(*byes == 1 && *acks > 0, "{byes} BYEs, {acks} ACKs");
                    }
                    _ => {}
                }
            }
        }
        if has_outcome {
            self.last.insert(side, request);
        }
    }

    fn note_command(&mut self, command: RelayCommand) {
        let (side, opens) = match command {
            RelayCommand::OpenOriginator(_) => (Side::Originator, true),
            RelayCommand::CloseOriginator => (Side::Originator, false),
            RelayCommand::OpenLeg(number, _) => {
                assert!(!self.no_more_legs, "a leg after the last");
                (Side::Leg(number), true)
            }
            RelayCommand::CloseLeg(number) => (Side::Leg(number), false),
            RelayCommand::NoMoreLegs => {
                assert!(!std::mem::replace(&mut self.no_more_legs, true));
                return;
            }
            RelayCommand::AbortMessage
            | RelayCommand::NoteHead(_)
            | RelayCommand::Store
            | RelayCommand::Kept
            | RelayCommand::NotKept(_)
            | RelayCommand::Restore(_) => return,
        };
        match opens {
            true => assert!(
                self.opened.insert(side) && self.open.insert(side),
                "opened twice"
            ),
            false => assert!(
                self.open.remove(&side),
                "{side:?} is closed, and was not open"
            ),
        }
    }

    fn answer(&mut self, number: u32, tag: &str, sdp: &str, more: &str) {
        let name = self.invites[&number].clone();
        self.callees.entry((number, tag.to_owned())).or_default();
        let response = message(format!(
            "SIP/2.0 200 OK\r\nCall-ID: {name}\r\nCSeq: 1 INVITE\r\nFrom: <sip:alice@home>;tag={name}\r\n\
             To: <sip:r{number}@home>;tag={tag}\r\nContact: <sip:r{number}@phone>\r\n{more}\
             Content-Type: application/sdp\r\n\r\n{sdp}"
        ));
        let number = LegNumber(number);
        self.session.handle_leg_success(self.now, number, &response);
        self.act();
    }

    fn request(&mut self, side: Side, method: &str, more: &str, body: &str) {
        self.cseq += 1;
        let cseq = if method == "ACK" { 7 } else { self.cseq };
        let (call_id, from_tag, to_tag) = match side {
            Side::Originator => {
                let tag = self.own_tag.clone().unwrap_or_default();
                ("c1".to_owned(), "a1".to_owned(), tag)
            }
            Side::Leg(number) => {
                let name = self.invites[&number.0].clone();
                (name.clone(), "t".to_owned(), name)
            }
        };
        let request = message(format!(
            "{method} sip:cpm@203.0.113.1 SIP/2.0\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             From: <sip:x@home>;tag={from_tag}\r\nTo: <sip:all@home>;tag={to_tag}\r\n\
             Contact: <sip:x@phone>\r\n{more}\r\n{body}"
        ));
        let transaction = (method != "ACK").then_some(TransactionKey(1_000 + u64::from(self.cseq)));
        self.session
            .handle_request(self.now, side, &request, transaction);
        self.act();
    }

    fn outcome(&mut self, side: Side, code: u16) {
        let Some(last) = self.last.get(&side).cloned() else {
            return;
        };
        let code = StatusCode::new(code).expect("a status code");
        let response = message(format!(
            "SIP/2.0 {code} x\r\nCall-ID: {}\r\nCSeq: {} {}\r\nFrom: {};tag={}\r\nTo: {};tag={}\r\n\
             Session-Expires: 90;refresher=uac\r\nMin-SE: 120\r\n\r\n",
            last.call_id, last.cseq, last.method, last.from, last.from_tag, last.to, last.to_tag
        ));
        assert!(response.first(HeaderName::CSeq).is_some());
        let which = (last.cseq, last.method);
        let (now, response) = (self.now, Some(&response));
        self.session
            .handle_outcome(now, side, which, code, response);
        self.act();
    }

    fn until(&mut self, end: Instant) {
        for _ in 0..MAX_TIMEOUTS {
            let due = self.session.poll_timeout().filter(|&due| due <= end);
            let Some(due) = due else {
                self.now = end;
                return;
            };
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            self.act();
        }
        panic!("a livelock of timeouts");
    }
}

/// A script: the first byte selects the session, each further pair is an event.
pub fn session(data: &[u8]) {
    let Some((&first, events)) = data.split_first() else {
        return;
    };
    let mut world = World::new(first);
    for pair in events.chunks_exact(2).take(200) {
        let (event, argument) = (pair[0], pair[1]);
        if world.ended {
            break;
        }
        let number = u32::from(argument & 7) % world.invites.len() as u32;
        let (leg, now) = (Side::Leg(LegNumber(number)), world.now);
        let side = [Side::Originator, leg][usize::from(argument >> 7)];
        let which = usize::from(argument >> 3 & 15);
        match event % 24 {
            0 => {
                world.ringing.insert(number);
                world.session.handle_leg_provisional(now, LegNumber(number));
                world.act();
            }
            1 | 2 => world.answer(number, "t", ANSWER, ""),
            3 => world.answer(
                number,
                "t",
                ANSWER,
                "Session-Expires: 100;refresher=uac\r\n",
            ),
            4 => world.answer(
                number,
                "other",
                ANSWER,
                "Session-Expires: 100;refresher=uas\r\n",
            ),
            5 => world.answer(number, "t", &ANSWER.replace("passive", "active"), ""),
            6 => {
                let unfit = ["", "v=1\r\n", SDP];
                world.answer(number, "t", unfit[which % 3], "");
            }
            7 => {
                let codes = [302, 404, 408, 415, 422, 480, 486, 487, 488, 503, 603, 606];
                let code = StatusCode::new(codes[which % 12]).expect("a status code");
                let small = message("SIP/2.0 422 x\r\nMin-SE: 2000\r\n\r\n".to_owned());
                let response = (code.as_u16() == 422).then_some(&small);
                let number = LegNumber(number);
                world
                    .session
                    .handle_leg_failure(now, number, code, response);
                world.act();
            }
            8 => {
                world.session.handle_leg_unsent(now, LegNumber(number));
                world.act();
            }
            9 | 10 => world.request(Side::Originator, "ACK", "", ""),
            11 => world.request(side, "BYE", "", ""),
            12 => {
                let timer = "Supported: timer\r\nSession-Expires: 90;refresher=uas\r\n";
                let typed = format!("{timer}Content-Type: application/sdp\r\n");
                let methods = ["UPDATE", "INVITE", "INFO", "OPTIONS", "PING", "BYE"];
                match which % 8 {
                    6 => world.request(side, "INVITE", &typed, SDP),
                    7 => world.request(side, "UPDATE", &typed, ANSWER),
                    which => world.request(side, methods[which], timer, ""),
                }
            }
            13 => {
                let codes = [200, 200, 200, 408, 481, 422, 491, 500, 501];
                world.outcome(side, codes[which % 9]);
            }
            14 => {
                world.session.handle_cancel(now);
                world.act();
            }
            15 => {
                world
                    .session
                    .handle_message_started([None, Some(4_000)][which & 1]);
                world.act();
            }
            16 => {
                world.session.handle_message_complete(now);
                world.act();
            }
            17 => {
                world.session.handle_message_failed(now);
                world.act();
            }
            18 => {
                world.session.handle_leg_connected(now, LegNumber(number));
                world.act();
            }
            19 => {
                let ends = [
                    DeliveryState::Delivered,
                    DeliveryState::Aborted,
                    DeliveryState::Failed(DeliveryFailure::Stalled),
                    DeliveryState::Failed(DeliveryFailure::Disconnected),
                    DeliveryState::Sending,
                ];
                let number = LegNumber(number);
                world.session.handle_leg_ended(now, number, ends[which % 5]);
                world.act();
            }
            20 => {
                world.session.handle_sender_connected();
                world.act();
            }
            21 if which == 0 => {
                world.session.handle_shutdown(now);
                world.act();
            }
            21 if which < 3 => {
                world.session.handle_end(now);
                world.act();
            }
            21 if which == 3 => {
                world.session.handle_no_more_legs(now);
                world.act();
            }
            22 if which == 0 && world.final_replies == 1 => {
                world.session.handle_reply_failed(now);
                world.act();
            }
            _ => {
                let seconds = [0, 1, 5, 11, 21, 33, 61, 100, 1_000][which % 9];
                world.until(now + Duration::from_secs(seconds));
            }
        }
    }
    // The relay delivers its final events; all others may fall silent.
    if !world.ended {
        world.session.handle_message_failed(world.now);
        world.act();
    }
    for number in 0..world.invites.len() as u32 {
        let (now, number) = (world.now, LegNumber(number));
        let state = DeliveryState::Failed(DeliveryFailure::Stalled);
        world.session.handle_leg_ended(now, number, state);
        world.act();
    }
    world.until(world.now.max(world.born + MAX_SESSION_AGE) + Duration::from_secs(600));
    assert!(world.ended, "it has no end: {:?}", world.session.stage());
    assert_eq!(world.final_replies, 1);
    for uri in &world.uris {
        let fate = world.fates.get(uri);
        assert!(
            matches!(fate, Some(Fate::Delivered | Fate::Failed)),
            "{uri}: {fate:?}"
        );
    }
}
