//! Senders that send as fast as they get their 202: CPU time of a copy, and the wait for the 202,
//! which is above all that for the copies of the other senders' messages.

use std::thread;
use std::time::Instant;

use cpm_testbed::Redis;

use super::super::sink::Sink;
use super::super::{ASK_AGAIN, CPU, Running};
use super::{PATIENCE, load};
use crate::cpu;
use crate::report::{Sample, Samples, Table};
use crate::statistics::Spread;

pub(super) const SENDERS: [usize; 3] = [1, 16, 64];

pub(super) const CPU_OF: [&str; 3] = [
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
pub(super) const MEDIAN_OF: [&str; 3] = [
    "ms until 202, 1 sender",
    "ms until 202, 16 senders",
    "ms until 202, 64 senders",
];
const P99_OF: [&str; 3] = [
    "ms until 202, 99 of 100, 1 sender",
    "ms until 202, 99 of 100, 16 senders",
    "ms until 202, 99 of 100, 64 senders",
];

/// Each sender sends as many, within these limits: a sample of few is all chance, and one of many
/// messages to one recipient each takes long.
const LEAST: usize = 5;
const MOST: usize = 2_000;

/// What one turn has shown.
pub(super) struct Turn {
    /// Of all processes of the proxy, per copy.
    pub(super) cpu_us: f64,
    pub(super) median_ms: f64,
    pub(super) p99_ms: f64,
}

/// All of them in turns, `rounds` times with about `copies` each time.
pub(super) fn measure(
    running: &[Running],
    (sink, redis): (&Sink, &Redis),
    sizes: &[usize],
    (rounds, copies): (usize, usize),
    samples: &mut Samples,
) {
    for &size in sizes {
        for (place, senders) in SENDERS.into_iter().enumerate() {
            let requests = (copies / size / senders).min(MOST / senders).max(LEAST);
            for round in 0..=rounds {
                for running in running {
                    let server = cpu::time_of_process(redis.pid());
                    let turn = take_turn(running, sink, (senders, size), requests);
                    let server = (cpu::time_of_process(redis.pid()) - server).as_secs_f64();
                    let values = [
                        (CPU_OF[place], turn.cpu_us),
                        (
                            SERVER_CPU_OF[place],
                            server * 1e6 / (senders * size * requests) as f64,
                        ),
                        (MEDIAN_OF[place], turn.median_ms),
                        (P99_OF[place], turn.p99_ms),
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
}

/// So many senders send so many requests each, and all copies get their answer.
pub(super) fn take_turn(
    running: &Running,
    sink: &Sink,
    (senders, recipients): (usize, usize),
    requests: usize,
) -> Turn {
    sink.expect(recipients);
    let messages = senders * requests;
    let copies = (messages * recipients) as u64;
    let before = running.proxy.statistic("cpm", "delivered");
    let cpu = cpu::time_of(&running.proxy);
    let mut waits = load(&running.proxy, sink, (senders, recipients), requests);
    wait_delivered(running, before + copies);
    running.wait_idle();
    let cpu = cpu::time_of(&running.proxy) - cpu;
    waits.sort_by(f64::total_cmp);
    Turn {
        cpu_us: cpu.as_secs_f64() * 1e6 / copies as f64,
        median_ms: share_of(&waits, 50),
        p99_ms: share_of(&waits, 99),
    }
}

/// Waits until so many recipients of this proxy have had theirs, and the store knows it.
pub(super) fn wait_delivered(running: &Running, all: u64) {
    let of = |name| running.proxy.statistic("cpm", name);
    let deadline = Instant::now() + PATIENCE;
    while of("delivered") < all || of("outstanding") > 0 {
        assert!(Instant::now() < deadline, "{}", running.name);
        thread::sleep(ASK_AGAIN);
    }
}

/// The value that so many of 100 do not exceed.
pub(super) fn share_of(sorted: &[f64], share: usize) -> f64 {
    sorted[(sorted.len() * share / 100).min(sorted.len() - 1)]
}

pub(super) fn write_text(names: &[&str], sizes: &[usize], samples: &Samples) -> String {
    let mut table = Table::new(&[
        "as fast as they can",
        "recipients",
        "senders",
        "rounds",
        CPU,
        "to no store",
        "CPU µs per message",
        "more than no store",
        "server's CPU µs",
        "ms until 202",
        "99 of 100",
    ]);
    for &size in sizes {
        for (place, senders) in SENDERS.into_iter().enumerate() {
            for own in names.chunks_exact(3) {
                let without = samples.of(size, own[0], CPU_OF[place]);
                for name in own.iter().filter(|_| !without.is_empty()) {
                    let of = |quantity| samples.of(size, name, quantity);
                    let ratios = Spread::of_ratios(&of(CPU_OF[place]), &without);
                    let cpu = Spread::of(&of(CPU_OF[place]));
                    let more = more_than(&of(CPU_OF[place]), &without);
                    table.row([
                        (*name).to_owned(),
                        size.to_string(),
                        senders.to_string(),
                        without.len().to_string(),
                        cpu.to_string(),
                        ratios.to_string(),
                        format!("{:.0}", cpu.median * size as f64),
                        format!("{:.0}", more * size as f64),
                        format!("{:.1}", Spread::of(&of(SERVER_CPU_OF[place])).median),
                        Spread::of(&of(MEDIAN_OF[place])).to_string(),
                        Spread::of(&of(P99_OF[place])).to_string(),
                    ]);
                }
            }
            table.gap();
        }
    }
    table.write()
}

/// The median of the differences within the rounds.
pub(super) fn more_than(samples: &[f64], others: &[f64]) -> f64 {
    let pairs = samples.iter().zip(others);
    let more: Vec<f64> = pairs.map(|(sample, other)| sample - other).collect();
    Spread::of(&more).median
}
