use std::rc::Rc;

use ureq::http::{HeaderValue, Uri as HttpUri};

use super::address::group_address;
use super::error::SourceFailure;
use crate::group::Group;
use crate::sip::Uri;

/// One document of which a group was made.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) url: HttpUri,
    pub(super) etag: Option<HeaderValue>,
}

/// A complete group and what it was made of.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) group: Rc<Group>,
    /// Length of all of its documents.
    pub(super) bytes: usize,
    /// The documents, that of the group first; none from a database.
    pub(super) versions: Vec<Version>,
}

/// The group of a document that was fetched for an address, without its external lists.
///
/// It is found by its address, not by the URI of the request at hand: that one could differ in what
/// the address leaves out, and what is kept is for all URIs with this address.
pub(super) fn group_of(document: &[u8], address: &str) -> Result<Group, SourceFailure> {
    let groups = Group::parse(document).map_err(SourceFailure::Document)?;
    let has_address =
        |group: &Group| Uri::parse(group.uri()).is_ok_and(|uri| group_address(&uri) == address);
    let group = groups.into_iter().find(has_address);
    group.ok_or(SourceFailure::OtherGroup)
}
