//! `chat`: a conversation in a terminal.

use std::time::Duration;

use cpm_testbed::{Bench, Conduct, Plan, Proxy, sha256};

use crate::common::{ANNE, CONTROLLING, EXPLODER, cpm_proxy, file, pixels, receive_as, send, text};
use crate::terminal::Terminal;

const HANDLE: &str = "request_route {
    if (cpm_handle()) exit;
    # Notifications and what is for one go straight to where the address leads.
    t_relay();
}";

#[test]
fn two_people_talk_and_see_their_receipts() {
    let bench = Bench::new("client_two_people_talk");
    let (port, msrp) = (bench.port(), bench.msrp_port());
    let config = cpm_proxy(HANDLE).set("cpm", "msrp_listen", &format!("tcp:127.0.0.1:{msrp}"));
    let proxy = bench.proxy(&config);
    let server = format!("127.0.0.1:{}", proxy.port());
    let (anne_at, bill_at) = (
        format!("127.0.0.1:{port}"),
        format!("127.0.0.1:{}", bench.port()),
    );
    let (anne, bill) = (format!("sip:anne@{anne_at}"), format!("sip:bill@{bill_at}"));
    let config = format!("[contacts]\nbill = \"{bill}\"\nanne = \"{anne}\"\n");
    let config = file(bench.folder(), "config.toml", config);
    let inbox = bench.folder().join("inbox");
    let start = |own: &str, listen: &str, to: &str| {
        let command = [
            "cpm-client",
            "--config",
            text(&config),
            "chat",
            "--server",
            &server,
            "--from",
            own,
            "--assert",
            own,
            "--listen",
            listen,
            "--via",
            "exploder",
            EXPLODER,
            "--to",
            to,
            "--store",
            text(&inbox),
        ];
        Terminal::start(&bench, "chat", &command)
    };
    let anne = start(&anne, &anne_at, "bill");
    let bill = start(&bill, &bill_at, "anne");
    anne.expect("Talking to bill.");
    bill.expect("Talking to anne.");
    anne.type_text("Lunch?");
    anne.press("Enter");
    bill.expect("anne: Lunch?");
    anne.expect("#1 bill: delivered");
    anne.expect("#1 bill: displayed");
    bill.type_text("Yes, at \u{1F35D}!");
    bill.press("Enter");
    anne.expect("bill: Yes, at \u{1F35D}!");
    bill.expect("#1 anne: displayed");
    let picture = pixels(200_000, 3);
    let path = file(bench.folder(), "picture.png", &picture);
    bill.type_text(&format!("/file {}", text(&path)));
    bill.press("Enter");
    bill.expect("100 % of");
    // The line is longer than the terminal.
    anne.expect("(200000 bytes, image/png, kept as");
    let kept = std::fs::read_dir(&inbox).expect("it was made");
    let kept: Vec<_> = kept
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|file| file.extension().is_some_and(|ending| ending == "png"))
        .collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(std::fs::read(&kept[0]).expect("it is there"), picture);
    anne.type_text("/nonsense");
    anne.press("Enter");
    anne.expect("/quit ends");
    for terminal in [&anne, &bill] {
        terminal.type_text("/quit");
        terminal.press("Enter");
        terminal.expect_end();
    }
    proxy.stop();
}

#[test]
fn a_conversation_by_script_needs_no_terminal() {
    let bench = Bench::new("client_a_conversation_by_script");
    let server = bench.agent();
    let mut command = crate::common::program();
    command.args(["chat", "--server", &format!("127.0.0.1:{}", server.port())]);
    command.args([
        "--from",
        ANNE,
        "--transport",
        "udp",
        "--to",
        "sip:bill@example.com",
    ]);
    let ended = crate::common::Running::start(command, "Lunch?\n\nNow.\n/who\n").succeeds();
    let requests = server.expect_requests("MESSAGE", 2);
    let conversations: Vec<_> = requests
        .iter()
        .map(|one| one.header("Conversation-ID").map(str::to_owned))
        .collect();
    assert!(conversations[0].is_some() && conversations[0] == conversations[1]);
    for line in ["  #1 sent", "  #2 sent", "  bill"] {
        assert!(ended.plain.iter().any(|one| one == line), "{ended:?}");
    }
}

/// A proxy with large message mode that answers --watch at this port.
fn watched_proxy(bench: &Bench, udp: u16) -> Proxy {
    let config = cpm_proxy(HANDLE)
        .load("jsonrpcs")
        .set(
            "cpm",
            "msrp_listen",
            &format!("tcp:127.0.0.1:{}", bench.msrp_port()),
        )
        .set_number("jsonrpcs", "transport", 4)
        .set("jsonrpcs", "dgram_socket", &format!("udp:127.0.0.1:{udp}"));
    bench.proxy(&config)
}

#[test]
fn five_recipients_of_whom_one_rings_and_one_fails() {
    let bench = Bench::new("client_five_recipients");
    let udp = bench.port();
    let proxy = watched_proxy(&bench, udp);
    let callees = bench.callees();
    let ports = [bench.port(), bench.port(), bench.port()];
    let receivers = ports.map(|port| receive_as("sip:x@example.com", port, &["--count", "1"]));
    callees.plan("ringing", Plan::no_answer().ringing());
    callees.plan("busy", Plan::status(486));
    let picture = pixels(100_000, 7);
    let path = file(bench.folder(), "picture.png", &picture);
    let (server, watch) = (
        format!("127.0.0.1:{}", proxy.port()),
        format!("udp:127.0.0.1:{udp}"),
    );
    let mut command = vec![
        "cpm-client",
        "send",
        "--server",
        &server,
        "--from",
        ANNE,
        "--assert",
        ANNE,
        "--via",
        "adhoc",
        CONTROLLING,
        "--watch",
        &watch,
        "--file",
        text(&path),
    ];
    let mut uris = ports.map(|port| format!("sip:x@127.0.0.1:{port}")).to_vec();
    uris.extend(["ringing", "busy"].map(|user| callees.uri(user)));
    for uri in &uris {
        command.extend(["--to", uri]);
    }
    let terminal = Terminal::start(&bench, "five", &command);
    let line = |screen: &str, user: &str, words: &str| {
        let mut lines = screen.lines();
        lines.any(|line| line.contains(user) && line.contains(words))
    };
    terminal.expect_that("two that do not get it, three that do", |screen| {
        line(screen, "sip:ringing", "ringing")
            && line(screen, "sip:busy", "failed (486)")
            && screen.matches("delivered").count() == 3
    });
    for receiver in receivers {
        let message = receiver.succeeds().event("message");
        assert_eq!(message["parts"][0]["sha256"], sha256(&picture).as_str());
    }
    drop(terminal);
    proxy.stop();
}

#[test]
fn a_failed_recipient_shows_in_the_exit_status() {
    let bench = Bench::new("client_a_failed_recipient");
    let udp = bench.port();
    let proxy = watched_proxy(&bench, udp);
    let callees = bench.callees();
    callees.plan("busy", Plan::status(486));
    // So slow that the watcher sees the other one fail.
    let conduct = Conduct::Slow(Duration::from_millis(100));
    callees.plan("slow", Plan::accept().conduct(conduct));
    let path = file(bench.folder(), "picture.png", pixels(50_000, 2));
    let (watch, slow, busy) = (
        format!("udp:127.0.0.1:{udp}"),
        callees.uri("slow"),
        callees.uri("busy"),
    );
    let arguments = [
        "--assert",
        ANNE,
        "--via",
        "exploder",
        EXPLODER,
        "--to",
        &slow,
        "--to",
        &busy,
        "--watch",
        &watch,
        "--file",
        text(&path),
    ];
    let failed = send(proxy.port(), &arguments).fails(11);
    assert_eq!(failed["kind"], "partly");
    callees.expect_call("slow").session.expect_message();
    proxy.stop();
}
