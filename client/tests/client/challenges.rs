//! Challenges in every spelling that servers use (RFC 3261 §22, RFC 7616, RFC 8760): a bare server
//! reads the response, and Kamailio's `auth` verifies it.

use std::sync::atomic::{AtomicUsize, Ordering};

use cpm_testbed::{Answer, Bench, ProxyConfig, Reply};

use crate::common::{file, receive, send, text};

const BILL: [&str; 3] = ["--to", "sip:bill@example.com", "Hi"];

#[test]
fn each_spelling_is_answered() {
    let bench = Bench::new("client_each_spelling_is_answered");
    let server = bench.agent();
    let capture = bench.capture();
    let password = file(bench.folder(), "password", "secret");
    let login = ["--password-file", text(&password), "--user", "anné"];
    let plain = "Digest realm=\"r\", nonce=\"n\"";
    for (challenges, expected) in [
        // Only what is mandatory; then names and words in other cases.
        (
            &[plain][..],
            &["realm=\"r\"", "nonce=\"n\"", "username=\"anné\""][..],
        ),
        (
            &["DIGEST REALM=\"r\",NONCE=\"n\",QOP=AUTH,Algorithm=md5"],
            &["qop=auth,", "nc=00000001", "algorithm=md5"],
        ),
        (
            &["Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\""],
            &["qop=auth-int,", "nc=00000001", "cnonce=\""],
        ),
        (
            &["Digest realm=\"r\", nonce=\"n\", qop=\"auth-int,auth\", opaque=\"o p\""],
            &["qop=auth,", "opaque=\"o p\""],
        ),
        (
            &["Digest realm=\"Zürich, \\\"Süd\\\"\", nonce=\"n\", charset=UTF-8, qop=\"auth\""],
            &["realm=\"Zürich, \\\"Süd\\\"\""],
        ),
        (
            &["Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=\"SHA-256\""],
            &["algorithm=SHA-256"],
        ),
        (
            &["Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=sha-512-256-sess"],
            &["algorithm=sha-512-256-sess", "cnonce=\""],
        ),
        (
            &["Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=MD5-sess"],
            &["algorithm=MD5-sess"],
        ),
        // RFC 8760 §2.4: the first supported one.
        (
            &[
                "Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=SHA-3",
                "Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256",
                "Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=MD5",
            ],
            &["algorithm=SHA-256"],
        ),
        // Basic reveals the password, and the others are not supported.
        (&["Basic realm=\"x\"", plain], &["realm=\"r\""]),
        (
            &["Basic realm=\"x\", Digest realm=\"r\", nonce=\"n\""],
            &["realm=\"r\""],
        ),
        (&["Basic realm=\"x\""], &[]),
        (&["Bearer authz_server=\"https://a\""], &[]),
        (&["Digest realm=\"r\", nonce=\"n\", algorithm=SHA-1"], &[]),
        (&["Digest realm=\"r\", nonce=\"n\", qop=\"token\""], &[]),
        (&["Digest realm=\"r\""], &[]),
        (&[""], &[]),
    ] {
        for (code, challenge, answer) in [
            (401, "WWW-Authenticate", "Authorization"),
            (407, "Proxy-Authenticate", "Proxy-Authorization"),
        ] {
            let refusal = challenges
                .iter()
                .fold(Reply::new(code), |reply, one| reply.and(challenge, one));
            server.answers(Answer::with(move |request| {
                vec![match request.header(answer) {
                    None => refusal.clone(),
                    Some(_) => Reply::new(200),
                }]
            }));
            let sent = send(server.port(), &[&login[..], &BILL].concat());
            if expected.is_empty() {
                assert_eq!(sent.fails(9)["kind"], "unauthenticated", "{challenges:?}");
                server.expect_request("MESSAGE");
                continue;
            }
            sent.succeeds();
            server.expect_request("MESSAGE");
            let answered = server.expect_request("MESSAGE");
            let values = answered.headers(answer);
            assert_eq!(values.len(), 1, "{challenges:?}");
            for words in expected {
                assert!(values[0].contains(words), "{words} in {}", values[0]);
            }
            assert!(!values[0].contains("secret"));
        }
    }
    capture.stop().assert_clean();
}

#[test]
fn two_proxies_and_a_server_ask_one_after_the_other() {
    let bench = Bench::new("client_two_proxies_and_a_server_ask");
    let server = bench.agent();
    let password = file(bench.folder(), "password", "secret");
    server.answers(Answer::with(|request| {
        let has = |name: &str, realm: &str| {
            let wanted = format!("realm=\"{realm}\"");
            request
                .headers(name)
                .iter()
                .any(|one| one.contains(&wanted))
        };
        let asks =
            |realm: &str| format!("Digest realm=\"{realm}\", nonce=\"{realm}\", qop=\"auth\"");
        let proxy = |realm: &str| Reply::new(407).with("Proxy-Authenticate", &asks(realm));
        vec![match ["one", "two"]
            .iter()
            .find(|realm| !has("Proxy-Authorization", realm))
        {
            Some(realm) => proxy(realm),
            None if !has("Authorization", "three") => {
                Reply::new(401).with("WWW-Authenticate", &asks("three"))
            }
            None => Reply::new(200),
        }]
    }));
    let login = ["--password-file", text(&password)];
    send(server.port(), &[&login[..], &BILL].concat()).succeeds();
    let requests = server.expect_requests("MESSAGE", 4);
    let last = &requests[3];
    assert_eq!(last.headers("Proxy-Authorization").len(), 2);
    assert_eq!(last.headers("Authorization").len(), 1);
    // Each nonce has a count of its own.
    let counts = [("one", 3), ("two", 2)].map(|(realm, count)| {
        let values = last.headers("Proxy-Authorization").into_iter();
        let mut own = values.filter(|value| value.contains(&format!("realm=\"{realm}\"")));
        own.any(|value| value.contains(&format!("nc={count:08x}")))
    });
    assert_eq!(counts, [true, true], "{last:?}");
}

#[test]
fn a_registration_keeps_its_nonce_as_long_as_it_is_taken() {
    let bench = Bench::new("client_a_registration_keeps_its_nonce");
    let registrar = bench.agent();
    let password = file(bench.folder(), "password", "secret");
    let count = AtomicUsize::new(0);
    registrar.answers(Answer::with(move |request| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let contact = request.header("Contact").unwrap_or_default();
        let asks = |nonce: &str| {
            let challenge = format!("Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\"");
            Reply::new(401).with("WWW-Authenticate", &challenge)
        };
        vec![match number {
            0 => asks("first"),
            // A lifetime that is too short, and a nonce valid for one request: without the word
            // stale.
            1 => Reply::new(423).with("Min-Expires", "4000"),
            2 => asks("second"),
            5 => asks("third"),
            _ => Reply::new(200).with("Contact", &format!("{contact};expires=1")),
        }]
    }));
    let server = format!("127.0.0.1:{}", registrar.port());
    let register = ["--register", "sip:example.com", "--server", &server];
    let login = ["--password-file", text(&password)];
    let mut receiver = receive(bench.port(), &[&register[..], &login].concat());
    receiver.expect("registered");
    let requests = registrar.expect_requests("REGISTER", 7);
    let answers: Vec<String> = requests
        .iter()
        .map(|one| match one.headers("Authorization")[..] {
            [] => String::new(),
            [answer] => ["nonce=\"", "nc="]
                .map(|name| {
                    let (_, value) = answer.split_once(name).expect("it is there");
                    value
                        .split(['"', ','])
                        .next()
                        .unwrap_or_default()
                        .to_owned()
                })
                .join(" "),
            _ => panic!("{one:?}"),
        })
        .collect();
    assert_eq!(
        answers,
        [
            "",
            "first 00000001",
            "first 00000002",
            "second 00000001",
            // Refreshes, until the nonce is too old.
            "second 00000002",
            "second 00000003",
            "third 00000001",
        ]
    );
    let numbers = requests.iter().filter_map(|one| Some(one.cseq()?.0));
    assert!(numbers.eq(1..8));
    receiver.interrupt();
    receiver.succeeds();
}

#[test]
fn kamailio_believes_the_answers() {
    let bench = Bench::new("client_kamailio_believes_the_answers");
    let password = file(bench.folder(), "password", "secret");
    let wrong = file(bench.folder(), "wrong", "Secret");
    for algorithm in ["MD5", "SHA-256"] {
        // Flags of proxy_challenge: no qop, auth. For auth-int it hashes leftover memory, not the
        // body (seen in 5.6).
        for flags in [0, 1] {
            let routes = format!(
                "request_route {{
                    if (is_method(\"ACK\")) exit;
                    if (!pv_proxy_authenticate(\"example.com\", \"secret\", \"0\")) {{
                        proxy_challenge(\"example.com\", \"{flags}\");
                        exit;
                    }}
                    sl_send_reply(\"200\", \"OK\");
                }}"
            );
            let config = ["tm", "sl", "pv", "textops", "auth"]
                .into_iter()
                .fold(ProxyConfig::new(&routes), ProxyConfig::load)
                .set("auth", "algorithm", algorithm);
            let proxy = bench.proxy(&config);
            let how = |file| [&["--password-file", file][..], &BILL].concat();
            send(proxy.port(), &how(text(&password))).succeeds();
            send(proxy.port(), &how(text(&wrong))).fails(9);
            proxy.stop();
        }
    }
}
