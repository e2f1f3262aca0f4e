//! What one node knows, all know: senders, for disposition notifications, and who is available.

use cpm_testbed::{Answer, Bench, cpm_message, to};

use super::{ANNE, expect, expect_messages, node, node_of, node_with};
use crate::both_modes::imdn::receipt;
use crate::common::{EXPLODER, counter, exchange, expect_counter};
use crate::groups::{GroupFolder, address, group_proxy, open_group, to_group};
use crate::storing::{REGISTERS, deferring};

#[test]
fn a_notification_reaches_the_sender_through_any_node_and_after_a_restart() {
    let bench = Bench::new("a_notification_reaches_the_sender");
    let redis = bench.redis();
    let [first, second] = ["one", "two"].map(|name| bench.proxy(&node(&bench, name, &redis.url())));
    let (anne, bill) = (bench.agent(), bench.agent());
    let message = cpm_message(&anne.uri("anne"), EXPLODER)
        .recipients([to(&bill.uri("bill"))])
        .request();
    exchange(&anne, &message, &first, 202);
    bill.expect_request("MESSAGE");
    let told = || receipt(&bill.uri("bill"), EXPLODER, &message).request();
    for node in [&first, &second] {
        let told = told();
        bill.send(&told, node.udp());
        let passed_on = anne.expect_request("MESSAGE");
        assert_eq!(passed_on.uri(), Some(&*anne.uri("anne")));
        assert_eq!(passed_on.body(), told.body());
        bill.expect_response(&told, 200);
        assert_eq!(counter(node, "imdn_forwarded"), 1);
    }
    // Nobody has sent this one.
    let other = cpm_message(&anne.uri("anne"), EXPLODER).request();
    let unknown = receipt(&bill.uri("bill"), EXPLODER, &other).request();
    anne.expect_nothing_until(|| exchange(&bill, &unknown, &second, 404));
    assert_eq!(counter(&second, "imdn_unknown"), 1);
    let port = first.port();
    first.kill();
    let first = bench.proxy_again(&node(&bench, "one", &redis.url()), port);
    let told = told();
    bill.send(&told, first.udp());
    anne.expect_request("MESSAGE");
    bill.expect_response(&told, 200);
    first.stop();
    second.stop();
}

/// A member of a group stays nameless, whichever node its receipt meets.
#[test]
fn a_group_sends_its_own_notification_from_any_node() {
    let bench = Bench::new("a_group_sends_its_own_notification");
    let redis = bench.redis();
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, bill) = (bench.agent(), bench.agent());
    folder.put("lunch", &open_group("lunch").members([bill.uri("bill")]));
    let [first, second] = ["one", "two"].map(|name| {
        let config = group_proxy(&folder.source());
        bench.proxy(&node_of(config, &bench, name, &redis.url()))
    });
    let message = to_group(&anne.uri("anne"), "lunch").request();
    exchange(&anne, &message, &first, 202);
    bill.expect_request("MESSAGE");
    let told = receipt(&bill.uri("bill"), &address("lunch"), &message).request();
    exchange(&bill, &told, &second, 202);
    let passed_on = anne.expect_request("MESSAGE");
    assert_eq!(passed_on.uri(), Some(&*anne.uri("anne")));
    let from = passed_on.header("From").unwrap_or_default();
    assert!(
        from.starts_with(&format!("<{}>", address("lunch"))),
        "{from}"
    );
    let other = to_group(&anne.uri("anne"), "lunch").request();
    let unknown = receipt(&bill.uri("bill"), &address("lunch"), &other).request();
    exchange(&bill, &unknown, &second, 404);
    first.stop();
    second.stop();
}

/// Recipients register with whatever node their request meets.
#[test]
fn a_message_waits_at_one_node_for_who_arrives_at_another() {
    let bench = Bench::new("a_message_waits_at_one_node");
    let redis = bench.redis();
    let [first, second] = ["one", "two"].map(|name| {
        let config = node_with(&bench, name, &redis.url(), REGISTERS);
        bench.proxy(&deferring(config, "86400"))
    });
    let (anne, bill) = (bench.agent(), bench.agent());
    bill.answers(Answer::code(480));
    let request = cpm_message(ANNE, EXPLODER)
        .recipients([to(&bill.uri("bill"))])
        .request();
    exchange(&anne, &request, &first, 202);
    bill.expect_request("MESSAGE");
    expect_counter(&first, "waiting", 1);
    bill.answers(Answer::code(200));
    second.rpc(&format!("cpm.available {}", bill.uri("bill")));
    let copy = bill.expect_request("MESSAGE");
    assert_eq!(copy.header("CSeq"), Some("2 MESSAGE"));
    expect_counter(&first, "delivered", 1);
    expect_messages(&redis, 0);
    // What waits outlives its node, and is tried at once by the other one.
    bill.answers(Answer::code(480));
    exchange(
        &anne,
        &cpm_message(ANNE, EXPLODER)
            .recipients([to(&bill.uri("bill"))])
            .request(),
        &first,
        202,
    );
    bill.expect_request("MESSAGE");
    expect_counter(&first, "waiting", 1);
    let attempt = || {
        redis
            .ask(&["KEYS", "{cpm}:msg:*"])
            .first()
            .map(|key| redis.ask(&["HSTRLEN", key, "ended"]))
    };
    expect(
        || attempt() == Some(vec!["10".to_owned()]),
        "the attempt is written",
    );
    bill.answers(Answer::code(200));
    first.kill();
    let copy = bill.expect_request("MESSAGE");
    assert_eq!(copy.header("CSeq"), Some("2 MESSAGE"));
    expect_counter(&second, "delivered", 1);
    expect_messages(&redis, 0);
    second.stop();
}
