use fastrand::Rng;

use super::*;
use crate::test_random::mutate;

/// RFC 3428 §10, F1.
const MESSAGE: &str = "MESSAGE sip:user2@domain.com SIP/2.0\r\n\
    Via: SIP/2.0/TCP user1pc.domain.com;branch=z9hG4bK776sgdkse\r\n\
    Max-Forwards: 70\r\n\
    From: sip:user1@domain.com;tag=49583\r\n\
    To: sip:user2@domain.com\r\n\
    Call-ID: asd88asd77a@1.2.3.4\r\n\
    CSeq: 1 MESSAGE\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 18\r\n\
    \r\n\
    Watson, come here.";

fn parse(text: &str) -> Result<Message, MessageError> {
    Message::parse(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn rfc3428_10_request() {
    let message = parse(MESSAGE).unwrap();
    assert_eq!(message.method(), Some("MESSAGE"));
    assert_eq!(message.request_uri(), Some("sip:user2@domain.com"));
    assert_eq!(message.status(), None);
    assert_eq!(message.fields().len(), 8);
    assert_eq!(message.body(), "Watson, come here.");
    let via = message.fields().next().unwrap();
    assert_eq!((via.name(), via.raw_name()), (HeaderName::Via, "Via"));
    assert_eq!(
        message.first(HeaderName::CSeq).unwrap().value(),
        b"1 MESSAGE"
    );
    assert_eq!(
        message.first(HeaderName::CSeq).unwrap().line(),
        b"CSeq: 1 MESSAGE\r\n"
    );
    assert!(message.first(HeaderName::Route).is_none());
}

#[test]
fn body_shares_the_buffer() {
    let buffer = Bytes::copy_from_slice(MESSAGE.as_bytes());
    let message = Message::parse(buffer.clone()).unwrap();
    assert!(buffer.as_ptr_range().contains(&message.body().as_ptr()));
}

#[test]
fn responses() {
    let status = |line: &str| parse(&format!("{line}\r\n\r\n")).map(|message| message.status());
    assert_eq!(
        status("SIP/2.0 202 Accepted"),
        Ok(Some(StatusCode::ACCEPTED))
    );
    assert_eq!(status("sip/2.0 200 "), Ok(Some(StatusCode::OK)));
    assert_eq!(status("SIP/2.0 200"), Ok(Some(StatusCode::OK)));
    for bad in [
        "SIP/2.0 2000 x",
        "SIP/2.0 99 x",
        "SIP/2.0 700 x",
        "SIP/2.0  200 OK",
    ] {
        assert_eq!(status(bad), Err(MessageError::StartLine), "{bad}");
    }
    let response = parse("SIP/2.0 200 OK\r\n\r\n").unwrap();
    assert_eq!((response.method(), response.request_uri()), (None, None));
}

#[test]
fn malformed_start_lines() {
    for bad in [
        "MESSAGE",
        "MESSAGE sip:a@b",
        "MESSAGE sip:a@b SIP/1.0",
        "MESSAGE sip:a@b SIP/2.0 ",
        "MESSAGE  SIP/2.0",
        "MESSAGE sip:a b SIP/2.0",
        "MESSAGE sip:\u{e9}@b SIP/2.0",
        "MESS/AGE sip:a@b SIP/2.0",
        " MESSAGE sip:a@b SIP/2.0",
    ] {
        let verdict = parse(&format!("{bad}\r\n\r\n")).err();
        assert_eq!(verdict, Some(MessageError::StartLine), "{bad}");
    }
}

#[test]
fn rfc3261_7_3_1_folding_and_white_space() {
    let message = parse(
        "OPTIONS sip:a@b SIP/2.0\r\n\
         Subject: I know you're there, \r\n \tpick up the phone\r\n   and talk to me!\r\n\
         sUBJECT   \t:\tlunch  \r\n\
         s:\r\n\
         X-Fold:\r\n a\r\n\
         Route:  \r\n \r\n\
         \r\n",
    )
    .unwrap();
    let values: Vec<_> = message
        .all(HeaderName::Subject)
        .map(|field| field.value())
        .collect();
    assert_eq!(
        values,
        [
            &b"I know you're there, \r\n \tpick up the phone\r\n   and talk to me!"[..],
            b"lunch",
            b""
        ]
    );
    let folded = message.first(HeaderName::Subject).unwrap();
    let unfolded = folded.unfolded_text();
    assert_eq!(
        unfolded,
        "I know you're there, pick up the phone and talk to me!"
    );
    assert!(folded.line().ends_with(b"and talk to me!\r\n"));
    assert_eq!(
        message.first(HeaderName::Other).unwrap().raw_name(),
        "X-Fold"
    );
    assert_eq!(
        message.first(HeaderName::Other).unwrap().unfolded_text(),
        "a"
    );
    assert_eq!(message.first(HeaderName::Route).unwrap().value(), b"");
}

#[test]
fn bare_line_feeds_and_leading_empty_lines_pass() {
    let message = parse("\r\n\nBYE sip:a@b SIP/2.0\nTo: x\n y\nl: 1\n\nabc").unwrap();
    assert_eq!(message.method(), Some("BYE"));
    assert_eq!(
        message.first(HeaderName::To).unwrap().line(),
        b"To: x\n y\n"
    );
    assert_eq!(message.body(), "a");
}

#[test]
fn content_length() {
    let body = |fields: &str| {
        parse(&format!("BYE sip:a@b SIP/2.0\r\n{fields}\r\nabc")).map(|message| message.body())
    };
    assert_eq!(body(""), Ok(Bytes::from("abc")));
    assert_eq!(
        body("Content-Length: 003\r\nl: 3\r\n"),
        Ok(Bytes::from("abc"))
    );
    assert_eq!(body("l: 2\r\nl: 3\r\n"), Ok(Bytes::from("ab")));
    assert_eq!(body("l: 0\r\n"), Ok(Bytes::new()));
    assert_eq!(body("l: 4\r\n"), Err(MessageError::BodyTruncated));
    for bad in ["l:\r\n", "l: -1\r\n", "l: +1\r\n", "l: 1, 1\r\n"] {
        assert_eq!(body(bad), Err(MessageError::ContentLength), "{bad}");
    }
    let huge = format!("l: {}\r\n", "9".repeat(40));
    assert_eq!(body(&huge), Err(MessageError::ContentLength));
}

#[test]
fn malformed_headers() {
    let verdict = |rest: &str| parse(&format!("BYE sip:a@b SIP/2.0\r\n{rest}")).err();
    assert_eq!(verdict(" To: a\r\n\r\n"), Some(MessageError::HeaderField));
    assert_eq!(verdict("To a\r\n\r\n"), Some(MessageError::HeaderField));
    assert_eq!(verdict(": a\r\n\r\n"), Some(MessageError::HeaderField));
    assert_eq!(
        verdict("T\u{f6}: a\r\n\r\n"),
        Some(MessageError::HeaderField)
    );
    assert_eq!(
        verdict("To\r\n : a\r\n\r\n"),
        Some(MessageError::HeaderField)
    );
    assert_eq!(
        verdict("To: a\rb\r\n\r\n"),
        Some(MessageError::ControlCharacter)
    );
    assert_eq!(
        verdict("To: a\0\r\n\r\n"),
        Some(MessageError::ControlCharacter)
    );
    assert_eq!(verdict("To: a\r\n"), Some(MessageError::HeadTruncated));
    assert_eq!(verdict("To: a\r\n\r"), Some(MessageError::HeadTruncated));
    assert_eq!(parse("").err(), Some(MessageError::HeadTruncated));
    assert_eq!(parse("\r\n\r\n").err(), Some(MessageError::StartLine));
}

#[test]
fn limits_hold() {
    let with_fields = |count| format!("BYE sip:a@b SIP/2.0\r\n{}\r\n", "To: a\r\n".repeat(count));
    assert!(parse(&with_fields(MAX_HEADER_FIELDS)).is_ok());
    assert_eq!(
        parse(&with_fields(MAX_HEADER_FIELDS + 1)).err(),
        Some(MessageError::TooManyHeaderFields)
    );

    let frame = "BYE sip:a@b SIP/2.0\r\nTo: \r\n\r\n".len();
    let with_head = |bytes: usize| {
        format!(
            "BYE sip:a@b SIP/2.0\r\nTo: {}\r\n\r\n",
            "a".repeat(bytes - frame)
        )
    };
    let body = "b".repeat(MAX_HEAD_BYTES);
    assert!(parse(&(with_head(MAX_HEAD_BYTES) + &body)).is_ok());
    assert_eq!(
        parse(&(with_head(MAX_HEAD_BYTES + 1) + &body)).err(),
        Some(MessageError::HeadTooLong)
    );
}

#[test]
fn values_that_are_no_text() {
    let message = Message::parse(Bytes::from_static(
        b"BYE sip:a@b SIP/2.0\r\ns: \xff\r\n\r\n",
    ))
    .unwrap();
    let field = message.first(HeaderName::Subject).unwrap();
    assert_eq!(field.value(), b"\xff");
    assert_eq!(field.text(), Err(NotTextError));
    assert_eq!(field.unfolded_text(), "\u{fffd}");
}

#[test]
fn debug_shows_no_subscriber() {
    let message = parse(MESSAGE).unwrap();
    let shown = format!("{message:?} {:?}", message.fields().collect::<Vec<_>>());
    assert!(
        !shown.contains("user1") && !shown.contains("Watson"),
        "{shown}"
    );
}

#[test]
fn mutated_messages_never_panic_and_lines_rebuild_the_head() {
    let mut random = Rng::with_seed(0x1234_5678);
    let mut accepted = 0;
    for _ in 0..10_000 {
        let bytes = Bytes::from(mutate(&mut random, MESSAGE.as_bytes(), b"\r\n\n :\0\tlv09"));
        let Ok(message) = Message::parse(bytes.clone()) else {
            continue;
        };
        accepted += 1;
        let lines: Vec<u8> = message
            .fields()
            .flat_map(|field| field.line().to_vec())
            .collect();
        assert!(bytes.windows(lines.len().max(1)).any(|part| part == lines) || lines.is_empty());
        for field in message.fields() {
            assert!(field.line().ends_with(b"\n"));
            assert!(!field.raw_name().is_empty());
            let value = field.value();
            assert!(!value.first().is_some_and(|&byte| is_lws_byte(byte)));
            assert!(!value.last().is_some_and(|&byte| is_lws_byte(byte)));
            assert!(!field.unfolded_text().contains(['\r', '\n', '\0']));
        }
        assert!(message.body().len() <= bytes.len());
    }
    assert!(accepted > 1_000, "only {accepted} mutants parsed");
}
