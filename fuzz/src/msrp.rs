//! MSRP streams.

use bytes::BytesMut;
use cpm_wire::msrp::{
    Event, Head, MAX_HEAD_BYTES, ParseError, Parser, Status, write_bad_request, write_response,
};

fn msrp_events(data: &[u8], mut cut: impl FnMut() -> usize) -> (Vec<Event>, Option<ParseError>) {
    let (mut parser, mut input, mut events) = (Parser::new(), BytesMut::new(), Vec::<Event>::new());
    let mut rest = data;
    loop {
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
                Err(error) => return (events, Some(error)),
            }
        }
        assert!(input.len() <= MAX_HEAD_BYTES + data.len());
        if rest.is_empty() {
            return (events, None);
        }
        let (some, more) = rest.split_at(cut().clamp(1, rest.len()));
        input.extend_from_slice(some);
        rest = more;
    }
}

fn reparse(head: &Head, bytes: &BytesMut) {
    if bytes.is_empty() {
        return;
    }
    let (events, error) = msrp_events(bytes, || usize::MAX);
    assert_eq!(error, None, "{:?}", bytes);
    assert_eq!(events.len(), 2, "{:?} for {head:?}", bytes);
    assert!(matches!(events[0], Event::Head(_)), "{:?}", bytes);
}

/// Events do not depend on where the stream is cut. Our response is one whole frame that parses.
/// The first two bytes are the seed.
pub fn msrp(data: &[u8]) {
    let Some((seed, data)) = data.split_at_checked(2) else {
        return;
    };
    let whole = msrp_events(data, || usize::MAX);
    let single = msrp_events(data, || 1);
    assert_eq!(single, whole);
    let mut state = u64::from(u16::from_le_bytes([seed[0], seed[1]])) * 2 + 1;
    let random = msrp_events(data, || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % 40
    });
    assert_eq!(random, whole);
    for event in &whole.0 {
        let mut out = BytesMut::new();
        match event {
            Event::Head(head) => {
                write_response(&mut out, head, Status::OK);
                reparse(head, &out);
            }
            Event::Malformed(malformed) => {
                write_bad_request(&mut out, malformed);
                if !out.is_empty() {
                    let (events, error) = msrp_events(&out, || usize::MAX);
                    assert_eq!((events.len(), error), (2, None), "{out:?}");
                }
            }
            _ => {}
        }
    }
}
