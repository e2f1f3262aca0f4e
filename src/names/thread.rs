//! The thread that looks names up for its process: the [`Resolver`] on sockets.

use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use cpm_wire::locating::{
    Found, HOSTS, Hosts, Patience, RESOLV_CONF, Resolver, Target, Transmit, name_servers_in,
};
use mio::net::{TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Token, Waker};

use super::table::{Known, NameTable};
use crate::random::fill_random;
use crate::threads;

/// By when a name has its places or has none. Below what a sender waits before it repeats itself
/// for the third time.
pub const DEADLINE: Duration = Duration::from_secs(4);
const PATIENCE: Patience = Patience {
    retry: Duration::from_millis(500),
    tries: 3,
    deadline: DEADLINE,
};

const WAKER: Token = Token(0);
/// What one wait brings at most.
const EVENTS: usize = 256;
/// Packets that are sent in one go: a name server's queue has no room for thousands at once.
const BURST: usize = 64;
/// Between two bursts.
const PAUSE: Duration = Duration::from_millis(1);
/// Questions of one socket, before another one with another port takes its place.
const USES: usize = 256;
/// Longest answer over UDP that is read: without EDNS it has 512 bytes.
const MAX_DATAGRAM_BYTES: usize = 4096;
/// Longest answer over TCP.
const MAX_ANSWER_BYTES: usize = 16 * 1024;
/// Answers over TCP that are waited for at once, and how long.
const MAX_STREAMS: usize = 32;
const STREAM_TIME: Duration = Duration::from_secs(2);
/// How long the system's files are taken as they were.
const SYSTEM_LIFETIME: Duration = Duration::from_secs(5);
/// For how long a name that cannot be reached is not asked for again, in seconds.
const NEGATIVE_TTL_S: u64 = 10;
/// Bounds for how long places are kept, in seconds: a name that nobody may keep would be asked for
/// once a recipient.
const MIN_TTL_S: u64 = 1;
const MAX_TTL_S: u64 = 3600;

/// How names are looked up.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The name servers that the operator has named; empty: the system's.
    pub servers: Vec<SocketAddr>,
    /// What all processes know.
    pub table: Option<NameTable>,
}

/// The hold on the thread, which ends when this is dropped. `W` is whatever those who ask are known
/// by.
#[derive(Debug)]
pub struct NameThread<W> {
    asked: Option<Sender<(Target, W)>>,
    waker: Arc<Waker>,
}

impl<W: Send + 'static> NameThread<W> {
    /// Starts it. `found` is called in it, for each name.
    ///
    /// # Errors
    /// There are no threads or descriptors to be had.
    pub fn start(names: Names, found: impl FnMut(Found<W>) + Send + 'static) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (asked, questions) = mpsc::channel();
        threads::spawn("cpm-names", move || {
            Driver::new(names, poll, questions, found).run();
        })?;
        Ok(Self {
            asked: Some(asked),
            waker,
        })
    }

    /// Looks a name up. Never waits. Whoever asks hears of it after [`DEADLINE`]
    /// at the latest.
    pub fn ask(&self, target: Target, waiter: W) {
        // Without a receiver the thread has ended, which only an internal error can do: deadlines
        // of those who ask end the wait.
        if let Some(asked) = &self.asked
            && asked.send((target, waiter)).is_ok()
        {
            let _ = self.waker.wake();
        }
    }
}

impl<W> Drop for NameThread<W> {
    fn drop(&mut self) {
        self.asked = None;
        let _ = self.waker.wake();
    }
}

struct Channel {
    socket: UdpSocket,
    server: SocketAddr,
    number: u16,
    uses: usize,
}

struct Stream {
    stream: TcpStream,
    server: SocketAddr,
    channel: u16,
    out: Vec<u8>,
    input: Vec<u8>,
    until: Instant,
}

struct Driver<W, F> {
    names: Names,
    poll: Poll,
    questions: Receiver<(Target, W)>,
    found: F,
    resolver: Resolver<W>,
    channels: HashMap<(SocketAddr, u16), Token>,
    sockets: HashMap<Token, Channel>,
    streams: HashMap<Token, Stream>,
    next: usize,
    system_read: Instant,
}

impl<W, F: FnMut(Found<W>)> Driver<W, F> {
    fn new(names: Names, poll: Poll, questions: Receiver<(Target, W)>, found: F) -> Self {
        let (servers, hosts) = system(&names);
        Self {
            names,
            poll,
            questions,
            found,
            resolver: Resolver::new(servers, Some(hosts), PATIENCE, fill_random),
            channels: HashMap::new(),
            sockets: HashMap::new(),
            streams: HashMap::new(),
            next: WAKER.0 + 1,
            system_read: Instant::now(),
        }
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn(&mut events)));
            match turn {
                Ok(true) => {}
                Ok(false) => return,
                // What is under way ends by its deadline.
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    /// False: it is over.
    fn turn(&mut self, events: &mut Events) -> bool {
        let now = Instant::now();
        loop {
            match self.questions.try_recv() {
                Ok((target, waiter)) => self.take(now, target, waiter),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        self.resolver.handle_timeout(now);
        let mut sent = 0;
        while sent < BURST
            && let Some(transmit) = self.resolver.poll_transmit(now)
        {
            self.transmit(now, transmit);
            sent += 1;
        }
        self.deliver();
        self.streams.retain(|_, stream| stream.until > now);
        if self.resolver.is_idle() {
            self.channels.clear();
            self.sockets.clear();
            self.streams.clear();
        }
        let due = self.resolver.poll_timeout();
        let wait = match sent == BURST {
            true => Some(PAUSE),
            false => due.map(|at| at.saturating_duration_since(now) + PAUSE),
        };
        if let Err(error) = self.poll.poll(events, wait)
            && error.kind() != ErrorKind::Interrupted
        {
            std::thread::sleep(PAUSE);
        }
        for event in events.iter() {
            let token = event.token();
            self.read_socket(token);
            self.serve_stream(token);
        }
        self.deliver();
        true
    }

    fn take(&mut self, now: Instant, target: Target, waiter: W) {
        let known = self.names.table.as_ref();
        let found = |target, waiter, places| Found {
            target,
            waiting: vec![waiter],
            servers: Vec::new(),
            places,
            ttl_s: 0,
        };
        match known.and_then(|table| table.find(&target)) {
            Some(Known::Places(places, _)) => (self.found)(found(target, waiter, places)),
            Some(Known::Nothing) => (self.found)(found(target, waiter, Vec::new())),
            None => {
                if now >= self.system_read + SYSTEM_LIFETIME {
                    let (servers, hosts) = system(&self.names);
                    self.resolver.set_system(servers, hosts);
                    self.system_read = now;
                }
                if let Err(waiter) = self.resolver.ask(now, target.clone(), waiter) {
                    (self.found)(found(target, waiter, Vec::new()));
                }
            }
        }
    }

    fn deliver(&mut self) {
        while let Some(found) = self.resolver.poll_found() {
            if let Some(table) = &self.names.table {
                let ttl_s = match found.places.is_empty() {
                    true => NEGATIVE_TTL_S,
                    false => u64::from(found.ttl_s).clamp(MIN_TTL_S, MAX_TTL_S),
                };
                table.keep(&found.target, &found.places, ttl_s);
            }
            (self.found)(found);
        }
    }

    /// A packet that cannot be sent is one that was lost: it is sent again.
    fn transmit(&mut self, now: Instant, transmit: Transmit) {
        if transmit.over_tcp {
            self.open_stream(now, transmit);
            return;
        }
        let Transmit {
            server,
            channel,
            packet,
            ..
        } = transmit;
        if let Some(socket) = self.channel(server, channel) {
            socket.uses += 1;
            let refused = socket.socket.send(&packet).is_err();
            if refused {
                self.resolver.handle_refused(server, channel);
            }
        }
    }

    fn channel(&mut self, server: SocketAddr, number: u16) -> Option<&mut Channel> {
        let known = self.channels.get(&(server, number)).copied();
        let is_fresh = |token: &Token| {
            let channel = self.sockets.get(token);
            channel.is_some_and(|channel| channel.uses < USES)
        };
        if let Some(token) = known.filter(is_fresh) {
            return self.sockets.get_mut(&token);
        }
        if let Some(old) = known {
            self.sockets.remove(&old);
        }
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let mut socket = UdpSocket::bind((any, 0).into()).ok()?;
        // From here on the kernel lets nobody else's packets through.
        socket.connect(server).ok()?;
        let token = self.token();
        let registry = self.poll.registry();
        registry
            .register(&mut socket, token, Interest::READABLE)
            .ok()?;
        self.channels.insert((server, number), token);
        self.sockets.insert(
            token,
            Channel {
                socket,
                server,
                number,
                uses: 0,
            },
        );
        self.sockets.get_mut(&token)
    }

    fn token(&mut self) -> Token {
        self.next += 1;
        Token(self.next)
    }

    fn read_socket(&mut self, token: Token) {
        let mut packet = [0; MAX_DATAGRAM_BYTES];
        while let Some(channel) = self.sockets.get(&token) {
            let (server, number) = (channel.server, channel.number);
            match channel.socket.recv(&mut packet) {
                Ok(length) => self
                    .resolver
                    .handle_packet(server, number, &packet[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Nobody listens there.
                Err(_) => self.resolver.handle_refused(server, number),
            }
        }
    }

    fn open_stream(&mut self, now: Instant, transmit: Transmit) {
        let length = u16::try_from(transmit.packet.len());
        let (Ok(length), true) = (length, self.streams.len() < MAX_STREAMS) else {
            return;
        };
        let Ok(mut stream) = TcpStream::connect(transmit.server) else {
            return;
        };
        let token = self.token();
        let both = Interest::READABLE | Interest::WRITABLE;
        if self
            .poll
            .registry()
            .register(&mut stream, token, both)
            .is_ok()
        {
            let stream = Stream {
                stream,
                server: transmit.server,
                channel: transmit.channel,
                out: [&length.to_be_bytes()[..], &transmit.packet].concat(),
                input: Vec::new(),
                until: now + STREAM_TIME,
            };
            self.streams.insert(token, stream);
        }
    }

    fn serve_stream(&mut self, token: Token) {
        let Some(stream) = self.streams.get_mut(&token) else {
            return;
        };
        match stream.serve() {
            Ok(None) => {}
            Ok(Some(packet)) => {
                let (server, channel) = (stream.server, stream.channel);
                self.streams.remove(&token);
                self.resolver.handle_packet(server, channel, &packet);
            }
            Err(_) => {
                self.streams.remove(&token);
            }
        }
    }
}

impl Stream {
    /// Goes on as far as it can. `Some`: the answer.
    fn serve(&mut self) -> io::Result<Option<Vec<u8>>> {
        let is_later = |error: &io::Error| {
            matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::NotConnected
            )
        };
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(written) => {
                    self.out.drain(..written);
                }
                Err(error) if is_later(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let mut block = [0; MAX_DATAGRAM_BYTES];
        loop {
            match self.stream.read(&mut block) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.input.extend_from_slice(&block[..length]),
                Err(error) if is_later(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
            if let Some((head, rest)) = self.input.split_first_chunk() {
                let length = usize::from(u16::from_be_bytes(*head));
                if length > MAX_ANSWER_BYTES {
                    return Err(ErrorKind::InvalidData.into());
                }
                if let Some(packet) = rest.get(..length) {
                    return Ok(Some(packet.to_vec()));
                }
            }
        }
    }
}

fn system(names: &Names) -> (Vec<SocketAddr>, Hosts) {
    let text_of = |file| fs::read_to_string(file).unwrap_or_default();
    let servers = match names.servers.is_empty() {
        true => name_servers_in(&text_of(RESOLV_CONF)),
        false => names.servers.clone(),
    };
    (servers, Hosts::read(&text_of(HOSTS)))
}
