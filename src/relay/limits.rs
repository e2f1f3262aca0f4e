//! How the limits of sessions follow the totals, and which connections are read from.

use super::budget::RESERVED_BYTES;
use super::core::Core;
use super::session::RelaySession;
use crate::msrp_control::{SessionId, Side};
use crate::msrp_session::{ConnectionId, MAX_PENDING_FRAMES};

impl Core {
    /// The limits of all sessions have changed.
    pub(super) fn set_all_limits(&mut self) {
        let all: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in all {
            self.set_limits(id, 0);
        }
    }

    /// Recalculates a session's limits, with this much more of the spool's quota.
    pub(super) fn set_limits(&mut self, id: SessionId, more: u64) {
        if let Some(session) = self.sessions.get_mut(&id) {
            let granted = session.limits.spool_bytes + more;
            session.limits = self.budget.session_limits(granted);
            session.fan_out.set_limits(self.now, session.limits);
        }
    }

    /// Grants a session more of the spool, if it needs some and there is some. True: it got some.
    pub(super) fn grant(&mut self, id: SessionId) -> bool {
        let Some(session) = self.sessions.get(&id) else {
            return false;
        };
        let granted = session.limits.spool_bytes;
        let more = self.budget.grant(granted, session.spooled);
        if let Some(more) = more {
            self.set_limits(id, more);
        }
        more.is_some()
    }

    /// A session's share becomes available to others.
    pub(super) fn give_back(&mut self, session: &RelaySession) {
        let granted = session.granted();
        self.budget.count_memory(session.counted, 0);
        self.budget.unspill(session.spooled);
        self.budget.give_back(granted);
        if session.begun && self.budget.end() {
            self.set_all_limits();
        }
        if granted > 0 {
            let stopped = self.sessions.iter().filter(|(_, s)| !s.reading);
            let stopped: Vec<SessionId> = stopped.map(|(id, _)| *id).collect();
            for id in stopped {
                if self.grant(id) {
                    self.after_fan_out(id);
                }
            }
        }
        for connection in self.budget.let_go(None) {
            self.schedule(connection);
        }
    }

    /// Whether a connection may be read from: there is space for content, and the peer is reading
    /// responses.
    pub(super) fn may_read(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get(&id) else {
            return false;
        };
        let full = self.budget.is_full();
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

    /// A session has less content in memory than before: resumes reading if that had stopped it.
    pub(super) fn read_held_back(&mut self, id: SessionId) {
        let originator = self.sessions.get(&id).and_then(|s| s.originator.as_ref());
        let connection = originator.and_then(|o| o.endpoint.connection());
        for connection in self.budget.let_go(connection) {
            self.schedule(connection);
        }
    }
}
