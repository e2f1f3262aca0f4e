//! Requests of ours that the proxy's own parser refuses: it builds no transaction for them, and no reply.

use std::hash::{DefaultHasher, Hasher};

use bytes::Bytes;

use super::check::single_fields;
use super::host::{Counter, Host, LogLevel};
use super::refusal::{Refusal, Reply};
use super::request::Correlation;
use super::service::{ControllingFunction, in_dialog};
use crate::sip::{HeaderBlock, HeaderName, Message};

/// The answer to such a request.
#[derive(Debug)]
pub struct Unparsed {
    /// The request with no more than what a reply repeats (RFC 3261 §8.2.6.2), for the proxy to read in its place.
    pub request: Vec<u8>,
    /// 400. Its To tag is the same for each repetition, since no transaction absorbs those (§8.2.7).
    pub reply: Reply,
}

impl ControllingFunction {
    /// What to answer to `request`. `None`: nothing can be, or it is an ACK, which has no answer.
    pub fn refuse_unparsed(&self, request: &[u8], host: &dyn Host) -> Option<Unparsed> {
        let message = Message::parse(Bytes::copy_from_slice(request)).ok()?;
        let (method, uri) = (message.method()?, message.request_uri()?);
        if method == "ACK" {
            return None;
        }
        let refusal = single_fields(&message)
            .err()
            .unwrap_or_else(|| Refusal::bad_request("Malformed Header Field"));
        let mut fields = HeaderBlock::new();
        for via in message.all(HeaderName::Via) {
            fields.push_line(&via);
        }
        for name in [
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
        ] {
            fields.push_line(&message.first(name)?);
        }
        let mut bare = format!("{method} {uri} SIP/2.0\r\n").into_bytes();
        bare.extend_from_slice(fields.as_bytes());
        bare.extend_from_slice(b"Content-Length: 0\r\n\r\n");

        if !in_dialog(&message) {
            host.count(Counter::Requests, 1);
            host.count(Counter::Refused, 1);
        }
        host.log(
            LogLevel::Notice,
            format_args!(
                "refused 400 Bad Request: {}, {}",
                refusal.cause(),
                Correlation::of(&message)
            ),
        );
        let mut hasher = DefaultHasher::new();
        hasher.write(&bare);
        // It has no Warning that would name an agent.
        let mut reply = refusal.reply(&self.product(), "");
        reply.to_tag = Some(format!("{:016x}", hasher.finish()));
        Some(Unparsed {
            request: bare,
            reply,
        })
    }
}
