//! The operator's own routes: each outgoing request before it is sent, and its end.

use cpm_testbed::{Answer, Bench, Product, Reply, bcc, cc, cpm_message, to};

use crate::common::{
    CONTROLLING, EXPLODER, HANDLE, counter, cpm_proxy, exchange, expect_counter, expect_log_lines,
    reason,
};

#[test]
fn the_script_sees_each_outgoing_request_and_can_change_it() {
    let bench = Bench::new("the_script_sees_each_outgoing_request");
    let (anne, bill, carol, dave, erin) = (
        bench.agent(),
        bench.agent(),
        bench.agent(),
        bench.agent(),
        bench.agent(),
    );
    let proxy = bench.proxy(&cpm_proxy(&format!(
        "{HANDLE}
        event_route[cpm:recipient-request] {{
            xlog(\"L_NOTICE\", \"leg $cpm(kind) $cpm(mode) $cpm(originator) $cpm(recipients) $cpm(conversation_id) $cpm(recipient) $ru $rm $hdr(Subject)\\n\");
            append_hf(\"X-Leg: $rU\\r\\n\");
            remove_hf(\"Subject\");
            if ($rU == \"carol\") $du = \"sip:127.0.0.1:{carol}\";
            if ($rU == \"dave\") $ru = \"sip:david@127.0.0.1:{dave}\";
            if ($rU == \"erin\") drop;
        }}",
        carol = carol.port(),
        dave = dave.port(),
    )));
    let capture = bench.capture();
    for service in [EXPLODER, CONTROLLING] {
        let message = cpm_message("sip:anne@example.com", service).recipients([
            to(&bill.uri("bill")),
            cc("sip:carol@nowhere.invalid"),
            bcc(&dave.uri("dave")),
            to(&erin.uri("erin")),
        ]);
        let request = message
            .request()
            .with("Subject", "secret")
            .with("X-Kept", "1");
        let plain = request.again().with("Subject", "other");
        exchange(&anne, &request, &proxy, 202);
        let kind = if service == EXPLODER {
            "exploder"
        } else {
            "adhoc"
        };
        let conversation = request.header("Conversation-ID").expect("it has one");
        for uri in [
            bill.uri("bill"),
            "sip:carol@nowhere.invalid".to_owned(),
            erin.uri("erin"),
        ] {
            proxy.expect_log(&format!(
                "leg {kind} pager sip:anne@example.com 4 {conversation} {uri} {uri} MESSAGE secret"
            ));
        }
        for (agent, uri, leg, addressed) in [
            (&bill, bill.uri("bill"), "bill", bill.uri("bill")),
            (
                &carol,
                "sip:carol@nowhere.invalid".to_owned(),
                "carol",
                "sip:carol@nowhere.invalid".to_owned(),
            ),
            (&dave, dave.uri("david"), "dave", dave.uri("dave")),
        ] {
            let received = agent.expect_request("MESSAGE");
            assert_eq!(received.uri(), Some(uri.as_str()));
            assert_eq!(received.headers("To"), [format!("<{addressed}>")]);
            assert_eq!(received.headers("X-Leg"), [leg]);
            assert_eq!(received.header("Subject"), None);
            assert_eq!(received.headers("X-Kept"), ["1"]);
            assert_eq!(received.headers("Max-Forwards"), ["69"]);
            assert_eq!(received.headers("User-Agent"), ["CPM-serv/OMA2.2"]);
            assert_eq!(received.headers("Via").len(), 1);
            assert_eq!(received.headers("Content-Length").len(), 1);
            let all_of_it = service == CONTROLLING || received.body() == message.cpim();
            assert!(all_of_it, "{received:?}");
        }
        drop(plain);
    }
    erin.expect_nothing_until(|| proxy.ping());
    expect_counter(&proxy, "delivered", 6);
    assert_eq!(
        (counter(&proxy, "recipients"), counter(&proxy, "failed")),
        (6, 0)
    );
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn a_route_that_changes_nothing_changes_nothing() {
    let bench = Bench::new("a_route_that_changes_nothing");
    let without = bench.proxy(&cpm_proxy(HANDLE));
    let with = bench.proxy(&cpm_proxy(&format!(
        "{HANDLE}
        event_route[cpm:recipient-request] {{ $var(x) = $hdr(To); }}"
    )));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for service in [EXPLODER, CONTROLLING] {
        let request = cpm_message("sip:anne@example.com", service)
            .recipients([to(&bill.uri("bill")), to(&bill.tcp_uri("ben"))])
            .text("odd\r\n\r\nbytes \u{1F35D}\r\n")
            .request()
            .with("Subject", "folded\r\n  twice\r\n\tover")
            .and("x-unknown", "  a  ")
            .and("X-Unknown", "b");
        let copies = [&without, &with].map(|proxy| {
            exchange(&anne, &request.again(), proxy, 202);
            let mut copies: Vec<String> = bill
                .expect_requests("MESSAGE", 2)
                .iter()
                .map(|copy| {
                    let tag = copy.parameter("From", "tag").expect("it has a tag");
                    String::from_utf8_lossy(copy.raw())
                        .replace(tag, "TAG")
                        .replace(copy.call_id(), "CALL-ID")
                        .replace(copy.header("Via").expect("it has one"), "VIA")
                })
                .collect();
            copies.sort_unstable();
            copies
        });
        assert_eq!(copies[0], copies[1]);
    }
    capture.stop().assert_clean();
    for proxy in [without, with] {
        proxy.stop();
    }
}

#[test]
fn the_script_may_write_another_body() {
    let bench = Bench::new("the_script_may_write_another_body");
    let proxy = bench.proxy(&cpm_proxy(&format!(
        "{HANDLE}
        event_route[cpm:recipient-request] {{
            if ($rU == \"bill\") set_body(\"another body\", \"text/plain\");
        }}"
    )));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let message = cpm_message("sip:anne@example.com", EXPLODER)
        .recipients([to(&bill.uri("bill")), to(&bill.uri("ben"))]);
    exchange(&anne, &message.request(), &proxy, 202);
    for received in bill.expect_requests("MESSAGE", 2) {
        if received.uri() == Some(&bill.uri("bill")) {
            assert_eq!(received.headers("Content-Type"), ["text/plain"]);
            assert_eq!(received.body(), b"another body");
        } else {
            assert_eq!(received.body(), message.cpim());
        }
    }
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn where_the_script_drops_everything_the_request_is_still_accepted() {
    let bench = Bench::new("where_the_script_drops_everything");
    let proxy = bench.proxy(&cpm_proxy(&format!(
        "{HANDLE}
        event_route[cpm:recipient-request] {{ drop; }}"
    )));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let request = cpm_message("sip:anne@example.com", EXPLODER)
        .recipients([to(&bill.uri("bill"))])
        .request();
    exchange(&anne, &request, &proxy, 202);
    bill.expect_nothing_until(|| proxy.ping());
    assert_eq!(counter(&proxy, "recipients"), 0);
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn the_script_learns_how_each_recipient_ended() {
    let bench = Bench::new("the_script_learns_how_each_recipient_ended");
    let proxy = bench.proxy(&cpm_proxy(&format!(
        "{HANDLE}
        event_route[cpm:recipient-failed] {{
            xlog(\"L_NOTICE\", \"lost [$ru] [$cpm(recipient)] [$cpm(code)] [$cpm(reason)] [$cpm(kind)] [$hdr(Subject)] [$ci]\\n\");
        }}
        event_route[cpm:recipient-delivered] {{
            xlog(\"L_NOTICE\", \"got [$ru] [$cpm(recipient)] [$cpm(code)] [$cpm(reason)] [$hdr(Subject)] [$ci]\\n\");
        }}"
    )));
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
    bill.answers(Answer::Reply(Reply::new(200).with_reason("Read And Liked")));
    carol.answers(Answer::Reply(Reply::new(603).with_reason("Not Today")));
    let capture = bench.capture();
    for (service, kind) in [(EXPLODER, "exploder"), (CONTROLLING, "adhoc")] {
        let request = cpm_message("sip:anne@example.com", service)
            .recipients([
                to(&bill.uri("bill")),
                to(&carol.tcp_uri("carol")),
                to("tel:+12015550123"),
            ])
            .request()
            .with("Subject", service);
        assert_eq!(reason(&exchange(&anne, &request, &proxy, 202)), "Accepted");
        let (liked, refused) = (
            bill.expect_request("MESSAGE"),
            carol.expect_request("MESSAGE"),
        );
        let (bill, carol) = (bill.uri("bill"), carol.tcp_uri("carol"));
        // OpenSIPS only informs, in another process, which does not have the request.
        let subject = match Product::under_test() {
            Product::Kamailio => service,
            Product::OpenSips => "<null>",
        };
        proxy.expect_log(&format!(
            "got [{bill}] [{bill}] [200] [Read And Liked] [{subject}] [{}]",
            liked.call_id()
        ));
        proxy.expect_log(&format!(
            "lost [{carol}] [{carol}] [603] [Not Today] [{kind}] [{subject}] [{}]",
            refused.call_id()
        ));
        // It could not be sent at all.
        proxy.expect_log("lost [tel:+12015550123] [tel:+12015550123] [503] [Not Sendable]");
    }
    expect_log_lines(&proxy, "got [", 2);
    expect_log_lines(&proxy, "lost [", 4);
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn a_slow_route_has_the_rest_handed_over_and_sees_the_same() {
    const RECIPIENTS: usize = 8;
    let bench = Bench::new("a_slow_route");
    let proxy = bench.proxy(
        &cpm_proxy(&format!(
            "{HANDLE}
            event_route[cpm:recipient-request] {{
                xlog(\"L_NOTICE\", \"leg $cpm(kind) $cpm(mode) $cpm(originator) $cpm(recipients) $cpm(conversation_id) $cpm(contribution_id) $cpm(recipient)|\\n\");
                usleep(20000);
            }}"
        ))
        .load("cfgutils"),
    );
    let (anne, all) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for (service, kind) in [(EXPLODER, "exploder"), (CONTROLLING, "adhoc")] {
        let uris: Vec<String> = (0..RECIPIENTS).map(|n| all.uri(&format!("u{n}"))).collect();
        let request = cpm_message("sip:anne@example.com", service)
            .recipients(uris.iter().map(|uri| to(uri)))
            .request();
        exchange(&anne, &request, &proxy, 202);
        all.expect_requests("MESSAGE", RECIPIENTS);
        let id = |name: &str| request.header(name).expect("it has one").to_owned();
        let (conversation, contribution) = (id("Conversation-ID"), id("Contribution-ID"));
        for uri in uris {
            proxy.expect_log(&format!(
                "leg {kind} pager sip:anne@example.com {RECIPIENTS} {conversation} {contribution} {uri}|"
            ));
        }
    }
    capture.stop().assert_clean();
    proxy.stop();
}
