//! How SIP reaches `receive`: over UDP, TCP and TLS, and over the connection with which it
//! registered.

use std::path::PathBuf;

use cpm_testbed::{Answer, Bench, Certificate, ProxyConfig, Reply, Way, cpm_message, sha256};

use crate::certificates::tls_server;
use crate::common::{ANNE, Running, file, pixels, program, receive, send, text};

const BILL: &str = "sip:bill@example.com";

/// A certificate for this machine, and its key, as files.
fn certificate(bench: &Bench) -> (PathBuf, PathBuf) {
    let folder = bench.folder().join("certificate");
    std::fs::create_dir_all(&folder).expect("the folder of a test can be written to");
    Certificate::new(&["127.0.0.1"]).files(&folder)
}

#[test]
fn udp_tcp_and_tls_come_in_side_by_side() {
    let bench = Bench::new("client_udp_tcp_and_tls_come_in");
    let (chain, key) = certificate(&bench);
    let (port, secure) = (bench.port(), bench.port());
    let listen = format!("tls:127.0.0.1:{secure}");
    let tls = [
        "--listen",
        &listen,
        "--tls-certificate",
        text(&chain),
        "--tls-private-key",
        text(&key),
    ];
    let mut receiver = receive(
        port,
        &[&tls[..], &["--msrp", "tcp", "--count", "6"]].concat(),
    );
    let listening = receiver.expect("listening");
    assert_eq!(listening["sip"], format!("127.0.0.1:{port}"));
    assert_eq!(listening["sip_tls"], format!("127.0.0.1:{secure}"));
    let picture = pixels(100_000, 9);
    let path = file(bench.folder(), "picture.png", &picture);
    for (port, transport) in [(port, "udp"), (port, "tcp"), (secure, "tls")] {
        let way = [
            "--transport",
            transport,
            "--ca-file",
            text(&chain),
            "--to",
            BILL,
        ];
        send(port, &[&way[..], &["Lunch?"]].concat()).succeeds();
        send(port, &[&way[..], &["--file", text(&path)]].concat()).succeeds();
    }
    let ended = receiver.succeeds();
    let messages: Vec<_> = ended
        .events
        .iter()
        .filter(|one| one["event"] == "message")
        .collect();
    assert_eq!(messages.len(), 6);
    for pair in messages.chunks(2) {
        assert_eq!(pair[0]["parts"][0]["text"], "Lunch?");
        assert_eq!(pair[1]["parts"][0]["sha256"], sha256(&picture).as_str());
    }
}

#[test]
fn tls_alone_carries_sip_and_msrp() {
    let bench = Bench::new("client_tls_alone_carries_sip_and_msrp");
    let (chain, key) = certificate(&bench);
    let port = bench.port();
    let mut command = program();
    command.args(["--json", "receive", "--address", BILL, "--count", "1"]);
    command.args(["--listen", &format!("tls:127.0.0.1:{port}")]);
    command.args([
        "--tls-certificate",
        text(&chain),
        "--tls-private-key",
        text(&key),
    ]);
    let mut receiver = Running::start(command, "");
    assert!(receiver.expect("listening")["sip"].is_null());
    let path = file(bench.folder(), "picture.png", pixels(100_000, 9));
    let arguments = [
        "--transport",
        "tls",
        "--ca-file",
        text(&chain),
        "--to",
        BILL,
    ];
    let what = ["--msrp", "tls", "--file", text(&path)];
    // A peer that trusts no certificate does not connect, which disturbs nobody.
    send(port, &["--transport", "tls", "--to", BILL, "Hi"]).fails(6);
    send(port, &[&arguments[..], &what].concat()).succeeds();
    assert_eq!(receiver.succeeds().event("message")["mode"], "large");
}

#[test]
fn what_is_missing_for_tls_is_told() {
    let bench = Bench::new("client_what_is_missing_for_tls");
    let listen = format!("tls:127.0.0.1:{}", bench.port());
    let run = |arguments: &[&str]| {
        let mut command = program();
        command.args(["--json", "receive", "--address", BILL]);
        command.args(arguments);
        Running::start(command, "").fails(1)
    };
    let advice = |failed: &serde_json::Value| failed["advice"].as_str().map(str::to_owned);
    let failed = run(&["--listen", &listen]);
    assert!(advice(&failed).is_some_and(|words| words.contains("--tls-certificate")));
    let failed = run(&["--listen", "127.0.0.1:0", "--msrp", "tls"]);
    assert!(advice(&failed).is_some_and(|words| words.contains("--tls-certificate")));
    run(&["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
    let (chain, key) = certificate(&bench);
    let failed = run(&[
        "--listen",
        &listen,
        "--tls-certificate",
        text(&chain),
        "--tls-private-key",
        text(&key),
        "--register",
        "sip:127.0.0.1:9",
    ]);
    assert!(advice(&failed).is_some_and(|words| words.contains("--listen ADDRESS:PORT")));
}

#[test]
fn requests_come_over_the_connection_that_has_registered() {
    let bench = Bench::new("client_requests_come_over_the_connection");
    let registrar = bench.agent();
    registrar.answers(Answer::with(|request| {
        let contact = request.header("Contact").unwrap_or_default();
        vec![Reply::new(200).with("Contact", contact)]
    }));
    let (chain, _) = certificate(&bench);
    let certified = Certificate::new(&["127.0.0.1"]);
    let folder = bench.folder().join("registrar");
    std::fs::create_dir_all(&folder).expect("the folder of a test can be written to");
    let (authority, _) = certified.files(&folder);
    let secure = tls_server(&bench, &certified, registrar.port());
    for (transport, port) in [("tcp", registrar.port()), ("tls", secure)] {
        let server = format!("127.0.0.1:{port}");
        let register = ["--register", "sip:example.com", "--server", &server];
        let how = ["--transport", transport, "--ca-file", text(&authority)];
        let mut receiver = receive(bench.port(), &[&register[..], &how].concat());
        receiver.expect("registered");
        let came = registrar.expect_request("REGISTER");
        let via = came.header("Via").unwrap_or_default();
        let spelt = format!("SIP/2.0/{} ", transport.to_uppercase());
        assert!(via.starts_with(&spelt), "{via}");
        assert!(matches!(came.way(), Way::Tcp(_)));
        let message = cpm_message(ANNE, BILL).text("Lunch?").request();
        registrar.send(&message, *came.way());
        let answer = registrar.expect_response(&message, 200);
        assert_eq!(answer.way(), came.way());
        assert_eq!(receiver.expect("message")["parts"][0]["text"], "Lunch?");
        // A lost connection is useless: the program reconnects by itself.
        registrar.close_connections();
        let again = registrar.expect_request("REGISTER");
        assert_ne!(again.way(), came.way());
        let message = cpm_message(ANNE, BILL).request();
        registrar.send(&message, *again.way());
        registrar.expect_response(&message, 200);
        receiver.interrupt();
        let last = registrar.expect_request("REGISTER");
        assert_eq!(last.header("Expires"), Some("0"));
        receiver.succeeds();
    }
    // A registrar with the wrong certificate is not used.
    let server = format!("127.0.0.1:{secure}");
    let register = ["--register", "sip:example.com", "--server", &server];
    let how = ["--transport", "tls", "--ca-file", text(&chain)];
    let failed = receive(bench.port(), &[&register[..], &how].concat()).fails(6);
    assert!(
        failed["advice"]
            .as_str()
            .is_some_and(|words| words.contains("--ca-file"))
    );
}

#[test]
fn a_proxy_finds_the_connection_that_has_registered() {
    let bench = Bench::new("client_a_proxy_finds_the_connection");
    let routes = "request_route {
        if (is_method(\"REGISTER\")) {
            force_rport();
            fix_nated_register();
            save(\"location\");
            exit;
        }
        if (!lookup(\"location\")) {
            sl_send_reply(\"404\", \"Not Here\");
            exit;
        }
        t_relay();
    }";
    let config = [
        "tm",
        "sl",
        "pv",
        "textops",
        "usrloc",
        "registrar",
        "nathelper",
    ]
    .into_iter()
    .fold(ProxyConfig::new(routes), ProxyConfig::load)
    .set("nathelper", "received_avp", "$avp(received)")
    .set("registrar", "received_avp", "$avp(received)");
    let proxy = bench.proxy(&config);
    let (chain, key) = certificate(&bench);
    let registrar = format!("sip:127.0.0.1:{}", proxy.port());
    let bill = format!("sip:bill@127.0.0.1:{}", proxy.port());
    // Nobody can connect to this one over TCP: it does not listen.
    let mut command = program();
    command.args(["--json", "receive", "--address", &bill, "--count", "2"]);
    command.args(["--listen", &format!("tls:127.0.0.1:{}", bench.port())]);
    command.args([
        "--tls-certificate",
        text(&chain),
        "--tls-private-key",
        text(&key),
    ]);
    command.args([
        "--register",
        &registrar,
        "--transport",
        "tcp",
        "--msrp",
        "tcp",
    ]);
    let mut receiver = Running::start(command, "");
    receiver.expect("registered");
    send(proxy.port(), &["--to", &bill, "Lunch?"]).succeeds();
    let path = file(bench.folder(), "picture.png", pixels(100_000, 9));
    send(proxy.port(), &["--to", &bill, "--file", text(&path)]).succeeds();
    receiver.succeeds();
    proxy.stop();
}
