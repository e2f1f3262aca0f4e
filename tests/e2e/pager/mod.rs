//! Pager mode: MESSAGE in, one MESSAGE to each recipient out.

mod acceptance;
mod bad_network;
mod classification;
mod datagrams;
mod delivery;
pub(crate) mod express;
mod failure_imdn;
mod identity;
mod interworking;
mod long_lists;
mod outgoing_body;
mod outgoing_headers;
mod refusals;
