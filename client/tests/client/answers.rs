//! Answers to an INVITE in every spelling that servers use, and where they lead (7.2.1.2, RFC 4975,
//! 6135, 6714).

use cpm_testbed::{Bench, Plan, proves};

use crate::common::{Cpim, send};

/// The expected effect of an answer.
enum Fate {
    /// The message arrives, addressed to the whole path.
    Delivered,
    /// The call ends with this exit code and these words.
    Ended(i32, &'static str),
}

#[test]
fn each_answer_leads_where_its_rfc_says() {
    let bench = Bench::new("client_each_answer_leads");
    let callees = bench.callees();
    let capture = bench.capture();
    let here = callees.peer().address();
    let nowhere = format!("127.0.0.1:{}", bench.port());
    let relay = format!("msrp://{here}/relay4711;tcp");
    let plan = Plan::accept;
    let none = |plan: Plan| plan.attribute("msrp-cema", None);
    let setup = |value| plan().attribute("setup", value);
    let delivered = [
        ("plain", plan()),
        // RFC 6714 §4.2: c= and m= apply, whether or not the answer supports msrp-cema.
        ("middlebox", plan().at_path_host(&nowhere)),
        ("sbc", none(plan().at_path_host(&nowhere))),
        ("old", none(plan())),
        // RFC 4976: a relay in the path is the next hop, and all URIs are named.
        ("relayed", plan().behind(&relay)),
        ("oldrelayed", none(plan().behind(&relay))),
        // RFC 4145 §4, RFC 6135 §4.2.1.
        ("nosetup", setup(None)),
        ("actpass", setup(Some("actpass"))),
        ("holdconn", setup(Some("holdconn"))),
        ("both", plan().attribute("recvonly", None)),
        ("star", plan().attribute("accept-types", Some("*"))),
    ];
    let wrong = 8;
    let ended = [
        ("active", setup(Some("active")), wrong, "setup:active"),
        ("sideways", setup(Some("sideways")), wrong, "SDP"),
        (
            "small",
            plan().attribute("max-size", Some("10")),
            7,
            "up to 10 bytes",
        ),
        (
            "foreign",
            plan().attribute("accept-types", Some("text/plain")),
            wrong,
            "SDP",
        ),
        ("pathless", plan().attribute("path", None), wrong, "SDP"),
    ];
    let delivered = delivered.map(|(user, plan)| (user, plan, Fate::Delivered));
    let ended = ended.map(|(user, plan, code, words)| (user, plan, Fate::Ended(code, words)));
    for (user, plan, fate) in delivered.into_iter().chain(ended) {
        callees.plan(user, plan);
        let to = format!("sip:{user}@example.com");
        let sent = send(
            callees.agent().port(),
            &["--to", &to, "--pager-max", "0", "Hi"],
        );
        let call = match fate {
            Fate::Delivered => {
                sent.succeeds();
                let call = callees.expect_call(user);
                let message = call.session.expect_message();
                proves!(
                    ["7.2.1.2-200-D", "7.2.1.2-200-E"],
                    assert_eq!(Cpim::of(&message.bytes).content, b"Hi", "{user}")
                );
                let mut sends = call.session.received();
                sends.retain(|one| one.head.method() == Some("SEND"));
                proves!(
                    ["7.2.1.2-200-C"],
                    assert_eq!(sends.len(), 2, "{user}: the empty one, and the message")
                );
                proves!(
                    ["7.2.1.2-200-F"],
                    assert!(sends[0].content_bytes.is_none(), "{user}")
                );
                for send in sends {
                    proves!(
                        ["7.2.1.2-200-H1"],
                        assert_eq!(send.head.to_path().join(" "), call.answer_path(), "{user}")
                    );
                }
                call
            }
            Fate::Ended(code, words) => {
                let failed = sent.fails(code);
                let message = failed["message"].as_str().unwrap_or_default();
                assert!(message.contains(words), "{user}: {message}");
                let call = callees.expect_call(user);
                assert_eq!(call.session.connections(), 0, "{user}");
                call
            }
        };
        callees.expect_in(&call, "BYE");
    }
    capture.stop().assert_clean();
}
