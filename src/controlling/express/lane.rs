//! The lane: takes copies, sends them as far as the window allows, and fires timers.

use std::mem;

use super::block::{Block, Leg, Message, Place};
use super::copies::{WINDOW, has_room, refill, write_batch, write_head};
use super::outbox::{Ended, Outbox, Transport};
use super::table::{LaneMemory, NEVER_MS};
use super::timers::{State, Timers};
use crate::controlling::OutgoingRequest;
use crate::shared::Cell;

/// Leg cells examined under one lock.
const SLICE: usize = 32;

/// Milliseconds between two sweeps: a timer fires at most this late.
pub(super) const SWEEP_MS: u64 = 100;

/// In this many milliseconds at most one window of copies is retransmitted. If all were sent at
/// once, the receiver would lose the same ones each time.
const SPACING_MS: u64 = 2;

/// Maximum length of the text that all copies share.
const MAX_TAIL_BYTES: usize = 64 * 1024;

/// The end of a copy that cannot be sent (RFC 3261 8.1.3.1).
const NOT_SENDABLE: (u16, &[u8]) = (503, b"Not Sendable");

/// Random bytes that are asked for at once.
const KEYS_BYTES: usize = 1024;

/// How a copy is sent, as determined by the host.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// UDP or TCP.
    pub transport: Transport,
    /// The host's number of the socket to send from.
    pub socket: u64,
    /// Destination.
    pub address: std::net::SocketAddr,
    /// The proxy's Via line for this socket: the part before the branch and the part after it,
    /// including the line end.
    pub via: [&'a [u8]; 2],
    /// The same values as for the proxy's own transactions.
    pub timers: Timers,
    /// Maximum length of a request sent as a datagram.
    pub max_datagram_bytes: u32,
}

/// A block that is still being filled.
#[derive(Debug)]
struct Open {
    head: Cell,
    place: usize,
    last: Option<Cell>,
    legs: u64,
    headers: Vec<u8>,
    body: Vec<u8>,
    message: Message,
}

impl Open {
    fn takes(&self, copy: &OutgoingRequest<'_>, way: &Way<'_>) -> bool {
        let message = &self.message;
        (message.transport, message.socket, message.cseq) == (way.transport, way.socket, copy.cseq)
            && message.timers == way.timers
            && message.max_datagram_bytes == way.max_datagram_bytes
            && message.via[0] == way.via[0]
            && message.via[1] == way.via[1]
            && message.from == copy.from.as_bytes()
            && self.headers == copy.headers
            && self.body == copy.body
    }
}

/// Progress of the sweep, which one process runs.
#[derive(Debug, Default)]
struct Sweep {
    place: usize,
    /// Within the block at that place: its generation, the previous cell, and the next cell.
    within: Option<(u64, Option<Cell>, Option<Cell>)>,
    /// When the part of that block already examined is next due.
    due_ms: Option<u64>,
    /// Copies retransmitted since the last pause.
    again: u64,
}

/// What follows from the responses that have been heard.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// The blocks whose window has room, with their generations.
    pub(super) roomy: Vec<(u64, Cell)>,
    /// Unanswered copies of the block of the last response.
    pub(super) unanswered: u64,
}

/// Result of one step of the sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// More work remains: call again at once.
    More,
    /// Nothing to do until this time; `None`: until a process takes a copy.
    Until(Option<u64>),
}

/// The express lane of one process.
#[derive(Debug)]
pub struct Lane {
    pub(super) memory: LaneMemory,
    /// The same in all processes.
    pub(super) secret: u64,
    random: fn(&mut [u8]),
    /// Whether the whole request is needed for delivered copies too.
    wants_delivered: bool,
    open: Option<Open>,
    /// The message read last, with the generation of its block.
    read: Option<(u64, Message)>,
    /// Random bytes, and how many of them have been used.
    keys: [u8; KEYS_BYTES],
    keys_used: usize,
    room: Vec<u8>,
    /// Copies that have ended and are still counted as outstanding.
    ended: u64,
    sweep: Sweep,
    pub(super) hearing: Hearing,
}

impl Lane {
    /// Makes the lane in this memory. Must be called before the processes fork, so that all have
    /// the same secret.
    pub fn new(memory: LaneMemory, random: fn(&mut [u8])) -> Self {
        let mut secret = [0; 8];
        random(&mut secret);
        Lane {
            memory,
            secret: u64::from_ne_bytes(secret),
            random,
            wants_delivered: false,
            open: None,
            read: None,
            keys: [0; KEYS_BYTES],
            keys_used: KEYS_BYTES,
            room: Vec::new(),
            ended: 0,
            sweep: Sweep::default(),
            hearing: Hearing::default(),
        }
    }

    /// As if both processes had been forked from one.
    #[cfg(test)]
    pub(super) fn share_secret(&mut self, with: &Lane) {
        self.secret = with.secret;
    }

    #[cfg(test)]
    pub(super) fn secret(&self) -> u64 {
        self.secret
    }

    /// Whether the whole request is needed for delivered copies too.
    pub fn set_wants_delivered(&mut self, wants_delivered: bool) {
        self.wants_delivered = wants_delivered;
    }

    /// The shared memory of the lane.
    pub fn memory(&self) -> &LaneMemory {
        &self.memory
    }

    /// Takes a copy; [`flush`](Self::flush) sends it together with others like it. False: the lane
    /// has no room for it.
    pub fn take(
        &mut self,
        copy: &OutgoingRequest<'_>,
        way: &Way<'_>,
        now_ms: u64,
        outbox: &mut Outbox,
    ) -> bool {
        if copy.method != "MESSAGE" || copy.headers.len() + copy.body.len() > MAX_TAIL_BYTES {
            return false;
        }
        if self
            .open
            .as_ref()
            .is_some_and(|open| !open.takes(copy, way))
        {
            self.flush(now_ms, outbox);
        }
        let key = self.random_u64();
        if self.open.is_none() && !self.begin(copy, way, now_ms) {
            return false;
        }
        let uri = copy.request_uri;
        let usual = copy
            .to
            .strip_prefix('<')
            .and_then(|to| to.strip_suffix('>'));
        let leg = Leg {
            key,
            attempt: copy.attempt,
            address: way.address,
            uri: uri.as_bytes(),
            call_id: copy.call_id.as_bytes(),
            tag: copy.from_tag.as_bytes(),
            to: (usual != Some(uri)).then_some(copy.to.as_bytes()),
        };
        let Some(open) = &mut self.open else {
            return false;
        };
        let block = Block {
            cells: &self.memory.cells,
            head: open.head,
        };
        match block.push(open.last, &leg, &mut self.room) {
            Some(cell) => {
                open.last = Some(cell);
                open.legs += 1;
                true
            }
            None => {
                // Sends the copies already taken, so that memory becomes free again.
                self.flush(now_ms, outbox);
                false
            }
        }
    }

    fn begin(&mut self, copy: &OutgoingRequest<'_>, way: &Way<'_>, now_ms: u64) -> bool {
        let length = format!("Content-Length: {}\r\n", copy.body.len());
        let message = Message {
            transport: way.transport,
            socket: way.socket,
            cseq: copy.cseq,
            timers: way.timers,
            max_datagram_bytes: way.max_datagram_bytes,
            via: way.via.map(<[u8]>::to_vec),
            from: copy.from.as_bytes().to_vec(),
            tail: [length.as_bytes(), copy.headers, b"\r\n", copy.body].concat(),
        };
        let generation = self.random_u64() | 1 << 63;
        let Some(block) = Block::begin(&self.memory.cells, &message) else {
            return false;
        };
        let Some(place) = self.memory.enter(block.head) else {
            block.give_back(None);
            return false;
        };
        block.set_generation(generation);
        block.set_begun_ms(now_ms);
        block.set_place(place as u64);
        self.open = Some(Open {
            head: block.head,
            place,
            last: None,
            legs: 0,
            headers: copy.headers.to_vec(),
            body: copy.body.to_vec(),
            message,
        });
        true
    }

    /// Whether there are copies that have been taken and not sent.
    pub fn has_taken(&self) -> bool {
        self.open.is_some()
    }

    /// Sends the copies taken, as far as the window allows.
    pub fn flush(&mut self, now_ms: u64, outbox: &mut Outbox) {
        let Some(open) = self.open.take() else {
            return;
        };
        let block = Block {
            cells: &self.memory.cells,
            head: open.head,
        };
        if open.legs == 0 {
            self.memory.leave(open.place as u64);
            block.give_back(None);
            return;
        }
        block.set_legs(open.legs);
        block.set_unsettled(open.legs);
        block.set_waiting(open.legs);
        self.memory.add_outstanding(open.legs);
        outbox.taken += open.legs as u32;
        // No other process knows the block yet, so its lock is free unless a process was killed
        // while holding it. In that case the sweep sends the copies.
        let locked = self.memory.cells.lock(open.head, now_ms);
        if locked.is_some() {
            outbox.push(refill(
                block,
                &open.message,
                (self.secret, now_ms),
                &mut self.room,
            ));
        }
        self.read = Some((block.generation(), open.message));
        let due_ms = now_ms + block.timers().first_ms();
        block.set_fires_ms(due_ms);
        self.memory.set_due(block.place(), open.head, due_ms);
        drop(locked);
        outbox.wakes |= !self.memory.set_swept(true);
    }

    /// Sends waiting copies, as far as the window allows.
    pub(super) fn send_waiting(&mut self, block: Block<'_>, now_ms: u64, outbox: &mut Outbox) {
        self.read(block);
        let Some((_, message)) = &self.read else {
            return;
        };
        let batch = refill(block, message, (self.secret, now_ms), &mut self.room);
        self.fires_by(block, now_ms + block.timers().first_ms());
        outbox.push(batch);
    }

    /// A timer of the block fires at this time or earlier.
    pub(super) fn fires_by(&self, block: Block<'_>, fires_ms: u64) {
        block.set_fires_ms(fires_ms.min(block.fires_ms()));
        self.memory.due_by(block.place(), block.head, fires_ms);
    }

    /// Reads the message of a block, unless it was the last one read.
    fn read(&mut self, block: Block<'_>) {
        let generation = block.generation();
        if self
            .read
            .as_ref()
            .is_none_or(|(read, _)| *read != generation)
        {
            self.read = Some((generation, block.message()));
        }
    }

    /// Reports that a copy has ended.
    pub(super) fn end(
        &mut self,
        block: Block<'_>,
        place: Place,
        code: u16,
        reason: &[u8],
        outbox: &mut Outbox,
    ) {
        let is_whole = self.wants_delivered || !(200..300).contains(&code);
        if is_whole {
            self.read(block);
        }
        self.ended += 1;
        let Some(leg) = block.leg(place, &mut self.room) else {
            return;
        };
        let texts = &mut outbox.texts;
        let start = texts.len();
        let end;
        if let Some((_, message)) = self.read.as_ref().filter(|_| is_whole) {
            write_head(message, &leg, (place, self.secret), 0, texts);
            texts.extend_from_slice(&message.tail);
            end = texts.len();
            texts.extend_from_slice(reason);
        } else {
            let parts = [
                b"MESSAGE ",
                leg.uri,
                b" SIP/2.0\r\nCall-ID: ",
                leg.call_id,
                b"\r\n",
            ];
            texts.reserve(parts.iter().map(|part| part.len()).sum());
            parts.iter().for_each(|part| texts.extend_from_slice(part));
            end = texts.len();
        }
        outbox.ended.push(Ended {
            code,
            attempt: leg.attempt,
            reason: end..texts.len(),
            request: start..end,
        });
    }

    /// Copies that have ended are no longer outstanding: once for all of a call.
    pub(super) fn count_ended(&mut self) {
        if self.ended > 0 {
            self.memory.subtract_outstanding(mem::take(&mut self.ended));
        }
    }

    /// One step of the sweep that fires timers, which only one process runs. Examines a few hundred
    /// copies.
    pub fn sweep(&mut self, now_ms: u64, outbox: &mut Outbox) -> Swept {
        let swept = self.sweep_some(now_ms, outbox);
        self.count_ended();
        swept
    }

    fn sweep_some(&mut self, now_ms: u64, outbox: &mut Outbox) -> Swept {
        let memory = self.memory.clone();
        while self.sweep.place < memory.len() && !memory.is_empty() {
            match memory.at(self.sweep.place) {
                Some((head, due_ms)) if self.sweep.within.is_some() || due_ms <= now_ms => {
                    self.look_at(head, now_ms, outbox);
                    if self.sweep.again < WINDOW {
                        return Swept::More;
                    }
                    self.sweep.again = 0;
                    return Swept::Until(Some(now_ms + SPACING_MS));
                }
                _ => self.pass(),
            }
        }
        self.sweep = Sweep::default();
        if !memory.is_empty() {
            return Swept::Until(Some(now_ms + SWEEP_MS));
        }
        memory.set_swept(false);
        // Another process may have begun a block in between, relying on this sweep.
        let again = !memory.is_empty() && !memory.set_swept(true);
        Swept::Until(again.then_some(now_ms + SWEEP_MS))
    }

    /// Moves on to the next place.
    fn pass(&mut self) {
        self.sweep = Sweep {
            place: self.sweep.place + 1,
            again: self.sweep.again,
            ..Sweep::default()
        };
    }

    /// Fires the timers of some legs of a block.
    fn look_at(&mut self, head: Cell, now_ms: u64, outbox: &mut Outbox) {
        let memory = self.memory.clone();
        let block = Block {
            cells: &memory.cells,
            head,
        };
        let Some(locked) = memory.cells.lock(head, now_ms) else {
            return self.pass();
        };
        // Since its number was read, the block may have ended and another one begun in its cells.
        let is_due = |(at, due_ms)| at == head && (self.sweep.within.is_some() || due_ms <= now_ms);
        if !memory.at(self.sweep.place).is_some_and(is_due) {
            return self.pass();
        }
        if locked.is_taken_over() {
            block.count_again();
        }
        let generation = block.generation();
        let (mut before, mut next) = match self.sweep.within {
            Some((of, before, next)) if of == generation => (before, next),
            Some(_) => return self.pass(),
            None => {
                // A process that sends meanwhile sets the new due time.
                memory.set_due(block.place(), head, NEVER_MS);
                let fires_ms = block.fires_ms();
                if fires_ms <= now_ms {
                    block.set_fires_ms(NEVER_MS);
                    (None, block.first_cell())
                } else {
                    // It is due because of waiting legs; no timer needs to be examined.
                    self.sweep.due_ms = Some(fires_ms);
                    (None, None)
                }
            }
        };
        self.read(block);
        let mut again = Vec::new();
        let mut looked_at = 0;
        let most = WINDOW.saturating_sub(self.sweep.again) as usize;
        while let Some(cell) = next.filter(|_| looked_at < SLICE && again.len() < most) {
            looked_at += 1;
            next = block.next_cell(cell);
            if self.fire(block, cell, now_ms, &mut again, outbox) {
                before = Some(cell);
            } else {
                block.drop_cell(before, cell);
            }
        }
        if let Some((_, message)) = &self.read {
            let batch = write_batch(block, message, &again, self.secret, &mut self.room);
            outbox.repeated += batch.len() as u32;
            self.sweep.again += batch.len() as u64;
            outbox.push(batch);
        }
        if next.is_some() {
            self.sweep.within = Some((generation, before, next));
            return;
        }
        if block.unsettled() == 0 {
            memory.leave(block.place());
            block.give_back(Some(locked));
            return self.pass();
        }
        if let Some(due_ms) = self.sweep.due_ms {
            self.fires_by(block, due_ms);
        }
        if has_room(block) {
            self.send_waiting(block, now_ms, outbox);
        }
        self.pass();
    }

    /// Fires the timers of a cell's legs. False: all of them have ended.
    fn fire(
        &mut self,
        block: Block<'_>,
        cell: Cell,
        now_ms: u64,
        again: &mut Vec<Place>,
        outbox: &mut Outbox,
    ) -> bool {
        let is_reliable = block.transport() == Transport::Tcp;
        let timers = block.timers();
        let mut is_needed = false;
        for place in block.legs_of(cell) {
            let mut progress = block.progress(place);
            if progress.is_lost() {
                let (code, reason) = NOT_SENDABLE;
                self.end(block, place, code, reason, outbox);
                progress = progress.now_in(State::Completed);
                block.set_progress(place, progress);
            } else if progress.due_ms().is_some_and(|due_ms| due_ms <= now_ms) {
                match progress.fired(now_ms, is_reliable, &timers) {
                    Some(next) => {
                        progress = next;
                        if !is_reliable {
                            again.push(place);
                        }
                    }
                    None => {
                        self.end(block, place, 408, b"Request Timeout", outbox);
                        progress = progress.now_in(State::Completed);
                    }
                }
                block.set_progress(place, progress);
            }
            is_needed |= progress.state != State::Completed;
            if let Some(due_ms) = progress.due_ms() {
                let earliest = self.sweep.due_ms.get_or_insert(due_ms);
                *earliest = due_ms.min(*earliest);
            }
        }
        is_needed
    }

    /// Lists at most `most` blocks, one line of tab-separated "name=value" fields for each.
    pub fn list(&self, now_ms: u64, most: usize) -> String {
        let mut lines = String::new();
        let blocks = (0..self.memory.len()).filter_map(|place| self.memory.at(place));
        for (head, _) in blocks.take(most) {
            let block = Block {
                cells: &self.memory.cells,
                head,
            };
            let Some(_locked) = self.memory.cells.lock(head, now_ms) else {
                continue;
            };
            let is_open = |place: &Place| block.progress(*place).state != State::Completed;
            let mut next = block.first_cell();
            let mut leg = None;
            while let Some(cell) = next.filter(|_| leg.is_none()) {
                leg = block.legs_of(cell).find(is_open);
                next = block.next_cell(cell);
            }
            let mut room = Vec::new();
            let leg = leg.and_then(|leg| block.leg(leg, &mut room));
            let next_hop = leg.map_or(String::from("-"), |leg| leg.address.to_string());
            let transport = match block.transport() {
                Transport::Udp => "udp",
                Transport::Tcp => "tcp",
            };
            lines.push_str(&format!(
                "recipients={}\toutstanding={}\twaiting={}\tage_ms={}\ttransport={transport}\tnext_hop={next_hop}\n",
                block.legs(),
                block.unsettled(),
                block.waiting(),
                now_ms.saturating_sub(block.begun_ms()),
            ));
        }
        lines
    }

    fn random_u64(&mut self) -> u64 {
        if self.keys_used == KEYS_BYTES {
            (self.random)(&mut self.keys);
            self.keys_used = 0;
        }
        let mut key = [0; 8];
        // None is used twice, nor stays where it could be read.
        key.swap_with_slice(&mut self.keys[self.keys_used..][..8]);
        self.keys_used += 8;
        u64::from_ne_bytes(key)
    }
}
