//! VIPs and their listeners.

use aya_ebpf::btf_maps::{HashMap, LpmTrie};
use aya_ebpf::macros::btf_map;
use lb_common::flow::FlowKey;
use lb_common::listener::{ListenerKey, ListenerRangeKey, ListenerValue};
use lb_common::map;
use lb_common::net::{Address, Ipv4, Ipv6};
use lb_common::vip::VipValue;

use crate::headers::Aligned;
use crate::prefix::Whole;

/// Addresses that can be VIPs.
pub trait Listeners: Address {
    /// The VIP with this address.
    fn vip(self) -> Option<VipValue>;

    /// The listener with this key.
    fn listener(key: &ListenerKey<Self>) -> Option<ListenerValue>;

    /// The listener whose range this port is in.
    fn range(key: ListenerRangeKey<Self>) -> Option<ListenerValue>;
}

/// An address family's maps.
macro_rules! listeners {
    ($address:ty: $vips:ident, $listeners:ident, $ranges:ident) => {
        /// The addresses that are ours. Written by the agent.
        #[btf_map]
        static $vips: HashMap<$address, VipValue, { map::MAX_VIPS as usize }> = HashMap::new();

        /// What is served there. Written by the agent, after the backends and tables that it names.
        #[btf_map]
        static $listeners: HashMap<ListenerKey<$address>, ListenerValue, { map::MAX_LISTENERS as usize }> =
            HashMap::new();

        /// What is served on ranges of ports, cut into prefixes. Written by the agent, after the backends and tables
        /// that it names.
        #[btf_map]
        static $ranges: LpmTrie<
            ListenerRangeKey<$address>,
            ListenerValue,
            { map::MAX_LISTENER_RANGES as usize },
        > = LpmTrie::new();

        impl Listeners for $address {
            #[inline(always)]
            fn vip(self) -> Option<VipValue> {
                // SAFETY: copied at once; the agent replaces values whole, and one that is recycled this very
                // moment belonged to a VIP until this very moment.
                unsafe { $vips.get(&Aligned(self).0) }.copied()
            }

            #[inline(always)]
            fn listener(key: &ListenerKey<Self>) -> Option<ListenerValue> {
                // SAFETY: as for VIPs.
                unsafe { $listeners.get(&Aligned(*key).0) }.copied()
            }

            #[inline(always)]
            fn range(key: ListenerRangeKey<Self>) -> Option<ListenerValue> {
                $ranges.get(Whole::new(key).key()).copied()
            }
        }
    };
}

listeners!(Ipv4: VIPS_V4, LISTENERS_V4, LISTENER_RANGES_V4);
listeners!(Ipv6: VIPS_V6, LISTENERS_V6, LISTENER_RANGES_V6);

/// The listener that a packet dials: the one on this very port, else the one whose range it is in.
#[inline(always)]
pub fn dialled<A: Listeners>(key: &FlowKey<A>) -> Option<ListenerValue> {
    let (vip, port) = (key.destination, key.destination_port);
    A::listener(&ListenerKey::new(vip, port, key.protocol))
        .or_else(|| A::range(ListenerRangeKey::new(vip, port, key.protocol)))
}
