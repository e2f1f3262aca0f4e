//! XML 1.0 with namespaces, as much of it as the documents of CPM need: a scanner that calls a
//! [`Visitor`] for each element and each text, and bounds what a document may cost.
//!
//! No document types and so no entities but the five of XML itself, UTF-8 only, no recursion, linear
//! time. What elements mean is decided by the visitor.
//!
//! [`crate::resource_lists`] uses the syntax alone. It is on the path of each message, and its own loop,
//! which keeps no names of namespaces and copies no attribute, takes two thirds of the time.

mod error;
mod namespaces;
mod scanner;
pub(crate) mod syntax;

pub use error::XmlError;
pub use namespaces::MAX_NAMESPACE_BINDINGS;
pub use scanner::{Attributes, Limits, MAX_ATTRIBUTES, Name, Visitor, scan};
