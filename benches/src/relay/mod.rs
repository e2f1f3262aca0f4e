//! One MSRP message to many recipients: the cost of a delivered MiB in cpm's relay, compared with a
//! bare program that reads once and writes the same bytes to each socket, which is the minimum;
//! with the same program that also answers the sender and reads a response of each recipient, which
//! is the minimum that MSRP permits; and with Kamailio's `msrp` module, a relay from one to one, to
//! which the sender must send the message once for each recipient.
//!
//! All sessions are set up before the clock starts. The relay parses, answers the sender, writes
//! its own head to each recipient, reads a response of each, and reports to its main thread; the
//! bare loop does none of that. It has also just been started when its message arrives, whereas the
//! relay and the bare MSRP loop are at rest before each message: their caches are cold, which is a
//! good part of the cost of a short message to one recipient. The cost of the peers is not counted.

mod contestant;
pub mod handshakes;
mod one_to_one;
mod sink;

use std::fs;

use cpm::relay::RelayLimits;

use crate::chart::{Chart, Panel};
use crate::report::{Report, Sample, Samples, Table};
use crate::statistics::Spread;
use contestant::{BLOCK_BYTES, Cpm, Taken, bare, bare_msrp, message};
use one_to_one::OneToOne;

/// Recipients of one message.
pub const RECIPIENTS: [usize; 3] = [1, 10, 100];

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Messages, and the maximum delivered of them in one sample.
const SIZES: [(usize, &str); 2] = [(64 * KIB, "64 KiB"), (10 * MIB, "10 MiB")];
/// About this much is delivered in one sample, so that short messages are averaged over many.
const SAMPLE_BYTES: usize = 64 * MIB;

/// Messages of a sample that go through the one-to-one relay, which is slow.
const OTHERS_MESSAGES: usize = 20;

const OURS: &str = "cpm";
const BARE: &str = "bare loop";
/// With blocks four times as long.
const BARE_LONG: &str = "bare loop, 256 KiB";
const BARE_MSRP: &str = "bare MSRP loop";
const ONE_TO_ONE: &str = "Kamailio msrp";

const CPU: [&str; 2] = [
    "CPU µs per delivered MiB, 64 KiB messages",
    "CPU µs per delivered MiB, 10 MiB messages",
];
const RATE: [&str; 2] = [
    "delivered MiB/s, 64 KiB messages",
    "delivered MiB/s, 10 MiB messages",
];
const STALL: &str = "ms for 10 MiB to 99 of 100";
const PEAK: &str = "most MiB in memory, 100 MiB to 100, ten stalled";

/// Lets all take turns, `rounds` times.
///
/// # Panics
/// When a recipient does not get the message.
pub fn run(rounds: usize, about: &str) -> Report {
    let mut cpm = Cpm::start(RelayLimits::default());
    let others = OneToOne::start();
    let mut samples = Samples::default();
    let mut push = |size, contestant, round, quantity, value| {
        samples.push(Sample {
            size,
            contestant,
            round,
            quantity,
            value,
        });
    };
    for (place, (len, _)) in SIZES.into_iter().enumerate() {
        let content = content(len);
        for recipients in RECIPIENTS {
            let delivered = len * recipients;
            let messages = (SAMPLE_BYTES / delivered).clamp(1, 200);
            // Round 0 warms up and is not counted.
            for round in 0..=rounds {
                let of_cpm: Vec<Taken> = (0..messages)
                    .map(|_| {
                        let set_up = cpm.set_up(recipients);
                        cpm.deliver(set_up, &content)
                    })
                    .collect();
                let stream = message("msrp://a:9/b;tcp", "msrp://c:9/d;tcp", &content);
                let of_bare = |block_bytes: usize| -> Vec<Taken> {
                    let one = |_| bare(&stream, recipients, block_bytes);
                    (0..messages).map(one).collect()
                };
                let (of_short, of_long) = (of_bare(BLOCK_BYTES), of_bare(4 * BLOCK_BYTES));
                let of_bare_msrp: Vec<Taken> = (0..messages)
                    .map(|_| bare_msrp(&stream, recipients))
                    .collect();
                let of_others: Vec<Taken> = (0..messages.min(OTHERS_MESSAGES))
                    .map(|_| others.deliver(&content, recipients))
                    .collect();
                for (name, taken) in [
                    (OURS, of_cpm),
                    (BARE, of_short),
                    (BARE_LONG, of_long),
                    (BARE_MSRP, of_bare_msrp),
                    (ONE_TO_ONE, of_others),
                ] {
                    if round == 0 {
                        continue;
                    }
                    let mib = (delivered * taken.len()) as f64 / MIB as f64;
                    let cpu: f64 = taken.iter().map(|t| t.cpu.as_secs_f64()).sum();
                    let elapsed: f64 = taken.iter().map(|t| t.elapsed.as_secs_f64()).sum();
                    push(recipients, name, round - 1, CPU[place], cpu * 1e6 / mib);
                    push(recipients, name, round - 1, RATE[place], mib / elapsed);
                }
            }
        }
    }
    others.stop();
    stalled(rounds, &mut push);
    peak(&mut push);
    Report {
        name: "relay",
        text: write_text(rounds, &samples, about),
        picture: write_picture(rounds, &samples).write(),
        samples,
    }
}

/// The cost for the others of one recipient in 100 that reads nothing.
fn stalled(rounds: usize, push: &mut impl FnMut(usize, &'static str, usize, &'static str, f64)) {
    let content = content(10 * MIB);
    let mut cpm = Cpm::start(RelayLimits::default());
    for round in 0..=rounds {
        for (stalled, name) in [(1, "one stalled"), (0, "none stalled")] {
            cpm.stalled = stalled;
            // The same number of recipients who read.
            let set_up = cpm.set_up(99 + stalled);
            let taken = cpm.deliver(set_up, &content);
            if round > 0 {
                push(
                    100,
                    name,
                    round - 1,
                    STALL,
                    taken.elapsed.as_secs_f64() * 1e3,
                );
            }
        }
    }
}

/// The peak memory of a long message while ten of 100 recipients read nothing.
fn peak(push: &mut impl FnMut(usize, &'static str, usize, &'static str, f64)) {
    let folder = std::env::temp_dir();
    let mut cpm = Cpm::start(RelayLimits {
        spool_dir: Some(folder),
        ..RelayLimits::default()
    });
    cpm.stalled = 10;
    let content = content(100 * MIB);
    let set_up = cpm.set_up(100);
    let (mut content_bytes, mut most) = (0, 0.0_f64);
    // The message itself is in memory twice, for its sender.
    let stream = content.len() as f64;
    let before = resident_bytes() + stream;
    cpm.deliver_watched(set_up, &content, |cpm| {
        content_bytes = content_bytes.max(cpm.totals().memory_bytes);
        most = most.max(resident_bytes() - before);
    });
    push(100, "content", 0, PEAK, content_bytes as f64 / MIB as f64);
    push(100, "process", 0, PEAK, most / MIB as f64);
}

fn resident_bytes() -> f64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("proc is mounted");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.map_or(0.0, |pages: f64| pages * 4096.0)
}

/// Content without end-lines in it.
fn content(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut content = Vec::with_capacity(len + 8);
    while content.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend_from_slice(&state.to_le_bytes());
    }
    content.truncate(len);
    content
}

fn write_text(rounds: usize, samples: &Samples, about: &str) -> String {
    let mut table = Table::new(&[
        "contestant",
        "message",
        "recipients",
        "CPU µs per delivered MiB",
        "CPU, bare loop = 1",
        "CPU, bare MSRP loop = 1",
        "delivered MiB/s",
    ]);
    for (place, (_, size)) in SIZES.into_iter().enumerate() {
        for recipients in RECIPIENTS {
            let least = samples.of(recipients, BARE, CPU[place]);
            let least_msrp = samples.of(recipients, BARE_MSRP, CPU[place]);
            for name in [OURS, BARE, BARE_LONG, BARE_MSRP, ONE_TO_ONE] {
                let cpu = samples.of(recipients, name, CPU[place]);
                table.row([
                    name.to_owned(),
                    size.to_owned(),
                    recipients.to_string(),
                    Spread::of(&cpu).to_string(),
                    Spread::of_ratios(&cpu, &least).to_string(),
                    Spread::of_ratios(&cpu, &least_msrp).to_string(),
                    Spread::of(&samples.of(recipients, name, RATE[place])).to_string(),
                ]);
            }
            table.gap();
        }
    }
    let with = samples.of(100, "one stalled", STALL);
    let without = samples.of(100, "none stalled", STALL);
    let one = |size, name, quantity| samples.of(size, name, quantity)[0];
    format!(
        "One MSRP message to many: median (quartiles) of {rounds} rounds; CPU of the relay's threads or processes, sessions set up before\n\
         {about}\n{}\n\
         10 MiB to 99 recipients, time with a 100th that reads nothing / without: {}\n\
         100 MiB to 100 recipients of whom ten read nothing: at most {:.1} MiB of content in memory, \
         process grown by {:.1} MiB\n",
        table.write(),
        Spread::of_ratios(&with, &without),
        one(100, "content", PEAK),
        one(100, "process", PEAK),
    )
}

fn write_picture(rounds: usize, samples: &Samples) -> Chart {
    let panel = |quantity: &'static str, better| {
        let group = |&recipients: &usize| {
            let values = [OURS, BARE, BARE_MSRP, ONE_TO_ONE]
                .map(|name| Spread::of(&samples.of(recipients, name, quantity)));
            (recipients.to_string(), values.to_vec())
        };
        Panel {
            quantity: quantity.to_owned(),
            better,
            group_axis: "recipients of one message".into(),
            groups: RECIPIENTS.iter().map(group).collect(),
        }
    };
    Chart {
        title: "One MSRP message to many recipients".into(),
        subtitle: format!(
            "The bare loop reads a block and writes it to each socket, no more; the bare MSRP loop answers, too, and starts from rest; medians of {rounds} rounds, whiskers are quartiles"
        ),
        series: [OURS, BARE, BARE_MSRP, ONE_TO_ONE]
            .map(str::to_owned)
            .to_vec(),
        panels: vec![panel(CPU[0], "less"), panel(CPU[1], "less")],
    }
}
