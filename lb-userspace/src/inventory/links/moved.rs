//! What differs between two snapshots of the network.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::iter;
use std::net::IpAddr;

use super::model::Topology;

/// Who is reached otherwise than before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Moved {
    /// These alone.
    Addresses(BTreeSet<IpAddr>),
    /// Maybe everyone.
    Any,
}

/// How a snapshot came from the one that was published before it. It says nothing of the network: all are equal.
#[derive(Clone, Debug)]
pub struct Step {
    /// That of the snapshot, counted from 1; 0 while it is not published.
    number: u64,
    moved: Moved,
}

impl Default for Step {
    fn default() -> Self {
        Self { number: 0, moved: Moved::Any }
    }
}

impl PartialEq for Step {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Step {}

impl Topology {
    /// This snapshot, if it differs from the one that was published last, as the one that follows it.
    pub(super) fn following(&self, last: &Self) -> Option<Self> {
        if self == last {
            return None;
        }
        let step = Step { number: last.step.number + 1, moved: self.compared_with(last) };
        Some(Self { step, ..self.clone() })
    }

    /// Who is reached otherwise than in an earlier snapshot. An address that is new to a node of ten thousand concerns
    /// nobody else, and whoever has seen the snapshot before this one need not look for it.
    pub fn moved_since(&self, before: &Self) -> Moved {
        // Mostly it is the very same one.
        if std::ptr::eq(self, before) {
            return Moved::Addresses(BTreeSet::new());
        }
        // Of what was not published, there may be several.
        let is_next = before.step.number != 0 && self.step.number == before.step.number + 1;
        if is_next { self.step.moved.clone() } else { self.compared_with(before) }
    }

    fn compared_with(&self, before: &Self) -> Moved {
        let Self { links, stations, neighbours, default_routes, paths, settled, step: _ } = self;
        let is_same = (links, stations, default_routes, neighbours)
            == (&before.links, &before.stations, &before.default_routes, &before.neighbours);
        if !is_same {
            return Moved::Any;
        }
        let moved = others(before.paths.iter(), paths.iter());
        let turned = others(before.settled.iter(), settled.iter());
        Moved::Addresses(moved.chain(turned).copied().collect())
    }
}

/// The keys at which two maps differ, both in the order of their keys.
fn others<'a, K: Ord + 'a, V: PartialEq + 'a>(
    before: impl Iterator<Item = (&'a K, &'a V)>,
    after: impl Iterator<Item = (&'a K, &'a V)>,
) -> impl Iterator<Item = &'a K> {
    let (mut before, mut after) = (before.peekable(), after.peekable());
    iter::from_fn(move || {
        // Mostly they are the same.
        while let Some(next) = before.peek()
            && after.next_if_eq(next).is_some()
        {
            before.next();
        }
        let order = match (before.peek(), after.peek()) {
            (Some((old, _)), Some((new, _))) => old.cmp(new),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        let old = if order.is_le() { before.next() } else { None };
        let new = if order.is_ge() { after.next() } else { None };
        new.or(old).map(|(key, _)| key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::links::Path;
    use proptest::prelude::*;

    const fn address(last: u8) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, last))
    }

    /// The last bytes of addresses with the interfaces of their paths, of those that are settled, and an interface of a
    /// default route.
    fn topology() -> impl Strategy<Value = Topology> {
        let paths = proptest::collection::btree_map(0_u8..6, 1_u32..3, 0..5);
        let settled = proptest::collection::btree_set(0_u8..6, 0..5);
        (paths, settled, proptest::bool::weighted(0.1)).prop_map(|(paths, settled, is_default)| Topology {
            paths: paths
                .iter()
                .map(|(last, &ifindex)| (address(*last), Path { ifindex, gateway: None }))
                .collect(),
            settled: settled.iter().map(|last| (address(*last), ())).collect(),
            default_routes: is_default.then_some(1).into_iter().collect(),
            ..Topology::default()
        })
    }

    proptest! {
        #[test]
        fn whoever_sees_each_snapshot_or_only_some_is_told_all_that_has_moved(
            all in proptest::collection::vec(topology(), 1..8), skipped in any::<u8>()
        ) {
            let mut published = Topology::default();
            let mut seen = published.clone();
            for (index, topology) in all.iter().enumerate() {
                let Some(next) = topology.following(&published) else {
                    prop_assert_eq!(topology, &published);
                    continue;
                };
                prop_assert_eq!(topology, &next);
                published = next;
                if skipped >> (index % 8) & 1 == 1 {
                    continue;
                }
                let expected = if seen.default_routes == published.default_routes {
                    let is_other = |last: &u8| {
                        let at = address(*last);
                        seen.paths.get(&at) != published.paths.get(&at)
                            || seen.settled.get(&at) != published.settled.get(&at)
                    };
                    Moved::Addresses((0..6).filter(is_other).map(address).collect())
                } else {
                    Moved::Any
                };
                prop_assert_eq!(published.moved_since(&seen), expected);
                seen = published.clone();
            }
        }
    }
}
