//! What runs in a lab that people look at: servers in every VM, the agent, a pool and a load balancer.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::Result;
use lb_tests::lab::agent::Agent;
use lb_tests::lab::process::Process;
use lb_tests::lab::server::http::Http;
use lb_tests::lab::server::{dns, iperf};
use lb_tests::lab::{Lab, Spec, Vm};

use crate::console::step;

/// The load balancer's name.
pub(crate) const NAME: &str = "front";

/// A lab at work. Fields are dropped in order: processes before the lab that they run in.
pub(crate) struct Service {
    pub(crate) agent: Option<Agent>,
    pub(crate) http: BTreeMap<String, Http>,
    pub(crate) others: Vec<Process>,
    /// Of [`NAME`].
    pub(crate) vip: Ipv4Addr,
    /// Of `stream`, which one VM serves alone: iperf3 opens two connections that belong together.
    pub(crate) stream: Ipv4Addr,
    pub(crate) lab: Lab,
}

impl Service {
    /// Makes it, step by step.
    ///
    /// # Errors
    /// When something does not come up.
    pub(crate) fn create(spec: Spec) -> Result<Self> {
        let label = format!("namespaces, {} VMs and their cables", spec.vms);
        let lab = step(&label, || Ok((Lab::create(spec)?, String::new())))?;
        let mut service = step("nginx, iperf3 and dnsmasq in every VM", || {
            let (http, others) = servers(&lab)?;
            let service = Self {
                agent: None,
                http,
                others,
                vip: Ipv4Addr::UNSPECIFIED,
                stream: Ipv4Addr::UNSPECIFIED,
                lab,
            };
            Ok((service, String::new()))
        })?;
        service.agent = step("the agent loads and attaches the packet programs", || {
            Ok((Some(service.lab.start_agent()?), String::new()))
        })?;
        let vip = step("a pool, and a load balancer over the VMs labelled app=web", || {
            service.lab.create_pool()?;
            let vip = service.lab.create_lb(NAME, &LB)?;
            service.stream =
                service.lab.create_lb("stream", &["--listener", "5201/tcp", "--selector", "vm=vm1"])?;
            Ok((vip, format!("the VIP is {vip}")))
        })?;
        service.vip = vip;
        Ok(service)
    }

    /// Starts a VM's nginx.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn start_http(lab: &Lab, vm: &Vm) -> Result<Http> {
        Http::start(&vm.namespace, &vm.name, &lab.directory("servers")?, &lab.directory("files")?)
    }
}

/// Web and DNS on one VIP; a server that fails twice is out.
const LB: [&str; 12] = [
    "--listener",
    "web:80:8080/tcp",
    "--listener",
    "dns:53:53/udp",
    "--health-check",
    "8080",
    "--health-failure",
    "2",
    "--health-period",
    "1",
    "--health-timeout",
    "1",
];

fn servers(lab: &Lab) -> Result<(BTreeMap<String, Http>, Vec<Process>)> {
    let directory = lab.directory("servers")?;
    let mut http = BTreeMap::new();
    let mut others = Vec::new();
    for vm in &lab.vms {
        http.insert(vm.name.clone(), Service::start_http(lab, vm)?);
        others.push(iperf::start(&vm.namespace, &vm.name, &directory)?);
        others.push(dns::start(&vm.namespace, &vm.name, &directory)?);
    }
    Ok((http, others))
}
