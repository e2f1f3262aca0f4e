//! Numbers of outstanding recipients of each sender, source and destination, so that none of them
//! uses up the capacity of the others.
//!
//! ```text
//!  slot of a keyed hash: [hash | 7 numbers, one for each of the last 7 times of 10 s]
//! ```
//!
//! A slot is one line of the processor's cache: in a fan-out to many destinations, fetching them is
//! most of what counting costs.
//!
//! A recipient is counted in the period in which its message was accepted, and subtracted when its
//! request has ended, in any process. A count that is never subtracted, because a process was
//! killed, expires with its period: no count can leak. A count changed by several processes at once
//! may be off by their changes; it is a limit, not an account.

use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Relaxed;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::Source;

const SETS: usize = 1024;
const WAYS: usize = 8;
/// Number of periods that are distinguished. A recipient waits for up to 25 s to be sent to, and
/// for 32 s to answer.
const TIMES: usize = 7;
const TIME_S: u64 = 10;
const SLOT_WORDS: usize = 1 + TIMES;
const _: () = assert!(TIMES as u64 * TIME_S >= 25 + 32 + TIME_S);
/// Before the slots: when the operator was last told.
const HEAD_WORDS: usize = SLOT_WORDS;
/// In bytes.
const CACHE_LINE: usize = 64;
/// So many words may be before the first one that begins a line.
const SPARE_WORDS: usize = CACHE_LINE / size_of::<u64>() - 1;

/// The lower bits of a word count recipients, the upper bits are its period.
const COUNT_BITS: u32 = 24;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

/// The operator is told at most once in this many seconds.
const TELL_S: u64 = 60;

/// The owner of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// The originator.
    Sender,
    /// The source address of requests.
    Source,
    /// The destination in recipients' addresses.
    Destination,
}

/// Destination of requests by their URI: its host, and its port if present.
pub type Destination<'a> = (&'a str, Option<u16>);

/// A destination as the table knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationKey(u64);

/// Identifies where the recipients of one message are counted. Passed along with each copy, and
/// returned when that has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge(u32);

const SLOT_BITS: u32 = 13;
const NO_SLOT: u32 = (1 << SLOT_BITS) - 1;
const _: () = assert!(SETS * WAYS == 1 << SLOT_BITS);
const VALID: u32 = 1 << 31;
/// A charge has so many bits for its time, which is counted up to twice [`TIMES`].
const TIME_BITS: u32 = 4;
const TOLD_TIMES: u64 = 2 * TIMES as u64;
const _: () = assert!(TOLD_TIMES <= 1 << TIME_BITS);
const _: () = assert!(2 * SLOT_BITS + TIME_BITS == 30);

impl Charge {
    /// A bit that none has.
    pub const SPARE_BIT: u32 = 1 << 30;

    fn new(time: u64, sender: Option<usize>, source: Option<usize>) -> Self {
        let slot = |slot: Option<usize>| slot.map_or(NO_SLOT, |slot| slot as u32);
        let time = (time % TOLD_TIMES) as u32;
        Charge(VALID | time << (2 * SLOT_BITS) | slot(source) << SLOT_BITS | slot(sender))
    }

    /// From its bits; 0 is none.
    pub fn from_bits(bits: u32) -> Self {
        Charge(bits)
    }

    /// As a number.
    pub fn bits(self) -> u32 {
        self.0
    }

    fn time(self) -> Option<u64> {
        let time = self.0 >> (2 * SLOT_BITS) & ((1 << TIME_BITS) - 1);
        (self.0 & VALID != 0).then_some(u64::from(time))
    }

    fn slots(self) -> impl Iterator<Item = usize> {
        let slots = [self.0 & NO_SLOT, self.0 >> SLOT_BITS & NO_SLOT];
        let slots = slots.into_iter().filter(|slot| *slot != NO_SLOT);
        slots.map(|slot| slot as usize)
    }
}

/// The counts. Clones are the same table, and so is the copy that a fork makes.
#[derive(Clone, Debug)]
pub struct OutstandingTable {
    words: &'static [AtomicU64],
    /// Secret, so that nobody can aim at another's slot.
    seed: u64,
    /// Seconds of a clock that all processes share and that never runs backwards.
    now_s: fn() -> u64,
}

impl OutstandingTable {
    /// Number of words of a table.
    pub const WORDS: usize = HEAD_WORDS + SETS * WAYS * SLOT_WORDS + SPARE_WORDS;

    /// The table in `words`, which are [`WORDS`](Self::WORDS) and all 0 before the first use.
    pub fn new(words: &'static [AtomicU64], seed: u64, now_s: fn() -> u64) -> Self {
        let before = words.as_ptr().align_offset(CACHE_LINE).min(SPARE_WORDS);
        OutstandingTable {
            words: &words[before..],
            seed,
            now_s,
        }
    }

    /// Counts the recipients of a message of a sender, identified by a number, from a source, if
    /// that has a share. Each comes with its limit; 0: none.
    ///
    /// # Errors
    ///
    /// The share that is used up: it has outstanding recipients, and with these there would be more
    /// than the limit. Then nothing was counted.
    pub fn charge(
        &self,
        (sender, sender_limit): (u64, usize),
        source: Option<(Source, usize)>,
        recipients: usize,
    ) -> Result<Charge, Share> {
        let time = self.time();
        let count = (recipients as u64).min(COUNT);
        let find = |what: Share, key: u64, limit: usize| {
            let slot = self.claim(key, time).filter(|_| limit > 0);
            let awaited = slot.map_or(0, |slot| self.awaited(slot, time));
            match awaited > 0 && awaited + count > limit as u64 {
                true => Err(what),
                false => Ok(slot),
            }
        };
        let sender = find(Share::Sender, self.key(&("sender", sender)), sender_limit)?;
        let source =
            source.map(|(source, limit)| find(Share::Source, self.key(&("source", source)), limit));
        let charge = Charge::new(time, sender, source.transpose()?.flatten());
        for slot in charge.slots() {
            self.add(slot, time, count);
        }
        Ok(charge)
    }

    /// This many recipients are no longer outstanding.
    pub fn release(&self, charge: Charge, recipients: usize) {
        for slot in charge.slots() {
            self.subtract(slot, charge, recipients as u64);
        }
    }

    /// Counts a recipient at a destination; `charge` belongs to its message. False: that has
    /// reached its share.
    pub fn charge_destination(
        &self,
        DestinationKey(destination): DestinationKey,
        charge: Charge,
        limit: usize,
    ) -> bool {
        let now = self.time();
        // In the period of its message, so that `charge` tells when to subtract it.
        let time = charge.time().and_then(|time| {
            (0..TIMES as u64)
                .map(|age| now.wrapping_sub(age))
                .find(|at| at % TOLD_TIMES == time)
        });
        let slot = self.claim(destination, now).filter(|_| limit > 0);
        let (Some(slot), Some(time)) = (slot, time) else {
            return true;
        };
        let has_room = self.awaited(slot, now) < limit as u64;
        if has_room {
            self.add(slot, time, 1);
        }
        has_room
    }

    /// The recipient is no longer outstanding.
    pub fn release_destination(&self, DestinationKey(destination): DestinationKey, charge: Charge) {
        if let Some(slot) = self.find(destination) {
            self.subtract(slot, charge, 1);
        }
    }

    /// Whether to tell the operator now that a share is used up: true once a minute, in one of the
    /// processes.
    pub fn is_time_to_tell(&self) -> bool {
        let now = (self.now_s)().saturating_add(1);
        let last = self.words[0].load(Relaxed);
        (last == 0 || now >= last + TELL_S)
            && self.words[0]
                .compare_exchange(last, now, Relaxed, Relaxed)
                .is_ok()
    }

    fn time(&self) -> u64 {
        // Not 0, which is the period of unused words.
        (self.now_s)() / TIME_S + TIMES as u64
    }

    fn key(&self, what: &impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.seed);
        what.hash(&mut hasher);
        hasher.finish().max(1)
    }

    /// The key of a destination.
    pub fn destination(&self, (host, port): Destination<'_>) -> DestinationKey {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.seed);
        // One write for a host of usual length: a hasher is slow on single bytes.
        let mut lower = [0; 64];
        for part in host.trim_end_matches('.').as_bytes().chunks(lower.len()) {
            let lower = &mut lower[..part.len()];
            lower.copy_from_slice(part);
            lower.make_ascii_lowercase();
            hasher.write(lower);
        }
        // A value that no host name contains separates it from the port, and from other keys.
        hasher.write_u32(0xff00_0000 | port.map_or(0, |port| 1 << 16 | u32::from(port)));
        DestinationKey(hasher.finish().max(1))
    }

    /// Where a key may be. Each has its own order, so that most are found in the first slot.
    fn slots_of(key: u64) -> impl Iterator<Item = usize> {
        let first = (key >> 32) as usize % SETS * WAYS;
        let slots = (0..WAYS).map(move |step| first + (key as usize + step) % WAYS);
        slots.filter(|slot| *slot != NO_SLOT as usize)
    }

    fn find(&self, key: u64) -> Option<usize> {
        Self::slots_of(key).find(|slot| self.key_word(*slot).load(Relaxed) == key)
    }

    /// The slot of a key: its own, one without outstanding recipients, or else the one with the
    /// fewest.
    fn claim(&self, key: u64, now: u64) -> Option<usize> {
        if let Some(slot) = self.find(key) {
            return Some(slot);
        }
        let slot = Self::slots_of(key).min_by_key(|slot| self.awaited(*slot, now))?;
        if self.awaited(slot, now) == 0 {
            self.key_word(slot).store(key, Relaxed);
        }
        Some(slot)
    }

    fn slot(&self, slot: usize) -> &[AtomicU64] {
        &self.words[HEAD_WORDS + slot * SLOT_WORDS..][..SLOT_WORDS]
    }

    fn key_word(&self, slot: usize) -> &AtomicU64 {
        &self.slot(slot)[0]
    }

    fn times(&self, slot: usize) -> &[AtomicU64] {
        &self.slot(slot)[1..]
    }

    fn awaited(&self, slot: usize, now: u64) -> u64 {
        let times = self.times(slot).iter().map(|word| word.load(Relaxed));
        let alive = times.filter(|word| now.saturating_sub(word >> COUNT_BITS) < TIMES as u64);
        alive.map(|word| word & COUNT).sum()
    }

    fn add(&self, slot: usize, time: u64, count: u64) {
        let word = &self.times(slot)[time as usize % TIMES];
        let more = |word: u64| {
            let before = if word >> COUNT_BITS == time {
                word & COUNT
            } else {
                0
            };
            Some(time << COUNT_BITS | (before + count).min(COUNT))
        };
        let _ = word.fetch_update(Relaxed, Relaxed, more);
    }

    fn subtract(&self, slot: usize, charge: Charge, count: u64) {
        let Some(time) = charge.time() else { return };
        let word = &self.times(slot)[time as usize % TIMES];
        let less = |word: u64| {
            let left = (word & COUNT).saturating_sub(count);
            // Another period may have replaced it.
            ((word >> COUNT_BITS) % TOLD_TIMES == time).then_some(word & !COUNT | left)
        };
        let _ = word.fetch_update(Relaxed, Relaxed, less);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static NOW: Cell<u64> = const { Cell::new(1_000) };
    }

    fn table() -> OutstandingTable {
        let words = (0..OutstandingTable::WORDS).map(|_| AtomicU64::new(0));
        let words: Vec<AtomicU64> = words.collect();
        OutstandingTable::new(words.leak(), 7, || NOW.get())
    }

    /// For a sender with a share of 100, and a source with a share of 150.
    fn charge(
        table: &OutstandingTable,
        sender: u64,
        from: u8,
        count: usize,
    ) -> Result<Charge, Share> {
        let source = Source::of([192, 0, 2, from].into());
        table.charge((sender, 100), Some((source, 150)), count)
    }

    #[test]
    fn a_sender_has_its_share_and_no_more() {
        let table = table();
        let charge = |sender, count| table.charge((sender, 100), None, count);
        let first = charge(1, 60).unwrap();
        assert_eq!(charge(1, 41), Err(Share::Sender));
        let second = charge(1, 40).unwrap();
        assert_eq!(charge(1, 1), Err(Share::Sender));
        assert!(charge(2, 100).is_ok(), "others have theirs");
        table.release(first, 1);
        let third = charge(1, 1).unwrap();
        table.release(first, 59);
        table.release(second, 40);
        table.release(Charge::default(), 1);
        assert_eq!(charge(1, 100), Err(Share::Sender));
        table.release(third, 1);
        // One message may exceed the share, if it is alone.
        assert!(charge(1, 1_000).is_ok());
        assert!(table.charge((1, 0), None, 1).is_ok(), "0 is no limit");
    }

    #[test]
    fn a_source_has_its_share_whoever_sends_from_it() {
        let table = table();
        let first = charge(&table, 1, 1, 90).unwrap();
        charge(&table, 2, 1, 60).unwrap();
        assert_eq!(charge(&table, 3, 1, 1), Err(Share::Source));
        assert!(charge(&table, 3, 2, 1).is_ok());
        table.release(first, 90);
        assert!(charge(&table, 1, 1, 90).is_ok());
    }

    #[test]
    fn what_is_never_taken_off_is_gone_with_its_time() {
        let table = table();
        let lost = charge(&table, 1, 1, 100).unwrap();
        assert!(table.charge_destination(table.destination(("home.example.com", None)), lost, 1));
        for after in [0, 10, 57] {
            NOW.set(1_000 + after);
            assert_eq!(charge(&table, 1, 2, 1), Err(Share::Sender), "{after}");
            assert!(!table.charge_destination(
                table.destination(("HOME.example.com.", None)),
                lost,
                1
            ));
        }
        NOW.set(1_000 + 70);
        let now = charge(&table, 1, 1, 60).unwrap();
        assert!(table.charge_destination(table.destination(("home.example.com", None)), now, 1));
        // A late release subtracts nothing that it had not added.
        table.release(lost, 100);
        assert_eq!(charge(&table, 1, 2, 41), Err(Share::Sender));
    }

    #[test]
    fn a_destination_has_its_share() {
        let table = table();
        let (one, other) = (
            charge(&table, 1, 1, 2).unwrap(),
            charge(&table, 2, 1, 2).unwrap(),
        );
        let to =
            |host, charge| table.charge_destination(table.destination((host, None)), charge, 3);
        assert!(to("a.example.com", one) && to("a.example.com", one));
        assert!(to("a.example.com", other) && !to("a.example.com", other));
        assert!(to("b.example.com", other));
        table.release_destination(table.destination(("A.example.com", None)), one);
        assert!(to("a.example.com", other));
        NOW.set(1_050);
        assert!(!to("a.example.com", other), "they are still awaited");
        assert!(
            table.charge_destination(table.destination(("a.example.com", Some(5070))), other, 1),
            "0 is no limit"
        );
    }

    #[test]
    fn many_senders_do_not_use_each_others_shares_up() {
        let table = table();
        for sender in 0..20_000 {
            let charge = table.charge((sender, 100), None, 1);
            table.release(charge.unwrap(), 1);
        }
        assert!(table.charge((1, 100), None, 100).is_ok());
    }

    #[test]
    fn the_operator_is_told_once_a_minute() {
        let table = table();
        assert!(table.is_time_to_tell());
        assert!(!table.is_time_to_tell());
        NOW.set(1_061);
        assert!(table.is_time_to_tell());
    }
}
