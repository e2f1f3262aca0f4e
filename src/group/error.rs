use std::fmt;

use crate::xml::XmlError;

/// Why a group document, or a list that one refers to, cannot be used. It concerns only this
/// document.
///
/// `Display` never contains text from the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupDocumentError {
    /// It cannot be read as XML within the limits.
    Xml(XmlError),
    /// The root element is not `group`.
    NotAGroup,
    /// The root element of a list is neither `resource-lists` nor `list`.
    NotAList,
    /// A group element without list-service.
    NoListService,
    /// An element of RFC 4826 where its schema has none, or one that is not in the schema.
    UnexpectedElement,
    /// An entry-ref element: it refers to a recipient outside the document; OMA groups have
    /// `external` for that.
    EntryReference,
    /// A list-service or an entry without `uri` attribute, or with an empty one.
    MissingUri,
    /// A reference to an external list without its URI.
    MissingAnchor,
    /// A URI longer than [`MAX_MEMBER_URI_BYTES`](super::MAX_MEMBER_URI_BYTES), or an anchor longer
    /// than [`MAX_ANCHOR_BYTES`](super::MAX_ANCHOR_BYTES).
    UriTooLong,
    /// A max-participant-count that is not a number.
    InvalidParticipantCount,
    /// More list-service elements than [`MAX_GROUPS`](super::MAX_GROUPS).
    TooManyGroups,
    /// More entries than [`MAX_MEMBERS`](super::MAX_MEMBERS).
    TooManyMembers,
    /// More external lists than [`MAX_EXTERNAL_LISTS`](super::MAX_EXTERNAL_LISTS).
    TooManyExternalLists,
    /// More rules, or more conditions and parts of conditions, than
    /// [`MAX_RULE_PARTS`](super::MAX_RULE_PARTS).
    TooManyRuleParts,
}

impl From<XmlError> for GroupDocumentError {
    fn from(error: XmlError) -> Self {
        Self::Xml(error)
    }
}

impl fmt::Display for GroupDocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xml(error) => return error.fmt(f),
            Self::NotAGroup => "not a group document",
            Self::NotAList => "not a resource list",
            Self::NoListService => "group without list-service",
            Self::UnexpectedElement => "unexpected element in list",
            Self::EntryReference => "entry-ref in list",
            Self::MissingUri => "list-service or entry without URI",
            Self::MissingAnchor => "external list without URI",
            Self::UriTooLong => "URI too long",
            Self::InvalidParticipantCount => "invalid max-participant-count",
            Self::TooManyGroups => "too many groups",
            Self::TooManyMembers => "too many members",
            Self::TooManyExternalLists => "too many external lists",
            Self::TooManyRuleParts => "too many rules or conditions",
        })
    }
}

impl std::error::Error for GroupDocumentError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Xml(error) => Some(error),
            _ => None,
        }
    }
}

/// Why an external list cannot become part of a group. The group is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExternalListError {
    /// The group has no such anchor, or already has its list.
    NotAwaited,
    /// The list refers to further lists, deeper than
    /// [`MAX_EXTERNAL_DEPTH`](super::MAX_EXTERNAL_DEPTH).
    TooDeep,
    /// Together with those that it refers to there are more external lists than
    /// [`MAX_EXTERNAL_LISTS`](super::MAX_EXTERNAL_LISTS).
    TooManyExternalLists,
    /// With its entries the group has more than [`MAX_MEMBERS`](super::MAX_MEMBERS).
    TooManyMembers,
}

impl fmt::Display for ExternalListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAwaited => "external list not awaited",
            Self::TooDeep => "external lists nested too deep",
            Self::TooManyExternalLists => "too many external lists",
            Self::TooManyMembers => "too many members in external lists",
        })
    }
}

impl std::error::Error for ExternalListError {}

#[cfg(test)]
mod tests {
    use super::GroupDocumentError::*;
    use super::*;

    #[test]
    fn phrases_are_distinct() {
        let document = [
            Xml(XmlError::Malformed),
            NotAGroup,
            NotAList,
            NoListService,
            UnexpectedElement,
            EntryReference,
            MissingUri,
            MissingAnchor,
            UriTooLong,
            InvalidParticipantCount,
            TooManyGroups,
            TooManyMembers,
            TooManyExternalLists,
            TooManyRuleParts,
        ];
        let phrases: std::collections::HashSet<_> =
            document.iter().map(GroupDocumentError::to_string).collect();
        assert_eq!(phrases.len(), document.len());
        assert_eq!(document[0].to_string(), XmlError::Malformed.to_string());
    }
}
