//! What sources say: to each other, to the caller, to the operator.

use std::fmt;
use std::rc::Rc;

use super::error::SourceFailure;
use crate::group::Group;

/// What the sources say about an address.
#[derive(Debug, Clone)]
pub enum Found {
    /// The group, complete with its external lists.
    Group(Rc<Group>),
    /// All sources were asked, none has it.
    Unknown,
}

/// Whether there is such a group, or what it is, cannot be said now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable {
    /// The number of the source, from 1.
    pub source: usize,
    /// Why.
    pub cause: SourceFailure,
    /// When it is worth another try, for Retry-After: 1 at least.
    pub retry_after_s: u32,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group source {}: {}", self.source, self.cause)
    }
}

impl std::error::Error for Unavailable {}

/// Something for the operator that no result says: a broken file, or an outage while another source
/// or an earlier answer serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFault {
    /// The number of the source, from 1.
    pub source: usize,
    /// What is wrong.
    pub cause: SourceFailure,
    /// The name of the file, in a folder.
    pub file: Option<String>,
}

impl fmt::Display for SourceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group source {}: ", self.source)?;
        if let Some(file) = &self.file {
            // A name can hold a line feed.
            write!(f, "{}: ", file.escape_debug())?;
        }
        self.cause.fmt(f)
    }
}

/// What one source says.
#[derive(Debug)]
pub(super) enum Answer {
    Group(Rc<Group>),
    Unknown,
    /// The source has the group, but nobody can use it.
    Broken {
        cause: SourceFailure,
        retry_after_ms: u64,
    },
    /// The source is out of order.
    Outage {
        cause: SourceFailure,
        retry_after_ms: u64,
    },
}

/// A [`SourceFault`] of the source at hand.
pub(super) struct Fault {
    pub(super) cause: SourceFailure,
    pub(super) file: Option<String>,
}
