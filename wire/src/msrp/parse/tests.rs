use super::*;
use crate::msrp::FailureReport;
use fastrand::Rng;

use crate::test_random::random_bytes;

/// Parses a stream that arrives in the given pieces; adjacent content is joined.
fn parse_pieces<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Event>, Result<(), ParseError>) {
    let (mut parser, mut input, mut events) = (Parser::new(), BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match parser.poll_event(&mut input) {
                Ok(Some(Event::Content(content))) => {
                    assert!(!content.is_empty());
                    if let Some(Event::Content(before)) = events.last_mut() {
                        *before = [&before[..], &content].concat().into();
                    } else {
                        events.push(Event::Content(content));
                    }
                }
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(parser.poll_event(&mut input), Err(error));
                    return (events, Err(error));
                }
            }
        }
    }
    (events, Ok(()))
}

fn parse(stream: &[u8]) -> Vec<Event> {
    let (events, result) = parse_pieces([stream]);
    assert_eq!(result, Ok(()));
    events
}

fn error(stream: &str) -> ParseError {
    parse_pieces([stream.as_bytes()]).1.expect_err(stream)
}

fn head(event: &Event) -> &Head {
    match event {
        Event::Head(head) => head,
        other => panic!("{other:?}"),
    }
}

/// RFC 4975 §4, first example, with the paths in full.
const SEND: &[u8] = b"MSRP a786hjs2 SEND\r\n\
    To-Path: msrp://biloxi.example.com:12763/kjhd37s2s20w2a;tcp\r\n\
    From-Path: msrp://atlanta.example.com:7654/jshA7weztas;tcp\r\n\
    Message-ID: 87652491\r\n\
    Byte-Range: 1-25/25\r\n\
    Content-Type: text/plain\r\n\
    \r\n\
    Hey Bob, are you there?\r\n\
    -------a786hjs2$\r\n";
const RESPONSE: &[u8] = b"MSRP a786hjs2 200 OK\r\n\
    To-Path: msrp://atlanta.example.com:7654/jshA7weztas;tcp\r\n\
    From-Path: msrp://biloxi.example.com:12763/kjhd37s2s20w2a;tcp\r\n\
    -------a786hjs2$\r\n";
/// RFC 4975 §7.1.2.
const REPORT: &[u8] = b"MSRP dkei38sd REPORT\r\n\
    To-Path: msrp://alicepc.example.com:7777/iau39soe2843z;tcp\r\n\
    From-Path: msrp://bob.example.org:8888/9di4eae923wzd;tcp\r\n\
    Message-ID: 12339sdqwer\r\n\
    Byte-Range: 1-106/106\r\n\
    Status: 000 200 OK\r\n\
    -------dkei38sd$\r\n";
const EMPTY_SEND: &[u8] = b"MSRP d93kswow SEND\r\n\
    To-Path: msrp://b.example.org:9/s;tcp\r\n\
    From-Path: msrp://a.example.org:9/r;tcp\r\n\
    Message-ID: 8822\r\nFailure-Report: no\r\n-------d93kswow$\r\n";

fn paths() -> &'static str {
    "To-Path: msrp://b.example.org:9/s;tcp\r\nFrom-Path: msrp://a.example.org:9/r;tcp\r\n"
}

fn send_with(content: &[u8], flag: char) -> Vec<u8> {
    let head = format!(
        "MSRP d93kswow SEND\r\n{}Message-ID: 8822\r\nContent-Type: text/plain\r\n\r\n",
        paths()
    );
    [
        head.as_bytes(),
        content,
        format!("\r\n-------d93kswow{flag}\r\n").as_bytes(),
    ]
    .concat()
}

#[test]
fn examples_of_rfc_4975() {
    let stream = [SEND, RESPONSE, REPORT, EMPTY_SEND].concat();
    let events = parse(&stream);
    assert_eq!(events.len(), 3 + 2 + 2 + 2);

    let send = head(&events[0]);
    assert_eq!(send.kind, Kind::Request(Method::Send));
    assert_eq!(send.transaction_id.as_bytes(), b"a786hjs2");
    assert_eq!(send.to_path.first().session_id(), "kjhd37s2s20w2a");
    assert_eq!(send.from_path.first().authority().port, Some(7654));
    assert_eq!(send.message_id.as_deref(), Some(&b"87652491"[..]));
    assert_eq!(send.byte_range.unwrap().total(), Some(25));
    assert_eq!(send.content_type.as_deref(), Some(&b"text/plain"[..]));
    assert!(send.has_content() && !send.success_report);
    assert_eq!(
        events[1],
        Event::Content(Bytes::from("Hey Bob, are you there?"))
    );
    assert_eq!(events[2], Event::End(ContinuationFlag::Complete));

    assert_eq!(head(&events[3]).kind, Kind::Response(Status::OK));
    let report = head(&events[5]);
    assert_eq!(report.kind, Kind::Request(Method::Report));
    assert_eq!(report.status.unwrap().status, Status::OK);
    let empty = head(&events[7]);
    assert!(!empty.has_content());
    assert_eq!(empty.failure_report, FailureReport::No);
}

#[test]
fn any_split_gives_the_same_events() {
    let look_alike = send_with(
        b"\r\n-------d93kswow$x\r\n-------d93kswo\r\r\n\r\n-------",
        '+',
    );
    let stream = [SEND, RESPONSE, &look_alike, REPORT, b"\r\n", EMPTY_SEND].concat();
    let whole = parse(&stream);
    for at in 0..stream.len() {
        let (events, result) = parse_pieces([&stream[..at], &stream[at..]]);
        assert_eq!((events, result), (whole.clone(), Ok(())), "split at {at}");
    }
    assert_eq!(parse_pieces(stream.chunks(1)).0, whole);
    let mut random = Rng::with_seed(1);
    for _ in 0..300 {
        let (mut rest, mut pieces) = (&stream[..], Vec::new());
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(random.usize(..rest.len().min(60)) + 1);
            pieces.push(piece);
            rest = left;
        }
        assert_eq!(parse_pieces(pieces).0, whole);
    }
}

#[test]
fn content_is_handed_on_before_its_end_line_and_shares_the_buffer() {
    let stream = send_with(&[b'x'; 1000], '$');
    let start = stream.len() - 1000 - 20;
    let mut input = BytesMut::from(&stream[..start + 500]);
    let buffer = input.as_ptr() as usize..input.as_ptr() as usize + input.len();
    let mut parser = Parser::new();
    assert!(matches!(
        parser.poll_event(&mut input),
        Ok(Some(Event::Head(_)))
    ));
    let Ok(Some(Event::Content(content))) = parser.poll_event(&mut input) else {
        panic!("no content");
    };
    assert_eq!(content.len(), 500);
    assert!(buffer.contains(&(content.as_ptr() as usize)));
    assert_eq!(parser.poll_event(&mut input), Ok(None));
    assert!(!parser.is_between_messages(&input));
}

#[test]
fn look_alikes_are_content() {
    for content in [
        &b"x-------d93kswow$"[..],
        b"\r\n-------d93kswow?\r\n",
        b"\r\n-------d93kswow$ \r\n",
        b"\r\n-------d93kswow$\r\r\n",
        b"\r\n--------d93kswow$\r\n",
        b"\n-------d93kswow$\r\n",
        b"\r\n-------d93kswow\r\n-------d93kswow",
        b"\r\r\n\r\n-------d93ksw",
        b"\r\n-------d93kswow\r\n",
        b"\r\n",
    ] {
        let stream = send_with(content, '#');
        for size in [1, 2, 7, stream.len()] {
            let (events, _) = parse_pieces(stream.chunks(size));
            assert_eq!(events[1], Event::Content(Bytes::copy_from_slice(content)));
            assert_eq!(events[2..], [Event::End(ContinuationFlag::Aborted)]);
        }
    }
}

#[test]
fn content_of_no_bytes() {
    let events = parse(&send_with(b"", '$'));
    assert!(head(&events[0]).has_content());
    assert_eq!(events[1..], [Event::End(ContinuationFlag::Complete)]);

    let mut bare = send_with(b"", '$');
    let crlf = bare.len() - "\r\n-------d93kswow$\r\n".len();
    bare.drain(crlf..crlf + 2);
    for size in [1, 3, bare.len()] {
        assert_eq!(parse_pieces(bare.chunks(size)).0, events);
    }
}

#[test]
fn what_concerns_one_message_leaves_the_connection_usable() {
    let send = |fields: &str| {
        let text = format!("MSRP d93kswow SEND\r\n{fields}\r\ncontent\r\n-------d93kswow$\r\n");
        [text.as_bytes(), RESPONSE].concat()
    };
    for (fields, error) in [
        (
            format!("{}Message-ID: 1\r\n", paths()),
            HeadError::ContentType,
        ),
        (
            format!("{}Content-Type: a/b\r\n", paths()),
            HeadError::MessageId,
        ),
        (format!("{}bad\r\n", paths()), HeadError::MalformedField),
        (format!("{0}{0}", paths()), HeadError::RepeatedField),
        (
            "Message-ID: 1\r\nContent-Type: a/b\r\n".into(),
            HeadError::ToPath,
        ),
    ] {
        let events = parse(&send(&fields));
        let Event::Malformed(malformed) = &events[0] else {
            panic!("{fields}");
        };
        assert_eq!(malformed.error, error, "{fields}");
        assert_eq!(malformed.from_path.is_some(), error != HeadError::ToPath);
        assert_eq!(events[1], Event::Content(Bytes::from("content")));
        assert!(matches!(events[3], Event::Head(_)));
    }
}

#[test]
fn methods() {
    for (method, kind) in [("AUTH", Method::Auth), ("NICKNAME", Method::Unknown)] {
        let events = parse(format!("MSRP 1234 {method}\r\n{}-------1234$\r\n", paths()).as_bytes());
        assert_eq!(head(&events[0]).kind, Kind::Request(kind));
    }
}

#[test]
fn what_concerns_the_connection() {
    use ParseError::*;
    for (stream, expected) in [
        ("GET / HTTP/1.1\r\n", NotMsrp),
        ("MSRQ", NotMsrp),
        ("\rx", NotMsrp),
        ("MSRP abcd\r\n", MalformedStartLine),
        ("MSRP abcd \r\n", MalformedStartLine),
        ("MSRP abcd send\r\n", MalformedStartLine),
        ("MSRP abcd 20\r\n", MalformedStartLine),
        ("MSRP abcd 200OK\r\n", MalformedStartLine),
        ("MSRP abc SEND\r\n", MalformedTransactionId),
        ("MSRP  SEND x\r\n", MalformedTransactionId),
        ("MSRP abcd SEND\n", BareLineFeed),
        ("MSRP abcd SEND\r\n-------abce$\r\n", MismatchedEndLine),
        ("MSRP abcd SEND\r\n-------abcd!\r\n", MismatchedEndLine),
        ("MSRP abcd SEND\r\n-------abcd$$\r\n", MismatchedEndLine),
    ] {
        assert_eq!(error(stream), expected, "{stream:?}");
    }
}

#[test]
fn limits() {
    let start = format!("MSRP 1234 SEND\r\n{}Message-ID: 1\r\n", paths());
    let fields = |count| format!("{start}{}-------1234$\r\n", "A: b\r\n".repeat(count - 3));
    assert_eq!(
        head(&parse(fields(MAX_FIELDS).as_bytes())[0]).others.len(),
        MAX_FIELDS - 3
    );
    assert_eq!(error(&fields(MAX_FIELDS + 1)), ParseError::TooManyFields);

    let sized = |n: usize| {
        let rest = n - start.len() - "A: \r\n\r\n".len();
        format!("{start}A: {}\r\n\r\n\r\n-------1234$\r\n", "x".repeat(rest))
    };
    assert!(parse_pieces([sized(MAX_HEAD_BYTES).as_bytes()]).1.is_ok());
    assert_eq!(error(&sized(MAX_HEAD_BYTES + 1)), ParseError::HeadTooLarge);
    assert_eq!(
        error(&format!("MSRP {}", "x".repeat(MAX_HEAD_BYTES))),
        ParseError::HeadTooLarge
    );
}

#[test]
fn random_content_with_fragments_of_the_end_line() {
    let mut random = Rng::with_seed(5);
    let fragments: [&[u8]; 7] = [
        b"\r\n",
        b"\r",
        b"-------",
        b"d93kswow",
        b"$\r\n",
        b"d93k",
        b"\r\n-------d93kswow",
    ];
    for round in 0..2000 {
        let mut content = Vec::new();
        for _ in 0..random.usize(..12) {
            match random.usize(..8) {
                7 => content.extend(random_bytes(&mut random, 3)),
                known => content.extend_from_slice(fragments[known]),
            }
        }
        // The sender's duty (RFC 4975 §7.1).
        if content
            .windows(17)
            .any(|w| w[..15] == b"-------d93kswow"[..])
        {
            continue;
        }
        let stream = send_with(&content, '$');
        let (events, _) = parse_pieces(stream.chunks(1 + round % 9));
        let got: Vec<u8> = events
            .iter()
            .filter_map(|event| match event {
                Event::Content(content) => Some(content.to_vec()),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(got, content);
        assert_eq!(events.last(), Some(&Event::End(ContinuationFlag::Complete)));
    }
}

#[test]
fn mutated_streams_never_panic_and_splits_do_not_matter() {
    let stream = [
        SEND,
        RESPONSE,
        REPORT,
        EMPTY_SEND,
        &send_with(b"a\r\n-------b", '+'),
    ]
    .concat();
    let mut random = Rng::with_seed(3);
    for _ in 0..10_000 {
        let mut mutated = stream.clone();
        for _ in 0..1 + random.usize(..4) {
            let at = random.usize(..mutated.len());
            match random.usize(..4) {
                0 => mutated[at] = random.u8(..),
                1 => drop(mutated.remove(at)),
                2 => mutated.insert(at, b"\r\n-: $+#MSRP"[random.usize(..12)]),
                _ => {
                    let from = random.usize(..mutated.len());
                    let copied = mutated[from..(from + 30).min(mutated.len())].to_vec();
                    mutated.splice(at..at, copied);
                }
            }
        }
        let whole = parse_pieces([&mutated[..]]);
        assert_eq!(parse_pieces(mutated.chunks(1 + random.usize(..40))), whole);
    }
}
