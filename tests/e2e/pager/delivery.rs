//! One pager mode message reaches everybody in its list.

use cpm_testbed::{Answer, Bench, bcc, cc, cpm_message, to};

use crate::common::{EXPLODER, HANDLE, cpm_proxy, proves};

#[test]
fn one_message_reaches_three_over_udp_and_tcp() {
    let bench = Bench::new("one_message_reaches_three_over_udp_and_tcp");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let anne = bench.agent();
    let recipients = [bench.agent(), bench.agent(), bench.agent()];
    let capture = bench.capture();

    for way in [proxy.udp(), proxy.tcp()] {
        let uris = [
            recipients[0].uri("bill"),
            recipients[1].tcp_uri("carol"),
            recipients[2].uri("dave"),
        ];
        let message = cpm_message("sip:anne@example.com", EXPLODER)
            .recipients([to(&uris[0]), cc(&uris[1]), bcc(&uris[2])])
            .text("Lunch?\r\n\r\n--not-a-boundary\r\n\u{1F35D}");
        let request = message.request();
        anne.send(&request, way);
        proves!(["9.1.1-0", "9.1.1-7"], anne.expect_response(&request, 202));

        let mut call_ids = Vec::new();
        for (agent, uri) in recipients.iter().zip(&uris) {
            let received = proves!(["9.1.1-6h"], agent.expect_request("MESSAGE"));
            proves!(["9.1.1-6c"], assert_eq!(received.uri(), Some(uri.as_str())));
            assert_eq!(received.header("To"), Some(format!("<{uri}>").as_str()));
            proves!(
                ["9.1.1-6g-body"],
                assert_eq!(received.body(), message.cpim(), "the payload, bit for bit")
            );
            proves!(
                ["9.1.1-6g-ex1"],
                assert_eq!(received.header("Content-Type"), Some("message/cpim"))
            );
            proves!(
                ["9.1.1-6f"],
                assert_eq!(received.header("User-Agent"), Some("CPM-serv/OMA2.2"))
            );
            proves!(
                ["9.1.1-6g-ex3"],
                assert_eq!(received.headers("Require"), [""; 0])
            );
            proves!(
                ["9.1.1-6g-ex3-sup"],
                assert_eq!(received.header("Supported"), Some("recipient-list-message"))
            );
            assert_eq!(
                received.header("Contact"),
                None,
                "RFC 3428: MESSAGE has no Contact"
            );
            assert_eq!(received.header("Max-Forwards"), Some("69"));
            call_ids.push(received.call_id().to_owned());
        }
        call_ids.push(
            request
                .header("Call-ID")
                .expect("requests have one")
                .to_owned(),
        );
        call_ids.sort();
        call_ids.dedup();
        proves!(
            ["9.1.1-6a"],
            assert_eq!(call_ids.len(), 4, "each copy has a Call-ID of its own")
        );
    }

    let recording = capture.stop();
    proves!(["9.1.1-6a"], recording.assert_clean());
    let sent = format!("sip.Method == \"MESSAGE\" && {}", recording.sent_by_proxy());
    let rows = recording.fields(
        &sent,
        &[
            "sip.r-uri",
            "sip.to.addr",
            "sip.from.addr",
            "sip.from.tag",
            "sip.to.tag",
            "sip.CSeq.seq",
            "sip.CSeq.method",
            "sip.Via.branch",
        ],
    );
    proves!(
        ["9.1.1-5d", "9.1.1-6"],
        assert_eq!(rows.len(), 6, "{rows:?}")
    );
    for row in &rows {
        let [uri, to, from, from_tag, to_tag, seq, method, branch] = &row[..] else {
            panic!("{row:?}")
        };
        assert_eq!(uri, to);
        assert_eq!(from, "sip:anne@example.com");
        assert!(!from_tag.is_empty() && to_tag.is_empty(), "{row:?}");
        assert_eq!((seq.as_str(), method.as_str()), ("1", "MESSAGE"));
        assert!(
            branch.starts_with("z9hG4bK") && !branch.contains('|'),
            "one Via, our own: {row:?}"
        );
    }
    proxy.stop();
}

#[test]
fn a_retransmission_is_absorbed() {
    let bench = Bench::new("a_retransmission_is_absorbed");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let request = cpm_message("sip:anne@example.com", EXPLODER)
        .recipients([to(&bill.uri("bill"))])
        .request();
    let bytes = request.write(
        "UDP",
        format!("127.0.0.1:{}", anne.port())
            .parse()
            .expect("an address"),
    );
    for _ in 0..3 {
        anne.send_bytes(&bytes, proxy.udp());
    }
    anne.expect_response(&request, 202);
    bill.expect_request("MESSAGE");
    // The next request has another Call-ID: the effects of the retransmissions would have arrived
    // before it.
    let next = request.again();
    anne.send(&next, proxy.udp());
    anne.expect_response(&next, 202);
    bill.expect_request("MESSAGE");
    bill.expect_nothing_until(|| proxy.ping());
    proxy.stop();
}

#[test]
fn a_recipient_gets_the_message_once_however_often_he_is_listed() {
    let bench = Bench::new("a_recipient_gets_the_message_once");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
    let uri = bill.uri("bill");
    let request = cpm_message("sip:anne@example.com", EXPLODER)
        .recipients([
            to(&uri),
            cc(&uri.replace("bill", "b%69ll")),
            bcc(&uri.replace("sip:", "SIP:")),
            to(&format!("{uri};newparam=5")),
            to(&carol.uri("carol")),
        ])
        .request();
    anne.send(&request, proxy.udp());
    anne.expect_response(&request, 202);
    bill.expect_request("MESSAGE");
    carol.expect_request("MESSAGE");
    proves!(
        ["9.1.1-5d", "9.1.1-6"],
        bill.expect_nothing_until(|| proxy.ping())
    );
    proxy.stop();
}

#[test]
fn a_failing_recipient_does_not_touch_the_others() {
    let bench = Bench::new("a_failing_recipient_does_not_touch_the_others");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill, carol, dave) = (bench.agent(), bench.agent(), bench.agent(), bench.agent());
    bill.answers(Answer::code(486));
    carol.answers(Answer::Silent);
    let request = cpm_message("sip:anne@example.com", EXPLODER)
        .recipients([
            to(&bill.uri("bill")),
            to(&carol.uri("carol")),
            to("sip:nobody@nowhere.invalid"),
            to("sip:closed@127.0.0.1:1;transport=tcp"),
            to(&dave.uri("dave")),
        ])
        .request();
    anne.send(&request, proxy.udp());
    anne.expect_response(&request, 202);
    dave.expect_request("MESSAGE");
    bill.expect_request("MESSAGE");
    carol.expect_request("MESSAGE");
    proxy.expect_log("a recipient failed with 486");
    proxy.stop();
}
