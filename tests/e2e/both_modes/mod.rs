//! Common to both modes: repetitions, loops, notifications, names of others, shares, bad input.

mod bad_input;
mod decisions;
mod exactly_once;
pub(crate) mod imdn;
mod loops;
mod names;
mod shares;
