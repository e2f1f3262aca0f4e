//! A small HTTP server whose answers are set by the test: documents, refusals, silence.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::certificate::Certificate;
use crate::message::same_name;
use crate::outcome::or_fail;
use crate::sys;
use crate::way::PATIENCE;

/// How the server answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebAnswer {
    /// 200 with this body; 304 if the client has the same version according to its ETag.
    Document {
        /// Without quotation marks.
        etag: Option<String>,
        /// Any bytes.
        body: Vec<u8>,
    },
    /// This status, with an empty body.
    Status(u16),
    /// Nothing for this long, then 503. Ended early by [`WebServer::answers`], with the new answer.
    Hang(Duration),
    /// These bytes, unchecked.
    Raw(Vec<u8>),
    /// These bytes, then the connection is closed.
    RawAndClose(Vec<u8>),
    /// These bytes, then single spaces until the client gives up.
    Drip(Vec<u8>),
    /// The connection is closed.
    Close,
}

impl WebAnswer {
    /// A document with this ETag.
    pub fn document(etag: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::Document {
            etag: Some(etag.to_owned()),
            body: body.into(),
        }
    }

    /// A complete response. `head`: status, reason and header fields, separated by line ends;
    /// Content-Length is added.
    pub fn response(head: &str, body: &str) -> Self {
        Self::Raw(whole(head, body))
    }
}

/// A response with its Content-Length.
fn whole(head: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A received request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebRequest {
    /// Usually `GET`.
    pub method: String,
    /// The target of the request line.
    pub path: String,
    headers: Vec<(String, String)>,
}

impl WebRequest {
    /// The first value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        let line = self.headers.iter().find(|(own, _)| same_name(own, name));
        line.map(|(_, value)| value.as_str())
    }
}

type AnswerFunction = Box<dyn FnMut(&WebRequest) -> WebAnswer + Send>;

/// A server on 127.0.0.1 that has no document (404) until told otherwise. Stops when dropped.
pub struct WebServer {
    address: SocketAddr,
    listener: TcpListener,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Answers to the next requests, used before all others.
    script: VecDeque<WebAnswer>,
    answer: Option<AnswerFunction>,
    /// Incremented with each new answer.
    generation: u64,
    requests: Vec<WebRequest>,
    /// Number of requests that a test has read.
    read: usize,
    ended: bool,
    connections: Vec<TcpStream>,
}

impl fmt::Debug for WebServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl WebServer {
    /// A server on a free port, for tests without a [`Bench`](crate::Bench), which assigns ports
    /// itself.
    #[track_caller]
    pub fn local() -> Self {
        or_fail("starting a web server", Self::start(0))
    }

    /// Answers the first request over TLS on this local address, with this certificate, and no
    /// further ones. Returns the port.
    #[track_caller]
    pub fn answer_once_over_tls(address: &str, certificate: &Certificate, reply: Vec<u8>) -> u16 {
        let config = or_fail("a TLS server", certificate.plain_server());
        let listener = or_fail("listening", TcpListener::bind((address, 0)));
        let port = or_fail("listening", listener.local_addr()).port();
        thread::spawn(move || answer_over_tls(&listener, config, &reply));
        port
    }

    pub(crate) fn start(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.local_addr()?;
        let shared = Arc::<Shared>::default();
        let accepting = thread::spawn({
            let (listener, shared) = (listener.try_clone()?, Arc::clone(&shared));
            move || accept(&listener, &shared)
        });
        Ok(Self {
            address,
            listener,
            shared,
            accepting: Some(accepting),
        })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Sets the answer to one request, after those of earlier calls and before that of
    /// [`answers`](Self::answers).
    pub fn then(&self, answer: WebAnswer) -> &Self {
        self.shared.lock().script.push_back(answer);
        self
    }

    /// Discards answers of [`then`](Self::then) that were not used.
    pub fn forget_script(&self) {
        self.shared.lock().script.clear();
    }

    /// The requests that the test has not read yet.
    pub fn take_requests(&self) -> Vec<WebRequest> {
        let mut state = self.shared.lock();
        let unread = state.requests[state.read..].to_vec();
        state.read = state.requests.len();
        unread
    }

    /// Sets the answer to all requests from now on, including those that are waiting.
    pub fn answers(&self, answer: impl FnMut(&WebRequest) -> WebAnswer + Send + 'static) {
        let mut state = self.shared.lock();
        state.answer = Some(Box::new(answer));
        state.generation += 1;
        self.shared.changed.notify_all();
    }

    /// The next request that the test has not read yet.
    #[track_caller]
    pub fn expect_request(&self) -> WebRequest {
        let waiting = |state: &mut State| state.read == state.requests.len();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(self.shared.lock(), PATIENCE, waiting);
        let mut state = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        let next = state.requests.get(state.read).cloned();
        state.read += 1;
        drop(state);
        match next {
            Some(request) => request,
            None => panic!("no request came to {}", self.address),
        }
    }

    /// All requests since the start, read or not.
    pub fn requests(&self) -> Vec<WebRequest> {
        self.shared.lock().requests.clone()
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.ended = true;
        for connection in state.connections.drain(..) {
            sys::wake_readers(&connection);
        }
        drop(state);
        self.shared.changed.notify_all();
        sys::wake_readers(&self.listener);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        sys::lock(&self.state)
    }

    /// Records a request and determines its answer. `None`: the server has ended.
    fn take(&self, request: &WebRequest) -> Option<WebAnswer> {
        let mut state = self.lock();
        state.requests.push(request.clone());
        self.changed.notify_all();
        loop {
            let scripted = state.script.pop_front();
            let answer = scripted.unwrap_or_else(|| match &mut state.answer {
                Some(answer) => answer(request),
                None => WebAnswer::Status(404),
            });
            let WebAnswer::Hang(time) = answer else {
                return Some(answer);
            };
            let generation = state.generation;
            let waiting = |state: &mut State| !state.ended && state.generation == generation;
            let waited = self.changed.wait_timeout_while(state, time, waiting);
            let (now, timed_out) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
            if now.ended {
                return None;
            }
            if timed_out.timed_out() {
                return Some(WebAnswer::Status(503));
            }
            state = now;
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((connection, _)) = listener.accept() {
        let Ok(copy) = connection.try_clone() else {
            continue;
        };
        let mut state = shared.lock();
        if state.ended {
            return;
        }
        state.connections.push(copy);
        drop(state);
        let shared = Arc::clone(shared);
        // Ends with its connection, which is shut down when the server ends.
        thread::spawn(move || serve(connection, &shared));
    }
}

/// Answers one request after another until the client closes.
fn serve(mut connection: TcpStream, shared: &Shared) -> Option<()> {
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    loop {
        let request = read(&mut reader)?;
        match shared.take(&request)? {
            WebAnswer::Close => return close(&connection),
            WebAnswer::Drip(bytes) => {
                connection.write_all(&bytes).ok()?;
                loop {
                    connection.write_all(b" ").ok()?;
                    thread::sleep(Duration::from_millis(5));
                }
            }
            WebAnswer::RawAndClose(bytes) => {
                connection.write_all(&bytes).ok()?;
                return close(&connection);
            }
            WebAnswer::Raw(bytes) => connection.write_all(&bytes).ok()?,
            answer => connection.write_all(&write(&request, &answer)).ok()?,
        }
    }
}

/// The server keeps a copy of each connection, which would hold it open.
fn close(connection: &TcpStream) -> Option<()> {
    connection.shutdown(Shutdown::Both).ok()
}

fn answer_over_tls(listener: &TcpListener, config: Arc<ServerConfig>, reply: &[u8]) -> Option<()> {
    let (socket, _) = listener.accept().ok()?;
    let session = ServerConnection::new(config).ok()?;
    let mut stream = BufReader::new(StreamOwned::new(session, socket));
    // A client that does not trust us disconnects.
    read(&mut stream)?;
    stream.get_mut().write_all(reply).ok()?;
    stream.get_mut().flush().ok()?;
    // The client closes first, so that no byte of the answer is lost.
    let _ = stream.read_line(&mut String::new());
    Some(())
}

fn read(reader: &mut impl BufRead) -> Option<WebRequest> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        // Without a line end, the client is gone.
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Some(WebRequest {
                method,
                path,
                headers,
            });
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn write(request: &WebRequest, answer: &WebAnswer) -> Vec<u8> {
    let (status, etag, body): (u16, Option<&str>, &[u8]) = match answer {
        WebAnswer::Document { etag, body } => {
            let quoted = etag.as_ref().map(|etag| format!("\"{etag}\""));
            match request.header("If-None-Match") {
                Some(known) if Some(known) == quoted.as_deref() => (304, etag.as_deref(), b""),
                _ => (200, etag.as_deref(), body),
            }
        }
        WebAnswer::Status(status) => (*status, None, b""),
        // Answers other than documents were handled before.
        _ => (503, None, b""),
    };
    let etag = etag.map_or_else(String::new, |etag| format!("ETag: \"{etag}\"\r\n"));
    let mut bytes = format!(
        "HTTP/1.1 {status} Testbed\r\nContent-Type: application/vnd.oma.poc.groups+xml\r\n\
         {etag}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::Bench;

    fn get(server: &WebServer, header: &str) -> TcpStream {
        let mut client = TcpStream::connect(server.address).unwrap();
        write!(client, "GET /x HTTP/1.1\r\nHost: h\r\n{header}\r\n").unwrap();
        client
    }

    fn status(client: &mut TcpStream) -> String {
        let mut start = [0; 12];
        client.read_exact(&mut start).unwrap();
        String::from_utf8_lossy(&start).into_owned()
    }

    #[test]
    fn a_document_is_not_sent_to_whoever_has_it() {
        let bench = Bench::new("a_document_is_not_sent_to_whoever_has_it");
        let server = bench.web_server();
        assert_eq!(status(&mut get(&server, "")), "HTTP/1.1 404");
        server.answers(|_| WebAnswer::document("7", "text"));
        assert_eq!(status(&mut get(&server, "")), "HTTP/1.1 200");
        let mut known = get(&server, "if-none-match: \"7\"\r\n");
        assert_eq!(status(&mut known), "HTTP/1.1 304");
        let first = server.expect_request();
        assert_eq!((&*first.method, &*first.path), ("GET", "/x"));
        assert_eq!(server.requests().len(), 3);
    }

    #[test]
    fn what_hangs_is_answered_when_the_test_says_so() {
        let bench = Bench::new("what_hangs_is_answered_when_the_test_says_so");
        let server = bench.web_server();
        server.answers(|_| WebAnswer::Hang(PATIENCE));
        let mut client = get(&server, "");
        server.expect_request();
        server.answers(|_| WebAnswer::Status(200));
        assert_eq!(status(&mut client), "HTTP/1.1 200");
        server
            .then(WebAnswer::response("204 First", ""))
            .then(WebAnswer::RawAndClose(b"HTTP/1.1 205 Bye\r\n".to_vec()))
            .then(WebAnswer::Close);
        assert_eq!(status(&mut get(&server, "")), "HTTP/1.1 204");
        let mut closed = get(&server, "");
        assert_eq!(status(&mut closed), "HTTP/1.1 205");
        let rest = closed.read_to_end(&mut Vec::new()).expect("it is closed");
        assert_eq!(rest, b" Bye\r\n".len());
        let nothing = get(&server, "").read_to_end(&mut Vec::new());
        assert_eq!(nothing.expect("it is closed"), 0);
        assert_eq!(server.take_requests().len(), 3);
        server.answers(|_| WebAnswer::Hang(Duration::ZERO));
        assert_eq!(status(&mut get(&server, "")), "HTTP/1.1 503");
    }
}
