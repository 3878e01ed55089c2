//! Backends: one server address and port of one listener.

use crate::abi;
use crate::net::{Be16, Mac, Station};

/// A backend's id (24 bits, index into BACKENDS and BACKEND_STATS) and the generation in which a flow chose
/// it (8 bits). An id that is given to another backend gets the next generation, so a dead backend's flows
/// die without a walk. Id 0 is nobody.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct BackendRef(pub u32);

/// One more than the greatest backend id.
pub const MAX_BACKENDS: u32 = 1 << 24;

impl BackendRef {
    /// Of an id below [`MAX_BACKENDS`]; higher bits are cut off.
    #[inline(always)]
    pub const fn new(id: u32, generation: u8) -> Self {
        Self(id & (MAX_BACKENDS - 1) | (generation as u32) << 24)
    }

    /// The id.
    #[inline(always)]
    pub const fn id(self) -> u32 {
        self.0 & (MAX_BACKENDS - 1)
    }

    /// The generation.
    #[inline(always)]
    pub const fn generation(self) -> u8 {
        (self.0 >> 24) as u8
    }
}

/// Value of BACKENDS; the key is the id.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct BackendValue {
    /// IPv6, or IPv4 in the first four bytes.
    pub address: [u8; 16],
    /// Where frames to it are addressed: its own MAC or its gateway's; unset while unknown.
    pub mac: Mac,
    /// The longest IP packet that reaches it; 0 while unknown.
    pub mtu: u16,
    /// The interface to transmit on; 0 hands the rewritten packet to the stack.
    pub ifindex: u32,
    /// The bridge that delivers to it: a packet that entered a port of the same bridge is passed and the
    /// bridge delivers it by MAC. 0: none.
    pub bridge: u32,
    /// Index of its listener, which counts by its backends.
    pub listener: u32,
    /// [`MASQUERADE`], [`REPLY_AT_EGRESS`], [`ROUTED`], [`LIMITED`], [`IPV6`].
    pub flags: u32,
    /// [`ABSENT`], [`ACTIVE`], [`DRAINING`] or [`DEAD`].
    pub state: u8,
    /// See [`BackendRef`].
    pub generation: u8,
    /// The server's port; 0 keeps the port that was dialled.
    pub port: Be16,
    /// Index of its load balancer, see [`ListenerValue::balancer`](crate::listener::ListenerValue::balancer).
    pub balancer: u16,
    /// Its share of new flows, relative to the others; its live flows are compared by it.
    pub weight: u16,
}

impl BackendValue {
    /// MAC and MTU as one word.
    #[inline(always)]
    pub const fn station(&self) -> Station {
        const { assert!(core::mem::offset_of!(Self, mac) == 16 && core::mem::offset_of!(Self, mtu) == 22) };
        // SAFETY: both fields follow the address.
        let fields = unsafe { core::ptr::from_ref(self).byte_add(16) };
        // SAFETY: as above; bytes are aligned anywhere.
        let bytes = unsafe { fields.cast::<[u8; 8]>().read() };
        Station(u64::from_le_bytes(bytes))
    }

    /// Does it serve flows of this generation? Both bytes are compared at once.
    #[inline(always)]
    pub const fn serves(&self, of: BackendRef) -> bool {
        const { assert!(DRAINING == ACTIVE + 1) };
        let now = u16::from_le_bytes([self.state, self.generation]);
        let then = u16::from_le_bytes([ACTIVE, of.generation()]);
        now.wrapping_sub(then) <= 1
    }
}

/// No such backend.
pub const ABSENT: u8 = 0;
/// Takes new flows.
pub const ACTIVE: u8 = 1;
/// Keeps its flows, takes no new ones.
pub const DRAINING: u8 = 2;
/// Its flows are over; the id waits for its next use.
pub const DEAD: u8 = 3;

/// The source of packets to it becomes the VIP, so that answers come back to this node.
pub const MASQUERADE: u32 = 1;
/// Its answers pass the stack or a bridge of this node and are rewritten at the egress of the client's
/// interface; without this flag they are rewritten at ingress and transmitted to the client's next hop.
pub const REPLY_AT_EGRESS: u32 = 1 << 1;
/// Reached through IP forwarding: the TTL is decremented and the source MAC is that of `ifindex`.
pub const ROUTED: u32 = 1 << 2;
/// Packets to it are limited: LIMITS is consulted for each.
pub const LIMITED: u32 = 1 << 3;
/// Its address is an IPv6 address.
pub const IPV6: u32 = 1 << 4;

abi!(BackendRef, 4);
abi!(BackendValue, 48);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_served_in_their_generation_by_the_active_and_the_draining() {
        for generation in [0, 1, 7, 255] {
            for state in [ABSENT, ACTIVE, DRAINING, DEAD, 255] {
                let backend = BackendValue { state, generation, ..BackendValue::default() };
                for other in [0, 1, 2, 7, 8, 254, 255] {
                    let serves = other == generation && [ACTIVE, DRAINING].contains(&state);
                    assert_eq!(
                        backend.serves(BackendRef::new(1, other)),
                        serves,
                        "{state} {generation} {other}"
                    );
                }
            }
        }
    }
}
