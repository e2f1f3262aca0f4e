//! How fast cpm is: side by side with what a user would pick instead, in one run, contestants
//! taking turns. What the machine does else hits all of them alike, so it is the ratios that count.
//!
//! `make bench` runs it. Tables go to the terminal, tables, numbers and pictures to
//! `benches/results/`.
//!
//! | file | job |
//! |---|---|
//! | `statistics.rs` | median and quartiles |
//! | `report.rs`, `chart.rs` | tables, numbers, pictures |
//! | `machine.rs` | what was measured on what |
//! | `parsing.rs`, `xml.rs` | resource lists: cpm, libxml2, expat |
//! | `hostile.rs` | requests that were written to cost much: time against size |
//! | `fan_out/` | one MESSAGE to many: cpm, a Lua script, a native script, a bare loop over tm |
//! | `set_up.rs` | large message sessions: time to set up, memory held |
//! | `relay/` | one MSRP message to many: cpm's relay, a bare loop, Kamailio's `msrp` module |

pub mod chart;
mod cpu;
pub mod fan_out;
mod hostile;
pub mod machine;
pub mod parsing;
pub mod relay;
pub mod report;
pub mod set_up;
pub mod statistics;
#[cfg(feature = "contestants")]
pub mod xml;
