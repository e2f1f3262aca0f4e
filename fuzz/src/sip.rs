//! SIP: messages, URIs, header field values.

use bytes::Bytes;
use cpm_wire::sip::{
    HeaderBlock, HeaderName, Message, NameAddr, Parameters, Uri, carries_icsi, products,
    requests_anonymity, split_list, warning_value,
};

use crate::text;

/// A message that parses: all parts are accessible, every field lies in the buffer, and what
/// HeaderBlock writes parses to the same fields.
pub fn message(data: &[u8]) {
    let Ok(message) = Message::parse(Bytes::copy_from_slice(data)) else {
        return;
    };
    assert!(message.method().is_some() != message.status().is_some());
    let _ = (message.request_uri(), message.reason());
    let mut block = HeaderBlock::new();
    let mut kept = Vec::new();
    for field in message.fields() {
        let _ = (field.name(), field.raw_name());
        let value = field.value();
        let base = message.buffer().as_ptr() as usize;
        let at = value.as_ptr() as usize;
        assert!(
            value.is_empty() || (at >= base && at + value.len() <= base + message.buffer().len())
        );
        let unfolded = field.unfolded_text();
        assert!(
            !unfolded.contains(['\r', '\n']),
            "line break left: {unfolded:?}"
        );
        if block.push(field.raw_name(), unfolded.as_bytes()).is_ok() {
            kept.push((field.raw_name().to_owned(), unfolded.into_owned()));
        }
        let mut lines = HeaderBlock::new();
        lines.push_line(&field);
        let whole = [b"OPTIONS sip:a SIP/2.0\r\n", lines.as_bytes(), b"\r\n"].concat();
        let again = Message::parse(Bytes::from(whole));
        if field.name() != HeaderName::ContentLength {
            let again =
                again.unwrap_or_else(|e| panic!("push_line: {e} in {:?}", lines.as_bytes()));
            assert_eq!(again.fields().len(), 1, "{:?}", lines.as_bytes());
            assert_eq!(again.fields().next().unwrap().raw_name(), field.raw_name());
        }
    }
    let written = [b"OPTIONS sip:a SIP/2.0\r\n", block.as_bytes(), b"\r\n"].concat();
    if kept
        .iter()
        .all(|(name, _)| HeaderName::parse(name.as_bytes()) != HeaderName::ContentLength)
    {
        let again = Message::parse(Bytes::from(written.clone()))
            .unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(&written)));
        let fields: Vec<_> = again
            .fields()
            .map(|f| (f.raw_name().to_owned(), f.unfolded_text().into_owned()))
            .collect();
        assert_eq!(fields, kept);
    }
    let _ = message.body();
}

/// Parsing never fails to return; equality is reflexive and symmetric, and equal URIs have equal
/// keys.
pub fn uri(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let (a, b) = text.split_once('\n').unwrap_or((text, text));
    let Ok(a) = Uri::parse(a) else { return };
    let _ = (
        a.user(),
        a.host(),
        a.port(),
        a.param("transport"),
        a.scheme(),
    );
    assert!(
        !a.as_str().contains(['\r', '\n', ' ', '\0']),
        "{:?}",
        a.as_str()
    );
    assert!(a.equivalent(&a), "not itself: {:?}", a.as_str());
    let request_uri = a.as_request_uri();
    let bare = Uri::parse(&request_uri).expect("a Request-URI of ours is a URI");
    assert_eq!(bare.as_request_uri(), request_uri);
    let Ok(b) = Uri::parse(b) else { return };
    let _ = (b.user(), b.host(), b.port());
    assert_eq!(
        a.equivalent(&b),
        b.equivalent(&a),
        "{:?} {:?}",
        a.as_str(),
        b.as_str()
    );
    if a.equivalent(&b) {
        let keys = [&a, &b].map(|uri| uri.comparison_key(7));
        assert_eq!(keys[0], keys[1], "{:?} {:?}", a.as_str(), b.as_str());
    }
}

/// Header field values.
pub fn header(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else {
        return;
    };
    let Some(text) = text(rest) else { return };
    match kind % 6 {
        0 => {
            for item in split_list(text).take(100_000) {
                if let Ok(addr) = NameAddr::parse(item) {
                    let _ = (addr.display_name(), addr.uri(), addr.parameter("tag"));
                    let _ = addr.parameters().count();
                }
            }
        }
        1 => {
            for parameter in Parameters::new(text).take(100_000).flatten() {
                let _ = parameter.value();
            }
        }
        2 => {
            let _ = carries_icsi([text], "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg");
        }
        3 => {
            let request = format!("OPTIONS sip:a SIP/2.0\r\nPrivacy: {text}\r\n\r\n");
            if let Ok(request) = Message::parse(Bytes::from(request)) {
                let _ = requests_anonymity(&request);
            }
        }
        4 => {
            let _ = products(text).take(100_000).count();
        }
        _ => {
            let (agent, text) = text.split_once('\n').unwrap_or(("a", text));
            if let Ok(value) = warning_value(agent, text) {
                assert!(!value.contains(['\r', '\n']));
            }
        }
    }
}
