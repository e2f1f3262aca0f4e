//! Senders that are held back: no spool, or a full disk. Only recipients that are behind are lost.

use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cpm_testbed::{Conduct, MsrpRequest, Plan, sha256, values};

use crate::common::{EXPLODER, counter, expect_counter, expect_log_lines, log_lines, well_again};
use crate::large::{LONG, Scene, Upload, expect_nothing_left, sessions_process};

/// How long a sender may be held back.
const HOLD: Duration = Duration::from_secs(20);

/// Sends all of it in one chunk; when the thread ends, the 200 has arrived.
fn sending(upload: &Upload) -> JoinHandle<()> {
    let (session, content) = (upload.session.clone(), upload.content.clone());
    thread::spawn(move || {
        let chunk = MsrpRequest::chunk("m", 0, &content, content.len());
        session.send(&chunk);
        let response = session.recv_response(&chunk, LONG);
        assert_eq!(response.and_then(|one| one.head.status()), Some(200));
    })
}

/// This user gets all of it.
#[track_caller]
fn gets(scene: &Scene, user: &str, upload: &Upload) {
    let leg = scene.callees.expect_call(user);
    let message = leg.session.expect_message_within(LONG);
    assert_eq!(message.sha256(), sha256(&upload.content), "{user}");
}

#[test]
fn without_a_spool_who_holds_the_sender_back_fails_in_time() {
    let scene = Scene::unseen("without_a_spool_who_holds", |_, config| {
        config.set("cpm", "msrp_spool_dir", "none")
    });
    scene.callees.plan("ringing", Plan::no_answer().ringing());
    scene
        .callees
        .plan("stuck", Plan::accept().conduct(Conduct::StallAfter(1000)));
    let users = ["bill", "carol", "ringing", "stuck"];
    let upload = scene.upload_of(scene.message(EXPLODER, &users), 24 << 20);
    let mut call = scene.begins(&upload);
    let begun = Instant::now();
    let sending = sending(&upload);
    expect_counter(&scene.proxy, "msrp_held_back", 1);
    let sessions = scene.proxy.rpc("cpm.sessions");
    let id = values(&sessions, "id").next().expect("there is one");
    let session = scene.proxy.rpc(&format!("cpm.session {id}"));
    assert_eq!(values(&session, "held_back").next(), Some("1"), "{session}");
    for user in ["bill", "carol"] {
        gets(&scene, user, &upload);
    }
    let took = begun.elapsed();
    assert!(
        took >= HOLD && took < HOLD + Duration::from_secs(8),
        "{took:?}"
    );
    well_again("recipients that do not read, and no spool", begun);
    sending.join().expect("the sender has its 200");
    let ringing = scene.callees.expect_call("ringing");
    scene.hangs_up(&scene.callees.expect_call("stuck"), 408);
    expect_log_lines(&scene.proxy, "the sender is held back", 1);
    expect_log_lines(&scene.proxy, "and there is no spool", 1);
    expect_log_lines(&scene.proxy, "a recipient failed with 408", 2);
    scene.callees.terminate(&ringing);
    call.bye(200);
    expect_counter(&scene.proxy, "delivered", 2);
    expect_nothing_left(&scene.proxy, LONG);
    scene.finish();
}

/// The file system reports at some point that it is full: a limit on the size of files has the same
/// effect, and needs no file system of its own.
fn fill_the_disk(scene: &Scene, bytes: &str) {
    let pid = sessions_process(&scene.proxy).pid.to_string();
    let status = Command::new("prlimit")
        .args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")])
        .status()
        .expect("it belongs to every Debian system");
    assert!(status.success());
}

#[test]
fn on_a_full_disk_whoever_reads_has_it_all() {
    let scene = Scene::unseen("on_a_full_disk", |_, config| {
        config.set("cpm", "msrp_session_memory", "1048576")
    });
    fill_the_disk(&scene, "12582912");
    for user in ["slow", "stuck"] {
        let plan = Plan::accept().conduct(Conduct::StallAfter(1000));
        scene.callees.plan(user, plan);
    }
    let users = ["bill", "slow", "stuck"];
    let upload = scene.upload_of(scene.message(EXPLODER, &users), 32 << 20);
    let mut call = scene.begins(&upload);
    let sending = sending(&upload);
    let line = "MSRP spool: cannot be written to: File too large";
    scene.proxy.expect_log(line);
    expect_counter(&scene.proxy, "msrp_held_back", 1);
    let spooled = counter(&scene.proxy, "msrp_spool");
    assert!((1 << 20..=12 << 20).contains(&spooled), "{spooled}");
    // Nobody has failed: what was written can be read.
    assert_eq!(log_lines(&scene.proxy, "a recipient failed"), 0);
    let slow = scene.callees.expect_call("slow");
    slow.session.conducts(Conduct::Accept);
    let read_on = Instant::now();
    for user in ["bill", "slow"] {
        gets(&scene, user, &upload);
    }
    sending.join().expect("the sender has its 200");
    well_again(
        "a full disk under the spool, since a recipient reads",
        read_on,
    );
    scene.hangs_up(&scene.callees.expect_call("stuck"), 408);
    expect_log_lines(&scene.proxy, "a recipient failed with 408", 1);
    expect_log_lines(&scene.proxy, line, 1);
    call.bye(200);
    expect_nothing_left(&scene.proxy, LONG);
    scene.finish();
}

#[test]
fn a_disk_with_room_again_is_used_again() {
    let scene = Scene::unseen("a_disk_with_room_again", |_, config| {
        config.set("cpm", "msrp_session_memory", "1048576")
    });
    fill_the_disk(&scene, "1000000");
    let stalling = Plan::accept().conduct(Conduct::StallAfter(1000));
    scene.callees.plan("slow", stalling);
    let upload = scene.upload_of(scene.message(EXPLODER, &["bill", "slow"]), 32 << 20);
    let mut call = scene.begins(&upload);
    let sending = sending(&upload);
    expect_counter(&scene.proxy, "msrp_held_back", 1);
    fill_the_disk(&scene, "unlimited");
    let room = Instant::now();
    // Nobody has to be given up.
    sending.join().expect("the sender has its 200");
    well_again("a full disk under the spool, since it has room", room);
    scene
        .proxy
        .expect_log("MSRP spool: can be written to again");
    gets(&scene, "bill", &upload);
    let slow = scene.callees.expect_call("slow");
    slow.session.conducts(Conduct::Accept);
    gets(&scene, "slow", &upload);
    call.bye(200);
    expect_nothing_left(&scene.proxy, LONG);
    scene.finish();
}
