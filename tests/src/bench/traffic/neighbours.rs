//! A VM that dials another one on the same host by a VIP. Nothing on their way is a wire, so segments of 64 kB pass whole,
//! unless somebody cuts them.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context as _, Result};

use super::subject::{Subject, apply};
use super::tools::{self, Way};
use crate::bench::Effort;
use crate::bench::report::{Bound, Report, Rig, Unit, paired};
use crate::lab::agent::Agent;
use crate::lab::process::Process;
use crate::lab::server::iperf;
use crate::lab::topology::{Hook, Topology};
use crate::lab::{Lab, Spec};

const SUBJECTS: [Subject; 3] = [Subject::Bridge, Subject::Masquerade, Subject::LbTc];

const PATHS: [(&str, Way); 2] =
    [("VM to VM bulk, offloads", Way::Up), ("VM to VM bulk, offloads, answers", Way::Down)];

/// A host with two VMs, the second of which serves. Fields are dropped in order: processes before the lab.
struct Host {
    subject: Subject,
    target: Ipv4Addr,
    _server: Process,
    _agent: Option<Agent>,
    lab: Lab,
}

impl Host {
    fn open(subject: Subject) -> Result<Self> {
        let lab = Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Auto, vms: 2 })?;
        let vm = lab.vms.get(1).context("the second VM")?;
        let server = iperf::start(&vm.namespace, &vm.name, &lab.id().directory())?;
        let (mut target, mut agent) = (vm.address, None);
        match subject {
            Subject::Masquerade => {
                target = lab.spec.topology.vips().1;
                masquerade(&lab, target, vm.address)?;
            }
            Subject::LbTc => {
                let facts = lab.facts();
                lab.write_facts(facts.get(1..).unwrap_or_default())?;
                agent = Some(lab.start_agent()?);
                lab.create_pool()?;
                let listener = format!("bulk:{0}:{0}/tcp", iperf::PORT);
                target = lab.create_lb("front", &["--listener", &listener])?;
            }
            _ => {}
        }
        Ok(Self { subject, target, _server: server, _agent: agent, lab })
    }

    fn stream(&self, way: Way) -> Result<f64> {
        let client = &self.lab.vms.first().context("the first VM")?.namespace;
        tools::stream(client, SocketAddrV4::new(self.target, iperf::PORT), way, 1)
    }
}

/// The VIP is the host's own, and what is sent to it is routed back into the bridge. Answers come back the same way only
/// if the host is the client, to the server.
fn masquerade(lab: &Lab, vip: Ipv4Addr, server: Ipv4Addr) -> Result<()> {
    let node = lab.node();
    node.ip(&["address", "add", &format!("{vip}/32"), "dev", "br0"])?;
    node.sysctl("ipv4/ip_forward", "1")?;
    for interface in ["all", "br0"] {
        node.sysctl(&format!("ipv4/conf/{interface}/send_redirects"), "0")?;
    }
    let port = iperf::PORT;
    apply(
        node,
        &format!(
            "table ip bench {{
                chain prerouting {{ type nat hook prerouting priority dstnat; policy accept;
                    ip daddr {vip} tcp dport {port} dnat to {server}:{port}
                }}
                chain postrouting {{ type nat hook postrouting priority srcnat; policy accept;
                    oifname \"br0\" masquerade
                }}
            }}\n"
        ),
    )
}

/// Measures the paths whose names contain this.
pub(super) fn run(report: &mut Report, effort: Effort, name: &str) -> Result<()> {
    let paths: Vec<_> = PATHS.into_iter().filter(|(path, _)| path.contains(name)).collect();
    if paths.is_empty() {
        return Ok(());
    }
    let hosts: Vec<Host> = SUBJECTS.into_iter().map(Host::open).collect::<Result<_>>()?;
    for (path, way) in paths {
        eprintln!("  {path}");
        let mut samples = vec![Vec::new(); hosts.len()];
        for _ in 0..effort.of(9, 1) {
            for (host, samples) in hosts.iter().zip(&mut samples) {
                let rate = host.stream(way);
                samples.push(rate.with_context(|| format!("{path}: {}", host.subject))?);
            }
        }
        if let (Effort::Full, [_, nft, lb]) = (effort, &samples[..]) {
            let claim = format!("{path}: {} by {}", Subject::LbTc, Subject::Masquerade);
            report.check(Rig::B, &claim, (paired(lb, nft), Unit::Ratio), Bound::AtLeast(1.0));
        }
        for (host, samples) in hosts.iter().zip(samples) {
            report.add(Rig::B, path, &host.subject.to_string(), Unit::Gigabits, samples);
        }
    }
    Ok(())
}
