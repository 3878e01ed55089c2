//! Who is measured.

use anyhow::{Context as _, Result, anyhow};
use aya::maps::{Array, HashMap, MapData};
use aya::programs::ProgramFd;
use lb_common::bench::{self, Looks, PEER_BACKENDS, PEER_LISTENERS, PeerBackend, PeerListener};
use lb_common::net::Protocol;

use super::generator::Generator;
use super::path::Path;
use super::scene::{self, Shot};
use crate::packet::Endpoint;
use crate::program::Hook;

/// The programs of this project.
pub const LB: &str = "lb";
/// The least that a balancer can do.
/// What the machine is measured by.
pub const YARDSTICK: &str = "one-way DNAT, LRU hash";
/// What no table of flows can do without, while the processor looks for the next packets already.
pub const MEMORY: &str = "the look at memory alone";
/// The same, while it does not.
pub const MEMORY_IN_TURN: &str = "the look, one after another";

/// What a program does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Balances packets and answers.
    TwoWay,
    /// Balances packets of IPv4.
    OneWay,
    /// Sends back what may belong to a flow, as it came.
    Look,
}

/// A program with all that it needs.
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) program: ProgramFd,
    pub(super) role: Role,
    hook: Hook,
    /// Its maps live as long as it does.
    _rig: Option<crate::program::Rig>,
}

impl Subject {
    /// What becomes of the packet of a flow: return value and frame.
    pub(super) fn expected(&self, shot: &Shot, number: u32) -> (i32, Vec<u8>) {
        let (verdict, frame) = match self.role {
            Role::TwoWay => shot.balanced(number),
            Role::OneWay => shot.sent_back(number),
            Role::Look => shot.returned(number),
        };
        (self.hook.code(verdict), frame)
    }

    /// Does it know what to do with such packets?
    pub(super) fn knows(&self, shot: &Shot) -> bool {
        match self.role {
            Role::TwoWay => true,
            Role::OneWay => !shot.is_answer() && !shot.is_v6,
            Role::Look => shot.is_of_flow() && !shot.is_v6,
        }
    }
}

/// What the generator alone costs.
pub(super) fn floor(generator: &mut Generator, hook: Hook) -> Result<Subject> {
    let name = if hook == Hook::Xdp { "bench_floor" } else { "bench_floor_tc" };
    let program = generator.load_program(name)?;
    Ok(Subject { name: "floor", program, role: Role::TwoWay, hook, _rig: None })
}

/// All that know what to do on this path.
pub(super) fn all(path: &Path, generator: &mut Generator) -> Result<Vec<Subject>> {
    let mut subjects = vec![balancer(path)?];
    if path.hook == Hook::Xdp {
        subjects.push(yardstick(generator)?);
        subjects.push(memory(generator, MEMORY, "bench_memory")?);
        subjects.push(memory(generator, MEMORY_IN_TURN, "bench_memory_waits")?);
    }
    Ok(subjects)
}

fn balancer(path: &Path) -> Result<Subject> {
    let loaded = scene::given_listeners(path.buckets).loaded(path.hook);
    let mut rig = loaded.map_err(|reason| anyhow!(reason))?;
    let program = rig.handed_out(path.hook);
    Ok(Subject { name: LB, program, role: Role::TwoWay, hook: path.hook, _rig: Some(rig) })
}

fn yardstick(generator: &mut Generator) -> Result<Subject> {
    let program = generator.load_program("bench_peer")?;
    let map = generator.ebpf.map_mut(PEER_LISTENERS).context("no map PEER_LISTENERS")?;
    let mut listeners = HashMap::<&mut MapData, PeerListener, u32>::try_from(map)?;
    let listener = |(address, port): Endpoint, protocol: Protocol| PeerListener {
        address: u32::from_ne_bytes(address.0),
        port: port.to_be(),
        protocol: u16::from(protocol.number()),
    };
    listeners.insert(listener(scene::WEB, Protocol::Tcp), 1, 0).context("write PEER_LISTENERS")?;
    listeners.insert(listener(scene::DNS, Protocol::Udp), 1, 0).context("write PEER_LISTENERS")?;
    Ok(Subject { name: YARDSTICK, program, role: Role::OneWay, hook: Hook::Xdp, _rig: None })
}

fn memory(generator: &mut Generator, name: &'static str, program: &str) -> Result<Subject> {
    let program = generator.load_program(program)?;
    Ok(Subject { name, program, role: Role::Look, hook: Hook::Xdp, _rig: None })
}

/// Says at how much a packet of a path looks.
pub(super) fn extend(generator: &mut Generator, path: &Path) -> Result<()> {
    let map = generator.ebpf.map_mut(bench::LOOKS).context("no map LOOKS")?;
    let looks = Looks { mask: path.buckets - 1, number: if path.is_ever_new() { 2 } else { 1 }, sum: 0 };
    Array::<&mut MapData, Looks>::try_from(map)?.set(0, looks, 0).context("write LOOKS")
}

/// Points the yardstick to the server of a path.
pub(super) fn serve(generator: &mut Generator, path: &Path) -> Result<()> {
    let map = generator.ebpf.map_mut(PEER_BACKENDS).context("no map PEER_BACKENDS")?;
    let mut backends = Array::<&mut MapData, PeerBackend>::try_from(map)?;
    let server = if path.measured().is_datagram() { scene::RESOLVER } else { scene::SERVER };
    backends.set(0, scene::peer_backend(server), 0).context("write PEER_BACKENDS")
}
