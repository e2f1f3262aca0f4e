//! Repeats a request that was sent, for the next address of its name (RFC 3263 §4.3).

use bytes::Bytes;

use super::host::OutgoingRequest;
use crate::sip::{HeaderBlock, HeaderName, Message};

/// Header fields that the host writes itself.
const NOT_COPIED: &[HeaderName] = &[
    HeaderName::Via,
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::ContentLength,
];

/// The same request: same dialog identifiers, CSeq and content. Only its transaction is a new one.
#[derive(Debug)]
pub struct Again {
    method: String,
    request_uri: String,
    from: String,
    from_tag: String,
    to: String,
    call_id: String,
    cseq: u32,
    headers: Vec<u8>,
    body: Bytes,
}

impl Again {
    /// From a request outside a dialog as it was sent. `None`: it cannot be parsed.
    pub fn of(request: &[u8]) -> Option<Self> {
        let request = Message::parse(Bytes::copy_from_slice(request)).ok()?;
        let text = |name| Some(request.first(name)?.unfolded_text());
        let cseq = text(HeaderName::CSeq)?;
        let mut headers = HeaderBlock::new();
        let fields = request.fields();
        for field in fields.filter(|field| !NOT_COPIED.contains(&field.name())) {
            headers.push_line(&field);
        }
        Some(Again {
            method: request.method()?.to_owned(),
            request_uri: request.request_uri()?.to_owned(),
            from: request.address_without_tag(HeaderName::From)?,
            from_tag: request.tag_in(HeaderName::From)?,
            to: text(HeaderName::To)?.into_owned(),
            call_id: text(HeaderName::CallId)?.into_owned(),
            cseq: cseq.split_whitespace().next()?.parse().ok()?,
            headers: headers.into_bytes(),
            body: request.body().clone(),
        })
    }

    /// In the host's form.
    pub fn outgoing(&self) -> OutgoingRequest<'_> {
        OutgoingRequest {
            method: &self.method,
            request_uri: &self.request_uri,
            next_hop: None,
            from: &self.from,
            from_tag: &self.from_tag,
            to: &self.to,
            call_id: &self.call_id,
            cseq: self.cseq,
            headers: &self.headers,
            body: &self.body,
            attempt: 0,
            about: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_but_the_transaction() {
        let sent = "MESSAGE sip:bob@example.com SIP/2.0\r\n\
                    Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
                    To: <sip:bob@example.com>\r\n\
                    From: \"Anne; tag=x\" <sip:anne@example.com>;tag=abc\r\n\
                    Call-ID: cpm-1\r\nCSeq: 7 MESSAGE\r\nContent-Length: 5\r\n\
                    Route: <sip:proxy.example.com;lr>\r\nMax-Forwards: 69\r\nX-Own: 1\r\n\r\nHello";
        let again = Again::of(sent.as_bytes()).unwrap();
        let outgoing = again.outgoing();
        assert_eq!(outgoing.method, "MESSAGE");
        assert_eq!(outgoing.request_uri, "sip:bob@example.com");
        assert_eq!(outgoing.from, "\"Anne; tag=x\" <sip:anne@example.com>");
        assert_eq!(outgoing.from_tag, "abc");
        assert_eq!(outgoing.to, "<sip:bob@example.com>");
        assert_eq!((outgoing.call_id, outgoing.cseq), ("cpm-1", 7));
        let headers = std::str::from_utf8(outgoing.headers).unwrap();
        assert_eq!(
            headers,
            "Route: <sip:proxy.example.com;lr>\r\nMax-Forwards: 69\r\nX-Own: 1\r\n"
        );
        assert_eq!(outgoing.body, b"Hello");
        assert!(Again::of(b"MESSAGE sip:bob@example.com SIP/2.0\r\n\r\n").is_none());
    }
}
