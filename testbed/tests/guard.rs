//! Nothing outlives its test, and what failed leaves its logs.

mod common;

use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{answering, relaying};
use cpm_testbed::{Bench, ProxyConfig};

/// Waits until none of these processes is there any more.
fn wait_gone(pids: &[u32]) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    let alive = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    };
    while Instant::now() < deadline {
        if !pids.iter().any(alive) {
            return true;
        }
        thread::sleep(Duration::from_millis(5));
    }
    false
}

#[test]
fn stop_leaves_nothing() {
    let bench = Bench::new("stop_leaves_nothing");
    let folder = bench.folder().to_owned();
    let proxy = bench.proxy(&relaying());
    assert!(proxy.processes_alive());
    let pids: Vec<u32> = proxy
        .processes()
        .iter()
        .map(|process| process.pid)
        .collect();
    let table: Vec<u32> = proxy
        .process_table()
        .into_iter()
        .map(|(pid, _)| pid)
        .collect();
    assert_eq!(
        pids, table,
        "the kernel and the proxy agree on the processes"
    );
    proxy.stop();
    assert!(wait_gone(&pids));
    drop(bench);
    assert!(!folder.exists());
}

#[test]
fn a_panic_kills_the_proxy_and_keeps_the_logs() {
    let mut pids = Vec::new();
    let mut folder = None;
    let result = catch_unwind(AssertUnwindSafe(|| {
        let bench = Bench::new("a_panic_kills_the_proxy_and_keeps_the_logs");
        folder = Some(bench.folder().to_owned());
        let proxy = bench.proxy(&relaying());
        let _capture = bench.capture();
        pids = proxy
            .processes()
            .iter()
            .map(|process| process.pid)
            .collect();
        panic!("as the test wants");
    }));
    assert!(result.is_err());
    assert!(wait_gone(&pids) && !pids.is_empty());
    let folder = folder.unwrap();
    assert!(folder.join("proxy-1/kamailio.cfg").exists());
    let log = std::fs::read_to_string(folder.join("proxy-1/kamailio.log")).unwrap();
    assert!(log.contains("Listening on"), "{log}");
    assert!(folder.join("capture-2/capture.pcapng").exists());
    std::fs::remove_dir_all(folder).unwrap();
}

/// The victim of the next test, which runs it in a process of its own.
#[test]
#[ignore = "started by a_killed_test_process_takes_its_proxy_along"]
fn victim() {
    let bench = Bench::new("victim");
    let proxy = bench.proxy(&relaying());
    let capture = bench.capture();
    let pids: Vec<_> = proxy
        .processes()
        .iter()
        .map(|process| process.pid.to_string())
        .collect();
    println!("\npids {} {}", pids.join(" "), bench.folder().display());
    thread::park_timeout(Duration::from_secs(60));
    drop(capture);
}

#[test]
fn a_killed_test_process_takes_its_proxy_along() {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let line = lines
        .find_map(|line| line.unwrap().strip_prefix("pids ").map(str::to_owned))
        .unwrap();
    let pids: Vec<u32> = line
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!(pids.len() > 5, "{line}");
    // SIGKILL: the victim has no chance to tidy up.
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert!(wait_gone(&pids));
    std::fs::remove_dir_all(Path::new(line.rsplit(' ').next().unwrap())).unwrap();
}

#[test]
fn a_crash_does_not_pass_for_a_clean_end() {
    let bench = Bench::new("a_crash_does_not_pass_for_a_clean_end");
    let proxy = bench.proxy(&answering());
    let table = proxy.process_table();
    let (worker, _) = table
        .iter()
        .find(|(_, name)| name.starts_with("udp receiver"))
        .unwrap();
    // The shell's own: a small system has no program of that name.
    let killed = Command::new("/bin/sh")
        .args(["-c", &format!("kill -SEGV {worker}")])
        .status()
        .unwrap();
    assert!(killed.success());
    proxy.expect_log("signal 11");
    let complaints = proxy.stop_and_tell().join("\n");
    assert!(complaints.contains("signal 11"), "{complaints}");
}

#[test]
fn a_proxy_that_refuses_to_start_says_why() {
    let bench = Bench::new("a_proxy_that_refuses_to_start_says_why");
    let config = ProxyConfig::new("request_route { no_such_function(); }");
    let failure = bench.try_proxy(&config).unwrap_err();
    assert!(failure.log.contains("unknown command"), "{failure}");
}

#[test]
fn the_proxy_tells_its_numbers() {
    let bench = Bench::new("the_proxy_tells_its_numbers");
    let proxy = bench.proxy(&relaying().children(1));
    assert!(proxy.rpc("core.version").starts_with("kamailio "));
    assert!(proxy.try_rpc("no.such").unwrap_err().contains("not found"));
    let used = proxy.shared_memory_used();
    assert!(used > 100_000 && used < proxy.rpc_number("core.shmmem", "total"));
    let processes = proxy.processes();
    assert_eq!(proxy.private_memory_used().len(), processes.len());
    assert!(
        proxy
            .private_memory_used()
            .iter()
            .all(|&(_, bytes)| bytes > 10_000)
    );
    assert!(proxy.rss_bytes() > 1_000_000);
    assert!(proxy.open_descriptors().iter().all(|&(_, count)| count > 3));
    let before = proxy.cpu_time();
    let alice = bench.agent();
    for _ in 0..200 {
        let request = cpm_testbed::Request::new("OPTIONS", "sip:a@example.com", &alice.uri("a"));
        alice.send(&request, proxy.udp());
        alice.expect_response(&request, 200);
    }
    assert!(proxy.cpu_time() >= before);
    proxy.stop();
}

#[test]
fn benches_side_by_side_have_ports_of_their_own() {
    let benches: Vec<_> = (0..4)
        .map(|number| Bench::new(&format!("side_by_side_{number}")))
        .collect();
    let mut ports: Vec<_> = benches
        .iter()
        .flat_map(|bench| (0..10).map(|_| bench.port()))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 40);
}
