//! Firewalls that drop balanced packets on their way through this node.

use super::ground::Ground;
use super::model::{Check, Finding, Severity};
use super::ruleset::{Chain, forward_chains};
use super::system::{System, setting};
use crate::datapath::port::{Hook, Role};

/// Whether bridged packets meet the firewall.
const BRIDGE_NF: &str = "net.bridge.bridge-nf-call-iptables";

pub(super) fn check(system: &dyn System, ground: &Ground) -> Vec<Finding> {
    let mut chains = match system.run("nft", &["--handle", "list", "ruleset"]) {
        Ok(text) => forward_chains(&text),
        Err(_absent) => Vec::new(),
    };
    chains.extend(system.run("iptables-legacy-save", &[]).ok().as_deref().and_then(legacy));
    let way = Way::of(system, ground);
    chains.iter().flat_map(|chain| [policy(chain, &way), invalid(chain, &way)]).flatten().collect()
}

/// How balanced packets come by a firewall.
#[expect(clippy::struct_excessive_bools, reason = "four facts that don't depend on one another")]
struct Way {
    /// Uplinks are ports of a bridge.
    bridged: bool,
    /// Bridged packets meet the rules of IP.
    bridge_nf: bool,
    /// Packets are forwarded by the stack.
    routed: bool,
    /// Answers are forwarded by the stack while their questions were not.
    answers_alone: bool,
}

impl Way {
    fn of(system: &dyn System, ground: &Ground) -> Self {
        let faces = || ground.interfaces.iter().filter(|interface| interface.faces_network());
        Self {
            bridged: faces().any(|interface| interface.bridge.is_some()),
            bridge_nf: setting(system, "net/bridge/bridge-nf-call-iptables") == Some(1),
            routed: ground.routes(),
            answers_alone: faces().any(|i| i.role == Role::Uplink && i.hook.is_some_and(Hook::is_xdp))
                && faces().any(|i| i.role == Role::Routed && i.hook == Some(Hook::Tc)),
        }
    }

    /// Whether packets meet the chains of a family.
    fn meets(&self, family: &str) -> bool {
        match family {
            "bridge" => self.bridged,
            _ => self.routed || (self.bridged && self.bridge_nf),
        }
    }
}

fn policy(chain: &Chain, way: &Way) -> Option<Finding> {
    if !chain.drops_by_default || !way.meets(chain.family()) {
        return None;
    }
    let (severity, found) = if chain.accepts_some {
        (Severity::Note, "drops forwarded packets unless one of its rules accepts them")
    } else {
        (Severity::Problem, "drops all forwarded packets")
    };
    let finding = Finding::new(severity, Check::Firewall, &chain.name, found);
    let finding = finding.why("packets to VMs and their answers pass this chain");
    if severity == Severity::Note {
        return Some(finding);
    }
    Some(finding.remedy(if !way.routed && chain.family() != "bridge" {
        format!("sysctl -w {BRIDGE_NF}=0")
    } else if chain.name == LEGACY {
        "iptables-legacy -P FORWARD ACCEPT".to_owned()
    } else {
        format!("nft add rule {} accept", chain.name)
    }))
}

fn invalid(chain: &Chain, way: &Way) -> Option<Finding> {
    if chain.invalid.is_empty() || !way.meets(chain.family()) {
        return None;
    }
    let rules = |handle: &u32| format!("nft delete rule {} handle {handle}", chain.name);
    let remedy = chain.invalid.iter().map(rules).collect::<Vec<_>>().join(" && ");
    let found = "drops what conntrack calls invalid";
    let finding = |severity| Finding::new(severity, Check::Firewall, &chain.name, found);
    Some(if way.answers_alone {
        finding(Severity::Problem)
            .why(
                "XDP redirects questions past conntrack, so that their answers are invalid to it; \
                 the same hook on uplinks and routed interfaces avoids that too",
            )
            .remedy(remedy)
    } else {
        finding(Severity::Note).why(
            "harmless here: questions and answers pass it with the same addresses, both as the VM sees them",
        )
    })
}

const LEGACY: &str = "ip filter FORWARD (iptables-legacy)";

/// `iptables-legacy-save`: rules that nft does not show.
fn legacy(text: &str) -> Option<Chain> {
    let policy = text.lines().find_map(|line| line.strip_prefix(":FORWARD "))?;
    let rules = || text.lines().filter(|line| line.starts_with("-A FORWARD "));
    let drops_by_default = policy.starts_with("DROP");
    let accepts_some = rules().any(|rule| rule.contains(" -j ") && !rule.ends_with(" DROP"));
    Some(Chain { name: LEGACY.to_owned(), drops_by_default, accepts_some, invalid: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::super::ground::Interface;
    use super::*;
    use crate::doctor::recorded::{Recorded, brief, ground, uplink};

    const RULES: &str = "table inet f { # handle 1\n\tchain forward { # handle 1\n\
        \t\ttype filter hook forward priority filter; policy drop;\n\
        \t\tct state invalid drop # handle 2\n\t}\n}\n";

    fn bridged() -> Ground {
        ground(vec![Interface { bridge: Some("br0".into()), ..uplink("up0", Hook::Tc) }])
    }

    fn system(bridge_nf: &str) -> Recorded {
        Recorded::default()
            .with("nft --handle list ruleset", RULES)
            .with("/proc/sys/net/bridge/bridge-nf-call-iptables", bridge_nf)
    }

    #[test]
    fn a_bridge_is_kept_from_the_firewall_of_ip() {
        assert_eq!(
            brief(&check(&system("1\n"), &bridged())),
            [
                (Severity::Problem, "inet f forward", "sysctl -w net.bridge.bridge-nf-call-iptables=0"),
                (Severity::Note, "inet f forward", ""),
            ]
        );
        assert_eq!(check(&system("0\n"), &bridged()), []);
    }

    #[test]
    fn a_gateway_needs_rules_that_accept() {
        let inner = Interface { role: Role::Routed, ..uplink("in0", Hook::Tc) };
        let gateway = ground(vec![uplink("up0", Hook::Xdp), inner]);
        assert_eq!(
            brief(&check(&system("0\n"), &gateway)),
            [
                (Severity::Problem, "inet f forward", "nft add rule inet f forward accept"),
                (Severity::Problem, "inet f forward", "nft delete rule inet f forward handle 2"),
            ]
        );
    }

    #[test]
    fn rules_of_legacy_iptables_are_seen() {
        let system = Recorded::default()
            .with("iptables-legacy-save", "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\nCOMMIT\n")
            .with("/proc/sys/net/bridge/bridge-nf-call-iptables", "1\n");
        assert_eq!(
            brief(&check(&system, &bridged())),
            [(Severity::Problem, LEGACY, "sysctl -w net.bridge.bridge-nf-call-iptables=0")]
        );
    }
}
