//! Packet sockets: frames of DHCP and ARP, heard before the stack has a say.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use lb_common::vip::LEASE_PORT;
use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX,
    BPF_MSH, BPF_RET, BPF_W, PACKET_OUTGOING, SKF_AD_OFF, SKF_AD_PKTTYPE, SKF_AD_VLAN_TAG,
};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, SockaddrLike as _};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::model::Link;

/// A frame and where it was heard.
pub(super) type Frame = (Link, Vec<u8>);

/// The longest frame that is read whole: one of Ethernet.
const LONGEST: usize = 1522;
/// The pause after an interface that went down.
const PAUSE: Duration = Duration::from_millis(100);

/// Sockets by where they hear. Dropping it closes them all.
pub(super) struct Sockets {
    heard: mpsc::Sender<Frame>,
    open: BTreeMap<Link, (Arc<AsyncFd<Socket>>, AbortHandle)>,
    readers: JoinSet<()>,
}

impl Sockets {
    /// Without any. Frames go to `heard`; what finds it full is lost, as on the way.
    pub(super) fn new(heard: mpsc::Sender<Frame>) -> Self {
        Self { heard, open: BTreeMap::new(), readers: JoinSet::new() }
    }

    /// Hears at these links and no others. What can't be opened is told, and tried again when this is called again.
    pub(super) fn listen(&mut self, links: &BTreeSet<Link>) -> Vec<(Link, io::Error)> {
        self.open.retain(|link, (_, reader)| {
            let stays = links.contains(link);
            if !stays {
                reader.abort();
            }
            stays
        });
        // Those that were aborted are collected as they end.
        while self.readers.try_join_next().is_some() {}
        let mut failures = Vec::new();
        for &link in links {
            if self.open.contains_key(&link) {
                continue;
            }
            match open(link) {
                Ok(socket) => {
                    let socket = Arc::new(socket);
                    let reader = self.readers.spawn(read(Arc::clone(&socket), link, self.heard.clone()));
                    self.open.insert(link, (socket, reader));
                }
                Err(error) => failures.push((link, error)),
            }
        }
        failures
    }

    /// Sends a frame. Nothing waits: what finds no room is lost, as on the way.
    ///
    /// # Errors
    /// When there is no socket, or the interface is down.
    pub(super) fn send(&self, link: Link, frame: &[u8]) -> io::Result<()> {
        let (socket, _) = self.open.get(&link).ok_or(io::ErrorKind::NotConnected)?;
        socket.get_ref().send(frame).map(drop)
    }
}

async fn read(socket: Arc<AsyncFd<Socket>>, link: Link, heard: mpsc::Sender<Frame>) {
    let mut buffer = vec![0; LONGEST];
    loop {
        let Ok(mut ready) = socket.readable().await else { return };
        match ready.try_io(|socket| socket.get_ref().read(&mut buffer)) {
            Ok(Ok(length)) => {
                let frame = buffer.get(..length).unwrap_or_default().to_vec();
                // Full, it is a flood: clients ask again.
                drop(heard.try_send((link, frame)));
            }
            // The interface went down, and may come up again.
            Ok(Err(_)) => sleep(PAUSE).await,
            Err(_would_block) => {}
        }
    }
}

fn open(link: Link) -> io::Result<AsyncFd<Socket>> {
    let protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or_default().to_be();
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(protocol))))?;
    socket.set_nonblocking(true)?;
    socket.attach_filter(&filter(link.vlan))?;
    nix::sys::socket::bind(socket.as_raw_fd(), &address(link.ifindex)?)?;
    // Until it was bound it heard all interfaces, and until it had its filter, everything.
    let mut stray = [0; 1];
    while (&socket).read(&mut stray).is_ok() {}
    #[expect(deprecated, reason = "its successor is unsafe; a Socket keeps its descriptor for life")]
    AsyncFd::new(socket)
}

/// The packet address of an interface. It names no protocol: the socket's own counts.
pub(in crate::ipam) fn address(ifindex: u32) -> io::Result<LinkAddr> {
    let found = getifaddrs()?.find_map(|interface| {
        let address = *interface.address?.as_link_addr()?;
        (u32::try_from(address.ifindex()) == Ok(ifindex)).then_some(address)
    });
    let gone = || io::Error::new(io::ErrorKind::NotFound, format!("no interface has index {ifindex}"));
    found.filter(|address| address.len() > 0).ok_or_else(gone)
}

/// Takes ARP and UDP to the clients' port, in one VLAN, from others. The kernel has taken the tag off.
fn filter(vlan: u16) -> Vec<SockFilter> {
    const ARP: u32 = 0x0806;
    const IPV4: u32 = 0x0800;
    const UDP: u32 = 17;
    const VLAN_ID: u32 = 0x0fff;
    const FRAGMENT_OFFSET: u32 = 0x1fff;
    let beside = |field: i32| SKF_AD_OFF.wrapping_add(field).cast_unsigned();
    let step = |code: u32, yes: u8, no: u8, value: u32| {
        SockFilter::new(u16::try_from(code).unwrap_or_default(), yes, no, value)
    };
    let outgoing = u32::from(PACKET_OUTGOING);
    vec![
        step(BPF_LD | BPF_B | BPF_ABS, 0, 0, beside(SKF_AD_PKTTYPE)),
        step(BPF_JMP | BPF_JEQ | BPF_K, 13, 0, outgoing),
        step(BPF_LD | BPF_W | BPF_ABS, 0, 0, beside(SKF_AD_VLAN_TAG)),
        step(BPF_ALU | BPF_AND | BPF_K, 0, 0, VLAN_ID),
        step(BPF_JMP | BPF_JEQ | BPF_K, 0, 10, u32::from(vlan)),
        step(BPF_LD | BPF_H | BPF_ABS, 0, 0, 12),
        step(BPF_JMP | BPF_JEQ | BPF_K, 9, 0, ARP),
        step(BPF_JMP | BPF_JEQ | BPF_K, 0, 7, IPV4),
        step(BPF_LD | BPF_B | BPF_ABS, 0, 0, 23),
        step(BPF_JMP | BPF_JEQ | BPF_K, 0, 5, UDP),
        step(BPF_LD | BPF_H | BPF_ABS, 0, 0, 20),
        step(BPF_JMP | BPF_JSET | BPF_K, 3, 0, FRAGMENT_OFFSET),
        step(BPF_LDX | BPF_B | BPF_MSH, 0, 0, 14),
        step(BPF_LD | BPF_H | BPF_IND, 0, 0, 16),
        step(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, u32::from(LEASE_PORT)),
        step(BPF_RET | BPF_K, 0, 0, 0),
        step(BPF_RET | BPF_K, 0, 0, u32::MAX),
    ]
}
