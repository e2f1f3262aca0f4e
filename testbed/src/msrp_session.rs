//! One end of an MSRP session: its treatment of received requests, and what it sends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::certificate::Certificate;
use crate::msrp_address::address_of;
use crate::msrp_connection::MsrpConnection;
use crate::msrp_content::MsrpContent;
use crate::msrp_message::MsrpRequest;
use crate::msrp_serving::PeerShared;
use crate::msrp_state::{Conduct, MsrpReceived, SessionShared, SessionState};
use crate::outcome::or_fail;
use crate::request::unique;
use crate::sys::lock;
use crate::way::PATIENCE;

/// One end of an MSRP session. Clones are the same session.
///
/// The `expect_…` functions panic if the expectation fails, and show what there is instead.
#[derive(Debug, Clone)]
pub struct MsrpSession {
    shared: Arc<SessionShared>,
    peer: Arc<PeerShared>,
}

impl MsrpSession {
    pub(crate) fn of(shared: Arc<SessionShared>, peer: Arc<PeerShared>) -> Self {
        Self { shared, peer }
    }

    /// The URI of this end.
    pub fn path(&self) -> &str {
        &self.shared.path
    }

    /// How SENDs are treated from now on.
    pub fn conducts(&self, conduct: Conduct) {
        lock(&self.shared.state).conduct = conduct;
        self.shared.changed.notify_all();
    }

    /// Sets the path for everything this end sends: URIs separated by spaces.
    pub fn sends_to(&self, path: &str) {
        path.clone_into(&mut lock(&self.shared.state).to_path);
    }

    /// Connects to the address in the first URI of the path, over TLS if the URI says so. Sends
    /// nothing.
    #[track_caller]
    pub fn connect(&self) {
        let to_path = lock(&self.shared.state).to_path.clone();
        let address = or_fail("a path", address_of(&to_path));
        or_fail("connecting for MSRP", self.try_connect(address));
    }

    /// The same, to another address.
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

    /// Connects, and binds the connection with an empty SEND as the active end must (RFC 4975
    /// §5.4).
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

    /// The same; returns a failure instead of panicking.
    pub fn try_send(&self, request: &MsrpRequest) -> io::Result<()> {
        let to_path = lock(&self.shared.state).to_path.clone();
        self.try_send_bytes(&request.write(&to_path, &self.shared.path))
    }

    /// Sends bytes unchanged.
    #[track_caller]
    pub fn send_bytes(&self, bytes: &[u8]) {
        or_fail("sending over MSRP", self.try_send_bytes(bytes));
    }

    /// The same; returns a failure instead of panicking.
    pub fn try_send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let connection = lock(&self.shared.state).connection.clone();
        connection.ok_or(io::ErrorKind::NotConnected)?.write(bytes)
    }

    /// Sends a message in chunks of at most this many bytes, without waiting for responses. Returns
    /// the chunks, for [`expect_response`](Self::expect_response).
    #[track_caller]
    pub fn send_message(&self, content: &[u8], chunk_bytes: usize) -> Vec<MsrpRequest> {
        let mut sent = Vec::new();
        for chunk in chunks_of(content, chunk_bytes) {
            self.send(&chunk);
            // The content is not kept twice.
            sent.push(chunk.without_body());
        }
        sent
    }

    /// Sends a message like [`send_message`](Self::send_message), but each chunk only after the 200
    /// to the previous one: each chunk then begins a segment, and tshark, which only looks for
    /// heads there, finds all of them.
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

    /// Everything received, read or not.
    pub fn received(&self) -> Vec<MsrpReceived> {
        lock(&self.shared.state).received.clone()
    }

    /// The received SENDs that have content.
    pub fn chunks(&self) -> Vec<MsrpReceived> {
        let mut received = self.received();
        received.retain(|one| one.head.method() == Some("SEND") && one.content_bytes.is_some());
        received
    }

    /// Number of content bytes received, including chunks that are not complete.
    pub fn content_bytes(&self) -> u64 {
        lock(&self.shared.state).content_bytes
    }

    /// Waits until this many content bytes have been received.
    #[track_caller]
    pub fn expect_content(&self, bytes: u64) {
        let enough = |state: &mut SessionState| (state.content_bytes >= bytes).then_some(());
        if self.wait(PATIENCE, enough).is_none() {
            panic!(
                "{bytes} bytes of content did not arrive; {}",
                self.describe()
            );
        }
    }

    /// The next message whose last chunk has arrived, flagged `$` or `#`.
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

    /// The same with another time limit.
    #[track_caller]
    pub fn expect_message_within(&self, timeout: Duration) -> MsrpContent {
        let Some(message) = self.recv_message(timeout) else {
            panic!("no message came; {}", self.describe());
        };
        assert!(message.is_complete(), "{message:?}");
        message
    }

    /// What has been received of each message.
    pub fn messages(&self) -> Vec<MsrpContent> {
        lock(&self.shared.state).messages.clone()
    }

    /// Waits until a connection of this session has been used.
    #[track_caller]
    pub fn expect_connected(&self) {
        let there = |state: &mut SessionState| (state.connections > 0).then_some(());
        if self.wait(PATIENCE, there).is_none() {
            panic!("nobody connected");
        }
    }

    /// Number of connections that have served it.
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

    /// Closes its connection, whatever is under way.
    pub fn close(&self) {
        self.shared.close();
    }

    /// The value of `a=fingerprint`, if its peer uses TLS.
    pub fn own_fingerprint(&self) -> Option<String> {
        self.peer.certificate().map(Certificate::fingerprint)
    }

    /// The fingerprint of the other side's certificate.
    pub fn peer_fingerprint(&self) -> Option<String> {
        lock(&self.shared.state)
            .connection
            .as_ref()?
            .peer_fingerprint()
    }

    /// The address its connection leads to.
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
            "closed: {}, messages: {:?}, the last received: {heads:#?}, faults: {:?}",
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
