//! XML 1.0 with namespaces, as far as the documents of CPM need it: a scanner that calls a
//! [`Visitor`] for each element and each text, and limits the cost of a document.
//!
//! No document types, and so no entities except the five of XML itself; UTF-8 only; no recursion;
//! linear time. The visitor determines the meaning of elements. Resource lists are on the path of
//! each message: values are copied only if they contain references, and the default namespace is
//! cached, so an entry takes as long as in a loop written for it alone (145 to 155 ns both ways,
//! 215 to 225 ns with copyControl).

mod error;
mod namespaces;
mod scanner;
mod syntax;

pub use error::XmlError;
pub use namespaces::MAX_NAMESPACE_BINDINGS;
pub use scanner::{Attributes, Limits, MAX_ATTRIBUTES, Name, Visitor, scan};
