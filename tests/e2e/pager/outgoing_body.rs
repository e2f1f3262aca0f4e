//! The body of outgoing requests: the payload unchanged, the list removed, and in its place what
//! recipients may know of each other (9.1.1-6g; RFC 5364, RFC 5365; readings N6, N33).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cpm_testbed::{
    Agent, BOUNDARY, Bench, Message, Recipient, Request, bcc, cc, cpm_message, multipart,
    resource_lists, to, unmarked,
};

use crate::common::{CONTROLLING, EXPLODER, HANDLE, cpm_proxy, duty, exchange, proves};

mod received_lists;

const LIST_FIELDS: &str =
    "Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list";
const HISTORY_FIELDS: &str = "Content-Type: application/resource-lists+xml\r\n\
                              Content-Disposition: recipient-list-history; handling=optional";

/// Recipients at one agent, distinguished by the user part.
fn at(agent: &Agent, kind: fn(&str) -> Recipient, user: &str) -> Recipient {
    kind(&agent.uri(user))
}

/// A request to `service` with this body.
fn with_body(service: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Request {
    cpm_message("sip:anne@example.com", service)
        .recipients([])
        .request()
        .with_body(content_type, body)
}

/// The text between two others.
#[track_caller]
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text
        .strip_prefix(before)
        .unwrap_or_else(|| panic!("{text:?} begins with {before:?}"));
    rest.strip_suffix(after)
        .unwrap_or_else(|| panic!("{text:?} ends with {after:?}"))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the bodies here are UTF-8")
}

/// The entries of a list, each from `<entry` to `>`.
fn entries(document: &str) -> Vec<String> {
    document
        .split("<entry ")
        .skip(1)
        .map(|entry| {
            let end = entry.find("/>").or_else(|| entry.find("</entry>"));
            entry[..end.expect("entries end")].to_owned()
        })
        .collect()
}

/// The history list in a copy of a message that had [`multipart`] of the payload and the list.
#[track_caller]
fn history<'a>(copy: &'a Message, payload: &[u8]) -> &'a str {
    let before = format!(
        "--{BOUNDARY}\r\nContent-Type: message/cpim\r\n\r\n{}\r\n--{BOUNDARY}\r\n{HISTORY_FIELDS}\r\n\r\n",
        text(payload)
    );
    between(
        text(copy.body()),
        &before,
        &format!("\r\n--{BOUNDARY}--\r\n"),
    )
}

#[test]
fn an_ad_hoc_group_learns_who_is_to_and_cc() {
    let bench = Bench::new("an_ad_hoc_group_learns_who_is_to_and_cc");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, all) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let uri = |user: &str| all.uri(user);
    let message = cpm_message("sip:anne@example.com", CONTROLLING).recipients([
        at(&all, to, "to1"),
        at(&all, bcc, "hidden1"),
        at(&all, cc, "cc1"),
        at(&all, unmarked, "unmarked"),
        at(&all, cc, "shy1").anonymized(),
        at(&all, to, "o&b'c"),
        at(&all, to, "shy2").anonymized(),
        at(&all, cc, "shy3").anonymized(),
        at(&all, bcc, "shy4").anonymized(),
        // Of several entries for one recipient the most visible applies.
        at(&all, bcc, "cc1"),
        at(&all, to, "hidden2").anonymized(),
        at(&all, bcc, "hidden2"),
    ]);
    let request = message.request();
    exchange(&anne, &request, &proxy, 202);
    let users = [
        "to1", "hidden1", "cc1", "unmarked", "shy1", "o&b'c", "shy2", "shy3", "shy4", "hidden2",
    ];
    let copies = all.expect_requests("MESSAGE", users.len());
    let mut reached: Vec<&str> = copies.iter().filter_map(|copy| copy.uri()).collect();
    reached.sort_unstable();
    let mut wanted = users.map(uri);
    wanted.sort_unstable();
    proves!(
        ["9.1.1-3d", "9.1.1-6", "9.1.1-6c"],
        assert_eq!(reached, wanted)
    );
    for copy in &copies {
        assert_eq!(copy.header("Content-Type"), request.header("Content-Type"));
        let history = proves!(
            ["9.1.1-6g-body", "9.1.1-6g-ex2-disp"],
            history(copy, &message.cpim())
        );
        proves!(
            ["9.1.1-6g-ex2-new"],
            assert_eq!(
                entries(history),
                [
                    format!("uri=\"{}\" cp:copyControl=\"to\"", uri("to1")),
                    format!("uri=\"{}\" cp:copyControl=\"cc\"", uri("cc1")),
                    format!("uri=\"{}\" cp:copyControl=\"to\"", uri("o&amp;b&apos;c")),
                    "uri=\"sip:anonymous@anonymous.invalid\" cp:copyControl=\"to\" cp:count=\"2\""
                        .to_owned(),
                    "uri=\"sip:anonymous@anonymous.invalid\" cp:copyControl=\"cc\" cp:count=\"2\""
                        .to_owned(),
                ]
            )
        );
        assert!(history.contains("xmlns=\"urn:ietf:params:xml:ns:resource-lists\""));
        assert!(history.contains("xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\""));
        // A hidden recipient is visible nowhere in a copy, except in its own.
        let own = format!(
            "MESSAGE {uri} SIP/2.0",
            uri = copy.uri().unwrap_or_default()
        );
        let copy = text(copy.raw());
        for user in ["hidden", "shy", "unmarked"] {
            let shown = copy.matches(user).count();
            let wanted = if own.contains(user) { 2 } else { 0 };
            proves!(
                ["9.1.1-6g-ex2", "9.1.1-6g-ex2-new"],
                assert_eq!(
                    shown, wanted,
                    "{user}: Request-URI and To at most, in\n{copy}"
                )
            );
        }
    }
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn unqualified_entries_are_shown_where_the_operator_says_so() {
    let bench = Bench::new("unqualified_entries_are_shown");
    let hide = bench.proxy(&cpm_proxy(HANDLE));
    let show = bench.proxy(&cpm_proxy(HANDLE).set("cpm", "history_unqualified", "to"));
    let (anne, all) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let message = cpm_message("sip:anne@example.com", CONTROLLING).recipients([
        at(&all, unmarked, "plain"),
        at(&all, cc, "carol"),
        at(&all, bcc, "hidden"),
    ]);
    let carol = format!("uri=\"{}\" cp:copyControl=\"cc\"", all.uri("carol"));
    let plain = format!("uri=\"{}\" cp:copyControl=\"to\"", all.uri("plain"));
    for (proxy, wanted) in [(&hide, vec![carol.clone()]), (&show, vec![plain, carol])] {
        exchange(&anne, &message.request(), proxy, 202);
        for copy in all.expect_requests("MESSAGE", 3) {
            proves!(
                ["9.1.1-6g-ex2-new"],
                assert_eq!(entries(history(&copy, &message.cpim())), wanted)
            );
        }
    }
    capture.stop().assert_clean();
    for proxy in [hide, show] {
        proxy.stop();
    }
}

#[test]
fn display_names_are_shown_and_no_other_part_of_the_received_list() {
    let bench = Bench::new("display_names_are_shown");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, all) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let list = format!(
        "<?xml version='1.0'?>\r\n<!-- private -->\
         <r:resource-lists xmlns:r='urn:ietf:params:xml:ns:resource-lists' \
         xmlns:c='urn:ietf:params:xml:ns:copycontrol' xmlns:x='urn:example:private'>\
         <r:list name='private'><r:display-name>private</r:display-name>\
         <r:entry uri='{bill}' c:copyControl='to' x:private='1'>\
         <r:display-name>Bill &amp; &#x201c;Co&#x201d;</r:display-name><x:private/></r:entry>\
         <r:list><r:entry uri='{carol}' c:copyControl='cc'/></r:list></r:list>\
         </r:resource-lists>",
        bill = all.uri("bill"),
        carol = all.uri("carol"),
    );
    let message = cpm_message("sip:anne@example.com", CONTROLLING);
    let body = multipart(&[
        ("Content-Type: message/cpim", &message.cpim()),
        (LIST_FIELDS, list.as_bytes()),
    ]);
    let request = with_body(
        CONTROLLING,
        &format!("multipart/mixed; boundary={BOUNDARY}"),
        body,
    );
    exchange(&anne, &request, &proxy, 202);
    let copies = proves!(["9.1.1-3d"], all.expect_requests("MESSAGE", 2));
    for copy in copies {
        let history = history(&copy, &message.cpim());
        proves!(
            ["9.1.1-6g-ex2-new"],
            assert_eq!(
                entries(history),
                [
                    format!(
                        "uri=\"{}\" cp:copyControl=\"to\"><display-name>Bill &amp; \u{201c}Co\u{201d}</display-name>",
                        all.uri("bill")
                    ),
                    format!("uri=\"{}\" cp:copyControl=\"cc\"", all.uri("carol")),
                ]
            )
        );
        proves!(
            ["9.1.1-6g-ex2"],
            assert!(!history.contains("private"), "{history}")
        );
    }
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn where_nobody_may_be_shown_there_is_no_list() {
    let bench = Bench::new("where_nobody_may_be_shown");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, all) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for (service, recipients) in [
        (CONTROLLING, [at(&all, bcc, "b1"), at(&all, bcc, "b2")]),
        (
            CONTROLLING,
            [at(&all, unmarked, "b1"), at(&all, bcc, "b2").anonymized()],
        ),
        (EXPLODER, [at(&all, bcc, "b1"), at(&all, bcc, "b2")]),
        (EXPLODER, [at(&all, to, "b1"), at(&all, cc, "b2")]),
    ] {
        let message = cpm_message("sip:anne@example.com", service).recipients(recipients);
        exchange(&anne, &message.request(), &proxy, 202);
        for copy in all.expect_requests("MESSAGE", 2) {
            assert_eq!(copy.headers("Content-Type"), ["message/cpim"]);
            proves!(["9.1.1-6g-body"], assert_eq!(copy.body(), message.cpim()));
            proves!(
                ["9.1.1-6g-ex1", "9.1.1-6g-ex2", "9.1.1-6g-ex2-new"],
                assert!(!text(copy.raw()).contains("resource-lists"))
            );
        }
    }
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn a_payload_asking_for_notifications_passes_untouched() {
    let bench = Bench::new("a_payload_asking_for_notifications");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, all) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let cpim = "From: <sip:anonymous@anonymous.invalid>\r\nTo: <sip:exploder@example.com>\r\n\
                DateTime: 2026-01-02T03:04:05.678+01:00\r\nNS: imdn <urn:ietf:params:imdn>\r\n\
                imdn.Message-ID: Mj8+4a/x\r\n\
                imdn.Disposition-Notification: positive-delivery, negative-delivery, display\r\n\
                imdn.IMDN-Record-Route: <sip:anne@example.com>\r\n\
                NS: x <urn:example:x>\r\nx.Odd:   \u{4f60}\u{597d}  \r\n\r\n\
                Content-Type: text/plain; charset=utf-8\r\nContent-ID: <1@x>\r\n\r\n\
                Line\nline\rline\r\n\r\n--\r\n\0\u{1F35D}\r\n";
    for service in [EXPLODER, CONTROLLING] {
        let list = resource_lists(&[at(&all, bcc, "b1"), at(&all, bcc, "b2")]);
        let body = multipart(&[
            ("Content-Type: message/cpim", cpim.as_bytes()),
            (LIST_FIELDS, list.as_bytes()),
        ]);
        let content_type = format!("multipart/mixed;boundary=\"{BOUNDARY}\"");
        exchange(&anne, &with_body(service, &content_type, body), &proxy, 202);
        for copy in all.expect_requests("MESSAGE", 2) {
            proves!(
                ["9.1.1-imdn", "9.1.1-6g-body"],
                assert_eq!(text(copy.body()), cpim)
            );
        }
    }
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn other_parts_pass_bit_for_bit() {
    let bench = Bench::new("other_parts_pass_bit_for_bit");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, all) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let list = resource_lists(&[at(&all, to, "bill"), at(&all, cc, "carol")]);
    let plain_list = format!("{LIST_FIELDS}\r\n\r\n{list}");
    let encoded_list = format!(
        "content-transfer-encoding: BASE64\r\nContent-ID: <list@x>\r\n{LIST_FIELDS}\r\n\r\n{}",
        STANDARD
            .encode(&list)
            .as_bytes()
            .chunks(60)
            .map(text)
            .collect::<Vec<_>>()
            .join("\r\n")
    );
    let inner = "--in\r\nContent-Type: message/cpim\r\n\r\nFrom: <sip:a@x>\r\n\r\n\
                 Content-Type: text/plain\r\n\r\n --out\r\n\u{fc}\r\n--in\r\n\r\ntyped by default\r\n--in--";
    let parts: [(&str, String, &str, &str); 3] = [
        // Boundary, Content-Type, the text before the list, and the text after it.
        (
            BOUNDARY,
            format!("multipart/mixed;boundary={BOUNDARY};type=\"x;y\""),
            "--cpm-testbed-boundary\r\nContent-Type: message/cpim\r\n\r\npayload\r\n--cpm-testbed-boundary\r\n",
            "\r\n--cpm-testbed-boundary\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: base64\r\n\r\n\
             AAEC\r\n\r\n--cpm-testbed-boundary--\r\n",
        ),
        (
            "b'()+_,-./:=? b",
            "Multipart/Mixed ; BOUNDARY=\"b'()+_,-./:=? b\"".to_owned(),
            "preamble\r\n--b'()+_,-./:=? b  \r\nContent-Type: message/cpim\r\n\r\n\
             --b'()+_,-./:=?\r\n\r\n--b'()+_,-./:=? b\r\n",
            "\r\n--b'()+_,-./:=? b\t\r\n\r\n\r\n--b'()+_,-./:=? b--\r\nepilogue\r\n",
        ),
        (
            "out",
            "multipart/mixed;boundary=out".to_owned(),
            "--out\r\nContent-Type: multipart/related;boundary=in\r\nX-Field: kept\r\n\r\nINNER\r\n--out\r\n",
            "\r\n--out\r\nContent-Disposition: attachment; filename=\"a.txt\"\r\n\r\nlast\r\n--out--",
        ),
    ];
    for service in [EXPLODER, CONTROLLING] {
        for list in [&plain_list, &encoded_list] {
            for (boundary, content_type, before, after) in &parts {
                let before = before.replace("INNER", inner);
                let request = with_body(service, content_type, format!("{before}{list}{after}"));
                exchange(&anne, &request, &proxy, 202);
                for copy in all.expect_requests("MESSAGE", 2) {
                    assert_eq!(copy.headers("Content-Type"), [content_type]);
                    let body = text(copy.body());
                    if service == EXPLODER {
                        // The list's part is removed with the delimiter before it.
                        let delimiter = before.rfind("\r\n--").expect("a delimiter");
                        proves!(
                            ["9.1.1-6g-body", "9.1.1-6g-ex1"],
                            assert_eq!(
                                body,
                                format!("{}{after}", &before[..delimiter]),
                                "{boundary}"
                            )
                        );
                    } else {
                        let history = proves!(
                            ["9.1.1-6g-body", "9.1.1-6g-ex2"],
                            between(body, &format!("{before}{HISTORY_FIELDS}\r\n\r\n"), after)
                        );
                        assert_eq!(entries(history).len(), 2, "{boundary}");
                    }
                }
            }
        }
    }
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn a_multipart_with_one_part_left_becomes_that_part() {
    let bench = Bench::new("a_multipart_with_one_part_left");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, all) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let list = resource_lists(&[at(&all, bcc, "bill")]);
    let payload = b"payload\r\n\r\n--x\r\n";
    let encoded = STANDARD.encode(payload);
    for service in [EXPLODER, CONTROLLING] {
        for (fields, content, wanted_fields, wanted) in [
            (
                "Content-Type: message/cpim; x=\"y;z\"\r\nContent-ID: <1@x>\r\nX-Other: stays behind\r\n\
                 Content-Disposition: render;handling=required\r\nSubject: not ours",
                &payload[..],
                vec![
                    ("Content-Type", "message/cpim; x=\"y;z\""),
                    ("Content-ID", "<1@x>"),
                    ("Content-Disposition", "render;handling=required"),
                ],
                &payload[..],
            ),
            (
                "Content-Type: message/cpim\r\nContent-Transfer-Encoding: base64",
                encoded.as_bytes(),
                vec![("Content-Type", "message/cpim")],
                &payload[..],
            ),
            (
                "Content-Type: multipart/related;boundary=in",
                b"--in\r\n\r\na\r\n--in\r\n\r\nb\r\n--in--\r\n",
                vec![("Content-Type", "multipart/related;boundary=in")],
                b"--in\r\n\r\na\r\n--in\r\n\r\nb\r\n--in--\r\n",
            ),
            // A part without a type is text (RFC 2046 §5.1).
            (
                "Content-Language: da",
                b"hej",
                vec![("Content-Language", "da"), ("Content-Type", "text/plain")],
                b"hej",
            ),
        ] {
            let body = multipart(&[(fields, content), (LIST_FIELDS, list.as_bytes())]);
            let request = with_body(
                service,
                &format!("multipart/mixed;boundary={BOUNDARY}"),
                body,
            )
            .with("MIME-Version", "1.0")
            .with("Content-Language", "en")
            .with("Content-Disposition", "by-reference")
            .with("Subject", "ours");
            exchange(&anne, &request, &proxy, 202);
            let copy = all.expect_request("MESSAGE");
            proves!(
                ["9.1.1-6g-body"],
                assert_eq!(copy.body(), wanted, "{fields}")
            );
            let mut content_fields: Vec<(&str, &str)> = copy
                .all_headers()
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .filter(|(name, _)| name.starts_with("Content-") && *name != "Content-Length")
                .collect();
            content_fields.sort_unstable();
            let mut wanted_fields = wanted_fields;
            wanted_fields.sort_unstable();
            proves!(
                ["9.1.1-6g-body", "9.1.1-6g-ex1"],
                assert_eq!(content_fields, wanted_fields)
            );
            assert_eq!(copy.header("X-Other"), None);
            assert_eq!(copy.headers("Subject"), ["ours"]);
        }
    }
    capture.stop().assert_clean();
    proxy.stop();
}
