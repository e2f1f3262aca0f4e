//! Distributes the content of one incoming message to any number of legs.

mod leg;
mod memory;
#[cfg(test)]
mod tests;
mod types;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use super::content::{Content, Whereabouts};
use super::hold::Hold;
use super::{ConnectionId, Endpoint, EndpointEvent, MAX_UNANSWERED};
use crate::msrp::{ContinuationFlag, Event, Status};
use leg::{Leg, Piece};
use types::MAX_FETCHES;

pub use types::{
    DeliveryFailure, DeliveryState, FanOutAction, LegConfig, LegId, LegStatus, Limits,
    MIN_MEMORY_BYTES, Opener, OutgoingMessage,
};

/// Maximum number of frames and runs of content queued for one leg. Small chunks make two frames
/// each.
const MAX_PIECES: usize = 64;
/// How long a spool that has refused content is not retried: space may become available at any
/// time.
const SPOOL_RETRY: Duration = Duration::from_secs(1);

/// Distributes the content of one incoming message to any number of legs, each at its own pace.
///
/// The rule: after each call of a `handle_*` or of `add_leg`, take all actions of
/// [`poll_action`](Self::poll_action); then wait for bytes, writability, the spool, or
/// [`poll_timeout`](Self::poll_timeout). To write to a leg: [`gather`](Self::gather), a vectored
/// write, [`handle_written`](Self::handle_written), until nothing is gathered or the connection is
/// full.
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
///
/// # Example
/// A message of five bytes to one leg, until its first bytes are on the wire:
///
/// ```
/// use std::io::IoSlice;
/// use std::time::Instant;
///
/// use cpm_wire::msrp::{MsrpUri, Path};
/// use cpm_wire::msrp_session::{
///     ConnectionId, EndpointConfig, FanOut, LegConfig, Limits, MAX_HOLD, Opener, OutgoingMessage,
///     RESPONSE_TIMEOUT,
/// };
///
/// let now = Instant::now();
/// let limits = Limits {
///     memory_bytes: 1 << 20,
///     spool_bytes: 0,
///     stall: RESPONSE_TIMEOUT,
///     hold: MAX_HOLD,
/// };
/// // A service takes its random bytes from a cryptographic source.
/// let mut fan_out = FanOut::new(limits, |bytes| bytes.fill(7));
///
/// let uri = |host| MsrpUri::new(false, host, 2855, "session").unwrap();
/// let endpoint = EndpointConfig {
///     own: uri("cf.example.com"),
///     peer: Path::from(uri("bill.example.com")),
///     accepts: None,
///     response_timeout: RESPONSE_TIMEOUT,
/// };
/// let bill = fan_out.add_leg(now, LegConfig { endpoint, chunk_bytes: None }).unwrap();
/// fan_out.no_more_legs();
///
/// fan_out.handle_started(OutgoingMessage {
///     message_id: "8822".into(),
///     content_type: "text/plain".into(),
///     content_fields: vec![],
///     total: Some(5),
/// });
/// fan_out.handle_content(now, "Hello".into());
/// fan_out.handle_complete(now);
/// // Bill has connected, and the first SEND from there has bound the session.
/// fan_out.handle_connected(now, bill, ConnectionId(1), Opener::Peer).unwrap();
///
/// let mut slices = [IoSlice::new(&[]); 8];
/// let gathered = fan_out.gather(bill, &mut slices);
/// let bytes: Vec<u8> = slices[..gathered].iter().flat_map(|slice| slice.to_vec()).collect();
/// let text = String::from_utf8_lossy(&bytes);
/// assert!(text.contains("Message-ID: 8822\r\n") && text.contains("\r\n\r\nHello\r\n"));
/// fan_out.handle_written(now, bill, bytes.len());
/// assert!(!fan_out.has_output(bill));
/// ```
#[derive(Debug)]
pub struct FanOut {
    /// `None` until the message begins; legs may be added before.
    message: Option<OutgoingMessage>,
    limits: Limits,
    random: fn(&mut [u8]),
    content: Content,
    end: MessageEnd,
    legs: Vec<Leg>,
    /// Legs may still be added, so all content is kept.
    open: bool,
    reading: bool,
    through: Through,
    hold: Hold,
    /// The caller does not read from the originator until at most this many bytes are in memory.
    room: Option<usize>,
    /// The spool has refused content, and is not retried before this.
    spool_full: Option<Instant>,
    /// The last content passed to the spool could not be written.
    spool_refused: bool,
    fetches: usize,
    /// Legs that found all fetches in use.
    starved: Vec<LegId>,
    actions: VecDeque<FanOutAction>,
    /// No deadline is earlier; it may be too early.
    wake_at: Option<Instant>,
}

/// Whether all content is written to the spool as it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Through {
    Not,
    On,
    /// No more arrives.
    Last,
    Reported,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageEnd {
    Open,
    Complete,
    Aborted,
}

impl FanOut {
    /// A fan-out without legs, of a message that has not begun. `random` fills its argument from a
    /// cryptographic source.
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
            through: Through::Not,
            hold: Hold::default(),
            room: None,
            spool_full: None,
            spool_refused: false,
            fetches: 0,
            starved: Vec::new(),
            actions: VecDeque::new(),
            wake_at: None,
        }
    }

    /// A fan-out of a message of `len` bytes that is complete in the spool.
    pub fn stored(
        limits: Limits,
        random: fn(&mut [u8]),
        message: OutgoingMessage,
        len: u64,
    ) -> Self {
        Self {
            message: Some(message),
            content: Content::stored(len),
            end: MessageEnd::Complete,
            ..Self::new(limits, random)
        }
    }

    /// The message, once it has begun.
    pub fn message(&self) -> Option<&OutgoingMessage> {
        self.message.as_ref()
    }

    /// Adds a leg, which gets the message from its first byte. Only before
    /// [`no_more_legs`](Self::no_more_legs): `None` after it.
    pub fn add_leg(&mut self, now: Instant, config: LegConfig) -> Option<LegId> {
        if !self.open {
            return None;
        }
        let id = LegId(self.legs.len());
        self.legs.push(Leg {
            endpoint: Endpoint::new(config.endpoint, self.random),
            // A chunk without content would make no progress.
            chunk_bytes: config.chunk_bytes.unwrap_or(u64::MAX).max(1),
            state: DeliveryState::Waiting,
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
            self.end_leg(id, DeliveryState::Aborted);
        }
        Some(id)
    }

    /// No further leg will be added: content that all legs have is freed (9.1.2-send-4).
    pub fn no_more_legs(&mut self) {
        self.open = false;
        self.release();
    }

    /// Changes the limits, for example when other messages need the memory. Content that exceeds
    /// them goes to the spool, or the originator is held back until legs have taken it.
    pub fn set_limits(&mut self, now: Instant, limits: Limits) {
        self.limits = limits;
        self.balance();
        self.note_hold(now);
    }

    /// The caller stops reading from the originator until [`memory`](Self::memory) is at most
    /// `room`, for a reason of its own: the memory of all messages is used up. That counts like
    /// [`FanOutAction::StopReading`], until [`let_go`](Self::let_go).
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

    /// Whether the spool has refused the last content passed to it.
    pub fn is_spool_full(&self) -> bool {
        self.spool_refused
    }

    /// The session end of a leg, read-only.
    pub fn endpoint(&self, leg: LegId) -> &Endpoint {
        &self.legs[leg.0].endpoint
    }

    /// The progress of a leg.
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

    /// Content bytes received from the originator.
    pub fn received(&self) -> u64 {
        self.content.end()
    }

    /// Content bytes held in memory; at most [`Limits::memory_bound`].
    pub fn memory(&self) -> usize {
        self.content.memory()
    }

    /// Whether any output is queued for a leg.
    pub fn has_output(&self, leg: LegId) -> bool {
        !self.legs[leg.0].pieces.is_empty()
    }

    /// The message begins. It is the only one: content of further ones is not for this fan-out.
    pub fn handle_started(&mut self, message: OutgoingMessage) {
        self.message.get_or_insert(message);
    }

    /// The next bytes of the message, which must have begun.
    pub fn handle_content(&mut self, now: Instant, content: Bytes) {
        if self.end != MessageEnd::Open || self.message.is_none() {
            return;
        }
        self.content.push(content);
        self.write_on();
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

    /// The originator abandoned the message: each leg is told with the flag `#` (readings N46).
    pub fn handle_aborted(&mut self, now: Instant) {
        if self.end != MessageEnd::Open {
            return;
        }
        self.end = MessageEnd::Aborted;
        self.hold.end();
        for index in 0..self.legs.len() {
            let leg = &mut self.legs[index];
            match leg.state {
                DeliveryState::Waiting => self.end_leg(LegId(index), DeliveryState::Aborted),
                DeliveryState::Sending => {
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

    /// A leg's connection is established.
    ///
    /// # Errors
    /// [`Status::BOUND_ELSEWHERE`] if the leg already has another connection.
    pub fn handle_connected(
        &mut self,
        now: Instant,
        id: LegId,
        connection: ConnectionId,
        opener: Opener,
    ) -> Result<(), Status> {
        let leg = &mut self.legs[id.0];
        leg.endpoint.bind(connection)?;
        if leg.state != DeliveryState::Waiting {
            return Ok(());
        }
        leg.state = DeliveryState::Sending;
        // Available content could bind as well (RFC 4975 §5.4), but some peers accept nothing else
        // than this.
        if opener == Opener::Us {
            leg.endpoint.send_empty(now);
        }
        self.wake(now, id);
        self.note_deadline(self.legs[id.0].endpoint.poll_timeout());
        Ok(())
    }

    /// A leg's connection is lost.
    pub fn handle_disconnected(&mut self, id: LegId) {
        self.legs[id.0].endpoint.handle_disconnected();
        self.legs[id.0].pieces.clear();
        self.fail(id, DeliveryFailure::Disconnected);
    }

    /// Removes a leg, for example because its dialog has ended. A chunk that has begun is ended
    /// with `#`.
    pub fn drop_leg(&mut self, id: LegId) {
        self.fail(id, DeliveryFailure::Dropped);
    }

    /// Removes a leg as if its peer had answered with `status`, which it would.
    pub fn refuse_leg(&mut self, id: LegId, status: Status) {
        self.fail(id, DeliveryFailure::Refused(status));
    }

    /// Others wait for the connection of this leg (RFC 4975 §5.4: several sessions may share one):
    /// ends the chunk on the wire soon, and starts none. Keep writing until
    /// [`is_between_chunks`](Self::is_between_chunks).
    pub fn pause(&mut self, id: LegId) {
        self.legs[id.0].paused = true;
    }

    /// The leg may use its connection again. The time in between does not count as a stall.
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

    /// The remaining output of a leg that has ended: an end-line, responses. The caller writes it
    /// from now on.
    pub fn take_output(&mut self, id: LegId) -> impl Iterator<Item = Bytes> + '_ {
        self.line_up(id);
        self.legs[id.0].begun = false;
        let pieces = self.legs[id.0].pieces.drain(..);
        pieces.filter_map(|piece| match piece {
            Piece::Head(bytes, _) | Piece::EndLine(bytes, ..) | Piece::Frame(bytes) => Some(bytes),
            Piece::Content(..) => None,
        })
    }

    /// The next event of a request or response for this leg.
    pub fn handle_leg_event(&mut self, now: Instant, id: LegId, event: Event) {
        self.legs[id.0].endpoint.handle_event(event);
        self.take_endpoint_events(now, id);
    }

    /// Fills `out` with the next output of a leg, and returns the number of slices. 0: nothing for
    /// now, a [`FanOutAction::Wake`] will follow.
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

    /// This many bytes of the gathered output have been written. 0 means that the connection
    /// accepts nothing for now.
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
                    if flag == ContinuationFlag::Complete && leg.state == DeliveryState::Sending {
                        leg.state = DeliveryState::Finishing;
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

    /// The content of [`FanOutAction::Spill`] is in the spool.
    pub fn handle_spilled(&mut self) {
        self.content.spilled();
        self.spool_refused = false;
        self.write_on();
        self.release();
    }

    /// The content of [`FanOutAction::Spill`] could not be written: the spool is full, or broken.
    /// It stays in memory; earlier content can still be read, and the spool is retried at
    /// intervals.
    pub fn handle_not_spilled(&mut self, now: Instant) {
        self.content.not_spilled();
        let retry_at = now + SPOOL_RETRY;
        self.spool_full = Some(retry_at);
        self.spool_refused = true;
        self.note_deadline(Some(retry_at));
        self.release();
        self.note_hold(now);
    }

    /// The content requested by [`FanOutAction::Fetch`].
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

    /// The content requested by [`FanOutAction::Fetch`] cannot be read: the legs that wait for it
    /// fail, the others continue.
    pub fn handle_not_fetched(&mut self, now: Instant, offset: u64) {
        self.fetches = self.fetches.saturating_sub(1);
        self.content.not_fetched(offset);
        for index in 0..self.legs.len() {
            if self.legs[index].awaited == Some(offset) {
                self.fail(LegId(index), DeliveryFailure::SpoolLost);
            }
        }
        self.wake_starved(now);
    }

    /// Wakes all of them: a single one might not be writable now, and then nobody would request the
    /// next segment.
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
            let blocked = leg.state == DeliveryState::Sending
                && !leg.idle
                && !leg.paused
                && leg.awaited.is_none();
            let stalled_at = leg.progress + self.limits.stall;
            if blocked && stalled_at <= now {
                self.fail(id, DeliveryFailure::Stalled);
            } else if blocked {
                self.note_deadline(Some(stalled_at));
            }
            self.note_deadline(self.legs[index].endpoint.poll_timeout());
        }
    }

    /// The next action.
    pub fn poll_action(&mut self) -> Option<FanOutAction> {
        self.actions.pop_front()
    }

    /// Queues pieces for a leg: all available content, in chunks.
    fn line_up(&mut self, id: LegId) {
        let (end, complete) = (self.content.end(), self.end == MessageEnd::Complete);
        let leg = &mut self.legs[id.0];
        if leg.state == DeliveryState::Waiting {
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
                let may_start = leg.state == DeliveryState::Sending
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
                // Full, but possibly not the end: a chunk that is full at the end waits for `$`.
                leg.end_chunk(ContinuationFlag::More);
            } else {
                break;
            }
        }
    }

    /// Requests from the spool the content that a leg needs next.
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
                self.actions.push_back(FanOutAction::Fetch {
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
                EndpointEvent::Refused(status) => self.fail(id, DeliveryFailure::Refused(status)),
                EndpointEvent::NoResponse => self.fail(id, DeliveryFailure::NoResponse),
                // A leg accepts no content.
                EndpointEvent::Started(_)
                | EndpointEvent::Content(..)
                | EndpointEvent::Complete(..)
                | EndpointEvent::Aborted(_) => {}
            }
        }
        self.end_if_delivered(id);
        // A response may allow the next chunk, a request needs a response.
        let leg = &self.legs[id.0];
        let more = leg.endpoint.has_frames()
            || leg.state == DeliveryState::Sending
                && leg.chunk.is_none()
                && leg.queued < self.content.end();
        if more {
            self.wake(now, id);
        }
    }

    fn end_if_delivered(&mut self, id: LegId) {
        let leg = &self.legs[id.0];
        if leg.state == DeliveryState::Finishing && leg.endpoint.unanswered() == 0 {
            self.end_leg(id, DeliveryState::Delivered);
        }
    }

    fn end_if_aborted(&mut self, id: LegId) {
        let leg = &self.legs[id.0];
        let told = leg.pieces.is_empty() && leg.state == DeliveryState::Sending;
        if self.end == MessageEnd::Aborted && told {
            self.end_leg(id, DeliveryState::Aborted);
        }
    }

    fn fail(&mut self, id: LegId, failure: DeliveryFailure) {
        let leg = &mut self.legs[id.0];
        if leg.state.is_final() {
            return;
        }
        if matches!(
            failure,
            DeliveryFailure::Disconnected | DeliveryFailure::Stalled
        ) {
            leg.pieces.clear();
            leg.chunk = None;
            leg.begun = false;
        } else {
            // RFC 4975 §7.1: a sender that must stop ends the chunk with `#`. Others may share the
            // connection.
            leg.abort_chunk();
        }
        self.end_leg(id, DeliveryState::Failed(failure));
    }

    fn end_leg(&mut self, id: LegId, state: DeliveryState) {
        self.decide(id, state);
        self.release();
    }

    fn decide(&mut self, id: LegId, state: DeliveryState) {
        self.legs[id.0].state = state;
        self.legs[id.0].awaited = None;
        self.starved.retain(|starved| *starved != id);
        self.actions.push_back(FanOutAction::LegEnded(id, state));
        if self.has_output(id) {
            self.actions.push_back(FanOutAction::Wake(id));
        }
    }

    fn wake_all(&mut self, now: Instant) {
        for index in 0..self.legs.len() {
            if self.legs[index].state == DeliveryState::Sending {
                self.wake(now, LegId(index));
            }
        }
    }

    fn wake(&mut self, now: Instant, id: LegId) {
        let leg = &mut self.legs[id.0];
        if std::mem::replace(&mut leg.idle, false) {
            leg.progress = now;
            self.actions.push_back(FanOutAction::Wake(id));
            self.note_deadline(Some(now + self.limits.stall));
        }
    }

    fn note_deadline(&mut self, at: Option<Instant>) {
        self.wake_at = self.wake_at.into_iter().chain(at).min();
    }
}
