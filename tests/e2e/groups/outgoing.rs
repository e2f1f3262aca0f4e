//! The copies for the members of a pre-defined group: who gets one, whom it is from, and what it
//! contains (9.1.1-4g, -6e, -6g; readings N10, N34, N37).

use cpm_testbed::{
    BOUNDARY, Bench, Product, Reply, Request, cpm_message, multipart, resource_lists, to,
};

use crate::common::{
    EXPLODER, HANDLE, counter, cpm_proxy, exchange, expect_counter, header_lines, name_of, proves,
};
use crate::groups::{
    ANNE, GroupFolder, address, ask, group_proxy, open_group, recipients, to_group,
};

const ANONYMOUS: &str = "<sip:anonymous@anonymous.invalid>";

#[test]
fn members_are_the_recipients_and_the_group_speaks() {
    let bench = Bench::new("members_are_the_recipients");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, members, others) = (bench.agent(), bench.agent(), bench.agent());
    let [bill, carol, dan] = ["bill", "carol", "dan"].map(|user| members.uri(user));
    folder.put(
        "lunch",
        // The same person listed twice is one member (RFC 3261 §19.1.4).
        &open_group("lunch").members([
            &bill,
            &carol,
            &format!("{};x=1", members.uri("%62ill")),
            &dan,
        ]),
    );
    folder.put("dinner", &open_group("dinner").members([others.uri("eve")]));
    let proxy = bench.proxy(&group_proxy(&folder.source()));
    let capture = bench.capture();
    let message = to_group(ANNE, "lunch").text("Pizza?");
    let request = message
        .request()
        .with("From", "\"Anne\" <sip:anne@example.com>;tag=secret")
        .with(
            "P-Asserted-Identity",
            "\"Anne\" <sip:anne@example.com>, <tel:+12015550123>",
        )
        .with("Referred-By", "<sip:mallory@example.com>")
        .with("Subject", "Lunch");
    let response = exchange(&anne, &request, &proxy, 202);
    assert_eq!(
        response.header("Conversation-ID"),
        request.header("Conversation-ID")
    );
    let copies = members.expect_requests("MESSAGE", 3);
    let mut uris: Vec<_> = copies.iter().filter_map(|copy| copy.uri()).collect();
    uris.sort_unstable();
    proves!(["9.1.1-4g"], assert_eq!(uris, [&bill, &carol, &dan]));
    for copy in &copies {
        let uri = copy.uri().expect("requests have a URI");
        assert_eq!(copy.header("To"), Some(&*format!("<{uri}>")));
        proves!(
            ["9.1.1-6e", "9.1.1-6e-i"],
            assert_eq!(
                copy.headers("P-Asserted-Identity"),
                [format!("<{}>", address("lunch"))]
            )
        );
        proves!(
            ["9.1.1-6e-iii"],
            assert_eq!(copy.headers("Referred-By"), ["<sip:anne@example.com>"])
        );
        let from = copy.header("From").unwrap_or_default();
        assert!(
            from.starts_with("\"Anne\" <sip:anne@example.com>;tag="),
            "{from}"
        );
        assert!(!from.contains("secret"));
        for name in [
            "Accept-Contact",
            "P-Asserted-Service",
            "Conversation-ID",
            "Contribution-ID",
            "Subject",
            "Content-Type",
        ] {
            assert_eq!(copy.header(name), request.header(name), "{name}");
        }
        assert_eq!(copy.header("User-Agent"), Some("CPM-serv/OMA2.2"));
        assert_eq!(copy.header("Max-Forwards"), Some("20"));
        assert_eq!(copy.header("Max-Breadth"), Some("30"));
        assert_eq!(copy.body(), message.cpim());
        assert!(
            !header_lines(copy)
                .iter()
                .any(|line| line.contains("mallory"))
        );
    }
    let mut call_ids: Vec<_> = copies
        .iter()
        .map(|copy| copy.call_id().to_owned())
        .collect();
    call_ids.sort_unstable();
    call_ids.dedup();
    assert_eq!(call_ids.len(), 3);
    expect_counter(&proxy, "delivered", 3);
    assert_eq!(counter(&proxy, "recipients"), 3);
    others.expect_nothing_until(|| proxy.ping());
    let recording = capture.stop();
    recording.assert_clean();
    let sent = format!("sip.Method == \"MESSAGE\" && {}", recording.sent_by_proxy());
    let identities = recording.fields(&sent, &["sip.P-Asserted-Identity", "sip.Referred-by"]);
    let expected = [
        format!("<{}>", address("lunch")),
        "<sip:anne@example.com>".to_owned(),
    ];
    assert_eq!(identities, vec![expected.to_vec(); 3]);
    proxy.stop();
}

/// The authenticated originator is the identity asserted by a trusted peer, whatever the user
/// claims (OMA CPM 6.1).
#[test]
fn members_are_told_the_asserted_originator_whatever_from_says() {
    let bench = Bench::new("members_are_told_the_asserted_originator");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, bill) = (bench.agent(), bench.agent());
    folder.put("lunch", &open_group("lunch").members([bill.uri("bill")]));
    let proxy = bench.proxy(&group_proxy(&folder.source()));
    let capture = bench.capture();
    for (asserted, referred) in [
        ("<sip:anne@example.com>", "<sip:anne@example.com>"),
        (
            "<tel:+12015550123>, \"Anne\" <sip:anne@example.com>",
            "<tel:+12015550123>",
        ),
    ] {
        let request = to_group("sip:office@example.org", "lunch")
            .request()
            .with("P-Asserted-Identity", asserted);
        exchange(&anne, &request, &proxy, 202);
        let copy = bill.expect_request("MESSAGE");
        let from = copy.header("From").unwrap_or_default();
        assert!(from.starts_with("<sip:office@example.org>;tag="), "{from}");
        proves!(
            ["9.1.1-6e-iii"],
            assert_eq!(copy.headers("Referred-By"), [referred])
        );
    }
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn an_anonymous_sender_is_not_told() {
    let bench = Bench::new("an_anonymous_sender_is_not_told");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, bill) = (bench.agent(), bench.agent());
    let rules = "<cp:rule id=\"all\"><cp:conditions/><cp:actions>
            <allow-initiate-conference>true</allow-initiate-conference>
            <allow-anonymity>true</allow-anonymity>
        </cp:actions></cp:rule>";
    folder.put(
        "secrets",
        &open_group("secrets")
            .rules(rules)
            .members([bill.uri("bill")]),
    );
    let proxy = bench.proxy(&group_proxy(&folder.source()));
    let capture = bench.capture();
    for privacy in ["id", "header;user"] {
        let request = to_group("sip:anonymous@anonymous.invalid", "secrets")
            .request()
            .with(
                "P-Asserted-Identity",
                "\"Anne\" <sip:anne@example.com>, <tel:+12015550123>",
            )
            .with("Referred-By", "<sip:anne@example.com>")
            .with("Privacy", privacy);
        exchange(&anne, &request, &proxy, 202);
        let copy = bill.expect_request("MESSAGE");
        proves!(
            ["9.1.1-6e-ii"],
            assert_eq!(copy.headers("Referred-By"), [ANONYMOUS])
        );
        proves!(
            ["9.1.1-6e", "9.1.1-6e-i"],
            assert_eq!(
                copy.headers("P-Asserted-Identity"),
                [format!("<{}>", address("secrets"))]
            )
        );
        assert_eq!(copy.headers("Privacy"), [privacy]);
        let raw = String::from_utf8_lossy(copy.raw()).to_lowercase();
        proves!(
            ["9.1.1-6e-ii"],
            assert!(!raw.contains("anne") && !raw.contains("5550123"), "{raw}")
        );
    }
    // A sender that is not anonymous gets one, although it could.
    let request = to_group(ANNE, "secrets").request().with("Privacy", "none");
    exchange(&anne, &request, &proxy, 202);
    proves!(
        ["9.1.1-6e-iii"],
        assert_eq!(
            bill.expect_request("MESSAGE").headers("Referred-By"),
            ["<sip:anne@example.com>"]
        )
    );
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn the_sender_gets_no_copy_unless_wanted() {
    let bench = Bench::new("the_sender_gets_no_copy");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, all) = (bench.agent(), bench.agent());
    let port = all.port();
    // Some equal by RFC 3261 §19.1.4, some not.
    for (name, own, other) in [
        (
            "same",
            format!("sip:anne@127.0.0.1:{port}"),
            format!("sip:Anne@127.0.0.1:{port}"),
        ),
        (
            "escaped",
            format!("SIP:%61nne@127.0.0.1:{port};unknown=1"),
            format!("sip:anne@127.0.0.1:{port};transport=udp"),
        ),
    ] {
        let group = open_group(name).members([own, other, all.uri("bill")]);
        folder.put(name, &group);
    }
    let tel = "tel:+1-201-555-0123";
    folder.put(
        "phones",
        &open_group("phones").members([tel, &all.uri("bill")]),
    );
    let quiet = bench.proxy(&group_proxy(&folder.source()));
    let copying = bench.proxy(&group_proxy(&folder.source()).set("cpm", "copy_to_sender", "yes"));
    let capture = bench.capture();
    for (name, other) in [
        ("same", format!("sip:Anne@127.0.0.1:{port}")),
        (
            "escaped",
            format!("sip:anne@127.0.0.1:{port};transport=udp"),
        ),
    ] {
        let request = to_group(&all.uri("anne"), name).request();
        exchange(&anne, &request, &quiet, 202);
        let mut expected = [other, all.uri("bill")];
        expected.sort_unstable();
        proves!(["9.1.1-4g"], assert_eq!(recipients(&all, 2), expected));
        exchange(&anne, &request.again(), &copying, 202);
        recipients(&all, 3);
    }
    // The other one of two identities is the sender as well.
    let request = to_group(ANNE, "phones").request().with(
        "P-Asserted-Identity",
        "<sip:anne@example.com>, <tel:+12015550123>",
    );
    exchange(&anne, &request, &quiet, 202);
    proves!(
        ["9.1.1-4g"],
        assert_eq!(recipients(&all, 1), [all.uri("bill")])
    );
    expect_counter(&quiet, "delivered", 5);
    assert_eq!(counter(&quiet, "recipients"), 5);
    expect_counter(&copying, "delivered", 6);
    all.expect_nothing_until(|| quiet.ping());
    capture.stop().assert_clean();
    for proxy in [quiet, copying] {
        proxy.stop();
    }
}

/// A message with this body.
fn with_body(content_type: &str, body: &[u8]) -> Request {
    to_group(ANNE, "lunch")
        .request()
        .with_body(content_type, body)
}

#[test]
fn the_body_is_not_touched_but_for_a_list() {
    let bench = Bench::new("the_body_is_not_touched");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
    folder.put("lunch", &open_group("lunch").members([bill.uri("bill")]));
    let proxy = bench.proxy(&group_proxy(&folder.source()));
    let capture = bench.capture();
    let every_byte: Vec<u8> = (0..=255).collect();
    let cpim = to_group(ANNE, "lunch").cpim();
    let mixed = format!("multipart/mixed;boundary=\"{BOUNDARY}\"");
    let parts = multipart(&[
        ("Content-Type: message/cpim", &cpim),
        (
            "Content-Type: image/gif\r\nContent-Transfer-Encoding: binary",
            &every_byte,
        ),
    ]);
    let with_preamble = [&b"a preamble\r\n"[..], &parts, b"and an epilogue"].concat();
    for (content_type, body) in [
        ("message/cpim", &*cpim),
        ("MESSAGE/CPIM; x=\"y\"", &cpim),
        ("application/octet-stream", &every_byte),
        (&mixed, &parts),
        (&mixed, &with_preamble),
    ] {
        exchange(&anne, &with_body(content_type, body), &proxy, 202);
        let copy = bill.expect_request("MESSAGE");
        proves!(
            ["9.1.1-6g-body"],
            assert_eq!(copy.body(), body, "{content_type}")
        );
        assert_eq!(copy.headers("Content-Type"), [content_type]);
    }
    let encoded = with_body("message/cpim", &every_byte).with("Content-Encoding", "x-unknown");
    exchange(&anne, &encoded, &proxy, 202);
    let copy = bill.expect_request("MESSAGE");
    assert_eq!(copy.body(), every_byte);
    assert_eq!(copy.header("Content-Encoding"), Some("x-unknown"));

    // A list in such a message names no recipient, and is passed on like any other part.
    let list = resource_lists(&[to(&carol.uri("carol"))]);
    let list_fields =
        "Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list";
    let cpim_part = ("Content-Type: message/cpim", &*cpim);
    let gif_part = ("Content-Type: image/gif", &b"GIF"[..]);
    let list_part = (list_fields, list.as_bytes());
    let request = with_body(&mixed, &multipart(&[cpim_part, list_part, gif_part]))
        .with("Require", "recipient-list-message");
    exchange(&anne, &request, &proxy, 202);
    let copy = bill.expect_request("MESSAGE");
    proves!(
        ["9.1.1-6g-ex2"],
        assert_eq!(copy.body(), multipart(&[cpim_part, gif_part]))
    );
    assert_eq!(copy.header("Require"), None);
    assert_eq!(copy.header("Supported"), Some("recipient-list-message"));
    // A remaining single part needs no multipart.
    let request = with_body(&mixed, &multipart(&[list_part, cpim_part]));
    exchange(&anne, &request, &proxy, 202);
    let copy = bill.expect_request("MESSAGE");
    assert_eq!(
        (copy.header("Content-Type"), copy.body()),
        (Some("message/cpim"), &*cpim)
    );
    let only_a_list = with_body("application/resource-lists+xml", list.as_bytes());
    exchange(&anne, &only_a_list, &proxy, 400);
    carol.expect_nothing_until(|| proxy.ping());
    let recording = capture.stop();
    recording.assert_clean_where("!(frame contains \"a preamble\")");
    proxy.stop();
}

#[test]
fn receipts_and_other_requests_are_left_to_the_script() {
    let bench = Bench::new("receipts_are_left_to_the_script");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, bill) = (bench.agent(), bench.agent());
    folder.put("lunch", &open_group("lunch").members([bill.uri("bill")]));
    let proxy = bench.proxy(&group_proxy(&folder.source()));
    let capture = bench.capture();
    // RFC 5438 §7.2: a receipt is wrapped like the message that it is for.
    let imdn = "<?xml version=\"1.0\"?><imdn xmlns=\"urn:ietf:params:xml:ns:imdn\">\
        <message-id>1</message-id><datetime>2026-01-02T03:04:05Z</datetime>\
        <delivery-notification><status><delivered/></status></delivery-notification></imdn>";
    let receipt = to_group(ANNE, "lunch").content("message/imdn+xml", imdn);
    for request in [
        receipt.request(),
        receipt.request().with("Content-Type", "Message/CPIM;a=b"),
        to_group(ANNE, "lunch").request().without("Accept-Contact"),
        Request::new("INVITE", ANNE, &address("lunch")),
        Request::new("OPTIONS", ANNE, &address("lunch")),
        cpm_message(ANNE, "sip:lunch@example.com").request(),
        cpm_message(ANNE, "sip:lunch@groups.example.com.invalid").request(),
        cpm_message(ANNE, "sip:groups.example.com").request(),
        cpm_message(ANNE, "sips:lunch@example.com").request(),
    ] {
        let response = ask(&anne, &request, &proxy);
        assert_eq!(response.status(), Some(404));
        assert!(
            response.start_line().ends_with(" Not Ours"),
            "{:?}",
            *response
        );
        assert_eq!(
            response.header("Server"),
            Some(Product::under_test().name())
        );
    }
    // With a list, to an address for 1-to-many, it is not a message either.
    let request = receipt
        .recipients([to(&bill.uri("bill"))])
        .request()
        .with_uri(EXPLODER);
    exchange(&anne, &request, &proxy, 404);
    assert_eq!(counter(&proxy, "requests"), 0);
    bill.expect_nothing_until(|| proxy.ping());
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn a_large_group_gets_everything() {
    let bench = Bench::new("a_large_group_gets_everything");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, all) = (bench.agent(), bench.agent());
    let members: Vec<String> = (0..500)
        .map(|user| all.uri(&format!("u{user:03}")))
        .collect();
    folder.put("crowd", &open_group("crowd").members(&members));
    // Limits for lists do not apply to groups.
    let proxy = bench.proxy(&group_proxy(&folder.source()).set("cpm", "max_recipients", "1"));
    exchange(&anne, &to_group(ANNE, "crowd").request(), &proxy, 202);
    proves!(["9.1.1-4g"], assert_eq!(recipients(&all, 500), members));
    expect_counter(&proxy, "delivered", 500);
    proxy.stop();
}

#[test]
fn event_routes_know_a_group_in_whichever_process() {
    let bench = Bench::new("event_routes_know_a_group");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, all, isf) = (bench.agent(), bench.agent(), bench.agent());
    folder.put(
        "lunch",
        &open_group("lunch").members([all.uri("bill"), all.uri("gone")]),
    );
    let routes = format!(
        "{HANDLE}
        event_route[cpm:authorize] {{
            if ($cpm(originator) =~ \"mallory\") drop;
            xlog(\"L_NOTICE\", \"asked: $cpm(kind) $cpm(originator) $ru\\n\");
        }}
        event_route[cpm:recipient-request] {{
            xlog(\"L_NOTICE\", \"to: $cpm(kind) $cpm(originator) $ru\\n\");
        }}"
    );
    let proxy = bench.proxy(
        &cpm_proxy(&routes)
            .set("cpm", "group_source", &folder.source())
            .set("cpm", "group_uri", "sip:*@groups.example.com")
            .set("cpm", "isf_uri", &isf.uri("isf")),
    );
    all.answers(cpm_testbed::Answer::with(|request| {
        let gone = request.uri().is_some_and(|uri| uri.contains("gone"));
        vec![Reply::new(if gone { 404 } else { 200 })]
    }));
    let capture = bench.capture();
    exchange(&anne, &to_group(ANNE, "lunch").request(), &proxy, 202);
    all.expect_requests("MESSAGE", 2);
    let interworked = isf.expect_request("MESSAGE");
    assert_eq!(interworked.uri(), Some(&*all.uri("gone")));
    assert_eq!(
        interworked.headers("P-Asserted-Identity"),
        [format!("<{}>", address("lunch"))]
    );
    assert_eq!(
        interworked.headers("Referred-By"),
        ["<sip:anne@example.com>"]
    );
    proxy.expect_log(&format!("asked: group {ANNE} {}", address("lunch")));
    for member in [all.uri("bill"), all.uri("gone")] {
        proxy.expect_log(&format!("to: group {ANNE} {member}"));
    }
    expect_counter(&proxy, "delivered", 2);
    let refused = to_group("sip:mallory@example.com", "lunch").request();
    exchange(&anne, &refused, &proxy, 403);
    let copied = all.received();
    assert!(copied.iter().all(|copy| {
        !header_lines(copy)
            .iter()
            .any(|line| name_of(line) == "Referred-By" && line.contains("mallory"))
    }));
    all.expect_nothing_until(|| proxy.ping());
    capture.stop().assert_clean();
    proxy.stop();
}

/// 9.1.1-6e-i: the group's address is that of its document, however the sender writes it.
#[test]
fn a_group_asserts_the_address_of_its_document() {
    let bench = Bench::new("a_group_asserts_the_address");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, bill) = (bench.agent(), bench.agent());
    folder.put("lunch", &open_group("lunch").members([bill.uri("bill")]));
    let proxy = bench.proxy(&group_proxy(&folder.source()));
    let capture = bench.capture();
    let typed = address("lunch").replace("lunch", "%6cunch") + ";x=1";
    for uri in [address("lunch"), typed] {
        let request = to_group(ANNE, "lunch").request().with_uri(&uri);
        exchange(&anne, &request, &proxy, 202);
        proves!(
            ["9.1.1-6e-i"],
            assert_eq!(
                bill.expect_request("MESSAGE")
                    .headers("P-Asserted-Identity"),
                [format!("<{}>", address("lunch"))]
            )
        );
    }
    capture.stop().assert_clean();
    proxy.stop();
}
