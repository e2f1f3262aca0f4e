//! Maps keyed by our own ids. Each event of a connection looks up several of them, and the hash of
//! the standard library, designed for keys chosen by peers, takes longer than the rest of a lookup.

use rustc_hash::{FxHashMap, FxHashSet};

/// A map keyed by ids that peers do not control: counters, or our random numbers.
pub(super) type IdMap<K, V> = FxHashMap<K, V>;
/// A set of such ids.
pub(super) type IdSet<K> = FxHashSet<K>;
