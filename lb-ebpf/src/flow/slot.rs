//! One entry of the flow table, in memory that all CPUs and the agent share.
//!
//! Protocol: whoever wants to write an entry claims it by compare-and-swap of its head to busy, writes the
//! other words and publishes the head with the next version by one atomic addition, as the bucket's marks, which are
//! in the head, too, may be set by others meanwhile. A reader copies the
//! words between two looks at the head. On x86 stores become visible in order and loads are not reordered,
//! so volatile accesses suffice for the words, and the locked publication is the full fence that lets two
//! CPUs which publish the same tuple see each other.

use lb_common::flow::{FlowEntry, FlowKey};
use lb_common::head::{Head, State};
use lb_common::net::{Address, Be16};

/// A place in the flow table or in the overflow map.
#[derive(Clone, Copy)]
pub struct Slot<A: Address> {
    entry: *mut FlowEntry<A>,
}

impl<A: Address> Slot<A> {
    /// # Safety
    ///
    /// `entry` points to an entry in the value of a map, aligned to 8, and is used while the program runs.
    #[inline(always)]
    pub const unsafe fn new(entry: *mut FlowEntry<A>) -> Self {
        Self { entry }
    }

    /// Is it the same place?
    #[cfg(test)]
    pub fn is_at(self, other: Self) -> bool {
        self.entry == other.entry
    }

    /// The head as it is now.
    #[inline(always)]
    pub fn head(self) -> Head {
        // SAFETY: `new` was promised an entry of a map; volatile, as others write it.
        Head(unsafe { self.entry.cast::<u64>().read_volatile() })
    }

    /// When it was last used.
    #[inline(always)]
    pub fn last_seen(self) -> u16 {
        // SAFETY: `new` was promised an entry of a map, so its field is in it, too.
        let field = unsafe { &raw const (*self.entry).last_seen };
        // SAFETY: as above; volatile, as others write it.
        unsafe { field.read_volatile() }
    }

    /// Notes a use. Needs no claim: a store into an entry that changed hands makes it look younger at most.
    #[inline(always)]
    pub fn touch(self, now: u16) {
        // SAFETY: `new` was promised an entry of a map, so its field is in it, too.
        let field = unsafe { &raw mut (*self.entry).last_seen };
        // SAFETY: as above; volatile, as others read it.
        unsafe { field.write_volatile(now) }
    }

    /// Changes the source port after the rewrite, in an entry that nobody else sees.
    #[inline(always)]
    pub fn set_source_port(self, port: Be16) {
        // SAFETY: `new` was promised an entry of a map, so its field is in it, too.
        let field = unsafe { &raw mut (*self.entry).source_port };
        // SAFETY: as above.
        unsafe { field.write_volatile(port) };
    }

    /// Sets the next hop, in an entry that nobody else sees.
    #[inline(always)]
    pub fn set_next_hop(self, next_hop: u16) {
        // SAFETY: `new` was promised an entry of a map, so its field is in it, too.
        let field = unsafe { &raw mut (*self.entry).next_hop };
        // SAFETY: as above.
        unsafe { field.write_volatile(next_hop) };
    }

    /// Zero if the entry has this tuple; no branch depends on it. Only a candidate: see [`Slot::read`].
    #[inline(always)]
    pub fn difference(self, key: &FlowKey<A>, wanted: u64) -> u64 {
        let mut difference = self.head().unlike(wanted);
        for word in 0..size_of::<A>() * 2 / 8 {
            // SAFETY: both addresses follow the head, so the word is inside the entry.
            let source = unsafe { self.entry.cast::<u64>().add(1 + word) };
            // SAFETY: both addresses begin the key, which is aligned to 8.
            let wanted = unsafe { core::ptr::from_ref(key).cast::<u64>().add(word) };
            // SAFETY: as above; volatile, as others write it.
            let found = unsafe { source.read_volatile() };
            // SAFETY: as above.
            difference |= found ^ unsafe { wanted.read() };
        }
        difference
    }

    /// Makes the answers of the flow whose head was `head` take another way, if the entry still is its. The next
    /// hop stands in the entry's last word, which is swapped as a whole, so no claim keeps others off; a use that is
    /// noted at the same moment wins.
    #[inline(always)]
    pub fn change_next_hop(self, head: Head, next_hop: u16) {
        const LAST: usize = 8;
        // SAFETY: the last word of the entry that `new` was promised, which is a multiple of eight bytes long.
        let word = unsafe { self.entry.cast::<u64>().add(size_of::<FlowEntry<A>>() / LAST - 1) };
        // SAFETY: as above; volatile, as others write it.
        let old = unsafe { word.read_volatile() };
        let shift = 8 * (core::mem::offset_of!(FlowEntry<A>, next_hop) % LAST) as u32;
        let new = old & !(0xffff << shift) | u64::from(next_hop) << shift;
        // Read after the word: whoever takes the entry claims the head first.
        if !self.is_still(head) {
            return;
        }
        // SAFETY: as above, and aligned to 8.
        let swapped = unsafe { compare_and_swap(word, old, new) };
        if swapped && !self.is_still(head) {
            // Another flow came in between, whose last word was the same to the bit.
            // SAFETY: as above.
            unsafe { compare_and_swap(word, new, old) };
        }
    }

    /// Does the entry belong to the flow whose head was `head`?
    #[inline(always)]
    fn is_still(self, head: Head) -> bool {
        let now = self.head();
        now.same_flow(head) && now.version() == head.version()
    }

    /// The entry, if it is live with these ports and protocol ([`Head::wanted`]) and did not change while it
    /// was copied.
    #[inline(always)]
    pub fn read(self, wanted: u64) -> Option<FlowEntry<A>> {
        let before = self.head();
        if !before.matches(wanted) {
            return None;
        }
        let mut entry = self.copy();
        entry.head = self.head();
        (entry.head.matches(wanted) && entry.head.version() == before.version()).then_some(entry)
    }

    /// All words, perhaps in the middle of a change.
    #[inline(always)]
    pub fn copy(self) -> FlowEntry<A> {
        let mut copy = core::mem::MaybeUninit::<FlowEntry<A>>::uninit();
        for word in 0..size_of::<FlowEntry<A>>() / 8 {
            // SAFETY: `word` is inside the entry, which is aligned to 8 and a multiple of it long.
            let source = unsafe { self.entry.cast::<u64>().add(word) };
            // SAFETY: inside the copy, which has the same type.
            let target = unsafe { copy.as_mut_ptr().cast::<u64>().add(word) };
            // SAFETY: as above; volatile, as others write it.
            let value = unsafe { source.read_volatile() };
            // SAFETY: as above.
            unsafe { target.write(value) };
        }
        // SAFETY: all words are written, and any bit pattern is an entry.
        unsafe { copy.assume_init() }
    }

    /// One of its words, perhaps in the middle of a change; `index` is a constant inside the entry.
    #[inline(always)]
    pub fn word(self, index: usize) -> u64 {
        // SAFETY: `new` was promised an entry of a map, which has this word.
        let word = unsafe { self.entry.cast::<u64>().add(index) };
        // SAFETY: as above; volatile, as others write it.
        unsafe { word.read_volatile() }
    }

    /// Changes the head if it still is `old`.
    #[inline(always)]
    pub fn swap(self, old: Head, new: Head) -> bool {
        // SAFETY: `new` was promised an entry of a map, aligned to 8; its first word is the head.
        unsafe { compare_and_swap(self.entry.cast(), old.0, new.0) }
    }

    /// Claims an entry whose head is `old`.
    #[inline(always)]
    pub fn claim(self, old: Head) -> bool {
        old.kind().state != State::Busy && self.swap(old, old.busy())
    }

    /// Fills an entry that was claimed from `previous`, and publishes it under the next version.
    #[inline(always)]
    pub fn publish(self, entry: &FlowEntry<A>, previous: Head) {
        self.fill(entry, 1);
        // SAFETY: `new` was promised an entry of a map, aligned to 8; its first word is the head.
        unsafe { add(self.entry.cast(), entry.head.replacing(previous).minus(previous.busy())) };
    }

    /// Writes an entry that is nobody else's.
    #[inline(always)]
    pub fn write(self, entry: &FlowEntry<A>) {
        self.fill(entry, 0);
    }

    #[inline(always)]
    fn fill(self, entry: &FlowEntry<A>, first: usize) {
        for word in first..size_of::<FlowEntry<A>>() / 8 {
            // SAFETY: `word` is inside the entry given, whose words are all initialised.
            let source = unsafe { core::ptr::from_ref(entry).cast::<u64>().add(word) };
            // SAFETY: as above.
            let value = unsafe { source.read() };
            // SAFETY: `word` is inside the entry of the map.
            let target = unsafe { self.entry.cast::<u64>().add(word) };
            // SAFETY: as above; volatile, as others read it.
            unsafe { target.write_volatile(value) };
        }
    }

    /// Empties an entry whose head still is `old`.
    #[inline(always)]
    pub fn empty(self, old: Head) {
        let _ = self.swap(old, old.emptied());
    }
}

/// # Safety
///
/// `word` is aligned and may be written.
#[cfg(target_arch = "bpf")]
#[inline(always)]
unsafe fn add(word: *mut u64, amount: u64) {
    use core::intrinsics::{AtomicOrdering, atomic_xadd};
    // SAFETY: the caller promises a valid word.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(word, amount) };
}

/// # Safety
///
/// `word` is aligned and may be written.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
unsafe fn add(word: *mut u64, amount: u64) {
    use core::sync::atomic::{AtomicU64, Ordering};
    // SAFETY: the caller promises a valid word.
    unsafe { AtomicU64::from_ptr(word) }.fetch_add(amount, Ordering::SeqCst);
}

/// # Safety
///
/// `word` is aligned and may be written.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn compare_and_swap(word: *mut u64, old: u64, new: u64) -> bool {
    use core::intrinsics::{AtomicOrdering, atomic_cxchg};
    // SAFETY: the caller promises a valid word.
    let (_, swapped) = unsafe {
        atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, old, new)
    };
    swapped
}

/// # Safety
///
/// `word` is aligned and may be written.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub unsafe fn compare_and_swap(word: *mut u64, old: u64, new: u64) -> bool {
    use core::sync::atomic::{AtomicU64, Ordering};
    // SAFETY: the caller promises a valid word.
    let word = unsafe { AtomicU64::from_ptr(word) };
    word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
}

#[cfg(test)]
mod tests {
    use lb_common::head::Kind;
    use lb_common::net::{Be16, Ipv4, Protocol};

    use super::*;

    fn entry() -> FlowEntry<Ipv4> {
        let kind =
            Kind { state: State::Opening, reply: false, masquerade: false, at_egress: true, partial: false };
        // SAFETY: any bit pattern is an entry.
        let mut entry: FlowEntry<Ipv4> = unsafe { core::mem::zeroed() };
        entry.head = Head::new((Be16::new(7), Be16::new(8)), Protocol::Udp, kind, Head::default());
        entry.source = Ipv4([192, 0, 2, 1]);
        entry
    }

    #[test]
    fn an_entry_is_claimed_once_and_read_when_published() {
        // SAFETY: any bit pattern is an entry.
        let mut memory: FlowEntry<Ipv4> = unsafe { core::mem::zeroed() };
        // SAFETY: the entry outlives the slot.
        let slot = unsafe { Slot::new(&raw mut memory) };
        let wanted = Head::wanted((Be16::new(7), Be16::new(8)), Protocol::Udp);
        let empty = slot.head();
        assert!(slot.claim(empty));
        assert!(!slot.claim(empty) && !slot.claim(slot.head()), "claimed twice");
        assert!(slot.read(wanted).is_none(), "read while being written");
        slot.publish(&entry(), empty);
        assert_eq!(slot.read(wanted).map(|read| read.source), Some(Ipv4([192, 0, 2, 1])));
        slot.empty(slot.head());
        assert!(slot.read(wanted).is_none());
        assert_eq!(slot.head().version(), 2);
    }

    #[test]
    fn a_next_hop_changes_in_place_and_only_for_the_flow_that_is_there() {
        // SAFETY: any bit pattern is an entry.
        let mut memory: FlowEntry<Ipv4> = unsafe { core::mem::zeroed() };
        // SAFETY: the entry outlives the slot.
        let slot = unsafe { Slot::new(&raw mut memory) };
        let empty = slot.head();
        assert!(slot.claim(empty));
        let flow = FlowEntry { last_seen: 7, next_hop: 1, ..entry() };
        slot.publish(&flow, empty);
        let head = slot.head();
        slot.change_next_hop(head, 0xabcd);
        let seen = slot.copy();
        assert_eq!((seen.next_hop, seen.last_seen, seen.backend), (0xabcd, 7, flow.backend));
        assert_eq!(seen.head, head, "no claim, no new version");
        assert!(slot.claim(head));
        slot.change_next_hop(head, 3);
        slot.publish(&flow, head);
        slot.change_next_hop(head, 3);
        assert_eq!(slot.copy().next_hop, 1, "the entry changed hands");
    }

    #[test]
    fn a_mark_set_during_a_claim_is_kept() {
        // SAFETY: any bit pattern is an entry.
        let mut memory: FlowEntry<Ipv4> = unsafe { core::mem::zeroed() };
        // SAFETY: the entry outlives the slot.
        let slot = unsafe { Slot::new(&raw mut memory) };
        let empty = slot.head();
        assert!(slot.claim(empty));
        assert!(slot.swap(slot.head(), slot.head().with_overflowed(true)));
        slot.publish(&entry(), empty);
        assert!(slot.head().overflowed());
        assert_eq!(slot.head().version(), 1);
    }
}
