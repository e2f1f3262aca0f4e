//! Wire formats of CPM, the two ends of SIP dialogs and MSRP sessions, and the look-up of names:
//! without sockets, clock, files, threads or source of randomness. The module and the CPM Client
//! use them.
//!
//! - Floor 1: [`msrp_session`], MSRP session ends and the fan-out to legs; [`sip_ua`], dialogs and
//!   session timers; [`locating`], where hosts and SIP domains are.
//! - Floor 0: [`sip`], [`digest`], [`mime`], [`xml`], [`resource_lists`], [`cpim`], [`imdn`],
//!   [`msrp`], [`sdp`], [`dns`]: wire formats, parsed and written, nothing else.

#![forbid(unsafe_code)]

pub mod cpim;
pub mod digest;
pub mod dns;
pub mod imdn;
pub mod locating;
pub mod mime;
pub mod msrp;
pub mod msrp_session;
pub mod resource_lists;
pub mod sdp;
pub mod sip;
pub mod sip_ua;
#[cfg(test)]
mod test_random;
pub mod xml;
