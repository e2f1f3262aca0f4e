//! Requests for the Controlling Function that the proxy's own parser rejects: it creates no
//! transaction and no reply for them.

use std::hash::{DefaultHasher, Hasher};
use std::rc::Rc;

use bytes::Bytes;

use super::checks::single_fields;
use super::classify::in_dialog;
use super::host::{Counter, Journal};
use super::received::Received;
use super::refusal::{Refusal, Reply};
use super::request::Correlation;
use super::service::ControllingFunction;
use crate::log::at;
use crate::sip::{HeaderBlock, HeaderName, Message};

/// The answer to such a request.
#[derive(Debug)]
pub struct Unparsed {
    /// The request reduced to the fields that a reply copies (RFC 3261 §8.2.6.2), for the proxy to
    /// parse instead.
    pub request: Vec<u8>,
    /// A 400. Its To tag is the same for each repetition, since no transaction absorbs those
    /// (§8.2.7).
    pub reply: Reply,
}

/// Fields of which the proxy rejects a second one, and whether it stops reading, before a routing
/// script, once it has read all fields marked so.
const READ_FIRST: [(HeaderName, bool); 6] = [
    (HeaderName::From, true),
    (HeaderName::To, true),
    (HeaderName::CallId, true),
    (HeaderName::CSeq, true),
    (HeaderName::MaxForwards, false),
    (HeaderName::ContentLength, false),
];

/// Whether the proxy drops a request before any routing script sees it. Called for every request
/// that arrives, so it reads only names, and of these only as many as the proxy does.
fn is_dropped_unseen(request: &[u8]) -> bool {
    let mut seen = [false; READ_FIRST.len()];
    let lines = request.split(|byte| *byte == b'\n').skip(1);
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    for line in lines.take_while(|line| !line.is_empty()) {
        let is_read = |(seen, (_, is_wanted)): (&bool, &(HeaderName, bool))| *seen || !is_wanted;
        if seen.iter().zip(&READ_FIRST).all(is_read) {
            return false;
        }
        // A continuation has no name.
        let name = memchr::memchr(b':', line).map_or(line, |colon| &line[..colon]);
        let name = HeaderName::parse(name.trim_ascii_end());
        let place = READ_FIRST.iter().position(|(read, _)| *read == name);
        if let Some(place) = place
            && std::mem::replace(&mut seen[place], true)
        {
            return true;
        }
    }
    false
}

impl ControllingFunction {
    /// The same for a request that has just arrived, if the proxy will drop it without an answer:
    /// one to our address, or in our dialog.
    pub fn refuse_unseen(self: &Rc<Self>, request: &[u8], host: &dyn Journal) -> Option<Unparsed> {
        if !is_dropped_unseen(request) {
            return None;
        }
        let message = Message::parse(Bytes::copy_from_slice(request)).ok()?;
        let received = Received {
            message: request,
            request_uri: message.request_uri()?,
            source_address: None,
        };
        let tag = message.tag_in(HeaderName::To);
        let is_in_dialog = tag.is_some_and(|tag| self.ids().names().read(&tag).is_some());
        if is_in_dialog || self.classify(&received).is_some() {
            self.refuse_unparsed(request, host)
        } else {
            None
        }
    }

    /// The answer to `request`. `None`: there can be none, or it is an ACK, which has no answer.
    pub fn refuse_unparsed(&self, request: &[u8], host: &dyn Journal) -> Option<Unparsed> {
        let message = Message::parse(Bytes::copy_from_slice(request)).ok()?;
        let (method, uri) = (message.method()?, message.request_uri()?);
        if method == "ACK" {
            return None;
        }
        let refusal = single_fields(&message)
            .err()
            .unwrap_or_else(|| Refusal::bad_request(at!(Notice), "Malformed Header Field"));
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
            *refusal.at,
            format_args!(
                "refused 400 Bad Request: {}, {}",
                refusal.cause(),
                Correlation::of(&message)
            ),
        );
        let mut hasher = DefaultHasher::new();
        hasher.write(&bare);
        // It has no Warning, and so names no agent.
        let mut reply = refusal.reply(&self.product(), "");
        reply.to_tag = Some(format!("{:016x}", hasher.finish()));
        Some(Unparsed {
            request: bare,
            reply,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controlling::pager_mode::fixtures::{Scripted, sharing};

    /// Inside a dialog it belongs to a session that has been counted.
    #[test]
    fn only_a_request_outside_a_dialog_counts_as_one() {
        for (to, counted) in [
            ("<sip:all@example.com>", 2),
            ("<sip:all@example.com>;tag=t", 0),
        ] {
            let host = Scripted::default();
            let request = format!(
                "BYE sip:all@example.com SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n\
                 From: <sip:anne@example.com>;tag=1\r\nTo: {to}\r\nCall-ID: 1\r\n\
                 CSeq: 1 BYE\r\nCSeq: 2 BYE\r\n\r\n"
            );
            let answer = sharing(&[]).refuse_unparsed(request.as_bytes(), &host);
            assert_eq!(answer.unwrap().reply.code.as_u16(), 400);
            assert_eq!(host.counted.borrow().len(), counted, "{to}");
        }
    }

    #[test]
    fn what_the_proxy_drops_before_any_script() {
        let is_dropped_of = |fields: &str| {
            let lines = fields.replace(": ", ": 1\r\n To: 2\r\n");
            let text = format!("MESSAGE sip:a@b SIP/2.0\r\n{lines}\r\nFrom: x\r\nFrom: x\r\n");
            is_dropped_unseen(text.as_bytes())
        };
        for (fields, is_dropped) in [
            ("From: To: Call-ID: CSeq: ", false),
            (
                "Max-Forwards: Max-Forwards: From: To: Call-ID: CSeq: ",
                true,
            ),
            (
                "From: To: Call-ID: Max-Forwards: CSeq: Max-Forwards: ",
                false,
            ),
            ("f: To: From: Call-ID: CSeq: ", true),
            ("From: To: Call-ID: CSeq: From: ", false),
            (
                "Content-Type: Content-Type: From: To: Call-ID: CSeq: ",
                false,
            ),
            ("l: From: To: Content-Length: Call-ID: CSeq: ", true),
        ] {
            assert_eq!(is_dropped_of(fields), is_dropped, "{fields}");
        }
    }
}
