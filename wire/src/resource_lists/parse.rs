#[cfg(test)]
mod tests;

use super::{
    COPY_CONTROL_NAMESPACE, COPY_CONTROL_NAMESPACE_OF_RFC_5366, RESOURCE_LISTS_NAMESPACE,
    ResourceListsError,
};
use crate::xml::{self, Attributes, Name, Visitor};

/// Maximum nesting of elements. RFC 4826 lists rarely nest at all; the rest is for extensions.
pub const MAX_DEPTH: usize = 32;

/// Maximum number of entries in one document: a hundred times the default of `max_recipients`, so
/// that too many recipients lead to the refusal that the specification names.
pub const MAX_ENTRIES: usize = 10_000;

/// Maximum length of one document. More than the body that a proxy accepts by default, and enough
/// for `MAX_ENTRIES` entries of usual length.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// Maximum length of one URI, unescaped. SIP stacks refuse longer Request-URIs anyway.
pub const MAX_ENTRY_URI_BYTES: usize = 1024;

/// Limits of [`ResourceLists::parse_with`]; the default is the constants of this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Nesting of elements, including the root.
    pub depth: usize,
    /// Entries in all lists together.
    pub entries: usize,
    /// Length of the document in bytes. No document may reach 4 GiB.
    pub document_bytes: usize,
    /// Length of one unescaped URI in bytes.
    pub entry_uri_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: MAX_DEPTH,
            entries: MAX_ENTRIES,
            document_bytes: MAX_DOCUMENT_BYTES,
            entry_uri_bytes: MAX_ENTRY_URI_BYTES,
        }
    }
}

/// How visible a recipient is to the others (RFC 5364 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyControl {
    /// A primary recipient.
    To,
    /// Gets a copy, visible to the others.
    Cc,
    /// Gets a copy, hidden from the others.
    Bcc,
}

/// One recipient (RFC 4826 §3.2, RFC 5364 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The text of the `uri` attribute without surrounding white space. The peer may have written
    /// anything, including line ends: parse it as a URI before using it.
    pub uri: &'a str,
    /// The first display-name child. Untrusted text as well.
    pub display_name: Option<&'a str>,
    /// `None` if not specified.
    pub copy_control: Option<CopyControl>,
    /// The recipient does not want to be named to the others.
    pub anonymize: bool,
}

/// The entries of a resource-lists document, nested lists flattened in document order.
///
/// All texts are concatenated in one string, so a list of any length takes two allocations.
#[derive(Debug, Clone, Default)]
pub struct ResourceLists {
    texts: String,
    entries: Vec<EntrySpan>,
}

/// The location of an entry's texts: the URI, followed by the display name.
#[derive(Debug, Clone, Copy)]
struct EntrySpan {
    uri_start: u32,
    uri_end: u32,
    display_name_end: Option<u32>,
    copy_control: Option<CopyControl>,
    anonymize: bool,
}

impl ResourceLists {
    /// Parses a document within the limits of this module. Takes linear time and no more memory
    /// than a small multiple of the document.
    ///
    /// Elements of other namespaces are skipped with their content; unknown attributes and text
    /// between elements are ignored. The attributes of RFC 5364 are also accepted without a
    /// namespace, since some clients send them so; if both forms are present, the qualified one
    /// applies.
    ///
    /// # Errors
    ///
    /// Any [`ResourceListsError`].
    pub fn parse(document: &[u8]) -> Result<Self, ResourceListsError> {
        Self::parse_with(Limits::default(), document)
    }

    /// Like [`Self::parse`], with other limits.
    ///
    /// # Errors
    /// Any [`ResourceListsError`].
    pub fn parse_with(limits: Limits, document: &[u8]) -> Result<Self, ResourceListsError> {
        if document.len() > limits.document_bytes || u32::try_from(document.len()).is_err() {
            return Err(ResourceListsError::TooLarge);
        }
        let mut parser = Parser::new(limits, document.len());
        let scanned = xml::Limits {
            depth: limits.depth,
            document_bytes: limits.document_bytes,
            fragment: false,
        };
        xml::scan(scanned, document, &mut parser)?;
        Ok(parser.lists)
    }

    /// The number of entries, duplicates included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries in document order, duplicates included.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'_>> + Clone {
        self.entries.iter().map(|span| self.at(span))
    }

    /// One of the entries, by its index in document order.
    pub fn entry(&self, place: usize) -> Option<Entry<'_>> {
        self.entries.get(place).map(|span| self.at(span))
    }

    fn at(&self, span: &EntrySpan) -> Entry<'_> {
        let uri_end = span.uri_end as usize;
        Entry {
            uri: &self.texts[span.uri_start as usize..uri_end],
            display_name: span
                .display_name_end
                .map(|end| &self.texts[uri_end..end as usize]),
            copy_control: span.copy_control,
            anonymize: span.anonymize,
        }
    }
}

/// An open element, as far as it matters to this parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    ResourceLists,
    List,
    Entry,
    /// The display-name of the open entry.
    EntryName,
    /// A list's display-name, an entry's second one, or anything of another namespace.
    Ignored,
}

/// The meaningful attributes of an entry.
#[derive(Default)]
struct EntryAttributes<'a> {
    uri: Option<&'a str>,
    copy_control: Qualified<'a>,
    anonymize: Qualified<'a>,
}

#[derive(Default)]
struct Qualified<'a> {
    qualified: Option<&'a str>,
    unqualified: Option<&'a str>,
}

impl<'a> Qualified<'a> {
    fn value(&self) -> Option<&'a str> {
        Some(self.qualified.or(self.unqualified)?.trim_ascii())
    }
}

impl<'a> EntryAttributes<'a> {
    fn of(attributes: &Attributes<'a>) -> Result<Self, ResourceListsError> {
        let mut entry = Self::default();
        for (name, value) in attributes.iter() {
            let slot = match (name.namespace, name.local) {
                ("", "uri") => &mut entry.uri,
                ("", "copyControl") => &mut entry.copy_control.unqualified,
                ("", "anonymize") => &mut entry.anonymize.unqualified,
                ("", _) => continue,
                (COPY_CONTROL_NAMESPACE | COPY_CONTROL_NAMESPACE_OF_RFC_5366, local) => match local
                {
                    "copyControl" => &mut entry.copy_control.qualified,
                    "anonymize" => &mut entry.anonymize.qualified,
                    _ => continue,
                },
                _ => continue,
            };
            // Both namespaces are equivalent, so this is a repeated attribute.
            if slot.replace(value).is_some() {
                return Err(ResourceListsError::Malformed);
            }
        }
        Ok(entry)
    }
}

struct Parser {
    limits: Limits,
    lists: ResourceLists,
    open: Vec<Element>,
}

impl Parser {
    fn new(limits: Limits, document_bytes: usize) -> Self {
        // Half of a typical document is markup. Otherwise the string grows once.
        let texts = String::with_capacity(document_bytes / 2);
        Self {
            limits,
            lists: ResourceLists {
                texts,
                entries: Vec::with_capacity(document_bytes / USUAL_ENTRY_BYTES),
            },
            open: Vec::new(),
        }
    }

    /// The kind of an element of RFC 4826 in this position.
    fn element(&self, local: &str) -> Result<Element, ResourceListsError> {
        use Element::*;
        Ok(match (self.open.last(), local) {
            (Some(Ignored), _) => Ignored,
            (None, "resource-lists") => ResourceLists,
            (None, _) => return Err(ResourceListsError::NotResourceLists),
            (Some(ResourceLists | List), "list") => List,
            (Some(List), "entry") => Entry,
            (Some(List), "entry-ref" | "external") => {
                return Err(ResourceListsError::ExternalReference);
            }
            (Some(List), "display-name") => Ignored,
            (Some(Entry), "display-name") => match self.lists.entries.last() {
                Some(span) if span.display_name_end.is_none() => EntryName,
                _ => Ignored,
            },
            _ => return Err(ResourceListsError::UnexpectedElement),
        })
    }

    fn entry(&mut self, attributes: &EntryAttributes<'_>) -> Result<(), ResourceListsError> {
        if self.lists.entries.len() >= self.limits.entries {
            return Err(ResourceListsError::TooManyEntries);
        }
        let copy_control = match attributes.copy_control.value() {
            None => None,
            Some("to") => Some(CopyControl::To),
            Some("cc") => Some(CopyControl::Cc),
            Some("bcc") => Some(CopyControl::Bcc),
            Some(_) => return Err(ResourceListsError::UnknownCopyControl),
        };
        let anonymize = match attributes.anonymize.value() {
            None | Some("false" | "0") => false,
            Some("true" | "1") => true,
            Some(_) => return Err(ResourceListsError::UnknownAnonymize),
        };
        let uri = attributes.uri.unwrap_or("").trim_ascii();
        match uri.len() {
            0 => return Err(ResourceListsError::MissingUri),
            length if length > self.limits.entry_uri_bytes => {
                return Err(ResourceListsError::UriTooLong);
            }
            _ => {}
        }
        let texts = &mut self.lists.texts;
        let uri_start = texts.len();
        texts.push_str(uri);
        self.lists.entries.push(EntrySpan {
            uri_start: position(uri_start),
            uri_end: position(texts.len()),
            display_name_end: None,
            copy_control,
            anonymize,
        });
        Ok(())
    }
}

impl Visitor for Parser {
    type Error = ResourceListsError;

    fn start(
        &mut self,
        name: Name<'_>,
        attributes: &Attributes<'_>,
    ) -> Result<(), ResourceListsError> {
        let element = match name.namespace {
            RESOURCE_LISTS_NAMESPACE => self.element(name.local)?,
            _ if self.open.is_empty() => return Err(ResourceListsError::NotResourceLists),
            _ => Element::Ignored,
        };
        if element == Element::Entry {
            self.entry(&EntryAttributes::of(attributes)?)?;
        }
        self.open.push(element);
        Ok(())
    }

    fn wants_text(&self) -> bool {
        self.open.last() == Some(&Element::EntryName)
    }

    fn text(&mut self, text: &str) {
        // The texts of the open entry are the last in the string.
        self.lists.texts.push_str(text);
        if let Some(span) = self.lists.entries.last_mut() {
            span.display_name_end = Some(position(self.lists.texts.len()));
        }
    }

    fn end(&mut self) -> Result<(), ResourceListsError> {
        self.open.pop();
        Ok(())
    }
}

/// A position in the texts. They are shorter than the document, whose length was checked to fit: no
/// escape is shorter than its character.
fn position(at: usize) -> u32 {
    at as u32
}

/// Length of a usual short entry: initial allocation.
const USUAL_ENTRY_BYTES: usize = 64;
