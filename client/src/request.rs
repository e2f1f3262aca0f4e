//! Our own requests and responses, as bytes (RFC 3261 §7, §8).

use std::net::SocketAddr;

use bytes::Bytes;
use cpm_wire::sip::{
    HeaderBlock, HeaderName, Message, Parameter, Parameters, StatusCode, split_list,
};
use cpm_wire::sip_ua::{InDialogRequest, text};

use super::{SipTransport, Way};

/// Port of SIP over UDP if Via names none.
const DEFAULT_PORT: u16 = 5060;

/// The identifiers common to the requests of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipNames {
    /// Call-ID.
    pub call_id: String,
    /// Our tag.
    pub tag: String,
    /// The first CSeq number.
    pub cseq: u32,
}

/// A request of ours; [`write`](Self::write) adds Via and Content-Length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutRequest {
    /// Method.
    pub method: &'static str,
    /// Request-URI.
    pub uri: String,
    /// Call-ID.
    pub call_id: String,
    /// From with its tag.
    pub from: String,
    /// To, with a tag inside a dialog.
    pub to: String,
    /// CSeq number.
    pub cseq: u32,
    /// Values of Route, first hop first.
    pub routes: Vec<String>,
    /// Further header fields in order.
    pub headers: Vec<(&'static str, String)>,
    /// Content-Type and body.
    pub body: Option<(String, Bytes)>,
}

impl OutRequest {
    /// Adds a header field.
    pub fn push(&mut self, name: &'static str, value: impl Into<String>) {
        self.headers.push((name, value.into()));
    }

    /// Writes the request. Line ends inside values become spaces, so that each header field stays
    /// one.
    pub fn write(&self, transport: &str, sent_by: &str, branch: &str) -> Bytes {
        let mut block = HeaderBlock::with_capacity(2048);
        let via = format!("SIP/2.0/{transport} {sent_by};rport;branch={branch}");
        put(&mut block, "Via", &via);
        put(&mut block, "Max-Forwards", "70");
        for route in &self.routes {
            put(&mut block, "Route", route);
        }
        put(&mut block, "From", &self.from);
        put(&mut block, "To", &self.to);
        put(&mut block, "Call-ID", &self.call_id);
        put(&mut block, "CSeq", format!("{} {}", self.cseq, self.method));
        for (name, value) in &self.headers {
            put(&mut block, name, value);
        }
        let start = format!("{} {} SIP/2.0", self.method, self.uri);
        let body = self.body.as_ref().map(|(kind, body)| (kind.as_str(), body));
        finish(&start, block, body)
    }

    /// A request of the same transaction: ACK for a failure (§17.1.1.3), or CANCEL (§9.1).
    pub(super) fn same_transaction(&self, method: &'static str, to: Option<&str>) -> Self {
        Self {
            method,
            uri: self.uri.clone(),
            call_id: self.call_id.clone(),
            from: self.from.clone(),
            to: to.unwrap_or(&self.to).to_owned(),
            cseq: self.cseq,
            routes: self.routes.clone(),
            headers: Vec::new(),
            body: None,
        }
    }
}

impl From<InDialogRequest> for OutRequest {
    fn from(request: InDialogRequest) -> Self {
        // The route set was parsed when the dialog was created.
        let (uri, routes) = match request.routing() {
            Some(routing) => (routing.request_uri, routing.routes),
            None => (request.target, request.route_set),
        };
        let with_tag = |address: String, tag: &str| match tag {
            "" => address,
            tag => format!("{address};tag={tag}"),
        };
        Self {
            method: request.method,
            uri,
            call_id: request.call_id,
            from: with_tag(request.from, &request.from_tag),
            to: with_tag(request.to, &request.to_tag),
            cseq: request.cseq,
            routes,
            headers: Vec::new(),
            body: None,
        }
    }
}

/// A response of ours (§8.2.6), without the fields copied from the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OutResponse<'a> {
    pub(super) code: StatusCode,
    /// Added to To if the request has no tag there.
    pub(super) tag: &'a str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Option<(&'a str, Bytes)>,
}

impl OutResponse<'_> {
    /// Writes the response to a request received by this route.
    pub(super) fn write(&self, request: &Message, way: Way) -> Bytes {
        let mut block = HeaderBlock::with_capacity(1024);
        let mut is_first_via = true;
        let repeated = [
            HeaderName::Via,
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
        ];
        for name in repeated {
            for field in request.all(name) {
                if name == HeaderName::Via && std::mem::take(&mut is_first_via) {
                    put(&mut block, "Via", with_source(&field.unfolded_text(), way));
                } else if name == HeaderName::To
                    && request.tag_in(HeaderName::To).is_none()
                    && self.code != StatusCode::TRYING
                {
                    // Byte for byte as received (§8.2.6.2).
                    let tag = format!(";tag={}", self.tag);
                    put(&mut block, "To", [field.value(), tag.as_bytes()].concat());
                } else {
                    block.push_line(&field);
                }
            }
        }
        if self.code.is_success() {
            for field in request.all(HeaderName::RecordRoute) {
                block.push_line(&field);
            }
        }
        for (name, value) in &self.headers {
            put(&mut block, name, value);
        }
        let start = format!("SIP/2.0 {} {}", self.code, self.code.reason_phrase());
        finish(
            &start,
            block,
            self.body.as_ref().map(|(kind, body)| (*kind, body)),
        )
    }
}

/// A Via whose first value has the real source of the request, if it asks for that (RFC 3581 §4).
fn with_source(via: &str, way: Way) -> String {
    let first = split_list(via).next().unwrap_or("");
    let parameters = &first[first.find(';').unwrap_or(first.len())..];
    let mut parameters = Parameters::new(parameters).flatten();
    let is_rport = |one: &Parameter<'_>| one.name.eq_ignore_ascii_case("rport");
    let Some(rport) = parameters
        .find(is_rport)
        .filter(|one| one.raw_value.is_none())
    else {
        return via.to_owned();
    };
    // The name is a slice of the text.
    let end = rport.name.as_ptr() as usize - via.as_ptr() as usize + rport.name.len();
    let (address, port) = (way.address.ip(), way.address.port());
    format!("{}={port};received={address}{}", &via[..end], &via[end..])
}

/// The route of the response to a request received by this route (RFC 3261 §18.2.2, RFC 3581 §4):
/// back, but over UDP to the port in Via, unless it asks for the source port.
pub(super) fn way_back(request: &Message, way: Way) -> Way {
    if way.transport != SipTransport::Udp {
        return way;
    }
    let via = text(request, HeaderName::Via).unwrap_or_default();
    let first = split_list(&via).next().unwrap_or("");
    let (sent, parameters) = first.split_at(first.find(';').unwrap_or(first.len()));
    let mut parameters = Parameters::new(parameters).flatten();
    if parameters.any(|one| one.name.eq_ignore_ascii_case("rport")) {
        return way;
    }
    let sent_by = sent.rsplit([' ', '\t']).next().unwrap_or("");
    let port = match sent_by.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => port.parse().ok(),
        _ => Some(DEFAULT_PORT),
    };
    let address = SocketAddr::new(way.address.ip(), port.unwrap_or(way.address.port()));
    Way { address, ..way }
}

fn put(block: &mut HeaderBlock, name: &str, value: impl AsRef<[u8]>) {
    let clean: Vec<u8> = value
        .as_ref()
        .iter()
        .map(|byte| match byte {
            b'\r' | b'\n' | 0 => b' ',
            byte => *byte,
        })
        .collect();
    // Names are our own, and the value no longer contains anything that is refused.
    let _ = block.push(name, clean);
}

fn finish(start: &str, mut block: HeaderBlock, body: Option<(&str, &Bytes)>) -> Bytes {
    if let Some((kind, _)) = body {
        put(&mut block, "Content-Type", kind);
    }
    let length = body.map_or(0, |(_, body)| body.len());
    put(&mut block, "Content-Length", length.to_string());
    let mut bytes = Vec::with_capacity(start.len() + block.as_bytes().len() + length + 4);
    bytes.extend_from_slice(start.as_bytes());
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(block.as_bytes());
    bytes.extend_from_slice(b"\r\n");
    if let Some((_, body)) = body {
        bytes.extend_from_slice(body);
    }
    bytes.into()
}

/// The branch of the topmost Via.
pub(super) fn branch_of(message: &Message) -> Option<String> {
    let value = text(message, HeaderName::Via)?;
    let first = split_list(&value).next()?;
    let parameters = &first[first.find(';').unwrap_or(first.len())..];
    let mut parameters = Parameters::new(parameters).flatten();
    let branch = parameters.find(|one| one.name.eq_ignore_ascii_case("branch"))?;
    Some(branch.raw_value?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(via: &str) -> Message {
        let text = format!("OPTIONS sip:a SIP/2.0\r\nVia: {via}\r\nTo: <sip:a>\r\n\r\n");
        Message::parse(Bytes::from(text)).unwrap()
    }

    fn way(transport: SipTransport) -> Way {
        Way {
            transport,
            address: "192.0.2.7:7777".parse().unwrap(),
        }
    }

    #[test]
    fn responses_go_where_via_says() {
        let port = |via: &str, transport| way_back(&request(via), way(transport)).address.port();
        let udp = SipTransport::Udp;
        assert_eq!(port("SIP/2.0/UDP 10.0.0.1:5070;branch=b", udp), 5070);
        assert_eq!(port("SIP/2.0/UDP 10.0.0.1;branch=b", udp), 5060);
        assert_eq!(port("SIP/2.0/UDP [2001:db8::1];branch=b", udp), 5060);
        assert_eq!(port("SIP/2.0/UDP [2001:db8::1]:5070", udp), 5070);
        assert_eq!(port("SIP/2.0/UDP 10.0.0.1:5070;rport;branch=b", udp), 7777);
        assert_eq!(
            port("SIP/2.0/TCP 10.0.0.1:5070;branch=b", SipTransport::Tcp),
            7777
        );
    }

    #[test]
    fn who_asks_is_told_where_he_came_from() {
        let response = OutResponse {
            code: StatusCode::OK,
            tag: "t",
            headers: Vec::new(),
            body: None,
        };
        let written = |via: &str| {
            let bytes = response.write(&request(via), way(SipTransport::Udp));
            let response = Message::parse(bytes).unwrap();
            text(&response, HeaderName::Via).unwrap().into_owned()
        };
        assert_eq!(
            written("SIP/2.0/UDP h;rport;branch=b, SIP/2.0/UDP i;rport"),
            "SIP/2.0/UDP h;rport=7777;received=192.0.2.7;branch=b, SIP/2.0/UDP i;rport"
        );
        for untouched in ["SIP/2.0/UDP h;branch=b", "SIP/2.0/UDP h;rport=1"] {
            assert_eq!(written(untouched), untouched);
        }
    }

    #[test]
    fn no_text_becomes_a_header_field_of_its_own() {
        let mut request = OutRequest {
            method: "MESSAGE",
            uri: "sip:a@example.com".into(),
            call_id: "c\r\nEvil: 1".into(),
            from: "<sip:a>".into(),
            to: "<sip:b>".into(),
            cseq: 1,
            routes: Vec::new(),
            headers: Vec::new(),
            body: None,
        };
        request.push("Subject", "x\r\n\r\nbody");
        let message = Message::parse(request.write("UDP", "h", "b")).unwrap();
        assert!(message.fields().all(|field| field.raw_name() != "Evil"));
        assert!(message.body().is_empty());
    }
}
