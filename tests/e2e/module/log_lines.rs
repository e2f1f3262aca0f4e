//! The module's log: one line for each event, with its cause and an id to search for, and without
//! anybody's address or text.

use std::fs;
use std::path::Path;

use cpm_testbed::{Answer, Bench, Product, Proxy, cpm_message, to};

use crate::common::{CONTROLLING, EXPLODER, HANDLE, cpm_proxy, exchange, expect_log_lines};
use crate::groups::{ANNE, GroupFolder, open_group, to_group};

const TEXT: &str = "nobody else shall read this";

/// The module's own lines.
fn own_lines(proxy: &Proxy) -> Vec<String> {
    let log = proxy.log();
    let lines = log
        .lines()
        .filter(|line| [" cpm [", ":cpm:"].iter().any(|place| line.contains(place)));
    lines.map(str::to_owned).collect()
}

#[test]
fn lines_name_cause_and_request_and_nobody() {
    let bench = Bench::new("lines_name_cause_and_request");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, bill) = (bench.agent(), bench.agent());
    bill.answers(Answer::code(603));
    folder.put("lunch", &open_group("lunch").members([bill.uri("bill")]));
    folder.put_text("broken", "<group>");
    let script = format!(
        "{}
        event_route[cpm:authorize] {{ if ($cpm(originator) =~ \"mallory\") drop; }}",
        HANDLE.replace(
            "if (cpm_handle())",
            "if ($hdr(X-Early) == \"check\") cpm_check();
            if ($hdr(X-Early) == \"reply\" && cpm_classify()) cpm_reply();
            if (cpm_handle())",
        )
    );
    let proxy = bench.proxy(
        &cpm_proxy(&script)
            .set("cpm", "group_source", &folder.source())
            .set("cpm", "group_uri", "sip:*@groups.example.com"),
    );
    let message = |service: &str| {
        cpm_message(ANNE, service)
            .text(TEXT)
            .recipients([to(&bill.uri("bill")), to("tel:+12015550123")])
            .request()
            .with("Subject", TEXT)
    };
    let mallory = "<sip:mallory@example.com>";
    // The function that decides, which the line of a refusal names.
    for (request, code, decides) in [
        (
            message(EXPLODER).without("P-Asserted-Identity"),
            403,
            "authorised_originator",
        ),
        (
            message(CONTROLLING).with("P-Asserted-Identity", mallory),
            403,
            "handle_script",
        ),
        (
            message(EXPLODER).with_body("text/plain", TEXT),
            403,
            "resource_list",
        ),
        (
            message(EXPLODER).with("Require", "no-such-thing"),
            420,
            "understood_option_tags",
        ),
        (to_group(ANNE, "dinner").text(TEXT).request(), 404, "exists"),
        // The script's mistake, and a recipient to which nothing can be sent.
        (message(EXPLODER).with("X-Early", "check"), 202, ""),
    ] {
        exchange(&anne, &request, &proxy, code);
        let id = request.header("Call-ID").expect("it has one");
        // The script's mistake, the recipient that could not be reached, and the one that failed.
        let lines = if code == 202 { 3 } else { 1 };
        expect_log_lines(&proxy, &format!("callid={id}"), lines);
        let own = own_lines(&proxy);
        let line = own.iter().find(|line| line.contains(&*id));
        let line = line.expect("it has been awaited");
        assert!(
            code == 202 || place(line).is_some_and(|(_, _, function)| function == decides),
            "{decides}: {line}"
        );
    }
    exchange(
        &anne,
        &to_group(ANNE, "lunch").text(TEXT).request(),
        &proxy,
        202,
    );
    expect_log_lines(&proxy, "a recipient failed with 603, leg=", 2);
    proxy.expect_log("of 2 outgoing requests could not be sent, callid=");
    let lines = own_lines(&proxy);
    assert!(lines.len() > 8, "{lines:#?}");
    for line in &lines {
        let is_known = ["NOTICE:", "ERROR:"]
            .iter()
            .any(|level| line.contains(level));
        assert!(is_known, "{line}");
        for secret in [
            "sip:",
            "tel:",
            "mallory",
            "anne",
            "bill",
            TEXT,
            "nobody else",
        ] {
            assert!(!line.contains(secret), "{secret} is in {line}");
        }
        // A line about a document names its file.
        let has_id = ["callid=", "leg=", "broken.xml"]
            .iter()
            .any(|id| line.contains(id));
        assert!(has_id, "{line}");
        assert!(has_place(line), "{line}");
    }
    proxy.stop();
}

/// Whether a line of the core's names the file, line and function that it comes from, as a line of
/// the proxy's own modules does, and one of the shim's its own.
fn has_place(line: &str) -> bool {
    let Some((file, number, function)) = place(line) else {
        return false;
    };
    if !file.ends_with(".rs") {
        return !function.is_empty();
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let source = fs::read_to_string(sources.join(file)).unwrap_or_default();
    let number: usize = number.parse().unwrap_or_default();
    let is_there = |text: &str| text.contains("at!(");
    source
        .lines()
        .nth(number.wrapping_sub(1))
        .is_some_and(is_there)
        && source.contains(&format!("fn {function}"))
}

/// The file, line and function that a line names; one of the shim's under OpenSIPS the function
/// only.
fn place(line: &str) -> Option<(&str, &str, &str)> {
    match Product::under_test() {
        // NOTICE: cpm [controlling/checks/common.rs:62]: authorised_originator(): refused 403 ...
        Product::Kamailio => line.split_once(" cpm [").and_then(|(_, rest)| {
            let (place, rest) = rest.split_once("]: ")?;
            let (file, number) = place.split_once(':')?;
            Some((file, number, rest.split_once("(): ")?.0))
        }),
        // NOTICE:cpm:controlling/checks/common.rs:62:authorised_originator: refused 403 ...
        Product::OpenSips => line.split_once(":cpm:").and_then(|(_, rest)| {
            let (place, _) = rest.split_once(": ")?;
            let mut parts = place.split(':');
            match (parts.next()?, parts.next(), parts.next()) {
                (file, Some(number), Some(function)) => Some((file, number, function)),
                // Its own lines name the function only.
                (function, ..) => Some(("", "", function)),
            }
        }),
    }
}
