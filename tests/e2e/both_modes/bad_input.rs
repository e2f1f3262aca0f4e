//! Input that peers should not send: each gets its response and one log line, and the worker
//! survives.

use std::time::{Duration, Instant};

use cpm_testbed::{
    Agent, Bench, Proxy, Request, cpm_message, large_message, multipart, resource_lists, to,
};

use crate::common::{
    CONTROLLING, EXPLODER, HANDLE, counter, cpm_proxy, exchange, expect_log_lines, reason,
};

const LIST_HEADERS: &str =
    "Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list";

/// A request whose list part contains this text.
fn with_list(list: &str) -> Request {
    let message = cpm_message("sip:anne@example.com", EXPLODER).recipients([]);
    let body = multipart(&[
        ("Content-Type: message/cpim", &message.cpim()),
        (LIST_HEADERS, list.as_bytes()),
    ]);
    let request = message.request();
    let content_type = request
        .header("Content-Type")
        .expect("a multipart has one")
        .to_owned();
    request.with_body(&content_type, body)
}

/// A list whose only entry has this text, unescaped, as its URI attribute.
fn entry(uri: &str) -> String {
    resource_lists(&[to("URI")]).replace("URI", uri)
}

#[test]
fn what_would_inject_or_swell_is_refused_with_one_log_line() {
    let bench = Bench::new("what_would_inject_or_swell");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let good = resource_lists(&[to(&bill.uri("bill"))]);
    let bomb = format!(
        "<!DOCTYPE r [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>{}",
        entry("sip:&b;@example.com")
    );
    let deep = format!(
        "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\">{}",
        "<list>".repeat(9_000)
    );
    for (list, phrase) in [
        (
            entry("sip:bill@example.com&#13;&#10;Route: sip:evil"),
            "Bad URI In Resource List",
        ),
        (entry("sip:bill@example.com> <x"), "Malformed Resource List"),
        (entry("sip:bill&#0;@example.com"), "Malformed Resource List"),
        (good[..good.len() / 2].to_owned(), "Malformed Resource List"),
        (bomb, "Document Type In Resource List"),
        (deep, "Resource List Nested Too Deep"),
    ] {
        let request = with_list(&list);
        let answer = exchange(&anne, &request, &proxy, 400);
        assert_eq!(reason(&answer), phrase);
        let call_id = answer.call_id();
        expect_log_lines(&proxy, &format!("callid={call_id}"), 1);
    }
    bill.expect_nothing_until(|| proxy.ping());
    proxy.stop();
}

#[test]
fn a_datagram_is_cut_where_its_content_length_says() {
    let bench = Bench::new("a_datagram_is_cut");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let message = cpm_message("sip:anne@example.com", EXPLODER).recipients([to(&bill.uri("bill"))]);
    // RFC 3261 §18.3: bytes after the body are ignored.
    let request = message.request();
    let length = request.body().len();
    let swollen = request.with("Content-Length", &length.to_string());
    let content_type = swollen
        .header("Content-Type")
        .expect("it has one")
        .to_owned();
    let longer = [swollen.body(), b"trailing octets"].concat();
    let swollen = swollen.with_body(&content_type, longer);
    exchange(&anne, &swollen, &proxy, 202);
    assert_eq!(bill.expect_request("MESSAGE").body(), message.cpim());
    // Without one, the body ends with the datagram.
    let without = message.request().without("Content-Length");
    exchange(&anne, &without, &proxy, 202);
    assert_eq!(bill.expect_request("MESSAGE").body(), message.cpim());
    // A truncated request is none that we can answer: the script gets it.
    let cut = message
        .request()
        .with("Content-Length", &(length + 1).to_string());
    assert_eq!(reason(&exchange(&anne, &cut, &proxy, 404)), "Not Ours");
    bill.expect_nothing_until(|| proxy.ping());
    let recording = capture.stop();
    recording.assert_clean_where(&recording.sent_by_proxy());
    proxy.stop();
}

/// Fields that may occur once, with a second value. Kamailio's parser rejects the first six itself;
/// if the second occurrence comes before From, To, Call-ID and CSeq have all been read, it drops
/// the request before any module sees it.
const TWICE: &[(&str, &str)] = &[
    ("Max-Forwards", "70"),
    ("From", "<sip:eve@example.com>;tag=2"),
    ("To", "<sip:other@example.com>"),
    ("Call-ID", "other"),
    ("CSeq", "2 METHOD"),
    ("Content-Length", "7"),
    ("Content-Type", "text/plain"),
    ("Content-Disposition", "render"),
    ("Conversation-ID", "other"),
    ("Subject", "Other"),
    ("User-Agent", "CPM-client/OMA1.0"),
    ("Session-Expires", "1800"),
];

/// The request with that field a second time, before or after all others.
fn with_twice(from: &Agent, request: &Request, name: &str, value: &str, is_first: bool) -> Vec<u8> {
    let value = value.replace("METHOD", request.method());
    let mut request = request.clone();
    if request.header(name).is_none() {
        request = request.and(name, &value);
    }
    let bytes = request.write("UDP", from.address());
    let text = String::from_utf8(bytes).expect("a request of ours is text");
    let line = format!("\r\n{name}: {value}\r\n");
    let (old, new) = match is_first {
        true => ("\r\n", line),
        false => ("\r\n\r\n", format!("{line}\r\n")),
    };
    text.replacen(old, &new, 1).into_bytes()
}

#[test]
fn a_field_that_occurs_twice_is_refused_with_400() {
    let bench = Bench::new("a_field_that_occurs_twice");
    let config = cpm_proxy(HANDLE).set(
        "cpm",
        "msrp_listen",
        &format!("tcp:127.0.0.1:{}", bench.msrp_port()),
    );
    let proxy = bench.proxy(&config);
    let (anne, bill, sender) = (bench.agent(), bench.agent(), bench.msrp_peer());
    let mut refused = 0;
    for (name, value) in TWICE {
        for is_first in [false, true] {
            let bill = to(&bill.uri("bill"));
            let message = cpm_message("sip:anne@example.com", EXPLODER).recipients([bill.clone()]);
            let large = large_message("sip:anne@example.com", EXPLODER).recipients([bill]);
            let large = large.request(&anne, &sender.session(), 1000);
            for request in [message.request(), large] {
                let request = request.without("Conversation-ID");
                let request = request
                    .and("Conversation-ID", "once")
                    .and("Via", "SIP/2.0/UDP 192.0.2.7");
                let bytes = with_twice(&anne, &request, name, value, is_first);
                anne.send_bytes(&bytes, proxy.udp());
                let answer = anne.expect_response(&request, 400);
                assert_eq!(reason(&answer), format!("Two {name} Header Fields"));
                assert_eq!(answer.headers("Via").len(), 2);
                assert_eq!(answer.headers("Server"), ["CPM-serv/OMA2.2"]);
                assert!(answer.parameter("To", "tag").is_some(), "{answer:?}");
                anne.send_bytes(&bytes, proxy.udp());
                anne.expect_retransmissions(&answer, 1);
                refused += 1;
            }
        }
    }
    assert!(counter(&proxy, "refused") >= refused);
    assert_eq!(counter(&proxy, "refused"), counter(&proxy, "requests"));
    // Over a connection too.
    let message = cpm_message("sip:anne@example.com", EXPLODER).recipients([to(&bill.uri("bill"))]);
    let request = message.request().and("Max-Forwards", "9");
    anne.send(&request, proxy.tcp());
    anne.expect_response(&request, 400);
    bill.expect_nothing_until(|| proxy.ping());
    assert!(proxy.processes_alive());
    proxy.stop();
}

#[test]
fn a_part_whose_fields_sip_does_not_know_is_refused() {
    let bench = Bench::new("a_part_whose_fields");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let anne = bench.agent();
    // Found by fuzzing: the remaining part is to become the body, and with it a field
    // `Content-Typ...}...se`.
    let found = include_bytes!("testdata/found-by-fuzzing.sip");
    let mut bytes = Vec::new();
    for line in found.split_inclusive(|byte| *byte == b'\n') {
        // Other faults of it would be refused first.
        if !line.starts_with(b"Require:") {
            bytes.extend_from_slice(line);
        }
    }
    let request = Request::new("MESSAGE", "sip:alice@cpm.example.com", CONTROLLING)
        .with("Call-ID", "corpus@127.0.0.1")
        .with("CSeq", "1 MESSAGE");
    anne.send_bytes(&bytes, proxy.udp());
    let answer = anne.expect_response(&request, 400);
    assert_eq!(reason(&answer), "Malformed Body Part Header");
    assert!(proxy.processes_alive());
    proxy.stop();
}

/// A generator of our own, so that a failure can be reproduced.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// A few changes of the kinds that break parsers: bytes, pieces, lengths.
fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    const PIECES: &[&[u8]] = &[
        b"\r\n",
        b"\r\n\r\n",
        b"\0",
        b"\"",
        b"<",
        b">",
        b"&#13;",
        b"--",
        b";",
        b",",
        b"%",
        b"\xff\xfe",
        b"4294967296",
        b"-1",
        b"<list>",
        b"]]>",
        b"<!--",
        b"xmlns:a=\"b\"",
        b"sip:",
        b" ",
    ];
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes[at] = random.below(256) as u8,
            1 => bytes.truncate(at.max(1)),
            2 => {
                let end = (at + random.below(40)).min(bytes.len());
                bytes.drain(at..end);
            }
            3 => {
                let piece = PIECES[random.below(PIECES.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
            _ => {
                let end = (at + random.below(200)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, copy);
            }
        }
        if bytes.is_empty() {
            bytes.push(b'x');
        }
    }
    bytes
}

#[test]
fn ten_thousand_mutations_leave_nothing_behind() {
    const MUTATIONS: usize = 10_000;
    const BATCH: usize = 50;
    let bench = Bench::new("ten_thousand_mutations");
    let (anne, mallory, everybody) = (bench.agent(), bench.agent(), bench.agent());
    // Mutated addresses lead to one place, so that no name is looked up; transactions end soon, so
    // that their memory is released within the test.
    let proxy = bench.proxy(
        &cpm_proxy(HANDLE)
            .set("cpm", "outbound_proxy", &everybody.uri("proxy"))
            .set_number("tm", "fr_timer", 1000)
            .set_number("tm", "wt_timer", 500),
    );
    let message = cpm_message("sip:anne@example.com", EXPLODER)
        .recipients([to("sip:bill@example.com"), to("sip:carol@example.com")]);
    let address = format!("127.0.0.1:{}", mallory.port())
        .parse()
        .expect("an address");
    let exchange = || {
        let request = message.request();
        anne.send(&request, proxy.udp());
        anne.expect_response(&request, 202);
    };
    // Every worker has routed once: permanent allocations of a process have been made.
    for _ in 0..20 {
        exchange();
    }
    let settled = settled_memory(&proxy, u64::MAX);

    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..MUTATIONS / BATCH {
        for _ in 0..BATCH {
            let bytes = message.request().write("UDP", address);
            mallory.send_bytes(&mutate(&bytes, &mut random), proxy.udp());
        }
        exchange();
    }
    assert!(proxy.processes_alive());
    let after = settled_memory(&proxy, settled.0 + 64 * 1024);
    // Memory that a process allocates once and keeps (a log buffer, a resolver) is allowed; 10 000
    // leaks are not.
    assert!(
        after.0 <= settled.0 + 64 * 1024,
        "shared memory: {} before, {} after",
        settled.0,
        after.0
    );
    for ((pid, before), (_, after)) in settled.1.iter().zip(&after.1) {
        assert!(
            after <= &(before + 32 * 1024),
            "private memory of {pid}: {before} before, {after} after"
        );
    }
    proxy.stop();
}

/// Shared memory, and each process's private memory, once no transaction is left; or as they are if
/// shared memory does not come down to `enough` within a minute.
fn settled_memory(proxy: &Proxy, enough: u64) -> (u64, Vec<(u32, u64)>) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while proxy.transactions() > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    while proxy.shared_memory_used() > enough && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    (proxy.shared_memory_used(), proxy.private_memory_used())
}
