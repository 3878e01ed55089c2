//! VIPs: the addresses that the node answers for.

use crate::abi;

/// Value of VIPS_V4 and VIPS_V6; the key is the address.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct VipValue {
    /// [`ANSWER_ARP`], [`ANSWER_ECHO`], [`DROP_UNSERVED`], [`LEASED`].
    pub flags: u32,
    /// Zero.
    pub padding: u32,
}

/// ARP requests (neighbour solicitations) for the VIP are answered in the datapath.
pub const ANSWER_ARP: u32 = 1;
/// Echo requests are answered in the datapath.
pub const ANSWER_ECHO: u32 = 1 << 1;
/// A packet to a port without listener, or to a listener without ready backend, is dropped; without this
/// flag TCP gets a RST and UDP an ICMP port unreachable.
pub const DROP_UNSERVED: u32 = 1 << 2;
/// A DHCP server lent the address: what it sends to port [`LEASE_PORT`] is the agent's, which listens beside the
/// stack. It is passed.
pub const LEASED: u32 = 1 << 3;

/// The UDP port of DHCP clients.
pub const LEASE_PORT: u16 = 68;

abi!(VipValue, 8);
