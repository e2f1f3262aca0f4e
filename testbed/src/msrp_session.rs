//! One MSRP session as one end sees it: what it does with the requests that come, and what it sends.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::agent::PATIENCE;
use crate::certificate::Certificate;
use crate::msrp_connection::MsrpConnection;
use crate::msrp_content::MsrpContent;
use crate::msrp_message::{MsrpHead, MsrpRequest, response};
use crate::msrp_peer::{PeerShared, address_of};
use crate::outcome::or_fail;
use crate::request::unique;

/// How a session treats the SENDs that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// 200 to each.
    Accept,
    /// 200 to each, this late. What comes after it waits.
    Slow(Duration),
    /// This status to each chunk that ends behind so many bytes of content; 200 to those before.
    RefuseAfter(u64, u16),
    /// No response, ever.
    Silent,
    /// Reads no further once so much content has come, till told otherwise.
    StallAfter(u64),
    /// Closes the connection once so much content has come.
    DieAfter(u64),
}

/// One request or response as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MsrpReceived {
    /// Its start line and header fields.
    pub head: MsrpHead,
    /// How many bytes of content it had; `None` for one without a body.
    pub content_bytes: Option<usize>,
    /// The flag of its end-line.
    pub flag: char,
}

/// One MSRP session as one end sees it. Clones are the same session.
///
/// The `expect_…` calls panic, with what is there instead, when they are disappointed.
#[derive(Debug, Clone)]
pub struct MsrpSession {
    shared: Arc<SessionShared>,
    peer: Arc<PeerShared>,
}

#[derive(Debug)]
pub(crate) struct SessionShared {
    path: String,
    state: Mutex<SessionState>,
    changed: Condvar,
}

#[derive(Debug)]
struct SessionState {
    conduct: Conduct,
    /// To-Path of what this end sends.
    to_path: String,
    connection: Option<Arc<MsrpConnection>>,
    /// How many connections have served it.
    connections: usize,
    closed: bool,
    received: Vec<MsrpReceived>,
    unread: VecDeque<MsrpReceived>,
    content_bytes: u64,
    messages: Vec<MsrpContent>,
    /// How many complete messages have been taken.
    taken: usize,
}

/// A request or response in the midst of it.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) head: MsrpHead,
    pub(crate) session: Arc<SessionShared>,
    pub(crate) content_bytes: Option<usize>,
    /// Which of the session's messages its content belongs to.
    pub(crate) message: Option<usize>,
}

impl SessionShared {
    /// A session whose own URI is this.
    pub(crate) fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            state: Mutex::new(SessionState {
                conduct: Conduct::Accept,
                to_path: String::new(),
                connection: None,
                connections: 0,
                closed: false,
                received: Vec::new(),
                unread: VecDeque::new(),
                content_bytes: 0,
                messages: Vec::new(),
                taken: 0,
            }),
            changed: Condvar::new(),
        }
    }

    /// True if the connection is new to it.
    pub(crate) fn bind(&self, connection: &Arc<MsrpConnection>) -> bool {
        let mut state = lock(&self.state);
        let known = state.connection.as_ref();
        if known.is_some_and(|known| Arc::ptr_eq(known, connection)) {
            return false;
        }
        state.connection = Some(connection.clone());
        state.connections += 1;
        state.closed = false;
        self.changed.notify_all();
        true
    }

    pub(crate) fn lost(&self, connection: &Arc<MsrpConnection>) {
        let mut state = lock(&self.state);
        if state
            .connection
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(own, connection))
        {
            state.closed = true;
            self.changed.notify_all();
        }
    }

    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        if let Some(connection) = &state.connection {
            connection.close();
        }
        self.changed.notify_all();
    }

    pub(crate) fn begin(&self, head: &MsrpHead, has_body: bool) -> Result<Option<usize>, String> {
        if !has_body || head.method() != Some("SEND") {
            return Ok(None);
        }
        let id = head
            .header("Message-ID")
            .ok_or("a SEND without Message-ID")?;
        let mut state = lock(&self.state);
        let known = state
            .messages
            .iter()
            .position(|message| message.message_id == id);
        let index = known.unwrap_or(state.messages.len());
        if known.is_none() {
            state.messages.push(MsrpContent::of(id));
        }
        state.messages[index].begin(head)?;
        self.changed.notify_all();
        Ok(Some(index))
    }

    pub(crate) fn add(&self, message: Option<usize>, bytes: &[u8]) -> Result<(), String> {
        let mut state = lock(&self.state);
        let Some(message) = message else {
            return Ok(());
        };
        state.messages[message].add(bytes)?;
        state.content_bytes += bytes.len() as u64;
        self.changed.notify_all();
        Ok(())
    }

    /// Records it; what to answer, if anything.
    pub(crate) fn end(&self, frame: Frame, flag: char) -> Result<Option<Vec<u8>>, String> {
        let mut state = lock(&self.state);
        if let Some(message) = frame.message {
            state.messages[message].end(&frame.head, flag)?;
        }
        let received = MsrpReceived {
            head: frame.head,
            content_bytes: frame.content_bytes,
            flag,
        };
        state.received.push(received.clone());
        state.unread.push_back(received.clone());
        self.changed.notify_all();
        if received.head.method() != Some("SEND") {
            return Ok(None);
        }
        let status = match state.conduct {
            Conduct::Silent => return Ok(None),
            Conduct::RefuseAfter(bytes, status) if state.content_bytes > bytes => status,
            Conduct::Slow(delay) => {
                let waiting = |state: &mut SessionState| !state.closed;
                drop(self.changed.wait_timeout_while(state, delay, waiting));
                200
            }
            _ => 200,
        };
        Ok(Some(response(&received.head, status, phrase(status))))
    }

    pub(crate) fn dies(&self) -> bool {
        let state = lock(&self.state);
        matches!(state.conduct, Conduct::DieAfter(bytes) if state.content_bytes >= bytes)
    }

    pub(crate) fn wait_while_stalled(&self, connection: &MsrpConnection) {
        let stalls = |state: &mut SessionState| {
            matches!(state.conduct, Conduct::StallAfter(bytes) if state.content_bytes >= bytes)
                && !state.closed
        };
        let mut state = lock(&self.state);
        if stalls(&mut state) {
            connection.narrow();
            drop(self.changed.wait_while(state, stalls));
            connection.widen();
        }
    }
}

impl MsrpSession {
    pub(crate) fn of(shared: Arc<SessionShared>, peer: Arc<PeerShared>) -> Self {
        Self { shared, peer }
    }

    /// The URI of this end.
    pub fn path(&self) -> &str {
        &self.shared.path
    }

    /// From now on SENDs are treated so.
    pub fn conducts(&self, conduct: Conduct) {
        lock(&self.shared.state).conduct = conduct;
        self.shared.changed.notify_all();
    }

    /// What this end sends goes to this path: URIs with spaces between them.
    pub fn sends_to(&self, path: &str) {
        path.clone_into(&mut lock(&self.shared.state).to_path);
    }

    /// Opens the connection of this session, to where the first URI of its path points, over TLS if the URI says so. Nothing is
    /// sent.
    #[track_caller]
    pub fn connect(&self) {
        let to_path = lock(&self.shared.state).to_path.clone();
        let address = or_fail("a path", address_of(&to_path));
        or_fail("connecting for MSRP", self.try_connect(address));
    }

    /// The same to another address.
    pub fn try_connect(&self, address: SocketAddr) -> io::Result<()> {
        let connection = Arc::new(MsrpConnection::connect(address, self.peer.certificate())?);
        self.shared.bind(&connection);
        let (peer, session) = (self.peer.clone(), self.shared.clone());
        thread::spawn(move || {
            peer.serve(&connection);
            session.lost(&connection);
        });
        Ok(())
    }

    /// Connects, and binds the connection by an empty SEND, as the active end must (RFC 4975 §5.4).
    #[track_caller]
    pub fn connect_and_bind(&self) {
        self.connect();
        let bind = MsrpRequest::empty_send();
        self.send(&bind);
        self.expect_response(&bind, 200);
    }

    /// Sends a request.
    #[track_caller]
    pub fn send(&self, request: &MsrpRequest) {
        or_fail("sending over MSRP", self.try_send(request));
    }

    /// The same, where it may fail.
    pub fn try_send(&self, request: &MsrpRequest) -> io::Result<()> {
        let to_path = lock(&self.shared.state).to_path.clone();
        self.try_send_bytes(&request.write(&to_path, &self.shared.path))
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send_bytes(&self, bytes: &[u8]) {
        or_fail("sending over MSRP", self.try_send_bytes(bytes));
    }

    /// The same, where it may fail.
    pub fn try_send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let connection = lock(&self.shared.state).connection.clone();
        connection.ok_or(io::ErrorKind::NotConnected)?.write(bytes)
    }

    /// Sends a message in chunks of at most so many bytes, one after the other without waiting. The chunks, for
    /// [`expect_response`](Self::expect_response).
    #[track_caller]
    pub fn send_message(&self, content: &[u8], chunk_bytes: usize) -> Vec<MsrpRequest> {
        let mut sent = Vec::new();
        for chunk in chunks_of(content, chunk_bytes) {
            self.send(&chunk);
            // Content is not kept twice.
            sent.push(chunk.without_body());
        }
        sent
    }

    /// Sends a message as [`send_message`](Self::send_message) does, but each chunk after the 200 to the one before: so each
    /// begins a segment, and tshark, which looks for heads there only, sees all of them.
    #[track_caller]
    pub fn deliver(&self, content: &[u8], chunk_bytes: usize) {
        for chunk in chunks_of(content, chunk_bytes) {
            self.send(&chunk);
            self.expect_response(&chunk, 200);
        }
    }

    /// The next unread response to this request.
    pub fn recv_response(&self, request: &MsrpRequest, timeout: Duration) -> Option<MsrpReceived> {
        self.take(timeout, |one| {
            one.head.status().is_some() && one.head.transaction_id() == request.transaction_id()
        })
    }

    /// The response to this request, which must have this status.
    #[track_caller]
    pub fn expect_response(&self, request: &MsrpRequest, status: u16) -> MsrpReceived {
        let Some(response) = self.recv_response(request, PATIENCE) else {
            panic!(
                "no answer to {}; {}",
                request.transaction_id(),
                self.describe()
            );
        };
        assert_eq!(response.head.status(), Some(status), "{response:?}");
        response
    }

    /// The next unread request with this method.
    #[track_caller]
    pub fn expect_request(&self, method: &str) -> MsrpReceived {
        let request = self.take(PATIENCE, |one| one.head.method() == Some(method));
        or_fail(
            method,
            request.ok_or_else(|| format!("none came; {}", self.describe())),
        )
    }

    /// Everything that has come, read or not.
    pub fn received(&self) -> Vec<MsrpReceived> {
        lock(&self.shared.state).received.clone()
    }

    /// The SENDs with content that have come.
    pub fn chunks(&self) -> Vec<MsrpReceived> {
        let mut received = self.received();
        received.retain(|one| one.head.method() == Some("SEND") && one.content_bytes.is_some());
        received
    }

    /// How many bytes of content have come, of chunks without end too.
    pub fn content_bytes(&self) -> u64 {
        lock(&self.shared.state).content_bytes
    }

    /// Waits until so much content has come.
    #[track_caller]
    pub fn expect_content(&self, bytes: u64) {
        let enough = |state: &mut SessionState| (state.content_bytes >= bytes).then_some(());
        if self.wait(PATIENCE, enough).is_none() {
            panic!("{bytes} bytes of content never came; {}", self.describe());
        }
    }

    /// The next message whose last chunk has come, by `$` or by `#`.
    pub fn recv_message(&self, timeout: Duration) -> Option<MsrpContent> {
        self.wait(timeout, |state| {
            let message = state.messages.get(state.taken)?;
            let message = matches!(message.flag, Some('$' | '#')).then(|| message.clone())?;
            state.taken += 1;
            Some(message)
        })
    }

    /// The next complete message.
    #[track_caller]
    pub fn expect_message(&self) -> MsrpContent {
        self.expect_message_within(PATIENCE)
    }

    /// The same with another patience.
    #[track_caller]
    pub fn expect_message_within(&self, timeout: Duration) -> MsrpContent {
        let Some(message) = self.recv_message(timeout) else {
            panic!("no message came; {}", self.describe());
        };
        assert!(message.is_complete(), "{message:?}");
        message
    }

    /// What has come of each message.
    pub fn messages(&self) -> Vec<MsrpContent> {
        lock(&self.shared.state).messages.clone()
    }

    /// Waits until it has a connection that has been used.
    #[track_caller]
    pub fn expect_connected(&self) {
        let there = |state: &mut SessionState| (state.connections > 0).then_some(());
        if self.wait(PATIENCE, there).is_none() {
            panic!("nobody connected");
        }
    }

    /// How many connections have served it.
    pub fn connections(&self) -> usize {
        lock(&self.shared.state).connections
    }

    /// Waits until its connection has been closed.
    #[track_caller]
    pub fn expect_closed(&self) {
        let closed = |state: &mut SessionState| state.closed.then_some(());
        if self.wait(PATIENCE, closed).is_none() {
            panic!("its connection is still open; {}", self.describe());
        }
    }

    /// Closes its connection, in the midst of whatever it is at.
    pub fn close(&self) {
        self.shared.close();
    }

    /// The value of `a=fingerprint`, where its peer is one over TLS.
    pub fn own_fingerprint(&self) -> Option<String> {
        self.peer.certificate().map(Certificate::fingerprint)
    }

    /// The fingerprint of the certificate that the other side has shown.
    pub fn peer_fingerprint(&self) -> Option<String> {
        lock(&self.shared.state)
            .connection
            .as_ref()?
            .peer_fingerprint()
    }

    /// Where its connection leads to.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        let state = lock(&self.shared.state);
        let connection = state.connection.as_ref();
        connection.map(|connection| connection.peer_address())
    }

    fn take(
        &self,
        timeout: Duration,
        fits: impl Fn(&MsrpReceived) -> bool,
    ) -> Option<MsrpReceived> {
        self.wait(timeout, |state| {
            let place = state.unread.iter().position(&fits)?;
            state.unread.remove(place)
        })
    }

    fn wait<T>(
        &self,
        timeout: Duration,
        mut found: impl FnMut(&mut SessionState) -> Option<T>,
    ) -> Option<T> {
        let mut result = None;
        let waiting = |state: &mut SessionState| {
            result = found(state);
            result.is_none()
        };
        let state = lock(&self.shared.state);
        drop(
            self.shared
                .changed
                .wait_timeout_while(state, timeout, waiting),
        );
        result
    }

    fn describe(&self) -> String {
        let state = lock(&self.shared.state);
        let heads: Vec<String> = state
            .received
            .iter()
            .rev()
            .take(5)
            .map(|one| format!("{:?}", one.head))
            .collect();
        format!(
            "closed: {}, messages: {:?}, the last that came: {heads:#?}, faults: {:?}",
            state.closed,
            state.messages,
            self.peer.faults()
        )
    }
}

/// A new message cut into chunks.
fn chunks_of(content: &[u8], chunk_bytes: usize) -> impl Iterator<Item = MsrpRequest> {
    let (id, total) = (unique(), content.len());
    let pieces = content.chunks(chunk_bytes).enumerate();
    pieces.map(move |(place, piece)| MsrpRequest::chunk(&id, place * chunk_bytes, piece, total))
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        408 => "Timeout",
        413 => "Stop sending",
        415 => "Media type",
        481 => "No session",
        _ => "Refused",
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
