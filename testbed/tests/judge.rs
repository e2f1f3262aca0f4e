//! The judge finds what is wrong, and tells it in tshark's words.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use cpm_testbed::{Bench, CaptureError, Complaint, Request, cpm_message, to};

fn good() -> Request {
    cpm_message("sip:alice@example.com", "sip:exploder@example.com")
        .recipients([to("sip:bob@example.com")])
        .request()
}

/// What the judge says of one request that an agent sends to another.
fn judged(test_name: &str, requests: &[Request]) -> Vec<Complaint> {
    let bench = Bench::new(test_name);
    let (alice, bob) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for request in requests {
        let way = cpm_testbed::Way::Udp(([127, 0, 0, 1], bob.port()).into());
        alice.send(request, way);
        alice.expect_response(request, 200);
    }
    let from_alice = format!("udp.srcport == {}", alice.port());
    capture.stop().judge_where(&from_alice)
}

#[test]
fn each_fault_is_found_in_its_packet() {
    let faults = [
        ("clean", good()),
        ("no colon", good().with("Max-Forwards 70\r\nX", "y")),
        (
            "no Call-ID",
            good().without("Call-ID").with("CSeq", "1 MESSAGE"),
        ),
        ("no CSeq", good().without("CSeq")),
        ("Content-Length", good().with("Content-Length", "9999")),
        ("content_length", good().with("Content-Length", "many")),
        (
            "no end",
            good().with_body(
                "multipart/mixed;boundary=b",
                "--b\r\nContent-Type: text/plain\r\n\r\nhi",
            ),
        ),
        ("SDP", good().with_body("application/sdp", "v=0\r\no=\r\n")),
    ];
    let requests: Vec<Request> = faults.iter().map(|(_, request)| request.clone()).collect();
    let complaints = judged("each_fault_is_found_in_its_packet", &requests);
    for (position, (name, _)) in faults.iter().enumerate() {
        // Each request is followed by its answer.
        let frame = u32::try_from(2 * position + 1).unwrap();
        let found: Vec<_> = complaints.iter().filter(|one| one.frame == frame).collect();
        match *name {
            "clean" => assert!(found.is_empty(), "{found:?}"),
            name => assert!(
                found.iter().any(|one| one.words.contains(name)),
                "{name}: {complaints:#?}"
            ),
        }
    }
}

#[test]
fn bytes_that_are_no_sip_are_found_over_udp_and_tcp() {
    let bench = Bench::new("bytes_that_are_no_sip_are_found_over_udp_and_tcp");
    let (alice, bob) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let bob_at = ([127, 0, 0, 1], bob.port()).into();
    alice.send_bytes(b"\r\n\r\n", cpm_testbed::Way::Udp(bob_at));
    alice.send_bytes(b"gibberish", cpm_testbed::Way::Udp(bob_at));
    let message = good();
    alice.send_bytes(b"gibberish\r\n\r\n", cpm_testbed::Way::Tcp(bob_at));
    alice.send(&message, cpm_testbed::Way::Tcp(bob_at));
    alice.expect_response(&message, 200);
    let recording = capture.stop();
    let words: Vec<_> = recording.judge().into_iter().map(|one| one.words).collect();
    assert_eq!(words.first().map(String::as_str), Some("not SIP"));
    // In the stream tshark takes the gibberish for the head of a message.
    assert!(words.iter().any(|words| words == "no Via"), "{words:?}");
    let panic = std::panic::catch_unwind(|| recording.assert_clean()).unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("not SIP"));
}

#[test]
fn whoever_may_not_capture_is_told_what_permits_it() {
    let error = CaptureError::NotPermitted {
        command: "sudo setcap x".to_owned(),
    };
    assert!(error.to_string().contains("sudo setcap x"));
    // The judge itself must be there, or no other test means anything.
    assert!(
        Command::new("tshark")
            .arg("-v")
            .output()
            .is_ok_and(|output| output.status.success())
    );
}

#[test]
fn msrp_is_judged_on_its_port() {
    const SEND: &str = "MSRP a786hjs2 SEND\r\nTo-Path: msrp://127.0.0.1:7654/jshA7we;tcp\r\n\
        From-Path: msrp://127.0.0.1:7655/kjhd37s2s2;tcp\r\nMessage-ID: 87652\r\nByte-Range: 1-2/2\r\n\
        Content-Type: text/plain\r\n\r\nhi\r\n-------a786hjs2$\r\n";
    let bench = Bench::new("msrp_is_judged_on_its_port");
    let port = bench.msrp_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let capture = bench.capture();
    let send = |bytes: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut accepted = listener.accept().unwrap().0;
        stream.write_all(bytes.as_bytes()).unwrap();
        drop(stream);
        let mut got = String::new();
        accepted.read_to_string(&mut got).unwrap();
        assert_eq!(got, bytes);
    };
    send(SEND);
    let recording = capture.stop();
    recording.assert_clean();
    assert_eq!(
        recording
            .fields("msrp.method", &["msrp.method", "msrp.end.line"])
            .len(),
        1
    );
}
