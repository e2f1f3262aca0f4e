//! Assembles the service: policy, shared memory, relay. Before the proxy forks.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::asking;
use super::current::Current;
use super::heard::MAX_LISTED;
use super::keeping::KeptGauges;
use super::letter;
use super::location::location;
use super::messages::{self, Filter};
use super::process::Process;
use super::proxy::Proxy;
use super::query::{Desk, QueryResult, SharedGauges, Visitor, visit};
use crate::controlling::express::{Lane, LaneMemory};
use crate::controlling::large_message_mode::{LargeModeSettings, MsrpAddresses};
use crate::controlling::{ControllingFunction, GroupFinder, Ids, SenderTable, fill_random};
use crate::group::source::SourceError;
use crate::log::at;
use crate::names::{self, NameTable, Names};
use crate::operator::Gauge;
use crate::policy::{
    IdKeyError, ReloadError, RunsAs, Settings, SettingsError, StateDirError, TuneError,
};
use crate::relay::{Listeners, Relay, RelayError, RelaySettings, RelayStore};
use crate::sessions::Question;
use crate::shared::{
    Arrivals, Ends, LongLists, MessageTable, OutstandingTable, RequestTable, StoreSpace,
};
use crate::sip::Uri;
use crate::store::{ContentFolder, Database, Location, StoreError, StoreLock, survey};

/// A service that has started. Each process has a copy of its own.
pub struct Service {
    /// As configured, without the file of parameters.
    configured: Settings,
    /// Whether it has started with processes for groups.
    pub(super) has_groups: bool,
    pub(super) current: Current,
    shared: Rc<Shared>,
    /// Resources to start the relay, until one process takes them.
    relay: RefCell<Option<(RelaySettings, Listeners)>>,
}

/// Data shared by all processes, in addition to that of the Controlling Function.
#[derive(Debug)]
pub(super) struct Shared {
    /// Where an operator's questions about sessions are answered; `None`: there are no sessions.
    pub(super) desk: Option<Desk>,
    pub(super) gauges: SharedGauges,
    /// Of the store; without one there are no numbers.
    pub(super) kept: KeptGauges,
    /// Where questions about stored messages are answered.
    pub(super) kept_desk: Option<Rc<Desk>>,
    /// The right to the store, which ends with the last process.
    _lock: Option<StoreLock>,
    /// How often clearing the caches of groups was requested.
    pub(super) flushes: &'static AtomicU64,
}

/// Why the service cannot start: one line for the operator.
#[derive(Debug)]
pub enum StartError {
    /// Parameters conflict.
    Settings(SettingsError),
    /// The parameters, with the file of parameters.
    Parameters(ReloadError),
    /// A group source.
    Source(SourceError),
    /// The state directory, or the spool.
    StateDir(StateDirError),
    /// The key for the ids.
    IdKey(IdKeyError),
    /// The store.
    Store(StoreError),
    /// There is not enough shared memory for this parameter.
    NoMemory(&'static str),
    /// The MSRP relay.
    Relay(RelayError),
    /// The proxy has no SIP listener, and its address is not configured.
    NoContact,
    /// Names cannot be looked up.
    Names(io::Error),
    /// There is no file for answers to operators.
    Desk(io::Error),
    /// There is no large message mode, or another process has the relay.
    NoLargeMode,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Settings(error) => error.fmt(f),
            StartError::Parameters(error) => error.fmt(f),
            StartError::Source(error) => error.fmt(f),
            StartError::StateDir(error) => error.fmt(f),
            StartError::IdKey(error) => error.fmt(f),
            StartError::Store(error) => error.fmt(f),
            StartError::Relay(error) => error.fmt(f),
            StartError::NoMemory(what) => write!(f, "there is no memory for so many {what}"),
            StartError::NoContact => {
                f.write_str("the proxy has no listener for SIP: set contact_uri")
            }
            StartError::Names(error) => write!(f, "names cannot be looked up: {error}"),
            StartError::Desk(error) => write!(f, "no memory file for answers: {error}"),
            StartError::NoLargeMode => f.write_str("there is no MSRP relay to start"),
        }
    }
}

impl std::error::Error for StartError {}

macro_rules! from {
    ($($error:ident => $kind:ident),*) => {$(
        impl From<$error> for StartError {
            fn from(error: $error) -> Self {
                StartError::$kind(error)
            }
        }
    )*};
}
from!(SettingsError => Settings, SourceError => Source, StateDirError => StateDir,
    IdKeyError => IdKey, ReloadError => Parameters, RelayError => Relay, StoreError => Store);

impl Service {
    /// Checks the parameters against each other, creates the state directory, opens the MSRP
    /// listeners. `own_uri`: the proxy's own address. `key_seed`: random.
    ///
    /// # Errors
    ///
    /// [`StartError`]
    pub fn start(
        configured: Settings,
        runs_as: Option<RunsAs>,
        key_seed: u64,
        own_uri: &str,
        proxy: &dyn Proxy,
    ) -> Result<Self, StartError> {
        // An invalid configuration must not leave a folder behind.
        let mut settings = configured.reloaded(&configured)?;
        check_group_sources(&settings, proxy)?;
        let notice = |line: fmt::Arguments<'_>| proxy.log(at!(Notice), line);
        if let Some(why) = settings.prepare_state_dir(runs_as)? {
            notice(format_args!("{why}; continuing without a state directory"));
        }
        if settings.large_mode.is_on()
            && let Some(file_system) = settings.prepare_spool_dir(runs_as)?
        {
            notice(format_args!(
                "the spool for large messages lies in memory ({file_system}): name a folder on a disk with \
                 msrp_spool_dir, or none"
            ));
        }
        // The default state directory may have gone, and with it what the store needs.
        settings.check()?;
        if let Some(file_system) = settings.prepare_store_dir(runs_as)? {
            notice(format_args!(
                "the store lies in memory ({file_system}): what is in it is lost when the machine goes down"
            ));
        }
        let id_key = settings.id_key(runs_as)?;
        let mut control = ControllingFunction::new(settings, key_seed)?;
        // Without it every request to a name goes through the process that looks up names.
        let table = proxy.share(names::TABLE_WORDS);
        let names = Names {
            servers: control.settings().dns_servers.clone(),
            table: table.map(|words| NameTable::new(words, monotonic_s)),
        };
        control = control.with_names(names.clone());
        if let Some(key) = id_key {
            control = control.with_ids(Ids::new(&key));
        }
        let records = control.settings().imdn_records;
        if records > 0 {
            let words = share_filled(proxy, SenderTable::words(records), "imdn_records")?;
            let senders = match control.shares_store() {
                true => {
                    SenderTable::with_key(words, &control.ids().derived("senders"), monotonic_s)
                }
                false => SenderTable::new(words, fill_random, monotonic_s),
            };
            control = control.with_senders(senders);
        }
        let requests = control.settings().request_records;
        if requests > 0 {
            let words = share_filled(proxy, RequestTable::words(requests), "request_records")?;
            control = control.with_requests(RequestTable::new(words, fill_random, monotonic_s));
        }
        let records = control.settings().message_records;
        let words = share_filled(proxy, MessageTable::words(records), "message_records")?;
        control = control.with_messages(MessageTable::new(words, records, monotonic_ms));
        let (lock, content_bytes) = take_over(&control, runs_as, &notice)?;
        if control.keeps_messages() {
            let words = share(proxy, StoreSpace::WORDS, "the store")?;
            let space = StoreSpace::new(words, control.settings().store_max_bytes as u64);
            space.set_content(content_bytes);
            control = control.with_store_space(space);
            let words = share(proxy, Ends::WORDS, "ends of copies")?;
            control = control.with_ends(Ends::new(words));
            if !control.settings().deferral.codes.is_empty() {
                let words = share(proxy, Arrivals::WORDS, "recipients that arrive")?;
                control = control.with_arrivals(Arrivals::new(words));
            }
        }
        if let Some([draining, lists, ..]) = proxy.share(2) {
            control = control.with_draining(draining);
            control = control.with_long_lists(LongLists::new(lists));
        }
        if let Some(words) = proxy.share(OutstandingTable::WORDS) {
            control = control.with_outstanding(OutstandingTable::new(words, key_seed, monotonic_s));
        }
        if control.settings().express
            && let Some(words) = proxy.share(LaneMemory::WORDS)
        {
            let lane = Lane::new(LaneMemory::new(words), fill_random);
            control = control.with_lane(lane);
        }
        let mut relay = None;
        if control.settings().large_mode.is_on() {
            let folder = location(&control)?.and_then(|place| place.content());
            let store = folder
                .zip(control.content_space())
                .map(|(folder, space)| RelayStore { folder, space });
            let settings = RelaySettings {
                names,
                store,
                ..RelaySettings::new(control.settings())
            };
            let listeners = Listeners::bind(&settings)?;
            let policy = &control.settings().large_mode;
            let addresses = MsrpAddresses::new(policy, listeners.fingerprint());
            let contact = policy.contact_uri.as_deref().unwrap_or(own_uri);
            if !matches!(Uri::parse(contact), Ok(Uri::Sip(_))) {
                return Err(StartError::NoContact);
            }
            let large_mode = LargeModeSettings::new(policy, contact.to_owned(), addresses);
            control = control.with_large_mode(large_mode);
            relay = Some((settings, listeners));
        }
        Ok(Service {
            configured,
            has_groups: !control.settings().group_sources.is_empty(),
            shared: Rc::new(Shared::new(&control, lock, proxy)?),
            current: Current::new(control, |words| proxy.share(words)),
            relay: RefCell::new(relay),
        })
    }

    /// The Controlling Function in force for new work.
    pub fn control(&self) -> Rc<ControllingFunction> {
        self.current.control()
    }

    /// The settings as configured, without the file of parameters.
    pub(super) fn configured(&self) -> &Settings {
        &self.configured
    }

    /// Changes a parameter in all processes, for new work. With `only_try` nothing changes.
    ///
    /// # Errors
    ///
    /// [`TuneError`]
    pub fn tune(&self, name: &str, value: &str, only_try: bool) -> Result<(), TuneError> {
        self.current.tune(name, value, only_try)
    }

    /// The current value of a gauge.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        let control = self.control();
        let lane = control.lane().map(RefCell::borrow);
        let memory = lane.as_ref().map(|lane| lane.memory());
        match gauge {
            Gauge::ExpressOutstanding => memory.map_or(0, LaneMemory::outstanding),
            Gauge::ExpressMemory => memory.map_or(0, LaneMemory::bytes),
            _ => {
                let kept = self.shared.kept.read(gauge);
                kept.unwrap_or_else(|| self.shared.gauges.read(gauge))
            }
        }
    }

    /// Accepts no new message from now on, in any process, or accepts them again. `visitor` gets
    /// the number of recipients and sessions that are under way.
    pub fn drain(&self, is_draining: bool, visitor: &mut dyn Visitor) -> QueryResult {
        if !self.control().drain(is_draining) {
            return QueryResult::NoAnswer;
        }
        let [kept, express, sessions] = [
            Gauge::Outstanding,
            Gauge::ExpressOutstanding,
            Gauge::Sessions,
        ]
        .map(|gauge| self.gauge(gauge));
        // The copies in the lane are those of messages in the store, where there is one.
        let under_way = kept.max(express) + sessions;
        let draining = u8::from(is_draining);
        visit(
            &format!("draining={draining}\tunder_way={under_way}\n"),
            visitor,
        );
        QueryResult::Answered
    }

    /// Clears the caches of groups: each is read again when a message is next sent to it.
    pub fn forget_groups(&self) -> QueryResult {
        if self.control().settings().group_sources.is_empty() {
            return QueryResult::Off;
        }
        self.shared.flushes.fetch_add(1, Relaxed);
        QueryResult::Answered
    }

    /// Passes the messages that `words` ask for to `visitor`, newest first: those that are
    /// recorded, then the others of the store.
    pub fn list_messages(
        &self,
        words: &str,
        proxy: &dyn Proxy,
        visitor: &mut dyn Visitor,
    ) -> QueryResult {
        let control = self.control();
        let Some(filter) = Filter::parse(words) else {
            return QueryResult::Unknown;
        };
        let table = control.messages();
        if table.is_none() && self.shared.kept_desk.is_none() {
            return QueryResult::Off;
        }
        let mut out = String::new();
        let table = table.filter(|_| filter.recipient.is_none());
        let (found, listed) =
            table.map_or((0, 0), |table| messages::list(table, &filter, &mut out));
        if self.shared.kept_desk.is_some() && listed < filter.most {
            let (most, skip) = (filter.most - listed, filter.skip.saturating_sub(found));
            // The last of these words counts.
            let words = format!("{} {words} most={most} skip={skip}", asking::LIST);
            match self.ask_store(&words, proxy) {
                Some(kept) => out.push_str(&kept.unwrap_or_default()),
                // What is recorded is known all the same.
                None if out.is_empty() => return QueryResult::NoAnswer,
                None => {}
            }
        }
        visit(&out, visitor);
        QueryResult::Answered
    }

    /// Passes the newest message with this Message-ID, Contribution-ID, Call-ID or session to
    /// `visitor`.
    pub fn show_message(
        &self,
        id: &str,
        proxy: &dyn Proxy,
        visitor: &mut dyn Visitor,
    ) -> QueryResult {
        let (control, id) = (self.control(), id.trim());
        let table = control.messages();
        if table.is_none() && self.shared.kept_desk.is_none() {
            return QueryResult::Off;
        }
        let recorded = table.and_then(|table| messages::show(table, id));
        let shown = match recorded {
            None if self.shared.kept_desk.is_some() => {
                self.ask_store(&format!("{} {id}", asking::SHOW), proxy)
            }
            recorded => Some(recorded),
        };
        answer(shown, visitor)
    }

    /// Has the message with this Message-ID, Contribution-ID or Call-ID, or all that waits for the
    /// recipient with this URI, tried at once, or given up. `visitor` gets the number of
    /// recipients.
    pub fn hurry_message(
        &self,
        wanted: &str,
        gives_up: bool,
        proxy: &dyn Proxy,
        visitor: &mut dyn Visitor,
    ) -> QueryResult {
        if self.shared.kept_desk.is_none() {
            return QueryResult::Off;
        }
        let word = match gives_up {
            true => asking::EXPIRE,
            false => asking::RETRY,
        };
        let wanted = wanted.trim();
        let mut found = self.ask_store(&format!("{word} {wanted}"), proxy);
        let control = self.control();
        let is_recorded = |table: &MessageTable| table.find(wanted.as_bytes()).is_some();
        if found == Some(None) && control.messages().is_some_and(is_recorded) {
            // It is over: it waits for nobody.
            found = Some(Some("recipients=0\n".to_owned()));
        }
        answer(found, visitor)
    }

    /// Asks a question about stored messages. The outer `None`: there was no answer; the inner one:
    /// nothing has that name.
    fn ask_store(&self, question: &str, proxy: &dyn Proxy) -> Option<Option<String>> {
        let desk = self.shared.kept_desk.as_ref()?;
        let letter = |number| letter::asked(number, question);
        desk.ask(Process::FanOut, letter, proxy)
    }

    /// A recipient with this address is available.
    pub fn note_available(&self, address: &str) -> QueryResult {
        match self.control().note_available(address) {
            true => QueryResult::Answered,
            false => QueryResult::Off,
        }
    }

    /// Passes the outstanding copies of the express lane to `visitor`.
    pub fn list_express(&self, proxy: &dyn Proxy, visitor: &mut dyn Visitor) -> QueryResult {
        let control = self.control();
        let Some(lane) = control.lane() else {
            return QueryResult::Off;
        };
        let list = lane.borrow().list(proxy.now_ms(), MAX_LISTED);
        visit(&list, visitor);
        QueryResult::Answered
    }

    /// Asks an operator's question about sessions, and waits for the answer, which goes to
    /// `visitor`.
    pub fn ask(
        &self,
        question: &Question,
        proxy: &dyn Proxy,
        visitor: &mut dyn Visitor,
    ) -> QueryResult {
        let Some(desk) = &self.shared.desk else {
            return QueryResult::Off;
        };
        let letter = |number| letter::query(number, question);
        answer(desk.ask(Process::Sessions, letter, proxy), visitor)
    }

    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// Starts the relay, in the process for all sessions: the first one that calls it.
    pub(super) fn start_relay(&self) -> Result<Relay, StartError> {
        let (settings, listeners) = self.relay.take().ok_or(StartError::NoLargeMode)?;
        Ok(Relay::start(settings, listeners)?)
    }
}

impl Shared {
    fn new(
        control: &ControllingFunction,
        lock: Option<StoreLock>,
        proxy: &dyn Proxy,
    ) -> Result<Self, StartError> {
        let has_groups = !control.settings().group_sources.is_empty();
        let has_sessions = control.large_mode().is_some();
        // If nothing writes them, they need not be shared.
        let mut words: &'static [AtomicU64] = &[];
        if has_groups || has_sessions {
            let size = 1 + Desk::WORDS + SharedGauges::WORDS;
            words = share(proxy, size, "processes")?;
        }
        let (flushes, desk) = match words {
            [flushes, desk, ..] => (flushes, Some(desk)),
            _ => (&NONE, None),
        };
        let desk = desk.filter(|_| has_sessions).map(Desk::new).transpose();
        let kept: &'static [AtomicU64] = match control.keeps_messages() {
            true => share(proxy, Desk::WORDS + KeptGauges::WORDS, "the store")?,
            false => &[],
        };
        let kept_desk = kept.first().map(Desk::new).transpose();
        Ok(Shared {
            kept: KeptGauges(kept.get(Desk::WORDS..).unwrap_or_default()),
            kept_desk: kept_desk.map_err(StartError::Desk)?.map(Rc::new),
            _lock: lock,
            desk: desk.map_err(StartError::Desk)?,
            gauges: SharedGauges(words.get(1 + Desk::WORDS..).unwrap_or_default()),
            flushes,
        })
    }
}

/// Passes an answer to `visitor`. The outer `None`: there was none; the inner one: nothing has that
/// name.
fn answer(answer: Option<Option<String>>, visitor: &mut dyn Visitor) -> QueryResult {
    match answer {
        None => QueryResult::NoAnswer,
        Some(None) => QueryResult::Unknown,
        Some(Some(answer)) => {
            visit(&answer, visitor);
            QueryResult::Answered
        }
    }
}

/// Takes the store, where there is to be one: nobody else has it, unless nodes share it, it is fit
/// for use, requests that were taken a short while ago are known before the first one comes in, and
/// content without a message is gone. With the size of the rest.
fn take_over(
    control: &ControllingFunction,
    runs_as: Option<RunsAs>,
    notice: &dyn Fn(fmt::Arguments<'_>),
) -> Result<(Option<StoreLock>, u64), StartError> {
    let dir = match location(control)? {
        None => return Ok((None, 0)),
        Some(Location::Folder(dir)) => dir,
        Some(Location::Server(server, node)) => {
            let survey = survey(&server, &node)?;
            for line in survey.notices {
                notice(format_args!("{line}"));
            }
            for identity in survey.taken {
                control.remember(&identity);
            }
            if let Some(folder) = node.content {
                let longest = control.settings().deferral.ttl_s as u64;
                folder.sweep(Duration::from_secs(longest))?;
            }
            return Ok((None, 0));
        }
    };
    let dir = &dir;
    let owner = runs_as.map(|RunsAs { user, group }| (user, group));
    let lock = StoreLock::take(dir, owner)?;
    // Closed again: no connection crosses the fork.
    let database = Database::open(dir, owner)?;
    for identity in database.taken()? {
        control.remember(&identity);
    }
    let contents = database.contents()?;
    let bytes = contents.iter().map(|(_, _, bytes)| bytes).sum();
    let names = contents.into_iter().map(|(_, name, _)| name).collect();
    ContentFolder::of_store(dir).prepare(&names, owner)?;
    Ok((Some(lock), bytes))
}

static NONE: AtomicU64 = AtomicU64::new(0);

/// Words in a page of memory; some systems have longer ones.
const PAGE_WORDS: usize = 4096 / size_of::<AtomicU64>();

fn share(
    proxy: &dyn Proxy,
    words: usize,
    what: &'static str,
) -> Result<&'static [AtomicU64], StartError> {
    proxy.share(words).ok_or(StartError::NoMemory(what))
}

/// The same for a table that traffic fills up soon, whatever its order: it has all of its memory
/// from the beginning. Else every worker would have to stop at each page that it comes to first.
fn share_filled(
    proxy: &dyn Proxy,
    words: usize,
    what: &'static str,
) -> Result<&'static [AtomicU64], StartError> {
    let shared = share(proxy, words, what)?;
    for first in shared.iter().step_by(PAGE_WORDS) {
        first.store(0, Relaxed);
    }
    Ok(shared)
}

/// Other processes open the sources; errors must be known before they start. A server that does not
/// answer is not an error: it may start later.
pub(super) fn check_group_sources(
    settings: &Settings,
    proxy: &dyn Proxy,
) -> Result<(), SourceError> {
    GroupFinder::check(settings)?;
    for (url, source) in settings.group_sources.iter().zip(1..) {
        let Some(url) = url.strip_prefix("db:") else {
            continue;
        };
        let module = format!("db_{}", url.split(':').next().unwrap_or_default());
        if !proxy.has_database(&module) {
            return Err(SourceError::NoDatabaseModule { source, module });
        }
    }
    Ok(())
}

/// Seconds of the clock that all processes share.
fn monotonic_s() -> u64 {
    monotonic_ms() / 1_000
}

/// Milliseconds of the same clock, which never runs backwards.
pub fn monotonic_ms() -> u64 {
    monotonic_us() / 1_000
}

/// Microseconds of the same clock.
pub fn monotonic_us() -> u64 {
    use rustix::time::{ClockId, clock_gettime};

    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1_000).unwrap_or(0)
}
