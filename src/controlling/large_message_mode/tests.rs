//! The session machine in virtual time: a scene plays the originator, the recipients, the relay and the transaction layer.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::host::Fate;
use super::super::service::{ControllingFunction, Kind};
use super::*;
use crate::policy::Settings;
use crate::sdp::{MsrpMedia, Role, SessionDescription, Setup, Transport};
use crate::session::{LegFailure, LegState as Delivery};
use crate::sip::{HeaderName, Message, StatusCode};

const INVITE: TransactionKey = TransactionKey(1);
/// Timeouts in a row without any other event: more would be a livelock.
const MAX_TIMEOUTS: usize = 2_000;

const SDP: &str = "v=0\r\no=a 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
    m=message 7654 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=accept-wrapped-types:*\r\n\
    a=path:msrp://198.51.100.1:7654/abc;tcp\r\na=file-selector:size:1000\r\na=sendonly\r\na=setup:actpass\r\n\
    a=msrp-cema\r\n";
const ANSWER: &str = "v=0\r\no=b 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n\
    m=message 9000 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=path:msrp://192.0.2.7:9000/leg;tcp\r\n\
    a=recvonly\r\na=setup:passive\r\na=max-size:5000\r\n";

fn numbered(bytes: &mut [u8]) {
    thread_local!(static NEXT: Cell<u64> = const { Cell::new(0) });
    for byte in bytes {
        let next = NEXT
            .get()
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        NEXT.set(next);
        *byte = (next >> 56) as u8;
    }
}

fn message(text: String) -> Message {
    Message::parse(Bytes::from(text)).unwrap()
}

fn service(more: &[(&str, &str)]) -> Rc<ControllingFunction> {
    let mut settings = Settings::default();
    let always = [
        ("controlling_uri", "sip:cf@home"),
        ("exploder_uri", "sip:all@home"),
    ];
    for (name, value) in always.iter().chain(more) {
        settings.set(name, value).unwrap();
    }
    Rc::new(ControllingFunction::new(settings, 1).unwrap())
}

fn settings() -> LargeModeSettings {
    let address = |address: &str| MsrpAddress {
        address: address.parse().unwrap(),
        port: 2855,
    };
    LargeModeSettings::new(
        "sip:cpm@203.0.113.1:5060".into(),
        MsrpAddresses {
            tcp: Some(address("203.0.113.5")),
            tls: None,
            fingerprint: None,
            leg_transport: Transport::Tcp,
        },
    )
}

fn raw_invite(more: &str) -> Bytes {
    let length = SDP.len();
    Bytes::from(format!(
        "INVITE sip:all@home SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nCall-ID: c1\r\n\
         CSeq: 7 INVITE\r\nFrom: \"Alice\" <sip:alice@home>;tag=a1\r\nTo: <sip:all@home>\r\n\
         Contact: <sip:alice@phone;gr=x>;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.largemsg\";\
         +sip.instance=\"<urn:uuid:1>\";expires=60;audio\r\nRecord-Route: <sip:p1;lr>\r\nRecord-Route: <sip:p2;lr>\r\n\
         Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.largemsg\"\r\n\
         Conversation-ID: conv\r\nContribution-ID: cont\r\nUser-Agent: CPM-client/OMA2.2\r\nSubject: s\r\n\
         P-Preferred-Identity: <sip:alice@home>\r\n{more}Content-Type: application/sdp\r\n\
         Content-Length: {length}\r\n\r\n{SDP}"
    ))
}

fn accepted(kind: Kind, recipients: &[&str], more: &str) -> AcceptedInvite {
    let raw = raw_invite(more);
    AcceptedInvite {
        kind,
        message: Message::parse(raw.clone()).unwrap(),
        raw,
        request_uri: "sip:all@home".into(),
        originator: "sip:alice@home".into(),
        asserted: "<sip:alice@home>".into(),
        recipients: recipients.iter().map(|uri| format!("{uri}\n")).collect(),
        history: None,
    }
}

const TIMER: &str = "Supported: timer\r\nSession-Expires: 1800;refresher=uac\r\n";

/// Everybody around the machine. Keeps account of what was promised to whom, and checks each action against it.
struct Scene {
    session: Session,
    now: Instant,
    born: Instant,
    /// What was done since the last look, a word for each action.
    done: Vec<String>,
    /// Callees with a 2xx, by leg and tag: ACKs and BYEs that they got, and whether they sent BYE.
    callees: BTreeMap<(u32, String), (u32, u32, bool)>,
    invites: BTreeMap<u32, InviteRequest>,
    ringing: BTreeSet<u32>,
    cancelled: BTreeSet<u32>,
    /// Of the relay: what is open, and how often each leg was opened.
    open: BTreeSet<Side>,
    opened: BTreeSet<Side>,
    ends: BTreeMap<u32, MsrpEnds>,
    no_more_legs: bool,
    replies: Vec<SessionReply>,
    final_replies: u32,
    byes_to_originator: u32,
    fates: BTreeMap<String, Fate>,
    ended: bool,
    cseq: u32,
}

impl PartialOrd for Side {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Side {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let place = |side: &Side| match side {
            Side::Originator => 0,
            Side::Leg(number) => u64::from(number.0) + 1,
        };
        place(self).cmp(&place(other))
    }
}

fn leg(number: u32) -> Side {
    Side::Leg(LegNumber(number))
}

impl Scene {
    fn of(
        invite: &AcceptedInvite,
        service: &Rc<ControllingFunction>,
        settings: LargeModeSettings,
    ) -> Self {
        let now = Instant::now();
        let settings = Rc::new(settings);
        let session = Session::new(now, service, &settings, invite, INVITE, numbered).unwrap();
        let mut scene = Scene {
            session,
            now,
            born: now,
            done: Vec::new(),
            callees: BTreeMap::new(),
            invites: BTreeMap::new(),
            ringing: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            open: BTreeSet::new(),
            opened: BTreeSet::new(),
            ends: BTreeMap::new(),
            no_more_legs: false,
            replies: Vec::new(),
            final_replies: 0,
            byes_to_originator: 0,
            fates: BTreeMap::new(),
            ended: false,
            cseq: 100,
        };
        scene.drain();
        scene
    }

    /// A 1-to-many message to so many recipients.
    fn to(recipients: u32) -> Self {
        Scene::with(recipients, &[])
    }

    fn with(recipients: u32, parameters: &[(&str, &str)]) -> Self {
        let uris: Vec<String> = (0..recipients)
            .map(|number| format!("sip:r{number}@home"))
            .collect();
        let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
        let mut scene = Scene::of(
            &accepted(Kind::Exploder, &uris, TIMER),
            &service(parameters),
            settings(),
        );
        scene.take();
        scene
    }

    fn drain(&mut self) {
        while let Some(action) = self.session.poll_action() {
            assert!(!self.ended, "after the end: {action:?}");
            self.note(action);
        }
        let wants_time = self.session.poll_timeout().is_some();
        assert_eq!(wants_time, !self.ended);
    }

    fn note(&mut self, action: Action) {
        let word = match action {
            Action::Invite(invite) => {
                let number = invite.leg.0;
                let word = format!("invite {number}{}", if invite.to_isf { " isf" } else { "" });
                self.invites.insert(number, *invite);
                word
            }
            Action::Cancel(LegNumber(number)) => {
                assert!(
                    self.ringing.contains(&number),
                    "CANCEL without provisional response"
                );
                assert!(self.cancelled.insert(number), "CANCEL twice");
                format!("cancel {number}")
            }
            Action::Send(side, request) => self.note_request(side, &request, false),
            Action::Request(side, request) => self.note_request(side, &request, true),
            Action::Reply(reply) => {
                if reply.transaction == INVITE {
                    self.final_replies += 1;
                    assert_eq!(self.final_replies, 1);
                    // The relay must be ready before the 200 leaves.
                    assert_eq!(
                        reply.code == StatusCode::OK,
                        self.open.contains(&Side::Originator)
                    );
                }
                let word = format!("reply {}", reply.code);
                self.replies.push(*reply);
                word
            }
            Action::Relay(command) => self.note_relay(command),
            Action::Count(..) => return,
            Action::Recipient {
                uri, fate, code, ..
            } => {
                let before = self.fates.insert(uri, fate);
                assert!(
                    matches!(before, None | Some(Fate::Interworked)),
                    "{before:?}"
                );
                format!("{fate:?} {code}").to_lowercase()
            }
            Action::Ended => {
                self.ended = true;
                assert!(self.open.is_empty(), "the relay still has {:?}", self.open);
                "ended".into()
            }
        };
        self.done.push(word);
    }

    fn note_request(&mut self, side: Side, request: &InDialogRequest, has_outcome: bool) -> String {
        let method = request.method.to_lowercase();
        match side {
            Side::Originator => {
                assert!(has_outcome);
                if method == "bye" {
                    self.byes_to_originator += 1;
                    assert_eq!(self.byes_to_originator, 1);
                    assert_eq!(request.route_set, ["<sip:p1;lr>", "<sip:p2;lr>"]);
                }
                format!("{method} originator")
            }
            Side::Leg(LegNumber(number)) => {
                let key = (number, request.to_tag.clone());
                let (acks, byes, _) = self.callees.get_mut(&key).expect("a callee with a 2xx");
                match request.method {
                    "ACK" => {
                        *acks += 1;
                        assert_eq!(request.cseq, self.invites[&number].cseq);
                    }
                    "BYE" => {
                        *byes += 1;
                        assert!(*byes == 1 && *acks > 0, "{key:?}: {byes} BYEs, {acks} ACKs");
                        assert!(request.cseq > self.invites[&number].cseq);
                    }
                    _ => {}
                }
                format!("{method} {number}")
            }
        }
    }

    fn note_relay(&mut self, command: RelayCommand) -> String {
        let (word, side) = match command {
            RelayCommand::OpenOriginator(_) => ("open", Side::Originator),
            RelayCommand::CloseOriginator => ("close", Side::Originator),
            RelayCommand::OpenLeg(number, ends) => {
                assert!(!self.no_more_legs, "a leg after the last");
                self.ends.insert(number.0, *ends);
                ("open", Side::Leg(number))
            }
            RelayCommand::CloseLeg(number) => ("close", Side::Leg(number)),
            RelayCommand::NoMoreLegs => {
                assert!(!self.no_more_legs);
                self.no_more_legs = true;
                return "no more legs".into();
            }
            RelayCommand::AbortMessage => return "abort".into(),
        };
        match word {
            "open" => assert!(self.opened.insert(side) && self.open.insert(side)),
            _ => assert!(self.open.remove(&side), "{side:?} closed and not open"),
        }
        match side {
            Side::Originator => format!("{word} originator"),
            Side::Leg(LegNumber(number)) => format!("{word} {number}"),
        }
    }

    /// What was done since the last time.
    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.done)
    }

    /// Asserts what was done, in its order.
    #[track_caller]
    fn did(&mut self, words: &[&str]) {
        assert_eq!(self.take(), words);
    }

    fn later(&mut self, seconds: u64) {
        self.until(self.now + Duration::from_secs(seconds));
    }

    /// Lets time pass, with each timeout when it is due.
    fn until(&mut self, end: Instant) {
        for _ in 0..MAX_TIMEOUTS {
            let Some(wake_at) = self
                .session
                .poll_timeout()
                .filter(|&wake_at| wake_at <= end)
            else {
                self.now = end;
                return;
            };
            self.now = self.now.max(wake_at);
            self.session.handle_timeout(self.now);
            self.drain();
        }
        panic!("a livelock");
    }

    fn ring(&mut self, number: u32) {
        self.ringing.insert(number);
        self.session
            .handle_leg_provisional(self.now, LegNumber(number));
        self.drain();
    }

    fn answer(&mut self, number: u32) {
        self.answer_as(number, "t", ANSWER, "");
    }

    fn answer_as(&mut self, number: u32, tag: &str, sdp: &str, more: &str) {
        let known = self
            .callees
            .keys()
            .filter(|(leg, _)| *leg == number)
            .count();
        let key = (number, tag.to_owned());
        if self.callees.contains_key(&key) || known <= MAX_FORKS {
            self.callees.entry(key).or_default();
        }
        let name = self.invites[&number].call_id.clone();
        let response = message(format!(
            "SIP/2.0 200 OK\r\nCall-ID: {name}\r\nCSeq: 1 INVITE\r\nFrom: <sip:alice@home>;tag={name}\r\n\
             To: <sip:r{number}@home>;tag={tag}\r\nContact: <sip:r{number}@phone>\r\n{more}\
             Content-Type: application/sdp\r\n\r\n{sdp}"
        ));
        self.session
            .handle_leg_success(self.now, LegNumber(number), &response);
        self.drain();
    }

    fn refuse(&mut self, number: u32, code: u16) {
        let code = StatusCode::new(code).unwrap();
        self.session
            .handle_leg_failure(self.now, LegNumber(number), code, None);
        self.drain();
    }

    fn request(&mut self, side: Side, method: &str, more: &str, body: &str) {
        self.cseq += 1;
        let cseq = if method == "ACK" { 7 } else { self.cseq };
        let (call_id, from_tag, to_tag) = match side {
            Side::Originator => ("c1".to_owned(), "a1".to_owned(), self.own_tag()),
            Side::Leg(number) => {
                let name = self.invites[&number.0].call_id.clone();
                (name.clone(), "t".to_owned(), name)
            }
        };
        let request = message(format!(
            "{method} sip:cpm@203.0.113.1 SIP/2.0\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             From: <sip:x@home>;tag={from_tag}\r\nTo: <sip:all@home>;tag={to_tag}\r\nContact: <sip:x@phone>\r\n{more}\r\n{body}"
        ));
        let transaction = (method != "ACK").then_some(TransactionKey(1_000 + u64::from(self.cseq)));
        let before = self.replies.len();
        self.session
            .handle_request(self.now, side, &request, transaction);
        self.drain();
        if let Side::Leg(number) = side
            && method == "BYE"
            && self
                .replies
                .get(before)
                .is_some_and(|reply| reply.code == StatusCode::OK)
        {
            let callee = self.callees.get_mut(&(number.0, "t".to_owned()));
            callee.expect("a dialog").2 = true;
        }
    }

    fn own_tag(&self) -> String {
        DialogName {
            session: self.session.id(),
            side: Side::Originator,
        }
        .to_string()
    }

    fn ack(&mut self) {
        self.request(Side::Originator, "ACK", "", "");
    }

    fn bye(&mut self, side: Side) {
        self.request(side, "BYE", "", "");
    }

    fn outcome(&mut self, side: Side, method: &str, code: StatusCode) {
        self.session.handle_outcome(self.now, side, method, code);
        self.drain();
    }

    fn complete(&mut self) {
        self.session.handle_message_complete(self.now);
        self.drain();
    }

    fn lose(&mut self) {
        self.session.handle_message_failed(self.now);
        self.drain();
    }

    fn relay(&mut self, number: u32, delivery: Delivery) {
        self.session
            .handle_leg_ended(self.now, LegNumber(number), delivery);
        self.drain();
    }

    fn cancel(&mut self) {
        self.session.handle_cancel(self.now);
        self.drain();
    }

    fn shut_down(&mut self) {
        self.session.handle_shutdown(self.now);
        self.drain();
    }

    fn state(&self, number: u32) -> LegState {
        self.session.legs().nth(number as usize).unwrap().state
    }

    /// Nobody says anything any more: whatever is open ends by itself.
    fn silence(&mut self) {
        self.until(self.born + MAX_SESSION_AGE + Duration::from_secs(600));
        self.assert_over();
    }

    fn assert_over(&self) {
        assert!(self.ended, "{:?}", self.session);
        assert_eq!(self.final_replies, 1);
        for (callee, &(acks, byes, their_bye)) in &self.callees {
            assert!(
                byes <= 1 && (byes == 1 || their_bye),
                "{callee:?}: {byes} BYEs"
            );
            assert!(acks > 0 || their_bye, "{callee:?} without ACK");
        }
        for fate in self.fates.values() {
            assert_ne!(*fate, Fate::Interworked);
        }
        assert_eq!(self.session.poll_timeout(), None);
    }

    /// As far as all of so many legs have answered and the originator has acknowledged.
    fn confirmed(recipients: u32) -> Self {
        Scene::confirmed_with(recipients, &[])
    }

    fn confirmed_with(recipients: u32, parameters: &[(&str, &str)]) -> Self {
        let mut scene = Scene::with(recipients, parameters);
        for number in 0..recipients {
            scene.ring(number);
            scene.answer(number);
        }
        scene.ack();
        for number in 0..recipients {
            scene.session.handle_leg_connected(LegNumber(number));
        }
        scene.session.handle_sender_connected();
        scene.take();
        scene
    }
}

const ISF: &[(&str, &str)] = &[("isf_uri", "sip:isf@home")];

// The way it should go.

#[test]
fn one_message_to_two_recipients() {
    let mut scene = Scene::to(2);
    assert_eq!(scene.invites.len(), 2);
    scene.ring(0);
    scene.ring(1);
    scene.did(&[]);
    scene.answer(0);
    scene.did(&["open originator", "reply 200"]);
    scene.answer(1);
    scene.did(&[]);
    scene.ack();
    scene.did(&["ack 0", "open 0", "ack 1", "open 1", "no more legs"]);
    assert_eq!(scene.session.stage(), Stage::Confirmed);
    scene.complete();
    scene.relay(0, Delivery::Delivered);
    scene.did(&["delivered 200"]);
    // 9.1.2-bye-3: who has it all gets his BYE at once, the other when he has.
    scene.bye(Side::Originator);
    scene.did(&["reply 200", "close originator", "close 0", "bye 0"]);
    scene.outcome(leg(0), "BYE", StatusCode::OK);
    scene.relay(1, Delivery::Delivered);
    scene.did(&["delivered 200", "close 1", "bye 1"]);
    scene.outcome(leg(1), "BYE", StatusCode::OK);
    scene.did(&["ended"]);
    scene.assert_over();
}

#[test]
fn the_200_says_what_9_1_2_200_asks_for() {
    let mut scene = Scene::to(1);
    scene.answer(0);
    let reply = scene.replies.pop().unwrap();
    let text = String::from_utf8(reply.headers).unwrap();
    for line in [
        "Conversation-ID: conv",
        "Contribution-ID: cont",
        "Session-Expires: 1800;refresher=uac",
        "Require: timer",
        "Supported: timer",
        "Contact: <sip:cpm@203.0.113.1:5060>",
        "Server: CPM-serv/OMA2.2",
        "Content-Type: application/sdp",
    ] {
        assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
    }
    assert_eq!(
        DialogName::parse(&reply.to_tag).unwrap().side,
        Side::Originator
    );
    let answer = SessionDescription::parse(&reply.body).unwrap();
    let media = MsrpMedia::of(&answer, &[Transport::Tcp]).unwrap();
    assert_eq!((media.setup, media.msrp_cema), (Some(Setup::Passive), true));
    assert_eq!(media.path.first().authority().host, "203.0.113.5");
    assert_eq!(media.path.first().session_id().len(), 32);
}

#[test]
fn no_timer_for_who_knows_none() {
    let mut scene = Scene::of(
        &accepted(Kind::Exploder, &["sip:r0@home"], ""),
        &service(&[]),
        settings(),
    );
    scene.answer(0);
    let text = String::from_utf8(scene.replies.pop().unwrap().headers).unwrap();
    assert!(
        !text.contains("Session-Expires")
            && !text.contains("Require")
            && text.contains("Supported: timer")
    );
    scene.ack();
    scene.session.handle_sender_connected();
    scene.session.handle_leg_connected(LegNumber(0));
    scene.later(11 * 3600);
    assert_eq!(scene.session.stage(), Stage::Confirmed);
    scene.later(2 * 3600);
    scene.assert_over();
}

#[test]
fn late_legs_are_acknowledged_at_once_and_get_all() {
    let mut scene = Scene::to(3);
    scene.ring(1);
    scene.ring(2);
    scene.answer(0);
    scene.ack();
    scene.take();
    scene.answer(1);
    scene.did(&["ack 1", "open 1"]);
    scene.complete();
    scene.relay(0, Delivery::Delivered);
    scene.relay(1, Delivery::Delivered);
    scene.bye(Side::Originator);
    scene.take();
    assert!(!scene.no_more_legs);
    scene.later(20);
    // After the originator's BYE, with stored content.
    scene.answer(2);
    scene.did(&["ack 2", "open 2", "no more legs"]);
    scene.relay(2, Delivery::Delivered);
    scene.did(&["delivered 200", "close 2", "bye 2"]);
    scene.silence();
}

#[test]
fn roles_and_targets_come_from_each_answer() {
    let mut scene = Scene::to(2);
    scene.answer_as(0, "t", &ANSWER.replace("passive", "active"), "");
    scene.answer_as(1, "t", &format!("{ANSWER}a=msrp-cema\r\n"), "");
    scene.ack();
    assert_eq!(scene.ends[&0].role, Role::Passive);
    assert_eq!(
        (
            scene.ends[&1].role,
            scene.ends[&1].host.as_str(),
            scene.ends[&1].port
        ),
        (Role::Active, "192.0.2.7", 9000)
    );
    assert_eq!(scene.ends[&1].max_size, Some(5000));
    assert_ne!(scene.ends[&0].own, scene.ends[&1].own);
    scene.silence();
}

// Refusals, silence, interworking.

#[test]
fn all_refuse() {
    let mut scene = Scene::to(2);
    scene.refuse(0, 486);
    scene.did(&["failed 486"]);
    scene.refuse(1, 404);
    // Spec-notes N20, no ISF.
    scene.did(&["failed 404", "reply 480", "ended"]);
    scene.assert_over();
}

#[test]
fn nobody_could_be_sent_to() {
    let mut scene = Scene::to(1);
    scene.session.handle_leg_unsent(scene.now, LegNumber(0));
    scene.drain();
    scene.did(&["failed 503", "reply 480", "ended"]);
}

#[test]
fn the_isf_answers_first() {
    let mut scene = Scene::with(2, ISF);
    scene.refuse(0, 404);
    scene.did(&["interworked 404", "invite 2 isf"]);
    let invite = &scene.invites[&2];
    assert_eq!(
        (invite.request_uri.as_str(), invite.next_hop.as_deref()),
        ("sip:r0@home", Some("sip:isf@home"))
    );
    assert!(invite.headers.starts_with(b"Route: <sip:isf@home;lr>\r\n"));
    scene.refuse(1, 486);
    scene.did(&["failed 486"]);
    scene.answer(2);
    scene.did(&["open originator", "reply 200"]);
    scene.ack();
    scene.did(&["ack 2", "open 2", "no more legs"]);
    scene.complete();
    scene.bye(Side::Originator);
    scene.relay(2, Delivery::Delivered);
    scene.silence();
    assert_eq!(scene.fates["sip:r0@home"], Fate::Delivered);
}

#[test]
fn the_480_waits_for_the_isf_which_is_asked_once() {
    let mut scene = Scene::with(1, ISF);
    scene.refuse(0, 415);
    scene.did(&["interworked 415", "invite 1 isf"]);
    scene.refuse(1, 404);
    scene.did(&["failed 404", "reply 480", "ended"]);
}

#[test]
fn eight_codes_lead_to_the_isf_where_policy_allows() {
    for code in [404, 405, 410, 414, 415, 416, 488, 606] {
        let mut scene = Scene::with(1, ISF);
        scene.refuse(0, code);
        assert!(scene.invites.contains_key(&1), "{code}");
        let mut scene = Scene::with(1, &[ISF[0], ("interworking", "no")]);
        scene.refuse(0, code);
        assert!(scene.ended, "{code}");
    }
    for code in [302, 403, 408, 480, 486, 500, 503, 603, 604] {
        let mut scene = Scene::with(1, ISF);
        scene.refuse(0, code);
        assert!(scene.ended, "{code}");
    }
}

#[test]
fn recipients_without_sip_address_go_to_the_isf_directly() {
    let invite = accepted(Kind::Exploder, &["tel:+15550100", "sip:r@home"], "");
    let scene = Scene::of(&invite, &service(ISF), settings());
    assert!(scene.invites[&0].to_isf && !scene.invites[&1].to_isf);
}

#[test]
fn msrp_failure_leads_to_the_isf_with_stored_content() {
    let mut scene = Scene::confirmed_with(2, ISF);
    scene.complete();
    scene.relay(1, Delivery::Delivered);
    assert!(!scene.no_more_legs);
    scene.take();
    scene.bye(Side::Originator);
    scene.did(&["reply 200", "close originator", "close 1", "bye 1"]);
    scene.relay(0, Delivery::Failed(LegFailure::Stalled));
    scene.did(&["interworked 408", "invite 2 isf", "close 0", "bye 0"]);
    scene.answer(2);
    scene.did(&["ack 2", "open 2", "no more legs"]);
    scene.relay(2, Delivery::Failed(LegFailure::Disconnected));
    scene.did(&["failed 480", "close 2", "bye 2"]);
    scene.silence();
}

#[test]
fn an_answer_that_cannot_be_used_is_a_failed_delivery() {
    for sdp in ["", "v=0\r\n", &SDP.replace("actpass", "holdconn")] {
        let mut scene = Scene::with(1, ISF);
        scene.answer_as(0, "t", sdp, "");
        scene.did(&["ack 0", "interworked 488", "invite 1 isf", "bye 0"]);
        scene.answer(1);
        scene.did(&["open originator", "reply 200"]);
        scene.silence();
    }
}

#[test]
fn a_422_is_obeyed_once() {
    let mut scene = Scene::to(1);
    let too_small = |min: u32| message(format!("SIP/2.0 422 x\r\nMin-SE: {min}\r\n\r\n"));
    let code = StatusCode::SESSION_INTERVAL_TOO_SMALL;
    scene
        .session
        .handle_leg_failure(scene.now, LegNumber(0), code, Some(&too_small(3600)));
    scene.drain();
    scene.did(&["invite 0"]);
    let again = &scene.invites[&0];
    let headers = String::from_utf8(again.headers.to_vec()).unwrap();
    assert!(headers.contains("Session-Expires: 3600;refresher=uas\r\nMin-SE: 3600\r\n"));
    assert_eq!(again.cseq, 2);
    scene.ring(0);
    scene.answer(0);
    scene.ack();
    scene.did(&[
        "open originator",
        "reply 200",
        "ack 0",
        "open 0",
        "no more legs",
    ]);
    scene.silence();
    let mut scene = Scene::to(1);
    for _ in 0..2 {
        scene
            .session
            .handle_leg_failure(scene.now, LegNumber(0), code, Some(&too_small(100)));
        scene.drain();
    }
    scene.did(&["invite 0", "failed 422", "reply 480", "ended"]);
}

#[test]
fn silence_and_ringing_end() {
    let mut scene = Scene::to(2);
    scene.ring(1);
    scene.later(10);
    scene.did(&["failed 408"]);
    assert_eq!(scene.state(0), LegState::CancelDue);
    scene.later(49);
    scene.did(&[]);
    scene.later(1);
    scene.did(&["failed 408", "cancel 1", "reply 480"]);
    scene.refuse(1, 487);
    scene.did(&["ended"]);
    scene.assert_over();
}

#[test]
fn expires_shortens_the_ringing() {
    let invite = accepted(Kind::Exploder, &["sip:r0@home"], "Expires: 20\r\n");
    let mut scene = Scene::of(&invite, &service(&[]), settings());
    scene.ring(0);
    scene.later(20);
    assert_eq!(scene.state(0), LegState::Cancelling);
}

#[test]
fn the_originator_is_answered_before_his_transaction_ends() {
    let mut longest = settings();
    longest.leg_timeout = Duration::from_secs(1_000);
    let invite = accepted(Kind::Exploder, &["sip:r0@home"], "");
    let mut scene = Scene::of(&invite, &service(&[]), longest);
    scene.ring(0);
    scene.take();
    scene.until(scene.born + ANSWER_WITHIN);
    scene.did(&["reply 480", "failed 480", "cancel 0"]);
    scene.silence();
}

// ACK, repeated and forked answers.

#[test]
fn repeated_answers_before_and_after_the_ack() {
    let mut scene = Scene::to(1);
    scene.answer(0);
    scene.take();
    scene.answer(0);
    scene.did(&[]);
    scene.ack();
    scene.take();
    scene.ack();
    scene.did(&[]);
    for _ in 0..3 {
        scene.answer(0);
        scene.did(&["ack 0"]);
    }
    scene.ring(0);
    scene.refuse(0, 500);
    scene.did(&[]);
    scene.bye(leg(0));
    scene.take();
    scene.silence();
}

#[test]
fn an_answer_repeated_after_the_bye_is_acknowledged_again() {
    let mut scene = Scene::confirmed(1);
    scene.complete();
    scene.relay(0, Delivery::Delivered);
    scene.bye(Side::Originator);
    scene.take();
    scene.answer(0);
    scene.did(&["ack 0"]);
    scene.later(31);
    scene.answer(0);
    scene.did(&["ack 0"]);
    scene.later(2);
    scene.did(&["ended"]);
}

#[test]
fn other_callees_of_a_fork_get_ack_and_bye() {
    let mut scene = Scene::to(1);
    scene.answer(0);
    scene.take();
    scene.answer_as(0, "fork", ANSWER, "");
    scene.did(&["ack 0", "bye 0"]);
    scene.answer_as(0, "fork", ANSWER, "");
    scene.did(&["ack 0"]);
    for number in 0..2 * MAX_FORKS {
        scene.answer_as(0, &format!("f{number}"), ANSWER, "");
    }
    scene.take();
    assert_eq!(scene.callees.len(), 1 + MAX_FORKS);
    assert_eq!(scene.state(0), LegState::Answered);
    scene.ack();
    scene.did(&["ack 0", "open 0", "no more legs"]);
    scene.silence();
}

#[test]
fn without_the_originators_ack_all_ends() {
    let mut scene = Scene::to(2);
    scene.ring(1);
    scene.answer(0);
    scene.take();
    scene.later(10);
    assert_eq!(scene.session.stage(), Stage::Abandoned);
    scene.did(&[
        "abort",
        "failed 480",
        "ack 0",
        "bye 0",
        "failed 480",
        "cancel 1",
    ]);
    scene.later(21);
    scene.refuse(1, 487);
    // RFC 3261 §15: no BYE before ACK or timeout.
    scene.did(&[]);
    scene.later(1);
    scene.did(&["bye originator", "close originator"]);
    scene.later(32);
    scene.assert_over();
}

#[test]
fn an_ack_that_comes_too_late_gets_bye() {
    let mut scene = Scene::to(1);
    scene.answer(0);
    scene.later(15);
    scene.take();
    scene.ack();
    scene.did(&["bye originator", "close originator"]);
    scene.silence();
}

#[test]
fn a_bye_that_overtakes_the_ack_counts_as_one() {
    let mut scene = Scene::to(1);
    scene.answer(0);
    scene.complete();
    scene.take();
    scene.bye(Side::Originator);
    scene.did(&[
        "reply 200",
        "ack 0",
        "open 0",
        "close originator",
        "no more legs",
    ]);
    scene.relay(0, Delivery::Delivered);
    scene.did(&["delivered 200", "close 0", "bye 0"]);
    scene.silence();
}

#[test]
fn a_message_before_the_ack_does_not_lengthen_the_wait() {
    let mut scene = Scene::to(1);
    scene.answer(0);
    scene.complete();
    scene.later(10);
    assert_eq!(scene.session.stage(), Stage::Abandoned);
    scene.silence();
}

// CANCEL.

#[test]
fn cancel_before_any_answer() {
    let mut scene = Scene::to(3);
    scene.ring(1);
    scene.refuse(2, 486);
    scene.take();
    scene.cancel();
    scene.did(&["reply 487", "failed 487", "failed 487", "cancel 1"]);
    scene.ring(0);
    scene.did(&["cancel 0"]);
    scene.refuse(0, 487);
    scene.refuse(1, 487);
    scene.did(&["ended"]);
    scene.assert_over();
}

#[test]
fn cancel_that_crosses_a_200() {
    // The originator's crosses ours: nothing changes.
    let mut scene = Scene::to(1);
    scene.answer(0);
    scene.take();
    scene.cancel();
    scene.did(&[]);
    assert_eq!(scene.session.stage(), Stage::Answered);
    // Ours crosses the recipient's.
    let mut scene = Scene::to(2);
    scene.ring(0);
    scene.cancel();
    scene.take();
    scene.answer(0);
    scene.did(&["ack 0", "bye 0"]);
    scene.answer(1);
    scene.did(&["ack 1", "bye 1"]);
    scene.answer(0);
    scene.did(&["ack 0"]);
    scene.silence();
}

#[test]
fn cancelled_legs_that_say_nothing_are_given_up() {
    let mut scene = Scene::to(2);
    scene.ring(0);
    scene.cancel();
    scene.take();
    scene.later(32);
    scene.did(&["ended"]);
}

#[test]
fn an_answer_after_our_timeout_gets_ack_and_bye() {
    let mut scene = Scene::to(2);
    scene.ring(1);
    scene.later(10);
    scene.refuse(0, 408);
    assert_eq!(scene.state(0), LegState::Over);
    scene.take();
    scene.answer(0);
    scene.did(&["ack 0", "bye 0"]);
    scene.answer(1);
    scene.did(&["open originator", "reply 200"]);
    scene.silence();
}

#[test]
fn the_transaction_layer_answered_by_itself() {
    let mut scene = Scene::to(2);
    scene.ring(0);
    scene.ring(1);
    scene.answer(0);
    scene.take();
    scene.session.handle_reply_failed(scene.now);
    scene.drain();
    scene.did(&[
        "close originator",
        "abort",
        "failed 487",
        "ack 0",
        "bye 0",
        "failed 487",
        "cancel 1",
    ]);
    scene.outcome(leg(0), "BYE", StatusCode::OK);
    scene.refuse(1, 487);
    scene.did(&["ended"]);
}

// The end of the originator.

#[test]
fn the_bye_may_overtake_the_relays_word() {
    let mut scene = Scene::confirmed(1);
    scene.bye(Side::Originator);
    scene.did(&["reply 200", "close originator"]);
    assert_eq!(scene.session.stage(), Stage::Closing);
    scene.complete();
    scene.did(&[]);
    scene.relay(0, Delivery::Delivered);
    scene.did(&["delivered 200", "close 0", "bye 0"]);
    scene.silence();
}

#[test]
fn an_incomplete_message_is_aborted() {
    // Spec-notes N46; no interworking.
    let mut scene = Scene::with(3, ISF);
    scene.answer(0);
    scene.ack();
    scene.ring(1);
    scene.session.handle_message_started(Some(1000));
    scene.take();
    scene.bye(Side::Originator);
    scene.did(&["reply 200", "close originator"]);
    scene.lose();
    scene.did(&[
        "abort",
        "failed 480",
        "failed 480",
        "cancel 1",
        "failed 480",
    ]);
    assert_eq!(scene.state(0), LegState::Aborting);
    scene.relay(0, Delivery::Aborted);
    scene.did(&["close 0", "bye 0"]);
    scene.silence();
    assert_eq!(scene.invites.len(), 3);
}

#[test]
fn a_relay_that_says_nothing_ends_too() {
    let mut scene = Scene::confirmed(1);
    scene.bye(Side::Originator);
    scene.take();
    scene.later(5);
    scene.did(&["abort", "failed 480"]);
    scene.later(5);
    scene.did(&["close 0", "bye 0"]);
    scene.later(32);
    scene.did(&["ended"]);
}

#[test]
fn a_sender_who_dies_midway() {
    let mut scene = Scene::confirmed(1);
    scene.session.handle_message_started(None);
    scene.lose();
    scene.did(&["bye originator", "close originator", "abort", "failed 480"]);
    scene.silence();
}

#[test]
fn a_sender_who_never_connects() {
    let mut scene = Scene::to(1);
    scene.answer(0);
    scene.ack();
    scene.session.handle_leg_connected(LegNumber(0));
    scene.take();
    scene.later(32);
    scene.did(&["bye originator", "close originator", "abort", "failed 480"]);
    scene.silence();
}

#[test]
fn a_sender_who_never_says_bye() {
    let mut scene = Scene::confirmed(1);
    scene.complete();
    scene.relay(0, Delivery::Delivered);
    scene.take();
    scene.later(120);
    scene.did(&["bye originator", "close originator", "close 0", "bye 0"]);
    scene.silence();
}

#[test]
fn nobody_left_to_deliver_to() {
    let mut scene = Scene::confirmed(1);
    scene.relay(0, Delivery::Failed(LegFailure::Disconnected));
    scene.did(&[
        "failed 480",
        "close 0",
        "bye 0",
        "bye originator",
        "close originator",
        "abort",
    ]);
    scene.silence();
}

// BYE of a recipient.

#[test]
fn a_recipient_leaves_when_he_has_it_or_before() {
    let mut scene = Scene::confirmed_with(3, ISF);
    scene.complete();
    // The relay's word on him is still on its way.
    scene.bye(leg(0));
    scene.did(&["reply 200", "close 0"]);
    scene.relay(0, Delivery::Delivered);
    scene.did(&["delivered 200"]);
    assert_eq!(scene.state(0), LegState::Over);
    scene.bye(leg(1));
    scene.relay(1, Delivery::Failed(LegFailure::Dropped));
    scene.did(&["reply 200", "close 1", "interworked 480", "invite 3 isf"]);
    scene.relay(2, Delivery::Delivered);
    scene.bye(leg(2));
    scene.did(&["delivered 200", "reply 200", "close 2"]);
    scene.bye(leg(2));
    scene.did(&["reply 481"]);
    scene.refuse(3, 480);
    scene.silence();
}

#[test]
fn byes_that_cross() {
    let mut scene = Scene::confirmed(1);
    scene.complete();
    scene.relay(0, Delivery::Delivered);
    scene.bye(Side::Originator);
    scene.take();
    scene.bye(leg(0));
    scene.did(&["reply 200", "ended"]);
}

#[test]
fn a_connection_that_does_not_come() {
    let mut scene = Scene::to(1);
    scene.answer(0);
    scene.ack();
    scene.session.handle_sender_connected();
    scene.complete();
    scene.take();
    scene.later(32);
    scene.did(&["failed 408", "close 0", "bye 0"]);
    scene.silence();
}

// Session timers.

#[test]
fn the_originator_refreshes_or_is_gone() {
    let mut scene = Scene::confirmed(1);
    scene.later(1_700);
    scene.request(Side::Originator, "UPDATE", TIMER, "");
    let reply = scene.replies.pop().unwrap();
    let text = String::from_utf8(reply.headers).unwrap();
    assert!(
        text.contains("Session-Expires: 1800;refresher=uac\r\nRequire: timer\r\n")
            && reply.body.is_empty()
    );
    scene.later(1_700);
    assert_eq!(scene.session.stage(), Stage::Confirmed);
    scene.take();
    scene.later(68);
    assert_eq!(scene.take()[..2], ["bye originator", "close originator"]);
    scene.silence();
}

#[test]
fn a_re_invite_gets_the_same_description() {
    let mut scene = Scene::to(1);
    scene.answer(0);
    let first = scene.replies.pop().unwrap();
    scene.ack();
    scene.request(Side::Originator, "INVITE", TIMER, SDP);
    let again = scene.replies.pop().unwrap();
    assert_eq!((again.code, &again.body), (StatusCode::OK, &first.body));
    assert_eq!(again.to_tag, first.to_tag);
    let offer = String::from_utf8(scene.invites[&0].body.to_vec()).unwrap();
    scene.request(leg(0), "INVITE", "", SDP);
    assert_eq!(
        scene.replies.pop().unwrap().body,
        offer.replace("actpass", "active")
    );
    scene.request(leg(0), "INVITE", "", "");
    assert_eq!(scene.replies.pop().unwrap().body, offer);
    scene.silence();
}

#[test]
fn other_requests_in_dialogs() {
    let mut scene = Scene::confirmed(1);
    scene.request(Side::Originator, "UPDATE", "Session-Expires: 30\r\n", "");
    assert!(
        scene
            .replies
            .pop()
            .unwrap()
            .headers
            .starts_with(b"Min-SE: 90\r\n")
    );
    scene.request(Side::Originator, "INFO", "", "");
    scene.cseq = 0;
    scene.request(leg(0), "UPDATE", "", "");
    scene.request(Side::Originator, "UPDATE", "", "");
    scene.did(&["reply 422", "reply 405", "reply 200", "reply 500"]);
    scene.silence();
}

#[test]
fn a_leg_refreshes_or_is_lost() {
    let mut scene = Scene::to(1);
    scene.answer_as(0, "t", ANSWER, "Session-Expires: 300;refresher=uas\r\n");
    scene.ack();
    scene.session.handle_leg_connected(LegNumber(0));
    scene.session.handle_sender_connected();
    scene.later(200);
    scene.request(
        leg(0),
        "UPDATE",
        "Supported: timer\r\nSession-Expires: 300;refresher=uac\r\n",
        "",
    );
    scene.take();
    scene.later(267);
    scene.did(&[]);
    scene.later(1);
    assert_eq!(scene.take()[..3], ["failed 408", "close 0", "bye 0"]);
    scene.silence();
}

#[test]
fn we_refresh_a_leg_that_wants_it() {
    let mut scene = Scene::to(1);
    scene.answer_as(0, "t", ANSWER, "Session-Expires: 200;refresher=uac\r\n");
    scene.ack();
    scene.session.handle_leg_connected(LegNumber(0));
    scene.session.handle_sender_connected();
    scene.take();
    for _ in 0..3 {
        scene.later(100);
        scene.did(&["update 0"]);
        scene.outcome(leg(0), "UPDATE", StatusCode::OK);
    }
    scene.later(100);
    scene.outcome(
        leg(0),
        "UPDATE",
        StatusCode::CALL_TRANSACTION_DOES_NOT_EXIST,
    );
    assert_eq!(
        scene.take()[..4],
        ["update 0", "failed 408", "close 0", "bye 0"]
    );
    scene.silence();
}

// The operator.

#[test]
fn shutdown_in_each_stage() {
    let mut scene = Scene::to(2);
    scene.ring(0);
    scene.shut_down();
    scene.did(&["reply 503", "failed 503", "cancel 0", "failed 503", "ended"]);

    let mut scene = Scene::to(2);
    scene.answer(0);
    scene.take();
    scene.shut_down();
    let done = scene.take();
    for word in [
        "bye originator",
        "close originator",
        "ack 0",
        "bye 0",
        "ended",
    ] {
        assert!(done.iter().any(|did| did == word), "{word}: {done:?}");
    }
    let mut scene = Scene::confirmed(2);
    scene.complete();
    scene.relay(0, Delivery::Delivered);
    scene.shut_down();
    let done = scene.take();
    for word in ["bye originator", "bye 0", "bye 1", "close 1", "ended"] {
        assert!(done.iter().any(|did| did == word), "{word}: {done:?}");
    }
    for stage in [
        Stage::Abandoned,
        Stage::Closing,
        Stage::Delivering,
        Stage::Unwinding,
    ] {
        let mut scene = Scene::confirmed(2);
        match stage {
            Stage::Abandoned => {
                scene = Scene::to(2);
                scene.answer(0);
                scene.later(10);
            }
            Stage::Closing => scene.bye(Side::Originator),
            Stage::Delivering => {
                scene.complete();
                scene.bye(Side::Originator);
            }
            _ => scene.lose(),
        }
        assert_eq!(scene.session.stage(), stage);
        scene.shut_down();
        assert!(scene.ended, "{stage:?}");
        scene.assert_over();
        scene.shut_down();
    }
}

#[test]
fn the_operator_ends_a_session_in_each_stage() {
    for complete in [false, true] {
        let mut scene = Scene::confirmed(1);
        if complete {
            scene.complete();
        }
        scene.session.handle_end(scene.now);
        scene.drain();
        assert_eq!(scene.session.stage(), Stage::Unwinding);
        scene.later(40);
        scene.assert_over();
    }
    let mut scene = Scene::to(1);
    scene.session.handle_end(scene.now);
    scene.drain();
    scene.later(40);
    scene.assert_over();
}

// Whatever comes.

#[test]
fn random_events_in_random_order() {
    use crate::msrp::xorshift::XorShift;
    let mut stages = BTreeSet::new();
    for seed in 1..=3_000 {
        let mut random = XorShift::new(seed);
        let recipients = 1 + random.below(4) as u32;
        let mut scene = Scene::with(recipients, if random.below(2) == 0 { ISF } else { &[] });
        for _ in 0..random.below(60) {
            if scene.ended {
                break;
            }
            let number = random.below(scene.invites.len()) as u32;
            match random.below(24) {
                0..=2 => scene.ring(number),
                3..=5 => scene.answer(number),
                6 => scene.answer_as(
                    number,
                    "other",
                    ANSWER,
                    "Session-Expires: 100;refresher=uac\r\n",
                ),
                7 => scene.answer_as(number, "t", "", ""),
                8 => scene.refuse(
                    number,
                    [302, 404, 408, 422, 486, 487, 488, 503, 606][random.below(9)],
                ),
                9 | 10 => scene.ack(),
                11 => scene.bye(leg(number)),
                12 if random.below(3) == 0 => scene.bye(Side::Originator),
                13 if random.below(4) == 0 => scene.cancel(),
                14 => scene.complete(),
                15 if random.below(3) == 0 => scene.lose(),
                16 => scene.session.handle_leg_connected(LegNumber(number)),
                17 => scene.relay(number, Delivery::Delivered),
                18 => scene.relay(
                    number,
                    [Delivery::Aborted, Delivery::Failed(LegFailure::Stalled)][random.below(2)],
                ),
                19 => {
                    let side = if random.below(2) == 0 {
                        Side::Originator
                    } else {
                        leg(number)
                    };
                    let code = [StatusCode::OK, StatusCode::REQUEST_TIMEOUT][random.below(2)];
                    scene.outcome(side, ["BYE", "UPDATE", "INFO"][random.below(3)], code);
                }
                20 => {
                    let side = if random.below(2) == 0 {
                        Side::Originator
                    } else {
                        leg(number)
                    };
                    scene.request(
                        side,
                        ["UPDATE", "INVITE", "INFO"][random.below(3)],
                        TIMER,
                        "",
                    );
                }
                21 => scene.session.handle_sender_connected(),
                22 if random.below(40) == 0 => scene.shut_down(),
                23 if random.below(20) == 0 => {
                    scene.session.handle_end(scene.now);
                    scene.drain();
                }
                _ => {
                    let seconds = [0, 1, 5, 11, 33, 61, 1_000][random.below(7)];
                    scene.later(seconds);
                }
            }
            stages.insert(format!("{:?}", scene.session.stage()));
        }
        scene.silence();
    }
    assert_eq!(stages.len(), 8, "{stages:?}");
}

// Header fields and bodies.

#[test]
fn headers_of_an_exploder_invite() {
    let more = "Privacy: id\r\nReply-To: <sip:x@y>\r\nMessage-Expires: 5\r\nP-Asserted-Service: urn:a\r\nX-Other: 1\r\n";
    let scene = Scene::of(
        &accepted(Kind::Exploder, &["sip:r0@home"], more),
        &service(&[]),
        settings(),
    );
    let invite = &scene.invites[&0];
    let text = String::from_utf8(invite.headers.to_vec()).unwrap();
    for line in [
        "Session-Expires: 1800;refresher=uas",
        "Max-Forwards: 69",
        "P-Asserted-Identity: <sip:alice@home>",
        "Contact: <sip:cpm@203.0.113.1:5060>;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.largemsg\";audio",
        "User-Agent: CPM-serv/OMA2.2",
        "Supported: timer",
        "Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.largemsg\"",
        "Conversation-ID: conv",
        "Contribution-ID: cont",
        "Subject: s",
        "Privacy: id",
        "Reply-To: <sip:x@y>",
        "Message-Expires: 5",
        "P-Asserted-Service: urn:a",
        "Content-Type: application/sdp",
    ] {
        assert!(text.contains(&format!("{line}\r\n")), "{line} in {text}");
    }
    for absent in [
        "Referred-By",
        "isfocus",
        "X-Other",
        "P-Preferred",
        "Require",
        "Record-Route",
        "CPM-client",
    ] {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
    assert_eq!(
        (invite.from.as_str(), invite.to.as_str()),
        ("\"Alice\" <sip:alice@home>", "<sip:r0@home>")
    );
    let offer = SessionDescription::parse(&invite.body).unwrap();
    let media = MsrpMedia::of(&offer, &[Transport::Tcp]).unwrap();
    assert_eq!((media.setup, media.msrp_cema), (Some(Setup::ActPass), true));
    assert_eq!(media.file_selector.unwrap().size, Some(1000));
}

#[test]
fn group_identities() {
    let headers = |kind, more: &str| {
        let scene = Scene::of(
            &accepted(kind, &["sip:r0@home"], more),
            &service(&[]),
            settings(),
        );
        String::from_utf8(scene.invites[&0].headers.to_vec()).unwrap()
    };
    let group = headers(Kind::Group, "");
    assert!(
        group.contains("P-Asserted-Identity: <sip:all@home>\r\nReferred-By: <sip:alice@home>\r\n")
    );
    assert!(group.contains("Contact: <sip:cpm@203.0.113.1:5060>;isfocus;+g"));
    let ad_hoc = headers(Kind::AdHoc, "Privacy: id\r\n");
    assert!(ad_hoc.contains("Referred-By: <sip:anonymous@anonymous.invalid>\r\n"));
    let identity = ad_hoc
        .split("P-Asserted-Identity: <sip:cpm-group-")
        .nth(1)
        .unwrap();
    assert_eq!(identity.split('@').next().unwrap().len(), 32);
    assert_ne!(headers(Kind::AdHoc, ""), headers(Kind::AdHoc, ""));
}

#[test]
fn the_history_goes_along_with_the_offer() {
    let mut invite = accepted(Kind::AdHoc, &["sip:r0@home"], "");
    invite.history = Some(Bytes::from_static(b"<resource-lists/>"));
    let invite = AcceptedInvite::read(Bytes::from(invite.write())).unwrap();
    let scene = Scene::of(&invite, &service(&[]), settings());
    let request = &scene.invites[&0];
    let whole = [
        b"INVITE sip:a SIP/2.0\r\n",
        &request.headers[..],
        b"\r\n",
        &request.body,
    ]
    .concat();
    let request = Message::parse(Bytes::from(whole)).unwrap();
    let value = |name| Some(Bytes::copy_from_slice(request.first(name)?.value()));
    let fields = crate::mime::EntityFields {
        content_type: value(HeaderName::ContentType),
        ..Default::default()
    };
    let entity = crate::mime::Entity::parse(fields, request.body()).unwrap();
    let [sdp, list] = &entity.leaves().collect::<Vec<_>>()[..] else {
        panic!()
    };
    assert!(SessionDescription::parse(&sdp.content().unwrap()).is_ok());
    assert_eq!(&list.content().unwrap()[..], b"<resource-lists/>");
    assert!(
        list.disposition().unwrap().is("recipient-list-history")
            && list.disposition().unwrap().is_optional()
    );
}

#[test]
fn accepted_invites_cross_processes() {
    let invite = accepted(Kind::Group, &["sip:r0@home", "tel:+1"], TIMER);
    let bytes = invite.write();
    let read = AcceptedInvite::read(Bytes::from(bytes.clone())).unwrap();
    assert_eq!(
        (read.kind, &read.raw, &read.recipients),
        (invite.kind, &invite.raw, &invite.recipients)
    );
    assert_eq!((read.originator, read.history), (invite.originator, None));
    for length in 0..bytes.len() {
        assert!(AcceptedInvite::read(Bytes::copy_from_slice(&bytes[..length])).is_none());
    }
}

#[test]
fn what_cannot_be_started() {
    let settings = Rc::new(settings());
    let start = |invite: &AcceptedInvite| {
        Session::new(
            Instant::now(),
            &service(&[]),
            &settings,
            invite,
            INVITE,
            numbered,
        )
        .err()
    };
    assert_eq!(
        start(&accepted(Kind::Exploder, &[], "")),
        Some(NotStarted::NoRecipients)
    );
    let with = |from: &str, to: &str| {
        let mut invite = accepted(Kind::Exploder, &["sip:r@home"], "");
        let text = String::from_utf8(invite.raw.to_vec())
            .unwrap()
            .replace(from, to);
        invite.message = message(text);
        start(&invite)
    };
    assert_eq!(with("CSeq: 7", "CSeq: x"), Some(NotStarted::Malformed));
    assert_eq!(with("TCP/MSRP", "TCP/TLS/MSRP"), Some(NotStarted::NoMedia));
    assert_eq!(with("x", "x"), None);
}

#[test]
fn actions_may_be_taken_a_few_at_a_time() {
    let uris = ["sip:r0@home", "sip:r1@home", "sip:r2@home"];
    let settings = Rc::new(settings());
    let invite = accepted(Kind::Exploder, &uris, TIMER);
    let now = Instant::now();
    let mut session =
        Session::new(now, &service(&[]), &settings, &invite, INVITE, numbered).unwrap();
    let mut words = Vec::new();
    let mut take = |session: &mut Session, most: usize| {
        for action in std::iter::from_fn(|| session.poll_action()).take(most) {
            match action {
                Action::Invite(invite) => words.push(format!("invite {}", invite.leg.0)),
                Action::Cancel(leg) => words.push(format!("cancel {}", leg.0)),
                Action::Reply(reply) => words.push(format!("reply {}", reply.code)),
                _ => {}
            }
        }
    };
    take(&mut session, 2);
    session.handle_leg_provisional(now, LegNumber(0));
    session.handle_cancel(now);
    take(&mut session, 3);
    session.handle_leg_failure(now, LegNumber(0), StatusCode::REQUEST_TERMINATED, None);
    take(&mut session, usize::MAX);
    session.handle_leg_provisional(now, LegNumber(2));
    take(&mut session, usize::MAX);
    assert_eq!(
        words,
        [
            "invite 0",
            "invite 1",
            "invite 2",
            "reply 487",
            "cancel 0",
            "cancel 2"
        ]
    );
}
