use super::XmlError;

/// Namespace declarations in scope at one place. A document has a handful; the limit keeps look-ups
/// linear.
pub const MAX_NAMESPACE_BINDINGS: usize = 32;

/// The namespace declarations in scope, innermost last (Namespaces in XML 1.0 §6).
#[derive(Default)]
pub(super) struct Namespaces {
    bindings: Vec<Binding>,
    /// Prefix and namespace of each binding behind each other.
    texts: String,
}

struct Binding {
    prefix_start: usize,
    prefix_end: usize,
    depth: usize,
}

impl Namespaces {
    /// Brings a declaration of the element at `depth` into scope. The prefix of a default namespace is
    /// empty.
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
        self.bindings.push(Binding {
            prefix_start,
            prefix_end,
            depth,
        });
        Ok(())
    }

    /// The namespace of an element's prefix: empty for no namespace, `None` for a prefix that is not
    /// bound.
    pub(super) fn resolve(&self, prefix: &str) -> Option<&str> {
        let mut end = self.texts.len();
        for binding in self.bindings.iter().rev() {
            if &self.texts[binding.prefix_start..binding.prefix_end] == prefix {
                return Some(&self.texts[binding.prefix_end..end]);
            }
            end = binding.prefix_start;
        }
        match prefix {
            "" => Some(""),
            "xml" => Some("http://www.w3.org/XML/1998/namespace"),
            _ => None,
        }
    }

    /// Drops the declarations of the element at `depth`.
    pub(super) fn leave(&mut self, depth: usize) {
        while self.bindings.last().is_some_and(|b| b.depth == depth) {
            if let Some(binding) = self.bindings.pop() {
                self.texts.truncate(binding.prefix_start);
            }
        }
    }
}
