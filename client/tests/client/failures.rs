//! Failures, and what the program reports: message, advice and exit code.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use cpm_testbed::{Answer, Bench, Plan, ProxyConfig, Reply, SdpText};

use crate::common::{ANNE, Running, program, send, text};

const BILL: [&str; 3] = ["--to", "sip:bill@example.com", "Hi"];

#[test]
fn a_refusal_is_told_with_code_warning_and_advice() {
    let bench = Bench::new("client_a_refusal_is_told");
    let server = bench.agent();
    let capture = bench.capture();
    for (code, warning, words) in [
        (
            403,
            "399 cf.example.com \"127 Service not authorised\"",
            "--identity",
        ),
        (
            486,
            "399 cf.example.com \"102 Too many recipients\"",
            "split the list",
        ),
        (403, "399 cf.example.com \"129 No destinations\"", "--to"),
        (403, "399 cf.example.com \"No destinations\"", "--to"),
        (
            403,
            "399 cf.example.com \"119 Anonymity not allowed\"",
            "--anonymous",
        ),
        (
            403,
            "399 cf.example.com \"132 Version not supported\"",
            "--oma-release",
        ),
        (
            404,
            "399 cf.example.com \"x\"",
            "no such user, group or service",
        ),
    ] {
        server.answers(Answer::Reply(Reply::new(code).with("Warning", warning)));
        let failed = send(server.port(), &BILL).fails(3);
        assert_eq!(
            (&failed["kind"], &failed["answer"]["code"]),
            (&"refused".into(), &code.into())
        );
        let advice = failed["advice"].as_str().expect("there is advice");
        assert!(advice.contains(words), "{warning}: {advice}");
    }
    // In words for people.
    server.answers(Answer::Reply(Reply::new(403).with(
        "Warning",
        "399 cf.example.com \"127 Service not authorised\"",
    )));
    let mut command = program();
    command.args([
        "send",
        "--server",
        &format!("127.0.0.1:{}", server.port()),
        "--from",
        ANNE,
    ]);
    command.args(BILL);
    let ended = Running::start(command, "").wait();
    assert_eq!((ended.code, ended.plain.len()), (3, 0), "{ended:?}");
    let [first, second] = ended.errors.lines().collect::<Vec<_>>()[..] else {
        panic!("{ended:?}")
    };
    assert!(
        first.starts_with("cpm-client: the server answered 403 "),
        "{first}"
    );
    assert!(
        first.ends_with(", warning \"127 Service not authorised\""),
        "{first}"
    );
    assert!(second.starts_with("  what to do: "), "{second}");
    capture.stop().assert_clean();
}

#[test]
fn a_dead_server() {
    let bench = Bench::new("client_a_dead_server");
    let port = bench.port();
    for transport in ["udp", "tcp", "tls", "auto"] {
        let arguments = [&["--transport", transport][..], &BILL].concat();
        let failed = send(port, &arguments).fails(5);
        let message = failed["message"].as_str().expect("words");
        assert!(message.contains("refused"), "{transport}: {message}");
        assert!(
            failed["advice"]
                .as_str()
                .is_some_and(|words| words.contains("--server"))
        );
    }
}

#[test]
fn a_server_that_never_answers() {
    let bench = Bench::new("client_a_server_that_never_answers");
    let server = bench.agent();
    server.answers(Answer::Silent);
    let capture = bench.capture();
    let (pager, large) = (
        send(server.port(), &BILL),
        send(
            server.port(),
            &[&["--pager-max", "0", "--transport", "udp"][..], &BILL].concat(),
        ),
    );
    for (running, method) in [(pager, "MESSAGE"), (large, "INVITE")] {
        let ended = running.wait_within(Duration::from_secs(60));
        assert_eq!(ended.code, 4, "{ended:?}");
        let failed = ended.event("failed");
        let message = failed["message"].as_str().expect("words");
        assert!(message.contains(method), "{message}");
        // RFC 3261 §17.1: T1, doubling; T2 is the maximum except for INVITE.
        let request = server.expect_request(method);
        server.expect_retransmissions(&request, if method == "INVITE" { 6 } else { 10 });
    }
    capture.stop().assert_clean();
}

#[test]
fn a_lost_answer_costs_a_retransmission_and_no_second_message() {
    let bench = Bench::new("client_a_lost_answer");
    let server = bench.agent();
    server.answers(Answer::code_after(Duration::from_millis(700), 200));
    let capture = bench.capture();
    send(server.port(), &BILL).succeeds();
    let request = server.expect_request("MESSAGE");
    server.expect_retransmissions(&request, 1);
    capture.stop().assert_clean();
}

#[test]
fn a_wrong_answer() {
    let bench = Bench::new("client_a_wrong_answer");
    let callees = bench.callees();
    let capture = bench.capture();
    let large = [&["--pager-max", "0"][..], &BILL].concat();
    for (place, (plan, words)) in [
        (Plan::accept().attribute("path", None), "Path"),
        (
            Plan::accept().attribute("setup", Some("active")),
            "setup:active",
        ),
        (Plan::accept().attribute("setup", Some("sideways")), "SDP"),
        (Plan::accept().attribute("accept-types", None), "SDP"),
    ]
    .into_iter()
    .enumerate()
    {
        callees.plan("bill", plan);
        let failed = send(callees.agent().port(), &large).fails(8);
        let message = failed["message"].as_str().expect("words");
        assert!(
            message.contains("wrong answer") && message.contains(words),
            "{message}"
        );
        let call = callees.expect_nth_call("bill", place);
        callees.expect_in(&call, "ACK");
        callees.expect_in(&call, "BYE");
    }
    // No description at all.
    let contact = callees.agent().uri("phone");
    callees
        .agent()
        .answers(Answer::with(move |request| match request.method() {
            Some("INVITE") => vec![Reply::new(200).with("Contact", &format!("<{contact}>"))],
            _ => vec![Reply::new(200)],
        }));
    let failed = send(callees.agent().port(), &large).fails(8);
    assert!(
        failed["message"]
            .as_str()
            .is_some_and(|words| words.contains("without SDP"))
    );
    capture.stop().assert_clean();
}

#[test]
fn what_is_no_sip_over_a_connection() {
    let bench = Bench::new("client_what_is_no_sip");
    let port = bench.port();
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is ours");
    let server = thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("somebody comes");
        connection
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .expect("it reads");
        let _ = connection.read_to_end(&mut Vec::new());
    });
    let failed = send(port, &[&["--transport", "tcp"][..], &BILL].concat()).fails(5);
    assert!(
        failed["message"]
            .as_str()
            .is_some_and(|words| words.contains("no SIP")),
        "{failed}"
    );
    server.join().expect("the server ends");
}

#[test]
fn a_password_is_asked_for() {
    let bench = Bench::new("client_a_password_is_asked_for");
    let server = bench.agent();
    let capture = bench.capture();
    let password = crate::common::file(bench.folder(), "password", "secret\n");
    let digest = "Digest realm=\"example.com\", nonce=\"abc\", qop=\"auth\", algorithm=MD5";
    let challenging = || {
        Answer::with(move |request| match request.header("Proxy-Authorization") {
            None => vec![Reply::new(407).with("Proxy-Authenticate", digest)],
            Some(_) => vec![Reply::new(200)],
        })
    };
    server.answers(challenging());
    send(
        server.port(),
        &[&["--password-file", text(&password)][..], &BILL].concat(),
    )
    .succeeds();
    let (first, second) = (
        server.expect_request("MESSAGE"),
        server.expect_request("MESSAGE"),
    );
    assert_eq!(first.call_id(), second.call_id());
    assert_eq!(
        (first.cseq(), second.cseq()),
        (Some((1, "MESSAGE")), Some((2, "MESSAGE")))
    );
    assert_ne!(first.branch(), second.branch());
    assert_eq!(
        first.header("Contribution-ID"),
        second.header("Contribution-ID"),
        "the same message"
    );
    let answer = second.header("Proxy-Authorization").expect("it is there");
    for words in [
        "username=\"anne\"",
        "realm=\"example.com\"",
        "uri=\"sip:bill@example.com\"",
        "qop=auth",
    ] {
        assert!(answer.contains(words), "{answer}");
    }
    assert!(!String::from_utf8_lossy(second.raw()).contains("secret"));
    // Without a password.
    let failed = send(server.port(), &BILL).fails(9);
    assert!(
        failed["advice"]
            .as_str()
            .is_some_and(|words| words.contains("--password-file"))
    );
    server.expect_request("MESSAGE");
    // A wrong one: tried once, not forever.
    server.answers(Answer::Reply(
        Reply::new(407).with("Proxy-Authenticate", digest),
    ));
    let failed = send(
        server.port(),
        &[&["--password-file", text(&password)][..], &BILL].concat(),
    )
    .fails(9);
    assert_eq!(failed["kind"], "unauthenticated");
    server.expect_requests("MESSAGE", 2);
    // Basic would reveal the password.
    server.answers(Answer::Reply(
        Reply::new(401).with("WWW-Authenticate", "Basic realm=\"x\""),
    ));
    send(
        server.port(),
        &[&["--password-file", text(&password)][..], &BILL].concat(),
    )
    .fails(9);
    assert_eq!(
        server.expect_request("MESSAGE").header("Authorization"),
        None
    );
    capture.stop().assert_clean();
}

#[test]
fn an_invite_is_challenged_too() {
    let bench = Bench::new("client_an_invite_is_challenged");
    let callees = bench.callees();
    let session = callees.peer().session();
    let capture = bench.capture();
    let password = crate::common::file(bench.folder(), "password", "secret\n");
    let (contact, sdp) = (
        callees.agent().uri("phone"),
        SdpText::answer(&session).write(),
    );
    callees.agent().answers(Answer::with(move |request| {
        let challenge = "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"";
        match (request.method(), request.header("Authorization")) {
            (Some("INVITE" | "BYE"), None) => {
                vec![Reply::new(401).with("WWW-Authenticate", challenge)]
            }
            (Some("INVITE"), Some(_)) => vec![
                Reply::new(200)
                    .with("Contact", &format!("<{contact}>"))
                    .with_body("application/sdp", sdp.clone()),
            ],
            _ => vec![Reply::new(200)],
        }
    }));
    let password = [
        "--password-file",
        text(&password),
        "--user",
        "anna",
        "--pager-max",
        "0",
    ];
    send(callees.agent().port(), &[&password[..], &BILL].concat()).succeeds();
    session.expect_message();
    let agent = callees.agent();
    let requests = agent.received();
    let numbers: Vec<(u32, String)> = requests
        .iter()
        .filter_map(|one| one.cseq())
        .map(|(number, method)| (number, method.to_owned()))
        .collect();
    let wanted = [
        (1, "INVITE"),
        (1, "ACK"),
        (2, "INVITE"),
        (2, "ACK"),
        (3, "BYE"),
        (4, "BYE"),
    ];
    let wanted: Vec<(u32, String)> = wanted
        .map(|(number, method)| (number, method.to_owned()))
        .into();
    assert_eq!(numbers, wanted);
    assert!(
        requests[3].header("Authorization").is_some(),
        "RFC 3261 §22.1: the ACK for a 2xx has them"
    );
    assert!(
        requests[5]
            .header("Authorization")
            .is_some_and(|answer| answer.contains("\"anna\""))
    );
    capture.stop().assert_clean();
}

#[test]
fn watching_without_jsonrpcs_says_what_to_do() {
    let bench = Bench::new("client_watching_without_jsonrpcs");
    let callees = bench.callees();
    let rpc = bench.port();
    let config = ProxyConfig::new("request_route { drop; }")
        .load("jsonrpcs")
        .set_number("jsonrpcs", "transport", 4)
        .set("jsonrpcs", "dgram_socket", &format!("udp:127.0.0.1:{rpc}"));
    let proxy = bench.proxy(&config);
    let nobody = bench.port();
    let missing = bench.folder().join("rpc.sock");
    for (watch, advice) in [
        (format!("udp:127.0.0.1:{nobody}"), "load jsonrpcs.so"),
        (format!("unix:{}", missing.display()), "load jsonrpcs.so"),
        (format!("http://127.0.0.1:{nobody}/RPC"), "load jsonrpcs.so"),
        // A SIP port.
        (
            format!("udp:127.0.0.1:{}", callees.agent().port()),
            "load jsonrpcs.so",
        ),
        // The proxy is there, but the module is not.
        (format!("udp:127.0.0.1:{rpc}"), "cpm.so"),
    ] {
        let large = ["--to", "sip:bill@example.com", "--pager-max", "0", "Hi"];
        let watched = [&["--watch", &watch][..], &large].concat();
        // The message is sent nevertheless.
        let ended = send(callees.agent().port(), &watched).succeeds();
        let failed = ended.event("failed");
        let words = failed["message"].as_str().expect("words");
        assert!(words.starts_with("--watch: "), "{words}");
        let told = failed["advice"].as_str().expect("advice");
        assert!(told.contains(advice), "{watch}: {told}");
    }
    proxy.stop();
}
