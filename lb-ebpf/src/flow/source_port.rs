//! A source port for a flow whose client's own is taken.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use lb_common::net::{Be16, Ipv4, Ipv6};

use super::exists;
use super::table::{Flows, draft};
use crate::config::Clock;

/// Ports that are tried. With half of all ports of a backend in use, one flow in 4,096 finds none.
const TRIES: u32 = 12;

/// A source port with which the answer's tuple of this CPU's draft is nobody's: its own, else a random one.
/// `None` where all that were tried are taken.
#[inline(always)]
pub fn free<A: Flows>() -> Option<Be16> {
    match A::free_port() {
        0 => None,
        raw => Some(Be16::from_raw(raw as u16)),
    }
}

macro_rules! global {
    ($name:ident: $address:ty) => {
        /// [`free`], raw, 0 for none: a global function, which the verifier checks once, by itself.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub(super) extern "C" fn $name() -> u32 {
            search::<$address>().map_or(0, |port| u32::from(port.raw()))
        }
    };
}

global!(lb_free_port_v4: Ipv4);
global!(lb_free_port_v6: Ipv6);

#[inline(always)]
fn search<A: Flows>() -> Option<Be16> {
    let clock = Clock::read()?;
    let mut answer = draft::<A>()?.copy().rewritten().reversed();
    for _ in 0..TRIES {
        if !exists(&answer, &clock) {
            return Some(answer.destination_port);
        }
        answer.destination_port = random();
    }
    None
}

/// A port that no service is on.
#[inline(always)]
fn random() -> Be16 {
    const RESERVED: u32 = 1024;
    // SAFETY: a plain helper call without arguments.
    let random = unsafe { bpf_get_prandom_u32() };
    let above = (u64::from(random) * u64::from(65_536 - RESERVED)) >> 32;
    Be16::new((RESERVED + above as u32) as u16)
}
