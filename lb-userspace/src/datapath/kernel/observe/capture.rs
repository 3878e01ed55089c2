//! Capturing: the links run a capturing instance for a while.
//!
//! The instance's arrays of stages are pinned meanwhile: should the agent die, its programs balance on, and
//! nobody reads what they capture, until the next agent puts its own programs in their place.

use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aya::maps::{MapData, PerCpuArray, RingBuf};
use lb_common::observe::{BY_CLIENT, BY_PORT, BY_VIP, CAPTURE, CaptureFilter, Captured, IS_V6, SNAP};
use lb_common::observe::{TC_EGRESS, TC_INGRESS};
use lb_common::reason::Reason;

use super::instance::{Instance, Purpose, STAGES};
use super::{capture_pin, refused};
use crate::datapath::kernel::error::KernelError;
use crate::datapath::kernel::links;
use crate::datapath::kernel::maps::{failed, take};
use crate::datapath::kernel::pins::{self, Pins};
use crate::datapath::observe::{Capture, Filter, Frame, ObserveError, Packet, Side};

/// Bytes of the ring buffer: some seven thousand packets.
const RING: u32 = 4 << 20;
/// Packets that one call gives.
const BATCH: usize = 512;

/// The turn to capture or to listen; given back on drop.
pub(super) struct Turn(Arc<AtomicBool>);

impl Turn {
    pub(super) fn take(busy: &Arc<AtomicBool>) -> Option<Self> {
        (!busy.swap(true, Ordering::AcqRel)).then(|| Self(Arc::clone(busy)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// A capture that is under way.
pub(super) struct Running {
    pins: Pins,
    packets: RingBuf<MapData>,
    lost: PerCpuArray<MapData, u64>,
    /// Its programs run as long as it is held.
    instance: Instance,
    _turn: Turn,
}

impl Running {
    pub(super) fn start(pins: &Pins, filter: &Filter, turn: Turn) -> Result<Self, KernelError> {
        sweep(pins)?;
        let filter = constant(filter);
        let purpose = Purpose {
            stages: &STAGES,
            observe: CAPTURE,
            filter,
            ring: RING,
            shares: &|_| true,
            pinned: true,
        };
        let mut instance = Instance::load(pins, &purpose)?;
        let packets = take(&mut instance.ebpf, "CAPTURE")?;
        let lost = take(&mut instance.ebpf, "CAPTURE_LOST")?;
        // From here on, dropping it puts things back.
        let running = Self { pins: pins.clone(), packets, lost, instance, _turn: turn };
        for name in links::names(pins)? {
            let program = running.instance.program(name.place.program())?;
            links::take_over(&pins.link(&name.to_string()), program)?;
        }
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that can't be, as its interface has just gone, keeps no other from it. What it runs needs its stages.
        let handed_back = links::names(&self.pins).and_then(|names| {
            let failures = names.into_iter().filter_map(|name| links::run_pinned(&self.pins, name).err());
            // All are tried before the first failure is told.
            failures.collect::<Vec<_>>().into_iter().next().map_or(Ok(()), Err)
        });
        if let Err(error) = handed_back.and_then(|()| sweep(&self.pins)) {
            tracing::warn!("end of capture: {error}; it ends when the agent is started anew");
        }
    }
}

/// Removes what a capture has pinned.
pub(in crate::datapath::kernel) fn sweep(pins: &Pins) -> Result<(), KernelError> {
    STAGES.iter().try_for_each(|name| pins::remove(&capture_pin(pins, name)))
}

fn constant(filter: &Filter) -> CaptureFilter {
    let mut constant = CaptureFilter::default();
    if let Some(vip) = filter.vip {
        constant.vip = octets(vip);
        constant.flags |= BY_VIP | family(vip);
    }
    if let Some(client) = filter.client {
        constant.client = octets(client);
        constant.flags |= BY_CLIENT | family(client);
    }
    if let Some(port) = filter.port {
        constant.port = port.into();
        constant.flags |= BY_PORT;
    }
    constant
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

const fn family(address: IpAddr) -> u32 {
    if address.is_ipv6() { IS_V6 } else { 0 }
}

impl Capture for Running {
    fn packets(&mut self, patience: Duration) -> Result<Vec<Packet>, ObserveError> {
        wait(self.packets.as_raw_fd(), patience).map_err(|error| ObserveError::Refused(error.into()))?;
        let mut packets = Vec::new();
        while packets.len() < BATCH
            && let Some(item) = self.packets.next()
        {
            packets.extend(packet(&item));
        }
        Ok(packets)
    }

    fn lost(&self) -> Result<u64, ObserveError> {
        let lost = self.lost.get(&0, 0).map_err(failed("read", "CAPTURE_LOST")).map_err(refused)?;
        Ok(lost.iter().sum())
    }
}

/// Waits until there is something to read.
pub(super) fn wait(fd: i32, patience: Duration) -> std::io::Result<()> {
    let mut watched = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let milliseconds = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one element, which outlives the call.
    let ready = unsafe { libc::poll(&raw mut watched, 1, milliseconds) };
    if ready >= 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    if error.kind() == std::io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}

/// `None` for an entry of another size, which nobody writes.
fn packet(bytes: &[u8]) -> Option<Packet> {
    let bytes = bytes.get(..size_of::<Captured>())?;
    // SAFETY: as many bytes as the type has, every pattern of which is a value; they need not be aligned.
    let captured = unsafe { bytes.as_ptr().cast::<Captured>().read_unaligned() };
    let reason = usize::try_from(captured.reason).ok().and_then(|index| Reason::ALL.get(index).copied());
    Some(Packet {
        time: Duration::from_nanos(captured.time),
        interface: captured.interface,
        side: side(captured.hook),
        code: captured.code,
        reason,
        before: frame(captured.before_length, &captured.before),
        after: frame(captured.after_length, &captured.after),
    })
}

pub(super) const fn side(hook: u32) -> Side {
    match hook {
        TC_INGRESS => Side::Ingress,
        TC_EGRESS => Side::Egress,
        _ => Side::Xdp,
    }
}

fn frame(length: u32, bytes: &[u8; SNAP]) -> Frame {
    let taken = usize::try_from(length).unwrap_or(SNAP).min(SNAP);
    Frame { length, bytes: bytes.iter().copied().take(taken).collect() }
}
