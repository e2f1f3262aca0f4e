//! Limits of forwarding: hops (Max-Forwards) and breadth (Max-Breadth, RFC 5393).

use super::received::Kind;
use super::refusal::Refusal;
use crate::log::at;
use crate::sip::{HeaderName, Message, StatusCode};

/// Max-Forwards of requests received without one, and of our own (RFC 3261 §8.1.1.6).
pub(super) const INITIAL_MAX_FORWARDS: u8 = 70;

/// Max-Breadth assumed for a request without one (RFC 5393 §5.3.3).
pub(super) const DEFAULT_BREADTH: u32 = 60;

/// A list accepts only requests with more than this: its own copies have at most this.
pub(super) const LIST_BREADTH: u32 = DEFAULT_BREADTH / 4 * 3;

/// Max-Forwards of a group's copy: enough for two home networks with their application servers.
const GROUP_HOPS: u8 = 20;

/// Max-Forwards as received; if missing, one more than the initial value of our own requests.
pub(super) fn hops_of(message: &Message) -> u8 {
    message
        .first(HeaderName::MaxForwards)
        .and_then(|field| field.text().ok()?.trim().parse().ok())
        .unwrap_or(INITIAL_MAX_FORWARDS + 1)
}

/// RFC 3261 §16.3 item 3: a forwarded request has one hop less, which also ends loops through other
/// servers.
pub(super) fn hops_left(message: &Message) -> Result<(), Refusal> {
    match message
        .first(HeaderName::MaxForwards)
        .map(|field| field.text())
    {
        None => Ok(()),
        Some(Ok(text)) if text.trim().parse::<u8>().is_ok_and(|hops| hops > 0) => Ok(()),
        Some(Ok(text)) if text.trim().parse::<u8>() == Ok(0) => Err(Refusal::with_header(
            at!(Notice),
            StatusCode::TOO_MANY_HOPS,
            None,
            "Max-Forwards is 0",
        )),
        Some(_) => Err(Refusal::bad_request(at!(Notice), "Malformed Max-Forwards")),
    }
}

/// Max-Breadth of the copies of a request to a service of this kind.
pub(super) fn breadth_of_copies(message: &Message, kind: Kind) -> u32 {
    let breadth = breadth(message);
    let left = match kind {
        Kind::Exploder | Kind::AdHoc => breadth * 3 / 4,
        Kind::Group => breadth / 2,
    };
    left.max(1)
}

/// Max-Forwards of the copies of a request to a service of this kind.
pub(super) fn hops_of_copies(message: &Message, kind: Kind) -> u8 {
    let hops = hops_of(message);
    match kind {
        Kind::Exploder | Kind::AdHoc => hops.saturating_sub(1),
        Kind::Group if hops > GROUP_HOPS => GROUP_HOPS,
        Kind::Group => hops / 2,
    }
}

/// The effective Max-Breadth. An unreadable one counts as used up.
pub(super) fn breadth(message: &Message) -> u32 {
    message
        .all(HeaderName::MaxBreadth)
        .map(|field| field.text().ok()?.trim().parse().ok())
        .map(Option::unwrap_or_default)
        .fold(DEFAULT_BREADTH, u32::min)
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
        // From a sender, and from a list: each group is recognisable as one more.
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
