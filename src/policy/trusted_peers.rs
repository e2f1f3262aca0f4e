//! The peers whose P-Asserted-Identity is believed (RFC 3325 §3: a trust domain).

use std::fmt;
use std::net::IpAddr;

/// A set of addresses and networks. Initially empty: nobody is trusted.
#[derive(Clone, Debug, Default)]
pub struct TrustedPeers {
    networks: Vec<Network>,
}

#[derive(Clone, Copy, Debug)]
struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

/// Why a text is not a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerError {
    /// Neither an IP address nor a network.
    NotAnAddress,
    /// The prefix length is not a number, or longer than the address.
    BadPrefix,
    /// Bits after the prefix are set, so the network is ambiguous.
    HostBits,
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PeerError::NotAnAddress => "is not an IP address or network",
            PeerError::BadPrefix => "has a prefix length that does not fit its address",
            PeerError::HostBits => "has address bits after its prefix",
        })
    }
}

impl std::error::Error for PeerError {}

impl TrustedPeers {
    /// Adds `192.0.2.1`, `2001:db8::1`, `192.0.2.0/24` or `2001:db8::/32`.
    pub fn add(&mut self, text: &str) -> Result<(), PeerError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| PeerError::NotAnAddress)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            None => width,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|bits| *bits <= width)
                .ok_or(PeerError::BadPrefix)?,
        };
        let network = Network {
            address,
            prefix_bits,
        };
        if network.masked(address) != bits_of(address) {
            return Err(PeerError::HostBits);
        }
        self.networks.push(network);
        Ok(())
    }

    /// Whether a request from this address comes from a trusted peer. An IPv4-mapped IPv6 address
    /// is the IPv4 address that it maps.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| {
            network.address.is_ipv4() == address.is_ipv4()
                && network.masked(address) == bits_of(network.address)
        })
    }
}

impl Network {
    fn masked(&self, address: IpAddr) -> u128 {
        let host_bits = 128 - u32::from(self.prefix_bits);
        // A shift by the full width is not defined: the prefix /0 matches everything.
        bits_of(address)
            .checked_shr(host_bits)
            .map_or(0, |bits| bits << host_bits)
    }
}

/// The address in the topmost bits, so that a prefix is a prefix for both families.
fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(texts: &[&str]) -> TrustedPeers {
        let mut peers = TrustedPeers::default();
        for text in texts {
            peers.add(text).unwrap();
        }
        peers
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn nobody_is_trusted_by_default() {
        assert!(!TrustedPeers::default().contains(address("127.0.0.1")));
    }

    #[test]
    fn an_address_matches_itself_only() {
        let peers = peers(&["192.0.2.1", "2001:db8::1"]);
        assert!(peers.contains(address("192.0.2.1")));
        assert!(peers.contains(address("2001:db8::1")));
        assert!(peers.contains(address("::ffff:192.0.2.1")));
        assert!(!peers.contains(address("192.0.2.2")));
        assert!(!peers.contains(address("2001:db8::2")));
    }

    #[test]
    fn a_network_matches_by_prefix() {
        let peers = peers(&["192.0.2.0/25", "2001:db8::/33"]);
        assert!(peers.contains(address("192.0.2.127")));
        assert!(!peers.contains(address("192.0.2.128")));
        assert!(peers.contains(address("2001:db8:7fff::1")));
        assert!(!peers.contains(address("2001:db8:8000::1")));
    }

    #[test]
    fn a_family_does_not_match_the_other() {
        assert!(!peers(&["0.0.0.0/0"]).contains(address("2001:db8::1")));
        assert!(!peers(&["::/0"]).contains(address("192.0.2.1")));
        assert!(peers(&["0.0.0.0/0"]).contains(address("192.0.2.1")));
    }

    #[test]
    fn senseless_peers_are_refused() {
        let mut peers = TrustedPeers::default();
        assert_eq!(peers.add("example.com"), Err(PeerError::NotAnAddress));
        assert_eq!(peers.add("192.0.2.0/33"), Err(PeerError::BadPrefix));
        assert_eq!(peers.add("192.0.2.0/"), Err(PeerError::BadPrefix));
        assert_eq!(peers.add("192.0.2.1/24"), Err(PeerError::HostBits));
    }
}
