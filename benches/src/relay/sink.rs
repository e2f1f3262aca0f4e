//! The recipients: one thread that reads all connections, and answers if asked to.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

const BLOCK_BYTES: usize = 256 * 1024;
/// Seven hyphens, a transaction id, a flag, CRLF before and after.
const LONGEST_END_LINE: usize = 44;

/// Recipients, until each of them has the whole message.
pub(super) struct Sink {
    thread: JoinHandle<Vec<TcpStream>>,
}

impl Sink {
    /// Reads from all of these. `answers`: like an MSRP peer; otherwise the bytes are only searched
    /// for their end.
    pub(super) fn start(streams: Vec<TcpStream>, answers: bool) -> Self {
        let thread = thread::spawn(move || receive(streams, answers));
        Self { thread }
    }

    /// Waits until all have it, and returns the connections.
    pub(super) fn wait(self) -> Vec<TcpStream> {
        self.thread.join().expect("the sink does not fail")
    }
}

fn receive(streams: Vec<TcpStream>, answers: bool) -> Vec<TcpStream> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("descriptors are to be had");
    for (number, stream) in streams.iter().enumerate() {
        stream.set_nonblocking(true).expect("a socket");
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&epoll, stream, data, epoll::EventFlags::IN).expect("a socket");
    }
    let mut recipients: Vec<Recipient> = streams.into_iter().map(Recipient::new).collect();
    let mut left = recipients.len();
    let mut block = vec![0; BLOCK_BYTES];
    let mut events = Vec::with_capacity(64);
    while left > 0 {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None).expect("sockets to wait for");
        for event in &events {
            let recipient = &mut recipients[event.data.u64() as usize];
            let read = match recipient.stream.read(&mut block) {
                Ok(0) => panic!("a connection ended too early"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => panic!("{error}"),
            };
            if recipient.take(&block[..read], answers) {
                left -= 1;
            }
        }
    }
    recipients.into_iter().map(|r| r.stream).collect()
}

struct Recipient {
    stream: TcpStream,
    /// Unprocessed bytes: an incomplete head, or the last bytes of content.
    rest: Vec<u8>,
    /// Head and end-line of the chunk whose content is being read.
    chunk: Option<(String, Vec<u8>)>,
}

impl Recipient {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            rest: Vec::new(),
            chunk: None,
        }
    }

    /// True if the message is complete.
    fn take(&mut self, block: &[u8], answers: bool) -> bool {
        let mut complete = false;
        // The joint of two blocks is copied; the rest of a block is only searched.
        let mut joint = std::mem::take(&mut self.rest);
        let mut input = block;
        if !joint.is_empty() || self.chunk.is_none() {
            joint.extend_from_slice(block);
            input = &joint;
        }
        loop {
            let Some((head, end_line)) = &self.chunk else {
                let Some(id) = transaction_id(input) else {
                    self.rest = input.to_vec();
                    return complete;
                };
                let end_line = format!("-------{id}").into_bytes();
                let blank = memchr::memmem::find(input, b"\r\n\r\n");
                let end = memchr::memmem::find(input, &end_line);
                let content = match (blank, end) {
                    (Some(blank), end) if end.is_none_or(|end| blank < end) => blank + 4,
                    (_, Some(end)) => end,
                    _ => {
                        self.rest = input.to_vec();
                        return complete;
                    }
                };
                let head = String::from_utf8_lossy(&input[..content]).into_owned();
                self.chunk = Some((head, end_line));
                input = &input[content..];
                continue;
            };
            let whole = memchr::memmem::find(input, end_line)
                .filter(|at| input.len() >= at + end_line.len() + 3);
            let Some(at) = whole else {
                let keep = input.len().min(LONGEST_END_LINE);
                self.rest = input[input.len() - keep..].to_vec();
                return complete;
            };
            let flag = input[at + end_line.len()];
            complete |= flag == b'$' && head.contains("Content-Type");
            if answers && head.contains(" SEND\r\n") {
                let response = response(head);
                self.stream
                    .write_all(response.as_bytes())
                    .expect("the socket has room for a response");
            }
            input = &input[at + end_line.len() + 3..];
            self.chunk = None;
        }
    }
}

fn transaction_id(head: &[u8]) -> Option<&str> {
    let line_end = memchr::memchr(b'\n', head)?;
    std::str::from_utf8(&head[..line_end])
        .ok()?
        .split(' ')
        .nth(1)
}

fn response(head: &str) -> String {
    let value = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default()
    };
    let id = head.split(' ').nth(1).unwrap_or_default();
    format!(
        "MSRP {id} 200 OK\r\nTo-Path:{}\r\nFrom-Path:{}\r\n-------{id}$\r\n",
        value("From-Path:"),
        value("To-Path:")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_seen_however_they_are_cut() {
        let stream = "MSRP abcd SEND\r\nTo-Path: a\r\nFrom-Path: b\r\n-------abcd$\r\n\
            MSRP efgh SEND\r\nTo-Path: a\r\nFrom-Path: b\r\nContent-Type: x/y\r\n\r\n\
            -------efg\r\n-------efgh$\r\n";
        for cut in 1..stream.len() {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut far = listener.accept().unwrap().0;
            let mut recipient = Recipient::new(near);
            let (first, second) = stream.as_bytes().split_at(cut);
            let complete = [first, second].map(|part| recipient.take(part, true));
            assert_eq!(complete.iter().filter(|complete| **complete).count(), 1);
            drop(recipient);
            let mut answers = String::new();
            far.read_to_string(&mut answers).unwrap();
            assert_eq!(answers.matches(" 200 OK").count(), 2, "{cut}: {answers}");
        }
    }
}
