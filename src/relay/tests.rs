//! Internal errors, which no peer can cause. The behaviour of peers is tested in `tests/relay`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::input::Input;
use super::tls::Step;
use super::*;
use crate::log::LogLevel;
use crate::msrp::{MsrpUri, Path};
use crate::msrp_control::{LegNumber, MsrpEnds, MsrpEvent, RelayCommand, SessionId};
use crate::msrp_session::{DeliveryFailure, DeliveryState};
use crate::sdp::{Role, Transport};

fn started() -> Relay {
    let settings = RelaySettings::default();
    let listeners = Listeners::bind(&settings).unwrap();
    Relay::start(settings, listeners).unwrap()
}

fn next(relay: &mut Relay) -> RelayEvent {
    loop {
        if let Some(event) = relay.poll_event() {
            return event;
        }
        let mut fds = [PollFd::from_borrowed_fd(relay.as_fd(), PollFlags::IN)];
        let ten_seconds = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        assert_eq!(poll(&mut fds, Some(&ten_seconds)).unwrap(), 1, "no event");
    }
}

fn session(number: u8) -> SessionId {
    SessionId::parse(&format!("{number:032x}")).unwrap()
}

fn passive(name: &str) -> Box<MsrpEnds> {
    Box::new(MsrpEnds {
        own: MsrpUri::new(false, "192.0.2.1", 2855, name).unwrap(),
        peer: Path::from(MsrpUri::new(false, "192.0.2.2", 2855, "peer").unwrap()),
        transport: Transport::Tcp,
        role: Role::Passive,
        host: "192.0.2.2".to_owned(),
        port: 2855,
        fingerprint: None,
        accept_types: "*".to_owned(),
        max_size: None,
    })
}

fn open(relay: &mut Relay, number: u8) {
    let id = session(number);
    let originator = passive(&format!("o{number}"));
    relay.command(id, RelayCommand::OpenOriginator(originator));
    let leg = passive(&format!("l{number}"));
    relay.command(id, RelayCommand::OpenLeg(LegNumber(7), leg));
}

fn assert_last_words(relay: &mut Relay, number: u8) {
    let dropped = DeliveryState::Failed(DeliveryFailure::Dropped);
    for expected in [
        MsrpEvent::MessageFailed,
        MsrpEvent::LegEnded(LegNumber(7), dropped),
    ] {
        match next(relay) {
            RelayEvent::Session(id, event) => {
                assert_eq!((id, event), (session(number), expected));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_fault_ends_the_session_that_it_was_in_and_no_other() {
    let mut relay = started();
    open(&mut relay, 1);
    open(&mut relay, 2);
    relay.inputs.send(Input::Panic(Some(session(1))));
    let line = next(&mut relay);
    assert!(matches!(line, RelayEvent::Log(at, _) if at.level() == LogLevel::Critical));
    assert_last_words(&mut relay, 1);
    // A late command for a torn-down session gets its final event at once.
    let leg = RelayCommand::OpenLeg(LegNumber(8), passive("late"));
    relay.command(session(1), leg);
    let dropped = DeliveryState::Failed(DeliveryFailure::Dropped);
    let expected = MsrpEvent::LegEnded(LegNumber(8), dropped);
    let event = next(&mut relay);
    assert!(matches!(event, RelayEvent::Session(_, event) if event == expected));
    relay.command(session(2), RelayCommand::CloseOriginator);
    relay.command(session(2), RelayCommand::CloseLeg(LegNumber(7)));
    assert_last_words(&mut relay, 2);
    relay.forget(session(1));
    relay.forget(session(2));
    open(&mut relay, 1);
    relay.command(session(1), RelayCommand::CloseOriginator);
    relay.command(session(1), RelayCommand::CloseLeg(LegNumber(7)));
    assert_last_words(&mut relay, 1);
    relay.stop(Duration::from_secs(10));
}

#[test]
fn a_fault_outside_of_sessions_ends_all_and_the_relay_goes_on() {
    let mut relay = started();
    open(&mut relay, 1);
    relay.inputs.send(Input::Panic(None));
    let line = next(&mut relay);
    assert!(matches!(line, RelayEvent::Log(at, _) if at.level() == LogLevel::Critical));
    assert_last_words(&mut relay, 1);
    open(&mut relay, 2);
    relay.command(session(2), RelayCommand::CloseOriginator);
    relay.command(session(2), RelayCommand::CloseLeg(LegNumber(7)));
    assert_last_words(&mut relay, 2);
    relay.stop(Duration::from_secs(10));
}

fn timers(relay: &Relay) -> usize {
    let (reply, count) = mpsc::channel();
    relay.inputs.send(Input::Timers(reply));
    count.recv_timeout(Duration::from_secs(10)).unwrap()
}

#[test]
fn deadlines_go_with_what_they_are_for() {
    let mut relay = started();
    let recipient = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ends = passive("active");
    ends.role = Role::Active;
    ends.host = "127.0.0.1".to_owned();
    ends.port = recipient.local_addr().unwrap().port();
    open(&mut relay, 1);
    relay.command(session(1), RelayCommand::OpenLeg(LegNumber(8), ends));
    let (peer, _) = recipient.accept().unwrap();
    let event = next(&mut relay);
    let connected = MsrpEvent::LegConnected(LegNumber(8));
    assert!(matches!(event, RelayEvent::Session(_, event) if event == connected));
    assert_eq!(timers(&relay), 1, "the session's; none to connect by");
    relay.forget(session(1));
    assert_eq!(
        timers(&relay),
        1,
        "the connection's, for the peer to read on"
    );
    drop(peer);
    while relay.totals().connections > 0 {
        std::thread::yield_now();
    }
    assert_eq!(timers(&relay), 0);
    relay.stop(Duration::from_secs(10));
}

/// Answered at once, for there is no such session.
fn ask(wire: &mut (impl Read + Write), scheme: &str) -> String {
    let request = format!(
        "MSRP a786hjs2 SEND\r\nTo-Path: {scheme}://192.0.2.1:2855/nobody;tcp\r\n\
         From-Path: {scheme}://192.0.2.2:2855/peer;tcp\r\nMessage-ID: 1\r\n\
         Byte-Range: 1-0/0\r\n-------a786hjs2$\r\n"
    );
    wire.write_all(request.as_bytes()).unwrap();
    let mut answer = vec![0; 20];
    wire.read_exact(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

const NO_SUCH_SESSION: &str = "MSRP a786hjs2 481 ";

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).unwrap();
    stream
}

#[test]
fn whoever_needs_no_handshake_waits_for_none() {
    let folder = std::env::temp_dir().join(format!("cpm-relay-slow-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = TlsFiles {
        certificate: folder.join("certificate.pem"),
        private_key: folder.join("key.pem"),
        ca: None,
    };
    std::fs::write(&files.certificate, own.cert.pem()).unwrap();
    std::fs::write(&files.private_key, own.signing_key.serialize_pem()).unwrap();
    let listen = |transport| Listen {
        transport,
        address: ([127, 0, 0, 1], 0).into(),
    };
    let settings = RelaySettings {
        listen: vec![listen(Transport::Tcp), listen(Transport::Tls)],
        tls: Some(files),
        ..RelaySettings::default()
    };
    let listeners = Listeners::bind(&settings).unwrap();
    let addresses = listeners.addresses();
    let relay = Relay::start(settings, listeners).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();

    // All threads are busy, and others wait for them.
    let slow: Vec<mpsc::Sender<()>> = (0..8)
        .map(|_| {
            let (end, until) = mpsc::channel();
            relay.inputs.send(Input::Slow(Step::Slow(until)));
            end
        })
        .collect();
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut secure = rustls::StreamOwned::new(tls, connect(addresses[1]));
    let (shaken, hands) = mpsc::channel();
    let peer = thread::spawn(move || {
        let answer = ask(&mut secure, "msrps");
        shaken.send(()).unwrap();
        answer
    });
    while relay.totals().connections == 0 {
        thread::yield_now();
    }
    for _ in 0..3 {
        let answer = ask(&mut connect(addresses[0]), "msrp");
        assert!(answer.starts_with(NO_SUCH_SESSION), "{answer}");
    }
    assert!(hands.try_recv().is_err(), "no thread has been free");
    drop(slow);
    let answer = peer.join().unwrap();
    assert!(answer.starts_with(NO_SUCH_SESSION), "{answer}");
    relay.stop(Duration::from_secs(10));
}
