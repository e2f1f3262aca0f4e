//! What the tables in shared memory use of the standard library. The package `cpm-loom` compiles
//! them with loom's instead, which tries every order in which threads can reach and see a word.

pub(crate) use std::hint::spin_loop;
pub(crate) use std::sync::atomic;
pub(crate) use std::thread::yield_now;
