//! Connections that we open: choice of address, and setup until MSRP can be sent.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;

use super::connection::{Connection, ConnectionStage, Security, Shaken};
use super::core::Core;
use super::tls::{Step, Stepped};
use crate::log::at;
use crate::msrp_control::{MsrpEnds, MsrpEvent, SessionId, Side};
use crate::msrp_session::{ConnectionId, Opener};
use crate::names::{Target, Wanted};
use crate::sdp::Role;

impl Core {
    /// Waits for the peer to connect, or connects to it.
    pub(super) fn bring_together(&mut self, id: SessionId, side: Side, ends: &MsrpEnds) {
        let uri = ends.own.session_id().to_owned();
        self.uris.insert(uri, (id, side));
        if ends.role == Role::Passive {
            return;
        }
        match ends.host.parse::<IpAddr>() {
            Ok(address) => {
                self.open_connection(id, side, vec![SocketAddr::new(address, ends.port)]);
            }
            // The result arrives as an input, whether an address was found or not.
            Err(_) => match Target::new(&ends.host, Some(ends.port), Wanted::Host) {
                Some(target) => self.names.ask(target, (id, side)),
                None => self.open_connection(id, side, Vec::new()),
            },
        }
    }

    /// Connects to the first of these addresses; the others are tried if that fails.
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
            let security = match (secure, &self.tls) {
                (false, _) => Security::Clear,
                (true, Some(tls)) => {
                    let beginning = tls.begin(&host, fingerprint.as_ref());
                    Security::Stepping(Some(Step::Begin(beginning)))
                }
                (true, None) => {
                    why = io::Error::other("TLS is not set up");
                    break;
                }
            };
            addresses.reverse();
            let stage = ConnectionStage::Connecting(addresses);
            let mut connection = Connection::new(stream, security, stage);
            connection.opened_for = Some((id, side));
            let connection = self.keep(connection, deadline);
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

    pub(super) fn shake_hands(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        match connection.shake_hands() {
            Ok(Shaken::Later) => {}
            Ok(Shaken::Step) => {
                self.handshakes.want(id);
                self.hand_out_steps();
            }
            Ok(Shaken::Done) => {
                let ours = connection.opened_for.is_some();
                connection.stage = ConnectionStage::Open;
                if ours {
                    self.connected(id);
                }
                self.schedule(id);
            }
            Err(error) => self.handshake_failed(id, &error),
        }
    }

    /// A handshake thread has taken a step of this connection, which may be gone.
    pub(super) fn handle_step(&mut self, id: ConnectionId, stepped: Stepped) {
        self.handshakes.note_result();
        self.hand_out_steps();
        let connection = self.connections.get_mut(&id);
        match connection.map(|connection| connection.handle_step(stepped)) {
            None => {}
            Some(Ok(())) => self.shake_hands(id),
            Some(Err(error)) => self.handshake_failed(id, &error),
        }
    }

    fn hand_out_steps(&mut self) {
        while let Some(id) = self.handshakes.next() {
            let connection = self.connections.get_mut(&id);
            if let Some(step) = connection.and_then(Connection::next_step) {
                self.handshakes.hand_out(id, step);
            }
        }
    }

    fn handshake_failed(&mut self, id: ConnectionId, why: &io::Error) {
        let connection = self.connections.get(&id);
        if connection.is_some_and(|connection| connection.opened_for.is_some()) {
            return self.connect_failed(id, why);
        }
        let line = format_args!("MSRP: TLS with a peer failed: {why}");
        self.events.log_peer(at!(Notice), self.now, line);
        self.lose(id);
    }

    /// A connection that we opened could not be established.
    pub(super) fn connect_failed(&mut self, id: ConnectionId, why: &io::Error) {
        let Some(connection) = self.remove(id) else {
            return;
        };
        let Some((session, side)) = connection.opened_for else {
            return;
        };
        let now = self.now;
        let left = match connection.stage {
            ConnectionStage::Connecting(left) => left,
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

    pub(super) fn unreachable(&mut self, id: SessionId, side: Side, why: &io::Error) {
        let line = format_args!("MSRP: session {id}: cannot connect to a peer: {why}");
        self.events.log_peer(at!(Notice), self.now, line);
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

    /// TCP, and TLS if needed, are established on a connection that we opened.
    pub(super) fn connected(&mut self, connection_id: ConnectionId) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(&connection_id) else {
            return;
        };
        connection.stage = ConnectionStage::Open;
        self.timers.disarm(&mut connection.timer);
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
                // RFC 4975 §5.4: the side that connects sends first.
                originator.endpoint.send_empty(now);
                MsrpEvent::SenderConnected
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
                MsrpEvent::LegConnected(number)
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
}
