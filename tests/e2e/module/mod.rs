//! The module as an operator sees it: parameters, event routes, log, commands, and the manual.

mod configuration;
mod event_routes;
mod log_lines;
mod manual;
mod messages;
pub(crate) mod page;
mod records;
mod reload;
mod rpc;
pub(crate) mod tuning;
