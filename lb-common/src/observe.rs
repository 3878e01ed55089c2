//! Observation: what a second instance of the packet programs tells about packets.
//!
//! The programs that are attached normally are loaded with [`OBSERVE`] zero, and the verifier removes from them all
//! that this module is for. `lb trace` and `lb capture` load the programs once more, with bits of it set.

use crate::abi;

/// The constant that the loader sets: [`TRACE`], [`CAPTURE`].
pub const OBSERVE: &str = "OBSERVE";
/// Decisions are noted in the map TRACE.
pub const TRACE: u32 = 1;
/// Frames are copied into the map CAPTURE.
pub const CAPTURE: u32 = 1 << 1;

/// The constant [`CaptureFilter`] that the loader sets.
pub const FILTER: &str = "CAPTURE_FILTER";

/// A decision, with two numbers that say more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Code {
    /// Nothing.
    None = 0,
    /// The packet goes on with a [`Stage`](crate::stage::Stage).
    Stage,
    /// A [`Reason`](crate::reason::Reason) was counted, or decided.
    Reason,
    /// A flow takes the packet: its [`BackendRef`](crate::backend::BackendRef), and [`REPLY`], [`MASQUERADED`].
    Flow,
    /// A listener takes it: its index, and the slots of its table.
    Listener,
    /// A backend was chosen: its id, and the attempt.
    Backend,
    /// What came of entering the flow: 0 entered, 1 its answers' tuple is taken, 2 no source port, 3 no room, 4 entered elsewhere.
    Entered,
    /// The way out: 0 stack, 1 bridge, 2 back, 3 redirect; and the interface.
    Exit,
    /// How the checksum is kept right: 1 it was left to a device, 0 it was not.
    Checksum,
}

/// The flow is the reply half.
pub const REPLY: u32 = 1;
/// The flow is masqueraded.
pub const MASQUERADED: u32 = 1 << 1;

impl Code {
    /// The code with this number; `None` for one that is not known.
    pub const fn numbered(number: u32) -> Self {
        match number {
            1 => Self::Stage,
            2 => Self::Reason,
            3 => Self::Flow,
            4 => Self::Listener,
            5 => Self::Backend,
            6 => Self::Entered,
            7 => Self::Exit,
            8 => Self::Checksum,
            _ => Self::None,
        }
    }
}

/// A noted decision.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Note {
    /// [`Code`].
    pub code: u32,
    /// See the code.
    pub first: u32,
    /// See the code.
    pub second: u32,
}

/// Decisions that fit; later ones are left out.
pub const NOTES: usize = 32;

/// Value of TRACE.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TraceValue {
    /// Decisions made, those left out included.
    pub count: u32,
    /// The first of them.
    pub notes: [Note; NOTES],
}

/// Bytes of a frame that are captured.
pub const SNAP: usize = 256;

/// No reason was counted.
pub const NO_REASON: u32 = u32::MAX;

/// A captured packet: an entry of CAPTURE.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Captured {
    /// Nanoseconds since boot.
    pub time: u64,
    /// Interface index.
    pub interface: u32,
    /// [`XDP`], [`TC_INGRESS`] or [`TC_EGRESS`].
    pub hook: u32,
    /// The program's return value.
    pub code: i32,
    /// The last [`Reason`](crate::reason::Reason) that was counted, or [`NO_REASON`].
    pub reason: u32,
    /// Bytes of the frame as it came.
    pub before_length: u32,
    /// Bytes of the frame as it was left.
    pub after_length: u32,
    /// Its beginning as it came.
    pub before: [u8; SNAP],
    /// Its beginning as it was left.
    pub after: [u8; SNAP],
}

/// XDP.
pub const XDP: u32 = 0;
/// tc, incoming.
pub const TC_INGRESS: u32 = 1;
/// tc, outgoing.
pub const TC_EGRESS: u32 = 2;

/// Which packets are captured. An address is that of the source or the destination, as the packet came or as it
/// was left; IPv4 takes the first four bytes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CaptureFilter {
    /// [`BY_VIP`], [`BY_CLIENT`], [`BY_PORT`], [`IS_V6`]; 0 takes all but packets that are not ours.
    pub flags: u32,
    /// The port of the source or the destination, in host order.
    pub port: u32,
    /// An address.
    pub vip: [u8; 16],
    /// Another.
    pub client: [u8; 16],
}

/// `vip` is set.
pub const BY_VIP: u32 = 1;
/// `client` is set.
pub const BY_CLIENT: u32 = 1 << 1;
/// `port` is set.
pub const BY_PORT: u32 = 1 << 2;
/// Addresses are of IPv6.
pub const IS_V6: u32 = 1 << 3;

impl CaptureFilter {
    /// Whether a frame that begins so is wanted.
    #[inline(always)]
    pub fn takes(&self, frame: &[u8; SNAP]) -> bool {
        let network = match (pair(frame, 12), pair(frame, 16)) {
            (0x8100 | 0x88a8, 0x8100 | 0x88a8) => 22,
            (0x8100 | 0x88a8, _) => 18,
            _ => 14,
        };
        match pair(frame, network - 2) {
            0x0800 => {
                // Options, if there are any, move the ports: then the port is not compared.
                let plain = self.flags & BY_PORT == 0 || byte(frame, network) == 0x45;
                self.flags & IS_V6 == 0 && plain && self.fits(frame, network + 12, 4)
            }
            0x86dd => {
                (self.flags & IS_V6 != 0 || self.flags & (BY_VIP | BY_CLIENT) == 0)
                    && self.fits(frame, network + 8, 16)
            }
            _ => false,
        }
    }

    /// Addresses of this length are here, and ports behind them.
    #[inline(always)]
    fn fits(&self, frame: &[u8; SNAP], addresses: usize, length: usize) -> bool {
        let ports = addresses + 2 * length;
        let is_either = |address| {
            is_at(frame, addresses, address, length) || is_at(frame, addresses + length, address, length)
        };
        (self.flags & BY_VIP == 0 || is_either(&self.vip))
            && (self.flags & BY_CLIENT == 0 || is_either(&self.client))
            && (self.flags & BY_PORT == 0
                || pair(frame, ports) == self.port
                || pair(frame, ports + 2) == self.port)
    }
}

/// Whether an address of this length is there. Byte by byte and with one outcome: the verifier follows one way, and
/// the compiler keeps little at hand.
#[inline(always)]
fn is_at(frame: &[u8; SNAP], at: usize, address: &[u8; 16], length: usize) -> bool {
    let bytes = address.iter().take(length).enumerate();
    bytes.fold(0, |differs, (index, octet)| differs | (octet ^ byte(frame, at + index))) == 0
}

#[inline(always)]
const fn pair(frame: &[u8; SNAP], at: usize) -> u32 {
    ((byte(frame, at) as u32) << 8) | byte(frame, at + 1) as u32
}

#[expect(clippy::indexing_slicing, reason = "the offset is below SNAP")]
#[inline(always)]
const fn byte(frame: &[u8; SNAP], at: usize) -> u8 {
    frame[at & (SNAP - 1)]
}

abi!(Note, 12);
abi!(TraceValue, 388);
abi!(Captured, 544);
abi!(CaptureFilter, 40);

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(tags: usize) -> [u8; SNAP] {
        let mut frame = [0; SNAP];
        for tag in 0..tags {
            frame[12 + tag * 4..14 + tag * 4].copy_from_slice(&[0x81, 0]);
        }
        let network = 14 + tags * 4;
        frame[network - 2..network].copy_from_slice(&[8, 0]);
        frame[network] = 0x45;
        frame[network + 12..network + 16].copy_from_slice(&[192, 0, 2, 50]);
        frame[network + 16..network + 20].copy_from_slice(&[192, 0, 2, 200]);
        frame[network + 20..network + 24].copy_from_slice(&[0x9c, 0x40, 0, 80]);
        frame
    }

    fn address(last: u8) -> [u8; 16] {
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[192, 0, 2, last]);
        address
    }

    #[test]
    fn a_filter_takes_what_has_all_that_it_names() {
        let all = CaptureFilter {
            flags: BY_VIP | BY_CLIENT | BY_PORT,
            port: 80,
            vip: address(200),
            client: address(50),
        };
        for tags in 0..3 {
            assert!(all.takes(&frame(tags)), "{tags} tags");
            assert!(!CaptureFilter { port: 81, ..all }.takes(&frame(tags)));
            assert!(!CaptureFilter { vip: address(201), ..all }.takes(&frame(tags)));
            assert!(!CaptureFilter { client: address(51), ..all }.takes(&frame(tags)));
            assert!(!CaptureFilter { flags: all.flags | IS_V6, ..all }.takes(&frame(tags)));
        }
        assert!(CaptureFilter::default().takes(&frame(0)));
        assert!(!all.takes(&[0; SNAP]));
    }

    #[test]
    fn codes_are_read_back() {
        for number in 0..9 {
            assert_eq!(Code::numbered(number) as u32, number);
        }
        assert_eq!(Code::numbered(9), Code::None);
    }
}
