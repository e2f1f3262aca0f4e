//! Group documents and their rules.

use std::time::{Duration, UNIX_EPOCH};

use cpm::group::{Group, MAX_MEMBERS, Medium, MemberList};
use cpm_wire::sip::Uri;

/// A group, its members, and the permissions that its rules give several people at several times.
pub fn group(data: &[u8]) {
    let _ = MemberList::parse(data);
    let Ok(groups) = Group::parse(data) else {
        return;
    };
    let people = [
        "sip:anne@example.com",
        "tel:+15551234",
        "sip:x@other.example.org",
    ];
    for mut group in groups.into_iter().take(8) {
        let _ = (
            group.uri(),
            group.display_name(),
            group.max_participants(),
            group.supports_cpm(),
        );
        let anchors: Vec<String> = group.awaited_anchors().map(str::to_owned).collect();
        for anchor in anchors {
            if let Ok(list) = MemberList::parse(
                b"<list xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><entry uri=\"sip:anne@example.com\"/><external anchor=\"http://a/b\"/></list>",
            ) { let _ = group.add_external_list(&anchor, list); }
        }
        for person in people {
            let uri = [Uri::parse(person).unwrap()];
            for seconds in [0u64, 1_700_000_000, 4_000_000_000] {
                let now = UNIX_EPOCH + Duration::from_secs(seconds);
                for medium in [Medium::PagerMode, Medium::LargeMessageMode] {
                    let _ = group.permissions(&uri, medium, now);
                }
            }
            let _ = group.has_address(&uri[0]);
        }
        assert!(group.members().count() <= MAX_MEMBERS);
    }
}
