//! What names have come to, in memory that all processes share: a process that may not wait finds
//! here what another one has looked up.
//!
//! Bounded, and without a lock, which a process that is killed could leave behind. A name has four
//! rows to stand in, and the one that would hold for the shortest time gives way. Whatever is read
//! proves itself: a row that is being written does not hold the keyed hash of what is in it, and
//! counts as none. The keys are random and the same in all processes: nobody outside can aim at a
//! row.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use cpm_wire::locating::{MAX_PLACES, Place, Target};
use cpm_wire::sip::Transport;

/// Names that are kept.
pub(super) const ROWS: usize = 4096;
/// Rows among which a name may stand.
const WAYS: usize = 4;
/// A place is an IPv6 address, or an IPv4 address written as one; port, and transport.
const PLACE_WORDS: usize = 3;
/// Name (128 bits), until, count.
const HEAD_WORDS: usize = 4;
/// The proof stands at the end.
const ROW_WORDS: usize = HEAD_WORDS + MAX_PLACES * PLACE_WORDS + 1;

/// Numbers that the table is made of.
pub const WORDS: usize = ROWS * ROW_WORDS;

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Its places, best first, and what [`after`](NameTable::after) knows it by.
    Places(Vec<Place>, NameTag),
    /// It has none.
    Nothing,
}

/// What ties a request to the name that it was sent by: the row, and some bits of the name. Never
/// 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameTag(u32);

impl NameTag {
    /// How many bits it has.
    pub const BITS: u32 = 29;
    /// Bits of the name.
    const NAME_BITS: u32 = 16;

    fn new(row: usize, name: [u64; 2]) -> Self {
        let name = (name[0] & ((1 << Self::NAME_BITS) - 1)) as u32;
        NameTag((row as u32 + 1) << Self::NAME_BITS | name)
    }

    /// From its bits. `None`: 0, the tag of nothing.
    pub fn from_bits(bits: u32) -> Option<Self> {
        (bits >> Self::NAME_BITS != 0).then_some(NameTag(bits))
    }

    /// As a number of so many bits.
    pub fn bits(self) -> u32 {
        self.0
    }

    fn row(self) -> usize {
        (self.0 >> Self::NAME_BITS) as usize - 1
    }
}

/// The table. Clones are the same one, and so is the copy that a fork makes.
#[derive(Clone, Debug)]
pub struct NameTable {
    words: &'static [AtomicU64],
    keys: [RandomState; 3],
    now_s: fn() -> u64,
}

impl NameTable {
    /// In `words`, [`WORDS`] of them and all 0 before the first use. `now_s`: seconds of a clock
    /// that all processes share and that never runs backwards.
    pub fn new(words: &'static [AtomicU64], now_s: fn() -> u64) -> Self {
        Self {
            words,
            keys: [RandomState::new(), RandomState::new(), RandomState::new()],
            now_s,
        }
    }

    /// What is known of a name, if it still holds.
    pub fn find(&self, target: &Target) -> Option<Known> {
        let name = self.name(target);
        let now_s = (self.now_s)();
        let first = self.first_row(name);
        self.rows(name).enumerate().find_map(|(place, row)| {
            let (known, until, places) = self.read(row)?;
            (known == name && until > now_s).then(|| match places.is_empty() {
                true => Known::Nothing,
                false => Known::Places(places, NameTag::new(first + place, name)),
            })
        })
    }

    /// The places that come after `tried` among those of a name, also when they do not hold any
    /// more: the request was sent while they did. None: it was the last, or the name has had to
    /// give way.
    pub fn after(&self, tag: NameTag, tried: impl Fn(&Place) -> bool) -> Vec<Place> {
        let row = self.words.chunks_exact(ROW_WORDS).nth(tag.row());
        let Some((name, _, mut places)) = row.and_then(|row| self.read(row)) else {
            return Vec::new();
        };
        let tried = places.iter().position(tried);
        match tried.filter(|_| NameTag::new(tag.row(), name) == tag) {
            Some(tried) => places.split_off(tried + 1),
            None => Vec::new(),
        }
    }

    /// Keeps what a name has come to, for so many seconds.
    pub fn keep(&self, target: &Target, places: &[Place], ttl_s: u64) {
        let name = self.name(target);
        let until_of = |row: &[AtomicU64]| match row[0].load(Relaxed) == name[0] {
            // Its own row first.
            true => 0,
            false => row[2].load(Relaxed),
        };
        let Some(row) = self.rows(name).min_by_key(|row| until_of(row)) else {
            return;
        };
        let mut words = [0; ROW_WORDS];
        let places = &places[..places.len().min(MAX_PLACES)];
        words[..HEAD_WORDS].copy_from_slice(&[
            name[0],
            name[1],
            (self.now_s)().saturating_add(ttl_s),
            places.len() as u64,
        ]);
        for (place, words) in places
            .iter()
            .zip(words[HEAD_WORDS..].chunks_exact_mut(PLACE_WORDS))
        {
            words.copy_from_slice(&write_place(place));
        }
        words[ROW_WORDS - 1] = self.proof(&words[..ROW_WORDS - 1]);
        for (to, word) in row.iter().zip(words) {
            to.store(word, Release);
        }
    }

    fn read(&self, row: &[AtomicU64]) -> Option<([u64; 2], u64, Vec<Place>)> {
        let mut words = [0; ROW_WORDS];
        for (to, word) in words.iter_mut().zip(row) {
            *to = word.load(Acquire);
        }
        let (proof, words) = words.split_last()?;
        if *proof != self.proof(words) {
            return None;
        }
        let count = usize::try_from(words[3]).ok()?;
        let places = words[HEAD_WORDS..].chunks_exact(PLACE_WORDS).take(count);
        Some((
            [words[0], words[1]],
            words[2],
            places.map(read_place).collect(),
        ))
    }

    fn rows(&self, name: [u64; 2]) -> impl Iterator<Item = &[AtomicU64]> {
        let rows = self.words.chunks_exact(ROW_WORDS);
        rows.skip(self.first_row(name)).take(WAYS)
    }

    fn first_row(&self, name: [u64; 2]) -> usize {
        let sets = self.words.len() / ROW_WORDS / WAYS;
        name[1] as usize % sets.max(1) * WAYS
    }

    fn name(&self, target: &Target) -> [u64; 2] {
        [self.keys[0].hash_one(target), self.keys[1].hash_one(target)]
    }

    fn proof(&self, words: &[u64]) -> u64 {
        // Never that of a row that nobody has written.
        self.keys[2].hash_one(words) | 1
    }
}

fn write_place(place: &Place) -> [u64; PLACE_WORDS] {
    let ip = match place.address.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let bits = ip.to_bits();
    let transport = match place.transport {
        Transport::Udp => 0,
        Transport::Tcp => 1,
        Transport::Tls => 2,
    };
    let port = u64::from(place.address.port());
    [(bits >> 64) as u64, bits as u64, port << 8 | transport]
}

fn read_place(words: &[u64]) -> Place {
    let ip = Ipv6Addr::from_bits(u128::from(words[0]) << 64 | u128::from(words[1]));
    let transport = match words[2] & 0xff {
        0 => Transport::Udp,
        1 => Transport::Tcp,
        _ => Transport::Tls,
    };
    Place {
        transport,
        address: SocketAddr::new(ip.to_canonical(), (words[2] >> 8) as u16),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Wanted;

    fn table() -> NameTable {
        let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        NameTable::new(Box::leak(words.into_boxed_slice()), || 100)
    }

    fn target(name: &str) -> Target {
        Target::new(name, None, Wanted::Any).unwrap()
    }

    fn places() -> Vec<Place> {
        let place = |transport, address: &str| Place {
            transport,
            address: address.parse().unwrap(),
        };
        vec![
            place(Transport::Udp, "192.0.2.1:5060"),
            place(Transport::Tcp, "[2001:db8::1]:65535"),
            place(Transport::Tls, "192.0.2.2:5061"),
        ]
    }

    #[test]
    fn what_one_process_finds_another_one_knows() {
        let table = table();
        let other = table.clone();
        assert_eq!(other.find(&target("a.example")), None);
        table.keep(&target("a.example"), &places(), 1);
        let Some(Known::Places(found, tag)) = other.find(&target("A.example.")) else {
            panic!("not found");
        };
        assert_eq!(found, places());
        assert_eq!(NameTag::from_bits(tag.bits()), Some(tag));
        assert!(tag.bits() < 1 << NameTag::BITS);
        let after = |tried: usize| other.after(tag, |place| *place == places()[tried]);
        assert_eq!((after(0), after(2)), (places()[1..].to_vec(), Vec::new()));
        let other_name = NameTag::from_bits(tag.bits() ^ 1).unwrap();
        assert_eq!(other.after(other_name, |_| true), []);
        let tcp = Target::new("a.example", None, Wanted::Only(Transport::Tcp)).unwrap();
        let port = Target::new("a.example", Some(5060), Wanted::Any).unwrap();
        assert_eq!((other.find(&tcp), other.find(&port)), (None, None));
        table.keep(&target("a.example"), &[], 1);
        assert_eq!(other.find(&target("a.example")), Some(Known::Nothing));
        table.keep(&target("a.example"), &places(), 0);
        assert_eq!(other.find(&target("a.example")), None, "it holds no more");
    }

    #[test]
    fn a_row_that_is_not_whole_counts_as_none() {
        let table = table();
        table.keep(&target("a.example"), &places(), 60);
        for place in 0..WORDS {
            let word = table.words[place].load(Relaxed);
            if word != 0 {
                table.words[place].store(word ^ 1 << 40, Relaxed);
                assert_eq!(table.find(&target("a.example")), None);
                table.words[place].store(word, Relaxed);
            }
        }
        assert!(table.find(&target("a.example")).is_some());
    }

    #[test]
    fn it_is_bounded_and_what_holds_longest_stays() {
        let table = table();
        for number in 0..4 * ROWS as u64 {
            table.keep(
                &target(&format!("n{number}.example")),
                &places(),
                60 + number,
            );
        }
        let known = |number: &usize| table.find(&target(&format!("n{number}.example"))).is_some();
        let kept = (0..4 * ROWS).filter(known).count();
        assert!(kept > ROWS / 2 && kept <= ROWS, "{kept}");
        assert!(known(&(4 * ROWS - 1)));
    }
}
