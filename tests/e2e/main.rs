//! End-to-end tests: a real Kamailio with the module, user agents around it, tshark as the judge. They need
//! what `make build` leaves, `target/kamailio/cpm.so`.

mod bad_input;
mod common;
mod configuration;
mod delivery;
mod large_lists;
