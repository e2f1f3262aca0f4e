//! A disk that is full, and one that is read-only, under the store.

use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Answer, Bench, PATIENCE, Proxy, Received, Reply, SmallDisk, cpm_message, to};

use super::{ANNE, expect_messages, keeping, messages};
use crate::common::{EXPLODER, counter, expect_counter, expect_log_lines};
use crate::storing::folder;

const DISK_BYTES: u64 = 8 << 20;

/// Runs a test whose store is on a small disk, where the system lets it have one.
fn on_small_disk(name: &str, test: impl FnOnce(&Bench, SmallDisk) + Send) {
    let bench = Bench::new(name);
    if let Err(error) = SmallDisk::on(&folder(&bench), DISK_BYTES, |disk| test(&bench, disk)) {
        println!("skipped: a test may not mount a disk of its own here ({error})");
    }
}

/// Sends a message to Bill, and returns the answer.
fn send(bench: &Bench, proxy: &Proxy, to_whom: &str) -> Received {
    let anne = bench.agent();
    let request = cpm_message(ANNE, EXPLODER)
        .recipients([to(to_whom)])
        .request();
    anne.send(&request, proxy.udp());
    anne.recv_response(&request, PATIENCE)
        .expect("each is answered")
}

#[track_caller]
fn expect_refused(bench: &Bench, proxy: &Proxy, to_whom: &str) {
    let answer = send(bench, proxy, to_whom);
    assert_eq!(answer.status(), Some(503), "{}", answer.start_line());
    assert!(answer.header("Retry-After").is_some());
}

/// Waits until a message is accepted.
#[track_caller]
fn expect_accepted(bench: &Bench, proxy: &Proxy, to_whom: &str) {
    let deadline = Instant::now() + PATIENCE;
    while send(bench, proxy, to_whom).status() != Some(202) {
        assert!(Instant::now() < deadline, "it is still refused");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_full_disk_refuses_new_messages_and_forgets_nothing() {
    on_small_disk("a_full_disk_refuses", |bench, mut disk| {
        let bill = bench.agent();
        bill.answers(Answer::Silent);
        let uri = bill.uri("bill");
        let proxy = bench.proxy(&keeping(bench));
        assert_eq!(send(bench, &proxy, &uri).status(), Some(202));
        let copy = bill.expect_request("MESSAGE");
        disk.fill().expect("it has an end");
        let refused = 5;
        bill.expect_nothing_until(|| {
            (0..refused).for_each(|_| expect_refused(bench, &proxy, &uri))
        });
        assert_eq!(counter(&proxy, "store_refused"), refused);
        expect_log_lines(&proxy, "the store cannot be used: ", 1);
        // An outcome waits in memory until there is room for it.
        bill.reply(&copy, &Reply::new(200));
        expect_counter(&proxy, "outstanding", 0);
        assert_eq!(messages(bench), 1);
        disk.make_room().expect("it can be cut");
        expect_accepted(bench, &proxy, &uri);
        expect_log_lines(&proxy, "the store can be used again", 1);
        bill.reply(&bill.expect_request("MESSAGE"), &Reply::new(200));
        expect_messages(bench, 0);
        assert_eq!(counter(&proxy, "resent"), 0);
        proxy.stop();
    });
}

#[test]
fn a_read_only_disk_stops_the_start_or_refuses_new_messages() {
    on_small_disk("a_read_only_disk_stops", |bench, mut disk| {
        let bill = bench.agent();
        let uri = bill.uri("bill");
        disk.set_read_only().expect("it can be hidden");
        let failure = bench
            .try_proxy(&keeping(bench))
            .expect_err("it is read-only");
        assert!(
            failure.log.contains("Read-only file system"),
            "{}",
            failure.log
        );
        disk.set_writable().expect("it is read-only");
        // The same of one that runs: after the first fault it opens its files again.
        let proxy = bench.proxy(&keeping(bench));
        assert_eq!(send(bench, &proxy, &uri).status(), Some(202));
        bill.expect_request("MESSAGE");
        expect_messages(bench, 0);
        disk.fill().expect("it has an end");
        bill.expect_nothing_until(|| {
            expect_refused(bench, &proxy, &uri);
            disk.set_read_only().expect("it can be hidden");
            disk.make_room().expect("it can be cut");
            let until = Instant::now() + Duration::from_secs(3);
            while Instant::now() < until {
                expect_refused(bench, &proxy, &uri);
                thread::sleep(Duration::from_millis(200));
            }
        });
        disk.set_writable().expect("it is read-only");
        expect_accepted(bench, &proxy, &uri);
        bill.expect_request("MESSAGE");
        expect_messages(bench, 0);
        proxy.stop();
    });
}
