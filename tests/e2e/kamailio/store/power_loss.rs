//! The power fails at random moments: of all messages with a 202, or a 200 to their last SEND, none
//! is lost. `CPM_CUTS` sets the number of moments.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Answer, Bench, PATIENCE, Plan, Proxy, cpm_message, sha256, to};

use super::large::Scene;
use super::recorded_disk::{Record, RecordedDisk, Syncs};
use super::restart::identity;
use super::{ANNE, database, keeping};
use crate::common::{EXPLODER, exchange};
use crate::storing::folder;

/// In the usual run of the tests.
const CUTS: usize = 6;
const SENDERS: usize = 4;
/// Of each sender: together enough that the database's log is transferred and begun again.
const MESSAGES: usize = 100;
/// Messages that arrive at a time, and how often.
const LARGE: usize = 3;
const LARGE_ROUNDS: usize = 3;

fn cuts() -> usize {
    std::env::var("CPM_CUTS").map_or(CUTS, |n| n.parse().expect("a number"))
}

/// What was accepted, and how much of the record there was by then.
struct Accepted(Vec<(String, usize)>);

impl Accepted {
    /// Waits until all that was accepted before a power cut at this place of the record has come,
    /// and returns how many that are.
    #[track_caller]
    fn expect_none_lost(
        &self,
        number: usize,
        cut: usize,
        come: impl Fn() -> HashSet<String>,
    ) -> usize {
        let all = self.0.iter().filter(|(_, place)| *place <= cut);
        let count = all.clone().count();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let come = come();
            let lost = all.clone().filter(|(id, _)| !come.contains(id)).count();
            if lost == 0 {
                return count;
            }
            assert!(
                Instant::now() < deadline,
                "cut {number} at {cut}: {lost} of {count} are lost"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Somewhere among them, or behind the last one.
    fn cut(&self, end: usize, random: &mut fastrand::Rng) -> usize {
        let first = self.0.iter().map(|(_, place)| *place).min();
        random.usize(first.expect("something was accepted")..=end)
    }
}

/// How many messages a database has of which no sync was kept: none, if it can be read at all.
fn without_syncs(bench: &Bench, record: &Record, cut: usize, random: &mut fastrand::Rng) -> usize {
    record.leave(cut, Syncs::Ignored, random, &folder(bench));
    if !folder(bench).join("messages.db").exists() {
        return 0;
    }
    let count = "SELECT count(*) FROM message";
    let count = database(bench).query_row(count, [], |row| row.get(0));
    count.unwrap_or(0)
}

#[test]
fn what_has_its_202_outlives_a_loss_of_power() {
    let bench = Bench::new("what_has_its_202_outlives_a_loss_of_power");
    let (bill, carol) = (bench.agent(), bench.agent());
    let disk = RecordedDisk::new(&bench);
    let config = keeping(&bench).set_number("cpm", "resume_rate", 100_000);
    // By Contribution-ID: what makes a copy the same.
    let seen: Arc<Mutex<HashMap<String, [String; 5]>>> = Arc::default();
    let note = Arc::clone(&seen);
    bill.watches(move |copy| {
        let id = copy.header("Contribution-ID").unwrap_or_default();
        let mut seen = note.lock().expect("nobody panics with it");
        seen.insert(id.to_owned(), identity(copy));
    });
    bill.answers(Answer::Silent);
    let proxy = bench.proxy(&disk.of(&config));
    let port = proxy.port();
    let sends = || {
        let anne = bench.agent();
        let mut accepted = Vec::new();
        for number in 0..MESSAGES {
            // Some have no more recipients soon, and leave the database.
            let away = (number % 4 > 0).then(|| to(&bill.uri("bill")));
            let uris = away.iter().cloned().chain([to(&carol.uri("carol"))]);
            let message = cpm_message(ANNE, EXPLODER).recipients(uris).request();
            exchange(&anne, &message, &proxy, 202);
            if away.is_some() {
                let id = message.header("Contribution-ID").expect("it has one");
                accepted.push((id.to_owned(), disk.now()));
            }
        }
        accepted
    };
    let accepted = thread::scope(|scope| {
        let senders = [(); SENDERS].map(|()| scope.spawn(sends));
        let accepted = senders.map(|sender| sender.join().expect("it does not panic"));
        Accepted(accepted.into_iter().flatten().collect())
    });
    let first = {
        let deadline = Instant::now() + PATIENCE;
        while seen.lock().expect("nobody panics with it").len() < accepted.0.len() {
            assert!(Instant::now() < deadline, "all copies have been sent");
            thread::sleep(Duration::from_millis(10));
        }
        std::mem::take(&mut *seen.lock().expect("nobody panics with it"))
    };
    proxy.kill();
    let record = disk.record();
    let end = disk.now();
    let mut random = fastrand::Rng::with_seed(11);
    let found = without_syncs(&bench, &record, end, &mut random);
    assert!(
        found < accepted.0.len(),
        "a disk without syncs kept {found}"
    );
    bill.answers(Answer::code(200));
    let mut judged = 0;
    for number in 0..cuts() {
        let cut = accepted.cut(end, &mut random);
        record.leave(cut, Syncs::Kept, &mut random, &folder(&bench));
        let proxy = bench.proxy_again(&config, port);
        judged += accepted.expect_none_lost(number, cut, || {
            let seen = seen.lock().expect("nobody panics with it");
            seen.keys().cloned().collect()
        });
        proxy.kill();
        for (id, copy) in seen.lock().expect("nobody panics with it").drain() {
            assert_eq!(first.get(&id), Some(&copy));
        }
    }
    println!(
        "{} power cuts, {judged} accepted messages, none lost",
        cuts()
    );
}

#[test]
fn a_large_message_outlives_a_loss_of_power() {
    let scene = Scene::new("a_large_message_outlives_a_loss_of_power").set("resume_rate", "100000");
    let disk = RecordedDisk::new(&scene.bench);
    let callees = &scene.callees;
    callees.plan("ringing", Plan::no_answer().ringing());
    let mut random = fastrand::Rng::with_seed(13);
    let proxy = scene.bench.proxy(&disk.of(&scene.config));
    let port = proxy.port();
    let mut accepted = Vec::new();
    for _ in 0..LARGE_ROUNDS {
        let uploads: Vec<_> = (0..LARGE)
            .map(|_| {
                let size = random.usize(20_000..200_000);
                let upload = scene.begins(&proxy, &["fast", "ringing"], size);
                let chunks = upload.session.send_message(&upload.content, 20_000);
                (upload, chunks)
            })
            .collect();
        for (mut upload, chunks) in uploads {
            let last = chunks.last().expect("there are some");
            upload.session.expect_response(last, 200);
            accepted.push((sha256(&upload.content), disk.now()));
            upload.call.bye(200);
        }
    }
    let accepted = Accepted(accepted);
    proxy.kill();
    let (record, end) = (disk.record(), disk.now());
    let found = without_syncs(&scene.bench, &record, end, &mut random);
    assert!(
        found < accepted.0.len(),
        "a disk without syncs kept {found}"
    );
    callees.plan("ringing", Plan::accept());
    let mut judged = 0;
    for number in 0..cuts() {
        let cut = accepted.cut(end, &mut random);
        record.leave(cut, Syncs::Kept, &mut random, &folder(&scene.bench));
        let calls = callees.calls_of("ringing");
        let proxy: Proxy = scene.bench.proxy_again(&scene.config, port);
        judged += accepted.expect_none_lost(number, cut, || {
            let calls = calls..callees.calls_of("ringing");
            calls
                .flat_map(|place| callees.expect_nth_call("ringing", place).session.messages())
                .filter(|message| message.is_complete())
                .map(|message| message.sha256())
                .collect()
        });
        proxy.kill();
    }
    println!(
        "{} power cuts, {judged} accepted large messages, none lost",
        cuts()
    );
}
