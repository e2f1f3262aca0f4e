//! Counters that the main thread may read while the relay works; only the relay thread writes them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::msrp::Status;
use crate::msrp_control::{LegNumber, SessionId};
use crate::msrp_session::{DeliveryFailure, DeliveryState, LegStatus};

/// The progress of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionProgress {
    /// Content bytes received from the originator.
    pub received: u64,
    /// Size of the message, if it is known.
    pub total: Option<u64>,
    /// The originator is not read from, because legs have not taken the content in memory.
    pub is_held_back: bool,
    /// The legs in the order in which they were opened.
    pub legs: Vec<LegProgress>,
}

/// The progress of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegProgress {
    /// Which leg.
    pub number: LegNumber,
    /// Content bytes that have been sent.
    pub written: u64,
    /// Content bytes in chunks that were answered with 200.
    pub delivered: u64,
    /// Its state.
    pub state: DeliveryState,
}

/// Totals of the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RelayTotals {
    /// Sessions that were opened and not forgotten.
    pub sessions: usize,
    /// Connections.
    pub connections: usize,
    /// Of these, accepted and without a session.
    pub unbound: usize,
    /// Content in memory, bytes.
    pub memory_bytes: usize,
    /// Content in spool files, bytes.
    pub spool_bytes: u64,
    /// Sessions whose originator is held back.
    pub held_back: usize,
}

/// The size is not known.
pub(super) const UNKNOWN: u64 = u64::MAX;

/// Everything that is shared.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) totals: Totals,
    /// Locked when a session or leg is added or removed, and by the reader while it copies.
    sessions: Mutex<HashMap<SessionId, Arc<SessionCell>>>,
}

#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) sessions: AtomicUsize,
    pub(super) connections: AtomicUsize,
    pub(super) unbound: AtomicUsize,
    pub(super) memory_bytes: AtomicUsize,
    pub(super) spool_bytes: AtomicU64,
    pub(super) held_back: AtomicUsize,
}

#[derive(Debug)]
pub(super) struct SessionCell {
    pub(super) received: AtomicU64,
    pub(super) total: AtomicU64,
    pub(super) held_back: AtomicBool,
    legs: Mutex<Vec<(LegNumber, Arc<LegCell>)>>,
}

#[derive(Debug, Default)]
pub(super) struct LegCell {
    written: AtomicU64,
    delivered: AtomicU64,
    state: AtomicU32,
}

impl Shared {
    pub(super) fn open(&self, session: SessionId) -> Arc<SessionCell> {
        let cell = Arc::new(SessionCell {
            received: AtomicU64::new(0),
            total: AtomicU64::new(UNKNOWN),
            held_back: AtomicBool::new(false),
            legs: Mutex::default(),
        });
        lock(&self.sessions).insert(session, Arc::clone(&cell));
        cell
    }

    pub(super) fn close(&self, session: SessionId) {
        lock(&self.sessions).remove(&session);
    }

    pub(super) fn progress(&self, session: SessionId) -> Option<SessionProgress> {
        let cell = lock(&self.sessions).get(&session).cloned()?;
        let legs = lock(&cell.legs);
        let leg = |(number, leg): &(LegNumber, Arc<LegCell>)| LegProgress {
            number: *number,
            written: leg.written.load(Relaxed),
            delivered: leg.delivered.load(Relaxed),
            state: unpack(leg.state.load(Relaxed)),
        };
        let total = cell.total.load(Relaxed);
        Some(SessionProgress {
            received: cell.received.load(Relaxed),
            total: (total != UNKNOWN).then_some(total),
            is_held_back: cell.held_back.load(Relaxed),
            legs: legs.iter().map(leg).collect(),
        })
    }

    pub(super) fn totals(&self) -> RelayTotals {
        let totals = &self.totals;
        RelayTotals {
            sessions: totals.sessions.load(Relaxed),
            connections: totals.connections.load(Relaxed),
            unbound: totals.unbound.load(Relaxed),
            memory_bytes: totals.memory_bytes.load(Relaxed),
            spool_bytes: totals.spool_bytes.load(Relaxed),
            held_back: totals.held_back.load(Relaxed),
        }
    }
}

impl SessionCell {
    pub(super) fn add_leg(&self, number: LegNumber) -> Arc<LegCell> {
        let cell = Arc::new(LegCell::default());
        lock(&self.legs).push((number, Arc::clone(&cell)));
        cell
    }
}

impl LegCell {
    pub(super) fn set(&self, status: LegStatus) {
        self.written.store(status.written, Relaxed);
        self.delivered.store(status.delivered, Relaxed);
        self.state.store(pack(status.state), Relaxed);
    }
}

/// No panic happens under these locks, and their data is consistent at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pack(state: DeliveryState) -> u32 {
    match state {
        DeliveryState::Waiting => 0,
        DeliveryState::Sending => 1,
        DeliveryState::Finishing => 2,
        DeliveryState::Delivered => 3,
        DeliveryState::Aborted => 4,
        DeliveryState::Failed(DeliveryFailure::NoResponse) => 5,
        DeliveryState::Failed(DeliveryFailure::Stalled) => 6,
        DeliveryState::Failed(DeliveryFailure::Disconnected) => 7,
        DeliveryState::Failed(DeliveryFailure::SpoolLost) => 8,
        DeliveryState::Failed(DeliveryFailure::Dropped) => 9,
        DeliveryState::Failed(DeliveryFailure::Behind) => 10,
        DeliveryState::Failed(DeliveryFailure::Refused(status)) => 1000 + u32::from(status.code()),
    }
}

fn unpack(packed: u32) -> DeliveryState {
    match packed {
        0 => DeliveryState::Waiting,
        1 => DeliveryState::Sending,
        2 => DeliveryState::Finishing,
        3 => DeliveryState::Delivered,
        4 => DeliveryState::Aborted,
        5 => DeliveryState::Failed(DeliveryFailure::NoResponse),
        6 => DeliveryState::Failed(DeliveryFailure::Stalled),
        7 => DeliveryState::Failed(DeliveryFailure::Disconnected),
        8 => DeliveryState::Failed(DeliveryFailure::SpoolLost),
        9 => DeliveryState::Failed(DeliveryFailure::Dropped),
        10 => DeliveryState::Failed(DeliveryFailure::Behind),
        refused => {
            let digits = format!("{:03}", refused.saturating_sub(1000));
            let status = Status::parse(digits.as_bytes()).unwrap_or(Status::BAD_REQUEST);
            DeliveryState::Failed(DeliveryFailure::Refused(status))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_come_back() {
        use DeliveryFailure::*;
        let failures = [
            Refused(Status::STOP_SENDING),
            NoResponse,
            Stalled,
            Disconnected,
            SpoolLost,
            Dropped,
            Behind,
        ];
        let states = [
            DeliveryState::Waiting,
            DeliveryState::Sending,
            DeliveryState::Finishing,
            DeliveryState::Delivered,
            DeliveryState::Aborted,
        ];
        for state in states
            .into_iter()
            .chain(failures.map(DeliveryState::Failed))
        {
            assert_eq!(unpack(pack(state)), state);
        }
    }
}
