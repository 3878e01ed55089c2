//! One entry of the flow table, in memory that is shared with the packet programs: `lb-ebpf/src/flow/slot.rs`
//! from the agent's side.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use lb_common::flow::FlowEntry;
use lb_common::head::{Head, State};
use lb_common::net::Address;

/// Where an entry stands: its words, the head first.
#[derive(Clone, Copy)]
pub(super) struct Place<'a>(&'a [AtomicU64]);

/// Looks at an entry that changes each time. One that changes as often within nanoseconds is left to the next
/// walk.
const TRIES: u32 = 4;

impl<'a> Place<'a> {
    /// The words of an entry.
    pub(super) const fn new(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    /// The head as it is now.
    pub(super) fn head(self) -> Head {
        self.0.first().map_or_else(Head::default, |head| Head(head.load(Ordering::Acquire)))
    }

    /// The entry, if it is somebody's and did not change while it was copied.
    pub(super) fn read<A: Address>(self) -> Option<FlowEntry<A>> {
        for _ in 0..TRIES {
            let before = self.head();
            if matches!(before.state(), State::Empty | State::Busy) {
                return None;
            }
            let mut entry: FlowEntry<A> = self.copy()?;
            // The words must have been read before the head is looked at again.
            fence(Ordering::Acquire);
            let after = self.head();
            if after.version() == before.version() && !matches!(after.state(), State::Empty | State::Busy) {
                entry.head = after;
                return Some(entry);
            }
        }
        None
    }

    /// All words, perhaps in the middle of a change.
    fn copy<A: Address>(self) -> Option<FlowEntry<A>> {
        if self.0.len() * 8 != size_of::<FlowEntry<A>>() {
            return None;
        }
        let mut entry = std::mem::MaybeUninit::<FlowEntry<A>>::uninit();
        for (index, word) in self.0.iter().enumerate() {
            // SAFETY: the entry has as many words, and is aligned to them.
            let target = unsafe { entry.as_mut_ptr().cast::<u64>().add(index) };
            // SAFETY: as above.
            unsafe { target.write(word.load(Ordering::Relaxed)) };
        }
        // SAFETY: all words are written, and any bit pattern is an entry.
        Some(unsafe { entry.assume_init() })
    }

    /// Empties the entry if its head still is `old`: a claim or a change of state in between prevents it.
    pub(super) fn empty(self, old: Head) -> bool {
        self.swap(old, old.emptied())
    }

    /// Says that no flow of the bucket lives in the overflow map, if the head still is `old`.
    pub(super) fn clear_mark(self, old: Head) -> bool {
        self.swap(old, old.with_overflowed(false))
    }

    fn swap(self, old: Head, new: Head) -> bool {
        let Some(word) = self.0.first() else { return false };
        word.compare_exchange(old.0, new.0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::backend::BackendRef;
    use lb_common::flow::{Flow, FlowKey};
    use lb_common::head::Kind;
    use lb_common::net::{Be16, Ipv4, Protocol};

    /// A flow whose words are all functions of one number.
    fn entry(number: u16, previous: Head) -> FlowEntry<Ipv4> {
        let [high, low] = number.to_be_bytes();
        let address = |net| Ipv4([198, net, high, low]);
        let flow = Flow {
            key: FlowKey {
                source: address(18),
                destination: address(19),
                source_port: Be16::new(number),
                destination_port: Be16::new(!number),
                protocol: Protocol::Tcp,
            },
            address: address(51),
            source_port: Be16::new(number),
            destination_port: Be16::new(number ^ 1),
            backend: BackendRef(u32::from(number)),
            next_hop: number,
            last_seen: number,
            kind: Kind {
                state: State::Established,
                reply: false,
                masquerade: false,
                at_egress: false,
                partial: false,
            },
        };
        FlowEntry::new(&flow, previous)
    }

    fn words(entry: &FlowEntry<Ipv4>) -> [u64; 4] {
        // SAFETY: 32 bytes without padding, of which any pattern is four words.
        unsafe { std::mem::transmute::<FlowEntry<Ipv4>, [u64; 4]>(*entry) }
    }

    fn write(memory: &[AtomicU64], entry: &FlowEntry<Ipv4>) {
        let place = Place::new(memory);
        let head = place.head();
        assert!(place.swap(head, head.busy()));
        for (word, value) in memory.iter().zip(words(entry)).skip(1) {
            word.store(value, Ordering::Release);
        }
        assert!(place.swap(head.busy(), entry.head.replacing(head)));
    }

    #[test]
    fn a_reader_never_sees_half_of_one_flow_and_half_of_another() {
        let memory = [const { AtomicU64::new(0) }; 4];
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for number in (0..=u16::MAX).cycle().take(200_000) {
                    write(&memory, &entry(number, Head::default()));
                }
            });
            let mut seen = 0_u32;
            while !writer.is_finished() || seen == 0 {
                let Some(read) = Place::new(&memory).read::<Ipv4>() else { continue };
                let number = read.source_port.get();
                assert_eq!(words(&read)[1..], words(&entry(number, Head::default()))[1..]);
                assert_eq!(read.head.ports().0.get(), number);
                seen += 1;
            }
        });
    }

    #[test]
    fn only_an_unchanged_entry_is_emptied() {
        let memory = [const { AtomicU64::new(0) }; 4];
        write(&memory, &entry(7, Head::default()));
        let place = Place::new(&memory);
        let old = place.head();
        write(&memory, &entry(8, Head::default()));
        assert!(!place.empty(old));
        assert_eq!(place.read::<Ipv4>().unwrap().source_port.get(), 8);
        assert!(place.empty(place.head()));
        assert!(place.read::<Ipv4>().is_none());
    }

    #[test]
    fn a_spill_keeps_the_mark_from_being_cleared() {
        let memory = [const { AtomicU64::new(0) }; 4];
        let place = Place::new(&memory);
        let marked = place.head().spilled();
        assert!(place.swap(place.head(), marked));
        assert!(place.swap(marked, marked.spilled()));
        assert!(!place.clear_mark(marked) && place.head().overflowed());
        assert!(place.clear_mark(place.head()) && !place.head().overflowed());
    }
}
