//! Fields that take one of a few words.

use crate::model::field::Problems;

/// Who serves the listeners.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Workload {
    /// The VMs that the selector matches.
    #[default]
    Vm,
    /// A guest cluster, which balances on its own; only an address is needed.
    Cluster,
}

/// Where the address comes from.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Ipam {
    /// A pool.
    #[default]
    Pool,
    /// A DHCP server.
    Dhcp,
}

/// How packets reach the backends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum ForwardingMode {
    /// Preserve where answers surely pass this node, masquerade elsewhere.
    #[default]
    Auto,
    /// The backend sees the client's address.
    Preserve,
    /// The backend sees the VIP.
    Masquerade,
}

/// How a new flow's backend is chosen among those that take new flows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Selection {
    /// By a hash of the flow's tuple: the same on every node.
    #[default]
    Maglev,
    /// By chance.
    Random,
    /// The one with fewer flows of two that chance chooses.
    LeastConnections,
}

/// What a client gets that no listener or no ready backend serves.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Unserved {
    /// RST, or ICMP port unreachable.
    #[default]
    Reject,
    /// Silence.
    Drop,
}

pub(super) const WORKLOADS: &[(&str, Workload)] =
    &[("", Workload::Vm), ("vm", Workload::Vm), ("cluster", Workload::Cluster)];
pub(super) const IPAMS: &[(&str, Ipam)] = &[("", Ipam::Pool), ("pool", Ipam::Pool), ("dhcp", Ipam::Dhcp)];
pub(super) const MODES: &[(&str, ForwardingMode)] = &[
    ("", ForwardingMode::Auto),
    ("Auto", ForwardingMode::Auto),
    ("Preserve", ForwardingMode::Preserve),
    ("Masquerade", ForwardingMode::Masquerade),
];
pub(super) const SELECTIONS: &[(&str, Selection)] = &[
    ("", Selection::Maglev),
    ("Maglev", Selection::Maglev),
    ("Random", Selection::Random),
    ("LeastConnections", Selection::LeastConnections),
];
pub(super) const UNSERVED: &[(&str, Unserved)] =
    &[("", Unserved::Reject), ("Reject", Unserved::Reject), ("Drop", Unserved::Drop)];

/// The meaning of a word. An unknown one is a problem and means the default.
pub(super) fn check<T: Copy + Default>(
    words: &[(&str, T)],
    path: &str,
    text: &str,
    problems: &mut Problems,
) -> T {
    if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
        return *meaning;
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).filter(|word| !word.is_empty()).collect();
    problems.add(path, text, "unknown value", format!("use {}", known.join(" or ")));
    T::default()
}
