//! The client against the module in a real proxy.

use std::time::Duration;

use cpm_testbed::{Bench, Conduct, Plan, sha256};

use crate::common::{ANNE, CONTROLLING, EXPLODER, cpm_proxy, file, pixels, receive, send, text};

const HANDLE: &str = "request_route {
    if (cpm_handle()) exit;
    sl_send_reply(\"404\", \"Not Ours\");
}";

/// A chunk fits into one segment of the loopback interface, so that tshark sees each.
const CHUNK: usize = 8_000;

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
    watched("udp");
}

#[test]
fn it_is_watched_over_http() {
    watched("http");
}

#[test]
fn it_is_watched_over_a_unix_socket() {
    watched("unix");
}

/// One large message to two programs and a slow recipient, watched over this transport of jsonrpcs.
#[track_caller]
fn watched(transport: &str) {
    let bench = Bench::new(&format!("client_watched_over_{transport}"));
    let (udp, msrp) = (bench.port(), bench.msrp_port());
    // A socket's path is short, and the test's folder may be deep.
    let socket = std::env::temp_dir().join(format!("cpm-client-{udp}"));
    let config = cpm_proxy(&format!(
        "tcp_accept_no_cl=yes
        {HANDLE}
        event_route[xhttp:request] {{ jsonrpc_dispatch(); }}"
    ))
    .load("xhttp")
    .load("jsonrpcs")
    .set_number("cpm", "msrp_chunk_size", CHUNK as i64)
    .set("cpm", "msrp_listen", &format!("tcp:127.0.0.1:{msrp}"));
    let config = match transport {
        "http" => config.set_number("jsonrpcs", "transport", 1),
        "udp" => config.set_number("jsonrpcs", "transport", 4).set(
            "jsonrpcs",
            "dgram_socket",
            &format!("udp:127.0.0.1:{udp}"),
        ),
        _ => config.set_number("jsonrpcs", "transport", 4).set(
            "jsonrpcs",
            "dgram_socket",
            text(&socket),
        ),
    };
    let proxy = bench.proxy(&config);
    let watch = match transport {
        "http" => format!("http://127.0.0.1:{}/RPC", proxy.port()),
        "udp" => format!("udp:127.0.0.1:{udp}"),
        _ => format!("unix:{}", socket.display()),
    };
    let callees = bench.callees();
    let ports = [bench.port(), bench.port()];
    let receivers = ports.map(|port| receive(port, &["--count", "1"]));
    // For tshark, HTTP on the proxy's port is malformed SIP.
    let capture = (transport != "http").then(|| bench.capture());
    let picture = pixels(400_000, 5);
    let path = file(bench.folder(), "picture.png", &picture);
    let uris = ports.map(|port| format!("sip:bill@127.0.0.1:{port}"));
    let slow = callees.uri("slow");
    // So slow that the watcher sees it in progress.
    let conduct = Conduct::Slow(Duration::from_millis(40));
    callees.plan("slow", Plan::accept().conduct(conduct));
    let via = ["--via", "adhoc", CONTROLLING, "--assert", ANNE];
    let to = ["--to", &uris[0], "--cc", &uris[1], "--to", &slow];
    let chunk = CHUNK.to_string();
    let what = [
        "--file",
        text(&path),
        "--watch",
        &watch,
        "--chunk-size",
        &chunk,
    ];
    let ended = send(proxy.port(), &[&via[..], &to, &what].concat()).succeeds();
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
    let got = callees.expect_call("slow").session.expect_message();
    assert_eq!(got.bytes.len() as u64, total);
    let of = |kind: &str| -> Vec<&serde_json::Value> {
        ended
            .events
            .iter()
            .filter(|one| one["event"] == kind)
            .collect()
    };
    assert_eq!(of("recipient-end").len(), 3, "{ended:?}");
    assert!(
        of("recipient-end")
            .iter()
            .all(|end| end["total"].as_u64() == Some(total))
    );
    let under_way = of("recipient").into_iter().any(|one| {
        let bytes = one["delivered"].as_u64().unwrap_or(0);
        one["uri"] == slow.as_str() && 0 < bytes && bytes < total
    });
    assert!(under_way, "{:?}", of("recipient"));
    if let Some(capture) = capture {
        capture.stop().assert_clean();
    }
    proxy.stop();
    // Kamailio does not remove it.
    let _ = std::fs::remove_file(&socket);
}
