//! Ports that no other test, in this or another process, uses at the same time.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// All blocks are below Linux's ephemeral ports (from 32768), so that the kernel never assigns one
/// of them to an outgoing connection between reservation and use.
const FIRST_PORT: u16 = 12_000;
const LAST_PORT: u16 = 31_999;

/// Ports per bench: a proxy, MSRP, some tens of agents. A contiguous range keeps the capture filter
/// short.
const BLOCK_SIZE: u16 = 100;

/// A forked child holds copies of all sockets until it executes another program.
const CHILD_BECOMES_PROGRAM: Duration = Duration::from_secs(2);

/// Binds a port that [`PortBlock::take`] has just tried. If another thread has started a program
/// meanwhile, its child may still hold the trial socket for a moment.
pub(crate) fn once_free<T>(bind: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + CHILD_BECOMES_PROGRAM;
    loop {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(1));
            }
            bound => return bound,
        }
    }
}

/// A range of ports of 127.0.0.1, reserved across all test processes by an abstract Unix socket
/// named after it. The name is in the same network namespace as the ports, needs no file and no
/// privileges, and disappears with the process however it ends.
#[derive(Debug)]
pub(crate) struct PortBlock {
    first: u16,
    next: AtomicU16,
    _reservation: UnixDatagram,
}

impl PortBlock {
    pub(crate) fn reserve() -> io::Result<Self> {
        for first in (FIRST_PORT..=LAST_PORT - BLOCK_SIZE + 1).step_by(BLOCK_SIZE.into()) {
            let name = SocketAddr::from_abstract_name(format!("cpm-testbed-ports-{first}"))?;
            match UnixDatagram::bind_addr(&name) {
                Ok(_reservation) => {
                    return Ok(Self {
                        first,
                        next: AtomicU16::new(first),
                        _reservation,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "every block of test ports is taken",
        ))
    }

    /// The next port that is free for UDP and TCP; ports held by others are skipped.
    pub(crate) fn take(&self) -> io::Result<u16> {
        loop {
            let port = self.next.fetch_add(1, Ordering::Relaxed);
            if port > self.last() {
                let error = "the bench has handed out all its ports";
                return Err(io::Error::new(io::ErrorKind::AddrInUse, error));
            }
            let address = (Ipv4Addr::LOCALHOST, port);
            if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
                return Ok(port);
            }
        }
    }

    pub(crate) fn first(&self) -> u16 {
        self.first
    }

    pub(crate) fn last(&self) -> u16 {
        self.first + BLOCK_SIZE - 1
    }
}
