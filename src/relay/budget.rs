//! Memory and spool of all sessions: the share of each, and what is in use.
//!
//! Memory is divided evenly by the number of sessions whose message has begun, rounded up to a
//! power of two so that limits do not change with each session. The spool's quota is granted in
//! pieces when a session needs it, and returned when the session is forgotten.

use super::settings::RelayLimits;
use crate::msrp_session::{ConnectionId, Limits, MIN_MEMORY_BYTES, READ_BLOCK_BYTES};

/// Piece of the spool's quota that a session gets at a time.
const GRANT_BYTES: u64 = 16 * 1024 * 1024;
/// Memory that each session may use even if others have used up the total: enough to continue at
/// the pace of its own legs.
pub(super) const RESERVED_BYTES: usize = 2 * READ_BLOCK_BYTES;

/// Totals of all sessions. All sizes are in bytes.
#[derive(Debug)]
pub(super) struct Budget {
    /// Without the spool, if there is none.
    limits: RelayLimits,
    /// Sessions whose message has begun.
    begun: usize,
    /// That number rounded up to a power of two: the divisor of the memory.
    shares: usize,
    /// Content in memory.
    memory: usize,
    /// The part of the spool's quota that has been granted.
    granted: u64,
    /// Content in spool files.
    spooled: u64,
    /// Connections that are not read from because the memory of all sessions is used up.
    held_back: Vec<ConnectionId>,
}

impl Budget {
    pub(super) fn new(limits: &RelayLimits) -> Self {
        let mut limits = limits.clone();
        if limits.spool_dir.is_none() {
            limits.spool_bytes = 0;
        }
        Budget {
            limits,
            begun: 0,
            shares: 1,
            memory: 0,
            granted: 0,
            spooled: 0,
            held_back: Vec::new(),
        }
    }

    /// The limits of a session to which this much of the spool's quota has been granted.
    pub(super) fn session_limits(&self, spool_bytes: u64) -> Limits {
        let share = self.limits.memory_bytes / self.shares;
        Limits {
            memory_bytes: share
                .min(self.limits.session_memory_bytes)
                .max(MIN_MEMORY_BYTES),
            spool_bytes,
            stall: self.limits.stall,
            hold: self.limits.hold,
        }
    }

    /// A session's message begins. True: the limits of all sessions have changed.
    #[must_use]
    pub(super) fn begin(&mut self) -> bool {
        self.divide(self.begun + 1)
    }

    /// A session whose message had begun has ended. True: the limits of all sessions have changed.
    #[must_use]
    pub(super) fn end(&mut self) -> bool {
        self.divide(self.begun - 1)
    }

    fn divide(&mut self, begun: usize) -> bool {
        self.begun = begun;
        let shares = begun.next_power_of_two();
        shares != std::mem::replace(&mut self.shares, shares)
    }

    /// How much more of the spool to grant a session, given what it was granted and has used:
    /// nothing, unless it is near the end of its grant and there is some left.
    pub(super) fn grant(&mut self, granted: u64, used: u64) -> Option<u64> {
        let unused = granted.saturating_sub(used);
        let left = self.limits.spool_bytes.saturating_sub(self.granted);
        let more = left.min(GRANT_BYTES);
        if unused >= GRANT_BYTES / 2 || more == 0 {
            return None;
        }
        self.granted += more;
        Some(more)
    }

    /// A session's content in memory has changed.
    pub(super) fn count_memory(&mut self, before: usize, now: usize) {
        self.memory = self.memory + now - before;
    }

    /// Content goes to a spool file.
    pub(super) fn spill(&mut self, bytes: u64) {
        self.spooled += bytes;
    }

    /// Content could not be written to a spool file, or its file has been deleted.
    pub(super) fn unspill(&mut self, bytes: u64) {
        self.spooled -= bytes;
    }

    /// A session returns its grant of the spool.
    pub(super) fn give_back(&mut self, granted: u64) {
        self.granted -= granted;
    }

    /// Content in memory.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// Content in spool files.
    pub(super) fn spooled(&self) -> u64 {
        self.spooled
    }

    /// Whether the memory of all sessions is used up.
    pub(super) fn is_full(&self) -> bool {
        self.memory >= self.limits.memory_bytes
    }

    /// A connection is not read from until memory is available again.
    pub(super) fn hold_back(&mut self, connection: ConnectionId) {
        if !self.held_back.contains(&connection) {
            self.held_back.push(connection);
        }
    }

    /// The connections that can be read from again: all, once memory is available again; otherwise
    /// that of the session whose content in memory has just shrunk.
    pub(super) fn let_go(&mut self, of_session: Option<ConnectionId>) -> Vec<ConnectionId> {
        if !self.is_full() {
            return std::mem::take(&mut self.held_back);
        }
        let held = |held: &ConnectionId| Some(*held) == of_session;
        let index = self.held_back.iter().position(held);
        let connection = index.map(|index| self.held_back.swap_remove(index));
        connection.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn budget(memory_bytes: usize, spool_bytes: u64) -> Budget {
        Budget::new(&RelayLimits {
            memory_bytes,
            session_memory_bytes: 16 * MIB,
            spool_dir: Some("/spool".into()),
            spool_bytes,
            ..RelayLimits::default()
        })
    }

    #[test]
    fn memory_is_divided_by_a_power_of_two() {
        let mut budget = budget(64 * MIB, 0);
        let share = |budget: &Budget| budget.session_limits(0).memory_bytes / MIB;
        assert_eq!(share(&budget), 16, "no more than one session may have");
        let mut shares = Vec::new();
        for _ in 0..9 {
            let before = share(&budget);
            let changed = budget.begin();
            assert!(changed || share(&budget) == before);
            shares.push(share(&budget));
        }
        assert_eq!(shares, [16, 16, 16, 16, 8, 8, 8, 8, 4]);
        assert!(budget.end(), "eight are left");
        assert!(!budget.end(), "and seven have the same share");
        assert_eq!(share(&budget), 8);
    }

    #[test]
    fn each_session_has_some_memory_however_many_there_are() {
        let mut budget = budget(MIB, 0);
        for _ in 0..1000 {
            let _ = budget.begin();
        }
        assert_eq!(budget.session_limits(0).memory_bytes, MIN_MEMORY_BYTES);
    }

    #[test]
    fn the_spool_is_granted_in_pieces_while_there_is_some() {
        let mut budget = budget(MIB, GRANT_BYTES + 5);
        assert_eq!(budget.grant(0, 0), Some(GRANT_BYTES));
        assert_eq!(budget.grant(GRANT_BYTES, 0), None, "nothing of it is used");
        let used = GRANT_BYTES / 2 + 1;
        assert_eq!(budget.grant(GRANT_BYTES, used), Some(5));
        assert_eq!(budget.grant(GRANT_BYTES + 5, GRANT_BYTES), None, "no more");
        budget.give_back(GRANT_BYTES + 5);
        assert_eq!(budget.grant(0, 0), Some(GRANT_BYTES));
    }

    #[test]
    fn without_a_folder_there_is_no_spool() {
        let limits = RelayLimits::default();
        assert!(limits.spool_dir.is_none() && limits.spool_bytes > 0);
        assert_eq!(Budget::new(&limits).grant(0, 0), None);
    }

    #[test]
    fn connections_are_held_back_while_memory_is_full() {
        let [one, two, three] = [1, 2, 3].map(ConnectionId);
        let mut budget = budget(100, 0);
        budget.count_memory(0, 120);
        for connection in [one, two, three, two] {
            budget.hold_back(connection);
        }
        assert!(budget.is_full());
        assert_eq!(budget.let_go(None), []);
        assert_eq!(budget.let_go(Some(two)), [two], "its session has got less");
        assert_eq!(budget.let_go(Some(two)), []);
        budget.count_memory(120, 99);
        assert_eq!(budget.memory(), 99);
        assert_eq!(budget.let_go(None), [one, three]);
        assert_eq!(budget.let_go(None), []);
    }
}
