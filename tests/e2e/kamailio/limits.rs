//! The manual's own policy: limits for lists and senders, and a table of senders.

use cpm_testbed::{Bench, cpm_message, to};

use crate::common::{EXPLODER, HANDLE, cpm_proxy, exchange, manual_example, sqlite};

/// The example of `cpm:checked`: a message to at most 20, and 50 recipients in a minute.
#[test]
fn a_limit_takes_three_lines() {
    let bench = Bench::new("a_limit_takes_three_lines");
    let (anne, bill) = (bench.agent(), bench.agent());
    let example = manual_example("#### `event_route[cpm:checked]`");
    let proxy = bench.proxy(&cpm_proxy(&format!("{example}\n{HANDLE}")));
    let message = |sender: &str, count: usize| {
        let users = (0..count).map(|n| bill.uri(&format!("user{n}")));
        let message = cpm_message(sender, EXPLODER).recipients(users.map(|uri| to(&uri)));
        message.request()
    };
    let mallory = "sip:mallory@example.com";
    let refused = exchange(&anne, &message(mallory, 21), &proxy, 480);
    assert_eq!(refused.header("Retry-After"), Some("60"));
    for _ in 0..2 {
        exchange(&anne, &message(mallory, 20), &proxy, 202);
    }
    exchange(&anne, &message(mallory, 11), &proxy, 480);
    exchange(&anne, &message(mallory, 10), &proxy, 202);
    exchange(&anne, &message(mallory, 1), &proxy, 480);
    exchange(&anne, &message("sip:anne@example.com", 20), &proxy, 202);
    proxy.stop();
}

#[test]
fn a_table_says_what_a_sender_may_do() {
    let bench = Bench::new("a_table_says_what_a_sender_may_do");
    let (anne, bill) = (bench.agent(), bench.agent());
    let file = bench.folder().join("policy.db");
    sqlite(
        &file,
        "CREATE TABLE sender (uri TEXT, most INTEGER, may_hide INTEGER);
         INSERT INTO sender VALUES ('sip:anne@example.com', 2, 1), ('sip:o''brien@example.com', 1, 0);",
    );
    let example = manual_example("### 10.3. Policy from a database");
    let url = format!("sqlite:///{}", file.display());
    let ours = example.replace("sqlite:////var/lib/kamailio/policy.db", &url);
    assert_ne!(ours, example);
    let proxy = bench.proxy(&cpm_proxy(&format!("{ours}\n{HANDLE}")));
    for (sender, count, privacy, code, warning) in [
        ("sip:anne@example.com", 2, "id", 202, None),
        (
            "sip:anne@example.com",
            3,
            "none",
            486,
            Some("102 Too many recipients"),
        ),
        ("sip:o'brien@example.com", 1, "none", 202, None),
        (
            "sip:o'brien@example.com",
            2,
            "none",
            486,
            Some("102 Too many recipients"),
        ),
        (
            "sip:o'brien@example.com",
            1,
            "id",
            403,
            Some("119 Anonymity not allowed"),
        ),
        (
            "sip:x'or'1'='1@example.com",
            1,
            "none",
            403,
            Some("127 Service not authorised"),
        ),
    ] {
        let users = (0..count).map(|n| bill.uri(&format!("user{n}")));
        let message = cpm_message(sender, EXPLODER).recipients(users.map(|uri| to(&uri)));
        let request = message.request().with("Privacy", privacy);
        let answer = exchange(&anne, &request, &proxy, code);
        let text = warning.map(|text| format!("399 example.com \"{text}\""));
        assert_eq!(
            answer.header("Warning"),
            text.as_deref(),
            "{sender} {count}"
        );
    }
    proxy.stop();
}
