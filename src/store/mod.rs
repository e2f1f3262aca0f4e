//! The store: accepted messages on the disk of this machine until each of their recipients has
//! ended, so that a message that got its 202 survives the end of the proxy.
//!
//! ```text
//!  CPM fan-out                                   thread cpm-store
//!  Keep, Ended, Done, Read ── Store ──────────► all that has gathered: one transaction, one sync
//!  Kept, Refused, Message  ◄── reports ────────
//! ```
//!
//! One thread of one process owns the database; no other thread waits for the disk. No timer
//! gathers messages for a sync: a transaction takes what arrived during the previous one. A
//! message that cannot be written is refused before any copy is sent; outcomes of recipients wait
//! in memory until they can be written.
//!
//! | file | job |
//! |---|---|
//! | `ledger` | which copies of which message are outstanding; in memory, without IO |
//! | `looking` | what an operator looks for in it |
//! | `copy`, `known` | what copies, recipients and messages are known by |
//! | `recent` | recipients that have arrived a short while ago |
//! | `thread` | the thread, and what is said to it and by it |
//! | `clock` | the wall clock, and whether it was set |
//! | `engine` | what the thread asks of the database it owns |
//! | `file_engine` | a database in a directory of this machine |
//! | `database` | its tables |
//! | `content` | the files with the content of large messages |
//! | `redis_engine` | Valkey or Redis, which several nodes share |
//! | `redis_values` | what that answers |
//! | `server` | where that is, and a connection |
//! | `record` | a message as it is kept |
//! | `location` | in which folder, or on which server |
//! | `lock` | one proxy for one directory |
//! | `error` | why there is no store |

mod clock;
mod content;
mod copy;
mod database;
mod engine;
mod error;
mod file_engine;
mod known;
mod ledger;
mod location;
mod lock;
mod looking;
mod recent;
mod record;
mod redis_engine;
pub mod redis_values;
mod server;
mod thread;

pub use content::{ContentFolder, NewContent};
pub use copy::{CopyId, RecipientKey};
pub use database::Database;
pub use engine::Refusal;
pub use error::StoreError;
pub use known::Names;
pub use ledger::{Changes, Deferred, Ledger, Retry, Unsent, Wanted};
pub use location::Location;
pub use lock::StoreLock;
pub use looking::{CopyState, Sought};
pub use record::{Kept, SenderName, SenderOf, Settled};
pub use redis_engine::{NodeSettings, Survey, survey};
pub use server::ServerAddress;
pub use thread::{ENDING, FoundSender, Report, Store};
