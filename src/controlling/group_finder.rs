//! Looks pre-defined groups up for requests, and says now and then what is wrong with their sources.

use std::time::SystemTime;

use super::host::{Host, LogLevel};
use super::request::{GroupLookup, Request};
use crate::group::source::{
    Credentials, Found, GroupDatabase, GroupSources, SourceError, SourceOptions,
};
use crate::policy::Settings;
use crate::sip::Uri;

/// What is wrong with a source is worth one line in this time.
const LOG_INTERVAL_MS: u64 = 60_000;

/// The group sources of one process.
pub struct GroupFinder {
    sources: GroupSources,
    logged_at_ms: Option<u64>,
}

impl GroupFinder {
    /// Opens the sources as configured.
    ///
    /// # Errors
    /// Any [`SourceError`].
    pub fn new(settings: &Settings) -> Result<Self, SourceError> {
        Ok(GroupFinder {
            sources: GroupSources::new(&settings.group_sources, &options(settings))?,
            logged_at_ms: None,
        })
    }

    /// The group of a request that wants one. `now_ms` is monotonic. Takes as long as the sources do, at most the
    /// parameter `group_timeout` for each.
    pub fn look_up(
        &mut self,
        request: &Request,
        now_ms: u64,
        database: &dyn GroupDatabase,
        host: &dyn Host,
    ) -> GroupLookup {
        let Ok(uri) = Uri::parse(request.request_uri()) else {
            return GroupLookup::Unknown;
        };
        let found = self.sources.find(&uri, now_ms, database);
        while let Some(fault) = self.sources.poll_fault() {
            self.log(host, now_ms, format_args!("{fault}"));
        }
        match found {
            Ok(Found::Group(group)) => {
                // The rules of a group can hold for a time (RFC 4745 §7.3).
                let permissions = request.permissions(&group, SystemTime::now());
                GroupLookup::Known(group, permissions)
            }
            Ok(Found::Unknown) => GroupLookup::Unknown,
            Err(unavailable) => {
                self.log(host, now_ms, format_args!("{unavailable}"));
                GroupLookup::Unavailable {
                    retry_after_s: unavailable.retry_after_s,
                }
            }
        }
    }

    /// Forgets what is cached. Returns how many groups that were.
    pub fn flush(&mut self) -> usize {
        self.sources.flush()
    }

    fn log(&mut self, host: &dyn Host, now_ms: u64, line: std::fmt::Arguments<'_>) {
        let quiet = |at: u64| now_ms.saturating_sub(at) < LOG_INTERVAL_MS;
        if !self.logged_at_ms.is_some_and(quiet) {
            self.logged_at_ms = Some(now_ms);
            host.log(LogLevel::Error, line);
        }
    }
}

fn options(settings: &Settings) -> SourceOptions {
    SourceOptions {
        xcap_credentials: settings.xcap_user.clone().map(|user| Credentials {
            user,
            password: settings.xcap_password.clone().unwrap_or_default(),
        }),
        ca_file: settings.xcap_ca_file.clone().map(Into::into),
        timeout_ms: settings.group_timeout_ms as u64,
        lifetime_s: settings.group_lifetime_s as u64,
        ..SourceOptions::default()
    }
}
