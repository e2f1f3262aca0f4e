//! kill -9 at random moments under load: of all messages with a 202, none is lost, and a copy that
//! comes twice bears the identity of the first. `CPM_KILLS` sets the number of kills.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Answer, Bench, PATIENCE, Reply, cpm_message, to};

use super::{ANNE, expect_messages, keeping, messages};
use crate::common::EXPLODER;

/// In the usual run of the tests.
const KILLS: u64 = 6;
const RECIPIENTS: usize = 4;
/// Messages that are under way at a time.
const TOGETHER: usize = 8;

/// Call-ID, From tag and CSeq, and how often a copy has come in a new transaction.
type Copies = HashMap<(String, String), (HashSet<[String; 3]>, usize)>;

#[test]
fn no_accepted_message_is_lost() {
    let bench = Bench::new("no_accepted_message_is_lost");
    let kills = std::env::var("CPM_KILLS").map_or(KILLS, |n| n.parse().expect("a number"));
    let (anne, bill) = (bench.agent(), bench.agent());
    let copies: Arc<Mutex<Copies>> = Arc::default();
    let seen = Arc::clone(&copies);
    bill.watches(move |message| {
        let key = [message.uri(), message.header("Contribution-ID")];
        let [uri, id] = key.map(|text| text.unwrap_or_default().to_owned());
        let identity = [
            message.call_id(),
            message.parameter("From", "tag").unwrap_or_default(),
            message.header("CSeq").unwrap_or_default(),
        ];
        let mut copies = seen.lock().expect("nobody panics with it");
        let (identities, times) = copies.entry((id, uri)).or_default();
        identities.insert(identity.map(str::to_owned));
        *times += 1;
    });
    // One in ten is not answered at first: its end is open when the proxy is killed.
    let mut random = fastrand::Rng::with_seed(7);
    bill.answers(Answer::with(move |_| match random.u8(..) {
        0..26 => Vec::new(),
        _ => vec![Reply::new(200)],
    }));
    let users: Vec<String> = (0..RECIPIENTS)
        .map(|n| bill.uri(&format!("b{n}")))
        .collect();
    let config = keeping(&bench)
        .set("cpm", "max_outstanding_per_sender", "0")
        .set_number("cpm", "resume_rate", 100_000);
    let mut random = fastrand::Rng::with_seed(1);
    let mut accepted: Vec<String> = Vec::new();
    // All proxies share one port: there may be more kills than the bench has ports.
    let mut port = None;
    let start = |port: Option<u16>| match port {
        Some(port) => bench.proxy_again(&config, port),
        None => bench.proxy(&config),
    };
    for _ in 0..kills {
        let proxy = start(port);
        port = Some(proxy.port());
        let way = proxy.udp();
        let until = Instant::now() + Duration::from_millis(random.u64(20..400));
        let mut open = Vec::new();
        while Instant::now() < until {
            for _ in 0..TOGETHER {
                let request = cpm_message(ANNE, EXPLODER)
                    .recipients(users.iter().map(|uri| to(uri)))
                    .request();
                anne.send(&request, way);
                open.push(request);
            }
            thread::sleep(Duration::from_millis(2));
        }
        proxy.kill();
        for request in open {
            let answer = anne.recv_response(&request, Duration::from_millis(1));
            if answer.is_some_and(|answer| answer.status() == Some(202)) {
                let id = request.header("Contribution-ID").expect("it has one");
                accepted.push(id.to_owned());
            }
        }
    }
    bill.answers(Answer::code(200));
    let proxy = start(port);
    // After many kills thousands are left. It waits as long as their number falls.
    let mut left = u32::MAX;
    while messages(&bench) < left {
        left = messages(&bench);
        thread::sleep(PATIENCE / 4);
    }
    expect_messages(&bench, 0);
    let deadline = Instant::now() + PATIENCE;
    let lost = || {
        let copies = copies.lock().expect("nobody panics with it");
        let all = accepted
            .iter()
            .flat_map(|id| users.iter().map(move |uri| (id, uri)));
        all.filter(|(id, uri)| !copies.contains_key(&((*id).clone(), (*uri).clone())))
            .count()
    };
    while lost() > 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    assert!(accepted.len() > TOGETHER, "{}", accepted.len());
    assert_eq!(lost(), 0, "of {} messages", accepted.len());
    let copies = copies.lock().expect("nobody panics with it");
    let twice = copies.values().filter(|(_, times)| *times > 1).count();
    let other = copies
        .values()
        .filter(|(identities, _)| identities.len() > 1);
    assert_eq!(other.count(), 0);
    println!(
        "{kills} kills, {} messages accepted, {} copies, {twice} of them more than once",
        accepted.len(),
        copies.len()
    );
    proxy.stop();
}
