//! What a user could run instead: Kamailio's `msrp` module, a relay from one to one. The sender
//! sends the message to each recipient itself, over one connection.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use cpm_testbed::{Bench, Proxy, ProxyConfig};

use super::contestant::Taken;
use super::sink::Sink;
use crate::cpu;

/// The module silently drops frames of about 13 KiB and more.
const CHUNK_BYTES: usize = 12 * 1024;
const CORE: &str = "tcp_accept_no_cl=yes\ntcp_rd_buf_size=131072\ntcp_conn_wq_max=16777216\ntcp_wq_max=268435456\nserver_signature=no\n";
const ROUTES: &str =
    "request_route {\n\texit;\n}\nevent_route[msrp:frame-in] {\n\tmsrp_relay();\n}";
/// MiB, for data that waits to be written.
const SHARED_MEMORY: &str = "512";

/// A Kamailio that relays MSRP.
pub(super) struct OneToOne {
    proxy: Proxy,
    // Last, so that it outlives its users.
    _bench: Bench,
}

impl OneToOne {
    pub(super) fn start() -> Self {
        let bench = Bench::new("benches_relay");
        let config = ProxyConfig::new(&format!("{CORE}{ROUTES}"))
            .argument("-m")
            .argument(SHARED_MEMORY)
            .argument("-x")
            .argument("fm")
            .load("msrp");
        Self {
            proxy: bench.proxy(&config),
            _bench: bench,
        }
    }

    /// Sends a message to each recipient, one after the other.
    pub(super) fn deliver(&self, content: &[u8], recipients: usize) -> Taken {
        let mut sender = TcpStream::connect(self.proxy.tcp().address()).expect("it listens");
        sender.set_nodelay(true).expect("a socket");
        let listeners: Vec<TcpListener> = (0..recipients)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"))
            .collect();
        // Responses find the sender's connection by its address.
        let own = sender.local_addr().expect("a connected socket");
        let from = format!("From-Path: msrp://{own}/sender;tcp\r\n");
        let paths: Vec<String> = listeners.iter().map(|l| self.path_to(l)).collect();
        // Establishes the connections.
        let mut streams = Vec::new();
        for (path, listener) in paths.iter().zip(&listeners) {
            let empty = format!(
                "MSRP hello123 SEND\r\nTo-Path: {path}\r\n{from}Message-ID: 0\r\n-------hello123$\r\n"
            );
            sender.write_all(empty.as_bytes()).expect("it reads");
            streams.push(listener.accept().expect("it connects").0);
        }
        let frames: Vec<Vec<u8>> = paths
            .iter()
            .map(|path| chunks(path, &from, content))
            .collect();
        let responses = sender.try_clone().expect("descriptors are to be had");
        let chunks = content.len().div_ceil(CHUNK_BYTES);
        let answered = thread::spawn(move || read_responses(responses, recipients * (chunks + 1)));

        let sink = Sink::start(streams, true);
        let cpu = cpu::time_of(&self.proxy);
        let start = Instant::now();
        for frames in &frames {
            sender.write_all(frames).expect("it reads");
        }
        let streams = sink.wait();
        let elapsed = start.elapsed();
        answered.join().expect("every chunk is answered");
        let cpu = cpu::time_of(&self.proxy) - cpu;
        drop(streams);
        Taken { cpu, elapsed }
    }

    fn path_to(&self, recipient: &TcpListener) -> String {
        let port = recipient.local_addr().expect("a bound socket").port();
        let relay = self.proxy.tcp().address();
        format!("msrp://{relay}/relay;tcp msrp://127.0.0.1:{port}/recipient;tcp")
    }

    pub(super) fn stop(self) {
        self.proxy.stop();
    }
}

/// A message in chunks.
fn chunks(path: &str, from: &str, content: &[u8]) -> Vec<u8> {
    let total = content.len();
    let mut frames = Vec::with_capacity(total + total / CHUNK_BYTES * 512 + 512);
    let mut start = 0;
    for (number, chunk) in content.chunks(CHUNK_BYTES).enumerate() {
        let end = start + chunk.len();
        let mut head = String::new();
        let _ = write!(
            head,
            "MSRP chunk{number:04} SEND\r\nTo-Path: {path}\r\n{from}Message-ID: 1\r\n\
             Byte-Range: {}-{end}/{total}\r\nContent-Type: message/cpim\r\n\r\n",
            start + 1
        );
        frames.extend_from_slice(head.as_bytes());
        frames.extend_from_slice(chunk);
        let flag = if end == total { '$' } else { '+' };
        frames.extend_from_slice(format!("\r\n-------chunk{number:04}{flag}\r\n").as_bytes());
        start = end;
    }
    frames
}

/// Reads this many responses.
fn read_responses(mut stream: TcpStream, count: usize) {
    let mut rest = Vec::new();
    let mut seen = 0;
    let mut block = vec![0; 64 * 1024];
    while seen < count {
        let read = stream.read(&mut block).expect("responses come");
        assert!(read > 0, "the relay ended too early");
        rest.extend_from_slice(&block[..read]);
        let last = memchr::memmem::rfind(&rest, b"$\r\n");
        let whole = last.map_or(0, |at| at + 3);
        seen += memchr::memmem::find_iter(&rest[..whole], " 200 ").count();
        rest.drain(..whole);
    }
}
