//! Requests and responses of our own, as bytes (RFC 3261 §7, §8).

use bytes::Bytes;

use crate::sip::{FieldLine, HeaderBlock, HeaderName, Message, StatusCode};

/// What ties the requests of one call together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipNames {
    /// Call-ID.
    pub call_id: String,
    /// Our tag.
    pub tag: String,
    /// The first CSeq number.
    pub cseq: u32,
}

/// A request of ours; Via and Content-Length come with [`write`](Self::write).
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
    /// To, with a tag inside of a dialog.
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

    /// Writes the request. Line ends inside of values become spaces, so that each header field stays one.
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
        put(
            &mut block,
            "CSeq",
            &format!("{} {}", self.cseq, self.method),
        );
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

/// A response of ours (§8.2.6): what it repeats of the request comes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OutResponse<'a> {
    pub(super) code: StatusCode,
    /// Put into To if the request has no tag there.
    pub(super) tag: &'a str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Option<(&'a str, Bytes)>,
}

impl OutResponse<'_> {
    pub(super) fn write(&self, request: &Message) -> Bytes {
        let mut block = HeaderBlock::with_capacity(1024);
        let repeated = [
            HeaderName::Via,
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
        ];
        for name in repeated {
            for field in request.all(name) {
                if name == HeaderName::To && !has_tag(&field) && self.code != StatusCode::TRYING {
                    let to = field.unfolded_text().unwrap_or_default();
                    put(&mut block, "To", &format!("{to};tag={}", self.tag));
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

fn has_tag(field: &FieldLine<'_>) -> bool {
    let text = field.text().ok();
    let address = text.and_then(|text| crate::sip::NameAddr::parse(text).ok());
    address.is_some_and(|address| address.parameter("tag").is_some())
}

fn put(block: &mut HeaderBlock, name: &str, value: &str) {
    let clean = value.replace(['\r', '\n', '\0'], " ");
    // Names are ours, and the value has just lost what could be refused.
    let _ = block.push(name, clean);
}

fn finish(start: &str, mut block: HeaderBlock, body: Option<(&str, &Bytes)>) -> Bytes {
    if let Some((kind, _)) = body {
        put(&mut block, "Content-Type", kind);
    }
    let length = body.map_or(0, |(_, body)| body.len());
    put(&mut block, "Content-Length", &length.to_string());
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

/// The text of the first header field of a name, on one line.
pub(super) fn text(message: &Message, name: HeaderName) -> Option<String> {
    let field = message.first(name)?;
    Some(field.unfolded_text().ok()?.into_owned())
}

/// The texts of all header fields of a name.
pub(super) fn texts(message: &Message, name: HeaderName) -> Vec<String> {
    let fields = message.all(name);
    fields
        .filter_map(|field| Some(field.unfolded_text().ok()?.into_owned()))
        .collect()
}

/// The number and the method of CSeq.
pub(super) fn cseq(message: &Message) -> Option<(u32, String)> {
    let value = text(message, HeaderName::CSeq)?;
    let mut words = value.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    Some((number, words.next()?.to_owned()))
}

/// The tag of From or To.
pub(super) fn tag_of(message: &Message, name: HeaderName) -> Option<String> {
    let value = text(message, name)?;
    let address = crate::sip::NameAddr::parse(&value).ok()?;
    Some(address.parameter("tag")?.raw_value?.to_owned())
}

/// The branch of the topmost Via.
pub(super) fn branch_of(message: &Message) -> Option<String> {
    let value = text(message, HeaderName::Via)?;
    let first = crate::sip::split_list(&value).next()?;
    let parameters = &first[first.find(';').unwrap_or(first.len())..];
    let mut parameters = crate::sip::Parameters::new(parameters).flatten();
    let branch = parameters.find(|one| one.name.eq_ignore_ascii_case("branch"))?;
    Some(branch.raw_value?.to_owned())
}
