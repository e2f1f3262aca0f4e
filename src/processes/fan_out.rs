//! CPM fan-out: sends the rest of long lists, and requests that wait for names.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::assembly::StartError;
use super::heard;
use super::inquiring;
use super::keeping::{Keeping, KeptGauges, Ready};
use super::late;
use super::letter::{Inquired, Letter, Unfinished};
use super::lookup::Lookup;
use super::proxy::{Answer, Proxy};
use super::query::Desk;
use super::received::{PATIENCE_MS, ReceivedRequest};
use super::sender::Sender;
use super::waiting::WaitingRoom;
use crate::controlling::large_message_mode::TransactionKey;
use crate::controlling::{ControllingFunction, FanOutJob, Host as _, Progress};
use crate::log::at;
use crate::store::FoundSender;
use crate::threads;

/// Length of a job's turn.
const TURN: Duration = Duration::from_millis(20);
/// All of them together, where messages are kept: the next message has to get to the disk, and its
/// sender to its 202, while copies of others leave.
const KEPT_TURNS: Duration = Duration::from_millis(1);
/// Retry interval while the proxy lacks memory.
const ROOM_RETRY_MS: i32 = 20;
/// Maximum number of jobs; the queue holds some thousand more. When that is full too, workers
/// continue their jobs themselves.
const MAX_JOBS: usize = 256;
/// Maximum number of entries taken before the next portion of work.
const ENTRIES_PER_TURN: usize = 1024;

/// One fan-out.
struct Job {
    job: FanOutJob,
    /// Of its sender; `None`: it has its answer.
    transaction: Option<TransactionKey>,
    /// What finds no room by then has failed, or waits in the store.
    deadline_ms: u64,
    /// Its number in the store, where it is kept.
    kept: Option<u64>,
}

/// The process.
pub(super) struct FanOutProcess {
    jobs: Vec<Job>,
    /// The job being worked on: a panic loses only this one.
    at_work: Option<usize>,
    /// The request whose list is being read, likewise.
    finishing: Option<TransactionKey>,
    room: RefCell<WaitingRoom>,
    /// Messages that are kept, where they are.
    keeping: Option<Keeping>,
    /// The job whose turn is next.
    next: usize,
    /// When the express lane is next swept: each time, all of its places are looked at.
    sweep_ms: u64,
    taken: usize,
}

impl FanOutProcess {
    pub(super) fn start(
        service: &ControllingFunction,
        gauges: KeptGauges,
        desk: Option<&Rc<Desk>>,
    ) -> Result<Self, StartError> {
        let lookup = Lookup::start(service.names()).map_err(StartError::Names)?;
        let room = WaitingRoom::new(lookup);
        let keeping = Keeping::start(service, room.signal(), gauges, desk)?;
        // With a store every sender waits for this process. If the system refuses, the SIP workers
        // wait a little longer for a processor.
        if keeping.is_none() {
            let _ = threads::work_in_bulk();
        }
        Ok(FanOutProcess {
            jobs: Vec::new(),
            at_work: None,
            finishing: None,
            keeping,
            room: RefCell::new(room),
            next: 0,
            sweep_ms: 0,
            taken: 0,
        })
    }

    pub(super) fn room(&self) -> &RefCell<WaitingRoom> {
        &self.room
    }

    pub(super) fn takes(&self) -> bool {
        let writing = self.keeping.as_ref().map_or(0, Keeping::writing);
        self.jobs.len() + writing < MAX_JOBS && self.taken < ENTRIES_PER_TURN
    }

    pub(super) fn take(
        &mut self,
        letter: Letter,
        service: &Rc<ControllingFunction>,
        proxy: &dyn Proxy,
    ) {
        self.taken += 1;
        match letter {
            Letter::Unfinished(unfinished) => self.finish(&unfinished, service, proxy),
            Letter::Job(transaction, job) => self.take_job(transaction, &job, service, proxy),
            Letter::Settled(copy, settled, recipient) => {
                if let Some(keeping) = &mut self.keeping {
                    keeping.settle(copy, (settled, recipient), service, proxy);
                }
            }
            Letter::Asked(number, question) => {
                if let Some(keeping) = &mut self.keeping {
                    keeping.answer_operator(number, &question, service, proxy.now_ms());
                }
            }
            Letter::Inquiry(inquired) => self.inquire(inquired, service, proxy),
            Letter::Late(copy) => {
                if let Some(keeping) = &mut self.keeping {
                    keeping.hear_late(copy, service, proxy);
                }
            }
            Letter::Replaced(copy, other) => {
                if let Some(keeping) = &mut self.keeping {
                    keeping.replace(copy, other, proxy.now_ms());
                }
            }
            Letter::Keep(session, size, kept) => {
                if let Some(keeping) = &mut self.keeping {
                    keeping.keep_large(session, size, kept, service, proxy);
                }
            }
            Letter::Discard(id) => {
                if let Some(keeping) = &mut self.keeping {
                    keeping.discard(id, proxy.now_ms());
                }
            }
            Letter::Waiting(waiting) => {
                let taken = self.room.borrow_mut().take(waiting, proxy.now_ms());
                if let Err((waiting, why)) = taken {
                    late::fail(&waiting, why, service, proxy);
                }
            }
            _ => {}
        }
    }

    /// The checks of a request with a long list, and what follows.
    fn finish(
        &mut self,
        unfinished: &Unfinished,
        service: &Rc<ControllingFunction>,
        proxy: &dyn Proxy,
    ) {
        if let Some(lists) = service.long_lists() {
            lists.remove();
        }
        // Reading another list before the copies of others go on would hold them back.
        self.taken = ENTRIES_PER_TURN;
        self.finishing = Some(unfinished.transaction);
        let is_late = proxy.now_ms() >= unfinished.deadline_ms;
        match ReceivedRequest::resume(service, unfinished).filter(|_| !is_late) {
            Some(request) => request.finish(None, proxy),
            None => reply_internal_error(unfinished.transaction, proxy),
        }
        self.finishing = None;
    }

    fn inquire(
        &mut self,
        inquired: Box<Inquired>,
        service: &ControllingFunction,
        proxy: &dyn Proxy,
    ) {
        let unasked = match &mut self.keeping {
            Some(keeping) => keeping.ask(inquired),
            None => Some(inquired),
        };
        if let Some(unasked) = unasked {
            inquiring::go_on(*unasked, FoundSender::NotNow, &self.room, service, proxy);
        }
    }

    fn take_job(
        &mut self,
        transaction: TransactionKey,
        written: &Bytes,
        service: &ControllingFunction,
        proxy: &dyn Proxy,
    ) {
        let Some(job) = FanOutJob::read(written.clone()) else {
            let line = "a fan-out from another process cannot be read";
            proxy.log(at!(Critical), format_args!("{line}"));
            reply_internal_error(transaction, proxy);
            return;
        };
        if let Some(keeping) = self.keeping.as_mut().filter(|_| job.is_to_be_kept()) {
            return keeping.keep(transaction, job, written, service, proxy);
        }
        self.jobs.push(Job {
            job,
            transaction: Some(transaction),
            deadline_ms: proxy.now_ms() + PATIENCE_MS,
            kept: None,
        });
    }

    /// Milliseconds until it must be called again.
    pub(super) fn work(&mut self, service: &ControllingFunction, proxy: &dyn Proxy) -> i32 {
        self.taken = 0;
        let turn = Sender::new(service, proxy).with_turn(TURN);
        let has_more = late::work(&self.room, service, proxy, || turn.is_turn_over());
        drop(turn);
        // Behind the names, by which the descriptor is read that both have.
        if let Some(keeping) = &mut self.keeping {
            let is_busy = self.jobs.len() >= MAX_JOBS / 2;
            let ready = keeping.work(service, proxy, is_busy);
            let deadline_ms = proxy.now_ms() + PATIENCE_MS;
            self.jobs
                .extend(ready.into_iter().map(|Ready { id, job }| Job {
                    job,
                    transaction: None,
                    deadline_ms,
                    kept: Some(id),
                }));
            let lost = std::mem::take(&mut keeping.lost);
            let answered = std::mem::take(&mut keeping.answered);
            self.end_lost(&lost, service, proxy);
            for (inquired, found) in answered {
                inquiring::go_on(*inquired, found, &self.room, service, proxy);
            }
        }
        let is_wanted_now = self.run_all(service, proxy);
        let swept = self.sweep(service, proxy);
        if has_more || is_wanted_now {
            return 0;
        }
        let waits = !self.jobs.is_empty() || self.room.borrow().for_room() > 0;
        let kept = self.keeping.as_ref().and_then(|keeping| {
            let wanted = keeping.wanted_in_ms(service.shares_store(), proxy.now_ms())?;
            Some(i32::try_from(wanted).unwrap_or(i32::MAX))
        });
        let swept = Some(swept).filter(|swept| *swept >= 0);
        let wanted = [waits.then_some(ROOM_RETRY_MS), swept, kept];
        wanted.into_iter().flatten().min().unwrap_or(-1)
    }

    /// Fires the timers of the express lane, unless it is too early: where messages are kept, this
    /// process is called many times in between.
    fn sweep(&mut self, service: &ControllingFunction, proxy: &dyn Proxy) -> i32 {
        let now_ms = proxy.now_ms();
        if let Some(left_ms) = self
            .sweep_ms
            .checked_sub(now_ms)
            .filter(|left_ms| *left_ms > 0)
        {
            return i32::try_from(left_ms).unwrap_or(i32::MAX);
        }
        let swept = heard::sweep(service, proxy);
        self.sweep_ms = now_ms + u64::try_from(swept).unwrap_or(0);
        swept
    }

    /// What another node has taken over is not sent from here any more.
    fn end_lost(&mut self, lost: &HashSet<u64>, service: &ControllingFunction, proxy: &dyn Proxy) {
        if lost.is_empty() {
            return;
        }
        let is_lost = |job: &mut Job| job.kept.is_some_and(|id| lost.contains(&id));
        let sender = Sender::new(service, proxy);
        for job in self.jobs.extract_if(.., is_lost) {
            service.handle_put_off(&job.job, &sender);
        }
    }

    /// A turn of each job, or of as many as there is time for. True: there is more to do at once.
    fn run_all(&mut self, service: &ControllingFunction, proxy: &dyn Proxy) -> bool {
        let turns = self.keeping.as_ref().map(|_| KEPT_TURNS);
        let until_us = turns.map(|turns| proxy.now_us() + turns.as_micros() as u64);
        let mut is_wanted_now = false;
        let mut left = self.jobs.len();
        while left > 0 {
            if until_us.is_some_and(|until_us| proxy.now_us() >= until_us) {
                return true;
            }
            left -= 1;
            let number = self.next % self.jobs.len();
            self.at_work = Some(number);
            let progress = self.run(number, service, proxy);
            self.at_work = None;
            self.next = number + 1;
            match progress {
                Progress::Done => {
                    self.jobs.remove(number);
                    self.next = number;
                }
                Progress::Enough => is_wanted_now = true,
                Progress::NoRoom => {}
            }
        }
        // Without a limit they take their turns in the order in which they came.
        if until_us.is_none() {
            self.next = 0;
        }
        is_wanted_now
    }

    /// One turn of one job. With [`Progress::Done`] it is over here.
    fn run(&mut self, number: usize, service: &ControllingFunction, proxy: &dyn Proxy) -> Progress {
        let one = &mut self.jobs[number];
        let turn = one.kept.map_or(TURN, |_| KEPT_TURNS);
        let sender = Sender::new(service, proxy)
            .with_turn(turn)
            .in_room(&self.room)
            .keeping(one.kept.is_some());
        let is_last = proxy.now_ms() >= one.deadline_ms;
        let progress = match (one.kept, &mut self.keeping) {
            (Some(id), Some(keeping)) => {
                let progress = service.run(&mut one.job, &keeping.host(id, &sender), false);
                sender.flush();
                if progress == Progress::NoRoom && is_last {
                    // What has its 202 is not given up for want of room.
                    keeping.put_off(id, proxy.now_ms());
                    keeping.rest(id);
                    service.handle_put_off(&one.job, &sender);
                    return Progress::Done;
                }
                progress
            }
            _ => {
                let progress = service.run(&mut one.job, &sender, is_last);
                sender.flush();
                progress
            }
        };
        // It does not wait for recipients whose connection is full.
        if (progress == Progress::Done || one.job.is_reply_due())
            && let Some(transaction) = one.transaction.take()
        {
            service.handle_reply_due(&one.job);
            let reply = service.accepted(&one.job);
            proxy.reply(transaction, &Answer::of(&reply), false);
        }
        if progress == Progress::Done {
            service.handle_done(&one.job, &sender);
            if let (Some(id), Some(keeping)) = (one.kept, &mut self.keeping) {
                keeping.rest(id);
            }
        }
        progress
    }

    /// The proxy ends: the store is told what has ended, and gets it written.
    pub(super) fn stop(mut self, service: &ControllingFunction, proxy: &dyn Proxy) {
        if let Some(keeping) = &mut self.keeping {
            keeping.stop(service, proxy);
        }
    }

    #[cfg(test)]
    pub(super) fn be_at_work(&mut self, number: usize) {
        self.at_work = Some(number);
    }

    #[cfg(test)]
    pub(super) fn be_finishing(&mut self, transaction: TransactionKey) {
        self.finishing = Some(transaction);
    }

    /// A call has panicked: the job in progress is lost, the others continue.
    pub(super) fn handle_panic(&mut self, proxy: &dyn Proxy) {
        if let Some(transaction) = self.finishing.take() {
            reply_internal_error(transaction, proxy);
        }
        if let Some(number) = self
            .at_work
            .take()
            .filter(|&number| number < self.jobs.len())
        {
            let lost = self.jobs.remove(number);
            if let (Some(id), Some(keeping)) = (lost.kept, &mut self.keeping) {
                keeping.rest(id);
            }
            if let Some(transaction) = lost.transaction {
                reply_internal_error(transaction, proxy);
            }
        }
    }
}

/// 500 to a request that was accepted and cannot be finished.
pub(super) fn reply_internal_error(transaction: TransactionKey, proxy: &dyn Proxy) {
    // There is no received request from which the proxy could make a tag.
    let to_tag = format!("{:x}", transaction.0);
    let answer = Answer {
        to_tag: Some(&to_tag),
        ..Answer::bare(500, c"Server Internal Error")
    };
    proxy.reply(transaction, &answer, false);
}
