//! Replies to messages that the program itself has received and kept: their recipients and
//! references.

use std::path::PathBuf;

use cpm_testbed::{Agent, Bench, Request, cpm_message, proves};

use crate::common::{CONTROLLING, EXPLODER, receive, send, text, with_list};

/// Sends the program a message with these header fields; returns the file in which it is kept.
#[track_caller]
fn received(bench: &Bench, sender: &Agent, headers: &[(&str, &str)]) -> (Request, PathBuf) {
    let port = bench.port();
    let folder = bench.folder().join("inbox");
    let arguments = ["--store", text(&folder), "--count", "1", "--no-imdn"];
    let receiver = receive(port, &arguments);
    let mut request = cpm_message(
        "sip:carol@example.com",
        &format!("sip:bill@127.0.0.1:{port}"),
    )
    .request();
    for (name, value) in headers {
        request = request.with(name, value);
    }
    sender.send(
        &request,
        cpm_testbed::Way::Udp(([127, 0, 0, 1], port).into()),
    );
    sender.expect_response(&request, 200);
    let message = receiver.succeeds().event("message");
    let file = message["file"].as_str().expect("it was kept").into();
    (request, file)
}

const REPLY_TO: (&str, &str) = ("Reply-To", "\"Office\" <sip:office@example.com>;x=y");
const PAI: (&str, &str) = ("P-Asserted-Identity", "<sip:carol@example.com>, <tel:+1>");
const GROUP: (&str, &str) = ("P-Asserted-Identity", "<sip:group@example.com>");
const REAL: &str = "sip:real@example.com";
const REFERRED: (&str, &str) = ("Referred-By", "<sip:real@example.com>");
const ANONYMOUS: (&str, &str) = ("Referred-By", "<sip:anonymous@anonymous.invalid>");
const FOCUS: (&str, &str) = ("Contact", "<sip:cf@192.0.2.1>;isfocus");
const LARGE: [&str; 2] = ["--pager-max", "0"];

/// The references of every reply.
#[track_caller]
fn assert_refers(reply: &cpm_testbed::Message, to: &Request) {
    assert_eq!(
        reply.header("Conversation-ID"),
        to.header("Conversation-ID")
    );
    assert_eq!(
        reply.header("InReplyTo-Contribution-ID"),
        to.header("Contribution-ID")
    );
    assert_ne!(
        reply.header("Contribution-ID"),
        to.header("Contribution-ID")
    );
}

#[test]
fn a_pager_reply_to_one() {
    let bench = Bench::new("client_a_pager_reply");
    let server = bench.agent();
    let capture = bench.capture();
    for (headers, address, source) in [
        (&[PAI, REPLY_TO][..], "sip:office@example.com", "Reply-To"),
        (&[PAI][..], "sip:carol@example.com", "P-Asserted-Identity"),
        // The address of a group's session is not routable (readings N31), all others are.
        (&[GROUP, REFERRED, FOCUS][..], REAL, "Referred-By"),
        (
            &[GROUP, REFERRED][..],
            "sip:group@example.com",
            "P-Asserted-Identity",
        ),
        (
            &[GROUP, ANONYMOUS, FOCUS][..],
            "sip:group@example.com",
            "P-Asserted-Identity",
        ),
    ] {
        let duty = match source {
            "Reply-To" => "7.2.1.1-8b",
            _ => "7.2.1.1-8c",
        };
        let (original, file) = received(&bench, &server, headers);
        let ended = send(server.port(), &["--reply", text(&file), "Yes"]).succeeds();
        assert_eq!(ended.event("reply-address")["header"], source);
        let reply = server.expect_request("MESSAGE");
        proves!([duty], assert_eq!(reply.uri(), Some(address)));
        proves!(
            ["7.2.1.1-12-else", "7.2.1.1-13", "7.2.1.1-14"],
            assert_refers(&reply, &original)
        );
        // A new address wins.
        send(
            server.port(),
            &["--reply", text(&file), "--to", "sip:new@example.com", "Yes"],
        )
        .succeeds();
        let reply = server.expect_request("MESSAGE");
        proves!([duty], assert_eq!(reply.uri(), Some("sip:new@example.com")));
        assert_refers(&reply, &original);
    }
    // Without a stored message: a conversation given by the user.
    let named = [
        "--to",
        "sip:bill@example.com",
        "--conversation",
        "known-conversation",
        "Hi",
    ];
    send(server.port(), &named).succeeds();
    let request = server.expect_request("MESSAGE");
    proves!(
        ["7.2.1.1-12-else"],
        assert_eq!(
            request.header("Conversation-ID"),
            Some("known-conversation")
        )
    );
    assert_eq!(request.header("InReplyTo-Contribution-ID"), None);
    capture.stop().assert_clean();
}

#[test]
fn a_pager_reply_to_many() {
    let bench = Bench::new("client_a_pager_reply_to_many");
    let server = bench.agent();
    let capture = bench.capture();
    for (headers, address, [of_exploder, of_group]) in [
        (
            &[PAI, REPLY_TO][..],
            "sip:office@example.com",
            ["7.2.1.1-11c", "7.2.1.1-9c"],
        ),
        (
            &[PAI][..],
            "sip:carol@example.com",
            ["7.2.1.1-11d", "7.2.1.1-9d"],
        ),
    ] {
        let (original, file) = received(&bench, &server, headers);
        for (kind, uri, duty) in [
            ("exploder", EXPLODER, of_exploder),
            ("adhoc", CONTROLLING, of_group),
        ] {
            let base = [
                "--via",
                kind,
                uri,
                "--reply",
                text(&file),
                "--to",
                "sip:dave@example.com",
            ];
            for (more, wanted) in [
                (&["Yes"][..], &[address, "sip:dave@example.com"][..]),
                (&["--only-to", "Yes"][..], &["sip:dave@example.com"][..]),
            ] {
                send(server.port(), &[&base[..], more].concat()).succeeds();
                let reply = server.expect_request("MESSAGE");
                assert_eq!(reply.uri(), Some(uri));
                proves!(["7.2.1.1-14"], assert_refers(&reply, &original));
                let (_, _, list) = with_list(&reply);
                let uris: Vec<&str> = list.iter().map(|(uri, _)| uri.as_str()).collect();
                proves!([duty], assert_eq!(uris, wanted));
            }
        }
    }
    capture.stop().assert_clean();
}

#[test]
fn a_large_reply_to_one_and_to_many() {
    let bench = Bench::new("client_a_large_reply");
    let callees = bench.callees();
    let server = callees.agent();
    let capture = bench.capture();
    let with_reply_to = ["7.2.1.2-9b", "7.2.1.2-12e", "7.2.1.2-10c"];
    let without = ["7.2.1.2-9c", "7.2.1.2-12f", "7.2.1.2-10d"];
    for (place, (headers, address, user, [to_one, of_exploder, of_group])) in [
        (
            &[PAI, REPLY_TO][..],
            "sip:office@example.com",
            "office",
            with_reply_to,
        ),
        (&[PAI][..], "sip:carol@example.com", "carol", without),
        (
            &[PAI, REFERRED][..],
            "sip:carol@example.com",
            "carol",
            without,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let (original, file) = received(&bench, server, headers);
        let reply = ["--reply", text(&file)];
        send(server.port(), &[&LARGE[..], &reply, &["Yes"]].concat()).succeeds();
        let call = callees.expect_nth_call(user, place.saturating_sub(1));
        proves!([to_one], assert_eq!(call.invite.uri(), Some(address)));
        proves!(
            ["7.2.1.2-16-else", "7.2.1.2-17", "7.2.1.2-18"],
            assert_refers(&call.invite, &original)
        );
        for (kind, uri, user, to_many) in [
            ("exploder", EXPLODER, "exploder", of_exploder),
            ("adhoc", CONTROLLING, "cpm", of_group),
        ] {
            let via = ["--via", kind, uri, "--to", "sip:dave@example.com"];
            send(
                server.port(),
                &[&LARGE[..], &reply, &via, &["Yes"]].concat(),
            )
            .succeeds();
            let call = callees.expect_nth_call(user, place);
            assert_eq!(call.invite.uri(), Some(uri));
            assert_refers(&call.invite, &original);
            let (_, _, list) = with_list(&call.invite);
            let uris: Vec<&str> = list.iter().map(|(uri, _)| uri.as_str()).collect();
            proves!(
                [to_many],
                assert_eq!(uris, [address, "sip:dave@example.com"])
            );
        }
        let new = ["--to", "sip:new@example.com", "Yes"];
        send(server.port(), &[&LARGE[..], &reply, &new].concat()).succeeds();
        let call = callees.expect_nth_call("new", place);
        proves!(
            [to_one],
            assert_eq!(call.invite.uri(), Some("sip:new@example.com"))
        );
    }
    capture.stop().assert_clean();
}
