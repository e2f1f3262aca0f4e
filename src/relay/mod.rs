//! The relay of the module process: MSRP on sockets, for all large message sessions.
//!
//! The main thread of the process owns the [session
//! machines](crate::controlling::large_message_mode::Session) and is the only one that calls the
//! proxy. It tells the relay what to do by
//! [`RelayCommand`](crate::msrp_control::RelayCommand)s and learns what happened from
//! [`RelayEvent`]s. The relay's own threads do all that could make it wait:
//!
//! ```text
//!  main thread --RelayCommand--> cpm-relay: sockets, TLS --write, read--> cpm-spool: files
//!       ^                            |  ^                --host name----> cpm-names: addresses
//!       +-------- RelayEvent --------+  +------------ results ---------------+
//! ```
//!
//! | file | job |
//! |---|---|
//! | `handle`, `error` | the relay in the hands of the main thread; why it cannot start |
//! | `settings`, `listeners` | what the operator sets; what is made of it before the fork |
//! | `core` | the relay thread: its loop, and what an internal error costs |
//! | `commands` | what the main thread asks for, and what other threads bring |
//! | `accepting`, `unbound` | connections that peers open; those that name no session yet |
//! | `connecting`, `parting` | connections that we open; how ends and connections part |
//! | `reading`, `writing` | from the socket to the session, from the fan-out to the socket |
//! | `actions` | what the originator's end and the fan-out want done |
//! | `budget`, `limits` | memory and spool of all sessions; the limits of each |
//! | `holding` | originators that are held back |
//! | `connection`, `session` | what there is of one connection, of one session |
//! | `tls` | certificates and fingerprints |
//! | `spool`, [`names`](crate::names) | the other threads |
//! | `input`, `events`, `progress` | between the threads: in, out, and what may be looked at |
//! | `timers`, `id_map` | deadlines; maps by our own ids |
//! | `outage` | which lines the log gets about something that is out of order |
//!
//! Each leg whose recipient waits for us gets a connection of its own, even if two recipients stand
//! behind one address: RFC 4975 §5.4 permits to share one, and a recipient who reads slowly would
//! hold the other up. Peers that connect to us may use one connection for many sessions; then those
//! take turns.
//!
//! Sockets are waited for through `mio`: edge-triggered, so that back-pressure and a socket that is
//! full cost no system call, and not a line of it is ours to keep right.

mod accepting;
mod actions;
mod budget;
mod commands;
mod connecting;
mod connection;
mod core;
mod error;
mod events;
mod handle;
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
mod unbound;
mod writing;

pub use error::RelayError;
pub use events::RelayEvent;
pub use handle::Relay;
pub use listeners::Listeners;
pub use progress::{LegProgress, RelayTotals, SessionProgress};
pub use settings::{Listen, RelayLimits, RelaySettings, TlsFiles};
