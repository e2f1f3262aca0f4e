//! MSRP on sockets, for all large message sessions of the sessions process.
//!
//! The main thread of the process owns the [session
//! machines](crate::controlling::large_message_mode::Session) and is the only one that calls the
//! proxy. It sends [`RelayCommand`](crate::msrp_control::RelayCommand)s to the relay and receives
//! [`RelayEvent`]s. Everything that could block runs on the relay's own threads:
//!
//! ```text
//!  main thread --RelayCommand--> cpm-relay: sockets, TLS --write, read--> cpm-spool: files
//!       ^                            |  ^                --host name----> cpm-names: addresses
//!       |                            |  |                ----TLS steps---> cpm-handshake
//!       +-------- RelayEvent --------+  +------------ results ---------------+
//! ```
//!
//! | file | job |
//! |---|---|
//! | `handle`, `error` | the main thread's handle of the relay; why it cannot start |
//! | `settings`, `listeners` | the operator's settings; resources made from them before the fork |
//! | `core` | the relay thread: its loop, and containment of panics |
//! | `commands` | commands of the main thread, and results of other threads |
//! | `accepting`, `unbound` | connections that peers open; those without a session yet |
//! | `connecting`, `parting` | opening connections; releasing and closing them |
//! | `reading`, `writing` | from the socket to the session, from the fan-out to the socket |
//! | `actions` | carries out the actions of the originator's end and the fan-out |
//! | `budget`, `limits` | memory and spool of all sessions; the limits of each |
//! | `holding` | originators that are held back |
//! | `connection`, `session` | the state of one connection, of one session |
//! | `tls`, `handshakes` | certificates and fingerprints; the threads that calculate handshakes |
//! | `spool`, [`names`](crate::names) | the other threads |
//! | `input`, `events`, `progress` | between the threads: in, out, and counters to read |
//! | `storing` | content that goes to the store, and comes from it |
//! | `timers`, `id_map` | deadlines; maps keyed by our own ids |
//! | `outage` | when to log an outage |
//!
//! Each leg whose recipient waits for our connection gets one of its own, even if two recipients
//! share an address: RFC 4975 §5.4 permits sharing, but a recipient that reads slowly would delay
//! the other. Peers that connect to us may use one connection for many sessions, which then take
//! turns.
//!
//! Sockets are polled through `mio`: edge-triggered, so that back-pressure and a full socket cost
//! no system call, and well tested, so that we maintain no code for it.

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
mod handshakes;
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
mod storing;
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
pub use settings::{Listen, RelayLimits, RelaySettings, RelayStore, TlsFiles};
