//! Headers as they stand in a frame.

use lb_common::net::{Be16, Ipv4, Ipv6, Mac, Station};
use network_types::icmp::Icmpv4Hdr;
use network_types::ip::Ipv4Hdr;
use network_types::tcp::TcpHdr;
use network_types::udp::UdpHdr;

/// A type that can be laid over packet bytes anywhere.
///
/// # Safety
///
/// Alignment 1, no padding, and every bit pattern is a value.
pub unsafe trait Header: Copy {}

/// An Ethernet header. Ours, because network-types' demands even addresses.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ethernet {
    /// To whom.
    pub destination: Mac,
    /// From whom.
    pub source: Mac,
    /// What follows.
    pub kind: Be16,
}

/// Where [`Ethernet::source`] is.
pub const SOURCE: usize = 6;

/// IPv4 in [`Ethernet::kind`].
pub const IPV4: Be16 = Be16::new(0x0800);
/// ARP in [`Ethernet::kind`].
pub const ARP: Be16 = Be16::new(0x0806);
/// IPv6 in [`Ethernet::kind`].
pub const IPV6: Be16 = Be16::new(0x86dd);
/// 802.1Q in [`Ethernet::kind`].
pub const VLAN: Be16 = Be16::new(0x8100);
/// 802.1ad in [`Ethernet::kind`].
pub const QINQ: Be16 = Be16::new(0x88a8);

/// The EtherType of a frame, and those behind one and two VLAN tags.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Tags {
    /// What follows the addresses.
    pub kind: Be16,
    /// Priority and VLAN of the outer tag.
    pub control: Be16,
    /// What follows the outer tag.
    pub inner: Be16,
    /// Priority and VLAN of the inner tag.
    pub inner_control: Be16,
    /// What follows the inner tag.
    pub innermost: Be16,
}

impl Tags {
    /// Where they begin, from the start of the frame.
    pub const START: usize = 12;
    /// Where they end.
    pub const END: usize = Self::START + size_of::<Self>();
    /// Where the network header is in a frame without tags.
    pub const UNTAGGED: usize = size_of::<Ethernet>();
}

/// An IPv6 header without extensions. Ours, because network-types' makes the programs move addresses byte by byte.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HeaderV6 {
    /// In the upper half; the beginning of the traffic class in the lower.
    pub version: u8,
    /// The rest of the traffic class, and the flow label.
    pub class: [u8; 3],
    /// Of what follows.
    pub length: Be16,
    /// What follows.
    pub next: u8,
    /// Hop limit.
    pub hops: u8,
    /// From whom.
    pub source: Ipv6,
    /// To whom.
    pub destination: Ipv6,
}

/// An ARP packet for IPv4 over Ethernet (RFC 826).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Arp {
    /// 1: Ethernet.
    pub hardware: Be16,
    /// IPv4's EtherType.
    pub protocol: Be16,
    /// 6.
    pub hardware_length: u8,
    /// 4.
    pub protocol_length: u8,
    /// 1 request, 2 reply.
    pub operation: Be16,
    /// Who speaks.
    pub sender_mac: Mac,
    /// Who speaks.
    pub sender: Ipv4,
    /// Who is asked; ignored in requests.
    pub target_mac: Mac,
    /// Who is asked.
    pub target: Ipv4,
}

/// A neighbour solicitation, without its options (RFC 4861 section 4.3).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Solicitation {
    /// 135.
    pub kind: u8,
    /// 0.
    pub code: u8,
    /// Of the message and a pseudo-header.
    pub check: Be16,
    /// Ignored.
    pub reserved: [u8; 4],
    /// Who is asked.
    pub target: Ipv6,
}

/// Both ports, with which TCP and UDP begin.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ports {
    /// From.
    pub source: Be16,
    /// To.
    pub destination: Be16,
}

/// What nearly every packet begins with: Ethernet without tags, IPv4 without options, TCP or as many bytes of UDP.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Plain {
    /// To whom.
    pub to: Mac,
    /// From whom.
    pub from: Mac,
    /// What follows.
    pub kind: Be16,
    /// Version and length of the IP header.
    pub version: u8,
    /// Type of service.
    pub service: u8,
    /// Bytes of the IP packet.
    pub total: Be16,
    /// What fragments have in common.
    pub identification: [u8; 2],
    /// Which fragment it is.
    pub fragment: [u8; 2],
    /// TTL.
    pub hops: u8,
    /// What the IP packet carries.
    pub protocol: u8,
    /// Of the IP header.
    pub check: [u8; 2],
    /// Source and destination.
    pub addresses: [u8; 8],
    /// Source and destination.
    pub ports: [u8; 4],
    /// Of UDP: length.
    pub length: [u8; 2],
    /// Of UDP: checksum.
    pub udp_check: [u8; 2],
    /// Of TCP: the rest of the numbers, and the header's length.
    pub numbers: [u8; 5],
    /// Of TCP.
    pub flags: u8,
    /// Of TCP.
    pub window: [u8; 2],
    /// Of TCP: checksum.
    pub tcp_check: [u8; 2],
    /// Of TCP: urgent pointer.
    pub urgent: [u8; 2],
}

impl Plain {
    /// The length of its IPv4 header.
    pub const IP: u16 = size_of::<Ipv4Hdr>() as u16;
    /// Where TCP or UDP begins.
    pub const TRANSPORT: usize = core::mem::offset_of!(Self, ports);

    /// Bytes from a place on, which the compiler else loads one by one.
    #[inline(always)]
    const fn bytes<const FROM: usize, const LENGTH: usize>(&self) -> [u8; LENGTH] {
        const { assert!(FROM + LENGTH <= size_of::<Self>()) };
        // SAFETY: they are inside.
        let first = unsafe { core::ptr::from_ref(self).byte_add(FROM) };
        // SAFETY: as above; bytes are aligned anywhere.
        unsafe { first.cast::<[u8; LENGTH]>().read() }
    }

    /// Whole words up to the ports, and what is left of the last.
    pub const WORDS: usize = 5;

    /// The first words.
    #[inline(always)]
    pub const fn words(&self) -> [u64; Self::WORDS] {
        let last = u64::from_le_bytes(self.bytes::<32, 8>());
        let [first, second] =
            [u64::from_le_bytes(self.bytes::<0, 8>()), u64::from_le_bytes(self.bytes::<8, 8>())];
        [
            first,
            second,
            u64::from_le_bytes(self.bytes::<16, 8>()),
            u64::from_le_bytes(self.bytes::<24, 8>()),
            last,
        ]
    }

    /// To whom, and above that what is behind it.
    #[inline(always)]
    pub const fn receiver(&self) -> Station {
        Station(u64::from_le_bytes(self.bytes::<0, 8>()))
    }

    /// Sets to whom, in two steps: the compiler else stores each byte by itself.
    #[inline(always)]
    pub const fn send_to(&mut self, to: Station) {
        self.set::<0, 4>((to.0 as u32).to_le_bytes());
        self.set::<4, 2>(((to.0 >> 32) as u16).to_le_bytes());
    }

    /// Sets from whom and to whom, in two steps: the first has the beginning of the second address, too.
    #[inline(always)]
    pub const fn send(&mut self, from: Station, to: Station) {
        self.set::<0, 8>((to.0 & Station::MAC | from.0 << 48).to_le_bytes());
        self.set::<8, 4>(((from.0 >> 16) as u32).to_le_bytes());
    }

    /// [`Plain::bytes`] the other way.
    #[inline(always)]
    const fn set<const FROM: usize, const LENGTH: usize>(&mut self, bytes: [u8; LENGTH]) {
        const { assert!(FROM + LENGTH <= size_of::<Self>()) };
        // SAFETY: they are inside.
        let first = unsafe { core::ptr::from_mut(self).byte_add(FROM) };
        // SAFETY: as above; bytes are aligned anywhere.
        unsafe { first.cast::<[u8; LENGTH]>().write(bytes) };
    }

    /// Is it IPv4 without options? The type and the first byte behind it are compared at once.
    #[inline(always)]
    pub const fn is_simple_v4(&self) -> bool {
        const SIMPLE: u32 = u32::from_le_bytes([0x08, 0x00, 0x45, 0]);
        u32::from_le_bytes(self.bytes::<12, 4>()) & 0x00ff_ffff == SIMPLE
    }

    /// Of ARP: who is asked.
    #[inline(always)]
    pub const fn asked(&self) -> u32 {
        const { assert!(core::mem::offset_of!(Self, length) == 14 + core::mem::offset_of!(Arp, target)) };
        u32::from_ne_bytes(self.bytes::<38, 4>())
    }

    /// Of IPv6: what follows its header.
    #[inline(always)]
    pub const fn next_v6(&self) -> u8 {
        const { assert!(core::mem::offset_of!(Self, fragment) == 14 + core::mem::offset_of!(HeaderV6, next)) };
        self.fragment[0]
    }

    /// Of IPv6: source and destination, by halves.
    #[inline(always)]
    pub fn addresses_v6(&self) -> ((u64, u64), (u64, u64)) {
        const { assert!(core::mem::offset_of!(Self, hops) == 14 + core::mem::offset_of!(HeaderV6, source)) };
        let half = |bytes| u64::from_ne_bytes(bytes);
        let source = (half(self.bytes::<22, 8>()), half(self.bytes::<30, 8>()));
        (source, (half(self.bytes::<38, 8>()), half(self.bytes::<46, 8>())))
    }

    /// Both addresses as one number, the destination in the upper half.
    #[inline(always)]
    pub const fn addresses(&self) -> u64 {
        u64::from_ne_bytes(self.addresses)
    }

    /// The destination.
    #[inline(always)]
    pub const fn destination(&self) -> Ipv4 {
        let [_, _, _, _, a, b, c, d] = self.addresses;
        Ipv4([a, b, c, d])
    }

    /// The ports as [`Head::matching`](lb_common::head::Head::matching) takes them.
    #[inline(always)]
    pub const fn ports(&self) -> u32 {
        u32::from_ne_bytes(self.ports)
    }
}

/// Four bytes of a header. The stack takes headers as words: there the verifier demands alignment.
pub type Word = [u8; 4];

/// A value whose copy on the stack begins at a multiple of 8.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Aligned<T>(pub T);

macro_rules! header {
    ($($type:ty = $size:expr),+ $(,)?) => {$(
        const _: () = assert!(align_of::<$type>() == 1 && size_of::<$type>() == $size);
        // SAFETY: alignment and absence of padding are asserted above; the fields are integers and byte
        // arrays, for which every bit pattern is a value.
        unsafe impl Header for $type {}
    )+};
}

header!(
    u8 = 1,
    Be16 = 2,
    Mac = 6,
    Ports = 4,
    Ethernet = 14,
    Arp = 28,
    Plain = 54,
    Tags = 10,
    Solicitation = 24,
    Word = 4,
    [Word; 8] = 32,
    Ipv4Hdr = 20,
    HeaderV6 = 40,
    [Word; 2] = 8,
    [Word; 5] = 20,
    [Word; 7] = 28,
    [Word; 10] = 40,
    [Word; 12] = 48,
    [Word; 14] = 56,
    TcpHdr = 20,
    UdpHdr = 8,
    Icmpv4Hdr = 8,
    Ipv4 = 4,
    [Ipv4; 2] = 8,
    Ipv6 = 16,
    [Ipv6; 2] = 32,
);
