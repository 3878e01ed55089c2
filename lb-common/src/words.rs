//! An entry of the flow table in words, as the express lane reads it.

use crate::backend::BackendRef;
use crate::flow::FlowEntry;
use crate::head::Head;
use crate::net::Ipv4;

/// An entry of IPv4 in its four words, for those who must be quick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Words {
    /// Its head.
    pub head: Head,
    /// Source and, in the upper half, destination.
    pub addresses: u64,
    /// Address and, in the upper half, ports after the rewrite.
    pub rewrite: u64,
    /// Backend, next hop, and when it was last seen.
    pub last: u64,
}

impl Words {
    /// The backend.
    #[inline(always)]
    pub const fn backend(&self) -> BackendRef {
        BackendRef(self.last as u32)
    }

    /// [`FlowEntry::next_hop`].
    #[inline(always)]
    pub const fn next_hop(&self) -> u16 {
        (self.last >> 32) as u16
    }

    /// [`FlowEntry::last_seen`].
    #[inline(always)]
    pub const fn last_seen(&self) -> u16 {
        (self.last >> 48) as u16
    }

    /// Source and destination ports after the rewrite, as they stand in a packet.
    #[inline(always)]
    pub const fn ports(&self) -> u32 {
        (self.rewrite >> 32) as u32
    }

    /// Source and, in the upper half, destination after the rewrite.
    #[inline(always)]
    pub const fn rewritten(&self) -> u64 {
        self.rewritten_as(self.head.is_reply())
    }

    /// The same for who knows whether it is an answer.
    #[inline(always)]
    pub const fn rewritten_as(&self, reply: bool) -> u64 {
        const LOWER: u64 = 0xffff_ffff;
        let address = self.rewrite & LOWER;
        if self.head.is_masqueraded() {
            self.addresses >> 32 | self.rewrite << 32
        } else if reply {
            self.addresses & !LOWER | address
        } else {
            self.addresses & LOWER | self.rewrite << 32
        }
    }
}

impl From<&FlowEntry<Ipv4>> for Words {
    #[inline(always)]
    fn from(entry: &FlowEntry<Ipv4>) -> Self {
        const { assert!(size_of::<FlowEntry<Ipv4>>() == size_of::<[u64; 4]>()) };
        // SAFETY: an entry of IPv4 is four words long, aligned to them, and has no padding.
        let [head, addresses, rewrite, last] = unsafe { *core::ptr::from_ref(entry).cast::<[u64; 4]>() };
        Self { head: Head(head), addresses, rewrite, last }
    }
}
