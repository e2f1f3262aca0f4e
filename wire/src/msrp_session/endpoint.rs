#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::reassembly::Reassembly;
use crate::msrp::{
    ByteRange, ContentFields, ContinuationFlag, Event, FailureReport, Field, Head, Kind, Malformed,
    Method, MsrpUri, Path, SendHead, Status, TransactionId, TransactionIds, write_bad_request,
    write_end_line, write_report, write_response, write_send,
};
use crate::sdp::accepts_type;

/// How long a response to a SEND may take (RFC 4975 §7.1).
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum number of messages of one session that are remembered, complete ones because chunks may
/// be sent again. A CPM session carries one message.
pub const MAX_OPEN_MESSAGES: usize = 8;
/// Maximum number of frames waiting to be written. A peer that sends requests but does not read the
/// responses reaches this limit; then the caller must not read from it.
pub const MAX_PENDING_FRAMES: usize = 64;
/// Maximum number of chunks waiting for their response before the next one starts.
pub const MAX_UNANSWERED: usize = 256;

/// Which connection a request came over; the numbers are the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Identifies a message within one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageKey(u64);

/// Data that one session end needs from SDP.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// Our own MSRP URI.
    pub own: MsrpUri,
    /// The peer's `a=path`.
    pub peer: Path,
    /// The content that we accept; `None` refuses all with 403.
    pub accepts: Option<Accepts>,
    /// [`RESPONSE_TIMEOUT`], except in tests.
    pub response_timeout: Duration,
}

/// The content that an end accepts.
#[derive(Debug, Clone)]
pub struct Accepts {
    /// Value of our `a=accept-types`: media types, `type/*` or `*`, with spaces between them.
    pub types: String,
    /// Maximum length of a message in bytes; beyond it the answer is 413.
    pub max_size: Option<u64>,
}

/// The beginning of an incoming message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingMessage {
    /// Identifies the message in the events that follow.
    pub key: MessageKey,
    /// Message-ID.
    pub message_id: Bytes,
    /// Content-Type.
    pub content_type: Bytes,
    /// Other fields about the content, such as Content-Disposition.
    pub content_fields: Vec<Field>,
    /// Size in bytes, if the sender knows it.
    pub total: Option<u64>,
}

/// An event at this end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointEvent {
    /// A message begins.
    Started(Box<IncomingMessage>),
    /// Its next bytes, in order and each of them once.
    Content(MessageKey, Bytes),
    /// All of it has arrived; the size in bytes.
    Complete(MessageKey, u64),
    /// The peer abandoned it, or violated the protocol within it.
    Aborted(MessageKey),
    /// A chunk of ours with this many bytes of content was answered with 200.
    Answered(u64),
    /// A chunk of ours was answered with this status, or a REPORT had it.
    Refused(Status),
    /// A chunk of ours was not answered in time.
    NoResponse,
}

/// One end of one MSRP session (RFC 4975). The caller passes in the events of the requests and
/// responses whose To-Path names this end, and takes frames and events after each call.
///
/// ```text
///  receiving a request                         sending a chunk
///  Idle --head--> Taking --end--> Idle, 200    start_chunk --> Unanswered --200--> Answered
///           |        | 400/413                     |  chunk_written: 30 s start
///           |        v                             |            |--not 2xx, REPORT--> Refused
///           +--> Discarding --end--> Idle          |            +--30 s---------> NoResponse
///        400 403 413 415 481 501                   +--forget_chunk--> (never was)
///
///  a message: Started --Content*--> Complete (REPORT if asked) | Aborted
/// ```
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    ids: TransactionIds,
    connection: Option<ConnectionId>,
    request: Request,
    messages: VecDeque<Message>,
    /// Whether a complete message waits for [`accept`](Self::accept).
    holds: bool,
    /// The chunk that completed a message, which has no answer yet.
    held: Option<Held>,
    next_key: u64,
    unanswered: VecDeque<Unanswered>,
    frames: VecDeque<Bytes>,
    events: VecDeque<EndpointEvent>,
}

#[derive(Debug)]
enum Request {
    Idle,
    /// Content goes to the message at `offset`.
    Taking {
        head: Box<Head>,
        key: MessageKey,
        offset: u64,
    },
    /// Without content; answered at its end.
    Empty(Box<Head>),
    /// Already answered, or not to be answered.
    Discarding,
}

#[derive(Debug)]
struct Message {
    key: MessageKey,
    message_id: Bytes,
    reassembly: Reassembly,
    total: Option<u64>,
    /// Known once the chunk with `$` has ended.
    size: Option<u64>,
    state: MessageState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageState {
    Arriving,
    Complete,
    /// The answer to further chunks.
    Refused(Status),
}

#[derive(Debug)]
struct Held {
    head: Box<Head>,
    key: MessageKey,
    size: u64,
}

#[derive(Debug)]
struct Unanswered {
    transaction_id: TransactionId,
    content_bytes: u64,
    /// Set once the end-line has been written.
    deadline: Option<Instant>,
}

impl Endpoint {
    /// An end that is not bound to a connection yet. `random` fills its argument from a
    /// cryptographic source.
    pub fn new(config: EndpointConfig, random: fn(&mut [u8])) -> Self {
        Self {
            config,
            ids: TransactionIds::new(random),
            connection: None,
            request: Request::Idle,
            messages: VecDeque::new(),
            holds: false,
            held: None,
            next_key: 0,
            unanswered: VecDeque::new(),
            frames: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Our own URI, by which the caller finds this end.
    pub fn own_uri(&self) -> &MsrpUri {
        &self.config.own
    }

    /// The connection that the session is bound to.
    pub fn connection(&self) -> Option<ConnectionId> {
        self.connection
    }

    /// Whether so many frames are waiting to be written that the caller must stop reading from the
    /// peer for now.
    pub fn is_congested(&self) -> bool {
        self.frames.len() >= MAX_PENDING_FRAMES
    }

    /// Binds the session to the connection that we opened, or over which a request for it arrived.
    /// Called at the head of each request.
    ///
    /// # Errors
    ///
    /// [`Status::BOUND_ELSEWHERE`]: the caller answers the request with it, over the connection on
    /// which it arrived, and passes none of it to this end (RFC 4975 §7.3).
    pub fn bind(&mut self, connection: ConnectionId) -> Result<(), Status> {
        match self.connection {
            Some(bound) if bound != connection => Err(Status::BOUND_ELSEWHERE),
            _ => {
                self.connection = Some(connection);
                Ok(())
            }
        }
    }

    /// The connection is lost. A partly received request is discarded; its message may continue
    /// over another connection.
    pub fn handle_disconnected(&mut self) {
        self.connection = None;
        self.request = Request::Idle;
    }

    /// Handles the next event of the requests and responses for this end.
    pub fn handle_event(&mut self, event: Event) {
        match event {
            Event::Head(head) => self.handle_head(head),
            Event::Malformed(malformed) => self.handle_malformed(&malformed),
            Event::Content(content) => self.handle_content(content),
            Event::End(flag) => self.handle_end(flag),
        }
    }

    /// The chunk that completes a message is not answered before [`accept`](Self::accept) or
    /// [`refuse`](Self::refuse): its sender must not take for delivered what may still be lost.
    pub fn hold_last_answer(&mut self) {
        self.holds = true;
    }

    /// Answers the chunk that has completed this message.
    pub fn accept(&mut self, key: MessageKey) {
        if let Some(held) = self.held.take_if(|held| held.key == key) {
            self.respond_complete(&held.head, key, held.size);
        }
    }

    /// Refuses a message: its remaining chunks are answered with `status`, their content is
    /// dropped.
    pub fn refuse(&mut self, key: MessageKey, status: Status) {
        if let Some(held) = self.held.take_if(|held| held.key == key) {
            self.respond(&held.head, status);
        }
        if let Some(message) = self.messages.iter_mut().find(|m| m.key == key) {
            message.state = MessageState::Refused(status);
        }
        if let Request::Taking {
            head, key: current, ..
        } = &self.request
            && *current == key
        {
            let head = head.clone();
            self.discard(&head, status);
        }
    }

    /// Writes the head of a chunk whose content starts at `offset` of the message, and expects its
    /// response.
    pub fn start_chunk(
        &mut self,
        message_id: &[u8],
        content: ContentFields<'_>,
        offset: u64,
        total: Option<u64>,
    ) -> (TransactionId, Bytes) {
        self.start_send(message_id, ByteRange::open(offset, total), Some(content))
    }

    /// The end-line of a chunk; `content_bytes` is the total content of the chunk.
    pub fn end_chunk(
        &mut self,
        transaction_id: &TransactionId,
        flag: ContinuationFlag,
        content_bytes: u64,
    ) -> Bytes {
        if let Some(chunk) = self.find_unanswered(transaction_id) {
            chunk.content_bytes = content_bytes;
        }
        let mut out = BytesMut::with_capacity(48);
        write_end_line(&mut out, transaction_id, flag, true);
        out.freeze()
    }

    /// The last byte of a chunk has been sent: the time for its response starts now. Returns its
    /// deadline.
    pub fn chunk_written(
        &mut self,
        now: Instant,
        transaction_id: &TransactionId,
    ) -> Option<Instant> {
        let deadline = now + self.config.response_timeout;
        let chunk = self.find_unanswered(transaction_id)?;
        chunk.deadline = Some(deadline);
        Some(deadline)
    }

    /// No byte of this chunk has been sent, and none will be.
    pub fn forget_chunk(&mut self, transaction_id: &TransactionId) {
        self.unanswered
            .retain(|chunk| chunk.transaction_id != *transaction_id);
    }

    /// Queues a SEND without content, which binds the session to a connection that we opened
    /// (RFC 4975 §5.4; readings N48).
    pub fn send_empty(&mut self, now: Instant) {
        let message_id = self.ids.next_id();
        let (transaction_id, head) =
            self.start_send(message_id.as_bytes(), ByteRange::UNKNOWN, None);
        let mut out = BytesMut::from(head);
        write_end_line(&mut out, &transaction_id, ContinuationFlag::Complete, false);
        self.frames.push_back(out.freeze());
        self.chunk_written(now, &transaction_id);
    }

    /// The number of our requests that wait for a response.
    pub fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// Whether a frame waits to be written.
    pub fn has_frames(&self) -> bool {
        !self.frames.is_empty()
    }

    /// The next response, REPORT or empty SEND, to be written completely and not inside a chunk.
    pub fn poll_frame(&mut self) -> Option<Bytes> {
        self.frames.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<EndpointEvent> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        // Chunks are sent in order, so the first has the earliest deadline.
        self.unanswered.front().and_then(|chunk| chunk.deadline)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.unanswered.pop_front();
            self.events.push_back(EndpointEvent::NoResponse);
        }
    }

    fn start_send(
        &mut self,
        message_id: &[u8],
        byte_range: ByteRange,
        content: Option<ContentFields<'_>>,
    ) -> (TransactionId, Bytes) {
        let transaction_id = self.ids.next_id();
        let mut out = BytesMut::with_capacity(512);
        write_send(
            &mut out,
            &SendHead {
                transaction_id: &transaction_id,
                to_path: &self.config.peer,
                from_path: &self.config.own,
                message_id,
                byte_range,
                // Readings N51: we want to know of failures; receipts are left to CPIM.
                success_report: false,
                failure_report: FailureReport::Yes,
                content,
            },
        );
        self.unanswered.push_back(Unanswered {
            transaction_id,
            content_bytes: 0,
            deadline: None,
        });
        (transaction_id, out.freeze())
    }

    fn find_unanswered(&mut self, transaction_id: &TransactionId) -> Option<&mut Unanswered> {
        // The chunk that ends is the last one that began.
        self.unanswered
            .iter_mut()
            .rev()
            .find(|chunk| chunk.transaction_id == *transaction_id)
    }

    fn handle_head(&mut self, head: Box<Head>) {
        match head.kind {
            Kind::Response(status) => self.handle_response(&head.transaction_id, status),
            Kind::Request(Method::Send) => self.handle_send(head),
            Kind::Request(Method::Report) => {
                self.request = Request::Discarding;
                if let Some(report) = head.status.filter(|report| !report.status.is_success()) {
                    self.events.push_back(EndpointEvent::Refused(report.status));
                }
            }
            Kind::Request(Method::Auth | Method::Unknown) => {
                self.discard(&head, Status::UNKNOWN_METHOD);
            }
        }
    }

    fn handle_response(&mut self, transaction_id: &TransactionId, status: Status) {
        self.request = Request::Discarding;
        let found = self
            .unanswered
            .iter()
            .position(|chunk| chunk.transaction_id == *transaction_id);
        // A response to no request: too late, or repeated.
        let Some(chunk) = found.and_then(|index| self.unanswered.remove(index)) else {
            return;
        };
        self.events.push_back(if status.is_success() {
            EndpointEvent::Answered(chunk.content_bytes)
        } else {
            EndpointEvent::Refused(status)
        });
    }

    fn handle_malformed(&mut self, malformed: &Malformed) {
        self.request = Request::Discarding;
        let mut out = BytesMut::new();
        write_bad_request(&mut out, malformed);
        self.push_frame(out);
    }

    fn handle_send(&mut self, head: Box<Head>) {
        if *head.to_path.first() != self.config.own || head.to_path.uris().nth(1).is_some() {
            return self.discard(&head, Status::NO_SUCH_SESSION);
        }
        if !head.has_content() {
            self.request = Request::Empty(head);
            return;
        }
        match self.take_message(&head) {
            Ok((key, offset)) => self.request = Request::Taking { head, key, offset },
            Err(status) => self.discard(&head, status),
        }
    }

    /// The message that a chunk belongs to, and the offset of its content.
    fn take_message(&mut self, head: &Head) -> Result<(MessageKey, u64), Status> {
        let accepts = self.config.accepts.as_ref().ok_or(Status::FORBIDDEN)?;
        // The parser requires both of a SEND with content.
        let (Some(message_id), Some(content_type)) = (&head.message_id, &head.content_type) else {
            return Err(Status::BAD_REQUEST);
        };
        let range = head.byte_range.unwrap_or(ByteRange::UNKNOWN);
        let too_large = |size: u64| accepts.max_size.is_some_and(|max| size > max);
        if let Some(message) = self.messages.iter().find(|m| m.message_id == *message_id) {
            return match message.state {
                MessageState::Refused(status) => Err(status),
                _ if range
                    .total()
                    .is_some_and(|t| message.total.is_some_and(|known| known != t)) =>
                {
                    Err(Status::BAD_REQUEST)
                }
                _ => Ok((message.key, range.offset())),
            };
        }
        if !accepts_type(&accepts.types, content_type) {
            return Err(Status::UNSUPPORTED_MEDIA_TYPE);
        }
        if too_large(range.total().unwrap_or(0).max(range.offset())) {
            return Err(Status::STOP_SENDING);
        }
        if self.messages.len() == MAX_OPEN_MESSAGES {
            let done = self
                .messages
                .iter()
                .position(|m| m.state != MessageState::Arriving);
            self.messages.remove(done.ok_or(Status::STOP_SENDING)?);
        }
        let key = MessageKey(self.next_key);
        self.next_key += 1;
        self.messages.push_back(Message {
            key,
            // A copy, as a slice would keep its read block alive as long as the session.
            message_id: Bytes::copy_from_slice(message_id),
            reassembly: Reassembly::default(),
            total: range.total(),
            size: None,
            state: MessageState::Arriving,
        });
        let about_content = |field: &&Field| {
            field
                .name
                .get(..8)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"Content-"))
        };
        let copy = |field: &Field| Field {
            name: Bytes::copy_from_slice(&field.name),
            value: Bytes::copy_from_slice(&field.value),
        };
        self.events
            .push_back(EndpointEvent::Started(Box::new(IncomingMessage {
                key,
                message_id: Bytes::copy_from_slice(message_id),
                content_type: Bytes::copy_from_slice(content_type),
                content_fields: head.others.iter().filter(about_content).map(copy).collect(),
                total: range.total(),
            })));
        Ok((key, range.offset()))
    }

    fn handle_content(&mut self, content: Bytes) {
        let Request::Taking { head, key, offset } = &mut self.request else {
            return;
        };
        let (key, start) = (*key, *offset);
        let Some(message) = self.messages.iter_mut().find(|m| m.key == key) else {
            return;
        };
        let end = start.saturating_add(content.len() as u64);
        *offset = end;
        let max_size = self
            .config
            .accepts
            .as_ref()
            .and_then(|accepts| accepts.max_size);
        let events = &mut self.events;
        let status = if message
            .size
            .or(message.total)
            .is_some_and(|limit| end > limit)
        {
            Some(Status::BAD_REQUEST)
        } else if max_size.is_some_and(|max| end > max) {
            Some(Status::STOP_SENDING)
        } else {
            let emit = |piece| events.push_back(EndpointEvent::Content(key, piece));
            let taken = message.reassembly.insert(start, content, emit);
            taken.is_err().then_some(Status::STOP_SENDING)
        };
        if let Some(status) = status {
            let head = head.clone();
            if message.state == MessageState::Arriving {
                message.state = MessageState::Refused(status);
                self.events.push_back(EndpointEvent::Aborted(key));
            }
            self.discard(&head, status);
        }
    }

    fn handle_end(&mut self, flag: ContinuationFlag) {
        match std::mem::replace(&mut self.request, Request::Idle) {
            Request::Idle | Request::Discarding => {}
            Request::Empty(head) => {
                // A chunk without content can still give up the message that it names.
                let message_id = head.message_id.as_ref();
                let named = self
                    .messages
                    .iter()
                    .find(|m| Some(&m.message_id) == message_id);
                let named = named.map(|message| (message.key, message.reassembly.delivered()));
                match named {
                    Some((key, delivered)) => self.answer_chunk(head, key, delivered, flag),
                    None => self.respond(&head, Status::OK),
                }
            }
            Request::Taking { head, key, offset } => self.answer_chunk(head, key, offset, flag),
        }
    }

    fn answer_chunk(
        &mut self,
        head: Box<Head>,
        key: MessageKey,
        offset: u64,
        flag: ContinuationFlag,
    ) {
        match self.end_of_chunk(key, offset, flag) {
            None => self.respond(&head, Status::OK),
            Some(size) if self.holds => self.held = Some(Held { head, key, size }),
            Some(size) => self.respond_complete(&head, key, size),
        }
    }

    /// The size of the message, if this was its last chunk.
    fn end_of_chunk(
        &mut self,
        key: MessageKey,
        offset: u64,
        flag: ContinuationFlag,
    ) -> Option<u64> {
        let arriving = |m: &&mut Message| m.key == key && m.state == MessageState::Arriving;
        let message = self.messages.iter_mut().find(arriving)?;
        match flag {
            ContinuationFlag::More => {}
            // The end of the last chunk is the size, whatever the total said before (readings N55).
            ContinuationFlag::Complete => message.size = Some(offset),
            ContinuationFlag::Aborted => {
                message.state = MessageState::Refused(Status::STOP_SENDING);
                self.events.push_back(EndpointEvent::Aborted(key));
                return None;
            }
        }
        let delivered = message.reassembly.delivered();
        let size = message.size.filter(|&size| delivered >= size)?;
        message.state = MessageState::Complete;
        self.events.push_back(EndpointEvent::Complete(key, size));
        Some(size)
    }

    /// 200 to the last chunk of a message, and the REPORT if it asks for one.
    fn respond_complete(&mut self, head: &Head, key: MessageKey, size: u64) {
        self.respond(head, Status::OK);
        let message = self.messages.iter().find(|message| message.key == key);
        if let Some(message) = message.filter(|_| head.success_report) {
            let mut out = BytesMut::with_capacity(512);
            let range = ByteRange::new(1, Some(size), Some(size)).unwrap_or(ByteRange::UNKNOWN);
            let (id, own) = (self.ids.next_id(), &self.config.own);
            let message_id = &message.message_id;
            write_report(
                &mut out,
                &id,
                &head.from_path,
                own,
                message_id,
                range,
                Status::OK,
            );
            self.push_frame(out);
        }
    }

    /// Answers now, without waiting for the end, so that the peer can stop; drops the rest of the
    /// request.
    fn discard(&mut self, head: &Head, status: Status) {
        self.respond(head, status);
        self.request = Request::Discarding;
    }

    fn respond(&mut self, head: &Head, status: Status) {
        let wanted = match head.failure_report {
            FailureReport::Yes => true,
            FailureReport::Partial => !status.is_success(),
            FailureReport::No => false,
        };
        if wanted {
            let mut out = BytesMut::with_capacity(256);
            write_response(&mut out, head, status);
            self.push_frame(out);
        }
    }

    fn push_frame(&mut self, frame: BytesMut) {
        if !frame.is_empty() {
            self.frames.push_back(frame.freeze());
        }
    }
}
