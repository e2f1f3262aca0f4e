//! `--trace` and `--pcap`: records of the traffic.

use std::path::Path;
use std::process::Command;

use cpm_testbed::{Answer, Bench, Reply};

use crate::common::{ANNE, Running, file, pixels, program, text};

/// The fields of all packets of a recording, as tshark reads it.
fn dissected(file: &Path, ports: &str, filter: &str, fields: &[&str]) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.args(["-r", text(file), "-d", ports, "-Y", filter, "-T", "fields"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().expect("tshark is installed");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn passwords_are_not_in_the_trace() {
    let bench = Bench::new("client_passwords_are_not_in_the_trace");
    let server = bench.agent();
    let challenge = "Digest realm=\"example.com\", nonce=\"abc\", qop=\"auth\"";
    server.answers(Answer::with(move |request| {
        if request.header("Authorization").is_some() {
            return vec![Reply::new(202)];
        }
        vec![Reply::new(401).with("WWW-Authenticate", challenge)]
    }));
    let recording = bench.folder().join("pager.pcap");
    let mut command = program();
    command.env("CPM_CLIENT_PASSWORD", "secret");
    command.args([
        "--trace",
        "--pcap",
        text(&recording),
        "send",
        "--from",
        ANNE,
    ]);
    command.args(["--server", &format!("127.0.0.1:{}", server.port())]);
    command.args(["--to", "sip:bill@example.com", "Lunch?"]);
    let ended = Running::start(command, "").succeeds();
    let trace = &ended.errors;
    for words in [
        "--> SIP over UDP, 127.0.0.1:",
        "    MESSAGE sip:bill@example.com SIP/2.0\n",
        "    WWW-Authenticate: Digest realm=",
        "response=\"xxxxxxxx",
        "    Lunch?\n",
        "<-- SIP over UDP",
    ] {
        assert!(trace.contains(words), "{words} in {trace}");
    }
    let authorized = server
        .expect_requests("MESSAGE", 2)
        .iter()
        .find_map(|request| request.header("Authorization").map(str::to_owned))
        .expect("the second one has credentials");
    let (_, response) = authorized.split_once("response=\"").expect("a digest");
    let response = &response[..32];
    assert!(!trace.contains(response));
    let recorded = std::fs::read(&recording).expect("it is there");
    assert!(crate::common::find(&recorded, response.as_bytes()).is_none());
    let ports = format!("udp.port=={},sip", server.port());
    let seen = dissected(
        &recording,
        &ports,
        "sip",
        &["sip.Method", "sip.Status-Code"],
    );
    assert_eq!(seen, ["MESSAGE\t", "\t401", "MESSAGE\t", "\t202"]);
}

#[test]
fn a_recording_of_a_large_message_is_whole() {
    let bench = Bench::new("client_a_recording_of_a_large_message");
    let callees = bench.callees();
    let picture = file(bench.folder(), "picture.png", pixels(150_000, 4));
    let recording = bench.folder().join("large.pcap");
    let mut command = program();
    command.args(["--pcap", text(&recording), "send", "--from", ANNE]);
    command.args(["--server", &format!("127.0.0.1:{}", callees.agent().port())]);
    command.args(["--transport", "tcp", "--to", "sip:bill@example.com"]);
    command.args(["--file", text(&picture)]);
    Running::start(command, "").succeeds();
    let received = callees.expect_call("bill").session.expect_message();
    let ports = format!("tcp.port=={},sip", callees.agent().port());
    let sip = dissected(
        &recording,
        &ports,
        "sip",
        &["sip.Method", "sip.Status-Code"],
    );
    assert!(sip.iter().any(|line| line.starts_with("INVITE")), "{sip:?}");
    assert!(sip.iter().any(|line| line.starts_with("BYE")), "{sip:?}");
    let bytes = dissected(&recording, &ports, "tcp.len>0", &["tcp.payload"]).concat();
    let bytes: Vec<u8> = (0..bytes.len() / 2)
        .map(|at| u8::from_str_radix(&bytes[2 * at..][..2], 16).expect("hexadecimal"))
        .collect();
    // A piece of the content, wherever chunks begin.
    let piece = &received.bytes[received.bytes.len() / 2..][..64];
    assert!(crate::common::find(&bytes, piece).is_some());
    assert!(bytes.len() > received.bytes.len());
}

#[test]
fn a_recording_that_cannot_be_made_is_told() {
    let mut command = program();
    command.args([
        "--pcap",
        "/nowhere/a.pcap",
        "send",
        "--from",
        ANNE,
        "--server",
        "127.0.0.1:9",
    ]);
    command.args(["--to", "sip:bill@example.com", "Hi"]);
    let ended = Running::start(command, "").wait();
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.errors.contains("--pcap /nowhere/a.pcap"), "{ended:?}");
}
