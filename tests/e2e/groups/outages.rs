//! A group source that is down or does not answer: 480 for its groups, and no effect on anything
//! else.

use std::time::Duration;

use cpm_testbed::{Agent, Bench, Proxy, ProxyConfig, WebAnswer, WebServer, cpm_message, to};

use crate::common::{EXPLODER, exchange, expect_counter, log_lines};
use crate::groups::{ANNE, GroupFolder, answer_to, group_proxy, open_group, recipients, to_group};

/// Longer than any test waits; the server ends it when it is told to answer, and when it stops.
const FOR_EVER: WebAnswer = WebAnswer::Hang(Duration::from_secs(600));

/// More messages than a proxy has processes.
const MANY: usize = 50;

fn with_xdms(url: &str) -> ProxyConfig {
    group_proxy(&format!("xcap:{url}"))
}

/// Each group of this server has this member.
fn groups_of(member: &Agent) -> impl FnMut(&cpm_testbed::WebRequest) -> WebAnswer + use<> {
    let member = member.uri("bill");
    move |request| {
        let name = request.path.rsplit("sip:").next().unwrap_or_default();
        let name = name.split('@').next().unwrap_or_default();
        WebAnswer::document("1", open_group(name).members([&member]).xml())
    }
}

/// Sends 1-to-many messages, each of which must be accepted and delivered.
#[track_caller]
fn one_to_many(sender: &Agent, recipient: &Agent, proxy: &Proxy) {
    for _ in 0..MANY {
        let message = cpm_message(ANNE, EXPLODER).recipients([to(&recipient.uri("carol"))]);
        exchange(sender, &message.request(), proxy, 202);
        recipient.expect_request("MESSAGE");
    }
}

#[test]
fn a_source_that_is_down_is_told_and_logged_once() {
    let bench = Bench::new("a_source_that_is_down");
    let (anne, carol) = (bench.agent(), bench.agent());
    let folder = GroupFolder::new(&bench, "groups");
    folder.put("local", &open_group("local").members([carol.uri("carol")]));
    let nowhere = format!("http://127.0.0.1:{}/xcap-root", bench.port());
    let proxy = bench.proxy(
        &with_xdms(&nowhere)
            .set("cpm", "group_source", &folder.source())
            .set_number("cpm", "group_processes", 1),
    );
    let capture = bench.capture();
    for number in 0..20 {
        let request = to_group(ANNE, &format!("group{number}")).request();
        let response = exchange(&anne, &request, &proxy, 480);
        assert!(
            response
                .start_line()
                .ends_with("480 Temporarily Unavailable")
        );
        assert_eq!(response.header("Warning"), None);
        let after = response
            .header("Retry-After")
            .and_then(|value| value.parse::<u32>().ok());
        assert!(
            after.is_some_and(|after| (1..=10).contains(&after)),
            "{after:?}"
        );
    }
    proxy.expect_log("group source 1: no connection");
    assert_eq!(log_lines(&proxy, "group source 1"), 1);
    exchange(&anne, &to_group(ANNE, "local").request(), &proxy, 202);
    assert_eq!(recipients(&carol, 1), [carol.uri("carol")]);
    one_to_many(&anne, &carol, &proxy);
    assert_eq!(log_lines(&proxy, "group source"), 1);
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn while_an_xdms_hangs_everything_else_goes_on() {
    let bench = Bench::new("while_an_xdms_hangs");
    let web: WebServer = bench.web_server();
    let (anne, bert, bill, carol) = (bench.agent(), bench.agent(), bench.agent(), bench.agent());
    // One worker for each transport: if it blocked, nothing would be left.
    let proxy = bench.proxy(
        &with_xdms(&web.url())
            .children(1)
            .set_number("cpm", "group_processes", 2)
            .set_number("cpm", "group_timeout", 20_000),
    );
    web.answers(|_| FOR_EVER);
    let capture = bench.capture();
    let first = to_group(ANNE, "first").request();
    anne.send(&first, proxy.udp());
    web.expect_request();
    one_to_many(&bert, &carol, &proxy);
    assert!(anne.recv_response(&first, Duration::ZERO).is_none());

    // More groups than processes that can wait for them, each requested twice over an unreliable
    // transport.
    let requests: Vec<_> = (0..MANY)
        .map(|number| to_group(ANNE, &format!("group{number}")).request())
        .collect();
    for request in requests.iter().chain(&requests) {
        anne.send(request, proxy.udp());
    }
    web.expect_request();
    one_to_many(&bert, &carol, &proxy);
    // Each of the two processes waits for one group; nobody has an answer yet.
    assert_eq!(web.requests().len(), 2);
    for request in requests.iter().chain([&first]) {
        assert!(anne.recv_response(request, Duration::ZERO).is_none());
    }

    web.answers(groups_of(&bill));
    for request in requests.iter().chain([&first]) {
        let response = answer_to(&anne, request);
        assert_eq!(response.status(), Some(202));
    }
    recipients(&bill, MANY + 1);
    expect_counter(&proxy, "delivered", 3 * MANY as u64 + 1);
    assert_eq!(web.requests().len(), MANY + 1);
    bill.expect_nothing_until(|| proxy.ping());
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn an_xdms_that_hangs_has_its_time() {
    let bench = Bench::new("an_xdms_that_hangs_has_its_time");
    let web = bench.web_server();
    let (anne, carol) = (bench.agent(), bench.agent());
    let proxy = bench.proxy(
        &with_xdms(&web.url())
            .set_number("cpm", "group_processes", 1)
            .set_number("cpm", "group_timeout", 500),
    );
    web.answers(|_| FOR_EVER);
    let capture = bench.capture();
    for number in 0..10 {
        let request = to_group(ANNE, &format!("group{number}")).request();
        let response = exchange(&anne, &request, &proxy, 480);
        assert!(response.header("Retry-After").is_some());
    }
    // It was asked once: a source that does not answer is left alone for a while.
    assert_eq!(web.requests().len(), 1);
    proxy.expect_log("group source 1: no answer in time");
    assert_eq!(log_lines(&proxy, "group source 1"), 1);
    one_to_many(&anne, &carol, &proxy);
    // The operator need not wait.
    web.answers(groups_of(&carol));
    proxy.rpc("cpm.groups_flush");
    let request = to_group(ANNE, "group0").request();
    crate::groups::ask_until(&anne, &request, &proxy, 202);
    carol.expect_request("MESSAGE");
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn the_proxy_stops_while_an_xdms_hangs() {
    let bench = Bench::new("the_proxy_stops_while_an_xdms_hangs");
    let web = bench.web_server();
    let anne = bench.agent();
    let proxy = bench.proxy(&with_xdms(&web.url()).set_number("cpm", "group_timeout", 20_000));
    web.answers(|_| FOR_EVER);
    for number in 0..5 {
        let request = to_group(ANNE, &format!("group{number}")).request();
        anne.send(&request, proxy.udp());
    }
    web.expect_request();
    web.expect_request();
    proxy.stop();
}
