//! Who carries packets from the client to the servers.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aya::Ebpf;
use lb_common::bench::SINK_PORT;

use super::live;
use super::road::{Road, SERVER_MAC, SERVERS, VIP, written};
use crate::lab::SHOP;
use crate::lab::agent::{Agent, Installation};
use crate::lab::facts::{self, Fact};
use crate::lab::namespace::{Namespace, output};
use crate::lab::process::Process;
use crate::lab::server::{http, iperf};
use crate::lab::topology::Hook;
use crate::lab::wait;

/// One way over the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Subject {
    /// Not balanced: redirected by XDP, which is the ceiling.
    Redirect,
    /// Not balanced: within one network.
    Bridge,
    /// Not balanced: routed by the kernel.
    Routing,
    /// By rules of nftables that replace the destination.
    Dnat,
    /// By such that replace the source as well.
    Masquerade,
    /// By rules that replace the destination of a flow's first packets and keep the others from the rules.
    Flowtable,
    /// By the kernel's own balancer.
    Ipvs,
    /// By a proxy.
    HaProxy,
    /// By `lb`, natively in XDP.
    LbXdp,
    /// By `lb`, in tc.
    LbTc,
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Redirect => "XDP redirect",
            Self::Bridge => "bridge",
            Self::Routing => "routing",
            Self::Dnat => "nft DNAT",
            Self::Masquerade => "nft DNAT+masq",
            Self::Flowtable => "nft flowtable",
            Self::Ipvs => "IPVS",
            Self::HaProxy => "HAProxy",
            Self::LbXdp => "lb (XDP)",
            Self::LbTc => "lb (tc)",
        })
    }
}

impl Subject {
    fn balances(self) -> bool {
        !matches!(self, Self::Redirect | Self::Bridge | Self::Routing)
    }

    /// Does the kernel's conntrack keep its flows?
    pub(super) fn tracks(self) -> bool {
        matches!(self, Self::Dnat | Self::Masquerade | Self::Flowtable)
    }

    /// Is it this project's?
    pub(super) fn is_lb(self) -> bool {
        matches!(self, Self::LbXdp | Self::LbTc)
    }
}

/// Of the flow table, unless the agent is told otherwise.
pub(super) const DEFAULT_ENTRIES: u32 = 1 << 18;

/// What clients may want.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Service {
    /// Datagrams, which the sink takes.
    Datagrams,
    /// Small answers.
    Web,
    /// Streams.
    Bulk,
}

impl Service {
    const ALL: [Self; 3] = [Self::Datagrams, Self::Web, Self::Bulk];

    /// The VIP's port, the servers' port, and the protocol.
    fn ports(self) -> (u16, u16, &'static str) {
        match self {
            Self::Datagrams => (53, SINK_PORT, "udp"),
            Self::Web => (80, http::PORT, "tcp"),
            Self::Bulk => (iperf::PORT, iperf::PORT, "tcp"),
        }
    }
}

/// A road and who carries packets over it. Fields are dropped in order: processes before the namespaces.
pub(super) struct Lane {
    pub(super) subject: Subject,
    _agent: Option<(Agent, Installation)>,
    proxy: Option<Process>,
    _crossing: Option<Ebpf>,
    pub(super) road: Road,
}

impl Lane {
    /// Builds it, with a flow table of so many entries where `lb` has one.
    pub(super) fn open(subject: Subject, entries: u32) -> Result<Self> {
        let road = Road::build()?;
        let (mut agent, mut proxy, mut crossing) = (None, None, None);
        match subject {
            Subject::Redirect => crossing = Some(live::cross(&road)?),
            Subject::Bridge | Subject::Routing => {}
            Subject::Dnat => rules(&road, "")?,
            Subject::Masquerade => rules(&road, MASQUERADE)?,
            Subject::Flowtable => rules(&road, FLOWTABLE)?,
            Subject::Ipvs => virtual_servers(&road)?,
            Subject::HaProxy => proxy = Some(start_proxy(&road)?),
            Subject::LbXdp => agent = Some(start_agent(&road, Hook::Xdp, entries)?),
            Subject::LbTc => agent = Some(start_agent(&road, Hook::Tc, entries)?),
        }
        Ok(Self { subject, _agent: agent, proxy, _crossing: crossing, road })
    }

    /// What clients dial.
    pub(super) fn target(&self, service: Service) -> SocketAddrV4 {
        let (port, server_port, _) = service.ports();
        if self.subject.balances() {
            SocketAddrV4::new(VIP, port)
        } else {
            SocketAddrV4::new(SERVERS[0], server_port)
        }
    }

    /// What carries packets, where that is a process.
    pub(super) fn process(&self) -> Option<u32> {
        self.proxy.as_ref().map(Process::id)
    }

    /// Whether servers see the clients' own addresses.
    pub(super) fn preserves(&self) -> bool {
        !matches!(self.subject, Subject::Masquerade | Subject::HaProxy)
    }
}

/// Replaces the source of what goes to the servers.
const MASQUERADE: &str = "chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname \"in0\" masquerade
}";

/// Flows that conntrack knows take a short cut.
const FLOWTABLE: &str = "flowtable known { hook ingress priority 0; devices = { up0, in0 }; }
chain forward {
    type filter hook forward priority filter; policy accept;
    ip protocol { tcp, udp } flow add @known
}";

/// Rules as an operator would write them: a server by chance, kept by conntrack.
fn rules(road: &Road, more: &str) -> Result<()> {
    let servers: Vec<String> =
        SERVERS.iter().enumerate().map(|(number, server)| format!("{number} : {server}")).collect();
    let servers = format!("numgen random mod {} map {{ {} }}", SERVERS.len(), servers.join(", "));
    let dnat: String = Service::ALL
        .map(Service::ports)
        .iter()
        .map(|(port, to, protocol)| {
            format!("ip daddr {VIP} {protocol} dport {port} dnat to {servers}:{to}\n")
        })
        .collect();
    let text = format!(
        "table ip bench {{
            chain prerouting {{ type nat hook prerouting priority dstnat; policy accept; {dnat} }}
            {more}
        }}\n"
    );
    apply(&road.node, &text)
}

/// Enters rules of nftables.
pub(super) fn apply(node: &Namespace, rules: &str) -> Result<()> {
    let mut command = node.command("nft");
    let mut child = command.args(["-f", "-"]).stdin(Stdio::piped()).spawn().context("start nft")?;
    let mut input = child.stdin.take().context("nft's input")?;
    std::io::Write::write_all(&mut input, rules.as_bytes()).context("write rules")?;
    drop(input);
    ensure!(child.wait().context("wait for nft")?.success(), "nft refuses {rules}");
    Ok(())
}

/// Servers in turn, addresses translated in both directions.
fn virtual_servers(road: &Road) -> Result<()> {
    // It takes what is delivered to the node itself.
    road.node.ip(&["address", "add", &format!("{VIP}/32"), "dev", "lo"])?;
    for (port, to, protocol) in Service::ALL.map(Service::ports) {
        let (service, kind) = (format!("{VIP}:{port}"), if protocol == "udp" { "-u" } else { "-t" });
        output(road.node.command("ipvsadm").args(["-A", kind, &service, "-s", "rr"]))?;
        for server in SERVERS {
            let server = format!("{server}:{to}");
            output(road.node.command("ipvsadm").args(["-a", kind, &service, "-r", &server, "-m"]))?;
        }
    }
    Ok(())
}

fn start_proxy(road: &Road) -> Result<Process> {
    road.node.ip(&["address", "add", &format!("{VIP}/32"), "dev", "lo"])?;
    let mut text = "global\n maxconn 4000\n nbthread 2\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n \
                    timeout server 60s\n balance roundrobin\n"
        .to_owned();
    for (port, to, protocol) in Service::ALL.map(Service::ports) {
        if protocol == "tcp" {
            text += &format!("listen at{port}\n bind {VIP}:{port}\n");
            for (number, server) in SERVERS.iter().enumerate() {
                text += &format!(" server vm{number} {server}:{to}\n");
            }
        }
    }
    let path = road.id.directory().join("haproxy.cfg");
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    let mut command = road.node.command("haproxy");
    let mut process =
        Process::start(command.args(["-db", "-f"]).arg(&path), road.id.directory().join("haproxy.log"))?;
    let listens = || road.node.enter(|| std::net::TcpStream::connect((VIP, 80)).is_ok()).unwrap_or(false);
    wait::until("HAProxy listens", Duration::from_secs(20), || listens() || !process.is_running())
        .with_context(|| process.log())?;
    ensure!(process.is_running(), "HAProxy has ended: {}", process.log());
    Ok(process)
}

/// An emulated machine takes its time.
const CREATE: [&str; 9] =
    ["create", "bench", "--namespace", SHOP, "--selector", "app=web", "--wait", "--wait-timeout", "180"];

fn start_agent(road: &Road, hook: Hook, entries: u32) -> Result<(Agent, Installation)> {
    let installation = road.install(hook, entries)?;
    let facts: Vec<Fact> = (1_u8..).zip(SERVERS).map(|(number, address)| fact(number, address)).collect();
    facts::write(&installation.facts(), &facts)?;
    let agent = installation.start()?;
    installation.lb(&["pool", "create", "bench", "--global", "--range", &format!("{VIP}/32")])?;
    let mut create: Vec<String> = CREATE.map(str::to_owned).into();
    for (port, to, protocol) in Service::ALL.map(Service::ports) {
        create.extend(["--listener".to_owned(), format!("at{port}:{port}:{to}/{protocol}")]);
    }
    installation.lb(&create.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok((agent, installation))
}

fn fact(number: u8, address: Ipv4Addr) -> Fact {
    Fact {
        namespace: SHOP.to_owned(),
        name: format!("vm{number}"),
        labels: [("app".to_owned(), "web".to_owned())].into(),
        running: true,
        mac: written(SERVER_MAC),
        address,
        address_v6: std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(number)),
    }
}
