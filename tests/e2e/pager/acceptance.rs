//! The 202 (9.1.1-7): its content, and when it is sent.

use cpm_testbed::{Answer, Bench, Product, cpm_message, to};

use crate::common::{
    CONTROLLING, EXPLODER, HANDLE, counters, cpm_proxy, exchange, expect_counter, header_lines,
    name_of, proves, reason,
};

/// The beginning of each response, in the proxy's order.
fn first_lines() -> [&'static str; 5] {
    match Product::under_test() {
        Product::Kamailio => ["Via", "From", "To", "Call-ID", "CSeq"],
        Product::OpenSips => ["Via", "To", "From", "Call-ID", "CSeq"],
    }
}

#[test]
fn it_repeats_the_identifiers_and_names_the_server() {
    let bench = Bench::new("it_repeats_the_identifiers");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    for service in [EXPLODER, CONTROLLING] {
        let message =
            cpm_message("sip:anne@example.com", service).recipients([to(&bill.uri("bill"))]);
        let with_ids = message
            .request()
            .with("Conversation-ID", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6")
            .with("contribution-id", "AbC ;odd=\"value\"")
            .with("InReplyTo-Contribution-ID", "01234567-89AB");
        let without_reply = message
            .request()
            .with("Conversation-ID", "one\r\n two")
            .with("Contribution-ID", "three");
        let without_ids = message
            .request()
            .without("Conversation-ID")
            .without("Contribution-ID");
        for (request, ids) in [
            (
                with_ids,
                vec![
                    "Conversation-ID: f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
                    "contribution-id: AbC ;odd=\"value\"",
                    "InReplyTo-Contribution-ID: 01234567-89AB",
                ],
            ),
            (
                without_reply,
                vec!["Conversation-ID: one\r\n two", "Contribution-ID: three"],
            ),
            (without_ids, vec![]),
        ] {
            for way in [proxy.udp(), proxy.tcp()] {
                let request = request.again();
                anne.send(&request, way);
                let answer = proves!(["9.1.1-7"], anne.expect_response(&request, 202));
                assert_eq!(reason(&answer), "Accepted");
                assert!(answer.body().is_empty());
                assert!(
                    answer
                        .parameter("To", "tag")
                        .is_some_and(|tag| !tag.is_empty())
                );
                let lines = header_lines(&answer);
                let own: Vec<&str> = lines.iter().map(|line| name_of(line)).collect();
                let id_names: Vec<&str> = ids.iter().map(|line| name_of(line)).collect();
                assert_eq!(own[..5], first_lines());
                assert_eq!(own[5..own.len() - 2], id_names);
                assert_eq!(own[own.len() - 2..], ["Server", "Content-Length"]);
                proves!(
                    ["9.1.1-7-conv", "9.1.1-7-contrib", "9.1.1-7-inreply"],
                    assert_eq!(lines[5..lines.len() - 2], ids)
                );
                proves!(
                    ["9.1.1-7-server"],
                    assert_eq!(answer.headers("Server"), ["CPM-serv/OMA2.2"])
                );
                bill.expect_request("MESSAGE");
            }
        }
    }
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn it_goes_back_the_way_the_request_came() {
    let bench = Bench::new("it_goes_back_the_way_the_request_came");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let request = cpm_message("sip:anne@example.com", EXPLODER)
        .recipients([to(&bill.uri("bill"))])
        .request();
    let own = request.header("Via").expect("requests have one").to_owned();
    let request = request
        .with(
            "Via",
            &format!("{own};rport, SIP/2.0/TCP pcscf.example.com;branch=z9hG4bKsecond"),
        )
        .and("v", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKfirst")
        .and("Record-Route", "<sip:pcscf.example.com;lr>");
    let answer = exchange(&anne, &request, &proxy, 202);
    let vias = answer.headers("Via").join(", ");
    let places = ["SIP/2.0/UDP 127.0.0.1", "z9hG4bKsecond", "z9hG4bKfirst"].map(|text| {
        vias.find(text)
            .unwrap_or_else(|| panic!("no {text} in {vias}"))
    });
    proves!(["9.1.1-7"], assert!(places.is_sorted(), "{vias}"));
    assert!(vias.contains(&format!("rport={}", anne.port())), "{vias}");
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn it_comes_after_the_last_request_has_gone_out() {
    const RECIPIENTS: usize = 60;
    let bench = Bench::new("it_comes_after_the_last_request");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, all) = (bench.agent(), bench.agent());
    // No recipient answers before the test is over: the 202 says nothing about delivery.
    all.answers(Answer::Silent);
    let capture = bench.capture();
    for service in [EXPLODER, CONTROLLING] {
        let uris: Vec<String> = (0..RECIPIENTS)
            .map(|n| all.uri(&format!("user{n}")))
            .collect();
        let request = cpm_message("sip:anne@example.com", service)
            .recipients(uris.iter().map(|uri| to(uri)))
            .request();
        anne.send(&request, proxy.tcp());
        anne.expect_response(&request, 202);
        let mut reached: Vec<String> = all
            .expect_requests("MESSAGE", RECIPIENTS)
            .iter()
            .filter_map(|request| request.uri().map(str::to_owned))
            .collect();
        reached.sort_unstable();
        let mut wanted = uris;
        wanted.sort_unstable();
        proves!(["9.1.1-6"], assert_eq!(reached, wanted));
    }
    let recording = capture.stop();
    recording.assert_clean();
    let frames = |filter: &str| -> Vec<u32> {
        let rows = recording.fields(filter, &["frame.number"]);
        rows.iter()
            .map(|row| row[0].parse().expect("a number"))
            .collect()
    };
    let first_copies = "sip.Method == \"MESSAGE\" && sip.resend == 0 && udp";
    let (sent, accepted) = (frames(first_copies), frames("sip.Status-Code == 202"));
    assert_eq!((sent.len(), accepted.len()), (2 * RECIPIENTS, 2));
    for (batch, accepted) in sent.chunks(RECIPIENTS).zip(accepted) {
        proves!(
            ["9.1.1-7"],
            assert!(
                batch.iter().all(|sent| *sent < accepted),
                "{batch:?} {accepted}"
            )
        );
    }
    proxy.stop();
}

#[test]
fn everything_is_counted() {
    let bench = Bench::new("everything_is_counted");
    let isf = bench.agent();
    let proxy = bench.proxy(&cpm_proxy(HANDLE).set("cpm", "isf_uri", &isf.uri("isf")));
    let (anne, bill, carol, dave) = (bench.agent(), bench.agent(), bench.agent(), bench.agent());
    carol.answers(Answer::code(480));
    dave.answers(Answer::code(404));
    let capture = bench.capture();
    let message = cpm_message("sip:anne@example.com", EXPLODER);
    let all = message.clone().recipients([
        to(&bill.uri("bill")),
        to(&bill.uri("ben")),
        to(&carol.uri("carol")),
        to(&dave.uri("dave")),
        to(EXPLODER),
    ]);
    exchange(&anne, &all.request(), &proxy, 202);
    exchange(&anne, &message.recipients([]).request(), &proxy, 403);
    isf.expect_request("MESSAGE");
    // Two at the recipients, one at the ISF.
    expect_counter(&proxy, "delivered", 3);
    expect_counter(&proxy, "failed", 1);
    // Which way the copies took is tested elsewhere.
    let counted = counters(&proxy).into_iter();
    let counted = counted.filter(|(name, n)| *n > 0 && !name.starts_with("express"));
    assert_eq!(
        counted.collect::<Vec<_>>(),
        [
            ("requests", 2),
            ("accepted", 1),
            ("refused", 1),
            ("recipients", 4),
            ("delivered", 3),
            ("failed", 1),
            ("interworked", 1),
            ("loops", 1),
        ]
    );
    capture.stop().assert_clean();
    proxy.stop();
}
