//! Where hosts and SIP domains are (RFC 3263, Locating SIP Servers), without IO.
//!
//! A [`Target`] is a name to reach; a [`Resolver`] finds out where it is. The machine's own names
//! (hosts(5)) come first, and name servers are not asked about those. For SIP without a port it
//! asks for NAPTR, then SRV; then for A and AAAA. Search domains of resolv.conf(5) are not applied:
//! a SIP domain is whole.
//!
//! The caller has the sockets: it sends what [`poll_transmit`](Resolver::poll_transmit) returns,
//! passes in what comes back, and lets time pass.
//!
//! | file | job |
//! |---|---|
//! | `target` | what is looked up, what is found |
//! | `plan` | which question comes next |
//! | `resolver` | all look-ups at once |
//! | `system` | what the machine knows by itself: hosts(5), resolv.conf(5) |

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
