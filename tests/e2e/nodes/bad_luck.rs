//! The server of the store is gone, or slow.

use std::time::{Duration, Instant};

use cpm_testbed::{Answer, Bench, Reply, cpm_message, to};

use super::{ANNE, expect_acceptance, expect_messages, messages, node};
use crate::common::{EXPLODER, counter, exchange, expect_counter};

#[test]
fn nothing_is_lost_when_the_server_is_killed_and_started_again() {
    let bench = Bench::new("nothing_is_lost_when_the_server");
    let redis = bench.redis();
    let config = node(&bench, "one", &redis.url());
    let proxy = bench.proxy(&config);
    let (anne, bill) = (bench.agent(), bench.agent());
    bill.answers(Answer::Silent);
    let message =
        || cpm_message(ANNE, EXPLODER).recipients([to(&bill.uri("b1")), to(&bill.uri("b2"))]);
    exchange(&anne, &message().request(), &proxy, 202);
    let copies = bill.expect_requests("MESSAGE", 2);
    let redis = redis.kill_and_start(|| {
        let refusal = exchange(&anne, &message().request(), &proxy, 503);
        assert!(refusal.header("Retry-After").is_some());
        // It goes on with what it has.
        bill.reply(&copies[0], &Reply::new(200));
        expect_counter(&proxy, "delivered", 1);
    });
    expect_acceptance(&anne, || message().request(), &proxy);
    bill.expect_requests("MESSAGE", 2);
    assert_eq!(messages(&redis).len(), 2);
    // The outcome was written once the server was there, and nobody gets anything twice.
    let port = proxy.port();
    proxy.kill();
    bill.answers(Answer::code(200));
    let next = bench.proxy_again(&config, port);
    let again = bill.expect_requests("MESSAGE", 3);
    assert!(
        again
            .iter()
            .all(|copy| copy.call_id() != copies[0].call_id())
    );
    assert!(
        again
            .iter()
            .any(|copy| copy.call_id() == copies[1].call_id())
    );
    expect_messages(&redis, 0);
    expect_counter(&next, "delivered", 3);
    next.stop();
}

#[test]
fn a_slow_server_delays_the_202_and_nothing_else() {
    const DELAY: Duration = Duration::from_secs(2);
    const MESSAGES: usize = 40;
    let bench = Bench::new("a_slow_server_delays_the_202");
    let redis = bench.redis();
    let link = redis.link();
    let proxy = bench.proxy(&node(&bench, "one", &link.url()).children(2));
    let (anne, bill) = (bench.agent(), bench.agent());
    let message = || cpm_message(ANNE, EXPLODER).recipients([to(&bill.uri("bill"))]);
    exchange(&anne, &message().request(), &proxy, 202);
    bill.expect_request("MESSAGE");
    expect_messages(&redis, 0);
    link.delay(DELAY);
    let requests: Vec<_> = (0..MESSAGES).map(|_| message().request()).collect();
    let sent = Instant::now();
    for request in &requests {
        anne.send(request, proxy.udp());
    }
    // No worker waits.
    proxy.ping();
    let other = message().request().with_uri("sip:nobody@example.net");
    exchange(&anne, &other, &proxy, 404);
    assert!(sent.elapsed() < DELAY, "{:?}", sent.elapsed());
    for request in &requests {
        anne.expect_response(request, 202);
    }
    assert!(sent.elapsed() >= DELAY);
    bill.expect_requests("MESSAGE", MESSAGES);
    expect_counter(&proxy, "delivered", MESSAGES as u64 + 1);
    expect_messages(&redis, 0);
    assert_eq!(counter(&proxy, "store_refused"), 0);
    proxy.stop();
}
