//! What the main thread asks for, and what other threads bring.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use mio::net::TcpStream;

use super::SessionEvent;
use super::connection::{Connection, Speaker, Stage};
use super::core::Core;
use super::input::{Input, SpoolDone};
use super::session::{Originator, PeerEnds, RelayLeg, RelaySession};
use super::spool::SpoolFile;
use crate::controlling::LogLevel;
use crate::controlling::large_message_mode::{LegNumber, MsrpEnds, RelayCommand, SessionId, Side};
use crate::sdp::{Role, Transport};
use crate::session::{
    Accepts, ConnectionId, Endpoint, EndpointConfig, FanOut, LegConfig, LegFailure, LegState,
    Opener,
};

/// Blocks that are read at once when the main thread wants to hear the last word.
const LAST_BLOCKS: usize = 64;

/// A source that keys and names are made from. Without randomness there is nothing to be done safely.
fn random(bytes: &mut [u8]) {
    if getrandom::fill(bytes).is_err() {
        panic!("no random numbers");
    }
}

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
            Input::Stop => self.stopping = true,
            #[cfg(test)]
            Input::Panic(session) => {
                self.in_hand = session;
                panic!("as a test wants it");
            }
        }
    }

    fn handle_command(&mut self, session: SessionId, command: RelayCommand) {
        match command {
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

    fn session(&mut self, id: SessionId) -> &mut RelaySession {
        let limits = self.session_limits(0);
        self.sessions.entry(id).or_insert_with(|| RelaySession {
            originator: None,
            fan_out: FanOut::new(limits, random),
            legs: Vec::new(),
            numbers: Default::default(),
            limits,
            begun: false,
            reading: true,
            counted: 0,
            file: SpoolFile::default(),
            spooled: 0,
            timer: None,
            cell: self.shared.open(id),
        })
    }

    fn open_originator(&mut self, id: SessionId, ends: MsrpEnds) {
        if self.fallen.contains(&id) {
            return self.events.session(id, SessionEvent::MessageFailed);
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
        session.originator = Some(Originator {
            endpoint: Endpoint::new(config, random),
            ends: PeerEnds::new(&ends, connect_by),
            message: None,
            decided: false,
            heard: now,
        });
        let idle = now + self.limits.sender_idle;
        self.arm_session(id, Some(idle));
        self.bring_together(id, Side::Originator, &ends);
    }

    fn open_leg(&mut self, id: SessionId, number: LegNumber, ends: MsrpEnds) {
        let dropped = SessionEvent::LegEnded(number, LegState::Failed(LegFailure::Dropped));
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
        let size = session.begun.then_some(total).filter(|&t| t != u64::MAX);
        self.refuse_too_large(id, size);
        self.after_fan_out(id);
        if self.ends_of(id, Side::Leg(number)).is_some() {
            self.bring_together(id, Side::Leg(number), &ends);
        }
    }

    /// Waits for the peer, or goes to it.
    fn bring_together(&mut self, id: SessionId, side: Side, ends: &MsrpEnds) {
        let uri = ends.own.session_id().to_owned();
        self.uris.insert(uri, (id, side));
        if ends.role == Role::Passive {
            return;
        }
        match ends.host.parse::<IpAddr>() {
            Ok(address) => {
                self.open_connection(id, side, vec![SocketAddr::new(address, ends.port)]);
            }
            Err(_) => {
                if !self.resolver.submit(id, side, &ends.host, ends.port) {
                    self.open_connection(id, side, Vec::new());
                }
            }
        }
    }

    /// The ends of a session's side that is not decided yet.
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

    /// Connects to the first of these addresses; the others are for when that fails.
    pub(super) fn open_connection(
        &mut self,
        id: SessionId,
        side: Side,
        mut addresses: Vec<SocketAddr>,
    ) {
        let now = self.now;
        let Some(ends) = self.ends_of(id, side) else {
            return;
        };
        if ends.connection.is_some() {
            return;
        }
        let secure = ends.secure;
        // An address that does not answer leaves time for the others.
        let time_left = ends.connect_by.saturating_duration_since(now);
        let deadline = now + time_left / addresses.len().max(1) as u32;
        let (host, fingerprint) = (ends.host.clone(), ends.fingerprint.clone());
        addresses.reverse();
        let mut why = io::Error::from(io::ErrorKind::AddrNotAvailable);
        if self.connections.len() >= self.limits.max_connections {
            addresses.clear();
            why = io::Error::other("too many connections");
        }
        while let Some(address) = addresses.pop() {
            let stream = match TcpStream::connect(address) {
                Ok(stream) => stream,
                Err(error) => {
                    why = error;
                    continue;
                }
            };
            let tls = match (secure, &self.tls) {
                (false, _) => Ok(None),
                (true, Some(tls)) => tls.connect(&host, fingerprint.as_ref()).map(Some),
                (true, None) => Err(rustls::Error::General("TLS is not set up".to_owned())),
            };
            let tls = match tls {
                Ok(tls) => tls,
                Err(error) => {
                    why = io::Error::other(error);
                    break;
                }
            };
            addresses.reverse();
            let stage = Stage::Connecting(addresses);
            let mut connection = Connection::new(stream, tls, stage, deadline);
            connection.opened_for = Some((id, side));
            let connection = self.keep(connection);
            if let Some(ends) = self.ends_of(id, side) {
                ends.connection = connection;
            }
            match connection {
                Some(_) => return,
                None => break,
            }
        }
        self.unreachable(id, side, &why);
    }

    /// A connection that we opened has not come about.
    pub(super) fn connect_failed(&mut self, id: ConnectionId, why: &io::Error) {
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        let Some((session, side)) = connection.opened_for else {
            return;
        };
        let now = self.now;
        let left = match connection.stage {
            Stage::Connecting(left) => left,
            _ => Vec::new(),
        };
        let Some(ends) = self.ends_of(session, side) else {
            return;
        };
        if ends.connection != Some(id) {
            return;
        }
        ends.connection = None;
        match left.is_empty() || ends.connect_by <= now {
            true => self.unreachable(session, side, why),
            false => self.open_connection(session, side, left),
        }
    }

    fn unreachable(&mut self, id: SessionId, side: Side, why: &io::Error) {
        let line = format_args!("MSRP: session {id}: cannot connect to a peer: {why}");
        self.events.log_peer(self.now, line);
        match side {
            Side::Originator => self.fail_message(id),
            Side::Leg(number) => {
                if let Some(session) = self.sessions.get_mut(&id)
                    && let Some(&leg) = session.numbers.get(&number)
                {
                    session.fan_out.handle_disconnected(leg);
                }
                self.after_fan_out(id);
            }
        }
    }

    /// TCP, and TLS if need be, are there on a connection that we opened.
    pub(super) fn connected(&mut self, connection_id: ConnectionId) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(&connection_id) else {
            return;
        };
        connection.stage = Stage::Open;
        connection.deadline = None;
        let Some((id, side)) = connection.opened_for.take() else {
            return;
        };
        self.in_hand = Some(id);
        if self.ends_of(id, side).is_none() {
            return self.lose(connection_id);
        }
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let event = match side {
            Side::Originator => {
                let Some(originator) = &mut session.originator else {
                    return;
                };
                originator.heard = now;
                if originator.endpoint.bind(connection_id).is_err() {
                    return self.lose(connection_id);
                }
                // RFC 4975 §5.4: who connects sends first.
                originator.endpoint.send_empty(now);
                SessionEvent::SenderConnected
            }
            Side::Leg(number) => {
                let Some(&leg) = session.numbers.get(&number) else {
                    return;
                };
                let fan_out = &mut session.fan_out;
                let bound = fan_out.handle_connected(now, leg, connection_id, Opener::Us);
                if bound.is_err() {
                    return self.lose(connection_id);
                }
                session.show(leg);
                SessionEvent::LegConnected(number)
            }
        };
        if let Some(connection) = self.connections.get_mut(&connection_id) {
            connection.bound.push((id, side));
        }
        self.events.session(id, event);
        match side {
            Side::Originator => self.after_originator(id),
            Side::Leg(_) => self.after_fan_out(id),
        }
    }

    /// What he has sent and had answered counts, and what has come without having been read: it is read and answered now.
    fn close_originator(&mut self, id: SessionId) {
        let Some(originator) = self.sessions.get(&id).and_then(|s| s.originator.as_ref()) else {
            return;
        };
        let connection = originator.endpoint.connection();
        if let Some(connection) = connection.filter(|_| !originator.decided) {
            self.read_last(connection);
        }
        self.fail_message(id);
        self.unbind(id, Side::Originator);
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
            // His last responses may be here.
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
            // The event may still be on its way to us.
            connection.readable = true;
        }
        self.read(connection, LAST_BLOCKS);
    }

    /// The last word on a message that is not complete, if there has been none.
    pub(super) fn fail_message(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id)
            && let Some(originator) = &mut session.originator
            && !std::mem::replace(&mut originator.decided, true)
        {
            self.events.session(id, SessionEvent::MessageFailed);
        }
    }

    /// An end of a session needs its connection no more. What is lined up on it is written.
    fn unbind(&mut self, id: SessionId, side: Side) {
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

    /// Nobody needs this connection any more. The peer gets the time to read what was written to it.
    pub(super) fn linger(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.stage = Stage::Lingering { shut: false };
            let at = self.now + self.limits.linger;
            self.set_deadline(id, at);
            self.schedule(id);
        }
    }

    /// A connection is gone, or is to be gone at once.
    pub(super) fn lose(&mut self, connection_id: ConnectionId) {
        let Some(connection) = self.connections.remove(&connection_id) else {
            return;
        };
        self.unbound.remove(&connection_id);
        if let Some((session, side)) = connection.opened_for
            && let Some(ends) = self.ends_of(session, side)
            && ends.connection == Some(connection_id)
        {
            ends.connection = None;
        }
        self.disconnect_all(connection_id, &connection.bound);
    }

    /// Tells the ends that were bound to a connection that it is gone.
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
                    // Before the message he may come back, if it is for him to come. In its midst, nothing in RFC 4975
                    // would take it up again.
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

    fn handle_spool(&mut self, id: SessionId, done: SpoolDone) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        match done {
            SpoolDone::Written => session.fan_out.handle_spilled(),
            SpoolDone::Read { offset, content } => {
                session.fan_out.handle_fetched(now, offset, content);
            }
            SpoolDone::Failed(why) => {
                session.fan_out.handle_spool_failed(now);
                let line = format_args!("MSRP: session {id}: the spool file is lost: {why}");
                self.events.log(LogLevel::Error, line);
            }
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

    /// Takes a session out of everything but its connections.
    pub(super) fn drop_session(&mut self, id: SessionId) {
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        let ends = session.legs.iter().map(|leg| &leg.ends);
        for ends in ends.chain(session.originator.as_ref().map(|o| &o.ends)) {
            self.uris.remove(&ends.uri);
        }
        self.shared.close(id);
        self.give_back(&session);
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
