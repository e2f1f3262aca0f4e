//! The sender: one connection, one request at a time.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use cpm_testbed::Request;

/// Far longer than a thousand outgoing requests take.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Client {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

impl Client {
    pub(super) fn connect(proxy: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(proxy)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let address = stream.local_addr()?;
        Ok(Self {
            stream: BufReader::new(stream),
            address,
        })
    }

    pub(super) fn send(&mut self, request: &Request) -> io::Result<()> {
        self.stream
            .get_mut()
            .write_all(&request.write("TCP", self.address))
    }

    /// The status code of the next response. The contestants' responses have no body.
    pub(super) fn read_status(&mut self) -> io::Result<u16> {
        let mut status = None;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match (status, line.trim_end()) {
                (None, start) => {
                    let code = start.split(' ').nth(1).and_then(|code| code.parse().ok());
                    status = Some(code.ok_or(io::ErrorKind::InvalidData)?);
                }
                (Some(status), "") => return Ok(status),
                (Some(_), _) => {}
            }
        }
    }
}
