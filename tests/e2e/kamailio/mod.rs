//! What is native to Kamailio: scripts in other languages, its commands, counters and page, and
//! what `kamailio-config/` has for them; the store, which has only been tried with it; and what its
//! processes bear.

mod cfg;
mod chaos;
mod configurations;
mod express;
mod kemi;
mod limits;
mod page;
mod records;
mod rpc;
mod store;
