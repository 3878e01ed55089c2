//! What benchmarks tell their generator: how to make the next packet out of a frame that was used before.

use crate::abi;

/// A test run hands a program the same frame over and over, as the run before left it. The generator puts the headers
/// back as they were and gives them the tuple of the next flow.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// The first bytes of the frame: of the flow whose two last address bytes and whose port, where they vary, are
    /// zero; its checksums are right.
    pub header: [u8; HEADER],
    /// The number of flows and one less: a power of two is taken.
    pub mask: u32,
    /// From one flow to the next. Odd, so that all flows have their turn.
    pub step: u32,
    /// [`UDP`], [`V6`], [`ANSWERS`], [`FIXED`].
    pub flags: u32,
    /// Of the whole frame, in bytes.
    pub length: u32,
}

/// Ethernet, IPv6 and TCP, in words of eight bytes.
pub const HEADER: usize = 80;

/// Datagrams; else segments of TCP.
pub const UDP: u32 = 1;
/// Over IPv6.
pub const V6: u32 = 1 << 1;
/// The destination varies instead of the source.
pub const ANSWERS: u32 = 1 << 2;
/// Nothing varies.
pub const FIXED: u32 = 1 << 3;

/// Flows that share an address: they differ in the port, from [`FIRST_PORT`] on.
pub const PORTS: u32 = 1 << 14;
/// The lowest port of a client.
pub const FIRST_PORT: u32 = 1024;

/// The address' two last bytes and the port of a flow.
#[inline(always)]
pub const fn flow(number: u32) -> (u16, u16) {
    ((number / PORTS) as u16, (FIRST_PORT + number % PORTS) as u16)
}

/// As large as a bucket of the flow table.
pub type Place = [u64; 16];

/// What a packet looks at.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Looks {
    /// Places minus one; places are a power of two.
    pub mask: u32,
    /// How many of them: one, or two.
    pub number: u32,
    /// Of what was seen.
    pub sum: u64,
}

/// Array of one [`Turn`].
pub const TURN: &str = "TURN";
/// Per-CPU array: the packets made so far.
pub const MADE: &str = "MADE";
/// Program array: what gets the packets. Its only place is 0.
pub const SUBJECT: &str = "SUBJECT";
/// As [`SUBJECT`], for tc.
pub const SUBJECT_TC: &str = "SUBJECT_TC";
/// Hash: a listener's address and port as they stand in packets, and the protocol → 1.
pub const PEER_LISTENERS: &str = "PEER_LISTENERS";
/// LRU hash: the yardstick's flows.
pub const PEER_FLOWS: &str = "PEER_FLOWS";
/// Array of [`Place`]: memory to look at.
pub const MEMORY: &str = "MEMORY";
/// Array of one [`Looks`].
pub const LOOKS: &str = "LOOKS";
/// Array of one [`PeerBackend`].
pub const PEER_BACKENDS: &str = "PEER_BACKENDS";

/// A tuple, as it stands in packets.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerFlow {
    /// From.
    pub source: u32,
    /// To.
    pub destination: u32,
    /// Source port in the low half, then destination port.
    pub ports: u32,
    /// Of IP.
    pub protocol: u32,
}

/// What the yardstick serves.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerListener {
    /// To.
    pub address: u32,
    /// As it stands in packets.
    pub port: u16,
    /// Of IP.
    pub protocol: u16,
}

/// Where the yardstick sends packets.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct PeerBackend {
    /// As it stands in packets.
    pub address: u32,
    /// As it stands in packets.
    pub port: u16,
    /// Of its interface.
    pub mac: [u8; 6],
}

/// Per-CPU array: the datagrams that have arrived at the sink.
pub const SUNK: &str = "SUNK";
/// Array of one number: 1 where the sink answers what it takes.
pub const ANSWERING: &str = "ANSWERS";
/// The sink's port. It takes datagrams of IPv4 to it, from whomever to whatever address.
pub const SINK_PORT: u16 = 5353;
/// Hash: where a packet has come in → [`Crossing`].
pub const CROSSINGS: &str = "CROSSINGS";

/// Where a packet that crosses the node unbalanced goes on.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Crossing {
    /// The index of the interface.
    pub interface: u32,
    /// Of the host behind it.
    pub destination: [u8; 6],
    /// Of the interface itself.
    pub source: [u8; 6],
}

abi!(Turn, 96);
abi!(Looks, 16);
abi!(PeerFlow, 16);
abi!(PeerListener, 8);
abi!(PeerBackend, 12);
abi!(Crossing, 16);
