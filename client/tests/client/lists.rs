//! Messages to several recipients: 1-to-many, ad-hoc group and pre-defined group, in both modes
//! (7.2.1.1-9 to -11, 7.2.1.2-10 to -12, 7.2.1.3-2).

use cpm_testbed::{Bench, proves};

use crate::common::{
    ANNE, CONTROLLING, Cpim, EXPLODER, GROUP, Running, file, find, program, send, text, with_list,
};

/// Turns a test's message into a large one.
const LARGE: [&str; 2] = ["--pager-max", "0"];

#[test]
fn a_pager_message_to_each_kind_of_many() {
    let bench = Bench::new("client_a_pager_message_to_each_kind");
    let server = bench.agent();
    let capture = bench.capture();
    let users = [
        "--to",
        "sip:bill@example.com",
        "--cc",
        "tel:+1-201-555-0123",
        "--bcc",
        "mailto:carol@example.org",
        "Lunch?",
    ];
    for (kind, address, [of_uri, of_list, of_cpim]) in [
        (
            "exploder",
            EXPLODER,
            ["7.2.1.1-11a", "7.2.1.1-11b", "7.2.1.3-2d"],
        ),
        (
            "adhoc",
            CONTROLLING,
            ["7.2.1.1-9a", "7.2.1.1-9b", "7.2.1.3-2b"],
        ),
    ] {
        send(
            server.port(),
            &[&["--via", kind, address][..], &users].concat(),
        )
        .succeeds();
        let request = server.expect_request("MESSAGE");
        proves!([of_uri], assert_eq!(request.uri(), Some(address)));
        assert_eq!(request.header("Require"), Some("recipient-list-message"));
        proves!(
            ["7.2.1.1-3b"],
            assert_eq!(
                request.headers("P-Preferred-Service"),
                ["urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg.group"]
            )
        );
        let (first_type, first, list) = with_list(&request);
        proves!(["7.2.1.1-16"], assert_eq!(first_type, "message/cpim"));
        proves!(
            [of_cpim],
            assert_eq!(Cpim::of(&first).field("To"), format!("<{address}>"))
        );
        assert_eq!(Cpim::of(&first).content, b"Lunch?");
        let role = |uri: &str, role: &str| (uri.to_owned(), Some(role.to_owned()));
        let wanted = [
            role("sip:bill@example.com", "to"),
            role("tel:+1-201-555-0123", "cc"),
            role("mailto:carol@example.org", "bcc"),
        ];
        proves!([of_list], assert_eq!(list, wanted));
    }
    send(server.port(), &["--via", "group", GROUP, "Lunch?"]).succeeds();
    let request = server.expect_request("MESSAGE");
    proves!(["7.2.1.1-10"], assert_eq!(request.uri(), Some(GROUP)));
    assert_eq!(request.header("Require"), None);
    assert_eq!(request.header("Content-Type"), Some("message/cpim"));
    proves!(
        ["7.2.1.1-3b"],
        assert_eq!(
            request.headers("P-Preferred-Service"),
            ["urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg.group"]
        )
    );
    proves!(
        ["7.2.1.3-2c"],
        assert_eq!(Cpim::of(request.body()).field("To"), format!("<{GROUP}>"))
    );
    capture.stop().assert_clean();
}

#[test]
fn a_large_message_to_each_kind_of_many() {
    let bench = Bench::new("client_a_large_message_to_each_kind");
    let callees = bench.callees();
    let port = callees.agent().port();
    let capture = bench.capture();
    let users = [
        "--to",
        "sip:bill@example.com",
        "--cc",
        "tel:+12015550123",
        "Lunch?",
    ];
    for (kind, address, user, [of_uri, of_cpim]) in [
        (
            "exploder",
            EXPLODER,
            "exploder",
            ["7.2.1.2-12c", "7.2.1.3-2d"],
        ),
        ("adhoc", CONTROLLING, "cpm", ["7.2.1.2-10a", "7.2.1.3-2b"]),
        ("group", GROUP, "friends", ["7.2.1.2-11", "7.2.1.3-2c"]),
    ] {
        let via = ["--via", kind, address];
        let users = if kind == "group" {
            &users[4..]
        } else {
            &users[..]
        };
        send(port, &[&LARGE[..], &via, users].concat()).succeeds();
        let call = callees.expect_call(user);
        proves!([of_uri], assert_eq!(call.invite.uri(), Some(address)));
        proves!(
            ["7.2.1.2-3b"],
            assert_eq!(
                call.invite.headers("P-Preferred-Service"),
                ["urn:urn-7:3gpp-service.ims.icsi.oma.cpm.largemsg.group"]
            )
        );
        assert_eq!(call.sdp().attribute("setup"), Some("actpass"));
        if kind == "group" {
            assert_eq!(call.invite.header("Content-Type"), Some("application/sdp"));
            assert_eq!(call.invite.header("Require"), None);
        } else {
            assert_eq!(call.invite.header("Require"), Some("recipient-list-invite"));
            let (first_type, first, list) = with_list(&call.invite);
            assert_eq!(first_type, "application/sdp");
            assert!(first.starts_with(b"v=0\r\n"));
            let uris: Vec<&str> = list.iter().map(|(uri, _)| uri.as_str()).collect();
            let of_list = if kind == "adhoc" {
                "7.2.1.2-10b"
            } else {
                "7.2.1.2-12d"
            };
            proves!(
                [of_list],
                assert_eq!(uris, ["sip:bill@example.com", "tel:+12015550123"])
            );
        }
        let cpim = Cpim::of(&call.session.expect_message().bytes);
        proves!(
            [of_cpim],
            assert_eq!(cpim.field("To"), format!("<{address}>"))
        );
    }
    capture.stop().assert_clean();
}

#[test]
fn lists_come_from_files_too() {
    let bench = Bench::new("client_lists_come_from_files");
    let server = bench.agent();
    let capture = bench.capture();
    let folder = bench.folder();
    let plain = file(
        folder,
        "all.txt",
        "# friends\nsip:a@x.org\n\ncc sip:b@x.org # boss\nbcc tel:+1\n",
    );
    let xml = file(
        folder,
        "all.xml",
        "<?xml version=\"1.0\"?>\n<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\">\
         <list><entry uri=\"sip:a@x.org?b=1&amp;c=2\"><display-name>A &lt;a&gt;</display-name></entry></list></resource-lists>",
    );
    let via = ["--via", "exploder", EXPLODER];
    send(
        server.port(),
        &[&via[..], &["--list", text(&plain), "Hi"]].concat(),
    )
    .succeeds();
    let (_, _, list) = with_list(&server.expect_request("MESSAGE"));
    let shown: Vec<(&str, &str)> = list
        .iter()
        .map(|(uri, role)| (uri.as_str(), role.as_deref().unwrap_or("")))
        .collect();
    assert_eq!(
        shown,
        [
            ("sip:a@x.org", "to"),
            ("sip:b@x.org", "cc"),
            ("tel:+1", "bcc")
        ]
    );
    send(
        server.port(),
        &[&via[..], &["--list", text(&xml), "Hi"]].concat(),
    )
    .succeeds();
    let request = server.expect_request("MESSAGE");
    let (_, _, list) = with_list(&request);
    assert_eq!(list, [("sip:a@x.org?b=1&amp;c=2".to_owned(), None)]);
    assert!(find(request.body(), b"<display-name>A &lt;a&gt;</display-name>").is_some());
    capture.stop().assert_clean();
}

#[test]
fn what_makes_no_sense_is_not_sent() {
    let bench = Bench::new("client_what_makes_no_sense");
    let server = bench.agent();
    let bill = ["--to", "sip:bill@example.com"];
    let cases: [(&[&str], &str); 8] = [
        (&["Hi"], "nobody to send to"),
        (
            &["--to", "sip:a@x", "--to", "sip:b@x", "Hi"],
            "several recipients",
        ),
        (&["--via", "exploder", EXPLODER, "Hi"], "no recipients"),
        (
            &["--via", "group", GROUP, "--to", "sip:a@x", "Hi"],
            "its own members",
        ),
        (
            &["--via", "pigeon", GROUP, "Hi"],
            "exploder, adhoc or group",
        ),
        (&["--to", "bill at home", "Hi"], "no address"),
        (
            &["--to", "sip:a@x", "--subject", "a\r\nEvil: yes", "Hi"],
            "line break",
        ),
        (
            &["--to", "sip:a@x", "--file", "/nonexistent/file"],
            "No such file",
        ),
    ];
    server.expect_nothing_until(|| {
        for (arguments, words) in cases {
            let failed = send(server.port(), arguments).fails(1);
            let message = failed["message"].as_str().unwrap_or("");
            assert!(message.contains(words), "{arguments:?}: {message}");
        }
        // Errors that clap detects.
        let mut command = program();
        command
            .args(["send", "--from", ANNE])
            .args(bill)
            .args(["--transport", "pigeon"]);
        assert_eq!(Running::start(command, "").wait().code, 2);
    });
}
