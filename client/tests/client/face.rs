//! Help, completion and man pages.

use std::process::Command;

use cpm_testbed::Bench;

use crate::common::{Running, program, text};
use crate::terminal::Terminal;

fn said(arguments: &[&str]) -> String {
    let mut command = program();
    command.args(arguments);
    Running::start(command, "").succeeds().plain.join("\n")
}

#[test]
fn help_has_examples_and_exit_codes() {
    for command in ["send", "receive", "chat", "match", "completion", "man"] {
        assert!(said(&[command, "--help"]).contains("Example"), "{command}");
    }
    let help = said(&["--help"]);
    for code in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 130] {
        assert!(
            help.lines()
                .any(|line| line.trim_start().starts_with(&format!("{code} "))),
            "{code}"
        );
    }
    assert!(said(&["--version"]).starts_with("cpm-client 0."));
}

#[test]
fn the_examples_are_sound() {
    // Every example of `send` and `receive` uses arguments that exist: here only the way to the
    // server is missing.
    let help = [
        said(&["send", "--help"]),
        said(&["receive", "--help"]),
        said(&["match", "--help"]),
    ];
    let text = help.join("\n").replace("\\\n", " ");
    let known: Vec<&str> = text
        .split_whitespace()
        .filter(|word| word.starts_with("--"))
        .map(|word| word.trim_end_matches([',', '.', ';', ':', ')']))
        .collect();
    let examples = text
        .lines()
        .filter(|line| line.trim_start().starts_with("cpm-client "));
    let mut seen = 0;
    for example in examples {
        seen += 1;
        for option in example
            .split_whitespace()
            .filter(|word| word.starts_with("--"))
        {
            assert!(
                known.iter().filter(|one| **one == option).count() > 1,
                "{option} in {example}"
            );
        }
    }
    assert!(seen >= 8, "only {seen} examples");
}

#[test]
fn shells_complete_behind_the_subcommand() {
    let bench = Bench::new("client_shells_complete");
    for (shell, command, load) in [
        ("bash", &["bash", "--norc", "--noprofile"][..], "source"),
        (
            "zsh",
            &["zsh", "-f"],
            "autoload -Uz compinit; compinit -D; source",
        ),
        ("fish", &["fish", "--no-config"], "source"),
    ] {
        let script = said(&["completion", shell]);
        let script = crate::common::file(bench.folder(), &format!("completion.{shell}"), script);
        let terminal = Terminal::start(&bench, shell, command);
        terminal.type_text(&format!("{load} {}; echo loa''ded", text(&script)));
        terminal.press("Enter");
        terminal.expect("loaded");
        for (typed, completed) in [
            ("cpm-client rec", "cpm-client receive"),
            ("cpm-client send --transp", "cpm-client send --transport"),
            (
                "cpm-client --json send --wait-n",
                "send --wait-notifications",
            ),
            ("cpm-client send --transport ud", "--transport udp"),
            ("cpm-client receive --msrp-l", "receive --msrp-listen"),
        ] {
            terminal.type_text(typed);
            terminal.press("Tab");
            terminal.expect_that(completed, |screen| {
                let last = screen.lines().rfind(|line| !line.trim().is_empty());
                last.is_some_and(|line| line.contains(completed))
            });
            terminal.press("C-u");
        }
    }
    for shell in ["elvish", "powershell"] {
        assert!(
            said(&["completion", shell]).contains("--wait-notifications"),
            "{shell}"
        );
    }
}

#[test]
fn help_can_be_copied_at_any_width() {
    // The lines of an example are unchanged, however narrow the terminal is.
    for columns in ["40", "200"] {
        let mut command = program();
        command.args(["send", "--help"]).env("COLUMNS", columns);
        let help = Running::start(command, "").succeeds().plain;
        let whole = "    cpm-client send --server sip.example.com --from sip:anne@example.com \\";
        assert!(help.iter().any(|line| line == whole), "{columns}: {help:?}");
    }
}

#[test]
fn the_exit_status_is_documented() {
    let page = include_str!("../../../doc/client.md");
    let help = said(&["--help"]);
    let (_, statuses) = help.split_once("Exit status:").expect("help has them");
    let mut seen = 0;
    for line in statuses.lines().filter(|line| !line.trim().is_empty()) {
        let (code, meaning) = line.trim().split_once(' ').expect("a code and its meaning");
        let row = format!("| {code} | {} |", meaning.trim());
        assert!(page.contains(&row), "doc/client.md has no row {row}");
        seen += 1;
    }
    assert_eq!(seen, 13);
}

#[test]
fn man_pages_are_written() {
    let bench = Bench::new("client_man_pages_are_written");
    let folder = bench.folder().join("man1");
    said(&["man", text(&folder)]);
    for (page, words) in [
        ("cpm-client", "cpm-client completion"),
        ("cpm-client-send", "--wait-notifications"),
        ("cpm-client-receive", "--tls-certificate"),
        ("cpm-client-chat", "--listen"),
        ("cpm-client-match", "--stored"),
    ] {
        let mut command = Command::new("man");
        command.arg("-l").arg(folder.join(format!("{page}.1")));
        command.env("MANWIDTH", "100").env("LC_ALL", "C.UTF-8");
        let output = command.output().expect("man is installed");
        assert!(output.status.success(), "{output:?}");
        let shown = String::from_utf8_lossy(&output.stdout);
        for section in [
            "NAME",
            "SYNOPSIS",
            "OPTIONS",
            "EXIT STATUS",
            "ENVIRONMENT",
            "EXAMPLES",
        ] {
            assert!(
                shown.lines().any(|line| line == section),
                "{section} in {page}"
            );
        }
        assert!(shown.contains(words), "{words} in {shown}");
    }
    let send = std::fs::read_to_string(folder.join("cpm-client-send.1")).expect("it is there");
    assert!(
        send.contains("<URI>") && send.contains("<KIND>"),
        "options with their values"
    );
}
