use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// Results for addresses, with a limit on the number of entries and their weight. When it is full,
/// the least recently used entries are removed.
#[derive(Debug)]
pub(super) struct Cache<V> {
    entries: HashMap<Rc<str>, Entry<V>>,
    /// Last use of each entry, counted in uses of the cache.
    by_use: BTreeMap<u64, Rc<str>>,
    uses: u64,
    weight: usize,
    max_entries: usize,
    max_weight: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    weight: usize,
    last_use: u64,
}

impl<V> Cache<V> {
    pub(super) fn new(max_entries: usize, max_weight: usize) -> Self {
        Self {
            entries: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            weight: 0,
            max_entries,
            max_weight,
        }
    }

    /// The value of an address; this counts as a use.
    pub(super) fn get(&mut self, address: &str) -> Option<&mut V> {
        let entry = self.entries.get_mut(address)?;
        self.uses += 1;
        if let Some(key) = self.by_use.remove(&entry.last_use) {
            self.by_use.insert(self.uses, key);
        }
        entry.last_use = self.uses;
        Some(&mut entry.value)
    }

    /// Adds or replaces a value. A value that alone exceeds the limit is not kept.
    pub(super) fn insert(&mut self, address: &str, value: V, weight: usize) {
        self.remove(address);
        if weight > self.max_weight || self.max_entries == 0 {
            return;
        }
        while self.entries.len() >= self.max_entries || self.weight + weight > self.max_weight {
            let Some(oldest) = self.by_use.values().next().cloned() else {
                break;
            };
            self.remove(&oldest);
        }
        let address: Rc<str> = address.into();
        self.uses += 1;
        self.weight += weight;
        self.by_use.insert(self.uses, Rc::clone(&address));
        let entry = Entry {
            value,
            weight,
            last_use: self.uses,
        };
        self.entries.insert(address, entry);
    }

    pub(super) fn remove(&mut self, address: &str) {
        if let Some(entry) = self.entries.remove(address) {
            self.by_use.remove(&entry.last_use);
            self.weight -= entry.weight;
        }
    }

    /// Removes all entries; returns how many there were.
    pub(super) fn clear(&mut self) -> usize {
        let count = self.entries.len();
        self.entries.clear();
        self.by_use.clear();
        self.weight = 0;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(cache: &Cache<u32>, address: &str) -> bool {
        cache.entries.contains_key(address)
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut cache = Cache::new(2, 100);
        cache.insert("a", 1, 1);
        cache.insert("b", 2, 1);
        assert_eq!(cache.get("a").copied(), Some(1));
        cache.insert("c", 3, 1);
        assert!(has(&cache, "a") && !has(&cache, "b") && has(&cache, "c"));
        cache.insert("a", 4, 1);
        assert_eq!(cache.get("a").copied(), Some(4));
        assert_eq!(cache.clear(), 2);
        assert!(cache.get("a").is_none());
    }

    #[test]
    fn weight_is_bounded() {
        let mut cache = Cache::new(100, 10);
        cache.insert("a", 1, 4);
        cache.insert("b", 2, 4);
        cache.insert("c", 3, 5);
        assert!(!has(&cache, "a") && has(&cache, "b") && has(&cache, "c"));
        cache.insert("b", 2, 11);
        assert!(!has(&cache, "b") && has(&cache, "c"));
        cache.insert("d", 4, 10);
        assert!(!has(&cache, "c") && has(&cache, "d"));
        let mut none = Cache::new(0, 10);
        none.insert("a", 1, 1);
        assert_eq!(none.clear(), 0);
    }

    #[test]
    fn any_sequence_keeps_the_limits() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut cache = Cache::new(8, 50);
        for _ in 0..5_000 {
            let address = random.u64(..20).to_string();
            match random.u64(..4) {
                0 => cache.remove(&address),
                1 => drop(cache.get(&address)),
                _ => cache.insert(&address, 0, random.usize(..60)),
            }
            assert!(cache.entries.len() <= 8 && cache.weight <= 50);
            assert_eq!(cache.entries.len(), cache.by_use.len());
            let sum: usize = cache.entries.values().map(|entry| entry.weight).sum();
            assert_eq!(cache.weight, sum);
        }
    }
}
