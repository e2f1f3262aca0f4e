//! What the tables in shared memory use of the standard library. The package `cpm-loom` compiles
//! them with loom's instead, which tries every order in which threads can reach and see a word.

pub use std::hint::spin_loop;
pub use std::sync::atomic;
pub use std::thread::yield_now;
