//! The header fields of outgoing requests (9.1.1-6a to -6h; readings N25).

use cpm_testbed::{Bench, Message, PAGER_FEATURE_TAG, Received, Request, bcc, cc, cpm_message, to};

use crate::common::{
    CONTROLLING, EXPLODER, HANDLE, cpm_proxy, exchange, header_lines, name_of, proves,
};
use crate::groups::{GroupFolder, ask, group_proxy, open_group, to_group};

/// Written by the Controlling Function itself, once in each outgoing request.
const OWN: [&str; 12] = [
    "Via",
    "To",
    "From",
    "Call-ID",
    "CSeq",
    "Content-Length",
    "Content-Type",
    "Max-Forwards",
    "Max-Breadth",
    "P-Asserted-Identity",
    "User-Agent",
    "Supported",
];

/// Fields of the hop or the transaction, or between the originator and its own proxies.
const NEVER_PASSED_ON: &[(&str, &str)] = &[
    ("Route", "<sip:hop.example.com;lr>"),
    ("Record-Route", "<sip:secret-hop.example.com;lr>"),
    ("Path", "<sip:secret-path.example.com;lr>"),
    ("Service-Route", "<sip:secret-service.example.com;lr>"),
    (
        "Contact",
        "<sip:anne@secret-device.example.com>;+sip.instance=\"<urn:uuid:0>\"",
    ),
    ("m", "<sip:anne@secret-second.example.com>"),
    ("Timestamp", "54"),
    ("Proxy-Require", "secret-proxy-tag"),
    (
        "Authorization",
        "Digest username=\"anne\", realm=\"secret\", nonce=\"n\", uri=\"sip:x\", response=\"r\"",
    ),
    (
        "Proxy-Authorization",
        "Digest username=\"anne\", realm=\"secret\", nonce=\"n\", uri=\"sip:x\", response=\"r\"",
    ),
    ("Proxy-Authenticate", "Digest realm=\"secret\", nonce=\"n\""),
    ("WWW-Authenticate", "Digest realm=\"secret\", nonce=\"n\""),
    ("Authentication-Info", "nextnonce=\"secret\""),
    (
        "Security-Client",
        "ipsec-3gpp;spi-c=1;spi-s=2;port-c=3;port-s=4;alg=hmac-sha-1-96",
    ),
    ("Security-Server", "ipsec-3gpp;q=0.1"),
    ("Security-Verify", "ipsec-3gpp;q=0.1;alg=hmac-sha-1-96"),
    (
        "Identity",
        "secretsignature;info=<https://secret.example.com/c>",
    ),
    ("y", "secretsignature;info=<https://secret.example.com/c>"),
    (
        "Identity-Info",
        "<https://secret.example.com/c>;alg=rsa-sha1",
    ),
    ("n", "<https://secret.example.com/c>;alg=rsa-sha1"),
    ("P-Charging-Vector", "icid-value=secret;orig-ioi=home1.net"),
    (
        "P-Charging-Function-Addresses",
        "ccf=192.0.2.1; ecf=192.0.2.2",
    ),
    ("P-Preferred-Identity", "<sip:secret@example.com>"),
    (
        "P-Preferred-Service",
        "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg.group",
    ),
    ("Message-UID", "secret"),
    ("message-uid", "secret"),
];

/// All other fields are passed on unchanged, including unknown and repeated ones.
const PASSED_ON: &[(&str, &str)] = &[
    (
        "Accept-Contact",
        "*;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg\";require;explicit",
    ),
    (
        "a",
        "*  ;  +g.3gpp.iari-ref = \"x,y\"  ,*;audio;\r\n\trequire",
    ),
    ("X-Unknown", "first"),
    ("Reject-Contact", "*;+g.3gpp.smsip"),
    ("j", "*;mobility=\"fixed\""),
    ("Conversation-ID", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
    ("Contribution-ID", "AbCdEf0123456789"),
    ("InReplyTo-Contribution-ID", "  01234567-89ab  "),
    ("x-unknown", "second ; odd=\"spacing\"  "),
    ("s", "folded\r\n  here\r\n\tand there"),
    ("Reply-To", "<sip:anne-replies@example.com>"),
    ("Privacy", "none"),
    ("Expires", "3600"),
    ("Date", "Fri, 02 Jan 2026 03:04:05 GMT"),
    (
        "P-Asserted-Service",
        "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg.group",
    ),
    ("Message-Expires", "7200"),
    ("Priority", "urgent"),
    ("Organization", "Example \u{c4}"),
    ("In-Reply-To", "70710@saturn.bell-tel.com"),
    (
        "P-Access-Network-Info",
        "3GPP-UTRAN-TDD; utran-cell-id-3gpp=234151D0FCE11",
    ),
    ("History-Info", "<sip:exploder@example.com>;index=1"),
    ("Accept-Language", "da, en-gb;q=0.8"),
    ("X-Empty", ""),
    ("X-Unknown", "third"),
];

/// A request with all of them, mixed.
fn everything(service: &str, recipients: &[cpm_testbed::Recipient]) -> Request {
    let mut request = cpm_message("sip:anne@example.com", service)
        .recipients(recipients.iter().cloned())
        .request();
    for (name, _) in PASSED_ON.iter().chain(NEVER_PASSED_ON) {
        request = request.without(name);
    }
    for place in 0..PASSED_ON.len().max(NEVER_PASSED_ON.len()) {
        for fields in [NEVER_PASSED_ON, PASSED_ON] {
            if let Some((name, value)) = fields.get(place) {
                request = request.and(name, value);
            }
        }
    }
    request
}

fn is_own(line: &str) -> bool {
    OWN.iter()
        .any(|own| own.eq_ignore_ascii_case(name_of(line)))
}

/// Nothing but our own fields, each once, and those passed on, byte for byte and in order.
#[track_caller]
fn expect_exactly_the_right_fields(received: &Message) {
    let lines = header_lines(received);
    let (own, passed): (Vec<&String>, Vec<&String>) = lines.iter().partition(|line| is_own(line));
    let mut own: Vec<&str> = own.iter().map(|line| name_of(line)).collect();
    own.sort_unstable();
    let mut wanted = OWN;
    wanted.sort_unstable();
    proves!(["9.1.1-6a"], assert_eq!(own, wanted));
    let wanted: Vec<String> = PASSED_ON
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    proves!(
        ["9.1.1-6b", "9.1.1-6g-headers"],
        assert_eq!(passed.into_iter().cloned().collect::<Vec<_>>(), wanted)
    );
    let text = String::from_utf8_lossy(received.raw());
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn every_header_field_is_passed_on_replaced_or_kept_back_as_specified() {
    let bench = Bench::new("every_header_field");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill, carol, dave) = (bench.agent(), bench.agent(), bench.agent(), bench.agent());
    let capture = bench.capture();
    for service in [EXPLODER, CONTROLLING] {
        let recipients = [
            to(&bill.uri("bill")),
            cc(&carol.tcp_uri("carol")),
            bcc(&dave.uri("dave;phone-context=example.com")),
        ];
        for way in [proxy.udp(), proxy.tcp()] {
            let request = everything(service, &recipients);
            anne.send(&request, way);
            anne.expect_response(&request, 202);
            for (agent, recipient) in [&bill, &carol, &dave].into_iter().zip(&recipients) {
                let received = proves!(["9.1.1-6h"], agent.expect_request("MESSAGE"));
                expect_exactly_the_right_fields(&received);
                expect_a_request_of_its_own(&received, &request, recipient.uri());
            }
        }
    }
    let recording = capture.stop();
    recording.assert_clean();
    proxy.stop();
}

/// RFC 3428 §4: a new request outside any dialog.
#[track_caller]
fn expect_a_request_of_its_own(received: &Received, request: &Request, uri: &str) {
    proves!(["9.1.1-6c"], assert_eq!(received.uri(), Some(uri)));
    assert_eq!(received.header("To"), Some(format!("<{uri}>").as_str()));
    proves!(
        ["9.1.1-6a"],
        assert_eq!(received.cseq(), Some((1, "MESSAGE")))
    );
    proves!(
        ["9.1.1-6a"],
        assert_ne!(Some(received.call_id()), request.header("Call-ID"))
    );
    proves!(
        ["9.1.1-6a"],
        assert!(
            received
                .branch()
                .is_some_and(|branch| branch.starts_with("z9hG4bK"))
        )
    );
    assert!(
        received
            .parameter("From", "tag")
            .is_some_and(|tag| !tag.is_empty())
    );
    assert_eq!(received.header("Max-Forwards"), Some("69"));
    proves!(
        ["9.1.1-6f"],
        assert_eq!(received.header("User-Agent"), Some("CPM-serv/OMA2.2"))
    );
    proves!(
        ["9.1.1-6g-ex3-sup"],
        assert_eq!(received.header("Supported"), Some("recipient-list-message"))
    );
    proves!(
        ["9.1.1-6d"],
        assert_eq!(
            received.header("P-Asserted-Identity"),
            Some("<sip:anne@example.com>")
        )
    );
}

#[test]
fn accept_contact_goes_on_bit_for_bit_and_is_never_made_up() {
    let bench = Bench::new("accept_contact_goes_on");
    let proxy = bench.proxy(&cpm_proxy(HANDLE).set("cpm", "trigger", "accept_contact_or_service"));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for service in [EXPLODER, CONTROLLING] {
        let message =
            cpm_message("sip:anne@example.com", service).recipients([to(&bill.uri("bill"))]);
        let odd = format!("*;audio ,\t{PAGER_FEATURE_TAG}  ; require,\r\n  *;video;explicit");
        let request = message
            .request()
            .with("Accept-Contact", &odd)
            .and("a", "*;mobility=\"mobile\"");
        exchange(&anne, &request, &proxy, 202);
        let lines: Vec<String> = header_lines(&bill.expect_request("MESSAGE"))
            .into_iter()
            .filter(|line| ["Accept-Contact", "a"].contains(&name_of(line)))
            .collect();
        proves!(
            ["9.1.1-6b"],
            assert_eq!(
                lines,
                [
                    format!("Accept-Contact: {odd}"),
                    "a: *;mobility=\"mobile\"".to_owned()
                ]
            )
        );

        exchange(
            &anne,
            &message.request().without("Accept-Contact"),
            &proxy,
            202,
        );
        proves!(
            ["9.1.1-6b"],
            assert_eq!(
                bill.expect_request("MESSAGE").header("Accept-Contact"),
                None
            )
        );
    }
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn the_list_option_tag_moves_from_require_to_supported() {
    let bench = Bench::new("the_list_option_tag_moves");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for service in [EXPLODER, CONTROLLING] {
        let message =
            cpm_message("sip:anne@example.com", service).recipients([to(&bill.uri("bill"))]);
        for (supported, wanted) in [
            (&[][..], "recipient-list-message"),
            (
                &[("Supported", "path, timer")],
                "path, timer, recipient-list-message",
            ),
            (
                &[("k", "path"), ("Supported", "gruu")],
                "path, gruu, recipient-list-message",
            ),
            (
                &[("Supported", "Recipient-List-Message,path")],
                "Recipient-List-Message, path",
            ),
            (&[("Supported", "")], "recipient-list-message"),
        ] {
            let mut request = message.request();
            for (name, value) in supported {
                request = request.and(name, value);
            }
            exchange(&anne, &request, &proxy, 202);
            let received = bill.expect_request("MESSAGE");
            proves!(
                ["9.1.1-6g-ex3"],
                assert_eq!(received.headers("Require"), [""; 0])
            );
            proves!(
                ["9.1.1-6g-ex3-sup"],
                assert_eq!(received.headers("Supported"), [wanted])
            );
        }
    }
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn compact_and_folded_fields_are_understood() {
    let bench = Bench::new("compact_and_folded_fields");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for service in [EXPLODER, CONTROLLING] {
        let plain = cpm_message("sip:anne@example.com", service)
            .recipients([to(&bill.uri("bill"))])
            .request();
        let get = |name: &str| plain.header(name).expect("the request has it").to_owned();
        let request = plain
            .again()
            .with("f", "\"Anne\"\r\n <sip:anne@example.com>\r\n ;tag=\r\n 77")
            .with("t", &get("To"))
            .with("i", &format!("{}-compact", get("Call-ID")))
            .with("l", "@LENGTH@")
            .with("c", &get("Content-Type").replace(';', "\r\n ;\r\n "))
            .with("a", &get("Accept-Contact"))
            .with("Max-Forwards", "\r\n 20")
            .with("P-Asserted-Identity", "\r\n <sip:anne@example.com>")
            .with("User-Agent", "CPM-client/OMA2.2\r\n  (folded)");
        exchange(&anne, &request, &proxy, 202);
        let received = bill.expect_request("MESSAGE");
        assert!(
            received
                .header("From")
                .is_some_and(|from| from.starts_with("\"Anne\" <sip:anne@example.com>;tag=")),
            "{received:?}"
        );
        assert_eq!(received.headers("Max-Forwards"), ["19"]);
        assert_eq!(
            received.headers("P-Asserted-Identity"),
            ["<sip:anne@example.com>"]
        );
        assert_eq!(received.headers("User-Agent"), ["CPM-serv/OMA2.2"]);
        assert_eq!(received.headers("Content-Type").len(), 1);
        assert_eq!(received.headers("Content-Length").len(), 1);
    }
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn the_charging_identity_goes_on_if_the_operator_wants_it() {
    let bench = Bench::new("the_charging_identity_goes_on");
    let (anne, bill) = (bench.agent(), bench.agent());
    let folder = GroupFolder::new(&bench, "groups");
    folder.put("lunch", &open_group("lunch").members([bill.uri("bill")]));
    for express in ["auto", "no"] {
        let config = group_proxy(&folder.source())
            .set("cpm", "charging_vector", "icid")
            .set("cpm", "express", express);
        let proxy = bench.proxy(&config);
        for message in [
            cpm_message("sip:anne@example.com", EXPLODER).recipients([to(&bill.uri("bill"))]),
            cpm_message("sip:anne@example.com", CONTROLLING).recipients([to(&bill.uri("bill"))]),
            to_group("sip:anne@example.com", "lunch"),
        ] {
            let request = message.request().with(
                "P-Charging-Vector",
                "orig-ioi=secret;icid-value=\"a;7\" ;icid-generated-at=192.0.2.1;transit-ioi=secret.1",
            );
            assert_eq!(ask(&anne, &request, &proxy).status(), Some(202));
            let received = bill.expect_request("MESSAGE");
            assert_eq!(
                received.headers("P-Charging-Vector"),
                ["icid-value=\"a;7\";icid-generated-at=192.0.2.1"]
            );
            assert!(!String::from_utf8_lossy(received.raw()).contains("secret"));
        }
        proxy.stop();
    }
}

#[test]
fn blanks_before_a_colon_hide_nothing() {
    let bench = Bench::new("blanks_before_a_colon");
    let proxy = bench.proxy(&cpm_proxy(HANDLE).set("cpm", "allow_anonymity", "no"));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for service in [EXPLODER, CONTROLLING] {
        let request = cpm_message("sip:anne@example.com", service)
            .recipients([to(&bill.uri("bill"))])
            .request()
            .without("Require")
            .and("Require ", "recipient-list-message")
            .and("Contact \t", "<sip:secret@example.com>")
            .and("P-Charging-Vector  ", "icid-value=secret")
            .and("m ", "<sip:secret@example.com>")
            .and("X-Odd ", "kept");
        exchange(&anne, &request, &proxy, 202);
        let received = bill.expect_request("MESSAGE");
        assert_eq!(received.headers("Require"), [""; 0]);
        assert!(
            !String::from_utf8_lossy(received.raw()).contains("secret"),
            "{received:?}"
        );
        assert_eq!(received.headers("X-Odd"), ["kept"]);
        let hidden = request.again().and("Privacy ", "id");
        exchange(&anne, &hidden, &proxy, 403);
    }
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn max_forwards_has_one_hop_less() {
    let bench = Bench::new("max_forwards_has_one_hop_less");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let message = cpm_message("sip:anne@example.com", EXPLODER).recipients([to(&bill.uri("bill"))]);
    for (received, sent) in [("70", "69"), ("1", "0"), ("255", "254"), ("012", "11")] {
        let request = message.request().with("Max-Forwards", received);
        exchange(&anne, &request, &proxy, 202);
        proves!(
            ["9.1.1-6a"],
            assert_eq!(
                bill.expect_request("MESSAGE").headers("Max-Forwards"),
                [sent]
            )
        );
    }
    let without = message.request().without("Max-Forwards");
    exchange(&anne, &without, &proxy, 202);
    proves!(
        ["9.1.1-6a"],
        assert_eq!(
            bill.expect_request("MESSAGE").headers("Max-Forwards"),
            ["70"]
        )
    );
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn parameters_change_what_is_told() {
    let bench = Bench::new("parameters_change_what_is_told");
    let proxy = bench.proxy(
        &cpm_proxy(HANDLE)
            .set(
                "cpm",
                "drop_headers",
                "X-Internal, P-Access-Network-Info, Subject",
            )
            .set("cpm", "exploder_service", "single")
            .set("cpm", "oma_release", "2.1"),
    );
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for (service, asserted) in [
        (EXPLODER, "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg"),
        (
            CONTROLLING,
            "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg.group",
        ),
    ] {
        let request = cpm_message("sip:anne@example.com", service)
            .recipients([to(&bill.uri("bill"))])
            .request()
            .with("x-internal", "1")
            .with("X-Internal-Too", "2")
            .with("s", "by its compact name")
            .with("P-Access-Network-Info", "IEEE-802.11");
        let answer = exchange(&anne, &request, &proxy, 202);
        assert_eq!(answer.headers("Server"), ["CPM-serv/OMA2.1"]);
        let received = bill.expect_request("MESSAGE");
        proves!(
            ["9.1.1-6f"],
            assert_eq!(received.headers("User-Agent"), ["CPM-serv/OMA2.1"])
        );
        assert_eq!(received.header("X-Internal"), None);
        assert_eq!(received.header("Subject"), None);
        assert_eq!(received.header("P-Access-Network-Info"), None);
        assert_eq!(received.header("X-Internal-Too"), Some("2"));
        assert_eq!(received.headers("P-Asserted-Service"), [asserted]);
    }
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn an_outbound_proxy_is_the_next_hop() {
    let bench = Bench::new("an_outbound_proxy_is_the_next_hop");
    let (anne, core) = (bench.agent(), bench.agent());
    let loose = bench.proxy(&cpm_proxy(HANDLE).set(
        "cpm",
        "outbound_proxy",
        &format!("{};lr", core.uri("core")),
    ));
    let plain = bench.proxy(&cpm_proxy(HANDLE).set("cpm", "outbound_proxy", &core.tcp_uri("core")));
    let capture = bench.capture();
    let uris = [
        "sip:bill@home.example.com",
        "tel:+12015550123;phone-context=example.com",
        "sips:carol@example.org",
    ];
    for service in [EXPLODER, CONTROLLING] {
        for (proxy, route) in [
            (&loose, Some(format!("<{};lr>", core.uri("core")))),
            (&plain, None),
        ] {
            let request = cpm_message("sip:anne@example.com", service)
                .recipients(uris.map(to))
                .request()
                .with("Route", "<sip:hop.example.com;lr>");
            exchange(&anne, &request, proxy, 202);
            for received in core.expect_requests("MESSAGE", 3) {
                proves!(
                    ["9.1.1-6c"],
                    assert!(received.uri().is_some_and(|uri| uris.contains(&uri)))
                );
                proves!(
                    ["9.1.1-6h"],
                    assert_eq!(received.header("Route"), route.as_deref())
                );
            }
        }
    }
    capture.stop().assert_clean();
    for proxy in [loose, plain] {
        proxy.stop();
    }
}
