//! The maps that each address family has of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, MapData, MapError};
use lb_common::listener::{ListenerKey, ListenerRangeKey, ListenerValue};
use lb_common::map;
use lb_common::net::{Address, Be16, Ipv4, Ipv6, Protocol};
use lb_common::policy::SourceKey;
use lb_common::vip::VipValue;

use super::error::KernelError;
use super::maps::{absent_is_fine, failed, lookup, open, remove};
use super::pins::Pins;
use super::wire;
use crate::datapath::model::{BalancerIndex, ListenerAddress, ListenerIndex, Observed, Source, Subnet};
use crate::datapath::range;

/// An address as it stands in maps.
pub(super) trait MapAddress: Address + Pod {
    /// The names of this family's maps.
    const NAMES: Names;

    /// As the rest of the agent knows it.
    fn ip(self) -> IpAddr;
}

/// What a family's maps are called.
pub(super) struct Names {
    vips: &'static str,
    listeners: &'static str,
    ranges: &'static str,
    sources: &'static str,
}

impl MapAddress for Ipv4 {
    const NAMES: Names = Names {
        vips: map::VIPS_V4,
        listeners: map::LISTENERS_V4,
        ranges: map::LISTENER_RANGES_V4,
        sources: map::SOURCES_V4,
    };

    fn ip(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(self.0))
    }
}

impl MapAddress for Ipv6 {
    const NAMES: Names = Names {
        vips: map::VIPS_V6,
        listeners: map::LISTENERS_V6,
        ranges: map::LISTENER_RANGES_V6,
        sources: map::SOURCES_V6,
    };

    fn ip(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from(self.bytes()))
    }
}

/// Typed handles.
pub(super) struct FamilyMaps<A: MapAddress>
where
    ListenerKey<A>: Pod,
    ListenerRangeKey<A>: Pod,
    SourceKey<A>: Pod,
{
    vips: HashMap<MapData, A, VipValue>,
    listeners: HashMap<MapData, ListenerKey<A>, ListenerValue>,
    ranges: LpmTrie<MapData, ListenerRangeKey<A>, ListenerValue>,
    sources: LpmTrie<MapData, SourceKey<A>, u32>,
}

impl<A: MapAddress> FamilyMaps<A>
where
    ListenerKey<A>: Pod,
    ListenerRangeKey<A>: Pod,
    SourceKey<A>: Pod,
{
    /// Opens those that are pinned.
    pub(super) fn open(pins: &Pins) -> Result<Self, KernelError> {
        Ok(Self {
            vips: open(pins, A::NAMES.vips)?,
            listeners: open(pins, A::NAMES.listeners)?,
            ranges: open(pins, A::NAMES.ranges)?,
            sources: open(pins, A::NAMES.sources)?,
        })
    }

    /// Adds what they hold.
    pub(super) fn observe(&self, observed: &mut Observed) -> Result<(), KernelError> {
        for entry in &self.vips {
            let (vip, value) = entry.map_err(failed("read", A::NAMES.vips))?;
            observed.vips.insert(vip.ip(), wire::vip_policy(value));
        }
        for entry in &self.listeners {
            let (key, value) = entry.map_err(failed("read", A::NAMES.listeners))?;
            // A protocol that no listener has was not written by an agent.
            let Some(protocol) = Protocol::from_number(key.protocol) else { continue };
            let address = ListenerAddress::new(key.vip.ip(), key.port.get(), protocol);
            observed.listeners.insert(address, wire::listener_entry(value));
        }
        for entry in &self.ranges {
            let (key, value) = entry.map_err(failed("read", A::NAMES.ranges))?;
            let (bits, key) = (key.prefix_len(), key.data());
            let Some(protocol) = Protocol::from_number(key.protocol) else { continue };
            let first = key.port.get();
            let last_port = Some(range::last(first, bits.saturating_sub(fixed_bits::<A>())));
            let address = ListenerAddress { vip: key.vip.ip(), port: first, last_port, protocol };
            observed.listeners.insert(address, wire::listener_entry(value));
        }
        for entry in &self.sources {
            let (key, value) = entry.map_err(failed("read", A::NAMES.sources))?;
            let prefix = key.prefix_len().saturating_sub(SourceKey::<A>::BALANCER_BITS);
            let key = key.data();
            let [.., high, low] = key.balancer;
            let prefix = u8::try_from(prefix).unwrap_or(u8::MAX);
            let Some(range) = Subnet::new(key.address.ip(), prefix) else { continue };
            let index = BalancerIndex(u16::from_be_bytes([high, low]));
            observed.sources.entry(index).or_default().insert(range, wire::source(value));
        }
        Ok(())
    }

    /// Allows or denies a range of clients, whose first address is `network`.
    pub(super) fn put_source(
        &mut self,
        balancer: BalancerIndex,
        network: A,
        prefix: u8,
        source: Source,
    ) -> Result<(), KernelError> {
        let key = source_key(balancer, network, prefix);
        self.sources.insert(&key, wire::source_value(source), 0).map_err(failed("write", A::NAMES.sources))
    }

    /// Forgets a range of clients, if it is there.
    pub(super) fn remove_source(
        &mut self,
        balancer: BalancerIndex,
        network: A,
        prefix: u8,
    ) -> Result<(), KernelError> {
        absent_is_fine(self.sources.remove(&source_key(balancer, network, prefix)), A::NAMES.sources)
    }

    /// Creates or changes a VIP.
    pub(super) fn put_vip(&mut self, vip: A, value: VipValue) -> Result<(), KernelError> {
        self.vips.insert(vip, value, 0).map_err(failed("write", A::NAMES.vips))
    }

    /// Removes a VIP, if it is there.
    pub(super) fn remove_vip(&mut self, vip: A) -> Result<(), KernelError> {
        remove(&mut self.vips, A::NAMES.vips, &vip)
    }

    /// Whether VIP `vip` has this listener: for a piece of a range, whether its first port is that listener's.
    pub(super) fn has_listener(
        &self,
        vip: A,
        listener: ListenerAddress,
        index: ListenerIndex,
    ) -> Result<bool, KernelError> {
        if listener.last_port.is_none() {
            return Ok(lookup(&self.listeners, A::NAMES.listeners, &key(vip, listener))?.is_some());
        }
        let first = Key::new(ListenerRangeKey::<A>::BITS, range_key(vip, listener).data());
        match self.ranges.get(&first, 0) {
            Ok(value) => Ok(value.index == index.0),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(source) => Err(failed("read", A::NAMES.ranges)(source)),
        }
    }

    /// Creates or changes a listener of VIP `vip`, or a piece of one.
    pub(super) fn put_listener(
        &mut self,
        vip: A,
        listener: ListenerAddress,
        value: ListenerValue,
    ) -> Result<(), KernelError> {
        if listener.last_port.is_none() {
            let key = key(vip, listener);
            return self.listeners.insert(key, value, 0).map_err(failed("write", A::NAMES.listeners));
        }
        let key = range_key(vip, listener);
        self.ranges.insert(&key, value, 0).map_err(failed("write", A::NAMES.ranges))
    }

    /// Removes a listener of VIP `vip`, or a piece of one, if it is there.
    pub(super) fn remove_listener(&mut self, vip: A, listener: ListenerAddress) -> Result<(), KernelError> {
        if listener.last_port.is_none() {
            return remove(&mut self.listeners, A::NAMES.listeners, &key(vip, listener));
        }
        absent_is_fine(self.ranges.remove(&range_key(vip, listener)), A::NAMES.ranges)
    }
}

/// The bits of a [`ListenerRangeKey`] before its port.
const fn fixed_bits<A>() -> u32 {
    ListenerRangeKey::<A>::BITS - u16::BITS
}

fn range_key<A: Pod>(vip: A, piece: ListenerAddress) -> Key<ListenerRangeKey<A>>
where
    ListenerRangeKey<A>: Pod,
{
    let shared = range::prefix(piece.port, piece.last_port.unwrap_or(piece.port));
    let key = ListenerRangeKey::new(vip, Be16::new(piece.port), piece.protocol);
    Key::new(fixed_bits::<A>() + shared, key)
}

fn source_key<A: Pod>(balancer: BalancerIndex, network: A, prefix: u8) -> Key<SourceKey<A>>
where
    SourceKey<A>: Pod,
{
    let bits = SourceKey::<A>::BALANCER_BITS + u32::from(prefix);
    Key::new(bits, SourceKey::new(u32::from(balancer.0), network))
}

fn key<A>(vip: A, listener: ListenerAddress) -> ListenerKey<A> {
    ListenerKey::new(vip, Be16::new(listener.port), listener.protocol)
}
