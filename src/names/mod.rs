//! Names: where a host or a SIP domain is, found without anybody waiting (RFC 3263, RFC 1035).
//!
//! The system's resolver makes whoever calls it wait, for as long as a name server that nobody can
//! rely on likes. So nothing of ours calls it. One thread for each process that needs names asks
//! the name servers itself, any number of names side by side, each with a [deadline](DEADLINE).
//! What it has found stands in [memory that all processes share](NameTable): a process that may not
//! wait looks there, and leaves to another one what is not there yet.
//!
//! What is asked: the machine's own names (hosts(5)) come first and are all that is asked where
//! they have the name. For SIP without a port NAPTR, then SRV; then A and AAAA. Search domains of
//! resolv.conf(5) are not applied: a SIP domain is whole.
//!
//! | file | job |
//! |---|---|
//! | `target` | what is looked up, what is found |
//! | `question` | packets |
//! | `plan` | which question comes next: RFC 3263 |
//! | `resolver` | all look-ups at once, without IO |
//! | `thread` | the same on sockets |
//! | `table` | what all processes know |
//! | `hosts` | what the machine knows by itself |

mod hosts;
mod plan;
mod question;
mod resolver;
mod table;
mod target;
#[cfg(test)]
mod tests;
mod thread;

pub use hosts::{MAX_SERVERS, parse_server};
pub use plan::MAX_PLACES;
pub use resolver::{DEADLINE, Found, MAX_LOOKUPS};
pub use table::{Known, NameTable, NameTag, WORDS as TABLE_WORDS};
pub use target::{Hop, Place, Target, Transport, Wanted};
pub use thread::{NameThread, Names};
