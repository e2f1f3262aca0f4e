//! The relay of the module process: MSRP on sockets, for all large message sessions.
//!
//! The main thread of the process owns the [session machines](crate::controlling::large_message_mode::Session) and is the only
//! one that calls the proxy. It tells the relay what to do by [`RelayCommand`]s and learns what happened from
//! [`RelayEvent`]s. The relay's own threads do all that could make it wait:
//!
//! ```text
//!  main thread --RelayCommand--> cpm-relay: sockets, TLS, clock --write, read--> cpm-spool: spool files
//!       ^                            |  ^                       --host name----> cpm-names: addresses
//!       +-------- RelayEvent --------+  +------------- results ---------------------+
//! ```

//!
//! | file | job |
//! |---|---|
//! | `settings`, `listeners` | what the operator sets; what is made of it before the fork |
//! | `core` | the relay thread: its loop, and what a fault of ours costs |
//! | `commands` | what the main thread asks for, and what other threads bring |
//! | `connecting`, `parting` | connections that we open; how ends and connections part |
//! | `reading`, `writing` | from the socket to the session, from the fan-out to the socket |
//! | `actions` | what the originator's end and the fan-out want done |
//! | `limits`, `holding` | how memory and spool are shared among sessions; originators who wait for that |
//! | `connection`, `session` | what there is of one connection, of one session |
//! | `tls` | certificates and fingerprints |
//! | `spool`, [`names`](crate::names) | the other threads |
//! | `input`, `events`, `progress` | between the threads: in, out, and what may be looked at |
//! | `timers`, `id_map` | deadlines; maps by our own ids |
//! | `outage` | which lines the log gets about something that is out of order |
//!
//! Each leg whose recipient waits for us gets a connection of its own, even if two recipients stand behind one address: RFC 4975
//! §5.4 permits to share one, and a recipient who reads slowly would hold the other up. Peers that connect to us may
//! use one connection for many sessions; then those take turns.
//!
//! Sockets are waited for through `mio`: edge-triggered, so that back-pressure and a socket that is full cost no system
//! call, and not a line of it is ours to keep right.

mod accepting;
mod actions;
mod commands;
mod connecting;
mod connection;
mod core;
mod events;
mod holding;
mod id_map;
mod input;
mod limits;
mod listeners;
mod outage;
mod parting;
mod progress;
mod reading;
mod session;
mod settings;
mod spool;
#[cfg(test)]
mod tests;
mod timers;
mod tls;
mod writing;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mio::{Poll, Waker};

pub use listeners::{Listeners, RelayError};
pub use settings::{Listen, RelayLimits, RelaySettings, TlsFiles};

use self::accepting::Unbound;
use self::core::{Core, Listener, WAKER};
use self::events::{EventReceiver, event_queue};
use self::id_map::{IdMap, IdSet};
use self::input::{Input, InputSender, input_queue};
use self::outage::Outage;
use self::progress::Shared;
use self::spool::Spool;
use self::timers::{Timer, Timers};

use crate::log::LogLevel;
use crate::msrp_control::{LegNumber, MsrpEvent, RelayCommand, SessionId};
use crate::names::{Found, NameThread, Names};
use crate::session::LegState;
use crate::threads;

/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 4;

/// What the relay has to say.
#[derive(Debug)]
pub enum RelayEvent {
    /// Something happened to a session.
    Session(SessionId, MsrpEvent),
    /// A line for the log.
    Log(LogLevel, String),
}

/// How far a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionProgress {
    /// Content bytes that came from the originator.
    pub received: u64,
    /// Size of the message, if it is known.
    pub total: Option<u64>,
    /// The originator is not read from, since legs have not taken what memory holds.
    pub is_held_back: bool,
    /// The legs in the order in which they were opened.
    pub legs: Vec<LegProgress>,
}

/// How far a leg is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegProgress {
    /// Which leg.
    pub number: LegNumber,
    /// Content bytes that have gone out.
    pub written: u64,
    /// Content bytes in chunks that were answered with 200.
    pub delivered: u64,
    /// Its state.
    pub state: LegState,
}

/// What the relay holds in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RelayTotals {
    /// Sessions that were opened and not forgotten.
    pub sessions: usize,
    /// Connections.
    pub connections: usize,
    /// Of these, accepted and without session.
    pub unbound: usize,
    /// Content in memory, bytes.
    pub memory_bytes: usize,
    /// Content in spool files, bytes.
    pub spool_bytes: u64,
    /// Sessions whose originator is held back.
    pub held_back: usize,
}

/// The running relay, in the hands of the main thread. Dropped, it stops by itself, and nobody waits for that.
#[derive(Debug)]
pub struct Relay {
    inputs: InputSender,
    events: EventReceiver,
    shared: Arc<Shared>,
    /// Closed when the relay thread has ended.
    ended: Receiver<()>,
}

impl Relay {
    /// Starts the threads, in which every signal is blocked.
    ///
    /// # Errors
    /// [`RelayError`] if there are no threads or descriptors to be had.
    pub fn start(settings: RelaySettings, listeners: Listeners) -> Result<Self, RelayError> {
        Self::try_start(settings.limits, settings.names, listeners)
            .map_err(|error| RelayError(format!("the MSRP relay cannot start: {error}")))
    }

    fn try_start(limits: RelayLimits, names: Names, listeners: Listeners) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let (inputs, input_receiver) = input_queue(waker);
        let found = inputs.clone();
        let (event_sender, events) = event_queue()?;
        let shared = Arc::new(Shared::default());
        let sockets = listeners.sockets.into_iter().enumerate();
        let listening = sockets
            .map(|(index, (socket, transport))| Listener::new(&poll, index, socket, transport))
            .collect::<io::Result<Vec<_>>>()?;
        let spool = match &limits.spool_dir {
            Some(dir) => Some(Spool::start(dir.clone(), inputs.clone())?),
            None => None,
        };
        let core = Core {
            poll,
            inputs: input_receiver,
            backlog: VecDeque::new(),
            next_connection: Core::first_connection(listening.len()),
            listeners: listening,
            tls: listeners.tls,
            sessions: IdMap::default(),
            uris: HashMap::new(),
            fallen: IdSet::default(),
            connections: IdMap::default(),
            unbound: Unbound::new(limits.max_unbound, limits.max_unbound_per_source),
            block: BytesMut::new(),
            run_queue: VecDeque::new(),
            held_back: Vec::new(),
            timers: Timers::default(),
            accept_timer: Timer::default(),
            events: event_sender,
            shared: Arc::clone(&shared),
            spool,
            names: NameThread::start(names, move |name: Found<_>| {
                let addresses = name.places.iter().map(|place| place.address);
                let addresses: Vec<SocketAddr> = addresses.take(MAX_ADDRESSES).collect();
                for (session, side) in name.waiting {
                    found.send(Input::Resolved(session, side, addresses.clone()));
                }
            })?,
            shares: 1,
            begun: 0,
            memory: 0,
            granted: 0,
            spooled: 0,
            senders_held_back: 0,
            spool_outage: Outage::default(),
            now: Instant::now(),
            in_hand: None,
            stopping: false,
            limits,
        };
        let (ending, ended) = sync_channel::<()>(0);
        threads::spawn("cpm-relay", move || {
            core.run();
            drop(ending);
        })?;
        Ok(Self {
            inputs,
            events,
            shared,
            ended,
        })
    }

    /// Readable while events wait.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Passes a command on, in order. Never waits.
    pub fn command(&mut self, session: SessionId, command: RelayCommand) {
        self.inputs.send(Input::Command(session, command));
    }

    /// Lets go of all that there is of a session, without a word.
    pub fn forget(&mut self, session: SessionId) {
        self.inputs.send(Input::Forget(session));
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<RelayEvent> {
        self.events.poll()
    }

    /// How far a session is; `None` before its first end is open, and once it is forgotten. Cheap, and does not hold the
    /// relay up.
    pub fn progress(&self, session: SessionId) -> Option<SessionProgress> {
        self.shared.progress(session)
    }

    /// What there is in all.
    pub fn totals(&self) -> RelayTotals {
        self.shared.totals()
    }

    /// Closes everything, and waits for that no longer than this.
    pub fn stop(self, within: Duration) {
        self.inputs.send(Input::Stop);
        // Nothing is ever sent: an error says that the thread has ended, or that the time is up.
        let _ = self.ended.recv_timeout(within);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.inputs.send(Input::Stop);
    }
}
