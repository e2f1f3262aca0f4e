//! Addresses in MSRP URIs.

use std::net::{IpAddr, SocketAddr};

/// Host and port of an MSRP URI.
pub(crate) fn address_of(path: &str) -> Result<SocketAddr, String> {
    let first = path.split(' ').next().unwrap_or_default();
    let rest = first.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = authority
        .rsplit_once(':')
        .ok_or(format!("no port in {path:?}"))?;
    let host: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    match (host, port.parse()) {
        (Ok(host), Ok(port)) => Ok(SocketAddr::new(host, port)),
        _ => Err(format!("no address in {path:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_paths() {
        let address = |path| address_of(path).map(|address| address.to_string());
        assert_eq!(
            address("msrp://127.0.0.1:9/a;tcp msrp://h:1/b;tcp"),
            Ok("127.0.0.1:9".into())
        );
        assert_eq!(address("msrps://[::1]:9/a;tcp"), Ok("[::1]:9".into()));
        assert!(address("msrp://host/a;tcp").is_err() && address("").is_err());
    }
}
