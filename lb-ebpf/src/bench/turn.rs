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

/// Where the fields are that vary, from the start of the frame.
struct Places {
    address: usize,
    port: usize,
    /// Of TCP or UDP.
    check: usize,
}

impl Places {
    #[inline(always)]
    const fn of(flags: u32) -> Self {
        let is_v6 = flags & bench::V6 != 0;
        let answers = flags & bench::ANSWERS != 0;
        let transport = if is_v6 { 54 } else { 34 };
        Self {
            address: match (is_v6, answers) {
                (false, false) => 28,
                (false, true) => 32,
                (true, false) => 36,
                (true, true) => 52,
            },
            port: transport + if answers { 2 } else { 0 },
            check: transport + if flags & bench::UDP != 0 { 6 } else { 16 },
        }
    }
}

/// Where the checksum of an IPv4 header is.
const HEADER_CHECK: usize = 24;

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
    let (address, port) = bench::flow((count as u32).wrapping_mul(turn.step) & turn.mask);
    let (address, port) = (address.to_be(), port.to_be());
    for word in 0..HEADER / 8 {
        // SAFETY: inside the header, which is a multiple of eight bytes long and begins the value of a map.
        let value = unsafe { core::ptr::from_ref(turn).cast::<u64>().add(word).read_volatile() };
        // SAFETY: inside the frame, as was checked.
        unsafe { ((data + word * 8) as *mut u64).write_unaligned(value) };
    }
    if turn.flags & bench::FIXED != 0 {
        return true;
    }
    match turn.flags & 7 {
        0 => vary(data, &Places::of(0), true, address, port),
        1 => vary(data, &Places::of(1), true, address, port),
        2 => vary(data, &Places::of(2), false, address, port),
        3 => vary(data, &Places::of(3), false, address, port),
        4 => vary(data, &Places::of(4), true, address, port),
        5 => vary(data, &Places::of(5), true, address, port),
        6 => vary(data, &Places::of(6), false, address, port),
        _ => vary(data, &Places::of(7), false, address, port),
    }
    true
}

/// Enters address and port where there are zeros, and puts the sums right.
#[inline(always)]
fn vary(data: usize, places: &Places, is_v4: bool, address: u16, port: u16) {
    store(data + places.address, address);
    store(data + places.port, port);
    let sum = |place: usize, more: u64| {
        // SAFETY: inside the frame: its caller has checked that all headers are.
        let old = unsafe { ((data + place) as *const u16).read_unaligned() };
        store(data + place, !fold(u64::from(!old) + more));
    };
    if is_v4 {
        sum(HEADER_CHECK, u64::from(address));
    }
    sum(places.check, u64::from(address) + u64::from(port));
}

#[inline(always)]
fn store(place: usize, value: u16) {
    // SAFETY: inside the frame, as in `vary`.
    unsafe { (place as *mut u16).write_unaligned(value) };
}
