//! Connecting to a host that may have several addresses: each gets a short head start on the next
//! (RFC 8305 §5), so that one that does not answer costs a quarter of a second and not a time-out.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use cpm_wire::locating::taking_turns;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// How long an address is alone before the next one is tried beside it (RFC 8305 §8).
const HEAD_START: Duration = Duration::from_millis(250);
/// Most addresses of one host that are tried.
const MAX_ADDRESSES: usize = 8;

/// The addresses of a host: IPv6 and IPv4 in turn, IPv6 first (RFC 8305 §4, RFC 6157 §4.1).
pub(super) fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("{host}: {error}"))?;
    let found = in_turn(found);
    match found.is_empty() {
        true => Err(format!("{host} has no address")),
        false => Ok(found),
    }
}

/// The system names an address once for each kind of socket.
fn in_turn(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let (six, four): (Vec<_>, Vec<_>) = found.partition(SocketAddr::is_ipv6);
    let mut ordered = taking_turns(six, four);
    ordered.truncate(MAX_ADDRESSES);
    ordered
}

/// The connection to the first of these addresses that takes one, and which it was.
///
/// # Errors
/// What each address said, or that none of them said anything within that time.
pub(super) fn connect(
    addresses: &[SocketAddr],
    within: Duration,
) -> io::Result<(SocketAddr, TcpStream)> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(MAX_ADDRESSES);
    let mut waiting = addresses.iter().copied().enumerate();
    let mut under_way: Vec<(Token, SocketAddr, TcpStream)> = Vec::new();
    let mut failures: Vec<String> = Vec::new();
    let deadline = Instant::now() + within;
    let mut next_at = Instant::now();
    loop {
        let now = Instant::now();
        if now >= deadline {
            let silent = under_way.iter().map(|(_, address, _)| address.to_string());
            failures.extend(silent.map(|address| format!("{address}: no answer")));
            return Err(io::Error::new(io::ErrorKind::TimedOut, failures.join(", ")));
        }
        if under_way.is_empty() || now >= next_at {
            next_at = now + HEAD_START;
            match waiting.next() {
                Some((number, address)) => match start(&poll, Token(number), address) {
                    Ok(stream) => under_way.push((Token(number), address, stream)),
                    Err(error) => {
                        failures.push(format!("{address}: {error}"));
                        next_at = now;
                    }
                },
                None if under_way.is_empty() => return Err(io::Error::other(failures.join(", "))),
                None => next_at = deadline,
            }
        }
        let patience = next_at.min(deadline).saturating_duration_since(now);
        match poll.poll(&mut events, Some(patience)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            let mut places = under_way.iter();
            let Some(index) = places.position(|(token, ..)| *token == event.token()) else {
                continue;
            };
            match is_open(&under_way[index].2) {
                Ok(false) => {}
                Ok(true) => {
                    let (_, address, mut stream) = under_way.swap_remove(index);
                    poll.registry().deregister(&mut stream)?;
                    return Ok((address, stream));
                }
                Err(error) => {
                    let (_, address, _) = under_way.swap_remove(index);
                    failures.push(format!("{address}: {error}"));
                    next_at = now;
                }
            }
        }
    }
}

fn start(poll: &Poll, token: Token, address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    poll.registry()
        .register(&mut stream, token, Interest::WRITABLE)?;
    Ok(stream)
}

/// Whether it is open, and not still being opened.
fn is_open(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn listener(host: &str) -> TcpListener {
        TcpListener::bind((host, 0)).unwrap()
    }

    /// An address that answers nobody: its queue is full.
    fn silent() -> (socket2::Socket, Vec<TcpStream>, SocketAddr) {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        socket.bind(&any.into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let crowd = (0..4)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        std::thread::sleep(Duration::from_millis(50));
        (socket, crowd, address)
    }

    #[test]
    fn families_take_turns() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let found = [
            "192.0.2.1:5",
            "192.0.2.2:5",
            "[2001:db8::1]:5",
            "192.0.2.1:5",
        ]
        .map(parse);
        let wanted = ["[2001:db8::1]:5", "192.0.2.1:5", "192.0.2.2:5"].map(parse);
        assert_eq!(in_turn(found.into_iter()), wanted);
        let many = (0..100).map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        assert_eq!(in_turn(many).len(), MAX_ADDRESSES);
    }

    #[test]
    fn an_address_that_refuses_costs_nothing() {
        let live = listener("127.0.0.1").local_addr().unwrap();
        let server = TcpListener::bind(live).unwrap();
        let dead = listener("127.0.0.1").local_addr().unwrap();
        let begin = Instant::now();
        let (address, _) = connect(&[dead, live], PATIENCE).unwrap();
        assert_eq!(address, live);
        assert!(begin.elapsed() < HEAD_START, "{:?}", begin.elapsed());
        drop(server);
        let failure = connect(&[dead, live], PATIENCE).unwrap_err().to_string();
        assert!(
            failure.contains(&dead.to_string()) && failure.contains(&live.to_string()),
            "{failure}"
        );
    }

    #[test]
    fn an_address_that_is_silent_costs_a_head_start() {
        let (_socket, _crowd, silent) = silent();
        let server = listener("127.0.0.1");
        let live = server.local_addr().unwrap();
        let begin = Instant::now();
        let (address, _) = connect(&[silent, live], PATIENCE).unwrap();
        assert_eq!(address, live);
        assert!(begin.elapsed() >= HEAD_START);
        let failure = connect(&[silent], Duration::from_millis(300)).unwrap_err();
        assert_eq!(failure.kind(), io::ErrorKind::TimedOut);
    }
}
