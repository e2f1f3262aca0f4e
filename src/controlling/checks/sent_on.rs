//! What lists and groups have sent on, and may not multiply any further when it comes back (spec-notes N36).
//!
//! Two marks are on each copy, since other servers on its way may drop one:
//!
//! - Max-Breadth (RFC 5393 §5.3), which a request without it has 60 of. A list takes a quarter of it away, a group half. So what
//!   is left says who has sent it on: a list takes requests that no list or group has sent on, a group those that came through
//!   as many groups as `group_nesting` allows.
//! - Max-Forwards: a group's copy has 20 at most, and half of what there is from there on.
//!
//! Moreover, what a group has sent says so itself: the group is asserted, and refers to the sender (9.1.1-6e).

use super::lists::Checked;
use crate::controlling::header_fields::hops_of;
use crate::controlling::host::Host;
use crate::controlling::large_message_mode::names_group_session;
use crate::controlling::originator::Originator;
use crate::controlling::refusal::Refusal;
use crate::controlling::request::Request;
use crate::controlling::service::Kind;
use crate::policy::GroupUris;
use crate::sip::{HeaderName, Message, StatusCode, Uri};

/// Max-Breadth of a request that has none (RFC 5393 §5.3.3).
const DEFAULT_BREADTH: u32 = 60;

/// The least that a list takes: its own copies have no more than that.
const LIST_BREADTH: u32 = DEFAULT_BREADTH / 4 * 3;

/// Hops that a copy of a group may take, which is enough for two home networks with their application servers.
const GROUP_HOPS: u8 = 20;

/// Refuses what has been sent on too often already.
pub(in crate::controlling) fn not_sent_on(
    request: &mut Request,
    _: &dyn Host,
) -> Result<Checked, Refusal> {
    let breadth = breadth(&request.message);
    let cause = match request.kind {
        Kind::Exploder | Kind::AdHoc if breadth <= LIST_BREADTH => {
            "a list or a group has sent it on already"
        }
        Kind::Group if groups_passed(request, breadth) > request.group_nesting() => {
            "a group has sent it on already: see group_nesting"
        }
        _ => return Ok(Checked::Passed),
    };
    Err(Refusal::with_header(StatusCode::LOOP_DETECTED, None, cause))
}

/// Max-Breadth of the copies of a request to a service of this kind.
pub(in crate::controlling) fn breadth_of_copies(message: &Message, kind: Kind) -> u32 {
    let breadth = breadth(message);
    let left = match kind {
        Kind::Exploder | Kind::AdHoc => breadth * 3 / 4,
        Kind::Group => breadth / 2,
    };
    left.max(1)
}

/// Max-Forwards of the copies of a request to a service of this kind.
pub(in crate::controlling) fn hops_of_copies(message: &Message, kind: Kind) -> u8 {
    let hops = hops_of(message);
    match kind {
        Kind::Exploder | Kind::AdHoc => hops.saturating_sub(1),
        Kind::Group if hops > GROUP_HOPS => GROUP_HOPS,
        Kind::Group => hops / 2,
    }
}

impl Request {
    fn group_nesting(&self) -> u32 {
        self.service.settings().group_nesting
    }
}

/// Max-Breadth as far as it counts. One that cannot be read is used up.
fn breadth(message: &Message) -> u32 {
    message
        .all(HeaderName::MaxBreadth)
        .map(|field| field.text().ok()?.trim().parse().ok())
        .map(Option::unwrap_or_default)
        .fold(DEFAULT_BREADTH, u32::min)
}

/// How many groups have sent the request on, as far as it shows.
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

/// Whether the originator is a group. A session of an ad-hoc group, which a wide pattern may take in, is none of them.
fn names_group(originator: &Originator, groups: &GroupUris) -> bool {
    let is_group =
        |uri: &Uri<'_>| groups.contains(uri) && !uri.user().is_some_and(names_group_session);
    originator.identities().iter().any(is_group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(header: &str) -> Message {
        let text = format!("MESSAGE sip:a@example.com SIP/2.0\r\n{header}\r\n");
        Message::parse(text.into_bytes().into()).expect("it is a request")
    }

    #[test]
    fn breadth_is_what_is_left() {
        for (header, left) in [
            ("", 60),
            ("Max-Breadth: 60\r\n", 60),
            ("Max-Breadth: 4294967295\r\n", 60),
            ("max-breadth:\r\n 7 \r\n", 7),
            ("Max-Breadth: 45\r\nMax-Breadth: 30\r\n", 30),
            ("Max-Breadth: 0\r\n", 0),
            ("Max-Breadth: -1\r\n", 0),
            ("Max-Breadth: much\r\n", 0),
            ("Max-Breadth: 4294967296\r\n", 0),
        ] {
            assert_eq!(breadth(&message(header)), left, "{header}");
        }
    }

    #[test]
    fn each_service_takes_its_part_of_the_breadth() {
        let of = |breadth: u32, kind| {
            breadth_of_copies(&message(&format!("Max-Breadth: {breadth}\r\n")), kind)
        };
        assert_eq!(
            breadth_of_copies(&message(""), Kind::Exploder),
            LIST_BREADTH
        );
        assert_eq!(of(60, Kind::AdHoc), LIST_BREADTH);
        // From a sender, and from a list: each group shows that it is one more.
        for first in [60, LIST_BREADTH] {
            let mut left = first;
            for groups in 0..=4 {
                assert_eq!((DEFAULT_BREADTH / left).ilog2(), groups, "{left}");
                left = of(left, Kind::Group);
                assert!(left <= LIST_BREADTH, "no list takes it");
            }
        }
        assert_eq!(of(1, Kind::Group), 1);
        assert_eq!(of(0, Kind::Exploder), 1);
    }

    #[test]
    fn a_way_back_to_a_group_ends_by_its_hops() {
        let of =
            |hops: u8, kind| hops_of_copies(&message(&format!("Max-Forwards: {hops}\r\n")), kind);
        assert_eq!(of(70, Kind::Exploder), 69);
        assert_eq!(hops_of_copies(&message(""), Kind::AdHoc), 70);
        assert_eq!(hops_of_copies(&message(""), Kind::Group), GROUP_HOPS);
        let mut copies = vec![of(255, Kind::Group)];
        while let Some(&hops) = copies.last().filter(|hops| **hops > 1) {
            copies.push(of(hops - 1, Kind::Group));
        }
        assert_eq!(copies, [20, 9, 4, 1]);
    }
}
