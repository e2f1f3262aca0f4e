//! What it costs that an accepted message outlives the proxy: CPU time of a copy and the wait for
//! the 202, without a store and with each kind, through tm and by the express lane; what a slow
//! disk changes; how long the next proxy takes to take over a hundred thousand recipients; and
//! another node what a dead one has left.
//!
//! It takes long, and can be measured in parts. `PARTS` names some of them, `SIZES`, `ROUNDS`
//! and `MESSAGES` are those of `trial.rs`; what a run does not measure stays as it was:
//!
//! ```text
//! PARTS=cost SIZES=100 cargo run --release -p cpm-benches --features contestants store
//! ```

mod cost;
mod disk;
mod half_load;
mod restart;
mod take_over;

use std::env;
use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Bench, CpmMessage, Proxy, ProxyConfig, Redis, cpm_message};

use super::client::Client;
use super::contestant::{self, Contestant};
use super::sink::{Recipients, Sink};
use super::trial::Trial;
use super::{CPU, Running, SENDER, TEXT, request_to};
use crate::chart::{Chart, Panel};
use crate::report::{Report, Sample, Samples};
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
/// Of so many senders the picture tells.
const PICTURED: usize = 16;

/// What can be measured by itself.
const COST: &str = "cost";
const HALF_LOAD: &str = "half_load";
const DISK: &str = "disk";
const RESTART: &str = "restart";
const TAKE_OVER: &str = "take_over";
const PARTS: [&str; 5] = [COST, HALF_LOAD, DISK, RESTART, TAKE_OVER];

/// What the machine is capable of.
const MACHINE: &str = "this machine";
const SYNC: &str = "µs of fdatasync after 4 KiB where the store is";
const TRIP: &str = "µs of an exchange of 4 KiB with redis";

/// A bench alone may be slow; a hundred thousand copies take some seconds.
const PATIENCE: Duration = Duration::from_secs(240);

/// Measures all, in turns, `rounds` times with about `messages` outgoing requests each time. `cpm`
/// is the module. `earlier` is what was measured before, for what is left out.
///
/// # Panics
/// When a message does not reach every recipient.
pub fn run(cpm: &Path, turns: (usize, usize), earlier: Samples, about: &str) -> Report {
    let trial = Trial::of_environment();
    let (rounds, messages) = trial.turns(turns);
    let parts = env::var("PARTS").unwrap_or_default();
    for part in parts.split(',').filter(|part| !part.is_empty()) {
        assert!(PARTS.contains(&part), "no part {part}: {PARTS:?}");
    }
    let is_wanted = |part: &str| parts.is_empty() || parts.split(',').any(|one| one == part);
    let sizes = trial.sizes(&SIZES);
    let mut samples = Samples::default();
    if is_wanted(COST) || is_wanted(HALF_LOAD) {
        let bench = Bench::new("benches_store");
        let redis = bench.redis();
        // What a server does unless it is told otherwise.
        redis.ask(&["CONFIG", "SET", "appendfsync", "everysec"]);
        let sink = Sink::start(bench.port(), Recipients::OneHop).expect("it has a port of its own");
        let running = start_all(&bench, cpm, &redis);
        if is_wanted(COST) {
            let of = (&sink, &redis);
            cost::measure(&running, of, &sizes, (rounds, messages), &mut samples);
        }
        if is_wanted(HALF_LOAD) {
            half_load::measure(&running, &sink, &sizes, rounds, &mut samples);
        }
        for (quantity, value) in [(SYNC, sync_us(&bench)), (TRIP, trip_us(&redis))] {
            samples.push(Sample {
                size: 0,
                contestant: MACHINE,
                round: 0,
                quantity,
                value,
            });
        }
        for running in running {
            running.proxy.stop();
        }
    }
    if is_wanted(DISK) {
        disk::measure(cpm, rounds, &mut samples);
    }
    if is_wanted(RESTART) {
        restart::measure(cpm, rounds, &mut samples);
    }
    if is_wanted(TAKE_OVER) {
        take_over::measure(cpm, rounds, &mut samples);
    }
    let samples = samples.or(earlier);
    let names: Vec<&'static str> = WAYS.into_iter().flat_map(|(names, _)| names).collect();
    Report {
        name: NAME,
        text: write_text(&names, &samples, about),
        picture: write_picture(&names, &samples).write(),
        samples,
    }
}

fn start_all(bench: &Bench, cpm: &Path, redis: &Redis) -> Vec<Running> {
    let mut running = Vec::new();
    for (database, (names, express)) in WAYS.into_iter().enumerate() {
        let [_, folder, _] = names;
        let stores = [
            Store::Nowhere,
            Store::Folder(folder),
            Store::Server(redis, database),
        ];
        for (name, store) in names.into_iter().zip(stores) {
            let config = config(bench, cpm, name, express, store);
            running.push(Running::start(bench, Contestant { name, config }));
        }
    }
    running
}

/// Where the store of this name is.
fn folder_of(bench: &Bench, name: &str) -> PathBuf {
    bench.folder().join(name.replace([' ', ','], "_"))
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
            let folder = folder_of(bench, folder);
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

/// So many senders, each with one request at a time, and the next at once: ms until each 202.
fn load(proxy: &Proxy, sink: &Sink, crowd: (usize, usize), requests: usize) -> Vec<f64> {
    load_at_pace(proxy, sink, crowd, requests, |_| || ())
}

/// The same; before each request a sender does what `pace` gives for its number.
fn load_at_pace<P: FnMut()>(
    proxy: &Proxy,
    sink: &Sink,
    (senders, recipients): (usize, usize),
    requests: usize,
    pace: impl Fn(usize) -> P + Sync,
) -> Vec<f64> {
    let way = proxy.tcp();
    let request = request_to(&message(), sink, recipients);
    let send_all = |sender| {
        let mut client = Client::connect(way).expect("a proxy that is ready can be reached");
        let mut wait = pace(sender);
        let send = |_| {
            wait();
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
        let send_all = &send_all;
        let threads: Vec<_> = (0..senders)
            .map(|sender| scope.spawn(move || send_all(sender)))
            .collect();
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

/// Median and quartiles, if it was measured.
fn written(values: &[f64]) -> String {
    match values {
        [] => "not measured".to_owned(),
        _ => Spread::of(values).to_string(),
    }
}

fn write_text(names: &[&'static str], samples: &Samples, about: &str) -> String {
    let of_machine = |quantity| written(&samples.of(0, MACHINE, quantity));
    format!(
        "Accepted messages that are kept: median (quartiles) of the rounds; CPU of all processes of the proxy\n\
         {about}redis: appendonly yes, appendfsync everysec\n\
         {SYNC}: {}; {TRIP}: {}\n\n{}\n{}\n{}\n{}\n{}",
        of_machine(SYNC),
        of_machine(TRIP),
        cost::write_text(names, &SIZES, samples),
        half_load::write_text(names, &SIZES, samples),
        disk::write_text(samples),
        restart::write_text(samples),
        take_over::write_text(samples),
    )
}

fn write_picture(names: &[&'static str], samples: &Samples) -> Chart {
    let place = cost::SENDERS
        .iter()
        .position(|senders| *senders == PICTURED);
    let place = place.unwrap_or_default();
    let panel = |quantity: &'static str, title: &str| Panel {
        quantity: title.to_owned(),
        better: "less",
        group_axis: "recipients of one MESSAGE".into(),
        groups: SIZES
            .iter()
            .filter(|size| !samples.of(**size, names[0], quantity).is_empty())
            .map(|&size| {
                let values = names
                    .iter()
                    .map(|name| Spread::of(&samples.of(size, name, quantity)));
                (size.to_string(), values.collect())
            })
            .collect(),
    };
    Chart {
        title: "One MESSAGE to many recipients, kept and not".into(),
        subtitle: format!(
            "{PICTURED} senders; CPU as fast as they can, 202 at half of that rate; medians, whiskers are quartiles"
        ),
        series: names.iter().map(|&name| name.to_owned()).collect(),
        panels: vec![
            panel(cost::CPU_OF[place], CPU),
            panel(half_load::MEDIAN, "ms until 202"),
        ],
    }
}
