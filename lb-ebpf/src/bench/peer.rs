//! The yardstick: one way, IPv4 without options or fragments, one backend, flows in an LRU hash map, no counters, no
//! time-outs, no health. A balancer can hardly do less, so what more costs is seen beside it.

use aya_ebpf::bindings::{BPF_ANY, xdp_action};
use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap};
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::XdpContext;
use lb_common::bench::{PeerBackend, PeerFlow, PeerListener};
use lb_common::csum::Delta;
use lb_common::net::Ipv4;
use network_types::ip::Ipv4Hdr;
use network_types::tcp::TcpHdr;
use network_types::udp::UdpHdr;

use crate::frame::{ETHERNET, IPV4, UDP, at};

#[btf_map]
static PEER_LISTENERS: HashMap<PeerListener, u32, 16> = HashMap::new();

/// The same number of entries as the default flow table.
#[btf_map]
static PEER_FLOWS: LruHashMap<PeerFlow, PeerBackend, 262_144> = LruHashMap::new();

#[btf_map]
static PEER_BACKENDS: Array<PeerBackend, 1> = Array::new();

const TCP: u8 = 6;

/// `None`: not for us.
#[inline(always)]
pub(crate) fn balance(context: &XdpContext) -> Option<u32> {
    let ethernet: *mut [u8; ETHERNET] = at(context, 0)?;
    // SAFETY: inside the frame, as `at` has checked.
    if unsafe { [(*ethernet)[12], (*ethernet)[13]] } != IPV4 {
        return None;
    }
    let ip: *mut Ipv4Hdr = at(context, ETHERNET)?;
    // SAFETY: as above.
    let header = unsafe { *ip };
    if header.vihl != 0x45 {
        return None;
    }
    let transport = ETHERNET + size_of::<Ipv4Hdr>();
    let (source, destination, check) = match header.proto {
        TCP => {
            let tcp: *mut TcpHdr = at(context, transport)?;
            // SAFETY: as above.
            unsafe { ((*tcp).source, &raw mut (*tcp).dest, &raw mut (*tcp).check) }
        }
        UDP => {
            let udp: *mut UdpHdr = at(context, transport)?;
            // SAFETY: as above.
            unsafe { ((*udp).src, &raw mut (*udp).dst, &raw mut (*udp).check) }
        }
        _ => return None,
    };
    // SAFETY: as above.
    let port = u16::from_ne_bytes(unsafe { *destination });
    let address = u32::from_ne_bytes(header.dst_addr);
    let listener = PeerListener { address, port, protocol: u16::from(header.proto) };
    // SAFETY: entries of this map are never removed.
    unsafe { PEER_LISTENERS.get(listener) }?;
    let key = PeerFlow {
        source: u32::from_ne_bytes(header.src_addr),
        destination: address,
        ports: u32::from(u16::from_ne_bytes(source)) | u32::from(port) << 16,
        protocol: u32::from(header.proto),
    };
    // SAFETY: the kernel does not free it while the program runs.
    let known = unsafe { PEER_FLOWS.get(key) }.copied();
    let backend = if let Some(backend) = known {
        backend
    } else {
        let backend = *PEER_BACKENDS.get(0)?;
        PEER_FLOWS.insert(key, backend, u64::from(BPF_ANY)).ok()?;
        backend
    };
    let (old, new) = (Ipv4(header.dst_addr), Ipv4(backend.address.to_ne_bytes()));
    let change = Delta::new().replace(old, new);
    // SAFETY: as above: all pointers are inside the frame.
    unsafe {
        (*ip).dst_addr = new.0;
        (*ip).check = change.apply(u16::from_ne_bytes(header.check)).to_ne_bytes();
        *destination = backend.port.to_ne_bytes();
        let change = change.replace16(port, backend.port);
        *check = change.apply(u16::from_ne_bytes(*check)).to_ne_bytes();
        let own = core::ptr::read(ethernet.cast::<[u8; 6]>());
        ethernet.cast::<[u8; 6]>().write(backend.mac);
        ethernet.cast::<[u8; 6]>().add(1).write(own);
    }
    Some(xdp_action::XDP_TX)
}
