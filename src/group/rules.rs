use super::external_lists::ListSet;
use crate::sip::Uri;

/// Rules, conditions and parts of conditions (each identity, exception, interval, …) of one document. A
/// group has a handful of rules; the limit leaves room for one part for each member.
pub const MAX_RULE_PARTS: usize = 10_000;

/// How a Standalone Message is sent, as far as the media-list condition of OMA common policy tells it
/// apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// SIP MESSAGE: `pager-mode-message`.
    PagerMode,
    /// A large message through MSRP: `message-session`, which is what the rules call MSRP.
    LargeMessageMode,
}

/// What a group lets an originator do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Send a Standalone Message to the group.
    pub may_send: bool,
    /// Do so without being named to the members.
    pub anonymity_allowed: bool,
}

/// The one who asks, and what is known about them.
pub(super) struct Originator<'a> {
    pub(super) identities: &'a [Uri<'a>],
    pub(super) is_member: bool,
    /// The external lists that name them, and those that lead to one that does.
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
    /// Whoever no rule names.
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
    /// A text that was seen to be a URI.
    Id(String),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MediaList {
    pub(super) listed: MediaSet,
    /// All media but these.
    pub(super) all_except: Option<MediaSet>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MediaSet {
    pub(super) pager_mode: bool,
    pub(super) large_message_mode: bool,
}

/// From the first second until the one before the last, since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) from: i64,
    pub(super) until: i64,
}

impl Ruleset {
    /// What all rules that apply grant together (RFC 4745 §10.2: booleans combine by OR).
    pub(super) fn evaluate(
        &self,
        originator: &Originator<'_>,
        medium: Medium,
        now: i64,
    ) -> Permissions {
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
    originator: &'a Originator<'a>,
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

    /// Whether the condition is about who sends, and holds for the originator.
    fn names(&self, originator: &Originator<'_>) -> bool {
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
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::Medium::*;
    use super::*;
    use crate::group::{Group, MemberList};

    const NOON: Duration = Duration::from_secs(1_767_268_800); // 2026-01-01T12:00:00Z

    fn with_ruleset(ruleset: &str) -> Group {
        let document = format!(
            "<group xmlns='urn:oma:xml:poc:list-service' xmlns:cr='urn:ietf:params:xml:ns:common-policy' \
             xmlns:x='urn:oma:xml:xdm:common-policy'><list-service uri='sip:g@example.com'>\
             <list><entry uri='sip:ada@example.com'/><entry uri='tel:+1-555-0100'/><entry uri='not a URI'/></list>\
             {ruleset}</list-service></group>"
        );
        Group::parse(document.as_bytes()).unwrap().remove(0)
    }

    /// A rule that lets those send whom the conditions describe.
    fn rule(conditions: &str) -> String {
        format!(
            "<cr:rule><cr:conditions>{conditions}</cr:conditions><cr:actions>\
             <allow-initiate-conference>true</allow-initiate-conference></cr:actions></cr:rule>"
        )
    }

    fn permissions(group: &Group, originator: &[&str]) -> Permissions {
        let uris: Vec<_> = originator
            .iter()
            .map(|uri| Uri::parse(uri).unwrap())
            .collect();
        group.permissions(&uris, PagerMode, UNIX_EPOCH + NOON)
    }

    fn may_send(group: &Group, originator: &[&str]) -> bool {
        permissions(group, originator).may_send
    }

    fn with_conditions(conditions: &str) -> Group {
        with_ruleset(&format!("<cr:ruleset>{}</cr:ruleset>", rule(conditions)))
    }

    #[test]
    fn without_ruleset_a_group_is_for_its_members() {
        let group = with_ruleset("");
        for member in [
            "sip:ada@example.com",
            "sip:ada@EXAMPLE.com",
            "SIP:%61da@example.com",
            "tel:+15550100",
            "tel:+1(555)01.00",
        ] {
            let expected = Permissions {
                may_send: true,
                anonymity_allowed: false,
            };
            assert_eq!(permissions(&group, &[member]), expected, "{member}");
        }
        for stranger in [
            "sip:Ada@example.com",
            "sips:ada@example.com",
            "sip:ada@example.com:5060",
            "tel:+15550101",
            "sip:+15550100@example.com;user=phone",
        ] {
            assert_eq!(
                permissions(&group, &[stranger]),
                Permissions::default(),
                "{stranger}"
            );
        }
        assert!(!may_send(&group, &[]));
        assert!(may_send(
            &group,
            &["sip:stranger@example.org", "tel:+1-555-0100"]
        ));
    }

    #[test]
    fn an_empty_ruleset_lets_nobody_send() {
        assert!(!may_send(
            &with_ruleset("<cr:ruleset/>"),
            &["sip:ada@example.com"]
        ));
        let no_actions = "<cr:ruleset><cr:rule id='a'/></cr:ruleset>";
        assert!(!may_send(
            &with_ruleset(no_actions),
            &["sip:ada@example.com"]
        ));
    }

    #[test]
    fn a_rule_without_conditions_applies_to_everybody() {
        for conditions in ["", "<cr:conditions/>"] {
            let group = with_ruleset(&format!(
                "<cr:ruleset><cr:rule id='a'>{conditions}<cr:actions>\
                 <allow-initiate-conference> 1 </allow-initiate-conference></cr:actions></cr:rule></cr:ruleset>"
            ));
            assert!(may_send(&group, &["sip:stranger@example.org"]));
        }
    }

    #[test]
    fn permissions_of_all_rules_that_apply_add_up() {
        let actions = |conditions: &str, send: &str, anonymity: &str| {
            format!(
                "<cr:rule><cr:conditions>{conditions}</cr:conditions><cr:actions>\
                 <allow-initiate-conference>{send}</allow-initiate-conference><join-handling>true</join-handling>\
                 <allow-conference-state>true</allow-conference-state>\
                 <allow-anonymity>{anonymity}</allow-anonymity></cr:actions></cr:rule>"
            )
        };
        let group = with_ruleset(&format!(
            "<cr:ruleset>{}{}</cr:ruleset><cr:ruleset>{}</cr:ruleset>",
            actions("<is-list-member/>", "true", "false"),
            actions(
                "<cr:identity><cr:one id='sip:ada@example.com'/></cr:identity>",
                "0",
                "true"
            ),
            actions(
                "<cr:identity><cr:many domain='example.org'/></cr:identity>",
                "yes",
                "TRUE"
            ),
        ));
        let expect = |originator, may_send, anonymity_allowed| {
            let expected = Permissions {
                may_send,
                anonymity_allowed,
            };
            assert_eq!(permissions(&group, &[originator]), expected, "{originator}");
        };
        expect("sip:ada@example.com", true, true);
        expect("tel:+15550100", true, false);
        expect("sip:zoe@example.org", false, false);
        expect("sip:zoe@example.net", false, false);
    }

    #[test]
    fn identity_of_one() {
        let group = with_conditions(
            "<cr:identity><cr:one id='sip:zoe@example.org'/><cr:one id=' tel:+1-555-0111 '/></cr:identity>",
        );
        assert!(may_send(&group, &["sip:zoe@Example.ORG"]));
        assert!(may_send(&group, &["tel:+1.555.0111"]));
        assert!(may_send(
            &group,
            &["sip:other@example.org", "tel:+15550111"]
        ));
        assert!(!may_send(&group, &["sip:zoe@example.com"]));
        assert!(!may_send(&group, &[]));
    }

    #[test]
    fn identity_of_many() {
        let group = with_conditions("<cr:identity><cr:many/></cr:identity>");
        assert!(may_send(&group, &["tel:+15550199"]));
        assert!(!may_send(&group, &[]));

        let group = with_conditions(
            "<cr:identity><cr:many domain='Example.ORG'><cr:except id='sip:zoe@example.org'/>\
             <cr:except id='tel:+1-555-0111'/></cr:many></cr:identity>",
        );
        assert!(may_send(&group, &["sip:yan@example.org"]));
        assert!(!may_send(&group, &["sip:zoe@EXAMPLE.org"]));
        assert!(!may_send(&group, &["sip:yan@sub.example.org"]));
        assert!(!may_send(&group, &["tel:+15550100"]));
        // One person: what excepts the number excepts the address too.
        assert!(!may_send(&group, &["sip:yan@example.org", "tel:+15550111"]));
        assert!(may_send(&group, &["sip:yan@example.org", "tel:+15550112"]));

        let group = with_conditions(
            "<cr:identity><cr:many><cr:except domain='example.org'/></cr:many></cr:identity>",
        );
        assert!(may_send(&group, &["sip:yan@example.net"]));
        assert!(may_send(&group, &["tel:+15550112"]));
        assert!(!may_send(&group, &["sip:yan@example.org"]));
        assert!(!may_send(
            &with_conditions("<cr:identity/>"),
            &["sip:yan@example.org"]
        ));
    }

    #[test]
    fn all_conditions_of_a_rule_must_hold() {
        let group = with_conditions(
            "<is-list-member/><cr:identity><cr:many domain='example.com'/></cr:identity>",
        );
        assert!(may_send(&group, &["sip:ada@example.com"]));
        assert!(!may_send(&group, &["sip:zoe@example.com"]));
        assert!(!may_send(&group, &["tel:+15550100"]));
        for unknown in [
            "<cr:sphere value='home'/>",
            "<x:anonymous-request/>",
            "<u:a xmlns:u='urn:u'/>",
        ] {
            let group = with_conditions(&format!("<is-list-member/>{unknown}"));
            assert!(!may_send(&group, &["sip:ada@example.com"]), "{unknown}");
        }
    }

    #[test]
    fn other_identity_is_whom_no_rule_names() {
        let group = with_ruleset(&format!(
            "<cr:ruleset>{}<cr:rule><cr:conditions><is-list-member/></cr:conditions></cr:rule>\
             <cr:rule><cr:conditions><cr:sphere/><cr:identity><cr:one id='sip:zoe@example.org'/></cr:identity>\
             </cr:conditions></cr:rule></cr:ruleset>",
            rule("<x:other-identity/>")
        ));
        assert!(may_send(&group, &["sip:stranger@example.net"]));
        assert!(!may_send(&group, &["sip:ada@example.com"]));
        assert!(!may_send(
            &group,
            &["sip:stranger@example.net", "sip:zoe@example.org"]
        ));
    }

    #[test]
    fn external_list() {
        let mut group = with_conditions(
            "<x:external-list><x:entry anc='http://x/1'/><x:external anchor='http://x/2'/></x:external-list>",
        );
        let guest = ["sip:guest@example.net"];
        assert!(!may_send(&group, &guest));
        let list = |content: &str| MemberList::parse(format!("<list>{content}</list>").as_bytes());
        group
            .add_external_list("http://x/1", list("").unwrap())
            .unwrap();
        assert!(!may_send(&group, &guest));
        let nested = list("<external anchor='http://x/3'/>").unwrap();
        group.add_external_list("http://x/2", nested).unwrap();
        let guests = list("<entry uri='sip:guest@EXAMPLE.net'/>").unwrap();
        group.add_external_list("http://x/3", guests).unwrap();
        assert!(may_send(&group, &guest));
        assert!(!may_send(&group, &["sip:ada@example.com"]));
        // A list of a rule has no members.
        assert_eq!(group.members().count(), 3);
        assert!(!may_send(&with_conditions("<x:external-list/>"), &guest));
    }

    #[test]
    fn media_list() {
        for (content, pager_mode, large) in [
            ("", false, false),
            ("<x:pager-mode-message/>", true, false),
            ("<x:message-session/>", false, true),
            (
                "<x:video/><x:message-session/><x:pager-mode-message/>",
                true,
                true,
            ),
            ("<x:video/><u:x xmlns:u='urn:u'/>", false, false),
            ("<x:all-media-except/>", true, true),
            (
                "<x:all-media-except><x:video/></x:all-media-except>",
                true,
                true,
            ),
            (
                "<x:all-media-except><x:pager-mode-message/></x:all-media-except>",
                false,
                true,
            ),
            (
                "<x:all-media-except><x:message-session/></x:all-media-except>",
                true,
                false,
            ),
        ] {
            let group = with_conditions(&format!("<x:media-list>{content}</x:media-list>"));
            let uris = [Uri::parse("sip:ada@example.com").unwrap()];
            let now = UNIX_EPOCH + NOON;
            let found =
                [PagerMode, LargeMessageMode].map(|m| group.permissions(&uris, m, now).may_send);
            assert_eq!(found, [pager_mode, large], "{content}");
        }
    }

    #[test]
    fn validity() {
        let group = with_conditions(
            "<cr:validity><cr:from>2026-01-01T12:00:00+00:00</cr:from><cr:until>2026-01-01T14:00:00+01:00</cr:until>\
             <cr:from>2026-06-01T00:00:00Z</cr:from><cr:until>2026-06-01T00:00:01Z</cr:until></cr:validity>",
        );
        let uris = [Uri::parse("sip:ada@example.com").unwrap()];
        let may_send = |now: SystemTime| group.permissions(&uris, PagerMode, now).may_send;
        let noon = UNIX_EPOCH + NOON;
        let hour = Duration::from_secs(3600);
        let second = Duration::from_secs(1);
        assert!(!may_send(noon - second));
        assert!(!may_send(noon - Duration::from_millis(1)));
        assert!(may_send(noon));
        assert!(may_send(noon + hour - Duration::from_millis(1)));
        assert!(!may_send(noon + hour));
        let june = UNIX_EPOCH + Duration::from_secs(1_780_272_000);
        assert!(!may_send(june - second));
        assert!(may_send(june));
        assert!(!may_send(june + second));
        assert!(!may_send(UNIX_EPOCH - hour));

        let before_1970 = with_conditions(
            "<cr:validity><cr:from>1969-12-31T23:59:59Z</cr:from><cr:until>1970-01-01T00:00:00Z</cr:until></cr:validity>",
        );
        let may_send = |now| before_1970.permissions(&uris, PagerMode, now).may_send;
        assert!(may_send(UNIX_EPOCH - Duration::from_millis(1)) && may_send(UNIX_EPOCH - second));
        assert!(!may_send(UNIX_EPOCH) && !may_send(UNIX_EPOCH - second * 2));
        assert!(!may_send(UNIX_EPOCH - Duration::from_millis(1001)));

        assert!(!self::may_send(
            &with_conditions("<cr:validity/>"),
            &["sip:ada@example.com"]
        ));
    }
}
