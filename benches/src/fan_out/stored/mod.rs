//! What it costs that an accepted message outlives the proxy: CPU time of a copy and the wait for
//! the 202, without a store and with each kind, through tm and by the express lane; how long the
//! next proxy takes to take over a hundred thousand recipients; and another node what a dead one
//! has left.

mod restart;
mod take_over;

use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Bench, CpmMessage, Proxy, ProxyConfig, Redis, cpm_message};

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

/// Where accepted messages are kept.
#[derive(Clone, Copy, Debug)]
enum Store<'a> {
    Nowhere,
    /// In a folder of this name, of the bench's.
    Folder(&'a str),
    /// In this database of a server.
    Server(&'a Redis, usize),
}

/// Each way out, without a store and with each kind.
const WAYS: [([&str; 3], &str); 2] = [
    (["no store, tm", "file, tm", "redis, tm"], "no"),
    (["no store, lane", "file, lane", "redis, lane"], "auto"),
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
/// That of the store's server, which is no process of the proxy.
const SERVER_CPU_OF: [&str; 3] = [
    "CPU µs of the server per outgoing MESSAGE, 1 sender",
    "CPU µs of the server per outgoing MESSAGE, 16 senders",
    "CPU µs of the server per outgoing MESSAGE, 64 senders",
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

/// A bench alone may be slow; a hundred thousand copies take some seconds.
const PATIENCE: Duration = Duration::from_secs(240);

/// Measures all, in turns, `rounds` times with about `messages` outgoing requests each time. `cpm`
/// is the module.
///
/// # Panics
/// When a message does not reach every recipient.
pub fn run(cpm: &Path, (rounds, messages): (usize, usize), about: &str) -> Report {
    let mut samples = Samples::default();
    let bench = Bench::new("benches_store");
    let redis = bench.redis();
    // What a server does unless it is told otherwise.
    redis.ask(&["CONFIG", "SET", "appendfsync", "everysec"]);
    let sink = Sink::start(bench.port(), Recipients::OneHop).expect("it has a port of its own");
    let names: Vec<&'static str> = WAYS.into_iter().flat_map(|(names, _)| names).collect();
    let mut running = Vec::new();
    for (database, (names, express)) in WAYS.into_iter().enumerate() {
        let [_, folder, _] = names;
        let stores = [
            Store::Nowhere,
            Store::Folder(folder),
            Store::Server(&redis, database),
        ];
        for (name, store) in names.into_iter().zip(stores) {
            let config = config(&bench, cpm, name, express, store);
            running.push(Running::start(&bench, Contestant { name, config }));
        }
    }
    for size in SIZES {
        for (place, senders) in SENDERS.into_iter().enumerate() {
            let requests = (messages / size / senders).max(5);
            for round in 0..=rounds {
                for running in &running {
                    let server = cpu::time_of_process(redis.pid());
                    let [cpu, median, p99] = measure(running, &sink, (senders, size), requests);
                    let copies = (senders * size * requests) as f64;
                    let server = (cpu::time_of_process(redis.pid()) - server).as_secs_f64();
                    let values = [
                        (CPU_OF[place], cpu),
                        (SERVER_CPU_OF[place], server * 1e6 / copies),
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
    let waits = [sync_us(&bench), trip_us(&redis)];
    let fewer = rounds.div_ceil(4);
    let mut memory = String::new();
    for round in 0..fewer {
        memory = restart::measure(cpm, round, &mut samples);
    }
    take_over::measure(cpm, fewer, &mut samples);
    Report {
        name: NAME,
        text: write_text(&names, rounds, waits, &samples, &memory, about),
        picture: write_picture(&names, rounds, &samples).write(),
        samples,
    }
}

fn config(bench: &Bench, cpm: &Path, name: &str, express: &str, store: Store<'_>) -> ProxyConfig {
    let name = name.replace([' ', ','], "_");
    let own = bench.folder().join(&name);
    let config = contestant::ours(cpm)
        .set("cpm", "express", express)
        .set_number("cpm", "max_outstanding_per_sender", 0)
        .set_number("cpm", "max_outstanding_per_source", 0)
        .set_number("cpm", "max_outstanding_per_destination", 0);
    match store {
        Store::Nowhere => config,
        Store::Folder(folder) => {
            let folder = bench.folder().join(folder.replace([' ', ','], "_"));
            config.set("cpm", "store", &format!("file:{}", folder.display()))
        }
        Store::Server(redis, database) => {
            let key = bench.folder().join("id-key");
            fs::write(&key, [7; 32]).expect("the bench's folder can be written to");
            let private = Permissions::from_mode(0o600);
            fs::set_permissions(&key, private).expect("it is ours");
            let url = format!("redis://127.0.0.1:{}/{database}", redis.port());
            config
                .set("cpm", "store", &url)
                .set("cpm", "store_node", &name)
                .set("cpm", "id_key_file", &key.display().to_string())
                .set("cpm", "state_dir", &own.display().to_string())
        }
    }
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

/// The median time of an exchange of 4 KiB with the server.
fn trip_us(redis: &Redis) -> f64 {
    let server = (Ipv4Addr::LOCALHOST, redis.port());
    let mut stream = TcpStream::connect(server).expect("it listens");
    stream.set_nodelay(true).expect("it is a TCP stream");
    let command = format!(
        "*3\r\n$3\r\nSET\r\n$7\r\nmeasure\r\n$4096\r\n{}\r\n",
        "x".repeat(4096)
    );
    let mut trip = || {
        let start = Instant::now();
        let sent = stream.write_all(command.as_bytes());
        sent.expect("it holds the connection");
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).expect("it answers");
        assert_eq!(&answer, b"+OK\r\n");
        start.elapsed().as_secs_f64() * 1e6
    };
    let times: Vec<f64> = (0..200).map(|_| trip()).collect();
    Spread::of(&times).median
}

fn write_text(
    names: &[&'static str],
    rounds: usize,
    [sync_us, trip_us]: [f64; 2],
    samples: &Samples,
    memory: &str,
    about: &str,
) -> String {
    let mut table = Table::new(&[
        "",
        "recipients",
        "senders",
        CPU,
        "to no store",
        "CPU µs per message",
        "server's CPU µs",
        "ms until 202",
        "99 of 100",
    ]);
    for size in SIZES {
        for (place, senders) in SENDERS.into_iter().enumerate() {
            for own in names.chunks_exact(3) {
                for name in own {
                    let of = |quantity| samples.of(size, name, quantity);
                    let without = samples.of(size, own[0], CPU_OF[place]);
                    let cpu = Spread::of(&of(CPU_OF[place]));
                    table.row([
                        (*name).to_owned(),
                        size.to_string(),
                        senders.to_string(),
                        cpu.to_string(),
                        Spread::of_ratios(&of(CPU_OF[place]), &without).to_string(),
                        format!("{:.0}", cpu.median * size as f64),
                        format!("{:.1}", Spread::of(&of(SERVER_CPU_OF[place])).median),
                        Spread::of(&of(MEDIAN_OF[place])).to_string(),
                        Spread::of(&of(P99_OF[place])).to_string(),
                    ]);
                }
            }
            table.gap();
        }
    }
    format!(
        "Accepted messages that are kept: median (quartiles) of {rounds} rounds; CPU of all processes of the proxy\n\
         {about}redis: appendonly yes, appendfsync everysec\n\
         fdatasync after 4 KiB where the store is: {sync_us:.0} µs; exchange of 4 KiB with redis: {trip_us:.0} µs\n\n{}\n{}\n{memory}\n{}",
        table.write(),
        restart::write_text(samples),
        take_over::write_text(samples),
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
        title: "One MESSAGE to many recipients, kept and not".into(),
        subtitle: format!(
            "{PICTURED} senders with one request each at a time; medians of {rounds} rounds, whiskers are quartiles"
        ),
        series: names.iter().map(|&name| name.to_owned()).collect(),
        panels: vec![panel(&CPU_OF, CPU), panel(&MEDIAN_OF, "ms until 202")],
    }
}
