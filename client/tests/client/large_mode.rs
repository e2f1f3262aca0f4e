//! Large message mode (7.2.1.2): the INVITE, its offer, and the message over MSRP.

use std::time::{Duration, Instant};

use cpm_testbed::{Bench, Conduct, Plan, proves, sha256};

use crate::common::{Cpim, feature_tag, file, parts, pixels, send, text};

const BILL: &str = "sip:bill@example.com";

#[test]
fn a_large_message_to_one() {
    let bench = Bench::new("client_a_large_message_to_one");
    let callees = bench.callees();
    let capture = bench.capture();
    let picture = pixels(100_000, 1);
    let path = file(bench.folder(), "picture.png", &picture);
    let mut ids = Vec::new();
    for (place, transport) in ["udp", "tcp"].into_iter().enumerate() {
        let arguments = [
            "--transport",
            transport,
            "--to",
            BILL,
            "--file",
            text(&path),
            "--chunk-size",
            "8000",
        ];
        let ended = send(callees.agent().port(), &arguments).succeeds();
        let call = proves!(
            ["7.2.1.2-0", "7.2.1.2-20"],
            callees.expect_nth_call("bill", place)
        );
        let invite = &call.invite;
        proves!(["7.2.1.2-9a"], assert_eq!(invite.uri(), Some(BILL)));
        let tag = format!("\"{}\"", feature_tag("largemsg"));
        proves!(
            ["7.2.1.2-1"],
            assert_eq!(
                invite.headers("Accept-Contact"),
                [format!("*;+g.3gpp.icsi-ref={tag}")]
            )
        );
        let contact = invite.header("Contact").expect("an INVITE has a Contact");
        assert!(contact.starts_with("<sip:anne@127.0.0.1:"), "{contact}");
        proves!(
            ["7.2.1.2-2"],
            assert!(
                contact.ends_with(&format!(">;+g.3gpp.icsi-ref={tag}")),
                "{contact}"
            )
        );
        proves!(
            ["7.2.1.2-3", "7.2.1.2-3a"],
            assert_eq!(
                invite.headers("P-Preferred-Service"),
                ["urn:urn-7:3gpp-service.ims.icsi.oma.cpm.largemsg"]
            )
        );
        proves!(
            ["7.2.1.2-6"],
            assert!(
                invite
                    .header("User-Agent")
                    .is_some_and(|ua| ua.starts_with("CPM-client/OMA2.2 "))
            )
        );
        proves!(
            ["7.2.1.2-13"],
            assert_eq!(invite.headers("Supported"), ["timer"])
        );
        for (absent, ids) in [
            ("Session-Expires", &["7.2.1.2-14"][..]),
            ("Min-SE", &["7.2.1.2-15"]),
            ("Require", &[]),
            ("Message-Expires", &[]),
            ("Expires", &[]),
        ] {
            proves!(ids, assert_eq!(invite.header(absent), None, "{absent}"));
        }
        for name in ["Conversation-ID", "Contribution-ID"] {
            ids.push(invite.header(name).expect("both are there").to_owned());
        }
        // The offer.
        assert_eq!(invite.header("Content-Type"), Some("application/sdp"));
        let sdp = call.sdp();
        proves!(["7.2.1.2-19"], assert_eq!(sdp.lines('m').len(), 1));
        proves!(
            ["7.2.1.2-19"],
            assert!(sdp.lines('m')[0].ends_with(" TCP/MSRP *"))
        );
        proves!(
            ["7.2.1.2-19b"],
            assert_eq!(sdp.attribute("accept-types"), Some("message/cpim"))
        );
        proves!(
            ["7.2.1.2-19c", "7.2.1.2-19-note"],
            assert_eq!(sdp.attribute("accept-wrapped-types"), Some("image/png"))
        );
        proves!(
            ["7.2.1.2-19f"],
            assert_eq!(sdp.attribute("setup"), Some("actpass"))
        );
        for (flag, id) in [("sendonly", "7.2.1.2-19a"), ("msrp-cema", "7.2.1.2-19g")] {
            proves!([id], assert_eq!(sdp.attributes(flag), [""], "{flag}"));
        }
        let own = sdp.path().to_owned();
        proves!(
            ["7.2.1.2-19d"],
            assert!(own.starts_with(&format!("msrp://{}/", sdp.target())) && own.ends_with(";tcp"))
        );
        // The message.
        let message = call.session.expect_message();
        let size = format!("size:{}", message.bytes.len());
        proves!(
            ["7.2.1.2-19e"],
            assert_eq!(sdp.attributes("file-selector"), [size.as_str()])
        );
        assert_eq!(message.total, Some(message.bytes.len() as u64));
        assert_eq!(
            (message.content_type.as_str(), message.repeated),
            ("message/cpim", 0)
        );
        proves!(
            ["7.2.1.2-200-H"],
            assert_eq!(
                (message.largest_chunk, message.chunks),
                (8000, message.bytes.len().div_ceil(8000))
            )
        );
        let cpim = Cpim::of(&message.bytes);
        assert_eq!(cpim.field("To"), "<sip:bill@example.com>");
        proves!(
            ["7.2.1.2-200-H3"],
            assert_eq!(cpim.content_type(), "image/png")
        );
        proves!(
            ["7.2.1.2-200-G"],
            assert_eq!(sha256(&cpim.content), sha256(&picture))
        );
        assert!(!cpim.has("cpm.Payload-Type"));
        // Everything on one connection, which the peer opened; first the SEND without a body.
        proves!(["7.2.1.2-200-I"], assert_eq!(call.session.connections(), 1));
        let requests = call.session.received();
        proves!(
            ["7.2.1.2-200-C"],
            assert_eq!(requests[0].head.method(), Some("SEND"))
        );
        proves!(
            ["7.2.1.2-200-F"],
            assert_eq!((requests[0].content_bytes, requests[0].flag), (None, '$'))
        );
        assert_eq!(requests[0].head.header("Content-Type"), None);
        for request in &requests {
            proves!(
                ["7.2.1.2-200-H1"],
                assert_eq!(request.head.to_path(), [call.session.path()])
            );
            assert_eq!(request.head.from_path(), [own.as_str()]);
        }
        for chunk in call.session.chunks() {
            proves!(
                ["7.2.1.2-200-H2"],
                assert_eq!(chunk.head.header("Content-Type"), Some("message/cpim"))
            );
        }
        // The end.
        let bye = proves!(["7.2.1.2-done-2"], callees.expect_in(&call, "BYE"));
        proves!(
            ["7.2.1.2-done-1"],
            assert_eq!(
                bye.headers("Reason"),
                ["SIP;cause=200;text=\"Call completed\""]
            )
        );
        let ack = callees.requests_in(&call, "ACK");
        proves!(["7.2.1.2-200-B"], assert_eq!(ack.len(), 1));
        assert_eq!(ack[0].cseq().map(|(number, _)| number), Some(1));
        assert_eq!(
            ack[0].uri(),
            Some(callees.agent().uri("phone").as_str()),
            "the Contact of the 200"
        );
        proves!(
            ["7.2.1.2-done-2"],
            assert_eq!(
                (bye.uri(), bye.parameter("To", "tag")),
                (ack[0].uri(), ack[0].parameter("To", "tag"))
            )
        );
        assert_eq!(bye.cseq().map(|(number, _)| number), Some(2));
        call.session.expect_closed();
        proves!(
            ["7.2.1.3-size-large"],
            assert_eq!(ended.event("sending")["mode"], "large")
        );
        let total = message.bytes.len() as u64;
        let last = ended
            .events
            .iter()
            .rfind(|event| event["event"] == "progress");
        assert_eq!(last.map(|event| event["bytes"].as_u64()), Some(Some(total)));
    }
    ids.sort();
    ids.dedup();
    proves!(
        ["7.2.1.2-16", "7.2.1.2-17"],
        assert_eq!(ids.len(), 4, "nothing is used twice")
    );
    callees.peer().assert_no_faults();
    let recording = capture.stop();
    recording.assert_clean();
    // The client opens the MSRP connection, after the 200.
    let (port, sip) = (callees.peer().address().port(), callees.agent().port());
    let opened = format!("tcp.flags.syn == 1 && tcp.flags.ack == 0 && tcp.dstport == {port}");
    proves!(
        ["7.2.1.2-200-D"],
        assert_eq!(recording.fields(&opened, &["frame.number"]).len(), 2)
    );
    let udp_ok =
        format!("sip.Status-Code == 200 && sip.CSeq.method == \"INVITE\" && udp.srcport == {sip}");
    let number = |rows: Vec<Vec<String>>| rows[0][0].parse::<u32>().expect("a number");
    assert!(
        number(recording.fields(&udp_ok, &["frame.number"]))
            < number(recording.fields(&opened, &["frame.number"]))
    );
}

#[test]
fn what_the_user_wants_is_in_the_invite() {
    let bench = Bench::new("client_what_the_user_wants_is_in_the_invite");
    let callees = bench.callees();
    let capture = bench.capture();
    let picture = file(bench.folder(), "picture.jpeg", pixels(5000, 2));
    let arguments = [
        "--to",
        BILL,
        "--identity",
        "sip:anne@home.example.com",
        "--reply-to",
        "sip:office@example.com",
        "--expires",
        "3600",
        "--anonymous",
        "--notify",
        "delivered,failed",
        "--oma-release",
        "2.1",
        "--file",
        text(&picture),
        "See",
    ];
    send(callees.agent().port(), &arguments).succeeds();
    let call = callees.expect_call("bill");
    let invite = &call.invite;
    proves!(
        ["7.2.1.2-4"],
        assert_eq!(
            invite.headers("P-Preferred-Identity"),
            ["<sip:anne@home.example.com>"]
        )
    );
    proves!(
        ["7.2.1.2-5"],
        assert_eq!(invite.headers("Reply-To"), ["<sip:office@example.com>"])
    );
    proves!(
        ["7.2.1.2-8"],
        assert_eq!(invite.headers("Message-Expires"), ["3600"])
    );
    assert_eq!(invite.header("Expires"), None);
    proves!(["7.2.1.2-7"], assert_eq!(invite.headers("Privacy"), ["id"]));
    assert!(
        invite
            .header("Contact")
            .is_some_and(|contact| contact.starts_with("<sip:anonymous@"))
    );
    proves!(
        ["7.2.1.2-6"],
        assert!(
            invite
                .header("User-Agent")
                .is_some_and(|ua| ua.starts_with("CPM-client/OMA2.1 "))
        )
    );
    proves!(
        ["7.2.1.2-19-note"],
        assert_eq!(
            call.sdp().attribute("accept-wrapped-types"),
            Some("text/plain image/jpeg")
        )
    );
    let message = call.session.expect_message();
    let cpim = Cpim::of(&message.bytes);
    proves!(
        ["7.2.1.2-200-H3-i", "7.2.1.3-3-i"],
        assert_eq!(cpim.field("cpm.Payload-Type"), "text/plain,image/jpeg")
    );
    proves!(
        ["7.2.1.3-4"],
        assert_eq!(
            cpim.field("imdn.Disposition-Notification"),
            "positive-delivery, negative-delivery"
        )
    );
    assert_eq!(cpim.field("From"), "<sip:anonymous@anonymous.invalid>");
    let parts = parts(cpim.content_type(), &cpim.content);
    proves!(
        ["7.2.1.2-200-H3"],
        assert_eq!((parts.len(), &parts[0].1[..]), (2, &b"See"[..]))
    );
    assert_eq!(parts[1].1, pixels(5000, 2));
    capture.stop().assert_clean();
}

#[test]
fn the_connection_goes_where_c_and_m_lead() {
    let bench = Bench::new("client_the_connection_goes");
    let callees = bench.callees();
    let capture = bench.capture();
    // A path that cannot be connected to, as if a middlebox had changed only c= and m=.
    let nowhere = format!("msrp://127.0.0.1:{}/", bench.port());
    callees.plan("carol", Plan::no_answer());
    let running = send(
        callees.agent().port(),
        &["--to", "sip:carol@example.com", "--pager-max", "0", "Hi"],
    );
    let call = callees.expect_call("carol");
    let own = callees.peer().address();
    let path = call
        .session
        .path()
        .replace(&format!("msrp://{own}/"), &nowhere);
    assert!(path.starts_with(&nowhere), "{path}");
    let sdp = cpm_testbed::SdpText::answer(&call.session).with("path", &path);
    let reply = cpm_testbed::Reply::new(200)
        .with("Contact", &format!("<{}>", callees.agent().uri("phone")))
        .with_body("application/sdp", sdp.write());
    callees.agent().reply(&call.invite, &reply);
    callees.expect_in(&call, "ACK");
    running.succeeds();
    proves!(
        ["7.2.1.2-200-E"],
        assert_eq!(
            Cpim::of(&call.session.expect_message().bytes).content,
            b"Hi"
        )
    );
    let recording = capture.stop();
    recording.assert_clean();
    let to = recording.fields(
        &format!("msrp.method == \"SEND\" && tcp.dstport == {}", own.port()),
        &["msrp.to.path"],
    );
    assert_eq!(to.len(), 2, "the binding SEND and the message");
    proves!(
        ["7.2.1.2-200-H1"],
        assert!(to.iter().all(|row| row[0] == path), "{to:?}")
    );
}

#[test]
fn the_limits_of_the_answer_are_kept() {
    let bench = Bench::new("client_the_limits_of_the_answer");
    let callees = bench.callees();
    let capture = bench.capture();
    callees.plan("bill", Plan::accept().attribute("max-size", Some("1000")));
    let picture = file(bench.folder(), "picture.png", pixels(5000, 3));
    let failed = send(
        callees.agent().port(),
        &["--to", BILL, "--file", text(&picture)],
    )
    .fails(7);
    assert!(
        failed["message"]
            .as_str()
            .is_some_and(|words| words.contains("up to 1000 bytes"))
    );
    let call = callees.expect_call("bill");
    let bye = callees.expect_in(&call, "BYE");
    assert!(
        bye.header("Reason")
            .is_some_and(|reason| reason.starts_with("SIP;cause=480"))
    );
    assert_eq!(call.session.connections(), 0);
    capture.stop().assert_clean();
}

#[test]
fn the_session_timer_of_the_answer_runs() {
    let bench = Bench::new("client_the_session_timer");
    let callees = bench.callees();
    let capture = bench.capture();
    let slow = Conduct::Slow(Duration::from_millis(1200));
    callees.plan(
        "bill",
        Plan::accept()
            .header("Session-Expires", "2;refresher=uac")
            .header("Require", "timer")
            .conduct(slow),
    );
    let picture = file(bench.folder(), "picture.png", pixels(3000, 3));
    let begin = Instant::now();
    let running = send(
        callees.agent().port(),
        &[
            "--to",
            BILL,
            "--file",
            text(&picture),
            "--chunk-size",
            "2000",
        ],
    );
    let call = callees.expect_call("bill");
    let update = proves!(["7.2.1.2-200-A"], callees.expect_in(&call, "UPDATE"));
    assert!(
        begin.elapsed() >= Duration::from_secs(1),
        "at half of the interval"
    );
    proves!(
        ["7.2.1.2-14"],
        assert_eq!(update.headers("Session-Expires"), ["2"], "no refresher=uac")
    );
    assert_eq!(update.headers("Supported"), ["timer"]);
    proves!(["7.2.1.2-15"], assert_eq!(update.header("Min-SE"), None));
    assert_eq!(update.cseq().map(|(number, _)| number), Some(2));
    running.succeeds();
    // The peer promises to refresh, but does not.
    callees.plan(
        "carol",
        Plan::accept()
            .header("Session-Expires", "3;refresher=uas")
            .conduct(Conduct::Silent),
    );
    let carol = ["--to", "sip:carol@example.com", "--pager-max", "0", "Hi"];
    let failed = send(callees.agent().port(), &carol).fails(4);
    proves!(
        ["7.2.1.2-200-A"],
        assert!(
            failed["message"]
                .as_str()
                .is_some_and(|words| words.contains("session refresh"))
        )
    );
    let call = callees.expect_call("carol");
    assert!(callees.expect_in(&call, "BYE").header("Reason").is_some());
    capture.stop().assert_clean();
}
