use std::ops::Range;

use super::XmlError;

/// Maximum number of namespace declarations in scope. A document has a handful; the limit keeps
/// look-ups linear.
pub const MAX_NAMESPACE_BINDINGS: usize = 32;

/// The range of a namespace in the texts of [`Namespaces`].
pub(super) type Place = Range<usize>;

/// The namespace declarations in scope, innermost last (Namespaces in XML 1.0 §6).
pub(super) struct Namespaces {
    bindings: Vec<Binding>,
    /// That of the prefix `xml`, then prefix and namespace of each binding one after another.
    texts: String,
    /// The default namespace in scope: nearly every element needs it.
    default: Place,
}

struct Binding {
    prefix_start: usize,
    prefix_end: usize,
    depth: usize,
}

const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";

impl Namespaces {
    pub(super) fn new() -> Self {
        Self {
            bindings: Vec::new(),
            texts: XML_NAMESPACE.to_owned(),
            default: 0..0,
        }
    }

    /// The texts that the ranges refer to.
    pub(super) fn texts(&self) -> &str {
        &self.texts
    }

    /// Brings a declaration of the element at `depth` into scope. The prefix of a default namespace
    /// is empty.
    pub(super) fn bind(
        &mut self,
        prefix: &str,
        namespace: &str,
        depth: usize,
    ) -> Result<(), XmlError> {
        // §5 and §3: a prefix cannot be unbound, this one cannot be bound.
        if prefix == "xmlns" || (!prefix.is_empty() && namespace.is_empty()) {
            return Err(XmlError::Malformed);
        }
        if self.bindings.len() == MAX_NAMESPACE_BINDINGS {
            return Err(XmlError::TooManyNamespaces);
        }
        let prefix_start = self.texts.len();
        self.texts.push_str(prefix);
        let prefix_end = self.texts.len();
        self.texts.push_str(namespace);
        if prefix.is_empty() {
            self.default = prefix_end..self.texts.len();
        }
        self.bindings.push(Binding {
            prefix_start,
            prefix_end,
            depth,
        });
        Ok(())
    }

    /// The namespace of an element's prefix: empty for no namespace, `None` for a prefix that is
    /// not bound.
    pub(super) fn resolve(&self, prefix: &str) -> Option<Place> {
        match prefix {
            "" => Some(self.default.clone()),
            "xml" => Some(0..XML_NAMESPACE.len()),
            _ => self.look_up(prefix),
        }
    }

    fn look_up(&self, prefix: &str) -> Option<Place> {
        let mut end = self.texts.len();
        for binding in self.bindings.iter().rev() {
            if &self.texts[binding.prefix_start..binding.prefix_end] == prefix {
                return Some(binding.prefix_end..end);
            }
            end = binding.prefix_start;
        }
        None
    }

    /// Drops the declarations of the element at `depth`.
    pub(super) fn leave(&mut self, depth: usize) {
        let mut default_changes = false;
        while self.bindings.last().is_some_and(|b| b.depth == depth) {
            if let Some(binding) = self.bindings.pop() {
                default_changes |= binding.prefix_start == binding.prefix_end;
                self.texts.truncate(binding.prefix_start);
            }
        }
        if default_changes {
            self.default = self.look_up("").unwrap_or(0..0);
        }
    }
}
