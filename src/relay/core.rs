//! The relay thread: its state, its loop, and containment of panics.

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::accepting::{ACCEPT_PAUSE, Accepted, Acceptor};
use super::budget::Budget;
use super::connection::{Connection, ConnectionStage, Security};
use super::events::EventSender;
use super::handshakes::Handshakes;
use super::id_map::{IdMap, IdSet};
use super::input::{Input, InputReceiver};
use super::outage::Outage;
use super::progress::Shared;
use super::session::RelaySession;
use super::settings::RelayLimits;
use super::spool::{ContentStore, Spool};
use super::timers::{TimerKey, Timers};
use super::tls::Tls;
use crate::log::at;
use crate::msrp_control::{MsrpEvent, SessionId, Side};
use crate::msrp_session::{ConnectionId, DeliveryFailure, DeliveryState};
use crate::names::NameThread;
use crate::sdp::Transport;

/// Wakes the thread for its inputs.
pub(super) const WAKER: Token = Token(0);
/// Maximum number of events per wait.
const EVENTS: usize = 1024;
/// Connections accepted at once, so that established ones get their turn.
const ACCEPTS: usize = 64;
/// Inputs handled at once, for the same reason.
const INPUTS_AT_ONCE: usize = 64;
/// Passes over the run queue before the sockets are polled again.
const ROUNDS: usize = 2;

pub(super) struct Core {
    pub(super) poll: Poll,
    pub(super) inputs: InputReceiver,
    /// Inputs taken from the queue while searching for a session, not carried out yet.
    pub(super) backlog: VecDeque<Input>,
    pub(super) acceptor: Acceptor,
    pub(super) tls: Option<Tls>,
    pub(super) handshakes: Handshakes,
    pub(super) limits: RelayLimits,
    pub(super) sessions: IdMap<SessionId, RelaySession>,
    /// Ends by the session-id of our URI.
    pub(super) uris: HashMap<String, (SessionId, Side)>,
    /// Sessions torn down after a panic; input for them is ignored until they are forgotten.
    pub(super) fallen: IdSet<SessionId>,
    pub(super) connections: IdMap<ConnectionId, Connection>,
    /// Connections read into this.
    pub(super) block: BytesMut,
    /// Connections with work to do.
    pub(super) run_queue: VecDeque<ConnectionId>,
    pub(super) timers: Timers,
    pub(super) events: EventSender,
    pub(super) shared: Arc<Shared>,
    pub(super) spool: Option<Spool>,
    pub(super) store: Option<ContentStore>,
    pub(super) names: NameThread<(SessionId, Side)>,
    pub(super) budget: Budget,
    /// Sessions whose originator is held back, for any reason.
    pub(super) senders_held_back: usize,
    pub(super) spool_outage: Outage,
    /// The time of this iteration.
    pub(super) now: Instant,
    /// The session being served; a panic tears down only this one.
    pub(super) in_hand: Option<SessionId>,
    pub(super) stopping: bool,
}

impl Core {
    /// The thread's main function. Whatever fails inside, it continues until it is stopped.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        while !self.stopping {
            let idle =
                self.run_queue.is_empty() && self.backlog.is_empty() && !self.acceptor.is_due();
            let timeout = if idle {
                self.timers
                    .next()
                    .map(|at| at.saturating_duration_since(Instant::now()))
            } else {
                Some(Duration::ZERO)
            };
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != ErrorKind::Interrupted
            {
                let line = format_args!("MSRP relay cannot poll its sockets: {error}");
                self.events.log(at!(Critical), line);
                let all: Vec<SessionId> = self.sessions.keys().copied().collect();
                for session in all {
                    self.fall(session);
                }
                break;
            }
            self.now = Instant::now();
            self.guard(Self::take_inputs);
            for event in &events {
                self.note(event);
            }
            self.guard(Self::accept_all);
            while let Some(key) = self.timers.pop(self.now) {
                self.guard(|core| core.handle_timer(key));
            }
            // Data that one connection brought is written to others before the next wait.
            for _ in 0..ROUNDS {
                for _ in 0..self.run_queue.len() {
                    let Some(id) = self.run_queue.pop_front() else {
                        break;
                    };
                    self.guard(|core| core.serve(id));
                }
            }
            self.show_totals();
            self.events.flush();
        }
        self.guard(Self::hang_up_all);
        self.show_totals();
        self.events.flush();
    }

    /// Does one piece of work, and confines a panic to the session concerned.
    fn guard(&mut self, work: impl FnOnce(&mut Self)) {
        self.in_hand = None;
        // Any inconsistent state belongs to the session in hand, which is dropped completely, or to
        // no particular session, and then all are dropped.
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_ok() {
            return;
        }
        let fallen: Vec<SessionId> = match self.in_hand.take() {
            Some(session) => vec![session],
            None => self.sessions.keys().copied().collect(),
        };
        let line = format_args!(
            "MSRP relay: internal error: {} session(s) closed",
            fallen.len()
        );
        self.events.log(at!(Critical), line);
        for session in fallen {
            self.fall(session);
        }
        // All connections are scheduled again.
        let all: Vec<ConnectionId> = self.connections.keys().copied().collect();
        self.run_queue.clear();
        for id in all {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.queued = false;
            }
            self.schedule(id);
        }
    }

    /// Ends a session after a panic: its state is not to be trusted, but the final events that are
    /// due are known.
    fn fall(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        if session.originator.as_ref().is_some_and(|o| !o.decided) {
            self.events.session(id, MsrpEvent::MessageFailed);
        }
        for leg in session.legs.iter().filter(|leg| !leg.decided) {
            let state = DeliveryState::Failed(DeliveryFailure::Dropped);
            self.events
                .session(id, MsrpEvent::LegEnded(leg.number, state));
        }
        let of_session = |connection: &Connection| {
            let bound = connection.bound.iter().any(|(session, _)| *session == id);
            bound || connection.opened_for.is_some_and(|(s, _)| s == id)
        };
        let connections = self.connections.iter();
        let connections = connections.filter(|(_, connection)| of_session(connection));
        let connections: Vec<ConnectionId> = connections.map(|(id, _)| *id).collect();
        self.drop_session(id);
        self.fallen.insert(id);
        for connection in connections {
            self.lose(connection);
        }
    }

    pub(super) fn take_inputs(&mut self) {
        self.inputs.rearm();
        for _ in 0..INPUTS_AT_ONCE {
            let input = match self.backlog.pop_front() {
                Some(input) => Some(input),
                None => self.inputs.next(),
            };
            let Some(input) = input else { return };
            self.guard(|core| core.handle_input(input));
        }
        // The thread must not fall asleep over what may be left.
        if let Some(input) = self.inputs.next() {
            self.backlog.push_back(input);
        }
    }

    fn note(&mut self, event: &mio::event::Event) {
        let Token(token) = event.token();
        if token == WAKER.0 {
            return;
        }
        if self.acceptor.note(event.token()) {
            return;
        }
        let id = ConnectionId(token as u64);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.readable |= event.is_readable() || event.is_error();
            connection.read_closed |= event.is_read_closed() || event.is_error();
            connection.writable |= event.is_writable() || event.is_error();
            self.schedule(id);
        }
    }

    pub(super) fn schedule(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id)
            && !std::mem::replace(&mut connection.queued, true)
        {
            self.run_queue.push_back(id);
        }
    }

    fn accept_all(&mut self) {
        if !self.acceptor.is_due() {
            return;
        }
        for listener in 0..self.acceptor.listeners() {
            for _ in 0..ACCEPTS {
                match self.acceptor.accept(listener) {
                    Ok(Accepted::Connection(stream, peer, transport)) => {
                        self.take_in(stream, peer, transport);
                    }
                    Ok(Accepted::Gone) => {}
                    Ok(Accepted::Nobody) => break,
                    Err(error) => {
                        let line = format_args!("MSRP: cannot accept connections: {error}");
                        self.events.log_peer(at!(Notice), self.now, line);
                        let at = self.now + ACCEPT_PAUSE;
                        self.timers
                            .arm(TimerKey::Accept, &mut self.acceptor.pause, at);
                        return;
                    }
                }
            }
        }
    }

    fn take_in(&mut self, stream: TcpStream, peer: IpAddr, transport: Transport) {
        if self.connections.len() >= self.limits.max_connections {
            let line = format_args!("MSRP: connection refused: too many connections");
            return self.events.log_peer(at!(Notice), self.now, line);
        }
        if let Some(oldest) = self.acceptor.unbound.in_the_way_of(peer) {
            let line = format_args!("MSRP: too many connections without session, one closed");
            self.events.log_peer(at!(Notice), self.now, line);
            self.lose(oldest);
        }
        let security = match (transport, &self.tls) {
            (Transport::Tcp, _) => Security::Clear,
            (Transport::Tls, Some(tls)) => match tls.accept() {
                Ok(tls) => Security::Tls(Box::new(tls)),
                Err(error) => {
                    let line = format_args!("MSRP: no TLS for a connection: {error}");
                    return self.events.log_peer(at!(Notice), self.now, line);
                }
            },
            // `Listeners::bind` has checked that there is a certificate.
            (Transport::Tls, None) => return,
        };
        let stage = match transport {
            Transport::Tls => ConnectionStage::Handshake,
            Transport::Tcp => ConnectionStage::Open,
        };
        let deadline = self.now + self.limits.unbound;
        let connection = Connection::new(stream, security, stage);
        if let Some(id) = self.keep(connection, deadline) {
            self.acceptor.unbound.insert(id, peer);
        }
    }

    /// Registers a connection for polling. Its stage must change by `deadline`.
    pub(super) fn keep(
        &mut self,
        mut connection: Connection,
        deadline: Instant,
    ) -> Option<ConnectionId> {
        let id = self.acceptor.next_connection();
        let token = Token(id.0 as usize);
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        if let Err(error) = registry.register(connection.stream(), token, both) {
            let line = format_args!("MSRP: cannot poll a connection: {error}");
            self.events.log(at!(Error), line);
            return None;
        }
        self.acceptor.use_up();
        self.connections.insert(id, connection);
        self.set_deadline(id, deadline);
        Some(id)
    }

    /// Removes a connection from polling.
    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let mut connection = self.connections.remove(&id)?;
        self.timers.disarm(&mut connection.timer);
        self.handshakes.forget(id);
        Some(connection)
    }

    /// Sets the deadline of a connection's stage.
    pub(super) fn set_deadline(&mut self, id: ConnectionId, at: Instant) {
        if let Some(connection) = self.connections.get_mut(&id) {
            self.timers.disarm(&mut connection.timer);
            let key = TimerKey::Connection(id);
            self.timers.arm(key, &mut connection.timer, at);
        }
    }

    pub(super) fn arm_session(&mut self, id: SessionId, at: Option<Instant>) {
        if let (Some(session), Some(at)) = (self.sessions.get_mut(&id), at) {
            let key = TimerKey::Session(id);
            self.timers.arm(key, &mut session.timer, at);
        }
    }

    fn handle_timer(&mut self, key: TimerKey) {
        match key {
            TimerKey::Accept => self.timers.disarm(&mut self.acceptor.pause),
            TimerKey::Session(id) => {
                let Some(session) = self.sessions.get_mut(&id) else {
                    return;
                };
                self.timers.disarm(&mut session.timer);
                self.in_hand = Some(id);
                self.session_timeout(id);
            }
            TimerKey::Connection(id) => {
                let Some(connection) = self.connections.get_mut(&id) else {
                    return;
                };
                self.timers.disarm(&mut connection.timer);
                self.connection_timeout(id);
            }
        }
    }

    fn connection_timeout(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        match connection.stage {
            ConnectionStage::Connecting(_) | ConnectionStage::Handshake
                if connection.opened_for.is_some() =>
            {
                self.connect_failed(id, &ErrorKind::TimedOut.into());
            }
            ConnectionStage::Open if !connection.bound.is_empty() => {}
            _ => self.lose(id),
        }
    }

    fn show_totals(&mut self) {
        let totals = &self.shared.totals;
        totals.sessions.store(self.sessions.len(), Relaxed);
        totals.connections.store(self.connections.len(), Relaxed);
        totals.unbound.store(self.acceptor.unbound.len(), Relaxed);
        totals.memory_bytes.store(self.budget.memory(), Relaxed);
        totals.spool_bytes.store(self.budget.spooled(), Relaxed);
        totals.held_back.store(self.senders_held_back, Relaxed);
    }

    /// The relay is being stopped: queued output is tried once, then all connections are closed.
    fn hang_up_all(&mut self) {
        let all: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in all {
            if let Some(mut connection) = self.connections.remove(&id)
                && matches!(
                    connection.stage,
                    ConnectionStage::Open | ConnectionStage::Lingering { .. }
                )
            {
                if connection.speaker.is_none() {
                    let _ = connection.write_frames();
                }
                let _ = connection.shut();
            }
        }
        self.acceptor.unbound.clear();
        let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in sessions {
            self.drop_session(id);
        }
    }
}
