//! A relay and its owner's main thread, for tests.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cpm::msrp::{MsrpUri, Path};
use cpm::msrp_control::MsrpEvent;
use cpm::msrp_control::{LegNumber, MsrpEnds, RelayCommand, SessionId};
use cpm::msrp_session::DeliveryState;
use cpm::names::Names;
use cpm::relay::{
    Listen, Listeners, Relay, RelayEvent, RelayLimits, RelaySettings, RelayTotals, SessionProgress,
    TlsFiles,
};
use cpm::sdp::{Fingerprint, Role, Transport};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::peer::{PATIENCE, Peer, Received, chunk, empty_send};

pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(crate) struct Bench {
    pub(crate) relay: Option<Relay>,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) logs: Vec<String>,
    events: HashMap<SessionId, VecDeque<MsrpEvent>>,
    sessions: u32,
}

/// Identity of a peer, as its session description would state it.
#[derive(Clone)]
pub(crate) struct End {
    pub(crate) ends: MsrpEnds,
    /// Our URI and the peer's.
    pub(crate) own: String,
    pub(crate) peer: String,
}

impl Bench {
    pub(crate) fn new(limits: RelayLimits) -> Self {
        Self::with_tls(limits, None)
    }

    pub(crate) fn with_names(limits: RelayLimits, names: Names) -> Self {
        Self::with(limits, None, names)
    }

    pub(crate) fn with_tls(limits: RelayLimits, tls: Option<TlsFiles>) -> Self {
        Self::with(limits, tls, Names::default())
    }

    fn with(limits: RelayLimits, tls: Option<TlsFiles>, names: Names) -> Self {
        let any = SocketAddr::new(LOOPBACK, 0);
        let listen = |transport| Listen {
            transport,
            address: any,
        };
        let mut listeners = vec![listen(Transport::Tcp)];
        if tls.is_some() {
            listeners.push(listen(Transport::Tls));
        }
        let settings = RelaySettings {
            listen: listeners,
            limits,
            tls,
            names,
            store: None,
        };
        let listeners = Listeners::bind(&settings).unwrap();
        let (addresses, fingerprint) = (listeners.addresses(), listeners.fingerprint());
        Self {
            relay: Some(Relay::start(settings, listeners).unwrap()),
            addresses,
            fingerprint,
            logs: Vec::new(),
            events: HashMap::new(),
            sessions: 0,
        }
    }

    pub(crate) fn relay(&mut self) -> &mut Relay {
        self.relay.as_mut().unwrap()
    }

    pub(crate) fn session(&mut self) -> SessionId {
        self.sessions += 1;
        SessionId::parse(&format!("{:032x}", self.sessions)).unwrap()
    }

    /// The end of a session whose peer listens on this port, or on any if it connects to us.
    pub(crate) fn end(&self, name: &str, transport: Transport, role: Role, port: u16) -> End {
        let secure = transport == Transport::Tls;
        let here = self.addresses[usize::from(secure)];
        let host = here.ip().to_string();
        let own = MsrpUri::new(secure, &host, here.port(), &format!("own-{name}")).unwrap();
        let peer = MsrpUri::new(secure, "127.0.0.1", port, &format!("peer-{name}")).unwrap();
        End {
            own: own.text().to_owned(),
            peer: peer.text().to_owned(),
            ends: MsrpEnds {
                own,
                peer: Path::from(peer),
                transport,
                role,
                host: "127.0.0.1".to_owned(),
                port,
                fingerprint: None,
                accept_types: "message/cpim text/*".to_owned(),
                max_size: None,
            },
        }
    }

    pub(crate) fn open_originator(&mut self, session: SessionId, end: &End) {
        let ends = Box::new(end.ends.clone());
        let command = RelayCommand::OpenOriginator(ends);
        self.relay().command(session, command);
    }

    pub(crate) fn open_leg(&mut self, session: SessionId, number: u32, end: &End) {
        let command = RelayCommand::OpenLeg(LegNumber(number), Box::new(end.ends.clone()));
        self.relay().command(session, command);
    }

    /// A passive originator, and its connection.
    pub(crate) fn sender(&mut self, session: SessionId, name: &str) -> (End, Peer) {
        let end = self.end(name, Transport::Tcp, Role::Passive, 1);
        self.open_originator(session, &end);
        (end, Peer::connect(self.addresses[0]))
    }

    /// A leg whose recipient waits for our connection, and handles it with `life`.
    pub(crate) fn leg<T: Send + 'static>(
        &mut self,
        session: SessionId,
        number: u32,
        life: impl FnOnce(Peer) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let name = format!("{session}-{number}");
        let end = self.end(&name, Transport::Tcp, Role::Active, port);
        self.open_leg(session, number, &end);
        std::thread::spawn(move || life(Peer::accept(&listener)))
    }

    /// A leg whose recipient connects to us.
    pub(crate) fn passive_leg(&mut self, session: SessionId, number: u32) -> JoinHandle<Received> {
        let name = format!("{session}-{number}");
        let end = self.end(&name, Transport::Tcp, Role::Passive, 1);
        self.open_leg(session, number, &end);
        let to = self.addresses[0];
        std::thread::spawn(move || {
            let mut peer = Peer::connect(to);
            peer.write(&empty_send(&end.own, &end.peer));
            peer.receive()
        })
    }

    pub(crate) fn command(&mut self, session: SessionId, command: RelayCommand) {
        self.relay().command(session, command);
    }

    /// Waits for the first wanted event of a session, and drops those before it.
    pub(crate) fn wait(
        &mut self,
        session: SessionId,
        what: &str,
        wanted: impl Fn(&MsrpEvent) -> bool,
    ) -> MsrpEvent {
        let by = Instant::now() + PATIENCE;
        loop {
            let events = self.events.entry(session).or_default();
            while let Some(event) = events.pop_front() {
                if wanted(&event) {
                    return event;
                }
            }
            assert!(self.pump(by), "{what}: nothing came; log: {:?}", self.logs);
        }
    }

    pub(crate) fn wait_for(&mut self, session: SessionId, event: MsrpEvent) {
        let what = format!("{event:?}");
        self.wait(session, &what, |e| *e == event);
    }

    /// Waits for a line of the log.
    pub(crate) fn wait_for_log(&mut self, words: &str) {
        self.wait_for_logs(words, 1);
    }

    /// Waits for this many lines of the log.
    pub(crate) fn wait_for_logs(&mut self, words: &str, count: usize) {
        let by = Instant::now() + PATIENCE;
        while self.logged(words) < count {
            assert!(Instant::now() < by, "log: {:?}", self.logs);
            self.pump(Instant::now() + Duration::from_millis(10));
        }
    }

    /// Number of log lines with these words so far.
    pub(crate) fn logged(&mut self, words: &str) -> usize {
        while self.pump(Instant::now()) {}
        self.logs.iter().filter(|line| line.contains(words)).count()
    }

    /// The final events of these legs, in order.
    pub(crate) fn wait_for_legs(&mut self, session: SessionId, count: usize) -> Vec<DeliveryState> {
        let mut states: HashMap<u32, DeliveryState> = HashMap::new();
        while states.len() < count {
            let event = self.wait(session, "a leg's last word", |event| {
                matches!(event, MsrpEvent::LegEnded(..))
            });
            if let MsrpEvent::LegEnded(LegNumber(number), state) = event {
                assert_eq!(states.insert(number, state), None, "one last word");
            }
        }
        (0..count as u32).map(|number| states[&number]).collect()
    }

    /// All events of a session so far.
    pub(crate) fn events(&mut self, session: SessionId) -> Vec<MsrpEvent> {
        while self.pump(Instant::now()) {}
        self.events.remove(&session).unwrap_or_default().into()
    }

    fn pump(&mut self, by: Instant) -> bool {
        loop {
            match self.relay().poll_event() {
                Some(RelayEvent::Session(session, event)) => {
                    self.events.entry(session).or_default().push_back(event);
                    return true;
                }
                Some(RelayEvent::Certificate(_)) => {}
                Some(RelayEvent::Log(level, line)) => self.logs.push(format!("{level:?} {line}")),
                None => {
                    let left = by.saturating_duration_since(Instant::now());
                    let left = Timespec::try_from(left).unwrap();
                    let fd = self.relay().as_fd();
                    assert!(fd.as_raw_fd() >= 0);
                    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
                    if poll(&mut fds, Some(&left)).unwrap() == 0 {
                        return false;
                    }
                }
            }
        }
    }

    /// Waits until the relay is in this state.
    pub(crate) fn until(&mut self, what: &str, is: impl Fn(&RelayTotals) -> bool) {
        let by = Instant::now() + PATIENCE;
        loop {
            let totals = self.relay().totals();
            if is(&totals) {
                return;
            }
            assert!(Instant::now() < by, "{what}: {totals:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until this much has been sent to the session's first leg.
    pub(crate) fn until_written(&mut self, session: SessionId, bytes: u64) {
        let by = Instant::now() + PATIENCE;
        // The relay may not know the leg yet.
        let written = |progress: SessionProgress| Some(progress.legs.first()?.written);
        while self.relay().progress(session).and_then(written) < Some(bytes) {
            assert!(Instant::now() < by, "there is no progress");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Closes what is open of a session, and forgets it.
    pub(crate) fn end_session(&mut self, session: SessionId, legs: u32) {
        self.command(session, RelayCommand::CloseOriginator);
        for number in 0..legs {
            self.command(session, RelayCommand::CloseLeg(LegNumber(number)));
        }
        self.relay().forget(session);
    }

    /// Nothing of any session is left.
    pub(crate) fn assert_empty(&mut self) {
        self.until("everything is released", |totals| {
            *totals == RelayTotals::default()
        });
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(relay) = self.relay.take() {
            relay.stop(PATIENCE);
        }
    }
}

/// Writes a message in chunks of this size.
pub(crate) fn send(peer: &mut Peer, end: &End, content: &[u8], chunk_bytes: usize) {
    let mut start = 0;
    loop {
        let len = chunk_bytes.min(content.len() - start);
        let last = start + len == content.len();
        let flag = if last { '$' } else { '+' };
        let part = &content[start..start + len];
        let total = Some(content.len());
        peer.write(&chunk(&end.own, &end.peer, start, total, part, flag));
        start += len;
        if last {
            return;
        }
    }
}

/// Reads this many responses; all must be 200.
pub(crate) fn expect_ok(peer: &mut Peer, count: usize) {
    for _ in 0..count {
        let response = peer.read().expect("a response");
        assert_eq!(response.code(), "200");
    }
}
