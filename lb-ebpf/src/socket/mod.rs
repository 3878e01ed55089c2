//! Processes of the node that dial a VIP.
//!
//! They never send a packet to the VIP: when a socket dials, the kernel asks here, and gets the address of a backend
//! instead. From then on the socket talks to the backend itself, and no packet needs to be rewritten. The process is
//! kept in the belief that it talks to the VIP: when it asks whom it is connected to, and who sent a datagram.
//!
//! Backends are chosen by the listener's table, whatever its selection: there is no flow to count. With affinity all
//! processes of the node are one client.

mod context;
mod origin;

use aya_ebpf::Global;
use lb_common::backend::{BackendRef, BackendValue};
use lb_common::flow::FlowKey;
use lb_common::hash;
use lb_common::net::{Be16, Ipv6, Protocol};
use lb_common::reason::Reason;
use lb_common::vip::DROP_UNSERVED;

pub use context::Socket;

use crate::config::Clock;
use crate::family::{Family, V4, V6};
use crate::listener::{self, Listeners as _};
use crate::{select, stats};

/// The network namespace whose processes are served: VMs and containers have their own, and dial through ports.
#[unsafe(no_mangle)]
static LB_NODE_NETWORK: Global<u64> = Global::new(0);

/// The program's answer that lets the process go on.
const GO_ON: i32 = 1;
/// The program's answer that fails the system call.
const FAIL: i32 = 0;

/// What comes of dialling an address.
enum Dialled<A> {
    /// Not ours.
    Elsewhere,
    /// A backend takes the VIP's place.
    Backend(A, Be16),
    /// Nobody; the system call fails with this error.
    Nobody(i32),
}

/// What a socket is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// To connect.
    Connect,
    /// To send to an address, without being connected. So does the kernel for an IPv6 socket that is connected to an
    /// IPv4 address.
    Send,
}

/// `connect4`, `sendmsg4`: an IPv4 socket dials an address.
#[inline(always)]
pub fn dial4(socket: &Socket, call: Call) -> i32 {
    match dial::<V4>(socket, call, socket.ipv4(), Ipv6::mapped) {
        Dialled::Elsewhere => GO_ON,
        Dialled::Backend(address, port) => {
            socket.set_ipv4(address);
            socket.set_port(port);
            GO_ON
        }
        Dialled::Nobody(error) => fail(error),
    }
}

/// `connect6`, `sendmsg6`: an IPv6 socket dials an address, which may be an IPv4-mapped one.
#[inline(always)]
pub fn dial6(socket: &Socket, call: Call) -> i32 {
    let address = socket.ipv6();
    let Some(mapped) = address.unmapped() else {
        return match dial::<V6>(socket, call, address, |address| address) {
            Dialled::Elsewhere => GO_ON,
            Dialled::Backend(address, port) => {
                socket.set_ipv6(address);
                socket.set_port(port);
                GO_ON
            }
            Dialled::Nobody(error) => fail(error),
        };
    };
    match dial::<V4>(socket, call, mapped, Ipv6::mapped) {
        Dialled::Elsewhere => GO_ON,
        Dialled::Backend(address, port) => {
            socket.set_ipv6(Ipv6::mapped(address));
            socket.set_port(port);
            GO_ON
        }
        Dialled::Nobody(error) => fail(error),
    }
}

/// `recvmsg4`, `getpeername4`: the address of a peer is handed to the process.
#[inline(always)]
pub fn tell4(socket: &Socket) -> i32 {
    if let Some(dialled) = origin::of(socket.cookie(), Ipv6::mapped(socket.ipv4()), socket.port())
        && let Some(vip) = dialled.vip.unmapped()
    {
        socket.set_ipv4(vip);
        socket.set_port(dialled.port);
    }
    GO_ON
}

/// `recvmsg6`, `getpeername6`: the same, for an IPv6 socket.
#[inline(always)]
pub fn tell6(socket: &Socket) -> i32 {
    if let Some(dialled) = origin::of(socket.cookie(), socket.ipv6(), socket.port()) {
        socket.set_ipv6(dialled.vip);
        socket.set_port(dialled.port);
    }
    GO_ON
}

/// Finds a backend for a socket that dials `vip`.
#[inline(always)]
fn dial<F: Family>(
    socket: &Socket,
    call: Call,
    vip: F::Address,
    wide: impl Fn(F::Address) -> Ipv6,
) -> Dialled<F::Address> {
    if socket.network() != LB_NODE_NETWORK.load() {
        return Dialled::Elsewhere;
    }
    let Some(protocol) = socket.protocol() else { return Dialled::Elsewhere };
    let port = socket.port();
    let Some(policy) = vip.vip() else {
        if call == Call::Connect {
            // A backend that is dialled directly must not be shown as the VIP for which it answered before.
            origin::forget(socket.cookie(), wide(vip), port);
        }
        return Dialled::Elsewhere;
    };
    let (source, source_port) = Default::default();
    let key = FlowKey { source, destination: vip, source_port, destination_port: port, protocol };
    let Some(listener) = listener::dialled(&key) else {
        let drop = policy.flags & DROP_UNSERVED != 0;
        return refuse(
            protocol,
            drop,
            [Reason::NoListenerReset, Reason::NoListenerUnreachable, Reason::NoListenerDropped],
        );
    };
    if listener.slots != 0
        && let Some(clock) = Clock::read()
    {
        // With affinity all processes are one client.
        let who = if listener.affinity == 0 { socket.cookie() } else { 0 };
        let hash = hash::socket(&clock.config.maglev_secrets, who, listener.index);
        if let Some((id, backend)) = select::of_table(&listener, hash) {
            return enter::<F>(socket, (vip, port), id, backend, wide);
        }
    }
    stats::dial_refused(listener.index);
    let drop = (policy.flags | listener.flags) & DROP_UNSERVED != 0;
    refuse(protocol, drop, [Reason::NoBackendReset, Reason::NoBackendUnreachable, Reason::NoBackendDropped])
}

/// Notes whom the process dialled, and gives the backend's address.
#[inline(always)]
fn enter<F: Family>(
    socket: &Socket,
    (vip, port): (F::Address, Be16),
    id: BackendRef,
    backend: &BackendValue,
    wide: impl Fn(F::Address) -> Ipv6,
) -> Dialled<F::Address> {
    let address = F::backend(backend);
    let server = if backend.port.raw() == 0 { port } else { backend.port };
    if origin::note(socket.cookie(), (wide(address), server), (wide(vip), port)) {
        stats::dialled(id);
    }
    Dialled::Backend(address, server)
}

/// What a process hears instead of a RST or an ICMP error; where the policy is silence, what it would hear at last:
/// for TCP that nobody answered, for a datagram what a packet filter says that drops it.
#[inline(always)]
fn refuse<A>(protocol: Protocol, drop: bool, [reset, unreachable, silence]: [Reason; 3]) -> Dialled<A> {
    const EPERM: i32 = 1;
    const ETIMEDOUT: i32 = 110;
    const ECONNREFUSED: i32 = 111;
    let (reason, error) = match (drop, protocol) {
        (false, Protocol::Tcp) => (reset, ECONNREFUSED),
        (false, Protocol::Udp) => (unreachable, ECONNREFUSED),
        (true, Protocol::Tcp) => (silence, ETIMEDOUT),
        (true, Protocol::Udp) => (silence, EPERM),
    };
    stats::count_in_process(reason);
    Dialled::Nobody(error)
}

#[inline(always)]
fn fail(error: i32) -> i32 {
    context::set_error(error);
    FAIL
}
