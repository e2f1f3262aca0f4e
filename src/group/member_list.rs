use std::ops::Range;

use super::error::GroupDocumentError;
use super::list_set::MAX_EXTERNAL_LISTS;
use crate::sip::Uri;

/// Maximum number of members of one group, including external lists: a hundred times the default of
/// `max_recipients`, as for the lists in requests.
pub const MAX_MEMBERS: usize = 10_000;

/// Maximum length of one URI, unescaped. SIP stacks refuse longer Request-URIs anyway.
pub const MAX_MEMBER_URI_BYTES: usize = 1024;

/// Maximum length of the URI of an external list. XCAP URIs contain whole paths into documents,
/// percent-encoded.
pub const MAX_ANCHOR_BYTES: usize = 2048;

/// One member of a group (RFC 4826 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// The text of the `uri` attribute, without surrounding white space. The document may contain
    /// anything: parse it as a URI before using it.
    pub uri: &'a str,
    /// The first display-name of the entry. Also text from the document.
    pub display_name: Option<&'a str>,
}

/// The entries of a list and the external lists that it refers to; nested lists are flattened in
/// document order.
#[derive(Debug, Clone, Default)]
pub struct MemberList {
    /// URIs and display names, concatenated.
    texts: String,
    entries: Vec<EntrySpan>,
    anchors: Vec<String>,
}

#[derive(Debug, Clone)]
struct EntrySpan {
    uri: Range<u32>,
    display_name: Option<Range<u32>>,
}

impl MemberList {
    /// The entries in document order, duplicates included.
    pub fn members(&self) -> impl ExactSizeIterator<Item = Member<'_>> + Clone {
        self.entries.iter().map(|entry| Member {
            uri: self.text(&entry.uri),
            display_name: entry.display_name.as_ref().map(|name| self.text(name)),
        })
    }

    /// The number of entries, duplicates included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The external lists that are part of this one, each once.
    pub fn anchors(&self) -> impl ExactSizeIterator<Item = &str> {
        self.anchors.iter().map(String::as_str)
    }

    /// Whether an entry is equivalent to one of the identities. An entry that is not a URI matches
    /// nobody.
    pub(super) fn names_any(&self, identities: &[Uri<'_>]) -> bool {
        self.entries.iter().any(|entry| {
            Uri::parse(self.text(&entry.uri))
                .is_ok_and(|uri| identities.iter().any(|identity| identity.equivalent(&uri)))
        })
    }

    pub(super) fn add_entry(&mut self, uri: &str) {
        let uri = self.add_text(uri);
        self.entries.push(EntrySpan {
            uri,
            display_name: None,
        });
    }

    /// Sets the name of the last entry, unless it has one.
    pub(super) fn name_last_entry(&mut self, name: &str) {
        if self
            .entries
            .last()
            .is_some_and(|e| e.display_name.is_none())
        {
            let name = self.add_text(name);
            if let Some(entry) = self.entries.last_mut() {
                entry.display_name = Some(name);
            }
        }
    }

    /// Adds a reference to an external list, unless it exists already.
    pub(super) fn add_anchor(&mut self, anchor: &str) -> Result<(), GroupDocumentError> {
        if self.anchors.iter().any(|known| known == anchor) {
            return Ok(());
        }
        if self.anchors.len() == MAX_EXTERNAL_LISTS {
            return Err(GroupDocumentError::TooManyExternalLists);
        }
        self.anchors.push(anchor.to_owned());
        Ok(())
    }

    /// All texts come from one document, whose limit is far below 4 GiB, and none is longer than
    /// its source.
    fn add_text(&mut self, text: &str) -> Range<u32> {
        let start = self.texts.len() as u32;
        self.texts.push_str(text);
        start..self.texts.len() as u32
    }

    fn text(&self, range: &Range<u32>) -> &str {
        &self.texts[range.start as usize..range.end as usize]
    }
}
