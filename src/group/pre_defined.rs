//! One pre-defined group: its members, its permissions.

use std::time::{SystemTime, UNIX_EPOCH};

use super::error::ExternalListError;
use super::external_lists::ExternalLists;
use super::member_list::{MAX_MEMBERS, Member, MemberList};
use super::rules::{Asker, Medium, Permissions, Ruleset};
use crate::sip::Uri;

/// A group: one list-service element, together with those of its external lists that were fetched.
///
/// The members are complete, and the permissions final, once [`Self::awaited_anchors`] is empty:
/// until then a missing list counts as empty.
#[derive(Debug, Clone, Default)]
pub struct Group {
    pub(super) uri: String,
    pub(super) display_name: Option<String>,
    pub(super) list: MemberList,
    pub(super) external_lists: ExternalLists,
    pub(super) max_participants: Option<u32>,
    pub(super) supports_cpm: bool,
    /// `None` if the document has no ruleset at all.
    pub(super) ruleset: Option<Ruleset>,
}

impl Group {
    /// The address of the group without surrounding white space: text from the document, which must
    /// be parsed before it is used.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Whether a request for this URI is for this group (RFC 3261 §19.1.4).
    pub fn has_address(&self, uri: &Uri<'_>) -> bool {
        Uri::parse(&self.uri).is_ok_and(|own| own.equivalent(uri))
    }

    /// The first display-name of the group.
    pub fn display_name(&self) -> Option<&str> {
        self.display_name.as_deref()
    }

    /// The members: first those of the document in its order, then those of the external lists that
    /// the document's lists lead to. A member named several times appears several times.
    pub fn members(&self) -> impl Iterator<Item = Member<'_>> + Clone {
        self.list
            .members()
            .chain(self.external_lists.listed_members())
    }

    /// Maximum number of participants of a session. A Standalone Message has no participants;
    /// whether this limits its recipients is policy.
    pub fn max_participants(&self) -> Option<u32> {
        self.max_participants
    }

    /// Whether the supported-services element names CPM. Without that element no service is named.
    pub fn supports_cpm(&self) -> bool {
        self.supports_cpm
    }

    /// The external lists that still have to be fetched, as written in the document: usually an
    /// XCAP URI. Text from the document; the caller decides from where lists may be fetched.
    ///
    /// Some are lists of members, others only serve a condition of a rule. An added list can refer
    /// to more. Each anchor appears once, so lists that refer to each other cause no endless loop.
    pub fn awaited_anchors(&self) -> impl Iterator<Item = &str> {
        self.external_lists.awaited()
    }

    /// Adds the list that was fetched for an anchor.
    ///
    /// # Errors
    ///
    /// Any [`ExternalListError`]; the group is then unchanged.
    pub fn add_external_list(
        &mut self,
        anchor: &str,
        list: MemberList,
    ) -> Result<(), ExternalListError> {
        let others = self.list.len() + self.external_lists.member_count();
        self.external_lists.add(anchor, list, MAX_MEMBERS - others)
    }

    /// The originator's permissions at a time, combined from all rules that apply (RFC 4745 §10.2):
    /// each rule can only add permissions, regardless of the others.
    ///
    /// `originator` holds the authenticated identities of one user, usually a SIP URI and a tel
    /// URI. They are one person: a rule for either applies, and so does an exception from it.
    ///
    /// A rule applies if all of its conditions hold, and always if it has none. The conditions are
    /// `identity`, `is-list-member`, `external-list`, `other-identity`, `media-list` and
    /// `validity`. Any other never holds, nor does one that is not understood; `sphere` is among
    /// them, since the sphere of a group is not known.
    ///
    /// The actions are `allow-initiate-conference` and `allow-anonymity`: a Standalone Message to a
    /// group is started by one member and goes to all, as a conference does. `join-handling` and
    /// `allow-conference-state` concern sessions and grant nothing here.
    ///
    /// A group without ruleset is open to its members, but not to anonymous ones.
    pub fn permissions(
        &self,
        originator: &[Uri<'_>],
        medium: Medium,
        now: SystemTime,
    ) -> Permissions {
        let naming = self.external_lists.naming(originator);
        // Computed once, since each rule may need it.
        let lists = self.external_lists.leading_to(naming);
        let originator = Asker {
            identities: originator,
            is_member: self.list.names_any(originator) || self.external_lists.any_listed_in(lists),
            lists,
        };
        match &self.ruleset {
            Some(ruleset) => ruleset.evaluate(&originator, medium, seconds_since_1970(now)),
            None => Permissions {
                may_send: originator.is_member,
                anonymity_allowed: false,
            },
        }
    }
}

fn seconds_since_1970(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        // Rounded down, too: half a second before 1970 is in its last second.
        Err(error) => {
            let before = error.duration();
            let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            -seconds - i64::from(before.subsec_nanos() > 0)
        }
    }
}
