//! What stands in the maps, in words.

use lb_common::backend::{self, BackendValue};
use lb_common::known::{place_v4, place_v6};
use lb_common::listener::{ListenerKey, ListenerValue};
use lb_common::net::{Address, Be16, Ipv4, Ipv6, Mac, Protocol};
use lb_common::port::{self, PortValue};
use lb_common::vip::DROP_UNSERVED;

use super::given::mixed;
use crate::packet::Endpoint;

/// In an MTU's place: no IP packet is longer.
const NO_LIMIT: u16 = u16::MAX;

/// A value of PORTS.
#[derive(Clone, Copy, Debug)]
pub struct Port(pub(super) PortValue);

/// A port that faces the network.
pub fn uplink(mac: Mac) -> Port {
    Port(PortValue { flags: port::ATTACHED | port::UPLINK, mac, mtu: NO_LIMIT, ..PortValue::default() })
}

/// A port of a VM.
pub fn vm_port(mac: Mac) -> Port {
    Port(PortValue { flags: port::ATTACHED, mac, mtu: NO_LIMIT, ..PortValue::default() })
}

impl Port {
    /// In this bridge.
    #[must_use]
    pub fn in_bridge(mut self, bridge: u32) -> Self {
        self.0.bridge = bridge;
        self
    }

    /// XDP may see checksums that the sender left to its device.
    #[must_use]
    pub fn partial_checksums(mut self) -> Self {
        self.0.flags |= port::PARTIAL_CHECKSUMS;
        self
    }

    /// What each flow carries is counted.
    #[must_use]
    pub fn accounted(mut self) -> Self {
        self.0.flags |= port::ACCOUNTED;
        self
    }

    /// XDP runs in generic mode.
    #[must_use]
    pub fn generic(mut self) -> Self {
        self.0.flags |= port::GENERIC;
        self
    }

    /// IP packets that leave here may be this long.
    #[must_use]
    pub fn mtu(mut self, mtu: u16) -> Self {
        self.0.mtu = mtu;
        self
    }

    /// Known, but none of ours to work on.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.0.flags &= !port::ATTACHED;
        self
    }
}

/// Addresses as BACKENDS has them.
pub trait Server: Address {
    /// The flag of a backend that has such an address.
    const FLAGS: u32;

    /// All 16 bytes.
    fn padded(self) -> [u8; 16];
}

impl Server for Ipv4 {
    const FLAGS: u32 = 0;

    fn padded(self) -> [u8; 16] {
        let [a, b, c, d] = self.0;
        [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    }
}

impl Server for Ipv6 {
    const FLAGS: u32 = backend::IPV6;

    fn padded(self) -> [u8; 16] {
        self.bytes()
    }
}

/// A value of BACKENDS.
#[derive(Clone, Copy, Debug)]
pub struct Backend(pub(super) BackendValue);

/// An active backend of listener 0 in generation 1 with weight 1, whose MAC is known, reached through the stack.
pub fn backend<A: Server>(server: Endpoint<A>, mac: Mac) -> Backend {
    Backend(BackendValue {
        address: server.0.padded(),
        port: Be16::new(server.1),
        mac,
        flags: A::FLAGS,
        state: backend::ACTIVE,
        generation: 1,
        weight: 1,
        mtu: NO_LIMIT,
        ..BackendValue::default()
    })
}

impl Backend {
    /// Where programs know its address.
    pub(super) fn place(&self) -> u16 {
        let [a, b, c, d, ..] = self.0.address;
        if self.0.flags & backend::IPV6 == 0 {
            place_v4(u32::from_ne_bytes([a, b, c, d]))
        } else {
            place_v6(Ipv6::new(self.0.address).halves())
        }
    }

    /// Transmitted to on this interface.
    #[must_use]
    pub fn on(mut self, interface: u32) -> Self {
        self.0.ifindex = interface;
        self
    }

    /// Delivered to by this bridge.
    #[must_use]
    pub fn in_bridge(mut self, bridge: u32) -> Self {
        self.0.bridge = bridge;
        self
    }

    /// Its answers are rewritten at the egress of the client's interface.
    #[must_use]
    pub fn reply_at_egress(mut self) -> Self {
        self.0.flags |= backend::REPLY_AT_EGRESS;
        self
    }

    /// It sees the VIP as the source.
    #[must_use]
    pub fn masquerade(mut self) -> Self {
        self.0.flags |= backend::MASQUERADE;
        self
    }

    /// Reached through IP forwarding.
    #[must_use]
    pub fn routed(mut self) -> Self {
        self.0.flags |= backend::ROUTED;
        self
    }

    /// Its MAC is not known yet.
    #[must_use]
    pub fn without_mac(mut self) -> Self {
        self.0.mac = Mac::default();
        self
    }

    /// Keeps its flows, takes no new ones.
    #[must_use]
    pub fn draining(mut self) -> Self {
        self.0.state = backend::DRAINING;
        self
    }

    /// Its flows are over.
    #[must_use]
    pub fn dead(mut self) -> Self {
        self.0.state = backend::DEAD;
        self
    }

    /// The id has been given to somebody else since.
    #[must_use]
    pub fn generation(mut self, generation: u8) -> Self {
        self.0.generation = generation;
        self
    }

    /// IP packets on their way to it may be this long.
    #[must_use]
    pub fn mtu(mut self, mtu: u16) -> Self {
        self.0.mtu = mtu;
        self
    }

    /// Its share of new flows.
    #[must_use]
    pub fn weight(mut self, weight: u16) -> Self {
        self.0.weight = weight;
        self
    }

    /// It serves this listener.
    #[must_use]
    pub fn of_listener(mut self, index: u32) -> Self {
        self.0.listener = index;
        self
    }
}

/// An entry of LISTENERS with its Maglev table.
#[derive(Clone, Debug)]
pub struct Listener<A = Ipv4> {
    pub(super) key: ListenerKey<A>,
    pub(super) value: ListenerValue,
    pub(super) backends: Vec<u32>,
    /// Bits of a block of ports that are the same; `None` is one port.
    pub(super) range: Option<u32>,
}

/// Slots of the tables that tests use: the smallest size that may be chosen.
const SLOTS: u32 = 251;

/// Listener 0, served by nobody yet.
pub fn listener<A>(vip: Endpoint<A>, protocol: Protocol) -> Listener<A> {
    Listener {
        key: ListenerKey::new(vip.0, Be16::new(vip.1), protocol),
        value: ListenerValue::default(),
        backends: Vec::new(),
        range: None,
    }
}

impl<A> Listener<A> {
    /// Another index.
    #[must_use]
    pub fn index(mut self, index: u32) -> Self {
        self.value.index = index;
        self
    }

    /// The backends with these ids share its slots, in no order that anybody could follow.
    #[must_use]
    pub fn served_by(mut self, backends: &[u32]) -> Self {
        self.value.slots = if backends.is_empty() { 0 } else { SLOTS };
        self.backends = backends.to_vec();
        self
    }

    /// Who takes a slot.
    pub(super) fn slot(&self, slot: u32) -> u32 {
        let choice = mixed(u64::from(slot) + 1) % self.backends.len() as u64;
        self.backends[choice as usize]
    }

    /// One of the selections of [`lb_common::listener`].
    #[must_use]
    pub fn selection(mut self, selection: u8) -> Self {
        self.value.selection = selection;
        self
    }

    /// A client keeps its backend for so many ticks.
    #[must_use]
    pub fn affinity(mut self, ticks: u16) -> Self {
        self.value.affinity = ticks;
        self
    }

    /// What can't be served is dropped.
    #[must_use]
    pub fn drop_unserved(mut self) -> Self {
        self.value.flags |= DROP_UNSERVED;
        self
    }
}
