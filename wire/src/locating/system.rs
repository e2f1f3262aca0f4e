//! The machine's own names and addresses (hosts(5)) and its name servers (resolv.conf(5)), read
//! from the texts of those files.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The file with the system's name servers.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The file with its own names.
pub const HOSTS: &str = "/etc/hosts";
/// Maximum number of name servers used, as by the system.
pub const MAX_NAME_SERVERS: usize = 3;
const DNS_PORT: u16 = 53;

/// Names that are known without a name server.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    names: HashMap<String, Vec<IpAddr>>,
}

impl Hosts {
    /// From the text of a hosts(5) file. "localhost" is known even without it (RFC 6761 §6.3).
    pub fn read(text: &str) -> Self {
        let mut names: HashMap<String, Vec<IpAddr>> = HashMap::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let Some(address) = words.next().and_then(|word| word.parse().ok()) else {
                continue;
            };
            for name in words {
                let known = names.entry(name.to_ascii_lowercase()).or_default();
                if !known.contains(&address) {
                    known.push(address);
                }
            }
        }
        let loopback = || vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        names
            .entry("localhost".to_owned())
            .or_insert_with(loopback)
            .sort_by_key(IpAddr::is_ipv6);
        Self { names }
    }

    /// The addresses of a name in lower case.
    pub fn find(&self, name: &str) -> Option<&[IpAddr]> {
        self.names.get(name).map(Vec::as_slice)
    }
}

/// The name servers in the text of a resolv.conf(5) file; the machine itself if there are none, as
/// the system does.
pub fn name_servers_in(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().filter(|word| *word == "nameserver");
        let address: IpAddr = address.and(words.next())?.parse().ok()?;
        Some(SocketAddr::new(address, DNS_PORT))
    });
    let mut servers: Vec<SocketAddr> = servers.take(MAX_NAME_SERVERS).collect();
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST, DNS_PORT).into());
    }
    servers
}

/// Reads a name server as written by an operator: ADDRESS or ADDRESS:PORT, IPv6 with a port in
/// brackets.
pub fn parse_server(text: &str) -> Option<SocketAddr> {
    let address = |text: &str| {
        text.parse()
            .ok()
            .map(|ip: IpAddr| SocketAddr::new(ip, DNS_PORT))
    };
    text.parse()
        .ok()
        .or_else(|| address(text.trim_start_matches('[').trim_end_matches(']')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_of_the_system() {
        let text = "# nameserver 192.0.2.1\nsearch example.com\nnameserver 192.0.2.2\nnameserver ::1\n\
                    nameserver nobody\nnameserver 192.0.2.3 # x\nnameserver 192.0.2.4\n";
        let servers = ["192.0.2.2:53", "[::1]:53", "192.0.2.3:53"];
        let servers = servers.map(|server| server.parse().unwrap());
        assert_eq!(name_servers_in(text), servers);
        assert_eq!(name_servers_in(""), ["127.0.0.1:53".parse().unwrap()]);
        for (text, server) in [
            ("192.0.2.1", "192.0.2.1:53"),
            ("192.0.2.1:5353", "192.0.2.1:5353"),
            ("::1", "[::1]:53"),
            ("[::1]", "[::1]:53"),
            ("[::1]:5353", "[::1]:5353"),
        ] {
            assert_eq!(parse_server(text), server.parse().ok());
        }
        assert_eq!(parse_server("dns.example.com"), None);
    }

    #[test]
    fn the_names_of_this_machine() {
        let hosts = Hosts::read(
            "192.0.2.1 Proxy proxy.example.com # x\n\n::1 localhost\n127.0.0.1 localhost\nnobody x\n",
        );
        assert_eq!(
            hosts.find("proxy").unwrap(),
            ["192.0.2.1".parse::<IpAddr>().unwrap()]
        );
        assert_eq!(hosts.find("proxy.example.com"), hosts.find("proxy"));
        let localhost: [IpAddr; 2] = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(hosts.find("localhost").unwrap(), localhost);
        assert_eq!(Hosts::read("").find("localhost").unwrap(), localhost);
        assert_eq!(hosts.find("x"), None);
    }
}
