//! The state of one MSRP session, shared by the test and the connection that serves it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::msrp_connection::MsrpConnection;
use crate::msrp_content::MsrpContent;
use crate::msrp_message::{MsrpHead, response};
use crate::sys::lock;

/// How a session treats received SENDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// Answers each with 200.
    Accept,
    /// Answers each with 200 after this delay; what follows it waits.
    Slow(Duration),
    /// Answers each chunk that ends after this many content bytes with this status, those before
    /// with 200.
    RefuseAfter(u64, u16),
    /// Never responds.
    Silent,
    /// Stops reading after this many content bytes, until told otherwise.
    StallAfter(u64),
    /// Closes the connection after this many content bytes.
    DieAfter(u64),
}

/// A received request or response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MsrpReceived {
    /// Its start line and header fields.
    pub head: MsrpHead,
    /// Content length in bytes; `None` if it has no body.
    pub content_bytes: Option<usize>,
    /// The flag of its end-line.
    pub flag: char,
}

#[derive(Debug)]
pub(crate) struct SessionShared {
    pub(crate) path: String,
    pub(crate) state: Mutex<SessionState>,
    pub(crate) changed: Condvar,
}

#[derive(Debug)]
pub(crate) struct SessionState {
    pub(crate) conduct: Conduct,
    /// To-Path of everything this end sends.
    pub(crate) to_path: String,
    pub(crate) connection: Option<Arc<MsrpConnection>>,
    /// Number of connections that have served it.
    pub(crate) connections: usize,
    pub(crate) closed: bool,
    pub(crate) received: Vec<MsrpReceived>,
    pub(crate) unread: VecDeque<MsrpReceived>,
    pub(crate) content_bytes: u64,
    pub(crate) messages: Vec<MsrpContent>,
    /// Number of complete messages that a test has taken.
    pub(crate) taken: usize,
}

/// A request or response that is being received.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) head: MsrpHead,
    pub(crate) session: Arc<SessionShared>,
    pub(crate) content_bytes: Option<usize>,
    /// Index of the message its content belongs to.
    pub(crate) message: Option<usize>,
}

impl SessionShared {
    /// A session with this URI of its own.
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

    /// Records it, and returns the response to send, if any.
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
