//! The client against the module in a real proxy.

use cpm_testbed::{Bench, noise, sha256};

use crate::common::{ANNE, CONTROLLING, EXPLODER, cpm_proxy, file, receive, send, text};

const HANDLE: &str = "request_route {
    if (cpm_handle()) exit;
    sl_send_reply(\"404\", \"Not Ours\");
}";

#[test]
fn a_pager_message_reaches_three() {
    let bench = Bench::new("client_a_pager_message_reaches_three");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let all = bench.agent();
    let capture = bench.capture();
    let uris = ["bill", "carol", "dave"].map(|user| all.uri(user));
    let to = [
        "--to", &uris[0], "--cc", &uris[1], "--bcc", &uris[2], "--assert", ANNE,
    ];
    for (kind, uri) in [("exploder", EXPLODER), ("adhoc", CONTROLLING)] {
        let sent = send(
            proxy.port(),
            &[&["--via", kind, uri][..], &to, &["Lunch?"]].concat(),
        );
        assert_eq!(sent.succeeds().event("sent")["code"], 202);
        let mut reached: Vec<String> = all
            .expect_requests("MESSAGE", 3)
            .iter()
            .filter_map(|request| request.uri().map(str::to_owned))
            .collect();
        reached.sort_unstable();
        assert_eq!(reached, uris);
    }
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn the_refusals_of_the_module_are_told() {
    let bench = Bench::new("client_the_refusals_of_the_module");
    let proxy = bench.proxy(&cpm_proxy(HANDLE).set("cpm", "max_recipients", "2").set(
        "cpm",
        "allow_anonymity",
        "no",
    ));
    let capture = bench.capture();
    let via = [
        "--via",
        "exploder",
        EXPLODER,
        "--to",
        "sip:bill@example.com",
    ];
    let (assert, many) = (
        ["--assert", ANNE],
        ["--to", "sip:b@example.com", "--to", "sip:c@example.com"],
    );
    for (more, code, words) in [
        (vec!["Hi"], 403, "127 Service not authorised"),
        (
            [&assert[..], &many, &["Hi"]].concat(),
            486,
            "102 Too many recipients",
        ),
        (
            [&assert[..], &["--anonymous", "Hi"]].concat(),
            403,
            "119 Anonymity not allowed",
        ),
    ] {
        let failed = send(proxy.port(), &[&via[..], &more].concat()).fails(3);
        assert_eq!(
            (&failed["answer"]["code"], &failed["answer"]["warnings"][0]),
            (&code.into(), &words.into())
        );
        assert!(failed["advice"].is_string());
    }
    let nowhere = ["--to", "sip:nobody@example.com", "Hi"];
    let failed = send(proxy.port(), &nowhere).fails(3);
    assert_eq!(failed["answer"]["code"], 404);
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn a_large_message_reaches_two_programs_and_is_watched() {
    let bench = Bench::new("client_a_large_message_reaches_two");
    let msrp = bench.msrp_port();
    let config = cpm_proxy(&format!(
        "tcp_accept_no_cl=yes
        {HANDLE}
        event_route[xhttp:request] {{ jsonrpc_dispatch(); }}"
    ))
    .load("xhttp")
    .load("jsonrpcs")
    .set_number("jsonrpcs", "transport", 1)
    .set_number("cpm", "msrp_chunk_size", 100_000)
    .set("cpm", "msrp_listen", &format!("tcp:127.0.0.1:{msrp}"));
    let proxy = bench.proxy(&config);
    let callees = bench.callees();
    let ports = [bench.port(), bench.port()];
    let receivers = ports.map(|port| receive(port, &["--count", "1"]));
    let capture = bench.capture();
    let picture = noise(2_000_000, 5);
    let path = file(bench.folder(), "picture.png", &picture);
    let uris = ports.map(|port| format!("sip:bill@127.0.0.1:{port}"));
    let slow = callees.uri("slow");
    // Slow enough that the watcher sees it under way.
    callees.plan(
        "slow",
        cpm_testbed::Plan::accept().conduct(cpm_testbed::Conduct::Slow(
            std::time::Duration::from_millis(150),
        )),
    );
    let watch = format!("http://127.0.0.1:{}/RPC", proxy.port());
    let arguments = [
        "--via",
        "adhoc",
        CONTROLLING,
        "--assert",
        ANNE,
        "--to",
        &uris[0],
        "--cc",
        &uris[1],
        "--to",
        &slow,
        "--file",
        text(&path),
        "--watch",
        &watch,
    ];
    let ended = send(proxy.port(), &arguments).succeeds();
    for receiver in receivers {
        let message = receiver.succeeds().event("message");
        assert_eq!(message["parts"][0]["sha256"], sha256(&picture).as_str());
        assert_eq!(
            message["history"].as_array().map(Vec::len),
            Some(3),
            "{message}"
        );
    }
    let total = ended.event("sending")["bytes"].as_u64().expect("a number");
    assert_eq!(
        callees
            .expect_call("slow")
            .session
            .expect_message()
            .bytes
            .len() as u64,
        total
    );
    // The watcher saw each of them, and the slow one to its end.
    let ends: Vec<_> = ended
        .events
        .iter()
        .filter(|one| one["event"] == "recipient-end")
        .collect();
    assert_eq!(ends.len(), 3, "{ended:?}");
    for end in ends {
        assert_eq!(end["total"].as_u64(), Some(total), "{end}");
    }
    assert!(ended.events.iter().any(|one| {
        one["event"] == "recipient"
            && one["uri"] == slow.as_str()
            && one["delivered"].as_u64().is_some_and(|bytes| bytes > 0)
    }));
    capture.stop().assert_clean();
    proxy.stop();
}
