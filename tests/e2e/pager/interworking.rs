//! Recipients that fail: which requests go to the Interworking Selection Function, and which do not
//! (9.1.1 last list; OMA CPM 6.5; readings N47).

use std::collections::BTreeSet;

use cpm_testbed::{Agent, Answer, Bench, ProxyConfig, Received, Reply, bcc, cpm_message, to};

use crate::common::{
    CONTROLLING, EXPLODER, HANDLE, counters, cpm_proxy, exchange, expect_counter, expect_log_lines,
    header_lines, log_lines, name_of, proves,
};

/// The codes named in 9.1.1.
const INTERWORKED: [u16; 8] = [404, 405, 410, 414, 415, 416, 488, 606];

/// Other codes of a recipient.
const FINAL: [u16; 10] = [302, 400, 403, 408, 420, 480, 486, 500, 503, 603];

/// Plays all recipients: user `u404` answers 404.
fn answers_by_user(agent: &Agent) {
    agent.answers(Answer::with(|request| {
        let user = request.uri().and_then(|uri| uri.strip_prefix("sip:u"));
        let code = user.and_then(|user| user.get(..3)?.parse().ok());
        vec![Reply::new(code.unwrap_or(200))]
    }));
}

fn uris(agent: &Agent, codes: &[u16]) -> Vec<String> {
    codes
        .iter()
        .map(|code| agent.uri(&format!("u{code}")))
        .collect()
}

fn request_uris(requests: &[Received]) -> BTreeSet<String> {
    requests
        .iter()
        .map(|request| request.uri().unwrap_or_default().to_owned())
        .collect()
}

/// What a request to the ISF has in common with the one that failed.
fn shared_lines(request: &Received) -> Vec<String> {
    let mut lines = header_lines(request);
    lines.retain(|line| !["Via", "Route", "From", "Call-ID"].contains(&name_of(line)));
    lines.sort_unstable();
    lines
}

#[test]
fn each_of_the_eight_codes_leads_to_the_isf() {
    let bench = Bench::new("each_of_the_eight_codes");
    let (anne, all, isf) = (bench.agent(), bench.agent(), bench.agent());
    let proxy = bench.proxy(&cpm_proxy(HANDLE).set("cpm", "isf_uri", &isf.uri("isf")));
    answers_by_user(&all);
    let capture = bench.capture();
    let codes: Vec<u16> = INTERWORKED
        .iter()
        .chain(&FINAL)
        .copied()
        .chain([200])
        .collect();
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let request = cpm_message("sip:anne@example.com", service)
            .recipients(uris(&all, &codes).iter().map(|uri| to(uri)))
            .request()
            .with("Privacy", "id")
            .with("Subject", "the same for everybody");
        exchange(&anne, &request, &proxy, 202);
        let copies = all.expect_requests("MESSAGE", codes.len());
        let second = isf.expect_requests("MESSAGE", INTERWORKED.len());
        let at_isf = request_uris(&second);
        assert_eq!(at_isf, uris(&all, &INTERWORKED).into_iter().collect());
        for code in INTERWORKED {
            let uri = all.uri(&format!("u{code}"));
            proves!(
                [format!("9.1.1-isf-{code}")],
                assert!(at_isf.contains(&uri))
            );
        }
        for request in &second {
            let first = copies
                .iter()
                .find(|copy| copy.uri() == request.uri())
                .expect("the failed copy");
            proves!(
                ["9.1.1-isf-send"],
                assert_eq!(
                    request.header("Route"),
                    Some(format!("<{};lr>", isf.uri("isf")).as_str())
                )
            );
            assert_eq!(request.headers("Via").len(), 1);
            assert_eq!(request.cseq(), Some((1, "MESSAGE")));
            proves!(
                ["9.1.1-isf-send"],
                assert_eq!(shared_lines(request), shared_lines(first))
            );
            proves!(["9.1.1-isf-send"], assert_eq!(request.body(), first.body()));
            assert_ne!(request.call_id(), first.call_id());
            let from = |request: &Received| {
                let tag = request
                    .parameter("From", "tag")
                    .unwrap_or_default()
                    .to_owned();
                (
                    request.header("From").unwrap_or_default().replace(&tag, ""),
                    tag,
                )
            };
            let ((first_from, first_tag), (from, tag)) = (from(first), from(request));
            assert_eq!(from, first_from);
            assert_ne!(tag, first_tag);
        }
        let rounds = round as u64 + 1;
        expect_counter(&proxy, "failed", rounds * FINAL.len() as u64);
        proves!(
            ["9.1.1-isf-send"],
            expect_counter(&proxy, "delivered", rounds * (1 + INTERWORKED.len() as u64))
        );
        for code in FINAL {
            expect_log_lines(
                &proxy,
                &format!("a recipient failed with {code}, leg="),
                round + 1,
            );
        }
    }
    for code in INTERWORKED {
        assert_eq!(log_lines(&proxy, &format!("failed with {code}")), 0);
    }
    isf.expect_nothing_until(|| proxy.ping());
    let recording = capture.stop();
    recording.assert_clean();
    proxy.stop();
}

#[test]
fn policy_may_forbid_interworking_or_name_other_codes() {
    let bench = Bench::new("policy_may_forbid_interworking");
    let (anne, all, isf) = (bench.agent(), bench.agent(), bench.agent());
    let isf_uri = isf.uri("isf;lr");
    let none = bench.proxy(&cpm_proxy(HANDLE));
    let forbidden = bench.proxy(&cpm_proxy(HANDLE).set("cpm", "isf_uri", &isf_uri).set(
        "cpm",
        "interworking",
        "no",
    ));
    let nothing = bench.proxy(&cpm_proxy(HANDLE).set("cpm", "isf_uri", &isf_uri).set(
        "cpm",
        "isf_codes",
        "",
    ));
    let others = bench.proxy(
        &cpm_proxy(HANDLE)
            .set("cpm", "isf_uri", &isf_uri)
            .set("cpm", "interworking", "yes")
            .set("cpm", "isf_codes", "480, 302"),
    );
    answers_by_user(&all);
    let capture = bench.capture();
    let codes: Vec<u16> = INTERWORKED.iter().chain(&FINAL).copied().collect();
    for service in [EXPLODER, CONTROLLING] {
        let message = cpm_message("sip:anne@example.com", service)
            .recipients(uris(&all, &codes).iter().map(|uri| to(uri)));
        for proxy in [&none, &forbidden, &nothing] {
            let before = counters(proxy)[5].1;
            exchange(&anne, &message.request(), proxy, 202);
            proves!(
                ["9.1.1-isf-policy"],
                expect_counter(proxy, "failed", before + codes.len() as u64)
            );
            assert_eq!(counters(proxy)[6], ("interworked", 0));
        }
        proves!(
            ["9.1.1-isf-policy"],
            isf.expect_nothing_until(|| none.ping())
        );
        exchange(&anne, &message.request(), &others, 202);
        proves!(
            ["9.1.1-isf-policy"],
            assert_eq!(
                request_uris(&isf.expect_requests("MESSAGE", 2)),
                uris(&all, &[480, 302]).into_iter().collect()
            )
        );
    }
    expect_counter(&others, "failed", 2 * (codes.len() as u64 - 2));
    isf.expect_nothing_until(|| others.ping());
    capture.stop().assert_clean();
    for proxy in [none, forbidden, nothing, others] {
        proxy.stop();
    }
}

#[test]
fn a_recipient_who_never_answers_has_failed_with_408() {
    let bench = Bench::new("a_recipient_who_never_answers");
    let (anne, silent, isf) = (bench.agent(), bench.agent(), bench.agent());
    let proxy = bench.proxy(
        &cpm_proxy(&format!(
            "{HANDLE}
            event_route[cpm:recipient-failed] {{
                xlog(\"L_NOTICE\", \"lost $cpm(recipient) $cpm(code)\\n\");
            }}"
        ))
        .set("cpm", "isf_uri", &isf.uri("isf"))
        .set_number("tm", "fr_timer", 300),
    );
    silent.answers(Answer::Silent);
    let capture = bench.capture();
    let request = cpm_message("sip:anne@example.com", EXPLODER)
        .recipients([to(&silent.uri("bill"))])
        .request();
    exchange(&anne, &request, &proxy, 202);
    silent.expect_request("MESSAGE");
    proxy.expect_log("a recipient failed with 408, leg=");
    proxy.expect_log(&format!("lost {} 408", silent.uri("bill")));
    expect_log_lines(&proxy, "a recipient failed", 1);
    expect_counter(&proxy, "failed", 1);
    isf.expect_nothing_until(|| proxy.ping());
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn what_the_isf_says_is_final() {
    let bench = Bench::new("what_the_isf_says_is_final");
    let (anne, all, isf) = (bench.agent(), bench.agent(), bench.agent());
    let proxy = bench.proxy(
        &cpm_proxy(&format!(
            "{HANDLE}
            event_route[cpm:recipient-failed] {{
                xlog(\"L_NOTICE\", \"lost $cpm(recipient) $cpm(code) $cpm(reason) $ru\\n\");
            }}
            event_route[cpm:recipient-delivered] {{
                xlog(\"L_NOTICE\", \"got $cpm(recipient) $cpm(code) $cpm(reason) $ru\\n\");
            }}"
        ))
        .set("cpm", "isf_uri", &isf.tcp_uri("isf")),
    );
    answers_by_user(&all);
    isf.answers(Answer::with(|request| {
        let refused = request.uri().is_some_and(|uri| uri.contains("u404"));
        vec![Reply::new(if refused { 404 } else { 202 })]
    }));
    let capture = bench.capture();
    let request = cpm_message("sip:anne@example.com", CONTROLLING)
        .recipients(uris(&all, &[404, 488]).iter().map(|uri| to(uri)))
        .request();
    exchange(&anne, &request, &proxy, 202);
    let requests = proves!(["9.1.1-isf-send"], isf.expect_requests("MESSAGE", 2));
    assert_eq!(
        request_uris(&requests),
        uris(&all, &[404, 488]).into_iter().collect()
    );
    proxy.expect_log("interworking for a recipient failed with 404, leg=");
    let (lost, got) = (all.uri("u404"), all.uri("u488"));
    proxy.expect_log(&format!("lost {lost} 404 Not Found {lost}"));
    proxy.expect_log(&format!("got {got} 202 Accepted {got}"));
    expect_counter(&proxy, "failed", 1);
    proves!(["9.1.1-isf-send"], expect_counter(&proxy, "delivered", 1));
    expect_counter(&proxy, "interworked", 2);
    isf.expect_nothing_until(|| proxy.ping());
    expect_log_lines(&proxy, "failed with", 1);
    expect_log_lines(&proxy, "lost ", 1);
    expect_log_lines(&proxy, "got ", 1);
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn recipients_without_a_sip_address_need_somebody_who_knows_them() {
    let bench = Bench::new("recipients_without_a_sip_address");
    let (anne, bill, isf, core) = (bench.agent(), bench.agent(), bench.agent(), bench.agent());
    let tel = "tel:+12015550123;phone-context=example.com";
    let interworking = |config: ProxyConfig| config.set("cpm", "isf_uri", &isf.uri("isf"));
    let with_isf = bench.proxy(&interworking(cpm_proxy(HANDLE)));
    let without = bench.proxy(&cpm_proxy(HANDLE));
    let not_for_416 = bench.proxy(&interworking(cpm_proxy(HANDLE)).set("cpm", "isf_codes", "404"));
    let behind_core = bench.proxy(&interworking(cpm_proxy(HANDLE)).set(
        "cpm",
        "outbound_proxy",
        &core.uri("core;lr"),
    ));
    core.answers(Answer::code(416));
    let capture = bench.capture();
    for (round, service) in [EXPLODER, CONTROLLING].into_iter().enumerate() {
        let rounds = round as u64 + 1;
        let message = cpm_message("sip:anne@example.com", service)
            .recipients([to(tel), bcc(&bill.uri("bill"))]);
        // Nobody else could process it.
        exchange(&anne, &message.request(), &with_isf, 202);
        let request = isf.expect_request("MESSAGE");
        proves!(["9.1.1-6c"], assert_eq!(request.uri(), Some(tel)));
        assert_eq!(request.header("To"), Some(format!("<{tel}>").as_str()));
        let route = format!("<{};lr>", isf.uri("isf"));
        proves!(
            ["9.1.1-isf-send"],
            assert_eq!(request.headers("Route"), [route])
        );
        bill.expect_request("MESSAGE");
        expect_counter(&with_isf, "delivered", 2 * rounds);
        expect_counter(&with_isf, "interworked", rounds);

        // The core could, but answers that the user is unknown.
        exchange(&anne, &message.request(), &behind_core, 202);
        core.expect_requests("MESSAGE", 2);
        let mut at_isf: Vec<String> = isf
            .expect_requests("MESSAGE", 2)
            .iter()
            .map(|request| request.uri().unwrap_or_default().to_owned())
            .collect();
        at_isf.sort_unstable();
        proves!(
            ["9.1.1-isf-416"],
            assert_eq!(at_isf, [bill.uri("bill"), tel.to_owned()])
        );

        for proxy in [&without, &not_for_416] {
            exchange(&anne, &message.request(), proxy, 202);
            bill.expect_request("MESSAGE");
            expect_counter(proxy, "failed", rounds);
            expect_log_lines(
                proxy,
                "1 of 2 outgoing requests could not be sent",
                round + 1,
            );
        }
    }
    proves!(
        ["9.1.1-isf-policy"],
        isf.expect_nothing_until(|| behind_core.ping())
    );
    capture.stop().assert_clean();
    for proxy in [with_isf, without, not_for_416, behind_core] {
        proxy.stop();
    }
}
