//! Originators that are held back: how this is shown, and when waiting longer is useless.

use std::sync::atomic::Ordering::Relaxed;

use super::budget::RESERVED_BYTES;
use super::core::Core;
use super::progress::UNKNOWN;
use crate::log::at;
use crate::msrp_control::{SessionId, Side};
use crate::msrp_session::{ConnectionId, MAX_OUT_OF_ORDER_BYTES};

impl Core {
    /// Publishes whether a session's originator is held back.
    pub(super) fn show_held_back(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let held = session.fan_out.is_held_back();
        if held != std::mem::replace(&mut session.shown_held_back, held) {
            session.cell.held_back.store(held, Relaxed);
            match held {
                true => self.senders_held_back += 1,
                false => self.senders_held_back -= 1,
            }
        }
    }

    /// A connection is not read from, because the memory of all sessions is used up and this
    /// session has its share.
    pub(super) fn hold_back(&mut self, connection: ConnectionId, id: SessionId) {
        self.budget.hold_back(connection);
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.held_back = true;
        }
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.fan_out.hold_back(now, RESERVED_BYTES - 1);
        let at = session.fan_out.poll_timeout();
        self.arm_session(id, at);
        self.show_held_back(id);
    }

    /// It is read from again.
    pub(super) fn let_go(&mut self, connection: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&connection) else {
            return;
        };
        if !std::mem::take(&mut connection.held_back) {
            return;
        }
        for (id, side) in connection.bound.clone() {
            if side == Side::Originator
                && let Some(session) = self.sessions.get_mut(&id)
            {
                session.fan_out.let_go();
                self.show_held_back(id);
            }
        }
    }

    /// The one log line about a session whose originator is held back.
    pub(super) fn note_held_back(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let why = if session.reading {
            "the memory of all sessions is used up"
        } else if self.spool.is_none() {
            "its memory is used up, and there is no spool"
        } else if session.fan_out.is_spool_full() {
            "its memory is used up, and the spool cannot be written to"
        } else if session.limits.spool_bytes.saturating_sub(session.spooled) == 0 {
            "its memory and its share of the spool are used up"
        } else {
            "its memory is used up, and the spool is slow"
        };
        let line = format_args!(
            "MSRP: session {id}: the sender is held back: {why}; recipients that are behind have {} s",
            self.limits.hold.as_secs()
        );
        self.events.log_peer(at!(Notice), self.now, line);
    }

    /// A connection is not being read from. If its peer has closed it, the data in the socket is
    /// all that will ever arrive: a message that this cannot complete has failed, without waiting
    /// for the legs.
    pub(super) fn look_at_unread(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id).filter(|c| c.read_closed) else {
            return;
        };
        let Some(unread) = connection.unread() else {
            return;
        };
        let hopeless = connection.bound.iter().any(|&(session, side)| {
            let session = self.sessions.get(&session);
            side == Side::Originator
                && session.is_some_and(|session| {
                    let total = session.cell.total.load(Relaxed);
                    let missing = total.saturating_sub(session.fan_out.received());
                    // Out-of-order content is already here.
                    let here = unread + MAX_OUT_OF_ORDER_BYTES as u64;
                    session.begun && total != UNKNOWN && missing > here
                })
        });
        if hopeless {
            self.lose(id);
        }
    }

    /// The spool does not accept content: one log line for all sessions, as long as it lasts.
    pub(super) fn spool_refused(&mut self, why: &str) {
        let line = format_args!(
            "MSRP spool: cannot be written to: {why}; senders of large messages are held back while recipients are behind"
        );
        if self.spool_outage.begins(self.now) {
            self.events.log(at!(Error), line);
        }
    }

    /// The spool works again.
    pub(super) fn spool_works(&mut self) {
        if self.spool_outage.ends(self.now) {
            let line = format_args!("MSRP spool: can be written to again");
            self.events.log(at!(Notice), line);
        }
    }

    /// The spool cannot return content.
    pub(super) fn spool_unreadable(&mut self, why: &str) {
        let line = format_args!("MSRP spool: cannot be read: {why}; recipients that need it fail");
        self.events.log_peer(at!(Notice), self.now, line);
    }
}
