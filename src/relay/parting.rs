//! Releasing and closing connections: queued output is written, and the peer gets time to read it.

use std::io::{self, ErrorKind};

use super::connection::{ConnectionStage, Speaker};
use super::core::Core;
use crate::msrp_control::{SessionId, Side};
use crate::msrp_session::ConnectionId;

impl Core {
    /// An end of a session no longer needs its connection. Its queued output is written.
    pub(super) fn unbind(&mut self, id: SessionId, side: Side) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let (ends, output) = match side {
            Side::Originator => {
                let Some(originator) = &mut session.originator else {
                    return;
                };
                originator.endpoint.handle_disconnected();
                (&mut originator.ends, None)
            }
            Side::Leg(number) => {
                let Some(&leg) = session.numbers.get(&number) else {
                    return;
                };
                let output: Vec<_> = session.fan_out.take_output(leg).collect();
                session.fan_out.handle_disconnected(leg);
                let speaker = Speaker { session: id, leg };
                (&mut session.leg(leg).ends, Some((speaker, output)))
            }
        };
        let connection_id = ends.connection.take();
        self.uris.remove(&std::mem::take(&mut ends.uri));
        let Some(connection_id) = connection_id else {
            return;
        };
        let Some(connection) = self.connections.get_mut(&connection_id) else {
            return;
        };
        if connection.opened_for.take().is_some() {
            return self.lose(connection_id);
        }
        connection.bound.retain(|bound| *bound != (id, side));
        if let Some((speaker, output)) = output {
            connection.take_over(speaker, output);
        }
        if connection.bound.is_empty() {
            self.linger(connection_id);
        }
        self.schedule(connection_id);
    }

    /// The peer sends no more. Our remaining output is sent.
    pub(super) fn ended(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.readable = false;
        let bound = std::mem::take(&mut connection.bound);
        // Nothing can be sent in the middle of a chunk that will not be finished.
        if connection.speaker.take().is_some() {
            connection.frames.clear();
        }
        connection.waiting.clear();
        self.acceptor.unbound.remove(id);
        self.linger(id);
        self.disconnect_all(id, &bound);
    }

    /// No session needs this connection any more. The peer gets time to read what was written to
    /// it.
    pub(super) fn linger(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.stage = ConnectionStage::Lingering { shut: false };
            let at = self.now + self.limits.linger;
            self.set_deadline(id, at);
            self.schedule(id);
        }
    }

    /// Closes once the peer has read everything, or has closed the connection itself.
    pub(super) fn serve_lingering(&mut self, id: ConnectionId) {
        self.write(id);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let written = connection.frames.is_empty() && !connection.has_ciphertext();
        let closed: io::Result<bool> = (|| {
            if let ConnectionStage::Lingering { shut: shut @ false } = &mut connection.stage
                && written
            {
                *shut = true;
                connection.shut()?;
            }
            match connection.readable {
                true => connection.drain(&mut self.block),
                false => Ok(connection.read_closed),
            }
        })();
        match closed {
            Ok(false) => {
                if connection.readable {
                    self.schedule(id);
                }
            }
            // The peer is done, and so are we once everything is written.
            Ok(true) if !written => {}
            Ok(true) => self.lose(id),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.lose(id),
        }
    }

    /// A connection is closed, or must be closed at once.
    pub(super) fn lose(&mut self, connection_id: ConnectionId) {
        let Some(connection) = self.remove(connection_id) else {
            return;
        };
        self.acceptor.unbound.remove(connection_id);
        if let Some((session, side)) = connection.opened_for
            && let Some(ends) = self.ends_of(session, side)
            && ends.connection == Some(connection_id)
        {
            ends.connection = None;
        }
        self.disconnect_all(connection_id, &connection.bound);
    }

    /// Tells the ends that were bound to a connection that it has closed.
    pub(super) fn disconnect_all(
        &mut self,
        connection_id: ConnectionId,
        bound: &[(SessionId, Side)],
    ) {
        for &(id, side) in bound {
            let Some(session) = self.sessions.get_mut(&id) else {
                continue;
            };
            match side {
                Side::Originator => {
                    let Some(originator) = &mut session.originator else {
                        continue;
                    };
                    if originator.ends.connection != Some(connection_id) {
                        continue;
                    }
                    originator.ends.connection = None;
                    originator.endpoint.handle_disconnected();
                    // Before the message the peer may reconnect, if it is the one that connects. In
                    // the middle of a message, RFC 4975 has no means to resume it.
                    if originator.message.is_some() || originator.ends.active {
                        self.fail_message(id);
                    }
                }
                Side::Leg(number) => {
                    let Some(&leg) = session.numbers.get(&number) else {
                        continue;
                    };
                    session.leg(leg).ends.connection = None;
                    session.leg(leg).queued = false;
                    session.fan_out.handle_disconnected(leg);
                    self.after_fan_out(id);
                }
            }
        }
    }
}
