use std::rc::Rc;

use super::address::group_address;
use super::answer::{Answer, Fault};
use super::cache::Cache;
use super::database::GroupDatabase;
use super::error::SourceFailure;
use super::options::{MAX_CACHE_BYTES, RETRY_AFTER_MS, STALE_GRACE_MS, SourceOptions};
use super::stored::{Stored, Version, group_of};
use super::xcap::{Fetched, Xdms};
use crate::group::Group;
use crate::sip::Uri;

/// A slow source: its answers are kept for a while, and after an outage it is not queried for a
/// while.
pub(super) struct Remote {
    place: Place,
    known: Cache<Known>,
    /// Addresses without a group. They have a separate cache, since anyone can ask for any number
    /// of them: this does not displace groups.
    unknown: Cache<u64>,
    outage: Option<Outage>,
    lifetime_ms: u64,
    negative_lifetime_ms: u64,
}

pub(super) enum Place {
    Xdms(Box<Xdms>),
    /// The URL is the proxy's own.
    Database {
        url: String,
    },
}

#[derive(Debug)]
struct Known {
    /// The group, or why its document cannot be used.
    group: Result<Rc<Group>, SourceFailure>,
    versions: Vec<Version>,
    /// When the source confirmed it.
    confirmed_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Outage {
    cause: SourceFailure,
    until_ms: u64,
}

impl Remote {
    pub(super) fn new(place: Place, options: &SourceOptions) -> Self {
        Self {
            place,
            known: Cache::new(options.capacity, MAX_CACHE_BYTES),
            unknown: Cache::new(options.capacity, usize::MAX),
            outage: None,
            lifetime_ms: options.lifetime_s.saturating_mul(1000),
            negative_lifetime_ms: options.negative_lifetime_s.saturating_mul(1000),
        }
    }

    /// See [`GroupSources::set_times`](super::GroupSources::set_times).
    pub(super) fn set_times(&mut self, timeout_ms: u64, lifetime_s: u64) {
        self.lifetime_ms = lifetime_s.saturating_mul(1000);
        if let Place::Xdms(xdms) = &mut self.place {
            xdms.set_timeout(timeout_ms);
        }
    }

    pub(super) fn find(
        &mut self,
        uri: &Uri<'_>,
        now_ms: u64,
        db: &dyn GroupDatabase,
        report: &mut dyn FnMut(Fault),
    ) -> Answer {
        let address = group_address(uri);
        let is_younger = |then: u64, age: u64| now_ms.saturating_sub(then) < age;
        if let Some(known) = self.known.get(&address) {
            let lifetime_ms = match known.group {
                Ok(_) => self.lifetime_ms,
                Err(_) => RETRY_AFTER_MS,
            };
            if is_younger(known.confirmed_ms, lifetime_ms) {
                return known.answer(uri, now_ms);
            }
        }
        if let Some(since_ms) = self.unknown.get(&address)
            && is_younger(*since_ms, self.negative_lifetime_ms)
        {
            return Answer::Unknown;
        }
        if let Some(outage) = self.outage.filter(|outage| now_ms < outage.until_ms) {
            return self.answer_without_source(uri, &address, now_ms, outage);
        }
        match self.fetch(&address, db) {
            Ok(fetched) => {
                self.outage = None;
                self.learn(uri, &address, now_ms, fetched)
            }
            Err(cause) if cause.is_outage() => {
                let until_ms = now_ms.saturating_add(RETRY_AFTER_MS);
                let outage = Outage { cause, until_ms };
                self.outage = Some(outage);
                let answer = self.answer_without_source(uri, &address, now_ms, outage);
                if !matches!(answer, Answer::Outage { .. }) {
                    report(Fault { cause, file: None });
                }
                answer
            }
            Err(cause) => {
                // The source answered, so its earlier answers are obsolete.
                self.outage = None;
                self.unknown.remove(&address);
                let known = Known {
                    group: Err(cause),
                    versions: Vec::new(),
                    confirmed_ms: now_ms,
                };
                let answer = known.answer(uri, now_ms);
                self.known.insert(&address, known, 0);
                answer
            }
        }
    }

    pub(super) fn flush(&mut self) -> usize {
        self.outage = None;
        self.known.clear() + self.unknown.clear()
    }

    fn fetch(&mut self, address: &str, db: &dyn GroupDatabase) -> Result<Fetched, SourceFailure> {
        match &mut self.place {
            Place::Xdms(xdms) => {
                let known = self.known.get(address).map(|known| &known.versions[..]);
                xdms.fetch(address, known.filter(|versions| !versions.is_empty()))
            }
            Place::Database { url } => {
                let document = db.document(url, address);
                let Some(document) = document.map_err(SourceFailure::Database)? else {
                    return Ok(Fetched::Unknown);
                };
                let group = group_of(&document, address)?;
                if group.awaited_anchors().next().is_some() {
                    return Err(SourceFailure::ExternalListElsewhere);
                }
                Ok(Fetched::Group(Stored {
                    group: Rc::new(group),
                    bytes: document.len(),
                    versions: Vec::new(),
                }))
            }
        }
    }

    fn learn(&mut self, uri: &Uri<'_>, address: &str, now_ms: u64, fetched: Fetched) -> Answer {
        match fetched {
            Fetched::Unknown => {
                self.known.remove(address);
                self.unknown.insert(address, now_ms, 0);
                Answer::Unknown
            }
            Fetched::Unchanged => match self.known.get(address) {
                Some(known) => {
                    known.confirmed_ms = now_ms;
                    known.answer(uri, now_ms)
                }
                None => Answer::Unknown,
            },
            Fetched::Group(stored) => {
                self.unknown.remove(address);
                let known = Known {
                    group: Ok(stored.group),
                    versions: stored.versions,
                    confirmed_ms: now_ms,
                };
                let answer = known.answer(uri, now_ms);
                self.known.insert(address, known, stored.bytes);
                answer
            }
        }
    }

    /// A group that was confirmed recently is still used while its source is down.
    fn answer_without_source(
        &mut self,
        uri: &Uri<'_>,
        address: &str,
        now_ms: u64,
        outage: Outage,
    ) -> Answer {
        let grace_ms = self.lifetime_ms.saturating_add(STALE_GRACE_MS);
        match self.known.get(address) {
            Some(known)
                if known.group.is_ok() && now_ms.saturating_sub(known.confirmed_ms) < grace_ms =>
            {
                known.answer(uri, now_ms)
            }
            _ => Answer::Outage {
                cause: outage.cause,
                retry_after_ms: outage.until_ms.saturating_sub(now_ms),
            },
        }
    }
}

impl Known {
    fn answer(&self, uri: &Uri<'_>, now_ms: u64) -> Answer {
        match &self.group {
            Ok(group) if group.has_address(uri) => Answer::Group(Rc::clone(group)),
            Ok(_) => Answer::Unknown,
            Err(cause) => Answer::Broken {
                cause: *cause,
                retry_after_ms: self
                    .confirmed_ms
                    .saturating_add(RETRY_AFTER_MS)
                    .saturating_sub(now_ms),
            },
        }
    }
}
