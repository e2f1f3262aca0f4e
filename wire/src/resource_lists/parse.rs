#[cfg(test)]
mod tests;

use std::ops::Range;

use quick_xml::events::Event;
use quick_xml::reader::Reader;

use super::{
    COPY_CONTROL_NAMESPACE, COPY_CONTROL_NAMESPACE_OF_RFC_5366, RESOURCE_LISTS_NAMESPACE,
    ResourceListsError,
};
use crate::xml::syntax::{
    Value, check_declaration, decode, malformed, push_lines, resolve_reference, take_attribute,
    take_name, unescape_value,
};

/// Elements inside each other. RFC 4826 lists rarely nest at all; the rest is room for extensions.
pub const MAX_DEPTH: usize = 32;

/// Entries of one document: a hundred times the default of `max_recipients`, so that the refusal
/// for too many recipients is the one that the specification names.
pub const MAX_ENTRIES: usize = 10_000;

/// Length of one document. More than a body that a proxy takes by default, and room for
/// `MAX_ENTRIES` entries of usual length.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// Length of one URI, unescaped. SIP stacks refuse longer Request-URIs anyway.
pub const MAX_ENTRY_URI_BYTES: usize = 1024;

/// Attributes of one element. An entry has three; the limit keeps the search for duplicates linear.
pub const MAX_ATTRIBUTES: usize = 32;

/// Namespace declarations in scope at one place. A list has two; the limit keeps look-ups linear.
pub const MAX_NAMESPACE_BINDINGS: usize = 32;

/// What [`ResourceLists::parse_with`] accepts; the default is the constants of this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Elements inside each other, the root included.
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
    /// Gets a copy, and everybody may know.
    Cc,
    /// Gets a copy, and nobody may know.
    Bcc,
}

/// One recipient (RFC 4826 §3.2, RFC 5364 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The text of the `uri` attribute without white space around it. It is whatever the peer wrote,
    /// line ends and all: parse it as a URI before it goes anywhere.
    pub uri: &'a str,
    /// The first display-name child. Untrusted text as well.
    pub display_name: Option<&'a str>,
    /// `None` if the list does not say.
    pub copy_control: Option<CopyControl>,
    /// The recipient does not want to be named to the others.
    pub anonymize: bool,
}

/// The entries of a resource-lists document, nested lists flattened in document order.
///
/// All texts lie behind each other in one string, so a list of any length takes two allocations.
#[derive(Debug, Clone, Default)]
pub struct ResourceLists {
    texts: String,
    entries: Vec<EntrySpan>,
}

/// Where the texts of an entry lie: the URI, and the display name right behind it.
#[derive(Debug, Clone, Copy)]
struct EntrySpan {
    uri_start: u32,
    uri_end: u32,
    display_name_end: Option<u32>,
    copy_control: Option<CopyControl>,
    anonymize: bool,
}

impl ResourceLists {
    /// Parses a document within the limits of this module. Takes linear time and no more memory than
    /// a small multiple of the document.
    ///
    /// Elements of other namespaces are skipped with all that is in them, unknown attributes and text
    /// between elements are ignored. The attributes of RFC 5364 are understood without a namespace too,
    /// since clients send them so; where both forms are given the qualified one holds.
    ///
    /// # Errors
    /// Any [`ResourceListsError`].
    pub fn parse(document: &[u8]) -> Result<Self, ResourceListsError> {
        Self::parse_with(Limits::default(), document)
    }

    /// Like [`Self::parse`], within other limits.
    ///
    /// # Errors
    /// Any [`ResourceListsError`].
    pub fn parse_with(limits: Limits, document: &[u8]) -> Result<Self, ResourceListsError> {
        if document.len() > limits.document_bytes || u32::try_from(document.len()).is_err() {
            return Err(ResourceListsError::TooLarge);
        }
        let text = decode(document)?;
        let mut parser = Parser::new(limits, text.len());
        let mut reader = Reader::from_str(text);
        reader.config_mut().check_comments = true;
        loop {
            let at_start = reader.buffer_position() == 0;
            // Matched in place: moving each event through `?` is a copy that shows in a profile.
            match reader.read_event() {
                Ok(Event::Start(tag)) => parser.start(tag.name().0, tag.attributes_raw())?,
                Ok(Event::Empty(tag)) => {
                    parser.start(tag.name().0, tag.attributes_raw())?;
                    parser.end();
                }
                Ok(Event::End(_)) => parser.end(),
                Ok(Event::Text(text)) => parser.text(&text)?,
                Ok(Event::CData(text)) => parser.cdata(&text)?,
                Ok(Event::GeneralRef(reference)) => parser.reference(&reference)?,
                Ok(Event::Decl(declaration)) if at_start => check_declaration(&declaration)?,
                Ok(Event::Decl(_)) => return Err(ResourceListsError::Malformed),
                Ok(Event::DocType(_)) => return Err(ResourceListsError::DocumentType),
                Ok(Event::Comment(_) | Event::PI(_)) => {}
                Ok(Event::Eof) => return parser.finish(),
                Err(error) => return Err(malformed(error).into()),
            }
        }
    }

    /// How many entries there are, duplicates included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries in document order, duplicates included.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'_>> + Clone {
        self.entries.iter().map(|span| self.at(span))
    }

    /// One of the entries, by its place in document order.
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

/// An open element, as far as this parser cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    ResourceLists,
    List,
    Entry,
    /// The display-name that the open entry is to have.
    EntryName,
    /// A list's display-name, an entry's second one, or anything of another namespace.
    Ignored,
}

/// A namespace, told apart as far as needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Namespace {
    None,
    ResourceLists,
    CopyControl,
    Other,
}

impl Namespace {
    fn of(name: &str) -> Self {
        match name {
            "" => Self::None,
            RESOURCE_LISTS_NAMESPACE => Self::ResourceLists,
            COPY_CONTROL_NAMESPACE | COPY_CONTROL_NAMESPACE_OF_RFC_5366 => Self::CopyControl,
            _ => Self::Other,
        }
    }
}

/// One declaration in scope. The prefix, empty for the default namespace, lies in `Parser::prefixes`.
struct Binding {
    prefix_start: usize,
    depth: usize,
    namespace: Namespace,
}

/// The values of the attributes that mean something on an entry.
#[derive(Default)]
struct EntryAttributes<'a> {
    uri: Option<Value<'a>>,
    copy_control: Qualified<'a>,
    anonymize: Qualified<'a>,
}

#[derive(Default)]
struct Qualified<'a> {
    qualified: Option<Value<'a>>,
    unqualified: Option<Value<'a>>,
}

/// Where an attribute lies in its tag.
struct AttributeSpan {
    name: Range<usize>,
    /// Length of the prefix of the name, 0 if there is none.
    prefix_bytes: usize,
    value: Range<usize>,
    is_plain: bool,
}

struct Parser {
    limits: Limits,
    lists: ResourceLists,
    open: Vec<Element>,
    bindings: Vec<Binding>,
    prefixes: String,
    /// The default namespace in scope: nearly every element asks for it.
    default_namespace: Namespace,
    /// The attributes of one tag; kept for its memory.
    attributes: Vec<AttributeSpan>,
    /// For values that are looked at and not kept.
    scratch: String,
    seen_root: bool,
}

impl Parser {
    fn new(limits: Limits, document_bytes: usize) -> Self {
        // Half of a typical document is markup. Where it is not, the string grows once.
        let texts = String::with_capacity(document_bytes / 2);
        Self {
            limits,
            lists: ResourceLists {
                texts,
                entries: Vec::with_capacity(document_bytes / USUAL_ENTRY_BYTES),
            },
            open: Vec::new(),
            bindings: Vec::new(),
            prefixes: String::new(),
            default_namespace: Namespace::None,
            attributes: Vec::with_capacity(4),
            scratch: String::new(),
            seen_root: false,
        }
    }

    fn start(&mut self, name: &str, attributes: &str) -> Result<(), ResourceListsError> {
        if self.open.is_empty() && self.seen_root {
            return Err(ResourceListsError::Malformed);
        }
        self.seen_root = true;
        if self.open.len() >= self.limits.depth {
            return Err(ResourceListsError::TooDeep);
        }
        let (name, rest) = take_name(name)?;
        if !rest.is_empty() {
            return Err(ResourceListsError::Malformed);
        }
        let entry = self.attributes(attributes)?;
        let element = match self.resolve(name.prefix)? {
            Namespace::ResourceLists => self.element(name.local)?,
            _ if self.open.is_empty() => return Err(ResourceListsError::NotResourceLists),
            _ => Element::Ignored,
        };
        if element == Element::Entry {
            self.entry(&entry)?;
        }
        self.open.push(element);
        Ok(())
    }

    /// What an element of RFC 4826 is in this place.
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
        let copy_control = match self.known(&attributes.copy_control)? {
            None => None,
            Some("to") => Some(CopyControl::To),
            Some("cc") => Some(CopyControl::Cc),
            Some("bcc") => Some(CopyControl::Bcc),
            Some(_) => return Err(ResourceListsError::UnknownCopyControl),
        };
        let anonymize = match self.known(&attributes.anonymize)? {
            None | Some("false" | "0") => false,
            Some("true" | "1") => true,
            Some(_) => return Err(ResourceListsError::UnknownAnonymize),
        };
        let uri = attributes.uri.ok_or(ResourceListsError::MissingUri)?;
        let uri = Value {
            raw: uri.raw.trim_ascii(),
            ..uri
        };
        let texts = &mut self.lists.texts;
        let uri_start = texts.len();
        unescape_value(uri, texts)?;
        match texts.len() - uri_start {
            0 => return Err(ResourceListsError::MissingUri),
            length if length > self.limits.entry_uri_bytes => {
                return Err(ResourceListsError::UriTooLong);
            }
            _ => {}
        }
        self.lists.entries.push(EntrySpan {
            uri_start: position(uri_start),
            uri_end: position(self.lists.texts.len()),
            display_name_end: None,
            copy_control,
            anonymize,
        });
        Ok(())
    }

    fn known<'a>(
        &'a mut self,
        value: &Qualified<'a>,
    ) -> Result<Option<&'a str>, ResourceListsError> {
        match value.qualified.or(value.unqualified) {
            Some(value) => Ok(Some(self.unescape(value)?.trim_ascii())),
            None => Ok(None),
        }
    }

    /// Checks the attributes of a tag, brings its namespace declarations into scope and picks out
    /// what an entry needs.
    fn attributes<'a>(&mut self, raw: &'a str) -> Result<EntryAttributes<'a>, ResourceListsError> {
        let mut entry = EntryAttributes::default();
        let mut rest = raw.trim_ascii_start();
        let mut any_prefixed = false;
        self.attributes.clear();
        while !rest.is_empty() {
            let (name, value, tail) = take_attribute(rest)?;
            if !value.is_plain {
                // Looked at even if nobody wants the value: the document must be well-formed.
                self.unescape(value)?;
            }
            if self.attributes.len() == MAX_ATTRIBUTES {
                return Err(ResourceListsError::TooManyAttributes);
            }
            if self
                .attributes
                .iter()
                .any(|other| raw[other.name.clone()] == *name.whole)
            {
                return Err(ResourceListsError::Malformed);
            }
            self.attributes.push(AttributeSpan {
                name: place_in(raw, name.whole),
                prefix_bytes: name.prefix.len(),
                value: place_in(raw, value.raw),
                is_plain: value.is_plain,
            });
            match (name.prefix, name.local) {
                ("", "uri") => entry.uri = Some(value),
                ("", "copyControl") => entry.copy_control.unqualified = Some(value),
                ("", "anonymize") => entry.anonymize.unqualified = Some(value),
                ("", "xmlns") => self.bind("", value)?,
                ("", _) => {}
                ("xmlns", prefix) => self.bind(prefix, value)?,
                _ => any_prefixed = true,
            }
            rest = tail;
        }
        if any_prefixed {
            // Only now, as the declarations may stand anywhere in the tag.
            self.prefixed_attributes(raw, &mut entry)?;
        }
        Ok(entry)
    }

    fn prefixed_attributes<'a>(
        &self,
        raw: &'a str,
        entry: &mut EntryAttributes<'a>,
    ) -> Result<(), ResourceListsError> {
        for attribute in &self.attributes {
            let (prefix, local) = raw[attribute.name.clone()].split_at(attribute.prefix_bytes);
            if matches!(prefix, "" | "xmlns") || self.resolve(prefix)? != Namespace::CopyControl {
                continue;
            }
            let slot = match local {
                ":copyControl" => &mut entry.copy_control.qualified,
                ":anonymize" => &mut entry.anonymize.qualified,
                _ => continue,
            };
            let value = Value {
                raw: &raw[attribute.value.clone()],
                is_plain: attribute.is_plain,
            };
            // Two prefixes of one namespace are one attribute given twice.
            if slot.replace(value).is_some() {
                return Err(ResourceListsError::Malformed);
            }
        }
        Ok(())
    }

    /// The value itself, or what it stands for in the scratch string.
    fn unescape<'a>(&'a mut self, value: Value<'a>) -> Result<&'a str, ResourceListsError> {
        if value.is_plain {
            return Ok(value.raw);
        }
        self.scratch.clear();
        unescape_value(value, &mut self.scratch)?;
        Ok(&self.scratch)
    }

    fn bind(&mut self, prefix: &str, value: Value<'_>) -> Result<(), ResourceListsError> {
        let namespace = Namespace::of(self.unescape(value)?);
        // Namespaces in XML 1.0 §5 and §3: a prefix cannot be unbound, these two cannot be bound.
        if prefix == "xmlns" || (!prefix.is_empty() && namespace == Namespace::None) {
            return Err(ResourceListsError::Malformed);
        }
        if self.bindings.len() == MAX_NAMESPACE_BINDINGS {
            return Err(ResourceListsError::TooManyNamespaces);
        }
        let prefix_start = self.prefixes.len();
        self.prefixes.push_str(prefix);
        if prefix.is_empty() {
            self.default_namespace = namespace;
        }
        self.bindings.push(Binding {
            prefix_start,
            depth: self.open.len(),
            namespace,
        });
        Ok(())
    }

    fn resolve(&self, prefix: &str) -> Result<Namespace, ResourceListsError> {
        match prefix {
            "" => Ok(self.default_namespace),
            "xml" => Ok(Namespace::Other),
            _ => self.look_up(prefix).ok_or(ResourceListsError::Malformed),
        }
    }

    fn look_up(&self, prefix: &str) -> Option<Namespace> {
        let mut end = self.prefixes.len();
        for binding in self.bindings.iter().rev() {
            if &self.prefixes[binding.prefix_start..end] == prefix {
                return Some(binding.namespace);
            }
            end = binding.prefix_start;
        }
        None
    }

    /// Closes the innermost element. The reader has checked that there is one and that the names match.
    fn end(&mut self) {
        self.open.pop();
        let mut default_changes = false;
        while self
            .bindings
            .last()
            .is_some_and(|binding| binding.depth == self.open.len())
        {
            if let Some(binding) = self.bindings.pop() {
                default_changes |= binding.prefix_start == self.prefixes.len();
                self.prefixes.truncate(binding.prefix_start);
            }
        }
        if default_changes {
            self.default_namespace = self.look_up("").unwrap_or(Namespace::None);
        }
    }

    fn text(&mut self, text: &str) -> Result<(), ResourceListsError> {
        match self.open.last() {
            None if text.trim_ascii().is_empty() => Ok(()),
            None => Err(ResourceListsError::Malformed),
            // The byte first: setting up a search for the string costs more than most texts are long.
            Some(_) if text.as_bytes().contains(&b']') && text.contains("]]>") => {
                Err(ResourceListsError::Malformed)
            }
            Some(Element::EntryName) => {
                self.append_to_name(|name| push_lines(text, name));
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }

    fn cdata(&mut self, text: &str) -> Result<(), ResourceListsError> {
        match self.open.last() {
            None => Err(ResourceListsError::Malformed),
            Some(Element::EntryName) => {
                self.append_to_name(|name| push_lines(text, name));
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }

    fn reference(&mut self, reference: &str) -> Result<(), ResourceListsError> {
        let character = resolve_reference(reference)?;
        match self.open.last() {
            None => return Err(ResourceListsError::Malformed),
            Some(Element::EntryName) => self.append_to_name(|name| name.push(character)),
            Some(_) => {}
        }
        Ok(())
    }

    /// Adds to the display name of the open entry, whose texts are the last in the string.
    fn append_to_name(&mut self, append: impl FnOnce(&mut String)) {
        append(&mut self.lists.texts);
        if let Some(span) = self.lists.entries.last_mut() {
            span.display_name_end = Some(position(self.lists.texts.len()));
        }
    }

    fn finish(self) -> Result<ResourceLists, ResourceListsError> {
        if self.seen_root && self.open.is_empty() {
            Ok(self.lists)
        } else {
            Err(ResourceListsError::Malformed)
        }
    }
}

/// A position in the texts. They are shorter than the document, whose length was checked to fit: no
/// escape is shorter than what it stands for.
fn position(at: usize) -> u32 {
    at as u32
}

/// Where a part of a text, which it must be, lies in it.
fn place_in(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

/// Length of a short entry as clients write it: what room is made for at first.
const USUAL_ENTRY_BYTES: usize = 64;
