//! One leg: its queued output, and its current chunk.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::super::Endpoint;
use super::types::{DeliveryState, OutgoingMessage};
use crate::msrp::{ContentFields, ContinuationFlag, TransactionId};

/// How many bytes of a chunk may follow once something else waits to be sent (RFC 4975 §7.1: chunks
/// longer than this must be interruptible).
pub(super) const INTERRUPT_BYTES: u64 = 2048;

#[derive(Debug)]
pub(super) struct Leg {
    pub(super) endpoint: Endpoint,
    pub(super) chunk_bytes: u64,
    pub(super) state: DeliveryState,
    pub(super) pieces: VecDeque<Piece>,
    /// The first piece is partly written.
    pub(super) begun: bool,
    /// The chunk of the last pieces, until it has its end-line.
    pub(super) chunk: Option<Chunk>,
    /// Start of the chunk that is on the wire, or was last.
    pub(super) wire_start: u64,
    /// Content up to here is queued in pieces.
    pub(super) queued: u64,
    /// Content up to here has been written.
    pub(super) written: u64,
    pub(super) delivered: u64,
    /// Set when `gather` found nothing; new content or a frame then queues `FanOutAction::Wake`.
    pub(super) idle: bool,
    /// Start of the segment that this leg waits for.
    pub(super) awaited: Option<u64>,
    /// Others are using the connection.
    pub(super) paused: bool,
    pub(super) progress: Instant,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    pub(super) transaction_id: TransactionId,
    pub(super) start: u64,
}

#[derive(Debug)]
pub(super) enum Piece {
    Head(Bytes, TransactionId),
    /// Start and end offset in the message.
    Content(u64, u64),
    EndLine(Bytes, TransactionId, ContinuationFlag),
    /// Whole response or empty SEND.
    Frame(Bytes),
}

impl Piece {
    pub(super) fn is_last(&self) -> bool {
        matches!(self, Self::EndLine(_, _, ContinuationFlag::Complete))
    }
}

impl Leg {
    /// The offset from which content must be kept for it.
    pub(super) fn needs(&self) -> Option<u64> {
        match self.state {
            DeliveryState::Waiting => Some(0),
            DeliveryState::Sending => Some(self.written),
            _ => None,
        }
    }

    pub(super) fn start_chunk(&mut self, message: &OutgoingMessage) {
        let content = ContentFields {
            content_type: &message.content_type,
            others: &message.content_fields,
        };
        // A total that proved wrong is not passed on.
        let total = message.total.filter(|&total| total >= self.queued);
        let (transaction_id, head) =
            self.endpoint
                .start_chunk(&message.message_id, content, self.queued, total);
        self.pieces.push_back(Piece::Head(head, transaction_id));
        self.chunk = Some(Chunk {
            transaction_id,
            start: self.queued,
        });
    }

    pub(super) fn end_chunk(&mut self, flag: ContinuationFlag) {
        if let Some(Chunk {
            transaction_id,
            start,
        }) = self.chunk.take()
        {
            let end_line = self
                .endpoint
                .end_chunk(&transaction_id, flag, self.queued - start);
            self.pieces
                .push_back(Piece::EndLine(end_line, transaction_id, flag));
        }
    }

    /// If a response or another session waits for a long chunk to end, ends the chunk soon.
    pub(super) fn interrupt(&mut self) {
        if !(self.endpoint.has_frames() || self.paused) {
            return;
        }
        let Some(transaction_id) = self.chunk_on_wire() else {
            return;
        };
        let open = self.pieces.len() == 1;
        match self.pieces.front_mut() {
            // All available content has been sent: more of it may take long to arrive.
            None => self.end_chunk(ContinuationFlag::More),
            Some(Piece::Content(from, to)) => {
                if !open && *to - *from <= INTERRUPT_BYTES {
                    return;
                }
                *to = (*to).min(*from + INTERRUPT_BYTES);
                self.queued = *to;
                // Everything queued after it is removed, except frames.
                let mut frames = self.pieces.split_off(1);
                for piece in &frames {
                    if let Piece::Head(_, never_was) = piece {
                        self.endpoint.forget_chunk(never_was);
                    }
                }
                frames.retain(|piece| matches!(piece, Piece::Frame(_)));
                self.chunk = Some(Chunk {
                    transaction_id,
                    start: self.wire_start,
                });
                self.end_chunk(ContinuationFlag::More);
                self.pieces.extend(frames);
            }
            Some(_) => {}
        }
    }

    /// Between chunks, only a chunk without content can tell that a message was abandoned.
    pub(super) fn tell_abort(&mut self, message: Option<&OutgoingMessage>) {
        let told = self
            .pieces
            .iter()
            .any(|piece| matches!(piece, Piece::EndLine(_, _, ContinuationFlag::Aborted)));
        if let Some(message) = message.filter(|_| self.written > 0 && !told) {
            self.start_chunk(message);
            self.end_chunk(ContinuationFlag::Aborted);
        }
    }

    /// Removes everything that has not been sent, and ends the sent part with `#`.
    pub(super) fn abort_chunk(&mut self) {
        let mut on_wire = self.chunk_on_wire();
        self.begun &= !matches!(self.pieces.front(), None | Some(Piece::Content(..)));
        let mut begun = self.begun;
        let mut kept = VecDeque::new();
        for piece in std::mem::take(&mut self.pieces) {
            let partly = std::mem::take(&mut begun);
            match piece {
                Piece::Frame(_) => kept.push_back(piece),
                // Part of it has been sent, so the rest must follow.
                Piece::Head(..) | Piece::EndLine(..) if partly => {
                    if let Piece::EndLine(..) = piece {
                        on_wire = None;
                    }
                    kept.push_back(piece);
                }
                Piece::Head(_, transaction_id) => self.endpoint.forget_chunk(&transaction_id),
                Piece::Content(..) | Piece::EndLine(..) => {}
            }
        }
        self.chunk = on_wire.map(|transaction_id| Chunk {
            transaction_id,
            start: self.written,
        });
        self.queued = self.written;
        self.pieces = kept;
        if self.chunk.is_some() {
            // After the rest of its head, before waiting frames.
            let frames = self.pieces.split_off(usize::from(self.begun));
            self.end_chunk(ContinuationFlag::Aborted);
            self.pieces.extend(frames);
        }
    }

    /// The chunk whose first byte has been sent and whose end-line has not begun.
    pub(super) fn chunk_on_wire(&self) -> Option<TransactionId> {
        match self.pieces.front() {
            Some(Piece::Head(_, transaction_id)) => self.begun.then_some(*transaction_id),
            Some(Piece::Content(..)) => {
                let end_line = self.pieces.iter().find_map(|piece| match piece {
                    Piece::EndLine(_, transaction_id, _) => Some(*transaction_id),
                    _ => None,
                });
                end_line.or(self.chunk.map(|chunk| chunk.transaction_id))
            }
            Some(Piece::EndLine(_, transaction_id, _)) => (!self.begun).then_some(*transaction_id),
            Some(Piece::Frame(_)) => None,
            None => self.chunk.map(|chunk| chunk.transaction_id),
        }
    }
}
