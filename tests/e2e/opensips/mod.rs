//! What is native to OpenSIPS: its events and commands, and what `opensips-config/` has for them.
//!
//! Without `PROXY=opensips` these tests are left out: each is marked so, since the tests of one
//! program run with one proxy (`tools/test-e2e`).

mod configurations;
mod express;
mod misfits;
mod processes;
