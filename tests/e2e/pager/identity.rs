//! The originator, who vouches for it, and what recipients are told (9.1.1-1, -6d; readings N10,
//! N30, N32).

use cpm_testbed::{Agent, Bench, Product, Proxy, Request, cpm_message, latin_1, to};

use crate::common::{
    CONTROLLING, EXPLODER, HANDLE, counter, cpm_proxy, duty, exchange, proves, untrusting_proxy,
};

const SERVICES: [&str; 2] = [EXPLODER, CONTROLLING];

fn message(service: &str, recipient: &Agent) -> Request {
    cpm_message("sip:anne@example.com", service)
        .recipients([to(&recipient.uri("bill"))])
        .request()
        .with("From", "\"Nobody\" <sip:anonymous@anonymous.invalid>;tag=1")
}

#[track_caller]
fn expect_not_authorised(agent: &Agent, request: &Request, proxy: &Proxy) {
    let answer = exchange(agent, request, proxy, 403);
    assert_eq!(
        answer.header("Warning"),
        Some("399 example.com \"127 Service not authorised\"")
    );
}

#[test]
fn a_trusted_peer_asserts_the_originator_and_recipients_see_him() {
    let bench = Bench::new("a_trusted_peer_asserts_the_originator");
    let proxy = bench.proxy(&cpm_proxy(&format!(
        "{HANDLE}
        event_route[cpm:authorize] {{ xlog(\"L_NOTICE\", \"asked for <$cpm(originator)>\\n\"); }}"
    )));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for service in SERVICES {
        let (anne_alone, latin) = ("<sip:anne@example.com>", latin_1("\"Änne\" "));
        for (asserted, address, goes_on) in [
            (anne_alone, "sip:anne@example.com", anne_alone),
            ("sip:anne@example.com", "sip:anne@example.com", anne_alone),
            (
                "\"Anne, A.\" <sip:anne@example.com;x=1>",
                "sip:anne@example.com;x=1",
                "\"Anne, A.\" <sip:anne@example.com;x=1>",
            ),
            (
                "<tel:+12015550123>",
                "tel:+12015550123",
                "<tel:+12015550123>",
            ),
            (
                "<sip:anne@example.com>, <tel:+12015550123>",
                "sip:anne@example.com",
                "<sip:anne@example.com>, <tel:+12015550123>",
            ),
            // RFC 3325 §9.1: one of each kind, and nothing else.
            (
                "<sip:anne@example.com>, garbage here",
                "sip:anne@example.com",
                anne_alone,
            ),
            (
                "<sip:anne@example.com>, <sip:bill@example.com>, <tel:+1>, <tel:+2>",
                "sip:anne@example.com",
                "<sip:anne@example.com>, <tel:+1>",
            ),
            // Only its URI is used.
            (
                &format!("{latin}{anne_alone}"),
                "sip:anne@example.com",
                anne_alone,
            ),
        ] {
            let request = message(service, &bill).with("P-Asserted-Identity", asserted);
            proves!(["9.1.1-1"], exchange(&anne, &request, &proxy, 202));
            proxy.expect_log(&format!("asked for <{address}>"));
            let received = bill.expect_request("MESSAGE");
            proves!(
                ["9.1.1-6d"],
                assert_eq!(received.headers("P-Asserted-Identity"), [goes_on])
            );
            assert_eq!(received.header("Referred-By"), None);
        }
        // Two header fields are two values (RFC 3325 §9.1).
        let request = message(service, &bill)
            .with("P-Asserted-Identity", "<tel:+12015550123>")
            .and("P-Asserted-Identity", "\"Anne\"\r\n <sip:anne@example.com>");
        exchange(&anne, &request, &proxy, 202);
        proves!(
            ["9.1.1-6d"],
            assert_eq!(
                bill.expect_request("MESSAGE")
                    .headers("P-Asserted-Identity"),
                ["<tel:+12015550123>, \"Anne\" <sip:anne@example.com>"]
            )
        );
    }
    for asserted in [
        "",
        "nonsense",
        "<>",
        "<anne>",
        "<urn:service:sos>",
        "\"Anne",
        "<sip:anne@exa mple.com>",
    ] {
        let request = message(EXPLODER, &bill).with("P-Asserted-Identity", asserted);
        proves!(
            ["9.1.1-1", "9.1.1-1-w"],
            expect_not_authorised(&anne, &request, &proxy)
        );
    }
    proves!(
        ["9.1.1-1", "9.1.1-1-w"],
        expect_not_authorised(
            &anne,
            &message(EXPLODER, &bill).without("P-Asserted-Identity"),
            &proxy,
        )
    );
    let preferred = message(EXPLODER, &bill)
        .without("P-Asserted-Identity")
        .with("P-Preferred-Identity", "<sip:anne@example.com>");
    proves!(
        ["9.1.1-1", "9.1.1-1-w"],
        expect_not_authorised(&anne, &preferred, &proxy)
    );
    proves!(["9.1.1-1"], bill.expect_nothing_until(|| proxy.ping()));
    let recording = capture.stop();
    recording.assert_clean_where(&recording.sent_by_proxy());
    proxy.stop();
}

#[test]
fn an_assertion_of_a_stranger_counts_for_nothing() {
    let bench = Bench::new("an_assertion_of_a_stranger");
    let nobody = bench.proxy(&untrusting_proxy(HANDLE));
    let others = bench.proxy(&untrusting_proxy(HANDLE).set("cpm", "trusted_peer", "192.0.2.0/24"));
    let network = bench.proxy(
        &untrusting_proxy(HANDLE)
            .set("cpm", "trusted_peer", "2001:db8::/32")
            .set("cpm", "trusted_peer", "127.0.0.0/8"),
    );
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for service in SERVICES {
        for proxy in [&nobody, &others] {
            proves!(
                ["9.1.1-1", "9.1.1-1-w"],
                expect_not_authorised(&anne, &message(service, &bill), proxy)
            );
        }
    }
    proves!(["9.1.1-1"], bill.expect_nothing_until(|| nobody.ping()));
    proves!(
        ["9.1.1-1"],
        exchange(&anne, &message(EXPLODER, &bill), &network, 202)
    );
    bill.expect_request("MESSAGE");
    capture.stop().assert_clean();
    for proxy in [nobody, others, network] {
        proxy.stop();
    }
}

#[test]
fn the_script_says_who_it_has_authenticated() {
    let bench = Bench::new("the_script_says_who");
    let routes = "request_route {
        if (!cpm_classify()) {
            sl_send_reply(\"404\", \"Not Ours\");
            exit;
        }
        if (is_present_hf(\"X-Authenticated\")) $cpm(originator) = $hdr(X-Authenticated);
        if (!cpm_check()) {
            cpm_reply();
            exit;
        }
        cpm_fanout();
    }";
    let stranger = bench.proxy(&untrusting_proxy(routes));
    let script_only = bench.proxy(&cpm_proxy(routes).set("cpm", "identity_source", "script"));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for service in SERVICES {
        for proxy in [&stranger, &script_only] {
            proves!(
                ["9.1.1-1", "9.1.1-1-w"],
                expect_not_authorised(&anne, &message(service, &bill), proxy)
            );
            let vouched = message(service, &bill)
                .with("P-Asserted-Identity", "<sip:liar@example.com>")
                .with("X-Authenticated", "sip:anne@example.com");
            proves!(["9.1.1-1"], exchange(&anne, &vouched, proxy, 202));
            proves!(
                ["9.1.1-6d"],
                assert_eq!(
                    bill.expect_request("MESSAGE")
                        .headers("P-Asserted-Identity"),
                    ["<sip:anne@example.com>"]
                )
            );
            let nonsense = message(service, &bill).with("X-Authenticated", "anne>");
            expect_not_authorised(&anne, &nonsense, proxy);
        }
    }
    stranger.expect_log("the originator that the script set is not a sip, sips or tel URI");
    capture.stop().assert_clean();
    for proxy in [stranger, script_only] {
        proxy.stop();
    }
}

#[test]
fn a_laboratory_may_believe_from() {
    let bench = Bench::new("a_laboratory_may_believe_from");
    let proxy = bench.proxy(&untrusting_proxy(HANDLE).set("cpm", "identity_source", "from"));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let request = message(CONTROLLING, &bill)
        .with("From", "\"Anne\" <sip:anne@example.org>;tag=1")
        .with("P-Asserted-Identity", "<sip:liar@example.com>");
    exchange(&anne, &request, &proxy, 202);
    assert_eq!(
        bill.expect_request("MESSAGE")
            .headers("P-Asserted-Identity"),
        ["<sip:anne@example.org>"]
    );
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn the_operator_has_the_last_word() {
    let bench = Bench::new("the_operator_has_the_last_word");
    let proxy = bench.proxy(&cpm_proxy(&format!(
        "{HANDLE}
        event_route[cpm:authorize] {{
            if ($cpm(originator) == \"sip:mallory@example.com\" && $cpm(kind) == \"exploder\") drop;
        }}"
    )));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for (originator, service, code) in [
        ("<sip:anne@example.com>", EXPLODER, 202),
        ("<sip:mallory@example.com>", EXPLODER, 403),
        ("<sip:mallory@example.com>", CONTROLLING, 202),
    ] {
        let request = message(service, &bill).with("P-Asserted-Identity", originator);
        if code == 202 {
            proves!(["9.1.1-1"], exchange(&anne, &request, &proxy, 202));
            bill.expect_request("MESSAGE");
        } else {
            proves!(
                ["9.1.1-1", "9.1.1-1-w"],
                expect_not_authorised(&anne, &request, &proxy)
            );
        }
    }
    proxy.expect_log("refused 403 127 Service not authorised: the operator's script refused");
    proves!(["9.1.1-1"], bill.expect_nothing_until(|| proxy.ping()));
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn an_anonymous_sender_stays_as_anonymous_as_he_was() {
    let bench = Bench::new("an_anonymous_sender");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for service in SERVICES {
        let request = message(service, &bill)
            .with(
                "From",
                "\"Anonymous \\\"A\\\"\" <sip:anonymous@anonymous.invalid;x=1>;tag=secret;y=z",
            )
            .with("Privacy", "id;user");
        exchange(&anne, &request, &proxy, 202);
        let received = bill.expect_request("MESSAGE");
        let from = received.header("From").expect("requests have From");
        let tag = received.parameter("From", "tag").expect("a tag of its own");
        assert_ne!(tag, "secret");
        // OpenSIPS's tm cannot write parameters after the address; the express lane can.
        let behind = match Product::under_test() {
            Product::OpenSips if counter(&proxy, "express_by_tm") > 0 => "",
            _ => ";y=z",
        };
        assert_eq!(
            from.replace(&format!(";tag={tag}"), ""),
            format!("\"Anonymous \\\"A\\\"\" <sip:anonymous@anonymous.invalid;x=1>{behind}")
        );
        // Within the trust domain the originator stays asserted; the domain's edge acts on Privacy
        // (RFC 3325 §9.3).
        proves!(
            ["9.1.1-6g-headers"],
            assert_eq!(received.headers("Privacy"), ["id;user"])
        );
        proves!(
            ["9.1.1-6d"],
            assert_eq!(
                received.headers("P-Asserted-Identity"),
                ["<sip:anne@example.com>"]
            )
        );
    }
    capture.stop().assert_clean();
    proxy.stop();
}

/// RFC 3261 §25.1 only permits UTF-8 in display names; what is passed on is valid.
#[test]
fn a_display_name_in_latin_1_is_left_out_and_costs_nothing_else() {
    let bench = Bench::new("a_display_name_in_latin_1");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for service in SERVICES {
        for (name, goes_on) in [
            (latin_1("\"Änne\""), ""),
            (latin_1("Änne"), ""),
            ("\"Änne\"".to_owned(), "\"Änne\" "),
        ] {
            let from = format!("{name} <sip:anne@example.com>;tag=1");
            let request = message(service, &bill).with("From", &from);
            exchange(&anne, &request, &proxy, 202);
            let received = bill.expect_request("MESSAGE");
            let tag = received.parameter("From", "tag").expect("a tag of its own");
            assert_eq!(
                received.header("From").map(str::to_owned),
                Some(format!("{goes_on}<sip:anne@example.com>;tag={tag}"))
            );
        }
    }
    capture.stop().assert_clean();
    proxy.stop();
}

/// RFC 3323 §4.2, RFC 3325 §7: an element that acts on the copies may act on `id`, whatever else is
/// listed.
#[test]
fn none_beside_id_asks_for_anonymity_all_the_same() {
    let bench = Bench::new("none_beside_id");
    let refusing = bench.proxy(&cpm_proxy(HANDLE).set_number("cpm", "allow_anonymity", 0));
    let allowing = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for service in SERVICES {
        let latin = latin_1("id;ä");
        for values in [
            &["none", "id"][..],
            &["id", "none"],
            &["none;id"],
            &["id;none"],
            &["NONE ; User"],
            &[&latin],
        ] {
            let mut request = message(service, &bill);
            for value in values {
                request = request.and("Privacy", value);
            }
            let answer = exchange(&anne, &request, &refusing, 403);
            proves!(
                duty(
                    service,
                    ["9.1.1-3a", "9.1.1-3a-w"],
                    ["9.1.1-5a", "9.1.1-5a-w"]
                ),
                assert_eq!(
                    answer.header("Warning"),
                    Some("399 example.com \"119 Anonymity not allowed\""),
                    "{values:?}"
                )
            );
        }
        exchange(
            &anne,
            &message(service, &bill).with("Privacy", "none"),
            &refusing,
            202,
        );
        bill.expect_request("MESSAGE");
        let request = message(service, &bill).with("Privacy", "none;id");
        exchange(&anne, &request, &allowing, 202);
        let received = bill.expect_request("MESSAGE");
        assert_eq!(received.headers("Privacy"), ["none;id"]);
    }
    capture.stop().assert_clean();
    refusing.stop();
    allowing.stop();
}
