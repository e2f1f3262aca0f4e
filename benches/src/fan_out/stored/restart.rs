//! A proxy is killed while its recipients are silent, and the next one takes over.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Bench, Proxy};

use super::super::sink::{Recipients, Sink};
use super::{PATIENCE, Store, config, load, wait_for};
use crate::report::{Sample, Samples, Table};
use crate::statistics::Spread;

/// Outstanding at the restart.
const OUTSTANDING: usize = 100_000;
const OF_ONE: usize = 100;
const SENDERS: usize = 10;

/// MiB: tm holds a transaction for each copy that has no room in the lane.
const SHARED_MEMORY: &str = "2048";

const NAMES: [&str; 2] = ["file, lane", "redis, lane"];
const READY: &str = "ms until it is ready";
const KNOWN: &str = "ms until it knows all recipients";
const PRIVATE: &str = "MiB of all its processes alone";
const SHARED: &str = "MiB of shared memory in use";
const FIRST: &str = "ms until the first copy";
const DONE: &str = "ms until the last recipient has ended";

/// With each kind of store. Returns what each process holds of the last one.
pub(super) fn measure(cpm: &Path, round: usize, samples: &mut Samples) -> String {
    let tables = NAMES.map(|name| measure_one(cpm, name, round, samples));
    tables.concat()
}

fn measure_one(cpm: &Path, name: &'static str, round: usize, samples: &mut Samples) -> String {
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
    let requests = OUTSTANDING / OF_ONE / SENDERS;
    load(&proxy, &sink, (SENDERS, OF_ONE), requests);
    let own = proxy.port();
    proxy.kill();
    let mut note = |quantity, value: f64| {
        samples.push(Sample {
            size: OUTSTANDING,
            contestant: name,
            round,
            quantity,
            value,
        });
    };
    let ms = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
    // One that sends nearly nothing.
    let start = Instant::now();
    let slow = config.clone().set_number("cpm", "resume_rate", 1);
    let proxy = bench.proxy_again(&slow, own);
    note(READY, ms(start));
    wait_for(&proxy, "outstanding", |count| count >= OUTSTANDING as u64);
    note(KNOWN, ms(start));
    let memory = memory_of(&proxy);
    let alone: u64 = memory.iter().map(|process| process.private).sum();
    note(PRIVATE, mib(alone));
    note(SHARED, mib(proxy.shared_memory_used()));
    proxy.kill();
    drop(silent);
    let sink = Sink::start(port, Recipients::OneHop).expect("it is free again");
    sink.expect(OF_ONE);
    let start = Instant::now();
    let proxy = bench.proxy_again(&config.set_number("cpm", "resume_rate", 100_000), own);
    while sink.last_datagram().is_empty() {
        assert!(start.elapsed() < PATIENCE, "nothing is sent");
        thread::sleep(Duration::from_millis(1));
    }
    note(FIRST, ms(start));
    let all = OUTSTANDING as u64;
    wait_for(&proxy, "delivered", |count| count >= all);
    note(DONE, ms(start));
    proxy.stop();
    write_memory(name, &memory)
}

/// What one process of a proxy holds, in bytes.
struct Memory {
    name: String,
    private: u64,
    shared: u64,
}

fn memory_of(proxy: &Proxy) -> Vec<Memory> {
    let table = proxy.process_table();
    let name_of = |pid: u32| {
        let mut named = table.iter().filter(|(own, _)| *own == pid);
        named.next().map(|(_, name)| name.clone())
    };
    let memory_of = |pid: u32| {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let bytes = |fields: [&str; 2]| {
            let own = |line: &str| {
                let (field, value) = line.split_once(':')?;
                let kib = value.trim().trim_end_matches(" kB").parse::<u64>().ok();
                kib.filter(|_| fields.contains(&field))
            };
            rollup.lines().filter_map(own).sum::<u64>() * 1024
        };
        Memory {
            name: name_of(pid).unwrap_or_else(|| "other".to_owned()),
            private: bytes(["Private_Clean", "Private_Dirty"]),
            shared: bytes(["Shared_Clean", "Shared_Dirty"]),
        }
    };
    let processes = proxy.processes();
    processes
        .iter()
        .map(|process| memory_of(process.pid))
        .collect()
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn write_memory(name: &str, memory: &[Memory]) -> String {
    let head = format!("{name}: process");
    let mut table = Table::new(&[&head, "MiB of it alone", "MiB that it shares"]);
    for process in memory {
        table.row([
            process.name.clone(),
            format!("{:.1}", mib(process.private)),
            format!("{:.1}", mib(process.shared)),
        ]);
    }
    format!("{}\n", table.write())
}

pub(super) fn write_text(samples: &Samples) -> String {
    let mut table = Table::new(&["the next proxy", NAMES[0], NAMES[1]]);
    for quantity in [READY, KNOWN, PRIVATE, SHARED, FIRST, DONE] {
        let of = |name| Spread::of(&samples.of(OUTSTANDING, name, quantity)).to_string();
        table.row([quantity.to_owned(), of(NAMES[0]), of(NAMES[1])]);
    }
    format!(
        "A restart with {OUTSTANDING} outstanding recipients of {} messages, resume_rate 1 until all are known \
         and memory is read, then 100000:\n\n{}",
        OUTSTANDING / OF_ONE,
        table.write()
    )
}
