//! The packet programs' state as the agent sees it, and the commands on it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use lb_common::config::{MAX_TIMEOUT, TICK_SHIFT};

pub use crate::model::check::Selection;
pub use lb_common::net::{Mac, Protocol};

use super::range;
pub use super::table::Table;
pub use crate::model::check::{CheckedLimits, Source};
pub use crate::model::range::Subnet;

/// VIP, port and protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListenerAddress {
    /// The address that clients dial.
    pub vip: IpAddr,
    /// The port that clients dial.
    pub port: u16,
    /// The last port of a range; `None` is a listener on `port` alone, which takes it from a range.
    pub last_port: Option<u16>,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl ListenerAddress {
    /// On one port.
    pub const fn new(vip: IpAddr, port: u16, protocol: Protocol) -> Self {
        Self { vip, port, last_port: None, protocol }
    }

    /// All that there may be on a VIP, from the first one to the last.
    pub const fn range_of(vip: IpAddr) -> RangeInclusive<Self> {
        let first = Self { vip, port: 0, last_port: None, protocol: Protocol::Tcp };
        let last = Self { vip, port: u16::MAX, last_port: Some(u16::MAX), protocol: Protocol::Udp };
        first..=last
    }

    /// What it is in the maps: itself, or the blocks of ports that its range consists of.
    pub fn pieces(self) -> Vec<Self> {
        let Some(last) = self.last_port else { return vec![self] };
        let piece = |(port, last)| Self { port, last_port: Some(last), ..self };
        range::blocks(self.port, last).into_iter().map(piece).collect()
    }

    /// Both are ranges, or pieces of ranges, with a port in common.
    pub fn overlaps(self, other: Self) -> bool {
        let (Some(last), Some(others_last)) = (self.last_port, other.last_port) else { return false };
        (self.vip, self.protocol) == (other.vip, other.protocol)
            && self.port <= others_last
            && other.port <= last
    }
}

impl fmt::Display for ListenerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vip, port, last_port, protocol } = self;
        let first = SocketAddr::new(*vip, *port);
        match last_port {
            None => write!(f, "{first} {protocol:?}"),
            Some(last) => write!(f, "{first}-{last} {protocol:?}"),
        }
    }
}

/// Index into LIMITS and SPENT, and part of the keys of SOURCES.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct BalancerIndex(pub u16);

/// Index into BACKENDS and BACKEND_STATS; 0 is nobody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BackendId(pub u32);

/// Index into LISTENER_STATS and MAGLEV.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListenerIndex(pub u32);

/// How a VIP behaves beside its listeners.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct VipPolicy {
    /// Drop what no listener takes, instead of answering with RST or ICMP port unreachable.
    pub drop_unserved: bool,
    /// Lent by a DHCP server, whose answers the agent gets.
    pub leased: bool,
}

/// One entry of LISTENERS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListenerEntry {
    /// Its index.
    pub index: ListenerIndex,
    /// Slots of its table; 0 while no backend is ready.
    pub slots: u32,
    /// Drop what no backend can take, instead of answering.
    pub drop_unserved: bool,
    /// How a new flow's backend is chosen.
    pub selection: Selection,
    /// How long a client keeps its backend after its last new flow, in ticks; 0 is not at all.
    pub affinity: u16,
    /// Who may open flows, and how.
    pub terms: Terms,
}

/// On what terms flows to a listener are opened.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Terms {
    /// Its load balancer, whose source ranges and limits it shares.
    pub balancer: BalancerIndex,
    /// Source ranges are consulted.
    pub filtered: bool,
    /// Limits of new flows are consulted.
    pub limited: bool,
    /// Only a SYN opens a connection.
    pub strict: bool,
}

/// How packets reach a backend and how its answers come back. See `lb_common::backend`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Placement {
    /// Its own MAC or its gateway's; `None` while unresolved.
    pub mac: Option<Mac>,
    /// The interface to transmit on; 0 leaves it to the stack.
    pub ifindex: u32,
    /// The bridge that delivers to it; 0 none.
    pub bridge: u32,
    /// The source of its packets becomes the VIP.
    pub masquerade: bool,
    /// Its answers are rewritten at the egress of the client's interface.
    pub reply_at_egress: bool,
    /// Reached through IP forwarding.
    pub routed: bool,
    /// The longest IP packet that reaches it; 0 while unknown.
    pub mtu: u16,
}

/// Life of a backend.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum BackendState {
    /// Takes new flows.
    Active,
    /// Keeps its flows, takes no new ones.
    Draining,
    /// Its flows are over; the id waits for its next use.
    Dead,
}

/// One entry of BACKENDS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackendEntry {
    /// The listener that it serves.
    pub listener: ListenerIndex,
    /// Server address and port.
    pub address: SocketAddr,
    /// How it is reached.
    pub placement: Placement,
    /// Its life.
    pub state: BackendState,
    /// Its share of new flows, relative to the others.
    pub weight: u16,
    /// Counts the uses of this id.
    pub generation: u8,
    /// The load balancer whose limits of packets are consulted; `None` if there are none.
    pub limited_by: Option<BalancerIndex>,
}

/// All that the maps hold for the agent, read back.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Observed {
    /// VIPS.
    pub vips: BTreeMap<IpAddr, VipPolicy>,
    /// LISTENERS.
    pub listeners: BTreeMap<ListenerAddress, ListenerEntry>,
    /// MAGLEV: the backend of each slot.
    pub tables: BTreeMap<ListenerIndex, Table>,
    /// BACKENDS, absent ones left out.
    pub backends: BTreeMap<BackendId, BackendEntry>,
    /// SOURCES, those of each load balancer that has any.
    pub sources: BTreeMap<BalancerIndex, BTreeMap<Subnet, Source>>,
    /// LIMITS, those that limit nothing left out.
    pub limits: BTreeMap<BalancerIndex, CheckedLimits>,
}

impl Observed {
    /// What it is after a command.
    pub fn apply(&mut self, command: &Command) {
        match command {
            Command::PutVip(vip, policy) => {
                self.vips.insert(*vip, *policy);
            }
            Command::RemoveVip(vip) => {
                self.vips.remove(vip);
            }
            Command::PutBackend(id, entry) => {
                self.backends.insert(*id, *entry);
            }
            Command::PutTable(index, slots) => {
                self.tables.insert(*index, slots.clone());
            }
            Command::RemoveTable(index) => {
                self.tables.remove(index);
            }
            Command::PutListener(address, entry) => {
                self.listeners.insert(*address, *entry);
            }
            Command::RemoveListener(address) => {
                self.listeners.remove(address);
            }
            Command::PutSource(balancer, range, source) => {
                self.sources.entry(*balancer).or_default().insert(*range, *source);
            }
            Command::RemoveSource(balancer, range) => {
                if let Entry::Occupied(mut sources) = self.sources.entry(*balancer) {
                    sources.get_mut().remove(range);
                    if sources.get().is_empty() {
                        sources.remove();
                    }
                }
            }
            Command::PutLimits(balancer, limits) => {
                if *limits == CheckedLimits::default() {
                    self.limits.remove(balancer);
                } else {
                    self.limits.insert(*balancer, *limits);
                }
            }
        }
    }
}

/// A time in ticks of the packet programs, rounded up: nothing expires too early.
pub fn ticks(duration: Duration) -> u16 {
    let ticks = duration.as_nanos().div_ceil(1 << TICK_SHIFT);
    u16::try_from(ticks).unwrap_or(MAX_TIMEOUT).clamp(1, MAX_TIMEOUT)
}

/// One step. A plan is ordered so that traffic is never worse in between: source ranges and limits, then
/// backends, then tables, then listeners, then VIPs when something is added, and the other way round when it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Answer for a VIP.
    PutVip(IpAddr, VipPolicy),
    /// Stop answering for a VIP.
    RemoveVip(IpAddr),
    /// Create or change a backend. None is ever removed: a dead one keeps the generation for the next use.
    PutBackend(BackendId, BackendEntry),
    /// Give a listener this table. One of as many slots is changed slot by slot, any other is replaced.
    PutTable(ListenerIndex, Table),
    /// Drop a listener's table.
    RemoveTable(ListenerIndex),
    /// Create or change a listener, or a piece of one.
    PutListener(ListenerAddress, ListenerEntry),
    /// Remove a listener, or a piece of one.
    RemoveListener(ListenerAddress),
    /// Allow or deny a range of clients.
    PutSource(BalancerIndex, Subnet, Source),
    /// Forget a range of clients.
    RemoveSource(BalancerIndex, Subnet),
    /// Set the limits of a load balancer; the default limits nothing.
    PutLimits(BalancerIndex, CheckedLimits),
}
