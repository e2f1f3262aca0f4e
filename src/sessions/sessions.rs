//! All sessions: which one an event is for, and doing what it wants done.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::entry::{Entry, HeldBack, Invite};
use super::host::{Invited, SessionEvent, SessionHost};
use super::lately_ended::LatelyEnded;
use super::report::{self, Question};
use crate::controlling::large_message_mode::{
    AcceptedInvite, Action, DialogName, InviteRequest, LargeModeSettings, NotStarted, Session,
    SessionId, SessionReply, Side, TransactionKey, requests_for_stray_answer,
};
use crate::controlling::{
    ControllingFunction, Counter, Fate, LogLevel, OutgoingRequest, RETRY_AFTER_S, fill_random,
};
use crate::msrp_control::MsrpEvent as Moved;
use crate::relay::{Relay, RelayEvent, RelayTotals};
use crate::sip::{HeaderBlock, HeaderName, Message, StatusCode};
use crate::sip_ua::cseq;

/// Actions of one session before the next one has its turn.
const ACTIONS_PER_SESSION: usize = 16;
/// Actions before workers and relay are listened to again. An INVITE takes some 40 µs.
const ACTIONS_PER_TURN: usize = 64;
/// Events of the relay before that.
const RELAY_EVENTS_PER_TURN: usize = 256;
/// Between two looks for room.
const ROOM_RETRY: Duration = Duration::from_millis(20);
/// How long an INVITE may wait for room: as long as one that went out may go without response.
const ROOM_WAIT: Duration = Duration::from_secs(5);
/// CANCELs that are remembered for INVITEs that have not come here yet.
const MAX_OVERTAKEN: usize = 1024;
/// How long the relay may take to stop.
const RELAY_STOP: Duration = Duration::from_millis(500);

/// When [`Sessions::work`] is wanted again, if nothing happens before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// At once.
    Now,
    /// At this time.
    At(Instant),
    /// Not by itself.
    Never,
}

/// All large message sessions of the proxy.
///
/// Whoever drives it calls a `handle_*` for each event, then [`work`](Self::work), and waits for the next event, for
/// [`as_fd`](Self::as_fd), or as long as `work` has said.
pub struct Sessions {
    /// In force for the sessions that begin now.
    service: Rc<ControllingFunction>,
    settings: Rc<LargeModeSettings>,
    relay: Relay,
    sessions: HashMap<SessionId, Entry>,
    /// How many each originator has, by the key of its address.
    by_originator: HashMap<u64, usize>,
    /// Originators' INVITEs, for their CANCELs.
    invites: HashMap<TransactionKey, SessionId>,
    /// INVITEs whose CANCEL has overtaken them, the oldest first.
    cancelled: VecDeque<TransactionKey>,
    alarms: BTreeSet<(Instant, SessionId)>,
    /// Sessions with something to do.
    busy: VecDeque<SessionId>,
    /// Sessions that wait for room in the proxy, and until when nobody asks for it.
    crowded: Vec<SessionId>,
    crowded_until: Instant,
    lately_ended: LatelyEnded,
    /// Whose machine is at work: if it panics, this one is lost.
    at_work: Option<SessionId>,
}

impl Sessions {
    /// None yet. `None`: `service` has no large message mode.
    pub fn new(service: &Rc<ControllingFunction>, relay: Relay) -> Option<Self> {
        Some(Sessions {
            settings: Rc::clone(service.large_mode()?),
            service: Rc::clone(service),
            relay,
            sessions: HashMap::new(),
            by_originator: HashMap::new(),
            invites: HashMap::new(),
            cancelled: VecDeque::new(),
            alarms: BTreeSet::new(),
            busy: VecDeque::new(),
            crowded: Vec::new(),
            crowded_until: Instant::now(),
            lately_ended: LatelyEnded::default(),
            at_work: None,
        })
    }

    /// New sessions begin with this service, where it is another one.
    pub fn serve(&mut self, service: &Rc<ControllingFunction>) {
        if !Rc::ptr_eq(&self.service, service)
            && let Some(settings) = service.large_mode()
        {
            self.settings = Rc::clone(settings);
            self.service = Rc::clone(service);
        }
    }

    /// Readable while the relay has something to say.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.relay.as_fd()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// What the relay holds.
    pub fn relay_totals(&self) -> RelayTotals {
        self.relay.totals()
    }

    // What workers have seen.

    /// An INVITE that has passed its checks, as [`AcceptedInvite::write`] wrote it. Its transaction waits for the final
    /// response.
    pub fn handle_invite(
        &mut self,
        now: Instant,
        invite: Bytes,
        transaction: TransactionKey,
        host: &dyn SessionHost,
    ) {
        let Some(invite) = AcceptedInvite::read(invite) else {
            host.log(
                LogLevel::Critical,
                format_args!("an INVITE that a worker has accepted cannot be read"),
            );
            let code = StatusCode::SERVER_INTERNAL_ERROR;
            return self.reply(host, transaction, code, String::new());
        };
        let overtaken = self.cancelled.iter().position(|&key| key == transaction);
        if let Some(place) = overtaken {
            self.cancelled.remove(place);
            let tag = self.originator_tag(invite.session);
            let code = StatusCode::REQUEST_TERMINATED;
            return self.reply(host, transaction, code, tag);
        }
        if let Err((code, cause)) = self.begin(now, &invite, transaction, host) {
            host.count(Counter::Refused, 1);
            host.log(
                LogLevel::Notice,
                format_args!(
                    "refused {} {}: {cause}, session={}",
                    code.as_u16(),
                    code.reason_phrase(),
                    invite.session
                ),
            );
            self.service.give_back(invite.claim);
            let tag = self.originator_tag(invite.session);
            self.reply(host, transaction, code, tag);
        }
    }

    fn name_of(&self, text: &str) -> Option<DialogName> {
        self.service.ids().names().read(text)
    }

    /// Our tag towards the originator of a session.
    fn originator_tag(&self, session: SessionId) -> String {
        let side = Side::Originator;
        self.service
            .ids()
            .names()
            .write(DialogName { session, side })
    }

    fn begin(
        &mut self,
        now: Instant,
        invite: &AcceptedInvite,
        transaction: TransactionKey,
        host: &dyn SessionHost,
    ) -> Result<(), (StatusCode, &'static str)> {
        let policy = &self.service.settings().large_mode;
        if self.sessions.len() >= policy.max_sessions {
            return Err((
                StatusCode::SERVICE_UNAVAILABLE,
                "there are max_sessions already",
            ));
        }
        // One that has gone on for longer than its INVITE is remembered.
        if self.sessions.contains_key(&invite.session) {
            return Err((StatusCode::LOOP_DETECTED, "its session is there already"));
        }
        let originator = self.service.key_of(&invite.originator);
        let own = self.by_originator.get(&originator).copied().unwrap_or(0);
        if policy.max_sessions_per_sender > 0 && own >= policy.max_sessions_per_sender {
            host.count(Counter::Shares, 1);
            return Err((
                StatusCode::SERVICE_UNAVAILABLE,
                "the originator has max_sessions_per_sender already",
            ));
        }
        let machine = Session::new(
            now,
            &self.service,
            &self.settings,
            invite,
            transaction,
            fill_random,
        )
        .map_err(|not_started| match not_started {
            NotStarted::Malformed => (StatusCode::BAD_REQUEST, "it cannot make a dialog"),
            NotStarted::NoMedia => (
                StatusCode::NOT_ACCEPTABLE_HERE,
                "its offer cannot be answered",
            ),
            NotStarted::NoRecipients => (StatusCode::FORBIDDEN, "it has no recipients"),
        })?;
        let entry = Entry::new(now, machine, transaction, invite, originator);
        host.log(
            LogLevel::Debug,
            format_args!(
                "session={} of {} recipients, callid={}",
                invite.session, entry.about.recipients, entry.call_id
            ),
        );
        self.invites.insert(transaction, invite.session);
        *self.by_originator.entry(originator).or_default() += 1;
        self.sessions.insert(invite.session, entry);
        self.touched(invite.session, host);
        Ok(())
    }

    /// A request inside one of our dialogs, as received. `transaction`: where a reply is due; an ACK has none.
    pub fn handle_request(
        &mut self,
        now: Instant,
        request: Bytes,
        transaction: Option<TransactionKey>,
        host: &dyn SessionHost,
    ) {
        let Ok(message) = Message::parse(request) else {
            if let Some(transaction) = transaction {
                self.reply(host, transaction, StatusCode::BAD_REQUEST, String::new());
            }
            return;
        };
        let Some(name) = message
            .tag_in(HeaderName::To)
            .as_deref()
            .and_then(|tag| self.name_of(tag))
        else {
            return;
        };
        let known = self.with(name.session, host, |machine| {
            machine.handle_request(now, name.side, &message, transaction);
        });
        if let (false, Some(transaction)) = (known, transaction) {
            let code = match message.method() {
                // It has crossed ours.
                Some("BYE") if self.lately_ended.contains(now, name.session) => StatusCode::OK,
                _ => StatusCode::CALL_TRANSACTION_DOES_NOT_EXIST,
            };
            let tag = self.service.ids().names().write(name);
            self.reply(host, transaction, code, tag);
        }
    }

    /// The originator has cancelled the INVITE of this transaction; the CANCEL has its 200.
    pub fn handle_cancel(&mut self, now: Instant, invite: TransactionKey, host: &dyn SessionHost) {
        if let Some(&session) = self.invites.get(&invite) {
            self.with(session, host, |machine| machine.handle_cancel(now));
            return;
        }
        // Its INVITE is still on its way here through another process, or has its final response.
        if self.cancelled.len() == MAX_OVERTAKEN {
            self.cancelled.pop_front();
        }
        self.cancelled.push_back(invite);
    }

    /// A response to a request of ours, as received.
    pub fn handle_response(&mut self, now: Instant, response: Bytes, host: &dyn SessionHost) {
        let Ok(message) = Message::parse(response) else {
            return;
        };
        let Some(code) = message.status() else { return };
        self.handle_end(now, code, &message, Some(&message), host);
    }

    /// A request of ours, as sent, has ended with this code and without response: 408, mostly.
    pub fn handle_no_response(
        &mut self,
        now: Instant,
        code: u16,
        request: Bytes,
        host: &dyn SessionHost,
    ) {
        let code = StatusCode::new(code).unwrap_or(StatusCode::REQUEST_TIMEOUT);
        if let Ok(request) = Message::parse(request) {
            self.handle_end(now, code, &request, None, host);
        }
    }

    /// `message` is the request or response that names the dialog: our tag is that of From in both.
    fn handle_end(
        &mut self,
        now: Instant,
        code: StatusCode,
        message: &Message,
        response: Option<&Message>,
        host: &dyn SessionHost,
    ) {
        let Some(name) = message
            .tag_in(HeaderName::From)
            .as_deref()
            .and_then(|tag| self.name_of(tag))
        else {
            return;
        };
        let Some((cseq, method)) = cseq(message) else {
            return;
        };
        let is_call = |machine: &Session, leg| method == "INVITE" && machine.is_call(leg, cseq);
        let known = self.with(name.session, host, |machine| match (name.side, response) {
            (Side::Leg(leg), Some(response)) if is_call(machine, leg) => {
                if code.is_provisional() {
                    machine.handle_leg_provisional(now, leg);
                } else if code.is_success() {
                    machine.handle_leg_success(now, leg, response);
                } else {
                    machine.handle_leg_failure(now, leg, code, Some(response));
                }
            }
            (Side::Leg(leg), None) if is_call(machine, leg) => {
                machine.handle_leg_failure(now, leg, code, None);
            }
            (side, _) => machine.handle_outcome(now, side, (cseq, method), code, response),
        });
        let names = self.service.ids().names();
        let stray = |response| requests_for_stray_answer(names, response);
        if !known && let Some(requests) = response.and_then(stray) {
            for request in &requests {
                host.request(request);
            }
        }
    }

    /// Another process has sent an INVITE with this Call-ID in this transaction, or could not send it.
    pub fn handle_invited(
        &mut self,
        now: Instant,
        call_id: &[u8],
        transaction: Option<TransactionKey>,
        host: &dyn SessionHost,
    ) {
        let name = std::str::from_utf8(call_id)
            .ok()
            .and_then(|name| self.name_of(name));
        let Some(DialogName {
            session,
            side: Side::Leg(leg),
        }) = name
        else {
            return;
        };
        let Some(transaction) = transaction else {
            self.with(session, host, |machine| machine.handle_leg_unsent(now, leg));
            return;
        };
        if let Some(entry) = self.sessions.get_mut(&session) {
            let invite = entry.invite(leg);
            match invite {
                Invite::CancelDue => host.cancel(transaction),
                invite => *invite = Invite::Sent(transaction),
            }
        }
    }

    // The operator.

    /// Answers an operator, in lines of fields. `None`: there is no such session.
    pub fn answer(
        &mut self,
        now: Instant,
        question: Question,
        host: &dyn SessionHost,
    ) -> Option<String> {
        let mut out = String::new();
        match question {
            Question::Sessions => {
                for entry in self.sessions.values() {
                    report::session_line(&mut out, now, entry, &self.relay);
                }
            }
            Question::Session(id) => {
                let entry = self.sessions.get(&id)?;
                report::session_line(&mut out, now, entry, &self.relay);
                report::leg_lines(&mut out, entry, &self.relay);
            }
            Question::End(id) => {
                let known = self.with(id, host, |machine| machine.handle_end(now));
                return known.then_some(out);
            }
            Question::Relay => report::relay_line(&mut out, &self.relay),
        }
        Some(out)
    }

    /// The proxy stops: everybody is told what can be told at once.
    pub fn shut_down(mut self, host: &dyn SessionHost) {
        let now = Instant::now();
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            self.with(id, host, |machine| machine.handle_shutdown(now));
            // Nothing is held back any more: there will be no other time.
            while let Some(entry) = self.sessions.get_mut(&id) {
                entry.held_back = None;
                match entry.next_action() {
                    Some((action, _)) => self.act(now, id, action, None, host),
                    None => break,
                }
            }
        }
        self.relay.stop(RELAY_STOP);
    }

    // Doing what they want.

    /// Takes what the relay says, looks at the clock, and does a portion of what there is to do.
    pub fn work(&mut self, host: &dyn SessionHost) -> Wake {
        let now = Instant::now();
        let relay_has_more = self.take_relay_events(now, host);
        self.ring_alarms(now, host);
        if now >= self.crowded_until {
            for id in std::mem::take(&mut self.crowded) {
                self.make_busy(id);
            }
        }
        let mut left = ACTIONS_PER_TURN;
        while left > 0
            && let Some(id) = self.busy.pop_front()
        {
            left -= self.do_some(now, id, left.min(ACTIONS_PER_SESSION), host);
        }
        if relay_has_more || !self.busy.is_empty() {
            return Wake::Now;
        }
        let alarm = self.alarms.first().map(|&(at, _)| at);
        let room = (!self.crowded.is_empty()).then_some(self.crowded_until);
        alarm
            .into_iter()
            .chain(room)
            .min()
            .map_or(Wake::Never, Wake::At)
    }

    /// A call has panicked: the session that was at work is lost, the others go on.
    pub fn handle_panic(&mut self, host: &dyn SessionHost) {
        let Some(id) = self.at_work.take() else {
            return;
        };
        self.relay.forget(id);
        let Some(entry) = self.take(id) else {
            return;
        };
        self.alarms.retain(|&(_, of)| of != id);
        self.busy.retain(|&of| of != id);
        self.crowded.retain(|&of| of != id);
        self.invites.remove(&entry.transaction);
        if !entry.answered {
            let code = StatusCode::SERVER_INTERNAL_ERROR;
            let tag = self.originator_tag(id);
            self.reply(host, entry.transaction, code, tag);
        }
        if entry.kept {
            host.release(entry.transaction);
        }
    }

    /// True: there may be more.
    fn take_relay_events(&mut self, now: Instant, host: &dyn SessionHost) -> bool {
        for _ in 0..RELAY_EVENTS_PER_TURN {
            let (session, moved) = match self.relay.poll_event() {
                None => return false,
                Some(RelayEvent::Log(level, line)) => {
                    host.log(level, format_args!("{line}"));
                    continue;
                }
                Some(RelayEvent::Session(session, moved)) => (session, moved),
            };
            self.with(session, host, |machine| match moved {
                Moved::SenderConnected => machine.handle_sender_connected(),
                Moved::MessageStarted { size } => machine.handle_message_started(size),
                Moved::MessageComplete => machine.handle_message_complete(now),
                Moved::MessageFailed => machine.handle_message_failed(now),
                Moved::LegConnected(leg) => machine.handle_leg_connected(now, leg),
                Moved::NoMoreLegs => machine.handle_no_more_legs(now),
                Moved::LegEnded(leg, state) => machine.handle_leg_ended(now, leg, state),
            });
        }
        true
    }

    fn ring_alarms(&mut self, now: Instant, host: &dyn SessionHost) {
        while let Some(&(at, id)) = self.alarms.first() {
            if at > now {
                break;
            }
            self.alarms.pop_first();
            if let Some(entry) = self.sessions.get_mut(&id) {
                entry.alarm = None;
            }
            self.with(id, host, |machine| machine.handle_timeout(now));
        }
    }

    /// Hands an event to a machine. False: there is no such session.
    fn with(
        &mut self,
        id: SessionId,
        host: &dyn SessionHost,
        event: impl FnOnce(&mut Session),
    ) -> bool {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return false;
        };
        self.at_work = Some(id);
        event(&mut entry.machine);
        self.at_work = None;
        self.touched(id, host);
        true
    }

    /// After each event: it may have something to do, another alarm, or no need of its transaction any more.
    fn touched(&mut self, id: SessionId, host: &dyn SessionHost) {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return;
        };
        if entry.kept && !entry.awaits_ack() {
            entry.kept = false;
            host.release(entry.transaction);
        }
        let alarm = entry.machine.poll_timeout();
        if alarm != entry.alarm {
            if let Some(old) = entry.alarm {
                self.alarms.remove(&(old, id));
            }
            if let Some(new) = alarm {
                self.alarms.insert((new, id));
            }
            entry.alarm = alarm;
        }
        self.make_busy(id);
    }

    fn make_busy(&mut self, id: SessionId) {
        if let Some(entry) = self.sessions.get_mut(&id)
            && !entry.is_busy
            && !self.crowded.contains(&id)
        {
            entry.is_busy = true;
            self.busy.push_back(id);
        }
    }

    /// Does so many actions of a session at most, and says how many.
    fn do_some(
        &mut self,
        now: Instant,
        id: SessionId,
        most: usize,
        host: &dyn SessionHost,
    ) -> usize {
        let mut done = 0;
        while let Some(entry) = self.sessions.get_mut(&id) {
            entry.is_busy = false;
            if done == most {
                self.make_busy(id);
                break;
            }
            self.at_work = Some(id);
            let next = entry.next_action();
            self.at_work = None;
            let Some((action, since)) = next else { break };
            self.act(now, id, action, since, host);
            done += 1;
            if self.crowded.contains(&id) {
                break;
            }
        }
        done
    }

    /// `since`: the proxy had no room for it then.
    fn act(
        &mut self,
        now: Instant,
        id: SessionId,
        action: Action,
        since: Option<Instant>,
        host: &dyn SessionHost,
    ) {
        match action {
            Action::Invite(invite) => self.invite(now, id, invite, since, host),
            Action::Cancel(leg) => {
                let invite = self.sessions.get_mut(&id).map(|entry| entry.invite(leg));
                // Where it is on its way to another address at this moment, that one is cancelled too.
                if let Some(invite) = invite
                    && let Invite::Sent(transaction) = std::mem::replace(invite, Invite::CancelDue)
                {
                    host.cancel(transaction);
                }
            }
            Action::Send(_, request) => {
                host.request(&request);
            }
            Action::Request(side, request) => {
                if !host.request(&request) {
                    let code = StatusCode::SERVICE_UNAVAILABLE;
                    self.with(id, host, |machine| {
                        let which = (request.cseq, request.method);
                        machine.handle_outcome(now, side, which, code, None);
                    });
                }
            }
            Action::Reply(reply) => self.answer_peer(now, id, &reply, host),
            Action::Relay(command) => self.relay.command(id, command),
            Action::Count(counter, n) => host.count(counter, n),
            Action::Recipient {
                leg,
                uri,
                fate,
                code,
            } => self.tell_of_recipient(
                id,
                DialogName {
                    session: id,
                    side: Side::Leg(leg),
                },
                &uri,
                fate,
                code,
                host,
            ),
            Action::Ended => self.ended(now, id, host),
        }
    }

    fn invite(
        &mut self,
        now: Instant,
        id: SessionId,
        invite: Box<InviteRequest>,
        since: Option<Instant>,
        host: &dyn SessionHost,
    ) {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return;
        };
        let leg = invite.leg;
        match host.invite(&outgoing(&invite, entry)) {
            Invited::Sent(transaction) => *entry.invite(leg) = Invite::Sent(transaction),
            Invited::Elsewhere => *entry.invite(leg) = Invite::Unsent,
            Invited::NotNow if since.is_none_or(|since| now < since + ROOM_WAIT) => {
                entry.held_back = Some(HeldBack {
                    action: Action::Invite(invite),
                    since: since.unwrap_or(now),
                });
                self.crowded.push(id);
                self.crowded_until = now + ROOM_RETRY;
            }
            Invited::NotNow | Invited::Unsent => {
                self.with(id, host, |machine| machine.handle_leg_unsent(now, leg));
            }
        }
    }

    fn answer_peer(
        &mut self,
        now: Instant,
        id: SessionId,
        reply: &SessionReply,
        host: &dyn SessionHost,
    ) {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return;
        };
        let to_invite = reply.transaction == entry.transaction;
        let keep = to_invite && reply.code.is_success();
        let sent = host.reply(reply, keep);
        if !to_invite || reply.code.is_provisional() {
            return;
        }
        entry.answered = true;
        entry.kept = keep && sent;
        self.invites.remove(&reply.transaction);
        if !sent {
            self.with(id, host, |machine| machine.handle_reply_failed(now));
        }
    }

    fn tell_of_recipient(
        &mut self,
        id: SessionId,
        dialog: DialogName,
        uri: &str,
        fate: Fate,
        code: u16,
        host: &dyn SessionHost,
    ) {
        let event = match fate {
            Fate::Delivered => SessionEvent::RecipientDelivered,
            Fate::Failed => SessionEvent::RecipientFailed,
            Fate::Interworked => return,
        };
        let name = self.service.ids().names().write(dialog);
        if fate == Fate::Failed {
            host.log(
                LogLevel::Notice,
                format_args!("a recipient failed with {code}, leg={name}"),
            );
        }
        if let Some(entry) = self.sessions.get(&id) {
            host.event(
                event,
                code,
                &stand_in(entry, uri, &format!("<{uri}>"), &name),
            );
        }
    }

    /// Takes a session out.
    fn take(&mut self, id: SessionId) -> Option<Entry> {
        let entry = self.sessions.remove(&id)?;
        if let Some(own) = self.by_originator.get_mut(&entry.originator) {
            *own -= 1;
            if *own == 0 {
                self.by_originator.remove(&entry.originator);
            }
        }
        Some(entry)
    }

    fn ended(&mut self, now: Instant, id: SessionId, host: &dyn SessionHost) {
        self.relay.forget(id);
        let Some(entry) = self.take(id) else {
            return;
        };
        self.lately_ended.insert(now, id);
        if let Some(alarm) = entry.alarm {
            self.alarms.remove(&(alarm, id));
        }
        self.invites.remove(&entry.transaction);
        if entry.kept {
            host.release(entry.transaction);
        }
        let (delivered, failed) = entry.outcomes();
        host.log(
            LogLevel::Debug,
            format_args!("session={id} is over: {delivered} delivered, {failed} failed"),
        );
        let to = format!("<{}>", entry.request_uri);
        let about = stand_in(&entry, &entry.request_uri, &to, &entry.call_id);
        let code = match delivered {
            0 => StatusCode::TEMPORARILY_UNAVAILABLE,
            _ => StatusCode::OK,
        };
        host.event(SessionEvent::SessionEnd, code.as_u16(), &about);
    }

    /// Replies where no machine is there to do so.
    fn reply(
        &self,
        host: &dyn SessionHost,
        transaction: TransactionKey,
        code: StatusCode,
        to_tag: String,
    ) {
        let mut headers = HeaderBlock::new();
        // Values of ours have no line end.
        let _ = headers.push("Server", self.service.product());
        if code == StatusCode::SERVICE_UNAVAILABLE {
            let _ = headers.push("Retry-After", RETRY_AFTER_S.to_string());
        }
        let reply = SessionReply {
            transaction,
            code,
            to_tag,
            headers: headers.into_bytes(),
            body: Bytes::new(),
        };
        host.reply(&reply, false);
    }
}

/// The INVITE as the host sends it.
fn outgoing<'a>(invite: &'a InviteRequest, entry: &'a Entry) -> OutgoingRequest<'a> {
    OutgoingRequest {
        method: "INVITE",
        request_uri: &invite.request_uri,
        next_hop: invite.next_hop.as_deref(),
        from: &invite.from,
        from_tag: &invite.call_id,
        to: &invite.to,
        call_id: &invite.call_id,
        cseq: invite.cseq,
        headers: &invite.headers,
        body: &invite.body,
        attempt: u64::from(invite.to_isf),
        about: Some(&entry.about),
    }
}

/// A request that stands for a recipient or a session when a script is told of it.
fn stand_in<'a>(
    entry: &'a Entry,
    uri: &'a str,
    to: &'a str,
    call_id: &'a str,
) -> OutgoingRequest<'a> {
    OutgoingRequest {
        method: "INVITE",
        request_uri: uri,
        next_hop: None,
        from: &entry.from,
        from_tag: call_id,
        to,
        call_id,
        cseq: 1,
        headers: &entry.id_headers,
        body: b"",
        attempt: 0,
        about: Some(&entry.about),
    }
}
