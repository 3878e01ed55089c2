//! Limits of new flows and packets, of a load balancer and of each of its clients.
//!
//! A token bucket is one word, changed by compare-and-swap, so a limit holds over all CPUs.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::btf_maps::{Array, LruHashMap};
use aya_ebpf::macros::btf_map;
use lb_common::backend::{BackendValue, LIMITED};
use lb_common::flow::FlowKey;
use lb_common::listener::{self, ListenerValue};
use lb_common::map;
use lb_common::net::{Ipv4, Ipv6};
use lb_common::policy::{LimitsValue, Rate, SourceKey, Spent};
use lb_common::reason::Reason;

use super::{Clients, guard};
use crate::config::{Clock, nanoseconds};
use crate::flow::slot::compare_and_swap;

/// By the index of a load balancer; written by the agent, before the listeners and backends that say so are
/// limited.
#[btf_map]
static LIMITS: Array<LimitsValue, { map::MAX_BALANCERS as usize }> = Array::new();

/// By the index of a load balancer, shared by all CPUs; the agent does not write it. What an earlier load
/// balancer of the same index has left is earned back within a second.
#[btf_map]
static SPENT: Array<Spent, { map::MAX_BALANCERS as usize }> = Array::new();

/// By load balancer and client, shared by all CPUs. When it is full, the kernel forgets the client that was
/// silent the longest, who then has full buckets again.
#[btf_map]
static SOURCES_SPENT_V4: LruHashMap<SourceKey<Ipv4>, Spent, { map::MAX_SOURCES_SPENT as usize }> =
    LruHashMap::new();

/// As [`SOURCES_SPENT_V4`].
#[btf_map]
static SOURCES_SPENT_V6: LruHashMap<SourceKey<Ipv6>, Spent, { map::MAX_SOURCES_SPENT as usize }> =
    LruHashMap::new();

/// Compare-and-swaps of one bucket that may fail. Only tokens that were granted change a bucket, so failures in
/// a row are rare, and the token is granted then.
const RACES: u32 = 4;

/// Who is at the end of a limit.
const GRANTED: u32 = 0;
const BALANCER: u32 = 1;
const SOURCE: u32 = 2;

/// May another flow begin?
///
/// # Errors
///
/// `SourceLimited`, `BalancerLimited`, `NodeLimited`.
#[inline(always)]
pub fn flow_granted<A: Clients>(
    key: &FlowKey<A>,
    listener: &ListenerValue,
    clock: &Clock,
) -> Result<(), Reason> {
    if listener.flags & listener::LIMITED != 0 {
        settle(granted(key.source, listener.balancer, flows))?;
    }
    guard::entry_granted(clock)
}

/// May another packet go to a backend?
///
/// # Errors
///
/// `SourceLimited`, `BalancerLimited`.
#[inline(always)]
pub fn packet_granted<A: Clients>(client: A, backend: &BackendValue) -> Result<(), Reason> {
    if backend.flags & LIMITED == 0 {
        return Ok(());
    }
    settle(client.packet_granted(u32::from(backend.balancer)))
}

/// [`Clients::packet_granted`] for IPv4: a global function, which the verifier checks once, by itself.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn lb_packet_granted_v4(balancer: u32, client: u32) -> u32 {
    granted(Ipv4(client.to_ne_bytes()), balancer, packets)
}

/// [`Clients::packet_granted`] for IPv6, of a client's network as the machine loads it: a global function, too.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn lb_packet_granted_v6(balancer: u32, network: u64) -> u32 {
    let [a, b, c, d, e, f, g, h] = network.to_ne_bytes();
    granted(Ipv6::new([a, b, c, d, e, f, g, h, 0, 0, 0, 0, 0, 0, 0, 0]), balancer, packets)
}

/// A macro rather than a function: a map of the other family is another type.
macro_rules! spent {
    ($map:ident, $key:ident) => {{
        if let Some(spent) = $map.get_ptr_mut($key) {
            return Some(spent);
        }
        // Another CPU may have been quicker: then its entry is found.
        let _ = $map.insert($key, &FULL, u64::from(BPF_NOEXIST));
        $map.get_ptr_mut($key)
    }};
}

/// Full token buckets: not on the stack, where the compiler has a function zero them, for whose frame Linux 6.1 finds
/// no room.
static FULL: Spent = Spent { flows: 0, packets: 0 };

#[inline(always)]
pub(super) fn spent_v4(key: &SourceKey<Ipv4>) -> Option<*mut Spent> {
    spent!(SOURCES_SPENT_V4, key)
}

#[inline(always)]
pub(super) fn spent_v6(key: &SourceKey<Ipv6>) -> Option<*mut Spent> {
    spent!(SOURCES_SPENT_V6, key)
}

#[inline(always)]
fn settle(grant: u32) -> Result<(), Reason> {
    match grant {
        GRANTED => Ok(()),
        SOURCE => Err(Reason::SourceLimited),
        _ => Err(Reason::BalancerLimited),
    }
}

/// A kind of token: its bucket's word, and the rates of a client and of all clients together.
type Kind = fn(*mut Spent, &LimitsValue) -> (*mut u64, Rate, Rate);

#[inline(always)]
fn flows(spent: *mut Spent, limits: &LimitsValue) -> (*mut u64, Rate, Rate) {
    // SAFETY: the value of a map; the field is aligned and inside.
    (unsafe { &raw mut (*spent).flows }, limits.source_flows, limits.flows)
}

#[inline(always)]
fn packets(spent: *mut Spent, limits: &LimitsValue) -> (*mut u64, Rate, Rate) {
    // SAFETY: the value of a map; the field is aligned and inside.
    (unsafe { &raw mut (*spent).packets }, limits.source_packets, limits.packets)
}

/// A key at a place on the stack that suits the words in which it is written.
#[repr(C, align(8))]
struct Aligned<K>(K);

/// Takes the client's token, then that of all clients, so that one who exceeds its own limit takes nothing
/// from the others.
#[inline(always)]
fn granted<A: Clients>(client: A, balancer: u32, kind: Kind) -> u32 {
    let (Some(limits), Some(all)) = (LIMITS.get(balancer), SPENT.get_ptr_mut(balancer)) else {
        return GRANTED;
    };
    let now = nanoseconds();
    let (word, of_source, of_all) = kind(all, limits);
    if !of_source.is_unlimited()
        && let Some(own) = A::spent(&Aligned(SourceKey::new(balancer, client.subscriber())).0)
        && !take(kind(own, limits).0, of_source, now)
    {
        return SOURCE;
    }
    if take(word, of_all, now) { GRANTED } else { BALANCER }
}

#[inline(always)]
fn take(word: *mut u64, rate: Rate, now: u64) -> bool {
    if rate.is_unlimited() {
        return true;
    }
    for _ in 0..RACES {
        // SAFETY: a word of a map's value, aligned; volatile, as other CPUs write it.
        let spent = unsafe { word.read_volatile() };
        let Some(until) = rate.take(spent, now) else { return false };
        // SAFETY: as above.
        if unsafe { compare_and_swap(word, spent, until) } {
            return true;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_that_share_a_bucket_share_its_limit() {
        let rate = Rate::new(1000);
        let word = &mut 0_u64;
        let shared = std::sync::atomic::AtomicPtr::new(word);
        let granted: usize = std::thread::scope(|scope| {
            let asking = || {
                let word = shared.load(std::sync::atomic::Ordering::Relaxed);
                (0..100_000_u64).filter(|ask| take(word, rate, 5_000_000_000 + ask * 20_000)).count()
            };
            let cpus = [scope.spawn(asking), scope.spawn(asking)];
            cpus.into_iter().map(|cpu| cpu.join().unwrap()).sum()
        });
        // A burst of 1,000, then 2,000 in the two seconds that pass on the clocks.
        assert!((2999..=3100).contains(&granted), "{granted}");
    }
}
