//! Looks up pre-defined groups for requests, and logs failures at intervals.

use std::time::SystemTime;

use super::host::Journal;
use super::request::{GroupLookup, Request};
use super::service::ControllingFunction;
use crate::group::source::{
    Credentials, Found, GroupDatabase, GroupSources, SourceError, SourceOptions,
};
use crate::log::at;
use crate::policy::Settings;
use crate::sip::Uri;

/// A source that is down is logged once in this time.
const LOG_INTERVAL_MS: u64 = 60_000;

/// The group sources of one process.
pub struct GroupFinder {
    sources: GroupSources,
    /// What they were opened from.
    opened: Opened,
    logged_at_ms: Option<u64>,
}

/// The parameters that the sources are opened from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Opened {
    sources: Vec<String>,
    xcap: [Option<String>; 3],
}

impl Opened {
    fn of(settings: &Settings) -> Self {
        Opened {
            sources: settings.group_sources.clone(),
            xcap: [
                &settings.xcap_user,
                &settings.xcap_password,
                &settings.xcap_ca_file,
            ]
            .map(Clone::clone),
        }
    }
}

impl GroupFinder {
    /// Whether the configured sources can be opened. Nothing is kept open.
    pub fn check(settings: &Settings) -> Result<(), SourceError> {
        GroupSources::new(&settings.group_sources, &options(settings)).map(drop)
    }

    /// Opens the sources as configured.
    pub fn new(service: &ControllingFunction) -> Result<Self, SourceError> {
        let settings = service.settings();
        let options = SourceOptions {
            names: service.names().clone(),
            ..options(settings)
        };
        let sources = GroupSources::new(&settings.group_sources, &options)?;
        Ok(GroupFinder {
            sources,
            opened: Opened::of(settings),
            logged_at_ms: None,
        })
    }

    /// Opens the sources again if they are not those of this service: they have been reloaded.
    ///
    /// # Errors
    ///
    /// They cannot be opened, and the previous ones stay open.
    pub fn follow(&mut self, service: &ControllingFunction) -> Result<(), SourceError> {
        if self.opened != Opened::of(service.settings()) {
            *self = GroupFinder::new(service)?;
        }
        Ok(())
    }

    /// The group of a request that needs one. `now_ms` is monotonic; the validity of a group's
    /// rules is compared with `date`.
    pub fn look_up(
        &mut self,
        request: &Request,
        now_ms: u64,
        date: SystemTime,
        database: &dyn GroupDatabase,
        host: &dyn Journal,
    ) -> GroupLookup {
        let Ok(uri) = Uri::parse(request.request_uri()) else {
            return GroupLookup::Unknown;
        };
        // They may have been tuned.
        let settings = request.service.settings();
        self.sources.set_times(
            settings.group_timeout_ms as u64,
            settings.group_lifetime_s as u64,
        );
        let found = self.sources.find(&uri, now_ms, database);
        while let Some(fault) = self.sources.poll_fault() {
            // A fault of one document is reported once, and must be logged.
            if !fault.cause.is_outage() || self.is_time_to_log(now_ms) {
                host.log(at!(Error), format_args!("{fault}"));
            }
        }
        match found {
            Ok(Found::Group(group)) => {
                // The rules of a group may be limited in time (RFC 4745 §7.3).
                let permissions = request.permissions(&group, date);
                GroupLookup::Known(group, permissions)
            }
            Ok(Found::Unknown) => GroupLookup::Unknown,
            Err(unavailable) => {
                if self.is_time_to_log(now_ms) {
                    host.log(at!(Error), format_args!("{unavailable}"));
                }
                GroupLookup::Unavailable {
                    retry_after_s: unavailable.retry_after_s,
                }
            }
        }
    }

    fn is_time_to_log(&mut self, now_ms: u64) -> bool {
        let is_due = |at| now_ms.saturating_sub(at) >= LOG_INTERVAL_MS;
        let is_time = self.logged_at_ms.is_none_or(is_due);
        if is_time {
            self.logged_at_ms = Some(now_ms);
        }
        is_time
    }

    /// Clears the cache. Returns the number of groups removed.
    pub fn flush(&mut self) -> usize {
        self.sources.flush()
    }
}

fn options(settings: &Settings) -> SourceOptions {
    let credentials = settings.xcap_user.clone().map(|user| Credentials {
        user,
        password: settings.xcap_password.clone().unwrap_or_default(),
    });
    let timeout_ms = settings.group_timeout_ms as u64;
    let lifetime_s = settings.group_lifetime_s as u64;
    SourceOptions {
        xcap_credentials: credentials,
        ca_file: settings.xcap_ca_file.as_ref().map(Into::into),
        ..SourceOptions::new(timeout_ms, lifetime_s)
    }
}
