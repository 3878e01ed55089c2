//! The maps that each address family has of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::maps::{HashMap, MapData};
use aya::{Ebpf, Pod};
use lb_common::listener::{ListenerKey, ListenerValue};
use lb_common::map;
use lb_common::net::{Address, Be16, Ipv4, Ipv6, Protocol};
use lb_common::vip::VipValue;

use super::error::KernelError;
use super::maps::{failed, lookup, remove, take};
use super::wire;
use crate::datapath::model::{ListenerAddress, Observed};

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
}

impl MapAddress for Ipv4 {
    const NAMES: Names = Names { vips: map::VIPS_V4, listeners: map::LISTENERS_V4 };

    fn ip(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(self.0))
    }
}

impl MapAddress for Ipv6 {
    const NAMES: Names = Names { vips: map::VIPS_V6, listeners: map::LISTENERS_V6 };

    fn ip(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from(self.0))
    }
}

/// Typed handles.
pub(super) struct FamilyMaps<A: MapAddress>
where
    ListenerKey<A>: Pod,
{
    vips: HashMap<MapData, A, VipValue>,
    listeners: HashMap<MapData, ListenerKey<A>, ListenerValue>,
}

impl<A: MapAddress> FamilyMaps<A>
where
    ListenerKey<A>: Pod,
{
    /// Takes them out of what has been loaded.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self { vips: take(ebpf, A::NAMES.vips)?, listeners: take(ebpf, A::NAMES.listeners)? })
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
            let address = ListenerAddress { vip: key.vip.ip(), port: key.port.get(), protocol };
            observed.listeners.insert(address, wire::listener_entry(value));
        }
        Ok(())
    }

    /// Creates or changes a VIP.
    pub(super) fn put_vip(&mut self, vip: A, value: VipValue) -> Result<(), KernelError> {
        self.vips.insert(vip, value, 0).map_err(failed("write", A::NAMES.vips))
    }

    /// Removes a VIP, if it is there.
    pub(super) fn remove_vip(&mut self, vip: A) -> Result<(), KernelError> {
        remove(&mut self.vips, A::NAMES.vips, &vip)
    }

    /// Whether VIP `vip` has this listener.
    pub(super) fn has_listener(&self, vip: A, listener: ListenerAddress) -> Result<bool, KernelError> {
        Ok(lookup(&self.listeners, A::NAMES.listeners, &key(vip, listener))?.is_some())
    }

    /// Creates or changes a listener of VIP `vip`.
    pub(super) fn put_listener(
        &mut self,
        vip: A,
        listener: ListenerAddress,
        value: ListenerValue,
    ) -> Result<(), KernelError> {
        self.listeners.insert(key(vip, listener), value, 0).map_err(failed("write", A::NAMES.listeners))
    }

    /// Removes a listener of VIP `vip`, if it is there.
    pub(super) fn remove_listener(&mut self, vip: A, listener: ListenerAddress) -> Result<(), KernelError> {
        remove(&mut self.listeners, A::NAMES.listeners, &key(vip, listener))
    }
}

fn key<A>(vip: A, listener: ListenerAddress) -> ListenerKey<A> {
    ListenerKey::new(vip, Be16::new(listener.port), listener.protocol)
}
