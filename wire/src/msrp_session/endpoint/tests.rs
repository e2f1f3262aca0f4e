use super::*;
use crate::msrp::Parser;
use crate::test_random::fill;

fn config(accepts: Option<Accepts>) -> EndpointConfig {
    EndpointConfig {
        own: MsrpUri::new(false, "own", 1, "s").unwrap(),
        peer: Path::from(MsrpUri::new(false, "peer", 2, "r").unwrap()),
        accepts,
        response_timeout: RESPONSE_TIMEOUT,
    }
}

fn receiver(max_size: Option<u64>) -> Endpoint {
    let accepts = Accepts {
        types: "message/cpim text/*".into(),
        max_size,
    };
    Endpoint::new(config(Some(accepts)), fill)
}

fn feed(endpoint: &mut Endpoint, stream: &str) {
    let mut input = BytesMut::from(stream.as_bytes());
    let mut parser = Parser::new();
    while let Some(event) = parser.poll_event(&mut input).unwrap() {
        endpoint.handle_event(event);
    }
}

/// A SEND of message `id`; `extra` are header fields with their CRLF.
fn send(id: &str, range: &str, extra: &str, content: &str, flag: char) -> String {
    format!(
        "MSRP t{id}xx SEND\r\nTo-Path: msrp://own:1/s;tcp\r\n\
         From-Path: msrp://relay:3/x;tcp msrp://peer:2/r;tcp\r\n\
         Message-ID: {id}\r\nByte-Range: {range}\r\n{extra}Content-Type: text/plain\r\n\r\n\
         {content}\r\n-------t{id}xx{flag}\r\n"
    )
}

/// Status or method of each waiting frame.
fn frames(endpoint: &mut Endpoint) -> Vec<String> {
    let start = |frame: Bytes| {
        let text = String::from_utf8(frame.to_vec()).unwrap();
        text.split(' ')
            .nth(2)
            .unwrap()
            .split("\r\n")
            .next()
            .unwrap()
            .to_owned()
    };
    std::iter::from_fn(|| endpoint.poll_frame())
        .map(start)
        .collect()
}

/// Content joined, then how the message ended.
fn received(endpoint: &mut Endpoint) -> (String, Vec<EndpointEvent>) {
    let (mut content, mut rest) = (String::new(), Vec::new());
    while let Some(event) = endpoint.poll_event() {
        match event {
            EndpointEvent::Content(_, bytes) => content += std::str::from_utf8(&bytes).unwrap(),
            EndpointEvent::Started(_) => {}
            other => rest.push(other),
        }
    }
    (content, rest)
}

#[test]
fn chunks_in_and_out_of_order() {
    let mut endpoint = receiver(None);
    feed(
        &mut endpoint,
        &send("m1", "1-*/10", "Content-ID: <a>\r\nX: y\r\n", "abc", '+'),
    );
    let Some(EndpointEvent::Started(started)) = endpoint.poll_event() else {
        panic!()
    };
    assert_eq!(
        (started.total, &started.content_type[..]),
        (Some(10), &b"text/plain"[..])
    );
    assert_eq!(started.content_fields.len(), 1);
    feed(&mut endpoint, &send("m1", "7-10/10", "", "ghij", '$'));
    assert_eq!(received(&mut endpoint), ("abc".into(), vec![]));
    feed(
        &mut endpoint,
        &send("m1", "3-6/10", "Success-Report: yes\r\n", "Cdef", '+'),
    );
    assert_eq!(
        received(&mut endpoint),
        (
            "defghij".into(),
            vec![EndpointEvent::Complete(started.key, 10)]
        )
    );
    assert_eq!(frames(&mut endpoint), ["200", "200", "200", "REPORT"]);
    // A chunk sent again after the end is answered and dropped.
    feed(&mut endpoint, &send("m1", "7-10/10", "", "ghij", '$'));
    assert_eq!(received(&mut endpoint), (String::new(), vec![]));
    assert_eq!(frames(&mut endpoint), ["200"]);
}

#[test]
fn failure_report_decides_on_responses() {
    for (field, good, bad) in [
        ("", &["200"][..], &["415"][..]),
        ("Failure-Report: yes\r\n", &["200"], &["415"]),
        ("Failure-Report: partial\r\n", &[], &["415"]),
        ("Failure-Report: no\r\n", &[], &[]),
    ] {
        let mut endpoint = receiver(None);
        let request = send("m1", "1-3/3", field, "abc", '$');
        feed(&mut endpoint, &request);
        assert_eq!(frames(&mut endpoint), good, "{field}");
        feed(
            &mut endpoint,
            &request
                .replace("text/plain", "image/png")
                .replace("m1", "m2"),
        );
        assert_eq!(frames(&mut endpoint), bad, "{field}");
    }
}

#[test]
fn refusals() {
    let good = send("m1", "1-3/3", "", "abc", '$');
    for (request, status) in [
        (good.replace("text/plain", "TEXT/html;x=y"), "200"),
        (good.replace("text/plain", "image/png"), "415"),
        (good.replace("1-3/3", "1-3/99"), "413"),
        (
            good.replace("1-3/3", "1-*/*")
                .replace("abc", "abcdefghijklm"),
            "413",
        ),
        (good.replace("1-3/3", "1-*/2"), "400"),
        (good.replace("1-3/3", "1-x"), "400"),
        (
            good.replace("msrp://own:1/s;tcp", "msrp://own:1/t;tcp"),
            "481",
        ),
        (
            good.replace(
                "msrp://own:1/s;tcp",
                "msrp://own:1/s;tcp msrp://far:1/s;tcp",
            ),
            "481",
        ),
        (good.replace(" SEND", " NICKNAME"), "501"),
        (good.replace(" SEND", " AUTH"), "501"),
    ] {
        let mut endpoint = receiver(Some(12));
        feed(&mut endpoint, &request);
        assert_eq!(frames(&mut endpoint), [status], "{request}");
        // The session continues.
        feed(&mut endpoint, &send("m9", "1-2/2", "", "ok", '$'));
        assert_eq!(frames(&mut endpoint), ["200"]);
    }
    let mut silent = Endpoint::new(config(None), fill);
    feed(&mut silent, &good);
    assert_eq!(frames(&mut silent), ["403"]);
}

#[test]
fn an_error_is_answered_before_the_request_ends() {
    let mut endpoint = receiver(Some(5));
    let request = send("m1", "1-*/*", "", "abcdefghijklm", '$');
    let cut = request.find("klm").unwrap();
    feed(&mut endpoint, &request[..cut]);
    assert_eq!(frames(&mut endpoint), ["413"]);
    assert!(matches!(
        received(&mut endpoint).1[..],
        [EndpointEvent::Aborted(_)]
    ));
    assert!(matches!(endpoint.request, Request::Discarding));
}

#[test]
fn a_message_can_be_refused_and_given_up() {
    let mut endpoint = receiver(None);
    feed(&mut endpoint, &send("m1", "1-*/9", "", "abc", '+'));
    let Some(EndpointEvent::Started(started)) = endpoint.poll_event() else {
        panic!()
    };
    endpoint.refuse(started.key, Status::STOP_SENDING);
    feed(&mut endpoint, &send("m1", "4-*/9", "", "def", '+'));
    assert_eq!(frames(&mut endpoint), ["200", "413"]);
    received(&mut endpoint);

    feed(&mut endpoint, &send("m2", "1-*/9", "", "abc", '+'));
    let content_type = "Content-Type: text/plain\r\n\r\n\r\n";
    let empty = send("m2", "4-*/9", "", "", '#').replace(content_type, "");
    feed(&mut endpoint, &empty);
    let (content, rest) = received(&mut endpoint);
    assert_eq!(content, "abc");
    assert!(matches!(rest[..], [EndpointEvent::Aborted(_)]));
    assert_eq!(frames(&mut endpoint), ["200", "200"]);
}

#[test]
fn open_messages_are_bounded() {
    let mut endpoint = receiver(None);
    for i in 0..=MAX_OPEN_MESSAGES {
        feed(
            &mut endpoint,
            &send(&format!("m{i}"), "1-*/*", "", "x", '+'),
        );
    }
    assert_eq!(frames(&mut endpoint).last().unwrap(), "413");
    feed(&mut endpoint, &send("m0", "2-2/*", "", "y", '$'));
    feed(&mut endpoint, &send("new", "1-*/*", "", "x", '+'));
    assert_eq!(frames(&mut endpoint), ["200", "200"]);
}

#[test]
fn an_empty_send_binds_one_connection() {
    let mut sender = Endpoint::new(config(None), fill);
    let now = Instant::now();
    sender.send_empty(now);
    let frame = String::from_utf8(sender.poll_frame().unwrap().to_vec()).unwrap();
    assert!(frame.contains(" SEND\r\n") && !frame.contains("Content-Type"));
    let mut peer = receiver(None);
    assert_eq!(peer.bind(ConnectionId(1)), Ok(()));
    assert_eq!(peer.bind(ConnectionId(1)), Ok(()));
    assert_eq!(peer.bind(ConnectionId(2)), Err(Status::BOUND_ELSEWHERE));
    feed(&mut peer, &frame.replace("peer:2/r", "own:1/s"));
    assert_eq!(received(&mut peer), (String::new(), vec![]));
    let response = String::from_utf8(peer.poll_frame().unwrap().to_vec()).unwrap();
    feed(&mut sender, &response);
    assert_eq!(sender.poll_event(), Some(EndpointEvent::Answered(0)));
    assert_eq!((sender.unanswered(), sender.poll_timeout()), (0, None));
    peer.handle_disconnected();
    assert_eq!(peer.bind(ConnectionId(2)), Ok(()));
}

#[test]
fn responses_and_timeouts() {
    let mut endpoint = Endpoint::new(config(None), fill);
    let now = Instant::now();
    let fields = ContentFields {
        content_type: b"text/plain",
        others: &[],
    };
    let chunk = |endpoint: &mut Endpoint, at: Instant| {
        let (id, _) = endpoint.start_chunk(b"8822", fields, 0, None);
        endpoint.end_chunk(&id, ContinuationFlag::More, 5);
        endpoint.chunk_written(at, &id);
        id
    };
    let response = |id: &TransactionId, code: &str| {
        let id = std::str::from_utf8(id.as_bytes()).unwrap();
        format!(
            "MSRP {id} {code}\r\nTo-Path: msrp://own:1/s;tcp\r\nFrom-Path: msrp://peer:2/r;tcp\r\n-------{id}$\r\n"
        )
    };
    let second = Duration::from_secs(1);
    let (a, b, c) = (
        chunk(&mut endpoint, now),
        chunk(&mut endpoint, now + second),
        chunk(&mut endpoint, now + 2 * second),
    );
    feed(&mut endpoint, &response(&a, "200 OK"));
    feed(&mut endpoint, &response(&a, "200 OK"));
    feed(&mut endpoint, &response(&c, "413"));
    assert_eq!(endpoint.poll_event(), Some(EndpointEvent::Answered(5)));
    assert_eq!(
        endpoint.poll_event(),
        Some(EndpointEvent::Refused(Status::STOP_SENDING))
    );
    assert_eq!(
        endpoint.poll_timeout(),
        Some(now + second + RESPONSE_TIMEOUT)
    );
    endpoint.handle_timeout(now + RESPONSE_TIMEOUT);
    assert_eq!(endpoint.poll_event(), None);
    endpoint.handle_timeout(now + second + RESPONSE_TIMEOUT);
    assert_eq!(endpoint.poll_event(), Some(EndpointEvent::NoResponse));
    feed(&mut endpoint, &response(&b, "200 OK"));
    assert_eq!(
        (endpoint.poll_event(), endpoint.poll_timeout()),
        (None, None)
    );
}

#[test]
fn the_last_chunk_is_answered_when_the_message_is_accepted() {
    let report = "Success-Report: yes\r\n";
    let begun = |receiver: &mut Endpoint| {
        receiver.hold_last_answer();
        feed(receiver, &send("1", "1-5/10", report, "Hello", '+'));
        assert_eq!(frames(receiver), ["200"]);
        feed(receiver, &send("1", "6-10/10", report, "world", '$'));
        assert_eq!(frames(receiver), [""; 0]);
        let (_, rest) = received(receiver);
        match rest[..] {
            [EndpointEvent::Complete(key, 10)] => key,
            _ => panic!("{rest:?}"),
        }
    };
    let mut accepting = receiver(None);
    let key = begun(&mut accepting);
    accepting.accept(key);
    assert_eq!(frames(&mut accepting), ["200", "REPORT"]);
    accepting.accept(key);
    accepting.refuse(key, Status::STOP_SENDING);
    assert_eq!(frames(&mut accepting), [""; 0], "once");
    let mut refusing = receiver(None);
    let key = begun(&mut refusing);
    refusing.refuse(key, Status::STOP_SENDING);
    assert_eq!(frames(&mut refusing), ["413"]);
    refusing.accept(key);
    assert_eq!(frames(&mut refusing), [""; 0]);
}
