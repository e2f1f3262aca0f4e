//! Names: where a host or a SIP domain is, found without anybody waiting.
//!
//! The system's resolver makes whoever calls it wait, for as long as a name server that nobody can
//! rely on likes. So nothing of ours calls it. One thread for each process that needs names asks
//! the name servers itself, any number of names side by side, each with a [deadline](DEADLINE).
//! What it has found stands in [memory that all processes share](NameTable): a process that may not
//! wait looks there, and leaves to another one what is not there yet.
//!
//! What is asked, and what the answers come to, is [`locating`](cpm_wire::locating)'s.
//!
//! | file | job |
//! |---|---|
//! | `thread` | its resolver on sockets |
//! | `table` | what all processes know |

mod table;
mod thread;

pub use cpm_wire::locating::{
    Found, Hop, MAX_LOOKUPS, MAX_NAME_SERVERS, MAX_PLACES, Place, Target, Wanted, parse_server,
};
pub use cpm_wire::sip::Transport;
pub use table::{Known, NameTable, NameTag, WORDS as TABLE_WORDS};
pub use thread::{DEADLINE, NameThread, Names};
