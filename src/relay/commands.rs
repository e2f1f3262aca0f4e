//! Commands of the main thread, and results of other threads.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bytes::Bytes;

use super::core::Core;
use super::input::{Input, SpoolDone};
use super::session::{OriginatorEnd, PeerEnds, RelayLeg, RelaySession, Storing};
use super::spool::SpoolFile;
use super::timers::Timer;
use crate::cpim::CpimHead;
use crate::log::at;
use crate::msrp::Status;
use crate::msrp_control::{LegNumber, MsrpEnds, MsrpEvent, RelayCommand, SessionId, Side};
use crate::msrp_session::{
    Accepts, ConnectionId, DeliveryFailure, DeliveryState, Endpoint, EndpointConfig, FanOut,
    LegConfig,
};
use crate::random::fill_random;
use crate::sdp::{Role, Transport};
use crate::threads;

/// Blocks read at once when the main thread wants the final event.
const LAST_BLOCKS: usize = 64;

/// A message of at least this size leaves enough free memory behind to return to the system when no
/// session is left.
const LARGE_BYTES: u64 = 1024 * 1024;

impl Core {
    pub(super) fn handle_input(&mut self, input: Input) {
        match input {
            Input::Command(session, command) => {
                self.in_hand = Some(session);
                self.handle_command(session, command);
            }
            Input::Forget(session) => {
                self.in_hand = Some(session);
                self.forget(session);
            }
            Input::Spool(session, done) => {
                self.in_hand = Some(session);
                self.handle_spool(session, done);
            }
            Input::Resolved(session, side, addresses) => {
                self.in_hand = Some(session);
                self.open_connection(session, side, addresses);
            }
            Input::Handshake(connection, stepped) => self.handle_step(connection, stepped),
            Input::Certificate(Ok(tls)) => {
                self.events.certificate(tls.fingerprint());
                self.tls = Some(*tls);
            }
            Input::Certificate(Err(error)) => {
                let line = format_args!("the certificate stays as it was: {error}");
                self.events.log(at!(Error), line);
            }
            Input::Stop => self.stopping = true,
            #[cfg(test)]
            Input::Panic(session) => {
                self.in_hand = session;
                panic!("as a test wants it");
            }
            #[cfg(test)]
            Input::Slow(step) => self.handshakes.hand_out(ConnectionId(0), step),
            #[cfg(test)]
            Input::Timers(reply) => reply.send(self.timers.len()).unwrap(),
        }
    }

    fn handle_command(&mut self, session: SessionId, command: RelayCommand) {
        match command {
            RelayCommand::NoteHead(note) => {
                if !self.fallen.contains(&session) {
                    let session = self.session(session);
                    session.head_note = Some(note);
                    session.reads_head = true;
                }
            }
            RelayCommand::Store => self.store(session),
            RelayCommand::Kept => self.kept(session),
            RelayCommand::NotKept(bytes) => self.not_kept(session, bytes),
            RelayCommand::Restore(content) => self.restore(session, *content),
            RelayCommand::OpenOriginator(ends) => self.open_originator(session, *ends),
            RelayCommand::CloseOriginator => self.close_originator(session),
            RelayCommand::OpenLeg(number, ends) => self.open_leg(session, number, *ends),
            RelayCommand::CloseLeg(number) => self.close_leg(session, number),
            RelayCommand::NoMoreLegs => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.fan_out.no_more_legs();
                }
                self.after_fan_out(session);
            }
            RelayCommand::AbortMessage => {
                let now = self.now;
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.fan_out.handle_aborted(now);
                }
                self.after_fan_out(session);
            }
        }
    }

    pub(super) fn session(&mut self, id: SessionId) -> &mut RelaySession {
        let limits = self.budget.session_limits(0);
        self.sessions.entry(id).or_insert_with(|| RelaySession {
            originator: None,
            fan_out: FanOut::new(limits, fill_random),
            legs: Vec::new(),
            numbers: Default::default(),
            limits,
            head_note: None,
            head: CpimHead::default(),
            reads_head: false,
            storing: Storing::Not,
            stored: 0,
            stored_head: Bytes::new(),
            begun: false,
            shown_held_back: false,
            least_max_size: u64::MAX,
            reading: true,
            counted: 0,
            file: SpoolFile::default(),
            spooled: 0,
            timer: Timer::default(),
            cell: self.shared.open(id),
        })
    }

    fn open_originator(&mut self, id: SessionId, ends: MsrpEnds) {
        if self.fallen.contains(&id) {
            return self.events.session(id, MsrpEvent::MessageFailed);
        }
        let now = self.now;
        let connect_by = now + self.limits.connect;
        let config = EndpointConfig {
            own: ends.own.clone(),
            peer: ends.peer.clone(),
            accepts: Some(Accepts {
                types: ends.accept_types.clone(),
                max_size: ends.max_size,
            }),
            response_timeout: self.limits.response,
        };
        let session = self.session(id);
        let mut endpoint = Endpoint::new(config, fill_random);
        if session.storing == Storing::Writing {
            endpoint.hold_last_answer();
        }
        session.originator = Some(OriginatorEnd {
            endpoint,
            ends: PeerEnds::new(&ends, connect_by),
            message: None,
            decided: false,
            is_closing: false,
            heard: now,
        });
        let idle = now + self.limits.sender_idle;
        self.arm_session(id, Some(idle));
        self.bring_together(id, Side::Originator, &ends);
    }

    fn open_leg(&mut self, id: SessionId, number: LegNumber, ends: MsrpEnds) {
        let dropped = MsrpEvent::LegEnded(number, DeliveryState::Failed(DeliveryFailure::Dropped));
        if self.fallen.contains(&id) {
            return self.events.session(id, dropped);
        }
        let now = self.now;
        let connect_by = now + self.limits.connect;
        let config = LegConfig {
            endpoint: EndpointConfig {
                own: ends.own.clone(),
                peer: ends.peer.clone(),
                accepts: None,
                response_timeout: self.limits.response,
            },
            chunk_bytes: self.limits.chunk_bytes,
        };
        let session = self.session(id);
        let known = session.numbers.contains_key(&number);
        let added = (!known).then(|| session.fan_out.add_leg(now, config));
        let Some(leg) = added.flatten() else {
            return self.events.session(id, dropped);
        };
        let cell = session.cell.add_leg(number);
        session.numbers.insert(number, leg);
        session.legs.push(RelayLeg {
            number,
            ends: PeerEnds::new(&ends, connect_by),
            max_size: ends.max_size,
            decided: false,
            queued: false,
            cell,
        });
        let total = session.cell.total.load(Relaxed);
        let known = Some(total).filter(|&total| session.begun && total != u64::MAX);
        let size = known.unwrap_or(0).max(session.fan_out.received());
        let most = ends.max_size.unwrap_or(u64::MAX);
        session.least_max_size = session.least_max_size.min(most);
        if size > most {
            session.fan_out.refuse_leg(leg, Status::STOP_SENDING);
        }
        self.after_fan_out(id);
        if self.ends_of(id, Side::Leg(number)).is_some() {
            self.bring_together(id, Side::Leg(number), &ends);
        }
    }

    /// The ends of a session's side that has had no final event.
    pub(super) fn ends_of(&mut self, id: SessionId, side: Side) -> Option<&mut PeerEnds> {
        let session = self.sessions.get_mut(&id)?;
        match side {
            Side::Originator => {
                let originator = session.originator.as_mut()?;
                (!originator.decided).then_some(&mut originator.ends)
            }
            Side::Leg(number) => {
                let leg = *session.numbers.get(&number)?;
                let leg = session.leg(leg);
                (!leg.decided).then_some(&mut leg.ends)
            }
        }
    }

    /// Everything that it has sent and that has been answered counts; data that has arrived unread
    /// is read and answered now.
    fn close_originator(&mut self, id: SessionId) {
        let Some(originator) = self.sessions.get(&id).and_then(|s| s.originator.as_ref()) else {
            return;
        };
        let connection = originator.endpoint.connection();
        if let Some(connection) = connection.filter(|_| !originator.decided) {
            self.read_last(connection);
        }
        self.fail_message(id);
        let session = self.sessions.get_mut(&id);
        let originator = session.and_then(|session| session.originator.as_mut());
        match originator.filter(|originator| !originator.decided) {
            // Its last answer is still due.
            Some(originator) => originator.is_closing = true,
            None => self.unbind(id, Side::Originator),
        }
    }

    fn close_leg(&mut self, id: SessionId, number: LegNumber) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let Some(&leg) = session.numbers.get(&number) else {
            return;
        };
        let connection = session.fan_out.endpoint(leg).connection();
        if let Some(connection) = connection.filter(|_| !session.legs[leg.index()].decided) {
            // Its last responses may have arrived.
            self.read_last(connection);
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            session.fan_out.drop_leg(leg);
        }
        self.after_fan_out(id);
        self.unbind(id, Side::Leg(number));
    }

    fn read_last(&mut self, connection: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            // The event may not have been polled yet.
            connection.readable = true;
        }
        self.read(connection, LAST_BLOCKS);
    }

    fn handle_spool(&mut self, id: SessionId, done: SpoolDone) {
        let now = self.now;
        self.handle_stored(id, &done);
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let is_spool = session.storing == Storing::Not;
        match done {
            SpoolDone::Written => {
                session.fan_out.handle_spilled();
                if is_spool {
                    self.spool_works();
                }
            }
            SpoolDone::Read { offset, content } => {
                session.fan_out.handle_fetched(now, offset, content);
            }
            SpoolDone::NotWritten { why, .. } if !is_spool => self.not_stored(id, &why),
            SpoolDone::NotWritten { bytes, why } => {
                session.spooled -= bytes;
                self.budget.unspill(bytes);
                session.fan_out.handle_not_spilled(now);
                self.spool_refused(&why);
            }
            SpoolDone::NotRead { offset, why } => {
                session.fan_out.handle_not_fetched(now, offset);
                self.spool_unreadable(&why);
            }
            SpoolDone::Named | SpoolDone::NotNamed { .. } | SpoolDone::Removed => {}
        }
        self.after_fan_out(id);
    }

    fn forget(&mut self, id: SessionId) {
        self.fallen.remove(&id);
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let numbers: Vec<LegNumber> = session.numbers.keys().copied().collect();
        for number in numbers {
            let Some(session) = self.sessions.get_mut(&id) else {
                return;
            };
            if let Some(&leg) = session.numbers.get(&number) {
                session.fan_out.drop_leg(leg);
            }
            self.unbind(id, Side::Leg(number));
        }
        self.unbind(id, Side::Originator);
        self.drop_session(id);
    }

    /// Removes all of a session except its connections.
    pub(super) fn drop_session(&mut self, id: SessionId) {
        let Some(mut session) = self.sessions.remove(&id) else {
            return;
        };
        self.timers.disarm(&mut session.timer);
        let ends = session.legs.iter().map(|leg| &leg.ends);
        for ends in ends.chain(session.originator.as_ref().map(|o| &o.ends)) {
            self.uris.remove(&ends.uri);
        }
        self.shared.close(id);
        self.give_back(&session);
        self.leave_store(&session);
        self.senders_held_back -= usize::from(session.shown_held_back);
        let was_large = session.fan_out.received() >= LARGE_BYTES;
        drop(session);
        if was_large && self.sessions.is_empty() {
            threads::trim_memory();
        }
    }
}

impl PeerEnds {
    fn new(ends: &MsrpEnds, connect_by: Instant) -> Self {
        Self {
            uri: ends.own.session_id().to_owned(),
            active: ends.role == Role::Active,
            secure: ends.transport == Transport::Tls,
            host: ends.host.clone(),
            fingerprint: ends.fingerprint.clone(),
            connection: None,
            connect_by,
        }
    }
}
