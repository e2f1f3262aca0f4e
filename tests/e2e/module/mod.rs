//! The module as an operator sees it: parameters, configurations, scripts, log, RPC, and the
//! manual.

mod configuration;
mod configurations;
mod event_routes;
mod kemi;
mod log_lines;
mod manual;
mod rpc;
mod tuning;
