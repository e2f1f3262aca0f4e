//! A proxy is killed while its recipients are silent, and the next one takes over.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Bench, Proxy, Redis};

use super::super::sink::{Recipients, Sink};
use super::{PATIENCE, Store, config, folder_of, load, wait_for, written};
use crate::report::{Sample, Samples, Table};

/// Outstanding at the restart.
const OUTSTANDING: usize = 100_000;
/// Recipients of each message. To send them all takes less than timer F: none has failed before.
const SIZES: [usize; 2] = [100, 10];
const SENDERS: usize = 10;

/// MiB: tm holds a transaction for each copy that has no room in the lane.
const SHARED_MEMORY: &str = "2048";

const NAMES: [&str; 2] = ["file, lane", "redis, lane"];
const READY: &str = "ms until it is ready";
const KNOWN: &str = "ms until it knows all recipients";
const PRIVATE: &str = "MiB of all its processes alone";
const FAN_OUT: &str = "MiB of CPM fan-out alone";
const SHARED: &str = "MiB of shared memory in use";
const STORED: &str = "bytes of the store for each recipient";
const LARGEST: &str = "MiB of the store at most, before and after";
const FIRST: &str = "ms until the first copy";
const DONE: &str = "ms until the last recipient has ended";

const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// The process that has the store.
const KEEPER: &str = "CPM fan-out";

/// With each kind of store.
pub(super) fn measure(cpm: &Path, rounds: usize, samples: &mut Samples) {
    for round in 0..rounds {
        for size in SIZES {
            for name in NAMES {
                measure_one(cpm, (name, size), round, samples);
            }
        }
    }
}

fn measure_one(
    cpm: &Path,
    (name, size): (&'static str, usize),
    round: usize,
    samples: &mut Samples,
) {
    let bench = Bench::new("benches_restart");
    let redis = bench.redis();
    redis.ask(&["CONFIG", "SET", "appendfsync", "everysec"]);
    let store = match name {
        "redis, lane" => Store::Server(&redis, 0),
        _ => Store::Folder(name),
    };
    let port = bench.port();
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("it has a port of its own");
    let config = config(&bench, cpm, name, "auto", store)
        .argument("-m")
        .argument(SHARED_MEMORY);
    let proxy = bench.proxy(&config);
    // For its addresses only.
    let sink = Sink::of_port(port);
    let requests = OUTSTANDING / size / SENDERS;
    let folder = folder_of(&bench, name);
    let before = largest_while(&folder, || {
        load(&proxy, &sink, (SENDERS, size), requests);
    });
    let own = proxy.port();
    proxy.kill();
    let mut note = |quantity, value: f64| {
        samples.push(Sample {
            size,
            contestant: name,
            round,
            quantity,
            value,
        });
    };
    let ms = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
    let stored = match store {
        Store::Server(redis, _) => memory_of_server(redis, "used_memory:"),
        _ => bytes_in(&folder),
    };
    note(STORED, stored as f64 / OUTSTANDING as f64);
    // One that sends nearly nothing.
    let start = Instant::now();
    let slow = config.clone().set_number("cpm", "resume_rate", 1);
    let proxy = bench.proxy_again(&slow, own);
    note(READY, ms(start));
    wait_for(&proxy, "outstanding", |count| count >= OUTSTANDING as u64);
    note(KNOWN, ms(start));
    let (all, keeper) = private_memory_of(&proxy);
    note(PRIVATE, mib(all));
    note(FAN_OUT, mib(keeper));
    note(SHARED, mib(proxy.shared_memory_used()));
    proxy.kill();
    drop(silent);
    let sink = Sink::start(port, Recipients::OneHop).expect("it is free again");
    sink.expect(size);
    let start = Instant::now();
    let proxy = bench.proxy_again(&config.set_number("cpm", "resume_rate", 100_000), own);
    while sink.last_datagram().is_empty() {
        assert!(start.elapsed() < PATIENCE, "nothing is sent");
        thread::sleep(Duration::from_millis(1));
    }
    note(FIRST, ms(start));
    let all = OUTSTANDING as u64;
    let after = largest_while(&folder, || {
        wait_for(&proxy, "delivered", |count| count >= all);
        note(DONE, ms(start));
        proxy.stop();
    });
    let largest = match store {
        Store::Server(redis, _) => memory_of_server(redis, "used_memory_peak:"),
        _ => before.max(after),
    };
    samples.push(Sample {
        size,
        contestant: name,
        round,
        quantity: LARGEST,
        value: mib(largest),
    });
}

/// Bytes that no other process has, of all processes of a proxy, and of the one with the store.
fn private_memory_of(proxy: &Proxy) -> (u64, u64) {
    let table = proxy.process_table();
    let keeper = table.iter().find(|(_, name)| name == KEEPER);
    let keeper = keeper.map(|(pid, _)| *pid).expect("it is listed");
    let private = |pid: u32| {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let kib = |line: &str| {
            let (_, value) = line
                .split_once(':')
                .filter(|(field, _)| field.starts_with("Private_"))?;
            value.trim().trim_end_matches(" kB").parse::<u64>().ok()
        };
        rollup.lines().filter_map(kib).sum::<u64>() * 1024
    };
    let processes = proxy.processes();
    let all = processes.iter().map(|process| private(process.pid)).sum();
    (all, private(keeper))
}

/// The most that a folder has held until this is over.
fn largest_while(folder: &Path, work: impl FnOnce()) -> u64 {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut largest = 0;
            while !is_over.load(Ordering::Relaxed) {
                largest = largest.max(bytes_in(folder));
                thread::sleep(BETWEEN_LOOKS);
            }
            largest
        });
        work();
        is_over.store(true, Ordering::Relaxed);
        watcher.join().expect("it only looks")
    })
}

/// 0 without such a folder: the store is a server.
fn bytes_in(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten();
    let bytes = |file: std::io::Result<fs::DirEntry>| Some(file.ok()?.metadata().ok()?.len());
    files.filter_map(bytes).sum()
}

/// What it says behind this word.
fn memory_of_server(redis: &Redis, word: &str) -> u64 {
    let info = redis.ask(&["INFO", "memory"]);
    let used = info.iter().find_map(|line| line.strip_prefix(word));
    used.and_then(|bytes| bytes.trim().parse().ok())
        .expect("it tells")
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

pub(super) fn write_text(samples: &Samples) -> String {
    let table_of = |size: usize| {
        let mut table = Table::new(&["the next proxy", NAMES[0], NAMES[1]]);
        let rows = [
            READY, KNOWN, PRIVATE, FAN_OUT, SHARED, STORED, LARGEST, FIRST, DONE,
        ];
        for quantity in rows {
            let of = |name| written(&samples.of(size, name, quantity));
            table.row([quantity.to_owned(), of(NAMES[0]), of(NAMES[1])]);
        }
        format!(
            "A restart with {OUTSTANDING} outstanding recipients of {} messages ({} times), resume_rate 1 \
             until all are known and memory is read, then 100000; the bytes of a server are those of its memory:\n\n{}",
            OUTSTANDING / size,
            samples.of(size, NAMES[0], READY).len(),
            table.write()
        )
    };
    SIZES.map(table_of).join("\n")
}
