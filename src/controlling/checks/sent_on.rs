//! Limits for messages that lists and groups have forwarded, so that they do not multiply when they
//! come back (readings N36).
//!
//! Each copy has two marks, since other servers on its path may drop one:
//!
//! - Max-Breadth (RFC 5393 §5.3), assumed as 60 for a request without it. A list reduces it by a
//!   quarter, a group by half. So the rest shows who has forwarded it: a list accepts requests that
//!   no list or group has forwarded, a group those that came through at most as many groups as
//!   `group_nesting` allows.
//! - Max-Forwards: a group's copy has at most 20, and half of the received value from there on.
//!
//! Also, a message from a group is recognisable itself: the group is asserted, and refers to the
//! sender (9.1.1-6e).

use super::common::Checked;
use crate::controlling::group_session_identity::names_group_session;
use crate::controlling::hops::{DEFAULT_BREADTH, LIST_BREADTH, breadth};
use crate::controlling::host::Journal;
use crate::controlling::originator::Originator;
use crate::controlling::received::Kind;
use crate::controlling::refusal::Refusal;
use crate::controlling::request::Request;
use crate::log::at;
use crate::policy::GroupUris;
use crate::sip::{HeaderName, StatusCode, Uri};

/// Refuses requests that have been forwarded too often.
pub(super) fn not_sent_on(request: &mut Request, _: &dyn Journal) -> Result<Checked, Refusal> {
    let breadth = breadth(&request.message);
    let cause = match request.kind {
        Kind::Exploder | Kind::AdHoc if breadth <= LIST_BREADTH => {
            "a list or a group has already forwarded it"
        }
        Kind::Group if groups_passed(request, breadth) > request.group_nesting() => {
            "a group has already forwarded it: see group_nesting"
        }
        _ => return Ok(Checked::Passed),
    };
    Err(Refusal::with_header(
        at!(Notice),
        StatusCode::LOOP_DETECTED,
        None,
        cause,
    ))
}

impl Request {
    fn group_nesting(&self) -> u32 {
        self.service.settings().group_nesting
    }
}

/// The number of groups that have forwarded the request, as far as visible.
fn groups_passed(request: &Request, breadth: u32) -> u32 {
    let halved = DEFAULT_BREADTH
        .checked_div(breadth)
        .map_or(u32::MAX, u32::ilog2);
    let settings = request.service.settings();
    let originator = request.originator.as_ref();
    let is_group = originator.is_some_and(|it| names_group(it, &settings.group_uris))
        && request.message.first(HeaderName::ReferredBy).is_some();
    halved.max(u32::from(is_group))
}

/// Whether the originator is a group. A session of an ad-hoc group, which a wide pattern may match,
/// is not one.
fn names_group(originator: &Originator, groups: &GroupUris) -> bool {
    let is_group =
        |uri: &Uri<'_>| groups.contains(uri) && !uri.user().is_some_and(names_group_session);
    originator.identities().iter().any(is_group)
}
