//! Group sources in the order configured.

use std::collections::VecDeque;
use std::path::Path;

use super::answer::{Answer, Fault, Found, SourceFault, Unavailable};
use super::database::GroupDatabase;
use super::error::SourceError;
use super::folder::Folder;
use super::options::{MAX_SOURCES, MAX_TIMEOUT_MS, SourceOptions};
use super::remote::{Place, Remote};
use super::xcap::Xdms;
use crate::sip::Uri;

/// Maximum number of reports waiting for [`GroupSources::poll_fault`]; older ones are dropped.
const MAX_FAULTS: usize = 16;

/// Group sources in the order configured; the first that has a group wins.
///
/// A source that is down does not hide the others. A group that a source has but that cannot be
/// used does: the operator did not mean the version of a later source.
pub struct GroupSources {
    sources: Vec<Source>,
    faults: VecDeque<SourceFault>,
}

enum Source {
    Folder(Folder),
    Remote(Remote),
}

impl GroupSources {
    /// Sources from the values of the parameter `group_source`:
    /// - `dir:PATH`: the files of a folder whose names end in `.xml`. The content of a file
    ///   determines its group;
    /// - `xcap:URL`: an XDMS by its XCAP root, for example
    ///   `xcap:https://xdms.example.com/xcap-root`;
    /// - `db:URL`: the table `cpm_group` of the database with the proxy's own URL, for example
    ///   `db:sqlite:///var/lib/cpm/groups.db`.
    ///
    /// Nothing is queried and no thread is started yet.
    ///
    /// # Errors
    ///
    /// Any [`SourceError`]: an invalid value.
    pub fn new(urls: &[String], options: &SourceOptions) -> Result<Self, SourceError> {
        if urls.len() > MAX_SOURCES {
            return Err(SourceError::TooManySources);
        }
        if !(1..=MAX_TIMEOUT_MS).contains(&options.timeout_ms) {
            return Err(SourceError::InvalidTimeout);
        }
        let sources = urls.iter().zip(1..);
        let sources = sources.map(|(url, source)| Source::new(url, options, source));
        Ok(Self {
            sources: sources.collect::<Result<_, _>>()?,
            faults: VecDeque::new(),
        })
    }

    /// Looks up the group with this address. `now_ms` is a monotonic time in milliseconds.
    ///
    /// It can block for the timeout of each XDMS, as long as the proxy's database interface does,
    /// and while files are read. For each connection to an XDMS a short-lived thread looks up the
    /// host name, since only this has a time limit; it calls no other code of ours.
    ///
    /// Afterwards [`Self::poll_fault`] reports other faults.
    ///
    /// # Errors
    ///
    /// The group exists and cannot be used, or no source has it and one of them is down.
    pub fn find(
        &mut self,
        uri: &Uri<'_>,
        now_ms: u64,
        db: &dyn GroupDatabase,
    ) -> Result<Found, Unavailable> {
        let mut outage = None;
        let faults = &mut self.faults;
        for (at, number) in self.sources.iter_mut().zip(1..) {
            let mut report = |fault: Fault| push_fault(faults, number, fault);
            let answer = match at {
                Source::Folder(folder) => folder.find(uri, now_ms, &mut report),
                Source::Remote(remote) => remote.find(uri, now_ms, db, &mut report),
            };
            let unavailable = |cause, retry_after_ms: u64| Unavailable {
                source: number,
                cause,
                retry_after_s: u32::try_from(retry_after_ms.div_ceil(1000).max(1))
                    .unwrap_or(u32::MAX),
            };
            match answer {
                Answer::Group(group) => return Ok(Found::Group(group)),
                Answer::Unknown => {}
                Answer::Broken {
                    cause,
                    retry_after_ms,
                } => return Err(unavailable(cause, retry_after_ms)),
                Answer::Outage {
                    cause,
                    retry_after_ms,
                } => {
                    outage.get_or_insert(unavailable(cause, retry_after_ms));
                }
            }
        }
        outage.map_or(Ok(Found::Unknown), Err)
    }

    /// The next report, oldest first.
    pub fn poll_fault(&mut self) -> Option<SourceFault> {
        self.faults.pop_front()
    }

    /// Changes the times for later queries: [`SourceOptions::timeout_ms`] and
    /// [`SourceOptions::lifetime_s`].
    pub fn set_times(&mut self, timeout_ms: u64, lifetime_s: u64) {
        for source in &mut self.sources {
            if let Source::Remote(remote) = source {
                remote.set_times(timeout_ms, lifetime_s);
            }
        }
    }

    /// Clears all caches, including outages, so that everything is queried again; returns the
    /// number of groups and addresses without a group that were removed (`cpm.groups_flush`).
    pub fn flush(&mut self) -> usize {
        let flush = |source: &mut Source| match source {
            Source::Folder(folder) => folder.flush(),
            Source::Remote(remote) => remote.flush(),
        };
        self.sources.iter_mut().map(flush).sum()
    }
}

impl Source {
    fn new(url: &str, options: &SourceOptions, source: usize) -> Result<Self, SourceError> {
        let (kind, rest) = url.split_once(':').unwrap_or((url, ""));
        match kind {
            "dir" => {
                let path = Path::new(rest);
                if !path.is_absolute() {
                    return Err(SourceError::RelativePath { source });
                }
                if let Err(error) = std::fs::read_dir(path) {
                    let why = error.kind();
                    return Err(SourceError::Folder { source, why });
                }
                Ok(Self::Folder(Folder::new(path.to_owned())))
            }
            "xcap" => {
                let xdms = Box::new(Xdms::new(rest, options, source)?);
                Ok(Self::Remote(Remote::new(Place::Xdms(xdms), options)))
            }
            "db" if rest.is_empty() => Err(SourceError::MissingDatabaseUrl { source }),
            "db" => {
                let url = rest.to_owned();
                Ok(Self::Remote(Remote::new(Place::Database { url }, options)))
            }
            _ => Err(SourceError::UnknownKind { source }),
        }
    }
}

fn push_fault(faults: &mut VecDeque<SourceFault>, source: usize, fault: Fault) {
    if faults.len() == MAX_FAULTS {
        faults.pop_front();
    }
    faults.push_back(SourceFault {
        source,
        cause: fault.cause,
        file: fault.file,
    });
}

#[cfg(test)]
mod tests;
