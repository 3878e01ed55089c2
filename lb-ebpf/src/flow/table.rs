//! The flow table's maps, and the slots of a tuple.

use aya_ebpf::bindings::{BPF_ANY, BPF_F_MMAPABLE};
use aya_ebpf::btf_maps::{Array, LruHashMap, PerCpuArray};
use aya_ebpf::macros::btf_map;
use lb_common::config::ConfigValue;
use lb_common::flow::{Bucket, FlowEntry, FlowKey, OverflowKey, WAYS};
use lb_common::hash;
use lb_common::map;
use lb_common::net::{Address, Ipv4, Ipv6};

use super::slot::Slot;
use super::{Insertion, insert};
use crate::headers::Aligned;
use crate::mask::one_if_zero;

/// Addresses whose flows have a table.
pub trait Flows: Address {
    /// The bucket with this index; `None` past the end.
    fn bucket(index: u32) -> Option<*mut Bucket<Self>>;

    /// Room for an entry, this CPU's own: [`FORWARD`], [`OTHER`] or [`SPARE`].
    fn draft(which: u32) -> Option<*mut FlowEntry<Self>>;

    /// See [`super::insert()`]; gives the code of an [`super::Insertion`].
    fn insert(flow: &FlowEntry<Self>) -> u32;

    /// [`super::insert()`] where it is not plain which entry has to go; gives the same.
    fn displace(flow: &FlowEntry<Self>) -> u32;

    /// Does another live flow with this very key live in the overflow map?
    fn is_beyond(flow: &FlowEntry<Self>) -> bool;

    /// Decides between entries of one tuple; gives the same.
    fn settle(flow: &FlowEntry<Self>) -> u32;

    /// See [`super::pair()`]; gives its number.
    fn pair() -> u32;

    /// The first part of [`super::upkeep`]: what is left to do.
    fn keep() -> u32;

    /// Enters the other half of a flow again.
    fn restore();

    /// See [`super::source_port::free`]: raw, 0 for none.
    fn free_port() -> u32;

    /// The entry of a tuple in the overflow map.
    fn spilled(key: &OverflowKey<Self>) -> Option<*mut FlowEntry<Self>>;

    /// Puts an entry into the overflow map. False: the kernel found no room.
    fn spill(key: &OverflowKey<Self>, entry: &FlowEntry<Self>) -> bool;
}

/// The draft of a new flow's forward half, or of a half whose other one is looked for.
const FORWARD: u32 = 0;
/// That of the other half.
const OTHER: u32 = 1;
/// That of what goes to the overflow map.
pub(super) const SPARE: u32 = 2;

/// An address family's maps and global functions.
macro_rules! flows {
    ($address:ty: $flows:ident, $overflow:ident, $draft:ident;
     $insert:ident, $displace:ident, $beyond:ident, $settle:ident, $pair:ident, $keep:ident, $restore:ident, $free_port:ident) => {
        /// Array of buckets, [`map::FLOW_BUCKETS`] unless the agent chose another power of two. Mappable into
        /// memory by whoever wants to read it all. Never full: a bucket of live flows spills over. Shared by all
        /// CPUs under the protocol of [`super::slot`].
        #[btf_map]
        static $flows: Array<Bucket<$address>, { map::FLOW_BUCKETS as usize }, { BPF_F_MMAPABLE as usize }> =
            Array::new();

        /// Flows whose bucket was full of live ones. When this is full too, the kernel takes the one that was
        /// unused the longest. Entries are changed in place under the protocol of [`super::slot`].
        #[btf_map]
        static $overflow: LruHashMap<
            OverflowKey<$address>,
            FlowEntry<$address>,
            { map::MAX_OVERFLOW as usize },
        > = LruHashMap::new();

        /// Each CPU's own scratch of one packet. What went through a map is unknown to the verifier, which else would
        /// follow each combination of its bits on its own; and the stack is short.
        #[btf_map]
        static $draft: PerCpuArray<FlowEntry<$address>, 3> = PerCpuArray::new();

        impl Flows for $address {
            #[inline(always)]
            fn bucket(index: u32) -> Option<*mut Bucket<Self>> {
                $flows.get_ptr_mut(index)
            }

            #[inline(always)]
            fn draft(which: u32) -> Option<*mut FlowEntry<Self>> {
                $draft.get_ptr_mut(which)
            }

            #[inline(always)]
            fn insert(flow: &FlowEntry<Self>) -> u32 {
                // SAFETY: a reference is a valid pointer.
                unsafe { super::insert::$insert(flow) }
            }

            #[inline(always)]
            fn displace(flow: &FlowEntry<Self>) -> u32 {
                // SAFETY: a reference is a valid pointer.
                unsafe { super::displace::$displace(flow) }
            }

            #[inline(always)]
            fn is_beyond(flow: &FlowEntry<Self>) -> bool {
                // SAFETY: a reference is a valid pointer.
                unsafe { super::displace::$beyond(flow) != 0 }
            }

            #[inline(always)]
            fn settle(flow: &FlowEntry<Self>) -> u32 {
                // SAFETY: a reference is a valid pointer.
                unsafe { super::insert::$settle(flow) }
            }

            #[inline(always)]
            fn pair() -> u32 {
                super::pair::$pair()
            }

            #[inline(always)]
            fn keep() -> u32 {
                super::keep::$keep()
            }

            #[inline(always)]
            fn restore() {
                super::keep::$restore();
            }

            #[inline(always)]
            fn free_port() -> u32 {
                super::source_port::$free_port()
            }

            #[inline(always)]
            fn spilled(key: &OverflowKey<Self>) -> Option<*mut FlowEntry<Self>> {
                $overflow.get_ptr_mut(&Aligned(*key).0)
            }

            #[inline(always)]
            fn spill(key: &OverflowKey<Self>, entry: &FlowEntry<Self>) -> bool {
                $overflow.insert(&Aligned(*key).0, entry, u64::from(BPF_ANY)).is_ok()
            }
        }
    };
}

flows!(Ipv4: FLOWS_V4, OVERFLOW_V4, DRAFT_V4; lb_insert_v4, lb_displace_v4, lb_beyond_v4, lb_settle_v4, lb_pair_v4, lb_keep_v4, lb_restore_v4, lb_free_port_v4);
flows!(Ipv6: FLOWS_V6, OVERFLOW_V6, DRAFT_V6; lb_insert_v6, lb_displace_v6, lb_beyond_v6, lb_settle_v6, lb_pair_v6, lb_keep_v6, lb_restore_v6, lb_free_port_v6);

/// The bucket of a tuple.
#[derive(Clone, Copy)]
pub struct Set<A: Address> {
    bucket: *mut Bucket<A>,
}

impl<A: Flows> Set<A> {
    /// Where a tuple belongs.
    #[inline(always)]
    pub fn of(key: &FlowKey<A>, config: &ConfigValue) -> Option<Self> {
        let ports = (key.source_port, key.destination_port);
        let hash = hash::tuple(&config.flow_secrets, key.source, key.destination, ports, key.protocol);
        Some(Self { bucket: A::bucket(hash & config.bucket_mask)? })
    }

    /// May a flow of this tuple stand here, or in the overflow map?
    #[inline(always)]
    pub fn may_know(self, flow: &FlowEntry<A>) -> bool {
        let mut alike = 0;
        for way in 0..WAYS {
            alike |= one_if_zero(self.slot(way).head().other_ports_than(flow.head));
        }
        alike != 0 || self.overflowed()
    }

    /// Of a test.
    #[cfg(test)]
    pub(super) const fn at(bucket: *mut Bucket<A>) -> Self {
        Self { bucket }
    }

    /// One of its slots; `way` is below [`WAYS`].
    #[inline(always)]
    pub(super) fn slot(self, way: usize) -> Slot<A> {
        let first = self.bucket.cast::<FlowEntry<A>>();
        // SAFETY: the mask keeps the entry inside the bucket, WAYS being a power of two.
        let entry = unsafe { first.add(way & (WAYS - 1)) };
        // SAFETY: the bucket is a map's value, and buckets and entries are aligned to 8.
        unsafe { Slot::new(entry) }
    }

    /// Do flows of this bucket live in the overflow map?
    #[inline(always)]
    pub(super) fn overflowed(self) -> bool {
        self.slot(0).head().overflowed()
    }

    /// Says that one more flow of this bucket went to the overflow map: the mark is set again even where it is
    /// set, so that an agent which is about to clear it finds the head changed. False: others kept changing it.
    #[inline(always)]
    pub(super) fn mark_overflowed(self) -> bool {
        let first = self.slot(0);
        for _ in 0..4 {
            let head = first.head();
            if first.swap(head, head.spilled()) {
                return true;
            }
        }
        false
    }
}

impl Set<Ipv4> {
    /// [`Set::of`], by words of the packet.
    #[inline(always)]
    pub(super) fn matching(addresses: u64, ports: u32, protocol: u8, config: &ConfigValue) -> Option<Self> {
        let words = (addresses as u32, (addresses >> 32) as u32, ports);
        let hash = hash::words_v4(&config.flow_secrets, words, protocol);
        Some(Self { bucket: Ipv4::bucket(hash & config.bucket_mask)? })
    }

    /// Asks for its lines. The processor goes on while they are on their way, for some 250 instructions.
    #[inline(always)]
    pub fn fetch(self) -> Self {
        // As many ways as a line of 64 bytes has.
        for way in (0..WAYS).step_by(64 / size_of::<FlowEntry<Ipv4>>()) {
            let _ = self.slot(way).head();
        }
        self
    }
}

/// A tuple's slot in the overflow map.
#[inline(always)]
pub(super) fn spilled<A: Flows>(key: &FlowKey<A>) -> Option<Slot<A>> {
    let entry = A::spilled(&OverflowKey::from(*key))?;
    // SAFETY: the value of a hash map, which the kernel aligns to 8 and does not free while the program runs.
    Some(unsafe { Slot::new(entry) })
}

/// Room for a new flow's forward half, this CPU's own.
#[inline(always)]
pub fn draft<A: Flows>() -> Option<Slot<A>> {
    let entry = A::draft(FORWARD)?;
    // SAFETY: the value of a per-CPU array, which the kernel aligns to 8.
    Some(unsafe { Slot::new(entry) })
}

/// Enters the forward half of this CPU's draft, or the other one.
#[inline(always)]
pub fn insert_drafted<A: Flows>(forward: bool) -> Insertion {
    let (Some(entry), Some(draft)) = (A::draft(if forward { FORWARD } else { OTHER }), draft::<A>()) else {
        return Insertion::Full;
    };
    // SAFETY: the value of a per-CPU array, which the kernel aligns to 8.
    let slot = unsafe { Slot::new(entry) };
    if !forward {
        slot.write(&draft.copy().twin());
    }
    // SAFETY: as above; nobody else writes it.
    insert(unsafe { &*entry })
}

/// Enters the other half of the flow in this CPU's draft as last used at `now`, its answers going by `next_hop`.
#[inline(always)]
pub(super) fn insert_twin<A: Flows>(next_hop: u16, now: u16) -> Insertion {
    let (Some(entry), Some(draft)) = (A::draft(OTHER), draft::<A>()) else { return Insertion::Full };
    // SAFETY: the value of a per-CPU array, which the kernel aligns to 8.
    let slot = unsafe { Slot::new(entry) };
    slot.write(&FlowEntry { next_hop, last_seen: now, ..draft.copy().twin() });
    // SAFETY: as above; nobody else writes it.
    insert(unsafe { &*entry })
}
