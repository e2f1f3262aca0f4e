//! Connections of an MSRP peer: passes received data to the session it is for.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::certificate::Certificate;
use crate::msrp_connection::MsrpConnection;
use crate::msrp_message::{MsrpEvent, MsrpReader, response};
use crate::msrp_state::{Frame, SessionShared};
use crate::sys::lock;

/// The listener, its sessions and its connections.
#[derive(Debug)]
pub(crate) struct PeerShared {
    pub(crate) address: SocketAddr,
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<Certificate>,
    /// By the session part of their URIs, because a middlebox may have another host.
    pub(crate) sessions: Mutex<HashMap<String, Arc<SessionShared>>>,
    pub(crate) connections: Mutex<Vec<Arc<MsrpConnection>>>,
    pub(crate) ended: Mutex<bool>,
    /// Requests and responses for sessions that do not exist, and data that is not MSRP.
    pub(crate) faults: Mutex<Vec<String>>,
}

impl PeerShared {
    pub(crate) fn certificate(&self) -> Option<&Certificate> {
        self.tls.as_ref()
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        lock(&self.faults).clone()
    }

    pub(crate) fn accept(self: &Arc<Self>) {
        while let Ok((stream, _)) = self.listener.accept() {
            if *lock(&self.ended) {
                return;
            }
            let shared = self.clone();
            thread::spawn(move || shared.serve_incoming(stream));
        }
    }

    fn serve_incoming(self: &Arc<Self>, stream: TcpStream) {
        match MsrpConnection::accept(stream, self.tls.as_ref()) {
            Ok(connection) => self.serve(&Arc::new(connection)),
            Err(error) => self.fault(format!("accepting: {error}")),
        }
    }

    /// Reads a connection until it ends.
    pub(crate) fn serve(self: &Arc<Self>, connection: &Arc<MsrpConnection>) {
        lock(&self.connections).push(connection.clone());
        let mut reader = MsrpReader::default();
        let mut frame: Option<Frame> = None;
        let mut served: Vec<Arc<SessionShared>> = Vec::new();
        'connection: while let Ok(bytes) = connection.read() {
            if bytes.is_empty() {
                break;
            }
            let events = match reader.read(&bytes) {
                Ok(events) => events,
                Err(words) => {
                    self.fault(words);
                    break;
                }
            };
            for event in events {
                match self.take_in(event, &mut frame, &mut served, connection) {
                    Ok(()) => {}
                    Err(End::Fault(words)) => {
                        self.fault(words);
                        break 'connection;
                    }
                    Err(End::Death) => break 'connection,
                }
            }
        }
        connection.close();
        lock(&self.connections).retain(|own| !Arc::ptr_eq(own, connection));
        for session in served {
            session.lost(connection);
        }
    }

    fn take_in(
        &self,
        event: MsrpEvent,
        frame: &mut Option<Frame>,
        served: &mut Vec<Arc<SessionShared>>,
        connection: &Arc<MsrpConnection>,
    ) -> Result<(), End> {
        match event {
            MsrpEvent::Head(head, has_body) => {
                // A relay's URI may precede ours: then this peer acts as that relay too.
                let sessions = lock(&self.sessions);
                let mut ids = head.to_path().into_iter().map(id_of);
                let session = ids.find_map(|id| sessions.get(id).cloned());
                drop(sessions);
                let Some(session) = session else {
                    let answer = response(&head, 481, "Session does not exist");
                    let _ = connection.write(&answer);
                    return Err(End::Fault(format!("for no session of this peer: {head:?}")));
                };
                if session.bind(connection) {
                    served.push(session.clone());
                }
                let message = session.begin(&head, has_body)?;
                *frame = Some(Frame {
                    head,
                    session,
                    content_bytes: has_body.then_some(0),
                    message,
                });
            }
            MsrpEvent::Content(bytes) => {
                let Some(Frame {
                    session,
                    content_bytes,
                    message,
                    ..
                }) = frame
                else {
                    return Err("content without a head".to_owned().into());
                };
                *content_bytes = Some(content_bytes.unwrap_or(0) + bytes.len());
                session.add(*message, &bytes)?;
                if session.dies() {
                    return Err(End::Death);
                }
                session.wait_while_stalled(connection);
            }
            MsrpEvent::End(flag) => {
                let Some(frame) = frame.take() else {
                    return Err("an end without a head".to_owned().into());
                };
                let session = frame.session.clone();
                if let Some(answer) = session.end(frame, flag)? {
                    // The other side may have closed the connection meanwhile.
                    let _ = connection.write(&answer);
                }
            }
        }
        Ok(())
    }

    fn fault(&self, words: String) {
        if !*lock(&self.ended) {
            lock(&self.faults).push(words);
        }
    }
}

/// Why a connection is no longer read.
#[derive(Debug)]
enum End {
    /// The received data breaks the rules.
    Fault(String),
    /// [`Conduct::DieAfter`](crate::Conduct::DieAfter).
    Death,
}

impl From<String> for End {
    fn from(words: String) -> Self {
        Self::Fault(words)
    }
}

/// The session part of an MSRP URI.
fn id_of(uri: &str) -> &str {
    let path = uri.splitn(4, '/').nth(3).unwrap_or_default();
    path.split(';').next().unwrap_or_default()
}
