//! Disposition notifications (RFC 5438): what `receive` sends, and what `send` reports.

use cpm_testbed::{Agent, Answer, Bench, Received, Reply, Request, Way, cpm_message, proves};
use serde_json::Value;

use crate::common::{
    ANNE, CONTROLLING, Cpim, EXPLODER, Ended, Running, cpm_proxy, feature_tag, file, find, pixels,
    program, receive, receive_as, send, text,
};

const BILL: &str = "sip:bill@example.com";

/// The disposition of the message with this Message-ID, in the recipient's document.
fn document(message_id: &str, recipient: &str, told: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\">\n\
         <message-id>{message_id}</message-id>\n<datetime>2008-04-04T12:16:49-05:00</datetime>\n\
         {recipient}{told}\n</imdn>\n"
    )
}

const DELIVERED: &str =
    "<delivery-notification><status><delivered/></status></delivery-notification>";
const DISPLAYED: &str =
    "<display-notification><status><displayed/></status></display-notification>";

/// A notification as another client sends it.
fn notification(from: &str, document: &str) -> Request {
    let cpim = format!(
        "From: Somebody <{from}>\r\nTo: <{ANNE}>\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
         imdn.Message-ID: d834jied93rf\r\n\r\nContent-type: message/imdn+xml\r\n\
         Content-Disposition: notification\r\nContent-length: {}\r\n\r\n{document}",
        document.len()
    );
    Request::new("MESSAGE", from, ANNE).with_body("message/cpim", cpim)
}

/// The Message-ID of the message in a request of the program's.
fn message_id(request: &Received) -> String {
    let body = request.body();
    let start = find(body, b"From: ").expect("a CPIM message");
    Cpim::of(&body[start..]).field("imdn.Message-ID").to_owned()
}

fn told(ended: &Ended) -> Vec<(&str, &str)> {
    let events = ended.events.iter();
    let told = events.filter(|one| one["event"] == "notification");
    told.map(|one| {
        let word = |name: &str| one[name].as_str().unwrap_or_default();
        (word("recipient"), word("disposition"))
    })
    .collect()
}

fn counts(ended: &Ended) -> [Option<u64>; 3] {
    let summary = ended.event("notifications");
    ["recipients", "delivered", "displayed"].map(|name| summary[name].as_u64())
}

#[test]
fn the_program_tells_itself() {
    let bench = Bench::new("client_the_program_tells_itself");
    // The port of an agent that is gone: tshark then knows that it is for SIP.
    let port = {
        let agent = bench.agent();
        agent.port()
    };
    let msrp = format!("127.0.0.1:{}", bench.msrp_port());
    let path = file(bench.folder(), "picture.png", pixels(30_000, 9));
    let receiver = receive(port, &["--display", "--count", "4", "--msrp-listen", &msrp]);
    let capture = bench.capture();
    let wanted = [
        "--notify",
        "delivered,displayed",
        "--wait-notifications",
        "60",
    ];
    let small = ["Lunch?"];
    let large = ["--file", text(&path), "--chunk-size", "8000"];
    for transport in ["udp", "tcp"] {
        for what in [&small[..], &large] {
            let how = ["--to", BILL, "--transport", transport];
            let ended = send(port, &[&how[..], &wanted, what].concat()).succeeds();
            proves!(
                ["7.2.1.3-4"],
                assert_eq!(told(&ended), [(BILL, "delivered"), (BILL, "displayed")])
            );
            assert_eq!(counts(&ended), [Some(1), Some(1), Some(1)]);
        }
    }
    let ended = receiver.succeeds();
    let notified = ended.events.iter().filter(|one| one["event"] == "notified");
    let notified: Vec<&Value> = notified.collect();
    assert_eq!(notified.len(), 8);
    for one in notified {
        assert_eq!((&one["to"], &one["code"]), (&ANNE.into(), &200.into()));
    }
    capture.stop().assert_clean();
}

#[test]
fn only_what_was_asked_for_is_told() {
    let bench = Bench::new("client_only_what_was_asked_for");
    let (shows, quiet) = (bench.port(), bench.port());
    let _shows = receive(shows, &[]);
    let _quiet = receive(quiet, &["--no-imdn"]);
    let bill = ["--to", BILL, "--wait-notifications"];
    // A receiver that does not display only reports delivery, and the sender waits no longer than
    // it was told to.
    for (port, wanted, patience, heard) in [
        (shows, "delivered", "60", vec![(BILL, "delivered")]),
        (shows, "delivered,displayed", "1", vec![(BILL, "delivered")]),
        (shows, "displayed", "1", vec![]),
        (quiet, "delivered", "1", vec![]),
    ] {
        let more = [patience, "--notify", wanted, "Lunch?"];
        let ended = send(port, &[&bill[..], &more].concat()).succeeds();
        assert_eq!(told(&ended), heard, "{wanted}");
    }
    // Ctrl-C ends the wait, not the message.
    let more = ["60", "--notify", "displayed", "Lunch?"];
    let mut waiting = send(quiet, &[&bill[..], &more].concat());
    waiting.expect("sent");
    waiting.interrupt();
    assert_eq!(counts(&waiting.succeeds()), [Some(1), Some(0), Some(0)]);
}

#[test]
fn a_notification_is_as_the_rfc_has_it() {
    let bench = Bench::new("client_a_notification_is_as_the_rfc_has_it");
    let anne = bench.agent();
    let port = {
        let agent = bench.agent();
        agent.port()
    };
    let capture = bench.capture();
    let mut receiver = receive(port, &["--assert", "sip:bill@ims.example.com"]);
    let to = Way::Udp(([127, 0, 0, 1], port).into());
    let group = "sip:friends@groups.example.com";
    let sent = cpm_message(ANNE, group).request();
    let asserted = sent
        .again()
        .with("P-Asserted-Identity", &format!("\"Friends\" <{group}>"));
    // The receipt is for the group (readings N37); without one, for From.
    for (request, whom) in [
        (asserted, group),
        (sent.without("P-Asserted-Identity"), ANNE),
    ] {
        anne.send(&request, to);
        anne.expect_response(&request, 200);
        let told = anne.expect_request("MESSAGE");
        assert_eq!(
            (told.uri(), told.header("To")),
            (Some(whom), Some(&*format!("<{whom}>")))
        );
        assert_eq!(
            told.header("P-Asserted-Identity"),
            Some("<sip:bill@ims.example.com>")
        );
        let accept = told.header("Accept-Contact").unwrap_or_default();
        assert!(accept.contains(&feature_tag("msg")), "{accept}");
        for name in ["Conversation-ID", "Contribution-ID"] {
            assert_eq!(told.header(name), request.header(name));
        }
        assert_eq!(told.header("Content-Type"), Some("message/cpim"));
        let cpim = Cpim::of(told.body());
        assert_eq!(cpim.field("From"), format!("<{BILL}>"));
        assert_eq!(cpim.field("To"), format!("<{ANNE}>"));
        assert_eq!(cpim.field("NS"), "imdn <urn:ietf:params:imdn>");
        assert!(!cpim.has("imdn.Disposition-Notification"));
        assert_ne!(cpim.field("imdn.Message-ID"), "");
        assert_eq!(cpim.content_type(), "message/imdn+xml");
        let disposition = ("Content-Disposition".to_owned(), "notification".to_owned());
        assert!(cpim.content_fields.contains(&disposition));
        let xml = String::from_utf8(cpim.content).expect("XML in UTF-8");
        let id = request.header("Contribution-ID").expect("it is there");
        for part in [
            "<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\">",
            &format!("<message-id>{id}</message-id><datetime>20"),
            &format!("<recipient-uri>{BILL}</recipient-uri>"),
            DELIVERED,
        ] {
            assert!(xml.contains(part), "{part} in {xml}");
        }
        assert_eq!(receiver.expect("notified")["to"], group);
    }
    // A notification gets none, even if it requests one; nor does a message that requests none.
    let plain = String::from_utf8(cpm_message(ANNE, BILL).cpim()).expect("text");
    for cpim in [
        plain.replace("text/plain; charset=UTF-8", "message/imdn+xml"),
        plain.replace("positive-delivery", "negative-delivery"),
    ] {
        let request = cpm_message(ANNE, BILL)
            .request()
            .with_body("message/cpim", cpim);
        anne.expect_nothing_until(|| {
            anne.send(&request, to);
            anne.expect_response(&request, 200);
        });
    }
    // Nobody requested it: this is reported.
    anne.answers(Answer::code(403));
    let request = cpm_message(ANNE, BILL).request();
    anne.send(&request, to);
    anne.expect_response(&request, 200);
    anne.expect_request("MESSAGE");
    receiver.interrupt();
    let ended = receiver.succeeds();
    let refused = ended.events.iter().rfind(|one| one["event"] == "notified");
    let refused = refused.expect("it was told")["message"].as_str();
    assert!(
        refused.is_some_and(|words| words.contains("403")),
        "{refused:?}"
    );
    capture.stop().assert_clean();
}

/// A server that accepts a message and then sends these notifications; `ID` stands for the
/// Message-ID.
fn tells(server: &Agent, told: Vec<(String, String)>) -> Vec<Received> {
    let request = server.expect_request("MESSAGE");
    let id = message_id(&request);
    let mut answers = Vec::new();
    for (from, document) in told {
        let one = notification(&from, &document.replace("ID", &id));
        server.send(&one, *request.way());
        answers.push(server.expect_response(&one, 200));
    }
    answers
}

#[test]
fn who_has_told_what_is_counted() {
    let bench = Bench::new("client_who_has_told_what");
    let server = bench.agent();
    let capture = bench.capture();
    let (bill, carol) = ("sip:bill@example.com", "sip:carol@example.com");
    let arguments = [
        "--via",
        "exploder",
        EXPLODER,
        "--to",
        bill,
        "--to",
        carol,
        "--notify",
        "delivered,displayed",
        "--wait-notifications",
        "60",
        "Lunch?",
    ];
    let sender = send(server.port(), &arguments);
    let uri = |uri: &str| format!("<recipient-uri>{uri}</recipient-uri>");
    let both = [DELIVERED, DISPLAYED];
    let mut told_by_server = vec![
        // Another message's, and the same twice: neither counts.
        (bill.to_owned(), document("another", &uri(bill), DELIVERED)),
        (bill.to_owned(), document("ID", &uri(bill), DELIVERED)),
        (bill.to_owned(), document("ID", &uri(bill), DELIVERED)),
    ];
    told_by_server.extend(both.map(|one| (carol.to_owned(), document("ID", "", one))));
    told_by_server.push((EXPLODER.to_owned(), document("ID", &uri(bill), DISPLAYED)));
    tells(&server, told_by_server);
    let ended = sender.succeeds();
    let expected = [
        (bill, "delivered"),
        (carol, "delivered"),
        (carol, "displayed"),
        (bill, "displayed"),
    ];
    assert_eq!(told(&ended), expected);
    assert_eq!(counts(&ended), [Some(2), Some(2), Some(2)]);
    capture.stop().assert_clean();
}

/// Nobody reads of a delivery before the outcome of the message, whichever datagram comes first.
#[test]
fn a_notification_that_overtakes_the_response_is_told_after_it() {
    let bench = Bench::new("client_a_notification_that_overtakes");
    let server = bench.agent();
    server.answers(Answer::Silent);
    let delivered = document("ID", "", DELIVERED);
    for (code, exit, expected) in [
        (202, 0, ["sent", "notification"]),
        // A failure ends the report.
        (480, 3, ["notification", "failed"]),
    ] {
        let arguments = [
            "--to",
            BILL,
            "--notify",
            "delivered",
            "--wait-notifications",
            "60",
            "Lunch?",
        ];
        let sender = send(server.port(), &arguments);
        let request = server.expect_request("MESSAGE");
        let told = notification(BILL, &delivered.replace("ID", &message_id(&request)));
        server.send(&told, *request.way());
        server.expect_response(&told, 200);
        server.reply(&request, &Reply::new(code));
        let ended = sender.wait();
        assert_eq!(ended.code, exit, "{ended:?}");
        let events = ended.events.iter().filter_map(|one| one["event"].as_str());
        let events: Vec<&str> = events.filter(|name| expected.contains(name)).collect();
        assert_eq!(events, expected);
    }
}

#[test]
fn a_sender_registers_while_he_waits() {
    let bench = Bench::new("client_a_sender_registers_while_he_waits");
    let server = bench.agent();
    server.answers(Answer::with(|request| {
        let contact = request.header("Contact").unwrap_or_default();
        vec![Reply::new(200).with("Contact", contact)]
    }));
    let port = bench.port();
    let listen = format!("127.0.0.1:{port}");
    let arguments = [
        "--to",
        BILL,
        "--register",
        "sip:example.com",
        "--listen",
        &listen,
        "--notify",
        "delivered",
        "--wait-notifications",
        "60",
        "Lunch?",
    ];
    let mut sender = send(server.port(), &arguments);
    let register = server
        .recv_request(cpm_testbed::PATIENCE)
        .expect("a request");
    assert_eq!(register.method(), Some("REGISTER"), "before anything else");
    let contact = register.header("Contact").unwrap_or_default();
    assert!(
        contact.starts_with(&format!("<sip:anne@{listen}>")),
        "{contact}"
    );
    let message = server.expect_request("MESSAGE");
    sender.expect("sent");
    // Text is left to the user's other registered clients.
    let other = bench.agent();
    let here = Way::Tcp(([127, 0, 0, 1], port).into());
    let lunch = cpm_message(BILL, ANNE).request();
    other.send(&lunch, here);
    other.expect_response(&lunch, 480);
    let told = notification(BILL, &document(&message_id(&message), "", DELIVERED));
    other.send(&told, here);
    other.expect_response(&told, 200);
    let last = server.expect_request("REGISTER");
    assert_eq!(last.header("Expires"), Some("0"));
    assert_eq!(counts(&sender.succeeds()), [Some(1), Some(1), Some(0)]);
}

#[test]
fn a_sender_whom_the_registrar_refuses_sends_nothing() {
    let bench = Bench::new("client_a_sender_whom_the_registrar_refuses");
    let server = bench.agent();
    server.answers(Answer::code(403));
    let arguments = [
        "--to",
        BILL,
        "--register",
        "sip:example.com",
        "--notify",
        "delivered",
        "--wait-notifications",
        "60",
        "Lunch?",
    ];
    send(server.port(), &arguments).fails(3);
    let methods: Vec<_> = server
        .received()
        .iter()
        .map(|one| one.method().map(str::to_owned))
        .collect();
    assert_eq!(methods, [Some("REGISTER".to_owned())]);
}

#[test]
fn notifications_come_back_through_a_proxy_with_the_module() {
    let bench = Bench::new("client_notifications_come_back");
    let msrp = format!("tcp:127.0.0.1:{}", bench.msrp_port());
    let routes = "request_route {
        if (cpm_handle()) exit;
        t_relay();
    }";
    let proxy = bench.proxy(&cpm_proxy(routes).set("cpm", "msrp_listen", &msrp));
    let (ports, own) = ([bench.port(), bench.port()], bench.port());
    let uris = ports.map(|port| format!("sip:recipient@127.0.0.1:{port}"));
    let receivers =
        [0, 1].map(|place| receive_as(&uris[place], ports[place], &["--display", "--count", "8"]));
    let anne = format!("sip:anne@127.0.0.1:{own}");
    let listen = format!("127.0.0.1:{own}");
    let path = file(bench.folder(), "picture.png", pixels(100_000, 5));
    let services = [("exploder", EXPLODER), ("adhoc", CONTROLLING)];
    let contents = [
        &["Lunch?"][..],
        &["--file", text(&path)],
        &["--anonymous", "Lunch?"],
        &["--anonymous", "--file", text(&path)],
    ];
    for ((kind, service), what) in services
        .iter()
        .flat_map(|one| contents.map(|what| (one, what)))
    {
        let via = ["--via", kind, service, "--to", &uris[0], "--to", &uris[1]];
        let who = ["--from", &anne, "--assert", &anne, "--listen", &listen];
        let wanted = [
            "--notify",
            "delivered,displayed",
            "--wait-notifications",
            "60",
        ];
        let server = format!("127.0.0.1:{}", proxy.port());
        let mut command = program();
        command.args(["--json", "send", "--server", &server]);
        command.args([&via[..], &who, &wanted, what].concat());
        let ended = Running::start(command, "").succeeds();
        assert_eq!(counts(&ended), [Some(2), Some(2), Some(2)]);
    }
    for receiver in receivers {
        receiver.succeeds();
    }
    proxy.stop();
}
