//! A process that has no descriptors left, or little private memory.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Bench, PATIENCE, Plan, cpm_message, to};

use crate::common::{EXPLODER, cpm_proxy, exchange, expect_counter, well_again};
use crate::large::{CHUNK, Scene, expect_nothing_left, sessions_process};

/// How long there are none.
const SCARCE: Duration = Duration::from_millis(1_200);

/// More than a test needs.
const ENOUGH: u64 = 1024;

/// From now on the process opens nothing whose number would be this or more.
#[track_caller]
fn limit_descriptors(process: u32, limit: u64) {
    let status = Command::new("prlimit")
        .args(["--pid", &process.to_string(), &format!("--nofile={limit}:")])
        .status()
        .expect("it belongs to every Debian system");
    assert!(status.success());
}

/// The number of the next descriptor that the process opens.
fn next_descriptor(process: u32) -> u64 {
    let is_free = |number: &u64| {
        let descriptor = format!("/proc/{process}/fd/{number}");
        fs::symlink_metadata(descriptor).is_err()
    };
    (0..).find(is_free).expect("not all are open")
}

/// The sender and the recipient connect to the relay, which cannot accept: both wait in the
/// listener's queue until it can.
#[test]
fn without_descriptors_a_message_waits_and_loses_nothing() {
    let scene = Scene::unseen("without_descriptors", |_, config| config);
    scene.callees.plan("bill", Plan::accept().active());
    scene.sends(&scene.upload(EXPLODER, &["warm"]));
    expect_nothing_left(&scene.proxy, PATIENCE);
    let process = sessions_process(&scene.proxy).pid;
    limit_descriptors(process, next_descriptor(process));
    let upload = scene.upload(EXPLODER, &["bill"]);
    let mut call = scene.is_answered(&upload);
    let begun = Instant::now();
    let relief = thread::spawn(move || {
        thread::sleep(SCARCE);
        limit_descriptors(process, ENOUGH);
        Instant::now()
    });
    call.ack();
    upload.session.connect_and_bind();
    assert!(begun.elapsed() >= SCARCE, "there were descriptors");
    let relieved = relief.join().expect("the limit can be raised");
    upload.session.deliver(&upload.content, CHUNK);
    call.bye(200);
    let (bill, _) = scene.gets("bill", &upload);
    well_again("no descriptors in the sessions process", relieved);
    scene.hangs_up(&bill, 200);
    expect_counter(&scene.proxy, "delivered", 2);
    scene.finish();
}

/// Private memory of each process in MiB. Kamailio starts with the first of these, 6.0 only with
/// the second, and about 300 KiB are left.
const LITTLE_MIB: [&str; 2] = ["1", "2"];

/// The header fields of one request: parsed, they do not fit into what is left.
const FIELDS: usize = 6_000;

/// A script that looks for a header field, which parses all of them.
const LOOKS: &str = "request_route {
    if (is_present_hf(\"X-Nobody\")) exit;
    if (cpm_handle()) exit;
    sl_send_reply(\"404\", \"Not Ours\");
}";

/// A request that takes all private memory of its worker fails alone, and leaves nothing behind:
/// the next one finds as much.
#[test]
fn with_little_private_memory_others_are_served() {
    let bench = Bench::new("with_little_private_memory");
    let with_little = |mib| {
        let config = cpm_proxy(LOOKS).set("cpm", "express", "no");
        bench.try_proxy(&config.argument("-M").argument(mib))
    };
    let proxy = LITTLE_MIB.into_iter().find_map(|mib| with_little(mib).ok());
    let proxy = proxy.expect("it starts with one of these");
    let (anne, bill, mallory) = (bench.agent(), bench.agent(), bench.agent());
    let message = |user: &str| {
        let message = cpm_message("sip:anne@example.com", EXPLODER);
        message.recipients([to(&bill.uri(user))]).request()
    };
    for _ in 0..4 {
        exchange(&anne, &message("before"), &proxy, 202);
        bill.expect_request("MESSAGE");
    }
    for _ in 0..10 {
        let hostile = (0..FIELDS).fold(message("hostile"), |request, _| request.and("X", "y"));
        mallory.send(&hostile, proxy.udp());
        let sent = Instant::now();
        exchange(&anne, &message("bill"), &proxy, 202);
        let copy = bill.recv_where(PATIENCE, |copy| copy.start_line().contains(":bill@"));
        assert!(copy.is_some(), "another message was not delivered");
        well_again("no private memory in a worker", sent);
    }
    proxy.expect_log("could not allocate private memory");
    proxy.stop();
}
