//! The same under OpenSIPS: the module, and the least that a script there has to do.

use std::ffi::OsString;
use std::path::Path;

use cpm_testbed::{Bench, CpmMessage, Product, Proxy, ProxyConfig, cpm_message};

use super::contestant::{self, Contestant, EXPLODER};
use super::{Contest, SENDER, SHORT_WAIT_MS, Sink, TEXT, run_contest};
use crate::fan_out::Recipients;
use crate::report::Report;

/// The stem of the report's files.
pub const NAME: &str = "fan_out_opensips";

const LOOP: &str = include_str!("../../opensips/loop.cfg");
const SCRIPT: &str = "t_new_request loop";

/// OpenSIPS reads at most 65 535 bytes of a request, which is a list of some eight hundred.
const SIZES: [usize; 3] = [10, 100, 500];

/// Whether there is an OpenSIPS, and its tree, which has its modules.
pub fn is_here() -> bool {
    let named =
        |variable| std::env::var_os(variable).is_some_and(|value: OsString| !value.is_empty());
    named("OPENSIPS") && named("OPENSIPS_SRC")
}

/// As [`super::run`], with the module `cpm` for OpenSIPS.
///
/// # Panics
/// When a contestant does not reach every recipient exactly once, or sends more or less than the
/// others.
pub fn run(cpm: &Path, turns: (usize, usize), about: &str) -> Report {
    let bench = Bench::new("benches_opensips");
    let port = bench.port();
    let sink = Sink::start(port, Recipients::OneHop);
    let sink = sink.expect("the sink has a port of its own");
    let message = cpm_message(SENDER, EXPLODER).text(TEXT);
    let contestants = vec![
        Contestant {
            name: "cpm",
            config: ours(cpm),
        },
        Contestant {
            name: "cpm through tm",
            config: ours(cpm).set("cpm", "express", "no"),
        },
        Contestant {
            name: SCRIPT,
            config: config(&script(&message, port)),
        },
    ];
    let contest = Contest {
        name: NAME,
        title: "over UDP to one next hop, under OpenSIPS",
        proxy: "An OpenSIPS",
        // 4.0.1 now and then loses a request on a connection, whoever handles it.
        way: Proxy::udp,
        sizes: &SIZES,
        scripts: &[SCRIPT],
        is_same_message: false,
        memory: "F_MALLOC",
    };
    run_contest(&contest, &bench, (sink, message), contestants, turns, about)
}

fn ours(cpm: &Path) -> ProxyConfig {
    contestant::ours_on(config("request_route {\n\tcpm_handle();\n}"), cpm)
}

fn config(routes: &str) -> ProxyConfig {
    ProxyConfig::of(Product::OpenSips, routes)
        .argument("-m")
        .argument("512")
        .load("tm")
        // tm takes two seconds at least.
        .set_number("tm", "wt_timer", SHORT_WAIT_MS)
}

/// The loop cannot add header lines: as many bytes stand behind its text.
fn script(message: &CpmMessage, sink: u16) -> String {
    let lines = contestant::outgoing_headers(message);
    let both_write =
        |line: &&str| line.starts_with("Max-Forwards") || line.starts_with("Content-Type");
    let missing: usize = lines
        .split_inclusive('\n')
        .filter(|line| !both_write(line))
        .map(str::len)
        .sum();
    let body = String::from_utf8_lossy(&message.cpim()).into_owned() + &" ".repeat(missing);
    let body = body
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\r', "\\r")
        .replace('\n', "\\n");
    LOOP.replace("@BODY@", &body)
        .replace("@SENDER@", SENDER)
        .replace("@SINK@", &sink.to_string())
}
