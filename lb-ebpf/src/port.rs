//! Ports: the interfaces that the programs serve.

use aya_ebpf::btf_maps::Array;
use aya_ebpf::macros::btf_map;
use lb_common::map;
use lb_common::port::{ATTACHED, PortValue};

/// By interface index; written by the agent when interfaces come and go.
#[btf_map]
static PORTS: Array<PortValue, { map::MAX_PORTS as usize }> = Array::new();

/// The interface, if the programs are to work there.
#[inline(always)]
pub fn attached(interface: u32) -> Option<&'static PortValue> {
    PORTS.get(interface).filter(|port| port.flags & ATTACHED != 0)
}

/// The interface with this index, if it may be sent out of.
#[inline(always)]
pub fn known(interface: u32) -> Option<&'static PortValue> {
    PORTS.get(interface).filter(|port| !port.station().is_unset())
}

/// The same where a look at half of its MAC says so.
#[inline(always)]
pub fn surely_known(interface: u32) -> Option<&'static PortValue> {
    PORTS.get(interface).filter(|port| port.station().is_surely_set())
}
