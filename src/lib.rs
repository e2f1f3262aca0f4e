//! `cpm`: an OMA CPM Controlling Function for Standalone Messages, loaded into a SIP proxy.
//!
//! One sender, many recipients: the [`controlling`] floor decides, the floors below it read and
//! write the wire formats, the `ffi` floor is the C boundary. A floor uses only the floors below.

#![deny(unsafe_code)]

pub mod controlling;
pub mod cpim;
pub mod ffi;
pub mod group;
pub mod mime;
pub mod msrp;
pub mod policy;
pub mod resource_lists;
pub mod sdp;
pub mod session;
pub mod sip;
pub mod xml;
