//! Connections that peers open: the listening sockets, and accepted connections that no session
//! uses yet.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, TcpListener};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Poll, Token};

use super::settings::RelayLimits;
use super::timers::Timer;
use super::unbound::Unbound;
use crate::msrp_session::ConnectionId;
use crate::sdp::Transport;

/// Token of the first listener; connections follow after the last.
const FIRST_LISTENER: usize = 1;
/// How long listeners pause when there are no descriptors left.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Accepts connections, and numbers all connections, whoever opens them: a number is the token by
/// which the connection is polled, and is never reused.
#[derive(Debug)]
pub(super) struct Acceptor {
    listeners: Vec<Listener>,
    /// Armed while the listeners pause.
    pub(super) pause: Timer,
    /// Accepted connections without a session.
    pub(super) unbound: Unbound,
    next_connection: u64,
}

#[derive(Debug)]
struct Listener {
    socket: mio::net::TcpListener,
    transport: Transport,
    /// Connections may be waiting.
    is_ready: bool,
}

/// Result of accepting on a listener.
#[derive(Debug)]
pub(super) enum Accepted {
    /// A connection from this address.
    Connection(TcpStream, IpAddr, Transport),
    /// One whose peer has already left.
    Gone,
    /// No connection is waiting now.
    Nobody,
}

impl Acceptor {
    /// Registers the sockets for polling.
    pub(super) fn new(
        poll: &Poll,
        sockets: Vec<(TcpListener, Transport)>,
        limits: &RelayLimits,
    ) -> io::Result<Self> {
        let mut listeners = Vec::with_capacity(sockets.len());
        for (index, (socket, transport)) in sockets.into_iter().enumerate() {
            let mut socket = mio::net::TcpListener::from_std(socket);
            let token = Token(FIRST_LISTENER + index);
            poll.registry()
                .register(&mut socket, token, Interest::READABLE)?;
            listeners.push(Listener {
                socket,
                transport,
                is_ready: false,
            });
        }
        Ok(Acceptor {
            next_connection: (FIRST_LISTENER + listeners.len()) as u64,
            listeners,
            pause: Timer::default(),
            unbound: Unbound::new(limits.max_unbound, limits.max_unbound_per_source),
        })
    }

    /// The number for the next connection. [`use_up`](Self::use_up) follows once the connection is
    /// kept.
    pub(super) fn next_connection(&self) -> ConnectionId {
        ConnectionId(self.next_connection)
    }

    /// The number has been assigned.
    pub(super) fn use_up(&mut self) {
        self.next_connection += 1;
    }

    /// Whether connections are waiting, and can be accepted now.
    pub(super) fn is_due(&self) -> bool {
        !self.pause.is_armed() && self.listeners.iter().any(|listener| listener.is_ready)
    }

    /// Handles a poll event. False: it is not a listener's.
    pub(super) fn note(&mut self, token: Token) -> bool {
        let index = token.0.checked_sub(FIRST_LISTENER);
        let listener = index.and_then(|index| self.listeners.get_mut(index));
        let is_ours = listener.is_some();
        if let Some(listener) = listener {
            listener.is_ready = true;
        }
        is_ours
    }

    /// The number of listeners.
    pub(super) fn listeners(&self) -> usize {
        self.listeners.len()
    }

    /// The next connection of a listener.
    ///
    /// # Errors
    ///
    /// There are no descriptors left: accepting must pause.
    pub(super) fn accept(&mut self, listener: usize) -> io::Result<Accepted> {
        let listener = &mut self.listeners[listener];
        if !listener.is_ready {
            return Ok(Accepted::Nobody);
        }
        match listener.socket.accept() {
            Ok((stream, peer)) => Ok(Accepted::Connection(stream, peer.ip(), listener.transport)),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {
                    listener.is_ready = false;
                    Ok(Accepted::Nobody)
                }
                ErrorKind::ConnectionAborted | ErrorKind::Interrupted => Ok(Accepted::Gone),
                _ => Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use mio::Events;

    use super::super::timers::{TimerKey, Timers};
    use super::*;

    fn listening() -> (Poll, Acceptor, std::net::SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let poll = Poll::new().unwrap();
        let sockets = vec![(socket, Transport::Tls)];
        let acceptor = Acceptor::new(&poll, sockets, &RelayLimits::default()).unwrap();
        (poll, acceptor, address)
    }

    #[test]
    fn a_listener_gives_what_waits_and_then_nobody() {
        let (mut poll, mut acceptor, address) = listening();
        assert!(!acceptor.is_due());
        assert!(matches!(acceptor.accept(0), Ok(Accepted::Nobody)));
        let peer = std::net::TcpStream::connect(address).unwrap();
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::from_secs(10)))
            .unwrap();
        for event in &events {
            assert!(acceptor.note(event.token()));
        }
        assert!(acceptor.is_due());
        match acceptor.accept(0).unwrap() {
            Accepted::Connection(stream, from, Transport::Tls) => {
                assert_eq!(stream.peer_addr().unwrap(), peer.local_addr().unwrap());
                assert_eq!(from, address.ip());
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(acceptor.accept(0), Ok(Accepted::Nobody)));
        assert!(!acceptor.is_due());
    }

    #[test]
    fn numbers_are_those_of_nothing_else() {
        let (_poll, mut acceptor, _) = listening();
        assert!(!acceptor.note(Token(0)), "the waker's");
        assert!(acceptor.note(Token(1)), "the listener's");
        let first = acceptor.next_connection();
        assert_eq!(acceptor.next_connection(), first, "nobody has it yet");
        assert!(!acceptor.note(Token(first.0 as usize)));
        acceptor.use_up();
        assert_ne!(acceptor.next_connection(), first);
    }

    #[test]
    fn nobody_is_accepted_during_a_pause() {
        let (_poll, mut acceptor, _) = listening();
        acceptor.note(Token(1));
        assert!(acceptor.is_due());
        let mut timers = Timers::default();
        timers.arm(TimerKey::Accept, &mut acceptor.pause, Instant::now());
        assert!(!acceptor.is_due());
        timers.disarm(&mut acceptor.pause);
        assert!(acceptor.is_due());
    }
}
