//! Name resolution of an XDMS for the HTTP client, because the system's resolver has no time limit.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::names::{DEADLINE, Found, NameThread, Names, Place, Target, Wanted};

/// Maximum number of addresses that are tried.
const MAX_ADDRESSES: usize = 4;

/// The resolver of one HTTP client. Its thread starts with the first name, in the process that
/// waits for it.
pub(super) struct NameResolver {
    names: Names,
    thread: OnceLock<Option<NameThread<SyncSender<Vec<Place>>>>>,
}

impl NameResolver {
    pub(super) fn new(names: Names) -> Self {
        Self {
            names,
            thread: OnceLock::new(),
        }
    }

    fn look_up(&self, target: Target, timeout: &NextTimeout) -> Result<Vec<SocketAddr>, Error> {
        let thread = self.thread.get_or_init(|| {
            NameThread::start(self.names.clone(), |name: Found<SyncSender<_>>| {
                for one in name.waiting {
                    // A request that has given up no longer receives this.
                    let _ = one.try_send(name.places.clone());
                }
            })
            .ok()
        });
        let thread = thread.as_ref().ok_or(Error::HostNotFound)?;
        let (sender, found) = sync_channel(1);
        thread.ask(target, sender);
        let wait = DEADLINE.min(*timeout.after);
        let places = found.recv_timeout(wait).unwrap_or_default();
        Ok(places.iter().map(|place| place.address).collect())
    }
}

impl Resolver for NameResolver {
    fn resolve(
        &self,
        uri: &Uri,
        _: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or_default();
        let default_port = match uri.scheme_str() {
            Some("https") => 443,
            _ => 80,
        };
        let port = uri.port_u16().unwrap_or(default_port);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let addresses = match (
            bare.parse::<IpAddr>(),
            Target::new(host, Some(port), Wanted::Host),
        ) {
            (Ok(address), _) => vec![SocketAddr::new(address, port)],
            (_, Some(target)) => self.look_up(target, &timeout)?,
            (_, None) => Vec::new(),
        };
        let mut found = self.empty();
        for address in addresses.into_iter().take(MAX_ADDRESSES) {
            found.push(address);
        }
        match found.is_empty() {
            true => Err(Error::HostNotFound),
            false => Ok(found),
        }
    }
}

impl fmt::Debug for NameResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NameResolver")
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use cpm_testbed::{DEAD, NameServer};
    use ureq::Agent;
    use ureq::unversioned::transport::DefaultConnector;

    use super::*;

    #[test]
    fn a_dead_name_ends_with_its_time() {
        let server = NameServer::start(&[("xdms.example.com", "A 127.0.0.1")]);
        let names = Names {
            servers: vec![server.address()],
            table: None,
        };
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = Agent::config_builder().proxy(None).build();
        let resolver = NameResolver::new(names);
        let agent = Agent::with_parts(config, DefaultConnector::default(), resolver);
        let ask = |uri: &str, within| {
            let request = agent.get(uri).config().timeout_global(Some(within));
            request.build().call()
        };
        let begin = Instant::now();
        let dead = ask(&format!("http://xdms{DEAD}/"), Duration::from_millis(300));
        assert!(
            matches!(dead, Err(Error::HostNotFound | Error::Timeout(_))),
            "{dead:?}"
        );
        assert!(begin.elapsed() < Duration::from_secs(5));
        let missing = ask("http://nobody.example.com/", Duration::from_mins(1));
        assert!(matches!(missing, Err(Error::HostNotFound)), "{missing:?}");
        // The connection succeeds, and no response comes.
        let uri = format!("http://xdms.example.com:{port}/");
        let found = ask(&uri, Duration::from_secs(1));
        assert!(matches!(found, Err(Error::Timeout(_))), "{found:?}");
        listener.accept().unwrap();
    }
}
