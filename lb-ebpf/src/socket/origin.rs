//! Whom sockets dialled.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::btf_maps::LruHashMap;
use aya_ebpf::macros::btf_map;
use lb_common::map;
use lb_common::net::{Be16, Ipv6};
use lb_common::socket::{SocketKey, SocketValue};

/// By socket and backend. Written here; when it is full, the kernel takes what was unused the longest: that socket
/// goes on, but is told the backend's address. Values are replaced whole.
#[btf_map]
static SOCKETS: LruHashMap<SocketKey, SocketValue, { map::MAX_SOCKETS as usize }> = LruHashMap::new();

/// Whom a socket dialled that talks to this address.
#[inline(always)]
pub(super) fn of(cookie: u64, address: Ipv6, port: Be16) -> Option<SocketValue> {
    // SAFETY: copied at once; an entry that is recycled this very moment belonged to the socket until then.
    unsafe { SOCKETS.get(SocketKey::new(cookie, address, port)) }.copied()
}

/// Notes whom a socket dialled. True: it was not known already.
#[inline(always)]
pub(super) fn note(cookie: u64, backend: (Ipv6, Be16), dialled: (Ipv6, Be16)) -> bool {
    let value = SocketValue::new(dialled.0, dialled.1);
    if of(cookie, backend.0, backend.1) == Some(value) {
        return false;
    }
    // Without room the process is told the backend's address, no worse.
    let _full = SOCKETS.insert(SocketKey::new(cookie, backend.0, backend.1), value, u64::from(BPF_ANY));
    true
}

/// A socket dials this address by itself.
#[inline(always)]
pub(super) fn forget(cookie: u64, address: Ipv6, port: Be16) {
    if of(cookie, address, port).is_some() {
        let _gone = SOCKETS.remove(SocketKey::new(cookie, address, port));
    }
}
