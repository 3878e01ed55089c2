//! Who may dial a load balancer, and how much: source ranges, and limits of new flows and packets.

use crate::abi;
use crate::net::{Ipv4, Ipv6};

/// What a prefix of SOURCES_V4 or SOURCES_V6 covers: the index of a load balancer, then addresses. The longest
/// prefix that covers a client decides.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SourceKey<A> {
    /// Index of the load balancer, as [`ListenerValue::balancer`](crate::listener::ListenerValue::balancer),
    /// most significant byte first; eight bytes, so that the address is aligned where the whole is.
    pub balancer: [u8; 8],
    /// The client.
    pub address: A,
}

impl<A> SourceKey<A> {
    /// The bits of the load balancer's index, which every prefix has.
    pub const BALANCER_BITS: u32 = 64;
    /// The bits of a key as a whole.
    pub const BITS: u32 = 8 * size_of::<Self>() as u32;

    /// Of a client of a load balancer.
    #[inline(always)]
    pub const fn new(balancer: u32, address: A) -> Self {
        Self { balancer: (balancer as u64).to_be_bytes(), address }
    }
}

/// Value of SOURCES: clients may dial. A client that no prefix covers may, too.
pub const ALLOWED: u32 = 1;
/// Value of SOURCES: clients may not.
pub const DENIED: u32 = 2;

/// A limit as a token bucket: a token is earned in each interval, and those of a second are saved up at most.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Rate {
    /// Tokens a second, as it was asked for; 0: no limit.
    pub per_second: u32,
    /// Nanoseconds a token.
    pub interval: u32,
}

impl Rate {
    /// The greatest limit: an interval is a whole number of nanoseconds.
    pub const MAX_PER_SECOND: u32 = 10_000_000;
    /// Nanoseconds that a full bucket is worth.
    const BURST: u64 = 1_000_000_000;

    /// So many a second, and as many in a burst; 0 is no limit.
    #[inline(always)]
    pub const fn new(per_second: u32) -> Self {
        match (Self::BURST as u32).checked_div(per_second) {
            Some(interval) => Self { per_second, interval },
            None => Self { per_second: 0, interval: 0 },
        }
    }

    /// There is no limit.
    #[inline(always)]
    pub const fn is_unlimited(self) -> bool {
        self.per_second == 0
    }

    /// Takes a token at `now` from the bucket whose tokens are spent until `spent_until` (nanoseconds since
    /// boot; 0 is a full bucket). Gives the time until which they are spent then, `None` if there is none to
    /// take. This is the generic cell rate algorithm: the whole bucket is one word.
    #[inline(always)]
    pub const fn take(self, spent_until: u64, now: u64) -> Option<u64> {
        let from = if spent_until > now { spent_until } else { now };
        let until = from.wrapping_add(self.interval as u64);
        if until.wrapping_sub(now) > Self::BURST { None } else { Some(until) }
    }
}

/// Value of LIMITS; the key is the index of a load balancer.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LimitsValue {
    /// New flows of all clients together.
    pub flows: Rate,
    /// Packets from all clients together.
    pub packets: Rate,
    /// New flows of each client.
    pub source_flows: Rate,
    /// Packets from each client.
    pub source_packets: Rate,
}

/// Value of SPENT and of SOURCES_SPENT_V4 and SOURCES_SPENT_V6: the token buckets' words, see [`Rate::take`].
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Spent {
    /// Of new flows.
    pub flows: u64,
    /// Of packets.
    pub packets: u64,
}

abi!(SourceKey<Ipv4>, 12);
abi!(SourceKey<Ipv6>, 24);
abi!(Rate, 8);
abi!(LimitsValue, 32);
abi!(Spent, 16);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// How many tokens are granted to somebody who asks every `pause` nanoseconds for `seconds`.
    fn granted(rate: Rate, pause: u64, seconds: u64) -> u64 {
        let mut spent_until = 0;
        let mut granted = 0;
        let begin = 50 * SECOND;
        for now in (begin..begin + seconds * SECOND).step_by(usize::try_from(pause).unwrap()) {
            if let Some(until) = rate.take(spent_until, now) {
                spent_until = until;
                granted += 1;
            }
        }
        granted
    }

    #[test]
    fn a_burst_of_a_second_is_granted_and_then_the_rate() {
        let rate = Rate::new(1000);
        assert_eq!(granted(rate, 100_000, 1), 1999);
        assert_eq!(granted(rate, 100_000, 10), 10_999);
        assert_eq!(granted(rate, 2_000_000, 10), 5000, "who asks for less gets it all");
    }

    #[test]
    fn a_bucket_that_rests_is_full_again_and_not_fuller() {
        let rate = Rate::new(10);
        let spent = (0..10).try_fold(0, |spent, _| rate.take(spent, 5 * SECOND)).unwrap();
        assert_eq!(rate.take(spent, 5 * SECOND), None);
        let later = 500 * SECOND;
        let mut spent = spent;
        for _ in 0..10 {
            spent = rate.take(spent, later).unwrap();
        }
        assert_eq!(rate.take(spent, later), None);
    }

    #[test]
    fn the_greatest_and_the_smallest_rate_are_exact_enough() {
        assert_eq!(Rate::new(Rate::MAX_PER_SECOND).interval, 100);
        let once = Rate::new(1);
        assert!(once.take(0, SECOND).is_some_and(|spent| once.take(spent, SECOND).is_none()));
        assert_eq!(Rate::new(0), Rate::default());
    }
}
