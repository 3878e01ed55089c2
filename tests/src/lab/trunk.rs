//! The far end of a tagged link, for kernels without VLAN interfaces: what comes in a VLAN goes on without its tag,
//! and the other way round.

use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::ifaddrs::getifaddrs;
use nix::libc::{self, c_int};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::namespace::Namespace;
use super::{Lab, host};

/// How soon a trunk that is dropped has ended.
const PATIENCE: Duration = Duration::from_millis(50);
/// The longest frame of an interface without offloads.
const LONGEST: usize = 2048;
/// Behind the MACs.
const TAG_AT: usize = 12;

/// Carries frames until it is dropped.
#[derive(Debug)]
pub struct Trunk {
    ended: Arc<AtomicBool>,
    carriers: Vec<JoinHandle<()>>,
}

impl Trunk {
    /// Between a VLAN on `trunk` and the interface `plain`, both of this namespace.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn start(namespace: &Namespace, trunk: &str, vlan: u16, plain: &str) -> Result<Self> {
        let open = |interface: &str, vlan| {
            namespace.enter(|| open(interface, vlan))?.with_context(|| format!("open {interface}"))
        };
        let ended = Arc::new(AtomicBool::new(false));
        let mut carriers = Vec::new();
        let [high, low] = vlan.to_be_bytes();
        let tag = vec![0x81, 0x00, high, low];
        for (from, to, tag) in
            [(open(trunk, vlan)?, open(plain, 0)?, Vec::new()), (open(plain, 0)?, open(trunk, vlan)?, tag)]
        {
            let ended = Arc::clone(&ended);
            carriers.push(std::thread::spawn(move || carry(&from, &to, &tag, &ended)));
        }
        Ok(Self { ended, carriers })
    }
}

/// A host in a VLAN of the network that a lab's client is in.
#[derive(Debug)]
pub struct TaggedHost {
    /// Where it is. Its interface is `eth0`.
    pub namespace: Namespace,
    _trunk: Trunk,
}

impl TaggedHost {
    /// Behind the client, with these addresses, each with the length of its prefix.
    ///
    /// # Errors
    /// When there is one already.
    pub fn create(lab: &Lab, vlan: u16, addresses: &[&str]) -> Result<Self> {
        let namespace = Namespace::create(format!("{}lan", lab.id().prefix()))?;
        let client = lab.client();
        let veth = ["link", "add", "eth0", "type", "veth", "peer", "name", "lan0", "netns", client.name()];
        namespace.ip(&veth)?;
        for (end, interface) in [(&namespace, "eth0"), (client, "lan0")] {
            end.ip(&["link", "set", interface, "up"])?;
        }
        host::set_offloads(&namespace, "eth0", false)?;
        for address in addresses {
            // An address of IPv6 is usable at once.
            namespace.ip(&["address", "add", address, "dev", "eth0", "nodad"])?;
        }
        let trunk = Trunk::start(client, "eth0", vlan, "lan0")?;
        Ok(Self { namespace, _trunk: trunk })
    }
}

impl Drop for Trunk {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for carrier in self.carriers.drain(..) {
            // One that panicked has carried less; the test says so.
            drop(carrier.join());
        }
    }
}

fn carry(mut from: &Socket, to: &Socket, tag: &[u8], ended: &AtomicBool) {
    let mut buffer = [0; LONGEST];
    while !ended.load(Ordering::Relaxed) {
        let Ok(length) = from.read(&mut buffer) else { continue };
        let mut frame = buffer[..length].to_vec();
        if frame.len() > TAG_AT {
            frame.splice(TAG_AT..TAG_AT, tag.iter().copied());
            // What can't be sent is lost, as on a cable.
            drop(to.send(&frame));
        }
    }
}

/// Hears what others send in one VLAN. The kernel takes the tag off.
fn open(interface: &str, vlan: u16) -> io::Result<Socket> {
    let every = c_int::from(u16::try_from(libc::ETH_P_ALL).unwrap_or_default().to_be());
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(every)))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let beside = |field: c_int| libc::SKF_AD_OFF.wrapping_add(field).cast_unsigned();
    let step =
        |code: u32, yes, no, value| SockFilter::new(u16::try_from(code).unwrap_or_default(), yes, no, value);
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equals = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    socket.attach_filter(&[
        step(load, 0, 0, beside(libc::SKF_AD_PKTTYPE)),
        step(equals, 2, 0, u32::from(libc::PACKET_OUTGOING)),
        step(load, 0, 0, beside(libc::SKF_AD_VLAN_TAG)),
        step(equals, 1, 0, u32::from(vlan)),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ])?;
    let address = getifaddrs()?
        .filter(|found| found.interface_name == interface)
        .find_map(|found| found.address?.as_link_addr().copied())
        .ok_or(io::ErrorKind::NotFound)?;
    nix::sys::socket::bind(socket.as_raw_fd(), &address)?;
    Ok(socket)
}
