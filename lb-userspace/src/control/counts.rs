//! How often each of several things is there.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Counts by what is counted; what is not there takes no room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Counts<K>(BTreeMap<K, u32>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Counts<K> {
    /// Counts one more. Tells whether it is the first.
    pub(super) fn add(&mut self, key: K) -> bool {
        let count = self.0.entry(key).or_default();
        *count += 1;
        *count == 1
    }

    /// Counts one less, if there is any. Tells whether it was the last.
    pub(super) fn remove(&mut self, key: K) -> bool {
        let Entry::Occupied(mut count) = self.0.entry(key) else { return false };
        *count.get_mut() -= 1;
        let is_last = *count.get() == 0;
        if is_last {
            count.remove();
        }
        is_last
    }

    /// Whether there is any.
    pub(super) fn contains(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_are_told() {
        let mut counts = Counts::default();
        assert!(!counts.remove('a'), "there is none");
        assert_eq!([counts.add('a'), counts.add('b'), counts.add('a')], [true, true, false]);
        assert!(!counts.remove('a') && counts.contains(&'a'));
        assert!(counts.remove('a') && !counts.contains(&'a'));
        assert!(counts.contains(&'b') && counts.add('a'));
    }
}
