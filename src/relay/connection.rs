//! One connection: socket, TLS, parser, and whose turn it is to write.

// `deny(unsafe_code)` holds for the crate; reading into fresh memory needs one call that it denies.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};

use bytes::{Buf, Bytes, BytesMut};
use mio::net::TcpStream;
use socket2::SockRef;

use super::timers::Timer;
use super::tls;
use crate::msrp::{Event, Parser};
use crate::msrp_control::{SessionId, Side};
use crate::msrp_session::{LegId, READ_BLOCK_BYTES};
use crate::sdp::Fingerprint;

/// Frames that are written at once.
const FRAMES_AT_ONCE: usize = 32;
/// Plaintext and records that may lie in TLS: far less than this.
const TLS_BYTES: usize = 256 * 1024;
/// Blocks that are thrown away at once.
const DRAINS_AT_ONCE: usize = 16;

/// A leg that wants to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Speaker {
    pub(super) session: SessionId,
    pub(super) leg: LegId,
}

/// How far a connection is.
///
/// ```text
///  Connecting --TCP--> Handshake --TLS--> Open --no session left--> Lingering --> closed
///       |                                  ^
///       +---------------TCP----------------+
/// ```
#[derive(Debug)]
pub(super) enum ConnectionStage {
    /// We open it; the addresses that are left to try.
    Connecting(Vec<SocketAddr>),
    /// TLS is being set up.
    Handshake,
    /// MSRP.
    Open,
    /// What is lined up is written, what comes is thrown away.
    Lingering {
        /// Our direction has been closed.
        shut: bool,
    },
}

/// Where the events of the request or response go that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Nowhere,
    Originator(SessionId),
    Leg(SessionId, LegId),
}

/// What a read came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// Bytes are there to be parsed.
    Some,
    /// Nothing for now.
    Nothing,
    /// The peer sends no more.
    End,
}

pub(super) struct Connection {
    stream: TcpStream,
    tls: Option<Box<rustls::Connection>>,
    parser: Parser,
    input: BytesMut,
    /// An event whose session may be in commands that are yet to be carried out.
    pub(super) held: Option<Event>,
    pub(super) route: Route,
    pub(super) stage: ConnectionStage,
    /// The end that we opened it for.
    pub(super) opened_for: Option<(SessionId, Side)>,
    /// The ends that are bound to it.
    pub(super) bound: Vec<(SessionId, Side)>,
    /// Whole frames: responses to the originator, refusals of our own. They go out when no leg is
    /// in the midst of a chunk.
    pub(super) frames: VecDeque<Bytes>,
    /// The leg whose turn it is.
    pub(super) speaker: Option<Speaker>,
    /// How much it has written in its turn.
    pub(super) spoken: usize,
    /// Legs that share this connection and wait for their turn.
    pub(super) waiting: VecDeque<Speaker>,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The peer has closed its direction: what is there is to be read up to its end.
    pub(super) read_closed: bool,
    /// It is not read from, since the memory of all sessions is used up.
    pub(super) held_back: bool,
    /// It stands in the run queue.
    pub(super) queued: bool,
    /// By when something must have become of it.
    pub(super) timer: Timer,
    /// Requests for sessions that there are not.
    pub(super) strangers: u32,
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        tls: Option<rustls::Connection>,
        stage: ConnectionStage,
    ) -> Self {
        // Responses and the last part of a chunk are not to wait for others. A socket that refuses
        // works all the same.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            tls: tls.map(Box::new),
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
        self.tls.is_some()
    }

    /// Whether the peer has proven to be who its session description says.
    pub(super) fn shows(&self, fingerprint: Option<&Fingerprint>) -> bool {
        match (fingerprint, &self.tls) {
            (Some(fingerprint), Some(tls)) => tls::has_certificate(tls, fingerprint),
            _ => true,
        }
    }

    /// Whether the TCP connection that we open is there. `Ok(false)`: not yet.
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

    /// Goes on with the TLS handshake. `Ok(true)`: it is done.
    pub(super) fn shake_hands(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else {
            return Ok(true);
        };
        loop {
            if tls.wants_write() && self.writable {
                self.writable = flush_tls(tls, &mut self.stream)?;
            }
            if !tls.is_handshaking() {
                return Ok(true);
            }
            if !self.readable {
                return Ok(false);
            }
            match tls.read_tls(&mut self.stream) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if let Err(error) = tls.process_new_packets() {
                // The alert tells the peer why.
                let _ = flush_tls(tls, &mut self.stream);
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
        }
    }

    /// Reads into `block`, which goes back by [`stow`](Self::stow) when the events of it have been
    /// taken: one block serves all connections, so that one that is idle has none. Content that is
    /// kept keeps its block, and then the next is a new one.
    pub(super) fn fill(&mut self, block: &mut BytesMut) -> io::Result<Filled> {
        // What the parser left goes to the front.
        let left = self.input.len();
        block.reserve(READ_BLOCK_BYTES.max(left));
        block.extend_from_slice(&self.input);
        self.input = std::mem::take(block);
        if self.tls.is_some() {
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
        // Less than there was room for: the socket is empty. What comes later is an event of its
        // own.
        self.readable = read == size || self.read_closed;
        Ok(Filled::Some)
    }

    /// Takes the block back, but for what the parser left: part of a head, or what may become an
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
        let Some(tls) = &mut self.tls else {
            return Ok(Filled::Nothing);
        };
        self.input.resize(left.max(READ_BLOCK_BYTES), 0);
        let mut filled = left;
        let ended = loop {
            match tls.reader().read(&mut self.input[filled..]) {
                Ok(0) => break Ok(true),
                Ok(read) => {
                    filled += read;
                    if filled == self.input.len() {
                        // More may lie in TLS, of which the socket says nothing.
                        self.readable = true;
                        break Ok(false);
                    }
                    continue;
                }
                // Without close_notify; chunks say themselves whether they are whole.
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
        self.input.truncate(filled);
        match (ended?, filled > left) {
            // After an end that came with bytes, the next call finds the end alone.
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

    /// The next event in what has been read.
    pub(super) fn poll_event(&mut self) -> Result<Option<Event>, crate::msrp::ParseError> {
        match self.held.take() {
            Some(event) => Ok(Some(event)),
            None => self.parser.poll_event(&mut self.input),
        }
    }

    /// No more bytes than these are there to be read, those of TLS itself included. `None`: that
    /// cannot be known.
    pub(super) fn unread(&self) -> Option<u64> {
        let in_socket = rustix::io::ioctl_fionread(&self.stream).ok()?;
        let in_tls = if self.is_secure() { TLS_BYTES } else { 0 };
        Some(in_socket + (self.input.len() + in_tls) as u64)
    }

    /// Reads and throws away. `Ok(true)`: the peer has closed, too.
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

    /// Whether what has been accepted for writing is still inside of TLS.
    pub(super) fn has_ciphertext(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Writes what TLS has ready.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls
            && self.writable
        {
            self.writable = flush_tls(tls, &mut self.stream)?;
        }
        Ok(())
    }

    /// Writes as much of `slices` as the connection takes. It is full when it is not writable any
    /// more; TLS may take less without being full.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let written = match &mut self.tls {
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
                // All ciphertext is gone, so there is room for more.
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

    /// Writes frames, as many as go.
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

    /// Lines up what is left of a leg that does not write any more by itself: first of all if it
    /// was its turn.
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

    /// Closes our direction: the peer reads all that was written, then the end.
    pub(super) fn shut(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            flush_tls(tls, &mut self.stream)?;
        }
        self.stream.shutdown(Shutdown::Write)
    }
}

/// Writes ciphertext while there is some. False: the socket is full.
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
