//! IPv6 extension headers (RFC 8200 section 4): what stands between the fixed header and TCP or UDP.

use crate::headers::Word;
use crate::packet::Packet;

/// Hop-by-hop options, as a header's number.
const HOP_BY_HOP: u8 = 0;
/// A routing header.
const ROUTING: u8 = 43;
/// A fragment header.
const FRAGMENT: u8 = 44;
/// An authentication header: whoever changes what it covers breaks it.
const AUTHENTICATION: u8 = 51;
/// Destination options.
const DESTINATION: u8 = 60;

/// Headers that are walked at most.
const HEADERS: u32 = 4;
/// Bytes that they have together at most.
const BYTES: usize = 128;

/// Is a header with this number followed by another?
#[inline(always)]
pub const fn is_extension(number: u8) -> bool {
    matches!(number, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION)
}

/// What the extension headers of a packet lead to, as one number that a global function can give.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chain(u64);

impl Chain {
    /// They are too many, too long, cut off, or of a kind that can't be passed by.
    const UNKNOWN: Self = Self(u64::MAX);

    #[inline(always)]
    const fn new(protocol: u8, length: usize, place: [u8; 2], identification: Word) -> Self {
        let place = u16::from_be_bytes(place) as u64;
        let identification = u32::from_be_bytes(identification) as u64;
        Self(identification << 32 | place << 16 | (length as u64 & 0xff) << 8 | protocol as u64)
    }

    /// From [`Chain::number`]; `None` where they lead nowhere.
    #[inline(always)]
    pub const fn numbered(number: u64) -> Option<Self> {
        if number == Self::UNKNOWN.0 { None } else { Some(Self(number)) }
    }

    /// As a number.
    #[inline(always)]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The protocol that they lead to.
    #[inline(always)]
    pub const fn protocol(self) -> u8 {
        self.0 as u8
    }

    /// Their bytes.
    #[inline(always)]
    pub const fn length(self) -> usize {
        (self.0 >> 8) as usize & 0xff
    }

    /// A fragment's place in units of 8 bytes.
    #[inline(always)]
    pub const fn place(self) -> u16 {
        (self.0 >> 19) as u16 & 0x1fff
    }

    /// Do other fragments follow?
    #[inline(always)]
    pub const fn more(self) -> bool {
        self.0 >> 16 & 1 == 1
    }

    /// What a fragment has in common with the others of its packet.
    #[inline(always)]
    pub const fn identification(self) -> Word {
        ((self.0 >> 32) as u32).to_be_bytes()
    }
}

/// Walks the headers that begin at `start` with the one of this number. Behind a global function of the packet's
/// kind ([`Packet::extensions`]), so that the verifier follows its loop once.
#[inline(always)]
pub fn walk<P: Packet>(packet: &mut P, start: usize, first: u8) -> Chain {
    let (mut number, mut length) = (first, 0);
    let (mut place, mut identification) = ([0; 2], [0; 4]);
    for _ in 0..HEADERS {
        if !is_extension(number) {
            break;
        }
        packet.pull(start + length + 8);
        let Some(&[[next, units, a, b], rest]) = packet.header::<[Word; 2]>(start + length) else {
            return Chain::UNKNOWN;
        };
        match number {
            FRAGMENT => {
                (place, identification) = ([a, b], rest);
                length += 8;
            }
            // The destination is not where the packet ends.
            ROUTING if b != 0 => return Chain::UNKNOWN,
            _ => length += (usize::from(units) + 1) * 8,
        }
        if length > BYTES || number == AUTHENTICATION {
            return Chain::UNKNOWN;
        }
        let later = number == FRAGMENT && u16::from_be_bytes(place) >> 3 != 0;
        number = next;
        if later {
            break;
        }
    }
    if is_extension(number) && u16::from_be_bytes(place) >> 3 == 0 {
        return Chain::UNKNOWN;
    }
    Chain::new(number, length, place, identification)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_read_back() {
        let chain = Chain::new(17, 24, [0x05, 0xc9], [1, 2, 3, 4]);
        let chain = Chain::numbered(chain.number()).unwrap();
        assert_eq!((chain.protocol(), chain.length(), chain.identification()), (17, 24, [1, 2, 3, 4]));
        assert_eq!((chain.place(), chain.more()), (0x05c9 >> 3, true));
        assert_eq!(Chain::numbered(Chain::UNKNOWN.number()), None);
    }
}
