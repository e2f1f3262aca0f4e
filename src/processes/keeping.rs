//! Stored messages: neither the 202 nor a copy is sent before the message is on disk. Says what
//! becomes of copies, and has what is due read from the store.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use bytes::Bytes;

use super::kept_host::{KeptHost, retry};
use super::letter::{self, Inquired};
use super::location::location;
use super::process::Process;
use super::proxy::{Answer, Proxy};
use super::query::Desk;
use super::sender::Sender;
use super::told_senders::ToldSenders;
use crate::controlling::large_message_mode::TransactionKey;
use crate::controlling::{ControllingFunction, Counter, FanOutJob, RECORD_VERSION};
use crate::log::at;
use crate::msrp_control::SessionId;
use crate::operator::Gauge;
use crate::shared::REQUEST_KEPT_S;
use crate::store::{
    CopyId, Deferred, FoundSender, Kept, Ledger, RecipientKey, Refusal, Report, Settled, Store,
    StoreError,
};

/// How long a recipient for which there was no memory waits for its next attempt.
pub(super) const ROOM_AGAIN_MS: u64 = 20_000;

/// Maximum number of messages being read at a time, to be resumed.
const MAX_READING: usize = 64;

/// How long reading what a previous process left is put off after a failure.
const READ_AGAIN_MS: u64 = 1_000;

/// Interval between polls for ended copies: while some end, and while none does.
const LOOK_MS: u64 = 5;
const IDLE_LOOK_MS: u64 = 20;
/// Interval between polls for recipients that have arrived, while nothing but them is awaited.
const ARRIVALS_MS: u64 = 100;

/// Minimum interval between log lines about refused messages, in milliseconds.
const TELL_MS: u64 = 60_000;

/// A stored message whose copies are to be sent now.
pub(super) struct Ready {
    pub(super) id: u64,
    pub(super) job: FanOutJob,
}

/// The parts of the store that all processes see.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptGauges(pub(super) &'static [AtomicU64]);

impl KeptGauges {
    const ALL: [Gauge; 4] = [
        Gauge::Outstanding,
        Gauge::Waiting,
        Gauge::StoreBytes,
        Gauge::StoreWrite,
    ];
    pub(super) const WORDS: usize = Self::ALL.len();

    /// `None`: it was none of these.
    pub(super) fn read(self, gauge: Gauge) -> Option<u64> {
        let place = Self::ALL.iter().position(|own| *own == gauge)?;
        Some(self.0.get(place).map_or(0, |word| word.load(Relaxed)))
    }

    fn publish(self, values: [u64; Self::WORDS]) {
        for (word, value) in self.0.iter().zip(values) {
            word.store(value, Relaxed);
        }
    }
}

/// An operator's question that the store is being read for.
pub(super) struct Looking {
    pub(super) number: u64,
    /// Whether one message is shown with its recipients.
    pub(super) shows: bool,
    /// The lines so far.
    pub(super) answer: String,
}

/// A message that is being written.
pub(super) enum Writing {
    /// Of pager mode: its request waits for the reply.
    Pager(TransactionKey, FanOutJob),
    /// A large one: its session waits, and its content has this size.
    Large(SessionId, u64, FanOutJob),
}

/// The stored messages.
pub(super) struct Keeping {
    pub(super) store: Store,
    pub(super) ledger: Ledger,
    /// Requests whose messages are being written.
    pub(super) writing: HashMap<u64, Writing>,
    /// Whether messages that a previous process left may be unread.
    has_left_over: bool,
    is_reading_left_over: bool,
    /// When these may be read again after a failure.
    left_over_ms: u64,
    told_unread_ms: Option<u64>,
    /// Messages that are being read to be resumed.
    reading: usize,
    /// How many copies of resumed messages may be sent now; below 0: too many were.
    credit: i64,
    credit_ms: u64,
    told_ms: Option<u64>,
    told_failing_ms: Option<u64>,
    /// Whether the log has been told that the store cannot be used.
    tells_works: bool,
    /// Since when the next end to be read has been only partly written.
    stuck_ms: Option<u64>,
    /// Whether the last poll found ends.
    hears: bool,
    gauges: KeptGauges,
    /// Where operators' questions are answered.
    pub(super) desk: Rc<Desk>,
    pub(super) looking: Option<Looking>,
    /// The senders that other nodes know of.
    pub(super) told: ToldSenders,
    /// Notifications whose sender is asked for.
    pub(super) asked: HashMap<u64, Box<Inquired>>,
    pub(super) last_asked: u64,
    /// What was answered and not yet gone on with.
    pub(super) answered: Vec<(Box<Inquired>, FoundSender)>,
    /// Messages that another node has taken over, until their jobs here are ended.
    pub(super) lost: HashSet<u64>,
}

impl Keeping {
    /// Opens the store, if one is configured. `signal` becomes readable when there is a report.
    pub(super) fn start(
        service: &ControllingFunction,
        signal: Arc<OwnedFd>,
        gauges: KeptGauges,
        desk: Option<&Rc<Desk>>,
    ) -> Result<Option<Self>, StoreError> {
        let (Some(location), Some(desk)) = (location(service)?, desk) else {
            return Ok(None);
        };
        let Some(space) = service.store_space() else {
            return Ok(None);
        };
        let store = Store::start(location, space, u64::from(REQUEST_KEPT_S), signal)?;
        store.read_left_over();
        Ok(Some(Keeping {
            store,
            ledger: Ledger::default(),
            writing: HashMap::new(),
            has_left_over: true,
            is_reading_left_over: true,
            left_over_ms: 0,
            told_unread_ms: None,
            reading: 0,
            credit: 0,
            credit_ms: 0,
            told_ms: None,
            told_failing_ms: None,
            tells_works: false,
            stuck_ms: None,
            hears: false,
            gauges,
            desk: Rc::clone(desk),
            looking: None,
            told: ToldSenders::default(),
            asked: HashMap::new(),
            last_asked: 0,
            answered: Vec::new(),
            lost: HashSet::new(),
        }))
    }

    /// How many messages are being written.
    pub(super) fn writing(&self) -> usize {
        self.writing.len()
    }

    /// Stores a message whose request waits for its reply. `written`: its record.
    pub(super) fn keep(
        &mut self,
        transaction: TransactionKey,
        job: FanOutJob,
        written: &Bytes,
        service: &ControllingFunction,
        proxy: &dyn Proxy,
    ) {
        let Some((record, identity)) = FanOutJob::record_in(written) else {
            return;
        };
        let id = self.store.new_id();
        let kept = Kept {
            id,
            version: RECORD_VERSION,
            expires_s: unix_s() + lifetime_s(service, &job),
            record,
            identity,
            ended: Bytes::new(),
            content: None,
        };
        // In the same transaction.
        self.tell_senders(service, proxy.now_ms());
        match self.store.keep(kept) {
            true => {
                self.writing.insert(id, Writing::Pager(transaction, job));
            }
            false => self.refuse(transaction, &job, Refusal::Down, service, proxy),
        }
    }

    /// A copy has ended, in any process.
    pub(super) fn settle(
        &mut self,
        copy: CopyId,
        (settled, recipient): (Settled, RecipientKey),
        service: &ControllingFunction,
        proxy: &dyn Proxy,
    ) {
        let now_ms = proxy.now_ms();
        match settled {
            Settled::Unsent => self.ledger.unsent(copy, now_ms, ROOM_AGAIN_MS),
            Settled::Deferred(code) => {
                let retry = retry(service);
                let mark = self.ledger.mark_of(copy);
                match self.ledger.defer(copy, code, recipient, retry, now_ms) {
                    Deferred::Waiting => proxy.count(Counter::Deferred, 1),
                    Deferred::HasIt => {
                        proxy.count(Counter::Delivered, 1);
                        service.handle_late(mark, recipient);
                    }
                    Deferred::GivenUp | Deferred::Unknown => {}
                }
            }
            Settled::Dropped | Settled::Code(_) => {
                self.ledger.ended(copy, settled.bits(), now_ms);
            }
        }
    }

    /// A 2xx has arrived that no transaction waits for: a previous process sent the copy, or its
    /// transaction has ended, and it waits.
    pub(super) fn hear_late(
        &mut self,
        copy: CopyId,
        service: &ControllingFunction,
        proxy: &dyn Proxy,
    ) {
        // The mark goes with the last recipient.
        let mark = self.ledger.mark_of(copy);
        if let Some((_, recipient)) = self.ledger.late(copy, proxy.now_ms()) {
            proxy.count(Counter::Delivered, 1);
            service.handle_late(mark, recipient);
        }
    }

    /// Another copy has replaced this one.
    pub(super) fn replace(&mut self, copy: CopyId, other: CopyId, now_ms: u64) {
        self.ledger.replaced(copy, other, now_ms);
    }

    /// There was no memory for the rest of a message: it is resumed later.
    pub(super) fn put_off(&mut self, id: u64, now_ms: u64) {
        self.ledger.put_off(id, now_ms, ROOM_AGAIN_MS);
    }

    /// The job of a message is over here: what is left of the message may become due.
    pub(super) fn rest(&mut self, id: u64) {
        self.ledger.rest(id);
    }

    /// Handles the store's reports, has it read what is due, and passes on what has ended. With
    /// `is_busy` nothing is resumed. Returns what is to be sent.
    pub(super) fn work(
        &mut self,
        service: &ControllingFunction,
        proxy: &dyn Proxy,
        is_busy: bool,
    ) -> Vec<Ready> {
        let mut ready = Vec::new();
        while let Some(report) = self.store.report() {
            self.handle(report, service, proxy, &mut ready);
        }
        let now_ms = proxy.now_ms();
        self.hear(service, proxy);
        self.hear_arrivals(service, now_ms);
        self.tell_senders(service, now_ms);
        let may_read = !self.is_reading_left_over && self.left_over_ms <= now_ms;
        if self.has_left_over && may_read {
            self.is_reading_left_over = true;
            self.store.read_left_over();
        }
        if !is_busy {
            self.take_up(service.settings().resume_rate as u64, now_ms);
        }
        self.write_changes(now_ms);
        self.gauges.publish([
            self.ledger.outstanding() as u64,
            self.ledger.waiting() as u64,
            self.store.bytes(),
            self.store.write_us(),
        ]);
        ready
    }

    /// Polls for ended copies.
    fn hear(&mut self, service: &ControllingFunction, proxy: &dyn Proxy) {
        self.hears = false;
        let now_ms = proxy.now_ms();
        while let Some(end) = service
            .ends()
            .and_then(|ends| ends.pop(now_ms, &mut self.stuck_ms))
        {
            let recipient = RecipientKey::of_bits(end.recipient);
            let settled = (Settled::of_bits(end.how), recipient);
            self.settle(CopyId(end.copy), settled, service, proxy);
            self.hears = true;
        }
    }

    /// Polls for recipients that have arrived.
    fn hear_arrivals(&mut self, service: &ControllingFunction, now_ms: u64) {
        let Some(arrivals) = service.arrivals() else {
            return;
        };
        let is_awaiting = self.ledger.outstanding() + self.ledger.waiting() > 0;
        // Messages of other nodes may wait for them.
        arrivals.listen(is_awaiting || service.shares_store());
        let delay_ms = 1_000 * service.settings().deferral.delay_s as u64;
        let mut told = Vec::new();
        arrivals.take(|hashes| {
            told.push(*hashes.start());
            self.ledger.arrived(hashes, now_ms, delay_ms);
        });
        if service.shares_store() && !told.is_empty() {
            self.store.tell_arrived(told);
        }
    }

    /// Passes ended recipients to the store, once there are enough or after a moment.
    fn write_changes(&mut self, now_ms: u64) {
        if self.ledger.write_ms().is_some_and(|at_ms| at_ms <= now_ms) {
            let changes = self.ledger.take_changes();
            if !changes.ended.is_empty() {
                self.store.ended(changes.ended);
            }
            if !changes.done.is_empty() {
                self.store.done(changes.done);
            }
        }
    }

    /// The proxy ends: all outcomes are written.
    pub(super) fn stop(&mut self, service: &ControllingFunction, proxy: &dyn Proxy) {
        self.hear(service, proxy);
        self.write_changes(u64::MAX);
    }

    /// Milliseconds until the next timer; `None`: none is running.
    pub(super) fn wanted_in_ms(&self, is_shared: bool, now_ms: u64) -> Option<u64> {
        let due_ms = self.ledger.due_ms().filter(|_| self.reading < MAX_READING);
        // As soon as there is credit for another copy.
        let due_ms = due_ms.map(|due_ms| due_ms.max(self.credit_ms + 5));
        // Ended copies do not wake this process: it polls.
        let look_ms = match (self.ledger.outstanding(), self.ledger.waiting()) {
            // Other nodes want to know of senders and arrivals.
            (0, 0) if !is_shared => None,
            (0, _) => Some(now_ms + ARRIVALS_MS),
            _ if self.hears => Some(now_ms + LOOK_MS),
            _ => Some(now_ms + IDLE_LOOK_MS),
        };
        let waits = self.has_left_over && !self.is_reading_left_over;
        let left_over_ms = waits.then_some(self.left_over_ms);
        let next = [due_ms, self.ledger.write_ms(), look_ms, left_over_ms];
        let next = next.into_iter().flatten().min();
        next.map(|at_ms| at_ms.saturating_sub(now_ms))
    }

    /// Has messages read that are due, within the rate of resumed copies.
    fn take_up(&mut self, rate: u64, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.credit_ms).min(1_000);
        let most = i64::try_from(rate).unwrap_or(i64::MAX);
        let earned = i64::try_from(rate * passed_ms / 1_000).unwrap_or(0);
        if earned > 0 {
            self.credit = (self.credit + earned).min(most);
            self.credit_ms = now_ms;
        }
        while self.credit > 0 && self.reading < MAX_READING {
            let Some(id) = self.ledger.take_due(now_ms) else {
                return;
            };
            let left = i64::try_from(self.ledger.left(id, now_ms)).unwrap_or(0);
            self.credit -= left;
            self.reading += 1;
            self.store.read(id);
        }
    }

    fn handle(
        &mut self,
        report: Report,
        service: &ControllingFunction,
        proxy: &dyn Proxy,
        ready: &mut Vec<Ready>,
    ) {
        match report {
            Report::Kept(ids) => {
                for id in ids {
                    match self.writing.remove(&id) {
                        Some(Writing::Pager(transaction, job)) => {
                            self.begin(id, transaction, &job, service, proxy);
                            ready.push(Ready { id, job });
                        }
                        Some(Writing::Large(session, _, job)) => {
                            self.begin_large(id, session, &job, service, proxy);
                        }
                        None => {}
                    }
                }
            }
            Report::Refused(ids, refusal) => {
                for id in ids {
                    match self.writing.remove(&id) {
                        Some(Writing::Pager(transaction, job)) => {
                            self.refuse(transaction, &job, refusal, service, proxy);
                        }
                        Some(Writing::Large(session, size, _)) => {
                            refuse_large(session, size, proxy);
                        }
                        None => {}
                    }
                }
            }
            Report::Message(kept) => {
                self.reading = self.reading.saturating_sub(1);
                ready.extend(self.resume(&kept, service, proxy));
            }
            Report::Missing(id) => {
                self.reading = self.reading.saturating_sub(1);
                self.ledger.put_off(id, proxy.now_ms(), ROOM_AGAIN_MS);
                self.ledger.rest(id);
            }
            Report::Gone(id) => {
                self.reading = self.reading.saturating_sub(1);
                if self.ledger.forget(id, proxy.now_ms()) {
                    proxy.log(
                        at!(Error),
                        format_args!(
                            "message {id} is gone from the store: its recipients are forgotten"
                        ),
                    );
                }
            }
            Report::HasLeftOver => self.has_left_over = true,
            Report::Lost(ids) => self.lose(ids, proxy),
            Report::Arrived(hashes) => self.hear_arrived(hashes, service, proxy.now_ms()),
            Report::Sender(number, found) => self.hear_sender(number, found),
            Report::LeftOver(messages) => {
                self.is_reading_left_over = false;
                self.has_left_over = !messages.is_empty();
                for kept in messages {
                    self.restore(&kept, service, proxy);
                }
            }
            Report::Seen(number, found, rest) => self.see(number, &found, rest, service),
            Report::NotNow(why) => self.read_later(why, proxy),
            Report::Failing(why) => {
                let now_ms = proxy.now_ms();
                let told_ms = self.told_failing_ms.replace(now_ms);
                if told_ms.is_some_and(|told_ms| now_ms < told_ms + TELL_MS) {
                    self.told_failing_ms = told_ms;
                    return;
                }
                self.tells_works = true;
                proxy.log(
                    at!(Error),
                    format_args!(
                        "the store cannot be used: {why}; new messages are refused with 503 until it can"
                    ),
                );
            }
            Report::Works if std::mem::take(&mut self.tells_works) => {
                proxy.log(at!(Notice), format_args!("the store can be used again"))
            }
            Report::Works => {}
        }
    }

    /// What a previous process left cannot be read now.
    fn read_later(&mut self, why: Option<String>, proxy: &dyn Proxy) {
        let now_ms = proxy.now_ms();
        self.is_reading_left_over = false;
        self.left_over_ms = now_ms + READ_AGAIN_MS;
        let is_told = self
            .told_unread_ms
            .is_some_and(|told| now_ms < told + TELL_MS);
        if let Some(why) = why.filter(|_| !is_told) {
            self.told_unread_ms = Some(now_ms);
            proxy.log(
                at!(Error),
                format_args!(
                    "messages that a previous process left cannot be read: {why}; tried again"
                ),
            );
        }
    }

    /// A message is on disk: its sender gets the 202.
    fn begin(
        &mut self,
        id: u64,
        transaction: TransactionKey,
        job: &FanOutJob,
        service: &ControllingFunction,
        proxy: &dyn Proxy,
    ) {
        let now_ms = proxy.now_ms();
        let expires_ms = now_ms.saturating_add(1_000 * lifetime_s(service, job));
        self.ledger
            .begin(id, job.recipients_left(), expires_ms, now_ms);
        self.ledger.set_mark(id, job.mark());
        self.ledger.set_names(id, service.names_of(job.about()));
        service.handle_reply_due(job);
        proxy.count(Counter::Accepted, 1);
        proxy.count(Counter::Stored, 1);
        proxy.reply(transaction, &Answer::of(&service.accepted(job)), false);
    }

    fn refuse(
        &mut self,
        transaction: TransactionKey,
        job: &FanOutJob,
        refusal: Refusal,
        service: &ControllingFunction,
        proxy: &dyn Proxy,
    ) {
        service.handle_not_kept(job, &Sender::new(service, proxy));
        proxy.reply(transaction, &Answer::of(&service.not_kept(job)), false);
        let now_ms = proxy.now_ms();
        if refusal == Refusal::Full && self.told_ms.is_none_or(|told| told + TELL_MS <= now_ms) {
            self.told_ms = Some(now_ms);
            proxy.log(
                at!(Error),
                format_args!(
                    "messages are refused with 503: the store is full (store_max_size, or the disk); they \
                     are counted (store_refused), {}",
                    job.correlation()
                ),
            );
        }
    }
    /// The host to send a message's copies through, which records those that are on their way.
    pub(super) fn host<'a>(&'a mut self, id: u64, sender: &'a Sender<'a>) -> KeptHost<'a> {
        KeptHost {
            now_ms: sender.proxy().now_ms(),
            ledger: RefCell::new(&mut self.ledger),
            sender,
            id,
            give_up: None,
        }
    }
}

/// For how many seconds a message is of use.
pub(super) fn lifetime_s(service: &ControllingFunction, job: &FanOutJob) -> u64 {
    let most = service.settings().deferral.ttl_s as u64;
    job.lifetime_s().unwrap_or(most).min(most)
}

/// Unix time in seconds: it goes on while no proxy runs.
pub(super) fn unix_s() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// The message of a session is not kept.
pub(super) fn refuse_large(session: SessionId, size: u64, proxy: &dyn Proxy) {
    proxy.count(Counter::StoreRefused, 1);
    proxy.post(Process::Sessions, &letter::not_kept(session, size));
}
