//! How to reach a peer, and for how long to try.

use std::net::SocketAddr;
use std::time::Duration;

/// How long the `expect_…` functions wait before they fail: far longer than anything takes on
/// loopback, even on a busy machine, because only a failing test waits that long.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How to reach a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// By datagrams.
    Udp(SocketAddr),
    /// Over a connection, which is opened if there is none yet.
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
