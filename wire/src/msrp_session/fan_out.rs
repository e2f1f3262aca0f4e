use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use super::content::{Content, SEGMENT_BYTES, Whereabouts};
use super::hold::Hold;
use super::{
    ConnectionId, Endpoint, EndpointConfig, EndpointEvent, IncomingMessage, MAX_UNANSWERED,
    READ_BLOCK_BYTES,
};
use crate::msrp::{ContentFields, ContinuationFlag, Event, Field, Status, TransactionId};

/// Least memory for one message: below this, spooling would move pieces too small to be worth it.
pub const MIN_MEMORY_BYTES: usize = 1024 * 1024;
/// Segments that may be asked of the spool at once; each of them may come on top of the memory limit.
const MAX_FETCHES: usize = 8;
/// Frames and runs of content that one leg has lined up. Small chunks make two frames each.
const MAX_PIECES: usize = 64;
/// How much of a chunk may follow once something else waits to be sent (RFC 4975 §7.1: chunks longer than this must be
/// interruptible).
const INTERRUPT_BYTES: u64 = 2048;
/// How long a spool that has refused content is not asked again: space may come back at any time.
const SPOOL_RETRY: Duration = Duration::from_secs(1);

/// Names a leg of one [`FanOut`]; calls on another fan-out panic or reach another leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(usize);

impl LegId {
    /// Its place in the order of [`FanOut::add_leg`], from 0.
    pub fn index(self) -> usize {
        self.0
    }
}

/// What bounds one message on its way.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Content in memory; from three quarters of it on, content goes to the spool. Taken as at least [`MIN_MEMORY_BYTES`].
    pub memory_bytes: usize,
    /// Content in the spool; 0 if there is none.
    pub spool_bytes: u64,
    /// A leg that takes no byte for so long while some wait for it is dropped.
    pub stall: Duration,
    /// How long the originator may be held back for legs that are behind ([`MAX_HOLD`](super::MAX_HOLD) but in tests).
    pub hold: Duration,
}

impl Limits {
    /// What [`FanOut::memory`] never exceeds if the caller obeys [`Action::StopReading`] within one read block. As a
    /// slice of at least half a block can keep the block alive, twice this is the bound on real memory.
    pub fn memory_bound(&self) -> usize {
        self.memory() + 2 * READ_BLOCK_BYTES + MAX_FETCHES * SEGMENT_BYTES
    }

    fn memory(&self) -> usize {
        self.memory_bytes.max(MIN_MEMORY_BYTES)
    }

    fn high_water(&self) -> usize {
        self.memory() / 4 * 3
    }
}

/// The message that all legs get: what stays the same in each duplicate (9.1.2-send-2, spec-notes N51).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// Message-ID of the originator.
    pub message_id: Bytes,
    /// Content-Type.
    pub content_type: Bytes,
    /// Other fields about the content.
    pub content_fields: Vec<Field>,
    /// Size in bytes, if it is known.
    pub total: Option<u64>,
}

impl From<IncomingMessage> for OutgoingMessage {
    fn from(message: IncomingMessage) -> Self {
        let IncomingMessage {
            message_id,
            content_type,
            content_fields,
            total,
            ..
        } = message;
        Self {
            message_id,
            content_type,
            content_fields,
            total,
        }
    }
}

/// What the fan-out must know of a leg.
#[derive(Debug, Clone)]
pub struct LegConfig {
    /// Both ends of the leg's session.
    pub endpoint: EndpointConfig,
    /// Most content in one chunk; `None`: no limit.
    pub chunk_bytes: Option<u64>,
}

/// Who opened the connection of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opener {
    /// We did: our first SEND, an empty one, binds the session.
    Us,
    /// The peer did: its SEND has bound the session.
    Peer,
}

/// How far a leg is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegState {
    /// No connection yet.
    Waiting,
    /// Content is going out, or the end of a message that was given up.
    Sending,
    /// All has gone out; responses are due.
    Finishing,
    /// Each chunk was answered with 200.
    Delivered,
    /// The originator gave the message up, and the leg was told.
    Aborted,
    /// The leg is lost.
    Failed(LegFailure),
}

impl LegState {
    /// Whether nothing more will happen on this leg.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Aborted | Self::Failed(_))
    }
}

/// Why a leg is lost. It concerns this leg alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegFailure {
    /// The peer answered with this status, or a REPORT did.
    Refused(Status),
    /// A response did not come in time.
    NoResponse,
    /// The peer took no byte for the time of [`Limits::stall`].
    Stalled,
    /// The originator was held back for the time of [`Limits::hold`], since this leg had not taken what memory holds.
    Behind,
    /// The connection broke.
    Disconnected,
    /// Content that this leg needed cannot be read from the spool.
    SpoolLost,
    /// The caller took the leg out.
    Dropped,
}

/// A leg as others may see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegStatus {
    /// How far it is.
    pub state: LegState,
    /// Content bytes that have gone out.
    pub written: u64,
    /// Content bytes in chunks that were answered with 200.
    pub delivered: u64,
}

/// What the caller has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// This leg may have something to write now: [`FanOut::gather`] when its connection is writable.
    Wake(LegId),
    /// Write these bytes to the spool at `offset` of the message, then [`FanOut::handle_spilled`] or
    /// [`FanOut::handle_not_spilled`]. Never two at a time.
    Spill {
        /// Where the first piece lies in the message.
        offset: u64,
        /// The bytes, one piece after another.
        pieces: Vec<Bytes>,
    },
    /// Read `len` bytes at `offset` from the spool, then [`FanOut::handle_fetched`] or [`FanOut::handle_not_fetched`].
    Fetch {
        /// Where they lie in the message.
        offset: u64,
        /// How many; at most 64 KiB.
        len: usize,
    },
    /// Read no more from the originator: memory is full, and the spool is full or slow.
    StopReading,
    /// Read from the originator again.
    ReadAgain,
    /// The originator has been held back for a second: something for the operator. Once.
    HeldBack,
    /// As after [`FanOut::no_more_legs`]: the originator was held back for too long because more legs could come.
    NoMoreLegs,
    /// The leg has reached this final state. If [`FanOut::has_output`], an end-line is still to be written before its
    /// connection is closed.
    LegEnded(LegId, LegState),
}

/// Gives the content of one incoming message to any number of legs, each at its own pace.
///
/// The one law: after each call of a `handle_*` or of `add_leg`, take all of [`poll_action`](Self::poll_action); then wait
/// for bytes, writability, the spool, or [`poll_timeout`](Self::poll_timeout). To write to a leg:
/// [`gather`](Self::gather), a vectored write, [`handle_written`](Self::handle_written), until nothing is gathered or the
/// connection is full.
///
/// ```text
///  a leg:
///  Waiting --connected--> Sending --last end-line written--> Finishing --all answered--> Delivered
///     |                      |                                   |
///     |                      +--`#` written--> Aborted           |
///     +--given up--> Aborted |                                   |
///     +----------------------+--- refused, no response, ... -----+--> Failed
///
///  a chunk on the wire:
///  none --head--> content --`+` full or interrupted--> none
///                    |------`$` message complete-----> none, Finishing
///                    +------`#` given up, or refused-> none
/// ```
#[derive(Debug)]
pub struct FanOut {
    /// `None` until the message begins; legs may be there before.
    message: Option<OutgoingMessage>,
    limits: Limits,
    random: fn(&mut [u8]),
    content: Content,
    end: MessageEnd,
    legs: Vec<Leg>,
    /// More legs may come, so that all content is kept.
    open: bool,
    reading: bool,
    hold: Hold,
    /// The caller does not read from the originator until there is no more than this in memory.
    room: Option<usize>,
    /// The spool has refused content, and is not asked again before this.
    spool_full: Option<Instant>,
    fetches: usize,
    /// Legs that found all fetches taken.
    starved: Vec<LegId>,
    actions: VecDeque<Action>,
    /// No deadline is earlier; it may be too early.
    wake_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageEnd {
    Open,
    Complete,
    Aborted,
}

#[derive(Debug)]
struct Leg {
    endpoint: Endpoint,
    chunk_bytes: u64,
    state: LegState,
    pieces: VecDeque<Piece>,
    /// The first piece is partly written.
    begun: bool,
    /// The chunk that the last pieces belong to, while it has no end-line.
    chunk: Option<Chunk>,
    /// Where the chunk starts that is on the wire, or was last.
    wire_start: u64,
    /// Content up to here is lined up in pieces.
    queued: u64,
    /// Content up to here has been written.
    written: u64,
    delivered: u64,
    /// Nothing was there to write at the last look; content or a frame is cause for a wake.
    idle: bool,
    /// Start of the segment that this leg waits for.
    awaited: Option<u64>,
    /// Others have the connection.
    paused: bool,
    progress: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Chunk {
    transaction_id: TransactionId,
    start: u64,
}

#[derive(Debug)]
enum Piece {
    Head(Bytes, TransactionId),
    /// From and to, in the message.
    Content(u64, u64),
    EndLine(Bytes, TransactionId, ContinuationFlag),
    /// Whole response or empty SEND.
    Frame(Bytes),
}

impl FanOut {
    /// A fan-out without legs, of a message that is yet to begin. `random` fills its argument from a cryptographic source.
    pub fn new(limits: Limits, random: fn(&mut [u8])) -> Self {
        Self {
            message: None,
            limits,
            random,
            content: Content::default(),
            end: MessageEnd::Open,
            legs: Vec::new(),
            open: true,
            reading: true,
            hold: Hold::default(),
            room: None,
            spool_full: None,
            fetches: 0,
            starved: Vec::new(),
            actions: VecDeque::new(),
            wake_at: None,
        }
    }

    /// Adds a leg, which gets the message from its first byte. Only before [`no_more_legs`](Self::no_more_legs): `None`
    /// after it.
    pub fn add_leg(&mut self, now: Instant, config: LegConfig) -> Option<LegId> {
        if !self.open {
            return None;
        }
        let id = LegId(self.legs.len());
        self.legs.push(Leg {
            endpoint: Endpoint::new(config.endpoint, self.random),
            // A chunk without content would never get anywhere.
            chunk_bytes: config.chunk_bytes.unwrap_or(u64::MAX).max(1),
            state: LegState::Waiting,
            pieces: VecDeque::new(),
            begun: false,
            chunk: None,
            wire_start: 0,
            queued: 0,
            written: 0,
            delivered: 0,
            idle: true,
            awaited: None,
            paused: false,
            progress: now,
        });
        if self.end == MessageEnd::Aborted {
            self.end_leg(id, LegState::Aborted);
        }
        Some(id)
    }

    /// No further leg will be added: what all legs have is let go (9.1.2-send-4).
    pub fn no_more_legs(&mut self) {
        self.open = false;
        self.release();
    }

    /// Changes the limits, for example when other messages need the memory. What is too much goes to the spool, or holds
    /// the originator back until legs have taken it.
    pub fn set_limits(&mut self, now: Instant, limits: Limits) {
        self.limits = limits;
        self.balance();
        self.note_hold(now);
    }

    /// The caller reads no more from the originator until [`memory`](Self::memory) is no more than `room`, for a reason of its
    /// own: the memory of all messages is used up. That counts as [`Action::StopReading`] does, up to
    /// [`let_go`](Self::let_go).
    pub fn hold_back(&mut self, now: Instant, room: usize) {
        self.room = Some(room);
        self.note_hold(now);
    }

    /// The caller reads from the originator again.
    pub fn let_go(&mut self) {
        self.room = None;
        if self.reading {
            self.hold.end();
        }
    }

    /// Whether the originator is held back, by us or by the caller.
    pub fn is_held_back(&self) -> bool {
        self.hold.is_on()
    }

    /// Whether the spool has refused content, and has not been asked again.
    pub fn is_spool_full(&self) -> bool {
        self.spool_full.is_some()
    }

    /// The session end of a leg, to look at.
    pub fn endpoint(&self, leg: LegId) -> &Endpoint {
        &self.legs[leg.0].endpoint
    }

    /// How far a leg is.
    pub fn leg(&self, leg: LegId) -> LegStatus {
        let Leg {
            state,
            written,
            delivered,
            ..
        } = self.legs[leg.0];
        LegStatus {
            state,
            written,
            delivered,
        }
    }

    /// All legs in the order in which they were added.
    pub fn legs(&self) -> impl Iterator<Item = (LegId, LegStatus)> + '_ {
        (0..self.legs.len()).map(|index| (LegId(index), self.leg(LegId(index))))
    }

    /// Content bytes that have come from the originator.
    pub fn received(&self) -> u64 {
        self.content.end()
    }

    /// Content bytes held in memory; at most [`Limits::memory_bound`].
    pub fn memory(&self) -> usize {
        self.content.memory()
    }

    /// Whether anything is lined up for a leg.
    pub fn has_output(&self, leg: LegId) -> bool {
        !self.legs[leg.0].pieces.is_empty()
    }

    /// The message begins. It is the only one: what further ones bring is not for this fan-out.
    pub fn handle_started(&mut self, message: OutgoingMessage) {
        self.message.get_or_insert(message);
    }

    /// The next bytes of the message, which must have begun.
    pub fn handle_content(&mut self, now: Instant, content: Bytes) {
        if self.end != MessageEnd::Open || self.message.is_none() {
            return;
        }
        self.content.push(content);
        self.wake_all(now);
        self.release();
        self.note_hold(now);
    }

    /// The message is complete.
    pub fn handle_complete(&mut self, now: Instant) {
        if self.end == MessageEnd::Open && self.message.is_some() {
            self.end = MessageEnd::Complete;
            self.hold.end();
            self.wake_all(now);
        }
    }

    /// The originator gave the message up: each leg is told with the flag `#` (spec-notes N46).
    pub fn handle_aborted(&mut self, now: Instant) {
        if self.end != MessageEnd::Open {
            return;
        }
        self.end = MessageEnd::Aborted;
        self.hold.end();
        for index in 0..self.legs.len() {
            let leg = &mut self.legs[index];
            match leg.state {
                LegState::Waiting => self.end_leg(LegId(index), LegState::Aborted),
                LegState::Sending => {
                    leg.abort_chunk();
                    leg.tell_abort(self.message.as_ref());
                    self.wake(now, LegId(index));
                    self.end_if_aborted(LegId(index));
                }
                _ => {}
            }
        }
        self.release();
    }

    /// A leg's connection is there.
    ///
    /// # Errors
    /// [`Status::BOUND_ELSEWHERE`] if the leg has another connection already.
    pub fn handle_connected(
        &mut self,
        now: Instant,
        id: LegId,
        connection: ConnectionId,
        opener: Opener,
    ) -> Result<(), Status> {
        let leg = &mut self.legs[id.0];
        leg.endpoint.bind(connection)?;
        if leg.state != LegState::Waiting {
            return Ok(());
        }
        leg.state = LegState::Sending;
        // Content at hand could bind as well (RFC 4975 §5.4), but there are peers who take nothing else for it than this.
        if opener == Opener::Us {
            leg.endpoint.send_empty(now);
        }
        self.wake(now, id);
        self.note_deadline(self.legs[id.0].endpoint.poll_timeout());
        Ok(())
    }

    /// A leg's connection is gone.
    pub fn handle_disconnected(&mut self, id: LegId) {
        self.legs[id.0].endpoint.handle_disconnected();
        self.legs[id.0].pieces.clear();
        self.fail(id, LegFailure::Disconnected);
    }

    /// Takes a leg out, for example because its dialog has ended. A chunk that has begun is ended with `#`.
    pub fn drop_leg(&mut self, id: LegId) {
        self.fail(id, LegFailure::Dropped);
    }

    /// Takes a leg out as if its peer had answered with `status`, which it is known to do.
    pub fn refuse_leg(&mut self, id: LegId, status: Status) {
        self.fail(id, LegFailure::Refused(status));
    }

    /// Others wait for the connection of this leg (RFC 4975 §5.4: several sessions may share one): ends the chunk on the wire
    /// soon, and starts none. Go on writing until [`is_between_chunks`](Self::is_between_chunks).
    pub fn pause(&mut self, id: LegId) {
        self.legs[id.0].paused = true;
    }

    /// The leg has its connection again. Time without it does not count as a stall.
    pub fn resume(&mut self, now: Instant, id: LegId) {
        let leg = &mut self.legs[id.0];
        if std::mem::take(&mut leg.paused) {
            leg.progress = now;
            self.note_deadline(Some(now + self.limits.stall));
        }
    }

    /// Whether others may write to the connection of this leg now.
    pub fn is_between_chunks(&self, id: LegId) -> bool {
        let leg = &self.legs[id.0];
        !leg.begun && leg.chunk_on_wire().is_none()
    }

    /// What a leg that has ended has lined up still: an end-line, responses. It is for the caller to write from now on.
    pub fn take_output(&mut self, id: LegId) -> impl Iterator<Item = Bytes> + '_ {
        self.line_up(id);
        self.legs[id.0].begun = false;
        let pieces = self.legs[id.0].pieces.drain(..);
        pieces.filter_map(|piece| match piece {
            Piece::Head(bytes, _) | Piece::EndLine(bytes, ..) | Piece::Frame(bytes) => Some(bytes),
            Piece::Content(..) => None,
        })
    }

    /// The next event of a request or response that came for this leg.
    pub fn handle_leg_event(&mut self, now: Instant, id: LegId, event: Event) {
        self.legs[id.0].endpoint.handle_event(event);
        self.take_endpoint_events(now, id);
    }

    /// Fills `out` with what is to be written to a leg next, and returns how many slices that are. 0: nothing for now, an
    /// [`Action::Wake`] will follow.
    pub fn gather<'a>(&'a mut self, id: LegId, out: &mut [IoSlice<'a>]) -> usize {
        self.line_up(id);
        self.fetch_for(id);
        self.legs[id.0].idle = match self.legs[id.0].pieces.front() {
            None => true,
            Some(&Piece::Content(from, _)) => self.content.whereabouts(from) != Whereabouts::Here,
            Some(_) => false,
        };
        let leg = &self.legs[id.0];
        let mut count = 0;
        for piece in &leg.pieces {
            let Some(slot) = out.get_mut(count) else {
                break;
            };
            match piece {
                Piece::Head(bytes, _) | Piece::EndLine(bytes, ..) | Piece::Frame(bytes) => {
                    *slot = IoSlice::new(bytes);
                    count += 1;
                }
                &Piece::Content(from, to) => {
                    let (slices, all) = self.content.slices(from, to, &mut out[count..]);
                    count += slices;
                    if !all {
                        break;
                    }
                }
            }
        }
        count
    }

    /// So many bytes of what was gathered have been written. 0 tells that the connection takes nothing for now.
    pub fn handle_written(&mut self, now: Instant, id: LegId, mut bytes: usize) {
        let leg = &mut self.legs[id.0];
        leg.awaited = None;
        if bytes > 0 {
            leg.progress = now;
        }
        let before = leg.written;
        let mut deadline = None;
        while bytes > 0 {
            let Some(piece) = leg.pieces.front_mut() else {
                break;
            };
            let done = match piece {
                Piece::Head(left, _) | Piece::EndLine(left, ..) | Piece::Frame(left) => {
                    let written = bytes.min(left.len());
                    left.advance(written);
                    bytes -= written;
                    left.is_empty()
                }
                Piece::Content(from, to) => {
                    let written = (bytes as u64).min(*to - *from);
                    *from += written;
                    leg.written = *from;
                    bytes -= written as usize;
                    from == to
                }
            };
            leg.begun = !done;
            if !done {
                break;
            }
            match leg.pieces.pop_front() {
                Some(Piece::Head(..)) => leg.wire_start = leg.written,
                Some(Piece::EndLine(_, transaction_id, flag)) => {
                    deadline = leg
                        .endpoint
                        .chunk_written(now, &transaction_id)
                        .or(deadline);
                    if flag == ContinuationFlag::Complete && leg.state == LegState::Sending {
                        leg.state = LegState::Finishing;
                    }
                }
                _ => {}
            }
        }
        let first_end = self.content.first_end();
        let frees = before < first_end && leg.written >= first_end;
        self.note_deadline(deadline);
        self.note_deadline(Some(now + self.limits.stall));
        self.end_if_aborted(id);
        self.end_if_delivered(id);
        if frees {
            self.release();
        }
    }

    /// What [`Action::Spill`] asked for is in the spool.
    pub fn handle_spilled(&mut self) {
        self.content.spilled();
        self.release();
    }

    /// What [`Action::Spill`] asked for did not get into the spool: it is full, or broken. It stays in memory, what was written
    /// before can be read, and the spool is asked again from time to time.
    pub fn handle_not_spilled(&mut self, now: Instant) {
        self.content.not_spilled();
        let retry_at = now + SPOOL_RETRY;
        self.spool_full = Some(retry_at);
        self.note_deadline(Some(retry_at));
        self.release();
        self.note_hold(now);
    }

    /// What [`Action::Fetch`] asked for.
    pub fn handle_fetched(&mut self, now: Instant, offset: u64, content: Bytes) {
        if !self.content.fetched(offset, content) {
            return self.handle_not_fetched(now, offset);
        }
        self.fetches = self.fetches.saturating_sub(1);
        for index in 0..self.legs.len() {
            if self.legs[index].awaited == Some(offset) {
                self.wake(now, LegId(index));
            }
        }
        self.wake_starved(now);
        self.balance();
        self.note_hold(now);
    }

    /// What [`Action::Fetch`] asked for cannot be read: the legs that wait for it are lost, others go on.
    pub fn handle_not_fetched(&mut self, now: Instant, offset: u64) {
        self.fetches = self.fetches.saturating_sub(1);
        self.content.not_fetched(offset);
        for index in 0..self.legs.len() {
            if self.legs[index].awaited == Some(offset) {
                self.fail(LegId(index), LegFailure::SpoolLost);
            }
        }
        self.wake_starved(now);
    }

    /// All of them: one alone might not be writable now, and nobody would ask for the next segment.
    fn wake_starved(&mut self, now: Instant) {
        for starved in std::mem::take(&mut self.starved) {
            self.wake(now, starved);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; it may find nothing to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wake_at
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.wake_at.is_none_or(|at| at > now) {
            return;
        }
        self.wake_at = None;
        if self.spool_full.is_some_and(|retry_at| retry_at <= now) {
            self.spool_full = None;
            self.balance();
        }
        self.note_deadline(self.spool_full);
        self.hold_timeout(now);
        for index in 0..self.legs.len() {
            let id = LegId(index);
            if self.legs[index].state.is_final() {
                continue;
            }
            self.legs[index].endpoint.handle_timeout(now);
            self.take_endpoint_events(now, id);
            let leg = &self.legs[index];
            // Waiting for our own spool is not the peer's fault.
            let blocked =
                leg.state == LegState::Sending && !leg.idle && !leg.paused && leg.awaited.is_none();
            let stalled_at = leg.progress + self.limits.stall;
            if blocked && stalled_at <= now {
                self.fail(id, LegFailure::Stalled);
            } else if blocked {
                self.note_deadline(Some(stalled_at));
            }
            self.note_deadline(self.legs[index].endpoint.poll_timeout());
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Lines up pieces for a leg: as much of the message as is there, in chunks.
    fn line_up(&mut self, id: LegId) {
        let (end, complete) = (self.content.end(), self.end == MessageEnd::Complete);
        let leg = &mut self.legs[id.0];
        if leg.state == LegState::Waiting {
            return;
        }
        leg.interrupt();
        while leg.pieces.len() < MAX_PIECES {
            let Some(chunk) = leg.chunk else {
                if let Some(frame) = leg.endpoint.poll_frame() {
                    leg.pieces.push_back(Piece::Frame(frame));
                    continue;
                }
                let ended = leg.pieces.iter().any(Piece::is_last);
                let more = leg.queued < end || (complete && !ended);
                let may_start = leg.state == LegState::Sending
                    && !leg.paused
                    && self.end != MessageEnd::Aborted
                    && leg.endpoint.unanswered() < MAX_UNANSWERED;
                let Some(message) = self.message.as_ref().filter(|_| more && may_start) else {
                    break;
                };
                leg.start_chunk(message);
                continue;
            };
            let room = leg.chunk_bytes.saturating_sub(leg.queued - chunk.start);
            let to = end.min(leg.queued.saturating_add(room));
            if to > leg.queued {
                match leg.pieces.back_mut() {
                    Some(Piece::Content(_, last)) => *last = to,
                    _ => leg.pieces.push_back(Piece::Content(leg.queued, to)),
                }
                leg.queued = to;
            }
            if complete && leg.queued == end {
                leg.end_chunk(ContinuationFlag::Complete);
            } else if leg.queued < end {
                // Full, and not known to be the end: a chunk that is full at the end waits for `$`.
                leg.end_chunk(ContinuationFlag::More);
            } else {
                break;
            }
        }
    }

    /// Asks the spool for what a leg needs next.
    fn fetch_for(&mut self, id: LegId) {
        let leg = &mut self.legs[id.0];
        leg.awaited = None;
        let Some(&Piece::Content(from, _)) = leg.pieces.front() else {
            return;
        };
        match self.content.whereabouts(from) {
            Whereabouts::Here => {}
            Whereabouts::Fetching(start) => leg.awaited = Some(start),
            Whereabouts::Spool(segment) if self.fetches < MAX_FETCHES => {
                leg.awaited = Some(segment.start);
                self.fetches += 1;
                self.content.fetching(segment.start);
                let len = (segment.end - segment.start) as usize;
                self.actions.push_back(Action::Fetch {
                    offset: segment.start,
                    len,
                });
            }
            Whereabouts::Spool(_) => {
                if !self.starved.contains(&id) {
                    self.starved.push(id);
                }
            }
        }
    }

    fn take_endpoint_events(&mut self, now: Instant, id: LegId) {
        while let Some(event) = self.legs[id.0].endpoint.poll_event() {
            match event {
                EndpointEvent::Answered(bytes) => self.legs[id.0].delivered += bytes,
                EndpointEvent::Refused(status) => self.fail(id, LegFailure::Refused(status)),
                EndpointEvent::NoResponse => self.fail(id, LegFailure::NoResponse),
                // A leg accepts no content.
                EndpointEvent::Started(_)
                | EndpointEvent::Content(..)
                | EndpointEvent::Complete(..)
                | EndpointEvent::Aborted(_) => {}
            }
        }
        self.end_if_delivered(id);
        // A response may have made room for the next chunk, a request calls for a response.
        let leg = &self.legs[id.0];
        let more = leg.endpoint.has_frames()
            || leg.state == LegState::Sending
                && leg.chunk.is_none()
                && leg.queued < self.content.end();
        if more {
            self.wake(now, id);
        }
    }

    fn end_if_delivered(&mut self, id: LegId) {
        let leg = &self.legs[id.0];
        if leg.state == LegState::Finishing && leg.endpoint.unanswered() == 0 {
            self.end_leg(id, LegState::Delivered);
        }
    }

    fn end_if_aborted(&mut self, id: LegId) {
        let leg = &self.legs[id.0];
        let told = leg.pieces.is_empty() && leg.state == LegState::Sending;
        if self.end == MessageEnd::Aborted && told {
            self.end_leg(id, LegState::Aborted);
        }
    }

    fn fail(&mut self, id: LegId, failure: LegFailure) {
        let leg = &mut self.legs[id.0];
        if leg.state.is_final() {
            return;
        }
        if matches!(failure, LegFailure::Disconnected | LegFailure::Stalled) {
            leg.pieces.clear();
            leg.chunk = None;
            leg.begun = false;
        } else {
            // RFC 4975 §7.1: who must not send more ends the chunk with `#`. Others may share the connection.
            leg.abort_chunk();
        }
        self.end_leg(id, LegState::Failed(failure));
    }

    fn end_leg(&mut self, id: LegId, state: LegState) {
        self.decide(id, state);
        self.release();
    }

    fn decide(&mut self, id: LegId, state: LegState) {
        self.legs[id.0].state = state;
        self.legs[id.0].awaited = None;
        self.starved.retain(|starved| *starved != id);
        self.actions.push_back(Action::LegEnded(id, state));
        if self.has_output(id) {
            self.actions.push_back(Action::Wake(id));
        }
    }

    /// The originator is held back if it has more to say.
    fn note_hold(&mut self, now: Instant) {
        let held = !self.reading || self.room.is_some();
        if held && self.end == MessageEnd::Open && self.message.is_some() {
            self.hold.begin(now);
            self.note_deadline(self.hold.poll_timeout(self.limits.hold));
        }
    }

    fn hold_timeout(&mut self, now: Instant) {
        if self.hold.take_notice(now) {
            self.actions.push_back(Action::HeldBack);
        }
        if self
            .hold
            .until(self.limits.hold)
            .is_some_and(|at| at <= now)
        {
            let since = self.hold.since().unwrap_or(now);
            self.hold.relieved(now);
            self.give_up_those_behind(since);
        }
        self.note_deadline(self.hold.poll_timeout(self.limits.hold));
    }

    /// Gives up legs until the originator can be read from again: first those that are yet to come, then those furthest
    /// behind, and those that have taken nothing all the while, as they would hold it back again.
    fn give_up_those_behind(&mut self, since: Instant) {
        let own = if self.reading {
            usize::MAX
        } else {
            self.limits.high_water()
        };
        let target = own.min(self.room.unwrap_or(usize::MAX));
        if self.end == MessageEnd::Open && std::mem::replace(&mut self.open, false) {
            self.actions.push_back(Action::NoMoreLegs);
        }
        let mut positions: Vec<u64> = self.legs.iter().filter_map(Leg::needs).collect();
        positions.sort_unstable();
        let too_far = positions.partition_point(|&at| self.content.memory_from(at) > target);
        let keep_from = positions.get(too_far).copied().unwrap_or(u64::MAX);
        for index in 0..self.legs.len() {
            let leg = &mut self.legs[index];
            let Some(at) = leg.needs().filter(|&at| at < self.content.end()) else {
                continue;
            };
            // Waiting for our own spool is not the peer's fault.
            let stuck = leg.progress <= since && leg.awaited.is_none() && !leg.paused;
            if at < keep_from || stuck {
                leg.abort_chunk();
                self.decide(LegId(index), LegState::Failed(LegFailure::Behind));
            }
        }
        self.release();
    }

    fn wake_all(&mut self, now: Instant) {
        for index in 0..self.legs.len() {
            if self.legs[index].state == LegState::Sending {
                self.wake(now, LegId(index));
            }
        }
    }

    fn wake(&mut self, now: Instant, id: LegId) {
        let leg = &mut self.legs[id.0];
        if std::mem::replace(&mut leg.idle, false) {
            leg.progress = now;
            self.actions.push_back(Action::Wake(id));
            self.note_deadline(Some(now + self.limits.stall));
        }
    }

    fn note_deadline(&mut self, at: Option<Instant>) {
        self.wake_at = self.wake_at.into_iter().chain(at).min();
    }

    /// Lets go what nobody needs, then balances memory and spool.
    fn release(&mut self) {
        let lowest = if self.open && self.end != MessageEnd::Aborted {
            0
        } else {
            self.legs
                .iter()
                .filter_map(Leg::needs)
                .min()
                .unwrap_or(self.content.end())
        };
        self.content.release(lowest);
        self.balance();
    }

    fn balance(&mut self) {
        let high_water = self.limits.high_water();
        if self.content.memory() > high_water {
            let sending = |leg: &&Leg| leg.state == LegState::Sending;
            let mut positions: Vec<u64> = self
                .legs
                .iter()
                .filter(sending)
                .map(|leg| leg.written)
                .collect();
            positions.sort_unstable();
            let awaited: Vec<u64> = self.legs.iter().filter_map(|leg| leg.awaited).collect();
            let spool_bytes = match self.spool_full {
                Some(_) => 0,
                None => self.limits.spool_bytes,
            };
            let spill = self
                .content
                .evict(high_water, spool_bytes, &positions, &awaited);
            if let Some((offset, pieces)) = spill {
                self.actions.push_back(Action::Spill { offset, pieces });
            }
        }
        let memory = self.content.memory();
        if self.reading && memory >= self.limits.memory() {
            self.reading = false;
            self.actions.push_back(Action::StopReading);
        } else if !self.reading && memory <= high_water {
            self.reading = true;
            if self.room.is_none() {
                self.hold.end();
            }
            self.actions.push_back(Action::ReadAgain);
        }
    }
}

impl Piece {
    fn is_last(&self) -> bool {
        matches!(self, Self::EndLine(_, _, ContinuationFlag::Complete))
    }
}

impl Leg {
    /// From where on content must be kept for it.
    fn needs(&self) -> Option<u64> {
        match self.state {
            LegState::Waiting => Some(0),
            LegState::Sending => Some(self.written),
            _ => None,
        }
    }

    fn start_chunk(&mut self, message: &OutgoingMessage) {
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

    fn end_chunk(&mut self, flag: ContinuationFlag) {
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

    /// If a response or another session waits behind a long chunk, ends the chunk soon.
    fn interrupt(&mut self) {
        if !(self.endpoint.has_frames() || self.paused) {
            return;
        }
        let Some(transaction_id) = self.chunk_on_wire() else {
            return;
        };
        let open = self.pieces.len() == 1;
        match self.pieces.front_mut() {
            // All that is there of the message has gone out: more of it may be long in coming.
            None => self.end_chunk(ContinuationFlag::More),
            Some(Piece::Content(from, to)) => {
                if !open && *to - *from <= INTERRUPT_BYTES {
                    return;
                }
                *to = (*to).min(*from + INTERRUPT_BYTES);
                self.queued = *to;
                // What was lined up behind is taken back, but for frames.
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

    /// Between chunks of a message that has been given up, only a chunk without content can say so.
    fn tell_abort(&mut self, message: Option<&OutgoingMessage>) {
        let told = self
            .pieces
            .iter()
            .any(|piece| matches!(piece, Piece::EndLine(_, _, ContinuationFlag::Aborted)));
        if let Some(message) = message.filter(|_| self.written > 0 && !told) {
            self.start_chunk(message);
            self.end_chunk(ContinuationFlag::Aborted);
        }
    }

    /// Takes back what has not gone out, and ends what has with `#`.
    fn abort_chunk(&mut self) {
        let mut on_wire = self.chunk_on_wire();
        self.begun &= !matches!(self.pieces.front(), None | Some(Piece::Content(..)));
        let mut begun = self.begun;
        let mut kept = VecDeque::new();
        for piece in std::mem::take(&mut self.pieces) {
            let partly = std::mem::take(&mut begun);
            match piece {
                Piece::Frame(_) => kept.push_back(piece),
                // Half of it is gone, so the other half must follow.
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
            // After the rest of its head, before frames that wait.
            let frames = self.pieces.split_off(usize::from(self.begun));
            self.end_chunk(ContinuationFlag::Aborted);
            self.pieces.extend(frames);
        }
    }

    /// The chunk of which the first byte has gone out and the end-line has not begun.
    fn chunk_on_wire(&self) -> Option<TransactionId> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    use crate::msrp::{MsrpUri, Parser, Path};
    use crate::msrp_session::{Accepts, MAX_HOLD, MAX_OPEN_MESSAGES, RESPONSE_TIMEOUT};
    use crate::test_random::{fill, random_bytes};
    use bytes::BytesMut;

    const TICK: Duration = Duration::from_millis(10);
    const STALL: Duration = Duration::from_secs(20);

    /// A recipient: reads what its link lets through, answers as RFC 4975 says.
    struct Peer {
        leg: LegId,
        parser: Parser,
        input: BytesMut,
        endpoint: Endpoint,
        replies: Parser,
        content: Vec<u8>,
        complete: Option<u64>,
        aborted: bool,
        chunks: Vec<(u64, ContinuationFlag)>,
        chunk: u64,
        /// Bytes per tick; 0: takes nothing.
        speed: usize,
        answers: bool,
    }

    /// The caller of a fan-out, in virtual time.
    struct Pair {
        now: Instant,
        fan_out: FanOut,
        peers: Vec<Peer>,
        spool: Vec<u8>,
        spill: Option<(u64, Vec<Bytes>)>,
        /// Where the disk ends: what lies beyond is not written.
        disk_bytes: usize,
        /// What is asked of the spool comes back.
        readable: bool,
        reading: bool,
        /// The longest time without reading, and since when nothing has been read.
        longest_hold: Duration,
        held_since: Option<Instant>,
        notices: usize,
        ended: Vec<(LegId, LegState)>,
        random: Rng,
        bound: usize,
        most_memory: usize,
        spills: usize,
        fetches: usize,
    }

    fn uri(host: &str) -> MsrpUri {
        MsrpUri::new(false, host, 2855, "session").unwrap()
    }

    impl Pair {
        fn new(limits: Limits, total: Option<u64>) -> Self {
            let message = OutgoingMessage {
                message_id: "8822".into(),
                content_type: "message/cpim".into(),
                content_fields: vec![],
                total,
            };
            Self {
                now: Instant::now(),
                fan_out: {
                    let mut fan_out = FanOut::new(limits, fill);
                    fan_out.handle_started(message);
                    fan_out
                },
                peers: Vec::new(),
                spool: Vec::new(),
                spill: None,
                disk_bytes: usize::MAX,
                readable: true,
                reading: true,
                longest_hold: Duration::ZERO,
                held_since: None,
                notices: 0,
                ended: Vec::new(),
                random: Rng::with_seed(11),
                bound: limits.memory_bound(),
                most_memory: 0,
                spills: 0,
                fetches: 0,
            }
        }

        fn add(&mut self, speed: usize, chunk_bytes: Option<u64>) -> LegId {
            let end = |own: &str, peer: &str, accepts| EndpointConfig {
                own: uri(own),
                peer: Path::from(uri(peer)),
                accepts,
                response_timeout: RESPONSE_TIMEOUT,
            };
            let config = LegConfig {
                endpoint: end("cf", "peer", None),
                chunk_bytes,
            };
            let leg = self.fan_out.add_leg(self.now, config).unwrap();
            let accepts = Accepts {
                types: "*".into(),
                max_size: None,
            };
            self.peers.push(Peer {
                leg,
                parser: Parser::new(),
                input: BytesMut::new(),
                endpoint: Endpoint::new(end("peer", "cf", Some(accepts)), fill),
                replies: Parser::new(),
                content: Vec::new(),
                complete: None,
                aborted: false,
                chunks: Vec::new(),
                chunk: 0,
                speed,
                answers: true,
            });
            leg
        }

        fn connect(&mut self, leg: LegId) {
            let connection = ConnectionId(leg.0 as u64);
            self.fan_out
                .handle_connected(self.now, leg, connection, Opener::Us)
                .unwrap();
        }

        fn joined(limits: Limits, total: Option<u64>, speeds: &[usize]) -> Self {
            let mut pair = Self::new(limits, total);
            for &speed in speeds {
                let leg = pair.add(speed, None);
                pair.connect(leg);
            }
            pair
        }

        fn act(&mut self) {
            while let Some(action) = self.fan_out.poll_action() {
                match action {
                    Action::Spill { offset, pieces } => {
                        assert!(self.spill.is_none(), "two spills at a time");
                        self.spill = Some((offset, pieces));
                        self.spills += 1;
                    }
                    Action::Fetch { offset, .. } if !self.readable => {
                        self.fan_out.handle_not_fetched(self.now, offset);
                    }
                    Action::Fetch { offset, len } => {
                        let from = offset as usize;
                        let content = Bytes::copy_from_slice(&self.spool[from..from + len]);
                        self.fan_out.handle_fetched(self.now, offset, content);
                        self.fetches += 1;
                    }
                    Action::StopReading => {
                        assert!(std::mem::replace(&mut self.reading, false));
                        self.held_since = Some(self.now);
                    }
                    Action::ReadAgain => {
                        assert!(!std::mem::replace(&mut self.reading, true));
                        let held = self.now - self.held_since.unwrap();
                        self.longest_hold = self.longest_hold.max(held);
                    }
                    Action::HeldBack => self.notices += 1,
                    Action::NoMoreLegs => {}
                    Action::LegEnded(leg, state) => self.ended.push((leg, state)),
                    Action::Wake(_) => {}
                }
            }
            self.most_memory = self.most_memory.max(self.fan_out.memory());
            assert!(
                self.fan_out.memory() <= self.bound,
                "{}",
                self.fan_out.memory()
            );
        }

        /// One tick: the spool is written, each link carries what it can, time passes.
        fn tick(&mut self) {
            self.act();
            if let Some((offset, pieces)) = self.spill.take() {
                let bytes = pieces.concat();
                let end = offset as usize + bytes.len();
                if end <= self.disk_bytes {
                    self.spool.resize(self.spool.len().max(end), 0);
                    self.spool[offset as usize..end].copy_from_slice(&bytes);
                    self.fan_out.handle_spilled();
                } else {
                    self.fan_out.handle_not_spilled(self.now);
                }
                self.act();
            }
            for index in 0..self.peers.len() {
                self.carry(index);
            }
            self.now += TICK;
            if self.fan_out.poll_timeout().is_some_and(|at| at <= self.now) {
                self.fan_out.handle_timeout(self.now);
                assert!(self.fan_out.poll_timeout().is_none_or(|at| at > self.now));
            }
            self.act();
        }

        fn carry(&mut self, index: usize) {
            let mut left = self.peers[index].speed;
            while left > 0 {
                let peer = &mut self.peers[index];
                let mut slices = [IoSlice::new(&[]); 6];
                let count = self.fan_out.gather(peer.leg, &mut slices);
                let want = left.min(1 + self.random.usize(..100_000));
                let mut taken = Vec::with_capacity(want);
                for slice in &slices[..count] {
                    taken.extend_from_slice(&slice[..slice.len().min(want - taken.len())]);
                }
                let some = taken.len();
                if some == 0 {
                    self.act();
                    if count == 0 && self.fan_out.legs[index].idle {
                        break;
                    }
                    continue;
                }
                left -= some;
                peer.input.extend_from_slice(&taken);
                self.fan_out.handle_written(self.now, peer.leg, some);
                self.receive(index);
                self.act();
            }
        }

        fn receive(&mut self, index: usize) {
            let peer = &mut self.peers[index];
            while let Some(event) = peer
                .parser
                .poll_event(&mut peer.input)
                .expect("our own MSRP")
            {
                match &event {
                    Event::Content(content) => peer.chunk += content.len() as u64,
                    Event::End(flag) => peer.chunks.push((std::mem::take(&mut peer.chunk), *flag)),
                    _ => {}
                }
                peer.endpoint.handle_event(event);
            }
            while let Some(event) = peer.endpoint.poll_event() {
                match event {
                    EndpointEvent::Content(_, content) => peer.content.extend_from_slice(&content),
                    EndpointEvent::Complete(_, size) => peer.complete = Some(size),
                    EndpointEvent::Aborted(_) => peer.aborted = true,
                    _ => {}
                }
            }
            while let Some(frame) = peer.endpoint.poll_frame() {
                if peer.answers {
                    let mut frame = BytesMut::from(frame);
                    while let Some(event) = peer.replies.poll_event(&mut frame).unwrap() {
                        self.fan_out.handle_leg_event(self.now, peer.leg, event);
                    }
                }
            }
        }

        /// The originator sends `whole` in pieces, as fast as it is read from; then all legs come to their end.
        fn send(&mut self, whole: &Bytes, piece: usize) {
            let mut rest = whole.clone();
            for _ in 0..200_000 {
                if rest.is_empty() {
                    return self.fan_out.handle_complete(self.now);
                }
                for _ in 0..4 {
                    if self.reading && !rest.is_empty() {
                        let some = 1 + self.random.usize(..piece.min(rest.len()));
                        self.fan_out.handle_content(self.now, rest.split_to(some));
                        self.act();
                    }
                }
                self.tick();
            }
            panic!("the originator was never read to the end");
        }

        fn finish(&mut self) {
            for _ in 0..200_000 {
                if self.fan_out.legs().all(|(_, leg)| leg.state.is_final()) {
                    return;
                }
                self.tick();
            }
            panic!(
                "legs do not end: {:?}",
                self.fan_out.legs().collect::<Vec<_>>()
            );
        }

        fn assert_has_all(&self, peer: usize, whole: &Bytes) {
            let peer = &self.peers[peer];
            assert!(peer.content == whole[..], "{:?}: other content", peer.leg);
            assert_eq!(peer.complete, Some(whole.len() as u64));
            let status = self.fan_out.leg(peer.leg);
            assert_eq!(status.state, LegState::Delivered);
            assert_eq!(
                (status.written, status.delivered),
                (whole.len() as u64, whole.len() as u64)
            );
        }
    }

    fn limits(spool_bytes: u64) -> Limits {
        Limits {
            memory_bytes: MIN_MEMORY_BYTES,
            spool_bytes,
            stall: STALL,
            hold: MAX_HOLD,
        }
    }

    fn random_content(bytes: usize) -> Bytes {
        Bytes::from(random_bytes(&mut Rng::with_seed(bytes as u64), bytes))
    }

    #[test]
    fn all_legs_get_the_same_at_their_own_pace() {
        let whole = random_content(3_000_000);
        for piece in [300, 5_000, READ_BLOCK_BYTES] {
            let speeds = [1_000_000, 200_000, 30_000];
            let mut pair = Pair::joined(limits(1 << 30), Some(3_000_000), &speeds);
            let small = pair.add(150_000, Some(10_000));
            pair.connect(small);
            pair.fan_out.no_more_legs();
            pair.send(&whole[..].to_vec().into(), piece);
            pair.finish();
            for peer in 0..4 {
                pair.assert_has_all(peer, &whole);
            }
            // One chunk for the whole message, or many that fit what was negotiated.
            let content = |peer: usize| pair.peers[peer].chunks.iter().filter(|chunk| chunk.0 > 0);
            assert_eq!(content(0).count(), 1);
            assert_eq!(content(3).count(), 300);
            assert!(content(3).all(|chunk| chunk.0 <= 10_000));
            assert_eq!(pair.fan_out.memory(), 0);
        }
    }

    #[test]
    fn late_legs_get_everything_from_the_spool() {
        let whole = random_content(6_000_000);
        let mut pair = Pair::joined(limits(1 << 30), None, &[1_000_000]);
        let late = pair.add(500_000, None);
        pair.send(&whole, READ_BLOCK_BYTES);
        for _ in 0..50 {
            pair.tick();
        }
        let later = pair.add(400_000, Some(100_000));
        pair.connect(late);
        pair.connect(later);
        pair.fan_out.no_more_legs();
        pair.finish();
        for peer in 0..3 {
            pair.assert_has_all(peer, &whole);
        }
        assert!(
            pair.spills > 10 && pair.fetches > 60,
            "{} {}",
            pair.spills,
            pair.fetches
        );
        assert_eq!(pair.fan_out.memory(), 0);
    }

    #[test]
    fn without_a_spool_the_originator_is_held_back() {
        let whole = random_content(4_000_000);
        let mut pair = Pair::joined(limits(0), None, &[60_000, 1_000_000]);
        pair.fan_out.no_more_legs();
        pair.send(&whole, READ_BLOCK_BYTES);
        pair.finish();
        assert!(pair.spills == 0 && pair.most_memory >= MIN_MEMORY_BYTES);
        pair.assert_has_all(0, &whole);
        pair.assert_has_all(1, &whole);
    }

    #[test]
    fn many_slow_legs_share_few_fetches() {
        let whole = random_content(4_000_000);
        let speeds: Vec<usize> = (0..30).map(|i| 20_000 + 9_000 * i).collect();
        let mut pair = Pair::joined(limits(1 << 30), None, &speeds);
        pair.fan_out.no_more_legs();
        pair.send(&whole, READ_BLOCK_BYTES);
        pair.finish();
        for peer in 0..30 {
            pair.assert_has_all(peer, &whole);
        }
    }

    #[test]
    fn stalled_dead_silent_and_refusing_legs_cost_only_themselves() {
        let whole = random_content(3_000_000);
        let mut pair = Pair::joined(
            limits(1 << 30),
            None,
            &[0, 50_000, 300_000, 300_000, 300_000],
        );
        pair.peers[2].answers = false;
        let refusing = pair.peers[3].endpoint.own_uri().clone();
        pair.peers[3].endpoint = Endpoint::new(
            EndpointConfig {
                own: refusing,
                peer: Path::from(uri("cf")),
                accepts: Some(Accepts {
                    types: "*".into(),
                    max_size: Some(1_000_000),
                }),
                response_timeout: RESPONSE_TIMEOUT,
            },
            fill,
        );
        pair.fan_out.no_more_legs();
        for _ in 0..5 {
            pair.fan_out.handle_content(pair.now, whole.slice(0..1000));
            pair.tick();
        }
        let whole = Bytes::from([&whole[..1000].repeat(5)[..], &whole].concat());
        pair.send(&whole.slice(5000..), READ_BLOCK_BYTES);
        pair.fan_out.handle_disconnected(pair.peers[1].leg);
        pair.finish();
        let state = |peer: usize| pair.fan_out.leg(pair.peers[peer].leg).state;
        assert_eq!(state(0), LegState::Failed(LegFailure::Stalled));
        assert_eq!(state(1), LegState::Failed(LegFailure::Disconnected));
        assert_eq!(state(2), LegState::Failed(LegFailure::NoResponse));
        assert_eq!(
            state(3),
            LegState::Failed(LegFailure::Refused(Status::STOP_SENDING))
        );
        pair.assert_has_all(4, &whole);
        // The refusing leg was answered in the midst of the chunk, which then ended with `#`.
        assert_eq!(
            pair.peers[3].chunks.last().map(|chunk| chunk.1),
            Some(ContinuationFlag::Aborted)
        );
        assert!(
            pair.peers[3]
                .parser
                .is_between_messages(&pair.peers[3].input)
        );
        assert_eq!(pair.ended.len(), 5);
        assert_eq!(pair.fan_out.memory(), 0);
    }

    #[test]
    fn an_aborted_message_ends_with_the_flag_at_every_point() {
        let whole = random_content(5_000);
        for written in 0..900 {
            let mut pair = Pair::new(limits(0), None);
            let leg = pair.add(0, Some(100));
            let waiting = pair.add(0, None);
            pair.connect(leg);
            let mut slices = [IoSlice::new(&[]); 4];
            let count = pair.fan_out.gather(leg, &mut slices);
            let binding: usize = slices[..count].iter().map(|slice| slice.len()).sum();
            let begun = written > binding;
            pair.fan_out.handle_content(pair.now, whole.clone());
            pair.peers[0].speed = written;
            pair.carry(0);
            pair.fan_out.handle_aborted(pair.now);
            pair.peers[0].speed = 1_000_000;
            pair.finish();
            assert_eq!(pair.fan_out.leg(waiting).state, LegState::Aborted);
            assert_eq!(pair.fan_out.leg(leg).state, LegState::Aborted);
            let peer = &pair.peers[0];
            assert!(peer.parser.is_between_messages(&peer.input), "at {written}");
            assert!(whole.starts_with(&peer.content) && peer.complete.is_none());
            let flags: Vec<_> = peer.chunks.iter().map(|chunk| chunk.1).collect();
            let aborts = flags
                .iter()
                .filter(|flag| **flag == ContinuationFlag::Aborted)
                .count();
            // Nothing of the message has gone out, or the last chunk tells.
            assert_eq!(aborts, usize::from(begun), "at {written}: {flags:?}");
            // The first is that of the empty SEND.
            let last = flags.iter().skip(1).next_back();
            assert_eq!(last, begun.then_some(&ContinuationFlag::Aborted));
            assert_eq!(pair.fan_out.memory(), 0);
        }
    }

    #[test]
    fn a_full_chunk_at_the_end_of_the_message_waits_for_its_flag() {
        let whole = random_content(200);
        let mut pair = Pair::new(limits(0), Some(200));
        let leg = pair.add(100_000, Some(100));
        pair.fan_out.handle_content(pair.now, whole.clone());
        pair.connect(leg);
        pair.tick();
        // Content is at hand, and an empty SEND binds all the same.
        let both = [
            (0, ContinuationFlag::Complete),
            (100, ContinuationFlag::More),
        ];
        assert_eq!(pair.peers[0].chunks, both);
        pair.fan_out.handle_complete(pair.now);
        pair.finish();
        assert_eq!(
            pair.peers[0].chunks[2..],
            [(100, ContinuationFlag::Complete)]
        );
        pair.assert_has_all(0, &whole);
    }

    #[test]
    fn a_message_of_no_bytes_and_an_empty_send() {
        let mut pair = Pair::joined(limits(0), Some(0), &[100_000]);
        pair.tick();
        assert_eq!(
            pair.peers[0].chunks,
            [(0, ContinuationFlag::Complete)],
            "binds the connection"
        );
        assert_eq!(pair.peers[0].complete, None);
        pair.fan_out.handle_complete(pair.now);
        pair.finish();
        pair.assert_has_all(0, &Bytes::new());
    }

    #[test]
    fn a_request_from_the_recipient_is_answered_inside_of_a_long_chunk() {
        let whole = random_content(100_000);
        let mut pair = Pair::joined(limits(0), None, &[10_000]);
        pair.fan_out.handle_content(pair.now, whole.clone());
        pair.tick();
        let request = "MSRP abcd NICKNAME\r\nTo-Path: msrp://cf:2855/session;tcp\r\n\
            From-Path: msrp://peer:2855/session;tcp\r\n-------abcd$\r\n";
        let (mut parser, mut input) = (Parser::new(), BytesMut::from(request));
        while let Some(event) = parser.poll_event(&mut input).unwrap() {
            pair.fan_out
                .handle_leg_event(pair.now, pair.peers[0].leg, event);
        }
        pair.tick();
        // After the empty SEND: the chunk was interrupted, then the response came.
        let flags: Vec<_> = pair.peers[0].chunks[1..]
            .iter()
            .map(|chunk| chunk.1)
            .collect();
        assert_eq!(flags, [ContinuationFlag::More, ContinuationFlag::Complete]);
        pair.fan_out.handle_complete(pair.now);
        pair.finish();
        pair.assert_has_all(0, &whole);
    }

    #[test]
    fn a_request_from_the_recipient_is_answered_while_the_sender_rests() {
        let mut pair = Pair::joined(limits(0), None, &[10_000]);
        pair.fan_out.handle_content(pair.now, random_content(5_000));
        for _ in 0..3 {
            pair.tick();
        }
        let (leg, written) = (pair.peers[0].leg, pair.peers[0].content.len());
        assert_eq!((written, pair.fan_out.has_output(leg)), (5_000, false));
        let request = "MSRP abcd NICKNAME\r\nTo-Path: msrp://cf:2855/session;tcp\r\n\
            From-Path: msrp://peer:2855/session;tcp\r\n-------abcd$\r\n";
        let (mut parser, mut input) = (Parser::new(), BytesMut::from(request));
        while let Some(event) = parser.poll_event(&mut input).unwrap() {
            pair.fan_out.handle_leg_event(pair.now, leg, event);
        }
        pair.tick();
        // After the empty SEND: the chunk was ended, then the response came.
        assert_eq!(
            pair.peers[0].chunks[1..],
            [
                (5_000, ContinuationFlag::More),
                (0, ContinuationFlag::Complete)
            ]
        );
    }

    #[test]
    fn a_leg_gives_its_connection_to_others() {
        let whole = random_content(300_000);
        let mut pair = Pair::joined(limits(0), Some(300_000), &[40_000]);
        pair.fan_out.handle_content(pair.now, whole.clone());
        // The chunk has its end-line lined up, and gives way all the same.
        pair.fan_out.handle_complete(pair.now);
        pair.tick();
        let leg = pair.peers[0].leg;
        assert!(!pair.fan_out.is_between_chunks(leg));
        pair.fan_out.pause(leg);
        pair.tick();
        assert!(pair.fan_out.is_between_chunks(leg));
        let chunk = *pair.peers[0].chunks.last().unwrap();
        assert_eq!(chunk.1, ContinuationFlag::More);
        assert!(chunk.0 <= 40_000 + INTERRUPT_BYTES, "{chunk:?}");
        // However long others take, it is no stall.
        pair.now += 2 * STALL;
        pair.tick();
        assert_eq!(pair.fan_out.leg(leg).state, LegState::Sending);
        pair.fan_out.resume(pair.now, leg);
        pair.finish();
        pair.assert_has_all(0, &whole);
    }

    #[test]
    fn a_leg_waits_connected_for_the_message_to_begin() {
        let mut pair = Pair::new(limits(0), None);
        pair.fan_out = FanOut::new(limits(0), fill);
        let leg = pair.add(10_000, None);
        pair.connect(leg);
        pair.fan_out.handle_content(pair.now, random_content(10));
        pair.fan_out.handle_complete(pair.now);
        pair.tick();
        assert_eq!(pair.fan_out.leg(leg).state, LegState::Sending);
        assert_eq!(pair.fan_out.received(), 0, "no message, no content");
        pair.fan_out.handle_aborted(pair.now);
        pair.tick();
        assert_eq!(pair.fan_out.leg(leg).state, LegState::Aborted);
    }

    fn patient(spool_bytes: u64) -> Limits {
        Limits {
            stall: 10 * STALL,
            ..limits(spool_bytes)
        }
    }

    /// A leg that takes nothing, one that takes too little, one without connection, and one that is yet to come.
    #[test]
    fn without_a_spool_legs_that_hold_the_originator_back_fail_in_time() {
        let whole = random_content(6_000_000);
        for behind in ["stuck", "trickling", "waiting", "ringing"] {
            let mut pair = Pair::joined(patient(0), None, &[1_000_000, 100_000]);
            let last = LegId(2);
            match behind {
                "ringing" => {}
                "waiting" => assert_eq!(pair.add(0, None), last),
                speed => {
                    let leg = pair.add(if speed == "stuck" { 0 } else { 100 }, None);
                    pair.connect(leg);
                }
            }
            if behind != "ringing" {
                pair.fan_out.no_more_legs();
            }
            let begun = pair.now;
            pair.send(&whole, READ_BLOCK_BYTES);
            assert!(
                pair.now - begun < MAX_HOLD + Duration::from_secs(2),
                "{behind}"
            );
            assert!(pair.longest_hold >= MAX_HOLD && pair.longest_hold <= MAX_HOLD + TICK);
            assert_eq!(pair.notices, 1, "{behind}");
            pair.finish();
            pair.assert_has_all(0, &whole);
            pair.assert_has_all(1, &whole);
            if behind != "ringing" {
                let state = pair.fan_out.leg(last).state;
                assert_eq!(state, LegState::Failed(LegFailure::Behind), "{behind}");
            }
            // Who comes now comes too late.
            assert!(!pair.fan_out.open);
            assert_eq!(pair.fan_out.memory(), 0);
        }
    }

    #[test]
    fn of_legs_that_are_behind_only_as_many_fail_as_have_to() {
        let whole = random_content(6_000_000);
        let mut pair = Pair::joined(patient(0), None, &[1_000_000, 0, 1_000_000]);
        pair.fan_out.no_more_legs();
        pair.peers[2].speed = 40_000;
        let mut rest = whole.clone();
        while pair.reading {
            pair.fan_out
                .handle_content(pair.now, rest.split_to(READ_BLOCK_BYTES));
            pair.tick();
        }
        // It has half of what there is, and goes on slowly.
        pair.peers[2].speed = 100;
        assert!(pair.fan_out.leg(LegId(2)).written > MIN_MEMORY_BYTES as u64 / 3);
        while !pair.reading {
            pair.tick();
        }
        let state = |pair: &Pair, leg| pair.fan_out.leg(LegId(leg)).state;
        assert_eq!(state(&pair, 1), LegState::Failed(LegFailure::Behind));
        assert_eq!(state(&pair, 2), LegState::Sending);
    }

    #[test]
    fn memory_of_others_holds_no_longer() {
        let mut pair = Pair::joined(patient(0), None, &[1_000_000, 0]);
        pair.fan_out.no_more_legs();
        for _ in 0..4 {
            pair.fan_out
                .handle_content(pair.now, random_content(READ_BLOCK_BYTES));
            pair.tick();
        }
        pair.fan_out.hold_back(pair.now, 2 * READ_BLOCK_BYTES);
        let begun = pair.now;
        while pair.fan_out.memory() > 2 * READ_BLOCK_BYTES {
            assert!(pair.fan_out.is_held_back() && pair.now < begun + 2 * MAX_HOLD);
            pair.tick();
        }
        assert!(pair.now >= begun + MAX_HOLD);
        let behind = LegState::Failed(LegFailure::Behind);
        assert_eq!(pair.ended, [(LegId(1), behind)]);
        pair.fan_out.let_go();
        assert!(!pair.fan_out.is_held_back());
    }

    #[test]
    fn a_full_disk_keeps_what_it_has_and_holds_the_originator_back() {
        let whole = random_content(6_000_000);
        let mut pair = Pair::joined(patient(1 << 30), None, &[1_000_000, 5_000]);
        pair.fan_out.no_more_legs();
        pair.disk_bytes = 2_000_000;
        pair.send(&whole, READ_BLOCK_BYTES);
        pair.finish();
        // At its pace the slow one takes what the disk has, and the rest as it comes; nobody fails.
        pair.assert_has_all(0, &whole);
        pair.assert_has_all(1, &whole);
        assert!(pair.spool.len() > 1_000_000 && pair.spool.len() <= 2_000_000);
        assert!(pair.fetches > 10 && pair.longest_hold > Duration::from_secs(1));
        assert!(pair.longest_hold < MAX_HOLD, "{:?}", pair.longest_hold);
    }

    #[test]
    fn a_full_disk_costs_in_the_end_who_is_behind() {
        let whole = random_content(6_000_000);
        let mut pair = Pair::joined(patient(1 << 30), None, &[1_000_000, 0]);
        pair.fan_out.no_more_legs();
        pair.disk_bytes = 2_000_000;
        pair.send(&whole, READ_BLOCK_BYTES);
        pair.finish();
        pair.assert_has_all(0, &whole);
        let behind = LegState::Failed(LegFailure::Behind);
        assert_eq!(pair.fan_out.leg(LegId(1)).state, behind);
        assert!(pair.longest_hold <= MAX_HOLD + TICK);
    }

    #[test]
    fn a_disk_with_room_again_is_used_again() {
        let whole = random_content(6_000_000);
        let mut pair = Pair::joined(patient(1 << 30), None, &[1_000_000, 0]);
        pair.fan_out.no_more_legs();
        pair.disk_bytes = 0;
        let mut rest = whole.clone();
        while pair.reading {
            pair.fan_out
                .handle_content(pair.now, rest.split_to(READ_BLOCK_BYTES));
            pair.tick();
        }
        for _ in 0..300 {
            pair.tick();
        }
        assert!(pair.fan_out.is_spool_full() && !pair.reading);
        // It was asked once in a second, not with each leg's step.
        assert!((2..8).contains(&pair.spills), "{}", pair.spills);
        pair.disk_bytes = usize::MAX;
        pair.send(&rest, READ_BLOCK_BYTES);
        pair.peers[1].speed = 1_000_000;
        pair.finish();
        for peer in 0..2 {
            pair.assert_has_all(peer, &whole);
        }
    }

    #[test]
    fn a_spool_that_cannot_be_read_costs_only_legs_that_need_it() {
        let whole = random_content(6_000_000);
        let mut pair = Pair::joined(limits(1 << 30), None, &[2_000_000, 10_000]);
        pair.fan_out.no_more_legs();
        pair.send(&whole, READ_BLOCK_BYTES);
        pair.readable = false;
        pair.finish();
        pair.assert_has_all(0, &whole);
        let slow = pair.fan_out.leg(pair.peers[1].leg).state;
        assert_eq!(slow, LegState::Failed(LegFailure::SpoolLost));
        assert_eq!(pair.fan_out.memory(), 0);
    }

    #[test]
    fn no_leg_after_the_last_and_one_connection_per_leg() {
        let mut pair = Pair::joined(limits(0), None, &[0]);
        let (now, leg) = (pair.now, pair.peers[0].leg);
        let second = pair
            .fan_out
            .handle_connected(now, leg, ConnectionId(99), Opener::Peer);
        assert_eq!(second, Err(Status::BOUND_ELSEWHERE));
        pair.fan_out.no_more_legs();
        let endpoint = EndpointConfig {
            own: uri("cf"),
            peer: Path::from(uri("peer")),
            accepts: None,
            response_timeout: RESPONSE_TIMEOUT,
        };
        assert_eq!(
            pair.fan_out.add_leg(
                now,
                LegConfig {
                    endpoint,
                    chunk_bytes: None
                }
            ),
            None
        );
        pair.fan_out.drop_leg(leg);
        assert_eq!(
            pair.fan_out.leg(leg).state,
            LegState::Failed(LegFailure::Dropped)
        );
        assert_eq!(pair.fan_out.poll_action(), Some(Action::Wake(leg)));
    }

    /// From the originator's connection to the recipients', every hop as MSRP, the stream cut at random.
    #[test]
    fn from_end_to_end_in_pieces_of_any_size() {
        let whole = random_content(40_000);
        let accepts = Accepts {
            types: "message/cpim".into(),
            max_size: None,
        };
        let config = |own: &str, peer: &str, accepts| EndpointConfig {
            own: uri(own),
            peer: Path::from(uri(peer)),
            accepts,
            response_timeout: RESPONSE_TIMEOUT,
        };
        let fields = ContentFields {
            content_type: b"message/cpim",
            others: &[],
        };
        let mut originator = Endpoint::new(config("alice", "cf", None), fill);
        let mut stream = Vec::new();
        for (index, content) in whole.chunks(3000).enumerate() {
            let offset = 3000 * index as u64;
            let (id, head) = originator.start_chunk(b"8822", fields, offset, Some(40_000));
            let last = offset + content.len() as u64 == 40_000;
            let flag = if last {
                ContinuationFlag::Complete
            } else {
                ContinuationFlag::More
            };
            let end_line = originator.end_chunk(&id, flag, content.len() as u64);
            stream.extend([&head[..], content, &end_line].concat());
        }
        for round in 0..40 {
            let mut pair = Pair::joined(limits(0), Some(40_000), &[100_000, 3_000]);
            pair.random = Rng::with_seed(round);
            let mut receiver = Endpoint::new(config("cf", "alice", Some(accepts.clone())), fill);
            let (mut parser, mut input) = (Parser::new(), BytesMut::new());
            let mut rest = &stream[..];
            while !rest.is_empty() {
                let some = 1 + pair.random.usize(..rest.len().min(5_000));
                input.extend_from_slice(&rest[..some]);
                rest = &rest[some..];
                while let Some(event) = parser.poll_event(&mut input).unwrap() {
                    receiver.handle_event(event);
                }
                while let Some(event) = receiver.poll_event() {
                    match event {
                        EndpointEvent::Content(_, content) => {
                            pair.fan_out.handle_content(pair.now, content)
                        }
                        EndpointEvent::Complete(..) => pair.fan_out.handle_complete(pair.now),
                        EndpointEvent::Started(_) => {}
                        other => panic!("{other:?}"),
                    }
                }
                pair.tick();
            }
            pair.finish();
            pair.assert_has_all(0, &whole);
            pair.assert_has_all(1, &whole);
            let responses = std::iter::from_fn(|| receiver.poll_frame()).count();
            assert_eq!(responses, whole.chunks(3000).count());
        }
    }

    /// Legs come, change their pace, break, and are dropped; the message is completed or given up; the spool may fail.
    #[test]
    fn random_lives_leave_nothing_behind() {
        for seed in 0..25 {
            let mut random = Rng::with_seed(seed);
            let whole = random_content(2_500_000);
            let spool = [0, 1_000_000, 1 << 30][random.usize(..3)];
            let mut pair = Pair::new(limits(spool), (seed % 2 == 0).then_some(2_500_000));
            let (mut rest, mut aborted) = (whole.clone(), false);
            for _ in 0..150 {
                match random.usize(..12) {
                    0..=1 if pair.peers.len() < 12 => {
                        let chunk =
                            [None, Some(2_000), Some(9_999), Some(50_000)][random.usize(..4)];
                        pair.add(300_000, chunk);
                    }
                    2 if !pair.peers.is_empty() => {
                        let leg = LegId(random.usize(..pair.peers.len()));
                        pair.connect(leg);
                    }
                    3 if !pair.peers.is_empty() => {
                        let peer = random.usize(..pair.peers.len());
                        pair.peers[peer].speed = [0, 1_000, 100_000, 1_000_000][random.usize(..4)];
                    }
                    4 if !pair.peers.is_empty() && random.usize(..4) == 0 => {
                        let leg = LegId(random.usize(..pair.peers.len()));
                        match random.usize(..2) {
                            0 => pair.fan_out.handle_disconnected(leg),
                            _ => pair.fan_out.drop_leg(leg),
                        }
                    }
                    5 if random.usize(..20) == 0 => {
                        pair.disk_bytes = [0, 1_000_000, usize::MAX][random.usize(..3)];
                    }
                    5 if random.usize(..40) == 0 => pair.readable = false,
                    6 if random.usize(..30) == 0 => {
                        aborted |= !rest.is_empty();
                        pair.fan_out.handle_aborted(pair.now);
                    }
                    _ => {
                        if pair.reading && !rest.is_empty() && !aborted {
                            let some = 1 + random.usize(..rest.len().min(READ_BLOCK_BYTES));
                            pair.fan_out.handle_content(pair.now, rest.split_to(some));
                        }
                    }
                }
                pair.tick();
            }
            pair.fan_out.no_more_legs();
            for leg in 0..pair.peers.len() {
                if pair.fan_out.leg(LegId(leg)).state == LegState::Waiting {
                    pair.fan_out.drop_leg(LegId(leg));
                }
            }
            if !aborted {
                pair.send(&rest, READ_BLOCK_BYTES);
            }
            pair.finish();
            for (index, peer) in pair.peers.iter().enumerate() {
                assert!(whole.starts_with(&peer.content), "seed {seed}, leg {index}");
                if pair.fan_out.leg(peer.leg).state == LegState::Delivered {
                    pair.assert_has_all(index, &whole);
                }
            }
            let ended = pair.peers.iter().filter(|peer| {
                pair.ended
                    .iter()
                    .filter(|(leg, _)| *leg == peer.leg)
                    .count()
                    == 1
            });
            assert_eq!(
                ended.count(),
                pair.peers.len(),
                "each leg ends once, seed {seed}"
            );
            assert_eq!(pair.fan_out.memory(), 0, "seed {seed}");
        }
    }

    #[test]
    fn unanswered_chunks_are_bounded() {
        let whole = random_content(2 * MAX_UNANSWERED);
        let mut pair = Pair::new(limits(0), None);
        for answers in [false, true] {
            pair.fan_out
                .handle_content(pair.now, whole.slice(..whole.len() / 2));
            let leg = pair.add(1_000_000, Some(1));
            pair.connect(leg);
            pair.peers[leg.0].answers = answers;
        }
        for _ in 0..20 {
            pair.tick();
        }
        assert_eq!(pair.peers[0].chunks.len(), MAX_UNANSWERED);
        assert_eq!(pair.peers[1].content.len(), whole.len());
        pair.fan_out.handle_complete(pair.now);
        pair.finish();
        let silent = pair.fan_out.leg(pair.peers[0].leg).state;
        assert_eq!(silent, LegState::Failed(LegFailure::NoResponse));
        assert_eq!(
            pair.fan_out.leg(pair.peers[1].leg).state,
            LegState::Delivered
        );
    }

    #[test]
    fn less_memory_moves_content_to_the_spool() {
        let mut pair = Pair::new(
            Limits {
                memory_bytes: 8 << 20,
                ..limits(1 << 30)
            },
            None,
        );
        for _ in 0..64 {
            pair.fan_out
                .handle_content(pair.now, random_content(READ_BLOCK_BYTES));
            pair.tick();
        }
        assert_eq!((pair.fan_out.memory(), pair.spills), (4 << 20, 0));
        pair.bound = usize::MAX;
        let now = pair.now;
        pair.fan_out.set_limits(now, limits(1 << 30));
        for _ in 0..64 {
            pair.tick();
        }
        assert!(pair.fan_out.memory() <= MIN_MEMORY_BYTES && pair.reading);
    }

    /// What a peer sends may be anything: no panic, no memory beyond the bound, and each leg ends once at most.
    #[test]
    fn mutated_input_never_panics() {
        let whole = random_content(3_000);
        let mut random = Rng::with_seed(21);
        let pieces = [
            "MSRP abcd SEND\r\n",
            "MSRP abcd REPORT\r\n",
            "MSRP abcd 200 OK\r\n",
            "MSRP abcd 413\r\n",
            "MSRP abcd AUTH\r\n",
            "To-Path: msrp://cf:2855/session;tcp\r\n",
            "From-Path: msrp://peer:2855/session;tcp\r\n",
            "Message-ID: 8822\r\n",
            "Message-ID: 9\r\n",
            "Byte-Range: 1-*/3000\r\n",
            "Byte-Range: 900-1000/*\r\n",
            "Byte-Range: 18446744073709551615-*/*\r\n",
            "Status: 000 408 x\r\n",
            "Success-Report: yes\r\n",
            "Failure-Report: partial\r\n",
            "Content-Type: message/cpim\r\n\r\n",
            "content\r\n",
            "\r\n",
            "-------abcd$\r\n",
            "-------abcd+\r\n",
            "-------abcd#\r\n",
        ];
        for _ in 0..10_000 {
            let mut stream = String::from(pieces[random.usize(..5)]);
            stream += pieces[5];
            stream += pieces[6];
            for _ in 0..random.usize(..12) {
                stream += pieces[random.usize(..pieces.len())];
            }
            let accepts = Accepts {
                types: "message/cpim".into(),
                max_size: Some(2_000),
            };
            let config = EndpointConfig {
                own: uri("cf"),
                peer: Path::from(uri("peer")),
                accepts: Some(accepts),
                response_timeout: RESPONSE_TIMEOUT,
            };
            let mut receiver = Endpoint::new(config, fill);
            let mut pair = Pair::joined(limits(0), None, &[500]);
            pair.fan_out.handle_content(pair.now, whole.clone());
            pair.carry(0);
            let leg = pair.peers[0].leg;
            let (mut parser, mut input) = (Parser::new(), BytesMut::from(stream.as_bytes()));
            while let Ok(Some(event)) = parser.poll_event(&mut input) {
                receiver.handle_event(event.clone());
                pair.fan_out.handle_leg_event(pair.now, leg, event);
            }
            pair.tick();
            let received: usize = std::iter::from_fn(|| receiver.poll_event())
                .map(|event| match event {
                    EndpointEvent::Content(_, content) => content.len(),
                    _ => 0,
                })
                .sum();
            assert!(received <= 2_000 * MAX_OPEN_MESSAGES && pair.ended.len() <= 1);
        }
    }
}
