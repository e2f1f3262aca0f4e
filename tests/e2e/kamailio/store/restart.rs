//! What one proxy has accepted, the next one finishes.

use cpm_testbed::{Answer, Bench, Received, Reply, cpm_message, to};

use super::{ANNE, expect_messages, keeping, messages};
use crate::common::{EXPLODER, counter, exchange, expect_counter};

/// What makes a MESSAGE the same for its recipient.
pub(super) fn identity(message: &Received) -> [String; 5] {
    let body = String::from_utf8_lossy(message.body());
    let line = |name: &str| body.lines().find(|line| line.starts_with(name));
    [
        message.uri().unwrap_or_default(),
        message.call_id(),
        message.header("CSeq").unwrap_or_default(),
        message.parameter("From", "tag").unwrap_or_default(),
        line("imdn.Message-ID").expect("the message has one"),
    ]
    .map(str::to_owned)
}

#[test]
fn the_next_proxy_sends_to_those_who_have_not_answered_and_to_no_others() {
    let bench = Bench::new("the_next_proxy_sends_to_those");
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
    bill.answers(Answer::Silent);
    let proxy = bench.proxy(&keeping(&bench));
    let request = cpm_message(ANNE, EXPLODER)
        .recipients([
            to(&bill.uri("b1")),
            to(&bill.uri("b2")),
            to(&carol.uri("carol")),
        ])
        .request();
    let answer = exchange(&anne, &request, &proxy, 202);
    let mut first: Vec<_> = bill
        .expect_requests("MESSAGE", 2)
        .iter()
        .map(identity)
        .collect();
    carol.expect_request("MESSAGE");
    expect_counter(&proxy, "outstanding", 2);
    // Known outcomes are written within a moment, at the latest when the proxy stops.
    proxy.stop();
    assert_eq!(messages(&bench), 1);
    // One recipient has it already and answers 482 (RFC 3261 8.2.2.2).
    bill.answers(Answer::with(|copy| {
        let is_first = copy.uri().is_some_and(|uri| uri.contains("b1@"));
        vec![Reply::new(if is_first { 482 } else { 200 })]
    }));
    carol.expect_nothing_until(|| {
        let proxy = bench.proxy(&keeping(&bench));
        let mut again: Vec<_> = bill
            .expect_requests("MESSAGE", 2)
            .iter()
            .map(identity)
            .collect();
        first.sort();
        again.sort();
        assert_eq!(again, first);
        expect_messages(&bench, 0);
        expect_counter(&proxy, "delivered", 2);
        assert_eq!(
            (counter(&proxy, "failed"), counter(&proxy, "resent")),
            (0, 2)
        );
        // As if the 202 had been lost, the sender repeats its request. The agent counts only an
        // identical answer, To tag included, as a repetition.
        bill.expect_nothing_until(|| {
            anne.send(&request, proxy.udp());
            anne.expect_retransmissions(&answer, 1);
        });
        assert_eq!(counter(&proxy, "repeated"), 1);
        proxy.stop();
    });
}

/// The next proxy is slow to send; meanwhile the first one's recipient answers.
#[test]
fn a_late_answer_to_the_proxy_before_counts() {
    let bench = Bench::new("a_late_answer_to_the_proxy_before");
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
    for agent in [&bill, &carol] {
        agent.answers(Answer::Silent);
    }
    let config = keeping(&bench).set_number("cpm", "resume_rate", 1);
    // tm would not show the next proxy a response to a copy of the first one; the lane does.
    let proxy = bench.proxy(&config.clone().set("cpm", "express", "auto"));
    let many = (0..90).map(|n| to(&carol.uri(&format!("c{n}"))));
    let first = cpm_message(ANNE, EXPLODER).recipients(many).request();
    exchange(&anne, &first, &proxy, 202);
    let second = cpm_message(ANNE, EXPLODER)
        .recipients([to(&bill.uri("bill"))])
        .request();
    exchange(&anne, &second, &proxy, 202);
    let copy = bill.expect_request("MESSAGE");
    let port = proxy.port();
    proxy.kill();
    assert_eq!(messages(&bench), 2);
    let proxy = bench.proxy_again(&config.set("cpm", "express", "auto"), port);
    expect_counter(&proxy, "outstanding", 91);
    // The 90 copies of the first message use up what may be sent in 90 s. The agent answers
    // repetitions of the first copy too.
    bill.reply(&copy, &Reply::new(200));
    expect_counter(&proxy, "delivered", 1);
    expect_messages(&bench, 1);
    let all = bill.received();
    let copies = all.iter().filter(|m| m.method() == Some("MESSAGE"));
    assert_eq!(copies.count(), 1);
    proxy.stop();
}

#[test]
fn a_proxy_that_drains_takes_nothing_new_and_finishes_what_it_has() {
    let bench = Bench::new("a_proxy_that_drains");
    let (anne, bill) = (bench.agent(), bench.agent());
    bill.answers(Answer::Silent);
    let proxy = bench.proxy(&keeping(&bench));
    let message = || cpm_message(ANNE, EXPLODER).recipients([to(&bill.uri("bill"))]);
    let request = message().request();
    exchange(&anne, &request, &proxy, 202);
    let copy = bill.expect_request("MESSAGE");
    expect_counter(&proxy, "outstanding", 1);
    assert_eq!(proxy.rpc_number("cpm.drain", "under_way"), 1);
    let refusal = exchange(&anne, &message().request(), &proxy, 503);
    assert!(refusal.header("Retry-After").is_some());
    bill.reply(&copy, &Reply::new(200));
    expect_counter(&proxy, "outstanding", 0);
    assert_eq!(proxy.rpc_number("cpm.drain on", "under_way"), 0);
    assert!(proxy.try_rpc("cpm.drain maybe").is_err());
    proxy.rpc("cpm.drain off");
    exchange(&anne, &message().request(), &proxy, 202);
    let copy = bill.expect_request("MESSAGE");
    bill.reply(&copy, &Reply::new(200));
    expect_messages(&bench, 0);
    proxy.stop();
}
