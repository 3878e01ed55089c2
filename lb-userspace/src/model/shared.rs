//! Maps whose versions share their values: what differs between two of them is found by pointers.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A key, and what each of two versions has there.
pub type Difference<'a, K, V> = (&'a K, Option<&'a Arc<V>>, Option<&'a Arc<V>>);

/// Where two versions of a map share nothing, in the order of the keys. Neither has one value at two keys.
pub fn differing<'a, K: Ord, V>(
    before: &'a BTreeMap<K, Arc<V>>,
    after: &'a BTreeMap<K, Arc<V>>,
) -> Vec<Difference<'a, K, V>> {
    let mut differing = Vec::new();
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let (old, new) = (before.peek().copied(), after.peek().copied());
        let order = match (old, new) {
            (None, None) => return differing,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            // Of what is shared, the keys are not even looked at.
            (Some((_, old)), Some((_, new))) if Arc::ptr_eq(old, new) => {
                before.next();
                after.next();
                continue;
            }
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let old = if order.is_le() { before.next() } else { None };
        let new = if order.is_ge() { after.next() } else { None };
        if let Some((key, _)) = new.or(old) {
            differing.push((key, old.map(|(_, value)| value), new.map(|(_, value)| value)));
        }
    }
}

/// Takes from an earlier version what is as it was there.
pub fn share<K: Ord, V: PartialEq>(after: &mut BTreeMap<K, Arc<V>>, before: &BTreeMap<K, Arc<V>>) {
    for (key, value) in after {
        if let Some(known) = before.get(key).filter(|known| *known == value) {
            *value = Arc::clone(known);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Map = BTreeMap<u8, Arc<u8>>;

    /// A map, and one that shares with it what is as it was.
    fn versions() -> impl Strategy<Value = (Map, Map)> {
        let values = || proptest::collection::btree_map(0_u8..8, 0_u8..3, 0..8);
        (values(), values()).prop_map(|(before, after)| {
            let before: Map = before.into_iter().map(|(key, value)| (key, Arc::new(value))).collect();
            let mut after: Map = after.into_iter().map(|(key, value)| (key, Arc::new(value))).collect();
            share(&mut after, &before);
            (before, after)
        })
    }

    proptest! {
        #[test]
        fn what_differs_is_told_with_both_values((before, after) in versions()) {
            let keys = before.keys().chain(after.keys()).copied();
            let keys: std::collections::BTreeSet<u8> = keys.collect();
            let expected: Vec<_> = keys
                .iter()
                .map(|key| (key, before.get(key), after.get(key)))
                .filter(|(_, old, new)| old != new)
                .collect();
            prop_assert_eq!(differing(&before, &after), expected);
        }
    }
}
