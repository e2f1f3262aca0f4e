//! Senders whose messages come at a rate that leaves half of the processors idle, at random times:
//! the 202 waits for what has to be done for it, and not, as at the limit, for all that is queued.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::super::Running;
use super::super::sink::Sink;
use super::cost::{more_than, share_of, wait_delivered};
use super::load_at_pace;
use crate::report::{Sample, Samples, Table};
use crate::statistics::Spread;

const SENDERS: usize = 16;

pub(super) const MEDIAN: &str = "ms until 202, 16 senders at half load";
const P99: &str = "ms until 202, 99 of 100, 16 senders at half load";
const RATE: &str = "messages/s, 16 senders at half load";
const BUSY: &str = "% of the processors, 16 senders at half load";

/// How long one turn lasts, in seconds; and messages in it, at the least.
const LASTS_S: f64 = 3.0;
const LEAST: usize = 10 * SENDERS;

/// The share of the processors that are busy, and what it takes to find out at which rate they are:
/// copies per second at first, and how often the rate is set right.
const HALF: f64 = 0.5;
const FIRST_RATE: usize = 3_000;
const TRIES: usize = 2;

/// All of them in turns, at the same rate where they have the same way out: the one at which half
/// of the processors is busy with the store in a folder.
pub(super) fn measure(
    running: &[Running],
    sink: &Sink,
    sizes: &[usize],
    rounds: usize,
    samples: &mut Samples,
) {
    for &size in sizes {
        let half = |way: &[Running]| {
            let mut rate = FIRST_RATE as f64 / size as f64;
            for _ in 0..TRIES {
                let [.., (_, sent), (_, busy)] = take_paced_turn(&way[1], sink, size, rate, 0);
                rate = sent * HALF * 100.0 / busy.max(1.0);
            }
            rate
        };
        let rates: Vec<f64> = running.chunks_exact(3).map(half).collect();
        for round in 0..rounds {
            for (way, rate) in running.chunks_exact(3).zip(&rates) {
                for one in way {
                    let values = take_paced_turn(one, sink, size, *rate, round as u64);
                    for (quantity, value) in values {
                        samples.push(Sample {
                            size,
                            contestant: one.name,
                            round,
                            quantity,
                            value,
                        });
                    }
                }
            }
        }
    }
}

fn take_paced_turn(
    running: &Running,
    sink: &Sink,
    size: usize,
    rate: f64,
    seed: u64,
) -> [(&'static str, f64); 4] {
    sink.expect(size);
    let requests = ((rate * LASTS_S) as usize).max(LEAST).div_ceil(SENDERS);
    let before = running.proxy.statistic("cpm", "delivered");
    let gap_s = SENDERS as f64 / rate;
    let pace = |sender: usize| {
        let mut random = fastrand::Rng::with_seed(seed * 1_000 + sender as u64);
        let mut next = Instant::now();
        move || {
            next += Duration::from_secs_f64(-(1.0 - random.f64()).ln() * gap_s);
            // One that has had to wait for the last 202 does not make up for it.
            next = next.max(Instant::now());
            thread::sleep(next - Instant::now());
        }
    };
    let (start, used) = (Instant::now(), Processors::now());
    let mut waits = load_at_pace(&running.proxy, sink, (SENDERS, size), requests, pace);
    let (took, busy) = (start.elapsed(), used.busy_since());
    wait_delivered(running, before + (waits.len() * size) as u64);
    running.wait_idle();
    let rate = waits.len() as f64 / took.as_secs_f64();
    waits.sort_by(f64::total_cmp);
    [
        (MEDIAN, share_of(&waits, 50)),
        (P99, share_of(&waits, 99)),
        (RATE, rate),
        (BUSY, busy * 100.0),
    ]
}

/// What all processors have done so far, in ticks.
struct Processors {
    idle: u64,
    all: u64,
}

impl Processors {
    fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let words = line.split_ascii_whitespace().skip(1);
        // What guests take is in the user's time.
        let ticks: Vec<u64> = words.take(8).filter_map(|word| word.parse().ok()).collect();
        let of = |place: usize| ticks.get(place).copied().unwrap_or(0);
        Processors {
            // Idle, and idle while something waits for a disk.
            idle: of(3) + of(4),
            all: ticks.iter().sum(),
        }
    }

    /// The share of the time since then in which they were not idle.
    fn busy_since(&self) -> f64 {
        let now = Self::now();
        let all = (now.all - self.all).max(1);
        1.0 - (now.idle - self.idle) as f64 / all as f64
    }
}

pub(super) fn write_text(names: &[&str], sizes: &[usize], samples: &Samples) -> String {
    let mut table = Table::new(&[
        "16 senders at half load",
        "recipients",
        "rounds",
        "messages/s",
        "% of the processors",
        "ms until 202",
        "more than no store",
        "99 of 100",
    ]);
    for &size in sizes {
        for own in names.chunks_exact(3) {
            let without = samples.of(size, own[0], MEDIAN);
            for name in own.iter().filter(|_| !without.is_empty()) {
                let of = |quantity| samples.of(size, name, quantity);
                table.row([
                    (*name).to_owned(),
                    size.to_string(),
                    without.len().to_string(),
                    format!("{:.0}", Spread::of(&of(RATE)).median),
                    format!("{:.0}", Spread::of(&of(BUSY)).median),
                    Spread::of(&of(MEDIAN)).to_string(),
                    format!("{:.2}", more_than(&of(MEDIAN), &without)),
                    Spread::of(&of(P99)).to_string(),
                ]);
            }
        }
        table.gap();
    }
    table.write()
}
