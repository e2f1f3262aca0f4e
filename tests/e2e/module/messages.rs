//! What an operator is told about messages: the same in both lanes and under both proxies.

use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Answer, Bench, PATIENCE, Product, Proxy, cpm_message, to, values};

use crate::common::{EXPLODER, HANDLE, cpm_proxy, exchange};

const ANNE: &str = "sip:anne@example.com";

#[test]
fn an_operator_learns_what_became_of_a_message() {
    for express in ["auto", "no"] {
        let bench = Bench::new(&format!("what_became_of_a_message_{express}"));
        let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
        carol.answers(Answer::code(486));
        let routes = format!(
            "{HANDLE}
            event_route[cpm:recipient-request] {{ if ($rU == \"dropped\") drop; }}"
        );
        let config = cpm_proxy(&routes)
            .set("cpm", "express", express)
            .set_number("cpm", "message_records", 16);
        let proxy = bench.proxy(&config);
        let message = |sender: &str, uris: &[String]| {
            cpm_message(sender, EXPLODER)
                .recipients(uris.iter().map(|uri| to(uri)))
                .request()
        };
        let uris = [bill.uri("bill"), carol.uri("carol"), bill.uri("dropped")];
        let first = message(ANNE, &uris);
        exchange(&anne, &first, &proxy, 202);
        expect_state(
            &proxy,
            first.header("Call-ID").expect("it has one"),
            "partly",
        );
        for id in ["Call-ID", "Contribution-ID"] {
            let id = first.header(id).expect("it has one");
            let shown = proxy.rpc(&format!("cpm.message {id}"));
            let lines = |name| values(&shown, name).collect::<Vec<_>>();
            assert_eq!(lines("uri"), uris.each_ref().map(String::as_str), "{shown}");
            assert_eq!(lines("state"), ["partly", "delivered", "failed", "dropped"]);
            assert_eq!(lines("code"), ["200", "486"]);
            assert_eq!(lines("leg"), ["0", "1", "2"]);
            // Of the message, and of each that has ended; the last one of all is the message's.
            assert_eq!(lines("seconds").len(), 4, "{shown}");
        }
        // Markup and control characters are text.
        let dave = "sip:dave@example.com";
        let odd = message(dave, &uris[..1]).with("Contribution-ID", "<b>\tstate=failed</b>");
        exchange(&anne, &odd, &proxy, 202);
        expect_state(
            &proxy,
            odd.header("Call-ID").expect("it has one"),
            "delivered",
        );
        let list = proxy.rpc(&format!("cpm.messages originator={dave}"));
        let states: Vec<&str> = values(&list, "state").collect();
        assert_eq!(states, ["delivered"], "{list}");
        assert!(
            list.contains("contribution_id: <b>.state=failed</b>"),
            "{list}"
        );
        let list = proxy.rpc("cpm.messages");
        let states: Vec<&str> = values(&list, "state").collect();
        assert_eq!(states, ["delivered", "partly"], "newest first: {list}");
        let list = proxy.rpc("cpm.messages state=partly most=1");
        let ids: Vec<&str> = values(&list, "call_id").collect();
        assert_eq!(ids, [first.header("Call-ID").expect("it has one")]);
        for (command, code, fault) in [
            (
                "cpm.message nothing",
                "404",
                "There is no record of such a message",
            ),
            ("cpm.messages failed", "400", "Known are originator=URI"),
            ("cpm.messages most=1001", "400", "Known are originator=URI"),
            // OpenSIPS itself asks for what is missing.
            ("cpm.message", "400", "Which message?"),
        ] {
            if command == "cpm.message" && Product::under_test() == Product::OpenSips {
                continue;
            }
            let refused = proxy.try_rpc(command).expect_err("it is refused");
            assert!(
                refused.contains(code) && refused.contains(fault),
                "{command}: {refused}"
            );
        }
        // The newest takes the place of the oldest.
        for _ in 0..16 {
            exchange(&anne, &message(ANNE, &uris[..1]), &proxy, 202);
        }
        let first = first.header("Call-ID").expect("it has one");
        proxy
            .try_rpc(&format!("cpm.message {first}"))
            .expect_err("it is the oldest");
        let list = proxy.rpc("cpm.messages");
        assert_eq!(values(&list, "call_id").count(), 16);
        proxy.stop();
    }
}

/// Waits until a message has this state.
#[track_caller]
fn expect_state(proxy: &Proxy, id: &str, state: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown = proxy.rpc(&format!("cpm.message {id}"));
        if values(&shown, "state").next() == Some(state) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "it is to be {state}, but:\n{shown}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}
