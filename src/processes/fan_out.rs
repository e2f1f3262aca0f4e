//! CPM fan-out: works off what is too long for a SIP worker, and sends what waits for names.

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

/// The jobs take turns of this length.
const TURN_MS: u64 = 20;
/// Retry interval while the proxy has no room.
const ROOM_RETRY_MS: i32 = 20;
/// Jobs at a time; the queue holds some thousand more. When that is full too, workers keep what
/// they have.
const MAX_JOBS: usize = 256;
/// Entries that are taken before there is some work again.
const ENTRIES_PER_TURN: usize = 1024;

/// One fan-out.
struct Job {
    job: FanOutJob,
    /// Of its sender.
    transaction: TransactionKey,
    /// What finds no room by then has failed.
    deadline_ms: u64,
    is_answered: bool,
}

/// The process.
pub(super) struct FanOutProcess {
    jobs: Vec<Job>,
    /// What is being worked on: if that panics, it alone is lost.
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
                    late::fail(&waiting, "too many wait already", service, proxy);
                }
            }
            _ => {}
        }
    }

    fn take_job(&mut self, transaction: TransactionKey, job: Bytes, proxy: &dyn Proxy) {
        let Some(job) = FanOutJob::read(job) else {
            let line = "a fan-out that was handed over cannot be read";
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

    /// Milliseconds until it is wanted again.
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
        // It does not wait for recipients whose connection is full.
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

    /// A call has panicked: the job that was at work is lost, the others go on.
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

/// 500 to a request that was taken and cannot be finished.
pub(super) fn reply_internal_error(transaction: TransactionKey, proxy: &dyn Proxy) {
    // No received request is at hand that the proxy could make a tag for.
    let to_tag = format!("{:x}", transaction.0);
    let answer = Answer {
        to_tag: Some(&to_tag),
        ..Answer::bare(500, c"Server Internal Error")
    };
    proxy.reply(transaction, &answer, false);
}
