//! Finds the session that an event is for.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;

use super::entry::{Entry, Invite};
use super::host::SessionHost;
use super::lately_ended::LatelyEnded;
use super::report::{self, Question, RelayView};
use super::schedule::Schedule;
use super::stored::Stored;
use crate::controlling::large_message_mode::{
    AcceptedInvite, DialogName, LargeModeSettings, NotStarted, Session, SessionId, Side,
    TransactionKey, requests_for_stray_answer,
};
use crate::controlling::{ControllingFunction, Counter, Mode, fill_random};
use crate::log::at;
use crate::msrp_control::{MsrpEvent, RelayOrder};
use crate::shared::NoSpace;
use crate::sip::{HeaderName, Message, StatusCode};
use crate::sip_ua::cseq;

/// Maximum number of CANCELs remembered for INVITEs that have not arrived here yet.
const MAX_OVERTAKEN: usize = 1024;

/// All large message sessions of the proxy. Without IO and clock.
///
/// The caller calls a `handle_*` for each event, then [`work`](Self::work), each time passes the
/// commands of [`poll_command`](Self::poll_command) to the relay, and waits for the next event or
/// the time that `work` returned.
pub struct Sessions {
    /// In force for new sessions.
    pub(super) service: Rc<ControllingFunction>,
    settings: Rc<LargeModeSettings>,
    pub(super) sessions: HashMap<SessionId, Entry>,
    /// Number of sessions of each originator, by the key of its address.
    pub(super) by_originator: HashMap<u64, usize>,
    /// Originators' INVITEs, for their CANCELs.
    pub(super) invites: HashMap<TransactionKey, SessionId>,
    /// INVITEs that were overtaken by their CANCEL, oldest first.
    cancelled: VecDeque<TransactionKey>,
    pub(super) schedule: Schedule,
    /// Commands for the relay.
    pub(super) commands: VecDeque<RelayOrder>,
    pub(super) lately_ended: LatelyEnded,
    /// The session whose state machine is running: a panic tears down only this one.
    pub(super) at_work: Option<SessionId>,
    /// The proxy is about to end: what the store has stays there.
    pub(super) is_ending: bool,
}

impl Sessions {
    /// No sessions yet. `None`: `service` has no large message mode.
    pub fn new(now: Instant, service: &Rc<ControllingFunction>) -> Option<Self> {
        Some(Sessions {
            settings: Rc::clone(service.large_mode()?),
            service: Rc::clone(service),
            sessions: HashMap::new(),
            by_originator: HashMap::new(),
            invites: HashMap::new(),
            cancelled: VecDeque::new(),
            schedule: Schedule::new(now),
            commands: VecDeque::new(),
            lately_ended: LatelyEnded::default(),
            at_work: None,
            is_ending: false,
        })
    }

    /// New sessions use this service from now on.
    pub fn serve(&mut self, service: &Rc<ControllingFunction>) {
        if !Rc::ptr_eq(&self.service, service)
            && let Some(settings) = service.large_mode()
        {
            self.settings = Rc::clone(settings);
            self.service = Rc::clone(service);
        }
    }

    /// Of large message mode, for new sessions.
    pub(super) fn large_mode(&self) -> &Rc<LargeModeSettings> {
        &self.settings
    }

    /// The number of sessions.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are no sessions.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// The next task for the relay. The relay must have it before any later request or reply is
    /// sent: after that a peer may connect.
    pub fn poll_command(&mut self) -> Option<RelayOrder> {
        self.commands.pop_front()
    }

    /// An INVITE that has passed its checks, as written by [`AcceptedInvite::write`]. Its
    /// transaction waits for the final response.
    pub fn handle_invite(
        &mut self,
        now: Instant,
        invite: Bytes,
        transaction: TransactionKey,
        host: &dyn SessionHost,
    ) {
        let Some(invite) = AcceptedInvite::read(invite) else {
            host.log(
                at!(Critical),
                format_args!("an INVITE accepted by a worker cannot be read"),
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
            self.service.handle_refused(Mode::Large, code.as_u16());
            host.log(
                at!(Notice),
                format_args!(
                    "refused {} {}: {cause}, session={}",
                    code.as_u16(),
                    code.reason_phrase(),
                    invite.session
                ),
            );
            self.service.give_back(invite.claim);
            self.service.forget_message(invite.record);
            let tag = self.originator_tag(invite.session);
            self.reply(host, transaction, code, tag);
        }
    }

    fn name_of(&self, text: &str) -> Option<DialogName> {
        self.service.ids().names().read(text)
    }

    /// Our tag towards the originator of a session.
    pub(super) fn originator_tag(&self, session: SessionId) -> String {
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
            return Err((StatusCode::SERVICE_UNAVAILABLE, "max_sessions is reached"));
        }
        // A session that has lasted longer than its INVITE is remembered.
        if self.sessions.contains_key(&invite.session) {
            return Err((StatusCode::LOOP_DETECTED, "its session already exists"));
        }
        let originator = self.service.key_of(&invite.originator);
        let own = self.by_originator.get(&originator).copied().unwrap_or(0);
        if policy.max_sessions_per_sender > 0 && own >= policy.max_sessions_per_sender {
            host.count(Counter::Shares, 1);
            return Err((
                StatusCode::SERVICE_UNAVAILABLE,
                "the originator has reached max_sessions_per_sender",
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
            NotStarted::Malformed => (StatusCode::BAD_REQUEST, "it cannot create a dialog"),
            NotStarted::NoMedia => (
                StatusCode::NOT_ACCEPTABLE_HERE,
                "its offer cannot be answered",
            ),
            NotStarted::NoRecipients => (StatusCode::FORBIDDEN, "it has no recipients"),
        })?;
        if let Some(space) = self.service.content_space()
            && let Err(why) = space.has_room(machine.size().unwrap_or(0))
        {
            host.count(Counter::StoreRefused, 1);
            let why = match why {
                NoSpace::Full => "the store is full (store_max_size)",
                NoSpace::Down => "the store cannot be used",
            };
            return Err((StatusCode::SERVICE_UNAVAILABLE, why));
        }
        let mut entry = Entry::new(now, machine, transaction, invite, Some(originator));
        if self.service.content_space().is_some() {
            entry.stored = Stored::Arriving(Box::new(invite.clone()), Vec::new());
        }
        host.log(
            at!(Debug),
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

    /// A request inside one of our dialogs, as received. `transaction`: for the reply; an ACK has
    /// none.
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
                // It crossed our BYE.
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
        // Its INVITE is still on its way here from another process, or already has its final
        // response.
        if self.cancelled.len() == MAX_OVERTAKEN {
            self.cancelled.pop_front();
        }
        self.cancelled.push_back(invite);
    }

    /// A response to one of our requests, as received.
    pub fn handle_response(&mut self, now: Instant, response: Bytes, host: &dyn SessionHost) {
        let Ok(message) = Message::parse(response) else {
            return;
        };
        let Some(code) = message.status() else { return };
        self.handle_end(now, code, &message, Some(&message), host);
    }

    /// One of our requests, as sent, has ended with this code and without a response; usually 408.
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

    /// `message` is the request or response that identifies the dialog: our tag is that of From in
    /// both.
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

    /// Another process has sent an INVITE with this Call-ID in this transaction, or failed to send
    /// it.
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

    /// Answers an operator's question, in lines of fields. `None`: there is no such session.
    pub fn answer(
        &mut self,
        now: Instant,
        question: Question,
        relay: &dyn RelayView,
        host: &dyn SessionHost,
    ) -> Option<String> {
        let mut out = String::new();
        match question {
            Question::Sessions => {
                for entry in self.sessions.values() {
                    report::session_line(&mut out, now, entry, relay);
                }
            }
            Question::Session(id) => {
                let entry = self.sessions.get(&id)?;
                report::session_line(&mut out, now, entry, relay);
                report::leg_lines(&mut out, entry, relay);
            }
            Question::End(id) => {
                let known = self.with(id, host, |machine| machine.handle_end(now));
                return known.then_some(out);
            }
            Question::Relay => report::relay_line(&mut out, relay),
        }
        Some(out)
    }

    /// An MSRP event of a session.
    pub fn handle_relay_event(
        &mut self,
        now: Instant,
        session: SessionId,
        event: MsrpEvent,
        host: &dyn SessionHost,
    ) {
        if let MsrpEvent::ContentStored(content) = event {
            return self.content_stored(session, *content, host);
        }
        self.with(session, host, |machine| match event {
            MsrpEvent::SenderConnected => machine.handle_sender_connected(),
            MsrpEvent::MessageStarted { size } => machine.handle_message_started(size),
            MsrpEvent::MessageComplete => machine.handle_message_complete(now),
            MsrpEvent::MessageFailed => machine.handle_message_failed(now),
            MsrpEvent::LegConnected(leg) => machine.handle_leg_connected(now, leg),
            MsrpEvent::NoMoreLegs => machine.handle_no_more_legs(now),
            MsrpEvent::LegEnded(leg, state) => machine.handle_leg_ended(now, leg, state),
            MsrpEvent::ContentStored(_) => {}
        });
    }

    /// Passes an event to a state machine. False: there is no such session.
    pub(super) fn with(
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

    /// After each event: the session may have actions, another alarm, or no more need of its
    /// transaction.
    pub(super) fn touched(&mut self, id: SessionId, host: &dyn SessionHost) {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return;
        };
        if entry.kept && !entry.awaits_ack() {
            entry.kept = false;
            host.release(entry.transaction);
        }
        self.schedule.set_alarm(entry);
        self.schedule.make_busy(entry);
    }
}
