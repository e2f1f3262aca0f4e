//! The session's state machine in virtual time: a scene plays the originator, the recipients, the
//! relay and the transaction layer.

mod answers;
mod better_known;
mod cancel;
mod deferral;
mod delivery;
mod endings;
mod fixtures;
mod pace;
mod random;
mod refusals;
mod requests;
mod retention;
mod session_timers;
mod unfit_answers;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::host::Fate;
use super::super::ids::Ids;
use super::super::received::Kind;
use super::super::service::ControllingFunction;
use super::*;
use crate::controlling::{AboutRequest, Mode, Received};
use crate::msrp_session::{DeliveryFailure, DeliveryState};
use crate::policy::ID_KEY_BYTES;
use crate::policy::Settings;
use crate::sdp::{MsrpMedia, Role, SessionDescription, Setup, Transport};
use crate::shared::MessageNumber;
use crate::sip::{HeaderName, Message, StatusCode};
use fixtures::*;

const INVITE: TransactionKey = TransactionKey(1);
/// Maximum number of successive timeouts without any other event: more would be a livelock.
const MAX_TIMEOUTS: usize = 2_000;

const TIMER: &str = "Supported: timer\r\nSession-Expires: 1800;refresher=uac\r\n";

/// Everything around the state machine. Keeps track of promises, and checks each action against
/// them.
struct Scene {
    session: Session,
    now: Instant,
    born: Instant,
    /// The actions since the last check, one word each.
    done: Vec<String>,
    /// Callees with a 2xx, by leg and tag: ACKs and BYEs that they received, and whether they sent
    /// BYE.
    callees: BTreeMap<(u32, String), (u32, u32, bool)>,
    invites: BTreeMap<u32, InviteRequest>,
    ringing: BTreeSet<u32>,
    cancelled: BTreeSet<u32>,
    /// The relay: the open ends, and those opened so far.
    open: BTreeSet<Side>,
    opened: BTreeSet<Side>,
    ends: BTreeMap<u32, MsrpEnds>,
    no_more_legs: bool,
    replies: Vec<SessionReply>,
    /// The last request with an outcome inside each dialog.
    last: BTreeMap<Side, InDialogRequest>,
    final_replies: u32,
    byes_to_originator: u32,
    fates: BTreeMap<String, Fate>,
    ended: bool,
    cseq: u32,
    /// Maximum number of legs that may wait for an answer.
    most_inviting: usize,
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
        let most_inviting = settings.policy.max_parallel_legs.unwrap_or(usize::MAX);
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
            last: BTreeMap::new(),
            final_replies: 0,
            byes_to_originator: 0,
            fates: BTreeMap::new(),
            ended: false,
            cseq: 100,
            most_inviting,
        };
        scene.drain();
        scene
    }

    /// A 1-to-many message to this many recipients.
    fn to(recipients: u32) -> Self {
        Scene::with(recipients, &[])
    }

    fn with(recipients: u32, parameters: &[(&str, &str)]) -> Self {
        Scene::set(recipients, parameters, |_| {})
    }

    /// With other settings.
    fn set(
        recipients: u32,
        parameters: &[(&str, &str)],
        set: impl FnOnce(&mut LargeModeSettings),
    ) -> Self {
        let mut settings = settings();
        set(&mut settings);
        let uris: Vec<String> = (0..recipients)
            .map(|number| format!("sip:r{number}@home"))
            .collect();
        let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
        let mut scene = Scene::of(
            &accepted(Kind::Exploder, &uris, TIMER),
            &service(parameters),
            settings,
        );
        scene.take();
        scene
    }

    fn drain(&mut self) {
        while let Some(action) = self.session.poll_action() {
            assert!(!self.ended, "after the end: {action:?}");
            self.note(action);
        }
        use LegState::{Calling, Proceeding};
        let legs = self.session.legs();
        let inviting = legs.filter(|leg| matches!(leg.state, Calling | Proceeding));
        assert!(inviting.count() <= self.most_inviting);
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
                    // The relay must be ready before the 200 is sent.
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
                    matches!(before, None | Some(Fate::Interworked | Fate::Deferred)),
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
        let is_ack_again =
            method == "ack" && self.last.get(&side).map(|last| last.cseq) == Some(request.cseq);
        if has_outcome {
            self.last.insert(side, request.clone());
        }
        match side {
            Side::Originator => {
                assert!(has_outcome || is_ack_again);
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
                    "ACK" if is_ack_again => assert!(*acks > 0),
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
            RelayCommand::NoteHead(note) => {
                assert!(!self.opened.contains(&Side::Originator), "too late");
                let sender = note.sender.map(|note| note.sender);
                return format!("note {}", sender.unwrap_or_default());
            }
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
            RelayCommand::Store => return "store".into(),
            RelayCommand::Kept | RelayCommand::NotKept(_) => panic!("it is not asked"),
            RelayCommand::Restore(content) => return format!("restore {}", content.size),
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

    /// The actions since the last call.
    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.done)
    }

    /// Asserts the actions, in order.
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
        self.answer_with(
            number,
            tag,
            sdp,
            &format!("Contact: <sip:r{number}@phone>\r\n{more}"),
        );
    }

    /// A 2xx with this line instead of its Contact, or before it.
    fn answer_odd(&mut self, number: u32, tag: &str, line: &str) {
        self.answer_with(
            number,
            tag,
            ANSWER,
            &format!("{line}Contact: <sip:r{number}@phone>\r\n"),
        );
    }

    fn answer_with(&mut self, number: u32, tag: &str, sdp: &str, fields: &str) {
        self.callees.entry((number, tag.to_owned())).or_default();
        let name = self.invites[&number].call_id.clone();
        let response = message(format!(
            "SIP/2.0 200 OK\r\nCall-ID: {name}\r\nCSeq: 1 INVITE\r\nFrom: <sip:alice@home>;tag={name}\r\n\
             To: <sip:r{number}@home>;tag={tag}\r\n{fields}Content-Type: application/sdp\r\n\r\n{sdp}"
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
        names().write(DialogName {
            session: self.session.id(),
            side: Side::Originator,
        })
    }

    fn ack(&mut self) {
        self.request(Side::Originator, "ACK", "", "");
    }

    fn bye(&mut self, side: Side) {
        self.request(side, "BYE", "", "");
    }

    /// The end of our last request inside a dialog; a 2xx accepts the requested session timer.
    fn outcome(&mut self, side: Side, method: &str, code: StatusCode) {
        let headers = String::from_utf8(self.last[&side].headers.clone()).unwrap();
        let asked = headers
            .lines()
            .find(|line| line.starts_with("Session-Expires"));
        let agreed = asked.map(|line| format!("{line}\r\n")).unwrap_or_default();
        let lines = if code.is_success() { &agreed } else { "" };
        self.outcome_with(side, method, code.as_u16(), lines);
    }

    /// The same with these header lines.
    fn outcome_with(&mut self, side: Side, method: &str, code: u16, lines: &str) {
        let last = self.last[&side].clone();
        assert_eq!(last.method, method);
        let code = StatusCode::new(code).unwrap();
        let response = message(format!(
            "SIP/2.0 {code} x\r\nCall-ID: {}\r\nCSeq: {} {method}\r\nFrom: {};tag={}\r\nTo: {};tag={}\r\n{lines}\r\n",
            last.call_id, last.cseq, last.from, last.from_tag, last.to, last.to_tag
        ));
        let which = (last.cseq, method);
        self.session
            .handle_outcome(self.now, side, which, code, Some(&response));
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

    fn relay(&mut self, number: u32, delivery: DeliveryState) {
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

    /// All peers fall silent: everything open ends by timeout.
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
        let recipients = self.invites.values().filter(|invite| !invite.to_isf);
        let recipients: BTreeSet<&str> = recipients.map(|invite| &invite.request_uri[..]).collect();
        assert!(self.fates.len() >= recipients.len());
        for fate in self.fates.values() {
            assert_ne!(*fate, Fate::Interworked);
        }
        assert_eq!(self.session.poll_timeout(), None);
    }

    /// Continues until this many legs have answered and the originator has acknowledged.
    fn confirmed(recipients: u32) -> Self {
        Scene::confirmed_with(recipients, &[])
    }

    fn confirmed_with(recipients: u32, parameters: &[(&str, &str)]) -> Self {
        Scene::with(recipients, parameters).confirm(recipients)
    }

    fn confirm(mut self, recipients: u32) -> Self {
        for number in 0..recipients {
            self.ring(number);
            self.answer(number);
        }
        self.ack();
        for number in 0..recipients {
            self.session
                .handle_leg_connected(self.now, LegNumber(number));
        }
        self.session.handle_sender_connected();
        self.take();
        self
    }
}

const ISF: &[(&str, &str)] = &[("isf_uri", "sip:isf@home")];
