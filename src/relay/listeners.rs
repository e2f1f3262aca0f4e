//! Preparations before the process forks: nothing here starts a thread.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::error::RelayError;
use super::settings::{Listen, RelaySettings};
use super::tls::Tls;
use crate::sdp::{Fingerprint, Transport};

/// Maximum number of connections waiting to be accepted.
const BACKLOG: i32 = 1024;

/// Bound sockets and the certificate: everything that can fail for reasons that the operator must
/// fix. Created before the process forks; one process uses it.
#[derive(Debug)]
pub struct Listeners {
    pub(super) sockets: Vec<(TcpListener, Transport)>,
    pub(super) tls: Option<Tls>,
}

impl Listeners {
    /// Reads the certificate and binds the sockets.
    ///
    /// # Errors
    ///
    /// [`RelayError`]: a port is in use, a file cannot be used, the key does not match the
    /// certificate.
    pub fn bind(settings: &RelaySettings) -> Result<Self, RelayError> {
        let secure = |listen: &Listen| listen.transport == Transport::Tls;
        if settings.tls.is_none() && settings.listen.iter().any(secure) {
            return Err(RelayError::NoCertificate);
        }
        let tls = match &settings.tls {
            Some(files) => Some(Tls::load(Some(files))?),
            None => None,
        };
        let mut sockets = Vec::with_capacity(settings.listen.len());
        for listen in &settings.listen {
            let socket =
                listen_on(listen.address).map_err(|error| RelayError::Listen(*listen, error))?;
            sockets.push((socket, listen.transport));
        }
        Ok(Self { sockets, tls })
    }

    /// Hash of our certificate, for `a=fingerprint`.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.tls.as_ref()?.fingerprint()
    }

    /// The bound addresses, in the order of the settings: for port 0, with the port that was
    /// chosen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let address = |(socket, _): &(TcpListener, Transport)| socket.local_addr().ok();
        self.sockets.iter().filter_map(address).collect()
    }
}

fn listen_on(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // Allows an IPv4 listener on the same port.
        socket.set_only_v6(true)?;
    }
    // Lingering connections of the previous run do not block the port.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
