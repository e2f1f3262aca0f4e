//! A small MSRP reader and writer (RFC 4975 §7, §9). Deliberately independent of cpm's, so that
//! cpm's output is checked by other code. The reader is strict: anything that is not MSRP is an
//! error of the sender.

use memchr::memmem;

use crate::request::unique;

/// How far the end of a head is searched.
const MAX_HEAD_BYTES: usize = 16_384;

/// Beginning of an end-line, before the transaction id.
const DASHES: &str = "-------";

/// Start line and header fields of one request or response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MsrpHead {
    transaction_id: String,
    /// The start line after the transaction id: a method, or a status code with its phrase.
    what: String,
    headers: Vec<(String, String)>,
}

impl MsrpHead {
    /// Parses the lines of a head, without the line that ends it.
    fn read(lines: &str) -> Result<Self, String> {
        let mut lines = lines.split("\r\n");
        let start = lines.next().unwrap_or_default();
        let words = start
            .strip_prefix("MSRP ")
            .and_then(|rest| rest.split_once(' '));
        let Some((id, what)) = words.filter(|(id, what)| !id.is_empty() && !what.is_empty()) else {
            return Err(format!("not an MSRP start line: {start:?}"));
        };
        let mut headers = Vec::new();
        for line in lines {
            let Some((name, value)) = line.split_once(": ") else {
                return Err(format!("not an MSRP header field: {line:?}"));
            };
            headers.push((name.to_owned(), value.to_owned()));
        }
        let order: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        if order.first() != Some(&"To-Path") || order.get(1) != Some(&"From-Path") {
            return Err(format!("To-Path and From-Path are not first: {order:?}"));
        }
        Ok(Self {
            transaction_id: id.to_owned(),
            what: what.to_owned(),
            headers,
        })
    }

    /// The transaction id.
    pub fn transaction_id(&self) -> &str {
        &self.transaction_id
    }

    /// The method, if it is a request.
    pub fn method(&self) -> Option<&str> {
        self.status().is_none().then_some(self.what.as_str())
    }

    /// The status code, if it is a response.
    pub fn status(&self) -> Option<u16> {
        let code = self.what.split(' ').next()?;
        (code.len() == 3).then(|| code.parse().ok())?
    }

    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.headers.iter();
        let field = fields.find(|(own, _)| own.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    /// All header fields: name, value.
    pub fn all_headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The URIs of To-Path.
    pub fn to_path(&self) -> Vec<&str> {
        self.header("To-Path")
            .unwrap_or_default()
            .split(' ')
            .collect()
    }

    /// The URIs of From-Path.
    pub fn from_path(&self) -> Vec<&str> {
        self.header("From-Path")
            .unwrap_or_default()
            .split(' ')
            .collect()
    }

    /// First byte (counted from 1), last byte and total; `None` for `*`.
    pub fn byte_range(&self) -> Option<(u64, Option<u64>, Option<u64>)> {
        let (range, total) = self.header("Byte-Range")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok(), total.parse().ok()))
    }
}

/// What the reader finds, in stream order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MsrpEvent {
    /// A complete head; content follows if the flag is set.
    Head(MsrpHead, bool),
    /// The next bytes of content.
    Content(Vec<u8>),
    /// The end-line, with its flag.
    End(char),
}

/// Cuts a stream into events.
#[derive(Debug, Default)]
pub(crate) struct MsrpReader {
    pending: Vec<u8>,
    /// Within content: the end-line up to its flag, with the preceding line end.
    end_line: Option<Vec<u8>>,
}

impl MsrpReader {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// A description of what is not MSRP.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<Vec<MsrpEvent>, String> {
        self.pending.extend_from_slice(bytes);
        let mut events = Vec::new();
        loop {
            let more = match self.end_line.take() {
                Some(end_line) => self.read_content(end_line, &mut events),
                None => self.read_head(&mut events)?,
            };
            if !more {
                return Ok(events);
            }
        }
    }

    fn read_head(&mut self, events: &mut Vec<MsrpEvent>) -> Result<bool, String> {
        let mut lines = 0;
        let mut id = None;
        while let Some(end) = memmem::find(&self.pending[lines..], b"\r\n") {
            let line = &self.pending[lines..lines + end];
            let line = std::str::from_utf8(line).map_err(|_| "a head is not UTF-8".to_owned())?;
            if lines == 0 {
                id = line.split(' ').nth(1).map(str::to_owned);
            }
            let end_line = format!("{DASHES}{}", id.as_deref().unwrap_or_default());
            let flag = line.strip_prefix(&end_line).and_then(flag_of);
            if !line.is_empty() && flag.is_none() {
                lines += end + 2;
                continue;
            }
            let next = lines + end + 2;
            let head =
                String::from_utf8_lossy(&self.pending[..lines.saturating_sub(2)]).into_owned();
            self.pending.drain(..next);
            events.push(MsrpEvent::Head(MsrpHead::read(&head)?, flag.is_none()));
            match flag {
                Some(flag) => events.push(MsrpEvent::End(flag)),
                None => self.end_line = Some(format!("\r\n{end_line}").into_bytes()),
            }
            return Ok(true);
        }
        match self.pending.len() {
            0..=MAX_HEAD_BYTES => Ok(false),
            _ => Err("a head has no end".to_owned()),
        }
    }

    /// Content up to the end-line. Bytes that only begin like an end-line are content.
    fn read_content(&mut self, end_line: Vec<u8>, events: &mut Vec<MsrpEvent>) -> bool {
        let mut from = 0;
        while let Some(found) = memmem::find(&self.pending[from..], &end_line) {
            let (start, flag) = (from + found, from + found + end_line.len());
            let Some(tail) = self.pending.get(flag..flag + 3) else {
                // Its flag has not arrived yet.
                self.emit(start, events);
                self.end_line = Some(end_line);
                return false;
            };
            let Some(flag) =
                flag_of(&String::from_utf8_lossy(&tail[..1])).filter(|_| &tail[1..] == b"\r\n")
            else {
                from = start + 1;
                continue;
            };
            self.emit(start, events);
            self.pending.drain(..end_line.len() + 3);
            events.push(MsrpEvent::End(flag));
            return true;
        }
        let kept = self.pending.len().min(end_line.len() - 1);
        self.emit(self.pending.len() - kept, events);
        self.end_line = Some(end_line);
        false
    }

    fn emit(&mut self, length: usize, events: &mut Vec<MsrpEvent>) {
        if length > 0 {
            events.push(MsrpEvent::Content(self.pending.drain(..length).collect()));
        }
    }
}

fn flag_of(text: &str) -> Option<char> {
    let mut characters = text.chars();
    let flag = characters.next().filter(|flag| "$+#".contains(*flag));
    flag.filter(|_| characters.next().is_none())
}

/// A request to send. Nothing is checked, because tests also send invalid requests. Paths that are
/// not set are those of the session that sends it.
#[derive(Debug, Clone)]
pub struct MsrpRequest {
    transaction_id: String,
    method: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    flag: char,
}

impl MsrpRequest {
    /// A request without content.
    pub fn new(method: &str) -> Self {
        Self {
            transaction_id: unique(),
            method: method.to_owned(),
            headers: Vec::new(),
            body: None,
            flag: '$',
        }
    }

    /// The empty SEND that binds a connection to its session (RFC 4975 §5.4).
    pub fn empty_send() -> Self {
        let id = unique();
        Self::new("SEND")
            .with("Message-ID", &id)
            .with("Byte-Range", "1-0/0")
    }

    /// A chunk: these bytes of the message with this Message-ID, beginning at `offset` (counted
    /// from 0) of `total`.
    pub fn chunk(message_id: &str, offset: usize, bytes: &[u8], total: usize) -> Self {
        let (first, last) = (offset + 1, offset + bytes.len());
        let request = Self::new("SEND")
            .with("Message-ID", message_id)
            .with("Byte-Range", &format!("{first}-{last}/{total}"))
            .with_body("message/cpim", bytes);
        match last < total {
            true => request.flagged('+'),
            false => request,
        }
    }

    /// Sets the transaction id.
    pub fn named(mut self, transaction_id: &str) -> Self {
        transaction_id.clone_into(&mut self.transaction_id);
        self
    }

    /// Sets the header field; a new one is added at the end.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let place = self.headers.iter().position(|(own, _)| own == name);
        let field = (name.to_owned(), value.to_owned());
        match place {
            Some(place) => self.headers[place] = field,
            None => self.headers.push(field),
        }
        self
    }

    /// Removes the header field.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| own != name);
        self
    }

    /// Sets the content and its type, which is the last header field.
    pub fn with_body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self = self
            .without("Content-Type")
            .with("Content-Type", content_type);
        self.body = Some(body.into());
        self
    }

    /// Removes the content and its type.
    pub fn without_body(mut self) -> Self {
        self.body = None;
        self.without("Content-Type")
    }

    /// Sets the flag of the end-line: `$` last chunk, `+` more chunks follow, `#` aborted.
    pub fn flagged(mut self, flag: char) -> Self {
        self.flag = flag;
        self
    }

    /// The transaction id.
    pub fn transaction_id(&self) -> &str {
        &self.transaction_id
    }

    /// The bytes on the wire.
    pub fn write(&self, to_path: &str, from_path: &str) -> Vec<u8> {
        let id = &self.transaction_id;
        let mut head = format!("MSRP {id} {}\r\n", self.method);
        let own = |name: &str| self.headers.iter().find(|(own, _)| own == name);
        for (name, path) in [("To-Path", to_path), ("From-Path", from_path)] {
            let value = own(name).map_or(path, |(_, value)| value);
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        // To-Path and From-Path come first and Content-Type last, in whatever order they were set.
        let rest = |name: &str| !["To-Path", "From-Path", "Content-Type"].contains(&name);
        let fields = self.headers.iter().filter(|(name, _)| rest(name));
        for (name, value) in fields.chain(own("Content-Type")) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut bytes = head.into_bytes();
        if let Some(body) = &self.body {
            bytes.extend_from_slice(b"\r\n");
            bytes.extend_from_slice(body);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("{DASHES}{id}{}\r\n", self.flag).as_bytes());
        bytes
    }
}

/// The response to a request (RFC 4975 §7.2): over one hop for SEND, along the whole path
/// otherwise.
pub(crate) fn response(request: &MsrpHead, status: u16, phrase: &str) -> Vec<u8> {
    let (from, to) = (request.from_path(), request.to_path());
    let back = match request.method() {
        Some("SEND") => from[..1].join(" "),
        _ => from.join(" "),
    };
    let id = request.transaction_id();
    format!(
        "MSRP {id} {status} {phrase}\r\nTo-Path: {back}\r\nFrom-Path: {}\r\n{DASHES}{id}$\r\n",
        to[0]
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: &str = "msrp://127.0.0.1:7654/jshA7we;tcp";
    const FROM: &str = "msrp://127.0.0.1:7655/kjhd37s2s2;tcp";

    fn content(events: &[MsrpEvent]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for event in events {
            if let MsrpEvent::Content(more) = event {
                bytes.extend_from_slice(more);
            }
        }
        bytes
    }

    #[test]
    fn what_is_written_is_read_however_it_is_cut() {
        let body = b"a\r\n-------other$\r\n-------id7$x\r\n-------id7\r\n-------id7+ \r\n\r\n";
        let bytes = [
            MsrpRequest::empty_send().named("id6").write(TO, FROM),
            MsrpRequest::chunk("m", 10, body, 1000)
                .named("id7")
                .write(TO, FROM),
            MsrpRequest::new("SEND")
                .with_body("text/plain", "")
                .named("id8")
                .flagged('#')
                .write(TO, FROM),
        ]
        .concat();
        for size in [1, 2, 3, 7, 50, bytes.len()] {
            let mut reader = MsrpReader::default();
            let mut events = Vec::new();
            for piece in bytes.chunks(size) {
                events.extend(reader.read(piece).unwrap());
            }
            assert_eq!(content(&events), body);
            let heads: Vec<&MsrpHead> = events
                .iter()
                .filter_map(|event| match event {
                    MsrpEvent::Head(head, _) => Some(head),
                    _ => None,
                })
                .collect();
            assert_eq!((heads.len(), heads[1].method()), (3, Some("SEND")));
            assert_eq!(
                (heads[1].to_path(), heads[1].from_path()),
                (vec![TO], vec![FROM])
            );
            let last = 10 + body.len() as u64;
            assert_eq!(heads[1].byte_range(), Some((11, Some(last), Some(1000))));
            let ends: Vec<_> = events
                .iter()
                .filter(|event| matches!(event, MsrpEvent::End(_)))
                .collect();
            assert_eq!(
                ends,
                [
                    &MsrpEvent::End('$'),
                    &MsrpEvent::End('+'),
                    &MsrpEvent::End('#')
                ]
            );
        }
    }

    #[test]
    fn responses_go_back_one_hop() {
        let two = format!("{FROM} msrp://far:1/x;tcp");
        let read = |bytes: &[u8]| match MsrpReader::default().read(bytes).unwrap().remove(0) {
            MsrpEvent::Head(head, _) => head,
            other => panic!("{other:?}"),
        };
        let request = read(&MsrpRequest::empty_send().write(TO, &two));
        let answer = read(&response(&request, 200, "OK"));
        assert_eq!((answer.status(), answer.method()), (Some(200), None));
        assert_eq!(
            (answer.to_path(), answer.from_path()),
            (vec![FROM], vec![TO])
        );
        assert_eq!(answer.transaction_id(), request.transaction_id());
    }

    #[test]
    fn what_is_no_msrp_is_a_fault() {
        for bad in [
            "SIP/2.0 200 OK\r\n\r\n",
            "MSRP x SEND\r\nFrom-Path: a\r\nTo-Path: b\r\n-------x$\r\n",
            "MSRP x SEND\r\nTo-Path:a\r\n-------x$\r\n",
            "MSRP x\r\n\r\n",
        ] {
            assert!(MsrpReader::default().read(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(
            MsrpReader::default()
                .read(&vec![b'x'; MAX_HEAD_BYTES + 1])
                .is_err()
        );
    }
}
