//! Requests and replies as tests write them: every header field can be replaced or removed.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;
use std::time::Duration;

use crate::message::{Message, same_name};

/// A request to send. It initially has what RFC 3261 §8.1.1 requires; `with` replaces a header
/// field, `and` adds a line, `without` removes it. Nothing is checked, because tests also send
/// invalid requests.
///
/// Values may contain `@TRANSPORT@`, `@SENT_BY@` (the sending agent's) and `@LENGTH@` (of the body
/// in bytes), which are replaced when it is sent.
///
/// Sending the same request twice is a retransmission; [`again`](Self::again) creates a new one.
#[derive(Debug, Clone)]
pub struct Request {
    start_line: String,
    method: String,
    branch: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request from `from` to `to` (both URIs), with `to` as its Request-URI, outside any dialog.
    pub fn new(method: &str, from: &str, to: &str) -> Self {
        let branch = format!("z9hG4bK{}", unique());
        let via = format!("SIP/2.0/@TRANSPORT@ @SENT_BY@;branch={branch}");
        let headers = [
            ("Via", via),
            ("Max-Forwards", "70".to_owned()),
            ("From", format!("<{from}>;tag={}", unique())),
            ("To", format!("<{to}>")),
            ("Call-ID", format!("{}@testbed", unique())),
            ("CSeq", format!("1 {method}")),
            ("Content-Length", "@LENGTH@".to_owned()),
        ];
        Self {
            start_line: format!("{method} {to} SIP/2.0"),
            method: method.to_owned(),
            branch,
            headers: headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            body: Vec::new(),
        }
    }

    /// A request in the dialog established by `response` to `self` (RFC 3261 §12.2.1.1), such as an
    /// ACK (with the same CSeq number) or a BYE (with the next number). The route set is the
    /// response's Record-Route reversed.
    pub fn in_dialog(&self, method: &str, cseq: u32, response: &Message) -> Self {
        let address = |header| response.header(header).unwrap_or_default();
        let contact = response
            .header("Contact")
            .map(uri_of)
            .filter(|uri| !uri.is_empty());
        let target = contact.unwrap_or(uri_of(address("To")));
        let routes = response.headers("Record-Route");
        let mut request = Self::new(method, "", "")
            .with("From", address("From"))
            .with("To", address("To"))
            .with("Call-ID", response.call_id())
            .with("CSeq", &format!("{cseq} {method}"))
            .with_uri(target);
        let hops = routes.iter().flat_map(|line| line.split(','));
        for route in hops.map(str::trim).collect::<Vec<_>>().into_iter().rev() {
            request = request.and("Route", route);
        }
        request
    }

    /// The callee's request in the dialog established by its 2xx to `invite` (RFC 3261 §12.2.1.1).
    /// `tag` is the callee's. The route set is the INVITE's Record-Route.
    pub fn from_callee(invite: &Message, tag: &str, method: &str, cseq: u32) -> Self {
        let address = |header| invite.header(header).unwrap_or_default();
        let mut request = Self::new(method, "", "")
            .with("From", &format!("{};tag={tag}", address("To")))
            .with("To", address("From"))
            .with("Call-ID", invite.call_id())
            .with("CSeq", &format!("{cseq} {method}"))
            .with_uri(uri_of(address("Contact")));
        for line in invite.headers("Record-Route") {
            request = request.and("Route", line);
        }
        request
    }

    /// The CANCEL of this request, which must have been sent before (RFC 3261 §9.1).
    pub fn cancel(&self) -> Self {
        self.in_transaction("CANCEL", self.header("To").unwrap_or_default())
    }

    /// The ACK for a final response other than 2xx (RFC 3261 §17.1.1.3).
    pub fn ack_to_refusal(&self, response: &Message) -> Self {
        self.in_transaction("ACK", response.header("To").unwrap_or_default())
    }

    /// Another method with the same branch.
    fn in_transaction(&self, method: &str, to: &str) -> Self {
        let value = |name: &str| self.header(name).unwrap_or_default();
        let number = value("CSeq").split(' ').next().unwrap_or_default();
        let uri = self.start_line.split(' ').nth(1).unwrap_or_default();
        let mut request = Self::new(method, "", "")
            .with("Via", value("Via"))
            .with("From", value("From"))
            .with("To", to)
            .with("Call-ID", value("Call-ID"))
            .with("CSeq", &format!("{number} {method}"))
            .with_uri(uri);
        request.branch.clone_from(&self.branch);
        request
    }

    /// The same request as a new transaction outside the old dialog: new branch, Call-ID and tag.
    pub fn again(&self) -> Self {
        let mut request = self.clone();
        request.branch = format!("z9hG4bK{}", unique());
        for (name, value) in &mut request.headers {
            if same_name(name, "Via") {
                *value = value.replace(&self.branch, &request.branch);
            } else if same_name(name, "Call-ID") {
                *value = format!("{}@testbed", unique());
            } else if same_name(name, "From")
                && let Some((address, _)) = value.clone().split_once(";tag=")
            {
                *value = format!("{address};tag={}", unique());
            }
        }
        request
    }

    /// Sets the Request-URI; To is unchanged.
    pub fn with_uri(mut self, uri: &str) -> Self {
        self.start_line = format!("{} {uri} SIP/2.0", self.method);
        self
    }

    /// Sets the header field to this one value, in its place or at the end.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        set(&mut self.headers, name, value);
        self
    }

    /// Adds a line of the header field at the end.
    pub fn and(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes the header field.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| !same_name(own, name));
        self
    }

    /// Sets the body and its type.
    pub fn with_body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.with("Content-Type", content_type)
    }

    /// The first value of a header field, before placeholders are replaced.
    pub fn header(&self, name: &str) -> Option<&str> {
        let line = self.headers.iter().find(|(own, _)| same_name(own, name));
        line.map(|(_, value)| value.as_str())
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The bytes on the wire. `transport` is `UDP` or `TCP`, `sent_by` the address for responses.
    pub fn write(&self, transport: &str, sent_by: SocketAddr) -> Vec<u8> {
        let filled = self.headers.iter().map(|(name, value)| {
            let value = value
                .replace("@TRANSPORT@", transport)
                .replace("@SENT_BY@", &sent_by.to_string())
                .replace("@LENGTH@", &self.body.len().to_string());
            (name.as_str(), value)
        });
        write(&self.start_line, filled, &self.body)
    }

    /// Whether `response` belongs to this request: same branch, or same Call-ID and CSeq.
    pub(crate) fn is_answered_by(&self, response: &Message) -> bool {
        let same = |name| self.header(name).is_some() && self.header(name) == response.header(name);
        // An INVITE and its CANCEL share a branch.
        let own_method = self
            .header("CSeq")
            .and_then(|value| value.split(' ').nth(1));
        let other_method = response.cseq().map(|(_, method)| method);
        let same_method =
            own_method.is_none() || other_method.is_none() || own_method == other_method;
        response.status().is_some()
            && (response.branch() == Some(&self.branch) && same_method
                || same("Call-ID") && same("CSeq"))
    }
}

/// A response to send. Via, From, To (with a tag), Call-ID and CSeq come from the request (RFC 3261
/// §8.2.6.2), unless the reply sets them itself.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    reason: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    delay: Duration,
}

impl Reply {
    /// A reply with this status code and nothing else.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            reason: reason(status).to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            delay: Duration::ZERO,
        }
    }

    /// Delays it after the request has arrived. Replies to one request keep their order if their
    /// delays do.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    pub(crate) fn delay(&self) -> Duration {
        self.delay
    }

    /// Sets the reason phrase.
    pub fn with_reason(mut self, reason: &str) -> Self {
        self.reason = reason.to_owned();
        self
    }

    /// Sets the header field to this one value.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        set(&mut self.headers, name, value);
        self
    }

    /// Adds a value of the header field.
    pub fn and(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body and its type.
    pub fn with_body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.with("Content-Type", content_type)
    }

    /// The bytes on the wire as the response to `request`; `tag` is added to To if it has none.
    pub fn write(&self, request: &Message, tag: &str) -> Vec<u8> {
        let mut headers: Vec<(String, String)> = Vec::new();
        for name in ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"] {
            if self.headers.iter().any(|(own, _)| same_name(own, name)) {
                continue;
            }
            for value in request.headers(name) {
                let needs_tag = name == "To" && request.parameter("To", "tag").is_none();
                let tag = if needs_tag && self.status > 100 {
                    format!(";tag={tag}")
                } else {
                    String::new()
                };
                headers.push((name.to_owned(), format!("{value}{tag}")));
            }
        }
        headers.extend(self.headers.iter().cloned());
        if !headers
            .iter()
            .any(|(name, _)| same_name(name, "Content-Length"))
        {
            headers.push(("Content-Length".to_owned(), self.body.len().to_string()));
        }
        let start_line = format!("SIP/2.0 {} {}", self.status, self.reason);
        write(
            &start_line,
            headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.clone())),
            &self.body,
        )
    }
}

/// A token that is unique across calls and processes.
pub(crate) fn unique() -> String {
    // Each RandomState has new keys from the system's random source.
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// The URI of a name-addr or addr-spec.
pub(crate) fn uri_of(address: &str) -> &str {
    let bracketed = address
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    bracketed.map_or_else(
        || address.split(';').next().unwrap_or_default().trim(),
        |(uri, _)| uri,
    )
}

fn set(headers: &mut Vec<(String, String)>, name: &str, value: &str) {
    let place = headers
        .iter()
        .position(|(own, _)| same_name(own, name))
        .unwrap_or(headers.len());
    headers.retain(|(own, _)| !same_name(own, name));
    headers.insert(place, (name.to_owned(), value.to_owned()));
}

fn write<'a>(
    start_line: &str,
    headers: impl Iterator<Item = (&'a str, String)>,
    body: &[u8],
) -> Vec<u8> {
    let mut head = format!("{start_line}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut bytes = Vec::with_capacity(head.len() + body.len());
    for character in head.chars() {
        match u32::from(character).wrapping_sub(LATIN_1) {
            byte @ 0x80..=0xff => bytes.push(byte as u8),
            _ => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// Bytes of Latin-1 are represented by private-use characters.
const LATIN_1: u32 = 0xf700;

/// A text that is sent in Latin-1 in a header field of a [`Request`] or a [`Reply`], as no SIP
/// stack should send it.
pub fn latin_1(text: &str) -> String {
    let stand_in = |character: char| match u32::from(character) {
        code @ 0x80..=0xff => char::from_u32(LATIN_1 + code).unwrap_or(character),
        _ => character,
    };
    text.chars().map(stand_in).collect()
}

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        422 => "Session Interval Too Small",
        480 => "Temporarily Unavailable",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        500 => "Server Internal Error",
        503 => "Service Unavailable",
        603 => "Decline",
        606 => "Not Acceptable",
        _ => "Reason",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(request: &Request) -> Message {
        Message::read(request.write("UDP", SocketAddr::from(([127, 0, 0, 1], 5060))))
    }

    #[test]
    fn headers_are_replaced_in_place_added_and_removed() {
        let request = Request::new("MESSAGE", "sip:a@x", "sip:b@x")
            .with("f", "<sip:c@x>;tag=1")
            .and("Via", "SIP/2.0/UDP other")
            .without("Max-Forwards")
            .with_body("text/plain", "hi");
        let message = sent(&request);
        let names: Vec<_> = message
            .all_headers()
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "Via",
                "f",
                "To",
                "Call-ID",
                "CSeq",
                "Content-Length",
                "Via",
                "Content-Type"
            ]
        );
        assert_eq!(message.header("Content-Length"), Some("2"));
        assert!(
            message
                .header("Via")
                .unwrap()
                .starts_with("SIP/2.0/UDP 127.0.0.1:5060;branch=")
        );
    }

    #[test]
    fn a_reply_answers_its_request_and_no_other() {
        let request = Request::new("MESSAGE", "sip:a@x", "sip:b@x");
        let reply = Message::read(Reply::new(202).write(&sent(&request), "t"));
        assert_eq!(reply.start_line(), "SIP/2.0 202 Accepted");
        assert_eq!(reply.parameter("To", "tag"), Some("t"));
        assert!(request.is_answered_by(&reply));
        assert!(!request.again().is_answered_by(&reply));
        assert!(!request.is_answered_by(&sent(&request)));
    }

    #[test]
    fn a_request_in_a_dialog_takes_its_routes_reversed() {
        let invite = Request::new("INVITE", "sip:a@x", "sip:b@x")
            .with("Record-Route", "<sip:p1;lr>, <sip:p2;lr>");
        let answer = Reply::new(200)
            .with("Contact", "<sip:b@host;ob>;+x")
            .write(&sent(&invite), "t");
        let bye = sent(&invite.in_dialog("BYE", 2, &Message::read(answer)));
        assert_eq!(bye.start_line(), "BYE sip:b@host;ob SIP/2.0");
        assert_eq!(bye.headers("Route"), ["<sip:p2;lr>", "<sip:p1;lr>"]);
        assert_eq!(bye.header("To"), Some("<sip:b@x>;tag=t"));
        assert_eq!(bye.header("CSeq"), Some("2 BYE"));
    }
}
