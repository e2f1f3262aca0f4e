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

/// A rule that permits the senders described by the conditions.
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
    // One person: an exception for the number also excepts the address.
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
    // A list referenced by a rule adds no members.
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
