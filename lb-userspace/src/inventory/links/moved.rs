//! What differs between two snapshots of the network.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::iter;
use std::net::IpAddr;

use lb_common::net::Mac;

use super::model::Topology;

/// Who is reached otherwise than before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Moved {
    /// These alone.
    These {
        /// To which the way is another, or the next hop on it, or where that is.
        addresses: BTreeSet<IpAddr>,
        /// Which a bridge has behind another port: whoever has one of these MACs need not have an address in its network.
        stations: BTreeSet<Mac>,
    },
    /// Maybe everyone.
    Any,
}

impl Moved {
    const NOBODY: Self = Self::These { addresses: BTreeSet::new(), stations: BTreeSet::new() };
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
            return Moved::NOBODY;
        }
        // Of what was not published, there may be several.
        let is_next = before.step.number != 0 && self.step.number == before.step.number + 1;
        if is_next { self.step.moved.clone() } else { self.compared_with(before) }
    }

    fn compared_with(&self, before: &Self) -> Moved {
        let Self { links, stations, neighbours, default_routes, paths, settled, step: _ } = self;
        if (links, default_routes) != (&before.links, &before.default_routes) {
            return Moved::Any;
        }
        let moved = others(before.paths.iter(), paths.iter());
        let turned = others(before.settled.iter(), settled.iter());
        let mut addresses: BTreeSet<IpAddr> = moved.chain(turned).copied().collect();
        let hops: BTreeSet<&(u32, IpAddr)> = others(before.neighbours.iter(), neighbours.iter()).collect();
        let stations: BTreeSet<Mac> = others(before.stations.iter(), stations.iter()).copied().collect();
        if !hops.is_empty() || !stations.is_empty() {
            let is_moved = |mac: &Mac| stations.contains(mac);
            let is_led = |hop| hops.contains(&hop) || neighbours.get(&hop).is_some_and(is_moved);
            let led = paths.iter().filter(|&(address, path)| is_led(path.next_hop(*address)));
            addresses.extend(led.map(|(address, _)| *address));
        }
        Moved::These { addresses, stations }
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

    const fn mac(last: u8) -> Mac {
        Mac([2, 0, 0, 0, 1, last])
    }

    /// By the last bytes of addresses: the interfaces of their paths and the last bytes of their gateways, those of the MACs
    /// of neighbours by interface, and which are settled; ports behind which MACs are, and an interface of a default route.
    fn topology() -> impl Strategy<Value = Topology> {
        let gateway = proptest::option::weighted(0.3, 0_u8..6);
        let paths = proptest::collection::btree_map(0_u8..6, (1_u32..3, gateway), 0..5);
        let neighbours = proptest::collection::btree_map((1_u32..3, 0_u8..6), 0_u8..4, 0..9);
        let stations = proptest::collection::btree_map(0_u8..4, 7_u32..9, 0..4);
        let settled = proptest::collection::btree_set(0_u8..6, 0..5);
        let all = (paths, neighbours, stations, settled, proptest::bool::weighted(0.1));
        all.prop_map(|(paths, neighbours, stations, settled, is_default)| Topology {
            paths: paths
                .iter()
                .map(|(last, &(ifindex, gateway))| {
                    (address(*last), Path { ifindex, gateway: gateway.map(address) })
                })
                .collect(),
            neighbours: neighbours
                .into_iter()
                .map(|((ifindex, at), last)| ((ifindex, address(at)), mac(last)))
                .collect(),
            stations: stations.into_iter().map(|(last, port)| (mac(last), [(3, port)].into())).collect(),
            settled: settled.iter().map(|last| (address(*last), ())).collect(),
            default_routes: is_default.then_some(1).into_iter().collect(),
            ..Topology::default()
        })
    }

    /// All that is known of the way to an address.
    fn way(topology: &Topology, last: u8) -> impl PartialEq {
        let (at, hop) = (address(last), topology.next_hop(address(last)));
        let station = hop.and_then(|mac| topology.stations.get(&mac).cloned());
        (topology.paths.get(&at).copied(), topology.settled.contains_key(&at), hop, station)
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
                    let is_other = |last: &u8| way(&seen, *last) != way(&published, *last);
                    let is_moved = |mac: &Mac| seen.stations.get(mac) != published.stations.get(mac);
                    Moved::These {
                        addresses: (0..6).filter(is_other).map(address).collect(),
                        stations: (0..4).map(mac).filter(is_moved).collect(),
                    }
                } else {
                    Moved::Any
                };
                prop_assert_eq!(published.moved_since(&seen), expected);
                seen = published.clone();
            }
        }
    }
}
