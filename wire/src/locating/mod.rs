//! Locating hosts and SIP domains (RFC 3263), without IO.
//!
//! A [`Target`] is a name to reach; a [`Resolver`] finds its addresses. The machine's own names
//! (hosts(5)) take precedence, and are not asked for in DNS. For SIP without a port it asks for
//! NAPTR, then SRV, then A and AAAA. Search domains of resolv.conf(5) are not applied: a SIP domain
//! is always complete.
//!
//! The caller has the sockets: it sends what [`poll_transmit`](Resolver::poll_transmit) returns,
//! passes in received packets, and reports the time.
//!
//! | file | job |
//! |---|---|
//! | `target` | what is looked up, and results |
//! | `plan` | which question comes next |
//! | `resolver` | all look-ups at once |
//! | `system` | the machine's own files: hosts(5), resolv.conf(5) |

mod plan;
mod resolver;
mod system;
mod target;
#[cfg(test)]
mod tests;

pub use plan::{MAX_PLACES, MAX_SERVERS, taking_turns};
pub use resolver::{Found, MAX_LOOKUPS, Patience, Resolver, Transmit};
pub use system::{HOSTS, Hosts, MAX_NAME_SERVERS, RESOLV_CONF, name_servers_in, parse_server};
pub use target::{Hop, Place, Server, Target, Wanted};
