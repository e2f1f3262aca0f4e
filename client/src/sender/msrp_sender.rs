//! Sending one message over MSRP: binding SEND, chunks, responses (7.2.1.2-200-F to -I).

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use cpm_wire::msrp::{
    ContentFields, ContinuationFlag, MsrpUri, Parser, Path, TransactionId, TransactionIds,
};
use cpm_wire::msrp_session::{Endpoint, EndpointConfig, EndpointEvent, RESPONSE_TIMEOUT};

use crate::identifiers::Random;
use crate::outcome::MsrpFailure;

/// How long the peer may accept no data while there is some to send.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum number of chunks waiting for their response before the next one starts.
const WINDOW: usize = 16;
/// Maximum content returned at once.
const PIECE_BYTES: usize = 16 * 1024;

/// Sends one message over one connection that is open.
#[derive(Debug)]
pub(super) struct MsrpSender {
    endpoint: Endpoint,
    parser: Parser,
    content: Bytes,
    message_id: TransactionId,
    /// Bytes per chunk, at least 1.
    chunk_bytes: usize,
    /// Start of the next piece.
    offset: usize,
    chunk: Option<Chunk>,
    answered: u64,
    phase: Phase,
    last_progress: Instant,
}

#[derive(Debug)]
struct Chunk {
    transaction_id: TransactionId,
    start: usize,
    end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The binding SEND waits for its response.
    Binding,
    Sending,
    /// The chunk being written is cut short; no further one begins.
    Aborting,
}

/// An event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MsrpEvent {
    /// This many bytes are now confirmed.
    Progress(u64),
    /// All of them.
    Complete,
    Failed(MsrpFailure),
}

impl MsrpSender {
    pub(super) fn new(
        now: Instant,
        own: MsrpUri,
        peer: Path,
        content: Bytes,
        chunk_bytes: usize,
        random: Random,
    ) -> Self {
        let config = EndpointConfig {
            own,
            peer,
            accepts: None,
            response_timeout: RESPONSE_TIMEOUT,
        };
        let mut endpoint = Endpoint::new(config, random);
        endpoint.send_empty(now);
        Self {
            endpoint,
            parser: Parser::new(),
            chunk_bytes: match chunk_bytes {
                0 => content.len().max(1),
                bytes => bytes,
            },
            content,
            message_id: TransactionIds::new(random).next_id(),
            offset: 0,
            chunk: None,
            answered: 0,
            phase: Phase::Binding,
            last_progress: now,
        }
    }

    /// Stops: no further chunk, and the one being written ends with `#`.
    pub(super) fn abort(&mut self) {
        self.phase = Phase::Aborting;
    }

    /// Handles bytes read from the connection.
    pub(super) fn handle_bytes(&mut self, now: Instant, input: &mut BytesMut) -> Vec<MsrpEvent> {
        loop {
            match self.parser.poll_event(input) {
                Ok(Some(event)) => self.endpoint.handle_event(event),
                Ok(None) => return self.events(now),
                Err(error) => {
                    let failure = MsrpFailure::Connection(error.to_string());
                    return vec![MsrpEvent::Failed(failure)];
                }
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<MsrpEvent> {
        self.endpoint.handle_timeout(now);
        let mut events = self.events(now);
        if self.is_waiting() && now >= self.last_progress + STALL_TIMEOUT {
            events.push(MsrpEvent::Failed(MsrpFailure::Stalled));
        }
        events
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let stall = self
            .is_waiting()
            .then_some(self.last_progress + STALL_TIMEOUT);
        [self.endpoint.poll_timeout(), stall]
            .into_iter()
            .flatten()
            .min()
    }

    fn is_waiting(&self) -> bool {
        self.phase == Phase::Sending && self.answered < self.content.len() as u64
    }

    fn events(&mut self, now: Instant) -> Vec<MsrpEvent> {
        let mut events = Vec::new();
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                EndpointEvent::Answered(_) if self.phase == Phase::Binding => {
                    self.phase = Phase::Sending;
                    self.last_progress = now;
                }
                EndpointEvent::Answered(bytes) => {
                    self.answered += bytes;
                    self.last_progress = now;
                    events.push(MsrpEvent::Progress(self.answered));
                    if self.phase == Phase::Sending && self.answered == self.content.len() as u64 {
                        events.push(MsrpEvent::Complete);
                    }
                }
                EndpointEvent::Refused(status) => {
                    events.push(MsrpEvent::Failed(MsrpFailure::Refused(status)));
                }
                EndpointEvent::NoResponse => {
                    events.push(MsrpEvent::Failed(MsrpFailure::NoResponse));
                }
                // The endpoint itself refuses content towards us.
                EndpointEvent::Started(_)
                | EndpointEvent::Content(..)
                | EndpointEvent::Complete(..)
                | EndpointEvent::Aborted(_) => {}
            }
        }
        events
    }

    /// The next bytes for the connection; call it while the connection has space.
    pub(super) fn poll_bytes(&mut self, now: Instant) -> Option<Bytes> {
        let Some(chunk) = self.chunk.take() else {
            if let Some(frame) = self.endpoint.poll_frame() {
                return Some(frame);
            }
            return self.start_chunk(now);
        };
        self.last_progress = now;
        let done = self.offset - chunk.start;
        if self.phase != Phase::Aborting && self.offset < chunk.end {
            let end = chunk.end.min(self.offset + PIECE_BYTES);
            let piece = self.content.slice(self.offset..end);
            self.offset = end;
            self.chunk = Some(chunk);
            return Some(piece);
        }
        // An abandoned one is marked as such, even if all its bytes have been sent.
        let flag = match (self.phase, chunk.end == self.content.len()) {
            (Phase::Aborting, _) => ContinuationFlag::Aborted,
            (_, true) => ContinuationFlag::Complete,
            (_, false) => ContinuationFlag::More,
        };
        let line = self
            .endpoint
            .end_chunk(&chunk.transaction_id, flag, done as u64);
        self.endpoint.chunk_written(now, &chunk.transaction_id);
        Some(line)
    }

    fn start_chunk(&mut self, now: Instant) -> Option<Bytes> {
        let may_start = self.phase == Phase::Sending
            && self.offset < self.content.len()
            && self.endpoint.unanswered() < WINDOW;
        if !may_start {
            return None;
        }
        self.last_progress = now;
        let content = ContentFields {
            content_type: b"message/cpim",
            others: &[],
        };
        let total = Some(self.content.len() as u64);
        let id = self.message_id.as_bytes();
        let (transaction_id, head) =
            self.endpoint
                .start_chunk(id, content, self.offset as u64, total);
        self.chunk = Some(Chunk {
            transaction_id,
            start: self.offset,
            end: self
                .content
                .len()
                .min(self.offset.saturating_add(self.chunk_bytes)),
        });
        Some(head)
    }
}
