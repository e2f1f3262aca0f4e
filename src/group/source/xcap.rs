use std::rc::Rc;
use std::time::{Duration, Instant};

use ureq::http::Uri as HttpUri;

use super::address::path_segment;
use super::error::{SourceError, SourceFailure};
use super::http::{HttpClient, Origin, Response};
use super::options::SourceOptions;
use super::stored::{Stored, Version, group_of};
use crate::group::{Group, MemberList};

/// Path of a group by its address in OMA XDM Group, below the XCAP root (RFC 4825 §6).
const GROUPS_BY_ID: &str = "org.openmobilealliance.groups/global/byGroupID/";

/// An XDMS: a server of documents over XCAP (RFC 4825).
pub(super) struct Xdms {
    /// Ends with a slash.
    root: String,
    origin: Origin,
    client: HttpClient,
    timeout: Duration,
}

/// Result of fetching a group.
#[derive(Debug)]
pub(super) enum Fetched {
    Unknown,
    Group(Stored),
    /// Nothing has changed since.
    Unchanged,
}

impl Xdms {
    /// `source` is the number of the configured value, for error messages.
    pub(super) fn new(
        url: &str,
        options: &SourceOptions,
        source: usize,
    ) -> Result<Self, SourceError> {
        let invalid = SourceError::InvalidUrl { source };
        // `http::Uri` drops the part after a `#`.
        if url.contains('#') {
            return Err(invalid);
        }
        let parsed: HttpUri = url.parse().map_err(|_| invalid.clone())?;
        if parsed.query().is_some() {
            return Err(invalid);
        }
        if parsed.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err(SourceError::CredentialsInUrl { source });
        }
        let origin = Origin::of(&parsed).ok_or(invalid)?;
        let client = HttpClient::new(options, origin.is_secure())?;
        Ok(Self {
            root: format!("{}/", url.trim_end_matches('/')),
            origin,
            client,
            timeout: Duration::from_millis(options.timeout_ms),
        })
    }

    pub(super) fn set_timeout(&mut self, timeout_ms: u64) {
        self.timeout = Duration::from_millis(timeout_ms);
    }

    /// Fetches a group with its external lists, all within the timeout. `known` are the documents
    /// from which it was last built.
    pub(super) fn fetch(
        &mut self,
        address: &str,
        known: Option<&[Version]>,
    ) -> Result<Fetched, SourceFailure> {
        let deadline = Instant::now() + self.timeout;
        let url = format!("{}{GROUPS_BY_ID}{}", self.root, path_segment(address));
        let url: HttpUri = url.parse().map_err(|_| SourceFailure::InvalidAddress)?;
        let etag = known.and_then(|known| known.first()?.etag.as_ref());
        let mut response = self.client.get(&url, etag, deadline)?;
        if let (Response::NotModified, Some(known)) = (&response, known) {
            if self.are_unchanged(&known[1..], deadline)? {
                return Ok(Fetched::Unchanged);
            }
            response = self.client.get(&url, None, deadline)?;
        }
        let (body, etag) = match response {
            Response::Document { body, etag } => (body, etag),
            Response::NotFound => return Ok(Fetched::Unknown),
            Response::NotModified => return Err(SourceFailure::NotHttp),
        };
        let mut stored = Stored {
            group: Rc::default(),
            bytes: body.len(),
            versions: vec![Version { url, etag }],
        };
        let mut group = group_of(&body, address)?;
        drop(body);
        self.add_external_lists(&mut group, &mut stored, deadline)?;
        stored.group = Rc::new(group);
        Ok(Fetched::Group(stored))
    }

    fn are_unchanged(
        &mut self,
        versions: &[Version],
        deadline: Instant,
    ) -> Result<bool, SourceFailure> {
        for version in versions {
            let Some(etag) = &version.etag else {
                return Ok(false);
            };
            match self.client.get(&version.url, Some(etag), deadline)? {
                Response::NotModified => {}
                Response::Document { .. } | Response::NotFound => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Fetches one list after the other, until none refers to a missing one. The group itself
    /// bounds their number and depth.
    fn add_external_lists(
        &mut self,
        group: &mut Group,
        stored: &mut Stored,
        deadline: Instant,
    ) -> Result<(), SourceFailure> {
        loop {
            let Some(anchor) = group.awaited_anchors().next().map(str::to_owned) else {
                return Ok(());
            };
            let url: HttpUri = anchor
                .parse()
                .map_err(|_| SourceFailure::ExternalListElsewhere)?;
            if Origin::of(&url).as_ref() != Some(&self.origin) {
                return Err(SourceFailure::ExternalListElsewhere);
            }
            let (body, etag) = match self.client.get(&url, None, deadline)? {
                Response::Document { body, etag } => (body, etag),
                Response::NotFound => return Err(SourceFailure::ExternalListMissing),
                Response::NotModified => return Err(SourceFailure::NotHttp),
            };
            stored.bytes += body.len();
            stored.versions.push(Version { url, etag });
            let list = MemberList::parse(&body).map_err(SourceFailure::ExternalListDocument)?;
            group
                .add_external_list(&anchor, list)
                .map_err(SourceFailure::ExternalList)?;
        }
    }
}

#[cfg(test)]
mod tests;
