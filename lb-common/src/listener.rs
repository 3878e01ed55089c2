//! Listeners: VIP, port and protocol.

use crate::abi;
use crate::net::{Be16, Ipv4, Ipv6, Protocol};

/// Key of LISTENERS_V4 and LISTENERS_V6.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListenerKey<A> {
    /// The address.
    pub vip: A,
    /// The port that clients dial.
    pub port: Be16,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub padding: u8,
}

impl<A> ListenerKey<A> {
    /// The listener's key.
    #[inline(always)]
    pub const fn new(vip: A, port: Be16, protocol: Protocol) -> Self {
        Self { vip, port, protocol: protocol.number(), padding: 0 }
    }
}

/// What a prefix of LISTENER_RANGES_V4 or LISTENER_RANGES_V6 covers: a VIP, a protocol, then ports. It is
/// consulted where no [`ListenerKey`] fits.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ListenerRangeKey<A> {
    /// The address.
    pub vip: A,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub padding: u8,
    /// The port that clients dial.
    pub port: Be16,
}

impl<A> ListenerRangeKey<A> {
    /// The bits of a key as a whole.
    pub const BITS: u32 = 8 * size_of::<Self>() as u32;

    /// Of a port.
    #[inline(always)]
    pub const fn new(vip: A, port: Be16, protocol: Protocol) -> Self {
        Self { vip, protocol: protocol.number(), padding: 0, port }
    }
}

/// Value of LISTENERS_V4, LISTENERS_V6, LISTENER_RANGES_V4 and LISTENER_RANGES_V6.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ListenerValue {
    /// Index into LISTENER_STATS and MAGLEV.
    pub index: u32,
    /// Slots of its Maglev table; 0 says that no backend is ready and MAGLEV is not consulted.
    pub slots: u32,
    /// [`DROP_UNSERVED`](crate::vip::DROP_UNSERVED) for this listener, [`STRICT`], [`LIMITED`], [`FILTERED`].
    pub flags: u32,
    /// Index of its load balancer: limits and source ranges are kept for all its listeners together.
    pub balancer: u32,
    /// How long a client keeps its backend after its last new flow, in ticks; 0: no affinity.
    pub affinity: u16,
    /// [`MAGLEV`], [`RANDOM`] or [`LEAST_CONNECTIONS`].
    pub selection: u8,
    /// Zero.
    pub padding: u8,
}

/// A TCP segment that is no SYN and belongs to no flow is refused, instead of being picked up by its hash.
pub const STRICT: u32 = 1 << 8;
/// Limits are consulted for new flows.
pub const LIMITED: u32 = 1 << 9;
/// Source ranges are consulted for new flows.
pub const FILTERED: u32 = 1 << 10;

/// A new flow's backend follows from its tuple.
pub const MAGLEV: u8 = 0;
/// A new flow's backend is drawn.
pub const RANDOM: u8 = 1;
/// The less loaded of two backends that are drawn.
pub const LEAST_CONNECTIONS: u8 = 2;

abi!(ListenerKey<Ipv4>, 8);
abi!(ListenerKey<Ipv6>, 20);
abi!(ListenerRangeKey<Ipv4>, 8);
abi!(ListenerRangeKey<Ipv6>, 20);
abi!(ListenerValue, 20);
