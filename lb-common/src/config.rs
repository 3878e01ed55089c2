//! CONFIG: the one entry that tunes the programs at run time.

use crate::abi;
use crate::hash::Secrets;
use crate::head::State;
use crate::net::Protocol;
use crate::policy::Rate;

/// Time in flows is counted in ticks of 2^31 ns (2.147 s), of which an entry keeps 16 bits: see
/// [`ConfigValue::tick`]. Time-outs are below half of that range, 19 hours.
pub const TICK_SHIFT: u32 = 31;

/// The greatest time-out, in ticks.
pub const MAX_TIMEOUT: u16 = 0x7fff;

/// Value of CONFIG.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ConfigValue {
    /// Keys the flow table's buckets; random for each set-up, kept while FLOWS lives.
    pub flow_secrets: Secrets,
    /// Keys the choice of a Maglev slot; the same on all nodes of a cluster.
    pub maglev_secrets: Secrets,
    /// What a jiffy of this kernel adds to a tick, in 2^-48 of it: [`tick_scale`].
    pub tick_scale: u64,
    /// Buckets of the flow table minus one; buckets are a power of two.
    pub bucket_mask: u32,
    /// TCP, SYN seen. Ticks, as all that follow.
    pub tcp_opening: u16,
    /// TCP, both directions seen.
    pub tcp_established: u16,
    /// TCP, both FINs or a RST seen.
    pub tcp_closing: u16,
    /// UDP before an answer.
    pub udp_opening: u16,
    /// UDP after an answer.
    pub udp_established: u16,
    /// [`EVENTS_WANTED`].
    pub flags: u16,
    /// New flows that each CPU enters.
    pub new_flows: Rate,
}

/// Somebody listens to EVENTS.
pub const EVENTS_WANTED: u16 = 1;

/// How much of a tick passes in a jiffy of so many nanoseconds, in 2^-48.
pub const fn tick_scale(jiffy: u64) -> u64 {
    jiffy << (48 - TICK_SHIFT)
}

impl ConfigValue {
    /// The tick when the kernel has counted so many jiffies (`bpf_jiffies64()`, which costs a load). Whole turns of 16
    /// bits fall off at the top.
    #[inline(always)]
    pub const fn tick(&self, jiffies: u64) -> u16 {
        (jiffies.wrapping_mul(self.tick_scale) >> 48) as u16
    }

    /// The time-out of a flow's half, in ticks.
    #[inline(always)]
    pub const fn timeout(&self, protocol: Protocol, state: State) -> u16 {
        match (protocol, state) {
            (_, State::Empty | State::Busy) => 0,
            // An answered SYN is half-open still: a flood of them must not stay.
            (Protocol::Tcp, State::Opening | State::Replied) => self.tcp_opening,
            (Protocol::Tcp, State::Established | State::Finished) => self.tcp_established,
            (Protocol::Tcp, State::Closing) => self.tcp_closing,
            (Protocol::Udp, State::Opening) => self.udp_opening,
            (Protocol::Udp, _) => self.udp_established,
        }
    }
}

/// Ticks by which something may have been seen after the clock was read: another CPU read it later, or whoever
/// walks the table read it before he began.
const SKEW: u16 = 16;

/// Ticks since `last_seen`, and [`SKEW`] more; ticks wrap. What was seen a moment after `now` is the youngest of all, and
/// not the oldest.
#[inline(always)]
pub const fn age(last_seen: u16, now: u16) -> u16 {
    now.wrapping_sub(last_seen).wrapping_add(SKEW)
}

/// Whether something last seen at `last_seen` is out at `now`.
#[inline(always)]
pub const fn expired(last_seen: u16, now: u16, timeout: u16) -> bool {
    age(last_seen, now) > timeout.wrapping_add(SKEW)
}

abi!(ConfigValue, 192);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_as_long_with_any_jiffy() {
        for hertz in [100, 250, 300, 1000] {
            let config =
                ConfigValue { tick_scale: tick_scale(1_000_000_000 / hertz), ..ConfigValue::default() };
            // Linux begins to count five minutes before 2^32.
            let start = (1 << 32) - 300 * hertz;
            let passed = |seconds: u64| config.tick(start + seconds * hertz).wrapping_sub(config.tick(start));
            assert!([46, 47].contains(&passed(100)), "{hertz}: {}", passed(100));
            assert!([33_527, 33_528].contains(&passed(72_000)), "{hertz}: {}", passed(72_000));
        }
    }

    #[test]
    fn ticks_wrap() {
        assert!(!expired(0xfffe, 3, 5));
        assert!(expired(0xfffe, 4, 5));
        assert!(!expired(7, 7, 0));
    }

    #[test]
    fn what_was_seen_after_the_clock_was_read_is_young() {
        for (last_seen, now) in [(8, 7), (0, 0xffff), (16, 0)] {
            assert!(!expired(last_seen, now, 0) && !expired(last_seen, now, MAX_TIMEOUT));
        }
        assert!(expired(0, MAX_TIMEOUT + 1, MAX_TIMEOUT) && expired(0, 0xffef, MAX_TIMEOUT));
    }
}
