//! One connection that carries MSRP, plain or over TLS. One thread reads it, any thread may write.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection as Tls, ServerConnection};

use crate::certificate::{Certificate, fingerprint};
use crate::sys::{self, lock};

/// Time limit for connecting.
const PATIENCE: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 65_536;
/// Maximum plaintext written before the other side is read again: one TLS record.
const PIECE_BYTES: usize = 16_384;

#[derive(Debug)]
pub(crate) struct MsrpConnection {
    stream: TcpStream,
    peer_address: SocketAddr,
    tls: Option<Mutex<Tls>>,
    writing: Mutex<()>,
}

impl MsrpConnection {
    /// Opens a connection; with a certificate, over TLS.
    pub(crate) fn connect(address: SocketAddr, tls: Option<&Certificate>) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        let tls = match tls {
            None => None,
            Some(certificate) => {
                let config = certificate.client().map_err(io::Error::other)?;
                let name = ServerName::from(address.ip());
                let client = ClientConnection::new(config, name).map_err(io::Error::other)?;
                Some(Tls::from(client))
            }
        };
        let connection = Self::new(stream, tls)?;
        connection.flush()?;
        Ok(connection)
    }

    /// Takes an accepted connection.
    pub(crate) fn accept(stream: TcpStream, tls: Option<&Certificate>) -> io::Result<Self> {
        let tls = match tls {
            None => None,
            Some(certificate) => {
                let config = certificate.server().map_err(io::Error::other)?;
                let server = ServerConnection::new(config).map_err(io::Error::other)?;
                Some(Tls::from(server))
            }
        };
        Self::new(stream, tls)
    }

    fn new(stream: TcpStream, mut tls: Option<Tls>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        if let Some(tls) = &mut tls {
            // Data written before the handshake is complete waits here.
            tls.set_buffer_limit(None);
        }
        Ok(Self {
            peer_address: stream.peer_addr()?,
            stream,
            tls: tls.map(Mutex::new),
            writing: Mutex::default(),
        })
    }

    /// The next bytes; none after either side has closed the connection.
    pub(crate) fn read(&self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let length = (&self.stream).read(&mut buffer)?;
            let Some(tls) = self.tls.as_ref().filter(|_| length > 0) else {
                buffer.truncate(length);
                return Ok(buffer);
            };
            let mut plain = Vec::new();
            let mut records = &buffer[..length];
            let mut tls = lock(tls);
            while !records.is_empty() {
                tls.read_tls(&mut records)?;
                let state = tls.process_new_packets().map_err(io::Error::other)?;
                let there = state.plaintext_bytes_to_read();
                let start = plain.len();
                plain.resize(start + there, 0);
                tls.reader().read_exact(&mut plain[start..])?;
                if state.peer_has_closed() && plain.is_empty() {
                    return Ok(plain);
                }
            }
            self.write_records(&mut tls)?;
            if !plain.is_empty() {
                return Ok(plain);
            }
        }
    }

    /// Writes all of it. Blocks while the other side does not read.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let _turn = self.writing.lock();
        let Some(tls) = &self.tls else {
            return (&self.stream).write_all(bytes);
        };
        for piece in bytes.chunks(PIECE_BYTES) {
            let mut tls = lock(tls);
            tls.writer().write_all(piece)?;
            self.write_records(&mut tls)?;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        match &self.tls {
            Some(tls) => self.write_records(&mut lock(tls)),
            None => Ok(()),
        }
    }

    fn write_records(&self, tls: &mut Tls) -> io::Result<()> {
        while tls.wants_write() {
            tls.write_tls(&mut &self.stream)?;
        }
        Ok(())
    }

    /// The fingerprint of the other side's certificate.
    pub(crate) fn peer_fingerprint(&self) -> Option<String> {
        let tls = lock(self.tls.as_ref()?);
        tls.peer_certificates()?
            .first()
            .map(|certificate| fingerprint(certificate))
    }

    /// From now on only reads what fits into a small kernel buffer.
    pub(crate) fn narrow(&self) {
        sys::narrow_receive_buffer(&self.stream);
    }

    /// Ends the effect of the function above.
    pub(crate) fn widen(&self) {
        sys::restore_receive_buffer(&self.stream);
    }

    /// Closes both directions.
    pub(crate) fn close(&self) {
        sys::wake_readers(&self.stream);
    }

    pub(crate) fn peer_address(&self) -> SocketAddr {
        self.peer_address
    }
}
