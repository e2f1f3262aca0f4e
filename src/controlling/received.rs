//! A request as the proxy received it, its kind and mode.

use std::net::IpAddr;

/// ICSI of a Pager Mode CPM Standalone Message (9.1.1); in P-Asserted-Service, the service for one
/// recipient (7.2.1.1-3).
pub(super) const PAGER_MODE_SERVICE: &str = "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg";
/// The service for a group of recipients (7.2.1.1-3).
pub(super) const PAGER_MODE_GROUP_SERVICE: &str =
    "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg.group";

/// ICSI of a Large Message Mode CPM Standalone Message (9.1.2), and the service for one recipient
/// (7.2.1.2-3).
pub(super) const LARGE_MODE_SERVICE: &str = "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.largemsg";
/// The service for a group of recipients (7.2.1.2-3).
pub(super) const LARGE_MODE_GROUP_SERVICE: &str =
    "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.largemsg.group";

/// The kind of destination, determined by the Request-URI (readings N2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An EXPLODER-URI: 1-to-many.
    Exploder,
    /// The address of the Controlling Function: an ad-hoc group.
    AdHoc,
    /// The address of a pre-defined group.
    Group,
}

impl Kind {
    /// The word for routing scripts.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Exploder => "exploder",
            Kind::AdHoc => "adhoc",
            Kind::Group => "group",
        }
    }
}

/// The mode of the message, determined by method and feature tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// SIP MESSAGE.
    Pager,
    /// SIP INVITE, and MSRP.
    Large,
}

impl Mode {
    /// The word for routing scripts.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Pager => "pager",
            Mode::Large => "large",
        }
    }
}

/// A request as the proxy received it.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The whole request.
    pub message: &'a [u8],
    /// The Request-URI in force: the routing script may have rewritten it.
    pub request_uri: &'a str,
    /// Its source address; `None` if that is not an IP address.
    pub source_address: Option<IpAddr>,
}
