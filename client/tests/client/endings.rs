//! How a large message ends (7.2.1.2): cancelled, refused, failed over MSRP; what is released, and
//! what is reported.

use std::time::Duration;

use cpm_testbed::{Answer, Bench, Conduct, Plan, Reply, proves};

use crate::common::{file, pixels, send, text};

const BILL: &str = "sip:bill@example.com";
const LARGE: [&str; 5] = ["--to", BILL, "--pager-max", "0", "Hi"];

#[test]
fn ctrl_c_before_the_answer_cancels() {
    let bench = Bench::new("client_ctrl_c_before");
    let callees = bench.callees();
    let capture = bench.capture();
    callees.plan("bill", Plan::no_answer().ringing());
    let mut running = send(callees.agent().port(), &LARGE);
    running.expect("provisional");
    running.interrupt();
    let call = callees.expect_call("bill");
    let cancel = proves!(["7.2.1.2-cancel"], callees.expect_in(&call, "CANCEL"));
    assert_eq!(cancel.uri(), call.invite.uri());
    assert_eq!(cancel.branch(), call.invite.branch());
    assert_eq!(
        cancel.cseq(),
        call.invite.cseq().map(|(number, _)| (number, "CANCEL"))
    );
    callees.agent().reply(&call.invite, &Reply::new(487));
    let ack = proves!(["7.2.1.2-non2xx-A"], callees.expect_in(&call, "ACK"));
    proves!(
        ["7.2.1.2-non2xx-A"],
        assert_eq!(ack.branch(), call.invite.branch())
    );
    let failed = running.fails(130);
    assert_eq!(failed["kind"], "cancelled");
    assert_eq!(callees.requests_in(&call, "BYE").len(), 0);
    capture.stop().assert_clean();
}

#[test]
fn ctrl_c_before_any_answer_waits_for_one() {
    let bench = Bench::new("client_ctrl_c_before_any_answer");
    let callees = bench.callees();
    let capture = bench.capture();
    callees.plan("bill", Plan::no_answer());
    let mut running = send(callees.agent().port(), &LARGE);
    running.expect("sending");
    let call = callees.expect_call("bill");
    running.interrupt();
    assert!(
        callees
            .agent()
            .recv_where(Duration::from_millis(300), |m| m.method() == Some("CANCEL"))
            .is_none()
    );
    callees.agent().reply(&call.invite, &Reply::new(180));
    proves!(["7.2.1.2-cancel"], callees.expect_in(&call, "CANCEL"));
    // A 200 that crosses it (readings N42).
    let answer = callees.answer(&call);
    callees.agent().reply(&call.invite, &answer);
    callees.expect_in(&call, "ACK");
    let bye = callees.expect_in(&call, "BYE");
    assert!(
        bye.header("Reason")
            .is_some_and(|reason| reason.starts_with("SIP;cause=480"))
    );
    running.fails(130);
    assert_eq!(
        call.session.connections(),
        0,
        "no MSRP for a message that was taken back"
    );
    capture.stop().assert_clean();
}

#[test]
fn ctrl_c_in_the_midst_hangs_up() {
    let bench = Bench::new("client_ctrl_c_in_the_midst");
    let callees = bench.callees();
    let capture = bench.capture();
    callees.plan(
        "bill",
        Plan::accept().conduct(Conduct::Slow(Duration::from_millis(100))),
    );
    let picture = file(bench.folder(), "picture.png", pixels(100_000, 4));
    let arguments = [
        "--to",
        BILL,
        "--file",
        text(&picture),
        "--chunk-size",
        "5000",
    ];
    let mut running = send(callees.agent().port(), &arguments);
    running.expect("progress");
    running.interrupt();
    let call = callees.expect_call("bill");
    let bye = callees.expect_in(&call, "BYE");
    assert!(
        bye.header("Reason")
            .is_some_and(|reason| reason.starts_with("SIP;cause=480"))
    );
    running.fails(130);
    assert!(
        call.session
            .messages()
            .iter()
            .all(|message| !message.is_complete())
    );
    capture.stop().assert_clean();
}

#[test]
fn a_refusal_is_acknowledged_and_told() {
    let bench = Bench::new("client_a_refusal_is_acknowledged");
    let callees = bench.callees();
    let capture = bench.capture();
    for (place, (code, transport)) in [
        (302, "udp"),
        (404, "udp"),
        (486, "tcp"),
        (503, "udp"),
        (603, "tcp"),
    ]
    .into_iter()
    .enumerate()
    {
        callees.plan(
            "bill",
            Plan::status(code).header("Warning", "399 a.example.com \"Not today\""),
        );
        let arguments = [&["--transport", transport][..], &LARGE].concat();
        let failed = send(callees.agent().port(), &arguments).fails(3);
        let call = callees.expect_nth_call("bill", place);
        let ack = proves!(["7.2.1.2-non2xx-A"], callees.expect_in(&call, "ACK"));
        proves!(
            ["7.2.1.2-non2xx-A"],
            assert_eq!(
                ack.branch(),
                call.invite.branch(),
                "of the same transaction"
            )
        );
        assert_eq!(
            (ack.uri(), ack.header("From")),
            (call.invite.uri(), call.invite.header("From"))
        );
        assert!(ack.parameter("To", "tag").is_some());
        assert_eq!(failed["answer"]["code"], code);
        assert_eq!(failed["answer"]["warnings"][0], "Not today");
        let message = failed["message"].as_str().expect("words");
        proves!(
            ["7.2.1.2-non2xx-B"],
            assert!(
                message.contains(&code.to_string()) && message.contains("Not today"),
                "{message}"
            )
        );
        assert_eq!(call.session.connections(), 0);
    }
    capture.stop().assert_clean();
}

#[test]
fn the_uid_comes_with_the_answer_to_bye_and_the_media_are_released_then() {
    let bench = Bench::new("client_the_uid_comes_with_bye");
    let callees = bench.callees();
    let capture = bench.capture();
    let running = send(callees.agent().port(), &LARGE);
    let call = callees.expect_call("bill");
    // The plan answers at once, so this session gets an answer of its own.
    running.succeeds();
    call.session.expect_closed();
    let contact = callees.agent().uri("phone");
    let session = callees.peer().session();
    let answer = cpm_testbed::SdpText::answer(&session).write();
    callees
        .agent()
        .answers(Answer::with(move |request| match request.method() {
            Some("INVITE") => vec![
                Reply::new(200)
                    .with("Contact", &format!("<{contact}>"))
                    .with_body("application/sdp", answer.clone()),
            ],
            _ => Vec::new(),
        }));
    let running = send(callees.agent().port(), &LARGE);
    session.expect_message();
    let bye = callees
        .agent()
        .recv_where(Duration::from_secs(10), |message| {
            message.method() == Some("BYE") && message.call_id() != call.invite.call_id()
        })
        .expect("a BYE comes");
    // The connection stays until it is answered; the capture shows the order.
    proves!(
        ["7.2.1.2-done-2-release"],
        assert!(session.peer_address().is_some())
    );
    callees
        .agent()
        .reply(&bye, &Reply::new(200).with("Message-UID", "4712"));
    let sent = running.succeeds().event("sent");
    proves!(["7.2.1.2-done-3"], assert_eq!(sent["message_uid"], "4712"));
    session.expect_closed();
    let recording = capture.stop();
    recording.assert_clean();
    let rows = |filter: &str| {
        let rows = recording.fields(filter, &["frame.number"]);
        rows.last()
            .and_then(|row| row[0].parse::<u32>().ok())
            .expect("such a packet")
    };
    let port = callees.peer().address().port();
    let released = rows(&format!("tcp.flags.fin == 1 && tcp.dstport == {port}"));
    proves!(
        ["7.2.1.2-done-2-release"],
        assert!(rows("sip.Status-Code == 200 && sip.CSeq.method == \"BYE\"") < released)
    );
}

#[test]
fn a_chunk_that_is_refused_stops_the_message() {
    let bench = Bench::new("client_a_chunk_that_is_refused");
    let callees = bench.callees();
    let capture = bench.capture();
    let picture = file(bench.folder(), "picture.png", pixels(2_000_000, 4));
    for (place, status) in [413, 415, 481].into_iter().enumerate() {
        callees.plan(
            "bill",
            Plan::accept().conduct(Conduct::RefuseAfter(20_000, status)),
        );
        let arguments = [
            "--to",
            BILL,
            "--file",
            text(&picture),
            "--chunk-size",
            "8000",
        ];
        let failed = send(callees.agent().port(), &arguments).fails(7);
        assert_eq!(failed["kind"], "transfer");
        let message = failed["message"].as_str().expect("words");
        proves!(
            ["7.2.1.2-msrperr-4"],
            assert!(message.contains(&format!("MSRP {status}")), "{message}")
        );
        assert!(failed["advice"].is_string());
        let call = callees.expect_nth_call("bill", place);
        let bye = proves!(["7.2.1.2-msrperr-3"], callees.expect_in(&call, "BYE"));
        proves!(
            ["7.2.1.2-msrperr-2"],
            assert_eq!(
                bye.headers("Reason"),
                ["SIP;cause=480;text=\"Transmission Failed\""]
            )
        );
        call.session.expect_closed();
        // What was in flight when the refusal arrived; far less than everything.
        proves!(
            ["7.2.1.2-msrperr-1"],
            assert!(
                call.session.chunks().len() < 60,
                "{}",
                call.session.chunks().len()
            )
        );
    }
    let recording = capture.stop();
    recording.assert_clean();
    let numbers = |filter: &str| -> Vec<u32> {
        let rows = recording.fields(filter, &["frame.number"]);
        rows.iter().filter_map(|row| row[0].parse().ok()).collect()
    };
    let port = callees.peer().address().port();
    let (ok, closed) = (
        numbers("sip.Status-Code == 200 && sip.CSeq.method == \"BYE\""),
        numbers(&format!(
            "(tcp.flags.fin == 1 || tcp.flags.reset == 1) && tcp.dstport == {port}"
        )),
    );
    proves!(
        ["7.2.1.2-msrperr-3-release"],
        assert!(ok.len() == 3 && ok[0] < closed[0], "{ok:?} {closed:?}")
    );
}

#[test]
fn a_peer_that_leaves_is_told() {
    let bench = Bench::new("client_a_peer_that_leaves");
    let callees = bench.callees();
    let capture = bench.capture();
    let picture = file(bench.folder(), "picture.png", pixels(500_000, 4));
    let arguments = [
        "--to",
        BILL,
        "--file",
        text(&picture),
        "--chunk-size",
        "8000",
    ];
    // The connection breaks.
    callees.plan("bill", Plan::accept().conduct(Conduct::DieAfter(20_000)));
    let failed = send(callees.agent().port(), &arguments).fails(7);
    assert!(
        failed["message"]
            .as_str()
            .is_some_and(|words| words.contains("connection failed")),
        "{failed}"
    );
    let call = callees.expect_call("bill");
    callees.expect_in(&call, "BYE");
    // The other end hangs up.
    callees.plan("bill", Plan::accept().conduct(Conduct::Silent));
    let running = send(callees.agent().port(), &arguments);
    let call = callees.expect_nth_call("bill", 1);
    callees.expect_in(&call, "ACK");
    let bye = callees.agent().in_dialog_of(&call.invite, "BYE", 1);
    callees.agent().send(&bye, *call.invite.way());
    callees.agent().expect_response(&bye, 200);
    let failed = running.fails(7);
    assert!(
        failed["message"]
            .as_str()
            .is_some_and(|words| words.contains("hung up")),
        "{failed}"
    );
    assert_eq!(
        callees.requests_in(&call, "BYE").len(),
        0,
        "nobody is left for a BYE"
    );
    capture.stop().assert_clean();
}
