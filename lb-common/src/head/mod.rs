//! The 64-bit head word of a flow entry: the half of the key, the state and the version in one word, so
//! that compare-and-swap claims an entry and a reader can tell that it changed under its hands.
//!
//! ```text
//! 63            48 47          40 39     32 31             16 15             0
//! |    version    |  marks       |  kind   | destination port |  source port  |
//! ```
//! Ports are raw (network order). Kind: bits 0-2 state, 3 protocol (0 TCP, 1 UDP), 4 direction (1 reply),
//! 5 masquerade, 6 reply-at-egress, 7 partial-checksum sender. Marks, on the first entry of a bucket: bit 0
//! says that flows of this bucket live in the overflow map, bits 1-7 count how many went there, and wrap.

use crate::net::{Be16, Protocol};

/// Life of one half of a flow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum State {
    /// Nobody's.
    Empty = 0,
    /// Claimed; its fields are being written.
    Busy = 1,
    /// TCP: SYN seen. UDP: no reply yet.
    Opening = 2,
    /// This half has seen a packet, its twin is not known to have.
    Replied = 3,
    /// Both directions seen.
    Established = 4,
    /// TCP: a FIN went this way.
    Finished = 5,
    /// TCP: both FINs, or a RST.
    Closing = 6,
}

impl State {
    /// From the low three bits; the unused code reads as [`State::Busy`], which nobody uses.
    #[inline(always)]
    pub const fn from_bits(bits: u8) -> Self {
        let bits = if bits & 7 == 7 { Self::Busy as u8 } else { bits & 7 };
        // SAFETY: the states are numbered from 0 to 6 without a gap, and 7 was replaced. A `match` would do,
        // but every branch of it is one more path for the verifier to follow.
        unsafe { core::mem::transmute::<u8, Self>(bits) }
    }
}

/// The head word. See the module's picture.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Head(pub u64);

const STATE: u64 = 7 << 32;
const UDP: u64 = 1 << 35;
const REPLY: u64 = 1 << 36;
const MASQUERADE: u64 = 1 << 37;
const AT_EGRESS: u64 = 1 << 38;
const PARTIAL: u64 = 1 << 39;
const OVERFLOWED: u64 = 1 << 40;
const ONE_SPILL: u64 = 1 << 41;
const SPILLS: u64 = 0xfe << 40;
const MARKS: u64 = 0xff << 40;
const VERSION_SHIFT: u32 = 48;
const MATCH: u64 = 0xffff_ffff | UDP;

/// What a head says besides ports, protocol and version.
#[expect(clippy::struct_excessive_bools, reason = "independent bits of one word")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind {
    /// Life of this half.
    pub state: State,
    /// Reply half (backend to client) rather than forward half (client to VIP).
    pub reply: bool,
    /// The source is rewritten to the VIP on the way to the backend.
    pub masquerade: bool,
    /// The reply half is applied at the egress of the client's interface, else at ingress.
    pub at_egress: bool,
    /// The sender of this half leaves checksums to its device (`CHECKSUM_PARTIAL`).
    pub partial: bool,
}

impl Head {
    /// The head of a live entry; `version` is taken from the entry that it replaces, plus one.
    #[inline(always)]
    pub const fn new(ports: (Be16, Be16), protocol: Protocol, kind: Kind, previous: Self) -> Self {
        let bits = Self::wanted(ports, protocol)
            | (kind.state as u64) << 32
            | flag(kind.reply, REPLY)
            | flag(kind.masquerade, MASQUERADE)
            | flag(kind.at_egress, AT_EGRESS)
            | flag(kind.partial, PARTIAL);
        Self(bits | previous.0 & MARKS | (previous.version().wrapping_add(1) as u64) << VERSION_SHIFT)
    }

    /// The bits that a lookup compares: ports and protocol.
    #[inline(always)]
    pub const fn wanted(ports: (Be16, Be16), protocol: Protocol) -> u64 {
        ports.0.raw() as u64
            | (ports.1.raw() as u64) << 16
            | match protocol {
                Protocol::Tcp => 0,
                Protocol::Udp => UDP,
            }
    }

    /// [`Head::wanted`], from both ports as one word of the packet.
    #[inline(always)]
    pub const fn matching(ports: u32, udp: bool) -> u64 {
        ports as u64 | flag(udp, UDP)
    }

    /// Is it established and has not both sides' word that it is over, and does its sender finish checksums?
    #[inline(always)]
    pub const fn is_settled(self) -> bool {
        const ESTABLISHED: u32 = State::Established as u32;
        const { assert!(ESTABLISHED & 1 == 0 && State::Finished as u32 == ESTABLISHED | 1) };
        (self.0 >> 32) as u32 & ((STATE & !(1 << 32) | PARTIAL) >> 32) as u32 == ESTABLISHED
    }

    /// Does a live entry with this head carry these ports and protocol?
    #[inline(always)]
    pub const fn matches(self, wanted: u64) -> bool {
        self.0 & MATCH == wanted && self.0 & STATE > (State::Busy as u64) << 32
    }

    /// Is it that of an empty entry?
    #[inline(always)]
    pub const fn is_vacant(self) -> bool {
        self.occupied() == 0
    }

    /// Zero if it is that of an empty entry.
    #[inline(always)]
    pub const fn occupied(self) -> u64 {
        const { assert!(State::Empty as u64 == 0) };
        self.0 & STATE
    }

    /// Zero if it is that of a flow that is not established yet.
    #[inline(always)]
    pub const fn beyond_half_open(self) -> u64 {
        const OPENING: u64 = (State::Opening as u64) << 32;
        const { assert!(State::Opening as u64 & 1 == 0 && State::Replied as u64 == State::Opening as u64 | 1) };
        self.0 & (STATE & !(1 << 32)) ^ OPENING
    }

    /// Zero if the ports are those of another head, whatever the protocol: the quicker look.
    #[inline(always)]
    pub const fn other_ports_than(self, other: Self) -> u64 {
        (self.0 as u32 ^ other.0 as u32) as u64
    }

    /// Are the ports those of another head?
    #[inline(always)]
    pub const fn has_ports_of(self, other: Self) -> bool {
        self.other_ports_than(other) == 0
    }

    /// Zero if ports and protocol are the wanted ones, live or not.
    #[inline(always)]
    pub const fn unlike(self, wanted: u64) -> u64 {
        (self.0 ^ wanted) & MATCH
    }

    /// The claim on this entry: same marks and version, state busy.
    #[inline(always)]
    pub const fn busy(self) -> Self {
        Self(self.0 & (MARKS | 0xffff << VERSION_SHIFT) | (State::Busy as u64) << 32)
    }

    /// An emptied entry: marks kept, next version.
    #[inline(always)]
    pub const fn emptied(self) -> Self {
        Self(self.0 & MARKS | (self.version().wrapping_add(1) as u64) << VERSION_SHIFT)
    }

    /// The same entry in another state. The version stays: its other words did not change.
    #[inline(always)]
    pub const fn with_state(self, state: State) -> Self {
        Self(self.0 & !STATE | (state as u64) << 32)
    }

    /// The same entry, with what is known of its sender's checksums.
    #[inline(always)]
    pub const fn with_partial(self, partial: bool) -> Self {
        Self(self.0 & !PARTIAL | flag(partial, PARTIAL))
    }

    /// The same entry with the overflow mark of its bucket set or cleared.
    #[inline(always)]
    pub const fn with_overflowed(self, overflowed: bool) -> Self {
        Self(self.0 & !OVERFLOWED | flag(overflowed, OVERFLOWED))
    }

    /// The same entry after one more flow of its bucket went to the overflow map. The count tells who wants to
    /// clear the mark that the map was written to meanwhile.
    #[inline(always)]
    pub const fn spilled(self) -> Self {
        let spills = (self.0 & SPILLS).wrapping_add(ONE_SPILL) & SPILLS;
        Self(self.0 & !SPILLS | spills | OVERFLOWED)
    }

    /// What has to be added to `claim`, the claim on its entry, for this to be there, whatever the marks: they stay.
    #[inline(always)]
    pub const fn minus(self, claim: Self) -> u64 {
        // What is below the marks grows, as a claim has no ports and the lowest state but one, and does not reach them.
        (self.0 & !MARKS).wrapping_sub(claim.0 & !MARKS)
    }

    /// Do flows of this bucket live in the overflow map? Asked of a bucket's first entry.
    #[inline(always)]
    pub const fn overflowed(self) -> bool {
        self.0 & OVERFLOWED != 0
    }

    /// Counts the rewrites of this entry; wraps.
    #[inline(always)]
    pub const fn version(self) -> u16 {
        (self.0 >> VERSION_SHIFT) as u16
    }

    /// The same entry with this version.
    #[inline(always)]
    pub const fn with_version(self, version: u16) -> Self {
        Self(self.0 & !(0xffff << VERSION_SHIFT) | (version as u64) << VERSION_SHIFT)
    }

    /// Source and destination port.
    #[inline(always)]
    pub const fn ports(self) -> (Be16, Be16) {
        (Be16::from_raw(self.0 as u16), Be16::from_raw((self.0 >> 16) as u16))
    }

    /// The protocol of a live entry.
    #[inline(always)]
    pub const fn protocol(self) -> Protocol {
        const STEP: u8 = Protocol::Udp.number() - Protocol::Tcp.number();
        let number = Protocol::Tcp.number() + ((self.0 / UDP) & 1) as u8 * STEP;
        // SAFETY: the number is that of TCP, or of UDP. Without a branch, as in `State::from_bits`.
        unsafe { core::mem::transmute::<u8, Protocol>(number) }
    }

    /// The state of an entry.
    #[inline(always)]
    pub const fn state(self) -> State {
        State::from_bits((self.0 >> 32) as u8)
    }

    /// The code of the state.
    #[inline(always)]
    pub const fn state_bits(self) -> u8 {
        (self.0 >> 32) as u8 & 7
    }

    /// The same entry in the state with this code.
    #[inline(always)]
    pub const fn with_state_bits(self, bits: u8) -> Self {
        Self(self.0 & !STATE | (bits as u64 & 7) << 32)
    }

    /// Is it the reply half?
    #[inline(always)]
    pub const fn is_reply(self) -> bool {
        self.0 & REPLY != 0
    }

    /// Is the source rewritten to the VIP on the way to the backend?
    #[inline(always)]
    pub const fn is_masqueraded(self) -> bool {
        self.0 & MASQUERADE != 0
    }

    /// All ones for the reply half, else zero.
    #[inline(always)]
    pub const fn reply_mask(self) -> u64 {
        0_u64.wrapping_sub((self.0 / REPLY) & 1)
    }

    /// All ones if the source is rewritten to the VIP on the way to the backend, else zero.
    #[inline(always)]
    pub const fn masqueraded_mask(self) -> u64 {
        0_u64.wrapping_sub((self.0 / MASQUERADE) & 1)
    }

    /// Is the reply half applied at the egress of the client's interface?
    #[inline(always)]
    pub const fn at_egress(self) -> bool {
        self.0 & AT_EGRESS != 0
    }

    /// Does the sender of this half leave checksums to its device?
    #[inline(always)]
    pub const fn is_partial(self) -> bool {
        self.0 & PARTIAL != 0
    }

    /// Do two heads agree in ports, protocol, direction and mode?
    #[inline(always)]
    pub const fn same_flow(self, other: Self) -> bool {
        (self.0 ^ other.0) & (MATCH | REPLY | MASQUERADE) == 0
    }

    /// The head of an entry like this one that takes the place of one with head `previous`.
    #[inline(always)]
    pub const fn replacing(self, previous: Self) -> Self {
        let kept = self.0 & !(MARKS | 0xffff << VERSION_SHIFT);
        Self(kept | previous.0 & MARKS | (previous.version().wrapping_add(1) as u64) << VERSION_SHIFT)
    }

    /// The head of the other half, which has these ports: the same state and mode, another direction, no
    /// version, marks or knowledge of its sender.
    #[inline(always)]
    pub const fn twin(self, ports: (Be16, Be16)) -> Self {
        let kept = (self.0 ^ REPLY) & (UDP | STATE | REPLY | MASQUERADE | AT_EGRESS);
        Self(kept | ports.0.raw() as u64 | (ports.1.raw() as u64) << 16)
    }

    /// State and flags.
    #[inline(always)]
    pub const fn kind(self) -> Kind {
        Kind {
            state: State::from_bits((self.0 >> 32) as u8),
            reply: self.0 & REPLY != 0,
            masquerade: self.0 & MASQUERADE != 0,
            at_egress: self.0 & AT_EGRESS != 0,
            partial: self.0 & PARTIAL != 0,
        }
    }
}

#[inline(always)]
const fn flag(set: bool, bit: u64) -> u64 {
    if set { bit } else { 0 }
}

crate::abi!(Head, 8);

#[cfg(test)]
mod tests;
