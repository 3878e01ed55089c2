//! The packet programs in the kernel.
//!
//! Maps, programs and links are pinned below `<pinDirectory>/<ABI version>/`, so traffic flows while no agent
//! runs, and the next one takes over what it finds: maps after a comparison of their shapes, programs if they are of its
//! own build, links by an atomic change of their program.
//!
//! Architecture invariant: the only place that names aya; nothing is changed before all pinned maps fit.
#![expect(unsafe_code, reason = "system calls that no library offers")]

mod attach;
mod clock;
mod clsact;
mod counters;
mod error;
mod family;
mod flows;
mod links;
mod loaded;
mod maps;
mod observe;
mod pins;
mod processes;
mod programs;
mod random;
mod raw;
mod refusal;
mod settings;
mod shape;
pub mod survey;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use aya::include_bytes_aligned;
use aya::maps::MapInfo;
use lb_common::backend::{ABSENT, BackendValue, DEAD};
use lb_common::config::ConfigValue;
use lb_common::map;
use lb_common::net::{Ipv4, Ipv6};
use lb_common::policy::Rate;

use super::Datapath;
use super::counters::Counters;
use super::flows::FlowTable;
use super::model::{
    BackendEntry, BackendId, BalancerIndex, CheckedLimits, Command, ListenerAddress, ListenerEntry,
    ListenerIndex, Observed,
};
use super::observe::Observe;
use super::port::{Port, Served};
use super::processes::Processes;
use crate::config;
use attach::{Attachments, Doors, TcKind};
pub use error::KernelError;
use flows::Flows;
use loaded::Build;
use maps::{Maps, batch_failed, failed};
use pins::Pins;
pub use shape::Difference;
use shape::Shapes;

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lb.o"));

/// The loaded programs, their maps and where they are attached.
pub struct Kernel {
    pins: Pins,
    build: Build,
    maps: Maps,
    flows: Arc<Flows>,
    attachments: Attachments,
}

impl Kernel {
    /// Takes over the maps and links that an earlier agent pinned below `pin_directory`, and its programs if they are
    /// of this build; else loads them.
    ///
    /// # Errors
    /// When this CPU or kernel can't run the programs, or a pinned map has another shape: then nothing has been
    /// changed.
    pub fn open(pin_directory: &Path, settings: &config::Datapath) -> Result<Self, KernelError> {
        Self::open_with(pin_directory, settings, TcKind::of_this_kernel())
    }

    fn open_with(pin_directory: &Path, settings: &config::Datapath, tc: TcKind) -> Result<Self, KernelError> {
        if std::env::consts::ARCH != "x86_64" {
            return Err(KernelError::UnsupportedCpu(std::env::consts::ARCH));
        }
        let pins = Pins::new(pin_directory);
        let shapes = Shapes::read(OBJECT, settings)?;
        let adopted = compare(&pins, &shapes)?;
        pins.create()?;
        let opened = Self::load(pins, &shapes, settings, tc);
        if opened.is_err() && !adopted {
            pins::remove_all(pin_directory)?;
        }
        opened
    }

    fn load(
        pins: Pins,
        shapes: &Shapes,
        settings: &config::Datapath,
        tc: TcKind,
    ) -> Result<Self, KernelError> {
        let mut build = Build::over(&pins)?;
        let is_loaded = programs::are_loaded(&pins, build)?;
        let mut object =
            if is_loaded { None } else { Some(programs::object(&pins, &shape::sizes(settings))?) };
        let maps = Maps::open(&pins, shapes)?;
        configure(&maps, settings)?;
        know(&maps)?;
        if let Some(object) = &mut object {
            build = programs::load(object, &pins)?;
        }
        let flows = Arc::new(Flows::open(&pins, settings.flow_accounting)?);
        let attachments = Attachments::adopt(&pins, tc, settings.flow_accounting)?;
        observe::sweep(&pins)?;
        Ok(Self { pins, build, maps, flows, attachments })
    }

    /// Serves the node's own processes as the configuration wants, if the kernel can.
    pub fn serve_processes(&mut self, wanted: &config::NodeProcesses) -> Processes {
        processes::serve(&self.pins, self.build, wanted)
    }

    /// Removes links, programs and maps that are pinned below `pin_directory`, whoever left them there. All
    /// flows end. Says whether there was anything.
    ///
    /// # Errors
    /// When something can't be removed; what comes before it has been.
    pub fn detach(pin_directory: &Path) -> Result<bool, KernelError> {
        if TcKind::of_this_kernel() == TcKind::Clsact {
            clsact::detach_everywhere();
        }
        pins::remove_all(pin_directory)
    }

    /// The door to packets, for traces and captures.
    pub fn observation(&self) -> Arc<dyn Observe> {
        Arc::new(observe::Observation::new(&self.pins, self.flows.ends()))
    }

    /// The seed of the Maglev tables: kept as long as the pinned maps are.
    ///
    /// # Errors
    /// When CONFIG can't be read.
    pub fn maglev_seed(&self) -> Result<u64, KernelError> {
        Ok(self.maps.settings.config().maglev_secrets.iter().fold(0, |seed, secret| seed ^ secret))
    }

    fn put_backend(&mut self, id: BackendId, entry: &BackendEntry) -> Result<(), KernelError> {
        let value = wire::backend_value(entry);
        self.maps.settings.know_backend(entry.address.ip());
        let before = self.maps.backends.get(&id.0, 0).map_err(failed("read", map::BACKENDS))?;
        let is_reused = matches!(before.state, ABSENT | DEAD) && value.state != DEAD;
        if is_reused {
            Maps::zero(&mut self.maps.backend_stats, map::BACKEND_STATS, id.0)?;
        }
        self.maps.backends.set(id.0, value, 0).map_err(failed("write", map::BACKENDS))?;
        let dies = !matches!(before.state, ABSENT | DEAD) && value.state == DEAD;
        if dies { counters::bury(&mut self.maps, id, before.listener) } else { Ok(()) }
    }

    fn put_listener(&mut self, address: ListenerAddress, entry: ListenerEntry) -> Result<(), KernelError> {
        let maps = &mut self.maps;
        let is_known = match address.vip {
            IpAddr::V4(v4) => maps.v4.has_listener(Ipv4(v4.octets()), address, entry.index)?,
            IpAddr::V6(v6) => maps.v6.has_listener(Ipv6::new(v6.octets()), address, entry.index)?,
        };
        if !is_known {
            Maps::zero(&mut maps.listener_stats, map::LISTENER_STATS, entry.index.0)?;
            counters::forget(maps, entry.index)?;
        }
        let value = wire::listener_value(entry);
        match address.vip {
            IpAddr::V4(v4) => maps.v4.put_listener(Ipv4(v4.octets()), address, value),
            IpAddr::V6(v6) => maps.v6.put_listener(Ipv6::new(v6.octets()), address, value),
        }
    }
}

impl Datapath for Kernel {
    type Error = KernelError;

    fn observe(&self) -> Result<Observed, KernelError> {
        let mut observed = Observed::default();
        self.maps.v4.observe(&mut observed)?;
        self.maps.v6.observe(&mut observed)?;
        for index in 0..self.maps.table_count {
            let table = self.maps.table(index)?;
            if !table.is_empty() {
                observed.tables.insert(ListenerIndex(index), table.into());
            }
        }
        let backends = (0..).map(BackendId).zip(self.maps.all_backends.values());
        let entries = backends.filter_map(|(id, value)| Some((id, wire::backend_entry(&value)?)));
        // Collected, they take half of what they take if each is inserted.
        observed.backends = entries.collect();
        let limits = raw::read(&self.maps.all_limits).map_err(batch_failed("read", map::LIMITS))?;
        let limits = (0..).map(BalancerIndex).zip(limits.iter().map(wire::limits));
        observed.limits.extend(limits.filter(|(_, limits)| *limits != CheckedLimits::default()));
        Ok(observed)
    }

    fn execute(&mut self, command: &Command) -> Result<(), KernelError> {
        let maps = &mut self.maps;
        match command {
            Command::PutVip(vip, policy) => {
                let value = wire::vip_value(*policy);
                maps.settings.know_vip(*vip);
                match vip {
                    IpAddr::V4(v4) => maps.v4.put_vip(Ipv4(v4.octets()), value),
                    IpAddr::V6(v6) => maps.v6.put_vip(Ipv6::new(v6.octets()), value),
                }
            }
            Command::RemoveVip(IpAddr::V4(v4)) => maps.v4.remove_vip(Ipv4(v4.octets())),
            Command::RemoveVip(IpAddr::V6(v6)) => maps.v6.remove_vip(Ipv6::new(v6.octets())),
            Command::PutBackend(id, entry) => self.put_backend(*id, entry),
            Command::PutTable(index, table) => maps.put_tables(&[(index.0, table.iter().collect())]),
            Command::RemoveTable(index) => maps.remove_table(index.0),
            Command::PutListener(address, entry) => self.put_listener(*address, *entry),
            Command::RemoveListener(address) => match address.vip {
                IpAddr::V4(v4) => maps.v4.remove_listener(Ipv4(v4.octets()), *address),
                IpAddr::V6(v6) => maps.v6.remove_listener(Ipv6::new(v6.octets()), *address),
            },
            Command::PutSource(balancer, range, source) => match range.network() {
                IpAddr::V4(v4) => maps.v4.put_source(*balancer, Ipv4(v4.octets()), range.prefix(), *source),
                IpAddr::V6(v6) => {
                    maps.v6.put_source(*balancer, Ipv6::new(v6.octets()), range.prefix(), *source)
                }
            },
            Command::RemoveSource(balancer, range) => match range.network() {
                IpAddr::V4(v4) => maps.v4.remove_source(*balancer, Ipv4(v4.octets()), range.prefix()),
                IpAddr::V6(v6) => maps.v6.remove_source(*balancer, Ipv6::new(v6.octets()), range.prefix()),
            },
            Command::PutLimits(balancer, limits) => {
                let value = wire::limits_value(*limits);
                let index = u32::from(balancer.0);
                maps.limits.set(index, value, 0).map_err(failed("write", map::LIMITS))
            }
        }
    }

    fn execute_together(&mut self, commands: &[Command]) -> Result<(), KernelError> {
        let mut tables: Vec<(u32, Vec<BackendId>)> = Vec::new();
        for command in commands {
            if let Command::PutTable(index, table) = command {
                tables.push((index.0, table.iter().collect()));
            } else {
                self.execute(command)?;
            }
        }
        self.maps.put_tables(&tables)
    }

    fn serve(&mut self, ports: &BTreeMap<u32, Port>) -> Result<Served, KernelError> {
        let mut doors = Doors { pins: &self.pins, ports: &mut self.maps.ports };
        self.attachments.serve(&mut doors, ports)
    }

    fn counters(&self, observed: &Observed) -> Result<Counters, KernelError> {
        counters::read(&self.maps, &self.flows, observed)
    }

    fn flow_table(&self) -> Arc<dyn FlowTable> {
        Arc::<Flows>::clone(&self.flows)
    }
}

/// Compares all pinned maps with those that would be created. Says whether any is pinned.
fn compare(pins: &Pins, shapes: &Shapes) -> Result<bool, KernelError> {
    let mut adopted = false;
    for (name, wanted) in &shapes.maps {
        let path = pins.map(name);
        if !path.exists() {
            continue;
        }
        adopted = true;
        let pinned = MapInfo::from_pin(&path).map_err(failed("open the pinned map", name))?;
        if let Some(difference) = wanted.difference(&shape::Shape::of(&pinned)) {
            return Err(KernelError::Shape { path, difference });
        }
    }
    Ok(adopted)
}

/// The programs know the addresses that the maps speak of, and no longer those of an earlier agent's life.
fn know(maps: &Maps) -> Result<(), KernelError> {
    let mut observed = Observed::default();
    maps.v4.observe(&mut observed)?;
    maps.v6.observe(&mut observed)?;
    let backends = maps.all_backends.values::<BackendValue>();
    let servers = backends.filter_map(|value| wire::backend_entry(&value)).map(|entry| entry.address.ip());
    maps.settings.know_only(observed.vips.into_keys(), servers);
    Ok(())
}

/// Secrets are drawn once and live as long as FLOWS, whose buckets they address; time-outs follow the
/// configuration.
fn configure(maps: &Maps, settings: &config::Datapath) -> Result<(), KernelError> {
    let before = maps.settings.config();
    let mut config = before;
    if before == ConfigValue::default() {
        config.flow_secrets = random::secrets()?;
        config.maglev_secrets = random::secrets()?;
        config.tick_scale = clock::scale().map_err(batch_failed("read the clock for", map::CONFIG))?;
        config.bucket_mask = shape::flow_buckets(settings).saturating_sub(1);
    }
    config = wire::with_timeouts(config, &settings.timeouts);
    config.new_flows = Rate::new(settings.new_flows_per_second);
    // Whoever listened, listened to an earlier agent.
    config.flags = 0;
    maps.settings.set(config);
    Ok(())
}
