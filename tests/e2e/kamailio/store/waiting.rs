//! Deferred delivery: a message waits in the store for recipients that cannot be reached.

use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Answer, Bench, PATIENCE, Proxy, Received, Request, cpm_message, to};

use super::restart::identity;
use super::{ANNE, database, expect_failure_told, expect_messages, keeping, keeping_with};
use crate::common::{EXPLODER, HANDLE, counter, exchange, expect_counter, expect_log_lines};
use crate::pager::express::{by_the_lane, open};
use crate::storing::{REGISTERS, deferring};

/// Longer than a test.
const NEVER_S: &str = "86400";

fn cseq(copy: &Received) -> &str {
    copy.header("CSeq").unwrap_or_default()
}

/// What stays the same in every attempt: all but the CSeq.
fn lasting(copy: &Received) -> [String; 4] {
    let [uri, call_id, _, tag, message_id] = identity(copy);
    [uri, call_id, tag, message_id]
}

/// Waits until so many recipients wait.
#[track_caller]
fn expect_waiting(proxy: &Proxy, count: u64) {
    expect_counter(proxy, "waiting", count);
    expect_counter(proxy, "outstanding", 0);
}

/// Waits until it is on disk that the next attempt has this number.
#[track_caller]
fn expect_written(bench: &Bench, attempt: u16) {
    let deadline = Instant::now() + PATIENCE;
    let written = || {
        let last = "SELECT hex(substr(ended, -2)) FROM outcome";
        let found = database(bench).query_row(last, [], |row| row.get::<_, String>(0));
        found.unwrap_or_default()
    };
    while written() != format!("80{attempt:02X}") {
        assert!(Instant::now() < deadline, "{}", written());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn who_registers_later_gets_the_message_then() {
    let bench = Bench::new("who_registers_later_gets");
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
    for agent in [&bill, &carol] {
        agent.answers(Answer::code(480));
    }
    let script = "request_route {
        if (cpm_handle()) exit;
        if (is_method(\"REGISTER\")) { save(\"location\"); exit; }
        sl_send_reply(\"404\", \"Not Ours\");
    }
    event_route[cpm:recipient-deferred] { xlog(\"L_NOTICE\", \"waits $cpm(recipient) $cpm(code) $cpm(kind)\\n\"); }";
    let config = deferring(keeping_with(&bench, script), NEVER_S)
        .load("usrloc")
        .load("registrar")
        .set("cpm", "deferred_on_register", "yes");
    let proxy = bench.proxy(&config);
    let request = cpm_message(ANNE, EXPLODER)
        .recipients([to(&bill.uri("bill")), to(&carol.uri("carol"))])
        .request();
    exchange(&anne, &request, &proxy, 202);
    let first = bill.expect_request("MESSAGE");
    carol.expect_request("MESSAGE");
    expect_waiting(&proxy, 2);
    expect_messages(&bench, 1);
    assert_eq!(counter(&proxy, "deferred"), 2);
    assert_eq!(counter(&proxy, "failed"), 0);
    expect_log_lines(
        &proxy,
        &format!("waits {} 480 exploder", bill.uri("bill")),
        1,
    );
    let told = proxy.rpc("cpm.messages state=waiting");
    assert!(told.contains("waiting: 2"), "{told}");
    // Refreshing a contact counts as registering.
    let register = || {
        Request::new("REGISTER", "sip:bill@example.com", "sip:bill@example.com")
            .with_uri("sip:example.com")
            .with("Contact", &format!("<{}>", bill.uri("bill")))
    };
    for (n, code) in [(1, 480), (2, 200)] {
        bill.answers(Answer::code(code));
        exchange(&bill, &register(), &proxy, 200);
        let again = bill.expect_request("MESSAGE");
        assert_eq!(cseq(&again), format!("{} MESSAGE", n + 1));
        assert_eq!(lasting(&again), lasting(&first));
        expect_waiting(&proxy, if code == 200 { 1 } else { 2 });
    }
    assert_eq!(counter(&proxy, "delivered"), 1);
    assert_eq!(counter(&proxy, "deferred"), 3);
    // The other recipient has not registered.
    carol.expect_nothing_until(|| proxy.ping());
    proxy.stop();
}

/// Nothing listens where a copy of the express lane goes: it has failed as if the recipient had
/// answered 503, and goes out again once somebody does.
#[test]
fn whose_connection_is_lost_in_the_lane_is_tried_again() {
    let bench = Bench::new("connection_lost_in_the_lane");
    let anne = bench.agent();
    let config = deferring(open(keeping(&bench)), NEVER_S).set("cpm", "deferred_codes", "503");
    let proxy = bench.proxy(&config);
    let port = bench.port();
    let uri = format!("sip:bill@127.0.0.1:{port};transport=tcp");
    let request = cpm_message(ANNE, EXPLODER).recipients([to(&uri)]).request();
    exchange(&anne, &request, &proxy, 202);
    expect_waiting(&proxy, 1);
    expect_messages(&bench, 1);
    assert_eq!(counter(&proxy, "deferred"), 1);
    assert_eq!(counter(&proxy, "failed"), 0);
    assert_eq!(by_the_lane(&proxy, 0), 1);
    let bill = bench.agent_at(port);
    proxy.rpc(&format!("cpm.available {uri}"));
    assert_eq!(cseq(&bill.expect_request("MESSAGE")), "2 MESSAGE");
    expect_messages(&bench, 0);
    assert_eq!(by_the_lane(&proxy, 1), 2);
    assert_eq!(counter(&proxy, "express_by_tm"), 0);
    proxy.stop();
}

/// By the schedule, and by the script: an S-CSCF registers a user with this server.
#[test]
fn who_is_available_again_is_tried_by_the_schedule_and_at_the_scripts_word() {
    let bench = Bench::new("who_is_available_again");
    let (anne, bill) = (bench.agent(), bench.agent());
    let proxy = bench.proxy(&deferring(keeping_with(&bench, REGISTERS), "1 86400"));
    bill.answers(Answer::code(480));
    let message = || cpm_message(ANNE, EXPLODER).recipients([to(&bill.uri("bill"))]);
    let request = message().request();
    exchange(&anne, &request, &proxy, 202);
    let copies = bill.expect_requests("MESSAGE", 2);
    assert_eq!(
        [cseq(&copies[0]), cseq(&copies[1])],
        ["1 MESSAGE", "2 MESSAGE"]
    );
    expect_waiting(&proxy, 1);
    bill.answers(Answer::code(200));
    let register = Request::new("REGISTER", "sip:scscf.example.com", &bill.uri("BILL"));
    exchange(&bill, &register, &proxy, 200);
    assert_eq!(cseq(&bill.expect_request("MESSAGE")), "3 MESSAGE");
    expect_messages(&bench, 0);
    expect_log_lines(&proxy, "noted", 1);
    // The operator's commands do the same.
    for command in ["cpm.available", "cpm.retry"] {
        bill.answers(Answer::code(480));
        let request = message().request();
        exchange(&anne, &request, &proxy, 202);
        bill.expect_requests("MESSAGE", 2);
        expect_waiting(&proxy, 1);
        bill.answers(Answer::code(200));
        let argument = match command {
            "cpm.retry" => request.header("Call-ID").expect("it has one").to_owned(),
            _ => bill.uri("bill"),
        };
        proxy.rpc(&format!("{command} {argument}"));
        assert_eq!(cseq(&bill.expect_request("MESSAGE")), "3 MESSAGE");
        expect_messages(&bench, 0);
    }
    assert!(proxy.try_rpc("cpm.retry nothing").is_err());
    proxy.stop();
}

#[test]
fn who_never_comes_back_has_failed_and_the_sender_is_told() {
    let bench = Bench::new("who_never_comes_back");
    let (anne, bill) = (bench.agent(), bench.agent());
    bill.answers(Answer::code(480));
    let script = format!(
        "{HANDLE}
        event_route[cpm:recipient-failed] {{ xlog(\"L_NOTICE\", \"gone $cpm(recipient) $cpm(code)\\n\"); }}"
    );
    let config = deferring(keeping_with(&bench, &script), NEVER_S);
    let proxy = bench.proxy(&config.set("cpm", "failure_imdn", "yes"));
    let message = || {
        let message = cpm_message(&anne.uri("anne"), EXPLODER);
        let request = message.recipients([to(&bill.uri("bill"))]).request();
        let content_type = request.header("Content-Type").unwrap_or_default();
        let content_type = content_type.to_owned();
        let body = String::from_utf8_lossy(request.body());
        let body = body.replace("positive-delivery", "negative-delivery");
        request.with_body(&content_type, body)
    };
    let expect_end = |request: &Request, count: u64| {
        expect_failure_told(&anne, request);
        expect_messages(&bench, 0);
        expect_counter(&proxy, "expired", count);
        expect_counter(&proxy, "failed", count);
        expect_waiting(&proxy, 0);
        expect_log_lines(
            &proxy,
            &format!("gone {} 408", bill.uri("bill")),
            count as usize,
        );
    };
    let request = message().with("Expires", "2");
    exchange(&anne, &request, &proxy, 202);
    bill.expect_request("MESSAGE");
    expect_end(&request, 1);
    // `cpm.expire` ends the wait too.
    let request = message();
    exchange(&anne, &request, &proxy, 202);
    bill.expect_request("MESSAGE");
    expect_waiting(&proxy, 1);
    let id = request.header("Contribution-ID").unwrap_or_default();
    proxy.rpc(&format!("cpm.expire {id}"));
    expect_end(&request, 2);
    bill.expect_nothing_until(|| proxy.ping());
    proxy.stop();
}

#[test]
fn who_waits_is_tried_by_the_next_proxy_too() {
    let bench = Bench::new("who_waits_is_tried_by_the_next");
    let (anne, bill) = (bench.agent(), bench.agent());
    let config = deferring(keeping(&bench), NEVER_S);
    bill.answers(Answer::code(480));
    let mut proxy = bench.proxy(&config);
    let request = cpm_message(ANNE, EXPLODER)
        .recipients([to(&bill.uri("bill"))])
        .request();
    exchange(&anne, &request, &proxy, 202);
    let first = bill.expect_request("MESSAGE");
    for (kills, number) in [(true, 2), (false, 3), (true, 4)] {
        expect_waiting(&proxy, 1);
        expect_messages(&bench, 1);
        expect_written(&bench, number);
        match kills {
            true => proxy.kill(),
            false => proxy.stop(),
        }
        if number == 4 {
            bill.answers(Answer::code(200));
        }
        proxy = bench.proxy(&config);
        let again = bill.expect_request("MESSAGE");
        assert_eq!(cseq(&again), format!("{number} MESSAGE"));
        assert_eq!(lasting(&again), lasting(&first));
    }
    expect_messages(&bench, 0);
    expect_counter(&proxy, "delivered", 1);
    proxy.stop();
}

#[test]
fn only_so_many_messages_wait_for_one_recipient() {
    let bench = Bench::new("only_so_many_messages_wait");
    let (anne, bill) = (bench.agent(), bench.agent());
    bill.answers(Answer::code(480));
    let config = deferring(keeping(&bench), NEVER_S).set_number("cpm", "deferred_max", 2);
    let proxy = bench.proxy(&config);
    for user in ["bill", "bill", "bill", "bob"] {
        let request = cpm_message(ANNE, EXPLODER)
            .recipients([to(&bill.uri(user))])
            .request();
        exchange(&anne, &request, &proxy, 202);
        bill.expect_request("MESSAGE");
        expect_counter(&proxy, "outstanding", 0);
    }
    expect_waiting(&proxy, 3);
    expect_counter(&proxy, "failed", 1);
    expect_messages(&bench, 3);
    assert_eq!(counter(&proxy, "expired"), 0);
    expect_log_lines(&proxy, "failed with 480: enough messages wait for them", 1);
    proxy.stop();
}

#[test]
fn what_is_not_to_be_deferred_fails_as_ever() {
    let bench = Bench::new("what_is_not_to_be_deferred");
    let (anne, bill) = (bench.agent(), bench.agent());
    let proxy = bench.proxy(&deferring(keeping(&bench), NEVER_S));
    bill.answers(Answer::code(603));
    let request = cpm_message(ANNE, EXPLODER)
        .recipients([to(&bill.uri("bill"))])
        .request();
    exchange(&anne, &request, &proxy, 202);
    expect_messages(&bench, 0);
    expect_counter(&proxy, "failed", 1);
    assert_eq!(counter(&proxy, "deferred"), 0);
    proxy.stop();
    let without = keeping(&bench)
        .set("cpm", "store", "none")
        .set("cpm", "deferred_codes", "480");
    let failure = bench.try_proxy(&without).expect_err("there is no store");
    let line = "deferred_codes is set, but not store";
    assert!(failure.log.contains(line), "{}", failure.log);
}
