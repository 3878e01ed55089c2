//! From the file as written to the checked configuration.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lb_common::policy::Rate;
use lb_common::{config::MAX_TIMEOUT, config::TICK_SHIFT, maglev, map};

use super::{
    Config, Datapath, Hook, Interfaces, Inventory, NodeProcesses, Timeouts, WrongField, duration, schema,
};
use super::{InterfacePattern, pattern::ParseInterfacePattern};

/// The flow table's smallest and greatest size: 32 B an entry.
const FLOW_ENTRIES: (u32, u32) = (1024, 1 << 24);
/// Every listener has its own Maglev table.
const LISTENERS: (u32, u32) = (1, 65_536);
/// Ids have 24 bits, and 0 is nobody.
const BACKENDS: (u32, u32) = (2, lb_common::backend::MAX_BACKENDS);

/// What a CPU enters in a second while it has time left for flows that are known.
const NEW_FLOWS: u32 = 250_000;
/// 0 is no limit.
const NEW_FLOWS_RANGE: (u32, u32) = (0, Rate::MAX_PER_SECOND);

/// Checks everything and collects what is wrong.
pub(super) fn check(file: schema::File) -> Result<Config, Vec<WrongField>> {
    let mut wrong = Checks::default();
    let node = wrong.node(file.node.unwrap_or_default());
    let state_directory = wrong.path("stateDirectory", file.state_directory, "/var/lib/lb");
    let config = Config {
        node,
        api: wrong.api(file.api, &state_directory),
        state_directory,
        socket: wrong.path("socket", file.socket, "/run/lb/lb.sock"),
        pin_directory: wrong.path("pinDirectory", file.pin_directory, "/sys/fs/bpf/lb"),
        interfaces: wrong.interfaces(file.interfaces),
        node_processes: wrong.node_processes(file.node_processes.as_deref()),
        inventory: wrong.inventory(file.inventory),
        dhcp: wrong.dhcp(file.dhcp),
        datapath: wrong.datapath(&file.datapath),
        maglev_slots: wrong.maglev_slots(file.maglev_slots),
    };
    if wrong.0.is_empty() { Ok(config) } else { Err(wrong.0) }
}

#[derive(Default)]
pub(super) struct Checks(Vec<WrongField>);

impl Checks {
    pub(super) fn add(&mut self, field: impl Into<String>, message: impl fmt::Display) {
        self.0.push(WrongField { field: field.into(), message: message.to_string() });
    }

    fn node(&mut self, name: String) -> String {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if name.is_empty() || name.len() > 253 || !name.chars().all(legal) {
            self.add("node", format!("{name:?} is not a node name; use letters, digits, '-' and '.'"));
        }
        name
    }

    fn path(&mut self, field: &str, given: Option<PathBuf>, default: &str) -> PathBuf {
        self.absolute(field, given.unwrap_or_else(|| default.into()))
    }

    pub(super) fn absolute(&mut self, field: &str, path: PathBuf) -> PathBuf {
        if !path.is_absolute() {
            self.add(
                field,
                format!("{:?} is not an absolute path; start it with '/'", path.display().to_string()),
            );
        }
        path
    }

    fn node_processes(&mut self, given: Option<&str>) -> NodeProcesses {
        match given {
            None | Some("auto") => NodeProcesses::Auto,
            Some("none") => NodeProcesses::None,
            Some(path) if path.starts_with('/') => NodeProcesses::In(path.into()),
            Some(other) => {
                self.add(
                    "nodeProcesses",
                    format!(
                        "{other:?} is no cgroup; use auto, none, or a directory of the cgroup2 file system"
                    ),
                );
                NodeProcesses::Auto
            }
        }
    }

    fn interfaces(&mut self, file: schema::Interfaces) -> Interfaces {
        if file.uplinks.as_ref().is_some_and(Vec::is_empty) {
            self.add(
                "interfaces.uplinks",
                "is empty; name an interface, or leave the field out to find them",
            );
        }
        let mut seen = BTreeSet::new();
        self.names("interfaces.uplinks", file.uplinks.as_deref().unwrap_or_default(), &mut seen);
        self.names("interfaces.routed", &file.routed, &mut seen);
        let vm_ports = (file.vm_ports.iter().enumerate())
            .filter_map(|(i, text)| self.pattern(&format!("interfaces.vmPorts[{i}]"), text))
            .collect();
        let hook = file.hook.as_deref().map_or(Hook::Auto, |text| self.hook("interfaces.hook", text));
        let hooks = (file.hooks.iter())
            .map(|(name, text)| (name.clone(), self.hook(&format!("interfaces.hooks.{name}"), text)))
            .collect();
        for name in file.hooks.keys() {
            if file.uplinks.is_some() && !seen.contains(name.as_str()) {
                self.add(
                    format!("interfaces.hooks.{name}"),
                    "is neither in interfaces.uplinks nor in interfaces.routed; add it there",
                );
            }
        }
        Interfaces { uplinks: file.uplinks, routed: file.routed, vm_ports, hook, hooks }
    }

    fn names<'a>(&mut self, field: &str, names: &'a [String], seen: &mut BTreeSet<&'a str>) {
        for (i, name) in names.iter().enumerate() {
            let field = format!("{field}[{i}]");
            if name.contains(['*', '?']) {
                self.add(&field, format!("{name:?} is a pattern; only vmPorts takes patterns"));
            } else {
                self.pattern(&field, name);
            }
            if !seen.insert(name) {
                self.add(&field, format!("{name:?} is listed twice among uplinks and routed; keep one"));
            }
        }
    }

    fn pattern(&mut self, field: &str, text: &str) -> Option<InterfacePattern> {
        match InterfacePattern::new_checked(text) {
            Ok(pattern) => Some(pattern),
            Err(error @ ParseInterfacePattern { .. }) => {
                self.add(field, error);
                None
            }
        }
    }

    fn hook(&mut self, field: &str, text: &str) -> Hook {
        Hook::ALL.into_iter().find(|hook| hook.name() == text).unwrap_or_else(|| {
            self.add(
                field,
                format!("{text:?} is no hook; use one of {}", Hook::ALL.map(Hook::name).join(", ")),
            );
            Hook::Auto
        })
    }

    fn datapath(&mut self, file: &schema::Datapath) -> Datapath {
        let entries = map::FLOW_BUCKETS * 4;
        let flow_entries = self.number("datapath.flowEntries", file.flow_entries, entries, FLOW_ENTRIES);
        if !flow_entries.is_power_of_two() {
            let near = flow_entries.next_power_of_two();
            self.add("datapath.flowEntries", format!("{flow_entries} is not a power of two; use {near}"));
        }
        let field = "datapath.maxListeners";
        let max_listeners = self.number(field, file.max_listeners, map::MAX_LISTENERS, LISTENERS);
        let field = "datapath.maxBackends";
        let max_backends = self.number(field, file.max_backends, map::MAX_BACKENDS, BACKENDS);
        let field = "datapath.newFlowsPerSecond";
        let new_flows_per_second = self.number(field, file.new_flows_per_second, NEW_FLOWS, NEW_FLOWS_RANGE);
        let timeouts = self.timeouts(&file.timeouts);
        let flow_accounting = file.flow_accounting;
        Datapath {
            flow_entries,
            max_listeners,
            max_backends,
            new_flows_per_second,
            flow_accounting,
            timeouts,
        }
    }

    fn number(&mut self, field: &str, given: Option<i64>, default: u32, (least, most): (u32, u32)) -> u32 {
        let Some(given) = given else { return default };
        match u32::try_from(given) {
            Ok(value) if (least..=most).contains(&value) => value,
            Ok(_) | Err(_) => {
                self.add(field, format!("{given} is out of range; use {least} to {most}"));
                default
            }
        }
    }

    fn inventory(&mut self, file: schema::Inventory) -> Inventory {
        /// The longest hold-down: an address that nobody has told for longer is somebody else's.
        const MAX_HOLD_DOWN: Duration = Duration::from_hours(1);
        let field = "inventory.holdDown";
        let mut inventory = Inventory::default();
        match file.hold_down.as_deref().map(duration::parse) {
            None => {}
            Some(Ok(time)) if time <= MAX_HOLD_DOWN => inventory.hold_down = time,
            Some(Ok(_)) => self.add(field, "out of range; use 0s to 1h"),
            Some(Err(error)) => self.add(field, error),
        }
        inventory.file = file.file.map(|file| self.absolute("inventory.file", file));
        inventory.libvirt = file.libvirt.map(|socket| self.absolute("inventory.libvirt", socket));
        let leases = file.leases.into_iter().enumerate();
        let leases = leases.map(|(index, path)| self.absolute(&format!("inventory.leases[{index}]"), path));
        inventory.leases = leases.collect();
        if inventory.file.is_none() && inventory.libvirt.is_none() && !inventory.leases.is_empty() {
            self.add(
                "inventory.leases",
                "tells addresses of VMs that nothing declares; set inventory.file or inventory.libvirt",
            );
        }
        inventory
    }

    fn timeouts(&mut self, file: &schema::Timeouts) -> Timeouts {
        let default = Timeouts::default();
        let mut one = |name: &str, text: &Option<String>, default| {
            text.as_deref().map_or(default, |text| self.timeout(name, text, default))
        };
        Timeouts {
            tcp_opening: one("tcpOpening", &file.tcp_opening, default.tcp_opening),
            tcp_established: one("tcpEstablished", &file.tcp_established, default.tcp_established),
            tcp_closing: one("tcpClosing", &file.tcp_closing, default.tcp_closing),
            udp_opening: one("udpOpening", &file.udp_opening, default.udp_opening),
            udp_established: one("udpEstablished", &file.udp_established, default.udp_established),
        }
    }

    fn timeout(&mut self, name: &str, text: &str, default: Duration) -> Duration {
        let field = format!("datapath.timeouts.{name}");
        let longest = Duration::from_nanos(u64::from(MAX_TIMEOUT) << TICK_SHIFT);
        match duration::parse(text) {
            Ok(value) if (Duration::from_secs(1)..=longest).contains(&value) => value,
            Ok(_) => {
                self.add(field, format!("{text} is out of range; use 1s to 19h"));
                default
            }
            Err(error) => {
                self.add(field, error);
                default
            }
        }
    }

    fn maglev_slots(&mut self, given: Option<i64>) -> u32 {
        let Some(given) = given else { return map::MAGLEV_SLOTS };
        if let Some(slots) = maglev::SIZES.into_iter().find(|&slots| i64::from(slots) == given) {
            return slots;
        }
        let sizes = maglev::SIZES.map(|slots| slots.to_string()).join(", ");
        self.add("maglevSlots", format!("{given} is no table size; use one of {sizes}"));
        map::MAGLEV_SLOTS
    }
}
