//! End-to-end tests: a real proxy with the module, user agents around it, and tshark to check the
//! traffic. They need the result of `make build`: `target/kamailio/cpm.so`, or
//! `target/opensips/cpm.so` if `PROXY=opensips` selects OpenSIPS.
//!
//! | folder | what it tests |
//! |---|---|
//! | `pager` | pager mode |
//! | `large` | large message mode |
//! | `groups` | pre-defined groups |
//! | `both_modes` | what both modes have in common |
//! | `sites` | the configurations of `kamailio-config/` and `opensips-config/` |
//! | `nodes` | several nodes that share a store |
//! | `module` | parameters, scripts, log, commands, manual |
//! | `kamailio`, `opensips` | features native to one proxy: the tests of the other are left out |

mod accounting;
mod both_modes;
mod common;
mod groups;
mod kamailio;
mod large;
mod module;
mod nodes;
mod opensips;
mod pager;
mod sites;
mod storing;
