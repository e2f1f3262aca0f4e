//! What the lane wants done: copies to be sent, and copies that have ended.

use std::net::SocketAddr;

/// How a copy travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram, and again when nothing comes back.
    #[default]
    Udp,
    /// Over a connection of the proxy's, once.
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

/// Copies that leave by one socket, and end alike.
#[derive(Debug, Default)]
pub struct Batch {
    /// How.
    pub transport: Transport,
    /// The host's number of the socket.
    pub socket: u64,
    /// What all copies end with: the other header lines, and the body.
    pub tail: Vec<u8>,
    pub(super) heads: Vec<u8>,
    pub(super) copies: Vec<(usize, SocketAddr)>,
    /// Where each stands, and its key.
    pub(super) places: Vec<(u32, u64)>,
}

impl Batch {
    /// What each copy begins with, and where it goes. Neighbours with one destination are as long
    /// as each other, wherever that costs little.
    pub fn copies(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let starts = [0].into_iter().chain(self.copies.iter().map(|copy| copy.0));
        let heads = starts.zip(&self.copies);
        heads.map(|(start, (end, address))| (&self.heads[start..*end], *address))
    }

    /// How many copies.
    pub fn len(&self) -> usize {
        self.copies.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }
}

/// A copy that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Final status code, 408 where nobody answered.
    pub code: u16,
    /// Reason phrase, as received.
    pub reason: Vec<u8>,
    /// [`OutgoingRequest::attempt`](crate::controlling::OutgoingRequest::attempt).
    pub attempt: u64,
    /// The request as it was sent; of one that nobody asks for more than the first line.
    pub request: Vec<u8>,
}

/// What is to be done after a call.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Copies to be sent, in this order.
    pub batches: Vec<Batch>,
    /// Copies that have ended.
    pub ended: Vec<Ended>,
    /// Nobody sweeps, and somebody has to from now on.
    pub wakes: bool,
    /// Copies that were taken.
    pub taken: u32,
    /// Copies among `batches` that have been sent before.
    pub repeated: u32,
    /// Responses that have found nobody who waits for them.
    pub strays: u32,
}

impl Outbox {
    /// Takes a batch in, if there is anything in it.
    pub(super) fn push(&mut self, batch: Batch) {
        if !batch.is_empty() {
            self.batches.push(batch);
        }
    }
}
