//! The contestants: cpm's relay, the minimum of any program that copies a message, and the minimum
//! of any MSRP relay.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use cpm::msrp::{MsrpUri, Path};
use cpm::msrp_control::MsrpEvent;
use cpm::msrp_control::{LegNumber, MsrpEnds, RelayCommand, SessionId};
use cpm::msrp_session::DeliveryState;
use cpm::relay::{
    Listen, Listeners, Relay, RelayEvent, RelayLimits, RelaySettings, RelayTotals, TlsFiles,
};
use cpm::sdp::{Role, Transport};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_linger;
use rustix::time::{ClockId, clock_gettime};

use super::sink::Sink;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const BLOCK_BYTES: usize = 64 * 1024;
/// The threads of cpm's relay. This program has such a name itself.
const RELAY: &[&str] = &["cpm-relay", "cpm-spool", "cpm-names", "cpm-handshake"];
/// The thread of [`bare_msrp`].
const BARE_MSRP: &[&str] = &["bare-msrp"];

/// The answer to the sender of [`bare_msrp`].
const RESPONSE: &[u8] = b"MSRP d93kswow 200 OK\r\nTo-Path: msrp://c:9/d;tcp\r\n\
    From-Path: msrp://a:9/b;tcp\r\n-------d93kswow$\r\n";

/// The cost of one message.
pub(super) struct Taken {
    /// CPU time of the contestant.
    pub(super) cpu: Duration,
    /// From the sender's first byte until the last recipient had the last one.
    pub(super) elapsed: Duration,
}

/// Both ends of a fresh connection.
fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let to = listener.local_addr().expect("a bound socket");
    let near = TcpStream::connect(to).expect("a listener");
    (near, accept(listener))
}

/// Accepts a connection that leaves no TIME-WAIT when it is closed: those of a run would use up the
/// ports.
fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().expect("a connection");
    set_socket_linger(&stream, Some(Duration::ZERO)).expect("a socket");
    stream
}

/// Reads a block of at most this many bytes, writes it to each socket, and so on. It parses no head
/// and answers nothing, and a slow recipient delays all.
pub(super) fn bare(stream: &[u8], recipients: usize, block_bytes: usize) -> Taken {
    let listener = TcpListener::bind((HOST, 0)).expect("a free port");
    let (mut sender, mut source) = pair(&listener);
    let (near, mut far): (Vec<_>, Vec<_>) = (0..recipients).map(|_| pair(&listener)).unzip();
    let sink = Sink::start(near, false);
    let len = stream.len();
    let copy = thread::spawn(move || {
        let before = clock_gettime(ClockId::ThreadCPUTime);
        copy_to_all(&mut source, &mut far, len, &mut vec![0; block_bytes]);
        let after = clock_gettime(ClockId::ThreadCPUTime);
        // The connections outlive the measurement.
        (duration(after) - duration(before), far)
    });
    let start = Instant::now();
    sender.write_all(stream).expect("a reader");
    sink.wait();
    let elapsed = start.elapsed();
    let (cpu, _far) = copy.join().expect("the loop does not fail");
    Taken { cpu, elapsed }
}

/// Copies this many bytes, block by block.
fn copy_to_all(source: &mut TcpStream, far: &mut [TcpStream], len: usize, block: &mut [u8]) {
    let mut left = len;
    while left > 0 {
        let read = source.read(block).expect("a sender");
        assert!(read > 0, "the sender ended too early");
        for recipient in &mut *far {
            recipient.write_all(&block[..read]).expect("a recipient");
        }
        left -= read;
    }
}

/// The same, and what RFC 4975 requires of a relay on the wire: the sender's chunk is answered
/// (§7.2), and the response of each recipient is read. It starts from rest and is measured like
/// cpm's relay: caches are cold, and a thread must be woken.
pub(super) fn bare_msrp(stream: &[u8], recipients: usize) -> Taken {
    let listener = TcpListener::bind((HOST, 0)).expect("a free port");
    let (mut sender, mut source) = pair(&listener);
    let (near, mut far): (Vec<_>, Vec<_>) = (0..recipients).map(|_| pair(&listener)).unzip();
    for stream in far.iter().chain([&source]) {
        stream.set_nodelay(true).expect("a socket");
    }
    let sink = Sink::start(near, true);
    let len = stream.len();
    let (start, started) = mpsc::channel();
    let (stop, stopped) = mpsc::channel::<()>();
    let copy_loop = move || {
        let mut block = vec![0; BLOCK_BYTES];
        start.send(()).expect("somebody waits");
        copy_to_all(&mut source, &mut far, len, &mut block);
        source.write_all(RESPONSE).expect("a sender");
        for recipient in &mut far {
            let mut end = 0;
            while !block[..end].ends_with(b"$\r\n") {
                let read = recipient.read(&mut block[end..]).expect("a recipient");
                assert!(read > 0, "a recipient ended too early");
                end += read;
            }
        }
        // The connections, and the thread's CPU time, outlive the measurement.
        let _ = stopped.recv();
    };
    let thread = thread::Builder::new().name(BARE_MSRP[0].to_owned());
    let copy = thread.spawn(copy_loop).expect("threads are to be had");
    started.recv().expect("the loop starts");
    wait_idle(BARE_MSRP);
    let before = cpu_of(BARE_MSRP);
    let start = Instant::now();
    sender.write_all(stream).expect("a reader");
    let mut response = vec![0; RESPONSE.len()];
    sender.read_exact(&mut response).expect("an answer");
    sink.wait();
    let elapsed = start.elapsed();
    wait_idle(BARE_MSRP);
    let cpu = cpu_of(BARE_MSRP) - before;
    drop(stop);
    copy.join().expect("the loop does not fail");
    Taken { cpu, elapsed }
}

fn duration(time: rustix::time::Timespec) -> Duration {
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// cpm's relay.
pub(super) struct Cpm {
    relay: Relay,
    address: SocketAddr,
    secure_address: Option<SocketAddr>,
    sessions: u32,
    /// Recipients that never read.
    pub(super) stalled: usize,
}

/// An established session: the originator and all recipients are connected.
pub(super) struct SetUp {
    pub(super) session: SessionId,
    sender: TcpStream,
    to: String,
    from: String,
    reading: Vec<TcpStream>,
    not_reading: Vec<TcpStream>,
}

impl SetUp {
    /// The two ends of a message whose content the caller writes and reads: its head is written.
    pub(super) fn begun(mut self) -> (SessionId, TcpStream, TcpStream) {
        let whole = message(&self.to, &self.from, b"");
        let end = whole.windows(4).position(|four| four == b"\r\n\r\n");
        let head = &whole[..end.expect("it has a head") + 4];
        // Its size is not known yet.
        let head = String::from_utf8_lossy(head).replace("1-0/0", "1-*/*");
        self.sender.write_all(head.as_bytes()).expect("a reader");
        let recipient = self.reading.pop().expect("a recipient");
        (self.session, self.sender, recipient)
    }
}

impl Cpm {
    pub(super) fn start(limits: RelayLimits) -> Self {
        Self::start_with(limits, None)
    }

    /// With a listener for TLS too, if there is a certificate.
    pub(super) fn start_with(limits: RelayLimits, tls: Option<TlsFiles>) -> Self {
        let listen = |transport| Listen {
            transport,
            address: (HOST, 0).into(),
        };
        let secure = tls.as_ref().map(|_| listen(Transport::Tls));
        let settings = RelaySettings {
            listen: [Some(listen(Transport::Tcp)), secure]
                .into_iter()
                .flatten()
                .collect(),
            limits,
            tls,
            ..RelaySettings::default()
        };
        let listeners = Listeners::bind(&settings).expect("a free port");
        let addresses = listeners.addresses();
        let (address, secure_address) = (addresses[0], addresses.get(1).copied());
        let relay = Relay::start(settings, listeners).expect("threads are to be had");
        Self {
            relay,
            address,
            secure_address,
            sessions: 0,
            stalled: 0,
        }
    }

    /// Where it expects TLS.
    pub(super) fn secure_address(&self) -> SocketAddr {
        self.secure_address.expect("it has a certificate")
    }

    pub(super) fn totals(&self) -> RelayTotals {
        self.relay.totals()
    }

    /// Sets a session up, and waits until the relay is idle.
    pub(super) fn set_up(&mut self, recipients: usize) -> SetUp {
        self.sessions += 1;
        let name = format!("{:032x}", self.sessions);
        let session = SessionId::parse(&name).expect("32 hex digits");
        let uri =
            |port, name: &str| MsrpUri::new(false, "127.0.0.1", port, name).expect("a plain URI");
        let end = |role, own: String, peer: String, port| {
            Box::new(MsrpEnds {
                own: uri(self.address.port(), &own),
                peer: Path::from(uri(port, &peer)),
                transport: Transport::Tcp,
                role,
                host: "127.0.0.1".to_owned(),
                port,
                fingerprint: None,
                accept_types: "*".to_owned(),
                max_size: None,
            })
        };
        let originator = end(Role::Passive, format!("o{name}"), "sender".to_owned(), 9);
        let to = originator.own.text().to_owned();
        let from = originator.peer.first().text().to_owned();
        let command = RelayCommand::OpenOriginator(originator);
        self.relay.command(session, command);
        let sender = TcpStream::connect(self.address).expect("the relay listens");
        let listener = TcpListener::bind((HOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let mut reading = Vec::with_capacity(recipients);
        for number in 0..recipients {
            let (own, peer) = (format!("l{number}-{name}"), format!("r{number}"));
            let ends = end(Role::Active, own, peer, port);
            let command = RelayCommand::OpenLeg(LegNumber(number as u32), ends);
            self.relay.command(session, command);
            reading.push(accept(&listener));
        }
        self.relay.command(session, RelayCommand::NoMoreLegs);
        let mut connected = 0;
        self.wait(|event| {
            connected += usize::from(matches!(event, MsrpEvent::LegConnected(_)));
            connected == recipients
        });
        let not_reading = reading.split_off(recipients - self.stalled);
        SetUp {
            session,
            sender,
            to,
            from,
            reading,
            not_reading,
        }
    }

    /// Sends a message through a session, until its end.
    pub(super) fn deliver(&mut self, set_up: SetUp, content: &[u8]) -> Taken {
        self.deliver_watched(set_up, content, |_| {})
    }

    /// The same, while the caller may observe the relay.
    pub(super) fn deliver_watched(
        &mut self,
        set_up: SetUp,
        content: &[u8],
        mut watch: impl FnMut(&Self),
    ) -> Taken {
        let recipients = set_up.reading.len();
        let all = (recipients + set_up.not_reading.len()) as u32;
        let stream = message(&set_up.to, &set_up.from, content);
        let mut sender = set_up.sender;
        let sink = Sink::start(set_up.reading, true);
        wait_idle(RELAY);
        let before = cpu_of(RELAY);
        let start = Instant::now();
        let writer = thread::spawn(move || {
            sender.write_all(&stream).expect("the relay reads");
            let mut response = [0; 512];
            let read = sender.read(&mut response).expect("the relay answers");
            let response = String::from_utf8_lossy(&response[..read]).into_owned();
            assert!(response.contains(" 200 "), "{response}");
            sender
        });
        let mut delivered = 0;
        self.wait_watching(
            |event| {
                delivered += usize::from(matches!(
                    event,
                    MsrpEvent::LegEnded(_, DeliveryState::Delivered)
                ));
                delivered == recipients
            },
            &mut watch,
        );
        let elapsed = start.elapsed();
        wait_idle(RELAY);
        let cpu = cpu_of(RELAY) - before;
        let streams = sink.wait();
        let sender = writer.join().expect("the sender does not fail");
        self.close(set_up.session, all, (sender, streams, set_up.not_reading));
        Taken { cpu, elapsed }
    }

    /// Ends a session with this many legs, and drops what its peers had.
    pub(super) fn close<T>(&mut self, session: SessionId, legs: u32, peers: T) {
        self.relay.command(session, RelayCommand::CloseOriginator);
        for number in 0..legs {
            let number = LegNumber(number);
            self.relay.command(session, RelayCommand::CloseLeg(number));
        }
        self.relay.forget(session);
        drop(peers);
        while self.relay.totals() != RelayTotals::default() {
            while self.relay.poll_event().is_some() {}
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn wait(&mut self, until: impl FnMut(&MsrpEvent) -> bool) {
        self.wait_watching(until, &mut |_| {});
    }

    fn wait_watching(
        &mut self,
        mut until: impl FnMut(&MsrpEvent) -> bool,
        watch: &mut impl FnMut(&Self),
    ) {
        let by = Instant::now() + PATIENCE;
        loop {
            match self.relay.poll_event() {
                Some(RelayEvent::Session(_, event)) if until(&event) => return,
                Some(RelayEvent::Log(_, line)) => eprintln!("{line}"),
                Some(_) => {}
                None => {
                    assert!(Instant::now() < by, "the relay does not get on");
                    watch(self);
                    let wait = Timespec {
                        tv_sec: 0,
                        tv_nsec: 20_000_000,
                    };
                    let fd = self.relay.as_fd();
                    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
                    let _ = poll(&mut fds, Some(&wait));
                }
            }
        }
    }
}

impl Drop for Cpm {
    fn drop(&mut self) {
        while self.relay.poll_event().is_some() {}
    }
}

/// A SEND of one chunk, as both contestants get it.
pub(super) fn message(to: &str, from: &str, content: &[u8]) -> Vec<u8> {
    let total = content.len();
    let head = format!(
        "MSRP d93kswow SEND\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\nMessage-ID: 1\r\n\
         Byte-Range: 1-{total}/{total}\r\nContent-Type: message/cpim\r\n\r\n"
    );
    [head.as_bytes(), content, b"\r\n-------d93kswow$\r\n"].concat()
}

/// CPU time of the threads of these names.
fn cpu_of(threads: &[&str]) -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("proc is mounted");
    let of_task = |task: std::io::Result<fs::DirEntry>| {
        let task = task.ok()?.path();
        let name = fs::read_to_string(task.join("comm")).ok()?;
        let times = fs::read_to_string(task.join("schedstat")).ok()?;
        let counts = threads.contains(&name.trim_end());
        let nanoseconds = times.split(' ').next()?.parse().ok()?;
        counts.then(|| Duration::from_nanos(nanoseconds))
    };
    tasks.filter_map(of_task).sum()
}

/// Waits until these threads are idle.
fn wait_idle(threads: &[&str]) {
    let mut before = cpu_of(threads);
    loop {
        thread::sleep(Duration::from_millis(1));
        let now = cpu_of(threads);
        if now == before {
            return;
        }
        before = now;
    }
}
