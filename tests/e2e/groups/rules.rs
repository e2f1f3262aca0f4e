//! The rules of a group (RFC 4745, OMA XDM Group), from the document to the answer on the wire.

use cpm_testbed::Bench;

use crate::common::proves;
use crate::groups::{GroupFolder, ask, group_proxy, open_group, to_group};

const MAY_SEND: &str =
    "<cp:actions><allow-initiate-conference>true</allow-initiate-conference></cp:actions>";

/// Senders, by the letters used below: Anne, a member; Bert, who is not; Carl of another domain; a
/// sender with a telephone number that is a member's.
const SENDERS: [(char, &str); 4] = [
    ('a', "<sip:anne@example.com>"),
    ('b', "<sip:bert@example.com>"),
    ('c', "<sip:carl@example.net>"),
    ('d', "<sip:dora@example.org>, <tel:+1-201-555-0123>"),
];

/// Conditions of one rule that permits sending, and who may send then.
const RULES: [(&str, &str, &str); 18] = [
    ("none", "", "abcd"),
    ("members", "<oxe:is-list-member/>", "ad"),
    ("members-old", "<is-list-member>true</is-list-member>", "ad"),
    (
        "one",
        "<cp:identity><cp:one id=\"sip:bert@example.com\"/></cp:identity>",
        "b",
    ),
    (
        "one-equal",
        "<cp:identity><cp:one id=\"SIP:%62ert@EXAMPLE.com;x=y\"/></cp:identity>",
        "b",
    ),
    (
        "one-tel",
        "<cp:identity><cp:one id=\"tel:+12015550123\"/></cp:identity>",
        "d",
    ),
    (
        "two",
        "<cp:identity><cp:one id=\"sip:carl@example.net\"/><cp:one id=\"sip:anne@example.com\"/></cp:identity>",
        "ac",
    ),
    ("many", "<cp:identity><cp:many/></cp:identity>", "abcd"),
    (
        "domain",
        "<cp:identity><cp:many domain=\"Example.COM\"/></cp:identity>",
        "ab",
    ),
    (
        "but-domain",
        "<cp:identity><cp:many><cp:except domain=\"example.com\"/></cp:many></cp:identity>",
        "cd",
    ),
    (
        "but-one",
        "<cp:identity><cp:many domain=\"example.com\"><cp:except id=\"sip:anne@example.com\"/></cp:many></cp:identity>",
        "b",
    ),
    (
        "but-tel",
        "<cp:identity><cp:many><cp:except id=\"tel:+12015550123\"/></cp:many></cp:identity>",
        "abc",
    ),
    (
        "both",
        "<oxe:is-list-member/><cp:identity><cp:many domain=\"example.com\"/></cp:identity>",
        "a",
    ),
    ("other", "<ocp:other-identity/>", "abcd"),
    (
        "pager",
        "<ocp:media-list><ocp:pager-mode-message/></ocp:media-list>",
        "abcd",
    ),
    (
        "sessions",
        "<ocp:media-list><ocp:message-session/></ocp:media-list>",
        "",
    ),
    (
        "past",
        "<cp:validity><cp:from>2001-01-01T00:00:00Z</cp:from><cp:until>2002-01-01T00:00:00Z</cp:until></cp:validity>",
        "",
    ),
    (
        "unheard-of",
        "<x:moon xmlns:x=\"urn:example:x\">full</x:moon>",
        "",
    ),
];

#[test]
fn rules_decide_who_may_send() {
    let bench = Bench::new("rules_decide_who_may_send");
    let folder = GroupFolder::new(&bench, "groups");
    let (agent, member) = (bench.agent(), bench.agent());
    let members = ["sip:anne@example.com", "tel:+12015550123"];
    let group = |name: &str, rules: &str| {
        let members = members.map(str::to_owned).into_iter();
        let group = open_group(name).rules(rules);
        folder.put(name, &group.members(members.chain([member.uri("bill")])));
    };
    let rule = |conditions: &str| {
        format!("<cp:rule id=\"r\"><cp:conditions>{conditions}</cp:conditions>{MAY_SEND}</cp:rule>")
    };
    for (name, conditions, _) in RULES {
        group(name, &rule(conditions));
    }
    // Rules are cumulative, in any order (RFC 4745 §10.2).
    let bert = rule("<cp:identity><cp:one id=\"sip:bert@example.com\"/></cp:identity>");
    let nobody = "<cp:rule id=\"n\"><cp:actions>
        <allow-initiate-conference>false</allow-initiate-conference></cp:actions></cp:rule>";
    group(
        "sum",
        &format!("{bert}{nobody}{}", rule("<oxe:is-list-member/>")),
    );
    // An identity named by a rule is not an "other" identity.
    group(
        "rest",
        &format!("{nobody}{bert}{}", rule("<ocp:other-identity/>")),
    );
    let no_one_but_carl = bert
        .replace(MAY_SEND, "")
        .replace("bert@example.com", "carl@example.net");
    group(
        "not-carl",
        &format!("{no_one_but_carl}{}", rule("<ocp:other-identity/>")),
    );
    group("no-rules", "");
    let sums = [
        ("sum", "", "abd"),
        ("rest", "", "abcd"),
        ("not-carl", "", "abd"),
        ("no-rules", "", ""),
    ];
    let proxy = bench.proxy(&group_proxy(&folder.source()));
    let capture = bench.capture();
    let mut accepted = 0;
    for (name, _, allowed) in RULES.iter().chain(&sums) {
        let mut sent = String::new();
        for (letter, identity) in SENDERS {
            let request = to_group("sip:x@example.invalid", name)
                .request()
                .with("P-Asserted-Identity", identity);
            let response = ask(&agent, &request, &proxy);
            match response.status() {
                Some(202) => sent.push(letter),
                Some(403) => proves!(
                    ["9.1.1-4a-w"],
                    assert_eq!(
                        response.header("Warning"),
                        Some("399 groups.example.com \"127 Service not authorised\"")
                    )
                ),
                _ => panic!("{name}: {:?}", *response),
            }
        }
        proves!(["9.1.1-4a"], assert_eq!(sent, *allowed, "{name}"));
        accepted += sent.len();
    }
    member.expect_requests("MESSAGE", accepted);
    member.expect_nothing_until(|| proxy.ping());
    capture.stop().assert_clean();
    proxy.stop();
}
