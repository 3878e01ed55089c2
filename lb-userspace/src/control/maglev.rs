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

    let mut table = vec![0; slots as usize];
    let mut free = Free::all(slots);
    loop {
        for turn in &mut turns {
            turn.count += turn.weight;
            if turn.count < greatest {
                continue;
            }
            turn.count -= greatest;
            let Some(slot) = free.claim(turn) else { return table };
            if let Some(entry) = table.get_mut(slot as usize) {
                *entry = turn.position;
            }
        }
    }
}

/// Slots that nobody has claimed.
struct Free {
    /// Whether each slot is one.
    each: Vec<bool>,
    /// How many are claimed until there are but few.
    until_few: u32,
    /// All of them, from then on.
    few: Vec<u32>,
}

impl Free {
    fn all(slots: u32) -> Self {
        Self { each: vec![true; slots as usize], until_few: slots - slots.isqrt(), few: Vec::new() }
    }

    /// Gives a member the next one of its permutation. Two steps of three would lead to the last slots, past those of
    /// others: of few, the nearest is looked for among them.
    fn claim(&mut self, turn: &mut Turn) -> Option<u32> {
        if self.until_few == 0 {
            let (nearest, _) = self.few.iter().enumerate().min_by_key(|(_, slot)| turn.distance(**slot))?;
            return Some(self.few.swap_remove(nearest));
        }
        let slot = turn.walk(&mut self.each);
        self.until_few -= 1;
        if self.until_few == 0 {
            let free = (0..).zip(&self.each).filter(|(_, is_free)| **is_free);
            self.few = free.map(|(slot, _)| slot).collect();
        }
        slot
    }
}

/// Where a member stands in its permutation of the slots.
struct Turn {
    position: u32,
    weight: u32,
    count: u32,
    slot: u32,
    skip: u32,
    /// From the first slot of the permutation to slot 0.
    to_first: u32,
    /// How far the next slot is, as [`Turn::distance`] has it.
    each: u64,
}

impl Turn {
    fn new(position: u32, member: &Member, slots: u32, seed: u64) -> Self {
        let hash = hash(member.address, seed);
        let below = |bound: u32, word: u64| lb_common::maglev::slot(upper(word), bound);
        let (slot, skip) = (below(slots, hash), below(slots - 1, mix(hash)) + 1);
        let part = u64::MAX / u64::from(slots) + 1;
        Self {
            position,
            weight: member.weight,
            count: 0,
            slot,
            skip,
            to_first: slots - slot,
            each: inverse(skip, slots).wrapping_mul(part),
        }
    }

    /// Takes the next free slot of the permutation. Four are looked at together: one by one, each would wait for what
    /// comes of the one before.
    fn walk(&mut self, is_free: &mut [bool]) -> Option<u32> {
        let slots = u32::try_from(is_free.len()).unwrap_or(u32::MAX);
        let step = |from: u32, by: u32| (from + by).min((from + by).wrapping_sub(slots));
        let two = step(self.skip, self.skip);
        let four = step(two, two);
        // The size is a prime, so that many steps visit every slot.
        for _ in 0..slots {
            let second = step(self.slot, self.skip);
            let next = [self.slot, second, step(self.slot, two), step(second, two)];
            let mut free = 0;
            for (place, slot) in next.iter().enumerate() {
                free |= u32::from(*is_free.get(*slot as usize)?) << place;
            }
            if let Some(&slot) = next.get(free.trailing_zeros() as usize) {
                *is_free.get_mut(slot as usize)? = false;
                self.slot = step(slot, self.skip);
                return Some(slot);
            }
            self.slot = step(self.slot, four);
        }
        None
    }

    /// How far a slot is from the first one, along the permutation: of 2⁶⁴, which is all the way. The product has the
    /// remainder of a division in its upper bits (Lemire, Kaser and Kurz, 2019). A slot that is free has not been
    /// passed, so no other start is needed.
    const fn distance(&self, slot: u32) -> u64 {
        ((slot + self.to_first) as u64).wrapping_mul(self.each)
    }
}

/// By what a number is multiplied to give 1, modulo a prime.
fn inverse(number: u32, prime: u32) -> u64 {
    let prime = i64::from(prime);
    let (mut rest, mut next) = (prime, i64::from(number));
    let (mut factor, mut following) = (0, 1);
    while next > 0 {
        let times = rest / next;
        (rest, next) = (next, rest - times * next);
        (factor, following) = (following, factor - times * following);
    }
    factor.rem_euclid(prime).cast_unsigned()
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

    /// The rule, word by word.
    fn by_the_rule(members: &[Member], slots: u32, seed: u64) -> Vec<u32> {
        let greatest = members.iter().map(|member| member.weight).max().unwrap_or_default();
        let mut table = vec![None; slots as usize];
        let mut counts = vec![0; members.len()];
        let mut steps = vec![0; members.len()];
        for position in (0..members.len()).cycle() {
            if table.iter().all(Option::is_some) {
                break;
            }
            counts[position] += members[position].weight;
            if counts[position] < greatest {
                continue;
            }
            counts[position] -= greatest;
            let turn = Turn::new(0, &members[position], slots, seed);
            let slot = |step: usize| (turn.slot as usize + step * turn.skip as usize) % slots as usize;
            while table[slot(steps[position])].is_some() {
                steps[position] += 1;
            }
            table[slot(steps[position])] = u32::try_from(position).ok();
        }
        table.into_iter().flatten().collect()
    }

    #[test]
    fn the_largest_table_is_by_the_rule() {
        let members = members(&[7, 1, 3, 256, 90]);
        assert_eq!(table(&members, 65_537, 11), by_the_rule(&members, 65_537, 11));
    }

    /// Tables of versions before this one: another rule would move flows at an upgrade.
    #[test]
    fn tables_stay_what_they_are() {
        for (slots, expected) in [
            (251, 0x25e2_9ad0_9011_e74a),
            (1021, 0xb5f2_16f7_a762_0b2b),
            (4093, 0x97da_d8fb_d2e0_cbb1),
            (16_381, 0xd0f2_9ba8_ede1_a4ff),
            (65_537, 0xfb96_2869_74a6_a8c8),
        ] {
            let table = table(&members(&[1, 2, 3, 4, 5, 0, 7]), slots, 7);
            let digest = table.iter().fold(0, |digest, &position| mix(digest ^ u64::from(position)));
            assert_eq!(digest, expected, "{slots} slots");
        }
    }

    proptest! {
        #[test]
        fn tables_are_by_the_rule(weights in proptest::collection::vec(0_u32..=5, 1..40), seed: u64) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let members = members(&weights);
            prop_assert_eq!(table(&members, 251, seed), by_the_rule(&members, 251, seed));
            prop_assert_eq!(table(&members, 1021, seed), by_the_rule(&members, 1021, seed));
        }

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
