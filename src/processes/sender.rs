//! Sends an outgoing request: memory, next hop, the operator's script, transaction. Nothing here
//! blocks: a request whose next hop is a name that is not known yet goes to CPM fan-out, and waits
//! there.

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::fmt;
use std::time::Duration;

use super::express::{self, KnownWay};
use super::letter::{self, SessionInput};
use super::outgoing::Outgoing;
use super::process::Process;
use super::proxy::{Answer, Proxy, Routed, Transmitted};
use super::tell::tell_end;
use super::transaction::Transaction;
use super::waiting::WaitingRoom;
use super::way::{Located, locate};
use crate::controlling::large_message_mode::{InDialogRequest, SessionReply, TransactionKey};
use crate::controlling::{
    ControllingFunction, Counter, FanOutJob, Host, Journal, KeptInvite, OutgoingRequest, Sent,
};
use crate::log::{LogAt, at};
use crate::names::NameTag;
use crate::operator::Event;
use crate::sessions::{Invited, SessionHost};
use crate::sip::StatusCode;
use crate::store::{RecipientKey, Settled};

/// Time that a SIP worker spends on one message, checks included, before it passes on the rest of
/// the copies: its next request is late by this.
pub(super) const WORKER_TURN: Duration = Duration::from_millis(1);

/// Copies that the lane takes between two looks at the clock: a few microseconds.
const LOOKS_AFTER: u32 = 8;

/// Maximum number of requests of one turn that wait for names, before the rest is passed on as a
/// whole.
const MAX_WAITING_PER_TURN: u32 = 32;

/// 503: the code for a request that cannot be sent (RFC 3261 §8.1.3.1), and its phrase in events.
pub(super) const NOT_SENDABLE: (u16, &[u8]) = (503, b"Not Sendable");

/// Sends outgoing requests of one process, during one call into the core.
pub(super) struct Sender<'a> {
    service: &'a ControllingFunction,
    proxy: &'a dyn Proxy,
    /// The time, as of the last look.
    now_us: Cell<u64>,
    /// Copies that the lane has taken since another one was sent otherwise.
    taken: Cell<u32>,
    /// Where the last of them went.
    way: RefCell<Option<KnownWay>>,
    turn_ends_us: u64,
    /// Number of requests of this turn that wait for names.
    waiting: Cell<u32>,
    received: Option<&'a Transaction>,
    /// The waiting room, in the process that has it.
    room: Option<&'a RefCell<WaitingRoom>>,
    /// Whether what cannot be sent may wait in the store.
    keeps: bool,
    /// The code of recipients that nothing is sent to.
    unsent_code: u16,
    /// Whether these are recipients of a large message.
    is_large: bool,
}

impl<'a> Sender<'a> {
    /// A sender without a time limit.
    pub(super) fn new(service: &'a ControllingFunction, proxy: &'a dyn Proxy) -> Self {
        Sender {
            service,
            proxy,
            now_us: Cell::new(0),
            taken: Cell::new(0),
            way: RefCell::default(),
            turn_ends_us: u64::MAX,
            waiting: Cell::new(0),
            received: None,
            room: None,
            keeps: false,
            unsent_code: NOT_SENDABLE.0,
            is_large: false,
        }
    }

    /// The same with a turn of this length.
    pub(super) fn with_turn(mut self, turn: Duration) -> Self {
        self.now_us.set(self.proxy.now_us());
        self.turn_ends_us = self.now_us.get() + turn.as_micros() as u64;
        self
    }

    /// The same for the fan-out of this request, which can be passed on.
    pub(super) fn of(mut self, received: &'a Transaction) -> Self {
        self.received = Some(received);
        self
    }

    /// The same in the process in which requests wait for names.
    pub(super) fn in_room(mut self, room: &'a RefCell<WaitingRoom>) -> Self {
        self.room = Some(room);
        self
    }

    /// The same for copies of a message that is in the store, if it `keeps` them.
    pub(super) fn keeping(mut self, keeps: bool) -> Self {
        self.keeps = keeps;
        self
    }

    /// The same for recipients, perhaps of a large message, that are given up with this code.
    pub(super) fn giving_up_with(mut self, code: u16, is_large: bool) -> Self {
        self.unsent_code = code;
        self.is_large = is_large;
        self
    }

    /// Sends a request outside a dialog. The transaction is `None` if it waits for a name.
    fn send_request(&self, request: &OutgoingRequest<'_>) -> (Sent, Option<TransactionKey>) {
        let proxy = self.proxy;
        let wanted = request.next_hop.unwrap_or(request.request_uri);
        let is_shown = proxy.wants(Event::RecipientRequest);
        if !is_shown && self.express_takes_again(request, wanted) {
            return (Sent::Queued, None);
        }
        let outgoing = Outgoing::of(request);
        // In the usual case the hop is checked only once.
        if !is_shown && self.express_takes(&outgoing, wanted) {
            return (Sent::Queued, None);
        }
        if !proxy.memory().has_room(outgoing.size_at_most()) {
            return (Sent::NoRoom, None);
        }
        let located = locate(self.service.names(), proxy, &outgoing, wanted);
        // Before it is shown to the script, once.
        let is_busy = match &located {
            Located::At(spot) => spot.is_full,
            Located::Later(_) => self
                .room
                .is_some_and(|room| !room.borrow().has_place(&outgoing)),
            Located::Nowhere => false,
        };
        if is_busy {
            return (Sent::Busy, None);
        }
        if !is_shown {
            return self.send_located(outgoing, located);
        }
        match proxy.recipient_request(&outgoing, &outgoing.text()) {
            Routed::Dropped => (Sent::Dropped, None),
            Routed::Failed => (Sent::Failed, None),
            Routed::Changed(changed) => {
                let (outgoing, next_hop) = changed.apply(&outgoing);
                let wanted = next_hop
                    .or(request.next_hop)
                    .unwrap_or(outgoing.request_uri);
                let located = locate(self.service.names(), proxy, &outgoing, wanted);
                self.send_located(outgoing, located)
            }
        }
    }

    fn send_located(
        &self,
        mut outgoing: Outgoing<'_>,
        located: Located<'_>,
    ) -> (Sent, Option<TransactionKey>) {
        let transmitted = match located {
            Located::Nowhere => Transmitted::Failed,
            Located::Later(hop) => {
                if self.wait(&outgoing, &hop) {
                    self.waiting.set(self.waiting.get() + 1);
                    return (Sent::Queued, None);
                }
                let here = self.room.is_some();
                return (if here { Sent::Busy } else { Sent::NoRoom }, None);
            }
            Located::At(spot) => {
                outgoing.token.name = spot.name.map_or(0, NameTag::bits);
                // A name with several targets is tried at each of them, which the transaction layer
                // does.
                if !spot.has_others && self.express_takes(&outgoing, &spot.uri) {
                    return (Sent::Queued, None);
                }
                express::send_by_transaction(self.proxy, &outgoing, &spot.uri)
            }
        };
        match transmitted {
            Transmitted::Sent(transaction) => (Sent::Queued, Some(transaction)),
            Transmitted::Dropped => (Sent::Dropped, None),
            Transmitted::Failed if self.keeps && self.service.defers(NOT_SENDABLE.0) => {
                self.tell_unsent(Event::RecipientDeferred, &outgoing);
                (Sent::Deferred, None)
            }
            Transmitted::Failed => {
                self.tell_unsent(Event::RecipientFailed, &outgoing);
                (Sent::Failed, None)
            }
        }
    }

    fn express_takes(&self, outgoing: &Outgoing<'_>, hop: &str) -> bool {
        let (now_ms, way) = (self.now_ms(), &self.way);
        let is_taken = express::take(self.service, self.proxy, outgoing, hop, now_ms, way);
        self.count_taken(is_taken);
        is_taken
    }

    /// Where the last one went.
    fn express_takes_again(&self, request: &OutgoingRequest<'_>, hop: &str) -> bool {
        let (now_ms, way) = (self.now_ms(), &self.way);
        let is_taken = express::take_again(self.service, self.proxy, request, hop, now_ms, way);
        self.count_taken(is_taken);
        is_taken
    }

    fn count_taken(&self, is_taken: bool) {
        let taken = self.taken.get();
        self.taken.set(if is_taken { taken + 1 } else { 0 });
    }

    /// The time, as of the last look.
    fn now_ms(&self) -> u64 {
        if self.now_us.get() == 0 {
            self.now_us.set(self.proxy.now_us());
        }
        self.now_us.get() / 1_000
    }

    /// Sends the requests that the express lane has taken.
    pub(super) fn flush(&self) {
        express::flush(self.service, self.proxy);
    }

    /// Reports to the operator's script a request that was never sent. For recipients of a large
    /// message their session does this.
    fn tell_unsent(&self, event: Event, outgoing: &Outgoing<'_>) {
        if (outgoing.method == "MESSAGE" || self.is_large) && self.proxy.wants(event) {
            let code = self.unsent_code;
            let phrase = StatusCode::new(code).map_or("", StatusCode::reason_phrase);
            let reason = match code == NOT_SENDABLE.0 {
                true => NOT_SENDABLE.1,
                false => phrase.as_bytes(),
            };
            self.proxy
                .event(event, code, reason, &outgoing.text(), outgoing.about);
        }
    }

    /// The service.
    pub(super) fn service(&self) -> &'a ControllingFunction {
        self.service
    }

    /// The proxy.
    pub(super) fn proxy(&self) -> &'a dyn Proxy {
        self.proxy
    }

    /// Makes a request wait for the name of its next hop. `false`: currently not possible.
    fn wait(&self, outgoing: &Outgoing<'_>, hop: &str) -> bool {
        let letter = letter::request(outgoing, hop);
        match self.room {
            Some(room) => room.borrow_mut().take_letter(letter, self.proxy.now_ms()),
            None => {
                self.proxy.memory().has_room(letter.len())
                    && self.proxy.post(Process::FanOut, &letter)
            }
        }
    }

    /// Passes the received request to another process.
    fn pass_on(&self, process: Process, letter: impl FnOnce(TransactionKey) -> Vec<u8>) -> bool {
        let Some((received, transaction)) = self
            .received
            .and_then(|received| Some((received, received.key()?)))
        else {
            return false;
        };
        let letter = letter(transaction);
        // If posting fails, the transaction may stay open: this process continues and replies in
        // it.
        self.proxy.memory().has_room(letter.len())
            && received.keep_open(self.proxy)
            && self.proxy.post(process, &letter)
    }
}

impl Drop for Sender<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Journal for Sender<'_> {
    fn log(&self, at: LogAt, line: fmt::Arguments<'_>) {
        self.proxy.log(at, line);
    }

    fn count(&self, counter: Counter, n: u32) {
        self.proxy.count(counter, n);
    }
}

impl Host for Sender<'_> {
    fn send(&self, outgoing: &OutgoingRequest<'_>) -> Sent {
        self.send_request(outgoing).0
    }

    fn give_up(&self, request: &OutgoingRequest<'_>) -> Sent {
        let mut outgoing = Outgoing::of(request);
        if self.is_large {
            outgoing.method = "INVITE";
        }
        if self.is_large || !self.proxy.wants(Event::RecipientRequest) {
            self.tell_unsent(Event::RecipientFailed, &outgoing);
            return Sent::Failed;
        }
        match self.proxy.recipient_request(&outgoing, &outgoing.text()) {
            Routed::Dropped => return Sent::Dropped,
            Routed::Failed => {}
            Routed::Changed(changed) => {
                self.tell_unsent(Event::RecipientFailed, &changed.apply(&outgoing).0);
            }
        }
        Sent::Failed
    }

    fn is_turn_over(&self) -> bool {
        // What the lane takes costs no more time than a look at the clock, or two.
        if !self.taken.get().is_multiple_of(LOOKS_AFTER) {
            return false;
        }
        self.now_us.set(self.proxy.now_us());
        self.waiting.get() >= MAX_WAITING_PER_TURN || self.now_us.get() >= self.turn_ends_us
    }

    fn hand_over(&self, job: &[u8]) -> bool {
        // Copies of this process leave before the 202 of the other.
        self.flush();
        self.pass_on(Process::FanOut, |transaction| letter::job(transaction, job))
    }

    fn begin_session(&self, invite: &[u8]) -> bool {
        self.pass_on(Process::Sessions, |transaction| {
            letter::session(&SessionInput::Invite(
                transaction,
                bytes::Bytes::copy_from_slice(invite),
            ))
        })
    }
}

impl SessionHost for Sender<'_> {
    fn invite(&self, invite: &OutgoingRequest<'_>) -> Invited {
        match self.send_request(invite) {
            (Sent::Queued, Some(transaction)) => Invited::Sent(transaction),
            (Sent::Queued, None) => Invited::Elsewhere,
            (Sent::NoRoom | Sent::Busy, _) => Invited::NotNow,
            (Sent::Dropped | Sent::Failed | Sent::Deferred, _) => Invited::Unsent,
        }
    }

    fn cancel(&self, invite: TransactionKey) {
        self.proxy.cancel(invite);
    }

    fn request(&self, request: &InDialogRequest) -> bool {
        let Some((request_uri, next_hop, headers)) = request.routed() else {
            let call_id = &request.call_id;
            let line = format_args!("a route set cannot be parsed, callid={call_id}");
            self.log(at!(Error), line);
            return false;
        };
        let outgoing = Outgoing {
            to_tag: Some(&request.to_tag),
            ..Outgoing::of(&OutgoingRequest {
                method: request.method,
                request_uri: &request_uri,
                next_hop: Some(&next_hop),
                from: &request.from,
                from_tag: &request.from_tag,
                to: &request.to,
                call_id: &request.call_id,
                cseq: request.cseq,
                headers: &headers,
                body: &request.body,
                attempt: 0,
                about: None,
            })
        };
        match locate(self.service.names(), self.proxy, &outgoing, &next_hop) {
            Located::Nowhere => false,
            Located::Later(hop) => self.wait(&outgoing, &hop),
            Located::At(spot) => {
                matches!(self.proxy.send(&outgoing, &spot.uri), Transmitted::Sent(_))
            }
        }
    }

    fn reply(&self, reply: &SessionReply, keep: bool) -> bool {
        // The usual phrases are our own, and contain no NUL.
        let reason = CString::new(reply.code.reason_phrase()).unwrap_or_default();
        let answer = Answer {
            code: reply.code.as_u16(),
            reason: &reason,
            headers: &reply.headers,
            to_tag: Some(&reply.to_tag),
            body: &reply.body,
        };
        self.proxy.reply(reply.transaction, &answer, keep)
    }

    fn release(&self, transaction: TransactionKey) {
        self.proxy.release(transaction);
    }

    fn keep(&self, kept: &KeptInvite) -> bool {
        let letter = letter::keep(kept.content.file, kept.content.size, &kept.write());
        self.proxy.post(Process::FanOut, &letter)
    }

    fn discard(&self, number: u64) {
        self.proxy.post(Process::FanOut, &letter::discard(number));
    }

    fn settle(&self, job: &FanOutJob, recipient: &str, settled: Settled) {
        let key = match settled {
            Settled::Deferred(_) => self.service.recipient_key(recipient),
            _ => RecipientKey::default(),
        };
        if matches!(settled, Settled::Code(code) if code >= 300) {
            self.service.handle_kept_failed(job, self);
        }
        let copy = job.copy_of(recipient);
        tell_end(self.service, self.proxy, copy, settled, key);
    }

    fn event(&self, event: Event, code: u16, about: &OutgoingRequest<'_>) {
        if self.proxy.wants(event) {
            let about = Outgoing::of(about);
            let reason = StatusCode::new(code).map_or("", StatusCode::reason_phrase);
            self.proxy
                .event(event, code, reason.as_bytes(), &about.text(), about.about);
        }
    }
}
