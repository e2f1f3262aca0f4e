//! The server of a store that several nodes share (Valkey or Redis): where it is, and a connection.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use redis::{
    Client, Connection, ErrorKind, IntoConnectionInfo as _, RedisError, RedisResult,
    TlsCertificates,
};

use super::engine::{Failure, Refusal};
use crate::trust;

/// How long connecting may take, with TLS and authentication.
const CONNECT: Duration = Duration::from_secs(2);
/// How long the server may take for an answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Where the server is. The password that its URL may contain is never shown.
#[derive(Clone)]
pub struct ServerAddress {
    client: Client,
    shown: String,
}

impl ServerAddress {
    /// From a URL: `redis://[USER][:PASSWORD@]HOST[:PORT][/DB]`, or `rediss:` for TLS. `None`: it
    /// is something else.
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, _) = url.split_once("://")?;
        if !["redis", "rediss"].contains(&scheme) {
            return None;
        }
        let info = url.into_connection_info().ok()?;
        let shown = format!("{scheme}://{}/{}", info.addr(), info.redis_settings().db());
        let client = Client::open(info).ok()?;
        Some(ServerAddress { client, shown })
    }

    /// The same, if it is spoken to over TLS: trusting the authorities in this PEM file or, without
    /// one, the system's. No TLS connection can be had without this.
    ///
    /// # Errors
    /// The file cannot be used, or the system has no authorities, for this reason.
    pub fn trusting(&self, file: Option<&Path>) -> Result<Self, String> {
        let authorities = trust::authorities(file).map_err(|error| error.to_string())?;
        let certificates = TlsCertificates {
            client_tls: None,
            // Never left to the library: it would read the system's authorities for each
            // connection, also where others are given, and fail where there are none.
            root_cert: Some(trust::as_pem(&authorities)),
        };
        let info = self.client.get_connection_info().clone();
        let client = Client::build_with_tls(info, certificates);
        Ok(ServerAddress {
            client: client.map_err(|error| error.to_string())?,
            shown: self.shown.clone(),
        })
    }

    /// A connection whose every call ends by itself.
    pub(super) fn connect(&self) -> RedisResult<Connection> {
        let connection = self.client.get_connection_with_timeout(CONNECT)?;
        connection.set_read_timeout(Some(ANSWER))?;
        connection.set_write_timeout(Some(ANSWER))?;
        Ok(connection)
    }
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Without the password.
impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Whether waiting cannot help: the operator has to change something.
pub(super) fn is_refused(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        let why = error.to_string();
        // Of one command among several.
        let is_full = why.contains("OOM");
        Failure {
            why,
            refusal: match is_full {
                true => Refusal::Full,
                false => Refusal::Down,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        let shown = |url| ServerAddress::parse(url).map(|address| format!("{address} {address:?}"));
        let both = |text: &str| Some(format!("{text} {text}"));
        assert_eq!(
            shown("redis://cpm:secret@store.example.com:6380/3"),
            both("redis://store.example.com:6380/3")
        );
        assert_eq!(shown("rediss://h"), both("rediss://h:6379/0"));
        for other in ["redis:/h", "unix:///tmp/x", "redis://h/x", "http://h", ""] {
            assert_eq!(shown(other), None, "{other}");
        }
    }
}
