//! Accepted connections that have not named a session yet, and which of them is closed for another
//! one.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::id_map::IdMap;
use crate::msrp_session::ConnectionId;
use crate::shared::Source;

/// Their number is limited in total and for each source, so that a source that keeps opening
/// connections closes only its own.
#[derive(Debug)]
pub(super) struct Unbound {
    max: usize,
    max_per_source: usize,
    sources: IdMap<ConnectionId, Source>,
    /// Connections of each source, oldest first.
    by_source: HashMap<Source, BTreeSet<ConnectionId>>,
    /// Sources by number of connections.
    by_count: BTreeSet<(usize, Source)>,
}

impl Unbound {
    /// No connections yet. At most `max`, and `max_per_source` of one source; 0: only the total
    /// limit applies.
    pub(super) fn new(max: usize, max_per_source: usize) -> Self {
        Unbound {
            max,
            max_per_source: match max_per_source {
                0 => max,
                limit => limit,
            },
            sources: IdMap::default(),
            by_source: HashMap::new(),
            by_count: BTreeSet::new(),
        }
    }

    /// The number of connections.
    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    /// The connection to close before another one from this address is accepted: the oldest of its
    /// own source if that has its share, otherwise of the source with most connections.
    pub(super) fn in_the_way_of(&self, address: IpAddr) -> Option<ConnectionId> {
        let own = Source::of(address);
        let source = match self.count(own) >= self.max_per_source {
            true => own,
            false if self.len() >= self.max => self.by_count.last()?.1,
            false => return None,
        };
        self.by_source.get(&source)?.first().copied()
    }

    pub(super) fn insert(&mut self, id: ConnectionId, address: IpAddr) {
        let source = Source::of(address);
        self.remove(id);
        self.sources.insert(id, source);
        let before = self.count(source);
        self.by_source.entry(source).or_default().insert(id);
        self.counted(source, before);
    }

    /// The connection has named a session, or is closed.
    pub(super) fn remove(&mut self, id: ConnectionId) {
        let Some(source) = self.sources.remove(&id) else {
            return;
        };
        let before = self.count(source);
        if let Some(of_source) = self.by_source.get_mut(&source) {
            of_source.remove(&id);
            if of_source.is_empty() {
                self.by_source.remove(&source);
            }
        }
        self.counted(source, before);
    }

    /// All are closed.
    pub(super) fn clear(&mut self) {
        self.sources.clear();
        self.by_source.clear();
        self.by_count.clear();
    }

    fn count(&self, source: Source) -> usize {
        self.by_source.get(&source).map_or(0, BTreeSet::len)
    }

    fn counted(&mut self, source: Source, before: usize) {
        self.by_count.remove(&(before, source));
        let now = self.count(source);
        if now > 0 {
            self.by_count.insert((now, source));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    /// Adds one, as the relay does. Returns the one that had to be closed.
    fn take_in(unbound: &mut Unbound, id: u64, last: u8) -> Option<u64> {
        let closed = unbound.in_the_way_of(address(last));
        if let Some(closed) = closed {
            unbound.remove(closed);
        }
        unbound.insert(ConnectionId(id), address(last));
        closed.map(|id| id.0)
    }

    #[test]
    fn a_source_beyond_its_share_closes_its_own() {
        let mut unbound = Unbound::new(100, 3);
        assert_eq!(take_in(&mut unbound, 1, 7), None);
        for id in 2..5 {
            assert_eq!(take_in(&mut unbound, id, 1), None);
        }
        assert_eq!(take_in(&mut unbound, 5, 1), Some(2));
        assert_eq!(take_in(&mut unbound, 6, 1), Some(3));
        assert_eq!(take_in(&mut unbound, 7, 7), None);
        // A connection that has named a session no longer counts.
        unbound.remove(ConnectionId(4));
        assert_eq!(take_in(&mut unbound, 8, 1), None);
        assert_eq!(unbound.len(), 5);
    }

    #[test]
    fn where_all_are_too_many_the_source_that_has_most_makes_room() {
        let mut unbound = Unbound::new(4, 0);
        for (id, last) in [(1, 1), (2, 2), (3, 2), (4, 3)] {
            assert_eq!(take_in(&mut unbound, id, last), None);
        }
        assert_eq!(take_in(&mut unbound, 5, 4), Some(2));
        assert_eq!(unbound.len(), 4);
        unbound.clear();
        assert_eq!(unbound.len(), 0);
        assert_eq!(take_in(&mut unbound, 6, 1), None);
    }

    #[test]
    fn any_sequence_keeps_the_books() {
        let mut unbound = Unbound::new(8, 3);
        let mut random = fastrand::Rng::with_seed(1);
        for id in 0..5_000 {
            match random.u64(..3) {
                0 => unbound.remove(ConnectionId(random.u64(..=id))),
                _ => drop(take_in(&mut unbound, id, random.u8(..5))),
            }
            let counts: Vec<usize> = unbound.by_source.values().map(BTreeSet::len).collect();
            assert!(unbound.len() <= 8 && counts.iter().all(|count| (1..=3).contains(count)));
            assert_eq!(counts.iter().sum::<usize>(), unbound.len());
            assert_eq!(unbound.by_count.len(), counts.len());
        }
    }
}
