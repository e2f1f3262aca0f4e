//! The accepted requests, so that none is fanned out twice, whatever the network repeats (RFC 3261
//! 8.2.2.2, 17.2.2; RFC 6026): one table in shared memory.
//!
//! ```text
//!  bucket of a request
//!  [newest] [entry] x 16 [state] x 16
//! ```
//!
//! A bucket is a ring of the last 16 requests whose keyed hash leads to it; the newest overwrites
//! the oldest. An entry is one word: some bits of the hash, when the request was claimed, and its
//! number in the ring, which gives the place of its entry and its state. The newest entry is in
//! front of the ring, and a process that puts another one there has first moved it to its place. So
//! a claim is one compare-and-swap of that one word: of two processes that claim the same request
//! at the same time, the second one fails, retries, and finds the first one's entry.
//!
//! The state of an entry (its branch, answered, given back) is one word too, written after the
//! claim by the claiming process. It has the number of its entry: the state of a process that was
//! killed, or a late one whose entry has been overwritten, is invalid. The key is random and the
//! same in all processes: nobody outside can aim at a bucket.

use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{AcqRel, Acquire};

use ring::hmac;

/// How long a request other than INVITE is remembered after it was accepted, in seconds. Its sender
/// repeats it for 64*T1 = 32 s (RFC 3261 timer F); a proxy on the path may then try another branch,
/// which is repeated as long, and the answer itself may take 30 s.
pub(crate) const KEPT_S: u16 = 96;

/// The same for an INVITE: it is answered within 160 s, and a proxy on the path may try another
/// branch after timer C, 180 s, and repeat that for 64*T1 (RFC 3261 16.6 item 11).
pub(crate) const INVITE_KEPT_S: u16 = 240;

/// Between a claim and its state there are some nanoseconds. A process that takes longer than this
/// has been killed.
const UNFINISHED_S: u16 = 10;

/// Entries in a ring. On average four are in use when the table is at capacity.
const RING: usize = 16;
const USED: usize = 4;
const BUCKET_WORDS: usize = 1 + 2 * RING;

/// A request's name in the table. Made by [`RequestTable::name`].
#[derive(Clone, Copy, Debug)]
pub struct RequestName {
    bucket: usize,
    check: u64,
    more: u64,
    branch: u64,
    is_invite: bool,
}

/// A request that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It came over the same branch: it is a repetition.
    Repeated {
        /// Whether it has its answer.
        is_answered: bool,
    },
    /// It came over another branch (RFC 3261 8.2.2.2).
    Merged,
}

/// The right to fan a request out, which only one process gets. A number that can be passed between
/// processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    bucket: usize,
    entry: Entry,
}

/// A claim, and its cost.
#[derive(Clone, Copy, Debug)]
pub struct Claimed {
    /// The claim.
    pub claim: Claim,
    /// Another request had to be forgotten early.
    pub forgot: bool,
}

impl Claim {
    /// As numbers.
    pub fn to_words(self) -> [u64; 2] {
        [self.bucket as u64, self.entry.0]
    }

    /// From its numbers.
    pub fn of_words([bucket, entry]: [u64; 2]) -> Self {
        Claim {
            bucket: usize::try_from(bucket).unwrap_or(usize::MAX),
            entry: Entry(entry),
        }
    }
}

/// `check` (37 bits), whether it is an INVITE (1), when it was claimed (16 bits of the seconds),
/// number (10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry(u64);

const NUMBER_BITS: u32 = 10;
const NUMBER: u64 = (1 << NUMBER_BITS) - 1;
const TIME_BITS: u32 = 16;
const INVITE: u64 = 1 << (NUMBER_BITS + TIME_BITS);
const CHECK_SHIFT: u32 = NUMBER_BITS + TIME_BITS + 1;

impl Entry {
    fn new(name: &RequestName, now_s: u16, number: u64) -> Self {
        let invite = if name.is_invite { INVITE } else { 0 };
        let time = u64::from(now_s) << NUMBER_BITS;
        Entry(name.check << CHECK_SHIFT | invite | time | number & NUMBER)
    }

    fn number(self) -> u64 {
        self.0 & NUMBER
    }

    fn place(self) -> usize {
        self.number() as usize % RING
    }

    /// An entry that another process has just made may be of the next second.
    fn age_s(self, now_s: u16) -> u16 {
        let age = now_s.wrapping_sub((self.0 >> NUMBER_BITS) as u16);
        if age > u16::MAX - 2 { 0 } else { age }
    }

    /// Whether it has expired. 0 means that no request was ever there.
    fn is_over(self, now_s: u16) -> bool {
        let kept_s = if self.0 & INVITE == 0 {
            KEPT_S
        } else {
            INVITE_KEPT_S
        };
        self.0 == 0 || self.age_s(now_s) >= kept_s
    }

    fn is_of(self, name: &RequestName) -> bool {
        self.0 >> CHECK_SHIFT == name.check
    }
}

/// More of the request's hash (26 bits), its branch (25), its state (3), the entry's number (10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State(u64);

const WRITTEN: u64 = 1 << NUMBER_BITS;
const ANSWERED: u64 = 2 << NUMBER_BITS;
const GIVEN_BACK: u64 = 4 << NUMBER_BITS;
const BRANCH_SHIFT: u32 = NUMBER_BITS + 3;
const BRANCH_BITS: u32 = 25;
const MORE_SHIFT: u32 = BRANCH_SHIFT + BRANCH_BITS;

impl State {
    fn new(name: &RequestName, number: u64) -> Self {
        State(name.more << MORE_SHIFT | name.branch << BRANCH_SHIFT | WRITTEN | number)
    }

    fn is_of(self, entry: Entry) -> bool {
        self.0 & NUMBER == entry.number() && self.0 & WRITTEN != 0
    }

    fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }
}

/// The last accepted requests. Clones are the same table, and so is the copy that a fork makes.
#[derive(Clone, Debug)]
pub struct RequestTable {
    words: &'static [AtomicU64],
    buckets: usize,
    key: hmac::Key,
    /// Seconds of a clock that all processes share and that never runs backwards.
    now_s: fn() -> u64,
}

impl RequestTable {
    /// Number of words of a table for this many requests (not 0).
    pub const fn words(requests: usize) -> usize {
        requests.div_ceil(USED) * BUCKET_WORDS
    }

    /// The table in `words`, whose length is that of [`words`](Self::words) and which are all 0
    /// before the first use. `random` makes its key.
    pub fn new(words: &'static [AtomicU64], random: fn(&mut [u8]), now_s: fn() -> u64) -> Self {
        let mut key = [0; 32];
        random(&mut key);
        RequestTable {
            words,
            buckets: words.len() / BUCKET_WORDS,
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            now_s,
        }
    }

    /// Names a request by the data that is the same in everything upstream made of it, and by the
    /// data that only repetitions over this branch share.
    pub fn name(&self, request: &[&[u8]], branch: &[&[u8]], is_invite: bool) -> RequestName {
        let of_request = self.hash(b"request", request);
        let place = (u128::from(of_request[0]) * self.buckets as u128) >> 64;
        RequestName {
            bucket: place as usize,
            check: of_request[1] >> CHECK_SHIFT,
            more: of_request[2] >> MORE_SHIFT,
            branch: self.hash(b"branch", branch)[0] >> (64 - BRANCH_BITS),
            is_invite,
        }
    }

    /// Whether a request has been accepted.
    pub fn find(&self, name: &RequestName) -> Option<Known> {
        let bucket = self.bucket(name.bucket)?;
        self.find_in(bucket, bucket.newest(), name)
    }

    /// Claims a request, if no process has claimed it.
    pub fn claim(&self, name: &RequestName) -> Result<Claimed, Known> {
        let Some(bucket) = self.bucket(name.bucket) else {
            return Ok(Claimed {
                claim: Claim::of_words([u64::MAX, 0]),
                forgot: false,
            });
        };
        // Each iteration means that another process has claimed something.
        loop {
            let newest = bucket.newest();
            if let Some(known) = self.find_in(bucket, newest, name) {
                return Err(known);
            }
            let now_s = (self.now_s)() as u16;
            let entry = Entry::new(name, now_s, newest.number().wrapping_add(1));
            let (oldest, before) = (bucket.entry(entry.place()), bucket.state(entry.place()));
            bucket.settle(newest);
            let swapped = bucket.words[0].compare_exchange(newest.0, entry.0, AcqRel, Acquire);
            if swapped.is_err() {
                continue;
            }
            let given_back = before.is_of(oldest) && before.has(GIVEN_BACK);
            bucket.begin(entry, State::new(name, entry.number()));
            return Ok(Claimed {
                claim: Claim {
                    bucket: name.bucket,
                    entry,
                },
                forgot: !oldest.is_over(now_s) && !given_back,
            });
        }
    }

    /// The request has its answer, which a repetition gets again.
    pub fn answered(&self, claim: Claim) {
        self.mark(claim, ANSWERED);
    }

    /// The request was refused after all: it may come again.
    pub fn give_back(&self, claim: Claim) {
        self.mark(claim, GIVEN_BACK);
    }

    fn mark(&self, claim: Claim, flag: u64) {
        let Some(bucket) = self.bucket(claim.bucket) else {
            return;
        };
        let word = bucket.state_word(claim.entry.place());
        // Another request may be there by now.
        let _ = word.fetch_update(AcqRel, Acquire, |state| {
            State(state).is_of(claim.entry).then_some(state | flag)
        });
    }

    fn find_in(&self, bucket: Bucket, newest: Entry, name: &RequestName) -> Option<Known> {
        let now_s = (self.now_s)() as u16;
        (0..RING as u64).find_map(|age| {
            let number = newest.number().wrapping_sub(age) & NUMBER;
            let entry = if age == 0 {
                newest
            } else {
                bucket.entry(number as usize % RING)
            };
            if entry.number() != number || !entry.is_of(name) || entry.is_over(now_s) {
                return None;
            }
            let state = bucket.state(entry.place());
            if !state.is_of(entry) {
                // Claimed just now, or by a process that was killed.
                let is_under_way = entry.age_s(now_s) < UNFINISHED_S;
                return is_under_way.then_some(Known::Repeated { is_answered: false });
            }
            let is_this = state.0 >> MORE_SHIFT == name.more && !state.has(GIVEN_BACK);
            let branch = state.0 >> BRANCH_SHIFT & ((1 << BRANCH_BITS) - 1);
            is_this.then(|| {
                if branch == name.branch {
                    let is_answered = state.has(ANSWERED);
                    Known::Repeated { is_answered }
                } else {
                    Known::Merged
                }
            })
        })
    }

    fn bucket(&self, number: usize) -> Option<Bucket> {
        let words = self.words.get(number.checked_mul(BUCKET_WORDS)?..)?;
        Some(Bucket {
            words: words.get(..BUCKET_WORDS)?,
        })
    }

    fn hash(&self, what: &[u8], parts: &[&[u8]]) -> [u64; 3] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(what);
        for part in parts {
            context.update(&(part.len() as u64).to_ne_bytes());
            context.update(part);
        }
        let tag = context.sign();
        [0, 8, 16].map(|at| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&tag.as_ref()[at..at + 8]);
            u64::from_ne_bytes(bytes)
        })
    }
}

#[derive(Clone, Copy)]
struct Bucket {
    words: &'static [AtomicU64],
}

impl Bucket {
    fn newest(self) -> Entry {
        Entry(self.words[0].load(Acquire))
    }

    fn entry(self, place: usize) -> Entry {
        Entry(self.words[1 + place].load(Acquire))
    }

    fn state_word(self, place: usize) -> &'static AtomicU64 {
        &self.words[1 + RING + place]
    }

    fn state(self, place: usize) -> State {
        State(self.state_word(place).load(Acquire))
    }

    /// Moves the newest entry to its place in the ring, if this has not been done. A late process
    /// finds another word there than it has read, or fails at the swap that follows.
    fn settle(self, newest: Entry) {
        let word = &self.words[1 + newest.place()];
        let before = word.load(Acquire);
        if before != newest.0 && self.newest() == newest {
            let _ = word.compare_exchange(before, newest.0, AcqRel, Acquire);
        }
    }

    /// Writes the first state of an entry over those of earlier entries at its place, which may
    /// change meanwhile. A process so late that the ring has wrapped around leaves the state as it
    /// is.
    fn begin(self, entry: Entry, state: State) {
        let word = self.state_word(entry.place());
        let _ = word.fetch_update(AcqRel, Acquire, |found| {
            let ahead = (found & NUMBER).wrapping_sub(entry.number()) & NUMBER;
            let is_later = found & WRITTEN != 0 && ahead < NUMBER / 2;
            (!is_later).then_some(state.0)
        });
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Barrier;

    use super::*;

    thread_local! {
        /// Shortly before the seconds of an entry wrap around.
        static NOW: Cell<u64> = const { Cell::new(65_500) };
    }

    fn table(requests: usize) -> RequestTable {
        let words = (0..RequestTable::words(requests)).map(|_| AtomicU64::new(0));
        let words: Vec<AtomicU64> = words.collect();
        RequestTable::new(words.leak(), |key| key.fill(7), || NOW.get())
    }

    fn name(table: &RequestTable, request: usize, branch: &str) -> RequestName {
        table.name(&[&request.to_ne_bytes()], &[branch.as_bytes()], false)
    }

    fn wait(seconds: u64) {
        NOW.set(NOW.get() + seconds);
    }

    const DUE: Option<Known> = Some(Known::Repeated { is_answered: false });
    const AGAIN: Option<Known> = Some(Known::Repeated { is_answered: true });

    #[test]
    fn a_request_is_taken_once() {
        let table = table(8);
        let (this, other) = (name(&table, 1, "a"), name(&table, 1, "b"));
        assert_eq!(table.find(&this), None);
        let claim = table.claim(&this).unwrap().claim;
        assert_eq!(table.claim(&this).unwrap_err(), DUE.unwrap());
        assert_eq!(table.claim(&other).unwrap_err(), Known::Merged);
        // In another process, which has only its number.
        let copy = table.clone();
        copy.answered(Claim::of_words(claim.to_words()));
        assert_eq!(copy.find(&this), AGAIN);
        assert_eq!(table.find(&other), Some(Known::Merged));
        assert_eq!(table.find(&name(&table, 2, "a")), None);
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let table = table(8);
        let of = |parts: &[&[u8]]| table.name(parts, &[], false);
        assert!(table.claim(&of(&[b"ab", b"c"])).is_ok());
        assert!(table.find(&of(&[b"ab", b"c"])).is_some());
        assert!(table.find(&of(&[b"a", b"bc"])).is_none());
        assert!(table.find(&of(&[b"abc"])).is_none());
    }

    #[test]
    fn it_is_known_for_three_times_64_t1_and_an_invite_for_longer() {
        let table = table(8);
        let message = name(&table, 1, "a");
        let invite = table.name(&[b"invite"], &[b"a"], true);
        let claim = table.claim(&message).unwrap().claim;
        assert!(table.claim(&invite).is_ok());
        // 30 s until the answer, and 64*T1 from then on.
        wait(30);
        table.answered(claim);
        wait(65);
        assert_eq!(table.find(&message), AGAIN);
        wait(1);
        assert_eq!(table.find(&message), None);
        assert!(table.claim(&message).is_ok());
        wait(143);
        assert_eq!(table.find(&invite), DUE);
        wait(1);
        assert_eq!(table.find(&invite), None);
    }

    #[test]
    fn who_was_refused_may_come_again() {
        let table = table(8);
        let (this, other) = (name(&table, 1, "a"), name(&table, 1, "b"));
        let claim = table.claim(&this).unwrap().claim;
        table.give_back(claim);
        assert_eq!(table.find(&this), None);
        let again = table.claim(&other).unwrap().claim;
        assert_eq!(table.find(&this), Some(Known::Merged));
        // The first one has expired and no longer changes anything.
        table.give_back(claim);
        table.answered(claim);
        assert_eq!(table.find(&other), DUE);
        table.answered(again);
        assert_eq!(table.find(&other), AGAIN);
    }

    #[test]
    fn the_oldest_go_when_there_is_no_room_and_are_counted() {
        let table = table(1);
        let claim = |number| table.claim(&name(&table, number, "a")).unwrap();
        // Three times around the numbers of entries, too.
        let all = 3 * (1 << NUMBER_BITS) + 5;
        let claims: Vec<Claimed> = (0..all).map(claim).collect();
        for (number, claimed) in claims.iter().enumerate() {
            assert_eq!(claimed.forgot, number >= RING, "{number}");
            let is_kept = number + RING >= all;
            let found = table.find(&name(&table, number, "a"));
            assert_eq!(found.is_some(), is_kept, "{number}");
            table.answered(claimed.claim);
            let found = table.find(&name(&table, number, "a"));
            assert_eq!(found, AGAIN.filter(|_| is_kept), "{number}");
        }
        // Expired or returned entries are not counted as forgotten.
        table.give_back(claims[all - RING].claim);
        assert!(!claim(all).forgot);
        assert!(claim(all + 1).forgot);
        wait(u64::from(KEPT_S));
        assert!(!claim(all + 2).forgot);
    }

    #[test]
    fn a_table_holds_what_it_is_made_for() {
        let table = table(4_000);
        let forgot = (0..4_000).filter(|&number| {
            let claimed = table.claim(&name(&table, number, "a"));
            claimed.unwrap().forgot
        });
        // More than sixteen where four are usual: one in some hundred thousand.
        assert!(forgot.count() <= 4);
    }

    #[test]
    fn of_claims_at_once_one_succeeds() {
        // One bucket, so that they all meet, and enough requests to wrap the ring.
        let table = table(1);
        for round in 0..300 {
            let barrier = Barrier::new(4);
            let won = std::thread::scope(|scope| {
                let threads: Vec<_> = ["a", "b", "c", "d"]
                    .into_iter()
                    .map(|branch| {
                        let (table, barrier) = (&table, &barrier);
                        scope.spawn(move || {
                            let ours = name(table, round, branch);
                            let noise = name(table, 1_000_000 + round, branch);
                            barrier.wait();
                            let claimed = table.claim(&ours);
                            let _ = table.claim(&noise);
                            claimed.is_ok()
                        })
                    })
                    .collect();
                let won = threads.into_iter().map(|thread| thread.join().unwrap());
                won.filter(|&won| won).count()
            });
            assert_eq!(won, 1, "round {round}");
        }
    }

    /// Not often enough per round to wrap the ring: a forgotten request holds nothing.
    #[test]
    fn nobody_shares_a_claim_that_is_given_back_and_taken_again() {
        let table = table(1);
        let mut claims = 0;
        for round in 0..300 {
            let holders = AtomicU64::new(0);
            let barrier = Barrier::new(4);
            claims += std::thread::scope(|scope| {
                let threads: Vec<_> = ["a", "b", "c", "d"]
                    .into_iter()
                    .map(|branch| {
                        let (table, barrier, holders) = (&table, &barrier, &holders);
                        scope.spawn(move || {
                            barrier.wait();
                            let claims = (0..RING / 4).filter(|_| {
                                let Ok(claimed) = table.claim(&name(table, round, branch)) else {
                                    return false;
                                };
                                assert_eq!(holders.fetch_add(1, AcqRel), 0);
                                holders.fetch_sub(1, AcqRel);
                                table.give_back(claimed.claim);
                                true
                            });
                            claims.count()
                        })
                    })
                    .collect();
                let claims = threads.into_iter().map(|thread| thread.join().unwrap());
                claims.sum::<usize>()
            });
        }
        assert!(claims >= 300);
    }

    #[test]
    fn a_process_that_is_killed_in_its_claim_blocks_nobody_for_long() {
        let table = table(1);
        let this = name(&table, 1, "a");
        let claim = table.claim(&this).unwrap().claim;
        let bucket = table.bucket(0).unwrap();
        // As if killed before writing the state of its entry.
        let state = bucket.state_word(claim.entry.place()).swap(0, AcqRel);
        assert_eq!(table.find(&this), DUE);
        assert_eq!(table.find(&name(&table, 1, "b")), DUE);
        wait(u64::from(UNFINISHED_S));
        assert_eq!(table.find(&this), None);
        // Or as if it had written it just after another process wrapped the ring.
        for number in 2..2 + RING {
            assert!(table.claim(&name(&table, number, "a")).is_ok());
        }
        bucket.begin(claim.entry, State(state));
        for number in 2..2 + RING {
            assert_eq!(table.find(&name(&table, number, "a")), DUE, "{number}");
        }
        // Or it holds it, and never answers.
        assert!(table.claim(&this).is_ok());
        wait(u64::from(KEPT_S));
        assert!(table.claim(&this).is_ok());
    }

    #[test]
    fn an_entry_of_the_next_second_is_no_old_one() {
        let table = table(8);
        let this = name(&table, 1, "a");
        assert!(table.claim(&this).is_ok());
        NOW.set(NOW.get() - 1);
        assert_eq!(table.find(&this), DUE);
    }

    #[test]
    fn no_room_is_no_table() {
        let table = RequestTable::new(&[], |_| (), || 0);
        let this = name(&table, 1, "a");
        for _ in 0..2 {
            let claim = table.claim(&this).unwrap().claim;
            table.answered(claim);
            assert_eq!(table.find(&this), None);
        }
    }
}
