//! Native to OpenSIPS: its events and commands, and what `opensips-config/` has for them.
//!
//! Without `PROXY=opensips` these tests are left out, and marked so: all tests of one program run
//! with one proxy (`tools/test-e2e`).

mod accounting;
mod configurations;
mod deferred;
mod express;
mod misfits;
mod page;
mod processes;
mod prometheus;
