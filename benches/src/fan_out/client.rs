//! The sender: one way to the proxy, one request at a time.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use cpm_testbed::{Request, Way};

/// Far longer than a thousand outgoing requests take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Maximum length of a response in bytes; only datagrams have one.
const MAX_RESPONSE_BYTES: usize = 4096;

#[derive(Debug)]
pub(super) struct Client {
    link: Link,
    transport: &'static str,
    address: SocketAddr,
}

#[derive(Debug)]
enum Link {
    Udp(UdpSocket),
    Tcp(BufReader<TcpStream>),
}

impl Client {
    pub(super) fn connect(way: Way) -> io::Result<Self> {
        let (link, address) = match way {
            Way::Udp(proxy) => {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
                socket.connect(proxy)?;
                socket.set_read_timeout(Some(PATIENCE))?;
                let address = socket.local_addr()?;
                (Link::Udp(socket), address)
            }
            Way::Tcp(proxy) => {
                let stream = TcpStream::connect(proxy)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                let address = stream.local_addr()?;
                (Link::Tcp(BufReader::new(stream)), address)
            }
        };
        Ok(Self {
            link,
            transport: way.transport(),
            address,
        })
    }

    pub(super) fn send(&mut self, request: &Request) -> io::Result<()> {
        let request = request.write(self.transport, self.address);
        match &mut self.link {
            Link::Udp(socket) => socket.send(&request).map(drop),
            Link::Tcp(stream) => stream.get_mut().write_all(&request),
        }
    }

    /// The status code of the next response. The contestants' responses have no body.
    pub(super) fn read_status(&mut self) -> io::Result<u16> {
        match &mut self.link {
            Link::Udp(socket) => {
                let mut response = [0; MAX_RESPONSE_BYTES];
                let length = socket.recv(&mut response)?;
                read_status(&response[..length])
            }
            Link::Tcp(stream) => read_status(stream),
        }
    }
}

fn read_status(mut response: impl BufRead) -> io::Result<u16> {
    let mut status = None;
    loop {
        let mut line = String::new();
        if response.read_line(&mut line)? == 0 {
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
