//! `cpm`: an OMA CPM Controlling Function for Standalone Messages, loaded into a SIP proxy.
//!
//! One sender, many recipients. A floor uses only the floors below it (`tests/floors.rs`):
//!
//! - 6: [`ffi`], the C boundary `c_api/cpm.h`: panics, handles, calls of the host.
//! - 5: [`processes`], the processes and the order of work in them: received requests, sending,
//!   waiting; [`sessions`], all large message sessions, without IO.
//! - 4: [`relay`], MSRP on sockets for them.
//! - 3: [`controlling`], the Controlling Function: classification, checks, pager mode,
//!   interworking, disposition notifications, and the session machine of large message mode.
//!   Without IO.
//! - 2: [`policy`] and [`operator`], the operator's configuration and reports to the operator;
//!   [`group`], pre-defined groups and their sources; [`names`], addresses of hosts and SIP
//!   domains; [`shared`], shared memory; [`store`], accepted messages on disk; [`msrp_control`],
//!   messages between sessions and relay.
//! - 1: [`msrp_session`], [`sip_ua`] and [`locating`], MSRP session ends with the fan-out to legs,
//!   SIP dialogs and session timers, the look-up of names, without IO; [`trust`], certificates and
//!   authorities in files; [`log`], threads, atomics and randomness.
//! - 0: [`sip`], [`digest`], [`mime`], [`xml`], [`resource_lists`], [`cpim`], [`imdn`], [`msrp`],
//!   [`sdp`], [`dns`]: the wire formats, without IO.
//!
//! The wire formats, [`msrp_session`], [`sip_ua`] and [`locating`] are the package `cpm-wire`. The
//! CPM Client of the package `cpm-client`, the other end, uses it too.
//!
//! The life of a message: a SIP worker of the proxy passes it to [`ffi`]; the service [classifies]
//! it as a [`Request`], whose checks end in a refusal or in a [`FanOutJob`]. Work that would take a
//! worker too long, and the look-up of a group, continue in a process of their own. A large message
//! becomes a [`Session`](controlling::large_message_mode::Session) in the sessions process.
//!
//! [classifies]: controlling::ControllingFunction::classify
//! [`Request`]: controlling::Request
//! [`FanOutJob`]: controlling::FanOutJob

#![deny(unsafe_code)]

pub mod controlling;
pub mod ffi;
pub mod group;
pub mod log;
pub mod msrp_control;
pub mod names;
pub mod operator;
pub mod policy;
pub mod processes;
mod random;
pub mod relay;
pub mod sessions;
pub mod shared;
pub mod store;
mod sync;
#[cfg(test)]
mod test_folder;
mod threads;
pub mod trust;

pub use cpm_wire::{
    cpim, digest, dns, imdn, locating, mime, msrp, msrp_session, resource_lists, sdp, sip, sip_ua,
    xml,
};
