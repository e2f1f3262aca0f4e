//! One pager mode MESSAGE to many: the cost of an outgoing request in each contestant's Kamailio,
//! and how long the sender waits for its 202, in several [`Setting`]s.
//!
//! Every contestant has its own Kamailio, with the same settings of modules and the same number of
//! workers. All get the same request, all send the same payload with the same header fields to the
//! same `Sink`, which answers 200 at once. One request is in progress at a time, and a sample ends
//! when the last transaction has ended, so that no contestant pays for another's remaining work.

mod client;
mod contestant;
pub mod crowd;
pub mod dead_names;
mod foreign;
pub mod hanging_xdms;
pub mod opensips;
mod sink;
pub mod stored;
mod trial;

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Bench, CpmMessage, Proxy, Request, Way, cpm_message, to};

use crate::chart::{Chart, Panel};
use crate::cpu;
use crate::report::{Report, Sample, Samples, Table};
use crate::statistics::Spread;
use client::Client;
use contestant::{ALLOCATOR, Contestant, EXPLODER};
pub use sink::Recipients;
use sink::Sink;
use trial::Trial;

/// Recipients per request.
pub const SIZES: [usize; 3] = [10, 100, 1_000];

const SENDER: &str = "sip:anne@example.com";
const TEXT: &str = "Shall we meet for lunch at noon? The place at the corner has a new cook.";

/// Time limit for all transactions to end: far longer than the proxies' wait timer.
const PATIENCE: Duration = Duration::from_secs(15);
const ASK_AGAIN: Duration = Duration::from_millis(25);

const CPU: &str = "CPU µs per outgoing MESSAGE";
const ACCEPTED: &str = "ms until 202";
const RATE: &str = "outgoing MESSAGEs/s";
const REPEATED: &str = "repeated MESSAGEs";

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The stem of the report's files.
    pub name: &'static str,
    /// What is special about it.
    pub title: &'static str,
    /// Recipients per request.
    pub sizes: &'static [usize],
    /// Where they are.
    pub recipients: Recipients,
    /// Milliseconds that tm keeps a transaction after its end.
    pub wait_timer_ms: i64,
}

/// With tm's default of 5 s each sample would wait that long.
const SHORT_WAIT_MS: i64 = 100;

/// All settings, the usual one first.
pub const SETTINGS: [Setting; 5] = [
    Setting {
        name: "fan_out",
        title: "over UDP to one next hop",
        sizes: &SIZES,
        recipients: Recipients::OneHop,
        wait_timer_ms: SHORT_WAIT_MS,
    },
    Setting {
        name: "fan_out_many_hops",
        title: "over UDP to as many next hops",
        sizes: &SIZES,
        recipients: Recipients::ManyHops,
        wait_timer_ms: SHORT_WAIT_MS,
    },
    Setting {
        name: "fan_out_tcp",
        title: "over TCP to one next hop",
        sizes: &SIZES,
        recipients: Recipients::Tcp,
        wait_timer_ms: SHORT_WAIT_MS,
    },
    Setting {
        name: "fan_out_in_batches",
        title: "over UDP to one next hop that answers in batches",
        sizes: &SIZES,
        recipients: Recipients::InBatches,
        wait_timer_ms: SHORT_WAIT_MS,
    },
    Setting {
        name: "fan_out_wait_timer",
        title: "over UDP to one next hop, tm's wt_timer at its default",
        sizes: &[1_000],
        recipients: Recipients::OneHop,
        wait_timer_ms: 5_000,
    },
];

/// Lets the contestants take turns, `rounds` times with about `messages` outgoing requests each
/// time. `cpm` and `bare_tm` are the modules.
///
/// # Panics
/// When a contestant does not reach every recipient exactly once, or does not send what the others
/// send.
pub fn run(
    setting: &Setting,
    cpm: &Path,
    bare_tm: &Path,
    (rounds, messages): (usize, usize),
    about: &str,
) -> Report {
    let bench = Bench::new(&format!("benches_{}", setting.name));
    let sink = Sink::start(bench.port(), setting.recipients);
    let sink = sink.expect("the sink has a port of its own");
    let message = cpm_message(SENDER, EXPLODER).text(TEXT);
    let trial = Trial::of_environment();
    let mut contestants = trial.contestants(contestant::all(&bench, cpm, bare_tm, &message));
    for contestant in &mut contestants {
        let config = contestant.config.clone();
        contestant.config = config.set_number("tm", "wt_timer", setting.wait_timer_ms);
    }
    let contest = Contest {
        name: setting.name,
        title: setting.title,
        proxy: "A Kamailio",
        way: Proxy::tcp,
        sizes: &trial.sizes(setting.sizes),
        scripts: &contestant::SCRIPTS,
        is_same_message: true,
        memory: ALLOCATOR,
    };
    let turns = trial.turns((rounds, messages));
    run_contest(&contest, &bench, (sink, message), contestants, turns, about)
}

/// What is said of a contest, and what is compared.
struct Contest<'a> {
    name: &'static str,
    title: &'static str,
    /// With its article.
    proxy: &'static str,
    /// How requests reach the proxy.
    way: fn(&Proxy) -> Way,
    /// Recipients per request.
    sizes: &'a [usize],
    /// What a user would write.
    scripts: &'static [&'static str],
    /// All send the same header fields and body; else as many bytes, and the request tells the
    /// number of its recipients in a header field, for a script that cannot read the list.
    is_same_message: bool,
    /// The manager of shared memory.
    memory: &'static str,
}

impl Contest<'_> {
    fn request(&self, message: &CpmMessage, sink: &Sink, recipients: usize) -> Request {
        let request = request_to(message, sink, recipients);
        if self.is_same_message {
            request
        } else {
            request.with("X-Recipients", &recipients.to_string())
        }
    }
}

fn run_contest(
    contest: &Contest<'_>,
    bench: &Bench,
    (sink, message): (Sink, CpmMessage),
    contestants: Vec<Contestant>,
    (rounds, messages): (usize, usize),
    about: &str,
) -> Report {
    let mut stage = Stage {
        sink,
        message,
        running: Vec::new(),
    };
    for contestant in contestants {
        stage.enter(contest.way, bench, contestant);
    }
    stage.compare(contest);

    let mut samples = Samples::default();
    for &recipients in contest.sizes {
        let requests = messages.div_ceil(recipients);
        for running in &mut stage.running {
            // Not counted: it fills the free lists and maps the memory.
            let request = contest.request(&stage.message, &stage.sink, recipients);
            running.measure(&stage.sink, &request, recipients, requests);
        }
        for round in 0..rounds {
            for running in &mut stage.running {
                let request = contest.request(&stage.message, &stage.sink, recipients);
                for (quantity, value) in
                    running.measure(&stage.sink, &request, recipients, requests)
                {
                    let contestant = running.name;
                    samples.push(Sample {
                        size: recipients,
                        contestant,
                        round,
                        quantity,
                        value,
                    });
                }
            }
        }
    }
    let names: Vec<&'static str> = stage.running.iter().map(|running| running.name).collect();
    for running in stage.running {
        running.proxy.stop();
    }
    Report {
        name: contest.name,
        text: write_text(contest, &names, rounds, &samples, about),
        picture: write_picture(contest, &names, rounds, &samples).write(),
        samples,
    }
}

/// All that is there while it runs.
struct Stage {
    sink: Sink,
    message: CpmMessage,
    running: Vec<Running>,
}

/// The total times of some requests.
#[derive(Default)]
struct Times {
    /// Until the 202.
    accepted: Duration,
    /// Until the last recipient had it.
    whole: Duration,
    repeated: usize,
}

/// A contestant's proxy and the connection to it.
struct Running {
    name: &'static str,
    proxy: Proxy,
    client: Client,
}

impl Stage {
    fn enter(&mut self, way: fn(&Proxy) -> Way, bench: &Bench, contestant: Contestant) {
        self.running
            .push(Running::start_over(way, bench, contestant));
    }

    /// Checks that all send the same, and warms them up.
    fn compare(&mut self, contest: &Contest) {
        let mut first: Option<Outgoing> = None;
        for running in &mut self.running {
            for &recipients in contest.sizes {
                let request = contest.request(&self.message, &self.sink, recipients);
                running.measure(&self.sink, &request, recipients, 2);
            }
            let outgoing = Outgoing::read(&self.sink.last_datagram());
            let Some(first) = &first else {
                first = Some(outgoing);
                continue;
            };
            if contest.is_same_message {
                assert_eq!(
                    first.names, outgoing.names,
                    "{}: header fields",
                    running.name
                );
                assert_eq!(first.body, outgoing.body, "{}: body", running.name);
            }
            // Call-ID and tags have each contestant's own length.
            let (one, other) = (first.bytes as f64, outgoing.bytes as f64);
            assert!(
                (other / one - 1.0).abs() < 0.05,
                "{}: {other} bytes, not {one}",
                running.name
            );
        }
    }
}

impl Running {
    fn start(bench: &Bench, contestant: Contestant) -> Self {
        Self::start_over(Proxy::tcp, bench, contestant)
    }

    /// Requests reach it this way.
    fn start_over(way: fn(&Proxy) -> Way, bench: &Bench, contestant: Contestant) -> Self {
        let proxy = bench.proxy(&contestant.config);
        let client = Client::connect(way(&proxy)).expect("a proxy that is ready can be reached");
        Self {
            name: contestant.name,
            proxy,
            client,
        }
    }

    /// Only the rate, of a proxy that has other transactions as well.
    fn measure_busy(
        &mut self,
        sink: &Sink,
        request: &Request,
        recipients: usize,
        requests: usize,
    ) -> f64 {
        let times = self.send(sink, request, recipients, requests);
        (recipients * requests) as f64 / times.whole.as_secs_f64()
    }

    fn measure(
        &mut self,
        sink: &Sink,
        request: &Request,
        recipients: usize,
        requests: usize,
    ) -> [(&'static str, f64); 4] {
        let cpu = cpu::time_of(&self.proxy);
        let times = self.send(sink, request, recipients, requests);
        self.wait_idle();
        let cpu = cpu::time_of(&self.proxy) - cpu;
        let sent = (recipients * requests) as f64;
        [
            (CPU, cpu.as_secs_f64() * 1e6 / sent),
            (
                ACCEPTED,
                times.accepted.as_secs_f64() * 1e3 / requests as f64,
            ),
            (RATE, sent / times.whole.as_secs_f64()),
            (REPEATED, times.repeated as f64),
        ]
    }

    fn send(
        &mut self,
        sink: &Sink,
        request: &Request,
        recipients: usize,
        requests: usize,
    ) -> Times {
        let mut times = Times::default();
        for _ in 0..requests {
            let request = request.again();
            sink.expect(recipients);
            let start = Instant::now();
            self.client
                .send(&request)
                .expect("the proxy holds the connection");
            let status = self.client.read_status();
            let status = status.unwrap_or_else(|error| panic!("{}: {error}", self.name));
            times.accepted += start.elapsed();
            assert_eq!(status, 202, "{}", self.name);
            times.repeated += sink.wait();
            times.whole += start.elapsed();
        }
        times
    }

    /// Whether copies of ours that were sent without tm are still outstanding.
    fn is_in_the_lane(&self) -> bool {
        const OUTSTANDING: &str = "cpm.express_outstanding";
        self.name.starts_with("cpm")
            && self
                .proxy
                .rpc_number(&format!("stats.fetch {OUTSTANDING}"), OUTSTANDING)
                > 0
    }

    /// Waits until the proxy has no transaction left.
    fn wait_idle(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.proxy.transactions() > 0 || self.is_in_the_lane() {
            assert!(
                Instant::now() < deadline,
                "{}: transactions that do not end",
                self.name
            );
            thread::sleep(ASK_AGAIN);
        }
    }
}

/// The compared data of an outgoing request.
struct Outgoing {
    names: BTreeSet<String>,
    body: Vec<u8>,
    bytes: usize,
}

impl Outgoing {
    fn read(datagram: &[u8]) -> Self {
        let end = datagram
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("a request has an end");
        let head = String::from_utf8_lossy(&datagram[..end]).into_owned();
        let names = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        Self {
            names: names
                .map(|(name, _)| name.trim().to_ascii_lowercase())
                .collect(),
            body: datagram[end + 4..].to_vec(),
            bytes: datagram.len(),
        }
    }
}

fn request_to(message: &CpmMessage, sink: &Sink, recipients: usize) -> Request {
    let uris = (0..recipients).map(|place| to(&sink.uri(place)));
    message.clone().recipients(uris).request()
}

fn write_text(
    contest: &Contest<'_>,
    names: &[&str],
    rounds: usize,
    samples: &Samples,
    about: &str,
) -> String {
    let ours = names[0];
    let ratio_head = format!("CPU, {ours} = 1");
    let mut table = Table::new(&[
        "contestant",
        "recipients",
        CPU,
        "worst round",
        &ratio_head,
        ACCEPTED,
        RATE,
        "repeated",
    ]);
    let mut to_scripts = Vec::new();
    for (place, &size) in contest.sizes.iter().enumerate() {
        if place > 0 {
            table.gap();
        }
        let own = samples.of(size, ours, CPU);
        for name in names {
            let of = |quantity| samples.of(size, name, quantity);
            let worst = of(CPU).into_iter().fold(0.0, f64::max);
            table.row([
                (*name).to_owned(),
                size.to_string(),
                Spread::of(&of(CPU)).to_string(),
                format!("{worst:.1}"),
                Spread::of_ratios(&of(CPU), &own).to_string(),
                Spread::of(&of(ACCEPTED)).to_string(),
                Spread::of(&of(RATE)).to_string(),
                format!("{:.0}", of(REPEATED).iter().sum::<f64>()),
            ]);
        }
        let better = contest
            .scripts
            .iter()
            .map(|script| samples.of(size, script, CPU))
            .filter(|samples| !samples.is_empty())
            .min_by(|one, other| Spread::of(one).median.total_cmp(&Spread::of(other).median));
        if let Some(better) = better {
            to_scripts.push(format!("{} at {size}", Spread::of_ratios(&own, &better)));
        }
    }
    format!(
        "One MESSAGE to many {}: median (quartiles) of {rounds} rounds; CPU of all processes of the proxy\n{about}\
         shared memory: {}\n\n{}\n\
         CPU of {ours} to the better script's: {}\n",
        contest.title,
        contest.memory,
        table.write(),
        to_scripts.join(", ")
    )
}

fn write_picture(contest: &Contest<'_>, names: &[&str], rounds: usize, samples: &Samples) -> Chart {
    let groups = |quantity: &'static str| {
        let group = |&size: &usize| {
            let values = names
                .iter()
                .map(|name| Spread::of(&samples.of(size, name, quantity)));
            (size.to_string(), values.collect())
        };
        contest.sizes.iter().map(group).collect()
    };
    let panel = |quantity: &'static str, better| Panel {
        quantity: quantity.to_owned(),
        better,
        group_axis: "recipients of one MESSAGE".into(),
        groups: groups(quantity),
    };
    Chart {
        title: format!("One MESSAGE to many recipients, {}", contest.title),
        subtitle: format!(
            "{} each, same payload, one request at a time; medians of {rounds} rounds, whiskers are quartiles",
            contest.proxy
        ),
        series: names.iter().map(|&name| name.to_owned()).collect(),
        panels: vec![panel(CPU, "less"), panel(RATE, "more")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_compared_by_names_body_and_size() {
        let outgoing = Outgoing::read(
            b"MESSAGE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\nCall-ID: 1\r\n\r\nhi\r\n\r\n",
        );
        assert_eq!(Vec::from_iter(outgoing.names), ["call-id", "to"]);
        assert_eq!(outgoing.body, b"hi\r\n\r\n");
    }
}
