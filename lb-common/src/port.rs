//! Ports: the interfaces that the programs are attached to.

use crate::abi;
use crate::net::{Mac, Station};

/// Value of PORTS; the key is the interface index.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PortValue {
    /// [`ATTACHED`], [`UPLINK`], [`PARTIAL_CHECKSUMS`], [`GENERIC`], [`ACCOUNTED`].
    pub flags: u32,
    /// The bridge that it is a port of; 0 none.
    pub bridge: u32,
    /// The MAC with which VIPs are answered for on this interface, and the source of packets routed out of
    /// it: that of the bridge, if it is in one, else its own.
    pub mac: Mac,
    /// The longest IP packet that may leave here; 0 while unknown.
    pub mtu: u16,
}

impl PortValue {
    /// MAC and MTU as one word.
    #[inline(always)]
    pub const fn station(&self) -> Station {
        const { assert!(core::mem::offset_of!(Self, mac) == 8 && core::mem::offset_of!(Self, mtu) == 14) };
        // SAFETY: the second half of the value is both fields.
        let fields = unsafe { core::ptr::from_ref(self).byte_add(8) };
        // SAFETY: as above; bytes are aligned anywhere.
        let bytes = unsafe { fields.cast::<[u8; 8]>().read() };
        Station(u64::from_le_bytes(bytes))
    }
}

/// The programs work on this interface; without it they pass everything.
pub const ATTACHED: u32 = 1;
/// Faces the network: only frames addressed to `mac` are balanced. VM ports balance whatever names a VIP.
pub const UPLINK: u32 = 1 << 1;
/// A veth, tap or virtio-net: XDP may see checksums that the sender left to its device.
pub const PARTIAL_CHECKSUMS: u32 = 1 << 2;
/// XDP runs in generic mode here: a partial checksum stays partial whatever the verdict.
pub const GENERIC: u32 = 1 << 3;
/// What each flow carries is counted.
pub const ACCOUNTED: u32 = 1 << 4;

abi!(PortValue, 16);
