//! Which recorded senders other nodes have been told of.

use crate::shared::{Recorded, SenderTable};

/// How long to wait for a sender that another process has begun to record: it may have been killed.
const UNFINISHED_MS: u64 = 1_000;

/// Reads the table of senders in the order in which they were recorded.
#[derive(Debug, Default)]
pub(super) struct ToldSenders {
    last: u64,
    /// Since when the next one is not complete.
    stuck_ms: Option<u64>,
}

impl ToldSenders {
    /// The next one.
    pub(super) fn next(&mut self, senders: &SenderTable, now_ms: u64) -> Option<Recorded> {
        loop {
            let next = senders.next_after(&mut self.last);
            if next.is_some() || !senders.has_after(self.last) {
                self.stuck_ms = None;
                return next;
            }
            if now_ms < *self.stuck_ms.get_or_insert(now_ms) + UNFINISHED_MS {
                return None;
            }
            senders.skip(&mut self.last);
            self.stuck_ms = None;
        }
    }
}
