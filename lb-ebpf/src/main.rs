//! The entry points.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("these are packet programs for the kernel: build them with `cargo xtask build`");
}

#[cfg(target_arch = "bpf")]
#[expect(clippy::inline_always, reason = "a call costs a packet program time and the verifier's patience")]
mod programs {
    use aya_ebpf::bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action, xdp_md};
    use aya_ebpf::macros::{cgroup_sock_addr, classifier, xdp};
    use aya_ebpf::programs::{SockAddrContext, TcContext, XdpContext};
    use lb_common::reason::Reason;
    use lb_ebpf::express::{Starting, Taken};
    use lb_ebpf::family::{V4, V6};
    use lb_ebpf::journey::{GENERAL, Opening};
    use lb_ebpf::observe::capture;
    use lb_ebpf::open::{lb_place_v4, lb_place_v6};
    use lb_ebpf::packet::{AtEgress, AtIngress, Packet, TcPacket, XdpPacket};
    use lb_ebpf::socket::{self, Call, Socket};
    use lb_ebpf::stage::{Stages, passes_without};
    use lb_ebpf::{event, express, journey, stats};

    /// A hook's programs: those that are attached, then those that they hand packets on to.
    macro_rules! programs {
        ($conclude:ident: $($(#[$attribute:meta])+ $name:ident($context:ident) = $story:expr;)+) => {$(
            $(#[$attribute])+
            fn $name(context: programs!(@context $conclude)) -> programs!(@code $conclude) {
                let $context = &context;
                $conclude($context, $story)
            }
        )+};
        (@context xdp_code) => { XdpContext };
        (@context $tc:ident) => { TcContext };
        (@code xdp_code) => { u32 };
        (@code $tc:ident) => { i32 };
    }

    programs! {
        xdp_code:
        /// Balances what enters an uplink.
        #[xdp(frags)]
        lb_xdp(context) = match express::take(&mut XdpPacket::new(context.ctx)) {
            Taken::Through(code) => return code.cast_unsigned(),
            Taken::Step(GENERAL) => journey::upkeep::<V4>(lb_xdp_arriving(context.ctx)),
            Taken::Step(code) => code,
        };
        #[xdp(frags)]
        lb_xdp_tagged(context) = journey::upkeep::<V4>(lb_xdp_behind_tags(context.ctx));
        #[xdp(frags)]
        lb_xdp_start_v4(context) = express::start(&XdpPacket::new(context.ctx), context.ctx, START_XDP);
        #[xdp(frags)]
        lb_xdp_open_v4(context) = journey::open::<_, V4, _>(&XdpPacket::new(context.ctx), context.ctx, XDP_V4);
        #[xdp(frags)]
        lb_xdp_refuse_v4(context) = journey::refuse::<_, V4>(&mut XdpPacket::new(context.ctx));
        #[xdp(frags)]
        lb_xdp_control_v4(context) = journey::control::<_, V4>(&mut XdpPacket::new(context.ctx));
        #[xdp(frags)]
        lb_xdp_fragment_v4(context) = fragment_v4(context.ctx, lb_xdp_assemble_v4, lb_xdp_join_v4);
        #[xdp(frags)]
        lb_xdp_follow_v6(context) = follow_v6(context.ctx, lb_xdp_following_v6, lb_xdp_carry_out_v6);
        #[xdp(frags)]
        lb_xdp_open_v6(context) = journey::open::<_, V6, _>(&XdpPacket::new(context.ctx), context.ctx, XDP_V6);
        #[xdp(frags)]
        lb_xdp_refuse_v6(context) = journey::refuse::<_, V6>(&mut XdpPacket::new(context.ctx));
        #[xdp(frags)]
        lb_xdp_control_v6(context) = journey::control::<_, V6>(&mut XdpPacket::new(context.ctx));
        #[xdp(frags)]
        lb_xdp_fragment_v6(context) =
            fragment_v6(context.ctx, lb_xdp_assemble_v6, lb_xdp_join_v6, lb_xdp_carry_out_v6);
    }

    programs! {
        ingress_code:
        /// Balances what enters an uplink without XDP, or a VM port.
        #[classifier]
        lb_tc_ingress(context) = match express::take(&mut incoming(context)) {
            Taken::Through(code) => return code,
            Taken::Step(GENERAL) => journey::upkeep::<V4>(lb_tc_arriving(context.skb.skb)),
            Taken::Step(code) => code,
        };
        #[classifier]
        lb_tc_tagged(context) = journey::upkeep::<V4>(lb_tc_behind_tags(context.skb.skb));
        #[classifier]
        lb_tc_start_v4(context) = express::start(&incoming(context), context.skb.skb, START_TC);
        #[classifier]
        lb_tc_open_v4(context) = journey::open::<_, V4, _>(&incoming(context), context.skb.skb, TC_V4);
        #[classifier]
        lb_tc_refuse_v4(context) = journey::refuse::<_, V4>(&mut incoming(context));
        #[classifier]
        lb_tc_control_v4(context) = journey::control::<_, V4>(&mut incoming(context));
        #[classifier]
        lb_tc_fragment_v4(context) = fragment_v4(context.skb.skb, lb_tc_assemble_v4, lb_tc_join_v4);
        #[classifier]
        lb_tc_follow_v6(context) = follow_v6(context.skb.skb, lb_tc_following_v6, lb_tc_carry_out_v6);
        #[classifier]
        lb_tc_open_v6(context) = journey::open::<_, V6, _>(&incoming(context), context.skb.skb, TC_V6);
        #[classifier]
        lb_tc_refuse_v6(context) = journey::refuse::<_, V6>(&mut incoming(context));
        #[classifier]
        lb_tc_control_v6(context) = journey::control::<_, V6>(&mut incoming(context));
        #[classifier]
        lb_tc_fragment_v6(context) =
            fragment_v6(context.skb.skb, lb_tc_assemble_v6, lb_tc_join_v6, lb_tc_carry_out_v6);
    }

    programs! {
        egress_code:
        /// Rewrites answers on their way out to the client.
        #[classifier]
        lb_tc_egress(context) = match express::take(&mut outgoing(context)) {
            Taken::Through(code) => return code,
            Taken::Step(GENERAL) => journey::upkeep::<V4>(lb_out_arriving(context.skb.skb)),
            Taken::Step(code) => code,
        };
        #[classifier]
        lb_out_tagged(context) = journey::upkeep::<V4>(lb_out_behind_tags(context.skb.skb));
        #[classifier]
        lb_out_control_v4(context) = journey::control::<_, V4>(&mut outgoing(context));
        #[classifier]
        lb_out_fragment_v4(context) = fragment_v4(context.skb.skb, lb_out_assemble_v4, lb_out_join_v4);
        #[classifier]
        lb_out_follow_v6(context) = follow_v6(context.skb.skb, lb_out_following_v6, lb_out_carry_out_v6);
        #[classifier]
        lb_out_control_v6(context) = journey::control::<_, V6>(&mut outgoing(context));
        #[classifier]
        lb_out_fragment_v6(context) =
            fragment_v6(context.skb.skb, lb_out_assemble_v6, lb_out_join_v6, lb_out_carry_out_v6);
    }

    #[inline(always)]
    fn incoming(context: &TcContext) -> TcPacket<AtIngress> {
        TcPacket::new(context.skb.skb)
    }

    #[inline(always)]
    fn outgoing(context: &TcContext) -> TcPacket<AtEgress> {
        TcPacket::new(context.skb.skb)
    }

    #[inline(always)]
    fn follow_v6<C: Copy>(
        context: C,
        follow: extern "C" fn(C) -> i32,
        carry_out: extern "C" fn(C) -> i32,
    ) -> i32 {
        let code = follow(context);
        journey::upkeep::<V6>(journey::complete(context, code, carry_out))
    }

    #[inline(always)]
    fn fragment_v4<C: Copy>(
        context: C,
        assemble: extern "C" fn(C) -> i32,
        join: extern "C" fn(C) -> i32,
    ) -> i32 {
        journey::upkeep::<V4>(journey::fragment::<V4, C>(context, assemble, join))
    }

    #[inline(always)]
    fn fragment_v6<C: Copy>(
        context: C,
        assemble: extern "C" fn(C) -> i32,
        join: extern "C" fn(C) -> i32,
        carry_out: extern "C" fn(C) -> i32,
    ) -> i32 {
        let code = journey::fragment::<V6, C>(context, assemble, join);
        journey::upkeep::<V6>(journey::complete(context, code, carry_out))
    }

    /// The return value, unless another stage goes on.
    #[inline(always)]
    fn xdp_code(context: &XdpContext, code: i32) -> u32 {
        let Some(stage) = journey::next(code) else {
            let packet = XdpPacket::new(context.ctx);
            event::concluded(&packet, code);
            capture::concluded(&packet, code);
            return code.cast_unsigned();
        };
        Stages::Xdp.enter(context, stage);
        stats::count(Reason::Inconsistent);
        if passes_without(stage) { xdp_action::XDP_PASS } else { xdp_action::XDP_DROP }
    }

    #[inline(always)]
    fn ingress_code(context: &TcContext, code: i32) -> i32 {
        tc_code(context, &incoming(context), code, Stages::TcIngress)
    }

    #[inline(always)]
    fn egress_code(context: &TcContext, code: i32) -> i32 {
        tc_code(context, &outgoing(context), code, Stages::TcEgress)
    }

    #[inline(always)]
    fn tc_code<P: Packet>(context: &TcContext, packet: &P, code: i32, stages: Stages) -> i32 {
        let Some(stage) = journey::next(code) else {
            event::concluded(packet, code);
            capture::concluded(packet, code);
            return code;
        };
        stages.enter(context, stage);
        stats::count(Reason::Inconsistent);
        if passes_without(stage) { TC_ACT_UNSPEC } else { TC_ACT_SHOT }
    }

    const START_XDP: Starting<*mut xdp_md> = Starting { begin: lb_xdp_dialled_v4, place: lb_place_v4 };
    const START_TC: Starting<*mut __sk_buff> = Starting { begin: lb_tc_dialled_v4, place: lb_place_v4 };
    const XDP_V4: Opening<*mut xdp_md> =
        Opening { begin: lb_xdp_begin_v4, dial: lb_xdp_dial_v4, place: lb_place_v4 };
    const XDP_V6: Opening<*mut xdp_md> =
        Opening { begin: lb_xdp_begin_v6, dial: lb_xdp_dial_v6, place: lb_place_v6 };
    const TC_V4: Opening<*mut __sk_buff> =
        Opening { begin: lb_tc_begin_v4, dial: lb_tc_dial_v4, place: lb_place_v4 };
    const TC_V6: Opening<*mut __sk_buff> =
        Opening { begin: lb_tc_begin_v6, dial: lb_tc_dial_v6, place: lb_place_v6 };

    /// Part of a stage, as a global function over its context: the verifier checks such a function once, by
    /// itself.
    macro_rules! parts {
        ($room:ident: $($name:ident = $story:ident($($argument:ident)?) of $packet:ty, $context:ty $(, $family:ty)?;)+) => {$(
            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $name(context: *mut $context $(, $argument: u32)?) -> i32 {
                $room::$story::<_ $(, $family)?>(&mut <$packet>::new(context) $(, $argument)?)
            }
        )+};
    }

    parts! {
        express:
        lb_xdp_dialled_v4 = begin(attempt) of XdpPacket, xdp_md;
        lb_tc_dialled_v4 = begin(attempt) of TcPacket<AtIngress>, __sk_buff;
    }

    parts! {
        journey:
        lb_out_carry_out_v6 = carry_out() of TcPacket<AtEgress>, __sk_buff;
        lb_tc_carry_out_v6 = carry_out() of TcPacket<AtIngress>, __sk_buff;
        lb_xdp_carry_out_v6 = carry_out() of XdpPacket, xdp_md;
        lb_out_arriving = arrive() of TcPacket<AtEgress>, __sk_buff;
        lb_out_behind_tags = tagged() of TcPacket<AtEgress>, __sk_buff;
        lb_out_following_v6 = follow() of TcPacket<AtEgress>, __sk_buff, V6;
        lb_tc_arriving = arrive() of TcPacket<AtIngress>, __sk_buff;
        lb_tc_behind_tags = tagged() of TcPacket<AtIngress>, __sk_buff;
        lb_tc_following_v6 = follow() of TcPacket<AtIngress>, __sk_buff, V6;
        lb_xdp_arriving = arrive() of XdpPacket, xdp_md;
        lb_xdp_behind_tags = tagged() of XdpPacket, xdp_md;
        lb_xdp_following_v6 = follow() of XdpPacket, xdp_md, V6;
        lb_xdp_assemble_v4 = assemble() of XdpPacket, xdp_md, V4;
        lb_xdp_assemble_v6 = assemble() of XdpPacket, xdp_md, V6;
        lb_xdp_join_v4 = join() of XdpPacket, xdp_md, V4;
        lb_xdp_join_v6 = join() of XdpPacket, xdp_md, V6;
        lb_tc_assemble_v4 = assemble() of TcPacket<AtIngress>, __sk_buff, V4;
        lb_tc_assemble_v6 = assemble() of TcPacket<AtIngress>, __sk_buff, V6;
        lb_tc_join_v4 = join() of TcPacket<AtIngress>, __sk_buff, V4;
        lb_tc_join_v6 = join() of TcPacket<AtIngress>, __sk_buff, V6;
        lb_out_assemble_v4 = assemble() of TcPacket<AtEgress>, __sk_buff, V4;
        lb_out_assemble_v6 = assemble() of TcPacket<AtEgress>, __sk_buff, V6;
        lb_out_join_v4 = join() of TcPacket<AtEgress>, __sk_buff, V4;
        lb_out_join_v6 = join() of TcPacket<AtEgress>, __sk_buff, V6;
        lb_xdp_begin_v4 = begin() of XdpPacket, xdp_md, V4;
        lb_xdp_dial_v4 = dial(attempt) of XdpPacket, xdp_md, V4;
        lb_xdp_begin_v6 = begin() of XdpPacket, xdp_md, V6;
        lb_xdp_dial_v6 = dial(attempt) of XdpPacket, xdp_md, V6;
        lb_tc_begin_v4 = begin() of TcPacket<AtIngress>, __sk_buff, V4;
        lb_tc_dial_v4 = dial(attempt) of TcPacket<AtIngress>, __sk_buff, V4;
        lb_tc_begin_v6 = begin() of TcPacket<AtIngress>, __sk_buff, V6;
        lb_tc_dial_v6 = dial(attempt) of TcPacket<AtIngress>, __sk_buff, V6;
    }

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
