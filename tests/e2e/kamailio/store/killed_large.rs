//! kill -9 at random moments while large messages arrive and leave: of all whose last SEND has its
//! 200, none is lost. `CPM_KILLS` sets the number of kills.

use std::collections::{HashMap, HashSet};
use std::thread;
use std::time::Duration;

use cpm_testbed::{Conduct, PATIENCE, Plan, sha256};

use super::large::Scene;
use super::{expect_messages, messages};

/// In the usual run of the tests.
const KILLS: u64 = 4;
/// Messages that arrive at a time.
const TOGETHER: usize = 3;
const USERS: [&str; 3] = ["fast", "slow", "ringing"];

#[test]
fn no_accepted_large_message_is_lost() {
    let kills = std::env::var("CPM_KILLS").map_or(KILLS, |n| n.parse().expect("a number"));
    let scene = Scene::new("no_accepted_large_message_is_lost").set("resume_rate", "100000");
    let callees = &scene.callees;
    let slow = Conduct::Slow(Duration::from_millis(20));
    callees.plan("slow", Plan::accept().conduct(slow));
    callees.plan("ringing", Plan::no_answer().ringing());
    let mut random = fastrand::Rng::with_seed(3);
    let mut port = None;
    let start = |port: Option<u16>| match port {
        Some(port) => scene.bench.proxy_again(&scene.config, port),
        None => scene.bench.proxy(&scene.config),
    };
    let mut accepted = Vec::new();
    for _ in 0..kills {
        let proxy = start(port);
        port = Some(proxy.port());
        let uploads: Vec<_> = (0..TOGETHER)
            .map(|_| {
                let size = random.usize(20_000..400_000);
                let upload = scene.begins(&proxy, &USERS, size);
                let chunks = upload.session.send_message(&upload.content, 50_000);
                (upload, chunks)
            })
            .collect();
        thread::sleep(Duration::from_millis(random.u64(..60)));
        proxy.kill();
        for (upload, chunks) in uploads {
            let last = chunks.last().expect("there are some");
            let answer = upload.session.recv_response(last, Duration::from_millis(1));
            if answer.is_some_and(|answer| answer.head.status() == Some(200)) {
                accepted.push(sha256(&upload.content));
            }
        }
    }
    callees.plan("ringing", Plan::accept());
    let proxy = start(port);
    // It waits as long as their number falls.
    let mut left = u32::MAX;
    while messages(&scene.bench) < left {
        left = messages(&scene.bench);
        thread::sleep(PATIENCE / 4);
    }
    expect_messages(&scene.bench, 0);
    let (mut lost, mut twice) = (0, 0);
    for user in USERS {
        let mut copies: HashMap<String, (usize, HashSet<String>)> = HashMap::new();
        for place in 0..callees.calls_of(user) {
            let call = callees.expect_nth_call(user, place);
            let messages = call.session.messages();
            for message in messages.iter().filter(|message| message.is_complete()) {
                let (times, identities) = copies.entry(message.sha256()).or_default();
                let id = call.invite.header("Contribution-ID").unwrap_or_default();
                identities.insert(id.to_owned());
                *times += 1;
            }
        }
        lost += accepted
            .iter()
            .filter(|sent| !copies.contains_key(*sent))
            .count();
        twice += copies.values().filter(|(times, _)| *times > 1).count();
        assert!(copies.values().all(|(_, identities)| identities.len() == 1));
    }
    assert!(!accepted.is_empty());
    assert_eq!(
        lost,
        0,
        "of {} messages to {} each",
        accepted.len(),
        USERS.len()
    );
    println!(
        "{kills} kills, {} large messages accepted, {twice} copies came more than once",
        accepted.len()
    );
    scene.finish(proxy);
}
