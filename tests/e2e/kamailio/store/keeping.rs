//! Nothing is sent, and no 202, before a message is on disk, and it leaves with its last recipient.

use cpm_testbed::{Answer, Bench, Reply, cpm_message, to};

use super::{ANNE, expect_messages, keeping, keeping_with, messages};
use crate::common::{
    CONTROLLING, EXPLODER, HANDLE, counter, exchange, expect_counter, scheduling_policy,
};

#[test]
fn a_message_is_on_disk_from_its_202_to_its_last_recipient() {
    let bench = Bench::new("a_message_is_on_disk");
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
    let proxy = bench.proxy(&keeping(&bench));
    bill.answers(Answer::Silent);
    for service in [EXPLODER, CONTROLLING] {
        let request = cpm_message(ANNE, service)
            .recipients([to(&bill.uri("bill")), to(&carol.tcp_uri("carol"))])
            .request();
        exchange(&anne, &request, &proxy, 202);
        assert_eq!(messages(&bench), 1);
        let copy = bill.expect_request("MESSAGE");
        carol.expect_request("MESSAGE");
        expect_counter(&proxy, "outstanding", 1);
        assert_eq!(messages(&bench), 1);
        bill.reply(&copy, &Reply::new(200));
        expect_messages(&bench, 0);
        expect_counter(&proxy, "outstanding", 0);
    }
    for (name, value) in [("stored", 2), ("accepted", 2), ("delivered", 4)] {
        assert_eq!(counter(&proxy, name), value, "{name}");
    }
    assert_eq!(counter(&proxy, "resent"), 0);
    proxy.stop();
}

/// A message that expires while its copies are being sent: each recipient ends once.
/// Each sender waits for CPM fan-out.
#[test]
fn the_process_that_keeps_messages_is_scheduled_as_the_workers_are() {
    let bench = Bench::new("the_process_that_keeps_messages");
    let (anne, bill) = (bench.agent(), bench.agent());
    let proxy = bench.proxy(&keeping(&bench));
    // It is at work when its first sender has got the 202.
    let request = cpm_message(ANNE, EXPLODER).recipients([to(&bill.uri("bill"))]);
    exchange(&anne, &request.request(), &proxy, 202);
    for (pid, name) in proxy.process_table() {
        let policy = scheduling_policy(&pid.to_string());
        assert_eq!(policy, scheduling_policy("self"), "{name}");
    }
}

#[test]
fn who_expires_while_others_are_sent_to_ends_once() {
    // In a request of less than 64 KiB, the most that Kamailio 6 takes.
    const RECIPIENTS: usize = 900;
    let bench = Bench::new("who_expires_while_others_are_sent_to");
    let (anne, bill) = (bench.agent(), bench.agent());
    let script = format!("tcp_rd_buf_size=131072\n{HANDLE}");
    let config = keeping_with(&bench, &script)
        .set_number("cpm", "max_recipients", RECIPIENTS as i64)
        .set("cpm", "max_outstanding_per_sender", "0")
        .set("cpm", "max_outstanding_per_destination", "0");
    let proxy = bench.proxy(&config);
    let users = (0..RECIPIENTS).map(|n| to(&bill.uri(&format!("b{n}"))));
    let request = cpm_message(ANNE, EXPLODER)
        .recipients(users)
        .request()
        .with("Expires", "0");
    anne.send(&request, proxy.tcp());
    anne.expect_response(&request, 202);
    expect_messages(&bench, 0);
    expect_counter(&proxy, "outstanding", 0);
    let ended = counter(&proxy, "delivered") + counter(&proxy, "failed");
    assert_eq!(ended, RECIPIENTS as u64);
    proxy.stop();
}

/// However a recipient ends: refused, sent to the ISF, or never sent to.
#[test]
fn every_end_is_an_end() {
    let bench = Bench::new("every_end_is_an_end");
    let (anne, bill, isf) = (bench.agent(), bench.agent(), bench.agent());
    let config = keeping(&bench).set("cpm", "isf_uri", &isf.uri("isf"));
    let proxy = bench.proxy(&config);
    for code in [415, 603] {
        bill.answers(Answer::code(code));
        let request = cpm_message(ANNE, EXPLODER)
            .recipients([to(&bill.uri("bill")), to("sip:nobody@nowhere.invalid")])
            .request();
        exchange(&anne, &request, &proxy, 202);
        bill.expect_request("MESSAGE");
        if code == 415 {
            isf.expect_request("MESSAGE");
        }
        expect_messages(&bench, 0);
    }
    expect_counter(&proxy, "outstanding", 0);
    assert_eq!(counter(&proxy, "interworked"), 1);
    proxy.stop();
}
