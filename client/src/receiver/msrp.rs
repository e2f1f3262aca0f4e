//! MSRP input, and the session it belongs to.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use cpm_wire::msrp::{MsrpUri, Status};
use cpm_wire::msrp_session::{ConnectionId, EndpointEvent};

use super::msrp_connection::MsrpConnection;
use super::{Received, Receiver, ReceiverEvent, ReceiverOutput};
use crate::body::{CONTENT_ENCODING, history_of, is_encoding};
use crate::stored::StoredMessage;

impl Receiver {
    /// A connection was accepted; its number is below 2^63.
    pub fn handle_msrp_accepted(&mut self, connection: ConnectionId) {
        self.connections.push(MsrpConnection::new(connection));
    }

    /// A requested connection is open.
    pub fn handle_msrp_connected(&mut self, now: Instant, connection: ConnectionId) {
        self.connections.push(MsrpConnection::new(connection));
        let mut sessions = self.sessions.iter_mut();
        if let Some(session) = sessions.find(|s| s.endpoint.connection() == Some(connection)) {
            session.endpoint.send_empty(now);
        }
    }

    /// Bytes have arrived over a connection.
    pub fn handle_msrp_bytes(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        input: &mut BytesMut,
    ) {
        let Some(index) = self.connections.iter().position(|one| one.id == connection) else {
            return input.clear();
        };
        loop {
            let sessions = &mut self.sessions;
            let find = |uri: &MsrpUri| {
                let session = sessions.iter_mut().find(|s| s.endpoint.own_uri() == uri);
                session
                    .ok_or(Status::NO_SUCH_SESSION)?
                    .endpoint
                    .bind(connection)
            };
            match self.connections[index].poll_event(input, find) {
                Ok(Some((uri, event))) => {
                    let mut sessions = self.sessions.iter_mut();
                    if let Some(session) = sessions.find(|s| *s.endpoint.own_uri() == uri) {
                        session.endpoint.handle_event(event);
                        let number = session.number;
                        self.look_at_endpoint(number);
                    }
                }
                Ok(None) => return,
                Err(_) => {
                    self.output.push_back(ReceiverOutput::CloseMsrp(connection));
                    return self.handle_msrp_closed(now, connection);
                }
            }
        }
    }

    /// A connection was lost, or could not be opened.
    pub fn handle_msrp_closed(&mut self, _now: Instant, connection: ConnectionId) {
        self.connections.retain(|one| one.id != connection);
        for session in &mut self.sessions {
            if session.endpoint.connection() == Some(connection) {
                session.endpoint.handle_disconnected();
            }
        }
    }

    /// Whether not to read from this connection for now, because its peer does not read either.
    pub fn is_congested(&self, connection: ConnectionId) -> bool {
        let mut bound = self
            .sessions
            .iter()
            .filter(|s| s.endpoint.connection() == Some(connection));
        let mut connections = self.connections.iter().filter(|one| one.id == connection);
        bound.any(|session| session.endpoint.is_congested())
            || connections.any(MsrpConnection::is_congested)
    }

    /// The next bytes for a connection; call it while the connection has space.
    pub fn poll_msrp(&mut self, connection: ConnectionId) -> Option<Bytes> {
        let own = self
            .connections
            .iter_mut()
            .find(|one| one.id == connection)?;
        own.poll_frame().or_else(|| {
            let mut sessions = self.sessions.iter_mut();
            sessions
                .by_ref()
                .filter(|session| session.endpoint.connection() == Some(connection))
                .find_map(|session| session.endpoint.poll_frame())
        })
    }

    fn look_at_endpoint(&mut self, number: u64) {
        let Some(session) = self.sessions.iter_mut().find(|s| s.number == number) else {
            return;
        };
        let mut events = Vec::new();
        while let Some(event) = session.endpoint.poll_event() {
            match event {
                EndpointEvent::Started(incoming) => {
                    // A session carries one message.
                    let mut fields = incoming.content_fields.iter();
                    let is_encoded = fields.any(|field| {
                        let is = field.name.eq_ignore_ascii_case(CONTENT_ENCODING.as_bytes());
                        is && is_encoding(&field.value)
                    });
                    if session.message.is_some() {
                        session.endpoint.refuse(incoming.key, Status::STOP_SENDING);
                    } else if is_encoded {
                        let refused = Status::UNSUPPORTED_MEDIA_TYPE;
                        session.endpoint.refuse(incoming.key, refused);
                    } else {
                        session.message = Some(incoming.key);
                        session.total = incoming.total.or(session.total);
                    }
                }
                EndpointEvent::Content(key, bytes) if session.message == Some(key) => {
                    session.content.extend_from_slice(&bytes);
                    events.push(ReceiverEvent::Progress {
                        session: number,
                        bytes: session.content.len() as u64,
                    });
                }
                EndpointEvent::Complete(key, _) if session.message == Some(key) => {
                    session.is_complete = true;
                    let cpim = std::mem::take(&mut session.content).freeze();
                    let invite = &session.invite;
                    let object = StoredMessage::of_received(invite, &cpim);
                    if self.known.has(invite, &object) {
                        let session = Some(number);
                        events.push(ReceiverEvent::Repeated { session });
                        continue;
                    }
                    let received = Received {
                        object,
                        came: session.way,
                        is_large: true,
                        history: history_of(invite),
                    };
                    events.push(ReceiverEvent::Message {
                        session: Some(number),
                        received: Box::new(received),
                    });
                }
                EndpointEvent::Aborted(key) if session.message == Some(key) => {
                    session.content = BytesMut::new();
                    session.message = None;
                }
                _ => {}
            }
        }
        for event in events {
            self.event(event);
        }
    }
}
