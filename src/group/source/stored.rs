use std::rc::Rc;

use ureq::http::{HeaderValue, Uri as HttpUri};

use super::address::group_address;
use super::error::SourceFailure;
use crate::group::Group;
use crate::sip::Uri;

/// One document from which a group was built.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) url: HttpUri,
    pub(super) etag: Option<HeaderValue>,
}

/// A complete group and its documents.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) group: Rc<Group>,
    /// Total length of its documents.
    pub(super) bytes: usize,
    /// The documents, that of the group first; none for a database.
    pub(super) versions: Vec<Version>,
}

/// The group in a document that was fetched for an address, without its external lists.
///
/// It is found by its address, not by the URI of the current request: that one could differ in
/// parts that the address omits, and the result is kept for all URIs with this address.
pub(super) fn group_of(document: &[u8], address: &str) -> Result<Group, SourceFailure> {
    let groups = Group::parse(document).map_err(SourceFailure::Document)?;
    let has_address =
        |group: &Group| Uri::parse(group.uri()).is_ok_and(|uri| group_address(&uri) == address);
    let group = groups.into_iter().find(has_address);
    group.ok_or(SourceFailure::OtherGroup)
}
