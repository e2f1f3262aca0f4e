//! How to get to somebody, and for how long that is tried.

use std::net::SocketAddr;
use std::time::Duration;

/// How long the `expect_…` calls wait before they give up: far longer than anything on loopback
/// takes, even on a busy machine, since only a failing test ever waits it out.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How to get to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// By datagrams.
    Udp(SocketAddr),
    /// Over a connection, which is opened when there is none yet.
    Tcp(SocketAddr),
}

impl Way {
    /// The address at the other end.
    pub fn address(self) -> SocketAddr {
        let (Self::Udp(address) | Self::Tcp(address)) = self;
        address
    }

    /// The transport as Via spells it.
    pub fn transport(self) -> &'static str {
        match self {
            Self::Udp(_) => "UDP",
            Self::Tcp(_) => "TCP",
        }
    }
}
