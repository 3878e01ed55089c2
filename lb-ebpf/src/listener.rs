//! VIPs and their listeners.

use aya_ebpf::btf_maps::{HashMap, LpmTrie};
use aya_ebpf::macros::btf_map;
use lb_common::flow::FlowKey;
use lb_common::listener::{ListenerKey, ListenerRangeKey, ListenerValue};
use lb_common::map;
use lb_common::net::{Address, Ipv4, Ipv6};
use lb_common::vip::VipValue;

use crate::prefix::Whole;

/// The addresses that are ours. Written by the agent.
#[btf_map]
static VIPS_V4: HashMap<Ipv4, VipValue, { map::MAX_VIPS as usize }> = HashMap::new();

/// What is served there. Written by the agent, after the backends and tables that it names.
#[btf_map]
static LISTENERS_V4: HashMap<ListenerKey<Ipv4>, ListenerValue, { map::MAX_LISTENERS as usize }> =
    HashMap::new();

/// As [`VIPS_V4`].
#[btf_map]
static VIPS_V6: HashMap<Ipv6, VipValue, { map::MAX_VIPS as usize }> = HashMap::new();

/// As [`LISTENERS_V4`].
#[btf_map]
static LISTENERS_V6: HashMap<ListenerKey<Ipv6>, ListenerValue, { map::MAX_LISTENERS as usize }> =
    HashMap::new();

/// What is served on ranges of ports, cut into prefixes. Written by the agent, after the backends and tables that
/// it names.
#[btf_map]
static LISTENER_RANGES_V4: LpmTrie<
    ListenerRangeKey<Ipv4>,
    ListenerValue,
    { map::MAX_LISTENER_RANGES as usize },
> = LpmTrie::new();

/// As [`LISTENER_RANGES_V4`].
#[btf_map]
static LISTENER_RANGES_V6: LpmTrie<
    ListenerRangeKey<Ipv6>,
    ListenerValue,
    { map::MAX_LISTENER_RANGES as usize },
> = LpmTrie::new();

/// Addresses that can be VIPs.
pub trait Listeners: Address {
    /// The VIP with this address.
    fn vip(self) -> Option<VipValue>;

    /// The listener with this key.
    fn listener(key: &ListenerKey<Self>) -> Option<ListenerValue>;

    /// The listener whose range this port is in.
    fn range(key: ListenerRangeKey<Self>) -> Option<ListenerValue>;
}

impl Listeners for Ipv4 {
    #[inline(always)]
    fn vip(self) -> Option<VipValue> {
        // SAFETY: copied at once; the agent replaces values whole, and one that is recycled this very moment
        // belonged to a VIP until this very moment.
        unsafe { VIPS_V4.get(self) }.copied()
    }

    #[inline(always)]
    fn listener(key: &ListenerKey<Self>) -> Option<ListenerValue> {
        // SAFETY: as for VIPs.
        unsafe { LISTENERS_V4.get(key) }.copied()
    }

    #[inline(always)]
    fn range(key: ListenerRangeKey<Self>) -> Option<ListenerValue> {
        LISTENER_RANGES_V4.get(Whole::new(key).key()).copied()
    }
}

/// The listener that a packet dials: the one on this very port, else the one whose range it is in.
#[inline(always)]
pub fn dialled<A: Listeners>(key: &FlowKey<A>) -> Option<ListenerValue> {
    let (vip, port) = (key.destination, key.destination_port);
    A::listener(&ListenerKey::new(vip, port, key.protocol))
        .or_else(|| A::range(ListenerRangeKey::new(vip, port, key.protocol)))
}
