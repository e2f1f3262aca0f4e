//! The speed of cpm: side by side with the alternatives, in one run, contestants taking turns.
//! Other load on the machine affects all of them alike, so the ratios are what counts.
//!
//! `make bench` runs it. Tables go to the terminal, tables, numbers and pictures to
//! `benches/results/`.
//!
//! | file | job |
//! |---|---|
//! | `statistics.rs` | median, quartiles and quantiles |
//! | `report.rs`, `chart.rs` | tables, numbers, pictures |
//! | `machine.rs` | the machine and versions of a measurement |
//! | `parsing.rs`, `xml.rs` | resource lists: cpm, libxml2, expat |
//! | `hostile.rs` | requests written to be expensive: time against size |
//! | `fan_out/` | one MESSAGE to many: cpm, scripts, a bare loop over tm; the same under OpenSIPS |
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
