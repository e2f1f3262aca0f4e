//! Refusals of messages to pre-defined groups, and which of several faults is named (9.1.1-4;
//! readings N14 to N17).

use cpm_testbed::{Agent, Bench, Proxy, Received, Request};

use crate::common::{CONTROLLING, EXPLODER, counter, exchange, expect_counter, proves, reason};
use crate::groups::{
    ALL_MAY_SEND, ANNE, GroupFolder, address, ask, group_proxy, open_group, to_group,
};

/// Faults of a request to a group, in the order in which they are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Unauthenticated,
    Version,
    Extension,
    Hops,
    Identifiers,
    Unknown,
    NotPermitted,
    NotForCpm,
    Anonymous,
    Crowded,
    Empty,
    Body,
}

const FAULTS: [Fault; 12] = [
    Fault::Unauthenticated,
    Fault::Version,
    Fault::Extension,
    Fault::Hops,
    Fault::Identifiers,
    Fault::Unknown,
    Fault::NotPermitted,
    Fault::NotForCpm,
    Fault::Anonymous,
    Fault::Crowded,
    Fault::Empty,
    Fault::Body,
];

impl Fault {
    /// Code, phrase and text of the Warning.
    fn answer(self) -> (u16, &'static str, Option<&'static str>) {
        match self {
            Fault::Unauthenticated | Fault::NotPermitted => {
                (403, "Forbidden", Some("127 Service not authorised"))
            }
            Fault::Version => (403, "Forbidden", Some("132 Version not supported")),
            Fault::Extension => (420, "Bad Extension", None),
            Fault::Hops => (483, "Too Many Hops", None),
            Fault::Identifiers => (400, "Missing Conversation-ID", None),
            Fault::Unknown => (404, "Not Found", None),
            Fault::NotForCpm => (488, "Not Acceptable Here", None),
            Fault::Anonymous => (403, "Forbidden", Some("119 Anonymity not allowed")),
            Fault::Crowded => (486, "Busy Here", Some("102 Too many recipients")),
            Fault::Empty => (403, "Forbidden", Some("129 No destinations")),
            Fault::Body => (400, "Invalid Multipart Boundary", None),
        }
    }

    /// The duties that its answer proves.
    fn duties(self) -> &'static [&'static str] {
        match self {
            Fault::NotPermitted => &["9.1.1-4a", "9.1.1-4a-w"],
            Fault::Unknown => &["9.1.1-4b"],
            Fault::NotForCpm => &["9.1.1-4c"],
            Fault::Anonymous => &["9.1.1-4d", "9.1.1-4d-w"],
            Fault::Version => &["9.1.1-4e", "9.1.1-4e-w"],
            Fault::Empty => &["9.1.1-4f", "9.1.1-4f-w"],
            _ => &[],
        }
    }

    /// Whether a request can have both.
    fn goes_with(self, other: Fault) -> bool {
        // A group that does not exist has no other fault; one with too many members is not empty.
        !matches!(
            (self.min(other), self.max(other)),
            (
                Fault::Unknown,
                Fault::NotPermitted | Fault::NotForCpm | Fault::Crowded | Fault::Empty
            ) | (Fault::Crowded, Fault::Empty)
        )
    }
}

/// The name of the group with these faults; each combination has one.
fn group_with(faults: &[Fault]) -> String {
    let of_the_group: String = faults
        .iter()
        .map(|fault| match fault {
            Fault::Unknown => "-unknown",
            Fault::NotPermitted => "-closed",
            Fault::NotForCpm => "-other",
            Fault::Crowded => "-crowded",
            Fault::Empty => "-empty",
            _ => "",
        })
        .collect();
    format!("group{of_the_group}")
}

fn put_group_with(folder: &GroupFolder, faults: &[Fault], member: &Agent) {
    let name = group_with(faults);
    let mut group = open_group(&name);
    if faults.contains(&Fault::NotPermitted) {
        group = group.rules("");
    }
    if faults.contains(&Fault::NotForCpm) {
        group = group.services("<oxe:service enabler=\"org.openmobilealliance.PoC\"/>");
    }
    let members = match faults {
        _ if faults.contains(&Fault::Unknown) => return,
        _ if faults.contains(&Fault::Crowded) => 3,
        _ if faults.contains(&Fault::Empty) => 0,
        _ => 2,
    };
    let members = (0..members).map(|number| member.uri(&format!("member{number}")));
    folder.put(&name, &group.members(members));
}

fn request_with(faults: &[Fault]) -> Request {
    let mut request = to_group(ANNE, &group_with(faults)).request();
    for fault in faults {
        request = match fault {
            Fault::Unauthenticated => request.without("P-Asserted-Identity"),
            Fault::Version => request.with("User-Agent", "CPM-client/OMA1.0"),
            Fault::Extension => request.with("Require", "100rel"),
            Fault::Hops => request.with("Max-Forwards", "0"),
            Fault::Identifiers => request.without("Conversation-ID"),
            Fault::Anonymous => request.with("Privacy", "id"),
            Fault::Body => request.with_body("multipart/mixed", "--x\r\n\r\n\r\n--x--\r\n"),
            _ => request,
        };
    }
    request
}

/// Code, phrase, and Warning text of a response.
fn told(response: &Received) -> (u16, &str, Option<&str>) {
    let warning = response.header("Warning").map(|value| {
        value
            .strip_prefix("399 groups.example.com \"")
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or(value)
    });
    (
        response.status().unwrap_or_default(),
        reason(response),
        warning,
    )
}

#[test]
fn every_fault_has_its_answer_and_the_first_of_two_counts() {
    let bench = Bench::new("every_fault_has_its_answer");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, member) = (bench.agent(), bench.agent());
    let mut combinations = vec![vec![]];
    for (place, first) in FAULTS.iter().enumerate() {
        combinations.push(vec![*first]);
        let second = FAULTS[place + 1..].iter();
        combinations.extend(
            second
                .filter(|second| first.goes_with(**second))
                .map(|second| vec![*first, *second]),
        );
    }
    for faults in &combinations {
        put_group_with(&folder, faults, &member);
    }
    let proxy = bench.proxy(
        &group_proxy(&folder.source())
            .set("cpm", "required_user_agent", "CPM-client/OMA2")
            .set("cpm", "require_ids", "yes")
            .set("cpm", "max_group_members", "2"),
    );
    let capture = bench.capture();
    let mut refused = 0;
    for faults in &combinations {
        let response = ask(&anne, &request_with(faults), &proxy);
        let Some(first) = faults.first() else {
            assert_eq!(response.status(), Some(202));
            proves!(["9.1.1-4g"], member.expect_requests("MESSAGE", 2));
            continue;
        };
        proves!(
            first.duties(),
            assert_eq!(told(&response), first.answer(), "{faults:?}")
        );
        assert_eq!(response.header("Server"), Some("CPM-serv/OMA2.2"));
        refused += 1;
    }
    assert_eq!(counter(&proxy, "refused"), refused);
    assert_eq!(counter(&proxy, "accepted"), 1);
    member.expect_nothing_until(|| proxy.ping());
    let recording = capture.stop();
    recording.assert_clean_where(&recording.sent_by_proxy());
    proxy.stop();
}

#[test]
fn which_groups_exist_can_be_kept_secret() {
    let bench = Bench::new("which_groups_exist_can_be_kept_secret");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, member) = (bench.agent(), bench.agent());
    folder.put(
        "closed",
        &open_group("closed").rules("").members([member.uri("bill")]),
    );
    let open = bench.proxy(&group_proxy(&folder.source()));
    let secretive =
        bench.proxy(&group_proxy(&folder.source()).set("cpm", "unknown_group_code", "403"));
    let capture = bench.capture();
    let refusals = |proxy: &Proxy| {
        ["closed", "missing"].map(|group| {
            let response = ask(&anne, &to_group(ANNE, group).request(), proxy);
            let (code, phrase, warning) = told(&response);
            (code, phrase.to_owned(), warning.map(str::to_owned))
        })
    };
    let [closed, missing] = refusals(&open);
    proves!(
        ["9.1.1-4a", "9.1.1-4b"],
        assert_eq!((closed.0, missing.0), (403, 404))
    );
    assert_eq!(missing.2, None);
    let [closed, missing] = refusals(&secretive);
    assert_eq!(closed, missing);
    proves!(
        ["9.1.1-4a-w"],
        assert_eq!(missing.2.as_deref(), Some("127 Service not authorised"))
    );
    secretive.expect_log("refused 403 127 Service not authorised: there is no such group");
    member.expect_nothing_until(|| open.ping());
    capture.stop().assert_clean();
    for proxy in [open, secretive] {
        proxy.stop();
    }
}

#[test]
fn a_group_of_nobody_but_the_sender_has_no_members() {
    let bench = Bench::new("a_group_of_nobody_but_the_sender");
    let folder = GroupFolder::new(&bench, "groups");
    let anne = bench.agent();
    folder.put("nobody", &open_group("nobody"));
    folder.put(
        "alone",
        &open_group("alone").members([
            anne.uri("anne"),
            format!("{};unknown=1", anne.uri("%61nne")),
        ]),
    );
    // If it were sent there, it would return to us.
    folder.put("loop", &open_group("loop").members([EXPLODER, CONTROLLING]));
    let proxy = bench.proxy(&group_proxy(&folder.source()));
    let capture = bench.capture();
    for group in ["nobody", "alone", "loop"] {
        let request = to_group(&anne.uri("anne"), group).request();
        let response = ask(&anne, &request, &proxy);
        proves!(
            ["9.1.1-4f", "9.1.1-4f-w"],
            assert_eq!(told(&response), Fault::Empty.answer(), "{group}")
        );
    }
    assert_eq!(counter(&proxy, "loops"), 2);
    anne.expect_nothing_until(|| proxy.ping());
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn the_rule_that_applies_says_who_may_be_anonymous() {
    let bench = Bench::new("the_rule_that_applies_says_who_may_be_anonymous");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, member) = (bench.agent(), bench.agent());
    let boss = "<cp:rule id=\"boss\">
          <cp:conditions><cp:identity><cp:one id=\"sip:boss@example.com\"/></cp:identity></cp:conditions>
          <cp:actions><allow-anonymity>true</allow-anonymity></cp:actions>
        </cp:rule>";
    let forbidden = "<cp:rule id=\"no\">
          <cp:conditions/>
          <cp:actions><allow-anonymity>false</allow-anonymity></cp:actions>
        </cp:rule>";
    let rules = format!("{ALL_MAY_SEND}{boss}{forbidden}");
    folder.put(
        "office",
        &open_group("office")
            .rules(&rules)
            .members([member.uri("bill")]),
    );
    // The provider's policy applies to the other destinations.
    let proxies = ["yes", "no"].map(|allowed| {
        bench.proxy(&group_proxy(&folder.source()).set("cpm", "allow_anonymity", allowed))
    });
    let capture = bench.capture();
    for proxy in &proxies {
        for privacy in ["id", "user", "header", "critical;id"] {
            let request = |sender| {
                to_group(sender, "office")
                    .request()
                    .with("Privacy", privacy)
            };
            let response = ask(&anne, &request(ANNE), proxy);
            proves!(
                ["9.1.1-4d", "9.1.1-4d-rule", "9.1.1-4d-w"],
                assert_eq!(told(&response), Fault::Anonymous.answer())
            );
            proves!(
                ["9.1.1-4d-rule"],
                exchange(&anne, &request("sip:boss@example.com"), proxy, 202)
            );
            member.expect_request("MESSAGE");
        }
        let named = to_group(ANNE, "office").request().with("Privacy", "none");
        exchange(&anne, &named, proxy, 202);
        member.expect_request("MESSAGE");
        expect_counter(proxy, "delivered", 5);
    }
    member.expect_nothing_until(|| proxies[0].ping());
    capture.stop().assert_clean();
    for proxy in proxies {
        proxy.stop();
    }
}

#[test]
fn a_message_to_a_group_counts_once_however_often_it_comes() {
    let bench = Bench::new("a_message_to_a_group_counts_once");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, member) = (bench.agent(), bench.agent());
    folder.put("lunch", &open_group("lunch").members([member.uri("bill")]));
    let proxy = bench.proxy(&group_proxy(&folder.source()));
    let capture = bench.capture();
    let request = to_group(ANNE, "lunch").request();
    for (request, code) in [(&request, 202), (&to_group(ANNE, "missing").request(), 404)] {
        let response = exchange(&anne, request, &proxy, code);
        anne.send(request, proxy.udp());
        anne.send(request, proxy.udp());
        anne.expect_retransmissions(&response, 2);
    }
    member.expect_request("MESSAGE");
    expect_counter(&proxy, "delivered", 1);
    assert_eq!(counter(&proxy, "requests"), 2);
    member.expect_nothing_until(|| proxy.ping());
    let recording = capture.stop();
    recording.assert_clean();
    let to_the_member = format!(
        "sip.r-uri contains \"bill\" && {}",
        recording.sent_by_proxy()
    );
    assert_eq!(recording.fields(&to_the_member, &["sip.To"]).len(), 1);
    assert_eq!(
        recording.fields(
            &format!(
                "sip.Method == \"MESSAGE\" && sip.r-uri == \"{}\"",
                address("lunch")
            ),
            &["sip.To"]
        ),
        vec![vec![format!("<{}>", address("lunch"))]; 3]
    );
    proxy.stop();
}
