//! The thread that owns the database.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::clock::unix_s;
use super::content::ContentFolder;
use super::engine::{Batch, Engine, Failure, News, Refusal};
use super::error::StoreError;
use super::file_engine::FileEngine;
use super::location::Location;
use super::record::{Kept, SenderName, SenderOf};
use super::redis_engine::RedisEngine;
use crate::random::fill_random;
use crate::shared::StoreSpace;
use crate::threads;

/// Limits of one transaction: messages, and about so many bytes of them.
const MAX_BATCH: usize = 1024;
const MAX_BATCH_BYTES: usize = 16 * 1024 * 1024;

/// Maximum number of senders that wait to be written.
const MAX_SENDERS: usize = 10_000;

/// About how many bytes of messages one read returns.
const READ_BYTES: usize = 1024 * 1024;

/// How many messages are read at a time for somebody who looks at them, between transactions.
const LOOKED_AT: usize = 32;

/// Bytes that a message takes in the database in addition to its record and identity.
const ROW_BYTES: u64 = 256;

/// Interval between attempts to reopen a database that has failed.
const RETRY: Duration = Duration::from_secs(1);

/// How much longer than a look at what other nodes do the thread waits for the next one, at least:
/// a slow server has time for messages too.
const TENDING_SHARE: u32 = 4;

/// How long the end of a process waits until everything is written. What must not end earlier is
/// derived from it: the process itself, and the patience of the next proxy.
pub const ENDING: Duration = Duration::from_secs(3);

/// Interval between deletions of identities whose repetitions need not be recognised any more.
const CLEAR_UP: Duration = Duration::from_secs(10);

/// Interval between attempts to give back what the store does not need, and between portions of it.
const TIDY: Duration = Duration::from_secs(1);
const TIDY_ON: Duration = Duration::from_millis(100);

/// Who gets disposition notifications about a message, as other nodes know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundSender {
    /// This one.
    At(String),
    /// Nobody: the message is unknown.
    Nobody,
    /// The store cannot be asked now.
    NotNow,
}

/// A report of the thread.
#[derive(Debug)]
pub enum Report {
    /// These messages are on disk.
    Kept(Vec<u64>),
    /// These are not, and never will be.
    Refused(Vec<u64>, Refusal),
    /// The message that was asked for.
    Message(Box<Kept>),
    /// The message that was asked for cannot be read now.
    Missing(u64),
    /// The message that was asked for does not exist.
    Gone(u64),
    /// Messages that somebody looks at, for the reason with this number, as far as they can be
    /// read; and those that come next.
    Seen(u64, Vec<Kept>, Vec<u64>),
    /// The next of the messages that are left over; empty: there are no more.
    LeftOver(Vec<Kept>),
    /// There may be messages that are left over.
    HasLeftOver,
    /// Another node has taken over these messages.
    Lost(Vec<u64>),
    /// Recipients with these hashes have arrived at other nodes.
    Arrived(Vec<u32>),
    /// The answer to the question with this number.
    Sender(u64, FoundSender),
    /// They cannot be read now, for this reason; `None`: the database is being reopened.
    NotNow(Option<String>),
    /// The database failed for this reason. It is reopened as soon as possible.
    Failing(String),
    /// It can be used again.
    Works,
}

enum Command {
    Keep(Kept),
    Ended(Vec<(u64, Vec<u8>)>),
    Done(Vec<u64>),
    Read(u64),
    ReadLeftOver,
    Look(u64, Vec<u64>),
    NoteSender(SenderOf),
    FindSender(u64, SenderName),
    Arrived(Vec<u32>),
}

/// Figures that every thread may read.
#[derive(Debug, Default)]
struct Figures {
    write_us: AtomicU64,
}

/// The handle of the thread. Dropping it waits until the thread has carried out every command, or
/// three seconds: new messages were written before anybody was told that they are accepted, and an
/// outcome that is not written means one more copy under the same identity.
#[derive(Debug)]
pub struct Store {
    commands: Option<Sender<Command>>,
    reports: Receiver<Report>,
    figures: Arc<Figures>,
    space: StoreSpace,
    thread: Option<JoinHandle<()>>,
    next_id: u64,
}

impl Store {
    /// Opens the store and starts its thread. `signal` becomes readable whenever there is a
    /// [report](Self::report). Repetitions are recognised for `taken_s` seconds. A server is
    /// connected to by the thread.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn start(
        location: Location,
        space: StoreSpace,
        taken_s: u64,
        signal: Arc<OwnedFd>,
    ) -> Result<Self, StoreError> {
        let place = location.clone();
        let folder = location.content();
        let mut contents = Vec::new();
        let (engine, next_id): (Box<dyn Engine>, u64) = match location {
            Location::Folder(dir) => {
                let engine = FileEngine::new(dir)?;
                contents = engine.contents()?;
                let next_id = engine.first_id();
                (Box::new(engine), next_id)
            }
            Location::Server(server, node) => (Box::new(RedisEngine::new(*server, node)), any_id()),
        };
        let is_open = matches!(place, Location::Folder(_));
        let figures = Arc::new(Figures::default());
        space.set_database(engine.bytes().unwrap_or(0));
        let (commands, for_thread) = mpsc::channel();
        let (from_thread, reports) = mpsc::channel();
        let writer = Writer {
            engine,
            is_open,
            has_failed: false,
            tend: Instant::now(),
            space,
            folder,
            contents: contents
                .into_iter()
                .map(|(id, name, bytes)| (id, (name, bytes)))
                .collect(),
            taken_s,
            commands: for_thread,
            reports: from_thread,
            signal,
            figures: Arc::clone(&figures),
            ended: BTreeMap::new(),
            done: BTreeSet::new(),
            senders: Vec::new(),
            at_work: Vec::new(),
            taken: VecDeque::new(),
            retry: Instant::now(),
            clear_up: Instant::now() + CLEAR_UP,
            tidy: Instant::now() + TIDY,
            is_tidy: true,
        };
        let thread = threads::spawn("cpm-store", move || writer.run());
        let not_started = |error: io::Error| match &place {
            Location::Folder(dir) => StoreError::of_folder(dir, error),
            Location::Server(server, _) => StoreError::of_server(server, error.to_string()),
        };
        Ok(Store {
            commands: Some(commands),
            reports,
            figures,
            space,
            thread: Some(thread.map_err(not_started)?),
            next_id,
        })
    }

    /// A number for a new message.
    pub fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Stores a message; [`Report::Kept`] follows once it is on disk. `false`: it never will be.
    pub fn keep(&self, kept: Kept) -> bool {
        self.tell(Command::Keep(kept))
    }

    /// Records which recipients of messages have ended.
    pub fn ended(&self, ended: Vec<(u64, Vec<u8>)>) {
        self.tell(Command::Ended(ended));
    }

    /// Removes messages whose last recipient has ended.
    pub fn done(&self, done: Vec<u64>) {
        self.tell(Command::Done(done));
    }

    /// Reads a message; [`Report::Message`], [`Report::Missing`] or
    /// [`Report::Gone`] follows.
    pub fn read(&self, id: u64) {
        self.tell(Command::Read(id));
    }

    /// Reads the next messages that another process has accepted and this one has to deliver;
    /// [`Report::LeftOver`] or [`Report::NotNow`] follows.
    pub fn read_left_over(&self) {
        self.tell(Command::ReadLeftOver);
    }

    /// Reads a portion of these messages for somebody who looks at them; [`Report::Seen`] with this
    /// number follows.
    pub fn look(&self, number: u64, ids: Vec<u64>) {
        self.tell(Command::Look(number, ids));
    }

    /// Records who gets disposition notifications about a message, for all nodes.
    pub fn note_sender(&self, sender: SenderOf) {
        self.tell(Command::NoteSender(sender));
    }

    /// Asks who gets disposition notifications about a message; [`Report::Sender`] with this number
    /// follows. `false`: it never will.
    pub fn find_sender(&self, number: u64, name: SenderName) -> bool {
        self.tell(Command::FindSender(number, name))
    }

    /// Tells other nodes that recipients with these hashes have arrived.
    pub fn tell_arrived(&self, hashes: Vec<u32>) {
        self.tell(Command::Arrived(hashes));
    }

    /// The next report of the thread.
    pub fn report(&self) -> Option<Report> {
        self.reports.try_recv().ok()
    }

    /// Bytes in use.
    pub fn bytes(&self) -> u64 {
        self.space.bytes()
    }

    /// Duration of the last transaction that waited for the disk, in microseconds.
    pub fn write_us(&self) -> u64 {
        self.figures.write_us.load(Relaxed)
    }

    fn tell(&self, command: Command) -> bool {
        let commands = self.commands.as_ref();
        commands.is_some_and(|commands| commands.send(command).is_ok())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.commands = None;
        let Some(thread) = self.thread.take() else {
            return;
        };
        let end = Instant::now() + ENDING;
        let last = loop {
            let left = end.saturating_duration_since(Instant::now());
            if let Err(last) = self.reports.recv_timeout(left) {
                break last;
            }
        };
        if last == RecvTimeoutError::Disconnected {
            // It is over, and never panics: a panic within a turn is caught.
            let _ = thread.join();
        }
    }
}

struct Writer {
    engine: Box<dyn Engine>,
    /// Otherwise it is to be opened.
    is_open: bool,
    /// Whether it has failed since it was last open.
    has_failed: bool,
    /// When it is next tended, if its engine wants that.
    tend: Instant,
    space: StoreSpace,
    /// Where the content of large messages is, if they are kept.
    folder: Option<ContentFolder>,
    /// The files of large messages, and their sizes.
    contents: HashMap<u64, (String, u64)>,
    taken_s: u64,
    commands: Receiver<Command>,
    reports: Sender<Report>,
    signal: Arc<OwnedFd>,
    figures: Arc<Figures>,
    /// Outcomes that are not written yet.
    ended: BTreeMap<u64, Vec<u8>>,
    done: BTreeSet<u64>,
    senders: Vec<SenderOf>,
    /// Messages that are being written.
    at_work: Vec<u64>,
    /// Messages whose repetitions are to be recognised, and until when.
    taken: VecDeque<(Instant, u64)>,
    retry: Instant,
    clear_up: Instant,
    /// When what is not needed is next given back.
    tidy: Instant,
    /// Whether none of it was left.
    is_tidy: bool,
}

impl Writer {
    fn run(mut self) {
        loop {
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn()));
            match turn {
                Ok(true) => {}
                Ok(false) => return self.engine.leave(),
                Err(_) => {
                    let lost = std::mem::take(&mut self.at_work);
                    let failure = Failure {
                        why: "internal error".to_owned(),
                        refusal: Refusal::Down,
                    };
                    self.fail(failure, lost);
                }
            }
        }
    }

    /// False: the handle is gone, and everything is written.
    fn turn(&mut self) -> bool {
        let is_behind = !self.is_open || !self.ended.is_empty() || !self.done.is_empty();
        let mut wait = if is_behind { RETRY } else { CLEAR_UP };
        if self.is_open && self.engine.tends().is_some() {
            wait = wait.min(self.tend.saturating_duration_since(Instant::now()));
        }
        if self.is_open && !self.is_tidy {
            wait = wait.min(self.tidy.saturating_duration_since(Instant::now()));
        }
        let mut is_over = false;
        let mut gathered = Vec::new();
        let mut bytes = 0;
        let mut next = match self.commands.recv_timeout(wait) {
            Ok(command) => Some(command),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                is_over = true;
                None
            }
        };
        while let Some(command) = next {
            if let Command::Keep(kept) = &command {
                bytes += kept.record.len();
            }
            gathered.push(command);
            let is_full = gathered.len() >= MAX_BATCH || bytes >= MAX_BATCH_BYTES;
            next = if is_full {
                None
            } else {
                self.commands.try_recv().ok()
            };
        }
        self.carry_out(gathered);
        if !is_over {
            self.tend();
            self.tidy();
        }
        !is_over
    }

    fn carry_out(&mut self, gathered: Vec<Command>) {
        let (mut kept, mut reads, mut finds) = (Vec::new(), Vec::new(), Vec::new());
        let mut looks = Vec::new();
        let mut wants_left_over = false;
        for command in gathered {
            match command {
                Command::Keep(message) => kept.push(message),
                Command::Ended(ended) => self.ended.extend(ended),
                Command::Done(done) => self.done.extend(done),
                Command::Read(id) => reads.push(id),
                Command::ReadLeftOver => wants_left_over = true,
                Command::Look(number, ids) => looks.push((number, ids)),
                Command::NoteSender(sender) if self.senders.len() < MAX_SENDERS => {
                    self.senders.push(sender);
                }
                Command::NoteSender(_) => {}
                Command::FindSender(number, name) => finds.push((number, name)),
                Command::Arrived(hashes) => {
                    self.engine.tell_arrived(&hashes);
                    self.tend = Instant::now();
                }
            }
        }
        for id in &self.done {
            self.ended.remove(id);
        }
        if self.has_failed {
            // Opening it may take time that their senders do not have.
            self.refuse(&mut kept);
        }
        self.open();
        self.write(kept);
        self.read(&reads);
        for (number, ids) in looks {
            self.look(number, &ids);
        }
        self.find_senders(&finds);
        if wants_left_over {
            self.read_left_over();
        }
    }

    fn open(&mut self) {
        if self.is_open || Instant::now() < self.retry {
            return;
        }
        let opened = self.engine.open();
        self.retry = Instant::now() + RETRY;
        match opened {
            Ok(()) => {
                self.is_open = true;
                self.space.set_down(false);
                if std::mem::take(&mut self.has_failed) {
                    self.say(Report::Works);
                }
            }
            // The reason may be another one than before.
            Err(failure) if !self.has_failed => self.fail(failure, Vec::new()),
            Err(_) => {}
        }
    }

    /// Has the engine tended, where it wants that, and passes on what other nodes do.
    fn tend(&mut self) {
        let Some(interval) = self.engine.tends() else {
            return;
        };
        let now = Instant::now();
        if self.is_open && now >= self.tend {
            let tended = self.engine.tend();
            let took = now.elapsed();
            self.tend = Instant::now() + interval.max(took * TENDING_SHARE);
            if let Err(failure) = tended {
                self.fail(failure, Vec::new());
            }
        }
        let News {
            lost,
            arrived,
            has_left_over,
        } = self.engine.news();
        if !lost.is_empty() {
            for id in &lost {
                self.ended.remove(id);
                self.done.remove(id);
                if let Some((_, bytes)) = self.contents.remove(id) {
                    self.space.give_back(bytes);
                }
            }
            self.say(Report::Lost(lost));
        }
        if !arrived.is_empty() {
            self.say(Report::Arrived(arrived));
        }
        if has_left_over {
            self.say(Report::HasLeftOver);
        }
    }

    /// Has the engine give back what it does not need.
    fn tidy(&mut self) {
        if !self.is_open || Instant::now() < self.tidy {
            return;
        }
        match self.engine.tidy() {
            Ok(is_more) => {
                self.is_tidy = !is_more;
                self.measure();
            }
            // Whatever is the matter, the next transaction finds out.
            Err(_) => self.is_tidy = true,
        }
        self.tidy = Instant::now() + if self.is_tidy { TIDY } else { TIDY_ON };
    }

    fn measure(&self) {
        if let Some(bytes) = self.engine.bytes() {
            self.space.set_database(bytes);
        }
    }

    fn refuse(&mut self, kept: &mut Vec<Kept>) {
        let refused: Vec<u64> = kept.drain(..).map(|message| message.id).collect();
        if !refused.is_empty() {
            self.say(Report::Refused(refused, Refusal::Down));
        }
    }

    /// Writes new messages and outcomes in one transaction.
    fn write(&mut self, mut kept: Vec<Kept>) {
        let over = self.within_limit(&mut kept);
        if !over.is_empty() {
            self.say(Report::Refused(over, Refusal::Full));
        }
        if !self.is_open {
            return self.refuse(&mut kept);
        }
        self.at_work = kept.iter().map(|message| message.id).collect();
        let now = Instant::now();
        let forgotten = self.forgotten(now);
        let is_idle = kept.is_empty() && self.ended.is_empty() && self.done.is_empty();
        if is_idle && self.senders.is_empty() && forgotten.is_none() {
            return;
        }
        let batch = Batch {
            kept: kept.iter().collect(),
            taken_until_s: unix_s() + self.taken_s,
            ended: self
                .ended
                .iter()
                .map(|(id, ended)| (*id, &ended[..]))
                .collect(),
            done: self.done.iter().copied().collect(),
            senders: self.senders.iter().collect(),
            forgotten,
        };
        let written = self.engine.write(&batch);
        let ids = std::mem::take(&mut self.at_work);
        if let Err(failure) = written {
            return self.fail(failure, ids);
        }
        self.ended.clear();
        self.senders.clear();
        self.measure();
        let contents = kept
            .into_iter()
            .filter_map(|kept| Some((kept.id, kept.content?)));
        self.contents.extend(contents);
        self.remove_contents();
        if let Some(id) = forgotten {
            self.taken.retain(|(_, taken)| *taken > id);
        }
        if !ids.is_empty() {
            let us = u64::try_from(now.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.figures.write_us.store(us, Relaxed);
            let until = now + Duration::from_secs(self.taken_s);
            self.taken.extend(ids.iter().map(|id| (until, *id)));
            self.say(Report::Kept(ids));
        }
    }

    /// Content that another process has stored is removed by this one.
    fn take_over_contents(&mut self, messages: &[Kept]) {
        for message in messages {
            let Some((name, bytes)) = &message.content else {
                continue;
            };
            let own = (name.clone(), *bytes);
            // That of a folder was known at the start.
            if self.contents.insert(message.id, own).is_none() {
                self.space.take_over(*bytes);
            }
        }
    }

    /// Removes the files of messages that have left the database.
    fn remove_contents(&mut self) {
        for id in std::mem::take(&mut self.done) {
            // A file that cannot be removed now goes at the next start.
            if let Some((name, bytes)) = self.contents.remove(&id)
                && let Some(folder) = &self.folder
                && folder.remove(&name).is_ok()
            {
                self.space.give_back(bytes);
            }
        }
    }

    /// Removes those that the store has no room for, and returns their numbers.
    fn within_limit(&self, kept: &mut Vec<Kept>) -> Vec<u64> {
        let mut left = self.space.left();
        let mut free = if kept.is_empty() {
            0
        } else {
            self.engine.free_bytes()
        };
        let mut over = Vec::new();
        kept.retain(|message| {
            let size = (message.record.len() + message.identity.len()) as u64 + ROW_BYTES;
            // It is in the log first, and then in the database too.
            let in_free = size.min(free);
            let takes = size + (size - in_free);
            let fits = takes <= left;
            match fits {
                true => (left, free) = (left - takes, free - in_free),
                false => over.push(message.id),
            }
            fits
        });
        over
    }

    /// The last message whose repetitions need not be recognised any more, once per interval.
    fn forgotten(&mut self, now: Instant) -> Option<u64> {
        if now < self.clear_up {
            return None;
        }
        self.clear_up = now + CLEAR_UP;
        let over = self.taken.partition_point(|(until, _)| *until <= now);
        let last = self.taken.get(over.checked_sub(1)?);
        last.map(|(_, id)| *id)
    }

    /// The database has failed. New messages are refused; any of them that may be on disk all the
    /// same is removed as soon as possible.
    fn fail(&mut self, Failure { why, refusal }: Failure, refused: Vec<u64>) {
        self.engine.close();
        self.is_open = false;
        self.has_failed = true;
        self.space.set_down(true);
        self.retry = Instant::now() + RETRY;
        self.done.extend(&refused);
        if !refused.is_empty() {
            self.say(Report::Refused(refused, refusal));
        }
        self.say(Report::Failing(why));
    }

    fn read(&mut self, ids: &[u64]) {
        if ids.is_empty() {
            return;
        }
        let found = self.engine.read(ids).ok();
        let mut found = found.into_iter().flatten();
        for id in ids {
            self.say(match found.next() {
                Some(Some(message)) => Report::Message(Box::new(message)),
                Some(None) => Report::Gone(*id),
                None => Report::Missing(*id),
            });
        }
    }

    fn look(&mut self, number: u64, ids: &[u64]) {
        let (now, later) = ids.split_at(ids.len().min(LOOKED_AT));
        let found = self.engine.read(now).unwrap_or_default();
        let found = found.into_iter().flatten().collect();
        self.say(Report::Seen(number, found, later.to_vec()));
    }

    fn find_senders(&mut self, asked: &[(u64, SenderName)]) {
        if asked.is_empty() {
            return;
        }
        let names: Vec<SenderName> = asked.iter().map(|(_, name)| *name).collect();
        let found = self.engine.find_senders(&names).ok();
        let mut found = found.into_iter().flatten();
        for (number, _) in asked {
            let sender = match found.next() {
                Some(Some(uri)) => FoundSender::At(uri),
                Some(None) => FoundSender::Nobody,
                None => FoundSender::NotNow,
            };
            self.say(Report::Sender(*number, sender));
        }
    }

    fn read_left_over(&mut self) {
        if !self.is_open {
            return self.say(Report::NotNow(None));
        }
        let found = self.engine.left_over(READ_BYTES);
        let report = match found {
            Ok(messages) => {
                self.take_over_contents(&messages);
                Report::LeftOver(messages)
            }
            Err(failure) => Report::NotNow(Some(failure.why)),
        };
        self.say(report);
    }

    fn say(&self, report: Report) {
        // Without a receiver the report is of no use; a full counter is readable already.
        if self.reports.send(report).is_ok() {
            let _ = rustix::io::write(&self.signal, &1_u64.to_ne_bytes());
        }
    }
}

/// The first of the numbers of this process's messages, where others have numbers of their own.
fn any_id() -> u64 {
    let mut random = [0; 8];
    fill_random(&mut random);
    // Room for as many as one process can have, and a positive number for any database.
    u64::from_ne_bytes(random) >> 2
}

#[cfg(test)]
mod tests;
