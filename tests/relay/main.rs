//! The relay over real sockets, against peers that share no code with it.

mod bench;
mod delivery;
mod endings;
mod memory;
mod names;
mod peer;
mod random;
mod refusals;
mod sharing;
mod tls;
