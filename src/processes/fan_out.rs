//! CPM fan-out: sends the rest of long lists, and requests that wait for names.

use std::cell::RefCell;
use std::io;

use bytes::Bytes;

use super::heard;
use super::late;
use super::letter::Letter;
use super::lookup::Lookup;
use super::proxy::{Answer, Proxy};
use super::received::PATIENCE_MS;
use super::sender::Sender;
use super::waiting::WaitingRoom;
use crate::controlling::large_message_mode::TransactionKey;
use crate::controlling::{ControllingFunction, FanOutJob, Host as _, Progress};
use crate::log::LogLevel;

/// Length of a job's turn.
const TURN_MS: u64 = 20;
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
    /// The sender's transaction.
    transaction: TransactionKey,
    /// Recipients for whom there is no memory or connection by then fail.
    deadline_ms: u64,
    is_answered: bool,
}

/// The process.
pub(super) struct FanOutProcess {
    jobs: Vec<Job>,
    /// The job being worked on: a panic loses only this one.
    at_work: Option<usize>,
    room: RefCell<WaitingRoom>,
    taken: usize,
}

impl FanOutProcess {
    pub(super) fn start(service: &ControllingFunction) -> io::Result<Self> {
        Ok(FanOutProcess {
            jobs: Vec::new(),
            at_work: None,
            room: RefCell::new(WaitingRoom::new(Lookup::start(service.names())?)),
            taken: 0,
        })
    }

    pub(super) fn room(&self) -> &RefCell<WaitingRoom> {
        &self.room
    }

    pub(super) fn takes(&self) -> bool {
        self.jobs.len() < MAX_JOBS && self.taken < ENTRIES_PER_TURN
    }

    pub(super) fn take(
        &mut self,
        letter: Letter,
        service: &ControllingFunction,
        proxy: &dyn Proxy,
    ) {
        self.taken += 1;
        match letter {
            Letter::Job(transaction, job) => self.take_job(transaction, job, proxy),
            Letter::Waiting(waiting) => {
                let taken = self.room.borrow_mut().take(waiting, proxy.now_ms());
                if let Err(waiting) = taken {
                    late::fail(&waiting, "too many requests are waiting", service, proxy);
                }
            }
            _ => {}
        }
    }

    fn take_job(&mut self, transaction: TransactionKey, job: Bytes, proxy: &dyn Proxy) {
        let Some(job) = FanOutJob::read(job) else {
            let line = "a fan-out from another process cannot be read";
            proxy.log(LogLevel::Critical, format_args!("{line}"));
            reply_internal_error(transaction, proxy);
            return;
        };
        self.jobs.push(Job {
            job,
            transaction,
            deadline_ms: proxy.now_ms() + PATIENCE_MS,
            is_answered: false,
        });
    }

    /// Milliseconds until it must be called again.
    pub(super) fn work(&mut self, service: &ControllingFunction, proxy: &dyn Proxy) -> i32 {
        self.taken = 0;
        let mut is_wanted_now = false;
        let mut number = 0;
        while number < self.jobs.len() {
            self.at_work = Some(number);
            let progress = self.run(number, service, proxy);
            self.at_work = None;
            match progress {
                Progress::Done => {
                    self.jobs.remove(number);
                    continue;
                }
                Progress::Enough => is_wanted_now = true,
                Progress::NoRoom => {}
            }
            number += 1;
        }
        let turn = Sender::new(service, proxy).with_turn(TURN_MS);
        let has_more = late::work(&self.room, service, proxy, || turn.is_turn_over());
        drop(turn);
        let swept = heard::sweep(service, proxy);
        if has_more || is_wanted_now {
            0
        } else if !self.jobs.is_empty() || self.room.borrow().for_room() > 0 {
            match swept {
                -1 => ROOM_RETRY_MS,
                wanted => wanted.min(ROOM_RETRY_MS),
            }
        } else {
            swept
        }
    }

    /// One turn of one job.
    fn run(&mut self, number: usize, service: &ControllingFunction, proxy: &dyn Proxy) -> Progress {
        let one = &mut self.jobs[number];
        let sender = Sender::new(service, proxy)
            .with_turn(TURN_MS)
            .in_room(&self.room);
        let is_last = proxy.now_ms() >= one.deadline_ms;
        let progress = service.run(&mut one.job, &sender, is_last);
        sender.flush();
        // The reply does not wait for recipients whose connection is full.
        if !one.is_answered && (progress == Progress::Done || one.job.is_reply_due()) {
            one.is_answered = true;
            service.handle_reply_due(&one.job);
            proxy.reply(one.transaction, &Answer::of(&one.job.reply()), false);
        }
        if progress == Progress::Done {
            service.handle_done(&one.job, &sender);
        }
        progress
    }

    #[cfg(test)]
    pub(super) fn be_at_work(&mut self, number: usize) {
        self.at_work = Some(number);
    }

    /// A call has panicked: the job in progress is lost, the others continue.
    pub(super) fn handle_panic(&mut self, proxy: &dyn Proxy) {
        if let Some(number) = self
            .at_work
            .take()
            .filter(|&number| number < self.jobs.len())
        {
            let lost = self.jobs.remove(number);
            if !lost.is_answered {
                reply_internal_error(lost.transaction, proxy);
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
