//! A process that has no descriptors left.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{PATIENCE, Plan};

use crate::common::{EXPLODER, expect_counter};
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
    });
    call.ack();
    upload.session.connect_and_bind();
    assert!(begun.elapsed() >= SCARCE, "there were descriptors");
    relief.join().expect("the limit can be raised");
    upload.session.deliver(&upload.content, CHUNK);
    call.bye(200);
    let (bill, _) = scene.gets("bill", &upload);
    scene.hangs_up(&bill, 200);
    expect_counter(&scene.proxy, "delivered", 2);
    scene.finish();
}
