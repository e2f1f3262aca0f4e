//! Maps by our own ids. Each event of a connection looks several of them up, and the hash of the
//! standard library, made for keys that peers choose, takes longer than the rest of a lookup.

use rustc_hash::{FxHashMap, FxHashSet};

/// A map by ids that peers have no say in: counted up, or made of our random numbers.
pub(super) type IdMap<K, V> = FxHashMap<K, V>;
/// A set of such ids.
pub(super) type IdSet<K> = FxHashSet<K>;
