//! A proxy that ends at random moments under load, and is started again: of all messages with a
//! 202 none is lost, and a copy that comes twice bears the identity of the first. `CPM_KILLS` sets
//! the number of ends.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{
    Agent, Answer, Bench, PATIENCE, Proxy, Received, Reply, Request, cpm_message, to,
};

use super::{ANNE, keeping, messages};
use crate::common::EXPLODER;
use crate::storing::deferring;

/// Messages that are under way at a time.
const TOGETHER: usize = 8;
/// The highest `deferred_max`: any further message for a recipient that is away fails at once.
const MOST_WAITING: i64 = 10_000;
/// Recipients that lose one in ten of what is sent to them.
const LOSING: usize = 3;
/// Between two questions whether a proxy that drains has finished.
const DRAIN_AGAIN: Duration = Duration::from_millis(200);
/// Who is away comes back for this attempt.
const BACK: u32 = 3;

/// How the proxy ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// `kill -9`.
    Killed,
    /// SIGTERM in the midst of its work.
    Terminated,
    /// As the drop-in for systemd stops it: first `cpm.drain`, while senders go on.
    Drained,
}

/// The copies of a message that one recipient has received, each in a transaction of its own.
#[derive(Default)]
struct Copies {
    /// Call-ID, From tag, Message-ID.
    identities: HashSet<[String; 3]>,
    /// How often each attempt has come, by its CSeq.
    attempts: BTreeMap<u32, usize>,
}

/// By Contribution-ID and recipient.
type Seen = Arc<Mutex<HashMap<(String, String), Copies>>>;

/// The recipients of each message, and what they have seen.
struct Recipients {
    /// Loses one request in ten.
    bill: Agent,
    /// Is reached over TCP, each time over a new connection.
    carol: Agent,
    /// Is away for the first attempts.
    dave: Agent,
    uris: Vec<String>,
    seen: Seen,
}

impl Recipients {
    fn new(bench: &Bench) -> Self {
        let [bill, carol, dave] = [(); 3].map(|()| bench.agent());
        let seen = Seen::default();
        for agent in [&bill, &carol, &dave] {
            let seen = Arc::clone(&seen);
            agent.watches(move |message| note(&seen, message));
        }
        let mut random = fastrand::Rng::with_seed(7);
        bill.answers(Answer::with(move |_| match random.u8(..) {
            0..26 => Vec::new(),
            _ => vec![Reply::new(200)],
        }));
        dave.answers(Answer::with(|copy| {
            let is_back = copy.cseq().is_some_and(|(number, _)| number >= BACK);
            vec![Reply::new(if is_back { 200 } else { 480 })]
        }));
        let losing = (0..LOSING).map(|n| bill.uri(&format!("b{n}")));
        let uris = losing.chain([carol.tcp_uri("carol"), dave.uri("dave")]);
        Recipients {
            uris: uris.collect(),
            bill,
            carol,
            dave,
            seen,
        }
    }

    /// How many recipients of these messages have nothing.
    fn lost(&self, accepted: &[String]) -> usize {
        let seen = self.seen.lock().expect("nobody panics with it");
        let all = accepted
            .iter()
            .flat_map(|id| self.uris.iter().map(move |uri| (id, uri)));
        let has_it = |(id, uri): &(&String, &String)| {
            let copies = seen.get(&((*id).clone(), (*uri).clone()));
            let last = copies.and_then(|copies| copies.attempts.keys().last());
            last.is_some_and(|last| *last >= BACK || !self.is_away(uri))
        };
        all.filter(|one| !has_it(one)).count()
    }

    fn is_away(&self, uri: &str) -> bool {
        uri == self.dave.uri("dave")
    }

    /// Checks that all copies for one recipient are the same message, and returns how many there
    /// are and how many of them came twice.
    fn check(&self) -> (usize, usize) {
        let seen = self.seen.lock().expect("nobody panics with it");
        for ((id, uri), copies) in seen.iter() {
            assert_eq!(copies.identities.len(), 1, "{id} {:?}", copies.identities);
            let most = if self.is_away(uri) { BACK } else { 1 };
            let last = copies.attempts.keys().last();
            assert!(last.is_some_and(|last| *last <= most), "{id} {last:?}");
        }
        let attempts = || seen.values().flat_map(|copies| copies.attempts.values());
        (
            attempts().count(),
            attempts().filter(|times| **times > 1).count(),
        )
    }
}

fn note(seen: &Seen, message: &Received) {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let body = String::from_utf8_lossy(message.body());
    let message_id = body
        .lines()
        .find(|line| line.starts_with("imdn.Message-ID"));
    let identity = [
        message.call_id().to_owned(),
        text(message.parameter("From", "tag")),
        text(message_id),
    ];
    let key = (text(message.header("Contribution-ID")), text(message.uri()));
    let mut seen = seen.lock().expect("nobody panics with it");
    let copies = seen.entry(key).or_default();
    copies.identities.insert(identity);
    let (attempt, _) = message.cseq().expect("it has one");
    *copies.attempts.entry(attempt).or_default() += 1;
}

/// What the sender was told.
#[derive(Default)]
struct Told {
    /// Contribution-IDs of messages with a 202.
    accepted: Vec<String>,
    refused: usize,
}

impl Told {
    /// Takes the answers to these requests that have come. What is not accepted is refused with
    /// 503 and a time after which to come back.
    fn take(&mut self, anne: &Agent, sent: &[Request]) {
        for request in sent {
            let Some(answer) = anne.recv_response(request, Duration::from_millis(1)) else {
                continue;
            };
            match answer.status() {
                Some(202) => {
                    let id = request.header("Contribution-ID").expect("it has one");
                    self.accepted.push(id.to_owned());
                }
                Some(503) if answer.header("Retry-After").is_some() => self.refused += 1,
                _ => panic!("{}", answer.start_line()),
            }
        }
    }
}

/// Sends messages to all recipients until `is_over`, so many at most.
fn load(
    anne: &Agent,
    recipients: &Recipients,
    proxy: &Proxy,
    most: usize,
    mut is_over: impl FnMut() -> bool,
) -> Vec<Request> {
    let mut sent = Vec::new();
    while !is_over() {
        for _ in 0..TOGETHER.min(most - sent.len()) {
            let request = cpm_message(ANNE, EXPLODER)
                .recipients(recipients.uris.iter().map(|uri| to(uri)))
                .request();
            anne.send(&request, proxy.udp());
            sent.push(request);
        }
        thread::sleep(Duration::from_millis(2));
    }
    sent
}

/// Waits until the store is empty. It may have thousands of messages: what is limited is the time
/// without progress. A recipient for which there was no room is tried again after 20 s. Returns the
/// longest such time.
#[track_caller]
fn expect_all_done(bench: &Bench, proxy: &Proxy) -> Duration {
    let (mut least, mut since) = (u32::MAX, Instant::now());
    let mut longest = Duration::ZERO;
    loop {
        let left = messages(bench);
        if left == 0 {
            return longest;
        }
        if left < least {
            longest = longest.max(since.elapsed());
            (least, since) = (left, Instant::now());
        }
        let told = || proxy.rpc("cpm.stats");
        assert!(
            since.elapsed() < 4 * PATIENCE,
            "{left} are left: {}",
            told()
        );
        thread::sleep(PATIENCE / 100);
    }
}

/// Ends and starts a proxy under load, once for each of `ends`; then nothing is left, and nothing
/// lost. Returns what the sender was told.
fn survive(bench: &Bench, ends: impl ExactSizeIterator<Item = End>) -> Told {
    let anne = bench.agent();
    let recipients = Recipients::new(bench);
    let config = deferring(keeping(bench), "1")
        .set("cpm", "max_outstanding_per_sender", "0")
        .set_number("cpm", "deferred_max", MOST_WAITING)
        .set_number("cpm", "resume_rate", 100_000);
    let mut random = fastrand::Rng::with_seed(1);
    let mut told = Told::default();
    // All proxies share one port: there may be more of them than the bench has ports.
    let mut port = None;
    let start = |port: Option<u16>| match port {
        Some(port) => bench.proxy_again(&config, port),
        None => bench.proxy(&config),
    };
    // Not more than may wait for the recipient that is away, those of the drained included.
    let most = MOST_WAITING as usize / 2 / ends.len();
    let mut count = 0;
    for end in ends {
        count += 1;
        recipients.carol.close_connections();
        let proxy = start(port);
        port = Some(proxy.port());
        let until = Instant::now() + Duration::from_millis(random.u64(20..400));
        let mut sent = load(&anne, &recipients, &proxy, most, || Instant::now() >= until);
        match end {
            End::Killed => proxy.kill(),
            End::Terminated => proxy.terminate(),
            End::Drained => {
                let until = Instant::now() + PATIENCE;
                let mut is_over = false;
                while !is_over && Instant::now() < until {
                    is_over = proxy.rpc_number("cpm.drain", "under_way") == 0;
                    let mut batches = 0..2;
                    let is_sent = || batches.next().is_none();
                    sent.extend(load(&anne, &recipients, &proxy, TOGETHER, is_sent));
                    thread::sleep(DRAIN_AGAIN);
                }
                proxy.terminate();
            }
        }
        told.take(&anne, &sent);
    }
    recipients.bill.answers(Answer::code(200));
    let left = messages(bench);
    let (proxy, since) = (start(port), Instant::now());
    let longest = expect_all_done(bench, &proxy);
    let took = since.elapsed();
    let deadline = Instant::now() + PATIENCE;
    while recipients.lost(&told.accepted) > 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    let lost = recipients.lost(&told.accepted);
    assert_eq!(lost, 0, "of {} messages", told.accepted.len());
    let (copies, twice) = recipients.check();
    println!(
        "{count} ends, {} messages accepted, {} refused, {lost} recipients lost one, {copies} copies, \
         {twice} of them more than once; the last proxy finished {left} messages in {took:.1?}, at most \
         {longest:.1?} without one",
        told.accepted.len(),
        told.refused
    );
    proxy.stop();
    told
}

/// `CPM_KILLS`, or so many.
fn ends(usual: usize) -> usize {
    std::env::var("CPM_KILLS").map_or(usual, |n| n.parse().expect("a number"))
}

#[test]
fn no_accepted_message_is_lost() {
    let bench = Bench::new("no_accepted_message_is_lost");
    let told = survive(&bench, (0..ends(6)).map(|_| End::Killed));
    assert!(told.accepted.len() > TOGETHER, "{}", told.accepted.len());
}

#[test]
fn a_proxy_that_is_stopped_under_load_loses_nothing() {
    let bench = Bench::new("a_proxy_that_is_stopped_under_load");
    let told = survive(&bench, (0..ends(4)).map(|_| End::Terminated));
    assert!(told.accepted.len() > TOGETHER, "{}", told.accepted.len());
}

#[test]
fn a_proxy_that_is_drained_under_load_refuses_with_503_and_loses_nothing() {
    let bench = Bench::new("a_proxy_that_is_drained_under_load");
    let told = survive(&bench, (0..ends(3)).map(|_| End::Drained));
    assert!(told.accepted.len() > TOGETHER, "{}", told.accepted.len());
    assert!(told.refused > 0);
}
