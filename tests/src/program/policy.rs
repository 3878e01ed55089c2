//! Source ranges, limits and ranges of ports in the maps.

use aya::maps::MapData;
use aya::maps::lpm_trie::{Key, LpmTrie};
use lb_common::backend;
use lb_common::listener::{self, ListenerRangeKey, ListenerValue};
use lb_common::map;
use lb_common::net::{Ipv4, Ipv6};
use lb_common::policy::{LimitsValue, Rate, SourceKey};

use super::{Backend, Given, Listener, Rig};

/// An entry of SOURCES_V4 or SOURCES_V6.
#[derive(Clone, Copy, Debug)]
pub(super) struct SourceRange<A = Ipv4> {
    balancer: u32,
    network: A,
    prefix: u32,
    value: u32,
}

/// What a load balancer limits: all rates off.
pub const UNLIMITED: LimitsValue = LimitsValue {
    flows: Rate { per_second: 0, interval: 0 },
    packets: Rate { per_second: 0, interval: 0 },
    source_flows: Rate { per_second: 0, interval: 0 },
    source_packets: Rate { per_second: 0, interval: 0 },
};

impl Given {
    /// Clients of a load balancer in `network`/`prefix` are [`ALLOWED`](lb_common::policy::ALLOWED) or
    /// [`DENIED`](lb_common::policy::DENIED).
    #[must_use]
    pub fn source(mut self, balancer: u32, (network, prefix): (Ipv4, u32), value: u32) -> Self {
        self.sources.push(SourceRange { balancer, network, prefix, value });
        self
    }

    /// As [`Given::source`], of IPv6.
    #[must_use]
    pub fn source_v6(mut self, balancer: u32, (network, prefix): (Ipv6, u32), value: u32) -> Self {
        self.sources_v6.push(SourceRange { balancer, network, prefix, value });
        self
    }

    /// The limits of a load balancer.
    #[must_use]
    pub fn limits(mut self, balancer: u32, limits: LimitsValue) -> Self {
        self.limits.push((balancer, limits));
        self
    }

    /// New flows that each CPU enters in a second.
    #[must_use]
    pub fn new_flows(mut self, per_second: u32) -> Self {
        self.config.new_flows = Rate::new(per_second);
        self
    }
}

impl Rig {
    /// Writes the source ranges and limits of `given`.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn enter_policies(&mut self, given: &Given) {
        self.enter_sources(map::SOURCES_V4, &given.sources);
        self.enter_sources(map::SOURCES_V6, &given.sources_v6);
        for &(balancer, limits) in &given.limits {
            self.array::<LimitsValue>(map::LIMITS).set(balancer, limits, 0).expect("write LIMITS");
        }
    }

    fn enter_sources<A: Copy + 'static>(&mut self, map: &str, ranges: &[SourceRange<A>])
    where
        SourceKey<A>: aya::Pod,
    {
        for range in ranges {
            let bits = SourceKey::<A>::BALANCER_BITS + range.prefix;
            let key = Key::new(bits, SourceKey::new(range.balancer, range.network));
            let mut sources = self.trie::<SourceKey<A>, u32>(map);
            sources.insert(&key, range.value, 0).unwrap_or_else(|error| panic!("write {map}: {error}"));
        }
    }

    /// Writes a listener's range, a block of ports.
    pub(super) fn set_range(&mut self, listener: &Listener, prefix: u32) {
        let bits = ListenerRangeKey::<Ipv4>::BITS - u16::BITS + prefix;
        let (key, protocol) = (listener.key, listener.key.protocol);
        let key = ListenerRangeKey { vip: key.vip, protocol, padding: 0, port: key.port };
        self.trie::<ListenerRangeKey<Ipv4>, ListenerValue>(map::LISTENER_RANGES_V4)
            .insert(&Key::new(bits, key), listener.value, 0)
            .expect("write LISTENER_RANGES_V4");
    }

    fn trie<K: aya::Pod, V: aya::Pod>(&mut self, name: &str) -> LpmTrie<&mut MapData, K, V> {
        self.map(name).try_into().unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

impl<A> Listener<A> {
    /// It has the ports that share so many bits with its own, instead of that one.
    #[must_use]
    pub fn ports(mut self, prefix: u32) -> Self {
        self.range = Some(prefix);
        self
    }

    /// It belongs to this load balancer, whose source ranges are consulted.
    #[must_use]
    pub fn filtered(mut self, balancer: u32) -> Self {
        self.value.balancer = balancer;
        self.value.flags |= listener::FILTERED;
        self
    }

    /// It belongs to this load balancer, whose limits of new flows are consulted.
    #[must_use]
    pub fn limited(mut self, balancer: u32) -> Self {
        self.value.balancer = balancer;
        self.value.flags |= listener::LIMITED;
        self
    }

    /// Only a SYN opens a connection.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.value.flags |= listener::STRICT;
        self
    }
}

impl Backend {
    /// It belongs to this load balancer, whose limits of packets are consulted.
    #[must_use]
    pub fn limited(mut self, balancer: u16) -> Self {
        self.0.balancer = balancer;
        self.0.flags |= backend::LIMITED;
        self
    }
}
