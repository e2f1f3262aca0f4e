//! Pager mode (7.2.1.1) and the CPIM message (7.2.1.3), to one recipient.

use cpm_testbed::{Answer, Bench, Reply, proves};

use crate::common::{ANNE, Cpim, Running, feature_tag, file, parts, program, send, text};

const BILL: &str = "sip:bill@example.com";

#[test]
fn a_text_to_one_is_one_message() {
    let bench = Bench::new("client_a_text_to_one");
    let server = bench.agent();
    let capture = bench.capture();
    let mut ids = Vec::new();
    for transport in ["auto", "udp", "tcp"] {
        let ended = send(
            server.port(),
            &["--transport", transport, "--to", BILL, "Lunch?\u{1F35D}"],
        )
        .succeeds();
        let request = proves!(
            ["7.2.1.1-0", "7.2.1.1-17"],
            server.expect_request("MESSAGE")
        );
        assert_eq!(
            request.way().transport(),
            if transport == "tcp" { "TCP" } else { "UDP" }
        );
        proves!(["7.2.1.1-8a"], assert_eq!(request.uri(), Some(BILL)));
        assert_eq!(request.header("To"), Some("<sip:bill@example.com>"));
        assert!(
            request
                .header("From")
                .is_some_and(|from| from.starts_with("<sip:anne@example.com>;tag="))
        );
        assert_eq!(
            request.header("Contact"),
            None,
            "RFC 3428: MESSAGE has no Contact"
        );
        let wanted = format!("*;+g.3gpp.icsi-ref=\"{}\"", feature_tag("msg"));
        proves!(
            ["7.2.1.1-1"],
            assert_eq!(request.headers("Accept-Contact"), [wanted.as_str()])
        );
        proves!(
            ["7.2.1.1-3", "7.2.1.1-3a"],
            assert_eq!(
                request.headers("P-Preferred-Service"),
                ["urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg"]
            )
        );
        let user_agent = request.header("User-Agent").expect("there is one");
        proves!(
            ["7.2.1.1-5"],
            assert!(user_agent.starts_with("CPM-client/OMA2.2 "), "{user_agent}")
        );
        for absent in [
            "Require",
            "Reply-To",
            "Privacy",
            "Expires",
            "InReplyTo-Contribution-ID",
        ] {
            assert_eq!(request.header(absent), None, "{absent}");
        }
        for (name, duty) in [
            ("Conversation-ID", "7.2.1.1-12"),
            ("Contribution-ID", "7.2.1.1-13"),
        ] {
            let id = request
                .header(name)
                .expect("each message has both")
                .to_owned();
            proves!([duty], assert!(is_uuid(&id), "{id}"));
            ids.push(id);
        }
        let sent = ended.event("sent");
        assert_eq!(sent["contribution_id"], ids[ids.len() - 1].as_str());
        assert_eq!(
            (sent["code"].as_u64(), sent["message_uid"].as_str()),
            (Some(200), None)
        );

        proves!(
            ["7.2.1.1-16"],
            assert_eq!(request.header("Content-Type"), Some("message/cpim"))
        );
        proves!(
            ["7.2.1.3-size-pager"],
            assert!(request.body().len() <= 1300)
        );
        let cpim = Cpim::of(request.body());
        proves!(
            ["7.2.1.3-1"],
            assert_eq!(cpim.field("From"), "<sip:anne@example.com>")
        );
        proves!(
            ["7.2.1.3-2", "7.2.1.3-2a"],
            assert_eq!(cpim.field("To"), "<sip:bill@example.com>")
        );
        proves!(
            ["7.2.1.3-0"],
            assert_eq!(cpim.field("NS"), "imdn <urn:ietf:params:imdn>")
        );
        ids.push(cpim.field("imdn.Message-ID").to_owned());
        assert_eq!(cpim.field("DateTime").len(), "2026-11-24T19:36:56Z".len());
        assert!(!cpim.has("imdn.Disposition-Notification"));
        proves!(
            ["7.2.1.3-3"],
            assert_eq!(cpim.content_type(), "text/plain;charset=UTF-8")
        );
        proves!(
            ["7.2.1.1-15"],
            assert_eq!(cpim.content, "Lunch?\u{1F35D}".as_bytes())
        );
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    proves!(
        ["7.2.1.1-12", "7.2.1.1-13"],
        assert_eq!(ids.len(), all, "nothing is used twice")
    );
    let recording = capture.stop();
    recording.assert_clean();
    let methods = recording.fields("sip.Method", &["sip.Method"]);
    proves!(
        ["7.2.1.1-0"],
        assert!(methods.iter().all(|row| row[0] == "MESSAGE"), "{methods:?}")
    );
}

/// `8-4-4-4-12` hexadecimal digits, version 4.
fn is_uuid(id: &str) -> bool {
    let lengths: Vec<usize> = id.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12]
        && id.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
        && id.as_bytes()[14] == b'4'
}

#[test]
fn what_the_user_wants_is_in_the_header() {
    let bench = Bench::new("client_what_the_user_wants");
    let server = bench.agent();
    let capture = bench.capture();
    let more = [
        "--to",
        BILL,
        "--identity",
        "sip:anne@home.example.com",
        "--reply-to",
        "sip:office@example.com",
        "--expires",
        "3600",
        "--subject",
        "Food \\ and\u{e9}",
        "--name",
        "Anne \"A\"",
        "--notify",
        "delivered,interworked,displayed",
        "--oma-release",
        "2.1",
        "--route",
        "sip:scscf.example.com;lr",
        "Lunch?",
    ];
    send(server.port(), &more).succeeds();
    let request = server.expect_request("MESSAGE");
    proves!(
        ["7.2.1.1-2"],
        assert_eq!(
            request.headers("P-Preferred-Identity"),
            ["<sip:anne@home.example.com>"]
        )
    );
    proves!(
        ["7.2.1.1-4"],
        assert_eq!(request.headers("Reply-To"), ["<sip:office@example.com>"])
    );
    proves!(
        ["7.2.1.1-7"],
        assert_eq!(request.headers("Expires"), ["3600"])
    );
    assert_eq!(request.headers("Route"), ["<sip:scscf.example.com;lr>"]);
    assert_eq!(request.headers("Subject"), ["Food \\ and\u{e9}"]);
    assert_eq!(request.header("Privacy"), None);
    proves!(
        ["7.2.1.1-5"],
        assert!(
            request
                .header("User-Agent")
                .is_some_and(|ua| ua.starts_with("CPM-client/OMA2.1 "))
        )
    );
    let cpim = Cpim::of(request.body());
    proves!(
        ["7.2.1.3-1"],
        assert_eq!(cpim.field("From"), "\"Anne 'A'\" <sip:anne@example.com>")
    );
    assert_eq!(
        cpim.field("Subject"),
        "Food \\\\ and\u{e9}",
        "escaped as RFC 3862 §2.2 says"
    );
    proves!(
        ["7.2.1.3-4"],
        assert_eq!(
            cpim.field("imdn.Disposition-Notification"),
            "positive-delivery, display, interworking"
        )
    );

    send(
        server.port(),
        &["--to", BILL, "--anonymous", "--identity", ANNE, "Guess who"],
    )
    .succeeds();
    let request = server.expect_request("MESSAGE");
    proves!(
        ["7.2.1.1-6"],
        assert_eq!(request.headers("Privacy"), ["id"])
    );
    assert!(request.header("From").is_some_and(|from| {
        from.starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=")
    }));
    proves!(
        ["7.2.1.3-1"],
        assert_eq!(
            Cpim::of(request.body()).field("From"),
            "<sip:anonymous@anonymous.invalid>"
        )
    );
    let said: Vec<&(String, String)> = request
        .all_headers()
        .iter()
        .filter(|(_, value)| value.contains("anne"))
        .collect();
    assert_eq!(said.len(), 1, "only the network is told: {said:?}");
    assert_eq!(said[0].0, "P-Preferred-Identity");
    capture.stop().assert_clean();
}

#[test]
fn other_media_and_several_parts() {
    let bench = Bench::new("client_other_media");
    let server = bench.agent();
    let capture = bench.capture();
    let folder = bench.folder();
    let picture = file(folder, "dot.gif", b"GIF89a\x01\x00\r\n--\0\xff");
    let show = file(folder, "show.smil", "<smil/>");
    // One part: no list of types.
    send(server.port(), &["--to", BILL, "--file", text(&show)]).succeeds();
    let request = server.expect_request("MESSAGE");
    let cpim = Cpim::of(request.body());
    proves!(
        ["7.2-0", "7.2.1.3-3"],
        assert_eq!(cpim.content_type(), "application/smil")
    );
    assert!(!cpim.has("cpm.Payload-Type"));
    assert_eq!(cpim.content, b"<smil/>");
    // Three parts.
    let files = ["--file", text(&picture), "--file", text(&show)];
    send(
        server.port(),
        &[&["--to", BILL][..], &files, &["See"]].concat(),
    )
    .succeeds();
    let request = server.expect_request("MESSAGE");
    let cpim = Cpim::of(request.body());
    proves!(
        ["7.2.1.3-3-i"],
        assert_eq!(
            cpim.field("cpm.Payload-Type"),
            "text/plain,image/gif,application/smil"
        )
    );
    let namespaces: Vec<&str> = cpim
        .fields
        .iter()
        .filter(|(name, _)| name == "NS")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(
        namespaces[1],
        "cpm <http://www.openmobilealliance.org/cpm/>"
    );
    let parts = parts(cpim.content_type(), &cpim.content);
    let contents: Vec<&[u8]> = parts.iter().map(|(_, content)| &content[..]).collect();
    proves!(
        ["7.2-0"],
        assert_eq!(
            contents,
            [&b"See"[..], b"GIF89a\x01\x00\r\n--\0\xff", b"<smil/>"]
        )
    );
    let disposition = parts[1]
        .0
        .iter()
        .find(|(name, _)| name == "Content-Disposition");
    assert_eq!(
        disposition.map(|(_, value)| value.as_str()),
        Some("attachment;filename=\"dot.gif\"")
    );
    // Standard input, of a type given by the user.
    let address = format!("127.0.0.1:{}", server.port());
    let mut command = program();
    command.args([
        "--json", "send", "--server", &address, "--from", ANNE, "--to", BILL,
    ]);
    command.args(["--content-type", "text/vcard"]);
    Running::start(command, "BEGIN:VCARD\r\n").succeeds();
    let cpim = Cpim::of(server.expect_request("MESSAGE").body());
    proves!(
        ["7.2.1.3-3"],
        assert_eq!(
            (cpim.content_type(), &cpim.content[..]),
            ("text/vcard", &b"BEGIN:VCARD\r\n"[..])
        )
    );
    capture.stop().assert_clean();
}

#[test]
fn the_uid_of_the_stored_copy_is_read_and_kept() {
    let bench = Bench::new("client_the_uid");
    let server = bench.agent();
    server.answers(Answer::sequence([
        Answer::Reply(Reply::new(200).with("Message-UID", "4711")),
        Answer::Reply(Reply::new(202)),
    ]));
    let capture = bench.capture();
    let folder = bench.folder().join("sent");
    let arguments = ["--to", BILL, "--store", text(&folder), "Lunch?"];
    let sent = send(server.port(), &arguments).succeeds().event("sent");
    proves!(["7.2.1.1-18"], assert_eq!(sent["message_uid"], "4711"));
    let kept = std::fs::read_to_string(sent["file"].as_str().expect("it was kept"));
    let kept = kept.expect("the file is there");
    proves!(
        ["7.2.1.1-18"],
        assert!(kept.contains("Message-UID: 4711\r\n"), "{kept}")
    );
    let request = server.expect_request("MESSAGE");
    assert!(kept.ends_with(&*String::from_utf8_lossy(request.body())));
    // Any 2xx is a success.
    let sent = send(server.port(), &arguments).succeeds().event("sent");
    assert_eq!(
        (sent["code"].as_u64(), sent["message_uid"].as_str()),
        (Some(202), None)
    );
    server.expect_request("MESSAGE");
    capture.stop().assert_clean();
}

#[test]
fn the_size_decides_between_the_modes() {
    let bench = Bench::new("client_the_size_decides");
    let callees = bench.callees();
    let server = callees.agent();
    let capture = bench.capture();
    send(server.port(), &["--to", BILL, ""]).succeeds();
    let empty = server.expect_request("MESSAGE").body().len();
    let fits = "a".repeat(1300 - empty);
    send(server.port(), &["--to", BILL, &fits]).succeeds();
    proves!(
        ["7.2.1.1-0", "7.2.1.3-size-pager"],
        assert_eq!(server.expect_request("MESSAGE").body().len(), 1300)
    );
    send(server.port(), &["--to", BILL, &format!("{fits}a")]).succeeds();
    let call = callees.expect_call("bill");
    proves!(
        ["7.2.1.2-0", "7.2.1.3-size-large"],
        assert_eq!(call.session.expect_message().bytes.len(), 1301)
    );
    // If the whole request is measured, less is left for the message.
    let large = send(
        server.port(),
        &["--to", BILL, "--pager-size-of", "request", &fits],
    )
    .succeeds();
    assert_eq!(large.event("sending")["mode"], "large");
    let recording = capture.stop();
    recording.assert_clean();
    let messages = recording.fields("sip.Method == \"MESSAGE\"", &["frame.number"]);
    proves!(
        ["7.2.1.2-0"],
        assert_eq!(messages.len(), 2, "the large ones send no MESSAGE")
    );
}
