//! Long lists, through the express lane and through tm: how long the sender of ten thousand copies
//! waits for its 202, how late other SIP requests on the same workers are meanwhile, and the shared
//! memory of copies that nobody has answered.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::Duration;

use cpm_testbed::{Bench, CpmMessage, Proxy, ProxyConfig, cpm_message, to};

use super::contestant::{self, Contestant};
use super::foreign::{PAUSE, round_trips};
use super::sink::{Recipients, Sink};
use super::{ACCEPTED, CPU, Running, SENDER, TEXT, request_to};
use crate::chart::{Chart, Panel};
use crate::report::{Report, Sample, Samples, Table};
use crate::statistics::{Spread, quantile};

const LANE: &str = "cpm";
const TM: &str = "cpm through tm";

const CROWD: usize = 10_000;
const LIST: usize = 1_000;

const IDLE_UDP: &str = "idle, µs of a round trip over UDP";
const IDLE_TCP: &str = "idle, µs of a round trip over TCP";
const LATE_UDP: &str = "late over UDP, µs";
const LATE_TCP: &str = "late over TCP, µs";
const BYTES: &str = "bytes for each outstanding recipient";

/// The times of foreign requests, and how many there were.
const TIMES: [(&str, &str); 4] = [
    (IDLE_UDP, "idle, requests over UDP"),
    (IDLE_TCP, "idle, requests over TCP"),
    (LATE_UDP, "meanwhile, requests over UDP"),
    (LATE_TCP, "meanwhile, requests over TCP"),
];

/// Of thousands of times as many quantiles are kept, and the smallest one.
const QUANTILES: usize = 200;

/// Other requests are answered at once, without a transaction.
const ROUTES: &str = "request_route {
    if (method == \"OPTIONS\") {
        sl_send_reply(\"200\", \"OK\");
        exit;
    }
    cpm_handle();
}";

/// Measures both, `rounds` times. `cpm` is the module.
///
/// # Panics
/// When a message does not reach every recipient.
pub fn run(cpm: &Path, rounds: usize, about: &str) -> Report {
    let mut samples = Samples::default();
    for (name, express) in [(LANE, "auto"), (TM, "no")] {
        let config = contestant::ours_with(cpm, ROUTES)
            .load("sl")
            .set("cpm", "express", express)
            .set_number("cpm", "max_recipients", CROWD as i64)
            .set_number("cpm", "max_outstanding_per_sender", 0)
            .set_number("cpm", "max_outstanding_per_source", 0)
            .set_number("cpm", "max_outstanding_per_destination", 0)
            .children(1);
        measure_crowd(name, &config, rounds, &mut samples);
        measure_others(name, &config, rounds, &mut samples);
        measure_memory(name, &config, &mut samples);
    }
    Report {
        name: "crowd",
        text: write_text(rounds, &samples, about),
        picture: write_picture(rounds, &samples).write(),
        samples,
    }
}

fn start(bench: &Bench, name: &'static str, config: &ProxyConfig) -> Running {
    let config = config.clone();
    Running::start(bench, Contestant { name, config })
}

fn message() -> CpmMessage {
    cpm_message(SENDER, contestant::EXPLODER).text(TEXT)
}

/// The 202 of ten thousand copies, and what each costs.
fn measure_crowd(name: &'static str, config: &ProxyConfig, rounds: usize, samples: &mut Samples) {
    let bench = Bench::new("benches_crowd");
    let sink = Sink::start(bench.port(), Recipients::OneHop).expect("it has a port of its own");
    let mut running = start(&bench, name, config);
    running.measure(&sink, &request_to(&message(), &sink, CROWD), CROWD, 1);
    for round in 0..rounds {
        let request = request_to(&message(), &sink, CROWD);
        for (quantity, value) in running.measure(&sink, &request, CROWD, 1) {
            samples.push(Sample {
                size: CROWD,
                contestant: name,
                round,
                quantity,
                value,
            });
        }
    }
    running.proxy.stop();
}

/// Foreign requests: without anything else, then while one fan-out follows the other.
fn measure_others(name: &'static str, config: &ProxyConfig, rounds: usize, samples: &mut Samples) {
    let bench = Bench::new("benches_others");
    let sink = Sink::start(bench.port(), Recipients::OneHop).expect("it has a port of its own");
    let mut running = start(&bench, name, config);
    let address = running.proxy.tcp().address();
    let (idle_udp, idle_tcp) = round_trips(address, || thread::sleep(Duration::from_secs(1)));
    // Written before: whoever writes lists is busy as well.
    let request = request_to(&message(), &sink, LIST);
    let (udp, tcp) = round_trips(address, || {
        running.send(&sink, &request, LIST, rounds * 20);
    });
    let usual = |idle: &[f64]| Spread::of(idle).median;
    let late = |busy: Vec<f64>, usual: f64| busy.into_iter().map(move |time| time - usual);
    let (usual_udp, usual_tcp) = (usual(&idle_udp), usual(&idle_tcp));
    let times = [
        idle_udp,
        idle_tcp,
        late(udp, usual_udp).collect(),
        late(tcp, usual_tcp).collect(),
    ];
    for ((quantity, requests), values) in TIMES.into_iter().zip(times) {
        let mut push = |quantity, round, value| {
            samples.push(Sample {
                size: LIST,
                contestant: name,
                round,
                quantity,
                value,
            });
        };
        push(requests, 0, values.len() as f64);
        for place in 0..=QUANTILES {
            let share = place as f64 / QUANTILES as f64;
            push(quantity, place, quantile(&values, share));
        }
    }
    running.wait_idle();
    running.proxy.stop();
}

/// What is held for recipients who never answer.
fn measure_memory(name: &'static str, config: &ProxyConfig, samples: &mut Samples) {
    let bench = Bench::new("benches_memory");
    // Bound and never read.
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, bench.port())).expect("its own port");
    let address = silent.local_addr().expect("it is bound");
    let mut running = start(&bench, name, config);
    let mut held = |recipients: usize| {
        let uris = (0..recipients).map(|place| to(&format!("sip:u{place:04}@{address}")));
        let request = message().recipients(uris).request();
        let before = held_bytes(name, &running.proxy);
        running.client.send(&request).expect("it is connected");
        assert_eq!(running.client.read_status().ok(), Some(202));
        held_bytes(name, &running.proxy) - before
    };
    // Not counted: what is taken once.
    held(1);
    let value = held(LIST) as f64 / LIST as f64;
    samples.push(Sample {
        size: LIST,
        contestant: name,
        round: 0,
        quantity: BYTES,
        value,
    });
    running.proxy.kill();
}

/// The lane's memory is shared memory that it has taken at the start.
fn held_bytes(name: &str, proxy: &Proxy) -> u64 {
    const MEMORY: &str = "cpm.express_memory";
    match name {
        LANE => proxy.rpc_number(&format!("stats.fetch {MEMORY}"), MEMORY),
        _ => proxy.shared_memory_used(),
    }
}

fn write_text(rounds: usize, samples: &Samples, about: &str) -> String {
    let mut crowd = Table::new(&["", "recipients", ACCEPTED, CPU, "repeated"]);
    let mut others = Table::new(&[
        "",
        "foreign requests",
        "median",
        "99 of 100 below",
        "longest",
    ]);
    let mut memory = Table::new(&["", BYTES]);
    for name in [LANE, TM] {
        let of = |quantity| samples.of(CROWD, name, quantity);
        let repeated: f64 = of(super::REPEATED).iter().sum();
        crowd.row([
            name.to_owned(),
            CROWD.to_string(),
            Spread::of(&of(ACCEPTED)).to_string(),
            Spread::of(&of(CPU)).to_string(),
            format!("{repeated:.0}"),
        ]);
        for (quantity, requests) in TIMES {
            let values = samples.of(LIST, name, quantity);
            let requests: f64 = samples.of(LIST, name, requests).iter().sum();
            others.row([
                format!("{name}: {quantity}"),
                format!("{requests:.0}"),
                format!("{:.0}", quantile(&values, 0.5)),
                format!("{:.0}", quantile(&values, 0.99)),
                format!("{:.0}", quantile(&values, 1.0)),
            ]);
        }
        let bytes = samples.of(LIST, name, BYTES);
        memory.row([name.to_owned(), format!("{:.0}", Spread::of(&bytes).median)]);
    }
    let accepted = |name| samples.of(CROWD, name, ACCEPTED);
    let ratio = Spread::of_ratios(&accepted(LANE), &accepted(TM));
    format!(
        "Long lists: medians (quartiles) of {rounds} rounds, one worker for each transport\n{about}\n{}\n\
         ms until 202, {LANE} to {TM}: {ratio}\n\n\
         OPTIONS every {} ms while one MESSAGE to {LIST} follows the other; µs until the answer is in the client's socket\n\n{}\n\
         {LIST} recipients who never answer\n\n{}",
        crowd.write(),
        PAUSE.as_millis(),
        others.write(),
        memory.write()
    )
}

fn write_picture(rounds: usize, samples: &Samples) -> Chart {
    let values = |size, quantity| {
        let of = |name| Spread::of(&samples.of(size, name, quantity));
        vec![(size.to_string(), vec![of(LANE), of(TM)])]
    };
    let panel = |size, quantity: &'static str| Panel {
        quantity: quantity.to_owned(),
        better: "less",
        group_axis: "recipients of one MESSAGE".into(),
        groups: values(size, quantity),
    };
    Chart {
        title: "Long lists".into(),
        subtitle: format!("Medians of {rounds} rounds, whiskers are quartiles"),
        series: [LANE, TM].map(str::to_owned).into(),
        panels: vec![panel(CROWD, ACCEPTED), panel(LIST, BYTES)],
    }
}
