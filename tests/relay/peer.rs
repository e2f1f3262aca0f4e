//! MSRP peers of a few lines, on blocking sockets, that share no code with what they test.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Time limit of every wait of a peer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A request or response as read.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: String,
    /// `SEND`, or `200 OK`.
    pub(crate) what: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) content: Option<Vec<u8>>,
    pub(crate) flag: char,
}

impl Message {
    pub(crate) fn field(&self, name: &str) -> &str {
        let field = self.fields.iter().find(|(n, _)| n == name);
        field.map_or("", |(_, value)| value)
    }

    pub(crate) fn code(&self) -> &str {
        self.what.split(' ').next().unwrap_or_default()
    }
}

/// One end of a connection, plain or with TLS.
pub(crate) trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

pub(crate) struct Peer {
    pub(crate) wire: Box<dyn Wire>,
    unread: Vec<u8>,
    /// How much of `unread` is known to contain no end-line.
    searched: usize,
}

static NEXT_ID: AtomicU32 = AtomicU32::new(0);

pub(crate) fn new_id() -> String {
    format!("t{:07}", NEXT_ID.fetch_add(1, Ordering::Relaxed))
}

impl Peer {
    pub(crate) fn new(wire: impl Wire + 'static) -> Self {
        Self {
            wire: Box::new(wire),
            unread: Vec::new(),
            searched: 0,
        }
    }

    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self::new(stream)
    }

    pub(crate) fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self::new(stream)
    }

    fn read_some(&mut self) -> io::Result<bool> {
        let mut block = vec![0; 256 * 1024];
        let read = self.wire.read(&mut block)?;
        self.unread.extend_from_slice(&block[..read]);
        Ok(read > 0)
    }

    /// The next message; `None` if the other side has closed.
    pub(crate) fn read(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.cut() {
                return Some(message);
            }
            match self.read_some() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn cut(&mut self) -> Option<Message> {
        let line_end = find(&self.unread, b"\r\n")?;
        let start_line = std::str::from_utf8(&self.unread[..line_end]).unwrap();
        let mut words = start_line.splitn(3, ' ');
        assert_eq!(words.next(), Some("MSRP"), "{start_line}");
        let (id, what) = (words.next()?.to_owned(), words.next()?.to_owned());
        let needle = format!("\r\n-------{id}").into_bytes();
        let from = self.searched.max(line_end);
        let Some(at) = find(&self.unread[from..], &needle) else {
            self.searched = self.unread.len().saturating_sub(needle.len());
            return None;
        };
        let end = from + at;
        self.searched = end;
        let after = end + needle.len();
        let flag = char::from(*self.unread.get(after)?);
        self.unread.get(after + 2)?;
        assert_eq!(&self.unread[after + 1..after + 3], b"\r\n");
        let head_end = find(&self.unread[..end + 2], b"\r\n\r\n");
        let head = &self.unread[line_end + 2..head_end.unwrap_or(end)];
        let fields = std::str::from_utf8(head).unwrap();
        let fields = fields.split("\r\n").map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        });
        let message = Message {
            fields: fields.collect(),
            // Without any content, blank line and end-line share a CRLF.
            content: head_end.map(|head| self.unread[(head + 4).min(end)..end].to_vec()),
            id,
            what,
            flag,
        };
        self.unread.drain(..after + 3);
        self.searched = 0;
        Some(message)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.wire.write_all(bytes).unwrap();
    }

    pub(crate) fn answer(&mut self, request: &Message, status: &str) {
        let (id, to) = (&request.id, first(request.field("From-Path")));
        let from = first(request.field("To-Path"));
        let response =
            format!("MSRP {id} {status}\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\n-------{id}$\r\n");
        // The other side may have closed, as it is entitled to.
        let _ = self.wire.write_all(response.as_bytes());
    }

    /// Reads whole messages and answers each with 200, until one is complete or aborted, or the
    /// connection ends.
    pub(crate) fn receive(&mut self) -> Received {
        let mut received = Received::default();
        while let Some(message) = self.read() {
            if message.what != "SEND" {
                continue;
            }
            self.answer(&message, "200 OK");
            if received.take(message) {
                break;
            }
        }
        received
    }
}

/// What a recipient has received of a message.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) content: Vec<u8>,
    pub(crate) chunks: usize,
    pub(crate) empty_sends: usize,
    pub(crate) end: Option<char>,
    pub(crate) message_id: String,
    pub(crate) content_type: String,
}

impl Received {
    /// True if that was the last chunk.
    pub(crate) fn take(&mut self, message: Message) -> bool {
        let Some(content) = &message.content else {
            self.empty_sends += 1;
            if message.flag == '#' {
                self.end = Some('#');
            }
            return message.flag == '#';
        };
        self.chunks += 1;
        let range = message.field("Byte-Range");
        let start: usize = range.split('-').next().unwrap().parse().unwrap();
        assert_eq!(start, self.content.len() + 1, "chunks in order");
        self.content.extend_from_slice(content);
        message.field("Message-ID").clone_into(&mut self.message_id);
        message
            .field("Content-Type")
            .clone_into(&mut self.content_type);
        if message.flag == '+' {
            return false;
        }
        self.end = Some(message.flag);
        true
    }
}

/// A SEND of one chunk.
pub(crate) fn chunk(
    to: &str,
    from: &str,
    start: usize,
    total: Option<usize>,
    content: &[u8],
    flag: char,
) -> Vec<u8> {
    let id = new_id();
    let total = total.map_or("*".to_owned(), |total| total.to_string());
    let head = format!(
        "MSRP {id} SEND\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: m1\r\n\
         Byte-Range: {}-*/{total}\r\nContent-Type: message/cpim\r\n\r\n",
        start + 1
    );
    let end = format!("\r\n-------{id}{flag}\r\n");
    [head.as_bytes(), content, end.as_bytes()].concat()
}

/// A SEND without content, which binds a session to a connection.
pub(crate) fn empty_send(to: &str, from: &str) -> Vec<u8> {
    let id = new_id();
    format!(
        "MSRP {id} SEND\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: e{id}\r\n\
         Byte-Range: 1-0/0\r\n-------{id}$\r\n"
    )
    .into_bytes()
}

/// The first URI of a path.
fn first(path: &str) -> &str {
    path.split(' ').next().unwrap()
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(hay, needle)
}

/// Content that makes mix-ups between legs visible: a sequence without a short period.
pub(crate) fn content(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}
