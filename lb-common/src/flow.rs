//! Flows: one direction of a connection, its rewrite, and how both stand in the flow table.
//!
//! A flow has two halves. The forward half is keyed by the client's packet (client → VIP), the reply half by
//! the backend's answer. Either half holds enough to rebuild the other: [`Flow::twin`].

use crate::abi;
use crate::backend::BackendRef;
use crate::head::{Head, Kind};
use crate::net::{Address, Be16, Ipv4, Ipv6, Protocol};

/// A 5-tuple as seen on the wire. Aligned so that a copy on a packet program's stack, where the verifier
/// demands it, is moved in aligned words; as [`Flow`].
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowKey<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Source port.
    pub source_port: Be16,
    /// Destination port.
    pub destination_port: Be16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl<A: Address> FlowKey<A> {
    /// The tuple of an answer to this packet.
    #[inline(always)]
    pub fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol: self.protocol,
        }
    }
}

/// One half of a flow, taken out of its entry.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow<A> {
    /// The tuple that it rewrites.
    pub key: FlowKey<A>,
    /// The address that replaces: forward, the destination (the backend); reply and masquerade, the
    /// destination (the client); reply without masquerade, the source (the VIP).
    pub address: A,
    /// The source port after the rewrite.
    pub source_port: Be16,
    /// The destination port after the rewrite.
    pub destination_port: Be16,
    /// Who serves it, and in which generation.
    pub backend: BackendRef,
    /// Where the client's packets came from: index into NEXT_HOPS, 0 unknown. The same in both halves.
    pub next_hop: u16,
    /// When it was last used, in ticks ([`crate::config::TICK_SHIFT`]).
    pub last_seen: u16,
    /// State, direction and mode.
    pub kind: Kind,
}

impl<A: Address> Flow<A> {
    /// The tuple after the rewrite.
    #[inline(always)]
    pub fn rewritten(&self) -> FlowKey<A> {
        let (source, destination) = match (self.kind.reply, self.kind.masquerade) {
            (false, false) => (self.key.source, self.address),
            (false | true, true) => (self.key.destination, self.address),
            (true, false) => (self.address, self.key.destination),
        };
        FlowKey {
            source,
            destination,
            source_port: self.source_port,
            destination_port: self.destination_port,
            protocol: self.key.protocol,
        }
    }

    /// The other half: its key is the answer to this half's rewritten packet, and its rewrite the answer to
    /// this half's key. The sender's checksum habit is not known for it.
    #[inline(always)]
    pub fn twin(&self) -> Self {
        let key = self.rewritten().reversed();
        // The client and the VIP, each seen from the half that has to write it.
        let address = match (self.kind.reply, self.kind.masquerade) {
            (false, false) => self.key.destination,
            (false, true) | (true, _) => self.key.source,
        };
        Self {
            key,
            kind: Kind { reply: !self.kind.reply, partial: false, ..self.kind },
            address,
            source_port: self.key.destination_port,
            destination_port: self.key.source_port,
            ..*self
        }
    }
}

/// One half of a flow in its bucket. IPv4: 32 B, IPv6: 72 B.
///
/// Written only by who claimed it through `head` (compare-and-swap to busy, words, head with the next
/// version). Read by copying the words between two looks at `head`. `last_seen` alone is stored without a
/// claim: a stray store can only make an entry look younger.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct FlowEntry<A: Address> {
    /// Ports, protocol, kind, version.
    pub head: Head,
    /// Source address of the key.
    pub source: A,
    /// Destination address of the key.
    pub destination: A,
    /// See [`Flow::address`].
    pub address: A,
    /// Source port after the rewrite.
    pub source_port: Be16,
    /// Destination port after the rewrite.
    pub destination_port: Be16,
    /// Backend id and generation, see [`BackendRef`].
    pub backend: BackendRef,
    /// Index into NEXT_HOPS; 0 unknown.
    pub next_hop: u16,
    /// Ticks.
    pub last_seen: u16,
    /// Zero.
    pub tail: A::Tail,
}

/// Entries a bucket.
pub const WAYS: usize = 4;

/// What the hash selects: a set of entries. IPv4: two cache lines, IPv6: four and a half.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct Bucket<A: Address> {
    /// In no order.
    pub entries: [FlowEntry<A>; WAYS],
}

/// The key of the overflow map.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OverflowKey<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Source port.
    pub source_port: Be16,
    /// Destination port.
    pub destination_port: Be16,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub padding: [u8; 3],
}

impl<A: Address> From<FlowKey<A>> for OverflowKey<A> {
    #[inline(always)]
    fn from(key: FlowKey<A>) -> Self {
        Self {
            source: key.source,
            destination: key.destination,
            source_port: key.source_port,
            destination_port: key.destination_port,
            protocol: key.protocol.number(),
            padding: [0; 3],
        }
    }
}

impl<A: Address> FlowEntry<A> {
    /// The tuple that it rewrites.
    #[inline(always)]
    pub fn key(&self) -> FlowKey<A> {
        let (source_port, destination_port) = self.head.ports();
        FlowKey {
            source: self.source,
            destination: self.destination,
            source_port,
            destination_port,
            protocol: self.head.protocol(),
        }
    }

    /// The flow of a live entry, for a reader that has made sure it did not change meanwhile.
    #[inline(always)]
    pub fn flow(&self) -> Flow<A> {
        Flow {
            key: self.key(),
            kind: self.head.kind(),
            address: self.address,
            source_port: self.source_port,
            destination_port: self.destination_port,
            backend: self.backend,
            next_hop: self.next_hop,
            last_seen: self.last_seen,
        }
    }

    /// The tuple after the rewrite: [`Flow::rewritten`], read from the entry's bits.
    #[inline(always)]
    pub fn rewritten(&self) -> FlowKey<A> {
        let (masqueraded, reply) = (self.head.masqueraded_mask(), self.head.reply_mask());
        FlowKey {
            source: self.source.or_if(reply, self.address).or_if(masqueraded, self.destination),
            destination: self.destination.or_if(masqueraded | !reply, self.address),
            source_port: self.source_port,
            destination_port: self.destination_port,
            protocol: self.head.protocol(),
        }
    }

    /// The entry of the other half: [`Flow::twin`], made from the entry's bits.
    #[inline(always)]
    pub fn twin(&self) -> Self {
        let rewritten = self.rewritten();
        let kept = !(self.head.masqueraded_mask() | self.head.reply_mask());
        let (source_port, destination_port) = self.head.ports();
        Self {
            head: self.head.twin((self.destination_port, self.source_port)),
            source: rewritten.destination,
            destination: rewritten.source,
            address: self.source.or_if(kept, self.destination),
            source_port: destination_port,
            destination_port: source_port,
            ..*self
        }
    }

    /// Does it have the addresses of this tuple?
    #[inline(always)]
    pub fn is_between(&self, source: A, destination: A) -> bool {
        self.source == source && self.destination == destination
    }

    /// Do both rewrite the same tuple in the same way?
    #[inline(always)]
    pub fn same_flow(&self, other: &Self) -> bool {
        self.head.same_flow(other.head)
            && self.is_between(other.source, other.destination)
            && self.address == other.address
            && self.source_port == other.source_port
            && self.destination_port == other.destination_port
    }

    /// The entry of a flow that takes the place of an entry with head `previous`.
    #[inline(always)]
    pub fn new(flow: &Flow<A>, previous: Head) -> Self {
        let ports = (flow.key.source_port, flow.key.destination_port);
        Self {
            head: Head::new(ports, flow.key.protocol, flow.kind, previous),
            source: flow.key.source,
            destination: flow.key.destination,
            address: flow.address,
            source_port: flow.source_port,
            destination_port: flow.destination_port,
            backend: flow.backend,
            next_hop: flow.next_hop,
            last_seen: flow.last_seen,
            tail: A::Tail::default(),
        }
    }
}

abi!(FlowEntry<Ipv4>, 32);
abi!(Bucket<Ipv4>, 128);
abi!(OverflowKey<Ipv4>, 16);
abi!(FlowEntry<Ipv6>, 72);
abi!(Bucket<Ipv6>, 288);
abi!(OverflowKey<Ipv6>, 40);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::State;
    use proptest::prelude::*;

    prop_compose! {
        fn forward()(
            client: [u8; 4], vip: [u8; 4], backend: [u8; 4],
            ports: [u16; 4], masquerade: bool, at_egress: bool, udp: bool, id in 0_u32..1 << 24,
        ) -> Flow<Ipv4> {
            Flow {
                key: FlowKey {
                    source: Ipv4(client),
                    destination: Ipv4(vip),
                    source_port: Be16::new(ports[0]),
                    destination_port: Be16::new(ports[1]),
                    protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
                },
                kind: Kind { state: State::Opening, reply: false, masquerade, at_egress, partial: false },
                address: Ipv4(backend),
                source_port: Be16::new(ports[2]),
                destination_port: Be16::new(ports[3]),
                backend: BackendRef::new(id, 3),
                next_hop: 9,
                last_seen: 77,
            }
        }
    }

    proptest! {
        #[test]
        fn twins_rebuild_each_other(flow in forward()) {
            let twin = flow.twin();
            prop_assert!(twin.kind.reply);
            prop_assert_eq!(twin.key, flow.rewritten().reversed());
            prop_assert_eq!(twin.rewritten(), flow.key.reversed());
            prop_assert_eq!(twin.twin(), flow);
        }

        #[test]
        fn an_entry_holds_the_whole_flow(flow in forward(), previous: u64) {
            prop_assert_eq!(FlowEntry::new(&flow, Head(previous)).flow(), flow);
            prop_assert_eq!(FlowEntry::new(&flow.twin(), Head(previous)).flow(), flow.twin());
        }

        #[test]
        fn an_entry_does_as_its_flow_does(flow in forward(), previous: u64) {
            for flow in [flow, flow.twin()] {
                let entry = FlowEntry::new(&flow, Head(previous));
                prop_assert_eq!(entry.rewritten(), flow.rewritten());
                prop_assert_eq!(entry.twin().flow(), flow.twin());
                prop_assert_eq!(entry.twin().head.version(), 0);
                prop_assert!(entry.same_flow(&entry.twin().twin()));
                prop_assert!(!entry.same_flow(&entry.twin()));
            }
        }
    }
}
