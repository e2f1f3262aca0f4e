//! Where accepted messages are kept, as the parameter `store` says.

use std::fmt;
use std::path::{Path, PathBuf};

use redis::IntoConnectionInfo as _;

use super::value::{NONE, ParameterError};

/// Where accepted messages are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct StorePlace {
    kind: StoreKind,
    shown: String,
}

/// What keeps them.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreKind {
    /// A database in this folder.
    Folder(PathBuf),
    /// The server with this URL, which may contain a password and is never shown.
    Server(String),
}

impl StorePlace {
    /// Reads `file:` and an absolute path, or the URL of a server. `None`: there is to be no store.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, ParameterError> {
        if text == NONE {
            return Ok(None);
        }
        if let Some(path) = text.strip_prefix("file:").map(Path::new) {
            return match path.is_absolute() {
                true => Ok(Some(StorePlace {
                    kind: StoreKind::Folder(path.to_owned()),
                    shown: text.to_owned(),
                })),
                false => Err(ParameterError::NotAStore),
            };
        }
        let scheme = ["redis", "rediss"].into_iter().find(|scheme| {
            let rest = text.strip_prefix(scheme);
            rest.is_some_and(|rest| rest.starts_with("://"))
        });
        let (Some(scheme), Ok(server)) = (scheme, text.into_connection_info()) else {
            return Err(ParameterError::NotAStore);
        };
        // `#insecure`: any certificate. That is no protection.
        if text.contains('#') {
            return Err(ParameterError::NotAStore);
        }
        let database = server.redis_settings().db();
        Ok(Some(StorePlace {
            kind: StoreKind::Server(text.to_owned()),
            shown: format!("{scheme}://{}/{database}", server.addr()),
        }))
    }

    /// What keeps them.
    pub fn kind(&self) -> &StoreKind {
        &self.kind
    }

    /// Its folder, if it has one.
    pub(super) fn folder(&self) -> Option<&Path> {
        match &self.kind {
            StoreKind::Folder(path) => Some(path),
            StoreKind::Server(_) => None,
        }
    }

    /// Whether several nodes share it.
    pub fn is_shared(&self) -> bool {
        matches!(self.kind, StoreKind::Server(_))
    }

    /// Whether it is a server that is spoken to over TLS.
    pub fn is_tls(&self) -> bool {
        matches!(&self.kind, StoreKind::Server(url) if url.starts_with("rediss:"))
    }

    /// Its value without the password.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }
}

impl fmt::Debug for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Parameter, Settings, without_credentials};

    #[test]
    fn a_store_is_a_folder_or_a_server_whose_password_is_not_shown() {
        let shown = |text: &str| {
            let mut settings = Settings::default();
            settings.set("store", text)?;
            let row = Parameter::named("store").unwrap();
            let values = settings.values(row);
            assert_eq!(values.len(), 1);
            let debug = format!("{:?}", settings.store);
            assert!(!debug.contains("secret"), "{debug}");
            Ok::<String, ParameterError>(values[0].to_owned())
        };
        for (text, expected) in [
            ("none", "none"),
            ("file:/var/lib/cpm/store", "file:/var/lib/cpm/store"),
            (
                "redis://store.example.com",
                "redis://store.example.com:6379/0",
            ),
            ("rediss://cpm:secret@h:1/2", "rediss://h:1/2"),
            (
                "redis://:secret@[2001:db8::1]:6380",
                "redis://2001:db8::1:6380/0",
            ),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(expected), "{text}");
        }
        for other in [
            "/var/lib/cpm",
            "file:store",
            "http://h/0",
            "redis:h",
            "redis://h/x",
            "rediss://h/#insecure",
            "",
        ] {
            assert_eq!(shown(other), Err(ParameterError::NotAStore), "{other}");
        }
        for (value, expected) in [
            ("redis://:sec@ret@h/x", "redis://h/x"),
            ("sip:a@example.com", "sip:a@example.com"),
            ("a@b//c", "a@b//c"),
        ] {
            assert_eq!(without_credentials(value), expected);
        }
    }
}
