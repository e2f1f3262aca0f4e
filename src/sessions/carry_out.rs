//! Carries out the actions of the sessions.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::dispatch::Sessions;
use super::entry::{Entry, HeldBack, Invite};
use super::host::{Invited, SessionHost};
use super::schedule::Wake;
use crate::controlling::large_message_mode::{
    Action, DialogName, InviteRequest, LegNumber, SessionId, SessionReply, Side, TransactionKey,
};
use crate::controlling::{
    AboutRequest, Fate, LegCorrelation, Mode, OutgoingRequest, RETRY_AFTER_S,
};
use crate::log::at;
use crate::msrp_control::RelayOrder;
use crate::operator::Event;
use crate::shared::{MessageText, RecipientState};
use crate::sip::{HeaderBlock, StatusCode};

/// Maximum number of actions of one session before the next one has its turn.
const ACTIONS_PER_SESSION: usize = 16;
/// Maximum number of actions before events of workers and relay are handled again. An INVITE takes
/// some 40 µs.
const ACTIONS_PER_TURN: usize = 64;
/// How long an INVITE may wait for memory or its connection: as long as a sent one may go without
/// response.
const ROOM_WAIT: Duration = Duration::from_secs(5);

impl Sessions {
    /// Fires due alarms, and does the next portion of work.
    pub fn work(&mut self, now: Instant, host: &dyn SessionHost) -> Wake {
        while let Some(id) = self.schedule.next_alarm(now) {
            if let Some(entry) = self.sessions.get_mut(&id) {
                entry.alarm = None;
            }
            self.with(id, host, |machine| machine.handle_timeout(now));
        }
        for id in self.schedule.take_crowded(now) {
            if let Some(entry) = self.sessions.get_mut(&id) {
                self.schedule.make_busy(entry);
            }
        }
        let mut left = ACTIONS_PER_TURN;
        while left > 0
            && let Some(id) = self.schedule.next_busy()
        {
            match self.do_some(now, id, left.min(ACTIONS_PER_SESSION), host) {
                Some(done) => left -= done,
                // The relay comes first.
                None => return Wake::Now,
            }
        }
        self.schedule.wake()
    }

    /// The proxy stops: peers are told everything that can be sent at once.
    pub fn shut_down(&mut self, now: Instant, host: &dyn SessionHost) {
        self.is_ending = true;
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            self.with(id, host, |machine| machine.handle_shutdown(now));
            // An INVITE that the proxy refused for lack of memory is not retried: there is no
            // later.
            while let Some(entry) = self.sessions.get_mut(&id) {
                match entry.next_action() {
                    Some((Action::Invite(_), Some(_))) => {}
                    Some((action, _)) => self.act(now, id, action, None, host),
                    None => break,
                }
            }
        }
    }

    /// A call has panicked: the session that was running is lost, the others continue.
    pub fn handle_panic(&mut self, host: &dyn SessionHost) {
        let Some(id) = self.at_work.take() else {
            return;
        };
        self.commands.push_back(RelayOrder::Forget(id));
        let Some(entry) = self.take(id) else {
            return;
        };
        self.schedule.forget(id);
        self.invites.remove(&entry.transaction);
        self.leave_to_store(&entry, host);
        if !entry.answered {
            let code = StatusCode::SERVER_INTERNAL_ERROR;
            let tag = self.originator_tag(id);
            self.reply(host, entry.transaction, code, tag);
        }
        if entry.kept {
            host.release(entry.transaction);
        }
    }

    /// Carries out at most this many actions of a session, and returns how many. `None`: commands
    /// must reach the relay before the next action, after which a peer may connect.
    fn do_some(
        &mut self,
        now: Instant,
        id: SessionId,
        most: usize,
        host: &dyn SessionHost,
    ) -> Option<usize> {
        let mut done = 0;
        while let Some(entry) = self.sessions.get_mut(&id) {
            entry.is_busy = false;
            if done == most {
                self.schedule.make_busy(entry);
                break;
            }
            self.at_work = Some(id);
            let next = entry.next_action();
            self.at_work = None;
            let Some((action, since)) = next else { break };
            let is_to_peer = matches!(
                action,
                Action::Reply(_) | Action::Send(..) | Action::Request(..) | Action::Invite(_)
            );
            if is_to_peer && !self.commands.is_empty() {
                entry.held_back = Some(HeldBack { action, since });
                self.schedule.make_busy(entry);
                return None;
            }
            self.act(now, id, action, since, host);
            done += 1;
            if self.schedule.is_crowded(id) {
                break;
            }
        }
        Some(done)
    }

    /// `since`: when the proxy first refused it for lack of memory.
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
                // If it is just being sent to another address, that transaction is cancelled too.
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
            Action::Relay(command) => self.commands.push_back(RelayOrder::Command(id, command)),
            Action::Count(counter, n) => host.count(counter, n),
            Action::Recipient {
                leg,
                recipient,
                uri,
                fate,
                code,
            } => self.tell_of_recipient((id, leg), (recipient, &uri), fate, code, host),
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
        let recipient = entry.machine.legs().nth(leg.0 as usize);
        if let (Some(messages), Some(recipient)) = (self.service.messages(), recipient) {
            // Later legs to the same recipient go on in the same record.
            if recipient.recipient == leg.0 {
                messages.set_recipient(entry.record, entry.place(leg.0), recipient.uri);
            }
        }
        match host.invite(&outgoing(&invite, entry)) {
            Invited::Sent(transaction) => *entry.invite(leg) = Invite::Sent(transaction),
            Invited::Elsewhere => *entry.invite(leg) = Invite::Unsent,
            Invited::NotNow if since.is_none_or(|since| now < since + ROOM_WAIT) => {
                entry.held_back = Some(HeldBack {
                    action: Action::Invite(invite),
                    since: Some(since.unwrap_or(now)),
                });
                self.schedule.wait_for_room(id, now);
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
        let code = reply.code.as_u16();
        if reply.code.is_success() {
            self.service.handle_accepted(&entry.about, code);
        } else {
            self.service.handle_refused(Mode::Large, code);
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
        (id, leg): (SessionId, LegNumber),
        (recipient, uri): (u32, &str),
        fate: Fate,
        code: u16,
        host: &dyn SessionHost,
    ) {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return;
        };
        if self.is_ending && entry.stored.is_kept() {
            // It is not over: the next process goes on.
            return;
        }
        entry.stored.note((leg, uri), fate, code, host);
        let entry = &self.sessions[&id];
        let recipient = entry.place(recipient);
        let name = self.leg_name(id, leg);
        let about = self.about(entry);
        let (event, state) = match fate {
            Fate::Delivered => (Some(Event::RecipientDelivered), RecipientState::Delivered),
            Fate::Failed => (Some(Event::RecipientFailed), RecipientState::Failed),
            Fate::Interworked => (None, RecipientState::Interworked),
            Fate::Deferred => (
                // Until it is kept, nothing waits: a push would wake up a phone for nothing.
                entry.stored.is_kept().then_some(Event::RecipientDeferred),
                RecipientState::Waiting,
            ),
        };
        if let Some(messages) = self.service.messages() {
            messages.set(entry.record.recipient(recipient), state, code);
        }
        if fate == Fate::Failed {
            let leg = LegCorrelation {
                leg: Some(recipient),
                call_id: &name,
                about: Some(&about),
                contribution_id: None,
            };
            let line = format_args!("a recipient failed with {code}, {leg}");
            host.log(at!(Notice), line);
        }
        if let Some(event) = event {
            let to = format!("<{uri}>");
            host.event(event, code, &stand_in(entry, &about, uri, &to, &name));
        }
    }

    /// The store has the message: it waits for a recipient that was away before that.
    pub(super) fn tell_of_waiting(
        &self,
        id: SessionId,
        leg: LegNumber,
        uri: &str,
        code: u16,
        host: &dyn SessionHost,
    ) {
        let Some(entry) = self.sessions.get(&id) else {
            return;
        };
        let (name, about) = (self.leg_name(id, leg), self.about(entry));
        let to = format!("<{uri}>");
        let request = stand_in(entry, &about, uri, &to, &name);
        host.event(Event::RecipientDeferred, code, &request);
    }

    /// The Call-ID of a leg.
    fn leg_name(&self, session: SessionId, leg: LegNumber) -> String {
        let side = Side::Leg(leg);
        self.service
            .ids()
            .names()
            .write(DialogName { session, side })
    }

    /// The data of a session's message, as far as they are known by now.
    fn about(&self, entry: &Entry) -> AboutRequest {
        let mut about = entry.about.clone();
        about.bytes = entry.machine.size().unwrap_or(0);
        if let Some(messages) = self.service.messages() {
            messages.set_bytes(entry.record, about.bytes);
            if let Some(id) = messages.message_id(entry.record) {
                about = about.with(MessageText::MessageId, Some(id));
            }
        }
        about
    }

    /// Removes a session.
    fn take(&mut self, id: SessionId) -> Option<Entry> {
        let entry = self.sessions.remove(&id)?;
        if let Some(originator) = entry.originator
            && let Some(own) = self.by_originator.get_mut(&originator)
        {
            *own -= 1;
            if *own == 0 {
                self.by_originator.remove(&originator);
            }
        }
        Some(entry)
    }

    fn ended(&mut self, now: Instant, id: SessionId, host: &dyn SessionHost) {
        self.commands.push_back(RelayOrder::Forget(id));
        let Some(entry) = self.take(id) else {
            return;
        };
        self.leave_to_store(&entry, host);
        self.lately_ended.insert(now, id);
        self.schedule.end_alarm(&entry);
        self.invites.remove(&entry.transaction);
        if entry.kept {
            host.release(entry.transaction);
        }
        let (delivered, failed) = entry.outcomes();
        host.log(
            at!(Debug),
            format_args!("session={id} has ended: {delivered} delivered, {failed} failed"),
        );
        let to = format!("<{}>", entry.request_uri);
        let about = self.about(&entry);
        let about = stand_in(&entry, &about, &entry.request_uri, &to, &entry.call_id);
        let code = match delivered {
            0 => StatusCode::TEMPORARILY_UNAVAILABLE,
            _ => StatusCode::OK,
        };
        host.event(Event::SessionEnd, code.as_u16(), &about);
    }

    /// Replies to a request that belongs to no session.
    pub(super) fn reply(
        &self,
        host: &dyn SessionHost,
        transaction: TransactionKey,
        code: StatusCode,
        to_tag: String,
    ) {
        let mut headers = HeaderBlock::new();
        // Our own values contain no line end.
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

/// The INVITE in the host's form.
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

/// A request that represents a recipient or a session in an event for the script.
fn stand_in<'a>(
    entry: &'a Entry,
    about: &'a AboutRequest,
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
        about: Some(about),
    }
}
