#[cfg(test)]
mod tests;

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use memchr::memmem::Finder;

use super::header::Fields;
use super::transaction_id::MAX_TRANSACTION_ID_BYTES;
use super::{
    ContinuationFlag, Head, HeadError, Kind, MAX_FIELDS, Method, Path, Status, TransactionId,
};

/// Maximum length of a head, start line and header fields together. Two paths of four relays, a
/// long Content-Type and some extensions need about 4 KiB. An unbound connection can occupy this
/// much.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The next element in the stream of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A request or response begins.
    Head(Box<Head>),
    /// A request or response begins whose fields cannot be used. Content and end follow as usual.
    Malformed(Box<Malformed>),
    /// The next bytes of the content, never empty. Only after a head that has content.
    Content(Bytes),
    /// The request or response ends.
    End(ContinuationFlag),
}

/// The known part of an unusable head: enough to answer it with 400, if it was a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The transaction.
    pub transaction_id: TransactionId,
    /// Method or status.
    pub kind: Kind,
    /// The first error.
    pub error: HeadError,
    /// To-Path, if it could be parsed.
    pub to_path: Option<Path>,
    /// From-Path, if it could be parsed.
    pub from_path: Option<Path>,
}

/// Why nothing more can be read from this connection: the beginning of the next head is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseError {
    /// The stream does not continue with `MSRP`.
    NotMsrp,
    /// The start line is neither that of a request nor that of a response.
    MalformedStartLine,
    /// The transaction id is not an `ident` (RFC 4975 §9).
    MalformedTransactionId,
    /// A line of the head ends with LF alone.
    BareLineFeed,
    /// An end-line in the head does not match its start line.
    MismatchedEndLine,
    /// The head exceeds [`MAX_HEAD_BYTES`].
    HeadTooLarge,
    /// The head has more than [`MAX_FIELDS`] header fields.
    TooManyFields,
}

/// Incremental parser of one connection.
///
/// The rule: append the bytes read to the buffer, call [`poll_event`](Self::poll_event) until it
/// returns `Ok(None)`, read again. However the stream is split into reads, the events are the same,
/// except for the boundaries between pieces of content.
///
/// ```text
///            start line       blank line              end-line
///  StartLine ----------> Head ----------> Content ----------------+
///      ^                  | end-line: Head, then                  |
///      +------------------+--------------- EndLine <--------------+
///
///  any state -- ParseError --> Failed
/// ```
#[derive(Debug, Default)]
pub struct Parser {
    state: State,
}

#[derive(Debug)]
enum State {
    /// The head is being collected.
    Head(Progress),
    /// Bytes of content or the end-line are next.
    Content(Box<EndLine>),
    /// The head ended with an end-line, which has not been returned yet.
    End(ContinuationFlag),
    Failed(ParseError),
}

impl Default for State {
    fn default() -> Self {
        Self::Head(Progress::default())
    }
}

/// Progress of the search for the end of the head, so that no byte is examined twice.
#[derive(Debug, Default)]
struct Progress {
    line_start: usize,
    searched: usize,
    fields: usize,
    start_line: Option<StartLine>,
}

#[derive(Debug, Clone, Copy)]
struct StartLine {
    transaction_id: TransactionId,
    kind: Kind,
    len: usize,
}

impl Parser {
    /// A parser for a new connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next event, taken from the front of `input`. `Ok(None)`: more bytes are needed; the
    /// bytes left in `input` must stay there. Content is a slice of the buffer of `input`, and
    /// keeps it alive.
    ///
    /// # Errors
    ///
    /// [`ParseError`], from then on with each call: the connection must be closed.
    pub fn poll_event(&mut self, input: &mut BytesMut) -> Result<Option<Event>, ParseError> {
        let result = match &mut self.state {
            State::Head(_) => self.poll_head(input),
            State::Content(end_line) => match end_line.scan(input) {
                Scan::Content(len) => {
                    return Ok(Some(Event::Content(input.split_to(len).freeze())));
                }
                Scan::End(flag, len) => {
                    input.advance(len);
                    self.state = State::default();
                    return Ok(Some(Event::End(flag)));
                }
                Scan::Partial => return Ok(None),
            },
            State::End(flag) => {
                let flag = *flag;
                self.state = State::default();
                return Ok(Some(Event::End(flag)));
            }
            State::Failed(error) => return Err(*error),
        };
        if let Err(error) = result {
            self.state = State::Failed(error);
        }
        result
    }

    /// Whether the stream may end here: no message is incomplete.
    pub fn is_between_messages(&self, input: &BytesMut) -> bool {
        matches!(self.state, State::Head(_)) && input.iter().all(|b| b"\r\n".contains(b))
    }

    fn poll_head(&mut self, input: &mut BytesMut) -> Result<Option<Event>, ParseError> {
        let State::Head(progress) = &mut self.state else {
            return Ok(None);
        };
        if progress.start_line.is_none() {
            // Tolerated: some clients keep a connection alive with blank lines.
            while progress.searched == 0 && input.starts_with(b"\r\n") {
                input.advance(2);
            }
            if input[..] == b"\r"[..] {
                return Ok(None);
            }
            let seen = input.len().min(5);
            if input[..seen] != b"MSRP "[..seen] {
                return Err(ParseError::NotMsrp);
            }
        }
        let Some((end, kind_of_end)) = progress.find_end(input)? else {
            return Ok(None);
        };
        // `find_end` returns `Some` only after the start line.
        let Some(start_line) = progress.start_line else {
            return Err(ParseError::MalformedStartLine);
        };
        let content_follows = matches!(kind_of_end, HeadEnd::BlankLine);
        let block = input.split_to(end).freeze();
        input.advance(match kind_of_end {
            HeadEnd::BlankLine => 2,
            HeadEnd::EndLine(_, len) => len,
        });
        self.state = match kind_of_end {
            HeadEnd::BlankLine => {
                State::Content(Box::new(EndLine::new(&start_line.transaction_id)))
            }
            HeadEnd::EndLine(flag, _) => State::End(flag),
        };
        Ok(Some(parse_head(&block, start_line, content_follows)))
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotMsrp => "Not MSRP",
            Self::MalformedStartLine => "Malformed Start Line",
            Self::MalformedTransactionId => "Malformed Transaction Id",
            Self::BareLineFeed => "Line Feed Without Carriage Return",
            Self::MismatchedEndLine => "End-Line Of Another Transaction",
            Self::HeadTooLarge => "Head Too Large",
            Self::TooManyFields => "Too Many Header Fields",
        })
    }
}

impl std::error::Error for ParseError {}

#[derive(Clone, Copy)]
enum HeadEnd {
    /// Content follows.
    BlankLine,
    /// Nothing follows; the length includes the CRLF.
    EndLine(ContinuationFlag, usize),
}

impl Progress {
    /// The start of the line that ends the head, and the kind of that line.
    fn find_end(&mut self, input: &[u8]) -> Result<Option<(usize, HeadEnd)>, ParseError> {
        while let Some(found) = memchr(b'\n', &input[self.searched..]) {
            let line_start = self.line_start;
            let line_feed = self.searched + found;
            if line_feed >= MAX_HEAD_BYTES {
                return Err(ParseError::HeadTooLarge);
            }
            self.searched = line_feed + 1;
            self.line_start = line_feed + 1;
            let line = input[line_start..line_feed]
                .strip_suffix(b"\r")
                .ok_or(ParseError::BareLineFeed)?;
            let Some(start_line) = &self.start_line else {
                self.start_line = Some(parse_start_line(line)?);
                continue;
            };
            if line.is_empty() {
                return Ok(Some((line_start, HeadEnd::BlankLine)));
            }
            if let Some(rest) = line.strip_prefix(b"-------") {
                let flag = match rest.strip_prefix(start_line.transaction_id.as_bytes()) {
                    Some(&[flag]) => ContinuationFlag::parse(flag),
                    _ => None,
                };
                let flag = flag.ok_or(ParseError::MismatchedEndLine)?;
                return Ok(Some((line_start, HeadEnd::EndLine(flag, line.len() + 2))));
            }
            self.fields += 1;
            if self.fields > MAX_FIELDS {
                return Err(ParseError::TooManyFields);
            }
        }
        self.searched = input.len();
        if input.len() > MAX_HEAD_BYTES {
            Err(ParseError::HeadTooLarge)
        } else {
            Ok(None)
        }
    }
}

/// `MSRP id METHOD` or `MSRP id 200 comment` (RFC 4975 §9), without CRLF.
fn parse_start_line(line: &[u8]) -> Result<StartLine, ParseError> {
    let rest = line.strip_prefix(b"MSRP ").ok_or(ParseError::NotMsrp)?;
    let space = rest
        .iter()
        .position(|&b| b == b' ')
        .ok_or(ParseError::MalformedStartLine)?;
    let transaction_id =
        TransactionId::parse(&rest[..space]).ok_or(ParseError::MalformedTransactionId)?;
    let kind = match &rest[space + 1..] {
        b"SEND" => Kind::Request(Method::Send),
        b"REPORT" => Kind::Request(Method::Report),
        b"AUTH" => Kind::Request(Method::Auth),
        method if !method.is_empty() && method.iter().all(u8::is_ascii_uppercase) => {
            Kind::Request(Method::Unknown)
        }
        code => {
            let (code, comment) = code.split_at(code.len().min(3));
            let status = Status::parse(code).ok_or(ParseError::MalformedStartLine)?;
            if !matches!(comment, [] | [b' ', ..]) {
                return Err(ParseError::MalformedStartLine);
            }
            Kind::Response(status)
        }
    };
    Ok(StartLine {
        transaction_id,
        kind,
        len: line.len() + 2,
    })
}

/// `block` is the start line and the header fields, each with its CRLF.
fn parse_head(block: &Bytes, start_line: StartLine, content_follows: bool) -> Event {
    let StartLine {
        transaction_id,
        kind,
        len,
    } = start_line;
    let mut fields = Fields::default();
    let mut first_error = None;
    let mut rest = &block[len..];
    while let Some(line_feed) = memchr(b'\n', rest) {
        let line = &rest[..line_feed.saturating_sub(1)];
        rest = &rest[line_feed + 1..];
        if let Err(error) = fields.parse_line(block, line) {
            first_error.get_or_insert(error);
        }
    }
    let (to_path, from_path) = (fields.to_path.clone(), fields.from_path.clone());
    let head = match first_error {
        Some(error) => Err(error),
        None => fields.into_head(transaction_id, kind, content_follows),
    };
    match head {
        Ok(head) => Event::Head(Box::new(head)),
        Err(error) => Event::Malformed(Box::new(Malformed {
            transaction_id,
            kind,
            error,
            to_path,
            from_path,
        })),
    }
}

/// CRLF, seven hyphens and a transaction id.
const MAX_NEEDLE_BYTES: usize = 9 + MAX_TRANSACTION_ID_BYTES;

/// Finds the end-line of one chunk in its content. Each byte of content is examined, so the search
/// must be fast. Text that looks like the end-line but has another flag, or does not end with CRLF,
/// is content.
struct EndLine {
    finder: Finder<'static>,
    /// No content has been returned yet.
    at_start: bool,
}

enum Scan {
    /// This many bytes at the front are content.
    Content(usize),
    /// The end-line is at the front and has this many bytes.
    End(ContinuationFlag, usize),
    /// The bytes may be content or part of the end-line.
    Partial,
}

enum Candidate {
    End(ContinuationFlag),
    Content,
    Partial,
}

impl EndLine {
    fn new(transaction_id: &TransactionId) -> Self {
        let id = transaction_id.as_bytes();
        let len = 9 + id.len();
        let mut needle = [b'-'; MAX_NEEDLE_BYTES];
        needle[..2].copy_from_slice(b"\r\n");
        needle[9..len].copy_from_slice(id);
        Self {
            finder: Finder::new(&needle[..len]).into_owned(),
            at_start: true,
        }
    }

    fn needle(&self) -> &[u8] {
        self.finder.needle()
    }

    fn scan(&mut self, input: &[u8]) -> Scan {
        // Tolerated: an end-line right after the blank line, from clients that write no CRLF after
        // content of no bytes.
        if self.at_start {
            let bare = &self.needle()[2..];
            if input.starts_with(bare) {
                match after_needle(&input[bare.len()..]) {
                    Candidate::End(flag) => return Scan::End(flag, bare.len() + 3),
                    Candidate::Partial => return Scan::Partial,
                    Candidate::Content => {}
                }
            } else if bare.starts_with(input) {
                return Scan::Partial;
            }
        }
        let content = match self.find(input) {
            (0, Some(flag)) => return Scan::End(flag, self.needle().len() + 3),
            (0, None) => return Scan::Partial,
            (content, _) => content,
        };
        self.at_start = false;
        Scan::Content(content)
    }

    /// The number of bytes at the front that are certainly content, and the flag if the end-line
    /// follows them.
    fn find(&self, input: &[u8]) -> (usize, Option<ContinuationFlag>) {
        let needle = self.needle();
        let mut from = 0;
        while let Some(found) = self.finder.find(&input[from..]) {
            let start = from + found;
            match after_needle(&input[start + needle.len()..]) {
                Candidate::End(flag) => return (start, Some(flag)),
                Candidate::Partial => return (start, None),
                Candidate::Content => from = start + 1,
            }
        }
        // The last bytes may be the beginning of the needle.
        let tail_start = input.len().saturating_sub(needle.len() - 1);
        let begun = (tail_start..input.len())
            .find(|&i| input[i] == b'\r' && needle.starts_with(&input[i..]));
        (begun.unwrap_or(input.len()), None)
    }
}

/// The end-line needs a flag and CRLF after the transaction id.
fn after_needle(rest: &[u8]) -> Candidate {
    let Some((&flag, rest)) = rest.split_first() else {
        return Candidate::Partial;
    };
    match (ContinuationFlag::parse(flag), rest) {
        (Some(flag), [b'\r', b'\n', ..]) => Candidate::End(flag),
        (Some(_), [] | [b'\r']) => Candidate::Partial,
        _ => Candidate::Content,
    }
}

impl fmt::Debug for EndLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndLine")
            .field("at_start", &self.at_start)
            .finish_non_exhaustive()
    }
}
