//! All recipients: a UDP socket that answers 200 to everything at once, and counts the requests of
//! each recipient.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt;

/// Room for a burst of some thousand requests; the system may grant less.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;

/// Far longer than tm's first retransmissions take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Header fields that a response repeats (RFC 3261 §8.2.6.2).
const REPEATED: [&[u8]; 5] = [b"Via:", b"From:", b"To:", b"Call-ID:", b"CSeq:"];

#[derive(Debug)]
pub(super) struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    count: Mutex<Count>,
    complete: Condvar,
}

/// The requests received for one message.
#[derive(Debug, Default)]
struct Count {
    /// Number of requests received by each recipient.
    received: Vec<u32>,
    reached: usize,
    /// Requests to recipients that were not listed.
    strays: usize,
    last: Vec<u8>,
}

impl Sink {
    /// Starts the one thread, which ends with the program.
    pub(super) fn start(port: u16) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let socket = UdpSocket::bind(address)?;
        sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES)?;
        let shared = Arc::<Shared>::default();
        thread::spawn({
            let shared = shared.clone();
            move || shared.answer_all(&socket)
        });
        Ok(Self { address, shared })
    }

    /// The address of the recipient with this number.
    pub(super) fn uri(&self, place: usize) -> String {
        format!("sip:u{place:04}@{}", self.address)
    }

    /// From now on counts for a request to the first `recipients` of them.
    pub(super) fn expect(&self, recipients: usize) {
        let mut count = self.shared.lock();
        count.received.clear();
        count.received.resize(recipients, 0);
        count.reached = 0;
    }

    /// Waits until each recipient has its request; returns how many arrived more than once.
    ///
    /// # Panics
    ///
    /// If a recipient never gets it, or an unlisted one does.
    pub(super) fn wait(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        let mut count = self.shared.lock();
        while count.reached < count.received.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{} of {} recipients reached",
                count.reached,
                count.received.len()
            );
            count = self
                .shared
                .complete
                .wait_timeout(count, left)
                .unwrap_or_else(|e| e.into_inner())
                .0;
        }
        assert_eq!(count.strays, 0, "requests to nobody on the list");
        count.received.iter().map(|&times| times as usize - 1).sum()
    }

    /// The request that came last.
    pub(super) fn last_datagram(&self) -> Vec<u8> {
        self.shared.lock().last.clone()
    }
}

impl Shared {
    fn answer_all(&self, socket: &UdpSocket) {
        let mut request = [0; 65_536];
        let mut response = Vec::with_capacity(2048);
        loop {
            let Ok((length, from)) = socket.recv_from(&mut request) else {
                continue;
            };
            let request = &request[..length];
            write_ok(request, &mut response);
            // A lost answer costs a retransmission, which is counted.
            let _ = socket.send_to(&response, from);
            self.note(request);
        }
    }

    fn note(&self, request: &[u8]) {
        let mut count = self.lock();
        count.last.clear();
        count.last.extend_from_slice(request);
        match place_of(request) {
            Some(place) if place < count.received.len() => {
                count.received[place] += 1;
                if count.received[place] == 1 {
                    count.reached += 1;
                }
                if count.reached == count.received.len() {
                    self.complete.notify_one();
                }
            }
            _ => count.strays += 1,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        self.count
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The number in `MESSAGE sip:u0042@…`.
fn place_of(request: &[u8]) -> Option<usize> {
    let user = request.strip_prefix(b"MESSAGE sip:u")?;
    let end = user.iter().position(|&b| b == b'@')?;
    std::str::from_utf8(&user[..end]).ok()?.parse().ok()
}

/// The 200 to a request.
fn write_ok(request: &[u8], response: &mut Vec<u8>) {
    response.clear();
    response.extend_from_slice(b"SIP/2.0 200 OK\r\n");
    for line in request
        .split_inclusive(|&b| b == b'\n')
        .skip(1)
        .take_while(|&line| line != b"\r\n")
    {
        if !REPEATED.iter().any(|name| line.starts_with(name)) {
            continue;
        }
        match line.strip_suffix(b"\r\n") {
            Some(to) if line.starts_with(b"To:") => {
                response.extend_from_slice(to);
                response.extend_from_slice(b";tag=sink\r\n");
            }
            _ => response.extend_from_slice(line),
        }
    }
    response.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"MESSAGE sip:u0002@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nTo: <sip:b>\r\n\
        From: <sip:c>;tag=1\r\nCSeq: 1 MESSAGE\r\nCall-ID: d\r\nAccept: e\r\n\r\nVia: in the body\r\n";

    #[test]
    fn the_answer_repeats_what_it_must() {
        let mut response = Vec::new();
        write_ok(REQUEST, &mut response);
        assert_eq!(
            String::from_utf8_lossy(&response),
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a\r\nTo: <sip:b>;tag=sink\r\nFrom: <sip:c>;tag=1\r\n\
             CSeq: 1 MESSAGE\r\nCall-ID: d\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn recipients_are_told_apart() {
        assert_eq!(place_of(REQUEST), Some(2));
        assert_eq!(place_of(b"MESSAGE sip:x@y"), None);
        let shared = Shared::default();
        shared.lock().received.resize(3, 0);
        shared.note(REQUEST);
        shared.note(REQUEST);
        shared.note(b"MESSAGE sip:u0003@127.0.0.1 SIP/2.0\r\n");
        let count = shared.lock();
        assert_eq!(
            (&*count.received, count.reached, count.strays),
            (&[0, 0, 2][..], 1, 1)
        );
    }
}
