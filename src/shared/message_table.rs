//! What became of the last messages, for events of the routing script and for the operator.
//!
//! Two rings in shared memory, bounded, and without a lock, which a killed process could leave
//! taken:
//!
//! ```text
//!  ring of messages                         ring of recipients
//!  number % messages: counts, texts  --->   number % recipients: message, state, code, URI
//! ```
//!
//! A message reserves one number for each of its recipients, in sequence. The newest overwrites the
//! oldest. The first word of a record is its number, marked while it is being written: a reader
//! that finds another number before or after reading ignores what it has read. A word that changes
//! later, when the ring may be about to give its place to another, says whose it is. A place that
//! another process is still writing, or adds to, is not overwritten: a message takes the next one,
//! and a recipient is not recorded. A process that is killed meanwhile leaves this one place out of
//! use.

use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::sync::atomic::fence;

use super::bytes::{read_bytes, write_bytes};
use super::claim::{HOLDER, claim, is_complete};
use super::figures::{Figures, RecipientOutcome};
use super::message_record::{
    MESSAGE_TEXTS, MessageCounts, MessageRecord, MessageText, MessageTexts, RecipientRecord,
    RecipientState,
};
use super::sender_table::Link;

/// Number of recipients' records for each message, on average.
const RECIPIENTS_PER_MESSAGE: usize = 16;
/// Minimum number of recipients' records: a message to the most recipients fits.
const MIN_RECIPIENTS: usize = 16_384;

/// Maximum length of all texts of a message together. One that no longer fits is not kept.
pub const MAX_MESSAGE_TEXT_BYTES: usize = 8 * (MESSAGE_WORDS - TEXT);
/// Maximum length of a recipient's URI; longer ones are cut.
pub const MAX_RECIPIENT_URI_BYTES: usize = 8 * (RECIPIENT_WORDS - URI);

/// Before the rings: the number of the newest message, and that of the newest recipient, in a cache
/// line each.
const HEAD_WORDS: usize = 16;
const NEWEST_RECIPIENT: usize = 8;

/// Maximum number of places that a message tries: only a process that has been stopped for as long
/// as all others take, or killed, still has one.
const MAX_CLAIMS: usize = 8;

const MESSAGE_WORDS: usize = 96;
const RECEIVED: usize = 1;
const BYTES: usize = 2;
/// The number of recipients; above it the link to the sender.
const RECIPIENTS: usize = 3;
const FIRST: usize = 4;
/// Lengths of the texts, 16 bits each; a text that is absent has [`ABSENT`].
const LENGTHS: usize = 5;
const DELIVERED: usize = 8;
const FAILED: usize = 9;
const DROPPED: usize = 10;
const WAITING: usize = 11;
/// Milliseconds of the end (40 bits: 34 years); above them the round of the ring, so that no end of
/// what was there before is taken for its own.
const LAST_END: usize = 12;
const TEXT: usize = 13;

const RECIPIENT_WORDS: usize = 16;
/// Number of the message; above it the length of the URI.
const OF_MESSAGE: usize = 1;
/// Code (16 bits), state (3 bits), leg (15 bits), and the lower bits of the record's number: no end
/// of the recipient before it in this place is taken for its own.
const STATE: usize = 2;
/// As [`LAST_END`].
const END: usize = 3;
const URI: usize = 4;

/// In the time of the last end: no recipient is outstanding, and that was counted.
const ENDED: u64 = 1 << 63;

/// The last number that a recipient can have.
const MAX_LEG: u32 = (1 << 15) - 1;

const ABSENT: u64 = 0xffff;
const END_BITS: u32 = 40;
const END_MS: u64 = (1 << END_BITS) - 1;
const ROUND: u64 = (1 << (63 - END_BITS)) - 1;

const MESSAGE_BITS: u32 = 56;
const MESSAGE: u64 = (1 << MESSAGE_BITS) - 1;
const _: () = assert!(MAX_RECIPIENT_URI_BYTES >> (64 - MESSAGE_BITS) == 0);

/// The record of a message. The default is the record of nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageNumber {
    number: u64,
    first: u64,
}

impl MessageNumber {
    /// For another process.
    pub fn to_words(self) -> [u64; 2] {
        [self.number, self.first]
    }

    /// The inverse of [`to_words`](Self::to_words).
    pub fn of_words([number, first]: [u64; 2]) -> Self {
        MessageNumber { number, first }
    }

    /// The record of its recipient with this number, from 0.
    pub fn recipient(self, leg: u32) -> RecipientLink {
        match self.first {
            0 => RecipientLink::default(),
            first => RecipientLink::from_bits((first + u64::from(leg)) as u32),
        }
    }
}

/// Links the end of an outgoing request to the record of its recipient: the lower bits of the
/// record's number. The default is the link to nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecipientLink(u32);

impl RecipientLink {
    /// Number of its bits.
    pub const BITS: u32 = 30;

    /// From its bits.
    pub fn from_bits(bits: u32) -> Self {
        RecipientLink(bits & ((1 << Self::BITS) - 1))
    }

    /// As a number of that many bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

/// The last messages. Clones are the same table, and so is the copy that a fork makes.
#[derive(Clone, Debug)]
pub struct MessageTable {
    words: &'static [AtomicU64],
    messages: usize,
    recipients: usize,
    /// Milliseconds of a clock that all processes share and that never runs backwards.
    now_ms: fn() -> u64,
    figures: Figures,
}

const fn recipients_for(messages: usize) -> usize {
    let recipients = messages * RECIPIENTS_PER_MESSAGE;
    if recipients > MIN_RECIPIENTS {
        recipients
    } else {
        MIN_RECIPIENTS
    }
}

impl MessageTable {
    /// Number of words of a table for this many messages.
    pub const fn words(messages: usize) -> usize {
        Self::words_for(messages, recipients_for(messages))
    }

    pub(crate) const fn words_for(messages: usize, recipients: usize) -> usize {
        let rings = messages * MESSAGE_WORDS + recipients * RECIPIENT_WORDS;
        HEAD_WORDS + rings + Figures::WORDS
    }

    /// The table for this many messages (not 0) in `words`, whose length is that of
    /// [`words`](Self::words) and which are all 0 before the first use.
    pub fn new(words: &'static [AtomicU64], messages: usize, now_ms: fn() -> u64) -> Self {
        let recipients = (words.len() - Self::words_for(messages, 0)) / RECIPIENT_WORDS;
        debug_assert_eq!(words.len(), Self::words_for(messages, recipients));
        let figures = Figures::new(&words[words.len() - Figures::WORDS..]);
        MessageTable {
            words,
            messages,
            recipients,
            now_ms,
            figures,
        }
    }

    /// The figures of all messages.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Now, on the table's clock.
    pub fn now_ms(&self) -> u64 {
        (self.now_ms)()
    }

    /// Records a message.
    pub fn note(&self, message: &MessageRecord) -> MessageNumber {
        let reserved = u64::from(message.recipients.max(1));
        let first = self.words[NEWEST_RECIPIENT].fetch_add(reserved, Relaxed) + 1;
        let (number, is_claimed) = self.claim_message();
        if !is_claimed {
            return MessageNumber { number, first };
        }
        let record = self.message_words(number);
        let mut lengths = [ABSENT; MESSAGE_TEXTS];
        let mut arena = [0; MAX_MESSAGE_TEXT_BYTES];
        let mut used = 0;
        for (text, length) in message.texts.iter().zip(&mut lengths) {
            let Some(text) = text else { continue };
            if let Some(room) = arena.get_mut(used..used + text.len()) {
                room.copy_from_slice(text);
                used += text.len();
                *length = text.len() as u64;
            }
        }
        write_bytes(&record[TEXT..], &arena[..used]);
        let fields = [
            (RECEIVED, message.received_ms),
            (BYTES, message.bytes),
            (
                RECIPIENTS,
                u64::from(message.link.bits()) << 32 | u64::from(message.recipients),
            ),
            (FIRST, first),
        ];
        for (place, value) in fields {
            record[place].store(value, Relaxed);
        }
        // In one order with the end of the message before it, which may come meanwhile.
        for place in [DELIVERED, FAILED, DROPPED, WAITING] {
            record[place].swap(count(number, 0), AcqRel);
        }
        record[LAST_END].swap(end_word(self.message_round(number), 0), AcqRel);
        for (word, lengths) in record[LENGTHS..].iter().zip(lengths.chunks(4)) {
            word.store(packed(lengths), Relaxed);
        }
        record[0].store(number, Release);
        MessageNumber { number, first }
    }

    /// The next number whose place nobody else is writing, and whether there was one.
    fn claim_message(&self) -> (u64, bool) {
        let mut number = 0;
        let is_claimed = (0..MAX_CLAIMS).any(|_| {
            number = self.words[0].fetch_add(1, Relaxed) + 1;
            claim(&self.message_words(number)[0], number).is_some()
        });
        (number, is_claimed)
    }

    /// Forgets a message that was refused after all.
    pub fn forget(&self, message: MessageNumber) {
        if self.is_message(message.number) {
            let word = &self.message_words(message.number)[0];
            let _ = word.fetch_update(AcqRel, Relaxed, |word| {
                is_complete(word, message.number).then(|| word - message.number)
            });
        }
    }

    /// Adds something to a message, which keeps its place meanwhile; not if that has another.
    fn add_to(&self, message: MessageNumber, add: impl FnOnce(&[AtomicU64])) {
        if !self.is_message(message.number) {
            return;
        }
        let record = self.message_words(message.number);
        let held = record[0].fetch_update(AcqRel, Relaxed, |word| {
            is_complete(word, message.number).then(|| word + HOLDER)
        });
        if held.is_ok() {
            add(record);
            record[0].fetch_sub(HOLDER, Release);
        }
    }

    /// Adds the Message-ID of a message that was recorded without it.
    pub fn set_message_id(&self, message: MessageNumber, id: &[u8]) {
        let Some((texts, ..)) = self.read_message(message.number) else {
            return;
        };
        let used: usize = texts.iter().flatten().map(Vec::len).sum();
        let last = MESSAGE_TEXTS - 1;
        if texts[last].is_some() || used + id.len() > MAX_MESSAGE_TEXT_BYTES {
            return;
        }
        // The words behind the other texts; the first may hold the end of the last of them.
        let shared: Vec<u8> = texts.into_iter().flatten().flatten().collect();
        let start = used / 8;
        let bytes = [&shared[8 * start..], id].concat();
        self.add_to(message, |record| {
            write_bytes(&record[TEXT + start..], &bytes);
            record[LENGTHS + last / 4].store(packed(&[id.len() as u64]), Release);
        });
    }

    /// The size of a message that was not known when it was recorded.
    pub fn set_bytes(&self, message: MessageNumber, bytes: u64) {
        self.add_to(message, |record| record[BYTES].store(bytes, Relaxed));
    }

    /// The link to the sender of a message, which was not known when it was recorded.
    pub fn set_sender(&self, message: MessageNumber, sender: Link) {
        self.add_to(message, |record| {
            let recipients = record[RECIPIENTS].load(Relaxed) & u64::from(u32::MAX);
            record[RECIPIENTS].store(u64::from(sender.bits()) << 32 | recipients, Relaxed);
        });
    }

    /// The Message-ID of a message.
    pub fn message_id(&self, message: MessageNumber) -> Option<Vec<u8>> {
        let (mut texts, _) = self.read_message(message.number)?;
        texts[MessageText::MessageId as usize].take()
    }

    /// Records a recipient, whose request is about to be sent.
    pub fn set_recipient(&self, message: MessageNumber, leg: u32, uri: &str) {
        if message.first == 0 {
            return;
        }
        let number = message.first + u64::from(leg);
        let record = self.recipient_words(number);
        let Some(before) = claim(&record[0], number) else {
            return;
        };
        let uri = &uri[..uri.floor_char_boundary(MAX_RECIPIENT_URI_BYTES)];
        let length = uri.len() as u64;
        record[OF_MESSAGE].store(length << MESSAGE_BITS | message.number, Relaxed);
        let link = message.recipient(leg);
        let state = state_word(link, leg, RecipientState::Outstanding, 0);
        // In one order with the end of the recipient before it, which may come meanwhile.
        let state = record[STATE].swap(state, AcqRel);
        // Its copy goes out once more: its end is still to come.
        let place = read_state(state).and_then(|(_, state, _)| counted(state));
        if let Some(place) = place.filter(|_| before == number) {
            self.count_less(message.number, place);
        }
        record[END].swap(end_word(self.recipient_round(number), 0), AcqRel);
        write_bytes(&record[URI..], uri.as_bytes());
        record[0].store(number, Release);
    }

    /// Records the state of a recipient. A final one does not change.
    pub fn set(&self, link: RecipientLink, state: RecipientState, code: u16) {
        let Some(number) = self.recipient_number(link) else {
            return;
        };
        let Some((message, _)) = self.read_recipient(number) else {
            return;
        };
        let record = self.recipient_words(number);
        let changed = record[STATE].fetch_update(AcqRel, Acquire, |word| {
            let (leg, before, _) = read_state(word)?;
            let is_open = !before.is_final() && is_state_of(word, link);
            is_open.then(|| state_word(link, leg, state, code))
        });
        let Ok(before) = changed else {
            return;
        };
        if let Some(place) = read_state(before).and_then(|(_, before, _)| counted(before)) {
            self.count_less(message, place);
        }
        let Some(place) = counted(state) else {
            return;
        };
        let now_ms = self.now_ms();
        if state.is_final() {
            let end = |ms| end_word(self.recipient_round(number), ms);
            let _ = record[END].compare_exchange(end(0), end(now_ms), Relaxed, Relaxed);
        }
        let words = self.message_words(message);
        let counted = words[place].fetch_update(Relaxed, Relaxed, |word| {
            // Another message may have replaced it.
            (word >> 32 == message & u64::from(u32::MAX)).then(|| word + 1)
        });
        let outcome = match state {
            RecipientState::Delivered => RecipientOutcome::Delivered,
            RecipientState::Failed => RecipientOutcome::Failed,
            RecipientState::Dropped => RecipientOutcome::Dropped,
            RecipientState::Outstanding | RecipientState::Interworked | RecipientState::Waiting => {
                return;
            }
        };
        self.figures.count_recipient(outcome);
        if counted.is_ok() {
            let end = end_word(self.message_round(message), now_ms);
            let later = |word: u64| (word >> END_BITS == end >> END_BITS).then(|| word.max(end));
            let _ = words[LAST_END].fetch_update(Relaxed, Relaxed, later);
            self.count_last_end(message, now_ms);
        }
    }

    /// Counts the message once, if all its recipients have ended.
    fn count_last_end(&self, message: u64, now_ms: u64) {
        let words = self.message_words(message);
        let ended = [DELIVERED, FAILED, DROPPED].map(|place| words[place].load(Relaxed) as u32);
        if ended.iter().sum::<u32>() < words[RECIPIENTS].load(Relaxed) as u32 {
            return;
        }
        let [received_ms, bytes] = [RECEIVED, BYTES].map(|place| words[place].load(Relaxed));
        let is_large = read_text(words, MessageText::Mode).as_deref() == Some(b"large");
        fence(Acquire);
        // Another message may have replaced it.
        if !is_complete(words[0].load(Relaxed), message) {
            return;
        }
        let round = self.message_round(message);
        let end = |word: u64| (word >> END_BITS == round).then_some(word | ENDED);
        if words[LAST_END].fetch_update(Relaxed, Relaxed, end).is_ok() {
            let took_ms = now_ms.saturating_sub(received_ms);
            self.figures.observe_last_end(is_large, took_ms, bytes);
        }
    }

    /// One recipient less in this count of a message.
    fn count_less(&self, message: u64, place: usize) {
        let less = |word: u64| {
            let is_its = word >> 32 == message & u64::from(u32::MAX) && word as u32 > 0;
            is_its.then(|| word - 1)
        };
        let _ = self.message_words(message)[place].fetch_update(Relaxed, Relaxed, less);
    }

    /// The message of a recipient, and the recipient's number.
    pub fn message_of(&self, link: RecipientLink) -> Option<(MessageRecord, u32)> {
        let (message, state) = self.read_recipient(self.recipient_number(link)?)?;
        let (leg, ..) = read_state(state)?;
        Some((self.message(message)?.0, leg))
    }

    /// The link to the sender of a message.
    pub fn sender_link(&self, message: MessageNumber) -> Link {
        let read = self.read_message(message.number);
        read.map_or_else(Link::default, |(_, fields)| {
            Link::from_bits((fields[RECIPIENTS] >> 32) as u32)
        })
    }

    /// The link to the sender of a recipient's message.
    pub fn sender_of(&self, link: RecipientLink) -> Link {
        let found = self.recipient_number(link).and_then(|number| {
            let (message, _) = self.read_recipient(number)?;
            let record = self.message_words(message);
            let link = record[RECIPIENTS].load(Relaxed) >> 32;
            fence(Acquire);
            is_complete(record[0].load(Relaxed), message).then(|| Link::from_bits(link as u32))
        });
        found.unwrap_or_default()
    }

    /// A message by its number, if it is still recorded.
    pub fn message(&self, number: u64) -> Option<(MessageRecord, MessageCounts)> {
        let (texts, fields) = self.read_message(number)?;
        let counted = |place: usize| fields[place] as u32;
        let record = MessageRecord {
            texts,
            received_ms: fields[RECEIVED],
            bytes: fields[BYTES],
            recipients: fields[RECIPIENTS] as u32,
            link: Link::from_bits((fields[RECIPIENTS] >> 32) as u32),
        };
        let counts = MessageCounts {
            delivered: counted(DELIVERED),
            failed: counted(FAILED),
            dropped: counted(DROPPED),
            waiting: counted(WAITING),
            last_end_ms: fields[LAST_END] & END_MS,
        };
        Some((record, counts))
    }

    /// The recipients of a message whose requests have been passed on, as far as they are recorded.
    pub fn recipients(&self, number: u64) -> Vec<RecipientRecord> {
        let Some((_, fields)) = self.read_message(number) else {
            return Vec::new();
        };
        let recipients = fields[RECIPIENTS] & u64::from(u32::MAX);
        let numbers = fields[FIRST]..fields[FIRST] + recipients;
        numbers
            .filter_map(|recipient| self.recipient(recipient, number))
            .collect()
    }

    fn recipient(&self, number: u64, message: u64) -> Option<RecipientRecord> {
        let record = self.recipient_words(number);
        let is_there = record[0].load(Acquire) == number;
        let of_message = record[OF_MESSAGE].load(Relaxed);
        if !is_there || of_message & MESSAGE != message {
            return None;
        }
        let (leg, state, code) = read_state(record[STATE].load(Relaxed))?;
        let end = record[END].load(Relaxed);
        let uri = load_bytes(&record[URI..], (of_message >> MESSAGE_BITS) as usize);
        fence(Acquire);
        if record[0].load(Relaxed) != number {
            return None;
        }
        Some(RecipientRecord {
            leg,
            uri: String::from_utf8_lossy(&uri).into_owned(),
            state,
            code,
            end_ms: end & END_MS,
        })
    }

    /// The numbers of the recorded messages, newest first. Some may be gone when they are read.
    pub fn newest_first(&self) -> impl Iterator<Item = u64> {
        let newest = self.words[0].load(Relaxed);
        let oldest = newest.saturating_sub(self.messages as u64 - 1).max(1);
        (oldest..=newest).rev()
    }

    /// The newest message with this Message-ID, Contribution-ID, Call-ID or session.
    pub fn find(&self, id: &[u8]) -> Option<u64> {
        let names = [
            MessageText::MessageId,
            MessageText::ContributionId,
            MessageText::CallId,
            MessageText::Session,
        ];
        self.newest_first().find(|&number| {
            let texts = self.read_message(number).map(|(texts, _)| texts);
            texts.is_some_and(|texts| {
                let mut ids = names.iter().map(|&name| texts[name as usize].as_deref());
                ids.any(|known| known == Some(id))
            })
        })
    }

    /// Its texts and its other words, if it is complete.
    fn read_message(&self, number: u64) -> Option<(MessageTexts, [u64; TEXT])> {
        if !self.is_message(number) {
            return None;
        }
        let record = self.message_words(number);
        if !is_complete(record[0].load(Acquire), number) {
            return None;
        }
        let mut fields = [0; TEXT];
        for (field, word) in fields.iter_mut().zip(record) {
            *field = word.load(Acquire);
        }
        let mut arena = load_bytes(&record[TEXT..], MAX_MESSAGE_TEXT_BYTES);
        fence(Acquire);
        if !is_complete(record[0].load(Relaxed), number) {
            return None;
        }
        let mut texts: MessageTexts = Default::default();
        for (place, text) in texts.iter_mut().enumerate() {
            let length = length_in(fields[LENGTHS + place / 4], place);
            if length != ABSENT {
                let rest = arena.split_off((length as usize).min(arena.len()));
                *text = Some(std::mem::replace(&mut arena, rest));
            }
        }
        Some((texts, fields))
    }

    /// Whether the ring may still have this message.
    fn is_message(&self, number: u64) -> bool {
        let newest = self.words[0].load(Relaxed);
        number != 0 && number <= newest && newest - number < self.messages as u64
    }

    /// The number of the record that `link` names, if the ring still has it.
    fn recipient_number(&self, link: RecipientLink) -> Option<u64> {
        if link == RecipientLink::default() {
            return None;
        }
        let newest = self.words[NEWEST_RECIPIENT].load(Relaxed);
        let age = RecipientLink::from_bits((newest as u32).wrapping_sub(link.bits()));
        let number = newest.checked_sub(u64::from(age.bits()))?;
        let is_kept = newest - number < self.recipients as u64;
        (is_kept && self.recipient_words(number)[0].load(Acquire) == number).then_some(number)
    }

    /// The message of the recipient with this number, and its state, unless the ring has given its
    /// place to another.
    fn read_recipient(&self, number: u64) -> Option<(u64, u64)> {
        let record = self.recipient_words(number);
        let state = record[STATE].load(Acquire);
        let message = record[OF_MESSAGE].load(Relaxed) & MESSAGE;
        fence(Acquire);
        (record[0].load(Relaxed) == number).then_some((message, state))
    }

    /// How often the ring of messages came round before this one.
    fn message_round(&self, number: u64) -> u64 {
        (number / self.messages as u64) & ROUND
    }

    /// The same of recipients.
    fn recipient_round(&self, number: u64) -> u64 {
        (number / self.recipients as u64) & ROUND
    }

    fn message_words(&self, number: u64) -> &[AtomicU64] {
        let place = (number % self.messages as u64) as usize;
        &self.words[HEAD_WORDS + place * MESSAGE_WORDS..][..MESSAGE_WORDS]
    }

    fn recipient_words(&self, number: u64) -> &[AtomicU64] {
        let place = (number % self.recipients as u64) as usize;
        let records = &self.words[HEAD_WORDS + self.messages * MESSAGE_WORDS..];
        &records[place * RECIPIENT_WORDS..][..RECIPIENT_WORDS]
    }
}

/// An end in this round of a ring; 0: it is still to come.
fn end_word(round: u64, ms: u64) -> u64 {
    round << END_BITS | ms.min(END_MS)
}

/// The count of its message that a recipient belongs to.
fn counted(state: RecipientState) -> Option<usize> {
    match state {
        RecipientState::Outstanding | RecipientState::Interworked => None,
        RecipientState::Delivered => Some(DELIVERED),
        RecipientState::Failed => Some(FAILED),
        RecipientState::Dropped => Some(DROPPED),
        RecipientState::Waiting => Some(WAITING),
    }
}

/// A count of the message with this number.
fn count(number: u64, n: u32) -> u64 {
    number << 32 | u64::from(n)
}

/// The length of the text at this place, in the word that has it.
fn length_in(word: u64, place: usize) -> u64 {
    word >> (place % 4 * 16) & 0xffff
}

/// One of the texts of a message, which another process may be overwriting.
fn read_text(record: &[AtomicU64], text: MessageText) -> Option<Vec<u8>> {
    let length = |place: usize| {
        let length = length_in(record[LENGTHS + place / 4].load(Relaxed), place);
        Some(length as usize).filter(|_| length != ABSENT)
    };
    let start = (0..text as usize).filter_map(length).sum();
    let end = start + length(text as usize)?;
    load_bytes(&record[TEXT..], end)
        .get(start..)
        .map(<[u8]>::to_vec)
}

/// Up to four lengths; the others are absent.
fn packed(lengths: &[u64]) -> u64 {
    let mut word = u64::MAX;
    for (place, length) in lengths.iter().enumerate() {
        word &= !(0xffff << (place * 16));
        word |= length << (place * 16);
    }
    word
}

fn state_word(link: RecipientLink, leg: u32, state: RecipientState, code: u16) -> u64 {
    debug_assert!(leg <= MAX_LEG);
    let state = (state as u64 + 1) << 16;
    u64::from(link.bits()) << 34 | u64::from(leg & MAX_LEG) << 19 | state | u64::from(code)
}

fn read_state(word: u64) -> Option<(u32, RecipientState, u16)> {
    let state = (word >> 16 & 0b111) as usize;
    let state = RecipientState::ALL.get(state.checked_sub(1)?)?;
    Some(((word >> 19) as u32 & MAX_LEG, *state, word as u16))
}

/// Whether this state is that of the record with this link.
fn is_state_of(word: u64, link: RecipientLink) -> bool {
    word >> 34 == u64::from(link.bits())
}

/// No more than the words have.
fn load_bytes(words: &[AtomicU64], length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    read_bytes(words, length, &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static NOW: Cell<u64> = const { Cell::new(1_000) };
    }

    fn table(messages: usize) -> MessageTable {
        let words = (0..MessageTable::words(messages)).map(|_| AtomicU64::new(0));
        let words: Vec<AtomicU64> = words.collect();
        MessageTable::new(words.leak(), messages, || NOW.get())
    }

    fn record(call_id: &str, recipients: u32) -> MessageRecord {
        let record = MessageRecord {
            received_ms: NOW.get(),
            bytes: 5,
            recipients,
            link: Link::from_bits(9),
            ..MessageRecord::default()
        };
        record.with(MessageText::CallId, Some(call_id))
    }

    #[test]
    fn a_message_comes_back_with_what_became_of_it() {
        let table = table(4);
        let noted = record("1", 3).with(MessageText::Icid, Some(""));
        let message = table.note(&noted);
        for (leg, uri) in ["sip:a@b", "sip:c@d", "sip:e@f"].iter().enumerate() {
            table.set_recipient(message, leg as u32, uri);
        }
        NOW.set(1_250);
        table.set(message.recipient(0), RecipientState::Delivered, 200);
        table.set(message.recipient(1), RecipientState::Interworked, 404);
        table.set(message.recipient(1), RecipientState::Failed, 503);
        // What has ended stays as it is.
        table.set(message.recipient(1), RecipientState::Delivered, 200);
        let number = table.find(b"1").unwrap();
        let (found, counts) = table.message(number).unwrap();
        assert_eq!(found, noted);
        let expected = MessageCounts {
            delivered: 1,
            failed: 1,
            last_end_ms: 1_250,
            ..MessageCounts::default()
        };
        assert_eq!(counts, expected);
        let ends: Vec<_> = table
            .recipients(number)
            .into_iter()
            .map(|r| (r.leg, r.uri, r.state, r.code, r.end_ms))
            .collect();
        let end = |leg, uri: &str, state, code, end_ms| (leg, uri.to_owned(), state, code, end_ms);
        assert_eq!(
            ends,
            [
                end(0, "sip:a@b", RecipientState::Delivered, 200, 1_250),
                end(1, "sip:c@d", RecipientState::Failed, 503, 1_250),
                end(2, "sip:e@f", RecipientState::Outstanding, 0, 0),
            ]
        );
        let of_last = table.message_of(message.recipient(2)).unwrap();
        assert_eq!(of_last, (noted, 2));
        assert_eq!(table.sender_of(message.recipient(2)), Link::from_bits(9));
        assert!(table.message_of(RecipientLink::default()).is_none());
    }

    #[test]
    fn a_recipient_that_waits_has_not_ended() {
        let table = table(2);
        let message = table.note(&record("1", 2));
        let counts = || {
            let (_, counts) = table.message(message.number).unwrap();
            [counts.waiting, counts.delivered, counts.failed]
        };
        for leg in [0, 1] {
            table.set_recipient(message, leg, "sip:a@b");
            table.set(message.recipient(leg), RecipientState::Waiting, 480);
        }
        assert_eq!(counts(), [2, 0, 0]);
        let recipient = &table.recipients(message.number)[0];
        assert_eq!((recipient.code, recipient.end_ms), (480, 0));
        // One more attempt, which delivers; the other is given up.
        table.set_recipient(message, 0, "sip:a@b");
        assert_eq!(counts(), [1, 0, 0]);
        table.set(message.recipient(0), RecipientState::Delivered, 200);
        table.set(message.recipient(1), RecipientState::Failed, 408);
        assert_eq!(counts(), [0, 1, 1]);
    }

    #[test]
    fn the_newest_message_is_found_by_each_of_its_ids() {
        let table = table(4);
        table.note(&record("1", 1));
        let second = table.note(&record("1", 1).with(MessageText::ContributionId, Some("c")));
        table.set_message_id(second, b"m");
        // It has one.
        table.set_message_id(second, b"other");
        for id in ["1", "c", "m"] {
            assert_eq!(table.find(id.as_bytes()), Some(second.number), "{id}");
        }
        assert_eq!(table.find(b"other"), None);
        table.forget(second);
        assert_eq!(table.find(b"1"), Some(second.number - 1));
        assert_eq!(table.find(b"c"), None);
    }

    #[test]
    fn the_oldest_goes_and_its_recipients_are_nobodys() {
        let table = table(2);
        let first = table.note(&record("1", 1));
        table.set_recipient(first, 0, "sip:a@b");
        for call_id in ["2", "3"] {
            table.note(&record(call_id, 1));
        }
        assert_eq!(table.find(b"1"), None);
        assert!(table.message_of(first.recipient(0)).is_none());
        table.set(first.recipient(0), RecipientState::Delivered, 200);
        let counted = table
            .newest_first()
            .filter_map(|number| table.message(number));
        assert!(counted.into_iter().all(|(_, counts)| counts.delivered == 0));
        assert_eq!(table.newest_first().count(), 2);
        // A message with more recipients than there are records.
        let many = table.note(&record("4", 20_000));
        for leg in 0..20_000 {
            table.set_recipient(many, leg, "sip:a@b");
        }
        assert_eq!(table.recipients(many.number).len(), MIN_RECIPIENTS);
        assert!(table.message_of(many.recipient(0)).is_none());
    }

    #[test]
    fn what_has_no_room_is_left_out_or_cut() {
        let table = table(2);
        let long = "x".repeat(MAX_MESSAGE_TEXT_BYTES);
        let noted = record("1", 1)
            .with(MessageText::ContributionId, Some(long.as_str()))
            .with(MessageText::Icid, Some("i"));
        let message = table.note(&noted);
        table.set_message_id(message, long.as_bytes());
        let (found, _) = table.message(message.number).unwrap();
        let without = noted.with(MessageText::ContributionId, None::<&str>);
        assert_eq!(found, without);
        let uri = format!("sip:{}", "\u{e9}".repeat(100));
        table.set_recipient(message, 0, &uri);
        let recipient = &table.recipients(message.number)[0];
        assert!(recipient.uri.len() <= MAX_RECIPIENT_URI_BYTES && uri.starts_with(&recipient.uri));
        assert!(!recipient.uri.ends_with('\u{fffd}'));
    }

    /// Threads write and read as fast as they can; nobody sees one message's text in another.
    #[test]
    fn what_is_read_is_whole() {
        let table = table(3);
        std::thread::scope(|scope| {
            for own in 0..3 {
                let table = table.clone();
                scope.spawn(move || {
                    for round in 0..3_000 {
                        let id = format!("{own}-{round}");
                        let noted = record(&id, 1).with(MessageText::Icid, Some(id.as_str()));
                        let message = table.note(&noted);
                        table.set_recipient(message, 0, &id);
                        table.set(message.recipient(0), RecipientState::Failed, 408);
                        for number in table.newest_first() {
                            let Some((found, _)) = table.message(number) else {
                                continue;
                            };
                            let call_id = found.text(MessageText::CallId);
                            assert_eq!(call_id, found.text(MessageText::Icid));
                        }
                    }
                });
            }
        });
    }
}
