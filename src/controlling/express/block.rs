//! The state of a message in memory that all processes share: one block for the copies that have
//! the same tail and leave by one socket.
//!
//! ```text
//!  head cell  [lock] .. numbers of the block .. the text that all share ──► text cell ──► ..
//!      │
//!      └──► leg cell  [head] [next] [legs]  leg | leg | leg | ..  ──► leg cell ──► ..
//!
//!  leg        [progress] [key] [attempt] [lengths] [address, URI, Call-ID, tag, To]
//! ```
//!
//! The head's lock is the lock of the block. A leg is identified by its cell and its number in that
//! cell; its branch encodes both.

use std::net::{IpAddr, SocketAddr};

use super::outbox::Transport;
use super::timers::{Progress, State, Timers};
use crate::shared::{CELL_WORDS, CONTENT, Cell, Cells, Locked};

/// Words of a head cell.
const GENERATION: usize = CONTENT;
const PLACE: usize = 3;
const TEXT_CELLS: usize = 4;
const LEG_CELLS: usize = 5;
const UNSETTLED: usize = 6;
const FRESH: usize = 7;
const WAITING: usize = 8;
const LEGS: usize = 9;
/// The leg cell with the first waiting leg.
const CURSOR: usize = 10;
const BEGUN_MS: usize = 11;
/// Transport and CSeq.
const KIND: usize = 12;
const SOCKET: usize = 13;
/// Of the texts before and after the branch, and of From.
const LENGTHS: usize = 14;
/// Length of the tail in the lower half, of the longest datagram in the upper.
const TAIL_LENGTH: usize = 15;
const TIMERS: usize = 16;
const FIRES_MS: usize = 17;
const TEXT: usize = 18;

/// Words of a text cell; its text follows.
const NEXT_TEXT: usize = CONTENT;

/// Words of a leg cell. Its owner is the head; the mark distinguishes it from cells of other kinds.
const OWNER: usize = CONTENT;
const LEG_CELL: u64 = 1 << 32;
const NEXT: usize = 3;
/// The word where the next leg begins, the number of legs, and the number of the cell in its block.
const COUNT: usize = 4;
const CELL_NUMBER_SHIFT: u32 = 16;
const FIRST_LEG: usize = 5;

/// Words of a leg.
const PROGRESS: usize = 0;
const KEY: usize = 1;
const ATTEMPT: usize = 2;
const LEG_LENGTHS: usize = 3;
const LEG_TEXT: usize = 4;

/// The parts that all copies of a block share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) transport: Transport,
    pub(super) socket: u64,
    pub(super) cseq: u32,
    pub(super) timers: Timers,
    pub(super) max_datagram_bytes: u32,
    /// The Via line before and after the branch, including the line end.
    pub(super) via: [Vec<u8>; 2],
    /// From without tag.
    pub(super) from: Vec<u8>,
    /// From Content-Length to the end of the body.
    pub(super) tail: Vec<u8>,
}

impl Message {
    /// Whether its texts fit into a block.
    fn fits(&self) -> bool {
        let texts = [&self.via[0], &self.via[1], &self.from];
        texts.iter().all(|text| text.len() <= usize::from(u16::MAX))
            && u32::try_from(self.tail.len()).is_ok()
    }
}

/// The parts that differ from copy to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leg<'a> {
    pub(super) key: u64,
    pub(super) attempt: u64,
    pub(super) address: SocketAddr,
    pub(super) uri: &'a [u8],
    pub(super) call_id: &'a [u8],
    pub(super) tag: &'a [u8],
    /// `None`: the URI in angle brackets.
    pub(super) to: Option<&'a [u8]>,
}

impl<'a> Leg<'a> {
    /// Appends its texts and returns the length of each, packed. `None`: one of them is too long
    /// for a cell.
    fn texts(&self, to: &mut Vec<u8>) -> Option<u64> {
        let begin = to.len();
        match self.address.ip() {
            IpAddr::V4(ip) => to.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => to.extend_from_slice(&ip.octets()),
        }
        to.extend_from_slice(&self.address.port().to_be_bytes());
        let address = to.len() - begin;
        let own_to = self.to.unwrap_or_default();
        for text in [self.uri, self.call_id, self.tag, own_to] {
            to.extend_from_slice(text);
        }
        let short = |length: usize| u8::try_from(length).ok().map(u64::from);
        let long = |length: usize| u16::try_from(length).ok().map(u64::from);
        Some(
            long(self.uri.len())?
                | long(own_to.len())? << 16
                | short(self.call_id.len())? << 32
                | short(self.tag.len())? << 40
                | short(address)? << 48,
        )
    }

    /// The reverse of [`texts`](Self::texts).
    fn of_texts(key: u64, attempt: u64, lengths: u64, texts: &'a [u8]) -> Option<Self> {
        let Lengths {
            address,
            uri,
            call_id,
            tag,
            to,
        } = Lengths::of(lengths);
        let (address, rest) = texts.split_at_checked(address)?;
        let (uri, rest) = rest.split_at_checked(uri)?;
        let (call_id, rest) = rest.split_at_checked(call_id)?;
        let (tag, rest) = rest.split_at_checked(tag)?;
        let (ip, port) = address.split_at_checked(address.len().checked_sub(2)?)?;
        let ip: IpAddr = match ip.len() {
            4 => <[u8; 4]>::try_from(ip).ok()?.into(),
            _ => <[u8; 16]>::try_from(ip).ok()?.into(),
        };
        Some(Leg {
            key,
            attempt,
            address: SocketAddr::new(ip, u16::from_be_bytes([port[0], port[1]])),
            uri,
            call_id,
            tag,
            to: Some(rest.get(..to)?).filter(|to| !to.is_empty()),
        })
    }
}

/// Lengths of the texts of a leg, in their order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lengths {
    address: usize,
    pub(super) uri: usize,
    pub(super) call_id: usize,
    pub(super) tag: usize,
    /// 0: the URI in angle brackets.
    pub(super) to: usize,
}

impl Lengths {
    fn of(word: u64) -> Self {
        let short = |shift: u32| (word >> shift) as usize & 0xff;
        let long = |shift: u32| (word >> shift) as usize & 0xffff;
        Lengths {
            address: short(48),
            uri: long(0),
            call_id: short(32),
            tag: short(40),
            to: long(16),
        }
    }

    fn all(self) -> usize {
        self.address + self.uri + self.call_id + self.tag + self.to
    }
}

/// The position of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) cell: Cell,
    pub(super) number: usize,
    word: usize,
}

/// Bits of a leg's number within its cell.
const NUMBER_BITS: u32 = 6;
const _: () = assert!(CELL_WORDS / (LEG_TEXT + 1) < 1 << NUMBER_BITS);

impl Place {
    /// In the form its branch encodes.
    pub(super) fn bits(self) -> u32 {
        (self.cell.to_link() as u32) << NUMBER_BITS | self.number as u32
    }

    /// The cell and the number in it.
    pub(super) fn of_bits(bits: u32, cells: &Cells) -> Option<(Cell, usize)> {
        let cell = cells.cell(u64::from(bits >> NUMBER_BITS))?;
        Some((cell, (bits & ((1 << NUMBER_BITS) - 1)) as usize))
    }
}

/// A block. Its numbers and legs change only under its lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    pub(super) cells: &'a Cells,
    pub(super) head: Cell,
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $get:ident, $set:ident: $word:expr;)*) => {
        $($(#[$doc])*
        pub(super) fn $get(self) -> u64 {
            self.cells.get(self.head, $word)
        }

        pub(super) fn $set(self, value: u64) {
            self.cells.set(self.head, $word, value);
        })*
    };
}

impl<'a> Block<'a> {
    numbers! {
        /// Random: a later block in the same cells has a different one.
        generation, set_generation: GENERATION;
        /// Index in the table of blocks.
        place, set_place: PLACE;
        /// Legs that have not ended.
        unsettled, set_unsettled: UNSETTLED;
        /// Legs that count towards the window.
        fresh, set_fresh: FRESH;
        /// Legs waiting for a place in the window.
        waiting, set_waiting: WAITING;
        /// All legs, ended ones included.
        legs, set_legs: LEGS;
        /// When the block was begun.
        begun_ms, set_begun_ms: BEGUN_MS;
        /// No timer of a leg fires before this time. The block may be due earlier.
        fires_ms, set_fires_ms: FIRES_MS;
    }

    /// A block with this message and no legs. `None`: no memory is free.
    pub(super) fn begin(cells: &'a Cells, message: &Message) -> Option<Self> {
        if !message.fits() {
            return None;
        }
        let head = cells.take()?;
        let block = Block { cells, head };
        for word in GENERATION..TEXT {
            cells.set(head, word, 0);
        }
        cells.set(
            head,
            KIND,
            u64::from(message.cseq) << 1 | message.transport.to_bits(),
        );
        cells.set(head, SOCKET, message.socket);
        let [before, behind] = &message.via;
        let lengths = [before.len(), behind.len(), message.from.len()];
        let lengths = lengths.iter().rev().fold(0, |all, n| all << 16 | *n as u64);
        cells.set(head, LENGTHS, lengths);
        let datagram = u64::from(message.max_datagram_bytes) << 32;
        cells.set(head, TAIL_LENGTH, datagram | message.tail.len() as u64);
        cells.set(head, TIMERS, message.timers.to_word());
        let text = [&before[..], behind, &message.from, &message.tail].concat();
        let (own, mut rest) = text.split_at(text.len().min((CELL_WORDS - TEXT) * 8));
        cells.write(head, TEXT, own);
        let (mut last, mut link) = (head, TEXT_CELLS);
        while !rest.is_empty() {
            let Some(cell) = cells.take() else {
                block.give_back(None);
                return None;
            };
            cells.set(cell, NEXT_TEXT, 0);
            cells.set(last, link, cell.to_link());
            let (here, next) = rest.split_at(rest.len().min((CELL_WORDS - NEXT_TEXT - 1) * 8));
            cells.write(cell, NEXT_TEXT + 1, here);
            (last, link, rest) = (cell, NEXT_TEXT, next);
        }
        Some(block)
    }

    /// The message, as passed to [`begin`](Self::begin).
    pub(super) fn message(self) -> Message {
        let get = |word| self.cells.get(self.head, word);
        let lengths = get(LENGTHS);
        let length = |shift: u32| (lengths >> shift) as usize & 0xffff;
        let (before, behind, from) = (length(0), length(16), length(32));
        let tail = get(TAIL_LENGTH) as u32 as usize;
        let mut left = before + behind + from + tail;
        let mut text = Vec::with_capacity(left + 8);
        let own = left.min((CELL_WORDS - TEXT) * 8);
        self.cells.read(self.head, TEXT, own, &mut text);
        left -= own;
        let mut next = get(TEXT_CELLS);
        while left > 0
            && let Some(cell) = self.cells.cell(next)
        {
            let here = left.min((CELL_WORDS - NEXT_TEXT - 1) * 8);
            self.cells.read(cell, NEXT_TEXT + 1, here, &mut text);
            left -= here;
            next = self.cells.get(cell, NEXT_TEXT);
        }
        let mut rest = &text[..];
        let mut take = |length: usize| {
            let (this, next) = rest.split_at(length.min(rest.len()));
            rest = next;
            this.to_vec()
        };
        Message {
            transport: self.transport(),
            socket: get(SOCKET),
            cseq: (get(KIND) >> 1) as u32,
            timers: self.timers(),
            max_datagram_bytes: (get(TAIL_LENGTH) >> 32) as u32,
            via: [take(before), take(behind)],
            from: take(from),
            tail: take(tail),
        }
    }

    pub(super) fn timers(self) -> Timers {
        Timers::of_word(self.cells.get(self.head, TIMERS))
    }

    pub(super) fn transport(self) -> Transport {
        Transport::of_bits(self.cells.get(self.head, KIND))
    }

    /// Appends a leg after the last one, which is in the cell `last`; the block's numbers do not
    /// include it yet. Returns its cell; `None`: no memory is free, or the leg is too long.
    pub(super) fn push(
        self,
        last: Option<Cell>,
        leg: &Leg<'_>,
        room: &mut Vec<u8>,
    ) -> Option<Cell> {
        room.clear();
        let lengths = leg.texts(room)?;
        let size = LEG_TEXT + room.len().div_ceil(8);
        if size > CELL_WORDS - FIRST_LEG {
            return None;
        }
        let end = last.map_or(CELL_WORDS, |cell| self.end_of_legs(cell));
        let (cell, word) = match last {
            Some(cell) if end + size <= CELL_WORDS => (cell, end),
            _ => {
                let cell = self.cells.take()?;
                let number = last.map_or(0, |last| self.number_of(last) + 1);
                let number = number << CELL_NUMBER_SHIFT;
                self.cells.set(cell, NEXT, 0);
                self.cells.set(cell, COUNT, number | FIRST_LEG as u64);
                self.cells.set(cell, OWNER, LEG_CELL | self.head.to_link());
                match last {
                    Some(last) => self.cells.set(last, NEXT, cell.to_link()),
                    None => {
                        self.cells.set(self.head, LEG_CELLS, cell.to_link());
                        self.cells.set(self.head, CURSOR, cell.to_link());
                    }
                }
                (cell, FIRST_LEG)
            }
        };
        let set = |at: usize, value| self.cells.set(cell, word + at, value);
        set(PROGRESS, Progress::WAITING.to_word());
        set(KEY, leg.key);
        set(ATTEMPT, leg.attempt);
        set(LEG_LENGTHS, lengths);
        self.cells.write(cell, word + LEG_TEXT, room);
        let number = self.number_of(cell) << CELL_NUMBER_SHIFT;
        let count = (self.count_of(cell) + 1) << 8;
        self.cells
            .set(cell, COUNT, number | count | (word + size) as u64);
        Some(cell)
    }

    fn end_of_legs(self, cell: Cell) -> usize {
        self.cells.get(cell, COUNT) as usize & 0xff
    }

    /// The number of legs in a cell.
    fn count_of(self, cell: Cell) -> u64 {
        self.cells.get(cell, COUNT) >> 8 & 0xff
    }

    /// Leg cells are numbered in order.
    fn number_of(self, cell: Cell) -> u64 {
        self.cells.get(cell, COUNT) >> CELL_NUMBER_SHIFT
    }

    /// The legs of a cell.
    pub(super) fn legs_of(self, cell: Cell) -> impl Iterator<Item = Place> + use<'a> {
        let count = self.count_of(cell) as usize;
        let cells = self.cells;
        let mut word = FIRST_LEG;
        (0..count).map_while(move |number| {
            let this = word;
            if this + LEG_TEXT > CELL_WORDS {
                return None;
            }
            let lengths = Lengths::of(cells.get(cell, this + LEG_LENGTHS));
            word += LEG_TEXT + lengths.all().div_ceil(8);
            (word <= CELL_WORDS).then_some(Place {
                cell,
                number,
                word: this,
            })
        })
    }

    /// The first leg cell.
    pub(super) fn first_cell(self) -> Option<Cell> {
        self.cells.cell(self.cells.get(self.head, LEG_CELLS))
    }

    /// The leg cell after it.
    pub(super) fn next_cell(self, cell: Cell) -> Option<Cell> {
        self.cells.cell(self.cells.get(cell, NEXT))
    }

    /// The cell with the first waiting leg.
    pub(super) fn cursor(self) -> Option<Cell> {
        self.cells.cell(self.cells.get(self.head, CURSOR))
    }

    pub(super) fn set_cursor(self, cell: Option<Cell>) {
        self.cells
            .set(self.head, CURSOR, cell.map_or(0, Cell::to_link));
    }

    /// A leg in this cell is waiting again.
    pub(super) fn turn_back_to(self, cell: Cell) {
        if self
            .cursor()
            .is_none_or(|cursor| self.number_of(cell) < self.number_of(cursor))
        {
            self.set_cursor(Some(cell));
        }
    }

    /// Whether a cell is one of its leg cells.
    pub(super) fn owns(self, cell: Cell) -> bool {
        self.cells.get(cell, OWNER) == LEG_CELL | self.head.to_link()
    }

    /// Removes a leg cell that is no longer needed; `before` is the one before it.
    pub(super) fn drop_cell(self, before: Option<Cell>, cell: Cell) {
        let next = self.cells.get(cell, NEXT);
        match before {
            Some(before) => self.cells.set(before, NEXT, next),
            None => self.cells.set(self.head, LEG_CELLS, next),
        }
        if self.cursor() == Some(cell) {
            self.cells.set(self.head, CURSOR, next);
        }
        self.cells.set(cell, OWNER, 0);
        self.cells.give_back(cell);
    }

    /// The progress of a leg.
    pub(super) fn progress(self, place: Place) -> Progress {
        Progress::of_word(self.cells.get(place.cell, place.word + PROGRESS))
    }

    /// Changes the progress of a leg, and updates the block's numbers.
    pub(super) fn set_progress(self, place: Place, new: Progress) {
        let old = self.progress(place);
        self.cells
            .set(place.cell, place.word + PROGRESS, new.to_word());
        let is = |progress: Progress| {
            [
                progress.is_fresh,
                progress.state == State::Waiting,
                progress.state != State::Completed,
            ]
        };
        let ([was_fresh, was_waiting, was_open], [fresh, waiting, open]) = (is(old), is(new));
        let moved = |number: u64, is: bool| match is {
            true => number + 1,
            false => number.saturating_sub(1),
        };
        if was_fresh != fresh {
            self.set_fresh(moved(self.fresh(), fresh));
        }
        if was_waiting != waiting {
            self.set_waiting(moved(self.waiting(), waiting));
        }
        if was_open != open {
            self.set_unsettled(moved(self.unsettled(), open));
        }
    }

    /// Marks waiting legs of one cell as sent, at most `most` of them.
    pub(super) fn send_waiting_of(
        self,
        cell: Cell,
        most: u64,
        sent: Progress,
        places: &mut Vec<Place>,
    ) -> u64 {
        let waiting = |place: &Place| self.progress(*place).state == State::Waiting;
        let before = places.len();
        for place in self.legs_of(cell).filter(waiting).take(most as usize) {
            self.cells
                .set(place.cell, place.word + PROGRESS, sent.to_word());
            places.push(place);
        }
        let sent = (places.len() - before) as u64;
        self.set_fresh(self.fresh() + sent);
        self.set_waiting(self.waiting().saturating_sub(sent));
        sent
    }

    /// The key of a leg.
    pub(super) fn key(self, place: Place) -> u64 {
        self.cells.get(place.cell, place.word + KEY)
    }

    /// The lengths of a leg's texts.
    pub(super) fn lengths(self, place: Place) -> Lengths {
        Lengths::of(self.cells.get(place.cell, place.word + LEG_LENGTHS))
    }

    /// Reads a leg, with its texts in `room`.
    pub(super) fn leg<'r>(self, place: Place, room: &'r mut Vec<u8>) -> Option<Leg<'r>> {
        let get = |at| self.cells.get(place.cell, place.word + at);
        let lengths = get(LEG_LENGTHS);
        room.clear();
        let length = Lengths::of(lengths).all();
        self.cells
            .read(place.cell, place.word + LEG_TEXT, length, room);
        Leg::of_texts(get(KEY), get(ATTEMPT), lengths, room)
    }

    /// Recounts the numbers that a killed process may have left half changed.
    pub(super) fn count_again(self) {
        let (mut fresh, mut waiting, mut unsettled) = (0, 0, 0);
        let mut next = self.first_cell();
        while let Some(cell) = next {
            for place in self.legs_of(cell) {
                let progress = self.progress(place);
                fresh += u64::from(progress.is_fresh);
                waiting += u64::from(progress.state == State::Waiting);
                unsettled += u64::from(progress.state != State::Completed);
            }
            next = self.next_cell(cell);
        }
        self.set_fresh(fresh);
        self.set_waiting(waiting);
        self.set_unsettled(unsettled);
        self.set_cursor(self.first_cell());
    }

    /// Returns all its cells. Must be called under its lock if other processes know the block: a
    /// process that waits for the lock then finds that the block has ended.
    pub(super) fn give_back(self, locked: Option<Locked>) {
        let mut next = self.first_cell();
        while let Some(cell) = next {
            next = self.next_cell(cell);
            self.cells.set(cell, OWNER, 0);
            self.cells.give_back(cell);
        }
        let mut next = self.cells.get(self.head, TEXT_CELLS);
        while let Some(cell) = self.cells.cell(next) {
            next = self.cells.get(cell, NEXT_TEXT);
            self.cells.give_back(cell);
        }
        self.set_generation(0);
        drop(locked);
        self.cells.give_back(self.head);
    }
}

/// The block that a leg cell currently belongs to.
pub(super) fn owner_of(cells: &Cells, cell: Cell) -> Option<Block<'_>> {
    let owner = cells.get(cell, OWNER);
    let head = cells.cell(owner & !LEG_CELL)?;
    (owner & LEG_CELL != 0).then_some(Block { cells, head })
}
