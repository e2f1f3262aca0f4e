//! Foreign requests: how long the proxy takes for something else meanwhile.
//!
//! An answer counts as received when it is in the client's socket, by the kernel's time stamp. When
//! the client gets a processor to read it, which it shares with the proxy here, is not the proxy's
//! doing.

use std::io::{self, IoSliceMut, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;

/// Between two of them.
pub(super) const PAUSE: Duration = Duration::from_millis(1);

/// When a request over UDP is sent again, and how often.
const T1: Duration = Duration::from_millis(500);
const TRIES: usize = 20;

/// Microseconds of each request until its answer while `busy` runs, over UDP and over TCP.
///
/// # Panics
/// When one stays without an answer.
pub(super) fn round_trips(proxy: SocketAddr, busy: impl FnOnce()) -> (Vec<f64>, Vec<f64>) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let udp = scope.spawn(|| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            socket.connect(proxy).expect("it is an address");
            socket.set_read_timeout(Some(T1)).expect("it is not zero");
            // As every client over UDP does; what is lost counts as late.
            repeat(&socket, &is_over, |number| {
                (0..TRIES)
                    .map(|_| {
                        socket.send(options("UDP", number).as_bytes())?;
                        receive(&socket, &mut [0; 2_048]).map(|(_, at)| at)
                    })
                    .find(Result::is_ok)
                    .unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
            })
        });
        let tcp = scope.spawn(|| {
            let mut stream = TcpStream::connect(proxy).expect("it listens");
            stream.set_nodelay(true).expect("it is a TCP stream");
            repeat(
                &stream.try_clone().expect("a descriptor"),
                &is_over,
                |number| {
                    stream.write_all(options("TCP", number).as_bytes())?;
                    let mut answer = Vec::new();
                    loop {
                        let mut room = [0; 2_048];
                        let (length, at) = receive(&stream, &mut room)?;
                        if length == 0 {
                            return Err(io::ErrorKind::UnexpectedEof.into());
                        }
                        answer.extend_from_slice(&room[..length]);
                        // It has no body.
                        if answer.ends_with(b"\r\n\r\n") {
                            return Ok(at);
                        }
                    }
                },
            )
        });
        busy();
        is_over.store(true, Ordering::Relaxed);
        let join = "no request stays without an answer";
        (udp.join().expect(join), tcp.join().expect(join))
    })
}

/// The time of each request until `one` has its answer, which arrives at `socket`.
fn repeat(
    socket: &impl AsFd,
    is_over: &AtomicBool,
    mut one: impl FnMut(usize) -> io::Result<Duration>,
) -> Vec<f64> {
    setsockopt(socket, sockopt::ReceiveTimestampns, &true).expect("Linux has time stamps");
    let mut times = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let sent = SystemTime::now().duration_since(UNIX_EPOCH);
        let sent = sent.expect("it is later than 1970");
        let received = one(times.len()).expect("it is answered");
        times.push(received.saturating_sub(sent).as_secs_f64() * 1e6);
        thread::sleep(PAUSE);
    }
    times
}

/// The number of bytes that were read, and when they arrived, in the time since 1970.
fn receive(socket: &impl AsRawFd, room: &mut [u8]) -> io::Result<(usize, Duration)> {
    let mut control = cmsg_space!(TimeSpec);
    let mut rooms = [IoSliceMut::new(room)];
    let none = MsgFlags::empty();
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut rooms, Some(&mut control), none)?;
    let at = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
        _ => None,
    });
    // The end of a connection has no time.
    Ok((message.bytes, at.unwrap_or_default()))
}

fn options(transport: &str, number: usize) -> String {
    format!(
        "OPTIONS sip:proxy@example.com SIP/2.0\r\n\
         Via: SIP/2.0/{transport} 127.0.0.1:9;rport;branch=z9hG4bKping{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:erik@example.com>;tag=1\r\nTo: <sip:proxy@example.com>\r\n\
         Call-ID: ping{number}\r\nCSeq: {number} OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}
