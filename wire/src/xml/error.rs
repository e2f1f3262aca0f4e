use std::fmt;

/// Why a document cannot be read as XML. It concerns only this document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XmlError {
    /// Longer than the limit.
    TooLarge,
    /// UTF-16, octets that are not UTF-8, or a declaration that names another encoding.
    NotUtf8,
    /// Not well-formed (XML 1.0), or a prefix without a namespace.
    Malformed,
    /// A document type declaration, which could define entities.
    DocumentType,
    /// A reference to an entity other than the five that XML itself defines.
    UndefinedEntity,
    /// Elements nested deeper than the limit.
    TooDeep,
    /// An element with more attributes than [`MAX_ATTRIBUTES`](super::MAX_ATTRIBUTES).
    TooManyAttributes,
    /// More namespaces in scope than
    /// [`MAX_NAMESPACE_BINDINGS`](super::MAX_NAMESPACE_BINDINGS).
    TooManyNamespaces,
}

impl fmt::Display for XmlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "document too large",
            Self::NotUtf8 => "document is not UTF-8",
            Self::Malformed => "document is not well-formed",
            Self::DocumentType => "document type declaration",
            Self::UndefinedEntity => "undefined entity",
            Self::TooDeep => "elements nested too deep",
            Self::TooManyAttributes => "too many attributes",
            Self::TooManyNamespaces => "too many namespaces",
        })
    }
}

impl std::error::Error for XmlError {}
