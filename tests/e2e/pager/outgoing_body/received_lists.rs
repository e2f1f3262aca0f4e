//! Which parts of a received body are lists of recipients, and where they may be.

use super::*;

#[test]
fn the_list_is_known_by_its_type_and_disposition() {
    let bench = Bench::new("the_list_is_known_by_its_type");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, all) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let list = resource_lists(&[at(&all, to, "bill")]);
    let content_type = format!("multipart/mixed;boundary={BOUNDARY}");
    for service in [EXPLODER, CONTROLLING] {
        let message = cpm_message("sip:anne@example.com", service);
        for (fields, code) in [
            ("Content-Type: application/resource-lists+xml", 202),
            (
                "content-type:Application/Resource-Lists+XML ; charset=\"UTF-8\"",
                202,
            ),
            (
                "Content-Type: application/resource-lists+xml\r\nContent-Disposition: Recipient-List;handling=required",
                202,
            ),
            (
                "Content-Disposition:\r\n recipient-list\r\nContent-Type:\r\n application/resource-lists+xml",
                202,
            ),
            (HISTORY_FIELDS, 403),
            (
                "Content-Type: application/resource-lists+xml\r\nContent-Disposition: attachment",
                403,
            ),
            (
                "Content-Type: application/xml\r\nContent-Disposition: recipient-list",
                403,
            ),
        ] {
            let duty = duty(service, "9.1.1-3d", "9.1.1-5d");
            let body = multipart(&[
                ("Content-Type: message/cpim", &message.cpim()),
                (fields, list.as_bytes()),
            ]);
            proves!(
                [duty],
                exchange(
                    &anne,
                    &with_body(service, &content_type, body),
                    &proxy,
                    code,
                )
            );
            if code == 202 {
                all.expect_request("MESSAGE");
            }
        }
    }
    proves!(
        ["9.1.1-3d", "9.1.1-5d"],
        all.expect_nothing_until(|| proxy.ping())
    );
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn the_message_may_stand_behind_the_list() {
    let bench = Bench::new("the_message_may_stand_behind_the_list");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, all) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let list = resource_lists(&[at(&all, to, "bill"), at(&all, to, "carol")]);
    for service in [EXPLODER, CONTROLLING] {
        let message = cpm_message("sip:anne@example.com", service);
        let body = multipart(&[
            (LIST_FIELDS, list.as_bytes()),
            ("Content-Type: message/cpim", &message.cpim()),
        ]);
        let content_type = format!("multipart/mixed;boundary={BOUNDARY}");
        exchange(
            &anne,
            &with_body(service, &content_type, body.clone()),
            &proxy,
            202,
        );
        for copy in all.expect_requests("MESSAGE", 2) {
            if service == EXPLODER {
                proves!(["9.1.1-6g-body"], assert_eq!(copy.body(), message.cpim()));
            } else {
                let end = &text(&body)[text(&body).find("\r\n--").expect("a delimiter")..];
                proves!(
                    ["9.1.1-6g-body"],
                    between(
                        text(copy.body()),
                        &format!("--{BOUNDARY}\r\n{HISTORY_FIELDS}\r\n\r\n"),
                        end,
                    )
                );
            }
        }
    }
    capture.stop().assert_clean();
    proxy.stop();
}

/// RFC 5363 §4 and §4.1, RFC 5364 §5 and §7: the disposition states the purpose of a resource list.
#[test]
fn several_lists_of_recipients_are_one_and_lists_of_another_disposition_none() {
    let bench = Bench::new("several_lists_of_recipients");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, all) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let list = |recipients: &[Recipient]| resource_lists(recipients);
    let past = list(&[to("sip:past@example.com"), bcc("sip:hidden@example.com")]);
    let friends = list(&[to("sip:friend@example.com")]);
    let attached = "Content-Type: application/resource-lists+xml\r\n\
                    Content-Disposition: attachment; filename=friends.xml";
    let bare = "Content-Type: application/resource-lists+xml";
    let (first, second, third) = (
        list(&[at(&all, to, "bill"), at(&all, bcc, "carol")]),
        list(&[at(&all, cc, "carol"), at(&all, unmarked, "dan")]),
        list(&[at(&all, to, "eve")]).replace("ns:copycontrol", "ns:copyControl"),
    );
    let content_type = format!("multipart/mixed;boundary={BOUNDARY}");
    let attachment = (attached, friends.as_bytes());
    let text_part = ("Content-Type: text/plain", &b"Hello"[..]);
    let body = multipart(&[
        (HISTORY_FIELDS, past.as_bytes()),
        text_part,
        (LIST_FIELDS, first.as_bytes()),
        attachment,
        (bare, second.as_bytes()),
        (LIST_FIELDS, third.as_bytes()),
    ]);
    for service in [EXPLODER, CONTROLLING] {
        exchange(
            &anne,
            &with_body(service, &content_type, body.clone()),
            &proxy,
            202,
        );
        let copies = all.expect_requests("MESSAGE", 4);
        let mut reached: Vec<&str> = copies.iter().filter_map(|copy| copy.uri()).collect();
        reached.sort_unstable();
        let duty = duty(service, "9.1.1-3d", "9.1.1-5d");
        proves!(
            [duty],
            assert_eq!(
                reached,
                ["bill", "carol", "dan", "eve"].map(|user| all.uri(user))
            )
        );
        for copy in &copies {
            assert_eq!(copy.header("Content-Type"), Some(content_type.as_str()));
            if service == EXPLODER {
                proves!(
                    ["9.1.1-6g-ex1"],
                    assert_eq!(
                        text(copy.body()),
                        text(&multipart(&[text_part, attachment]))
                    )
                );
                continue;
            }
            // Of carol's two entries the more visible one applies (RFC 5364 §4), and nobody learns
            // of dan or of a list for another server.
            let body = text(copy.body());
            let history = body.split(HISTORY_FIELDS).nth(1).expect("a history list");
            let (history, rest) = history.split_once("</resource-lists>").expect("it ends");
            proves!(
                ["9.1.1-6g-ex2-new"],
                assert_eq!(
                    entries(history),
                    [
                        format!("uri=\"{}\" cp:copyControl=\"to\"", all.uri("bill")),
                        format!("uri=\"{}\" cp:copyControl=\"cc\"", all.uri("carol")),
                        format!("uri=\"{}\" cp:copyControl=\"to\"", all.uri("eve")),
                    ]
                )
            );
            proves!(
                ["9.1.1-6g-ex2"],
                assert_eq!(body.matches("recipient-list").count(), 1, "{body}")
            );
            assert!(
                rest.contains(&friends) && !body.contains("sip:past"),
                "{body}"
            );
        }
    }
    // A single remaining part becomes the body.
    let body = multipart(&[
        (LIST_FIELDS, first.as_bytes()),
        text_part,
        (LIST_FIELDS, third.as_bytes()),
    ]);
    exchange(
        &anne,
        &with_body(EXPLODER, &content_type, body),
        &proxy,
        202,
    );
    for copy in all.expect_requests("MESSAGE", 3) {
        assert_eq!(copy.header("Content-Type"), Some("text/plain"));
        proves!(["9.1.1-6g-ex1"], assert_eq!(copy.body(), b"Hello"));
    }
    capture.stop().assert_clean();
    proxy.stop();
}

/// RFC 5365 §7.3, RFC 3261 §19.1.5.
#[test]
fn method_and_header_fields_of_a_recipients_uri_are_not_sent() {
    let bench = Bench::new("method_and_header_fields");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, all) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for service in [EXPLODER, CONTROLLING] {
        let message = cpm_message("sip:anne@example.com", service).recipients([
            to(&format!(
                "{};x=1?Subject=Hi&Route=sip:evil",
                all.uri("bill")
            )),
            cc(&format!("{};method=INVITE", all.uri("carol"))),
            // Now equal to the first.
            bcc(&format!("{};METHOD=BYE;x=1?a=b", all.uri("bill"))),
        ]);
        exchange(&anne, &message.request(), &proxy, 202);
        let copies = all.expect_requests("MESSAGE", 2);
        let mut reached: Vec<&str> = copies.iter().filter_map(|copy| copy.uri()).collect();
        reached.sort_unstable();
        let bill = format!("{};x=1", all.uri("bill"));
        assert_eq!(reached, [bill.clone(), all.uri("carol")]);
        for copy in &copies {
            assert_eq!(copy.header("Subject"), None);
            if service == CONTROLLING {
                let body = text(copy.body());
                assert!(!body.contains("evil") && !body.contains("ethod="), "{body}");
                assert!(body.contains(&format!("uri=\"{bill}\"")), "{body}");
            }
        }
    }
    capture.stop().assert_clean();
    proxy.stop();
}
