//! The programs that benchmarks run: what makes packets, and what balanced ones are compared with.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    expect(internal_features, reason = "the one way to a locked addition here"),
    expect(clippy::inline_always, reason = "a call would be measured, too"),
    expect(
        clippy::multiple_unsafe_ops_per_block,
        reason = "headers are read and written through pointers, field by field"
    )
)]

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("these are packet programs for the kernel: build them with `cargo xtask build`");
}

#[cfg(target_arch = "bpf")]
mod cross;
#[cfg(target_arch = "bpf")]
mod frame;
#[cfg(target_arch = "bpf")]
mod memory;
#[cfg(target_arch = "bpf")]
mod peer;
#[cfg(target_arch = "bpf")]
mod sink;
#[cfg(target_arch = "bpf")]
mod turn;

#[cfg(target_arch = "bpf")]
#[expect(clippy::needless_pass_by_value, reason = "the macros want the context so")]
mod programs {
    use aya_ebpf::bindings::{TC_ACT_UNSPEC, xdp_action};
    use aya_ebpf::macros::{classifier, xdp};
    use aya_ebpf::programs::{TcContext, XdpContext};

    use crate::{cross, memory, peer, sink, turn};

    /// Makes the next packet, and hands it to the subject.
    #[xdp(frags)]
    fn bench_turn(context: XdpContext) -> u32 {
        turn::xdp(&context)
    }

    /// The same in tc.
    #[classifier]
    fn bench_turn_tc(context: TcContext) -> i32 {
        turn::tc(&context)
    }

    /// Sends every packet back: what the generator alone costs.
    #[xdp(frags)]
    fn bench_floor(_context: XdpContext) -> u32 {
        xdp_action::XDP_TX
    }

    /// Passes every packet: the same in tc.
    #[classifier]
    fn bench_floor_tc(_context: TcContext) -> i32 {
        TC_ACT_UNSPEC
    }

    /// The yardstick: the least that a balancer can do which keeps its flows in an LRU hash map.
    #[xdp(frags)]
    fn bench_peer(context: XdpContext) -> u32 {
        peer::balance(&context).unwrap_or(xdp_action::XDP_PASS)
    }

    /// Looks at memory and sends the packet back: what no table can do without.
    #[xdp(frags)]
    fn bench_memory(context: XdpContext) -> u32 {
        memory::look::<false>(&context).unwrap_or(xdp_action::XDP_ABORTED)
    }

    /// The same, each look when the last one has come to its end.
    #[xdp(frags)]
    fn bench_memory_waits(context: XdpContext) -> u32 {
        memory::look::<true>(&context).unwrap_or(xdp_action::XDP_ABORTED)
    }

    /// Carries packets across the node without balancing them.
    #[xdp(frags)]
    fn bench_cross(context: XdpContext) -> u32 {
        cross::over(&context).unwrap_or(xdp_action::XDP_PASS)
    }

    /// Takes what arrives, and counts it.
    #[xdp(frags)]
    fn bench_sink(context: XdpContext) -> u32 {
        sink::take(&context)
    }

    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }

    /// Some helpers are open to GPL-compatible programs only.
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
}
