//! One non-blocking TCP connection, with or without TLS.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use cpm_client::Failure;
use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection};

use super::tls::CertificateWords;
use crate::exit::Problem;

/// Maximum number of bytes waiting to be written before the caller is asked for no more.
const WRITE_BUFFER_BYTES: usize = 64 * 1024;
/// Maximum number of bytes read at once, the block size of `msrp_session`.
const READ_BYTES: usize = cpm_wire::msrp_session::READ_BLOCK_BYTES;

/// Maximum number of blocks read before they are processed.
const MAX_BLOCKS: usize = 16;

/// Result of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// There is no more for now.
    Drained,
    /// There may be more.
    More,
    /// The peer has closed.
    Closed,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    /// A description for the user.
    pub(crate) words: String,
    /// Whether the peer's certificate is the reason.
    pub(crate) is_certificate: bool,
}

impl Broken {
    /// Adds the place.
    pub(crate) fn at(mut self, place: &str) -> Self {
        self.words = format!("{place}: {}", self.words);
        self
    }
}

impl From<&Broken> for Problem {
    /// A connection to the SIP server that broke or could not be opened.
    fn from(broken: &Broken) -> Self {
        if broken.is_certificate {
            return Self::certificate(&broken.words);
        }
        Failure::Unreachable(broken.words.clone()).into()
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self {
            words: error.to_string(),
            is_certificate: false,
        }
    }
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        match &error {
            Error::InvalidCertificate(reason) => Self {
                words: CertificateWords(reason).to_string(),
                is_certificate: true,
            },
            _ => Self {
                words: format!("TLS: {error}"),
                is_certificate: false,
            },
        }
    }
}

/// The connection and its pending output.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    tls: Option<rustls::Connection>,
    out: BytesMut,
    is_open: bool,
    /// To be closed once everything is written.
    pub(crate) is_closing: bool,
}

impl Connection {
    /// A connection that is being opened.
    pub(crate) fn outgoing(
        stream: TcpStream,
        tls: Option<(Arc<ClientConfig>, &str)>,
    ) -> Result<Self, Broken> {
        let tls = match tls {
            None => None,
            Some((config, host)) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|_| {
                    Broken::from(io::Error::other(format!("no server name: {host}")))
                })?;
                Some(ClientConnection::new(config, name)?.into())
            }
        };
        Ok(Self::new(stream, tls))
    }

    /// A connection that was accepted.
    pub(crate) fn accepted(
        stream: TcpStream,
        tls: Option<Arc<ServerConfig>>,
    ) -> Result<Self, Broken> {
        let tls = tls
            .map(ServerConnection::new)
            .transpose()?
            .map(rustls::Connection::from);
        Ok(Self {
            is_open: true,
            ..Self::new(stream, tls)
        })
    }

    fn new(stream: TcpStream, tls: Option<rustls::Connection>) -> Self {
        Self {
            stream,
            tls,
            out: BytesMut::new(),
            is_open: false,
            is_closing: false,
        }
    }

    /// Whether more may be written.
    pub(crate) fn has_room(&self) -> bool {
        self.is_ready() && self.out.len() < WRITE_BUFFER_BYTES
    }

    /// Whether it is open and, with TLS, the peer authenticated.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_open && self.tls.as_ref().is_none_or(|tls| !tls.is_handshaking())
    }

    /// Whether nothing is pending any more.
    pub(crate) fn is_flushed(&self) -> bool {
        self.out.is_empty() && self.tls.as_ref().is_none_or(|tls| !tls.wants_write())
    }

    /// Queues bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Reads available data, up to a limit, into `input`.
    pub(crate) fn read(&mut self, input: &mut BytesMut) -> Result<Reading, Broken> {
        let mut block = vec![0; READ_BYTES];
        for _ in 0..MAX_BLOCKS {
            let Some(tls) = &mut self.tls else {
                match self.stream.read(&mut block) {
                    Ok(0) => return Ok(Reading::Closed),
                    Ok(count) => input.extend_from_slice(&block[..count]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return Ok(Reading::Drained);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                }
                continue;
            };
            let ended = match tls.read_tls(&mut self.stream) {
                Ok(0) => true,
                Ok(_) => false,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Reading::Drained);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if let Err(error) = tls.process_new_packets() {
                // The alert tells the peer why.
                let _ = tls.write_tls(&mut self.stream);
                return Err(error.into());
            }
            loop {
                match tls.reader().read(&mut block) {
                    Ok(0) => return Ok(Reading::Closed),
                    Ok(count) => input.extend_from_slice(&block[..count]),
                    Err(_) => break,
                }
            }
            if ended {
                return Ok(Reading::Closed);
            }
        }
        Ok(Reading::More)
    }

    /// Writes as much as possible. Called when the socket is writable, and after
    /// [`push`](Self::push).
    pub(crate) fn write(&mut self) -> Result<(), Broken> {
        if !self.is_open {
            if let Some(error) = self.stream.take_error()? {
                return Err(error.into());
            }
            match self.stream.peer_addr() {
                Ok(_) => self.is_open = true,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            let _ = self.stream.set_nodelay(true);
        }
        loop {
            let written = match &mut self.tls {
                None if self.out.is_empty() => return Ok(()),
                None => self
                    .stream
                    .write(&self.out)
                    .map(|count| self.out.advance(count)),
                Some(tls) => {
                    if !tls.is_handshaking() && !self.out.is_empty() && !tls.wants_write() {
                        let count = tls.writer().write(&self.out)?;
                        self.out.advance(count);
                    }
                    if !tls.wants_write() {
                        return Ok(());
                    }
                    tls.write_tls(&mut self.stream).map(|_| ())
                }
            };
            match written {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends close_notify.
    pub(crate) fn close(&mut self) {
        self.is_closing = true;
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
    }
}
