//! A store that is full, broken, newer, or somebody else's.

use cpm_testbed::{Answer, Bench, cpm_message, to};
use rusqlite::params;

use super::{ANNE, database, expect_messages, keeping, messages};
use crate::common::{EXPLODER, counter, expect_counter, expect_log_lines};

#[test]
fn a_full_store_refuses_before_anything_is_sent() {
    let bench = Bench::new("a_full_store_refuses");
    let (anne, bill) = (bench.agent(), bench.agent());
    bill.answers(Answer::Silent);
    let config = keeping(&bench)
        .set_number("cpm", "store_max_size", 16 << 20)
        .set("cpm", "max_outstanding_per_sender", "0")
        .set("cpm", "max_outstanding_per_destination", "0");
    let proxy = bench.proxy(&config);
    let text = "x".repeat(50_000);
    let mut accepted = 0;
    let refusal = loop {
        let request = cpm_message(ANNE, EXPLODER)
            .text(&text)
            .recipients([to(&bill.uri("bill"))])
            .request();
        anne.send(&request, proxy.udp());
        let answer = anne
            .recv_response(&request, cpm_testbed::PATIENCE)
            .expect("each is answered");
        if answer.status() != Some(202) {
            break answer;
        }
        accepted += 1;
        bill.expect_request("MESSAGE");
    };
    assert_eq!(refusal.status(), Some(503));
    assert!(refusal.header("Retry-After").is_some());
    // 90 % of 16 MiB, in pages.
    assert!((200..302).contains(&accepted), "{accepted}");
    assert_eq!(counter(&proxy, "store_refused"), 1);
    assert_eq!(counter(&proxy, "recipients"), u64::from(accepted));
    expect_log_lines(&proxy, "the store is full", 1);
    assert_eq!(messages(&bench), accepted);
    proxy.stop();
}

#[test]
fn a_directory_has_one_proxy() {
    let bench = Bench::new("a_directory_has_one_proxy");
    let proxy = bench.proxy(&keeping(&bench));
    let failure = bench.try_proxy(&keeping(&bench)).expect_err("one has it");
    let line = "is in use by another proxy";
    assert!(failure.log.contains(line), "{}", failure.log);
    proxy.stop();
}

#[test]
fn a_store_that_is_not_ours_to_read_stops_the_start() {
    let bench = Bench::new("a_store_that_is_not_ours");
    bench.proxy(&keeping(&bench)).stop();
    let newer = database(&bench).pragma_update(None, "user_version", 1_000);
    newer.expect("nobody else has it");
    let failure = bench.try_proxy(&keeping(&bench)).expect_err("it is newer");
    let line = "was written by a later release (version 1000)";
    assert!(failure.log.contains(line), "{}", failure.log);
    // Nowhere to write to, for anybody.
    let config = keeping(&bench).set("cpm", "store", "file:/proc/cpm");
    let failure = bench.try_proxy(&config).expect_err("it cannot be made");
    assert!(
        failure.log.contains("store /proc/cpm cannot be made"),
        "{}",
        failure.log
    );
}

/// A machine without the time accepts a message, then its clock is set, then the proxy ends.
#[test]
fn a_clock_that_was_behind_makes_no_message_expire() {
    const YEARS_S: i64 = 20 * 365 * 86_400;
    let bench = Bench::new("a_clock_that_was_behind");
    let (anne, bill) = (bench.agent(), bench.agent());
    bill.answers(Answer::Silent);
    let proxy = bench.proxy(&keeping(&bench));
    let request = cpm_message(ANNE, EXPLODER)
        .recipients([to(&bill.uri("bill"))])
        .request();
    crate::common::exchange(&anne, &request, &proxy, 202);
    bill.expect_request("MESSAGE");
    proxy.kill();
    for behind in [
        "UPDATE clock SET started = started - ?",
        "UPDATE message SET accepted = accepted - ?1, expires = expires - ?1",
    ] {
        assert_eq!(database(&bench).execute(behind, [YEARS_S]), Ok(1));
    }
    bill.answers(Answer::code(200));
    let proxy = bench.proxy(&keeping(&bench));
    bill.expect_request("MESSAGE");
    expect_counter(&proxy, "delivered", 1);
    assert_eq!(counter(&proxy, "expired"), 0);
    proxy.stop();
}

#[test]
fn a_broken_record_is_kept_and_holds_up_nobody() {
    let bench = Bench::new("a_broken_record_is_kept");
    let (anne, bill) = (bench.agent(), bench.agent());
    bill.answers(Answer::Silent);
    let proxy = bench.proxy(&keeping(&bench));
    for user in ["b1", "b2"] {
        let request = cpm_message(ANNE, EXPLODER)
            .recipients([to(&bill.uri(user))])
            .request();
        crate::common::exchange(&anne, &request, &proxy, 202);
    }
    bill.expect_requests("MESSAGE", 2);
    proxy.kill();
    let broken = database(&bench).execute(
        "UPDATE message SET record = ? WHERE id = (SELECT min(id) FROM message)",
        params![&b"torn"[..]],
    );
    assert_eq!(broken, Ok(1));
    let later = database(&bench).execute(
        "INSERT INTO message SELECT id + 100, accepted, expires, version + 1, record FROM message
         WHERE id = (SELECT max(id) FROM message)",
        [],
    );
    assert_eq!(later, Ok(1));
    bill.answers(Answer::code(200));
    let proxy = bench.proxy(&keeping(&bench));
    bill.expect_request("MESSAGE");
    expect_counter(&proxy, "delivered", 1);
    expect_messages(&bench, 2);
    expect_log_lines(&proxy, "of the store cannot be read (version", 2);
    proxy.stop();
}
