//! From the socket to the session: finding the session of a request, and handling its events.

use bytes::BytesMut;

use super::connection::{ConnectionStage, Filled, Route};
use super::core::Core;
use super::input::Input;
use crate::log::at;
use crate::msrp::{
    Event, FailureReport, Head, Kind, Path, Status, write_bad_request, write_response,
};
use crate::msrp_control::{MsrpEvent, RelayCommand, SessionId, Side};
use crate::msrp_session::{ConnectionId, Opener};

/// Blocks read before others get their turn.
const BLOCKS_AT_ONCE: usize = 4;
/// Maximum number of requests for unknown sessions on a connection without a session, before it is
/// closed.
const MAX_STRANGERS: u32 = 16;

impl Core {
    /// Does everything that a connection is ready for.
    pub(super) fn serve(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.queued = false;
        match &connection.stage {
            ConnectionStage::Connecting(_) => {
                if !connection.writable {
                    return;
                }
                match connection.is_connected() {
                    Ok(true) => connection.stage = ConnectionStage::Handshake,
                    Ok(false) => {
                        connection.writable = false;
                        return;
                    }
                    Err(error) => return self.connect_failed(id, &error),
                }
                self.shake_hands(id);
            }
            ConnectionStage::Handshake => self.shake_hands(id),
            ConnectionStage::Open => {
                self.read(id, BLOCKS_AT_ONCE);
                self.write(id);
            }
            ConnectionStage::Lingering { .. } => self.serve_lingering(id),
        }
    }

    /// Reads at most this many blocks, and handles their content.
    pub(super) fn read(&mut self, id: ConnectionId, blocks: usize) {
        for _ in 0..blocks {
            self.dispatch(id);
            if !self.may_read(id) {
                return self.look_at_unread(id);
            }
            let Some(connection) = self.connections.get_mut(&id) else {
                return;
            };
            let open = matches!(connection.stage, ConnectionStage::Open);
            if !open || !connection.readable || connection.held.is_some() {
                return;
            }
            let filled = connection.fill(&mut self.block);
            if matches!(filled, Ok(Filled::Some)) {
                self.dispatch(id);
            }
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.stow(&mut self.block);
            }
            match filled {
                Ok(Filled::Some) => {}
                Ok(Filled::Nothing) => return,
                Ok(Filled::End) => return self.ended(id),
                Err(_) => return self.lose(id),
            }
        }
        if self.connections.get(&id).is_some_and(|c| c.readable) {
            self.schedule(id);
        }
    }

    /// Handles all events of the bytes that have been read.
    pub(super) fn dispatch(&mut self, id: ConnectionId) {
        while let Some(connection) = self.connections.get_mut(&id) {
            if !matches!(connection.stage, ConnectionStage::Open) {
                return;
            }
            match connection.poll_event() {
                Ok(Some(event)) => {
                    self.handle_event(id, event);
                    if self.connections.get(&id).is_some_and(|c| c.held.is_some()) {
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    let line = format_args!("MSRP: a peer's connection is closed: {error}");
                    self.events.log_peer(at!(Notice), self.now, line);
                    return self.lose(id);
                }
            }
        }
    }

    fn handle_event(&mut self, id: ConnectionId, event: Event) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let route = match &event {
            Event::Head(head) => match self.find(id, Some(&head.to_path)) {
                Found::Nobody if self.is_announced(&head.to_path) => return self.hold(id, event),
                Found::Nobody => self.refuse(id, head, Status::NO_SUCH_SESSION),
                Found::End(session, side) => self.enter(id, session, side, head),
            },
            Event::Malformed(malformed) => match self.find(id, malformed.to_path.as_ref()) {
                Found::End(session, side) if self.is_bound(id, session, side) => {
                    self.route_to(session, side)
                }
                _ => {
                    let mut out = BytesMut::new();
                    write_bad_request(&mut out, malformed);
                    self.answer(id, out);
                    Route::Nowhere
                }
            },
            Event::Content(_) | Event::End(_) => connection.route,
        };
        let ends = matches!(event, Event::End(_));
        let next = if ends { Route::Nowhere } else { route };
        match self.connections.get_mut(&id) {
            Some(connection) => connection.route = next,
            None => return,
        }
        let now = self.now;
        match route {
            Route::Nowhere => {}
            Route::Originator(session_id) => {
                self.in_hand = Some(session_id);
                let session = self.sessions.get_mut(&session_id);
                if let Some(originator) = session.and_then(|s| s.originator.as_mut()) {
                    originator.heard = now;
                    originator.endpoint.handle_event(event);
                    self.after_originator(session_id);
                }
            }
            Route::Leg(session_id, leg) => {
                self.in_hand = Some(session_id);
                if let Some(session) = self.sessions.get_mut(&session_id) {
                    session.fan_out.handle_leg_event(now, leg, event);
                    session.show(leg);
                    self.after_fan_out(session_id);
                }
            }
        }
    }

    /// The owner of the first URI in a To-Path.
    fn find(&self, id: ConnectionId, to_path: Option<&Path>) -> Found {
        let Some(own) = to_path.map(Path::first) else {
            return Found::Nobody;
        };
        let secure = self.connections.get(&id).is_some_and(|c| c.is_secure());
        match self.uris.get(own.session_id()) {
            // An msrps URI must be used over TLS (RFC 4975 §14.1), and no other URI may be.
            Some(&(session, side)) if own.is_secure() == secure => Found::End(session, side),
            _ => Found::Nobody,
        }
    }

    /// Whether a waiting command will open the session that a To-Path names.
    fn is_announced(&mut self, to_path: &Path) -> bool {
        while let Some(input) = self.inputs.next() {
            self.backlog.push_back(input);
        }
        let name = to_path.first().session_id();
        self.backlog.iter().any(|input| match input {
            Input::Command(_, RelayCommand::OpenOriginator(ends))
            | Input::Command(_, RelayCommand::OpenLeg(_, ends)) => ends.own.session_id() == name,
            _ => false,
        })
    }

    /// Postpones an event until the commands are carried out.
    fn hold(&mut self, id: ConnectionId, event: Event) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.held = Some(event);
            self.schedule(id);
        }
    }

    /// A request or response for an end: binds the end to the connection if it is not bound yet
    /// (RFC 4975 §5.4).
    fn enter(&mut self, id: ConnectionId, session_id: SessionId, side: Side, head: &Head) -> Route {
        self.in_hand = Some(session_id);
        if self.is_bound(id, session_id, side) {
            return self.route_to(session_id, side);
        }
        if matches!(head.kind, Kind::Response(_)) {
            return Route::Nowhere;
        }
        let now = self.now;
        let (Some(connection), Some(session)) = (
            self.connections.get_mut(&id),
            self.sessions.get_mut(&session_id),
        ) else {
            return Route::Nowhere;
        };
        let ends = match side {
            Side::Originator => session.originator.as_ref().map(|o| &o.ends),
            Side::Leg(number) => {
                let leg = session.numbers.get(&number);
                leg.map(|leg| &session.legs[leg.index()].ends)
            }
        };
        let fingerprint = ends.and_then(|ends| ends.fingerprint.as_ref());
        if !connection.shows(fingerprint) {
            let line = format_args!(
                "MSRP: session {session_id}: a peer's certificate is not the one announced"
            );
            self.events.log_peer(at!(Notice), now, line);
            return self.refuse(id, head, Status::FORBIDDEN);
        }
        let (bound, event) = match side {
            Side::Originator => {
                let Some(originator) = &mut session.originator else {
                    return Route::Nowhere;
                };
                let bound = originator.endpoint.bind(id);
                if bound.is_ok() {
                    originator.ends.connection = Some(id);
                }
                (bound, MsrpEvent::SenderConnected)
            }
            Side::Leg(number) => {
                let Some(&leg) = session.numbers.get(&number) else {
                    return Route::Nowhere;
                };
                let bound = session.fan_out.handle_connected(now, leg, id, Opener::Peer);
                if bound.is_ok() {
                    session.leg(leg).ends.connection = Some(id);
                    session.show(leg);
                }
                (bound, MsrpEvent::LegConnected(number))
            }
        };
        if let Err(status) = bound {
            return self.refuse(id, head, status);
        }
        connection.bound.push((session_id, side));
        self.timers.disarm(&mut connection.timer);
        self.acceptor.unbound.remove(id);
        self.events.session(session_id, event);
        self.route_to(session_id, side)
    }

    fn is_bound(&self, id: ConnectionId, session: SessionId, side: Side) -> bool {
        let connection = self.connections.get(&id);
        connection.is_some_and(|connection| connection.bound.contains(&(session, side)))
    }

    fn route_to(&self, session_id: SessionId, side: Side) -> Route {
        match side {
            Side::Originator => Route::Originator(session_id),
            Side::Leg(number) => {
                let session = self.sessions.get(&session_id);
                match session.and_then(|session| session.numbers.get(&number)) {
                    Some(&leg) => Route::Leg(session_id, leg),
                    None => Route::Nowhere,
                }
            }
        }
    }

    /// Answers a request that belongs to no end.
    fn refuse(&mut self, id: ConnectionId, head: &Head, status: Status) -> Route {
        if head.failure_report != FailureReport::No {
            let mut out = BytesMut::new();
            write_response(&mut out, head, status);
            self.answer(id, out);
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.strangers += 1;
            if connection.bound.is_empty() && connection.strangers >= MAX_STRANGERS {
                self.acceptor.unbound.remove(id);
                self.linger(id);
            }
        }
        Route::Nowhere
    }

    fn answer(&mut self, id: ConnectionId, frame: BytesMut) {
        if let Some(connection) = self.connections.get_mut(&id)
            && !frame.is_empty()
        {
            connection.frames.push_back(frame.freeze());
            self.schedule(id);
        }
    }
}

enum Found {
    Nobody,
    End(SessionId, Side),
}
