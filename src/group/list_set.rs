//! Sets of the external lists of one group.

use std::ops::BitOr;

/// Maximum number of external lists of one group, including indirect ones: each costs a request to
/// the XDMS.
pub const MAX_EXTERNAL_LISTS: usize = 64;

/// A set of external lists of one group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ListSet(u64);

const _: () = assert!(MAX_EXTERNAL_LISTS <= u64::BITS as usize);

impl ListSet {
    pub(super) fn of(place: usize) -> Self {
        Self(1 << place)
    }

    pub(super) fn has(self, place: usize) -> bool {
        self.meets(Self::of(place))
    }

    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for ListSet {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
