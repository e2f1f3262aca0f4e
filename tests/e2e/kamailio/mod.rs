//! What is native to Kamailio: scripts in other languages, its commands and counters, and what
//! `kamailio-config/` has for them.

mod cfg;
mod configurations;
mod kemi;
mod rpc;
