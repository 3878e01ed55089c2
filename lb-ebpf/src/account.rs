//! FLOW_STATS: what each flow carries, where the configuration wants to know.

use aya_ebpf::bindings::{BPF_ANY, BPF_F_NO_PREALLOC};
use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::macros::btf_map;
use lb_common::event::FlowStats;
use lb_common::flow::{FlowKey, OverflowKey};
use lb_common::map;
use lb_common::net::{Address, Be16, Ipv4, Ipv6, Protocol};
use lb_common::stats::Traffic;

use crate::config::exact_nanoseconds;
use crate::flow::Flows;
use crate::headers::Aligned;
use crate::order;
use crate::stats::add_in_one_step;

/// Addresses whose flows are accounted for.
pub trait Accounts: Flows {
    /// 4 or 6.
    const FAMILY: u32;

    /// What a flow has carried.
    fn stats(key: &OverflowKey<Self>) -> Option<*mut FlowStats>;

    /// Begins to count.
    fn begin(key: &OverflowKey<Self>, stats: &FlowStats);

    /// Counts no more.
    fn end(key: &OverflowKey<Self>);
}

macro_rules! accounts {
    ($address:ty: $family:literal, $map:ident) => {
        /// By the tuple of the forward half. An entry is made with the flow's, and taken away by who ends it: a
        /// packet, or the agent. When it is full, a flow is not counted.
        #[btf_map]
        static $map: HashMap<
            OverflowKey<$address>,
            FlowStats,
            { map::MAX_FLOW_STATS as usize },
            { BPF_F_NO_PREALLOC as usize },
        > = HashMap::new();

        impl Accounts for $address {
            const FAMILY: u32 = $family;

            #[inline(always)]
            fn stats(key: &OverflowKey<Self>) -> Option<*mut FlowStats> {
                $map.get_ptr_mut(&Aligned(*key).0)
            }

            #[inline(always)]
            fn begin(key: &OverflowKey<Self>, stats: &FlowStats) {
                // Without room, it is not counted.
                let _ = $map.insert(&Aligned(*key).0, stats, u64::from(BPF_ANY));
            }

            #[inline(always)]
            fn end(key: &OverflowKey<Self>) {
                // Another CPU may have been quicker.
                let _ = $map.remove(&Aligned(*key).0);
            }
        }
    };
}

accounts!(Ipv4: 4, FLOW_STATS_V4);
accounts!(Ipv6: 6, FLOW_STATS_V6);

/// A flow begins.
#[inline(always)]
pub fn begin<A: Accounts>(key: &FlowKey<A>) {
    A::begin(&OverflowKey::from(*key), &FlowStats { opened: exact_nanoseconds(), ..FlowStats::default() });
}

/// A flow is over: gives what it has carried, all zero where that was not counted.
#[inline(always)]
pub fn end<A: Accounts>(key: &FlowKey<A>) -> FlowStats {
    let key = OverflowKey::from(*key);
    let Some(stats) = A::stats(&key) else { return FlowStats::default() };
    // SAFETY: the value of a hash map, which the kernel does not free while the program runs; others may be adding
    // to it, which is what counting towards the end of a flow means.
    let carried = unsafe { stats.read() };
    A::end(&key);
    carried
}

/// Counts an IPv4 packet of `bytes` for the flow of which the client sends this tuple: addresses, both ports, and
/// protocol beside direction, 1 in the second byte towards the client. A global function, which the verifier checks
/// once, by itself; of numbers, as the fast path has no stack for more. Gives 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn lb_account_v4(client: u32, vip: u32, ports: u32, kind: u32, bytes: u32) -> u32 {
    let [a, b, c, d] = ports.to_ne_bytes();
    let key = OverflowKey {
        source: Ipv4(client.to_ne_bytes()),
        destination: Ipv4(vip.to_ne_bytes()),
        source_port: Be16([a, b]),
        destination_port: Be16([c, d]),
        protocol: kind as u8,
        padding: [0; 3],
    };
    count(&key, kind >> 8 != 0, bytes);
    0
}

/// Counts the IPv6 packet with which the order was carried out: a global function, too. Gives 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn lb_account_v6(bytes: u32) -> u32 {
    if let Ok(order) = order::noted() {
        count(&OverflowKey::from(order.dialled()), order.is_reply(), bytes);
    }
    0
}

/// [`lb_account_v4`], of a tuple.
#[inline(always)]
pub fn v4(key: &FlowKey<Ipv4>, reply: bool, bytes: u32) {
    let (Be16([a, b]), Be16([c, d])) = (key.source_port, key.destination_port);
    let protocol = match key.protocol {
        Protocol::Tcp | Protocol::Udp => u32::from(key.protocol.number()),
    };
    let kind = protocol | u32::from(reply) << 8;
    lb_account_v4(key.source.word(0), key.destination.word(0), u32::from_ne_bytes([a, b, c, d]), kind, bytes);
}

#[inline(always)]
fn count<A: Accounts>(key: &OverflowKey<A>, reply: bool, bytes: u32) {
    let Some(stats) = A::stats(key) else { return };
    // SAFETY: the value of a hash map, which the kernel does not free while the program runs; its counters are
    // changed in one step only.
    let stats = unsafe { &mut *stats };
    let Traffic { packets, bytes: sum } = if reply { &mut stats.reply } else { &mut stats.forward };
    // SAFETY: a field of the value.
    unsafe { add_in_one_step(packets, 1) };
    // SAFETY: as above.
    unsafe { add_in_one_step(sum, u64::from(bytes)) };
}
