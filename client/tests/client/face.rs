//! Help, completion and man pages.

use std::process::Command;

use cpm_testbed::Bench;

use crate::common::{Running, program, text};

fn said(arguments: &[&str]) -> String {
    let mut command = program();
    command.args(arguments);
    Running::start(command, "").succeeds().plain.join("\n")
}

#[test]
fn help_has_examples_and_exit_codes() {
    for command in ["send", "receive", "match", "completion", "man"] {
        assert!(said(&[command, "--help"]).contains("Example"), "{command}");
    }
    let help = said(&["--help"]);
    for code in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 130] {
        assert!(
            help.lines()
                .any(|line| line.trim_start().starts_with(&format!("{code}  "))),
            "{code}"
        );
    }
    assert!(said(&["--version"]).starts_with("cpm-client 0."));
}

#[test]
fn the_examples_are_sound() {
    // Every example of `send` and `receive` names arguments that exist: only the way to the server is missing here.
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
fn shells_take_the_completion() {
    let bench = Bench::new("client_shells_take_the_completion");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(&["completion", shell]);
        assert!(
            script.contains("cpm-client") && script.contains("exploder") | script.contains("--via"),
            "{shell}"
        );
        if shell == "bash" {
            let file = crate::common::file(bench.folder(), "completion.bash", script);
            let status = Command::new("bash").args(["-n", text(&file)]).status();
            assert!(status.expect("there is bash").success());
        }
    }
}

#[test]
fn man_pages_are_written() {
    let bench = Bench::new("client_man_pages_are_written");
    let folder = bench.folder().join("man1");
    said(&["man", text(&folder)]);
    for page in [
        "cpm-client.1",
        "cpm-client-send.1",
        "cpm-client-receive.1",
        "cpm-client-match.1",
    ] {
        let page = std::fs::read_to_string(folder.join(page)).expect("the page is there");
        assert!(
            page.contains(".TH") && page.contains("cpm-client"),
            "{page}"
        );
    }
}
