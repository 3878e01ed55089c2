//! What the kernel shows of a socket, and takes back.

use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_set_retval};
use lb_common::net::{Be16, Ipv4, Ipv6, Protocol};

/// A socket, and the address that it is about to use or to be shown.
#[derive(Clone, Copy)]
pub struct Socket {
    context: *mut bpf_sock_addr,
}

/// Reads a field of the context: with one load of its own, as the verifier wants it.
macro_rules! load {
    ($socket:expr, $($field:tt)+) => {
        // SAFETY: `new` was promised the context, whose fields may be read in words.
        unsafe { (&raw const (*$socket.context).$($field)+).read_volatile() }
    };
}

/// Writes a field of the context.
macro_rules! store {
    ($socket:expr, $value:expr, $($field:tt)+) => {
        // SAFETY: `new` was promised the context; the address and the port may be written in words.
        unsafe { (&raw mut (*$socket.context).$($field)+).write_volatile($value) }
    };
}

impl Socket {
    /// # Safety
    ///
    /// `context` is the context of a running program of type `BPF_PROG_TYPE_CGROUP_SOCK_ADDR`.
    #[inline(always)]
    pub const unsafe fn new(context: *mut bpf_sock_addr) -> Self {
        Self { context }
    }

    /// The socket's number.
    #[inline(always)]
    pub fn cookie(&self) -> u64 {
        // SAFETY: the helper takes the context.
        unsafe { bpf_get_socket_cookie(self.context.cast()) }
    }

    /// The cookie of the network namespace that it is in.
    #[inline(always)]
    pub fn network(&self) -> u64 {
        // SAFETY: the helper takes the context.
        unsafe { bpf_get_netns_cookie(self.context.cast()) }
    }

    /// Its protocol, if that is balanced. The number has more than eight bits: multipath TCP has 262.
    #[inline(always)]
    pub fn protocol(&self) -> Option<Protocol> {
        u8::try_from(load!(self, protocol)).ok().and_then(Protocol::from_number)
    }

    /// The address of an IPv4 socket.
    #[inline(always)]
    pub fn ipv4(&self) -> Ipv4 {
        Ipv4(load!(self, user_ip4).to_ne_bytes())
    }

    /// The address of an IPv6 socket.
    #[inline(always)]
    pub fn ipv6(&self) -> Ipv6 {
        let [a, b, c, d] = load!(self, user_ip6[0]).to_ne_bytes();
        let [e, f, g, h] = load!(self, user_ip6[1]).to_ne_bytes();
        let [i, j, k, l] = load!(self, user_ip6[2]).to_ne_bytes();
        let [m, n, o, p] = load!(self, user_ip6[3]).to_ne_bytes();
        Ipv6::new([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// The port.
    #[inline(always)]
    pub fn port(&self) -> Be16 {
        Be16::from_raw(load!(self, user_port) as u16)
    }

    /// Puts another address there.
    #[inline(always)]
    pub fn set_ipv4(&self, address: Ipv4) {
        store!(self, u32::from_ne_bytes(address.0), user_ip4);
    }

    /// Puts another address there.
    #[inline(always)]
    pub fn set_ipv6(&self, address: Ipv6) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.bytes();
        store!(self, u32::from_ne_bytes([a, b, c, d]), user_ip6[0]);
        store!(self, u32::from_ne_bytes([e, f, g, h]), user_ip6[1]);
        store!(self, u32::from_ne_bytes([i, j, k, l]), user_ip6[2]);
        store!(self, u32::from_ne_bytes([m, n, o, p]), user_ip6[3]);
    }

    /// Puts another port there.
    #[inline(always)]
    pub fn set_port(&self, port: Be16) {
        store!(self, u32::from(port.raw()), user_port);
    }
}

/// Lets the system call fail with this error number, if it is to fail.
#[inline(always)]
pub(super) fn set_error(error: i32) {
    // SAFETY: a plain helper call.
    unsafe { bpf_set_retval(-error) };
}
