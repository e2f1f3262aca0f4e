//! Results of the lane for its caller: copies to send, and copies that have ended.

use std::net::SocketAddr;
use std::ops::Range;

/// The transport of a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// As a datagram, retransmitted if no response arrives.
    #[default]
    Udp,
    /// Over a connection of the proxy, once.
    Tcp,
}

impl Transport {
    pub(super) fn to_bits(self) -> u64 {
        u64::from(self == Transport::Tcp)
    }

    pub(super) fn of_bits(bits: u64) -> Self {
        match bits & 1 {
            0 => Transport::Udp,
            _ => Transport::Tcp,
        }
    }
}

/// Copies that leave by one socket.
#[derive(Debug, Default)]
pub struct Batch {
    /// UDP or TCP.
    pub transport: Transport,
    /// The host's number of the socket.
    pub socket: u64,
    /// Their texts, one behind the other: whoever sends them passes them on as one.
    pub(super) texts: Vec<u8>,
    pub(super) copies: Vec<(usize, SocketAddr)>,
    /// The place of each, and its key.
    pub(super) places: Vec<(u32, u64)>,
}

impl Batch {
    /// The text of each copy, and its destination. Neighbours with the same destination have the
    /// same length, unless that would cost much.
    pub fn copies(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let starts = [0].into_iter().chain(self.copies.iter().map(|copy| copy.0));
        let texts = starts.zip(&self.copies);
        texts.map(|(start, (end, address))| (&self.texts[start..*end], *address))
    }

    /// The number of copies.
    pub fn len(&self) -> usize {
        self.copies.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }
}

/// What the proxy has done with a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// How many copies it has taken; the connection has no room for the others.
    pub copies: usize,
    /// Those among them whose connection cannot be made, by their numbers in the batch.
    pub lost: Vec<usize>,
}

/// A copy that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Final status code; 408 if there was no answer.
    pub code: u16,
    /// Reason phrase, as received; empty if nothing needs it. In [`Outbox::texts`].
    pub reason: Range<usize>,
    /// [`OutgoingRequest::attempt`](crate::controlling::OutgoingRequest::attempt).
    pub attempt: u64,
    /// The request as it was sent; only its first line and Call-ID if nothing needs the rest. In
    /// [`Outbox::texts`].
    pub request: Range<usize>,
}

/// Results of a call.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Copies to send, in this order.
    pub batches: Vec<Batch>,
    /// Copies that have ended.
    pub ended: Vec<Ended>,
    /// The texts of these, in one piece.
    pub texts: Vec<u8>,
    /// No process sweeps, and one has to from now on.
    pub wakes: bool,
    /// Copies that were taken.
    pub taken: u32,
    /// Copies among `batches` that are retransmissions.
    pub repeated: u32,
    /// Responses to the lane that no copy is waiting for.
    pub strays: u32,
}

impl Outbox {
    /// Adds a batch, unless it is empty.
    pub(super) fn push(&mut self, batch: Batch) {
        if !batch.is_empty() {
            self.batches.push(batch);
        }
    }
}
