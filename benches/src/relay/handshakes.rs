//! A crowd of peers that connect over TLS at once, beside a message on its way: how late its
//! content is meanwhile.
//!
//! The sender writes a small block of content each millisecond, and the delay is the time until its
//! recipient has it. The relay's certificate has an RSA key, whose signatures take longest.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cpm::relay::{RelayLimits, TlsFiles};
use cpm_testbed::AnyCertificate;
use rustls::{ClientConfig, ClientConnection};

use super::contestant::Cpm;
use crate::chart::{Chart, Panel};
use crate::report::{Report, Sample, Samples, Table};
use crate::statistics::{Spread, quantile};

/// Peers that connect at once.
const CROWDS: [usize; 3] = [0, 50, 200];
/// Between two blocks.
const PAUSE: Duration = Duration::from_millis(1);
const BLOCK_BYTES: usize = 256;
/// The first byte of each block; it occurs nowhere else on the connection.
const MARK: u8 = b'@';
/// Blocks before and after the crowd.
const CALM: usize = 100;

const CPM: &str = "cpm";
const DELAY: &str = "ms until a block has arrived";
const LONGEST: &str = "longest, ms";
const ALL: &str = "ms until all have shaken hands";

/// Measures `rounds` times.
///
/// # Panics
/// When a handshake fails, or content does not arrive.
pub fn run(root: &Path, rounds: usize, about: &str) -> Report {
    let file = |name: &str| -> PathBuf { root.join("benches/tls").join(name) };
    let files = TlsFiles {
        certificate: file("certificate.pem"),
        private_key: file("key.pem"),
        ca: None,
    };
    let limits = RelayLimits {
        max_unbound_per_source: 0,
        ..RelayLimits::default()
    };
    let mut cpm = Cpm::start_with(limits, Some(files));
    let mut samples = Samples::default();
    let mut push = |size, round, quantity, value| {
        samples.push(Sample {
            size,
            contestant: CPM,
            round,
            quantity,
            value,
        });
    };
    for crowd in CROWDS {
        // Round 0 warms up and is not counted.
        for round in 0..=rounds {
            let (delays, all) = measure(&mut cpm, crowd);
            if round == 0 {
                continue;
            }
            for delay in &delays {
                push(crowd, round - 1, DELAY, delay.as_secs_f64() * 1e3);
            }
            let longest = delays.iter().max().copied().unwrap_or_default();
            push(crowd, round - 1, LONGEST, longest.as_secs_f64() * 1e3);
            push(crowd, round - 1, ALL, all.as_secs_f64() * 1e3);
        }
    }
    Report {
        name: "handshakes",
        text: write_text(rounds, &samples, about),
        picture: write_picture(rounds, &samples).write(),
        samples,
    }
}

/// The delays of all blocks that were written while the crowd shook hands, and how long that took.
fn measure(cpm: &mut Cpm, crowd: usize) -> (Vec<Duration>, Duration) {
    let (session, mut sender, mut recipient) = cpm.set_up(1).begun();
    let is_over = AtomicBool::new(false);
    let address = cpm.secure_address();
    let (written, arrived, all) = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut arrived = Vec::new();
            let mut block = vec![0; 64 * 1024];
            let patience = Some(Duration::from_millis(500));
            recipient.set_read_timeout(patience).expect("a socket");
            while let Ok(read @ 1..) = recipient.read(&mut block) {
                let now = Instant::now();
                let marks = block[..read].iter().filter(|&&byte| byte == MARK);
                arrived.extend(marks.map(|_| now));
            }
            arrived
        });
        let writer = scope.spawn(|| {
            let mut content = [b'x'; BLOCK_BYTES];
            content[0] = MARK;
            let mut written = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                written.push(Instant::now());
                sender.write_all(&content).expect("the relay reads");
                thread::sleep(PAUSE);
            }
            written
        });
        thread::sleep(PAUSE * CALM as u32);
        let began = Instant::now();
        shake_hands(address, crowd);
        let all = began.elapsed();
        thread::sleep(PAUSE * CALM as u32);
        is_over.store(true, Ordering::Relaxed);
        let join = "it does not fail";
        (writer.join().expect(join), reader.join().expect(join), all)
    });
    cpm.close(session, 1, (sender, recipient));
    assert_eq!(written.len(), arrived.len(), "all content has arrived");
    let delays = written.iter().zip(&arrived);
    (delays.map(|(from, to)| *to - *from).collect(), all)
}

/// All connect, and then all shake hands, from one thread.
fn shake_hands(to: SocketAddr, crowd: usize) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate::new()))
        .with_no_client_auth();
    let config = Arc::new(config);
    let mut peers: Vec<(TcpStream, ClientConnection)> = (0..crowd)
        .map(|_| {
            let stream = TcpStream::connect(to).expect("the relay listens");
            stream.set_nonblocking(true).expect("a socket");
            let name = "relay.example".try_into().expect("a host name");
            let tls = ClientConnection::new(Arc::clone(&config), name);
            (stream, tls.expect("a plain configuration"))
        })
        .collect();
    let mut done = Vec::new();
    while !peers.is_empty() {
        for (stream, tls) in &mut peers {
            match tls.complete_io(stream) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
                Ok(_) | Err(_) => {}
            }
        }
        let (shaken, left) = peers
            .into_iter()
            .partition(|(_, tls)| !tls.is_handshaking() && !tls.wants_write());
        done.extend::<Vec<_>>(shaken);
        peers = left;
        thread::sleep(Duration::from_micros(200));
    }
}

fn write_text(rounds: usize, samples: &Samples, about: &str) -> String {
    let mut table = Table::new(&[
        "handshakes at once",
        ALL,
        "blocks",
        "median, ms",
        "99 of 100 below",
        "longest of a round",
        "longest",
    ]);
    for crowd in CROWDS {
        let delays = samples.of(crowd, CPM, DELAY);
        let longest = samples.of(crowd, CPM, LONGEST);
        table.row([
            crowd.to_string(),
            Spread::of(&samples.of(crowd, CPM, ALL)).to_string(),
            delays.len().to_string(),
            format!("{:.2}", quantile(&delays, 0.5)),
            format!("{:.2}", quantile(&delays, 0.99)),
            Spread::of(&longest).to_string(),
            format!("{:.2}", longest.iter().fold(0.0_f64, |a, b| a.max(*b))),
        ]);
    }
    format!(
        "Content of a message beside TLS handshakes, RSA keys of 2048 bits: {rounds} rounds, median (quartiles) of them;\n\
         a block of {BLOCK_BYTES} bytes each {} ms, and the time until its recipient has it\n{about}\n{}",
        PAUSE.as_millis(),
        table.write()
    )
}

fn write_picture(rounds: usize, samples: &Samples) -> Chart {
    let groups = |quantity| {
        let group = |crowd: usize| {
            let spread = Spread::of(&samples.of(crowd, CPM, quantity));
            (crowd.to_string(), vec![spread])
        };
        CROWDS.map(group).into()
    };
    let panel = |quantity: &str, of| Panel {
        quantity: quantity.to_owned(),
        better: "less",
        group_axis: "TLS handshakes at once".into(),
        groups: groups(of),
    };
    Chart {
        title: "Content beside TLS handshakes".into(),
        subtitle: format!("Medians of {rounds} rounds, whiskers are quartiles"),
        series: vec![CPM.to_owned()],
        panels: vec![
            panel("longest delay of a block, ms", LONGEST),
            panel(ALL, ALL),
        ],
    }
}
