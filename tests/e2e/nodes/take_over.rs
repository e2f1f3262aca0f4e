//! A node dies, or is silent for too long.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Answer, Bench, PATIENCE, Proxy, Received, Reply, cpm_message, to, unmarked};
use rustix::process::{Pid, Signal, kill_process};

use super::{ANNE, expect, expect_acceptance, expect_messages, messages, node, node_with};
use crate::common::{EXPLODER, HANDLE, counter, exchange, expect_counter, expect_log_lines};

/// Bytes of an outcome in the store.
const OUTCOME_BYTES: usize = 10;

/// A lease, and the interval of looks at those of others, with room for a busy machine.
const TAKEN_OVER: Duration = Duration::from_secs(20);

#[test]
fn what_a_dead_node_has_accepted_another_one_finishes() {
    let bench = Bench::new("what_a_dead_node_has_accepted");
    let redis = bench.redis();
    let [first, second] = ["one", "two"].map(|name| bench.proxy(&node(&bench, name, &redis.url())));
    let (anne, bill) = (bench.agent(), bench.agent());
    const HALF: usize = 20;
    let is_reached = |uri: &str| uri.contains(":even");
    bill.answers(Answer::with(move |copy| {
        match copy.uri().is_some_and(is_reached) {
            true => vec![Reply::new(200)],
            false => vec![],
        }
    }));
    let recipients = (0..HALF).flat_map(|n| ["even", "odd"].map(|kind| format!("{kind}{n}")));
    let recipients: Vec<_> = recipients.map(|user| to(&bill.uri(&user))).collect();
    let request = cpm_message(ANNE, EXPLODER).recipients(recipients).request();
    exchange(&anne, &request, &first, 202);
    let copies = bill.expect_requests("MESSAGE", 2 * HALF);
    expect_counter(&first, "delivered", HALF as u64);
    let [message] = &messages(&redis)[..] else {
        panic!("{:?}", messages(&redis))
    };
    let written = || redis.ask(&["HSTRLEN", message, "ended"])[0].parse();
    expect(
        || written() == Ok(HALF * OUTCOME_BYTES),
        "the outcomes are written",
    );
    first.kill();
    let killed = Instant::now();
    bill.answers(Answer::code(200));
    let again = bill.expect_requests("MESSAGE", HALF);
    assert!(killed.elapsed() < TAKEN_OVER, "{:?}", killed.elapsed());
    let mut expected: Vec<_> = copies
        .iter()
        .filter(|copy| !copy.uri().is_some_and(is_reached))
        .map(|copy| (copy.call_id().to_owned(), copy.body().to_vec()))
        .collect();
    let mut found: Vec<_> = again
        .iter()
        .map(|copy| (copy.call_id().to_owned(), copy.body().to_vec()))
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "those and no others, under the same names");
    expect_counter(&second, "delivered", HALF as u64);
    expect_counter(&second, "outstanding", 0);
    expect_messages(&redis, 0);
    second.stop();
}

/// What tells one copy from another, and a repetition from a new one.
fn identity(copy: &Received) -> [String; 6] {
    let names = ["Call-ID", "CSeq", "From", "To", "Contribution-ID"];
    let [call_id, cseq, from, to, contribution] =
        names.map(|name| copy.header(name).unwrap_or_default().to_owned());
    let body = String::from_utf8_lossy(copy.body()).into_owned();
    [call_id, cseq, from, to, contribution, body]
}

/// A node dies with most of a long list still to be sent, or on its way.
#[test]
fn a_long_list_that_a_node_has_begun_another_one_finishes() {
    const RECIPIENTS: usize = 1_000;
    const KILLED_AT: usize = 200;
    let bench = Bench::new("a_long_list_that_a_node_has_begun");
    let redis = bench.redis();
    let script = format!("tcp_rd_buf_size=131072\n{HANDLE}");
    let [first, second] = ["one", "two"].map(|name| {
        let config = node_with(&bench, name, &redis.url(), &script)
            .set_number("cpm", "max_recipients", RECIPIENTS as i64)
            .set_number("cpm", "resume_rate", 1_000_000);
        bench.proxy(&config)
    });
    let (anne, bill) = (bench.agent(), bench.agent());
    let processes = first.processes();
    let mut answered = 0;
    let (tell, killed) = mpsc::channel();
    bill.answers(Answer::with(move |_| {
        answered += 1;
        if answered == KILLED_AT {
            for process in &processes {
                let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
                // It may end by itself when the main process does.
                let _ = kill_process(pid.expect("a process has a number"), Signal::KILL);
            }
            let _ = tell.send(Instant::now());
        }
        vec![Reply::new(200)]
    }));
    let uris = (0..RECIPIENTS).map(|n| unmarked(&bill.uri(&format!("b{n}"))));
    let request = cpm_message(ANNE, EXPLODER).recipients(uris).request();
    anne.send(&request, first.tcp());
    anne.expect_response(&request, 202);
    let killed = killed.recv_timeout(PATIENCE).expect("some get a copy");
    first.kill();
    let all_have_it = || {
        let copies = bill.received();
        let reached: HashSet<&str> = copies.iter().filter_map(|copy| copy.uri()).collect();
        reached.len() == RECIPIENTS && counter(&second, "outstanding") == 0
    };
    while !all_have_it() {
        assert!(killed.elapsed() < TAKEN_OVER, "somebody is left out");
        thread::sleep(Duration::from_millis(10));
    }
    expect_messages(&redis, 0);
    let resent = counter(&second, "resent");
    assert!(resent >= (RECIPIENTS - KILLED_AT) as u64, "{resent}");
    assert_eq!(counter(&second, "delivered"), resent);
    let mut copies: HashMap<String, [String; 6]> = HashMap::new();
    let mut twice = 0;
    for copy in bill.received() {
        let uri = copy.uri().unwrap_or_default().to_owned();
        let identity = identity(&copy);
        match copies.entry(uri) {
            Entry::Vacant(place) => drop(place.insert(identity)),
            Entry::Occupied(place) => {
                twice += 1;
                assert_eq!(*place.get(), identity, "under the name of the first");
            }
        }
    }
    // Those that had it already, or were about to get it, and whose outcome was not written.
    println!("{twice} of {RECIPIENTS} copies came twice, {resent} were sent again");
    assert!(twice <= resent, "{twice}");
    second.stop();
}

#[test]
fn a_node_that_starts_again_has_its_messages_at_once() {
    let bench = Bench::new("a_node_that_starts_again");
    let redis = bench.redis();
    let config = node(&bench, "one", &redis.url()).set_number("cpm", "store_lease", 3600);
    let (anne, bill) = (bench.agent(), bench.agent());
    bill.answers(Answer::Silent);
    let first = bench.proxy(&config);
    let request = cpm_message(ANNE, EXPLODER)
        .recipients([to(&bill.uri("bill"))])
        .request();
    let answer = exchange(&anne, &request, &first, 202);
    let copy = bill.expect_request("MESSAGE");
    let port = first.port();
    first.kill();
    bill.answers(Answer::code(200));
    let next = bench.proxy_again(&config, port);
    assert_eq!(bill.expect_request("MESSAGE").call_id(), copy.call_id());
    expect_messages(&redis, 0);
    // The sender has not got its 202.
    anne.send(&request, next.udp());
    anne.expect_retransmissions(&answer, 1);
    assert_eq!(counter(&next, "repeated"), 1);
    next.stop();
}

fn signal(proxy: &Proxy, signal: &str) {
    let processes = proxy.processes();
    let pids = processes.iter().map(|process| process.pid.to_string());
    let done = Command::new("kill").arg(signal).args(pids).status();
    assert!(done.expect("kill is there").success());
}

/// The whole node stands still, as a virtual machine may, for longer than its lease.
#[test]
fn a_node_that_comes_back_leaves_to_the_other_one_what_that_has_taken_over() {
    let bench = Bench::new("a_node_that_comes_back_leaves");
    let redis = bench.redis();
    let [first, second] = ["one", "two"].map(|name| bench.proxy(&node(&bench, name, &redis.url())));
    let (anne, bill) = (bench.agent(), bench.agent());
    bill.answers(Answer::Silent);
    let message = || cpm_message(ANNE, EXPLODER).recipients([to(&bill.uri("bill"))]);
    exchange(&anne, &message().request(), &first, 202);
    let copy = bill.expect_request("MESSAGE");
    signal(&first, "-STOP");
    let again = bill.expect_request("MESSAGE");
    assert_eq!(again.call_id(), copy.call_id());
    expect_counter(&second, "outstanding", 1);
    let stored = messages(&redis);
    signal(&first, "-CONT");
    expect_log_lines(&first, "another node has taken over 1 messages", 1);
    expect_counter(&first, "outstanding", 0);
    // The recipient answers the copy of the first one, which is nobody's business any more.
    bill.reply(&copy, &Reply::new(404));
    expect_counter(&first, "failed", 1);
    // The first one takes new messages, after the outcome has had its chance.
    bill.answers(Answer::code(200));
    expect_acceptance(&anne, || message().request(), &first);
    expect_counter(&first, "delivered", 1);
    expect(
        || messages(&redis) == stored,
        "that message has ended, and the other has not",
    );
    bill.reply(&again, &Reply::new(200));
    expect_counter(&second, "delivered", 1);
    expect_messages(&redis, 0);
    first.stop();
    second.stop();
}
