//! SIP user agents, over UDP and TCP on one port.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::inbox::{Inbox, Received};
use crate::marker::MARKER;
use crate::message::Message;
use crate::outcome::or_fail;
use crate::request::{Reply, Request, unique};
use crate::sys::{self, lock};
use crate::way::{PATIENCE, Way};

/// Largest UDP payload over IPv4.
const MAX_DATAGRAM_BYTES: usize = 65_507;

/// Several thousand requests: one agent may play all recipients of a long list.
const RECEIVE_BUFFER_BYTES: i32 = 8 << 20;

/// Makes the replies to a request, in the order in which they are sent.
pub type AnswerFunction = Box<dyn FnMut(&Received) -> Vec<Reply> + Send>;

/// Called for each new request before it is answered, including ACK.
pub type WatchFunction = Box<dyn FnMut(&Received) + Send>;

/// What an agent does with a new request. A retransmission gets the same reply as the first. ACK is
/// never answered.
pub enum Answer {
    /// This reply at once.
    Reply(Reply),
    /// This reply after a while.
    After(Duration, Reply),
    /// No reply; the test may still call [`Agent::reply`].
    Silent,
    /// One answer per new request; the last one repeats.
    Sequence(VecDeque<Answer>),
    /// The replies that the function returns, in this order. It must not call [`Agent::answers`].
    With(AnswerFunction),
}

impl Answer {
    /// A reply with this status.
    pub fn code(status: u16) -> Self {
        Self::Reply(Reply::new(status))
    }

    /// A reply with this status, after a while.
    pub fn code_after(delay: Duration, status: u16) -> Self {
        Self::After(delay, Reply::new(status))
    }

    /// These in turn.
    pub fn sequence(answers: impl IntoIterator<Item = Self>) -> Self {
        Self::Sequence(answers.into_iter().collect())
    }

    /// The replies that `answer` returns.
    pub fn with(answer: impl FnMut(&Received) -> Vec<Reply> + Send + 'static) -> Self {
        Self::With(Box::new(answer))
    }

    /// What to send.
    fn next(&mut self, request: &Received) -> Vec<Reply> {
        match self {
            Self::Reply(reply) => vec![reply.clone()],
            Self::After(delay, reply) => vec![reply.clone().after(*delay)],
            Self::Silent => Vec::new(),
            Self::Sequence(answers) if answers.len() > 1 => answers
                .pop_front()
                .map_or(Vec::new(), |mut answer| answer.next(request)),
            Self::Sequence(answers) => answers
                .front_mut()
                .map_or(Vec::new(), |answer| answer.next(request)),
            Self::With(answer) => answer(request),
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reply(_) => "Reply",
            Self::After(..) => "After",
            Self::Silent => "Silent",
            Self::Sequence(_) => "Sequence",
            Self::With(_) => "With",
        })
    }
}

/// A user agent. It records everything it receives and answers by its [`Answer`] (by default 200).
/// One agent can be many recipients: it accepts every user part.
///
/// The `expect_…` calls panic if the message does not arrive, and name what arrived instead. The
/// agent ends when it is dropped.
#[derive(Debug)]
pub struct Agent {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Watcher(Mutex<Option<WatchFunction>>);

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    udp: UdpSocket,
    listener: TcpListener,
    connections: Mutex<HashMap<SocketAddr, TcpStream>>,
    /// To the answering thread: the message and its source; `None` is the end.
    incoming: Sender<Option<(Vec<u8>, Way)>>,
    inbox: Inbox,
    answer: Mutex<Answer>,
    /// The last reply to each request, for retransmissions of the request.
    replies: Mutex<HashMap<String, Vec<Vec<u8>>>>,
    tag: String,
    watcher: Watcher,
    ended: Mutex<bool>,
    ending: Condvar,
}

impl Agent {
    /// An agent at this port of this host.
    pub(crate) fn start(host: IpAddr, port: u16) -> io::Result<Self> {
        let address = SocketAddr::from((host, port));
        let udp = UdpSocket::bind(address)?;
        sys::widen_receive_buffer(&udp, RECEIVE_BUFFER_BYTES);
        let (incoming, receiver) = mpsc::channel();
        let shared = Arc::new(Shared {
            address,
            udp,
            listener: TcpListener::bind(address)?,
            connections: Mutex::default(),
            incoming,
            inbox: Inbox::default(),
            answer: Mutex::new(Answer::code(200)),
            replies: Mutex::default(),
            tag: unique(),
            watcher: Watcher::default(),
            ended: Mutex::default(),
            ending: Condvar::new(),
        });
        // Reading has its own thread, so that the small socket buffer is emptied at once even if
        // hundreds of requests arrive in one burst.
        let threads = vec![
            thread::spawn({
                let shared = shared.clone();
                move || shared.read_datagrams()
            }),
            thread::spawn({
                let shared = shared.clone();
                move || shared.accept()
            }),
            thread::spawn({
                let shared = shared.clone();
                move || shared.answer_all(&receiver)
            }),
        ];
        Ok(Self { shared, threads })
    }

    /// Sets the answer to new requests.
    pub fn answers(&self, answer: Answer) {
        *lock(&self.shared.answer) = answer;
    }

    /// Sets the function that is called for each new request, including ACK, before it is answered.
    pub fn watches(&self, watcher: impl FnMut(&Received) + Send + 'static) {
        *lock(&self.shared.watcher.0) = Some(Box::new(watcher));
    }

    /// The tag of To in its replies, unless they have another.
    pub fn tag(&self) -> &str {
        &self.shared.tag
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The port, for UDP and TCP.
    pub fn port(&self) -> u16 {
        self.shared.address.port()
    }

    /// A URI that leads here over UDP.
    pub fn uri(&self, user: &str) -> String {
        format!("sip:{user}@{}", self.shared.address)
    }

    /// A URI that leads here over TCP.
    pub fn tcp_uri(&self, user: &str) -> String {
        format!("sip:{user}@{};transport=tcp", self.shared.address)
    }

    /// Sends a request. There are no retransmissions: send it again for one.
    #[track_caller]
    pub fn send(&self, request: &Request, way: Way) {
        self.send_bytes(&request.write(way.transport(), self.shared.address), way);
    }

    /// Sends bytes unchanged: a datagram, or a piece of the stream.
    #[track_caller]
    pub fn send_bytes(&self, bytes: &[u8], way: Way) {
        if let Err(error) = self.shared.write(bytes, way) {
            panic!("sending to {way:?}: {error}");
        }
    }

    /// Answers a request; retransmissions of it get the same reply.
    #[track_caller]
    pub fn reply(&self, request: &Received, reply: &Reply) {
        if let Err(error) = self.shared.reply(request, reply) {
            panic!("replying to {:?}: {error}", request.way());
        }
    }

    /// The next unread request.
    pub fn recv_request(&self, timeout: Duration) -> Option<Received> {
        self.shared
            .inbox
            .take(timeout, |message| message.method().is_some())
    }

    /// The next unread message that fits; others stay unread.
    pub fn recv_where(
        &self,
        timeout: Duration,
        fits: impl Fn(&Message) -> bool,
    ) -> Option<Received> {
        self.shared.inbox.take(timeout, fits)
    }

    /// The next unread request with this method; others stay unread.
    #[track_caller]
    pub fn expect_request(&self, method: &str) -> Received {
        let inbox = &self.shared.inbox;
        let request = inbox.take(PATIENCE, |message| message.method() == Some(method));
        or_fail(
            method,
            request.ok_or_else(|| format!("none came; unread: {:?}", inbox.unread())),
        )
    }

    /// The next `count` unread requests with this method, in the order in which they came.
    #[track_caller]
    pub fn expect_requests(&self, method: &str, count: usize) -> Vec<Received> {
        let mut requests = Vec::with_capacity(count);
        while requests.len() < count {
            requests.push(self.expect_request(method));
        }
        requests
    }

    /// The next unread response to this request, provisional ones included.
    pub fn recv_response(&self, request: &Request, timeout: Duration) -> Option<Received> {
        self.shared
            .inbox
            .take(timeout, |message| request.is_answered_by(message))
    }

    /// The response to this request with this status. Provisional responses before it are skipped;
    /// a final one with another status is a failure.
    #[track_caller]
    pub fn expect_response(&self, request: &Request, status: u16) -> Received {
        loop {
            let Some(response) = self.recv_response(request, PATIENCE) else {
                let unread = self.shared.inbox.unread();
                panic!("no answer to {}; unread: {unread:?}", request.method());
            };
            match response.status() {
                Some(got) if got == status => return response,
                Some(100..200) => {}
                _ => panic!("{} wants {status}, got:\n{:?}", request.method(), *response),
            }
        }
    }

    /// Runs `event` and makes sure that no request arrives before it ends. Over UDP this covers
    /// everything sent before the end of the event; a request still in transit over TCP may be
    /// missed.
    #[track_caller]
    pub fn expect_nothing_until<T>(&self, event: impl FnOnce() -> T) -> T {
        let result = event();
        self.settle();
        if let Some(request) = self.recv_request(Duration::ZERO) {
            panic!("nothing was to come, but:\n{:?}", *request);
        }
        result
    }

    /// Waits until the request has been retransmitted `times` times.
    #[track_caller]
    pub fn expect_retransmissions(&self, request: &Received, times: usize) {
        if !self.shared.inbox.wait_repeated(request, times, PATIENCE) {
            panic!(
                "{} repetitions came, {times} wanted",
                request.retransmissions()
            );
        }
    }

    /// Everything received since the start, read or not.
    pub fn received(&self) -> Vec<Received> {
        self.shared.inbox.history()
    }

    /// Closes every connection, like a peer that crashed (not like one that lost power).
    pub fn close_connections(&self) {
        for (_, connection) in lock(&self.shared.connections).drain() {
            sys::wake_readers(&connection);
        }
    }

    /// Waits until every datagram that has arrived is recorded, by sending one more after them.
    #[track_caller]
    fn settle(&self) {
        let barriers = self.shared.inbox.barriers();
        let sent = UdpSocket::bind((self.shared.address.ip(), 0))
            .and_then(|socket| socket.send_to(MARKER, self.shared.address));
        assert!(sent.is_ok(), "sending the barrier: {sent:?}");
        assert!(
            self.shared.inbox.wait_barrier(barriers, PATIENCE),
            "the barrier got lost"
        );
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        *lock(&self.shared.ended) = true;
        self.shared.ending.notify_all();
        // A datagram wakes its reader; std does not survive the end of a UDP socket that is being
        // read from.
        if let Ok(own) = self.shared.udp.local_addr() {
            let _ = self.shared.udp.send_to(b"", own);
        }
        sys::wake_readers(&self.shared.listener);
        self.close_connections();
        // Its receiver lives in a thread that is joined only below.
        let _ = self.shared.incoming.send(None);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn read_datagrams(&self) {
        let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
        while !*lock(&self.ended) {
            // An error here is an ICMP message about an earlier datagram of ours.
            if let Ok((length, source)) = self.udp.recv_from(&mut buffer)
                && self
                    .incoming
                    .send(Some((buffer[..length].to_vec(), Way::Udp(source))))
                    .is_err()
            {
                return;
            }
        }
    }

    fn accept(self: &Arc<Self>) {
        while let Ok((stream, peer)) = self.listener.accept() {
            if *lock(&self.ended) || self.adopt(stream, peer).is_err() {
                return;
            }
        }
    }

    /// Keeps a connection and reads from it until it is closed.
    fn adopt(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) -> io::Result<TcpStream> {
        stream.set_nodelay(true)?;
        let (reader, writer) = (stream.try_clone()?, stream.try_clone()?);
        lock(&self.connections).insert(peer, stream);
        let shared = self.clone();
        thread::spawn(move || shared.read_stream(reader, peer));
        Ok(writer)
    }

    fn read_stream(&self, mut stream: TcpStream, peer: SocketAddr) {
        let mut pending = Vec::new();
        let mut buffer = [0; 16_384];
        'connection: while let Ok(length @ 1..) = stream.read(&mut buffer) {
            pending.extend_from_slice(&buffer[..length]);
            loop {
                // Empty lines between messages are keep-alives (RFC 5626 §3.5.1).
                let blank = pending
                    .iter()
                    .take_while(|byte| matches!(byte, b'\r' | b'\n'))
                    .count();
                pending.drain(..blank);
                match Message::length_in_stream(&pending) {
                    Ok(Some(length)) if length <= pending.len() => {
                        let message = pending.drain(..length).collect();
                        if self.incoming.send(Some((message, Way::Tcp(peer)))).is_err() {
                            break 'connection;
                        }
                    }
                    Ok(_) => break,
                    Err(_) => break 'connection,
                }
            }
        }
        lock(&self.connections).remove(&peer);
    }

    fn answer_all(self: &Arc<Self>, incoming: &Receiver<Option<(Vec<u8>, Way)>>) {
        while let Ok(Some((bytes, way))) = incoming.recv() {
            self.take_in(bytes, way);
        }
    }

    fn take_in(self: &Arc<Self>, bytes: Vec<u8>, way: Way) {
        if bytes == MARKER {
            return self.inbox.record_barrier();
        }
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return;
        }
        let message = Message::read(bytes);
        let (method, key) = (message.method().map(str::to_owned), reply_key(&message));
        let received = self.inbox.record(message, way);
        if let Some(request) = received.as_ref().filter(|_| method.is_some())
            && let Some(watcher) = &mut *lock(&self.watcher.0)
        {
            watcher(request);
        }
        match (received, method.as_deref()) {
            (_, None | Some("ACK")) => {}
            (Some(request), Some(_)) => self.answer(request),
            (None, Some(_)) => {
                let last = lock(&self.replies)
                    .get(&key)
                    .and_then(|replies| replies.last().cloned());
                if let Some(bytes) = last {
                    // The proxy may have closed the connection meanwhile: its own business.
                    let _ = self.write(&bytes, way);
                }
            }
        }
    }

    fn answer(self: &Arc<Self>, request: Received) {
        let replies = lock(&self.answer).next(&request);
        let (now, later): (Vec<_>, Vec<_>) = replies
            .into_iter()
            .partition(|reply| reply.delay().is_zero());
        for reply in &now {
            let _ = self.reply(&request, reply);
        }
        if later.is_empty() {
            return;
        }
        let shared = self.clone();
        thread::spawn(move || {
            let came = Instant::now();
            for reply in later {
                let delay = reply.delay().saturating_sub(came.elapsed());
                let waiting = |ended: &mut bool| !*ended;
                let ended = shared
                    .ending
                    .wait_timeout_while(lock(&shared.ended), delay, waiting);
                if *ended.unwrap_or_else(|poisoned| poisoned.into_inner()).0 {
                    return;
                }
                let _ = shared.reply(&request, &reply);
            }
        });
    }

    fn reply(self: &Arc<Self>, request: &Received, reply: &Reply) -> io::Result<()> {
        let bytes = reply.write(request, &self.tag);
        lock(&self.replies)
            .entry(reply_key(request))
            .or_default()
            .push(bytes.clone());
        self.write(&bytes, *request.way())
    }

    fn write(self: &Arc<Self>, bytes: &[u8], way: Way) -> io::Result<()> {
        match way {
            Way::Udp(address) => self.udp.send_to(bytes, address).map(|_| ()),
            Way::Tcp(address) => self.connection(address)?.write_all(bytes),
        }
    }

    fn connection(self: &Arc<Self>, peer: SocketAddr) -> io::Result<TcpStream> {
        if let Some(connection) = lock(&self.connections).get(&peer) {
            return connection.try_clone();
        }
        self.adopt(TcpStream::connect(peer)?, peer)
    }
}

fn reply_key(message: &Message) -> String {
    format!(
        "{:?} {:?} {:?}",
        message.header("Via"),
        message.header("Call-ID"),
        message.header("CSeq")
    )
}
