//! The file as it is written: fields, nothing checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct File {
    pub(super) node: Option<String>,
    pub(super) state_directory: Option<PathBuf>,
    pub(super) socket: Option<PathBuf>,
    pub(super) pin_directory: Option<PathBuf>,
    pub(super) interfaces: Interfaces,
    pub(super) node_processes: Option<String>,
    pub(super) inventory: Inventory,
    pub(super) api: Api,
    pub(super) dhcp: Dhcp,
    pub(super) datapath: Datapath,
    pub(super) maglev_slots: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Interfaces {
    pub(super) uplinks: Option<Vec<String>>,
    pub(super) routed: Vec<String>,
    pub(super) vm_ports: Vec<String>,
    pub(super) hook: Option<String>,
    pub(super) hooks: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Inventory {
    pub(super) file: Option<PathBuf>,
    pub(super) libvirt: Option<PathBuf>,
    pub(super) leases: Vec<PathBuf>,
    pub(super) hold_down: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Api {
    pub(super) socket_group: Option<String>,
    pub(super) listen: Option<Listen>,
    pub(super) users: Vec<User>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Listen {
    pub(super) address: String,
    pub(super) names: Vec<String>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) client_authority: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) role: String,
    pub(super) namespaces: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Dhcp {
    pub(super) interface: Option<String>,
    pub(super) hardware_address: Option<String>,
    pub(super) probe: Option<String>,
    pub(super) longest_pause: Option<String>,
    pub(super) networks: BTreeMap<String, Network>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Network {
    pub(super) interface: String,
    #[serde(default)]
    pub(super) vlan: i64,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Datapath {
    pub(super) flow_entries: Option<i64>,
    pub(super) max_listeners: Option<i64>,
    pub(super) max_backends: Option<i64>,
    pub(super) new_flows_per_second: Option<i64>,
    pub(super) flow_accounting: bool,
    pub(super) timeouts: Timeouts,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Timeouts {
    pub(super) tcp_opening: Option<String>,
    pub(super) tcp_established: Option<String>,
    pub(super) tcp_closing: Option<String>,
    pub(super) udp_opening: Option<String>,
    pub(super) udp_established: Option<String>,
}

/// The parser's message on one line, with the place.
pub(super) fn explain(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let first = text.lines().next().unwrap_or_default().to_owned();
    match error.location() {
        Some(place) if !first.contains("line ") => {
            format!("line {}, column {}: {first}", place.line(), place.column())
        }
        Some(_) | None => first,
    }
}
