//! MSRP over TLS: which certificates are trusted.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use cpm::msrp_control::MsrpEvent;
use cpm::msrp_control::{LegNumber, RelayCommand};
use cpm::msrp_session::{DeliveryFailure, DeliveryState};
use cpm::relay::{Listen, Listeners, RelayLimits, RelaySettings, TlsFiles};
use cpm::sdp::{Fingerprint, Role, Transport};
use cpm_testbed::AnyCertificate;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use crate::bench::{Bench, LOOPBACK, expect_ok, send};
use crate::peer::{PATIENCE, Peer, Received, content, empty_send};

/// A self-signed certificate with its key.
struct Certificate {
    signed: rcgen::CertifiedKey<rcgen::KeyPair>,
}

impl Certificate {
    fn new(name: &str) -> Self {
        let signed = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        Self { signed }
    }

    fn der(&self) -> CertificateDer<'static> {
        self.signed.cert.der().clone()
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.signed.signing_key.serialize_der()).unwrap()
    }

    /// In the form of `a=fingerprint`.
    fn fingerprint(&self) -> Fingerprint {
        let hash = ring::digest::digest(&ring::digest::SHA256, &self.der());
        Fingerprint {
            hash: "sha-256".to_owned(),
            value: hash.as_ref().to_vec(),
        }
    }
}

/// PEM files in a folder that is removed with the test.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let name = format!("cpm-relay-tls-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn of(&self, certificate: &Certificate, ca: Option<&Certificate>) -> TlsFiles {
        TlsFiles {
            certificate: self.write("cert.pem", &certificate.signed.cert.pem()),
            private_key: self.write("key.pem", &certificate.signed.signing_key.serialize_pem()),
            ca: ca.map(|ca| self.write("ca.pem", &ca.signed.cert.pem())),
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn timed(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A peer that connects to the relay, with or without a certificate.
fn client(to: SocketAddr, certificate: Option<&Certificate>) -> (Peer, CertificateDer<'static>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate::new()));
    let config = match certificate {
        Some(own) => builder
            .with_client_auth_cert(vec![own.der()], own.key())
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = timed(TcpStream::connect(to).unwrap());
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).unwrap();
    }
    let shown = tls.peer_certificates().unwrap()[0].clone().into_owned();
    (Peer::new(StreamOwned::new(tls, stream)), shown)
}

/// A recipient that the relay connects to.
fn server(listener: &TcpListener, certificate: &Certificate) -> io::Result<Received> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der()], certificate.key())
        .unwrap();
    let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
    let mut stream = timed(listener.accept()?.0);
    while tls.is_handshaking() {
        tls.complete_io(&mut stream)?;
    }
    let mut wire = StreamOwned::new(tls, stream);
    // With TLS 1.3 the relay's refusal follows our end of the handshake.
    let mut first = [0];
    wire.read_exact(&mut first)?;
    let wire = Pushed {
        first: Some(first[0]),
        wire,
    };
    Ok(Peer::new(wire).receive())
}

/// A stream of which one byte has been read already.
struct Pushed<T> {
    first: Option<u8>,
    wire: T,
}

impl<T: Read> Read for Pushed<T> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.first.take() {
            Some(byte) => {
                out[0] = byte;
                Ok(1)
            }
            None => self.wire.read(out),
        }
    }
}

impl<T: Write> Write for Pushed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wire.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.wire.flush()
    }
}

#[test]
fn from_a_sender_with_tls_to_recipients_with_tls() {
    let files = Files::new("both");
    let own = Certificate::new("relay.example");
    let authority = Certificate::new("localhost");
    let mut bench = Bench::with_tls(
        RelayLimits::default(),
        Some(files.of(&own, Some(&authority))),
    );
    assert_eq!(bench.fingerprint, Some(own.fingerprint()));
    let session = bench.session();
    let (alice, right, wrong) = (
        Certificate::new("alice"),
        Certificate::new("right"),
        Certificate::new("wrong"),
    );
    let mut end = bench.end("alice", Transport::Tls, Role::Passive, 1);
    end.ends.fingerprint = Some(alice.fingerprint());
    bench.open_originator(session, &end);

    // Self-signed and matching the fingerprint; or signed by an authority; or neither.
    let mut legs = Vec::new();
    for (number, host, shown, announced) in [
        (0, "127.0.0.1", &right, Some(&right)),
        (1, "127.0.0.1", &wrong, Some(&right)),
        (2, "localhost", &authority, None),
        (3, "127.0.0.1", &authority, None),
        (4, "localhost", &wrong, None),
    ] {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut end = bench.end(&format!("l{number}"), Transport::Tls, Role::Active, port);
        end.ends.host = host.to_owned();
        end.ends.fingerprint = announced.map(Certificate::fingerprint);
        bench.open_leg(session, number, &end);
        let shown = Certificate {
            signed: rcgen::CertifiedKey {
                cert: shown.signed.cert.clone(),
                signing_key: rcgen::KeyPair::try_from(shown.signed.signing_key.serialize_der())
                    .unwrap(),
            },
        };
        legs.push(std::thread::spawn(move || server(&listener, &shown)));
    }

    // A peer other than the announced one is refused, and does not keep the announced one out.
    for stranger in [Some(&wrong), None] {
        let (mut peer, _) = client(bench.addresses[1], stranger);
        peer.write(&empty_send(&end.own, &end.peer));
        assert_eq!(peer.read().unwrap().code(), "403");
    }
    let (mut sender, shown) = client(bench.addresses[1], Some(&alice));
    assert_eq!(shown, own.der());
    // Not in clear text either.
    let mut clear = Peer::connect(bench.addresses[0]);
    clear.write(&empty_send(&end.own, &end.peer));
    assert_eq!(clear.read().unwrap().code(), "481");

    let whole = content(3_000_000, 1);
    let expected = whole.clone();
    let writer = std::thread::spawn(move || {
        send(&mut sender, &end, &whole, 1_000_000);
        expect_ok(&mut sender, 3);
        sender
    });
    let states = bench.wait_for_legs(session, 5);
    let failed = DeliveryState::Failed(DeliveryFailure::Disconnected);
    assert_eq!(
        states,
        [
            DeliveryState::Delivered,
            failed,
            DeliveryState::Delivered,
            failed,
            failed
        ]
    );
    for (leg, state) in legs.into_iter().zip(states) {
        let received = leg.join().unwrap();
        match state {
            DeliveryState::Delivered => assert!(received.unwrap().content == expected),
            _ => assert!(received.is_err()),
        }
    }
    let mut sender = writer.join().unwrap();
    bench.end_session(session, 5);
    assert!(sender.read().is_none());
    drop((sender, clear));
    bench.assert_empty();
}

/// A recipient with TLS that reads slowly: back-pressure works through TLS too.
#[test]
fn a_passive_leg_with_tls_that_reads_late() {
    let files = Files::new("late");
    let own = Certificate::new("relay.example");
    // Nobody is held back: everything fits.
    let limits = RelayLimits {
        session_memory_bytes: 16_000_000,
        ..RelayLimits::default()
    };
    let mut bench = Bench::with_tls(limits, Some(files.of(&own, None)));
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    let leg = bench.end("leg", Transport::Tls, Role::Passive, 1);
    bench.open_leg(session, 0, &leg);
    bench.command(session, RelayCommand::NoMoreLegs);
    let (mut peer, _) = client(bench.addresses[1], None);
    peer.write(&empty_send(&leg.own, &leg.peer));
    bench.wait_for(session, MsrpEvent::LegConnected(LegNumber(0)));
    let whole = content(14_000_000, 2);
    send(&mut sender, &end, &whole, usize::MAX);
    expect_ok(&mut sender, 1);
    bench.wait_for(session, MsrpEvent::MessageComplete);
    bench.until("much is left", |totals| totals.memory_bytes > 2_000_000);
    let received = peer.receive();
    assert!(received.content == whole);
    bench.wait_for(
        session,
        MsrpEvent::LegEnded(LegNumber(0), DeliveryState::Delivered),
    );
    bench.end_session(session, 1);
    drop((sender, peer));
    bench.assert_empty();
}

/// Peers that all connect at once, some of whom leave in the middle of their handshake, while a
/// message is on its way.
#[test]
fn a_crowd_of_handshakes_beside_a_transfer() {
    const CROWD: usize = 120;
    let files = Files::new("crowd");
    let own = Certificate::new("relay.example");
    let limits = RelayLimits {
        max_unbound_per_source: 0,
        ..RelayLimits::default()
    };
    let mut bench = Bench::with_tls(limits, Some(files.of(&own, None)));
    let address = bench.addresses[1];
    let crowd: Vec<_> = (0..CROWD)
        .map(|number| {
            std::thread::spawn(move || {
                if number % 4 == 0 {
                    // The beginning of a record, and no more.
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
                    return "nothing".to_owned();
                }
                let (mut peer, _) = client(address, None);
                let name = |name| format!("msrps://127.0.0.1:9/{name};tcp");
                peer.write(&empty_send(&name("nobody"), &name("peer")));
                peer.read().unwrap().code().to_owned()
            })
        })
        .collect();
    let session = bench.session();
    let (end, mut sender) = bench.sender(session, "sender");
    let leg = bench.leg(session, 0, |mut peer| peer.receive());
    bench.command(session, RelayCommand::NoMoreLegs);
    let whole = content(2_000_000, 3);
    send(&mut sender, &end, &whole, 100_000);
    expect_ok(&mut sender, 20);
    assert_eq!(bench.wait_for_legs(session, 1), [DeliveryState::Delivered]);
    assert!(leg.join().unwrap().content == whole);
    for (number, peer) in crowd.into_iter().enumerate() {
        let expected = if number % 4 == 0 { "nothing" } else { "481" };
        assert_eq!(peer.join().unwrap(), expected);
    }
    bench.end_session(session, 1);
    drop(sender);
    bench.assert_empty();
}

#[test]
fn what_cannot_work_is_said_in_one_line() {
    let files = Files::new("wrong");
    let (one, other) = (Certificate::new("one"), Certificate::new("other"));
    let good = files.of(&one, None);
    let other_key = files.write("other.pem", &other.signed.signing_key.serialize_pem());
    let garbage = files.write("garbage.pem", "no PEM at all");
    let taken = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let listen = |transport, port| {
        vec![Listen {
            transport,
            address: (LOOPBACK, port).into(),
        }]
    };
    let tls = |tls: Option<TlsFiles>| RelaySettings {
        listen: listen(Transport::Tls, 0),
        tls,
        ..RelaySettings::default()
    };
    let taken_port = RelaySettings {
        listen: listen(Transport::Tcp, taken.local_addr().unwrap().port()),
        ..RelaySettings::default()
    };
    let with = |change: &dyn Fn(&mut TlsFiles)| {
        let mut files = good.clone();
        change(&mut files);
        tls(Some(files))
    };
    for (settings, said) in [
        (taken_port, "cannot listen on tcp:127.0.0.1:"),
        (tls(None), "needs a certificate"),
        (
            with(&|files| files.private_key.clone_from(&other_key)),
            "the key does not match",
        ),
        (
            with(&|files| files.certificate.clone_from(&garbage)),
            "garbage.pem cannot be used",
        ),
        (
            with(&|files| files.private_key = "/nowhere/key.pem".into()),
            "/nowhere/key.pem cannot be used",
        ),
        (
            with(&|files| files.ca = Some(garbage.clone())),
            "garbage.pem cannot be used",
        ),
    ] {
        let error = Listeners::bind(&settings).unwrap_err().to_string();
        assert!(error.contains(said) && !error.contains('\n'), "{error}");
    }
    assert!(Listeners::bind(&tls(Some(good))).is_ok());
}
