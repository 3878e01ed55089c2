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

/// Value of LISTENERS_V4 and LISTENERS_V6.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ListenerValue {
    /// Index into LISTENER_STATS and MAGLEV.
    pub index: u32,
    /// Slots of its Maglev table; 0 says that no backend is ready and MAGLEV is not consulted.
    pub slots: u32,
    /// [`DROP_UNSERVED`](crate::vip::DROP_UNSERVED) for this listener; other bits are zero.
    pub flags: u32,
    /// Zero.
    pub padding: u32,
}

abi!(ListenerKey<Ipv4>, 8);
abi!(ListenerKey<Ipv6>, 20);
abi!(ListenerValue, 16);
