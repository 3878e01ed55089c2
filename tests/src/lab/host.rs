//! Conditions that real hosts impose: offloads, packet filters, counters of wrong checksums.

use std::fs;
use std::process::Stdio;

use anyhow::{Context as _, Result, anyhow};

use super::namespace::{Namespace, output};

/// Switches segmentation and checksum offloads of an interface.
///
/// # Errors
/// When ethtool fails.
pub fn set_offloads(namespace: &Namespace, interface: &str, on: bool) -> Result<()> {
    let value = if on { "on" } else { "off" };
    let mut command = namespace.command("ethtool");
    command.args(["-K", interface]);
    // Receive checksumming of a veth is fixed: it trusts what the sender's flags say.
    for feature in ["tx", "tso", "gso", "gro"] {
        command.args([feature, value]);
    }
    output(&mut command).map(drop)
}

/// What Kubernetes hosts do to bridged packets: netfilter sees them, and drops what conntrack can't place.
/// Reverse-path filtering is strict, for IPv6 by rules.
///
/// # Errors
/// When a rule or setting is refused.
pub fn harden(node: &Namespace) -> Result<()> {
    for setting in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
        node.sysctl(&format!("bridge/{setting}"), "1")?;
    }
    for interface in ["all", "default"] {
        node.sysctl(&format!("ipv4/conf/{interface}/rp_filter"), "1")?;
    }
    let rules = "table inet lab {
        counter invalid {}
        chain prerouting {
            type filter hook prerouting priority raw; policy accept;
            icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept
            meta nfproto ipv6 fib saddr . iif oif missing counter name invalid drop
        }
        chain forward {
            type filter hook forward priority filter; policy accept;
            ct state invalid counter name invalid drop
        }
        chain input {
            type filter hook input priority filter; policy accept;
            ct state invalid counter name invalid drop
        }
    }";
    filter(node, rules)
}

/// A VM's own packet filter, which takes no notice of what comes from a network: SYN cookies for a flood cost the
/// machine, of which all in a lab have a share, more than the node's part.
///
/// # Errors
/// When a rule is refused.
pub fn ignore(vm: &Namespace, interface: &str, network: &str) -> Result<()> {
    let hook = format!("type filter hook ingress device {interface} priority 0; policy accept;");
    filter(vm, &format!("table netdev lab {{ chain ingress {{ {hook} ip saddr {network} drop; }}; }}\n"))
}

/// Adds rules, in the words of nft.
///
/// # Errors
/// When one is refused.
pub fn filter(namespace: &Namespace, rules: &str) -> Result<()> {
    let mut child =
        namespace.command("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().context("start nft")?;
    std::io::Write::write_all(&mut child.stdin.take().context("nft's input")?, rules.as_bytes())
        .context("write rules")?;
    let status = child.wait().context("wait for nft")?;
    status.success().then_some(()).ok_or_else(|| anyhow!("nft: {status}"))
}

/// Takes back what [`harden`] did.
///
/// # Errors
/// When there was nothing to take back.
pub fn soften(node: &Namespace) -> Result<()> {
    for interface in ["all", "default"] {
        node.sysctl(&format!("ipv4/conf/{interface}/rp_filter"), "0")?;
    }
    output(node.command("nft").args(["delete", "table", "inet", "lab"])).map(drop)
}

/// How many packets the rules of [`harden`] dropped.
///
/// # Errors
/// When the rules are not there.
pub fn invalid_dropped(node: &Namespace) -> Result<u64> {
    let text = output(node.command("nft").args(["list", "counter", "inet", "lab", "invalid"]))?;
    let mut words = text.split_whitespace().skip_while(|word| *word != "packets");
    words.nth(1).and_then(|word| word.parse().ok()).ok_or_else(|| anyhow!("no counter in {text}"))
}

/// The TCP and UDP segments of both families that the receiver in a namespace has dropped for a wrong checksum.
///
/// # Errors
/// When the counters can't be read.
pub fn checksum_errors(namespace: &Namespace) -> Result<u64> {
    let read = |file: &str| fs::read_to_string(format!("/proc/thread-self/net/{file}"));
    let (text, text_v6) = namespace.enter(|| (read("snmp"), read("snmp6")))?;
    let (text, text_v6) = (text.context("read the counters")?, text_v6.context("read those of IPv6")?);
    // TCP counts both families together.
    let v4 = counter(&text, "Tcp", "InCsumErrors")? + counter(&text, "Udp", "InCsumErrors")?;
    let mut words = text_v6.split_whitespace().skip_while(|word| *word != "Udp6InCsumErrors");
    let v6: Option<u64> = words.nth(1).and_then(|word| word.parse().ok());
    Ok(v4 + v6.ok_or_else(|| anyhow!("no Udp6InCsumErrors in {text_v6}"))?)
}

/// A value of `/proc/net/snmp`: a line of names, then a line of values.
fn counter(text: &str, protocol: &str, name: &str) -> Result<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(':'));
    let (names, values) = lines.next().zip(lines.next()).ok_or_else(|| anyhow!("no {protocol} in {text}"))?;
    names
        .split_whitespace()
        .zip(values.split_whitespace())
        .find_map(|(each, value)| (each == name).then(|| value.parse().ok())?)
        .ok_or_else(|| anyhow!("no {name} in {names}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let text = "Udp: InDatagrams NoPorts InCsumErrors\nUdp: 7 8 9\nUdpLite: InCsumErrors\nUdpLite: 3\n";
        assert_eq!(counter(text, "Udp", "InCsumErrors").unwrap(), 9);
        assert!(counter(text, "Tcp", "InCsumErrors").is_err());
    }
}
