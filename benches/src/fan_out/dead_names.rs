//! The effect of names whose name server never answers on other traffic: how long a MESSAGE to an
//! IP address waits for its 202 while two MESSAGEs with 20 such names each are in progress,
//! compared with the wait without them.

use std::path::Path;
use std::time::{Duration, Instant};

use cpm_testbed::{Bench, DEAD, NameServer, cpm_message, to};

use super::client::Client;
use super::contestant::{self, Contestant};
use super::sink::{Recipients, Sink};
use super::{ACCEPTED, Running, SENDER, TEXT, request_to};
use crate::chart::{Chart, Panel};
use crate::report::{Report, Sample, Samples, Table};
use crate::statistics::Spread;

const QUIET: &str = "no dead names";
const DEAD_NAMES: &str = "40 dead names";

/// Messages with dead names in progress, and the number of names in each.
const MESSAGES: usize = 2;
const NAMES: usize = 20;

/// Less than the time after which a dead name is given up.
const WHILE: Duration = Duration::from_secs(2);

/// Measures without and with dead names, `rounds` times. `cpm` is the module.
///
/// # Panics
/// When a request is not answered 202.
pub fn run(cpm: &Path, rounds: usize, about: &str) -> Report {
    let bench = Bench::new("benches_dead_names");
    let sink = Sink::start(bench.port(), Recipients::OneHop);
    let sink = sink.expect("the sink has a port of its own");
    let names = NameServer::start(&[]);
    let message = cpm_message(SENDER, contestant::EXPLODER).text(TEXT);
    let config = contestant::ours(cpm)
        .set("cpm", "dns_server", &names.address().to_string())
        .children(2);
    let running = Running::start(
        &bench,
        Contestant {
            name: "cpm",
            config,
        },
    );
    let connect = || {
        let client = Client::connect(running.proxy.tcp());
        client.expect("a proxy that is ready takes connections")
    };
    let (mut client, mut other) = (connect(), connect());
    let mut asked = 0;
    let mut samples = Samples::default();
    for round in 0..rounds {
        for contestant in [QUIET, DEAD_NAMES] {
            if contestant == DEAD_NAMES {
                for _ in 0..MESSAGES {
                    // No name is queried twice, so that none is known to be dead.
                    asked += 1;
                    let dead = (0..NAMES).map(|n| to(&format!("sip:user@n{asked}x{n}{DEAD}")));
                    let request = cpm_message(SENDER, contestant::EXPLODER)
                        .recipients(dead)
                        .text(TEXT)
                        .request();
                    other
                        .send(&request)
                        .expect("the proxy holds the connection");
                    assert_eq!(other.read_status().ok(), Some(202));
                }
            }
            let begin = Instant::now();
            while begin.elapsed() < WHILE {
                let request = request_to(&message, &sink, 1);
                let sent = Instant::now();
                client
                    .send(&request)
                    .expect("the proxy holds the connection");
                assert_eq!(client.read_status().ok(), Some(202));
                samples.push(Sample {
                    size: 1,
                    contestant,
                    round,
                    quantity: ACCEPTED,
                    value: sent.elapsed().as_secs_f64() * 1e3,
                });
            }
        }
        // They are finished before the next round.
        running.wait_idle();
    }
    running.proxy.stop();
    Report {
        name: "dead_names",
        text: write_text(rounds, &samples, about),
        picture: write_picture(rounds, &samples).write(),
        samples,
    }
}

fn write_text(rounds: usize, samples: &Samples, about: &str) -> String {
    let mut table = Table::new(&[
        "",
        "messages",
        "median (quartiles)",
        "99 of 100 below",
        "longest",
    ]);
    for name in [QUIET, DEAD_NAMES] {
        let mut values = samples.of(1, name, ACCEPTED);
        values.sort_by(f64::total_cmp);
        let below = values.get(values.len() * 99 / 100);
        table.row([
            name.to_owned(),
            values.len().to_string(),
            Spread::of(&values).to_string(),
            format!("{:.1}", below.copied().unwrap_or_default()),
            format!("{:.1}", values.last().copied().unwrap_or_default()),
        ]);
    }
    format!(
        "A MESSAGE to one, while {MESSAGES} MESSAGEs to {NAMES} names each wait for a name server that never answers:\n\
         {ACCEPTED}, {rounds} rounds, two SIP workers\n{about}\n{}",
        table.write()
    )
}

fn write_picture(rounds: usize, samples: &Samples) -> Chart {
    let values = [QUIET, DEAD_NAMES].map(|name| Spread::of(&samples.of(1, name, ACCEPTED)));
    Chart {
        title: "One MESSAGE while others' names are dead".into(),
        subtitle: format!(
            "{MESSAGES} MESSAGEs to {NAMES} dead names each; medians of {rounds} rounds, whiskers are quartiles"
        ),
        series: [QUIET, DEAD_NAMES].map(str::to_owned).into(),
        panels: vec![Panel {
            quantity: ACCEPTED.to_owned(),
            better: "less",
            group_axis: "recipients of one MESSAGE".into(),
            groups: vec![("1".to_owned(), values.into())],
        }],
    }
}
