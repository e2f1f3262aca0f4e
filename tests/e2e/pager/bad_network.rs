//! Recipients behind a bad network: it loses, duplicates and reorders datagrams, reproducibly by a
//! seed.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

/// The fate of the copy with one Call-ID.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Copy {
    /// How often the proxy has sent it.
    pub(super) sent: u32,
    /// How often its recipient has received it.
    pub(super) arrived: u32,
}

/// Bytes of unread datagrams that a recipient has room for: Kamailio's `maxbuffer`.
const RECEIVE_BUFFER_BYTES: usize = 262_144;

type Copies = Arc<Mutex<HashMap<String, Copy>>>;

/// Recipients that answer 200 to each copy that reaches them.
pub(super) struct BadNetwork {
    address: SocketAddr,
    copies: Copies,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl BadNetwork {
    /// Percentage of datagrams lost in either direction, and percentage of the others that are
    /// duplicated.
    pub(super) fn start(lost: u64, doubled: u64) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let room = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        room.expect("the socket is open");
        let timeout = Some(Duration::from_millis(50));
        socket.set_read_timeout(timeout).expect("it is not zero");
        let address = socket.local_addr().expect("it is bound");
        let copies = Copies::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (to_carry, arrived) = mpsc::channel();
        // Only reads: datagrams for which the kernel has no room would be lost in addition to those
        // intended.
        let reader = {
            let (socket, stop) = (socket.try_clone().expect("it is open"), stop.clone());
            thread::spawn(move || read(&socket, &to_carry, &stop))
        };
        let network = Network {
            socket,
            lost,
            doubled,
            copies: copies.clone(),
            random: 88_172_645_463_325_252,
            held_back: None,
        };
        let carrier = thread::spawn(move || network.carry(&arrived));
        BadNetwork {
            address,
            copies,
            stop,
            threads: vec![reader, carrier],
        }
    }

    /// The address of all recipients.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All copies so far, by Call-ID.
    pub(super) fn copies(&self) -> HashMap<String, Copy> {
        self.copies.lock().expect("nobody panics with it").clone()
    }
}

impl Drop for BadNetwork {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

type Packet = (Vec<u8>, SocketAddr);

fn read(socket: &UdpSocket, to: &Sender<Packet>, stop: &AtomicBool) {
    let mut buffer = [0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = to.send((buffer[..length].to_vec(), from));
        }
    }
}

struct Network {
    socket: UdpSocket,
    lost: u64,
    doubled: u64,
    copies: Copies,
    random: u64,
    /// A delayed datagram arrives after its successor.
    held_back: Option<Packet>,
}

impl Network {
    fn carry(mut self, arrived: &Receiver<Packet>) {
        for (packet, from) in arrived {
            let (call_id, response) = answer(&String::from_utf8_lossy(&packet));
            let times = self.times();
            {
                let mut copies = self.copies.lock().expect("nobody panics with it");
                let copy = copies.entry(call_id).or_default();
                copy.sent += 1;
                copy.arrived += times;
            }
            for _ in 0..times {
                for _ in 0..self.times() {
                    self.send(response.as_bytes(), from);
                }
            }
        }
    }

    /// How often a datagram arrives.
    fn times(&mut self) -> u32 {
        match self.chance() < self.lost {
            true => 0,
            false => 1 + u32::from(self.chance() < self.doubled),
        }
    }

    fn send(&mut self, response: &[u8], to: SocketAddr) {
        if self.lost > 0 && self.held_back.is_none() && self.chance() < 10 {
            self.held_back = Some((response.to_vec(), to));
            return;
        }
        let _ = self.socket.send_to(response, to);
        if self.chance() < 50
            && let Some((response, to)) = self.held_back.take()
        {
            let _ = self.socket.send_to(&response, to);
        }
    }

    /// A number below 100.
    fn chance(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % 100
    }
}

/// The Call-ID of a request, and the response to it.
fn answer(request: &str) -> (String, String) {
    let mut response = "SIP/2.0 200 OK\r\n".to_owned();
    let mut call_id = String::new();
    for line in request.lines().take_while(|line| !line.is_empty()) {
        let name = line.split(':').next().unwrap_or_default();
        if name == "Call-ID" {
            line.clone_into(&mut call_id);
        }
        if ["Via", "To", "From", "Call-ID", "CSeq"].contains(&name) {
            response.push_str(line);
            response.push_str(if name == "To" { ";tag=1\r\n" } else { "\r\n" });
        }
    }
    response.push_str("Content-Length: 0\r\n\r\n");
    (call_id, response)
}
