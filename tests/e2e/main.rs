//! End-to-end tests: a real Kamailio with the module, user agents around it, tshark as the judge.
//! They need what `make build` leaves, `target/kamailio/cpm.so`.
//!
//! | folder | what it tests |
//! |---|---|
//! | `pager` | pager mode |
//! | `large` | large message mode |
//! | `groups` | pre-defined groups |
//! | `both_modes` | what holds for both modes alike |
//! | `store` | messages that outlive the proxy |
//! | `module` | parameters, scripts, log, RPC, manual |

mod both_modes;
mod common;
mod groups;
mod large;
mod module;
mod pager;
mod store;
