//! The sender of each message, for forwarding disposition notifications (readings N37).
//!
//! One table in shared memory, bounded, and without a lock, which a killed process could leave
//! taken:
//!
//! ```text
//!  bucket of a Message-ID            ring of records
//!  [check|number] x 8  ----------> number % records: name, proof, until, length, undelivered, URI
//! ```
//!
//! Records are numbered in sequence, and the newest overwrites the oldest. A Message-ID is not
//! stored: its keyed hash determines the bucket of its record, and identifies it there. Every
//! record authenticates itself: one that is being overwritten, or that a process has not written
//! completely, does not contain the keyed hash of its number and content, and is ignored. The key
//! is random and the same in all processes: nobody outside can aim at a bucket, nor at the name of
//! another message.

use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use ring::hmac;

/// Maximum length of a stored sender URI. Those of subscribers have less than 100 bytes.
pub const MAX_SENDER_URI_BYTES: usize = 8 * URI_WORDS;

/// Entries in one bucket. On average one of them is in use.
const BUCKET_WORDS: usize = 8;

const URI_WORDS: usize = 25;
/// Name, proof (128 bits each), until, length; the number with the undelivered recipients; URI.
const RECORD_WORDS: usize = UNDELIVERED + 1 + URI_WORDS;
/// Place of a record's number and its undelivered recipients. They change with each recipient that
/// fails, and are not authenticated.
const UNDELIVERED: usize = 6;
/// Bits for the recipients; above them is the record's number.
const COUNT_BITS: u32 = 16;
/// Maximum number of recipients of one message that can be counted.
const MAX_COUNTED: usize = (1 << COUNT_BITS) - 1;

/// Before the buckets: the number of the newest record, in a cache line of its own.
const HEAD_WORDS: usize = 8;

/// An entry of a bucket: the upper bits are some of the name's, to skip nearly all other records
/// without reading them.
const NUMBER_BITS: u32 = 48;
const NUMBER: u64 = (1 << NUMBER_BITS) - 1;

/// How often to try a bucket that others write to at the same time.
const TRIES: usize = 8;

/// A keyed hash.
type Hash = [u64; 2];

/// The senders of the last messages. Clones are the same table, and so is the copy that a fork
/// makes.
#[derive(Clone, Debug)]
pub struct SenderTable {
    words: &'static [AtomicU64],
    records: usize,
    key: hmac::Key,
    /// Seconds of a clock that all processes share and that never runs backwards.
    now_s: fn() -> u64,
}

/// The sender of a message whose Message-ID has not arrived yet.
#[derive(Clone, Debug)]
pub struct SenderNote {
    /// Where to record it.
    pub senders: SenderTable,
    /// Its URI.
    pub sender: String,
    /// Seconds to keep it.
    pub ttl_s: u64,
}

impl SenderNote {
    /// Records it, now that the Message-ID has arrived.
    pub fn note(&self, message_id: &str) {
        self.senders.note(message_id, &self.sender, self.ttl_s);
    }
}

/// A record, for other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// What its message is [known by](SenderTable::name_of).
    pub name: [u8; 16],
    /// Seconds for which it is still kept.
    pub ttl_s: u64,
    /// The URI of the sender.
    pub sender: String,
}

/// A message that has been recorded.
#[derive(Debug)]
pub struct Noted {
    bucket: usize,
    entry: u64,
    link: Link,
}

impl Noted {
    /// For its outgoing requests.
    pub fn link(&self) -> Link {
        self.link
    }
}

/// Links the end of an outgoing request to the record of its message: the lower bits of the
/// record's number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link(u32);

impl Link {
    /// Number of its bits.
    pub const BITS: u32 = 30;

    /// From its bits; 0 is the link to nothing.
    pub fn from_bits(bits: u32) -> Self {
        Link(bits & ((1 << Self::BITS) - 1))
    }

    /// As a number of that many bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl SenderTable {
    /// Number of words of a table for this many records (not 0).
    pub const fn words(records: usize) -> usize {
        HEAD_WORDS + records * (BUCKET_WORDS + RECORD_WORDS)
    }

    /// The table in `words`, whose length is that of [`words`](Self::words) and which are all 0
    /// before the first use. `random` makes its key.
    pub fn new(words: &'static [AtomicU64], random: fn(&mut [u8]), now_s: fn() -> u64) -> Self {
        let mut key = [0; 32];
        random(&mut key);
        Self::with_key(words, &key, now_s)
    }

    /// The same with this secret key, by which other nodes know the same messages.
    pub fn with_key(words: &'static [AtomicU64], key: &[u8; 32], now_s: fn() -> u64) -> Self {
        SenderTable {
            words,
            records: words.len().saturating_sub(HEAD_WORDS) / (BUCKET_WORDS + RECORD_WORDS),
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            now_s,
        }
    }

    /// Records the sender of a message for `ttl_s` seconds. `None`: nothing was recorded. The
    /// sender of a known message never changes: knowing its Message-ID does not make a recipient
    /// its sender.
    pub fn note(&self, message_id: &str, sender: &str, ttl_s: u64) -> Option<Noted> {
        self.note_counted(message_id, sender, ttl_s, 0)
    }

    /// The same for a message to this many recipients, whose failures [`fail`](Self::fail) will
    /// count.
    pub fn note_counted(
        &self,
        message_id: &str,
        sender: &str,
        ttl_s: u64,
        recipients: usize,
    ) -> Option<Noted> {
        if sender.len() > MAX_SENDER_URI_BYTES || self.records == 0 {
            return None;
        }
        let name = self.name(message_id);
        let until = (self.now_s)().saturating_add(ttl_s);
        if self.find_named(name).is_some_and(|known| known != sender) {
            return None;
        }
        let number = self.words[0].fetch_add(1, Relaxed) + 1;
        let [proof, proof_end] = self.proof(number, name, until, sender.as_bytes());
        let record = self.record(number);
        let head = [
            name[0],
            name[1],
            proof,
            proof_end,
            until,
            sender.len() as u64,
        ];
        for (word, value) in record.iter().zip(head) {
            word.store(value, Relaxed);
        }
        for (word, bytes) in record[UNDELIVERED + 1..]
            .iter()
            .zip(sender.as_bytes().chunks(8))
        {
            let mut value = [0; 8];
            value[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(value), Relaxed);
        }
        // Numbers that cannot be counted never reach 0.
        let counted = if recipients > MAX_COUNTED {
            0
        } else {
            recipients
        };
        record[UNDELIVERED].store(number << COUNT_BITS | counted as u64, Release);
        let entry = entry(name, number);
        let bucket = self.bucket(name);
        let link = Link::from_bits(number as u32);
        self.enter(bucket, entry).then_some(Noted {
            bucket,
            entry,
            link,
        })
    }

    /// This many more recipients of a message have failed. Returns the sender, once, when these are
    /// all.
    pub fn fail(&self, link: Link, recipients: usize) -> Option<String> {
        if link == Link::default() || recipients == 0 || self.records == 0 {
            return None;
        }
        let newest = self.words[0].load(Relaxed);
        let age = Link::from_bits((newest as u32).wrapping_sub(link.bits()));
        let number = newest.checked_sub(u64::from(age.bits()))?;
        if !self.is_kept(number, newest) {
            return None;
        }
        let mut left = 0;
        let fewer = |word: u64| {
            let before = word as usize & MAX_COUNTED;
            left = before.saturating_sub(recipients);
            // Another message may have replaced it.
            let is_counted = before > 0 && word >> COUNT_BITS == number & NUMBER;
            is_counted.then_some(number << COUNT_BITS | left as u64)
        };
        let word = &self.record(number)[UNDELIVERED];
        word.fetch_update(AcqRel, Acquire, fewer).ok()?;
        if left > 0 {
            return None;
        }
        self.read(number).map(|(.., sender)| sender)
    }

    /// Forgets a message.
    pub fn forget(&self, noted: &Noted) {
        for word in &self.words[noted.bucket..][..BUCKET_WORDS] {
            // Another entry in its place remains.
            let _ = word.compare_exchange(noted.entry, 0, Relaxed, Relaxed);
        }
    }

    /// The URI of the sender of a message.
    pub fn find(&self, message_id: &str) -> Option<String> {
        self.find_named(self.name(message_id))
    }

    /// What a message is known by, at all nodes with the same key.
    pub fn name_of(&self, message_id: &str) -> [u8; 16] {
        bytes_of(self.name(message_id))
    }

    /// The next of the records after `last`, which becomes its number. `None`: there is none, or it
    /// is not complete yet. Those that were overwritten are left out.
    pub fn next_after(&self, last: &mut u64) -> Option<Recorded> {
        if self.records == 0 {
            return None;
        }
        let newest = self.words[0].load(Acquire);
        let kept_from = newest.saturating_sub(self.records as u64);
        let number = (*last).max(kept_from) + 1;
        if number > newest {
            return None;
        }
        // The last word to be written has the number too.
        let is_whole = self.record(number)[UNDELIVERED].load(Acquire) >> COUNT_BITS
            == number & (u64::MAX >> COUNT_BITS);
        let (name, until, sender) = self.read(number).filter(|_| is_whole)?;
        *last = number;
        Some(Recorded {
            name: bytes_of(name),
            ttl_s: until.saturating_sub((self.now_s)()),
            sender,
        })
    }

    /// Goes on behind the next record, which its writer has not completed.
    pub fn skip(&self, last: &mut u64) {
        *last = (*last + 1).min(self.words[0].load(Relaxed));
    }

    /// Whether there are records after this one.
    pub fn has_after(&self, last: u64) -> bool {
        self.words[0].load(Relaxed) > last
    }

    fn find_named(&self, name: Hash) -> Option<String> {
        if self.records == 0 {
            return None;
        }
        let newest = self.words[0].load(Relaxed);
        let bucket = &self.words[self.bucket(name)..][..BUCKET_WORDS];
        bucket.iter().find_map(|word| {
            let found = word.load(Acquire);
            let is_candidate =
                found >> NUMBER_BITS == name[0] >> NUMBER_BITS && self.is_kept(found, newest);
            if !is_candidate {
                return None;
            }
            let (known, until, sender) = self.read(found & NUMBER)?;
            (known == name && until > (self.now_s)()).then_some(sender)
        })
    }

    /// Name, time and sender of a record, if it is complete.
    fn read(&self, number: u64) -> Option<(Hash, u64, String)> {
        let record = self.record(number).iter().map(|word| word.load(Relaxed));
        let record: Vec<u64> = record.collect();
        let [name, name_end, proof, proof_end, until, length, _, uri @ ..] = &record[..] else {
            return None;
        };
        let mut uri: Vec<u8> = uri.iter().flat_map(|word| word.to_ne_bytes()).collect();
        uri.truncate(usize::try_from(*length).ok()?);
        let name = [*name, *name_end];
        let is_whole = self.proof(number, name, *until, &uri) == [*proof, *proof_end];
        let uri = String::from_utf8(uri).ok().filter(|_| is_whole)?;
        Some((name, *until, uri))
    }

    /// Puts an entry into a bucket: replaces one whose record no longer exists, or else the oldest.
    /// False: other processes were faster too often.
    fn enter(&self, bucket: usize, entry: u64) -> bool {
        let words = &self.words[bucket..][..BUCKET_WORDS];
        (0..TRIES).any(|_| {
            let newest = self.words[0].load(Relaxed);
            let oldest = words
                .iter()
                .map(|word| (word, word.load(Relaxed)))
                .min_by_key(|&(_, found)| match self.is_kept(found, newest) {
                    true => found & NUMBER,
                    false => 0,
                });
            oldest.is_some_and(|(word, found)| {
                word.compare_exchange(found, entry, Release, Relaxed)
                    .is_ok()
            })
        })
    }

    /// Whether the ring still has the record of an entry. If others add records meanwhile, this may
    /// already be outdated.
    fn is_kept(&self, entry: u64, newest: u64) -> bool {
        let number = entry & NUMBER;
        number != 0 && newest.saturating_sub(number) < self.records as u64
    }

    fn record(&self, number: u64) -> &[AtomicU64] {
        let place = (number % self.records as u64) as usize;
        let records = &self.words[HEAD_WORDS + self.records * BUCKET_WORDS..];
        &records[place * RECORD_WORDS..][..RECORD_WORDS]
    }

    /// Start of a name's bucket.
    fn bucket(&self, name: Hash) -> usize {
        let place = (u128::from(name[1]) * self.records as u128) >> 64;
        HEAD_WORDS + place as usize * BUCKET_WORDS
    }

    fn name(&self, message_id: &str) -> Hash {
        self.hash(&[b"message", message_id.as_bytes()])
    }

    fn proof(&self, number: u64, name: Hash, until: u64, sender: &[u8]) -> Hash {
        let [number, first, second, until] =
            [number & NUMBER, name[0], name[1], until].map(u64::to_ne_bytes);
        self.hash(&[b"record", &number, &first, &second, &until, sender])
    }

    fn hash(&self, parts: &[&[u8]]) -> Hash {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(part);
        }
        let tag = context.sign();
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&tag.as_ref()[at..at + 8]);
            u64::from_be_bytes(bytes)
        };
        [word(0), word(8)]
    }
}

fn bytes_of(name: Hash) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (half, word) in bytes.chunks_exact_mut(8).zip(name) {
        half.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

fn entry(name: Hash, number: u64) -> u64 {
    name[0] & !NUMBER | number & NUMBER
}

#[cfg(test)]
mod tests;
