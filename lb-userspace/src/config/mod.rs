//! The agent's configuration: a YAML file, read once at start.
//!
//! Input: the file. Output: [`Config`], in which every value has been checked. All that is wrong with a file
//! is reported at once, each with the path of its field and what to write instead.

mod api;
mod check;
mod dhcp;
mod duration;
mod pattern;
mod schema;

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use api::{Api, Listen};
pub use dhcp::{Dhcp, Network};
pub use duration::{ParseDuration, parse as parse_duration};
pub use pattern::{InterfacePattern, ParseInterfacePattern};

/// Checked configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// This node's name.
    pub node: String,
    /// The directory of the store.
    pub state_directory: PathBuf,
    /// The API's Unix socket.
    pub socket: PathBuf,
    /// Where maps, programs and links are pinned, without the ABI version.
    pub pin_directory: PathBuf,
    /// Where the programs work.
    pub interfaces: Interfaces,
    /// Which processes of the node may dial VIPs.
    pub node_processes: NodeProcesses,
    /// Who exists.
    pub inventory: Inventory,
    /// Who may speak to the agent, and where.
    pub api: Api,
    /// How addresses are obtained by DHCP.
    pub dhcp: Dhcp,
    /// Sizes and times of the datapath.
    pub datapath: Datapath,
    /// Slots of each Maglev table: one of [`lb_common::maglev::SIZES`].
    pub maglev_slots: u32,
}

/// Where the programs work.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Interfaces {
    /// Interfaces that face the clients' network; `None` finds them by the default route.
    pub uplinks: Option<Vec<String>>,
    /// Interfaces whose hosts use this node as their gateway.
    pub routed: Vec<String>,
    /// Ports of VMs on this node.
    pub vm_ports: Vec<InterfacePattern>,
    /// How uplinks and routed interfaces are hooked unless `hooks` says otherwise.
    pub hook: Hook,
    /// By interface.
    pub hooks: BTreeMap<String, Hook>,
}

impl Interfaces {
    /// The hook asked for on an uplink or routed interface.
    pub fn hook_of(&self, interface: &str) -> Hook {
        self.hooks.get(interface).copied().unwrap_or(self.hook)
    }
}

/// The kernel hook that is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Hook {
    /// The best that the interface has.
    #[default]
    Auto,
    /// XDP in the driver.
    Xdp,
    /// XDP in the kernel's generic path.
    XdpGeneric,
    /// tcx, else clsact.
    Tc,
}

impl Hook {
    /// All, in the order in which they are listed to people.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Xdp, Self::XdpGeneric, Self::Tc];

    /// The word in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp-generic",
            Self::Tc => "tc",
        }
    }
}

/// Which processes of the node may dial VIPs.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum NodeProcesses {
    /// All: those below the root of the cgroup2 file system.
    #[default]
    Auto,
    /// None.
    None,
    /// Those in the cgroup with this directory, and below.
    In(PathBuf),
}

/// Who exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inventory {
    /// The watched file of VM facts; `None` while no provider is configured.
    pub file: Option<PathBuf>,
    /// The socket of libvirt's daemon, whose domains are VMs.
    pub libvirt: Option<PathBuf>,
    /// Lease files of DHCP servers, which tell VMs' addresses.
    pub leases: Vec<PathBuf>,
    /// How long the address of a running VM is held after it has vanished.
    pub hold_down: Duration,
}

impl Inventory {
    /// How long a vanished address is held, unless configured.
    pub const HOLD_DOWN: Duration = Duration::from_secs(15);
}

impl Default for Inventory {
    fn default() -> Self {
        Self { file: None, libvirt: None, leases: Vec::new(), hold_down: Self::HOLD_DOWN }
    }
}

/// Sizes and times of the datapath.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datapath {
    /// Entries of the flow table, a power of two.
    pub flow_entries: u32,
    /// Entries of LISTENERS.
    pub max_listeners: u32,
    /// Entries of BACKENDS.
    pub max_backends: u32,
    /// New flows that each CPU enters in a second; 0 is no limit.
    pub new_flows_per_second: u32,
    /// Is what each flow carries counted?
    pub flow_accounting: bool,
    /// Lives of flows.
    pub timeouts: Timeouts,
}

/// How long an idle flow lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// TCP, SYN seen.
    pub tcp_opening: Duration,
    /// TCP, both directions seen.
    pub tcp_established: Duration,
    /// TCP, both FINs or a RST seen.
    pub tcp_closing: Duration,
    /// UDP before an answer.
    pub udp_opening: Duration,
    /// UDP after an answer.
    pub udp_established: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp_opening: Duration::from_mins(1),
            tcp_established: Duration::from_hours(2),
            tcp_closing: Duration::from_secs(10),
            udp_opening: Duration::from_secs(30),
            udp_established: Duration::from_mins(3),
        }
    }
}

/// One wrong field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrongField {
    /// Its path, as `datapath.timeouts.tcpOpening`.
    pub field: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for WrongField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadConfig {
    /// The file can't be read.
    #[error("configuration {path}: cannot read the file: {source}; name an existing file with --config")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The file is not YAML of the right shape: an unknown field, a wrong type.
    #[error("configuration {path}: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What, with line and column.
        message: String,
    },
    /// The file has the right shape and wrong values.
    #[error("configuration {path}:{}", list(fields))]
    Check {
        /// The file.
        path: PathBuf,
        /// All of them.
        fields: Vec<WrongField>,
    },
    /// `node` is not given and the host has no name.
    #[error("configuration {path}: node: the host name cannot be read ({source}); set node")]
    HostName {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
}

fn list(fields: &[WrongField]) -> String {
    let mut text = String::new();
    for field in fields {
        let separator = if fields.len() == 1 { " " } else { "\n  " };
        // Writing to a string can't fail.
        let _ = write!(text, "{separator}{field}");
    }
    text
}

/// Reads and checks the file.
///
/// # Errors
/// When it can't be read, is not YAML of the right shape, or holds wrong values: all of them are listed.
pub fn load(path: &Path) -> Result<Config, LoadConfig> {
    let text =
        std::fs::read_to_string(path).map_err(|source| LoadConfig::Read { path: path.to_owned(), source })?;
    let host_name =
        || std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
    parse(&text, path, host_name)
}

fn parse(
    text: &str,
    path: &Path,
    host_name: impl FnOnce() -> std::io::Result<String>,
) -> Result<Config, LoadConfig> {
    let path = || path.to_owned();
    let mut file: schema::File = if text.lines().all(|line| line.trim().is_empty() || line.starts_with('#')) {
        schema::File::default()
    } else {
        serde_saphyr::from_str(text)
            .map_err(|error| LoadConfig::Parse { path: path(), message: schema::explain(&error) })?
    };
    if file.node.is_none() {
        file.node = Some(host_name().map_err(|source| LoadConfig::HostName { path: path(), source })?);
    }
    check::check(file).map_err(|fields| LoadConfig::Check { path: path(), fields })
}

/// A configuration file, for [`crate::fuzz`].
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(parse(text, Path::new("fuzz"), || Ok("node".to_owned())));
    }
}

#[cfg(test)]
mod tests;
