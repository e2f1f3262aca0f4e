//! Carries out the actions of the originator's end and the fan-out, after each step.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::connection::Speaker;
use super::core::Core;
use super::session::Storing;
use super::spool::SpoolJob;
use crate::cpim;
use crate::mime::ContentType;
use crate::msrp::Status;
use crate::msrp_control::{MsrpEvent, SessionId};
use crate::msrp_session::{
    DeliveryFailure, DeliveryState, EndpointEvent, FanOutAction, LegId, OutgoingMessage,
};

impl Core {
    /// Carries out the actions of the originator's end.
    pub(super) fn after_originator(&mut self, id: SessionId) {
        let now = self.now;
        loop {
            let Some(session) = self.sessions.get_mut(&id) else {
                return;
            };
            let Some(originator) = &mut session.originator else {
                return;
            };
            let Some(event) = originator.endpoint.poll_event() else {
                break;
            };
            let is_ours = |key| originator.message == Some(key);
            match event {
                EndpointEvent::Started(message) => {
                    if originator.message.is_some() || originator.decided {
                        // A CPM session carries one message.
                        originator
                            .endpoint
                            .refuse(message.key, Status::STOP_SENDING);
                        continue;
                    }
                    originator.message = Some(message.key);
                    if !is_cpim(&message.content_type) {
                        session.head_note = None;
                        session.reads_head = false;
                    }
                    self.begin(id, (*message).into());
                }
                EndpointEvent::Content(key, content) if is_ours(key) => {
                    // Before a recipient can have it, and answer.
                    session.note_head(&content);
                    session.fan_out.handle_content(now, content);
                }
                EndpointEvent::Complete(key, size) if is_ours(key) && !originator.decided => {
                    session.cell.total.store(size, Relaxed);
                    if session.storing == Storing::Writing {
                        session.fan_out.handle_last_content();
                        continue;
                    }
                    originator.decided = true;
                    session.fan_out.handle_complete(now);
                    self.events.session(id, MsrpEvent::MessageComplete);
                }
                EndpointEvent::Aborted(key) if is_ours(key) => self.fail_message(id),
                // The originator does not receive our empty SEND.
                EndpointEvent::Refused(_) | EndpointEvent::NoResponse
                    if originator.message.is_none() =>
                {
                    self.fail_message(id);
                }
                _ => {}
            }
        }
        // Its first chunk may not have given the size.
        let session = self.sessions.get(&id);
        let received = session.map_or(0, |session| session.fan_out.received());
        self.refuse_too_large(id, received);
        self.take_frames(id);
        self.after_fan_out(id);
        let session = self.sessions.get(&id);
        let at = session.and_then(|s| s.originator.as_ref()?.endpoint.poll_timeout());
        self.arm_session(id, at);
    }

    /// Responses to the originator go to its connection.
    pub(super) fn take_frames(&mut self, id: SessionId) {
        let session = self.sessions.get_mut(&id);
        let Some(originator) = session.and_then(|session| session.originator.as_mut()) else {
            return;
        };
        let Some(connection_id) = originator.endpoint.connection() else {
            return;
        };
        let Some(connection) = self.connections.get_mut(&connection_id) else {
            return;
        };
        let before = connection.frames.len();
        while let Some(frame) = originator.endpoint.poll_frame() {
            connection.frames.push_back(frame);
        }
        if connection.frames.len() > before {
            self.schedule(connection_id);
        }
    }

    pub(super) fn begin(&mut self, id: SessionId, message: OutgoingMessage) {
        let size = message.total;
        if let Some(session) = self.sessions.get_mut(&id) {
            session.fan_out.handle_started(message);
            session.begun = true;
            if let Some(size) = size {
                session.cell.total.store(size, Relaxed);
            }
        }
        self.events.session(id, MsrpEvent::MessageStarted { size });
        if self.budget.begin() {
            self.set_all_limits();
        }
        self.refuse_too_large(id, size.unwrap_or(0));
    }

    /// Reports the final event of an incomplete message, if it has not been reported.
    pub(super) fn fail_message(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id)
            && let Some(originator) = &mut session.originator
            && !session.fan_out.is_all_here()
            && !std::mem::replace(&mut originator.decided, true)
        {
            self.events.session(id, MsrpEvent::MessageFailed);
        }
    }

    /// RFC 4975 §8.6: no message to a recipient for which it is too large. It has at least this
    /// many bytes.
    fn refuse_too_large(&mut self, id: SessionId, size: u64) {
        let session = self.sessions.get_mut(&id);
        let Some(session) = session.filter(|session| size > session.least_max_size) else {
            return;
        };
        session.least_max_size = u64::MAX;
        for &leg in session.numbers.values() {
            match session.legs[leg.index()].max_size {
                Some(most) if size > most => session.fan_out.refuse_leg(leg, Status::STOP_SENDING),
                Some(most) => session.least_max_size = session.least_max_size.min(most),
                None => {}
            }
        }
    }

    /// Carries out the actions of the fan-out.
    pub(super) fn after_fan_out(&mut self, id: SessionId) {
        let mut dead = None;
        loop {
            let Some(session) = self.sessions.get_mut(&id) else {
                return;
            };
            let Some(action) = session.fan_out.poll_action() else {
                break;
            };
            match action {
                FanOutAction::Wake(leg) => self.wake(id, leg),
                FanOutAction::Spill { offset, pieces } => {
                    let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
                    if session.storing != Storing::Not {
                        self.write_to_store(id, offset, pieces, bytes as u64);
                        continue;
                    }
                    session.spooled += bytes as u64;
                    self.budget.spill(bytes as u64);
                    if let Some(spool) = &self.spool {
                        let job = SpoolJob::Write { offset, pieces };
                        spool.submit(id, &session.file, job);
                    }
                    self.grant(id);
                }
                FanOutAction::Fetch { offset, len } => {
                    let thread = match session.storing {
                        Storing::Not => self.spool.as_ref(),
                        _ => self.store.as_ref().map(|store| &store.thread),
                    };
                    if let Some(thread) = thread {
                        thread.submit(id, &session.file, SpoolJob::Read { offset, len });
                    }
                }
                FanOutAction::Written => self.name_content(id),
                FanOutAction::StopReading => {
                    session.reading = false;
                    self.grant(id);
                }
                FanOutAction::ReadAgain => {
                    session.reading = true;
                    if let Some(originator) = &mut session.originator {
                        originator.heard = self.now;
                        if let Some(connection) = originator.endpoint.connection() {
                            self.schedule(connection);
                        }
                    }
                }
                FanOutAction::HeldBack => self.note_held_back(id),
                FanOutAction::NoMoreLegs => self.events.session(id, MsrpEvent::NoMoreLegs),
                FanOutAction::LegEnded(leg, state) => {
                    let number = session.leg(leg).number;
                    if !std::mem::replace(&mut session.leg(leg).decided, true) {
                        let event = MsrpEvent::LegEnded(number, state);
                        self.events.session(id, event);
                    }
                    session.show(leg);
                    if state == DeliveryState::Failed(DeliveryFailure::Stalled) {
                        dead = session.fan_out.endpoint(leg).connection();
                    }
                }
            }
        }
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session
            .cell
            .received
            .store(session.fan_out.received(), Relaxed);
        let memory = session.fan_out.memory();
        let before = std::mem::replace(&mut session.counted, memory);
        self.budget.count_memory(before, memory);
        let at = session.fan_out.poll_timeout();
        self.arm_session(id, at);
        self.show_held_back(id);
        if memory < before {
            self.read_held_back(id);
        }
        // A chunk broke off in the middle: nothing can follow it on this connection.
        if let Some(connection) = dead {
            self.lose(connection);
        }
    }

    /// A leg may have something to write.
    pub(super) fn wake(&mut self, id: SessionId, leg: LegId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let Some(connection_id) = session.fan_out.endpoint(leg).connection() else {
            return;
        };
        let Some(connection) = self.connections.get_mut(&connection_id) else {
            return;
        };
        let speaker = Speaker { session: id, leg };
        if connection.speaker != Some(speaker) && !session.leg(leg).queued {
            session.leg(leg).queued = true;
            if connection.speaker.is_some() {
                session.fan_out.pause(leg);
            }
            connection.waiting.push_back(speaker);
        }
        self.schedule(connection_id);
    }

    pub(super) fn session_timeout(&mut self, id: SessionId) {
        let now = self.now;
        let idle = self.limits.sender_idle;
        let full = self.budget.is_full();
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.fan_out.handle_timeout(now);
        let mut idle_at = None;
        if let Some(originator) = &mut session.originator {
            originator.endpoint.handle_timeout(now);
            if !originator.decided {
                if !session.reading || full {
                    // It is we who keep it waiting.
                    originator.heard = now;
                }
                idle_at = Some(originator.heard + idle);
            }
        }
        if idle_at.is_some_and(|at| at <= now) {
            self.fail_message(id);
            idle_at = None;
        }
        self.arm_session(id, idle_at);
        self.after_originator(id);
        self.after_fan_out(id);
    }
}

fn is_cpim(content_type: &Bytes) -> bool {
    let (media_type, subtype) = cpim::CONTENT_TYPE;
    ContentType::parse(content_type.clone()).is_ok_and(|known| known.is(media_type, subtype))
}
