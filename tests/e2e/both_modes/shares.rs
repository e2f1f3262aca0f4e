//! The shares that one sender and one destination may use, so that others have room
//! (`max_outstanding_per_*`).

use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Answer, Bench, cpm_message, to};

use crate::common::{
    EXPLODER, HANDLE, counter, cpm_proxy, exchange, expect_counter, expect_log_lines,
};
use crate::groups::answer_to;
use crate::large::LONG;

const RECIPIENTS: usize = 20;

#[test]
fn a_sender_whose_recipients_never_answer_takes_no_room_of_others() {
    const MESSAGES: usize = 300;
    let bench = Bench::new("a_sender_whose_recipients_never_answer");
    let config = cpm_proxy(HANDLE).argument("-m").argument("64");
    let proxy = bench.proxy(&config);
    let (anne, mary, bill, silent) = (bench.agent(), bench.agent(), bench.agent(), bench.agent());
    silent.answers(Answer::Silent);
    let crowd = (0..RECIPIENTS).map(|user| to(&silent.uri(&format!("user{user}"))));
    let flood = cpm_message("sip:anne@example.com", EXPLODER)
        .recipients(crowd)
        .request();
    let other = cpm_message("sip:mary@example.com", EXPLODER).recipients([to(&bill.uri("bill"))]);
    let mut accepted = 0;
    for message in 0..MESSAGES {
        let request = flood.again();
        anne.send(&request, proxy.udp());
        let answer = answer_to(&anne, &request);
        match answer.status() {
            Some(202) => accepted += 1,
            Some(503) => assert_eq!(answer.header("Retry-After"), Some("5")),
            _ => panic!("{answer:?}"),
        }
        if message % 20 == 0 {
            exchange(&mary, &other.request(), &proxy, 202);
            bill.expect_request("MESSAGE");
        }
    }
    assert_eq!(accepted * RECIPIENTS, 2_000, "the share");
    assert_eq!(counter(&proxy, "shares"), (MESSAGES - accepted) as u64);
    expect_log_lines(
        &proxy,
        "max_outstanding_per_sender recipients are outstanding already",
        1,
    );
    proxy.stop();
}

#[test]
fn who_has_answered_is_no_longer_awaited() {
    let bench = Bench::new("who_has_answered_is_no_longer_awaited");
    let config = cpm_proxy(HANDLE).set("cpm", "max_outstanding_per_sender", "2");
    let proxy = bench.proxy(&config);
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
    carol.answers(Answer::code(486));
    let capture = bench.capture();
    let names = [
        to(&bill.uri("bill")),
        to(&carol.uri("carol")),
        to(&bill.uri("ben")),
    ];
    let message = cpm_message("sip:anne@example.com", EXPLODER).recipients(names);
    for sent in 1..=10 {
        exchange(&anne, &message.request(), &proxy, 202);
        bill.expect_requests("MESSAGE", 2);
        carol.expect_request("MESSAGE");
        expect_counter(&proxy, "delivered", 2 * sent);
        expect_counter(&proxy, "failed", sent);
    }
    assert_eq!(counter(&proxy, "shares"), 0);
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn a_destination_that_never_answers_keeps_nobody_else_waiting() {
    let bench = Bench::new("a_destination_that_never_answers");
    let config = cpm_proxy(HANDLE).set("cpm", "max_outstanding_per_destination", "15");
    let proxy = bench.proxy(&config);
    let (anne, bill, silent) = (bench.agent(), bench.agent(), bench.agent());
    silent.answers(Answer::Silent);
    let crowd = (0..RECIPIENTS).map(|user| to(&silent.uri(&format!("user{user}"))));
    let message = cpm_message("sip:anne@example.com", EXPLODER);
    let request = message
        .recipients(crowd.chain([to(&bill.uri("bill"))]))
        .request();
    anne.send(&request, proxy.udp());
    bill.expect_request("MESSAGE");
    let mary = bench.agent();
    let other = cpm_message("sip:mary@example.com", EXPLODER).recipients([to(&bill.uri("ben"))]);
    exchange(&mary, &other.request(), &proxy, 202);
    bill.expect_request("MESSAGE");
    // Each recipient has been tried once. The others wait for their turn, for a limited time.
    anne.expect_response(&request, 202);
    assert_eq!(counter(&proxy, "recipients"), 15 + 2);
    let until = Instant::now() + LONG;
    while counter(&proxy, "failed") < 5 {
        assert!(Instant::now() < until, "their time is 25 s");
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(counter(&proxy, "failed"), 5);
    proxy.stop();
}
