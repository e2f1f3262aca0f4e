//! All refusals: the response to each fault, and which of several faults is named. This test
//! generates the table of refusals in `doc/manual.md`.

use cpm_testbed::{
    Agent, BOUNDARY, Bench, Proxy, ProxyConfig, Request, bcc, cc, cpm_message, multipart,
    resource_lists, to,
};

use crate::common::{
    CONTROLLING, EXPLODER, HANDLE, compare_with_manual, counter, cpm_proxy, duty, exchange,
    expect_log_lines, proves, reason, untrusting_proxy,
};

mod faults;

use faults::{Draft, FAULTS, Fault, Under, VETO, strict};

/// Sends a request that must be refused like this, without any other effect.
#[track_caller]
fn expect_refusal(agent: &Agent, proxy: &Proxy, request: &Request, fault: &Fault) {
    let answer = exchange(agent, request, proxy, fault.code);
    assert_eq!(reason(&answer), fault.reason, "{}", fault.when);
    for name in ["Warning", "Unsupported", "Accept-Encoding"] {
        let wanted = fault.header.filter(|(wanted, _)| *wanted == name);
        let wanted: Vec<&str> = wanted.iter().map(|(_, value)| *value).collect();
        assert_eq!(answer.headers(name), wanted, "{}", fault.when);
    }
    assert_eq!(answer.headers("Server"), ["CPM-serv/OMA2.2"]);
    assert!(answer.body().is_empty());
}

#[test]
fn each_fault_is_refused_as_the_manual_says() {
    let bench = Bench::new("each_fault_is_refused_as_the_manual_says");
    let routes = format!("{HANDLE}\n{VETO}");
    let proxies = [
        (Under::Strict, bench.proxy(&strict(cpm_proxy(&routes)))),
        (
            Under::MissingListIs400,
            bench.proxy(&strict(cpm_proxy(&routes)).set("cpm", "missing_list_code", "400")),
        ),
        (
            Under::NobodyTrusted,
            bench.proxy(&strict(untrusting_proxy(&routes))),
        ),
    ];
    let anne = bench.agent();
    let capture = bench.capture();
    let mut refused = 0;
    for fault in FAULTS {
        let (_, proxy) = proxies
            .iter()
            .find(|(under, _)| *under == fault.under)
            .expect("a proxy for each configuration");
        for service in [EXPLODER, CONTROLLING] {
            let mut draft = Draft::new(service);
            (fault.make)(&mut draft);
            let request = draft.request();
            proves!(
                fault.duties(service),
                expect_refusal(&anne, proxy, &request, fault)
            );
            let call_id = request.header("Call-ID").expect("requests have one");
            expect_log_lines(proxy, &format!("callid={call_id}"), 1);
            let warning = fault.header.filter(|(name, _)| *name == "Warning");
            let text = warning.and_then(|(_, value)| value.split('"').nth(1));
            let words = format!("refused {} {}", fault.code, text.unwrap_or_default());
            let log = proxy.log();
            let line = log
                .lines()
                .find(|line| line.contains(call_id))
                .unwrap_or_default();
            assert!(line.contains(&words), "{words} in {line}");
            refused += 1;
        }
    }
    let counted: u64 = proxies
        .iter()
        .map(|(_, proxy)| counter(proxy, "refused"))
        .sum();
    assert_eq!(counted, refused);
    let recording = capture.stop();
    recording.assert_clean_where(&recording.sent_by_proxy());
    let sent = format!("sip.Method && {}", recording.sent_by_proxy());
    assert!(
        recording.fields(&sent, &["sip.r-uri"]).is_empty(),
        "nothing went out"
    );
    for (_, proxy) in proxies {
        proxy.stop();
    }
    compare_with_manual(
        "refusals",
        &table(),
        "each_fault_is_refused_as_the_manual_says",
    );
}

/// One row for each refusal.
fn table() -> String {
    let mut table = String::from(
        "| code | reason | Warning or other header field | when |\n|---|---|---|---|\n",
    );
    for fault in FAULTS {
        let header = match fault.header {
            Some(("Warning", value)) => format!("`{value}`"),
            Some((name, value)) => format!("`{name}: {value}`"),
            None => String::new(),
        };
        table += &format!(
            "| {} | {} | {header} | {} |\n",
            fault.code, fault.reason, fault.when
        );
    }
    table
}

#[test]
fn of_two_faults_the_first_in_the_specified_order_is_named() {
    // One fault for each check, in order; the last ones share the body.
    const ORDER: &[&str] = &[
        "nobody vouches",
        "`event_route[cpm:authorize]`",
        "User-Agent names",
        "Require names",
        "Max-Forwards is 0",
        "a list or a group has already forwarded it",
        "Conversation-ID is missing",
        "Contribution-ID is missing",
        "Privacy asks",
        "the body or the resource list has a Content-Encoding",
        "more distinct recipients",
        "the resource list is empty",
        "the body is nothing but",
    ];
    let bench = Bench::new("of_two_faults_the_first");
    let proxy = bench.proxy(&strict(cpm_proxy(&format!("{HANDLE}\n{VETO}"))));
    let anne = bench.agent();
    let capture = bench.capture();
    let of = |start: &&str| {
        let found = FAULTS.iter().find(|fault| fault.when.starts_with(start));
        found.unwrap_or_else(|| panic!("no fault {start}"))
    };
    let faults: Vec<&Fault> = ORDER.iter().map(of).collect();
    for (place, first) in faults.iter().enumerate() {
        for second in &faults[place + 1..] {
            // A list is either too long or empty; a body that is only a list has no header fields
            // of its own.
            let exclusive = |fault: &Fault| fault.when.contains("list");
            if first.when.starts_with("the body or") && second.when.starts_with("the body is")
                || first.when.starts_with("more distinct")
                    && exclusive(second)
                    && !second.when.contains("nothing but")
            {
                continue;
            }
            for service in [EXPLODER, CONTROLLING] {
                let mut draft = Draft::new(service);
                (second.make)(&mut draft);
                (first.make)(&mut draft);
                let request = draft.request();
                proves!(
                    first.duties(service),
                    expect_refusal(&anne, &proxy, &request, first)
                );
            }
        }
    }
    // Two checks give the same response; the log distinguishes them.
    let mut both = Draft::new(EXPLODER);
    both.remove("P-Asserted-Identity");
    both.set("X-Veto", "yes");
    let request = both.request();
    expect_refusal(&anne, &proxy, &request, faults[0]);
    let call_id = request.header("Call-ID").expect("requests have one");
    proxy.expect_log(&format!(
        "refused 403 127 Service not authorised: nobody vouches for the originator, callid={call_id}"
    ));
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn a_required_user_agent_is_found_among_products_and_comments() {
    let bench = Bench::new("a_required_user_agent");
    let proxy = bench.proxy(&cpm_proxy(HANDLE).set(
        "cpm",
        "required_user_agent",
        "CPM-client/OMA2 Lab-client",
    ));
    let lenient = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let message = cpm_message("sip:anne@example.com", EXPLODER).recipients([to(&bill.uri("bill"))]);
    for (user_agent, code) in [
        (Some("CPM-client/OMA2"), 202),
        (Some("CPM-client/OMA2.2"), 202),
        (Some("RCS-phone/7 (build 3) cpm-client/OMA2.1 (x; y)"), 202),
        (Some("Lab-client"), 202),
        (Some("CPM-client/OMA21"), 403),
        (Some("CPM-client/OMA1.0"), 403),
        (Some("CPM-client"), 403),
        (Some("Phone (CPM-client/OMA2.2)"), 403),
        (None, 403),
    ] {
        let request = match user_agent {
            Some(value) => message.request().with("User-Agent", value),
            None => message.request().without("User-Agent"),
        };
        let answer = exchange(&anne, &request, &proxy, code);
        let warning = (code == 403).then_some("399 example.com \"132 Version not supported\"");
        proves!(
            ["9.1.1-2", "9.1.1-2-w"],
            assert_eq!(answer.header("Warning"), warning, "{user_agent:?}")
        );
        proves!(
            ["9.1.1-2"],
            exchange(&anne, &request.again(), &lenient, 202)
        );
    }
    capture.stop().assert_clean();
    for proxy in [proxy, lenient] {
        proxy.stop();
    }
}

#[test]
fn anonymity_is_what_privacy_asks_for() {
    let bench = Bench::new("anonymity_is_what_privacy_asks_for");
    let forbidding = bench.proxy(&cpm_proxy(HANDLE).set("cpm", "allow_anonymity", "no"));
    let allowing = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for service in [EXPLODER, CONTROLLING] {
        let message =
            cpm_message("sip:anne@example.com", service).recipients([to(&bill.uri("bill"))]);
        for (privacy, code) in [
            ("id", 403),
            ("user", 403),
            ("header", 403),
            ("session;ID;critical", 403),
            ("\r\n id", 403),
            ("session;\r\n\tuser", 403),
            ("critical ; header ; session", 403),
            ("none", 202),
            ("session", 202),
            ("critical", 202),
            ("history", 202),
        ] {
            let request = message.request().with("Privacy", privacy);
            let answer = exchange(&anne, &request, &forbidding, code);
            let warning = (code == 403).then_some("399 example.com \"119 Anonymity not allowed\"");
            proves!(
                duty(
                    service,
                    ["9.1.1-3a", "9.1.1-3a-w"],
                    ["9.1.1-5a", "9.1.1-5a-w"]
                ),
                assert_eq!(answer.header("Warning"), warning, "{privacy}")
            );
            exchange(&anne, &request.again(), &allowing, 202);
        }
        exchange(&anne, &message.request(), &forbidding, 202);
    }
    capture.stop().assert_clean();
    for proxy in [forbidding, allowing] {
        proxy.stop();
    }
}

#[test]
fn the_limit_counts_distinct_recipients() {
    let bench = Bench::new("the_limit_counts_distinct_recipients");
    let proxy = bench.proxy(&cpm_proxy(HANDLE).set_number("cpm", "max_recipients", 3));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let uri = |user: &str| bill.uri(user);
    let three = vec![
        to(&uri("a")),
        cc(&uri("b")),
        // Repeated in another spelling, and ourselves: neither counts.
        bcc(&uri("%61")),
        to(&uri("a")),
        to(EXPLODER),
        cc(CONTROLLING),
        to(&uri("A")),
        to(&uri("A")),
    ];
    for service in [EXPLODER, CONTROLLING] {
        let within = cpm_message("sip:anne@example.com", service).recipients(three.clone());
        exchange(&anne, &within.request(), &proxy, 202);
        let mut users: Vec<String> = bill
            .expect_requests("MESSAGE", 3)
            .iter()
            .map(|request| request.uri().unwrap_or_default().to_owned())
            .collect();
        users.sort();
        assert_eq!(users, [uri("A"), uri("a"), uri("b")]);
        let beyond = within.recipients(three.iter().cloned().chain([bcc(&uri("d"))]));
        let answer = exchange(&anne, &beyond.request(), &proxy, 486);
        proves!(
            duty(
                service,
                ["9.1.1-3b", "9.1.1-3b-w"],
                ["9.1.1-5b", "9.1.1-5b-w"]
            ),
            assert_eq!(
                answer.header("Warning"),
                Some("399 example.com \"102 Too many recipients\"")
            )
        );
        bill.expect_nothing_until(|| proxy.ping());
    }
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn every_unknown_option_tag_is_named_and_known_ones_are_not() {
    let bench = Bench::new("every_unknown_option_tag_is_named");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let message = cpm_message("sip:anne@example.com", EXPLODER).recipients([to(&bill.uri("bill"))]);
    let unknown = message
        .request()
        .with("Require", "foo , Recipient-List-Message,bar")
        .and("Require", "baz");
    let answer = exchange(&anne, &unknown, &proxy, 420);
    assert_eq!(answer.headers("Unsupported"), ["foo, bar, baz"]);
    for require in [
        "recipient-list-message",
        "recipient-list-invite",
        "Recipient-List-Message, recipient-list-invite",
    ] {
        let request = message.request().with("Require", require);
        exchange(&anne, &request, &proxy, 202);
        assert_eq!(bill.expect_request("MESSAGE").header("Require"), None);
    }
    exchange(&anne, &message.request().without("Require"), &proxy, 202);
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn no_content_encoding_is_understood_wherever_it_stands() {
    let bench = Bench::new("no_content_encoding");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for service in [EXPLODER, CONTROLLING] {
        let message =
            cpm_message("sip:anne@example.com", service).recipients([to(&bill.uri("bill"))]);
        for (name, value) in [("Content-Encoding", "gzip"), ("e", "deflate, gzip")] {
            let request = message.request().with(name, value);
            let answer = exchange(&anne, &request, &proxy, 415);
            assert_eq!(answer.headers("Accept-Encoding"), ["identity"]);
        }
        let plain = message.request().with("Content-Encoding", "Identity");
        exchange(&anne, &plain, &proxy, 202);
        bill.expect_request("MESSAGE");
    }
    let recording = capture.stop();
    recording.assert_clean_where(&recording.sent_by_proxy());
    proxy.stop();
}

#[test]
fn a_warning_names_the_configured_host() {
    let bench = Bench::new("a_warning_names_the_configured_host");
    let proxy = bench.proxy(&cpm_proxy(HANDLE).set("cpm", "warning_agent", "cf.example.net:5060"));
    let anne = bench.agent();
    let capture = bench.capture();
    let request = cpm_message("sip:anne@example.com", EXPLODER)
        .recipients([])
        .request();
    let answer = exchange(&anne, &request, &proxy, 403);
    assert_eq!(
        answer.header("Warning"),
        Some("399 cf.example.net:5060 \"129 No destinations\"")
    );
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn a_repeated_request_gets_the_same_refusal_and_counts_once() {
    let bench = Bench::new("a_repeated_request_gets_the_same_refusal");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let anne = bench.agent();
    let capture = bench.capture();
    let request = cpm_message("sip:anne@example.com", CONTROLLING)
        .recipients([])
        .request();
    let answer = exchange(&anne, &request, &proxy, 403);
    anne.send(&request, proxy.udp());
    anne.expect_retransmissions(&answer, 1);
    assert_eq!(
        (counter(&proxy, "requests"), counter(&proxy, "refused")),
        (1, 1)
    );
    capture.stop().assert_clean();
    proxy.stop();
}
