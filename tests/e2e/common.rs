//! Shared by the end-to-end tests: a proxy with the module, and claims of proved requirements.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cpm::operator::{Counter, Gauge};
use cpm_testbed::{Agent, Message, Product, Proxy, ProxyConfig, Received, Request, values};

pub(crate) use cpm_testbed::proves;

pub(crate) const EXPLODER: &str = "sip:exploder@example.com";
pub(crate) const CONTROLLING: &str = "sip:cpm@example.com";

/// A single line, as in most operators' scripts.
pub(crate) const HANDLE: &str = "request_route {
    if (cpm_handle()) exit;
    sl_send_reply(\"404\", \"Not Ours\");
}";

/// A proxy that serves [`EXPLODER`] and [`CONTROLLING`] and trusts this machine.
pub(crate) fn cpm_proxy(routes: &str) -> ProxyConfig {
    untrusting_proxy(routes).set("cpm", "trusted_peer", "127.0.0.1")
}

/// The same, trusting nobody. `CPM_EXPRESS` in the environment sets the parameter `express` for all
/// tests.
pub(crate) fn untrusting_proxy(routes: &str) -> ProxyConfig {
    let config = ProxyConfig::new(routes)
        .load("tm")
        .load("sl")
        .load("pv")
        .load("textops")
        .load("xlog")
        .load(
            module()
                .to_str()
                .expect("the project's folder has a name in UTF-8"),
        )
        .set("cpm", "exploder_uri", EXPLODER)
        .set("cpm", "controlling_uri", CONTROLLING);
    match std::env::var("CPM_EXPRESS") {
        Ok(value) => config.set("cpm", "express", &value),
        Err(_) => config,
    }
}

/// Of two duties, the one at this address: that of groups (ad-hoc ones included) or the exploder.
pub(crate) fn duty<T>(service: &str, group: T, exploder: T) -> T {
    match service {
        EXPLODER => exploder,
        _ => group,
    }
}

/// Sends a request over UDP and waits for its final response, which must have this code.
#[track_caller]
pub(crate) fn exchange(agent: &Agent, request: &Request, proxy: &Proxy, code: u16) -> Received {
    agent.send(request, proxy.udp());
    agent.expect_response(request, code)
}

/// The reason phrase of a response.
pub(crate) fn reason(response: &Message) -> &str {
    response.start_line().splitn(3, ' ').nth(2).unwrap_or("")
}

/// The header lines as received, including folds, without the final line end.
pub(crate) fn header_lines(message: &Message) -> Vec<String> {
    let head = &message.raw()[..message.raw().len() - message.body().len()];
    let head = String::from_utf8(head.to_vec()).expect("the head of a request of ours is UTF-8");
    let mut lines: Vec<String> = Vec::new();
    for line in head.trim_end().split("\r\n").skip(1) {
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                last.push_str("\r\n");
                last.push_str(line);
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

/// The name of a header line.
pub(crate) fn name_of(line: &str) -> &str {
    line.split(':').next().unwrap_or("").trim()
}

/// One of the module's counters.
#[track_caller]
pub(crate) fn counter(proxy: &Proxy, name: &str) -> u64 {
    proxy.statistic("cpm", name)
}

/// Waits until a counter has this value: outcomes are counted after the last packet that a test
/// sees.
#[track_caller]
pub(crate) fn expect_counter(proxy: &Proxy, name: &str, value: u64) {
    let deadline = Instant::now() + cpm_testbed::PATIENCE;
    while counter(proxy, name) != value {
        assert!(
            Instant::now() < deadline,
            "cpm.{name} is {}, wanted is {value}",
            counter(proxy, name)
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The names of the module's counters and gauges.
pub(crate) fn counter_names() -> impl Iterator<Item = &'static str> {
    let counters = Counter::ALL.iter().map(|counter| counter.name());
    counters.chain(Gauge::ALL.iter().map(|gauge| gauge.name()))
}

/// All counters with their values.
#[track_caller]
pub(crate) fn counters(proxy: &Proxy) -> Vec<(&'static str, u64)> {
    let all = proxy.statistics("cpm");
    counter_names()
        .map(|name| {
            let found = all.iter().find(|(known, _)| known == name);
            let (_, value) = found.unwrap_or_else(|| panic!("no {name} in {all:?}"));
            (name, *value)
        })
        .collect()
}

/// The lines of the proxy's log that contain these words.
pub(crate) fn log_lines(proxy: &Proxy, words: &str) -> usize {
    proxy
        .log()
        .lines()
        .filter(|line| line.contains(words))
        .count()
}

/// Waits until exactly this many lines of the proxy's log contain these words. A line may appear a
/// little later than the event it reports.
#[track_caller]
pub(crate) fn expect_log_lines(proxy: &Proxy, words: &str, count: usize) {
    let deadline = Instant::now() + cpm_testbed::PATIENCE;
    while log_lines(proxy, words) < count && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(log_lines(proxy, words), count, "lines with `{words}`");
}

/// Prints how long it has taken until all was well again after this fault (`make faults`).
pub(crate) fn well_again(fault: &str, since: Instant) {
    println!(
        "well again after {:.2} s: {fault}",
        since.elapsed().as_secs_f32()
    );
}

/// Fails if the manual's table of this name differs, or writes it (`CPM_UPDATE_MANUAL=1`). `test`:
/// the test that generates the table.
#[track_caller]
pub(crate) fn compare_with_manual(name: &str, table: &str, test: &str) {
    let (begin, end) = (
        format!("<!-- {name}: begin -->\n"),
        format!("<!-- {name}: end -->"),
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("doc/manual.md");
    let manual = fs::read_to_string(&path).expect("there is a manual");
    let (before, rest) = manual
        .split_once(&begin)
        .expect("the manual marks the table's begin");
    let (written, after) = rest
        .split_once(&end)
        .expect("the manual marks the table's end");
    if written == table {
        return;
    }
    if std::env::var_os("CPM_UPDATE_MANUAL").is_some() {
        fs::write(&path, format!("{before}{begin}{table}{end}{after}"))
            .expect("the manual can be written");
        return;
    }
    panic!(
        "the table of {name} in doc/manual.md is not what the proxy does; this rewrites it:\n    \
         CPM_UPDATE_MANUAL=1 cargo test --test e2e {test}\n{table}"
    );
}

/// The example in the manual's section with this heading line: its indented lines.
#[track_caller]
pub(crate) fn manual_example(heading: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("doc/manual.md");
    let manual = fs::read_to_string(&path).expect("there is a manual");
    let (_, section) = manual
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("the manual has no section {heading}"));
    let section = section.split("\n#").next().unwrap_or_default();
    let code = section.lines().filter_map(|line| line.strip_prefix("    "));
    let code: Vec<&str> = code.collect();
    assert!(!code.is_empty(), "{heading} has no example");
    code.join("\n")
}

pub(crate) fn module() -> PathBuf {
    let module = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("target/{}/cpm.so", Product::under_test().name()));
    assert!(
        module.is_file(),
        "no {}: run `make build` first",
        module.display()
    );
    module
}

/// Executes statements on a database file, which is created if it does not exist.
#[track_caller]
pub(crate) fn sqlite(file: &Path, statements: &str) {
    let mut sqlite = Command::new("sqlite3")
        .arg("-bail")
        .arg(file)
        .stdin(Stdio::piped())
        .spawn()
        .expect("sqlite3 is installed");
    let mut stdin = sqlite.stdin.take().expect("it is piped");
    stdin
        .write_all(statements.as_bytes())
        .expect("sqlite3 reads");
    drop(stdin);
    assert!(sqlite.wait().expect("sqlite3 ends").success());
}

/// The rows of a query to a database file, their columns separated by `|`.
#[track_caller]
pub(crate) fn sqlite_rows(file: &Path, query: &str) -> Vec<String> {
    let output = Command::new("sqlite3")
        .args(["-bail", "-cmd", ".timeout 10000"])
        .arg(file)
        .arg(query)
        .output()
        .expect("sqlite3 is installed");
    assert!(output.status.success(), "{query}: {output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(str::to_owned).collect()
}

/// The body of the proxy's response to GET.
#[track_caller]
pub(crate) fn http_get(port: u16, path: &str) -> String {
    http(port, &format!("GET {path} HTTP/1.1\r\nHost: proxy\r\n\r\n"))
}

/// The body of a successful response to an HTTP request. Kamailio keeps the connection open.
#[track_caller]
pub(crate) fn http(port: u16, request: &str) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("the proxy listens");
    connection
        .write_all(request.as_bytes())
        .expect("the proxy reads");
    connection
        .set_read_timeout(Some(cpm_testbed::PATIENCE))
        .expect("a time to wait is not zero");
    let mut answer = BufReader::new(connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let length = answer.read_line(&mut head).expect("the proxy answers");
        assert!(length > 0, "the answer ends in its head:\n{head}");
    }
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let length = values(&head, "Content-Length")
        .next()
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    answer.read_exact(&mut body).expect("the body is whole");
    String::from_utf8(body).expect("the body is text")
}

/// Has Prometheus's own judge look at names, units, types and help of a scrape.
#[track_caller]
pub(crate) fn expect_promtool_to_pass(figures: &str) {
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match started {
        Ok(promtool) => promtool,
        Err(error) => {
            println!("left out: promtool: {error}");
            return;
        }
    };
    let mut stdin = promtool.stdin.take().expect("it is piped");
    stdin.write_all(figures.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    assert!(output.status.success(), "{output:?}");
}

/// The metrics that Prometheus's text has, without the suffixes of histograms.
pub(crate) fn metrics_of(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split([' ', '{']).next())
        .collect()
}

/// The metrics of the module that the dashboard asks for.
pub(crate) fn shown_by_the_dashboard() -> BTreeSet<String> {
    let file = crate::sites::folder(cpm_testbed::Product::Kamailio).join("grafana-dashboard.json");
    let dashboard = std::fs::read_to_string(file).expect("it is part of the project");
    let is_of_name = |c: &char| c.is_ascii_lowercase() || *c == '_';
    // In brackets: a function's argument.
    let names = dashboard.match_indices("(cpm_").map(|(at, _)| {
        let name = &dashboard[at + 1..];
        name.chars().take_while(is_of_name).collect()
    });
    names.collect()
}

/// How the kernel schedules a process (its number, or `self`): 0 as usual, 3 as one that works in
/// bulk (`SCHED_OTHER`, `SCHED_BATCH`).
#[track_caller]
pub(crate) fn scheduling_policy(process: &str) -> u32 {
    let line = fs::read_to_string(format!("/proc/{process}/stat")).expect("it lives");
    // The 41st field of proc(5), and the 39th behind the command.
    let fields = line.rsplit(')').next().expect("there is always one");
    let policy = fields
        .split_whitespace()
        .nth(38)
        .and_then(|field| field.parse().ok());
    policy.expect("Linux has this field")
}
