//! The relay of the module process: MSRP on sockets, for all large message sessions.
//!
//! The main thread of the process owns the [session machines](crate::controlling::large_message_mode::Session) and is the only
//! one that calls the proxy. It tells the relay what to do by [`RelayCommand`]s and learns what happened from
//! [`RelayEvent`]s. The relay's own threads do all that could make it wait:
//!
//! ```text
//!  main thread --RelayCommand--> cpm-relay: sockets, TLS, clock --write, read--> cpm-spool: spool files
//!       ^                            |  ^                       --host name----> cpm-resolver: addresses
//!       +-------- RelayEvent --------+  +------------- results ---------------------+
//! ```

mod settings;

use std::fmt;
use std::os::fd::BorrowedFd;
use std::time::Duration;

pub use settings::{Listen, RelayLimits, RelaySettings, TlsFiles};

use crate::controlling::LogLevel;
use crate::controlling::large_message_mode::{LegNumber, RelayCommand, SessionId};
use crate::sdp::Fingerprint;
use crate::session::LegState;

/// Why the relay cannot start: one line for the operator.
#[derive(Debug)]
pub struct RelayError(String);

/// Bound sockets, the certificate, and a spool folder that has been tried: all that can fail for reasons that the operator has to
/// mend. Made before the process forks, as no thread belongs to it.
#[derive(Debug)]
pub struct Listeners {}

impl Listeners {
    /// Binds the sockets, reads the certificate, and writes a file to the spool folder.
    ///
    /// # Errors
    /// [`RelayError`]: a port is taken, a file cannot be used, the key does not fit the certificate, the folder is not writable.
    pub fn bind(settings: &RelaySettings) -> Result<Self, RelayError> {
        let _ = settings;
        Err(RelayError("not there yet".into()))
    }

    /// Hash of our certificate, for `a=fingerprint`.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        None
    }
}

/// What the relay has to say.
#[derive(Debug)]
pub enum RelayEvent {
    /// Something happened to a session.
    Session(SessionId, SessionEvent),
    /// A line for the log.
    Log(LogLevel, String),
}

/// What happened to a session; see [`RelayCommand`] for the last words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// The originator's connection is there.
    SenderConnected,
    /// His message has begun.
    MessageStarted {
        /// Its size in bytes, if its first chunk says so.
        size: Option<u64>,
    },
    /// The whole message is here. A last word.
    MessageComplete,
    /// It will never be. A last word.
    MessageFailed,
    /// The connection to a leg is there.
    LegConnected(LegNumber),
    /// A leg has reached this final state. A last word.
    LegEnded(LegNumber, LegState),
}

/// How far a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionProgress {
    /// Content bytes that came from the originator.
    pub received: u64,
    /// Size of the message, if it is known.
    pub total: Option<u64>,
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
}

/// The running relay, in the hands of the main thread.
#[derive(Debug)]
pub struct Relay {}

impl Relay {
    /// Starts the threads, in which every signal is blocked.
    ///
    /// # Errors
    /// [`RelayError`] if there are no threads or descriptors to be had.
    pub fn start(settings: RelaySettings, listeners: Listeners) -> Result<Self, RelayError> {
        let _ = (settings, listeners);
        Err(RelayError("not there yet".into()))
    }

    /// Readable while events wait.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        unimplemented!()
    }

    /// Passes a command on, in order. Never waits.
    pub fn command(&mut self, session: SessionId, command: RelayCommand) {
        let _ = (session, command);
    }

    /// Lets go of all that there is of a session, without a word.
    pub fn forget(&mut self, session: SessionId) {
        let _ = session;
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<RelayEvent> {
        None
    }

    /// How far a session is. Cheap, and does not hold the relay up.
    pub fn progress(&self, session: SessionId) -> Option<SessionProgress> {
        let _ = session;
        None
    }

    /// What there is in all.
    pub fn totals(&self) -> RelayTotals {
        RelayTotals::default()
    }

    /// Closes everything, and waits for the threads no longer than this.
    pub fn stop(self, within: Duration) {
        let _ = within;
    }
}

impl fmt::Display for RelayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RelayError {}
