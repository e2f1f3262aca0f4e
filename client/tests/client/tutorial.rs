//! The commands that README and the tutorial tell a newcomer to type: executed as written, except
//! for ports and paths of module and programs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Bench, PATIENCE, Product, Proxy, ProxyConfig};

use crate::common::file;

/// The ports of the pages.
const PORTS: [&str; 7] = ["5060", "5062", "5063", "5064", "5069", "8880", "2855"];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A command of a page, and its output according to the page.
#[derive(Debug)]
struct Step {
    command: String,
    output: Vec<String>,
}

/// The commands of a page: lines of code after `$ `, and those that follow without one.
fn steps(page: &str) -> Vec<Step> {
    let text = fs::read_to_string(root().join(page)).expect("it is part of the project");
    let mut steps: Vec<Step> = Vec::new();
    let mut is_output = false;
    for line in text.lines() {
        match line.strip_prefix("    ") {
            Some(line) => match line.strip_prefix("$ ") {
                Some(command) => {
                    steps.push(Step {
                        command: command.to_owned(),
                        output: Vec::new(),
                    });
                    is_output = true;
                }
                None if is_output => {
                    let step = steps.last_mut().expect("it follows a command");
                    step.output.push(line.to_owned());
                }
                None => {}
            },
            None => is_output = false,
        }
    }
    steps
}

/// Whether the lines match the page: `…` stands for any text, and as a line of its own for any
/// lines.
fn is_as_shown(shown: &[String], lines: &[&str]) -> bool {
    match (shown, lines) {
        ([], []) => true,
        ([first, rest @ ..], _) if first.trim() == "…" => {
            (0..=lines.len()).any(|skipped| is_as_shown(rest, &lines[skipped..]))
        }
        ([first, more @ ..], [line, rest @ ..]) => {
            is_line_as_shown(first, line) && is_as_shown(more, rest)
        }
        _ => false,
    }
}

fn is_line_as_shown(shown: &str, line: &str) -> bool {
    match shown.split_once('…') {
        None => shown == line.trim_end(),
        Some((start, rest)) => {
            line.trim_start().starts_with(start.trim_start())
                && (0..=line.len())
                    .filter(|at| line.is_char_boundary(*at) && *at >= start.trim_start().len())
                    .any(|at| is_line_as_shown(rest, &line[at..]))
        }
    }
}

/// The newcomer's machine: other ports, and programs by their names.
struct Machine {
    bench: Bench,
    ports: Vec<u16>,
    folder: PathBuf,
    proxy: Option<Proxy>,
    receivers: Vec<(Child, PathBuf, Vec<String>)>,
}

impl Machine {
    fn new(name: &str) -> Self {
        let bench = Bench::new(name);
        let ports = PORTS.map(|_| bench.port()).to_vec();
        let folder = bench.folder().join("newcomer");
        fs::create_dir_all(folder.join("bin")).expect("the folder of a test can be written to");
        for shared in ["kamailio-config", "doc"] {
            std::os::unix::fs::symlink(root().join(shared), folder.join(shared))
                .expect("the folder of a test can be written to");
        }
        Self {
            bench,
            ports,
            folder,
            proxy: None,
            receivers: Vec::new(),
        }
    }

    fn port(&self, of_page: &str) -> u16 {
        let at = PORTS.iter().position(|port| *port == of_page);
        self.ports[at.expect("it is one of the pages'")]
    }

    fn here(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for (port, own) in PORTS.iter().zip(&self.ports) {
            out = out.replace(&format!(":{port}"), &format!(":{own}"));
        }
        out
    }

    /// The path of a program, for the shell.
    fn program(&self, name: &str, script: &str) {
        let path = file(
            &self.folder.join("bin"),
            name,
            format!("#!/bin/sh\n{script}\n"),
        );
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }

    fn start_proxy(&mut self, config: &str) {
        let template = format!(
            "#!KAMAILIO\nlog_stderror=yes\n@MPATH@\n\
             #!define LISTEN_UDP udp:127.0.0.1:@PORT@\n#!define LISTEN_TCP tcp:127.0.0.1:@PORT@\n\
             #!define LISTEN_PAGE tcp:127.0.0.1:{page}\n#!define OPERATOR_PORT {page}\n\
             #!define MSRP_LISTEN \"tcp:127.0.0.1:{msrp}\"\n\
             include_file \"{}\"\n\
             modparam(\"cpm\", \"state_dir\", \"@FOLDER@/state\")\n\
             modparam(\"ctl\", \"binrpc\", \"unix:@CTL@\")\n",
            root().join(config).display(),
            page = self.port("8880"),
            msrp = self.port("2855"),
        );
        let config = ProxyConfig::of(Product::Kamailio, "")
            .template(&template)
            .mpath(root().join("target/kamailio"));
        let proxy = self.bench.proxy(&config);
        self.ports[0] = proxy.port();
        self.program(
            "kamcmd",
            &format!(
                "exec /usr/sbin/kamcmd -s unix:{} \"$@\"",
                proxy.control_socket().display()
            ),
        );
        let client = env!("CARGO_BIN_EXE_cpm-client");
        self.program("cpm-client", &format!("exec {client} \"$@\""));
        self.proxy = Some(proxy);
    }

    fn shell(&self, command: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", &format!("exec {}", self.here(command))])
            .current_dir(&self.folder)
            .env(
                "PATH",
                format!("{}:{path}", self.folder.join("bin").display()),
            )
            .stdin(Stdio::null());
        shell
    }

    #[track_caller]
    fn types(&mut self, step: &Step) {
        let shown: Vec<String> = step.output.iter().map(|line| self.here(line)).collect();
        if let Some(rest) = step.command.strip_prefix("kamailio -DD -E -f ") {
            return self.start_proxy(rest);
        }
        if step.command.starts_with("cpm-client receive ") {
            let log = self
                .folder
                .join(format!("receiver-{}", self.receivers.len()));
            let out = fs::File::create(&log).expect("the folder of a test can be written to");
            let mut shell = self.shell(&step.command);
            let child = shell.stdout(out).spawn().expect("there is a shell");
            self.receivers.push((child, log, shown));
            return self.expect_received(self.receivers.len() - 1, &[]);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut shell = self.shell(&step.command);
            let output = shell.output().expect("there is a shell");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let words = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {text}{words}", step.command);
            if is_as_shown(&shown, &text.lines().collect::<Vec<_>>()) {
                return;
            }
            // A newcomer who looks too early looks again.
            let is_look = step.command.starts_with("kamcmd ");
            assert!(
                is_look && Instant::now() < deadline,
                "{}: shown is\n{}\nit says\n{text}",
                step.command,
                shown.join("\n")
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a receiver has shown what the page says, and these lines.
    #[track_caller]
    fn expect_received(&self, number: usize, more: &[String]) {
        let (_, log, shown) = &self.receivers[number];
        let mut shown = shown.clone();
        shown.extend(more.iter().map(|line| self.here(line)));
        shown.push("…".to_owned());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(log).unwrap_or_default();
            if is_as_shown(&shown, &text.lines().collect::<Vec<_>>()) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "wanted {shown:#?}, shown is\n{text}"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for (child, ..) in &mut self.receivers {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn the_tutorial_does_what_it_shows() {
    let mut machine = Machine::new("client_the_tutorial");
    let steps = steps("doc/tutorial.md");
    assert!(steps.len() >= 6, "{steps:?}");
    for step in &steps {
        machine.types(step);
    }
    let text = fs::read_to_string(root().join("doc/tutorial.md")).expect("it can be read");
    let (_, shown) = text
        .split_once("Both recipients show\n\n")
        .expect("it shows it");
    let shown: Vec<String> = shown
        .lines()
        .map_while(|line| line.strip_prefix("    ").map(str::to_owned))
        .collect();
    assert_eq!(shown.len(), 3);
    for number in 0..2 {
        machine.expect_received(number, &shown);
    }
    machine.proxy.take().expect("it was started").stop();
}

#[test]
fn the_commands_of_the_readme_work() {
    let mut machine = Machine::new("client_the_commands_of_the_readme");
    let steps = steps("README.md");
    assert!(steps.len() >= 3, "{steps:?}");
    for step in &steps {
        machine.types(step);
    }
    let inbox = machine.folder.join("inbox");
    let is_there = |file: &fs::DirEntry| file.metadata().is_ok_and(|data| data.len() > 50_000);
    let deadline = Instant::now() + PATIENCE;
    while !fs::read_dir(&inbox).is_ok_and(|files| files.flatten().any(|file| is_there(&file))) {
        assert!(Instant::now() < deadline, "the file has not arrived");
        thread::sleep(Duration::from_millis(50));
    }
    machine.proxy.take().expect("it was started").stop();
}

#[test]
fn what_a_page_shows_is_compared_line_by_line() {
    let shown = ["a … c", "…", "end"].map(str::to_owned);
    assert!(is_as_shown(&shown, &["a b c", "end"]));
    assert!(is_as_shown(&shown, &["a b c", "x", "y", "end"]));
    for lines in [
        &["a b c"][..],
        &["a b", "end"],
        &["a b c", "x"],
        &["a b c", "end", "x"],
    ] {
        assert!(!is_as_shown(&shown, lines), "{lines:?}");
    }
}
