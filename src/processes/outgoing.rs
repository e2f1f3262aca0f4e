//! An outgoing request in the proxy's form, and its text for the operator's script.

use std::borrow::Cow;
use std::io::Write as _;

use bytes::Bytes;

use super::codec::{Reader, Writer};
use crate::controlling::{AboutRequest, OutgoingRequest};

/// Max-Forwards of a request without one (RFC 3261 §8.1.1.6).
const INITIAL_MAX_FORWARDS: u32 = 70;
/// Maximum length of a Via line: a host name has 255 bytes.
const MAX_VIA_BYTES: usize = 512;
/// Length of a request apart from its fields: names, blanks, line ends, numbers.
const FRAME_BYTES: usize = 160;

/// An upper bound of the length of a request outside a dialog, whatever the proxy adds.
pub(super) fn size_at_most(request: &OutgoingRequest<'_>) -> usize {
    2 * request.method.len()
        + request.request_uri.len()
        + request.from.len()
        + request.from_tag.len()
        + request.to.len()
        + request.call_id.len()
        + request.headers.len()
        + request.body.len()
        + MAX_VIA_BYTES
        + FRAME_BYTES
}

/// Returned by the proxy at the end of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// [`OutgoingRequest::attempt`].
    pub attempt: u64,
    /// The name that it was sent by ([`NameTag`](crate::names::NameTag)); 0: none.
    pub name: u32,
    /// Number of targets of that name that were tried before.
    pub tried: u32,
}

/// One outgoing request. The proxy adds Via and Content-Length.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    /// The method.
    pub method: &'a str,
    /// The Request-URI.
    pub request_uri: &'a str,
    /// From without its tag.
    pub from: &'a str,
    /// The From tag.
    pub from_tag: &'a str,
    /// To without its tag.
    pub to: &'a str,
    /// The To tag; `None`: the request is outside a dialog.
    pub to_tag: Option<&'a str>,
    /// Call-ID.
    pub call_id: &'a str,
    /// CSeq number.
    pub cseq: u32,
    /// All further header lines.
    pub headers: HeaderLines<'a>,
    /// The body.
    pub body: &'a [u8],
    /// Chosen by the operator's script; 0: the proxy chooses.
    pub socket: u64,
    /// Returned with its end.
    pub token: Token,
    /// About the received request; `None` if it no longer exists.
    pub about: Option<&'a AboutRequest>,
}

impl<'a> Outgoing<'a> {
    /// From a request outside a dialog.
    pub fn of(request: &OutgoingRequest<'a>) -> Self {
        Outgoing {
            method: request.method,
            request_uri: request.request_uri,
            from: request.from,
            from_tag: request.from_tag,
            to: request.to,
            to_tag: None,
            call_id: request.call_id,
            cseq: request.cseq,
            headers: HeaderLines::of(request.headers),
            body: request.body,
            socket: 0,
            token: Token {
                attempt: request.attempt,
                ..Token::default()
            },
            about: request.about,
        }
    }

    /// Represents a notification that the proxy forwards, for choosing its destination: it is
    /// short, so that the result hardly depends on its content besides these header lines.
    pub(super) fn stand_in(request_uri: &'a str, headers: &'a [u8]) -> Self {
        Outgoing::of(&OutgoingRequest {
            method: "MESSAGE",
            request_uri,
            next_hop: None,
            from: "",
            from_tag: "",
            to: "",
            call_id: "",
            cseq: 1,
            headers,
            body: b"",
            attempt: 0,
            about: None,
        })
    }

    /// An upper bound of its length, whatever the proxy adds.
    pub(super) fn size_at_most(&self) -> usize {
        2 * self.method.len()
            + self.request_uri.len()
            + self.from.len()
            + self.from_tag.len()
            + self.to.len()
            + self.to_tag.map_or(0, str::len)
            + self.call_id.len()
            + self.headers.all().len()
            + self.body.len()
            + MAX_VIA_BYTES
            + FRAME_BYTES
    }

    /// The request as shown to a script: without the line that the proxy adds when it sends (Via);
    /// the header lines begin after CSeq. Followed by NUL.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.size_at_most());
        let to_tag = self.to_tag.filter(|tag| !tag.is_empty());
        // Writing to memory cannot fail.
        let _ = write!(
            text,
            "{} {} SIP/2.0\r\nTo: {}{}{}\r\nFrom: {};tag={}\r\nCall-ID: {}\r\nCSeq: {} {}\r\n",
            self.method,
            self.request_uri,
            self.to,
            if to_tag.is_some() { ";tag=" } else { "" },
            to_tag.unwrap_or_default(),
            self.from,
            self.from_tag,
            self.call_id,
            self.cseq,
            self.method,
        );
        text.extend_from_slice(self.headers.all());
        let _ = write!(text, "Content-Length: {}\r\n\r\n", self.body.len());
        text.extend_from_slice(self.body);
        text.push(0);
        text
    }
}

/// Header lines, each ended by CRLF, with Max-Forwards as the first one.
#[derive(Clone, Debug)]
pub struct HeaderLines<'a> {
    all: Cow<'a, [u8]>,
    max_forwards: u32,
    /// Start of the other lines.
    rest: usize,
}

impl<'a> HeaderLines<'a> {
    /// Copies only if Max-Forwards is not the first line.
    pub fn of(lines: &'a [u8]) -> Self {
        if let Some((max_forwards, rest)) = leading_max_forwards(lines) {
            return HeaderLines {
                all: Cow::Borrowed(lines),
                max_forwards,
                rest,
            };
        }
        let mut max_forwards = INITIAL_MAX_FORWARDS;
        let mut others = Vec::with_capacity(lines.len());
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            match leading_max_forwards(line) {
                Some((value, _)) => max_forwards = value,
                None => others.extend_from_slice(line),
            }
        }
        let mut all = format!("{MAX_FORWARDS}{max_forwards}\r\n").into_bytes();
        let rest = all.len();
        all.extend_from_slice(&others);
        HeaderLines {
            all: Cow::Owned(all),
            max_forwards,
            rest,
        }
    }

    /// Max-Forwards.
    pub fn max_forwards(&self) -> u32 {
        self.max_forwards
    }

    /// All lines.
    pub fn all(&self) -> &[u8] {
        &self.all
    }

    /// All except Max-Forwards.
    pub fn others(&self) -> &[u8] {
        &self.all[self.rest..]
    }
}

/// Begins the first line of the others.
pub(super) const MAX_FORWARDS: &str = "Max-Forwards: ";

/// The value of Max-Forwards, and the end of its line, if that is the first one.
fn leading_max_forwards(lines: &[u8]) -> Option<(u32, usize)> {
    let (name, rest) = lines.split_at_checked(MAX_FORWARDS.len())?;
    if !name.eq_ignore_ascii_case(MAX_FORWARDS.as_bytes()) {
        return None;
    }
    let digits = memchr::memchr(b'\r', rest)?;
    let value = std::str::from_utf8(&rest[..digits]).ok()?.trim();
    Some((value.parse().ok()?, name.len() + digits + 2))
}

/// An outgoing request after the operator's script.
#[derive(Debug, Default)]
pub struct Changed {
    headers: Vec<u8>,
    body: Vec<u8>,
    request_uri: Option<String>,
    next_hop: Option<String>,
    socket: u64,
}

impl Changed {
    /// From the whole text of the request in its current form, which began as made by
    /// `Outgoing::text`. `None`: it is corrupt.
    pub fn new(
        text: &[u8],
        request_uri: Option<String>,
        next_hop: Option<String>,
        socket: u64,
    ) -> Option<Self> {
        let end = memchr::memmem::find(text, b"\r\n\r\n")?;
        let (head, body) = (&text[..end + 2], &text[end + 4..]);
        // Start line, To, From, Call-ID, CSeq; and the transaction layer writes its own length.
        let lines = head.split_inclusive(|&byte| byte == b'\n').skip(5);
        let is_length = |line: &&[u8]| {
            line.get(..15)
                .is_some_and(|name| name.eq_ignore_ascii_case(b"Content-Length:"))
        };
        Some(Changed {
            headers: lines
                .filter(|line| !is_length(line))
                .flatten()
                .copied()
                .collect(),
            body: body.to_vec(),
            request_uri,
            next_hop,
            socket,
        })
    }

    /// The request with the changes, and the URI of its next hop if the script has set one.
    pub(super) fn apply<'a>(&'a self, outgoing: &Outgoing<'a>) -> (Outgoing<'a>, Option<&'a str>) {
        let changed = Outgoing {
            request_uri: self.request_uri.as_deref().unwrap_or(outgoing.request_uri),
            headers: HeaderLines::of(&self.headers),
            body: &self.body,
            socket: self.socket,
            ..outgoing.clone()
        };
        (changed, self.next_hop.as_deref())
    }
}

/// A request that is kept until it can be sent, without data of the received one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnedRequest {
    method: String,
    request_uri: String,
    pub(super) from: String,
    from_tag: String,
    to: String,
    to_tag: Option<String>,
    pub(super) call_id: String,
    cseq: u32,
    headers: Vec<u8>,
    body: Bytes,
    socket: u64,
    attempt: u64,
}

impl OwnedRequest {
    pub(super) fn write(outgoing: &Outgoing<'_>, to: &mut Writer) {
        for text in [
            outgoing.method,
            outgoing.request_uri,
            outgoing.from,
            outgoing.from_tag,
            outgoing.to,
            outgoing.call_id,
        ] {
            to.bytes(text.as_bytes());
        }
        to.option(outgoing.to_tag.map(str::as_bytes));
        to.number(u64::from(outgoing.cseq));
        to.bytes(outgoing.headers.all());
        to.bytes(outgoing.body);
        to.number(outgoing.socket);
        to.number(outgoing.token.attempt);
    }

    pub(super) fn read(from: &mut Reader) -> Option<Self> {
        Some(OwnedRequest {
            method: from.text()?,
            request_uri: from.text()?,
            from: from.text()?,
            from_tag: from.text()?,
            to: from.text()?,
            call_id: from.text()?,
            to_tag: match from.option()? {
                Some(tag) => Some(String::from_utf8(tag.to_vec()).ok()?),
                None => None,
            },
            cseq: u32::try_from(from.number()?).ok()?,
            headers: from.bytes()?.to_vec(),
            body: from.bytes()?,
            socket: from.number()?,
            attempt: from.number()?,
        })
    }

    pub(super) fn size(&self) -> usize {
        self.headers.len() + self.body.len() + self.request_uri.len() + self.from.len()
    }

    pub(super) fn outgoing(&self) -> Outgoing<'_> {
        Outgoing {
            method: &self.method,
            request_uri: &self.request_uri,
            from: &self.from,
            from_tag: &self.from_tag,
            to: &self.to,
            to_tag: self.to_tag.as_deref(),
            call_id: &self.call_id,
            cseq: self.cseq,
            headers: HeaderLines::of(&self.headers),
            body: &self.body,
            socket: self.socket,
            token: Token {
                attempt: self.attempt,
                ..Token::default()
            },
            about: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_forwards_stands_first_and_apart() {
        for (lines, number, others, is_copied) in [
            ("Max-Forwards: 69\r\nX: 1\r\n", 69, "X: 1\r\n", false),
            (
                "Route: <sip:a>\r\nmax-forwards: 9\r\nX: 1\r\n",
                9,
                "Route: <sip:a>\r\nX: 1\r\n",
                true,
            ),
            ("X: 1\r\n", 70, "X: 1\r\n", true),
            ("", 70, "", true),
        ] {
            let headers = HeaderLines::of(lines.as_bytes());
            assert_eq!(headers.max_forwards(), number, "{lines}");
            assert_eq!(headers.others(), others.as_bytes());
            let all = format!("Max-Forwards: {number}\r\n{others}");
            assert_eq!(headers.all(), all.as_bytes());
            assert_eq!(matches!(headers.all, Cow::Owned(_)), is_copied);
        }
    }

    #[test]
    fn what_a_script_has_made_of_a_request() {
        let request = OutgoingRequest {
            method: "MESSAGE",
            request_uri: "sip:a@example.com",
            next_hop: None,
            from: "\"Anne\" <sip:anne@example.com>",
            from_tag: "1",
            to: "<sip:a@example.com>",
            call_id: "cpm-1",
            cseq: 1,
            headers: b"Max-Forwards: 69\r\nX: 1\r\n",
            body: b"Hello",
            attempt: 7,
            about: None,
        };
        let outgoing = Outgoing::of(&request);
        let text = outgoing.text();
        assert!(text.len() <= outgoing.size_at_most());
        let (end, text) = text.split_last().unwrap();
        assert_eq!(*end, 0);
        let as_it_was = Changed::new(text, None, None, 0).unwrap();
        let (same, hop) = as_it_was.apply(&outgoing);
        assert_eq!(
            (same.headers.all(), same.body),
            (request.headers, &b"Hello"[..])
        );
        assert_eq!((same.request_uri, hop), ("sip:a@example.com", None));
        let added = String::from_utf8(text.to_vec())
            .unwrap()
            .replace("X: 1\r\n", "X: 1\r\nY: 2\r\n");
        let uri = Some("sip:b@example.com".to_owned());
        let changed = Changed::new(added.as_bytes(), uri, None, 3).unwrap();
        let (other, _) = changed.apply(&outgoing);
        assert_eq!(other.headers.others(), b"X: 1\r\nY: 2\r\n");
        assert_eq!((other.request_uri, other.socket), ("sip:b@example.com", 3));
        assert!(Changed::new(b"MESSAGE sip:a SIP/2.0\r\n", None, None, 0).is_none());
    }
}
