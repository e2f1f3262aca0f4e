//! Number of requests with long lists that wait for CPM fan-out.
//!
//! A list that is written to cost much takes up to 80 ms to read. If workers passed on whatever
//! arrives, one sender could keep the only process that reads them busy for minutes, and with it
//! what others have handed over. When as many as may wait are waiting, a worker reads its list
//! itself: that holds back who sends them, as every other request does.

use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Relaxed;

/// Maximum number of requests that wait.
const MAX_WAITING: u64 = 4;

/// The number, in memory that all processes share.
#[derive(Clone, Copy, Debug)]
pub struct LongLists {
    waiting: &'static AtomicU64,
}

impl LongLists {
    /// In this word, which is 0 before the first use.
    pub fn new(waiting: &'static AtomicU64) -> Self {
        LongLists { waiting }
    }

    /// One more waits, if it may.
    pub fn add(self) -> bool {
        let more = |waiting| (waiting < MAX_WAITING).then_some(waiting + 1);
        self.waiting.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// One of them is read now, or does not wait after all.
    pub fn remove(self) {
        let _ = self
            .waiting
            .fetch_update(Relaxed, Relaxed, |waiting| waiting.checked_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_wait_as_may() {
        let lists = LongLists::new(Box::leak(Box::new(AtomicU64::new(0))));
        for _ in 0..MAX_WAITING {
            assert!(lists.add());
        }
        assert!(!lists.add());
        lists.remove();
        assert!(lists.add());
        assert!(!lists.add());
        for _ in 0..=MAX_WAITING {
            lists.remove();
        }
        assert!(lists.add());
    }
}
