//! What is native to Kamailio: scripts in other languages, its commands and counters, and what
//! `kamailio-config/` has for them; the store, which has only been tried with it.

mod cfg;
mod configurations;
mod kemi;
mod records;
mod rpc;
mod store;
