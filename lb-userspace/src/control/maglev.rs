//! Maglev tables: which backend serves each slot (Eisenbud et al., NSDI '16, section 3.4).
//!
//! Weights follow the second scheme of Katran: a backend takes a slot when its turns, counted by weight, reach
//! the greatest weight. Shares are exact to a slot or two, whatever the size of the table.

use std::net::{IpAddr, SocketAddr};

/// One backend of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its server address and port: all that decides about its slots, beside the seed.
    pub address: SocketAddr,
    /// Its share relative to the others; 0 takes no slot.
    pub weight: u32,
}

/// Fills a table: for each slot the position in `members` of the backend that serves it. Empty where no member
/// has a weight.
///
/// `slots` is one of [`lb_common::maglev::SIZES`]. Members that come in the order of their addresses give the
/// same table on every node that shares `seed`.
pub fn table(members: &[Member], slots: u32, seed: u64) -> Vec<u32> {
    let Some(greatest) = members.iter().map(|member| member.weight).max().filter(|&weight| weight > 0) else {
        return Vec::new();
    };
    let mut turns: Vec<Turn> =
        (0..).zip(members).map(|(position, member)| Turn::new(position, member, slots, seed)).collect();
    turns.retain(|turn| turn.weight > 0);

    let mut table = vec![FREE; slots as usize];
    let mut free = table.len();
    while free > 0 {
        for turn in &mut turns {
            turn.count += turn.weight;
            if turn.count < greatest {
                continue;
            }
            turn.count -= greatest;
            turn.claim(&mut table);
            free -= 1;
            if free == 0 {
                break;
            }
        }
    }
    table
}

/// A slot that nobody has claimed.
const FREE: u32 = u32::MAX;

/// Where a member stands in its permutation of the slots.
struct Turn {
    position: u32,
    weight: u32,
    count: u32,
    slot: u32,
    skip: u32,
}

impl Turn {
    fn new(position: u32, member: &Member, slots: u32, seed: u64) -> Self {
        let hash = hash(member.address, seed);
        let below = |bound: u32, word: u64| lb_common::maglev::slot(upper(word), bound);
        Self {
            position,
            weight: member.weight,
            count: 0,
            slot: below(slots, hash),
            skip: below(slots - 1, mix(hash)) + 1,
        }
    }

    /// Takes the next free slot of the permutation. There is one, else [`table`] would have ended.
    fn claim(&mut self, table: &mut [u32]) {
        // The size is a prime, so that many steps visit every slot.
        for _ in 0..table.len() {
            let slot = self.slot as usize;
            self.slot += self.skip;
            if self.slot as usize >= table.len() {
                self.slot -= u32::try_from(table.len()).unwrap_or(u32::MAX);
            }
            if let Some(entry) = table.get_mut(slot)
                && *entry == FREE
            {
                *entry = self.position;
                return;
            }
        }
    }
}

/// The same on all nodes and in all versions, unlike the standard library's hashers.
fn hash(address: SocketAddr, seed: u64) -> u64 {
    let ip = match address.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let [a, b, c, d, e, f, g, h] = ip.segments().map(u64::from);
    let words = [a << 48 | b << 32 | c << 16 | d, e << 48 | f << 32 | g << 16 | h, u64::from(address.port())];
    words.iter().fold(seed, |state, word| mix(state ^ word))
}

/// One step of SplitMix64 (Steele, Lea and Flood, OOPSLA '14).
fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// The upper half: the lower ones of two chained steps share more.
fn upper(word: u64) -> u32 {
    u32::try_from(word >> 32).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "counts of slots are small")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn members(weights: &[u32]) -> Vec<Member> {
        let address = |host: u32| SocketAddr::from((Ipv4Addr::from(0xc612_0000 + host), 8080));
        (1..).zip(weights).map(|(host, &weight)| Member { address: address(host), weight }).collect()
    }

    fn shares(table: &[u32], members: usize) -> Vec<usize> {
        let mut shares = vec![0; members];
        for &position in table {
            shares[position as usize] += 1;
        }
        shares
    }

    #[test]
    fn weights_are_exact() {
        let table = table(&members(&[1, 2, 3, 4]), 16381, 7);
        assert_eq!(shares(&table, 4), [1638, 3276, 4914, 6553]);
    }

    #[test]
    fn a_member_without_weight_takes_nothing() {
        assert_eq!(shares(&table(&members(&[0, 5]), 251, 7), 2), [0, 251]);
        assert!(table(&members(&[0, 0]), 251, 7).is_empty());
        assert!(table(&[], 251, 7).is_empty());
    }

    #[test]
    fn another_seed_gives_another_table() {
        let members = members(&[1; 10]);
        assert_ne!(table(&members, 251, 1), table(&members, 251, 2));
    }

    /// The share of the other backends' slots that change hands when one of `n` goes.
    fn disruption(n: usize, slots: u32, seed: u64) -> f64 {
        let all = members(&vec![1; n]);
        let before = table(&all, slots, seed);
        let gone = all[n / 2];
        let rest: Vec<Member> = all.iter().copied().filter(|member| *member != gone).collect();
        let after = table(&rest, slots, seed);
        let pairs = before.iter().zip(&after).map(|(old, new)| (all[*old as usize], rest[*new as usize]));
        let others: Vec<_> = pairs.filter(|(old, _)| *old != gone).collect();
        others.iter().filter(|(old, new)| old != new).count() as f64 / others.len() as f64
    }

    /// Published and measured shares, plus half as slack. With three backends and a large table a dozen slots
    /// move, and chance decides: the median of some seeds is compared.
    #[test]
    fn removing_one_backend_disrupts_few_others() {
        let ceilings = [
            (3, 251, 0.008),
            (3, 4093, 0.0051),
            (3, 16381, 0.0006),
            (3, 65537, 0.0002),
            (10, 251, 0.064),
            (10, 4093, 0.012),
            (10, 16381, 0.0046),
            (10, 65537, 0.0020),
            (100, 251, 0.044),
            (100, 4093, 0.032),
            (100, 16381, 0.013),
            (100, 65537, 0.0061),
            (400, 4093, 0.013),
            (400, 16381, 0.013),
            (400, 65537, 0.0094),
        ];
        for (n, slots, ceiling) in ceilings {
            let mut runs: Vec<f64> = (0..15).map(|seed| disruption(n, slots, seed)).collect();
            runs.sort_by(f64::total_cmp);
            let moved = runs[runs.len() / 2];
            assert!(moved <= ceiling * 1.5, "{n} backends, {slots} slots: {moved}");
        }
    }

    proptest! {
        #[test]
        fn shares_follow_weights(weights in proptest::collection::vec(1_u32..=256, 1..20), seed: u64) {
            let slots = 4093_u32;
            let table = table(&members(&weights), slots, seed);
            let total: u32 = weights.iter().sum();
            for (share, weight) in shares(&table, weights.len()).iter().zip(&weights) {
                let exact = f64::from(slots) * f64::from(*weight) / f64::from(total);
                // Every member may hold back a part of a slot, which the others then share by weight.
                let held_back = weights.len() as f64 * f64::from(*weight) / f64::from(total);
                prop_assert!((*share as f64 - exact).abs() <= 1.0 + held_back, "{share} for {exact}");
            }
        }
    }
}
