//! Tasks on the project's own files. Each is a target of the Makefile.

#![forbid(unsafe_code)]

pub mod conformance;
pub mod diagrams;
pub mod page;
pub mod readme;

use std::path::Path;

/// The project's folder.
pub(crate) fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}
