//! From the fan-out to the socket, and turns of ends that share one connection.

use std::io::IoSlice;

use super::core::Core;
use crate::msrp_session::ConnectionId;

/// Slices written at once.
const SLICES_AT_ONCE: usize = 64;
/// The same while others wait for the connection: end of one chunk, head and content of the next.
const SLICES_IN_TURN: usize = 3;
/// Maximum bytes one connection writes before others get their turn.
const BYTES_AT_ONCE: usize = 1024 * 1024;
/// Maximum bytes one leg writes before another one that shares its connection.
const TURN_BYTES: usize = 64 * 1024;

impl Core {
    /// Writes the pending output of a connection, as far as possible.
    pub(super) fn write(&mut self, id: ConnectionId) {
        let mut left = BYTES_AT_ONCE;
        loop {
            let Some(connection) = self.connections.get_mut(&id) else {
                return;
            };
            if connection.has_ciphertext() && connection.flush().is_err() {
                return self.lose(id);
            }
            if !connection.writable {
                return;
            }
            let Some(speaker) = connection.speaker else {
                if !connection.frames.is_empty() {
                    let full_before = connection.frames.len();
                    if connection.write_frames().is_err() {
                        return self.lose(id);
                    }
                    // There may be space for more responses now.
                    if connection.frames.len() < full_before && connection.readable {
                        self.schedule(id);
                    }
                    continue;
                }
                let Some(next) = connection.waiting.pop_front() else {
                    return;
                };
                if let Some(session) = self.sessions.get_mut(&next.session) {
                    session.leg(next.leg).queued = false;
                    if session.fan_out.endpoint(next.leg).connection() == Some(id) {
                        session.fan_out.resume(self.now, next.leg);
                        connection.speaker = Some(next);
                        connection.spoken = 0;
                    }
                }
                continue;
            };
            if left == 0 {
                return self.schedule(id);
            }
            let Some(session) = self.sessions.get_mut(&speaker.session) else {
                connection.speaker = None;
                continue;
            };
            self.in_hand = Some(speaker.session);
            let others = !connection.waiting.is_empty();
            let refusals = !connection.frames.is_empty();
            if refusals || others && connection.spoken >= TURN_BYTES {
                if session.fan_out.is_between_chunks(speaker.leg) {
                    connection.speaker = None;
                    session.leg(speaker.leg).queued = true;
                    session.fan_out.pause(speaker.leg);
                    connection.waiting.push_back(speaker);
                    continue;
                }
                session.fan_out.pause(speaker.leg);
            } else {
                // A waiting leg may have been closed meanwhile.
                session.fan_out.resume(self.now, speaker.leg);
            }
            let mut slices = [IoSlice::new(&[]); SLICES_AT_ONCE];
            let room = match others || refusals {
                true => SLICES_IN_TURN,
                false => SLICES_AT_ONCE,
            };
            let count = session.fan_out.gather(speaker.leg, &mut slices[..room]);
            if count == 0 {
                let asked = refusals || others && connection.spoken >= TURN_BYTES;
                let between = session.fan_out.is_between_chunks(speaker.leg);
                if between && (others || refusals) {
                    connection.speaker = None;
                } else if others {
                    // It has nothing to write for now, so its turn is over.
                    connection.spoken = TURN_BYTES;
                }
                self.after_fan_out(speaker.session);
                match (others || refusals) && (between || !asked) {
                    true => continue,
                    // A chunk whose remaining content must come from the spool cannot be ended; the
                    // leg is woken when it has arrived.
                    false => return,
                }
            }
            let Ok(written) = connection.write(&slices[..count]) else {
                return self.lose(id);
            };
            connection.spoken += written;
            left = left.saturating_sub(written);
            let full = !connection.writable;
            session
                .fan_out
                .handle_written(self.now, speaker.leg, written);
            session.show(speaker.leg);
            self.after_fan_out(speaker.session);
            if full {
                return;
            }
        }
    }
}
