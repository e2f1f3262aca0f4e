//! Recipients behind a network that loses, duplicates, delays and disconnects.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cpm_testbed::{Bench, cpm_message, unmarked};
use fastrand::Rng;

use crate::common::{EXPLODER, HANDLE, counter, cpm_proxy, exchange, well_again};

/// Percentage of datagrams to a recipient, and of its responses, that are lost.
const LOST: u32 = 20;
/// Percentage of responses that arrive twice.
const DOUBLED: u32 = 10;
/// Maximum delay of a response in milliseconds: one may overtake another.
const MAX_DELAY_MS: u64 = 300;

/// By Request-URI: the Call-IDs of the copies that have arrived.
type Copies = BTreeMap<String, BTreeSet<String>>;

pub(super) struct BadNetwork {
    pub(super) address: SocketAddr,
    copies: Arc<Mutex<Copies>>,
    is_parted: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl BadNetwork {
    pub(super) fn start(seed: u64) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let timeout = Some(Duration::from_millis(5));
        socket.set_read_timeout(timeout).expect("it is not zero");
        let address = socket.local_addr().expect("it is bound");
        let (copies, is_parted, is_over) = <(Arc<_>, Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let thread = {
            let (copies, parted, over) = (Arc::clone(&copies), is_parted.clone(), is_over.clone());
            thread::spawn(move || carry(&socket, seed, &copies, &parted, &over))
        };
        BadNetwork {
            address,
            copies,
            is_parted,
            is_over,
            thread: Some(thread),
        }
    }

    /// Whether the network is disconnected.
    pub(super) fn part(&self, is_parted: bool) {
        self.is_parted.store(is_parted, Ordering::Relaxed);
    }

    /// Number of recipients that have got one.
    pub(super) fn reached(&self) -> usize {
        self.copies.lock().expect("nobody panics with it").len()
    }

    /// Number of different copies that this recipient has got.
    pub(super) fn copies_for(&self, uri: &str) -> usize {
        let copies = self.copies.lock().expect("nobody panics with it");
        copies.get(uri).map_or(0, BTreeSet::len)
    }
}

impl Drop for BadNetwork {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn carry(
    socket: &UdpSocket,
    seed: u64,
    copies: &Mutex<Copies>,
    is_parted: &AtomicBool,
    is_over: &AtomicBool,
) {
    let mut random = Rng::with_seed(seed);
    let mut under_way: Vec<(Instant, Vec<u8>, SocketAddr)> = Vec::new();
    let mut buffer = [0; 65_536];
    while !is_over.load(Ordering::Relaxed) {
        let received = socket.recv_from(&mut buffer);
        let is_through = !is_parted.load(Ordering::Relaxed);
        if let Ok((length, from)) = received
            && is_through
            && random.u32(..100) >= LOST
        {
            let request = String::from_utf8_lossy(&buffer[..length]);
            let (answer, uri, call_id) = answer(&request);
            let mut copies = copies.lock().expect("nobody panics with it");
            copies.entry(uri).or_default().insert(call_id);
            drop(copies);
            let times = 1 + u32::from(random.u32(..100) < DOUBLED);
            for _ in 0..times {
                if random.u32(..100) >= LOST {
                    let delay = Duration::from_millis(random.u64(..MAX_DELAY_MS));
                    under_way.push((Instant::now() + delay, answer.clone(), from));
                }
            }
        }
        let now = Instant::now();
        under_way.retain(|(due, answer, to)| {
            let is_due = *due <= now;
            if is_due && is_through {
                let _ = socket.send_to(answer, to);
            }
            !is_due
        });
    }
}

/// 200, the Request-URI, the Call-ID.
fn answer(request: &str) -> (Vec<u8>, String, String) {
    let mut answer = "SIP/2.0 200 OK\r\n".to_owned();
    let mut call_id = String::new();
    for line in request.lines().take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name == "Call-ID" {
            call_id = value.trim().to_owned();
        }
        if ["Via", "From", "Call-ID", "CSeq"].contains(&name) {
            answer += &format!("{line}\r\n");
        }
        if name == "To" {
            answer += &format!("{line};tag=r\r\n");
        }
    }
    answer += "Content-Length: 0\r\n\r\n";
    let uri = request.split(' ').nth(1).unwrap_or_default();
    (answer.into_bytes(), uri.to_owned(), call_id)
}

/// How long the network is disconnected: long enough for timer E to have grown.
const PARTED: Duration = Duration::from_millis(1_700);
/// Timer F, and more.
const OVER: Duration = Duration::from_secs(45);

#[test]
fn when_the_network_is_back_each_recipient_gets_it_or_fails() {
    let bench = Bench::new("when_the_network_is_back");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let anne = bench.agent();
    let network = BadNetwork::start(3);
    network.part(true);
    let uris = (0..20).map(|user| format!("sip:u{user}@{}", network.address));
    let uris: Vec<String> = uris.collect();
    let request = cpm_message("sip:anne@example.com", EXPLODER)
        .recipients(uris.iter().map(|uri| unmarked(uri)))
        .request();
    exchange(&anne, &request, &proxy, 202);
    thread::sleep(PARTED);
    network.part(false);
    let back = Instant::now();
    while counter(&proxy, "delivered") + counter(&proxy, "failed") < uris.len() as u64 {
        assert!(
            back.elapsed() < OVER,
            "some neither have it nor have failed"
        );
        thread::sleep(Duration::from_millis(20));
    }
    well_again("20 % of datagrams lost, after a disconnection", back);
    let copies = |uri: &String| network.copies_for(uri);
    assert!(uris.iter().all(|uri| copies(uri) <= 1), "a copy came twice");
    let reached = uris.iter().filter(|uri| copies(uri) == 1).count() as u64;
    let delivered = counter(&proxy, "delivered");
    // A recipient whose answers are all lost has failed, and has it all the same.
    assert!(delivered <= reached, "{delivered} of {reached}");
    assert!(delivered >= 18, "{delivered}");
    proxy.stop();
}
