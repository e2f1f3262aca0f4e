use super::list_set::ListSet;
use crate::sip::Uri;

/// Maximum number of rules, conditions and parts of conditions (each identity, exception, interval,
/// …) of one document. A group has a handful of rules; the limit allows one part for each member.
pub const MAX_RULE_PARTS: usize = 10_000;

/// How a Standalone Message is sent, as distinguished by the media-list condition of OMA common
/// policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// SIP MESSAGE: `pager-mode-message`.
    PagerMode,
    /// A large message over MSRP: `message-session`, the rules' term for MSRP.
    LargeMessageMode,
}

/// A group's permissions for an originator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Send a Standalone Message to the group.
    pub may_send: bool,
    /// Send without being named to the members.
    pub anonymity_allowed: bool,
}

/// The originator whose permissions are evaluated.
pub(super) struct Asker<'a> {
    pub(super) identities: &'a [Uri<'a>],
    pub(super) is_member: bool,
    /// The external lists that name the originator, and those that lead to one that does.
    pub(super) lists: ListSet,
}

/// All rules of a group (RFC 4745 §7).
#[derive(Debug, Clone, Default)]
pub(super) struct Ruleset {
    pub(super) rules: Vec<Rule>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Rule {
    /// All must hold.
    pub(super) conditions: Vec<Condition>,
    pub(super) grants: Permissions,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// One must hold (RFC 4745 §7).
    Identity(Vec<Identity>),
    IsListMember,
    ExternalList(ListSet),
    /// Anybody whom no rule names.
    OtherIdentity,
    MediaList(MediaList),
    /// One must hold (RFC 4745 §7).
    Validity(Vec<Interval>),
    /// Not understood: the rule does not apply (RFC 4745 §7).
    Never,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// A URI.
    One(String),
    Many {
        /// `None` for everybody.
        domain: Option<String>,
        exceptions: Vec<Exception>,
    },
    /// Not understood.
    Nobody,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Exception {
    Domain(String),
    /// A text that has been checked to be a URI.
    Id(String),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MediaList {
    pub(super) listed: MediaSet,
    /// All media except these.
    pub(super) all_except: Option<MediaSet>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MediaSet {
    pub(super) pager_mode: bool,
    pub(super) large_message_mode: bool,
}

/// From the first second to the one before the last, since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) from: i64,
    pub(super) until: i64,
}

impl Ruleset {
    /// The combined grants of all rules that apply (RFC 4745 §10.2: booleans combine by OR).
    pub(super) fn evaluate(&self, originator: &Asker<'_>, medium: Medium, now: i64) -> Permissions {
        let request = Request {
            originator,
            medium,
            now,
            is_named: self
                .rules
                .iter()
                .flat_map(|rule| &rule.conditions)
                .any(|condition| condition.names(originator)),
        };
        let applying = self.rules.iter().filter(|rule| {
            let mut conditions = rule.conditions.iter();
            conditions.all(|condition| condition.holds(&request))
        });
        applying.fold(Permissions::default(), |granted, rule| Permissions {
            may_send: granted.may_send | rule.grants.may_send,
            anonymity_allowed: granted.anonymity_allowed | rule.grants.anonymity_allowed,
        })
    }
}

struct Request<'a> {
    originator: &'a Asker<'a>,
    medium: Medium,
    now: i64,
    /// Whether a condition of any rule names the originator.
    is_named: bool,
}

impl Condition {
    fn holds(&self, request: &Request<'_>) -> bool {
        match self {
            Self::Identity(_) | Self::IsListMember | Self::ExternalList(_) => {
                self.names(request.originator)
            }
            Self::OtherIdentity => !request.is_named,
            Self::MediaList(media) => media.has(request.medium),
            Self::Validity(intervals) => intervals
                .iter()
                .any(|interval| (interval.from..interval.until).contains(&request.now)),
            Self::Never => false,
        }
    }

    /// Whether the condition concerns the sender, and holds for the originator.
    fn names(&self, originator: &Asker<'_>) -> bool {
        match self {
            Self::Identity(identities) => identities
                .iter()
                .any(|identity| identity.names(originator.identities)),
            Self::IsListMember => originator.is_member,
            Self::ExternalList(lists) => lists.meets(originator.lists),
            Self::OtherIdentity | Self::MediaList(_) | Self::Validity(_) | Self::Never => false,
        }
    }
}

impl Identity {
    fn names(&self, identities: &[Uri<'_>]) -> bool {
        match self {
            Self::One(id) => is_one_of(id, identities),
            Self::Many { domain, exceptions } => {
                let is_in = match domain {
                    Some(domain) => any_in_domain(identities, domain),
                    None => !identities.is_empty(),
                };
                is_in
                    && !exceptions
                        .iter()
                        .any(|exception| exception.names(identities))
            }
            Self::Nobody => false,
        }
    }
}

impl Exception {
    fn names(&self, identities: &[Uri<'_>]) -> bool {
        match self {
            Self::Domain(domain) => any_in_domain(identities, domain),
            Self::Id(id) => is_one_of(id, identities),
        }
    }
}

fn is_one_of(id: &str, identities: &[Uri<'_>]) -> bool {
    Uri::parse(id).is_ok_and(|id| identities.iter().any(|identity| identity.equivalent(&id)))
}

/// A tel URI belongs to no domain.
fn any_in_domain(identities: &[Uri<'_>], domain: &str) -> bool {
    let mut hosts = identities.iter().filter_map(Uri::host);
    hosts.any(|host| host.eq_ignore_ascii_case(domain))
}

impl MediaList {
    fn has(self, medium: Medium) -> bool {
        self.listed.has(medium) || self.all_except.is_some_and(|except| !except.has(medium))
    }
}

impl MediaSet {
    fn has(self, medium: Medium) -> bool {
        match medium {
            Medium::PagerMode => self.pager_mode,
            Medium::LargeMessageMode => self.large_message_mode,
        }
    }
}

#[cfg(test)]
mod tests;
