//! The main thread's handle of the relay.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mio::{Poll, Waker};

use super::accepting::Acceptor;
use super::budget::Budget;
use super::core::{Core, WAKER};
use super::error::RelayError;
use super::events::{EventReceiver, RelayEvent, event_queue};
use super::handshakes::Handshakes;
use super::id_map::{IdMap, IdSet};
use super::input::{Input, InputSender, input_queue};
use super::listeners::Listeners;
use super::outage::Outage;
use super::progress::{RelayTotals, SessionProgress, Shared};
use super::settings::{RelaySettings, RelayStore, TlsFiles};
use super::spool::{ContentStore, Folder, Spool};
use super::timers::Timers;
use super::tls::Tls;
use crate::msrp_control::{RelayCommand, RelayOrder, SessionId};
use crate::names::{Found, NameThread};
use crate::threads;

/// Maximum number of addresses of one host that are tried.
const MAX_ADDRESSES: usize = 4;

/// The main thread's handle of the running relay. When dropped, the relay stops by itself, without
/// waiting.
///
/// ```
/// use std::time::Duration;
///
/// use cpm::msrp::{MsrpUri, Path};
/// use cpm::msrp_control::{MsrpEnds, MsrpEvent, RelayCommand, SessionId};
/// use cpm::relay::{Listeners, Relay, RelayEvent, RelaySettings};
/// use cpm::sdp::{Role, Transport};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = RelaySettings::default();
/// let listeners = Listeners::bind(&settings)?;
/// let mut relay = Relay::start(settings, listeners)?;
///
/// // The sender of a large message is expected, and never comes.
/// let session = SessionId::from_bytes([1; 16]);
/// let ends = MsrpEnds {
///     own: MsrpUri::new(false, "192.0.2.1", 2855, "own")?,
///     peer: Path::from(MsrpUri::new(false, "192.0.2.2", 2855, "peer")?),
///     transport: Transport::Tcp,
///     role: Role::Passive,
///     host: "192.0.2.2".to_owned(),
///     port: 2855,
///     fingerprint: None,
///     accept_types: "message/cpim".to_owned(),
///     max_size: None,
/// };
/// relay.command(session, RelayCommand::OpenOriginator(Box::new(ends)));
/// relay.command(session, RelayCommand::CloseOriginator);
/// let event = loop {
///     // In a service: wait until `relay.as_fd()` is readable.
///     match relay.poll_event() {
///         Some(RelayEvent::Session(of, event)) if of == session => break event,
///         _ => std::thread::sleep(Duration::from_millis(1)),
///     }
/// };
/// assert_eq!(event, MsrpEvent::MessageFailed);
/// relay.forget(session);
/// relay.stop(Duration::from_secs(10));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Relay {
    pub(super) inputs: InputSender,
    events: EventReceiver,
    shared: Arc<Shared>,
    /// Closed when the relay thread has ended.
    ended: Receiver<()>,
}

impl Relay {
    /// Starts the threads, in which every signal is blocked.
    ///
    /// # Errors
    ///
    /// [`RelayError`] if no more threads or descriptors are available.
    pub fn start(settings: RelaySettings, listeners: Listeners) -> Result<Self, RelayError> {
        Self::try_start(settings, listeners).map_err(RelayError::Threads)
    }

    fn try_start(settings: RelaySettings, listeners: Listeners) -> io::Result<Self> {
        let RelaySettings {
            limits,
            names,
            store,
            ..
        } = settings;
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let (inputs, input_receiver) = input_queue(waker);
        let found = inputs.clone();
        let (event_sender, events) = event_queue()?;
        let shared = Arc::new(Shared::default());
        let acceptor = Acceptor::new(&poll, listeners.sockets, &limits)?;
        let spool = match &limits.spool_dir {
            Some(dir) => {
                let folder = Folder::Spool(dir.clone());
                Some(Spool::start("cpm-spool", folder, inputs.clone())?)
            }
            None => None,
        };
        let store = match store {
            Some(RelayStore { folder, space }) => Some(ContentStore {
                thread: Spool::start("cpm-content", Folder::Store(folder), inputs.clone())?,
                space,
            }),
            None => None,
        };
        let core = Core {
            poll,
            inputs: input_receiver,
            backlog: VecDeque::new(),
            acceptor,
            budget: Budget::new(&limits),
            tls: listeners.tls,
            handshakes: Handshakes::start(&inputs)?,
            sessions: IdMap::default(),
            uris: HashMap::new(),
            fallen: IdSet::default(),
            connections: IdMap::default(),
            block: BytesMut::new(),
            run_queue: VecDeque::new(),
            timers: Timers::default(),
            events: event_sender,
            shared: Arc::clone(&shared),
            spool,
            store,
            names: NameThread::start(names, move |name: Found<_>| {
                let addresses = name.places.iter().map(|place| place.address);
                let addresses: Vec<SocketAddr> = addresses.take(MAX_ADDRESSES).collect();
                for (session, side) in name.waiting {
                    found.send(Input::Resolved(session, side, addresses.clone()));
                }
            })?,
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

    /// Passes on a command, in order. Never blocks.
    pub fn command(&mut self, session: SessionId, command: RelayCommand) {
        self.inputs.send(Input::Command(session, command));
    }

    /// Passes on these orders, in order, and wakes the relay once for all of them. False: there
    /// were none.
    pub fn carry_out(&mut self, orders: impl IntoIterator<Item = RelayOrder>) -> bool {
        let mut were_some = false;
        for order in orders {
            were_some = true;
            self.inputs.queue(match order {
                RelayOrder::Command(session, command) => Input::Command(session, command),
                RelayOrder::Forget(session) => Input::Forget(session),
            });
        }
        if were_some {
            self.inputs.wake();
        }
        were_some
    }

    /// Frees all of a session, without further events.
    pub fn forget(&mut self, session: SessionId) {
        self.inputs.send(Input::Forget(session));
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<RelayEvent> {
        self.events.poll()
    }

    /// Reads the certificate, its key and the authorities again, on a thread of their own. Existing
    /// connections keep theirs. [`RelayEvent::Certificate`] follows; a file that cannot be used is
    /// logged, and changes nothing.
    ///
    /// # Errors
    ///
    /// There is no thread for it.
    pub fn reload(&self, files: TlsFiles) -> io::Result<()> {
        let inputs = self.inputs.clone();
        threads::spawn("cpm-reload", move || {
            let tls = Tls::load(Some(&files)).map(Box::new);
            inputs.send(Input::Certificate(tls));
        })
        .map(drop)
    }

    /// The progress of a session; `None` before its first end is open, and once it is forgotten.
    /// Cheap, and does not delay the relay.
    pub fn progress(&self, session: SessionId) -> Option<SessionProgress> {
        self.shared.progress(session)
    }

    /// Totals of all sessions.
    pub fn totals(&self) -> RelayTotals {
        self.shared.totals()
    }

    /// Closes everything, and waits at most this long.
    pub fn stop(self, within: Duration) {
        self.inputs.send(Input::Stop);
        // Nothing is ever sent: an error means that the thread has ended, or that the time is up.
        let _ = self.ended.recv_timeout(within);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.inputs.send(Input::Stop);
    }
}
