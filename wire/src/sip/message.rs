//! A SIP message as received: start line, header fields as spans, body (RFC 3261 §7).
//!
//! Nothing is copied. Header field values are bytes and keep their folds, because a proxy passes on
//! most of them unchanged; [`FieldLine::text`] is for those that are read.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::grammar::{is_lws_byte, is_token, is_token_byte};
use super::{HeaderName, StatusCode};

/// Maximum length of start line and header together, in bytes: the size of one UDP datagram.
pub const MAX_HEAD_BYTES: usize = 65_535;

/// Maximum number of header fields in one message. Requests through an IMS core carry 30 to 60.
pub const MAX_HEADER_FIELDS: usize = 256;

/// A SIP request or response over the buffer it arrived in. Cloning shares the buffer.
#[derive(Clone)]
pub struct Message {
    buffer: Bytes,
    start: Start,
    fields: Vec<FieldSpan>,
    body: Range<usize>,
}

/// One header field of a [`Message`]: its whole line with all continuation lines.
#[derive(Clone, Copy)]
pub struct FieldLine<'a> {
    head: &'a [u8],
    span: &'a FieldSpan,
}

/// Why bytes are not a SIP message. Each error makes the whole message unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageError {
    /// The bytes end before the blank line that ends the header.
    HeadTruncated,
    /// Start line and header are longer than [`MAX_HEAD_BYTES`].
    HeadTooLong,
    /// A NUL, or a CR that is not part of a line end, in start line or header.
    ControlCharacter,
    /// Neither a Request-Line nor a Status-Line of SIP/2.0.
    StartLine,
    /// A header line without name or colon.
    HeaderField,
    /// More than [`MAX_HEADER_FIELDS`].
    TooManyHeaderFields,
    /// Content-Length is not a number.
    ContentLength,
    /// There are fewer body bytes than Content-Length says.
    BodyTruncated,
}

/// A header field value that is not UTF-8 text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotTextError;

impl Message {
    /// Parses one message.
    ///
    /// Empty lines before the start line are skipped (§7.5), and lines may end with a bare LF. The
    /// body is everything after the blank line, truncated to Content-Length if that is shorter; of
    /// several Content-Length fields, which [`Message::repeated_field`] reports, the first one
    /// applies.
    pub fn parse(buffer: Bytes) -> Result<Self, MessageError> {
        let first = buffer
            .iter()
            .position(|byte| !matches!(byte, b'\r' | b'\n'))
            .unwrap_or(0);
        let limit = buffer.len().min(first + MAX_HEAD_BYTES);
        let mut lines = Lines {
            head: &buffer[..limit],
            at: first,
            is_cut: limit < buffer.len(),
        };

        let start = Start::parse(lines.head, lines.next_line()?)?;
        let mut fields = Vec::with_capacity(USUAL_HEADER_FIELDS);
        loop {
            let line = lines.next_line()?;
            if line.content.is_empty() {
                break;
            }
            if fields.len() == MAX_HEADER_FIELDS {
                return Err(MessageError::TooManyHeaderFields);
            }
            fields.push(FieldSpan::parse(
                lines.head,
                lines.with_continuations(line)?,
            )?);
        }

        let mut body = lines.at..buffer.len();
        let mut message = Self {
            start,
            fields,
            body: body.clone(),
            buffer,
        };
        if let Some(length) = message.content_length()? {
            if length > body.len() {
                return Err(MessageError::BodyTruncated);
            }
            body.end = body.start + length;
        }
        message.body = body;
        Ok(message)
    }

    /// The method of a request, `None` for a response.
    pub fn method(&self) -> Option<&str> {
        match &self.start {
            Start::Request { method, .. } => self.ascii(method),
            Start::Status(_) => None,
        }
    }

    /// The Request-URI as received, `None` for a response. It has no white space or control
    /// character, and is otherwise unchecked.
    pub fn request_uri(&self) -> Option<&str> {
        match &self.start {
            Start::Request { uri, .. } => self.ascii(uri),
            Start::Status(_) => None,
        }
    }

    /// The status code of a response, `None` for a request.
    pub fn status(&self) -> Option<StatusCode> {
        match self.start {
            Start::Request { .. } => None,
            Start::Status(code) => Some(code),
        }
    }

    /// The reason phrase of a response as received, `None` for a request or if it is not UTF-8
    /// text.
    pub fn reason(&self) -> Option<&str> {
        self.status()?;
        let start = self
            .buffer
            .iter()
            .position(|byte| !matches!(byte, b'\r' | b'\n'))?;
        let line = self.buffer[start..].split(|byte| *byte == b'\n').next()?;
        // Version and code were checked when the message was parsed.
        let reason = line.get(b"SIP/2.0 200".len()..)?;
        std::str::from_utf8(reason).ok().map(str::trim)
    }

    /// All header fields in the order received.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = FieldLine<'_>> {
        self.fields.iter().map(|span| FieldLine {
            head: &self.buffer,
            span,
        })
    }

    /// The first header field of that name.
    pub fn first(&self, name: HeaderName) -> Option<FieldLine<'_>> {
        self.all(name).next()
    }

    /// Every header field of that name, in the order received.
    pub fn all(&self, name: HeaderName) -> impl Iterator<Item = FieldLine<'_>> {
        self.fields().filter(move |field| field.name() == name)
    }

    /// The body; it shares the buffer of the message.
    pub fn body(&self) -> Bytes {
        self.buffer.slice(self.body.clone())
    }

    /// The bytes from which it was parsed.
    pub fn buffer(&self) -> &Bytes {
        &self.buffer
    }

    fn content_length(&self) -> Result<Option<usize>, MessageError> {
        let Some(field) = self.first(HeaderName::ContentLength) else {
            return Ok(None);
        };
        let digits = field.value();
        let length = std::str::from_utf8(digits)
            .ok()
            .filter(|_| digits.iter().all(u8::is_ascii_digit))
            .and_then(|digits| digits.parse().ok());
        length.map(Some).ok_or(MessageError::ContentLength)
    }

    /// Text of the start line, which was checked to be ASCII.
    fn ascii(&self, range: &Range<usize>) -> Option<&str> {
        std::str::from_utf8(&self.buffer[range.clone()]).ok()
    }
}

impl fmt::Debug for Message {
    /// Shows sizes only: the text of a message is private to subscribers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("method", &self.method())
            .field("status", &self.status())
            .field("fields", &self.fields.len())
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

impl<'a> FieldLine<'a> {
    /// The name of this header field.
    pub fn name(&self) -> HeaderName {
        self.span.name
    }

    /// The name as written.
    pub fn raw_name(&self) -> &'a str {
        // The name is a token, thus ASCII, so the fallback is never taken.
        std::str::from_utf8(&self.line()[..usize::from(self.span.name_bytes)]).unwrap_or("")
    }

    /// The value without white space around it. Folds inside it are as received.
    pub fn value(&self) -> &'a [u8] {
        &self.head[self.span.value.clone()]
    }

    /// The value as text, folds as received; the parsers of this module treat them as white space.
    pub fn text(&self) -> Result<&'a str, NotTextError> {
        std::str::from_utf8(self.value()).map_err(|_| NotTextError)
    }

    /// The value on one line, each fold replaced by one space (RFC 3261 §7.3.1). Bytes that are not
    /// UTF-8, as in a comment or display name in Latin-1, become U+FFFD, so that the rest remains
    /// readable.
    pub fn unfolded_text(&self) -> Cow<'a, str> {
        // Nearly every value is UTF-8, and searching for bytes that are not takes longer.
        match std::str::from_utf8(self.value()) {
            Ok(text) => unfold(text),
            Err(_) => {
                let text = String::from_utf8_lossy(self.value());
                Cow::Owned(unfold(&text).into_owned())
            }
        }
    }

    /// The bytes of the whole header field as received, with its line end.
    pub fn line(&self) -> &'a [u8] {
        &self.head[self.span.line.clone()]
    }
}

/// Text on one line, each fold replaced by one space.
fn unfold(text: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\n', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut lines = text.lines();
    let mut unfolded = lines
        .next()
        .unwrap_or("")
        .trim_end_matches([' ', '\t'])
        .to_owned();
    for line in lines {
        unfolded.push(' ');
        unfolded.push_str(line.trim_matches([' ', '\t']));
    }
    Cow::Owned(unfolded)
}

impl fmt::Debug for FieldLine<'_> {
    /// Shows the name only: the value may be private to a subscriber.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FieldLine").field(&self.raw_name()).finish()
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MessageError::HeadTruncated => "message ends before the end of its header",
            MessageError::HeadTooLong => "message header is too long",
            MessageError::ControlCharacter => "stray CR or NUL in the message header",
            MessageError::StartLine => "start line is neither a request nor a response",
            MessageError::HeaderField => "header line without name or colon",
            MessageError::TooManyHeaderFields => "message has too many header fields",
            MessageError::ContentLength => "Content-Length is malformed",
            MessageError::BodyTruncated => "body is shorter than Content-Length",
        })
    }
}

impl std::error::Error for MessageError {}

impl fmt::Display for NotTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("header field value is not UTF-8 text")
    }
}

impl std::error::Error for NotTextError {}

/// The start line. Ranges refer to the buffer and contain visible ASCII.
#[derive(Clone)]
enum Start {
    Request {
        method: Range<usize>,
        uri: Range<usize>,
    },
    Status(StatusCode),
}

impl Start {
    fn parse(head: &[u8], line: Line) -> Result<Self, MessageError> {
        Self::parse_line(&head[line.content.clone()], line.content.start)
            .ok_or(MessageError::StartLine)
    }

    fn parse_line(line: &[u8], at: usize) -> Option<Self> {
        let first_end = line.iter().position(|&byte| byte == b' ')?;
        let (first, rest) = (&line[..first_end], &line[first_end + 1..]);
        if is_sip_version(first) {
            let (code, reason) = rest.split_at_checked(3)?;
            // A missing space before an empty reason phrase is common and harmless.
            if !matches!(reason.first(), None | Some(b' ')) {
                return None;
            }
            return Some(Start::Status(StatusCode::parse(code).ok()?));
        }
        let uri_end = rest.iter().position(|&byte| byte == b' ')?;
        let (uri, version) = (&rest[..uri_end], &rest[uri_end + 1..]);
        let is_request = is_token(std::str::from_utf8(first).ok()?)
            && !uri.is_empty()
            && uri.iter().all(u8::is_ascii_graphic)
            && is_sip_version(version);
        let uri_start = at + first_end + 1;
        is_request.then_some(Start::Request {
            method: at..at + first_end,
            uri: uri_start..uri_start + uri_end,
        })
    }
}

fn is_sip_version(text: &[u8]) -> bool {
    text.eq_ignore_ascii_case(b"SIP/2.0")
}

/// Initial capacity for header fields, so that the usual request needs one allocation.
const USUAL_HEADER_FIELDS: usize = 48;

/// The location of one header field in the buffer.
#[derive(Clone)]
struct FieldSpan {
    name: HeaderName,
    /// The name starts the line. [`MAX_HEAD_BYTES`] fits into 16 bits.
    name_bytes: u16,
    value: Range<usize>,
    line: Range<usize>,
}

const _: () = assert!(MAX_HEAD_BYTES <= u16::MAX as usize);

impl FieldSpan {
    fn parse(head: &[u8], line: Line) -> Result<Self, MessageError> {
        let content = &head[line.content.clone()];
        let name_end = content
            .iter()
            .position(|&byte| !is_token_byte(byte))
            .filter(|&end| end > 0)
            .ok_or(MessageError::HeaderField)?;
        let colon = content[name_end..]
            .iter()
            .position(|byte| !matches!(byte, b' ' | b'\t'))
            .map(|blanks| name_end + blanks)
            .filter(|&at| content[at] == b':')
            .ok_or(MessageError::HeaderField)?;
        let after_colon = &content[colon + 1..];
        let is_text = |byte: &u8| !is_lws_byte(*byte);
        let value_start = after_colon
            .iter()
            .position(is_text)
            .unwrap_or(after_colon.len());
        let value_end = after_colon
            .iter()
            .rposition(is_text)
            .map_or(value_start, |last| last + 1);
        let origin = line.content.start + colon + 1;
        Ok(Self {
            name: HeaderName::parse(&content[..name_end]),
            name_bytes: name_end as u16,
            value: origin + value_start..origin + value_end,
            line: line.content.start..line.end,
        })
    }
}

/// One line of the head.
#[derive(Clone)]
struct Line {
    /// Without the line end.
    content: Range<usize>,
    /// After the line end.
    end: usize,
}

/// Iterates over the lines of the head.
struct Lines<'a> {
    /// The bytes that may belong to the head.
    head: &'a [u8],
    at: usize,
    /// Whether the limit, not the sender, ended `head`.
    is_cut: bool,
}

impl Lines<'_> {
    fn next_line(&mut self) -> Result<Line, MessageError> {
        let start = self.at;
        let ending = memchr::memchr3(b'\r', b'\n', 0, &self.head[start..]);
        let Some(content_end) = ending.map(|length| start + length) else {
            return Err(self.too_short());
        };
        let end = match (self.head[content_end], self.head.get(content_end + 1)) {
            (b'\n', _) => content_end + 1,
            (b'\r', Some(b'\n')) => content_end + 2,
            (b'\r', None) => return Err(self.too_short()),
            _ => return Err(MessageError::ControlCharacter),
        };
        self.at = end;
        Ok(Line {
            content: start..content_end,
            end,
        })
    }

    /// Extends a line by its continuation lines, which begin with white space (§7.3.1).
    fn with_continuations(&mut self, mut line: Line) -> Result<Line, MessageError> {
        while let Some(b' ' | b'\t') = self.head.get(self.at) {
            let next = self.next_line()?;
            line.content.end = next.content.end;
            line.end = next.end;
        }
        Ok(line)
    }

    fn too_short(&self) -> MessageError {
        match self.is_cut {
            true => MessageError::HeadTooLong,
            false => MessageError::HeadTruncated,
        }
    }
}
