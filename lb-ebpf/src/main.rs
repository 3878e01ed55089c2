//! The entry points.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("these are packet programs for the kernel: build them with `cargo xtask build`");
}

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::bindings::xdp_action;
    use aya_ebpf::macros::{classifier, xdp};
    use aya_ebpf::programs::{TcContext, XdpContext};
    use lb_ebpf::journey;
    use lb_ebpf::packet::{AtEgress, AtIngress, TcPacket, XdpPacket};

    /// Balances what enters an uplink.
    #[xdp(frags)]
    fn lb_xdp(context: XdpContext) -> u32 {
        journey::run(&mut XdpPacket::new(&context)).cast_unsigned()
    }

    /// Balances what enters an uplink without XDP, or a VM port.
    #[classifier]
    fn lb_tc_ingress(context: TcContext) -> i32 {
        journey::run(&mut TcPacket::<AtIngress>::new(&context))
    }

    /// Rewrites answers on their way out to the client.
    #[classifier]
    fn lb_tc_egress(context: TcContext) -> i32 {
        journey::run(&mut TcPacket::<AtEgress>::new(&context))
    }

    /// Passes everything: native `XDP_TX` into a veth needs a program on its peer.
    #[xdp(frags)]
    fn lb_pass(_context: XdpContext) -> u32 {
        xdp_action::XDP_PASS
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
