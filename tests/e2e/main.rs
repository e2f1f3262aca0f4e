//! End-to-end tests: a real proxy with the module, user agents around it, tshark as the judge. They
//! need what `make build` leaves: `target/kamailio/cpm.so`, or `target/opensips/cpm.so` where
//! `PROXY=opensips` says that OpenSIPS is the proxy.
//!
//! | folder | what it tests |
//! |---|---|
//! | `pager` | pager mode |
//! | `large` | large message mode |
//! | `groups` | pre-defined groups |
//! | `both_modes` | what holds for both modes alike |
//! | `sites` | the configurations of `kamailio-config/` and `opensips-config/` |
//! | `module` | parameters, scripts, log, commands, manual |
//! | `kamailio`, `opensips` | what is native to one proxy: the tests of the other are left out |

mod both_modes;
mod common;
mod groups;
mod kamailio;
mod large;
mod module;
mod opensips;
mod pager;
mod sites;
