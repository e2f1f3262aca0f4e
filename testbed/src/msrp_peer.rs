//! An MSRP peer (RFC 4975): sender and receiver, active and passive. It shares no code with cpm.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::certificate::Certificate;
use crate::msrp_serving::PeerShared;
use crate::msrp_session::MsrpSession;
use crate::msrp_state::SessionShared;
use crate::request::unique;
use crate::sys::{self, lock};

/// A listener for MSRP and the sessions that it serves. Stops when dropped.
#[derive(Debug)]
pub struct MsrpPeer {
    shared: Arc<PeerShared>,
    thread: Option<JoinHandle<()>>,
}

/// One peer may play all recipients of a long list, and the proxy connects to all of them at once.
const CONNECTIONS_WAITING: i32 = 1024;

impl MsrpPeer {
    /// A peer at this address; over TLS if it has a certificate.
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

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The value of `a=fingerprint`; only for a peer over TLS.
    pub fn fingerprint(&self) -> Option<String> {
        self.shared.tls.as_ref().map(Certificate::fingerprint)
    }

    /// A new session with an unguessable URI.
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

    /// Received data that is not MSRP, breaks its rules, or is for no session of this peer.
    pub fn faults(&self) -> Vec<String> {
        self.shared.faults()
    }

    /// Fails if anything was received that is not MSRP.
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
            // A thread that panicked has already written to standard error.
            let _ = thread.join();
        }
    }
}
