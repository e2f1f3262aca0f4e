//! `receive`: registers, answers, keeps and prints; and the program against itself.

use cpm_testbed::{Answer, Bench, Reply, Request, Way, cpm_message, sha256};

use crate::common::{ANNE, Running, file, pixels, program, receive, send, text};

fn here(port: u16) -> Way {
    Way::Udp(([127, 0, 0, 1], port).into())
}

#[test]
fn what_comes_is_answered_printed_and_kept() {
    let bench = Bench::new("client_what_comes_is_answered");
    let anne = bench.agent();
    let port = bench.port();
    let capture = bench.capture();
    let folder = bench.folder().join("inbox");
    let mut receiver = receive(port, &["--store", text(&folder), "--count", "3"]);
    let to = format!("sip:bill@127.0.0.1:{port}");
    let message = cpm_message(ANNE, &to).text("Lunch?\n\x1b[31mred");
    let request = message.request();
    anne.send(&request, here(port));
    let answer = anne.expect_response(&request, 200);
    assert_eq!(
        answer.header("Contribution-ID"),
        request.header("Contribution-ID")
    );
    assert!(
        answer
            .header("Server")
            .is_some_and(|server| server.starts_with("CPM-client/OMA2.2 "))
    );
    assert!(answer.parameter("To", "tag").is_some());
    let told = receiver.expect("message");
    assert_eq!(
        (&told["from"], &told["mode"]),
        (&ANNE.into(), &"pager".into())
    );
    assert_eq!(told["parts"][0]["text"], "Lunch?\n\x1b[31mred");
    let kept = std::fs::read(told["parts"][0]["file"].as_str().expect("it was kept"));
    assert_eq!(kept.expect("the file is there"), b"Lunch?\n\x1b[31mred");
    // A repeated request gets its response again, and is not a second message.
    anne.send(&request, here(port));
    // Requests that are not messages get codes of their own.
    for (request, code) in [
        (
            cpm_message(ANNE, &to)
                .request()
                .with_body("application/x", "Hi"),
            415,
        ),
        // Undecodable content cannot be shown; an empty value counts as absent.
        (
            cpm_message(ANNE, &to)
                .request()
                .with("Content-Encoding", "gzip"),
            415,
        ),
        (
            cpm_message(ANNE, &to)
                .request()
                .with("e", "identity, deflate"),
            415,
        ),
        (
            cpm_message(ANNE, &to)
                .request()
                .with("Content-Encoding", "Identity"),
            200,
        ),
        (cpm_message(ANNE, &to).request().with("Require", "foo"), 420),
        (Request::new("SUBSCRIBE", ANNE, &to), 405),
        (Request::new("BYE", ANNE, &to), 481),
        (Request::new("OPTIONS", ANNE, &to), 200),
    ] {
        anne.send(&request, here(port));
        let response = anne.expect_response(&request, code);
        if code == 415 {
            assert_eq!(response.header("Accept-Encoding"), Some("identity"));
            let accept = response.header("Accept").unwrap_or_default();
            assert!(accept.contains("message/cpim") && accept.contains("text/plain"));
        }
    }
    let last = cpm_message(ANNE, &to).request();
    anne.send(&last, here(port));
    anne.expect_response(&last, 200);
    let ended = receiver.succeeds();
    let messages = ended.events.iter().filter(|one| one["event"] == "message");
    assert_eq!(messages.count(), 3);
    let recording = capture.stop();
    recording.assert_clean();
    let answers = format!(
        "sip.Status-Code == 200 && sip.Call-ID == \"{}\"",
        call_id(&request)
    );
    assert_eq!(recording.fields(&answers, &["frame.number"]).len(), 2);
}

#[test]
fn a_plain_text_is_shown() {
    let bench = Bench::new("client_a_plain_text_is_shown");
    let anne = bench.agent();
    let port = bench.port();
    let folder = bench.folder().join("inbox");
    let mut receiver = receive(port, &["--store", text(&folder), "--count", "2"]);
    let to = format!("sip:bill@127.0.0.1:{port}");
    // As sent by sipp, Linphone or baresip; it requests nothing, whatever its text looks like.
    let words = "From: <sip:a@b>\r\n\r\nContent-Type: text/plain\r\n\r\nHi";
    for (kind, words) in [("text/plain", "Hello"), ("text/plain;charset=UTF-8", words)] {
        let request = Request::new("MESSAGE", ANNE, &to).with_body(kind, words);
        anne.send(&request, here(port));
        anne.expect_response(&request, 200);
    }
    let first = receiver.expect("message");
    assert_eq!(first["parts"][0]["text"], "Hello");
    assert_eq!(
        (&first["from"], &first["mode"]),
        (&ANNE.into(), &"pager".into())
    );
    let ended = receiver.succeeds();
    let second = &ended.events[ended.events.len() - 1];
    assert_eq!(second["parts"][0]["text"], words);
    let kept = std::fs::read_to_string(second["file"].as_str().expect("it was kept"));
    let kept = kept.expect("it is text");
    assert!(
        kept.contains("Content-Type: text/plain;charset=UTF-8\r\n"),
        "{kept}"
    );
    assert!(kept.ends_with(words), "{kept}");
}

fn call_id(request: &Request) -> &str {
    request.header("Call-ID").expect("each request has one")
}

#[test]
fn control_characters_of_strangers_do_not_reach_the_terminal() {
    let bench = Bench::new("client_control_characters");
    let anne = bench.agent();
    let port = bench.port();
    let mut command = program();
    command.args([
        "receive",
        "--address",
        "sip:bill@example.com",
        "--count",
        "1",
    ]);
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    let mut receiver = Running::start(command, "");
    receiver.expect_line("listening");
    let request = cpm_message(ANNE, "sip:bill@example.com")
        .text("a\x1b[31mb")
        .request();
    anne.send(&request, here(port));
    anne.expect_response(&request, 200);
    let ended = receiver.succeeds();
    assert!(
        ended.plain.iter().any(|line| line == "  | a\u{fffd}[31mb"),
        "{ended:?}"
    );
}

#[test]
fn it_registers_and_takes_it_back() {
    let bench = Bench::new("client_it_registers");
    let registrar = bench.agent();
    let port = bench.port();
    let capture = bench.capture();
    let password = file(bench.folder(), "password", "secret");
    registrar.answers(Answer::with(|request| {
        match request.header("Authorization") {
            None => vec![Reply::new(401).with(
                "WWW-Authenticate",
                "Digest realm=\"r\", nonce=\"n\", qop=\"auth\"",
            )],
            Some(_) => {
                let contact = request.header("Contact").unwrap_or_default();
                vec![
                    Reply::new(200)
                        .with("Contact", &format!("{contact};expires=300"))
                        .with("Service-Route", "<sip:scscf.example.com;lr>"),
                ]
            }
        }
    }));
    let server = format!("127.0.0.1:{}", registrar.port());
    let arguments = [
        "--register",
        "sip:example.com",
        "--server",
        &server,
        "--password-file",
        text(&password),
    ];
    let mut receiver = receive(port, &arguments);
    let told = receiver.expect("registered");
    assert_eq!(told["seconds"], 300);
    assert_eq!(told["service_route"][0], "<sip:scscf.example.com;lr>");
    registrar.expect_request("REGISTER");
    let register = registrar.expect_request("REGISTER");
    assert_eq!(register.uri(), Some("sip:example.com"));
    assert_eq!(register.header("To"), Some("<sip:bill@example.com>"));
    let contact = register.header("Contact").expect("it names itself");
    assert!(
        contact.starts_with(&format!("<sip:bill@127.0.0.1:{port}>")),
        "{contact}"
    );
    assert!(contact.contains("oma.cpm.largemsg"), "{contact}");
    receiver.interrupt();
    let last = registrar.expect_request("REGISTER");
    assert_eq!(last.header("Expires"), Some("0"));
    receiver.succeeds();
    capture.stop().assert_clean();
}

#[test]
fn a_registrar_that_says_no() {
    let bench = Bench::new("client_a_registrar_that_says_no");
    let registrar = bench.agent();
    registrar.answers(Answer::code(403));
    let server = format!("127.0.0.1:{}", registrar.port());
    let receiver = receive(
        bench.port(),
        &["--register", "sip:example.com", "--server", &server],
    );
    let failed = receiver.fails(3);
    assert_eq!(failed["answer"]["code"], 403);
}

#[test]
fn the_program_speaks_with_itself() {
    let bench = Bench::new("client_the_program_speaks_with_itself");
    // The port of an agent that is gone: tshark then knows that it is for SIP.
    let port = {
        let agent = bench.agent();
        agent.port()
    };
    let msrp = bench.msrp_port();
    let folder = bench.folder().join("inbox");
    let picture = pixels(500_000, 9);
    let path = file(bench.folder(), "picture.png", &picture);
    let listen = format!("127.0.0.1:{msrp}");
    let receiver = receive(
        port,
        &[
            "--store",
            text(&folder),
            "--count",
            "3",
            "--msrp-listen",
            &listen,
        ],
    );
    let capture = bench.capture();
    let bill = ["--to", "sip:bill@example.com"];
    send(port, &[&bill[..], &["Lunch?"]].concat()).succeeds();
    for transport in ["udp", "tcp"] {
        let more = [
            "--transport",
            transport,
            "--file",
            text(&path),
            "--chunk-size",
            "8000",
        ];
        send(port, &[&bill[..], &more].concat()).succeeds();
    }
    let ended = receiver.succeeds();
    let messages: Vec<_> = ended
        .events
        .iter()
        .filter(|one| one["event"] == "message")
        .collect();
    assert_eq!(messages.len(), 3);
    for large in &messages[1..] {
        assert_eq!(
            (&large["mode"], &large["parts"][0]["content_type"]),
            (&"large".into(), &"image/png".into())
        );
        assert_eq!(large["parts"][0]["sha256"], sha256(&picture).as_str());
        let kept = std::fs::read(large["parts"][0]["file"].as_str().expect("it was kept"));
        assert_eq!(kept.expect("the file is there"), picture);
    }
    capture.stop().assert_clean();
}

#[test]
fn a_refusing_recipient_and_one_with_limits() {
    let bench = Bench::new("client_a_refusing_recipient");
    let (busy, small) = (bench.port(), bench.port());
    let mut refusing = receive(busy, &["--reject", "486"]);
    let _limited = receive(small, &["--max-size", "2000"]);
    let path = file(bench.folder(), "picture.png", pixels(5000, 9));
    let bill = ["--to", "sip:bill@example.com"];
    for more in [&["Hi"][..], &["--pager-max", "0", "Hi"]] {
        let failed = send(busy, &[&bill[..], more].concat()).fails(3);
        assert_eq!(failed["answer"]["code"], 486);
        assert_eq!(refusing.expect("refused")["code"], 486);
    }
    let failed = send(small, &[&bill[..], &["--file", text(&path)]].concat()).fails(3);
    assert_eq!(failed["answer"]["warnings"][0], "133 Size exceeded");
}

#[test]
fn msrp_over_tls_between_the_two() {
    let bench = Bench::new("client_msrp_over_tls");
    let folder = bench.folder().join("tls");
    std::fs::create_dir_all(&folder).expect("the folder of a test can be written to");
    let (certificate, key) = cpm_testbed::Certificate::new(&["127.0.0.1"]).files(&folder);
    let port = bench.port();
    let tls = [
        "--tls-certificate",
        text(&certificate),
        "--tls-private-key",
        text(&key),
        "--count",
        "1",
    ];
    let receiver = receive(port, &tls);
    // Bytes of all values, and some that look like the end of a chunk.
    let mut picture = cpm_testbed::noise(1_000_000, 9);
    picture[70_000..70_020].copy_from_slice(b"\r\n-------a786hjs2$\r\n");
    let path = file(bench.folder(), "picture.png", &picture);
    let bill = [
        "--to",
        "sip:bill@example.com",
        "--file",
        text(&path),
        "--msrp",
        "tls",
    ];
    send(port, &bill).succeeds();
    let message = receiver.succeeds().event("message");
    assert_eq!(message["parts"][0]["sha256"], sha256(&picture).as_str());
}
