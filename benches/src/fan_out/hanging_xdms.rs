//! The effect on 1-to-many traffic of an XDMS that accepts every request for a group and answers
//! none for 10 s: the rate while all processes that look up groups are stuck, compared with the
//! rate without requests for groups.

use std::path::Path;
use std::time::Duration;

use cpm_testbed::{Bench, Proxy, Request, WebAnswer, WebServer, cpm_message};

use super::client::Client;
use super::contestant::{self, Contestant};
use super::sink::{Recipients, Sink};
use super::{RATE, Running, SENDER, SIZES, TEXT, request_to};
use crate::chart::{Chart, Panel};
use crate::report::{Report, Sample, Samples, Table};
use crate::statistics::Spread;

const IDLE: &str = "idle XDMS";
const HANGING: &str = "hanging XDMS";

/// How long the XDMS does not answer.
const SILENCE: Duration = Duration::from_secs(10);

/// Longer than that, so that the XDMS ends it.
const GROUP_TIMEOUT_MS: i64 = 20_000;

/// Number of stuck processes, and of requests waiting for them.
const GROUP_PROCESSES: usize = 2;
const GROUP_REQUESTS: usize = 20;

/// Measures with an idle and with a hanging XDMS in turns, `rounds` times with about `messages`
/// outgoing requests each time. `cpm` is the module.
///
/// # Panics
/// When a message does not reach every recipient exactly once, or when a group request is answered
/// while the XDMS hangs.
pub fn run(cpm: &Path, rounds: usize, messages: usize, about: &str) -> Report {
    let bench = Bench::new("benches_hanging_xdms");
    let sink = Sink::start(bench.port(), Recipients::OneHop);
    let sink = sink.expect("the sink has a port of its own");
    let xdms = bench.web_server();
    let message = cpm_message(SENDER, contestant::EXPLODER).text(TEXT);
    let config = contestant::ours(cpm)
        .set("cpm", "group_uri", "sip:*@groups.example.com")
        .set("cpm", "group_source", &format!("xcap:{}", xdms.url()))
        .set_number("cpm", "group_processes", GROUP_PROCESSES as i64)
        .set_number("cpm", "group_timeout", GROUP_TIMEOUT_MS);
    let mut running = Running::start(
        &bench,
        Contestant {
            name: "cpm",
            config,
        },
    );
    let mut groups = Groups::connect(&running.proxy, &xdms);
    let mut samples = Samples::default();
    for recipients in SIZES {
        let requests = messages.div_ceil(recipients);
        let request = || request_to(&message, &sink, recipients);
        running.measure(&sink, &request(), recipients, requests);
        for round in 0..rounds {
            for contestant in [IDLE, HANGING] {
                if contestant == HANGING {
                    groups.hang();
                }
                let measured = running.measure_busy(&sink, &request(), recipients, requests);
                if contestant == HANGING {
                    groups.go_on();
                }
                running.wait_idle();
                samples.push(Sample {
                    size: recipients,
                    contestant,
                    round,
                    quantity: RATE,
                    value: measured,
                });
            }
        }
    }
    running.proxy.stop();
    Report {
        name: "hanging_xdms",
        text: write_text(rounds, &samples, about),
        picture: write_picture(rounds, &samples).write(),
        samples,
    }
}

/// The sender to groups, and their XDMS.
struct Groups<'a> {
    client: Client,
    xdms: &'a WebServer,
    /// No group is requested twice, so that none is cached.
    asked: usize,
}

impl<'a> Groups<'a> {
    fn connect(proxy: &Proxy, xdms: &'a WebServer) -> Self {
        let client = Client::connect(proxy.tcp());
        Self {
            client: client.expect("a proxy that is ready takes connections"),
            xdms,
            asked: 0,
        }
    }

    fn request(&mut self) -> Request {
        self.asked += 1;
        let group = format!("sip:group{}@groups.example.com", self.asked);
        cpm_message(SENDER, &group).text(TEXT).request()
    }

    /// Returns once each group process waits for the XDMS.
    fn hang(&mut self) {
        self.xdms.answers(|_| WebAnswer::Hang(SILENCE));
        let before = self.xdms.requests().len();
        for _ in 0..GROUP_REQUESTS {
            let request = self.request();
            let sent = self.client.send(&request);
            sent.expect("the proxy holds the connection");
        }
        while self.xdms.requests().len() < before + GROUP_PROCESSES {
            std::thread::sleep(super::ASK_AGAIN);
        }
    }

    /// Checks that it did hang, and ends it.
    fn go_on(&mut self) {
        let waiting = self.xdms.requests().len() % GROUP_REQUESTS;
        assert_eq!(waiting, GROUP_PROCESSES, "the XDMS was asked for more");
        self.xdms.answers(|_| WebAnswer::Status(404));
        for _ in 0..GROUP_REQUESTS {
            let status = self.client.read_status().expect("the proxy answers");
            assert_eq!(status, 404, "there are no groups");
        }
    }
}

fn write_text(rounds: usize, samples: &Samples, about: &str) -> String {
    let mut table = Table::new(&["recipients", IDLE, HANGING, "ratio"]);
    for size in SIZES {
        let [idle, hanging] = [IDLE, HANGING].map(|name| samples.of(size, name, RATE));
        table.row([
            size.to_string(),
            Spread::of(&idle).to_string(),
            Spread::of(&hanging).to_string(),
            Spread::of_ratios(&hanging, &idle).to_string(),
        ]);
    }
    format!(
        "One MESSAGE to many while the XDMS of the groups hangs: {RATE}, median (quartiles) of {rounds} rounds\n\
         {GROUP_REQUESTS} requests to groups wait, all {GROUP_PROCESSES} group processes are stuck\n{about}\n{}",
        table.write()
    )
}

fn write_picture(rounds: usize, samples: &Samples) -> Chart {
    let group = |&size: &usize| {
        let names = [IDLE, HANGING];
        let values = names.map(|name| Spread::of(&samples.of(size, name, RATE)));
        (size.to_string(), values.into())
    };
    Chart {
        title: "One MESSAGE to many while the XDMS hangs".into(),
        subtitle: format!(
            "Requests to groups wait for an XDMS that says nothing; medians of {rounds} rounds, whiskers are quartiles"
        ),
        series: [IDLE, HANGING].map(str::to_owned).into(),
        panels: vec![Panel {
            quantity: RATE.to_owned(),
            better: "more",
            group_axis: "recipients of one MESSAGE".into(),
            groups: SIZES.iter().map(group).collect(),
        }],
    }
}
