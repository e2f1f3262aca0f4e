//! All recipients: one socket that answers 200 to everything, and counts the requests of each
//! recipient.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, recvfrom, sockopt};

/// Room for a burst of some thousand requests; the system may grant less.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;

/// Far longer than tm's first retransmissions take.
const PATIENCE: Duration = Duration::from_secs(5);

const NOWHERE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// Header fields that a response repeats (RFC 3261 §8.2.6.2).
const REPEATED: [&[u8]; 5] = [b"Via:", b"From:", b"To:", b"Call-ID:", b"CSeq:"];

/// Requests that are read before any of them is answered, where answers come in batches.
const BATCH: usize = 64;

/// Where the recipients are, and how they answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipients {
    /// One address, over UDP; each request is answered at once.
    OneHop,
    /// The same, but what has arrived is read before it is answered.
    InBatches,
    /// Over UDP, each at an address of its own.
    ManyHops,
    /// One address, over TCP.
    Tcp,
}

#[derive(Debug)]
pub(super) struct Sink {
    port: u16,
    recipients: Recipients,
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
    /// Starts its threads, which end with the program.
    pub(super) fn start(port: u16, recipients: Recipients) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let thread = shared.clone();
        if recipients == Recipients::Tcp {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
            thread::spawn(move || thread.accept_all(&listener));
        } else {
            // All addresses of 127.0.0.0/8 are this machine's.
            let address = match recipients {
                Recipients::ManyHops => Ipv4Addr::UNSPECIFIED,
                _ => Ipv4Addr::LOCALHOST,
            };
            let socket = UdpSocket::bind((address, port))?;
            sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES)?;
            let batch = match recipients {
                Recipients::InBatches => BATCH,
                _ => 1,
            };
            thread::spawn(move || thread.answer_all(&socket, batch));
        }
        Ok(Self {
            port,
            recipients,
            shared,
        })
    }

    /// Only the addresses of the recipients at this port, over UDP.
    pub(super) fn of_port(port: u16) -> Self {
        Self {
            port,
            recipients: Recipients::OneHop,
            shared: Arc::default(),
        }
    }

    /// The address of the recipient with this number.
    pub(super) fn uri(&self, place: usize) -> String {
        let port = self.port;
        match self.recipients {
            Recipients::ManyHops => {
                let (third, fourth) = (1 + place / 250 % 250, 1 + place % 250);
                format!("sip:u{place:04}@127.0.{third}.{fourth}:{port}")
            }
            Recipients::Tcp => format!("sip:u{place:04}@127.0.0.1:{port};transport=tcp"),
            Recipients::OneHop | Recipients::InBatches => {
                format!("sip:u{place:04}@127.0.0.1:{port}")
            }
        }
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
    /// Reads up to `batch` requests that wait, then answers them.
    fn answer_all(&self, socket: &UdpSocket, batch: usize) {
        let mut request = [0; 65_536];
        let mut responses: Vec<(Vec<u8>, SocketAddr)> = vec![(Vec::new(), NOWHERE); batch];
        loop {
            let mut count = 0;
            while count < batch {
                let flags = match count {
                    0 => RecvFlags::empty(),
                    _ => RecvFlags::DONTWAIT,
                };
                let Ok((length, _, Some(from))) = recvfrom(socket, &mut request[..], flags) else {
                    break;
                };
                let Ok(from) = SocketAddr::try_from(from) else {
                    continue;
                };
                let request = &request[..length];
                let (response, to) = &mut responses[count];
                response.clear();
                write_ok(request, response);
                *to = from;
                count += 1;
                self.note(request);
            }
            for (response, to) in &responses[..count] {
                // A lost answer costs a retransmission, which is counted.
                let _ = socket.send_to(response, *to);
            }
        }
    }

    fn accept_all(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            let shared = self.clone();
            thread::spawn(move || shared.answer_stream(stream));
        }
    }

    /// Answers what one read has brought by one write, as any program that reads a stream does.
    fn answer_stream(&self, mut stream: TcpStream) {
        let mut unread = Vec::new();
        let mut buffer = vec![0; 65_536];
        let mut responses = Vec::new();
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            unread.extend_from_slice(&buffer[..length]);
            responses.clear();
            let mut rest = &unread[..];
            while let Some(end) = end_of_request(rest) {
                let (request, behind) = rest.split_at(end);
                write_ok(request, &mut responses);
                self.note(request);
                rest = behind;
            }
            let done = unread.len() - rest.len();
            unread.drain(..done);
            if stream.write_all(&responses).is_err() {
                return;
            }
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

/// The length of the first request of a stream; `None`: it is not complete yet.
fn end_of_request(stream: &[u8]) -> Option<usize> {
    const LENGTH: &[u8] = b"\r\nContent-Length:";
    let head = memchr::memmem::find(stream, b"\r\n\r\n")? + 4;
    let length = memchr::memmem::find(&stream[..head], LENGTH)? + LENGTH.len();
    let value = std::str::from_utf8(&stream[length..head]).ok()?;
    let body: usize = value.lines().next()?.trim().parse().ok()?;
    (stream.len() >= head + body).then_some(head + body)
}

/// Appends the 200 to a request.
fn write_ok(request: &[u8], response: &mut Vec<u8>) {
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
    fn requests_of_a_stream_are_told_apart() {
        let request = b"MESSAGE sip:u1@a SIP/2.0\r\nContent-Length: 4\r\n\r\n\r\n\r\n";
        let stream = [&request[..], b"MESSAGE"].concat();
        assert_eq!(end_of_request(&stream), Some(request.len()));
        assert_eq!(end_of_request(&stream[..request.len() - 1]), None);
        assert_eq!(end_of_request(b"MESSAGE sip:u1@a SIP/2.0\r\n"), None);
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
