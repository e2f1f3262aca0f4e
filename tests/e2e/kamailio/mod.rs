//! Native to Kamailio: scripts in other languages, its commands, counters and page, and what
//! `kamailio-config/` has for them; the store, which has only been tested with it; and faults of
//! its processes.

mod accounting;
mod cfg;
mod chaos;
mod configurations;
mod express;
pub(crate) mod kemi;
mod limits;
mod page;
mod prometheus;
mod rpc;
mod store;
