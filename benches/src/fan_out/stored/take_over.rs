//! A node dies, and another one that shares the store finishes what it has left.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::Instant;

use cpm_testbed::Bench;

use super::super::sink::{Recipients, Sink};
use super::{Store, config, load, wait_for, written};
use crate::report::{Sample, Samples, Table};

/// Outstanding when it dies.
const OUTSTANDING: usize = 10_000;
const OF_ONE: usize = 100;
const SENDERS: usize = 10;

/// The shortest that there is.
const LEASE_S: i64 = 5;

const NAME: &str = "the other node";
const TAKEN_UP: &str = "ms from the end of the first until it has taken up all recipients";
const DONE: &str = "ms from the end of the first until the last recipient has ended";

pub(super) fn measure(cpm: &Path, rounds: usize, samples: &mut Samples) {
    for round in 0..rounds {
        let bench = Bench::new("benches_take_over");
        let redis = bench.redis();
        redis.ask(&["CONFIG", "SET", "appendfsync", "everysec"]);
        let port = bench.port();
        let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
        let silent = silent.expect("it has a port of its own");
        let [first, second] = ["one", "two"].map(|name| {
            let config = config(&bench, cpm, name, "auto", Store::Server(&redis, 0))
                .set_number("cpm", "store_lease", LEASE_S)
                .set_number("cpm", "resume_rate", 100_000);
            bench.proxy(&config)
        });
        let sink = Sink::of_port(port);
        let requests = OUTSTANDING / OF_ONE / SENDERS;
        load(&first, &sink, (SENDERS, OF_ONE), requests);
        first.kill();
        let start = Instant::now();
        drop(silent);
        let sink = Sink::start(port, Recipients::OneHop).expect("it is free again");
        sink.expect(OF_ONE);
        let mut note = |quantity| {
            samples.push(Sample {
                size: OUTSTANDING,
                contestant: NAME,
                round,
                quantity,
                value: start.elapsed().as_secs_f64() * 1e3,
            });
        };
        let all = OUTSTANDING as u64;
        wait_for(&second, "resent", |count| count >= all);
        note(TAKEN_UP);
        wait_for(&second, "delivered", |count| count >= all);
        note(DONE);
        second.stop();
    }
}

pub(super) fn write_text(samples: &Samples) -> String {
    let mut table = Table::new(&[NAME, "median (quartiles)"]);
    for quantity in [TAKEN_UP, DONE] {
        let values = samples.of(OUTSTANDING, NAME, quantity);
        table.row([quantity.to_owned(), written(&values)]);
    }
    format!(
        "A node is killed with {OUTSTANDING} outstanding recipients of {} messages ({} times); store_lease {LEASE_S}, \
         resume_rate 100000:\n\n{}",
        OUTSTANDING / OF_ONE,
        samples.of(OUTSTANDING, NAME, DONE).len(),
        table.write()
    )
}
