use std::fmt;

use crate::xml::XmlError;

/// Why a resource list cannot be used. It concerns only this document.
///
/// `Display` is a phrase short enough for the status line of a SIP response, one for each cause; it
/// never contains text from the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceListsError {
    /// Longer than the limit.
    TooLarge,
    /// UTF-16, octets that are not UTF-8, or a declaration that names another encoding.
    NotUtf8,
    /// Not well-formed (XML 1.0), or a prefix without a namespace.
    Malformed,
    /// A document type declaration. A resource list never needs one, and it could define entities.
    DocumentType,
    /// A reference to an entity other than the five that XML itself defines.
    UndefinedEntity,
    /// The root element is not `resource-lists` of RFC 4826.
    NotResourceLists,
    /// An element of RFC 4826 where its schema has none, or one that is not in the schema.
    UnexpectedElement,
    /// An entry-ref or external element: it refers to recipients outside the document.
    ExternalReference,
    /// An entry without `uri` attribute, or with an empty one.
    MissingUri,
    /// The URI of an entry is longer than the limit.
    UriTooLong,
    /// A copyControl that is not to, cc or bcc (RFC 5364 §4).
    UnknownCopyControl,
    /// An anonymize that is not a boolean (RFC 5364 §4).
    UnknownAnonymize,
    /// More entries than the limit.
    TooManyEntries,
    /// Elements nested deeper than the limit.
    TooDeep,
    /// An element with more attributes than [`MAX_ATTRIBUTES`](super::MAX_ATTRIBUTES).
    TooManyAttributes,
    /// More namespaces in scope than
    /// [`MAX_NAMESPACE_BINDINGS`](super::MAX_NAMESPACE_BINDINGS).
    TooManyNamespaces,
}

impl From<XmlError> for ResourceListsError {
    fn from(error: XmlError) -> Self {
        match error {
            XmlError::TooLarge => Self::TooLarge,
            XmlError::NotUtf8 => Self::NotUtf8,
            XmlError::Malformed => Self::Malformed,
            XmlError::DocumentType => Self::DocumentType,
            XmlError::UndefinedEntity => Self::UndefinedEntity,
            XmlError::TooDeep => Self::TooDeep,
            XmlError::TooManyAttributes => Self::TooManyAttributes,
            XmlError::TooManyNamespaces => Self::TooManyNamespaces,
        }
    }
}

impl fmt::Display for ResourceListsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "Resource List Too Large",
            Self::NotUtf8 => "Resource List Not UTF-8",
            Self::Malformed => "Malformed Resource List",
            Self::DocumentType => "Document Type In Resource List",
            Self::UndefinedEntity => "Undefined Entity In Resource List",
            Self::NotResourceLists => "Not A Resource List",
            Self::UnexpectedElement => "Unexpected Element In Resource List",
            Self::ExternalReference => "External Reference In Resource List",
            Self::MissingUri => "Resource List Entry Without URI",
            Self::UriTooLong => "Resource List URI Too Long",
            Self::UnknownCopyControl => "Unknown Copy Control In Resource List",
            Self::UnknownAnonymize => "Unknown Anonymize In Resource List",
            Self::TooManyEntries => "Too Many Resource List Entries",
            Self::TooDeep => "Resource List Nested Too Deep",
            Self::TooManyAttributes => "Too Many Attributes In Resource List",
            Self::TooManyNamespaces => "Too Many Namespaces In Resource List",
        })
    }
}

impl std::error::Error for ResourceListsError {}
