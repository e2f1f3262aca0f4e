//! XML documents, and resource lists.

use cpm_wire::resource_lists::{
    CopyControl, HistoryUnqualified, MAX_ENTRIES, MAX_ENTRY_URI_BYTES, ResourceLists,
    write_history, write_recipient_list,
};
use cpm_wire::xml::{Attributes, Limits, Name, Visitor, XmlError, scan};

struct Counter {
    depth: usize,
    most: usize,
    text: usize,
}
impl Visitor for Counter {
    type Error = XmlError;
    fn start(&mut self, _: Name<'_>, attributes: &Attributes<'_>) -> Result<(), Self::Error> {
        self.depth += 1;
        self.most = self.most.max(self.depth);
        let _ = (attributes.get("uri"), attributes.get("id"));
        Ok(())
    }
    fn text(&mut self, text: &str) {
        self.text += text.len();
    }
    fn end(&mut self) -> Result<(), Self::Error> {
        self.depth -= 1;
        Ok(())
    }
}

/// Depth is bounded, elements are balanced.
pub fn xml(data: &[u8]) {
    for fragment in [false, true] {
        let limits = Limits {
            depth: 16,
            document_bytes: 1 << 20,
            fragment,
        };
        let mut counter = Counter {
            depth: 0,
            most: 0,
            text: 0,
        };
        let result = scan(limits, data, &mut counter);
        assert!(counter.most <= 16);
        if result.is_ok() {
            assert_eq!(counter.depth, 0);
        }
        assert!(counter.text <= data.len());
    }
}

/// The fast reader and the scanner with namespaces agree on well-formedness; what is written parses
/// to the same.
pub fn resource_lists(data: &[u8]) {
    let Ok(lists) = ResourceLists::parse(data) else {
        return;
    };
    assert!(lists.len() <= MAX_ENTRIES);
    for entry in lists.entries() {
        assert!(!entry.uri.is_empty() && entry.uri.len() <= MAX_ENTRY_URI_BYTES);
    }
    let history = write_history(lists.entries(), HistoryUnqualified::To);
    if let Some(document) = &history {
        let again = ResourceLists::parse(document)
            .unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(document)));
        let shown: Vec<_> = lists
            .entries()
            .filter(|e| e.copy_control != Some(CopyControl::Bcc) && !e.anonymize)
            .map(|e| e.uri.to_owned())
            .collect();
        let got: Vec<_> = again
            .entries()
            .map(|e| e.uri.to_owned())
            .take(shown.len())
            .collect();
        assert_eq!(got, shown);
        assert_eq!(
            document
                .split(|b| *b == b'\n')
                .filter(|l| l.starts_with(b"--"))
                .count(),
            0
        );
    }
    let whole = write_recipient_list(lists.entries());
    let again = ResourceLists::parse(&whole)
        .unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(&whole)));
    let a: Vec<_> = lists.entries().collect();
    let b: Vec<_> = again.entries().collect();
    assert_eq!(format!("{a:?}"), format!("{b:?}"));
}
