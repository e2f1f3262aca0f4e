//! An MSRP peer (RFC 4975): sender and receiver, active and passive. It is none of cpm's code.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use crate::certificate::Certificate;
use crate::msrp_connection::MsrpConnection;
use crate::msrp_message::{MsrpEvent, MsrpReader, response};
use crate::msrp_session::{Frame, MsrpSession, SessionShared};
use crate::request::unique;
use crate::sys;

/// A listener for MSRP, and the sessions that it serves. It ends when it is dropped.
#[derive(Debug)]
pub struct MsrpPeer {
    shared: Arc<PeerShared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub(crate) struct PeerShared {
    address: SocketAddr,
    listener: TcpListener,
    tls: Option<Certificate>,
    /// By the session part of their URIs: a middlebox may have another host.
    sessions: Mutex<HashMap<String, Arc<SessionShared>>>,
    connections: Mutex<Vec<Arc<MsrpConnection>>>,
    ended: Mutex<bool>,
    /// Requests and responses for sessions that are not there, and what is no MSRP.
    faults: Mutex<Vec<String>>,
}

/// One peer may play all recipients of a long list, and all are connected to at once.
const CONNECTIONS_WAITING: i32 = 1024;

impl MsrpPeer {
    /// A peer at this address; with a certificate, over TLS.
    pub(crate) fn start(address: SocketAddr, tls: Option<Certificate>) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        sys::widen_backlog(&listener, CONNECTIONS_WAITING);
        let shared = Arc::new(PeerShared {
            address,
            listener,
            tls,
            sessions: Mutex::default(),
            connections: Mutex::default(),
            ended: Mutex::default(),
            faults: Mutex::default(),
        });
        let thread = thread::spawn({
            let shared = shared.clone();
            move || shared.accept()
        });
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The value of `a=fingerprint`, of a peer over TLS.
    pub fn fingerprint(&self) -> Option<String> {
        self.shared.tls.as_ref().map(Certificate::fingerprint)
    }

    /// A new session, whose URI nobody can guess.
    pub fn session(&self) -> MsrpSession {
        let scheme = if self.shared.tls.is_some() {
            "msrps"
        } else {
            "msrp"
        };
        let id = format!("{}{}", unique(), unique());
        let path = format!("{scheme}://{}/{id};tcp", self.shared.address);
        let session = Arc::new(SessionShared::new(&path));
        lock(&self.shared.sessions).insert(id, session.clone());
        MsrpSession::of(session, self.shared.clone())
    }

    /// What has come that is no MSRP, against its rules, or for nobody here.
    pub fn faults(&self) -> Vec<String> {
        self.shared.faults()
    }

    /// Fails if anything came that is no MSRP.
    #[track_caller]
    pub fn assert_no_faults(&self) {
        let faults = self.faults();
        assert!(faults.is_empty(), "the MSRP peer complains: {faults:#?}");
    }
}

impl Drop for MsrpPeer {
    fn drop(&mut self) {
        *lock(&self.shared.ended) = true;
        sys::wake_readers(&self.shared.listener);
        for connection in lock(&self.shared.connections).drain(..) {
            connection.close();
        }
        for session in lock(&self.shared.sessions).values() {
            session.close();
        }
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}

impl PeerShared {
    pub(crate) fn certificate(&self) -> Option<&Certificate> {
        self.tls.as_ref()
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        lock(&self.faults).clone()
    }

    fn accept(self: &Arc<Self>) {
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

    /// Reads a connection to its end.
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
                // A relay's URI may stand before ours: then we are that relay as well.
                let sessions = lock(&self.sessions);
                let mut ids = head.to_path().into_iter().map(id_of);
                let session = ids.find_map(|id| sessions.get(id).cloned());
                drop(sessions);
                let Some(session) = session else {
                    let answer = response(&head, 481, "Session does not exist");
                    let _ = connection.write(&answer);
                    return Err(End::Fault(format!("for nobody here: {head:?}")));
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
                    // The other side may have gone meanwhile.
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

/// Why a connection is read no further.
#[derive(Debug)]
enum End {
    /// What came is against the rules.
    Fault(String),
    /// [`Conduct::DieAfter`].
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

/// Host and port of an MSRP URI.
pub(crate) fn address_of(path: &str) -> Result<SocketAddr, String> {
    let first = path.split(' ').next().unwrap_or_default();
    let rest = first.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = authority
        .rsplit_once(':')
        .ok_or(format!("no port in {path:?}"))?;
    let host: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    match (host, port.parse()) {
        (Ok(host), Ok(port)) => Ok(SocketAddr::new(host, port)),
        _ => Err(format!("no address in {path:?}")),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_paths() {
        let address = |path| address_of(path).map(|address| address.to_string());
        assert_eq!(
            address("msrp://127.0.0.1:9/a;tcp msrp://h:1/b;tcp"),
            Ok("127.0.0.1:9".into())
        );
        assert_eq!(address("msrps://[::1]:9/a;tcp"), Ok("[::1]:9".into()));
        assert!(address("msrp://host/a;tcp").is_err() && address("").is_err());
    }
}
