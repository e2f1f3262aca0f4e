//! `cpm`: an OMA CPM Controlling Function for Standalone Messages, loaded into a SIP proxy.
//!
//! One sender, many recipients. A floor uses only the floors below it:
//!
//! | floor | modules | job |
//! |---|---|---|
//! | 5 | [`ffi`] | the C boundary, `c_api/cpm.h`: panic boundary, handles, host calls |
//! | 4 | [`sessions`], on [`relay`] | the module process: all large message sessions; MSRP on sockets for them |
//! | 3 | [`controlling`] | the Controlling Function: classify, check, pager mode, interworking, disposition notifications; the session machine of large message mode |
//! | 2 | [`policy`], [`group`], [`shared`] | what the operator configured; pre-defined groups and where they come from; memory that all processes share |
//! | 1 | [`session`], [`sip_ua`]; [`names`], [`trust`] | MSRP session ends and the fan-out to legs; what two SIP user agents in a dialog do; without IO; where hosts and SIP domains are; certificates and authorities in files |
//! | 0 | [`sip`], [`digest`], [`mime`], [`xml`], [`resource_lists`], [`cpim`], [`imdn`], [`msrp`], [`sdp`] | wire formats: parse and write, nothing else |
//!
//! Floors 0 and 1 but for [`names`] and [`trust`] are the package `cpm-wire`, on which the CPM Client of the package
//! `cpm-client`, the other end of all this, stands as well.
//!
//! The life of one message: a SIP worker of the proxy gives it to [`ffi`]; the service [classifies]
//! it into a [`Request`], whose checks end in a refusal or in a [`FanOutJob`]; what takes longer than a worker has
//! time goes on in a process of its own, and so does looking a group up. A large message becomes a
//! [`Session`](controlling::large_message_mode::Session) in the module process.
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
pub mod policy;
mod random;
pub mod relay;
pub mod sessions;
pub mod shared;
mod threads;
pub mod trust;

pub use cpm_wire::{
    cpim, digest, imdn, mime, msrp, msrp_session as session, resource_lists, sdp, sip, sip_ua, xml,
};
