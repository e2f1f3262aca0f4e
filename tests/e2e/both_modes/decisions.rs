//! What the routing script decides about a request: how it is refused (`cpm:authorize`,
//! `cpm:checked`), and what its originator may do.

use cpm_testbed::{Agent, Bench, Proxy, Received, Request, cpm_message, to};

use crate::common::{CONTROLLING, EXPLODER, HANDLE, cpm_proxy, expect_log_lines, reason};
use crate::groups::{GroupFolder, address, ask, open_group, to_group};
use crate::large::Scene;
use crate::large::checks::is_refused;

const ANNE: &str = "sip:anne@example.com";

/// Decides by header fields of the request.
const DECIDES: &str = "event_route[cpm:authorize] {
    if (is_present_hf(\"X-Limit\")) $cpm(max_recipients) = 1;
    if (is_present_hf(\"X-Named\")) $cpm(allow_anonymity) = 0;
    if (is_present_hf(\"X-Authorize\")) {
        $cpm(code) = 480;
        $cpm(reason) = \"Come Back\tLater\";
        $cpm(retry_after) = 60;
        xlog(\"L_NOTICE\", \"about to refuse with $cpm(code) $cpm(reason), $cpm(retry_after)\\n\");
        drop;
    }
    if (is_present_hf(\"X-Odd\")) {
        $cpm(code) = 200;
        $cpm(retry_after) = \"soon\";
        drop;
    }
}
event_route[cpm:checked] {
    xlog(\"L_NOTICE\", \"checked $cpm(kind) $cpm(mode) $cpm(originator) $cpm(recipients), $ru\\n\");
    if ($cpm(recipients) > 2) {
        $cpm(code) = 486;
        $cpm(reason) = \"Not So Many\";
        drop;
    }
    if (is_present_hf(\"X-Checked\")) drop;
}";

/// Code, reason, Retry-After and Warning of a response.
fn answer(response: &Received) -> (u16, &str, Option<&str>, Option<&str>) {
    (
        response.status().unwrap_or_default(),
        reason(response),
        response.header("Retry-After"),
        response.header("Warning"),
    )
}

const NOT_AUTHORISED: Option<&str> = Some("399 example.com \"127 Service not authorised\"");
const GROUP_NOT_AUTHORISED: Option<&str> =
    Some("399 groups.example.com \"127 Service not authorised\"");

#[track_caller]
fn expect(
    anne: &Agent,
    proxy: &Proxy,
    request: &Request,
    expected: (u16, &str, Option<&str>, Option<&str>),
) {
    let response = ask(anne, request, proxy);
    assert_eq!(answer(&response), expected, "{response:?}");
}

#[test]
fn the_script_says_how_it_refuses_and_what_an_originator_may_do() {
    let bench = Bench::new("the_script_says_how_it_refuses");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, bill) = (bench.agent(), bench.agent());
    let users = |count: usize| (0..count).map(|n| bill.uri(&format!("user{n}")));
    folder.put("two", &open_group("two").members(users(2)));
    folder.put("three", &open_group("three").members(users(3)));
    let routes = format!("{HANDLE}\n{DECIDES}");
    let proxy = bench.proxy(
        &cpm_proxy(&routes)
            .set("cpm", "group_source", &folder.source())
            .set("cpm", "group_uri", "sip:*@groups.example.com"),
    );
    for service in [EXPLODER, CONTROLLING] {
        let message = |count| {
            let recipients = users(count).map(|uri| to(&uri));
            cpm_message(ANNE, service).recipients(recipients).request()
        };
        expect(
            &anne,
            &proxy,
            &message(1).with("X-Authorize", "1"),
            (480, "Come Back Later", Some("60"), None),
        );
        expect(
            &anne,
            &proxy,
            &message(1).with("X-Odd", "1"),
            (403, "Forbidden", None, NOT_AUTHORISED),
        );
        expect(
            &anne,
            &proxy,
            &message(1).with("X-Checked", "1"),
            (403, "Forbidden", None, NOT_AUTHORISED),
        );
        expect(&anne, &proxy, &message(3), (486, "Not So Many", None, None));
        let limited = Some("399 example.com \"102 Too many recipients\"");
        expect(
            &anne,
            &proxy,
            &message(2).with("X-Limit", "1"),
            (486, "Busy Here", None, limited),
        );
        let named = Some("399 example.com \"119 Anonymity not allowed\"");
        let hidden = message(1).with("Privacy", "id");
        expect(
            &anne,
            &proxy,
            &hidden.again().with("X-Named", "1"),
            (403, "Forbidden", None, named),
        );
        expect(&anne, &proxy, &hidden, (202, "Accepted", None, None));
        bill.expect_request("MESSAGE");
        expect(
            &anne,
            &proxy,
            &message(1).with("X-Named", "1").with("X-Limit", "1"),
            (202, "Accepted", None, None),
        );
        bill.expect_request("MESSAGE");
    }
    // Another process looks up the group and asks about the rest.
    let group = |name| to_group(ANNE, name).request();
    expect(
        &anne,
        &proxy,
        &group("two").with("X-Authorize", "1"),
        (480, "Come Back Later", Some("60"), None),
    );
    expect(
        &anne,
        &proxy,
        &group("two").with("X-Checked", "1"),
        (403, "Forbidden", None, GROUP_NOT_AUTHORISED),
    );
    expect(
        &anne,
        &proxy,
        &group("three"),
        (486, "Not So Many", None, None),
    );
    expect(&anne, &proxy, &group("two"), (202, "Accepted", None, None));
    for _ in 0..2 {
        bill.expect_request("MESSAGE");
    }
    bill.expect_nothing_until(|| proxy.ping());
    let lines = [
        (
            format!("checked group pager {ANNE} 3, {}", address("three")),
            1,
        ),
        ("about to refuse with 480 Come Back Later, 60".to_owned(), 3),
        (
            "the value of $cpm(code) is not a number from 300 to 699, callid=".to_owned(),
            2,
        ),
        (
            "the value of $cpm(retry_after) is not a number from 0 to 86400, callid=".to_owned(),
            2,
        ),
        (
            "refused 480 Temporarily Unavailable: the operator's script refused the originator"
                .to_owned(),
            3,
        ),
        (
            "refused 486 Busy Here: the operator's script refused the message".to_owned(),
            3,
        ),
    ];
    for (line, count) in lines {
        expect_log_lines(&proxy, &line, count);
    }
    proxy.stop();
}

#[test]
fn a_large_message_is_refused_likewise() {
    let scene = Scene::with("a_large_message_is_refused_likewise", |bench, _| {
        let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
        cpm_proxy(&format!("{HANDLE}\n{DECIDES}")).set("cpm", "msrp_listen", &listen)
    });
    for service in [EXPLODER, CONTROLLING] {
        let to = |users: &[&str]| scene.upload(service, users);
        let refused = |field: &str, users: &[&str], code, warning| {
            is_refused(&scene, &to(users).with(field, "1").request, code, warning);
        };
        refused("X-Authorize", &["bill"], 480, None);
        refused(
            "X-Checked",
            &["bill"],
            403,
            Some("127 Service not authorised"),
        );
        refused("X-Any", &["bill", "carol", "dave"], 486, None);
        refused(
            "X-Limit",
            &["bill", "carol"],
            486,
            Some("102 Too many participants"),
        );
        let hidden = to(&["bill"]).with("Privacy", "id").with("X-Named", "1");
        is_refused(
            &scene,
            &hidden.request,
            403,
            Some("119 Anonymity not allowed"),
        );
    }
    expect_log_lines(
        &scene.proxy,
        &format!("checked exploder large {ANNE} 3, "),
        1,
    );
    scene.finish();
}
