//! Messages by what an operator knows them by.

use std::collections::BTreeSet;

/// Hashes of what a message is known by; 0: none.
pub type Names = [u64; 4];

/// Messages by what they are known by.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeSet<(u64, u64)>);

impl Known {
    pub(super) fn note(&mut self, id: u64, names: Names) {
        let names = names.into_iter().filter(|name| *name != 0);
        self.0.extend(names.map(|name| (name, id)));
    }

    pub(super) fn forget(&mut self, id: u64, names: Names) {
        for name in names {
            self.0.remove(&(name, id));
        }
    }

    pub(super) fn of(&self, name: u64) -> impl DoubleEndedIterator<Item = u64> {
        self.0
            .range((name, 0)..=(name, u64::MAX))
            .map(|(_, id)| *id)
    }
}
