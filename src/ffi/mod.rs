//! The C boundary: `c_api/cpm.h` as Rust offers it.
//!
//! Rules of this floor:
//! - Every function that C can call runs inside `boundary`: a panic is logged and becomes the
//!   failure value, it never unwinds into C.
//! - A handle is a `Box` that C holds as an opaque pointer. It is made and freed by one pair of
//!   functions, and NULL is answered with the failure value.
//! - A handle is reached through shared references only; what changes in it stands in cells. So the
//!   host may call back into the core while a request is worked on (a routing script runs), what it
//!   may not touch then is refused at run time, and no pointer of C's is ever invalidated by a
//!   reference of ours.
//! - What C lends is copied before the call returns; what is lent to C lives in the handle.

#![allow(unsafe_code)]

#[allow(
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    unreachable_pub
)]
#[allow(clippy::all, clippy::undocumented_unsafe_blocks)]
pub mod bindings {
    //! The Rust side of `c_api/cpm.h`, made by bindgen in `build.rs`.
    include!(concat!(env!("OUT_DIR"), "/cpm_h.rs"));
}

mod boundary;
mod core;
mod express;
mod handle;
mod host;
mod mailbox;
mod operator;
mod outgoing;
mod parameters;
mod request;
mod service;
mod unparsed;
mod way;

pub use self::core::cpm_core;
