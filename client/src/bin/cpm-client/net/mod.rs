//! Sockets for the state machines of `cpm_client`: SIP over UDP, TCP and TLS, MSRP over TCP and
//! TLS, Ctrl-C.

mod address;
mod connection;
mod dns;
mod race;
mod tap;
mod tls;

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read as _};
use std::net::{SocketAddr, UdpSocket as StdUdpSocket};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use cpm_client::{Framing, MsrpTarget, SipTransport, Way};
use cpm_wire::msrp_session::ConnectionId;
use cpm_wire::sip::Message;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Token, Waker};
use rustls::{ClientConfig, ServerConfig};

pub(crate) use address::Server;
pub(crate) use connection::Broken;
use connection::{Connection, Reading};
pub(crate) use dns::NameServers;
pub(crate) use tap::Tap;
use tap::{Direction, Flow, Protocol};
pub(crate) use tls::{Identity, Trust, read_certificates};

/// Time limit for opening a SIP connection to one target of a server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of open connections; further ones are closed at once.
const MAX_CONNECTIONS: usize = 64;
/// Largest datagram.
const MAX_DATAGRAM_BYTES: usize = 65_535;

const SIGNALS: Token = Token(0);
const UDP: Token = Token(1);
const SIP_LISTENER: Token = Token(2);
const MSRP_LISTENER: Token = Token(3);
const SIP_TLS_LISTENER: Token = Token(4);
const CONNECTED: Token = Token(5);
const FIRST_CONNECTION: usize = 16;

/// An event.
#[derive(Debug)]
pub(crate) enum NetEvent {
    /// A SIP message.
    Sip(Message, Way),
    /// The connection to this peer is lost.
    SipBroken(Way, Broken),
    /// A connection for MSRP was accepted.
    MsrpAccepted(ConnectionId),
    /// A requested connection is open.
    MsrpOpen(ConnectionId),
    /// Bytes have arrived.
    MsrpBytes(ConnectionId, BytesMut),
    /// It was lost, or could not be opened.
    MsrpBroken(ConnectionId, Broken),
    /// The user has pressed Ctrl-C, or the process is to end.
    Interrupted,
}

enum Kind {
    Sip(Way, Framing),
    Msrp { id: ConnectionId, told_open: bool },
}

struct Entry {
    connection: Connection,
    kind: Kind,
}

impl Entry {
    fn protocol(&self) -> Protocol {
        match self.kind {
            Kind::Sip(..) => Protocol::Sip,
            Kind::Msrp { .. } => Protocol::Msrp,
        }
    }

    /// `None`: not connected yet, or no longer.
    fn flow(&self) -> Option<Flow> {
        let stream = &self.connection.stream;
        Some(Flow {
            own: stream.local_addr().ok()?,
            peer: stream.peer_addr().ok()?,
            is_datagram: false,
        })
    }
}

/// An MSRP connection being opened; its TLS, and the expected name of the peer.
struct Opening {
    tls: Option<Arc<ClientConfig>>,
    host: String,
}

/// Result of opening one.
type Opened = (ConnectionId, io::Result<TcpStream>);

/// All sockets of the program.
pub(crate) struct Net {
    poll: Poll,
    signals: mio::net::UnixStream,
    udp: Option<UdpSocket>,
    sip_listener: Option<TcpListener>,
    sip_tls_listener: Option<(TcpListener, Arc<ServerConfig>)>,
    msrp_listener: Option<(TcpListener, Option<Arc<ServerConfig>>)>,
    entries: HashMap<Token, Entry>,
    opening: HashMap<ConnectionId, Opening>,
    /// From the threads that resolve names and connect: nothing else waits for those.
    opened: (mpsc::Sender<Opened>, mpsc::Receiver<Opened>),
    waker: Arc<Waker>,
    next_token: usize,
    next_accepted: u64,
    trust: Trust,
    /// The name required in the SIP server's certificate.
    sip_name: String,
    ready: VecDeque<NetEvent>,
    /// Connections with more data than was read at once.
    unread: Vec<Token>,
    tap: Tap,
}

impl Net {
    /// No sockets yet. From now on Ctrl-C is an event.
    pub(crate) fn new(trust: Trust, sip_name: &str, tap: Tap) -> io::Result<Self> {
        let poll = Poll::new()?;
        let (reader, writer) = std::os::unix::net::UnixStream::pair()?;
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        reader.set_nonblocking(true)?;
        let mut signals = mio::net::UnixStream::from_std(reader);
        poll.registry()
            .register(&mut signals, SIGNALS, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), CONNECTED)?);
        Ok(Self {
            poll,
            signals,
            udp: None,
            sip_listener: None,
            sip_tls_listener: None,
            msrp_listener: None,
            entries: HashMap::new(),
            opening: HashMap::new(),
            opened: mpsc::channel(),
            waker,
            next_token: FIRST_CONNECTION,
            next_accepted: 1,
            trust,
            sip_name: sip_name.to_owned(),
            ready: VecDeque::new(),
            unread: Vec::new(),
            tap,
        })
    }

    /// Lets another thread end a [`wait`](Self::wait).
    pub(crate) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Opens one of these routes, which differ only in the address, and returns it and our own
    /// address. `local` is the address to bind, for UDP.
    pub(crate) fn open(
        &mut self,
        ways: &[Way],
        local: Option<SocketAddr>,
    ) -> Result<(Way, SocketAddr), Broken> {
        let Some(first) = ways.first().copied() else {
            return Err(io::Error::other("no address").into());
        };
        if first.transport == SipTransport::Udp {
            let any = if first.address.is_ipv4() {
                "0.0.0.0:0"
            } else {
                "[::]:0"
            };
            let socket = match local {
                Some(local) => StdUdpSocket::bind(local)?,
                None => StdUdpSocket::bind(any)?,
            };
            // So that a dead server is detected, and no other peer is received.
            socket.connect(first.address)?;
            let own = socket.local_addr()?;
            socket.set_nonblocking(true)?;
            self.set_udp(UdpSocket::from_std(socket))?;
            return Ok((first, own));
        }
        let addresses: Vec<SocketAddr> = ways.iter().map(|way| way.address).collect();
        let (address, stream) = race::connect(&addresses, CONNECT_TIMEOUT)?;
        let own = stream.local_addr()?;
        let way = Way { address, ..first };
        self.add_sip(way, stream)?;
        Ok((way, own))
    }

    /// Listens for SIP on one port, UDP and TCP, and returns it.
    pub(crate) fn listen_sip(&mut self, local: SocketAddr) -> io::Result<SocketAddr> {
        let mut listener = TcpListener::bind(local)?;
        let own = listener.local_addr()?;
        let socket = UdpSocket::bind(own)?;
        self.poll
            .registry()
            .register(&mut listener, SIP_LISTENER, Interest::READABLE)?;
        self.sip_listener = Some(listener);
        self.set_udp(socket)?;
        Ok(own)
    }

    /// Listens for SIP over TLS, and returns the address.
    pub(crate) fn listen_sip_tls(
        &mut self,
        local: SocketAddr,
        tls: Arc<ServerConfig>,
    ) -> io::Result<SocketAddr> {
        let mut listener = TcpListener::bind(local)?;
        let own = listener.local_addr()?;
        self.poll
            .registry()
            .register(&mut listener, SIP_TLS_LISTENER, Interest::READABLE)?;
        self.sip_tls_listener = Some((listener, tls));
        Ok(own)
    }

    /// Listens for MSRP, and returns the address.
    pub(crate) fn listen_msrp(
        &mut self,
        local: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
    ) -> io::Result<SocketAddr> {
        let mut listener = TcpListener::bind(local)?;
        let own = listener.local_addr()?;
        self.poll
            .registry()
            .register(&mut listener, MSRP_LISTENER, Interest::READABLE)?;
        self.msrp_listener = Some((listener, tls));
        Ok(own)
    }

    fn set_udp(&mut self, mut socket: UdpSocket) -> io::Result<()> {
        self.poll
            .registry()
            .register(&mut socket, UDP, Interest::READABLE)?;
        self.udp = Some(socket);
        Ok(())
    }

    fn add_sip(&mut self, way: Way, stream: TcpStream) -> Result<Token, Broken> {
        let config = match way.transport {
            SipTransport::Tls => Some(self.trust.client_config(None)?),
            _ => None,
        };
        let tls = config.map(|config| (config, self.sip_name.as_str()));
        let connection = Connection::outgoing(stream, tls)?;
        Ok(self.add(connection, Kind::Sip(way, Framing::default()))?)
    }

    fn add(&mut self, mut connection: Connection, kind: Kind) -> io::Result<Token> {
        let token = Token(self.next_token);
        self.next_token += 1;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut connection.stream, token, interest)?;
        self.entries.insert(token, Entry { connection, kind });
        Ok(token)
    }

    /// Sends a SIP message. A connection-oriented transport uses the connection to that peer, which
    /// is opened if there is none.
    pub(crate) fn send_sip(&mut self, way: Way, bytes: &Bytes) {
        if let Err(broken) = self.try_send_sip(way, bytes) {
            self.ready.push_back(NetEvent::SipBroken(way, broken));
        }
    }

    fn try_send_sip(&mut self, way: Way, bytes: &Bytes) -> Result<(), Broken> {
        if way.transport == SipTransport::Udp {
            let Some(socket) = &self.udp else {
                return Err(io::Error::other("no UDP socket").into());
            };
            let sent = match socket.peer_addr() {
                Ok(_) => socket.send(bytes),
                Err(_) => socket.send_to(bytes, way.address),
            };
            if sent.is_ok()
                && let Ok(own) = socket.local_addr()
            {
                let flow = Flow {
                    own,
                    peer: way.address,
                    is_datagram: true,
                };
                self.tap.take(Direction::Sent, Protocol::Sip, flow, bytes);
            }
            return match sent {
                Ok(_) => Ok(()),
                // A full buffer loses the datagram: it will be retransmitted.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                Err(error) => Err(error.into()),
            };
        }
        let open = self
            .entries
            .iter()
            .find_map(|(token, entry)| match &entry.kind {
                Kind::Sip(own, _) if *own == way => Some(*token),
                _ => None,
            });
        let token = match open {
            Some(token) => token,
            None => self.add_sip(way, TcpStream::connect(way.address)?)?,
        };
        self.push(token, bytes);
        Ok(())
    }

    fn push(&mut self, token: Token, bytes: &[u8]) {
        let Some(entry) = self.entries.get_mut(&token) else {
            return;
        };
        entry.connection.push(bytes);
        if let Some(flow) = entry.flow() {
            self.tap
                .take(Direction::Sent, entry.protocol(), flow, bytes);
        }
        self.flush(token);
    }

    /// Opens an MSRP connection, to the first address of the host that accepts one.
    pub(crate) fn connect_msrp(&mut self, id: ConnectionId, target: &MsrpTarget) {
        if let Err(broken) = self.try_connect_msrp(id, target) {
            self.ready.push_back(NetEvent::MsrpBroken(id, broken));
        }
    }

    fn try_connect_msrp(&mut self, id: ConnectionId, target: &MsrpTarget) -> Result<(), Broken> {
        let tls = match target.secure {
            true => Some(self.trust.client_config(target.fingerprint.as_ref())?),
            false => None,
        };
        let (host, port) = (target.host.clone(), target.port);
        let (opened, waker) = (self.opened.0.clone(), self.waker.clone());
        let connect = move || {
            let connected = race::addresses(&host, port)
                .map_err(io::Error::other)
                .and_then(|addresses| race::connect(&addresses, cpm_client::CONNECT_TIMEOUT));
            // The caller may no longer want it.
            let _ = opened.send((id, connected.map(|(_, stream)| stream)));
            let _ = waker.wake();
        };
        thread::Builder::new().spawn(connect)?;
        let host = target.host.clone();
        self.opening.insert(id, Opening { tls, host });
        Ok(())
    }

    fn take_opened(&mut self) {
        while let Ok((id, connected)) = self.opened.1.try_recv() {
            // One that was given up meanwhile is closed.
            let Some(Opening { tls, host }) = self.opening.remove(&id) else {
                continue;
            };
            let told_open = false;
            let added = connected.map_err(Broken::from).and_then(|stream| {
                let tls = tls.map(|config| (config, host.as_str()));
                let connection = Connection::outgoing(stream, tls)?;
                Ok(self.add(connection, Kind::Msrp { id, told_open })?)
            });
            match added {
                Ok(token) => self.flush(token),
                Err(broken) => self.ready.push_back(NetEvent::MsrpBroken(id, broken)),
            }
        }
    }

    /// Whether a connection takes more bytes.
    pub(crate) fn msrp_has_room(&self, id: ConnectionId) -> bool {
        self.msrp(id)
            .is_some_and(|token| self.entries[&token].connection.has_room())
    }

    /// Writes to an MSRP connection.
    pub(crate) fn send_msrp(&mut self, id: ConnectionId, bytes: &Bytes) {
        if let Some(token) = self.msrp(id) {
            self.push(token, bytes);
        }
    }

    /// Closes an MSRP connection once its pending output is written.
    pub(crate) fn close_msrp(&mut self, id: ConnectionId) {
        self.opening.remove(&id);
        if let Some(token) = self.msrp(id) {
            if let Some(entry) = self.entries.get_mut(&token) {
                entry.connection.close();
            }
            self.flush(token);
        }
    }

    /// The MSRP connections that are open.
    pub(crate) fn msrp_connections(&self) -> Vec<ConnectionId> {
        let entries = self.entries.values();
        entries
            .filter_map(|entry| match entry.kind {
                Kind::Msrp { id, .. } => Some(id),
                Kind::Sip(..) => None,
            })
            .collect()
    }

    fn msrp(&self, wanted: ConnectionId) -> Option<Token> {
        self.entries
            .iter()
            .find_map(|(token, entry)| match entry.kind {
                Kind::Msrp { id, .. } if id == wanted => Some(*token),
                _ => None,
            })
    }

    /// Waits for an event, at most until `until`.
    pub(crate) fn wait(&mut self, until: Option<Instant>) -> io::Result<Vec<NetEvent>> {
        if !self.ready.is_empty() {
            return Ok(self.ready.drain(..).collect());
        }
        let unread = std::mem::take(&mut self.unread);
        let timeout = match unread.is_empty() {
            true => until.map(|until| until.saturating_duration_since(Instant::now())),
            false => Some(Duration::ZERO),
        };
        let mut events = Events::with_capacity(64);
        match self.poll.poll(&mut events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => other?,
        }
        for event in &events {
            match event.token() {
                SIGNALS => {
                    let mut bytes = [0; 16];
                    while self.signals.read(&mut bytes).is_ok_and(|count| count > 0) {}
                    self.ready.push_back(NetEvent::Interrupted);
                }
                UDP => self.read_udp(),
                SIP_LISTENER | SIP_TLS_LISTENER => self.accept_sip(),
                MSRP_LISTENER => self.accept_msrp(),
                CONNECTED => self.take_opened(),
                token => {
                    self.flush(token);
                    self.read(token);
                }
            }
        }
        for token in unread {
            self.read(token);
        }
        Ok(self.ready.drain(..).collect())
    }

    fn read_udp(&mut self) {
        let Some(socket) = &self.udp else {
            return;
        };
        let mut datagram = vec![0; MAX_DATAGRAM_BYTES];
        loop {
            match socket.recv_from(&mut datagram) {
                Ok((count, address)) => {
                    let way = Way {
                        transport: SipTransport::Udp,
                        address,
                    };
                    let bytes = Bytes::copy_from_slice(&datagram[..count]);
                    if let Ok(own) = socket.local_addr() {
                        let flow = Flow {
                            own,
                            peer: address,
                            is_datagram: true,
                        };
                        self.tap
                            .take(Direction::Received, Protocol::Sip, flow, &bytes);
                    }
                    // Data other than SIP is ignored: anybody can send datagrams.
                    if let Ok(Some(message)) = Framing::datagram(bytes) {
                        self.ready.push_back(NetEvent::Sip(message, way));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    if let Ok(address) = socket.peer_addr() {
                        let way = Way {
                            transport: SipTransport::Udp,
                            address,
                        };
                        self.ready.push_back(NetEvent::SipBroken(way, error.into()));
                        return;
                    }
                }
            }
        }
    }

    fn accept_sip(&mut self) {
        while let Some(Ok((stream, address))) = self.sip_listener.as_ref().map(TcpListener::accept)
        {
            self.take_in_sip(stream, address, None);
        }
        while let Some((listener, tls)) = &self.sip_tls_listener
            && let Ok((stream, address)) = listener.accept()
        {
            let tls = tls.clone();
            self.take_in_sip(stream, address, Some(tls));
        }
    }

    fn take_in_sip(
        &mut self,
        stream: TcpStream,
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
    ) {
        let transport = match tls {
            Some(_) => SipTransport::Tls,
            None => SipTransport::Tcp,
        };
        let way = Way { transport, address };
        if self.entries.len() < MAX_CONNECTIONS
            && let Ok(connection) = Connection::accepted(stream, tls)
        {
            // A connection that cannot be polled is dropped, and its peer notices.
            let _ = self.add(connection, Kind::Sip(way, Framing::default()));
        }
    }

    fn accept_msrp(&mut self) {
        while let Some((listener, tls)) = &self.msrp_listener {
            let Ok((stream, _)) = listener.accept() else {
                return;
            };
            let tls = tls.clone();
            if self.entries.len() >= MAX_CONNECTIONS {
                continue;
            }
            let id = ConnectionId(self.next_accepted);
            self.next_accepted += 1;
            if let Ok(connection) = Connection::accepted(stream, tls) {
                let kind = Kind::Msrp {
                    id,
                    told_open: true,
                };
                if self.add(connection, kind).is_ok() {
                    self.ready.push_back(NetEvent::MsrpAccepted(id));
                }
            }
        }
    }

    fn flush(&mut self, token: Token) {
        let Some(entry) = self.entries.get_mut(&token) else {
            return;
        };
        if let Err(broken) = entry.connection.write() {
            return self.drop_entry(token, broken);
        }
        if entry.connection.is_closing && entry.connection.is_flushed() {
            self.entries.remove(&token);
            return;
        }
        if let Kind::Msrp { id, told_open, .. } = &mut entry.kind
            && !*told_open
            && entry.connection.is_ready()
        {
            *told_open = true;
            self.ready.push_back(NetEvent::MsrpOpen(*id));
        }
    }

    fn read(&mut self, token: Token) {
        let Some(entry) = self.entries.get_mut(&token) else {
            return;
        };
        let mut input = BytesMut::new();
        let closed = entry.connection.read(&mut input);
        if let Some(flow) = entry.flow() {
            self.tap
                .take(Direction::Received, entry.protocol(), flow, &input);
        }
        let closed = match &mut entry.kind {
            Kind::Sip(way, framing) => {
                framing.push(&input);
                loop {
                    match framing.poll_message() {
                        Ok(Some(message)) => self.ready.push_back(NetEvent::Sip(message, *way)),
                        Ok(None) => break,
                        Err(error) => {
                            let broken = io::Error::other(format!("no SIP: {error}")).into();
                            return self.drop_entry(token, broken);
                        }
                    }
                }
                closed
            }
            Kind::Msrp { id, .. } => {
                if !input.is_empty() {
                    self.ready.push_back(NetEvent::MsrpBytes(*id, input));
                }
                closed
            }
        };
        match closed {
            Ok(Reading::Drained) => self.flush(token),
            Ok(Reading::More) => self.unread.push(token),
            Ok(Reading::Closed) => {
                let words = "the other end has closed the connection".to_owned();
                self.drop_entry(
                    token,
                    Broken {
                        words,
                        is_certificate: false,
                    },
                );
            }
            Err(broken) => self.drop_entry(token, broken),
        }
    }

    fn drop_entry(&mut self, token: Token, broken: Broken) {
        if let Some(entry) = self.entries.remove(&token)
            && !entry.connection.is_closing
        {
            self.ready.push_back(match entry.kind {
                Kind::Sip(way, _) => NetEvent::SipBroken(way, broken),
                Kind::Msrp { id, .. } => NetEvent::MsrpBroken(id, broken),
            });
        }
    }
}
