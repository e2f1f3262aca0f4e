//! A tiny SIP reader (RFC 3261 §7), independent of cpm's on purpose.

use std::fmt;

/// Maximum length of a message in a TCP stream. Kamailio's own limit is 64 KiB by default.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// Compact names (RFC 3261 §7.3.3, RFC 3428, RFC 3515, RFC 3841, RFC 3892, RFC 4028, RFC 6665).
const COMPACT_NAMES: [(&str, &str); 17] = [
    ("a", "accept-contact"),
    ("b", "referred-by"),
    ("c", "content-type"),
    ("e", "content-encoding"),
    ("f", "from"),
    ("i", "call-id"),
    ("j", "reject-contact"),
    ("k", "supported"),
    ("l", "content-length"),
    ("m", "contact"),
    ("o", "event"),
    ("r", "refer-to"),
    ("s", "subject"),
    ("t", "to"),
    ("u", "allow-events"),
    ("v", "via"),
    ("x", "session-expires"),
];

/// One SIP message as received, with its bytes. Anything that arrives can be held: if it is not
/// SIP, it has an odd start line and no headers.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    raw: Vec<u8>,
    start_line: String,
    headers: Vec<(String, String)>,
    body_start: usize,
}

impl Message {
    /// Reads the bytes of one whole message.
    pub fn read(raw: Vec<u8>) -> Self {
        let head_end = find(&raw, b"\r\n\r\n");
        let body_start = head_end.map_or(raw.len(), |end| end + 4);
        let head = String::from_utf8_lossy(&raw[..head_end.unwrap_or(raw.len())]).into_owned();
        let mut lines = head.split("\r\n");
        let start_line = lines.next().unwrap_or_default().to_owned();
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            match (line.starts_with([' ', '\t']), headers.last_mut()) {
                (true, Some((_, value))) => {
                    value.push(' ');
                    value.push_str(line.trim());
                }
                _ => {
                    if let Some((name, value)) = line.split_once(':') {
                        headers.push((name.trim().to_owned(), value.trim().to_owned()));
                    }
                }
            }
        }
        Self {
            raw,
            start_line,
            headers,
            body_start,
        }
    }

    /// The length of the first message in a TCP stream, once its head is complete (RFC 3261 §18.3).
    /// `Err`: no message ends within the limit, the stream is unusable.
    pub(crate) fn length_in_stream(stream: &[u8]) -> Result<Option<usize>, StreamLost> {
        let length = match find(stream, b"\r\n\r\n") {
            Some(end) => {
                let head = Self::read(stream[..end + 4].to_vec());
                let body = head
                    .header("Content-Length")
                    .and_then(|value| value.parse().ok());
                Some((end + 4).saturating_add(body.unwrap_or(0)))
            }
            None => None,
        };
        match length.unwrap_or(stream.len()) {
            0..=MAX_MESSAGE_BYTES => Ok(length),
            _ => Err(StreamLost),
        }
    }

    /// The bytes as received.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The first line, without its end.
    pub fn start_line(&self) -> &str {
        &self.start_line
    }

    /// The method, if it is a request.
    pub fn method(&self) -> Option<&str> {
        self.request_line().map(|(method, _)| method)
    }

    /// The Request-URI, if it is a request.
    pub fn uri(&self) -> Option<&str> {
        self.request_line().map(|(_, uri)| uri)
    }

    /// The status code, if it is a response.
    pub fn status(&self) -> Option<u16> {
        self.start_line
            .strip_prefix("SIP/2.0 ")?
            .get(..3)?
            .parse()
            .ok()
    }

    /// The first value of a header, by its full name; letter case does not matter and a compact
    /// form in the message is found too. Values that share a line are not taken apart.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).first().copied()
    }

    /// Every line of a header, in order.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.headers.iter().filter(|(own, _)| same_name(own, name));
        lines.map(|(_, value)| value.as_str()).collect()
    }

    /// Every header line as written: name, value.
    pub fn all_headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// A parameter of the first value of a header, such as `tag` of `From`.
    pub fn parameter(&self, header: &str, name: &str) -> Option<&str> {
        let value = self.header(header)?;
        // Parameters within the angle brackets belong to the URI, not to the header.
        let parameters = value.rsplit_once('>').map_or(value, |(_, rest)| rest);
        let first = parameters.split(',').next()?;
        first.split(';').skip(1).find_map(|parameter| {
            let (own, value) = parameter.split_once('=')?;
            own.trim()
                .eq_ignore_ascii_case(name)
                .then_some(value.trim())
        })
    }

    /// The body; empty if there is none.
    pub fn body(&self) -> &[u8] {
        &self.raw[self.body_start..]
    }

    /// Call-ID, or nothing.
    pub fn call_id(&self) -> &str {
        self.header("Call-ID").unwrap_or_default()
    }

    /// Number and method of the CSeq.
    pub fn cseq(&self) -> Option<(u32, &str)> {
        let (number, method) = self.header("CSeq")?.split_once(' ')?;
        Some((number.parse().ok()?, method.trim()))
    }

    /// The branch of the topmost Via.
    pub fn branch(&self) -> Option<&str> {
        self.parameter("Via", "branch")
    }

    fn request_line(&self) -> Option<(&str, &str)> {
        let (method, rest) = self.start_line.split_once(' ')?;
        rest.strip_suffix(" SIP/2.0").map(|uri| (method, uri))
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.raw))
    }
}

/// No message ends within the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamLost;

/// Whether two header names are equivalent, including compact forms.
pub(crate) fn same_name(left: &str, right: &str) -> bool {
    full_name(left).eq_ignore_ascii_case(full_name(right))
}

fn full_name(name: &str) -> &str {
    let compact = COMPACT_NAMES
        .iter()
        .find(|(short, _)| short.eq_ignore_ascii_case(name));
    compact.map_or(name, |(_, full)| full)
}

pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"MESSAGE sip:user2@domain.com SIP/2.0\r\n\
        v: SIP/2.0/TCP user1pc.domain.com;branch=z9hG4bK776sgdkse\r\n\
        Max-Forwards: 70\r\nf: <sip:user1@domain.com;x=1>;tag=49583\r\n\
        To: sip:user2@domain.com\r\nCall-ID: asd88asd77a@1.2.3.4\r\nCSeq: 1 MESSAGE\r\n\
        Subject: one\r\n  two\r\nl: 18\r\n\r\nWatson, come here.";

    #[test]
    fn headers_are_found_by_either_form_and_unfolded() {
        let message = Message::read(MESSAGE.to_vec());
        assert_eq!(message.method(), Some("MESSAGE"));
        assert_eq!(message.uri(), Some("sip:user2@domain.com"));
        assert_eq!(message.status(), None);
        assert_eq!(message.branch(), Some("z9hG4bK776sgdkse"));
        assert_eq!(message.parameter("From", "tag"), Some("49583"));
        assert_eq!(message.parameter("From", "x"), None);
        assert_eq!(message.header("subject"), Some("one two"));
        assert_eq!(message.header("Content-Length"), Some("18"));
        assert_eq!(message.cseq(), Some((1, "MESSAGE")));
        assert_eq!(message.body(), b"Watson, come here.");
    }

    #[test]
    fn a_stream_is_cut_by_content_length() {
        let mut stream = MESSAGE.to_vec();
        stream.extend_from_slice(b"SIP/2.0 200 OK\r\n");
        assert_eq!(Message::length_in_stream(&stream), Ok(Some(MESSAGE.len())));
        assert_eq!(Message::length_in_stream(&MESSAGE[..40]), Ok(None));
        assert_eq!(
            Message::length_in_stream(&vec![b'x'; MAX_MESSAGE_BYTES + 1]),
            Err(StreamLost)
        );
        let huge = b"A b SIP/2.0\r\nContent-Length: 18446744073709551615\r\n\r\n";
        assert_eq!(Message::length_in_stream(huge), Err(StreamLost));
    }

    #[test]
    fn what_is_no_sip_is_held_all_the_same() {
        let message = Message::read(b"\xff\xfe no sip".to_vec());
        assert_eq!(
            (message.method(), message.status(), message.branch()),
            (None, None, None)
        );
        assert_eq!(message.raw(), b"\xff\xfe no sip");
    }
}
