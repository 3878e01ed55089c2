//! Tracing: a test packet through an instance of its own.
//!
//! What the agent writes is shared; what packets write is private and begins as a copy, so that a trace sees
//! the flows that there are and changes none of them.

use std::collections::BTreeMap;

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray};
use aya::programs::{Program, TestRun as _, TestRunOptions, TestRunResult};
use aya::{Ebpf, Pod};
use lb_common::backend::BackendValue;
use lb_common::flow::{Bucket, FlowEntry, OverflowKey};
use lb_common::map::{self, program};
use lb_common::net::{Ipv4, Ipv6};
use lb_common::next_hop::NextHop;
use lb_common::observe::{CaptureFilter, Code, Note, TRACE, TraceValue};
use lb_common::port::PortValue;

use super::instance::{Instance, Purpose};
use crate::datapath::kernel::error::KernelError;
use crate::datapath::kernel::maps::{batch_failed, failed, take, whole};
use crate::datapath::kernel::pins::Pins;
use crate::datapath::kernel::{raw, wire};
use crate::datapath::model::BackendEntry;
use crate::datapath::observe::{Question, Side, Traced};

/// Maps that packets only read.
const SHARED: [&str; 13] = [
    map::VIPS_V4,
    map::VIPS_V6,
    map::LISTENERS_V4,
    map::LISTENERS_V6,
    map::LISTENER_RANGES_V4,
    map::LISTENER_RANGES_V6,
    map::SOURCES_V4,
    map::SOURCES_V6,
    map::LIMITS,
    map::MAGLEV,
    map::BACKENDS,
    map::PORTS,
    map::CONFIG,
];

/// Room for what an answer may add to a packet.
const ROOM: usize = 512;
/// The kernel's smallest ring buffer: nothing is captured.
const NO_RING: u32 = 4096;

pub(super) fn trace(pins: &Pins, question: &Question) -> Result<Traced, KernelError> {
    let shares = |name: &str| SHARED.contains(&name);
    let stages = &[match question.side {
        Side::Xdp => map::XDP_STAGES,
        Side::Ingress => map::TC_INGRESS_STAGES,
        Side::Egress => map::TC_EGRESS_STAGES,
    }];
    let filter = CaptureFilter::default();
    let purpose = Purpose { stages, observe: TRACE, filter, ring: NO_RING, shares: &shares, pinned: false };
    let mut instance = Instance::load(pins, &purpose)?;
    copy(&mut instance.ebpf, pins)?;
    let sent = addressed(pins, question)?;
    let mut frame = vec![0; sent.len() + ROOM];
    let ran = run(&instance.ebpf, question, &sent, &mut frame)?;
    frame.truncate(usize::try_from(ran.data_size_out).unwrap_or_default());
    let notes = notes(&mut instance.ebpf)?;
    let backends = backends(pins, &notes)?;
    Ok(Traced { notes, code: ran.return_value.cast_signed(), sent, frame, backends })
}

/// The frame, sent to the address with which the interface takes packets for VIPs.
fn addressed(pins: &Pins, question: &Question) -> Result<Vec<u8>, KernelError> {
    let port: PortValue = value(pins, map::PORTS, question.interface)?;
    let mut frame = question.frame.clone();
    if let Some(destination) = frame.get_mut(..port.mac.0.len()) {
        destination.copy_from_slice(&port.mac.0);
    }
    Ok(frame)
}

fn value<V: Pod>(pins: &Pins, name: &'static str, index: u32) -> Result<V, KernelError> {
    let values: Array<MapData, V> =
        Map::Array(whole(pins, name)?).try_into().map_err(failed("open", name))?;
    values.get(&index, 0).map_err(failed("read", name))
}

fn copy(ebpf: &mut Ebpf, pins: &Pins) -> Result<(), KernelError> {
    copy_array::<Bucket<Ipv4>>(ebpf, pins, map::FLOWS_V4)?;
    copy_array::<Bucket<Ipv6>>(ebpf, pins, map::FLOWS_V6)?;
    copy_array::<NextHop>(ebpf, pins, map::NEXT_HOPS)?;
    copy_hash::<OverflowKey<Ipv4>, FlowEntry<Ipv4>>(ebpf, pins, map::OVERFLOW_V4)?;
    copy_hash::<OverflowKey<Ipv6>, FlowEntry<Ipv6>>(ebpf, pins, map::OVERFLOW_V6)
}

fn copy_array<V: Pod>(ebpf: &mut Ebpf, pins: &Pins, name: &'static str) -> Result<(), KernelError> {
    let mut values: Vec<V> = raw::read(&whole(pins, name)?).map_err(batch_failed("read", name))?;
    let Some(Map::Array(own)) = ebpf.take_map(name) else { return Err(KernelError::Lacking(name)) };
    raw::write(&own, &mut values).map_err(batch_failed("copy", name))
}

fn copy_hash<K: Pod, V: Pod>(ebpf: &mut Ebpf, pins: &Pins, name: &'static str) -> Result<(), KernelError> {
    let mut own: HashMap<MapData, K, V> = take(ebpf, name)?;
    let mut outcome = Ok(());
    let visited = raw::visit_hash(&whole(pins, name)?, |key: &K, value: &V| {
        if outcome.is_ok() {
            outcome = own.insert(key, value, 0).map_err(failed("copy", name));
        }
    });
    visited.map_err(batch_failed("read", name))?;
    outcome
}

fn run(
    ebpf: &Ebpf,
    question: &Question,
    sent: &[u8],
    frame: &mut [u8],
) -> Result<TestRunResult, KernelError> {
    let (name, context) = match question.side {
        Side::Xdp => (program::XDP, xdp_context(question)),
        Side::Ingress => (program::TC_INGRESS, skb_context(question)),
        Side::Egress => (program::TC_EGRESS, skb_context(question)),
    };
    let options = TestRunOptions {
        data_in: Some(sent),
        data_out: Some(frame),
        ctx_in: Some(&context),
        ..TestRunOptions::new()
    };
    let program = ebpf.program(name).ok_or(KernelError::Lacking(name))?;
    let ran = if let Program::Xdp(xdp) = program {
        xdp.test_run(options)
    } else if let Program::SchedClassifier(tc) = program {
        tc.test_run(options)
    } else {
        return Err(KernelError::Lacking(name));
    };
    ran.map_err(|source| KernelError::TestRun { program: name, source })
}

/// `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
fn xdp_context(question: &Question) -> Vec<u8> {
    let end = u32::try_from(question.frame.len()).unwrap_or(u32::MAX);
    [0, end, 0, question.interface, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect()
}

/// `struct __sk_buff`, of which only `ifindex` is given.
fn skb_context(question: &Question) -> Vec<u8> {
    const WORDS: usize = 192 / 4;
    const IFINDEX: usize = 10;
    let word = |index| if index == IFINDEX { question.interface } else { 0 };
    (0..WORDS).flat_map(|index| word(index).to_ne_bytes()).collect()
}

/// The decisions, of whichever CPU made them.
fn notes(ebpf: &mut Ebpf) -> Result<Vec<Note>, KernelError> {
    let trace: PerCpuArray<MapData, TraceValue> = take(ebpf, "TRACE")?;
    let traces = trace.get(&0, 0).map_err(failed("read", "TRACE"))?;
    let made = traces.iter().filter(|trace| trace.count > 0);
    Ok(made.flat_map(|trace| trace.notes.iter().copied()).filter(|note| note.code != 0).collect())
}

fn backends(pins: &Pins, notes: &[Note]) -> Result<BTreeMap<u32, BackendEntry>, KernelError> {
    let named = |note: &Note| matches!(Code::numbered(note.code), Code::Backend | Code::Flow);
    let ids =
        notes.iter().filter(|note| named(note)).map(|note| lb_common::backend::BackendRef(note.first).id());
    let mut backends = BTreeMap::new();
    for id in ids {
        let value: BackendValue = value(pins, map::BACKENDS, id)?;
        backends.extend(wire::backend_entry(&value).map(|entry| (id, entry)));
    }
    Ok(backends)
}
