//! One connection: socket, TLS, parser, and the turn to write.

// `deny(unsafe_code)` applies to the crate; reading into uninitialised memory needs one such call.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io::{self, BufRead as _, ErrorKind, IoSlice, Write};
use std::net::{Shutdown, SocketAddr};

use bytes::{Buf, Bytes, BytesMut};
use mio::net::TcpStream;
use socket2::SockRef;

use super::timers::Timer;
use super::tls::{self, Step, Stepped};
use crate::msrp::{Event, Parser};
use crate::msrp_control::{SessionId, Side};
use crate::msrp_session::{LegId, READ_BLOCK_BYTES};
use crate::sdp::Fingerprint;

/// Frames written at once.
const FRAMES_AT_ONCE: usize = 32;
/// More than the plaintext and records that TLS ever buffers.
const TLS_BYTES: usize = 256 * 1024;
/// Blocks discarded at once.
const DRAINS_AT_ONCE: usize = 16;

/// A leg that wants to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Speaker {
    pub(super) session: SessionId,
    pub(super) leg: LegId,
}

/// The stage of a connection.
///
/// ```text
///  Connecting --TCP--> Handshake --TLS--> Open --no session left--> Lingering --> closed
///       |                                  ^
///       +---------------TCP----------------+
/// ```
#[derive(Debug)]
pub(super) enum ConnectionStage {
    /// We are opening it; the addresses left to try.
    Connecting(Vec<SocketAddr>),
    /// The TLS handshake is in progress.
    Handshake,
    /// MSRP.
    Open,
    /// Queued output is written, input is discarded.
    Lingering {
        /// Our direction has been closed.
        shut: bool,
    },
}

/// How a connection is secured.
pub(super) enum Security {
    /// Not at all.
    Clear,
    /// By TLS.
    Tls(Box<rustls::Connection>),
    /// By TLS whose handshake has a step to be taken; `None`: a handshake thread has it.
    Stepping(Option<Step>),
}

impl Security {
    /// TLS, while it is here.
    fn tls(&mut self) -> Option<&mut rustls::Connection> {
        match self {
            Security::Tls(tls) => Some(tls),
            Security::Clear | Security::Stepping(_) => None,
        }
    }
}

/// How a handshake continues.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shaken {
    /// With what the peer sends, or a handshake thread calculates.
    Later,
    /// With a step that a handshake thread has to take.
    Step,
    /// It is complete.
    Done,
}

/// Destination of the events of the request or response being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Nowhere,
    Originator(SessionId),
    Leg(SessionId, LegId),
}

/// Result of a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// There are bytes to parse.
    Some,
    /// Nothing for now.
    Nothing,
    /// The peer sends no more.
    End,
}

pub(super) struct Connection {
    stream: TcpStream,
    security: Security,
    parser: Parser,
    input: BytesMut,
    /// An event whose session may be opened by commands not carried out yet.
    pub(super) held: Option<Event>,
    pub(super) route: Route,
    pub(super) stage: ConnectionStage,
    /// The end that we opened it for.
    pub(super) opened_for: Option<(SessionId, Side)>,
    /// The ends that are bound to it.
    pub(super) bound: Vec<(SessionId, Side)>,
    /// Whole frames: responses to the originator, refusals of our own. They are sent when no leg is
    /// in the middle of a chunk.
    pub(super) frames: VecDeque<Bytes>,
    /// The leg that may write now.
    pub(super) speaker: Option<Speaker>,
    /// Bytes it has written in its turn.
    pub(super) spoken: usize,
    /// Legs that share this connection and wait for their turn.
    pub(super) waiting: VecDeque<Speaker>,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The peer has closed its direction: read on to the end of its data.
    pub(super) read_closed: bool,
    /// Not read from, because the memory of all sessions is used up.
    pub(super) held_back: bool,
    /// It is in the run queue.
    pub(super) queued: bool,
    /// Deadline of its current stage.
    pub(super) timer: Timer,
    /// Number of requests for sessions that do not exist.
    pub(super) strangers: u32,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, security: Security, stage: ConnectionStage) -> Self {
        // Responses and the last part of a chunk must not wait for more data. A socket that rejects
        // this option still works.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            security,
            parser: Parser::new(),
            input: BytesMut::new(),
            held: None,
            route: Route::Nowhere,
            stage,
            opened_for: None,
            bound: Vec::new(),
            frames: VecDeque::new(),
            speaker: None,
            spoken: 0,
            waiting: VecDeque::new(),
            readable: false,
            writable: false,
            read_closed: false,
            held_back: false,
            queued: false,
            timer: Timer::default(),
            strangers: 0,
        }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(super) fn is_secure(&self) -> bool {
        !matches!(self.security, Security::Clear)
    }

    /// Whether the peer has presented the certificate of its session description.
    pub(super) fn shows(&self, fingerprint: Option<&Fingerprint>) -> bool {
        match (fingerprint, &self.security) {
            (Some(fingerprint), Security::Tls(tls)) => tls::has_certificate(tls, fingerprint),
            _ => true,
        }
    }

    /// Whether the TCP connection that we are opening is established. `Ok(false)`: not yet.
    pub(super) fn is_connected(&self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Continues the TLS handshake as far as the socket allows.
    pub(super) fn shake_hands(&mut self) -> io::Result<Shaken> {
        let tls = match &mut self.security {
            Security::Clear => return Ok(Shaken::Done),
            Security::Stepping(Some(_)) => return Ok(Shaken::Step),
            Security::Stepping(None) => return Ok(Shaken::Later),
            Security::Tls(tls) => tls,
        };
        if tls.wants_write() && self.writable {
            self.writable = flush_tls(tls, &mut self.stream)?;
        }
        if !tls.is_handshaking() {
            // TLS may have read more than the handshake, which the socket does not signal.
            self.readable = true;
            return Ok(Shaken::Done);
        }
        while self.readable {
            match tls.read_tls(&mut self.stream) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {
                    let security = std::mem::replace(&mut self.security, Security::Stepping(None));
                    if let Security::Tls(tls) = security {
                        self.security = Security::Stepping(Some(Step::Continue(tls)));
                    }
                    return Ok(Shaken::Step);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Shaken::Later)
    }

    /// The step for a handshake thread to take.
    pub(super) fn next_step(&mut self) -> Option<Step> {
        match &mut self.security {
            Security::Stepping(step) => step.take(),
            Security::Clear | Security::Tls(_) => None,
        }
    }

    /// A handshake thread has taken the step.
    pub(super) fn handle_step(&mut self, stepped: Stepped) -> io::Result<()> {
        if let Some(tls) = stepped.tls {
            self.security = Security::Tls(tls);
        }
        stepped.result.map_err(|error| {
            // The alert tells the peer why.
            if let Some(tls) = self.security.tls() {
                let _ = flush_tls(tls, &mut self.stream);
            }
            io::Error::new(ErrorKind::InvalidData, error)
        })
    }

    /// Reads into `block`, which [`stow`](Self::stow) takes back when its events have been handled:
    /// one block serves all connections, so that an idle one needs none. Content that is kept keeps
    /// its block; the next read then uses a new one.
    pub(super) fn fill(&mut self, block: &mut BytesMut) -> io::Result<Filled> {
        // Bytes that the parser left go to the front.
        let left = self.input.len();
        block.reserve(READ_BLOCK_BYTES.max(left));
        block.extend_from_slice(&self.input);
        self.input = std::mem::take(block);
        if self.is_secure() {
            return self.fill_tls(left);
        }
        let room = self.input.spare_capacity_mut();
        let size = room.len().min(READ_BLOCK_BYTES);
        let read = match SockRef::from(&self.stream).recv(&mut room[..size]) {
            Ok(0) => return Ok(Filled::End),
            Ok(read) => read,
            Err(error) => return self.nothing_read(error),
        };
        // SAFETY: recv has written the first `read` bytes of the spare capacity.
        unsafe { self.input.set_len(left + read) };
        // Less than the available space: the socket is empty. Later data is an event of its own.
        self.readable = read == size || self.read_closed;
        Ok(Filled::Some)
    }

    /// Takes the block back, except bytes that the parser left: part of a head, or a possible
    /// end-line.
    pub(super) fn stow(&mut self, block: &mut BytesMut) {
        let rest = match self.input.is_empty() {
            true => BytesMut::new(),
            false => BytesMut::from(&self.input[..]),
        };
        *block = std::mem::replace(&mut self.input, rest);
        block.clear();
    }

    /// Records are short, so several of them fill one block.
    fn fill_tls(&mut self, left: usize) -> io::Result<Filled> {
        let Some(tls) = self.security.tls() else {
            return Ok(Filled::Nothing);
        };
        let full = left.max(READ_BLOCK_BYTES);
        let ended = loop {
            let mut reader = tls.reader();
            match reader.fill_buf() {
                Ok([]) => break Ok(true),
                Ok(plaintext) => {
                    let read = plaintext.len().min(full - self.input.len());
                    self.input.extend_from_slice(&plaintext[..read]);
                    reader.consume(read);
                    if self.input.len() == full {
                        // TLS may have more data, which the socket does not signal.
                        self.readable = true;
                        break Ok(false);
                    }
                    continue;
                }
                // Without close_notify; chunks themselves tell whether they are complete.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break Ok(true),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => break Err(error),
            }
            match tls.read_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    break Ok(false);
                }
                Err(error) => break Err(error),
            }
            if let Err(error) = tls.process_new_packets() {
                let _ = flush_tls(tls, &mut self.stream);
                break Err(io::Error::new(ErrorKind::InvalidData, error));
            }
        };
        match (ended?, self.input.len() > left) {
            // If the end arrived together with bytes, the next call returns the end alone.
            (_, true) => Ok(Filled::Some),
            (true, false) => Ok(Filled::End),
            (false, false) => Ok(Filled::Nothing),
        }
    }

    fn nothing_read(&mut self, error: io::Error) -> io::Result<Filled> {
        match error.kind() {
            ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(Filled::Nothing)
            }
            ErrorKind::Interrupted => Ok(Filled::Nothing),
            _ => Err(error),
        }
    }

    /// The next event in the bytes that have been read.
    pub(super) fn poll_event(&mut self) -> Result<Option<Event>, crate::msrp::ParseError> {
        match self.held.take() {
            Some(event) => Ok(Some(event)),
            None => self.parser.poll_event(&mut self.input),
        }
    }

    /// Upper bound of the bytes still to be read, including TLS overhead. `None`: not known.
    pub(super) fn unread(&self) -> Option<u64> {
        let in_socket = rustix::io::ioctl_fionread(&self.stream).ok()?;
        let in_tls = if self.is_secure() { TLS_BYTES } else { 0 };
        Some(in_socket + (self.input.len() + in_tls) as u64)
    }

    /// Reads and discards. `Ok(true)`: the peer has closed, too.
    pub(super) fn drain(&mut self, block: &mut BytesMut) -> io::Result<bool> {
        self.held = None;
        for _ in 0..DRAINS_AT_ONCE {
            self.input.clear();
            let filled = self.fill(block);
            self.input.clear();
            self.stow(block);
            match filled? {
                Filled::End => return Ok(true),
                Filled::Some => {}
                Filled::Nothing => break,
            }
        }
        Ok(false)
    }

    /// Whether TLS still holds data that was accepted for writing.
    pub(super) fn has_ciphertext(&self) -> bool {
        matches!(&self.security, Security::Tls(tls) if tls.wants_write())
    }

    /// Writes data that TLS has ready.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = self.security.tls()
            && self.writable
        {
            self.writable = flush_tls(tls, &mut self.stream)?;
        }
        Ok(())
    }

    /// Writes as much of `slices` as the connection takes. It is full when it is no longer
    /// writable; TLS may take less without being full.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let written = match self.security.tls() {
            None => loop {
                match (&self.stream).write_vectored(slices) {
                    Ok(written) => break written,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break 0,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            },
            Some(tls) => {
                let written = tls.writer().write_vectored(slices)?;
                self.writable = flush_tls(tls, &mut self.stream)?;
                // All ciphertext has been written, so there is space for more.
                if self.writable {
                    return Ok(written);
                }
                written
            }
        };
        if written < total {
            self.writable = false;
        }
        Ok(written)
    }

    /// Writes as many frames as possible.
    pub(super) fn write_frames(&mut self) -> io::Result<()> {
        while self.writable && !self.frames.is_empty() {
            let frames: Vec<Bytes> = self.frames.iter().take(FRAMES_AT_ONCE).cloned().collect();
            let mut slices = [IoSlice::new(&[]); FRAMES_AT_ONCE];
            for (slot, frame) in slices.iter_mut().zip(&frames) {
                *slot = IoSlice::new(frame);
            }
            let mut written = self.write(&slices[..frames.len()])?;
            while let Some(first) = self.frames.front_mut() {
                if first.len() > written {
                    first.advance(written);
                    break;
                }
                written -= first.len();
                self.frames.pop_front();
            }
        }
        Ok(())
    }

    /// Queues the remaining output of a leg that no longer writes itself: at the front if it was
    /// its turn.
    pub(super) fn take_over(&mut self, speaker: Speaker, output: Vec<Bytes>) {
        self.waiting.retain(|waiting| *waiting != speaker);
        if self.speaker == Some(speaker) {
            self.speaker = None;
            for frame in output.into_iter().rev() {
                self.frames.push_front(frame);
            }
        } else {
            self.frames.extend(output);
        }
    }

    /// Closes our direction: the peer reads everything that was written, then the end.
    pub(super) fn shut(&mut self) -> io::Result<()> {
        if let Some(tls) = self.security.tls() {
            tls.send_close_notify();
            flush_tls(tls, &mut self.stream)?;
        }
        self.stream.shutdown(Shutdown::Write)
    }
}

/// Writes all pending ciphertext. False: the socket is full.
fn flush_tls(tls: &mut rustls::Connection, stream: &mut TcpStream) -> io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(stream) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
