//! Pager mode: MESSAGE in, one MESSAGE to each recipient out.

mod acceptance;
mod classification;
mod datagrams;
mod delivery;
mod failure_imdn;
mod identity;
mod interworking;
mod long_lists;
mod outgoing_body;
mod outgoing_headers;
mod refusals;
