//! End-to-end tests: a real Kamailio with the module, user agents around it, tshark as the judge. They need
//! what `make build` leaves, `target/kamailio/cpm.so`.

mod acceptance;
mod bad_input;
mod classification;
mod common;
mod configuration;
mod configurations;
mod delivery;
mod event_routes;
mod groups;
mod groups_outages;
mod groups_outgoing;
mod groups_refusals;
mod groups_rules;
mod groups_sources;
mod identity;
mod interworking;
mod kemi;
mod large_lists;
mod loops;
mod manual;
mod outgoing_body;
mod outgoing_headers;
mod refusals;
mod rpc;
mod tuning;
