//! Answers of sources: to each other, to the caller, to the operator.

use std::fmt;
use std::rc::Rc;

use super::error::SourceFailure;
use crate::group::Group;

/// Result of looking up an address.
#[derive(Debug, Clone)]
pub enum Found {
    /// The group, complete with its external lists.
    Group(Rc<Group>),
    /// All sources were asked, and none has it.
    Unknown,
}

/// It is currently unknown whether there is such a group, or what it contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable {
    /// The number of the source, from 1.
    pub source: usize,
    /// The reason.
    pub cause: SourceFailure,
    /// When to retry, for Retry-After: at least 1.
    pub retry_after_s: u32,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group source {}: {}", self.source, self.cause)
    }
}

impl std::error::Error for Unavailable {}

/// A fault for the operator that no result shows: a broken file, or an outage while another source
/// or an earlier answer serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFault {
    /// The number of the source, from 1.
    pub source: usize,
    /// The fault.
    pub cause: SourceFailure,
    /// The name of the file, in a folder.
    pub file: Option<String>,
}

impl fmt::Display for SourceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group source {}: ", self.source)?;
        if let Some(file) = &self.file {
            // A name can contain a line feed.
            write!(f, "{}: ", file.escape_debug())?;
        }
        self.cause.fmt(f)
    }
}

/// Answer of one source.
#[derive(Debug)]
pub(super) enum Answer {
    Group(Rc<Group>),
    Unknown,
    /// The source has the group, but it cannot be used.
    Broken {
        cause: SourceFailure,
        retry_after_ms: u64,
    },
    /// The source is down.
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
