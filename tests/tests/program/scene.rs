//! Who is who in these tests.

use lb_common::flow::FlowKey;
use lb_common::net::{Be16, Ipv4, Mac, Protocol};
use lb_tests::packet::{Endpoint, Packet, flags, packet};
use lb_tests::program::{Backend, Given, INTERFACE, backend, given, listener, uplink};

/// The client, and the neighbour through which its packets come: itself or its router.
pub const CLIENT: Endpoint = (Ipv4([198, 51, 100, 10]), 40_000);
pub const CLIENT_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x10]);
/// The MAC with which the node answers for VIPs.
pub const NODE_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

pub const VIP: Ipv4 = Ipv4([203, 0, 113, 80]);
/// The TCP listener, index 0.
pub const WEB: Endpoint = (VIP, 80);
/// The UDP listener, index 1.
pub const DNS: Endpoint = (VIP, 53);
pub const WEB_LISTENER: u32 = 0;
pub const DNS_LISTENER: u32 = 1;

/// Backend 1 serves the web, on the same machine backend 2 serves names.
pub const SERVER: Endpoint = (Ipv4([192, 0, 2, 11]), 8080);
pub const RESOLVER: Endpoint = (Ipv4([192, 0, 2, 11]), 5353);
pub const SERVER_MAC: Mac = Mac([2, 0, 0, 0, 1, 11]);
pub const WEB_BACKEND: u32 = 1;
pub const DNS_BACKEND: u32 = 2;

/// Backend 3, for those tests that need two.
pub const OTHER_SERVER: Endpoint = (Ipv4([192, 0, 2, 12]), 8080);
pub const OTHER_MAC: Mac = Mac([2, 0, 0, 0, 1, 12]);
pub const OTHER_BACKEND: u32 = 3;

/// The bridge of the VM host.
pub const BRIDGE: u32 = 9;
/// Where the VMs' ports, or the router's inner network, are.
pub const INNER: u32 = 5;
pub const INNER_MAC: Mac = Mac([2, 0, 0, 0, 0, 5]);

/// Both listeners, each served by its backend, which is `placed`.
fn served(placed: impl Fn(Backend) -> Backend) -> Given {
    given()
        .vip(VIP)
        .listener(listener(WEB, Protocol::Tcp).index(WEB_LISTENER).served_by(&[WEB_BACKEND]))
        .listener(listener(DNS, Protocol::Udp).index(DNS_LISTENER).served_by(&[DNS_BACKEND]))
        .backend(WEB_BACKEND, placed(backend(SERVER, SERVER_MAC).of_listener(WEB_LISTENER)))
        .backend(DNS_BACKEND, placed(backend(RESOLVER, SERVER_MAC).of_listener(DNS_LISTENER)))
}

/// A VM host: uplink and VM ports in one bridge.
pub fn bridge() -> Given {
    served(in_the_bridge).port(uplink(NODE_MAC).in_bridge(BRIDGE))
}

/// Behind a port of the bridge.
pub fn in_the_bridge(backend: Backend) -> Backend {
    backend.in_bridge(BRIDGE).on(INNER).reply_at_egress()
}

/// One NIC, the backends on the same network.
pub fn stick() -> Given {
    served(|backend| backend.on(INTERFACE).masquerade()).port(uplink(NODE_MAC))
}

/// Two NICs, the node is the backends' gateway.
pub fn router() -> Given {
    served(behind_the_router).port(uplink(NODE_MAC)).other_port(INNER, uplink(INNER_MAC))
}

/// On the router's inner network.
pub fn behind_the_router(backend: Backend) -> Backend {
    backend.on(INNER).routed()
}

/// From the client to the web listener.
pub fn to_web(tcp_flags: u8) -> Packet {
    packet().ethernet(CLIENT_MAC, NODE_MAC).from(CLIENT).to(WEB).tcp(tcp_flags)
}

/// The first packet of a connection.
pub fn syn() -> Packet {
    to_web(flags::SYN)
}

/// The client's packets in mid-connection.
pub fn ack() -> Packet {
    to_web(flags::ACK)
}

/// From the client to the resolver's VIP.
pub fn query() -> Packet {
    packet().ethernet(CLIENT_MAC, NODE_MAC).from(CLIENT).to(DNS).udp().payload(b"who is it?")
}

/// From the web server to the client, as the server sends it.
pub fn from_web(tcp_flags: u8) -> Packet {
    packet().ethernet(SERVER_MAC, CLIENT_MAC).from(SERVER).to(CLIENT).tcp(tcp_flags)
}

/// The second packet of a connection.
pub fn syn_ack() -> Packet {
    from_web(flags::SYN | flags::ACK)
}

/// From the resolver to the client.
pub fn answer() -> Packet {
    packet().ethernet(SERVER_MAC, CLIENT_MAC).from(RESOLVER).to(CLIENT).udp().payload(b"It is I.")
}

/// A tuple.
pub fn key(source: Endpoint, destination: Endpoint, protocol: Protocol) -> FlowKey<Ipv4> {
    FlowKey {
        source: source.0,
        destination: destination.0,
        source_port: Be16::new(source.1),
        destination_port: Be16::new(destination.1),
        protocol,
    }
}

/// The tuple of the client's web connection.
pub fn web_key() -> FlowKey<Ipv4> {
    key(CLIENT, WEB, Protocol::Tcp)
}

/// The tuple of its answers.
pub fn web_reply_key() -> FlowKey<Ipv4> {
    key(SERVER, CLIENT, Protocol::Tcp)
}
