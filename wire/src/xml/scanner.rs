use std::ops::Range;

use quick_xml::events::Event;
use quick_xml::reader::Reader;

use super::XmlError;
use super::namespaces::{Namespaces, Place};
use super::syntax::{
    check_declaration, decode, malformed, push_lines, resolve_reference, take_attribute, take_name,
    unescape_value,
};

/// Maximum number of attributes of one element. Few have more than three; the limit keeps the
/// search for duplicates linear.
pub const MAX_ATTRIBUTES: usize = 32;

/// Limits of [`scan`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Nesting of elements, including the root.
    pub depth: usize,
    /// Length of the document in bytes.
    pub document_bytes: usize,
    /// The document may be an element extracted from another document without the enclosing
    /// namespace declarations, as XCAP does (RFC 4825 §7.10). An unbound prefix then means no
    /// namespace.
    pub fragment: bool,
}

/// The name of an element with its prefix resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    /// Empty if the element is in no namespace.
    pub namespace: &'a str,
    /// The part after the prefix.
    pub local: &'a str,
}

/// Receives the elements and texts of a document. An error ends the scan.
pub trait Visitor {
    /// The error of the visitor.
    type Error: From<XmlError>;

    /// An element begins.
    ///
    /// # Errors
    ///
    /// Any reason for which the visitor rejects it.
    fn start(&mut self, name: Name<'_>, attributes: &Attributes<'_>) -> Result<(), Self::Error>;

    /// Whether the text of the innermost open element matters.
    fn wants_text(&self) -> bool {
        true
    }

    /// Text of the innermost open element, possibly in several pieces; references are resolved and
    /// each line end is a line feed. Called only if it is wanted.
    fn text(&mut self, text: &str);

    /// The innermost open element ends.
    ///
    /// # Errors
    ///
    /// Any reason for which the visitor rejects it.
    fn end(&mut self) -> Result<(), Self::Error>;
}

/// The attributes of one tag.
#[derive(Debug)]
pub struct Attributes<'a> {
    raw: &'a str,
    spans: &'a [AttributeSpan],
    values: &'a str,
    namespaces: &'a str,
}

impl<'a> Attributes<'a> {
    /// The value of an attribute without namespace, with references resolved and white space
    /// replaced by spaces.
    pub fn get(&self, local: &str) -> Option<&'a str> {
        let mut spans = self.spans.iter();
        let span = spans.find(|span| &self.raw[span.name.clone()] == local)?;
        Some(self.value(span))
    }

    /// All attributes except namespace declarations: name and value, as in [`get`](Self::get).
    pub fn iter(&self) -> impl Iterator<Item = (Name<'a>, &'a str)> + '_ {
        let spans = self.spans.iter().filter(|span| !span.is_declaration);
        spans.map(|span| {
            let name = match span.prefix_bytes {
                0 => Name {
                    namespace: "",
                    local: &self.raw[span.name.clone()],
                },
                prefix => Name {
                    namespace: &self.namespaces[span.namespace.clone()],
                    local: &self.raw[span.name.start + prefix..span.name.end],
                },
            };
            (name, self.value(span))
        })
    }

    fn value(&self, span: &AttributeSpan) -> &'a str {
        let text = if span.is_plain { self.raw } else { self.values };
        &text[span.value.clone()]
    }
}

#[derive(Debug)]
struct AttributeSpan {
    /// In the tag.
    name: Range<usize>,
    /// Length of the prefix of the name with its colon, or 0.
    prefix_bytes: usize,
    /// In the tag if it needs no unescaping, else unescaped in the values.
    value: Range<usize>,
    is_plain: bool,
    /// It declares a namespace.
    is_declaration: bool,
    /// In the texts of the namespaces; empty for a name without prefix.
    namespace: Place,
}

/// Reads a document to its end. Takes linear time, and no more memory than a small multiple of the
/// longest tag.
///
/// # Errors
/// Any [`XmlError`], and those of the visitor.
pub fn scan<V: Visitor>(limits: Limits, document: &[u8], visitor: &mut V) -> Result<(), V::Error> {
    if document.len() > limits.document_bytes {
        return Err(XmlError::TooLarge.into());
    }
    let mut reader = Reader::from_str(decode(document)?);
    reader.config_mut().check_comments = true;
    let mut scanner = Scanner::new(limits);
    loop {
        let at_start = reader.buffer_position() == 0;
        match reader.read_event() {
            Ok(Event::Start(tag)) => {
                scanner.start(tag.name().0, tag.attributes_raw(), visitor)?;
            }
            Ok(Event::Empty(tag)) => {
                scanner.start(tag.name().0, tag.attributes_raw(), visitor)?;
                scanner.end(visitor)?;
            }
            Ok(Event::End(_)) => scanner.end(visitor)?,
            Ok(Event::Text(text)) => scanner.text(&text, visitor)?,
            Ok(Event::CData(text)) => scanner.cdata(&text, visitor)?,
            Ok(Event::GeneralRef(reference)) => scanner.reference(&reference, visitor)?,
            Ok(Event::Decl(declaration)) if at_start => check_declaration(&declaration)?,
            Ok(Event::Decl(_)) => return Err(XmlError::Malformed.into()),
            Ok(Event::DocType(_)) => return Err(XmlError::DocumentType.into()),
            Ok(Event::Comment(_) | Event::PI(_)) => {}
            Ok(Event::Eof) if scanner.seen_root && scanner.depth == 0 => return Ok(()),
            Ok(Event::Eof) => return Err(XmlError::Malformed.into()),
            Err(error) => return Err(malformed(error).into()),
        }
    }
}

struct Scanner {
    limits: Limits,
    depth: usize,
    seen_root: bool,
    namespaces: Namespaces,
    /// The attributes of one tag, and the current text; kept to reuse their memory.
    spans: Vec<AttributeSpan>,
    values: String,
    lines: String,
}

impl Scanner {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            depth: 0,
            seen_root: false,
            namespaces: Namespaces::new(),
            spans: Vec::with_capacity(4),
            values: String::new(),
            lines: String::new(),
        }
    }

    fn start<V: Visitor>(
        &mut self,
        name: &str,
        attributes: &str,
        visitor: &mut V,
    ) -> Result<(), V::Error> {
        if self.depth == 0 && self.seen_root {
            return Err(XmlError::Malformed.into());
        }
        self.seen_root = true;
        if self.depth >= self.limits.depth {
            return Err(XmlError::TooDeep.into());
        }
        let (name, rest) = take_name(name)?;
        if !rest.is_empty() {
            return Err(XmlError::Malformed.into());
        }
        let any_prefixed = self.attributes(attributes)?;
        if any_prefixed {
            // Only now, since the declarations may be anywhere in the tag.
            self.resolve_prefixed(attributes)?;
        }
        let namespace = self.resolve(name.prefix)?;
        let namespaces = self.namespaces.texts();
        let name = Name {
            namespace: &namespaces[namespace],
            local: name.local,
        };
        let attributes = Attributes {
            raw: attributes,
            spans: &self.spans,
            values: &self.values,
            namespaces,
        };
        visitor.start(name, &attributes)?;
        self.depth += 1;
        Ok(())
    }

    /// Checks the attributes of a tag, stores their locations and brings its namespace declarations
    /// into scope. True if an attribute is in a namespace.
    fn attributes(&mut self, raw: &str) -> Result<bool, XmlError> {
        let mut any_prefixed = false;
        self.spans.clear();
        self.values.clear();
        let mut rest = raw.trim_ascii_start();
        while !rest.is_empty() {
            let at = raw.len() - rest.len();
            let (name, value, tail) = take_attribute(rest)?;
            if self.spans.len() == MAX_ATTRIBUTES {
                return Err(XmlError::TooManyAttributes);
            }
            let mut others = self.spans.iter();
            if others.any(|other| raw[other.name.clone()] == *name.whole) {
                return Err(XmlError::Malformed);
            }
            let span = match value.is_plain {
                true => place_in(raw, value.raw),
                // Even if nobody needs the value: the document must be well-formed.
                false => {
                    let start = self.values.len();
                    unescape_value(value, &mut self.values)?;
                    start..self.values.len()
                }
            };
            let declared = match (name.prefix, name.local) {
                ("", "xmlns") => Some(""),
                ("xmlns", prefix) => Some(prefix),
                _ => None,
            };
            if let Some(prefix) = declared {
                let text = if value.is_plain { raw } else { &self.values };
                self.namespaces
                    .bind(prefix, &text[span.clone()], self.depth)?;
            } else {
                any_prefixed |= !name.prefix.is_empty();
            }
            self.spans.push(AttributeSpan {
                name: at..at + name.whole.len(),
                prefix_bytes: name.whole.len() - name.local.len(),
                value: span,
                is_plain: value.is_plain,
                is_declaration: declared.is_some(),
                namespace: 0..0,
            });
            rest = tail;
        }
        Ok(any_prefixed)
    }

    /// Each prefix must be bound, and two prefixes of one namespace must not repeat an attribute
    /// (Namespaces in XML 1.0 §6.3).
    fn resolve_prefixed(&mut self, raw: &str) -> Result<(), XmlError> {
        for place in 0..self.spans.len() {
            let (before, from) = self.spans.split_at_mut(place);
            let span = &mut from[0];
            if span.prefix_bytes == 0 || span.is_declaration {
                continue;
            }
            let (prefix, local) = raw[span.name.clone()].split_at(span.prefix_bytes);
            let namespace = self.namespaces.resolve(&prefix[..prefix.len() - 1]);
            span.namespace = match namespace {
                None if self.limits.fragment => 0..0,
                found => found.ok_or(XmlError::Malformed)?,
            };
            let (texts, own) = (self.namespaces.texts(), span.namespace.clone());
            let is_same = |other: &AttributeSpan| {
                other.prefix_bytes > 0
                    && !other.is_declaration
                    && raw[other.name.start + other.prefix_bytes..other.name.end] == *local
                    && texts[other.namespace.clone()] == texts[own.clone()]
            };
            if before.iter().any(is_same) {
                return Err(XmlError::Malformed);
            }
        }
        Ok(())
    }

    fn resolve(&self, prefix: &str) -> Result<Place, XmlError> {
        match self.namespaces.resolve(prefix) {
            None if self.limits.fragment => Ok(0..0),
            found => found.ok_or(XmlError::Malformed),
        }
    }

    /// The reader has checked that an element is open and that the names match.
    fn end<V: Visitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        self.depth -= 1;
        self.namespaces.leave(self.depth);
        visitor.end()
    }

    fn text<V: Visitor>(&mut self, text: &str, visitor: &mut V) -> Result<(), XmlError> {
        if self.depth == 0 {
            return match text.trim_ascii() {
                "" => Ok(()),
                _ => Err(XmlError::Malformed),
            };
        }
        // The bracket first: setting up a string search costs more than scanning most texts.
        if memchr::memchr(b']', text.as_bytes()).is_some() && text.contains("]]>") {
            return Err(XmlError::Malformed);
        }
        self.pass_lines(text, visitor);
        Ok(())
    }

    fn cdata<V: Visitor>(&mut self, text: &str, visitor: &mut V) -> Result<(), XmlError> {
        if self.depth == 0 {
            return Err(XmlError::Malformed);
        }
        self.pass_lines(text, visitor);
        Ok(())
    }

    fn pass_lines<V: Visitor>(&mut self, text: &str, visitor: &mut V) {
        if !visitor.wants_text() {
            return;
        }
        if memchr::memchr(b'\r', text.as_bytes()).is_some() {
            self.lines.clear();
            push_lines(text, &mut self.lines);
            visitor.text(&self.lines);
        } else {
            visitor.text(text);
        }
    }

    fn reference<V: Visitor>(&self, reference: &str, visitor: &mut V) -> Result<(), XmlError> {
        let character = resolve_reference(reference)?;
        if self.depth == 0 {
            return Err(XmlError::Malformed);
        }
        if visitor.wants_text() {
            visitor.text(character.encode_utf8(&mut [0; 4]));
        }
        Ok(())
    }
}

/// The range of a part within the text that contains it.
fn place_in(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

#[cfg(test)]
mod tests {
    use super::super::MAX_NAMESPACE_BINDINGS;
    use super::XmlError::*;
    use super::*;

    /// Records its calls.
    #[derive(Default)]
    struct Trace(String);

    impl Visitor for Trace {
        type Error = XmlError;

        fn start(&mut self, name: Name<'_>, attributes: &Attributes<'_>) -> Result<(), XmlError> {
            let value = attributes
                .get("a")
                .map_or(String::new(), |value| format!("={value}"));
            self.0
                .push_str(&format!("<{}|{}{value}>", name.namespace, name.local));
            Ok(())
        }

        fn text(&mut self, text: &str) {
            self.0.push_str(text);
        }

        fn end(&mut self) -> Result<(), XmlError> {
            self.0.push_str("</>");
            Ok(())
        }
    }

    const LIMITS: Limits = Limits {
        depth: 4,
        document_bytes: 10_000,
        fragment: false,
    };

    fn trace_within(limits: Limits, document: &[u8]) -> Result<String, XmlError> {
        let mut trace = Trace::default();
        scan(limits, document, &mut trace).map(|()| trace.0)
    }

    fn trace(document: &str) -> Result<String, XmlError> {
        trace_within(LIMITS, document.as_bytes())
    }

    #[test]
    fn elements_attributes_and_texts() {
        let document = "\u{feff}<?xml version='1.0' encoding='utf-8'?><!-- x --><?pi?>\n\
            <p:r xmlns:p='urn:p' p:a='no' a = \" x\r\n&amp;&#65;&#x42;'\ty\">1\r\n2\r3&lt;<![CDATA[<&\r\n]]>\
            <q a=''/><!-- y --></p:r >\n";
        let expected = "<urn:p|r= x &AB' y>1\n2\n3<<&\n<|q=></></>";
        assert_eq!(trace(document).as_deref(), Ok(expected));
    }

    #[test]
    fn declarations_end_with_their_element() {
        let document = "<r xmlns='urn:1'><a xmlns='urn:2' xmlns:p='urn:&#51;'><p:b/><c xmlns=''/></a><d/>\
            <p:e xmlns:p='urn:4'/></r>";
        let expected = "<urn:1|r><urn:2|a><urn:3|b></><|c></></><urn:1|d></><urn:4|e></></>";
        assert_eq!(trace(document).as_deref(), Ok(expected));
        assert_eq!(trace("<r><a xmlns:p='urn:1'/><p:b/></r>"), Err(Malformed));
    }

    #[test]
    fn fragments_may_lack_declarations() {
        let limits = Limits {
            fragment: true,
            ..LIMITS
        };
        let document = b"<p:r><q xmlns:p='urn:1'><p:s p:a=''/></q></p:r>";
        let expected = "<|r><|q><urn:1|s></></></>";
        assert_eq!(trace_within(limits, document).as_deref(), Ok(expected));
        assert_eq!(trace_within(LIMITS, document), Err(Malformed));
    }

    #[test]
    fn not_well_formed() {
        for document in [
            "",
            " ",
            "text",
            "<",
            "<a",
            "</a>",
            "<!-- -->",
            "<?xml version='1.0'?>",
            "<?xml?><a/>",
            "<?xml version='2.0'?><a/>",
            " <?xml version='1.0'?><a/>",
            "x<a/>",
            "<a/>x",
            "<a/><b/>",
            "<a/>&amp;",
            "<a/><![CDATA[]]>",
            "&amp;",
            "<a>",
            "<a></b>",
            "<a/></a>",
            "<a></a b=''>",
            "\u{1}",
            "<a>\0</a>",
            "<a b='1' b='2'/>",
            "<a b='1'c='2'/>",
            "<a b=1/>",
            "<a b/>",
            "<a b='1/>",
            "<a b='<'/>",
            "<a b='&'/>",
            "<a b='&#0;'/>",
            "<a b='&#xd800;'/>",
            "<a b='&#+9;'/>",
            "<a b='&#;'/>",
            "<a p:b=''/>",
            "<p:a/>",
            "<a =''/>",
            "<1/>",
            "< a/>",
            "<a:b:c/>",
            "<:a/>",
            "<p:/>",
            "<a xmlns:p=''/>",
            "<a xmlns:xmlns='x'/>",
            "<a xmlns:p='x' xmlns:q='x' p:b='' q:b=''/>",
            "<a>&</a>",
            "<a>& b;</a>",
            "<a>]]></a>",
            "<a><!-- -- --></a>",
            "<a><![CDATA[</a>",
            "<a><!x></a>",
            "<a><?</a>",
            "<a><?xml version='1.0'?></a>",
            "<a / >",
        ] {
            assert_eq!(trace(document), Err(Malformed), "{document:?}");
        }
        assert!(trace("<a xmlns:p='x' xmlns:q='y' p:b='' q:b='' b=''/>").is_ok());
    }

    #[test]
    fn encodings_document_types_and_entities() {
        for encoding in ["UTF-16", "ISO-8859-1", ""] {
            let document = format!("<?xml version='1.0' encoding='{encoding}'?><a/>");
            assert_eq!(trace(&document), Err(NotUtf8), "{encoding}");
        }
        let little: Vec<u8> = "<a/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = "<a/>".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for document in [&little[..], &big, b"\xff\xfe<\0", b"<a b='\xe9'/>"] {
            assert_eq!(trace_within(LIMITS, document), Err(NotUtf8));
        }
        for subset in [
            "",
            " [<!ENTITY e 'x'>]",
            " [<!ENTITY e 'x'",
            " SYSTEM 'http://example.com/'",
        ] {
            let end = if subset.ends_with("'x'") { "" } else { ">" };
            let document = format!("<!DOCTYPE a{subset}{end}<a>&e;</a>");
            assert_eq!(trace(&document), Err(DocumentType), "{subset}");
        }
        assert_eq!(trace("<a>&e;</a>"), Err(UndefinedEntity));
        assert_eq!(trace("<a b='&e;'/>"), Err(UndefinedEntity));
    }

    #[test]
    fn limits() {
        let nested = |depth: usize| "<a>".repeat(depth) + &"</a>".repeat(depth);
        assert!(trace(&nested(4)).is_ok());
        assert_eq!(trace(&nested(5)), Err(TooDeep));
        let attributes = |count: usize, prefix: &str| -> String {
            let attributes: String = (0..count).map(|n| format!(" {prefix}a{n}='x'")).collect();
            format!("<a{attributes}/>")
        };
        assert!(trace(&attributes(MAX_ATTRIBUTES, "")).is_ok());
        assert_eq!(
            trace(&attributes(MAX_ATTRIBUTES + 1, "")),
            Err(TooManyAttributes)
        );
        let declared = attributes(MAX_NAMESPACE_BINDINGS, "xmlns:");
        assert!(trace(&format!("<r>{declared}{declared}</r>")).is_ok());
        let inside = declared.replace("/>", "><b xmlns=''/></a>");
        assert_eq!(trace(&inside), Err(TooManyNamespaces));
        assert_eq!(trace(&" ".repeat(10_001)), Err(TooLarge));
        assert_eq!(trace(&" ".repeat(10_000)), Err(Malformed));
    }

    #[test]
    fn deep_nesting_takes_no_stack() {
        let limits = Limits {
            depth: usize::MAX,
            document_bytes: usize::MAX,
            fragment: false,
        };
        let document = "<a>".repeat(1 << 17) + &"</a>".repeat(1 << 17);
        assert!(trace_within(limits, document.as_bytes()).is_ok());
        assert_eq!(
            trace_within(limits, "<a>".repeat(1 << 17).as_bytes()),
            Err(Malformed)
        );
        let limits = Limits { depth: 4, ..limits };
        assert_eq!(trace_within(limits, document.as_bytes()), Err(TooDeep));
    }
}
