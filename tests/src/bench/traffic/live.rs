//! The programs at both ends of a road, and the one that crosses the node.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use aya::maps::{Array, HashMap, MapData, PerCpuArray, ProgramArray};
use aya::programs::xdp::XdpMode;
use aya::programs::{ProgramFd, TestRun as _, TestRunAttrs, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use lb_common::bench::{self, Crossing, HEADER, Turn};
use lb_common::net::{Ipv4, Mac};

use super::road::{CLIENT_MAC, INNER_MAC, Road, SERVER_MAC, UPLINK_MAC};
use super::spent::Spent;
use super::subject::{Lane, Service};
use crate::bench::pinned::Pinned;
use crate::lab::namespace::Namespace;
use crate::packet::{Frame as _, packet};
use crate::program::bench_object;

/// From one flow to the next: far from those that were begun beside it.
const STEP: u32 = 2_654_435_761;

/// So many bytes of data that the frame has all headers of the generator.
const PAYLOAD: usize = HEADER - 42;

/// Frames that the kernel makes at a time, as many as a network card hands over.
const BATCH: u32 = 64;

/// Redirects between both sides of the node, for as long as what is returned lives.
pub(super) fn cross(road: &Road) -> Result<Ebpf> {
    let mut ebpf = load()?;
    let (uplink, inner) = (road.interface("up0")?, road.interface("in0")?);
    let map = ebpf.map_mut(bench::CROSSINGS).context("no map CROSSINGS")?;
    let mut crossings = HashMap::<&mut MapData, u32, Crossing>::try_from(map)?;
    let inwards = Crossing { interface: inner, destination: SERVER_MAC, source: INNER_MAC };
    let outwards = Crossing { interface: uplink, destination: CLIENT_MAC, source: UPLINK_MAC };
    crossings.insert(uplink, inwards, 0).context("write CROSSINGS")?;
    crossings.insert(inner, outwards, 0).context("write CROSSINGS")?;
    let program = loaded(&mut ebpf, "bench_cross")?;
    attach(program, &road.node, "up0")?;
    attach(program, &road.node, "in0")?;
    Ok(ebpf)
}

/// What one run came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Frames that the client has sent.
    pub(super) sent: u64,
    /// Datagrams that have arrived.
    pub(super) arrived: u64,
    /// By all of its processors.
    pub(super) spent: Duration,
    /// On the clock.
    pub(super) took: Duration,
}

/// Sends datagrams over lanes and counts those that arrive.
pub(super) struct Traffic {
    ebpf: Ebpf,
}

impl Traffic {
    /// Puts the sink at the end of all lanes.
    pub(super) fn over(lanes: &[Lane]) -> Result<Self> {
        let mut ebpf = load()?;
        let floor = descriptor(loaded(&mut ebpf, "bench_floor")?)?;
        let map = ebpf.map_mut(bench::SUBJECT).context("no map SUBJECT")?;
        ProgramArray::try_from(map)?.set(0, &floor, 0).context("write SUBJECT")?;
        loaded(&mut ebpf, "bench_turn")?;
        let sink = loaded(&mut ebpf, "bench_sink")?;
        for lane in lanes {
            attach(sink, &lane.road.servers, "eth0")?;
        }
        Ok(Self { ebpf })
    }

    /// Whether servers answer from now on.
    pub(super) fn answer(&mut self, answers: bool) -> Result<()> {
        let map = self.ebpf.map_mut(bench::ANSWERING).context("no map ANSWERS")?;
        Array::<&mut MapData, u32>::try_from(map)?.set(0, u32::from(answers), 0).context("write ANSWERS")
    }

    /// Sends so many datagrams, each of another one of so many flows, which is a power of two.
    pub(super) fn send(&mut self, lane: &Lane, flows: u32, packets: u32) -> Result<Run> {
        let target = lane.target(Service::Datagrams);
        let frame = packet()
            .ethernet(Mac(CLIENT_MAC), Mac(UPLINK_MAC))
            .from((Ipv4([198, 18, 0, 0]), 0))
            .to((Ipv4(target.ip().octets()), target.port()))
            .udp()
            .payload(&[0x5a; PAYLOAD])
            .bytes();
        let header: [u8; HEADER] = frame.as_slice().try_into().context("a frame of the header's size")?;
        let turn = Turn { header, mask: flows - 1, step: STEP, flags: bench::UDP, length: HEADER as u32 };
        let map = self.ebpf.map_mut(bench::TURN).context("no map TURN")?;
        Array::<&mut MapData, Turn>::try_from(map)?.set(0, turn, 0).context("write TURN")?;
        let (made, sunk) = (self.count(bench::MADE)?, self.count(bench::SUNK)?);
        let generator: &mut Xdp = self.ebpf.program_mut("bench_turn").context("no generator")?.try_into()?;
        let (spent, took) = lane.road.client.enter(|| run(generator, &frame, packets))??;
        Ok(Run {
            sent: self.count(bench::MADE)? - made,
            arrived: self.count(bench::SUNK)? - sunk,
            spent,
            took,
        })
    }

    fn count(&self, name: &str) -> Result<u64> {
        let map = self.ebpf.map(name).with_context(|| format!("no map {name}"))?;
        let counts = PerCpuArray::<&MapData, u64>::try_from(map)?.get(&0, 0);
        Ok(counts.with_context(|| format!("read {name}"))?.iter().sum())
    }
}

/// All of the way of a packet is done on the processor that makes it.
fn run(generator: &mut Xdp, frame: &[u8], packets: u32) -> Result<(Duration, Duration)> {
    let _pinned = Pinned::here()?;
    let interface = nix::net::if_::if_nametoindex("eth0").context("look up the client's interface")?;
    let length = u32::try_from(frame.len())?;
    // The kernel's `struct xdp_md`: data, its end, metadata, interface and queue of arrival.
    let context: Vec<u8> =
        [0, length, 0, interface, 0, 0].iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
    let options = TestRunOptions {
        data_in: Some(frame),
        ctx_in: Some(&context),
        repeat: packets,
        attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
        ..TestRunOptions::new()
    };
    let (before, started) = (Spent::here()?, Instant::now());
    generator.test_run(options).map_err(|error| anyhow!("live frames: {error:?}"))?;
    Ok((before.until_now()?, started.elapsed()))
}

fn load() -> Result<Ebpf> {
    EbpfLoader::new().load(&bench_object()).context("load the benchmarks' maps")
}

fn loaded<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program: &mut Xdp =
        ebpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?;
    program.load().with_context(|| format!("load {name}"))?;
    Ok(program)
}

fn descriptor(program: &Xdp) -> Result<ProgramFd> {
    program.fd()?.try_clone().context("another descriptor")
}

/// The kernel looks the interface up in the caller's namespace.
fn attach(program: &mut Xdp, namespace: &Namespace, interface: &str) -> Result<()> {
    let attached = namespace.enter(|| program.attach(interface, XdpMode::Driver))?;
    attached.with_context(|| format!("attach to {interface} in {}", namespace.name()))?;
    ensure!(program.fd().is_ok(), "the program is gone");
    Ok(())
}
