//! What an operator asks of the store: it has the messages that wait, long after the table of the
//! last messages has forgotten them.

use cpm_testbed::{Answer, Bench, Proxy, Received, Reply, Request, cpm_message, to, values};

use super::{ANNE, expect_messages, keeping};
use crate::common::{EXPLODER, counter, exchange, expect_counter};
use crate::storing::deferring;

const RECORDS: usize = 16;
const NEVER_S: &str = "86400";

fn cseqs(copies: &[Received]) -> Vec<&str> {
    copies
        .iter()
        .filter_map(|copy| copy.header("CSeq"))
        .collect()
}

fn count(answer: &str, name: &str, value: &str) -> usize {
    values(answer, name).filter(|found| *found == value).count()
}

#[test]
fn what_waits_is_found_when_its_record_is_gone() {
    let bench = Bench::new("what_waits_is_found");
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
    bill.answers(Answer::code(480));
    let config =
        deferring(keeping(&bench), NEVER_S).set_number("cpm", "message_records", RECORDS as i64);
    let proxy = bench.proxy(&config);
    let send = |uris: &[String]| {
        let recipients = uris.iter().map(|uri| to(uri));
        let request = cpm_message(ANNE, EXPLODER).recipients(recipients).request();
        exchange(&anne, &request, &proxy, 202);
        request
    };
    let uri = bill.uri("bill");
    let waiting: Vec<Request> = (0..3)
        .map(|_| send(&[uri.clone(), carol.uri("carol")]))
        .collect();
    bill.expect_requests("MESSAGE", 3);
    expect_counter(&proxy, "waiting", 3);
    // The newest records take the place of theirs.
    (0..RECORDS).for_each(|_| drop(send(&[carol.uri("carol")])));
    expect_messages(&bench, 3);
    let id = |request: &Request, name| request.header(name).unwrap_or_default().to_owned();
    let told = proxy.rpc("cpm.messages most=1000");
    assert_eq!(count(&told, "state", "delivered"), RECORDS, "{told}");
    assert_eq!(count(&told, "state", "waiting"), 3, "{told}");
    // The list goes on where the last one has ended.
    let rest = proxy.rpc(&format!("cpm.messages most=2 skip={}", RECORDS + 2));
    let oldest = id(&waiting[0], "Contribution-ID");
    let ids: Vec<&str> = values(&rest, "contribution_id").collect();
    assert_eq!(ids, [oldest.as_str()], "{rest}");
    for words in [
        "state=waiting".to_owned(),
        format!("recipient={uri}"),
        format!("originator={ANNE} state=waiting"),
    ] {
        let told = proxy.rpc(&format!("cpm.messages {words}"));
        assert_eq!(count(&told, "state", "waiting"), 3, "{words}: {told}");
        assert_eq!(count(&told, "state", "delivered"), 0, "{words}: {told}");
    }
    let nothing = format!("cpm.messages recipient={}", carol.uri("carol"));
    assert_eq!(count(&proxy.rpc(&nothing), "state", "waiting"), 0);
    let told = proxy.rpc(&format!("cpm.message {oldest}"));
    let states: Vec<&str> = values(&told, "state").collect();
    assert_eq!(states, ["waiting", "waiting", "delivered"], "{told}");
    assert_eq!(count(&told, "uri", &uri), 1, "{told}");
    assert_eq!(count(&told, "delivered", "1"), 1, "{told}");
    // One message, by its Call-ID, then all that waits for one recipient.
    let recipients = |command: String| proxy.rpc_number(&command, "recipients");
    assert_eq!(
        recipients(format!("cpm.retry {}", id(&waiting[0], "Call-ID"))),
        1
    );
    let again = bill.expect_requests("MESSAGE", 1);
    assert_eq!(cseqs(&again), ["2 MESSAGE"]);
    expect_counter(&proxy, "waiting", 3);
    assert_eq!(recipients(format!("cpm.retry {uri}")), 3);
    let mut again = bill.expect_requests("MESSAGE", 3);
    again.sort_by_key(|copy| copy.cseq().map(|(number, _)| number));
    assert_eq!(cseqs(&again), ["2 MESSAGE", "2 MESSAGE", "3 MESSAGE"]);
    expect_counter(&proxy, "waiting", 3);
    assert_eq!(recipients(format!("cpm.expire {oldest}")), 1);
    expect_messages(&bench, 2);
    assert_eq!(recipients(format!("cpm.expire {uri}")), 2);
    expect_messages(&bench, 0);
    expect_counter(&proxy, "expired", 3);
    assert_eq!(counter(&proxy, "failed"), 3);
    for command in ["cpm.expire", "cpm.retry"] {
        // Its last attempt has been recorded again, and it waits for nobody.
        assert_eq!(recipients(format!("{command} {oldest}")), 0, "{command}");
        let refused = proxy.try_rpc(&format!("{command} {uri}"));
        refused.expect_err("nothing waits for this recipient");
    }
    bill.expect_nothing_until(|| proxy.ping());
    proxy.stop();
}

/// A recipient that was too slow, in either way out: its 200 comes when its copy waits already.
#[test]
fn a_late_2xx_ends_the_wait() {
    let bench = Bench::new("a_late_2xx_ends_the_wait");
    for express in ["no", "auto"] {
        let (anne, bill) = (bench.agent(), bench.agent());
        bill.answers(Answer::code(480));
        let config = deferring(keeping(&bench), NEVER_S);
        let proxy = bench.proxy(&config.set("cpm", "express", express));
        let request = cpm_message(ANNE, EXPLODER)
            .recipients([to(&bill.uri("bill"))])
            .request();
        exchange(&anne, &request, &proxy, 202);
        let copy = bill.expect_request("MESSAGE");
        expect_counter(&proxy, "waiting", 1);
        bill.reply(&copy, &Reply::new(200));
        expect_delivered(&proxy, &request);
        expect_messages(&bench, 0);
        proxy.stop();
    }
}

#[track_caller]
fn expect_delivered(proxy: &Proxy, request: &Request) {
    expect_counter(proxy, "delivered", 1);
    expect_counter(proxy, "waiting", 0);
    let id = request.header("Call-ID").unwrap_or_default();
    let told = proxy.rpc(&format!("cpm.message {id}"));
    let states: Vec<&str> = values(&told, "state").collect();
    assert_eq!(states, ["delivered", "delivered"], "{told}");
}

/// While a message waits for another recipient.
#[test]
fn who_was_reached_by_the_isf_gets_no_other_copy() {
    let bench = Bench::new("who_was_reached_by_the_isf");
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
    let isf = bench.agent();
    let config = deferring(keeping(&bench), "1").set("cpm", "isf_uri", &isf.uri("isf"));
    let proxy = bench.proxy(&config);
    bill.answers(Answer::code(415));
    carol.answers(Answer::sequence([480, 480, 200].map(Answer::code)));
    let request = cpm_message(ANNE, EXPLODER)
        .recipients([to(&bill.uri("bill")), to(&carol.uri("carol"))])
        .request();
    exchange(&anne, &request, &proxy, 202);
    bill.expect_request("MESSAGE");
    isf.expect_request("MESSAGE");
    let copies = bill.expect_nothing_until(|| carol.expect_requests("MESSAGE", 3));
    assert_eq!(cseqs(&copies), ["1 MESSAGE", "2 MESSAGE", "3 MESSAGE"]);
    expect_messages(&bench, 0);
    expect_counter(&proxy, "delivered", 2);
    proxy.stop();
}
