//! Fragments: a later one has no ports, and takes those that its packet's first one told.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::btf_maps::{LruHashMap, PerCpuArray};
use aya_ebpf::macros::btf_map;
use lb_common::config::expired;
use lb_common::flow::FlowKey;
use lb_common::fragment::{FRAGMENT_TIMEOUT, FragmentKey, FragmentPorts};
use lb_common::map;
use lb_common::net::{Address, Ipv4, Ipv6, Protocol};
use lb_common::reason::Reason;

use crate::config::Clock;
use crate::flow::life::Event;
use crate::packet::Packet;
use crate::parse::{self, Fragment, Ip, Segment};

/// Addresses between which fragments are remembered.
pub trait Fragments: Address + 'static {
    /// The ports of a fragmented packet.
    fn recall(key: &FragmentKey<Self>) -> Option<FragmentPorts>;

    /// Keeps the ports of a fragmented packet.
    fn remember(key: &FragmentKey<Self>, ports: &FragmentPorts);

    /// Room for a note, this CPU's own.
    fn note() -> Option<*mut Note<Self>>;
}

/// The segment that a packet is part of, and how the others of its parts are known. It stands in a map, as the
/// stack has no room for it beside what takes the packet along its flow.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct Note<A> {
    /// The segment.
    pub segment: Segment<A>,
    key: FragmentKey<A>,
    ports: FragmentPorts,
}

/// An address family's map.
macro_rules! fragments {
    ($address:ty: $map:ident, $note:ident) => {
        /// Packets of which the first fragment took a flow. When it is full, the kernel gives up the packet that
        /// was unused the longest.
        #[btf_map]
        static $map: LruHashMap<FragmentKey<$address>, FragmentPorts, { map::MAX_FRAGMENTS as usize }> =
            LruHashMap::new();

        /// Each CPU's own scratch of one packet.
        #[btf_map]
        static $note: PerCpuArray<Note<$address>, 1> = PerCpuArray::new();

        impl Fragments for $address {
            #[inline(always)]
            fn recall(key: &FragmentKey<Self>) -> Option<FragmentPorts> {
                // SAFETY: copied at once. An entry that is recycled this very moment may hold another packet's
                // ports for which there is a flow between the same addresses, or none.
                unsafe { $map.get(key) }.copied()
            }

            #[inline(always)]
            fn remember(key: &FragmentKey<Self>, ports: &FragmentPorts) {
                // Without room, the rest of the packet is dropped by name.
                let _ = $map.insert(key, ports, u64::from(BPF_ANY));
            }

            #[inline(always)]
            fn note() -> Option<*mut Note<Self>> {
                $note.get_ptr_mut(0)
            }
        }
    };
}

fragments!(Ipv4: FRAGMENTS_V4, FRAGMENT_V4);
fragments!(Ipv6: FRAGMENTS_V6, FRAGMENT_V6);

/// The segment that a packet is part of.
///
/// # Errors
///
/// `Fragment` for a first one that hides what decides about it (RFC 1858), and for a later one that could
/// overwrite it (RFC 3128); `FragmentUnknown` for a later one whose first one took no flow; and why else there is
/// no segment.
#[inline(always)]
pub fn segment<P: Packet, A: Fragments>(
    packet: &mut P,
    ip: &Ip<A>,
    clock: &Clock,
) -> Result<Segment<A>, Reason> {
    let protocol = Protocol::from_number(ip.protocol).ok_or(Reason::ProtocolUnknown)?;
    if ip.fragment == Fragment::Later {
        return later(ip, protocol, clock);
    }
    let absent = if ip.fragment == Fragment::First { Reason::Fragment } else { Reason::Malformed };
    parse::segment(packet, ip).filter(Segment::is_whole).ok_or(absent)
}

#[inline(always)]
fn later<A: Fragments>(ip: &Ip<A>, protocol: Protocol, clock: &Clock) -> Result<Segment<A>, Reason> {
    if !ip.sound {
        return Err(Reason::Malformed);
    }
    if protocol == Protocol::Tcp && ip.place == 1 {
        return Err(Reason::Fragment);
    }
    let ports = A::recall(&key(ip)).ok_or(Reason::FragmentUnknown)?;
    if expired(ports.seen, clock.tick, FRAGMENT_TIMEOUT) {
        return Err(Reason::FragmentUnknown);
    }
    Ok(Segment {
        key: FlowKey {
            source: ip.source,
            destination: ip.destination,
            source_port: ports.source,
            destination_port: ports.destination,
            protocol,
        },
        transport: ip.transport,
        length: ip.length,
        field: 0,
        event: Event::DATA,
        hops: ip.hops,
        fragment: Fragment::Later,
    })
}

/// Notes the segment that a packet is part of.
#[inline(always)]
pub fn note<A: Fragments>(ip: &Ip<A>, segment: &Segment<A>, clock: &Clock) -> Option<()> {
    let (source, destination) = (segment.key.source_port, segment.key.destination_port);
    let ports = FragmentPorts { source, destination, seen: clock.tick, padding: 0 };
    // SAFETY: this CPU's own value, and programs on one CPU do not interrupt each other here.
    unsafe { A::note()?.write(Note { segment: *segment, key: key(ip), ports }) };
    Some(())
}

/// What this CPU noted last, in this very packet's walk.
#[inline(always)]
pub fn noted<A: Fragments>() -> Option<&'static Note<A>> {
    // SAFETY: as in `note`, which wrote it.
    A::note().and_then(|note| unsafe { note.as_ref() })
}

/// Remembers the ports of a first fragment that takes a flow.
#[inline(always)]
pub fn remember<A: Fragments>(note: &Note<A>) {
    if note.segment.fragment == Fragment::First {
        A::remember(&note.key, &note.ports);
    }
}

#[inline(always)]
const fn key<A: Copy>(ip: &Ip<A>) -> FragmentKey<A> {
    FragmentKey {
        source: ip.source,
        destination: ip.destination,
        identification: ip.identification,
        protocol: ip.protocol,
        padding: [0; 3],
    }
}
