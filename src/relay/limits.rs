//! How memory and spool are shared among sessions.
//!
//! Memory is divided evenly by the number of sessions whose message has begun, rounded up to a power of two so that limits do not
//! move with each session. The spool's quota is granted in pieces when a session comes to need it, and comes back when
//! the session is forgotten.

use super::core::Core;
use super::session::RelaySession;
use crate::msrp_control::{SessionId, Side};
use crate::session::{
    ConnectionId, Limits, MAX_PENDING_FRAMES, MIN_MEMORY_BYTES, READ_BLOCK_BYTES,
};

/// What a session gets of the spool's quota at once.
const GRANT_BYTES: u64 = 16 * 1024 * 1024;
/// What each session may have in memory even if that of all is used up by others: enough to go on at its own legs' pace.
pub(super) const RESERVED_BYTES: usize = 2 * READ_BLOCK_BYTES;

impl Core {
    /// The limits of a session to which so much of the spool's quota has been granted.
    pub(super) fn session_limits(&self, spool_bytes: u64) -> Limits {
        let share = self.limits.memory_bytes / self.shares.max(1);
        Limits {
            memory_bytes: share
                .min(self.limits.session_memory_bytes)
                .max(MIN_MEMORY_BYTES),
            spool_bytes,
            stall: self.limits.stall,
            hold: self.limits.hold,
        }
    }

    /// A session's message begins, or the session is over.
    pub(super) fn count_begun(&mut self, begun: usize) {
        self.begun = begun;
        let shares = begun.next_power_of_two();
        if shares == std::mem::replace(&mut self.shares, shares) {
            return;
        }
        let all: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in all {
            self.set_limits(id, 0);
        }
    }

    /// Sets a session's limits anew, with so much more of the spool's quota.
    fn set_limits(&mut self, id: SessionId, more: u64) {
        let Some(granted) = self.sessions.get(&id).map(|s| s.limits.spool_bytes + more) else {
            return;
        };
        let limits = self.session_limits(granted);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.limits = limits;
            session.fan_out.set_limits(self.now, limits);
        }
    }

    /// Grants a session more of the spool, if it is near the end of what it has and there is some left. True: it got some.
    pub(super) fn grant(&mut self, id: SessionId) -> bool {
        let Some(session) = self.sessions.get(&id).filter(|_| self.spool.is_some()) else {
            return false;
        };
        let unused = session.limits.spool_bytes.saturating_sub(session.spooled);
        let left = self.limits.spool_bytes.saturating_sub(self.granted);
        let more = left.min(GRANT_BYTES);
        if unused >= GRANT_BYTES / 2 || more == 0 {
            return false;
        }
        self.granted += more;
        self.set_limits(id, more);
        true
    }

    /// What a session had is free for others.
    pub(super) fn give_back(&mut self, session: &RelaySession) {
        self.memory -= session.counted;
        self.spooled -= session.spooled;
        self.granted -= session.limits.spool_bytes;
        if session.begun {
            self.count_begun(self.begun - 1);
        }
        if session.limits.spool_bytes > 0 {
            let stopped = self.sessions.iter().filter(|(_, s)| !s.reading);
            let stopped: Vec<SessionId> = stopped.map(|(id, _)| *id).collect();
            for id in stopped {
                if self.grant(id) {
                    self.after_fan_out(id);
                }
            }
        }
        if !self.memory_is_full() {
            for connection in std::mem::take(&mut self.held_back) {
                self.schedule(connection);
            }
        }
    }

    /// Whether a connection may be read from: content has a place to go to, and responses are being read by the peer.
    pub(super) fn may_read(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get(&id) else {
            return false;
        };
        let full = self.memory_is_full();
        let mut crowded = None;
        if connection.frames.len() >= MAX_PENDING_FRAMES {
            return false;
        }
        for &(session_id, side) in &connection.bound {
            let Some(session) = self.sessions.get(&session_id) else {
                continue;
            };
            match side {
                Side::Originator if !session.reading => return false,
                Side::Originator if full && session.counted >= RESERVED_BYTES => {
                    crowded = Some(session_id);
                }
                Side::Originator => {}
                Side::Leg(number) => {
                    let leg = session.numbers.get(&number);
                    if leg.is_some_and(|&leg| session.fan_out.endpoint(leg).is_congested()) {
                        return false;
                    }
                }
            }
        }
        match crowded {
            Some(session) => self.hold_back(id, session),
            None => self.let_go(id),
        }
        crowded.is_none()
    }

    /// Whether the memory of all sessions is used up.
    pub(super) fn memory_is_full(&self) -> bool {
        self.memory >= self.limits.memory_bytes
    }

    /// A session has less content in memory than before: reads on where that was what held it up.
    pub(super) fn read_held_back(&mut self, id: SessionId) {
        if self.held_back.is_empty() {
            return;
        }
        if !self.memory_is_full() {
            for connection in std::mem::take(&mut self.held_back) {
                self.schedule(connection);
            }
            return;
        }
        let originator = self.sessions.get(&id).and_then(|s| s.originator.as_ref());
        let connection = originator.and_then(|o| o.endpoint.connection());
        let held = |held: &ConnectionId| Some(*held) == connection;
        if let Some(index) = self.held_back.iter().position(held) {
            let connection = self.held_back.swap_remove(index);
            self.schedule(connection);
        }
    }
}
