//! What it costs that an accepted message outlives the proxy: CPU time of a copy and the wait for
//! the 202, without a store and with one, through tm and by the express lane; and how long the next
//! proxy takes to take over a hundred thousand recipients.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Bench, CpmMessage, Proxy, ProxyConfig, cpm_message};

use super::client::Client;
use super::contestant::{self, Contestant};
use super::sink::{Recipients, Sink};
use super::{ASK_AGAIN, CPU, Running, SENDER, TEXT, request_to};
use crate::chart::{Chart, Panel};
use crate::cpu;
use crate::report::{Report, Sample, Samples, Table};
use crate::statistics::Spread;

/// The stem of the report's files.
pub const NAME: &str = "store";

/// Without a store and with one, for each way out.
const WAYS: [(&str, &str, &str); 2] = [
    ("no store, tm", "file, tm", "no"),
    ("no store, lane", "file, lane", "auto"),
];
const SIZES: [usize; 3] = [1, 10, 100];
const SENDERS: [usize; 3] = [1, 16, 64];
/// Of these the picture tells.
const PICTURED: usize = 16;

const CPU_OF: [&str; 3] = [
    "CPU µs per outgoing MESSAGE, 1 sender",
    "CPU µs per outgoing MESSAGE, 16 senders",
    "CPU µs per outgoing MESSAGE, 64 senders",
];
const MEDIAN_OF: [&str; 3] = [
    "ms until 202, 1 sender",
    "ms until 202, 16 senders",
    "ms until 202, 64 senders",
];
const P99_OF: [&str; 3] = [
    "ms until 202, 99 of 100, 1 sender",
    "ms until 202, 99 of 100, 16 senders",
    "ms until 202, 99 of 100, 64 senders",
];

/// Outstanding at a restart.
const OUTSTANDING: usize = 100_000;
const OF_ONE: usize = 100;
const READY: &str = "ms until it is ready";
const KNOWN: &str = "ms until it knows all recipients";
const FIRST: &str = "ms until the first copy";
const DONE: &str = "ms until the last recipient has ended";
const AGAIN: &str = "file, lane";

/// A bench alone may be slow; a hundred thousand copies take some seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures all, in turns, `rounds` times with about `messages` outgoing requests each time. `cpm`
/// is the module.
///
/// # Panics
/// When a message does not reach every recipient.
pub fn run(cpm: &Path, (rounds, messages): (usize, usize), about: &str) -> Report {
    let mut samples = Samples::default();
    let bench = Bench::new("benches_store");
    let sink = Sink::start(bench.port(), Recipients::OneHop).expect("it has a port of its own");
    let names = WAYS.map(|(without, with, _)| [without, with]);
    let names: Vec<&'static str> = names.into_iter().flatten().collect();
    let running: Vec<Running> = WAYS
        .iter()
        .flat_map(|(without, with, express)| {
            [(without, false), (with, true)].map(|(name, keeps)| {
                let config = config(&bench, cpm, name, express, keeps);
                Running::start(&bench, Contestant { name, config })
            })
        })
        .collect();
    for size in SIZES {
        for (place, senders) in SENDERS.into_iter().enumerate() {
            let requests = (messages / size / senders).max(5);
            for round in 0..=rounds {
                for running in &running {
                    let [cpu, median, p99] = measure(running, &sink, (senders, size), requests);
                    let values = [
                        (CPU_OF[place], cpu),
                        (MEDIAN_OF[place], median),
                        (P99_OF[place], p99),
                    ];
                    // The first round fills the free lists and maps the memory.
                    for (quantity, value) in values.into_iter().filter(|_| round > 0) {
                        samples.push(Sample {
                            size,
                            contestant: running.name,
                            round: round - 1,
                            quantity,
                            value,
                        });
                    }
                }
            }
        }
    }
    for running in running {
        running.proxy.stop();
    }
    for round in 0..rounds.div_ceil(4) {
        measure_restart(cpm, round, &mut samples);
    }
    let sync_us = sync_us(&bench);
    Report {
        name: NAME,
        text: write_text(&names, rounds, sync_us, &samples, about),
        picture: write_picture(&names, rounds, &samples).write(),
        samples,
    }
}

fn config(bench: &Bench, cpm: &Path, name: &str, express: &str, keeps: bool) -> ProxyConfig {
    let config = contestant::ours(cpm)
        .set("cpm", "express", express)
        .set_number("cpm", "max_outstanding_per_sender", 0)
        .set_number("cpm", "max_outstanding_per_source", 0)
        .set_number("cpm", "max_outstanding_per_destination", 0);
    if !keeps {
        return config;
    }
    let folder = bench.folder().join(name.replace([' ', ','], "_"));
    config.set("cpm", "store", &format!("file:{}", folder.display()))
}

fn message() -> CpmMessage {
    cpm_message(SENDER, contestant::EXPLODER).text(TEXT)
}

/// CPU µs per copy, and ms until the 202: median, and 99 of 100.
fn measure(
    running: &Running,
    sink: &Sink,
    (senders, recipients): (usize, usize),
    requests: usize,
) -> [f64; 3] {
    sink.expect(recipients);
    let copies = (senders * recipients * requests) as u64;
    let delivered = || running.proxy.statistic("cpm", "delivered");
    let (before, cpu) = (delivered(), cpu::time_of(&running.proxy));
    let mut waits = load(&running.proxy, sink, (senders, recipients), requests);
    let deadline = Instant::now() + PATIENCE;
    let outstanding = || running.proxy.statistic("cpm", "outstanding");
    while delivered() - before < copies || outstanding() > 0 {
        assert!(Instant::now() < deadline, "{}", running.name);
        thread::sleep(ASK_AGAIN);
    }
    running.wait_idle();
    let cpu = cpu::time_of(&running.proxy) - cpu;
    waits.sort_by(f64::total_cmp);
    let at = |share: usize| waits[(waits.len() * share / 100).min(waits.len() - 1)];
    [cpu.as_secs_f64() * 1e6 / copies as f64, at(50), at(99)]
}

/// So many senders, each with one request at a time: ms until each 202.
fn load(
    proxy: &Proxy,
    sink: &Sink,
    (senders, recipients): (usize, usize),
    requests: usize,
) -> Vec<f64> {
    let way = proxy.tcp();
    let request = request_to(&message(), sink, recipients);
    let send_all = || {
        let mut client = Client::connect(way).expect("a proxy that is ready can be reached");
        let send = |_| {
            let request = request.again();
            let start = Instant::now();
            client
                .send(&request)
                .expect("the proxy holds the connection");
            assert_eq!(client.read_status().ok(), Some(202));
            start.elapsed().as_secs_f64() * 1e3
        };
        (0..requests).map(send).collect::<Vec<f64>>()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..senders).map(|_| scope.spawn(send_all)).collect();
        let waits = threads.into_iter().map(|thread| thread.join());
        waits
            .flat_map(|waits| waits.expect("it has panicked already"))
            .collect()
    })
}

/// A proxy is killed while its recipients are silent; the next one takes over.
fn measure_restart(cpm: &Path, round: usize, samples: &mut Samples) {
    let bench = Bench::new("benches_restart");
    let port = bench.port();
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("it has a port of its own");
    let config = config(&bench, cpm, "store", "auto", true);
    let proxy = bench.proxy(&config);
    // For its addresses only.
    let sink = Sink::of_port(port);
    let senders = 10;
    let requests = OUTSTANDING / OF_ONE / senders;
    load(&proxy, &sink, (senders, OF_ONE), requests);
    let own = proxy.port();
    proxy.kill();
    let mut note = |quantity, since: Instant| {
        samples.push(Sample {
            size: OUTSTANDING,
            contestant: AGAIN,
            round,
            quantity,
            value: since.elapsed().as_secs_f64() * 1e3,
        });
    };
    // One that sends nearly nothing.
    let start = Instant::now();
    let slow = config.clone().set_number("cpm", "resume_rate", 1);
    let proxy = bench.proxy_again(&slow, own);
    note(READY, start);
    wait_for(&proxy, "outstanding", |count| count >= OUTSTANDING as u64);
    note(KNOWN, start);
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
    note(FIRST, start);
    let all = OUTSTANDING as u64;
    wait_for(&proxy, "delivered", |count| count >= all);
    note(DONE, start);
    proxy.stop();
}

fn wait_for(proxy: &Proxy, name: &str, is_there: impl Fn(u64) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_there(proxy.statistic("cpm", name)) {
        assert!(Instant::now() < deadline, "{name}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The median time of fdatasync after 4 KiB, where the stores are.
fn sync_us(bench: &Bench) -> f64 {
    let path = bench.folder().join("synced");
    let mut file = File::create(path).expect("the bench's folder can be written to");
    let mut sync = || {
        file.write_all(&[1; 4096]).expect("there is room");
        let start = Instant::now();
        file.sync_data().expect("there is room");
        start.elapsed().as_secs_f64() * 1e6
    };
    let times: Vec<f64> = (0..200).map(|_| sync()).collect();
    Spread::of(&times).median
}

fn write_text(
    names: &[&'static str],
    rounds: usize,
    sync_us: f64,
    samples: &Samples,
    about: &str,
) -> String {
    let mut table = Table::new(&[
        "",
        "recipients",
        "senders",
        CPU,
        "to no store",
        "ms until 202",
        "99 of 100",
    ]);
    for size in SIZES {
        for (place, senders) in SENDERS.into_iter().enumerate() {
            for pair in names.chunks_exact(2) {
                for name in pair {
                    let of = |quantity| samples.of(size, name, quantity);
                    let own = samples.of(size, pair[0], CPU_OF[place]);
                    table.row([
                        (*name).to_owned(),
                        size.to_string(),
                        senders.to_string(),
                        Spread::of(&of(CPU_OF[place])).to_string(),
                        Spread::of_ratios(&of(CPU_OF[place]), &own).to_string(),
                        Spread::of(&of(MEDIAN_OF[place])).to_string(),
                        Spread::of(&of(P99_OF[place])).to_string(),
                    ]);
                }
            }
            table.gap();
        }
    }
    let mut restart = Table::new(&["the next proxy", "median (quartiles)"]);
    for quantity in [READY, KNOWN, FIRST, DONE] {
        let values = samples.of(OUTSTANDING, AGAIN, quantity);
        restart.row([quantity.to_owned(), Spread::of(&values).to_string()]);
    }
    format!(
        "Accepted messages kept on disk: median (quartiles) of {rounds} rounds; CPU of all processes of the proxy\n\
         {about}fdatasync after 4 KiB where the store is: {sync_us:.0} µs\n\n{}\n\
         A restart with {OUTSTANDING} outstanding recipients of {} messages, {}:\n\n{}",
        table.write(),
        OUTSTANDING / OF_ONE,
        "resume_rate 1 until all are known, then 100000",
        restart.write()
    )
}

fn write_picture(names: &[&'static str], rounds: usize, samples: &Samples) -> Chart {
    let place = SENDERS.iter().position(|senders| *senders == PICTURED);
    let place = place.unwrap_or_default();
    let panel = |quantities: &[&'static str; 3], title: &str| Panel {
        quantity: title.to_owned(),
        better: "less",
        group_axis: "recipients of one MESSAGE".into(),
        groups: SIZES
            .iter()
            .map(|&size| {
                let values = names
                    .iter()
                    .map(|name| Spread::of(&samples.of(size, name, quantities[place])));
                (size.to_string(), values.collect())
            })
            .collect(),
    };
    Chart {
        title: "One MESSAGE to many recipients, kept on disk and not".into(),
        subtitle: format!(
            "{PICTURED} senders with one request each at a time; medians of {rounds} rounds, whiskers are quartiles"
        ),
        series: names.iter().map(|&name| name.to_owned()).collect(),
        panels: vec![panel(&CPU_OF, CPU), panel(&MEDIAN_OF, "ms until 202")],
    }
}
