//! The look-up of a domain's servers on sockets. Addresses are the system's business.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use cpm_wire::locating::{
    Patience, RESOLV_CONF, Resolver, Server, Target, Transmit, Wanted, name_servers_in,
};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

use crate::random::fill;

/// How often each name server is asked a question, and how long one answer may take: the user
/// waits, and the name server may be far away.
const TRIES: usize = 2;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// By when a domain has its servers, in two questions of three silent name servers each.
const DEADLINE: Duration = Duration::from_secs(12);
/// How long an answer over TCP may take.
const STREAM_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest answer over UDP: without EDNS it has 512 bytes.
const MAX_DATAGRAM_BYTES: usize = 4096;

/// Name servers, in the order in which they are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameServers(Vec<SocketAddr>);

impl NameServers {
    /// This one.
    pub(crate) fn one(server: SocketAddr) -> Self {
        Self(vec![server])
    }

    /// Those of the system.
    pub(crate) fn of_system() -> Self {
        let text = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        Self(name_servers_in(&text))
    }

    /// The servers of a host, best first; none where its domain says that there is no such service.
    pub(super) fn servers(&self, host: &str, port: Option<u16>, wanted: Wanted) -> Vec<Server> {
        let itself = || Server::itself(host, port, &wanted);
        match Target::new(host, port, wanted) {
            Some(target) => self.look_up(target).unwrap_or_else(|_| itself()),
            None => itself(),
        }
    }

    fn look_up(&self, target: Target) -> io::Result<Vec<Server>> {
        let patience = Patience {
            retry: ANSWER_TIMEOUT,
            tries: TRIES * self.0.len(),
            deadline: DEADLINE,
        };
        let mut resolver = Resolver::new(self.0.clone(), None, patience, fill);
        let mut sockets = Sockets::new()?;
        // Nothing else is looked up.
        let _ = resolver.ask(Instant::now(), target, ());
        loop {
            let now = Instant::now();
            resolver.handle_timeout(now);
            while let Some(transmit) = resolver.poll_transmit(now) {
                sockets.transmit(&mut resolver, &transmit);
            }
            if let Some(found) = resolver.poll_found() {
                return Ok(found.servers);
            }
            sockets.wait(&mut resolver)?;
        }
    }
}

/// The sockets of one look-up, by name server and number.
struct Sockets {
    poll: Poll,
    events: Events,
    udp: Vec<(SocketAddr, u16, UdpSocket)>,
    tokens: HashMap<(SocketAddr, u16), usize>,
}

impl Sockets {
    fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(16),
            udp: Vec::new(),
            tokens: HashMap::new(),
        })
    }

    /// A packet that cannot be sent is one that was lost: it is sent again.
    fn transmit(&mut self, resolver: &mut Resolver<()>, transmit: &Transmit) {
        let Transmit {
            server,
            channel,
            packet,
            ..
        } = transmit;
        if transmit.over_tcp {
            if let Ok(answer) = over_tcp(*server, packet) {
                resolver.handle_packet(*server, *channel, &answer);
            }
            return;
        }
        if let Ok(socket) = self.udp(*server, *channel)
            && socket.send(packet).is_err()
        {
            resolver.handle_refused(*server, *channel);
        }
    }

    fn udp(&mut self, server: SocketAddr, channel: u16) -> io::Result<&UdpSocket> {
        let next = self.udp.len();
        let number = match self.tokens.get(&(server, channel)) {
            Some(number) => *number,
            None => {
                let any: IpAddr = match server {
                    SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                };
                let mut socket = UdpSocket::bind((any, 0).into())?;
                socket.connect(server)?;
                let registry = self.poll.registry();
                registry.register(&mut socket, Token(next), Interest::READABLE)?;
                self.udp.push((server, channel, socket));
                self.tokens.insert((server, channel), next);
                next
            }
        };
        Ok(&self.udp[number].2)
    }

    /// Waits for an answer or for the resolver's time.
    fn wait(&mut self, resolver: &mut Resolver<()>) -> io::Result<()> {
        let due = resolver.poll_timeout();
        let patience = due.map(|at| at.saturating_duration_since(Instant::now()));
        match self.poll.poll(&mut self.events, patience) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let mut packet = [0; MAX_DATAGRAM_BYTES];
        for event in &self.events {
            let (server, channel, socket) = &self.udp[event.token().0];
            loop {
                match socket.recv(&mut packet) {
                    Ok(length) => resolver.handle_packet(*server, *channel, &packet[..length]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // Nobody listens there.
                    Err(_) => resolver.handle_refused(*server, *channel),
                }
            }
        }
        Ok(())
    }
}

fn over_tcp(server: SocketAddr, packet: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, STREAM_TIMEOUT)?;
    stream.set_read_timeout(Some(STREAM_TIMEOUT))?;
    let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], packet].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}
