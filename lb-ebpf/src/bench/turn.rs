//! Makes the next packet out of a frame that was used before.
#![expect(clippy::cast_possible_truncation, reason = "lengths are small, and flows are counted modulo 2^32")]

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{TC_ACT_SHOT, xdp_action};
use aya_ebpf::btf_maps::{Array, PerCpuArray, ProgramArray};
use aya_ebpf::helpers::generated::{bpf_xdp_adjust_tail, bpf_xdp_get_buff_len};
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::{TcContext, XdpContext};
use lb_common::bench::{self, HEADER};
use lb_common::csum::fold;

#[btf_map]
static TURN: Array<bench::Turn, 1> = Array::new();

#[btf_map]
static MADE: PerCpuArray<u64, 1> = PerCpuArray::new();

#[btf_map]
static SUBJECT: ProgramArray<1> = ProgramArray::new();

#[btf_map]
static SUBJECT_TC: ProgramArray<1> = ProgramArray::new();

/// At XDP. An answer of the subject's own may have been shorter than the packet.
#[inline(always)]
pub(crate) fn xdp(context: &XdpContext) -> u32 {
    let length = TURN.get(0).map_or(0, |turn| turn.length);
    // SAFETY: the helper is given the context that the kernel gave.
    let missing = length.wrapping_sub(unsafe { bpf_xdp_get_buff_len(context.ctx) } as u32);
    // SAFETY: as above.
    if missing != 0 && unsafe { bpf_xdp_adjust_tail(context.ctx, missing.cast_signed()) } != 0 {
        return xdp_action::XDP_ABORTED;
    }
    if next(context.data(), context.data_end()) {
        hand_over(context, &SUBJECT);
    }
    xdp_action::XDP_ABORTED
}

/// In tc.
#[inline(always)]
pub(crate) fn tc(context: &TcContext) -> i32 {
    if next(context.data(), context.data_end()) {
        hand_over(context, &SUBJECT_TC);
    }
    TC_ACT_SHOT
}

#[inline(always)]
fn hand_over<C: EbpfContext>(context: &C, subject: &ProgramArray<1>) {
    // SAFETY: nothing here has a destructor.
    unsafe { subject.tail_call(context, 0) };
}

/// The headers in words of eight bytes, each of which begins at one of [`STARTS`]. No field that a program reads
/// lies in two of them: it would have to wait until both have left the processor's store buffer.
type Words = [u64; STARTS.len()];

const STARTS: [usize; 11] = [0, 6, 10, 18, 26, 34, 42, 50, 58, 66, 72];

/// A field of two bytes: in which word, and where in it.
type Field = (usize, u32);

/// Where the fields are that vary.
struct Fields {
    address: Field,
    port: Field,
    /// Of TCP or UDP.
    check: Field,
    /// Of IPv4.
    header_check: Option<Field>,
}

impl Fields {
    #[inline(always)]
    const fn of(flags: u32) -> Self {
        let (answers, udp) = (flags & bench::ANSWERS != 0, flags & bench::UDP != 0);
        if flags & bench::V6 == 0 {
            Self {
                address: (4, if answers { 48 } else { 16 }),
                port: (5, if answers { 16 } else { 0 }),
                check: if udp { (5, 48) } else { (7, 0) },
                header_check: Some((3, 48)),
            }
        } else {
            Self {
                address: if answers { (7, 16) } else { (5, 16) },
                port: (7, if answers { 48 } else { 32 }),
                check: if udp { (8, 16) } else { (9, 32) },
                header_check: None,
            }
        }
    }
}

/// False: there is no room for the headers.
#[inline(always)]
fn next(data: usize, end: usize) -> bool {
    let (Some(turn), Some(made)) = (TURN.get(0), MADE.get_ptr_mut(0)) else { return false };
    if data + HEADER > end {
        return false;
    }
    // SAFETY: this CPU's own value.
    let count = unsafe { made.read_volatile() };
    // SAFETY: as above.
    unsafe { made.write_volatile(count + 1) };
    let flow = bench::flow((count as u32).wrapping_mul(turn.step) & turn.mask);
    match turn.flags & 15 {
        0 => write::<0>(data, turn, flow),
        1 => write::<1>(data, turn, flow),
        2 => write::<2>(data, turn, flow),
        3 => write::<3>(data, turn, flow),
        4 => write::<4>(data, turn, flow),
        5 => write::<5>(data, turn, flow),
        6 => write::<6>(data, turn, flow),
        7 => write::<7>(data, turn, flow),
        _ => write::<{ bench::FIXED }>(data, turn, flow),
    }
    true
}

/// Writes the headers with the address and the port of a flow where there are zeros, and with right sums.
#[inline(always)]
fn write<const FLAGS: u32>(data: usize, turn: &bench::Turn, (address, port): (u16, u16)) {
    let mut words: Words = STARTS.map(|start| {
        // SAFETY: inside the header, which begins the value of a map.
        unsafe { core::ptr::from_ref(turn).byte_add(start).cast::<u64>().read_unaligned() }
    });
    if FLAGS != bench::FIXED {
        let fields = const { Fields::of(FLAGS) };
        let (address, port) = (address.to_be(), port.to_be());
        enter(&mut words, fields.address, address);
        enter(&mut words, fields.port, port);
        sum(&mut words, fields.check, u64::from(address) + u64::from(port));
        if let Some(check) = fields.header_check {
            sum(&mut words, check, u64::from(address));
        }
    }
    for (word, start) in words.into_iter().zip(STARTS) {
        // SAFETY: inside the frame, as the caller has checked.
        unsafe { ((data + start) as *mut u64).write_unaligned(word) };
    }
}

/// Writes a field that is zero.
#[inline(always)]
fn enter(words: &mut Words, (word, shift): Field, value: u16) {
    if let Some(word) = words.get_mut(word) {
        *word |= u64::from(value) << shift;
    }
}

/// Adds to a checksum.
#[inline(always)]
fn sum(words: &mut Words, (word, shift): Field, more: u64) {
    if let Some(word) = words.get_mut(word) {
        let old = (*word >> shift) as u16;
        *word = *word & !(0xffff << shift) | u64::from(!fold(u64::from(!old) + more)) << shift;
    }
}
