//! The entry points.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("these are packet programs for the kernel: build them with `cargo xtask build`");
}

#[cfg(target_arch = "bpf")]
#[expect(clippy::needless_pass_by_value, reason = "the macros hand the context over by value")]
mod programs {
    use aya_ebpf::bindings::{__sk_buff, xdp_action, xdp_md};
    use aya_ebpf::macros::{cgroup_sock_addr, classifier, xdp};
    use aya_ebpf::programs::{SockAddrContext, TcContext, XdpContext};
    use lb_ebpf::journey::{self, Stages};
    use lb_ebpf::packet::{AtEgress, AtIngress, TcPacket, XdpPacket};
    use lb_ebpf::socket::{self, Call, Socket};

    /// Balances what enters an uplink.
    #[xdp(frags)]
    fn lb_xdp(context: XdpContext) -> u32 {
        let stages =
            Stages { follow: lb_xdp_follow, begin: lb_xdp_begin, dial: lb_xdp_dial, refuse: lb_xdp_refuse };
        journey::run(context.ctx, stages).cast_unsigned()
    }

    /// Balances what enters an uplink without XDP, or a VM port.
    #[classifier]
    fn lb_tc_ingress(context: TcContext) -> i32 {
        let stages =
            Stages { follow: lb_tc_follow, begin: lb_tc_begin, dial: lb_tc_dial, refuse: lb_tc_refuse };
        journey::run(context.skb.skb, stages)
    }

    /// Rewrites answers on their way out to the client.
    #[classifier]
    fn lb_tc_egress(context: TcContext) -> i32 {
        journey::follow(&mut TcPacket::<AtEgress>::new(context.skb.skb))
    }

    /// A stage of a program, as a global function.
    macro_rules! stage {
        ($name:ident: $stage:ident($($argument:ident)?) of $packet:ty, $context:ty) => {
            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $name(context: *mut $context $(, $argument: i32)?) -> i32 {
                journey::$stage(&mut <$packet>::new(context) $(, $argument)?)
            }
        };
    }

    stage!(lb_xdp_follow: follow() of XdpPacket, xdp_md);
    stage!(lb_xdp_begin: begin() of XdpPacket, xdp_md);
    stage!(lb_xdp_dial: dial() of XdpPacket, xdp_md);
    stage!(lb_xdp_refuse: refuse(refusal) of XdpPacket, xdp_md);
    stage!(lb_tc_follow: follow() of TcPacket<AtIngress>, __sk_buff);
    stage!(lb_tc_begin: begin() of TcPacket<AtIngress>, __sk_buff);
    stage!(lb_tc_dial: dial() of TcPacket<AtIngress>, __sk_buff);
    stage!(lb_tc_refuse: refuse(refusal) of TcPacket<AtIngress>, __sk_buff);

    /// A program that a process of the node meets when it uses a socket.
    macro_rules! socket {
        ($name:ident: $attach:ident by $verb:ident($($call:ident)?)) => {
            #[cgroup_sock_addr($attach)]
            fn $name(context: SockAddrContext) -> i32 {
                // SAFETY: the kernel calls this program with its context.
                socket::$verb(&unsafe { Socket::new(context.sock_addr) } $(, Call::$call)?)
            }
        };
    }

    socket!(lb_connect4: connect4 by dial4(Connect));
    socket!(lb_connect6: connect6 by dial6(Connect));
    socket!(lb_sendmsg4: sendmsg4 by dial4(Send));
    socket!(lb_sendmsg6: sendmsg6 by dial6(Send));
    socket!(lb_recvmsg4: recvmsg4 by tell4());
    socket!(lb_recvmsg6: recvmsg6 by tell6());
    socket!(lb_getpeername4: getpeername4 by tell4());
    socket!(lb_getpeername6: getpeername6 by tell6());

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
