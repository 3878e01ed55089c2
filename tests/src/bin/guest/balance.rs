//! What is asked of every kernel: the agent's programs load and attach, and what clients and processes dial is served,
//! in both families, also when the agent is gone.

use std::collections::BTreeSet;
use std::env;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lb_tests::lab::client::connection::{Connection, echo_datagram, pattern};
use lb_tests::lab::namespace::output;
use lb_tests::lab::process::Process;
use lb_tests::lab::server::echo::{self, Echo};
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, Spec, wait};
use lb_tests::machine::LONG;
use lb_tests::machine::transcript::say;
use serde_json::Value;

/// What an emulated machine on a busy one may take.
const SOON: Duration = Duration::from_secs(60);

/// What loading all programs may take in addition.
const LATER: Duration = Duration::from_secs(180);

const LOAD_BALANCER: [&str; 6] =
    ["--listener", "echo:7/tcp", "--listener", "echo-udp:7/udp", "--wait-timeout", "60"];

/// The agent goes over its tables once a second: large ones keep an emulated processor busy.
const SMALL: &str = "datapath:\n  flowEntries: 4096\n  maxListeners: 16\n  maxBackends: 64\n";

/// Tells it.
///
/// # Errors
/// When something does not happen.
pub(crate) fn tell() -> Result<()> {
    // The uplink runs the XDP program, the VMs' ports those of tc.
    let lab = Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Xdp, vms: 2 })?;
    let servers = lab.vms.iter().map(|vm| Echo::start(&vm.namespace, &vm.name));
    let _servers = servers.collect::<Result<Vec<_>>>()?;
    let configuration = lab.installation.configuration(lab.spec.topology, lab.spec.hook);
    lab.installation.configure(&[configuration.as_str(), SMALL].concat())?;
    let agent = lab.start_agent()?;
    describe(&lab)?;
    lab.create_pool()?;
    lab.create_pool_v6()?;
    let vips: [IpAddr; 2] =
        [lab.create_lb("front", &LOAD_BALANCER)?.into(), lab.create_lb_v6("front6", &LOAD_BALANCER)?.into()];
    for vip in vips {
        let server = SocketAddr::from((vip, echo::PORT));
        both_answer(&lab, server)?;
        wait::until_some("a datagram is answered", SOON, || {
            echo_datagram(lab.client(), server, b"datagram").ok()
        })?;
        a_process_is_served(&lab, server)?;
    }
    if env::var_os(LONG).is_some() {
        packets_are_looked_at(&lab, SocketAddr::from((vips[0], echo::PORT)))?;
    }
    agent.kill()?;
    for vip in vips {
        both_answer(&lab, SocketAddr::from((vip, echo::PORT))).context("without an agent")?;
    }
    lab.installation.detach()?;
    ensure!(!lab.installation.pins.exists(), "detaching left {}", lab.installation.pins.display());
    lab.remove()
}

/// Says which hooks the agent took.
fn describe(lab: &Lab) -> Result<()> {
    let attached = |status: &Value| {
        let interfaces = status["interfaces"].as_array().cloned().unwrap_or_default();
        let hooks = interfaces.iter().map(|interface| interface["hook"].as_str().unwrap_or_default());
        (hooks.clone().count() == 3 && hooks.clone().all(|hook| !hook.is_empty())).then_some(interfaces)
    };
    let interfaces = wait::until_some("the agent serves its interfaces", SOON, || {
        attached(&lab.installation.json(&["status"]).ok()?)
    })?;
    for interface in interfaces {
        let word = |field: &str| interface[field].as_str().unwrap_or_default().to_owned();
        say(&word("name"), &format!("{}, {}", word("hook"), word("reason")));
    }
    Ok(())
}

/// Clients' connections reach both VMs, and carry what does not fit into one packet.
fn both_answer(lab: &Lab, server: SocketAddr) -> Result<()> {
    let mut reached = BTreeSet::new();
    let mut last = None;
    let answered = wait::until("both VMs answer", SOON, || {
        match lab.client().enter(|| connect(server)).and_then(|connected| connected) {
            Ok(vm) => drop(reached.insert(vm)),
            Err(error) => last = Some(error),
        }
        reached.len() == 2
    });
    answered.with_context(|| format!("{server}: {reached:?} answered, the last failure is {last:?}"))?;
    Ok(())
}

fn connect(server: SocketAddr) -> Result<String> {
    let mut connection = Connection::open(server)?;
    connection.echo(&pattern(20_000))?;
    Ok(connection.into_parts().0)
}

/// A process of the node reaches a VM, and believes that it talks to the VIP.
fn a_process_is_served(lab: &Lab, server: SocketAddr) -> Result<()> {
    let mut line = String::new();
    let served = wait::until("a process is served", SOON, || {
        let mut command = lab.process_in(lab.node(), "dial");
        line =
            output(command.args(["tcp", &server.to_string(), "1"])).unwrap_or_else(|error| error.to_string());
        line.starts_with(&format!("{server} - vm"))
    });
    served.with_context(|| format!("a process that dialled {server} says: {line}")).map(drop)
}

/// A trace and a capture load the programs once more, in two other forms.
fn packets_are_looked_at(lab: &Lab, server: SocketAddr) -> Result<()> {
    let client = format!("{}:40000", lab.spec.topology.client());
    let report = lab.installation.json(&["trace", "tcp", &client, &server.to_string()])?;
    ensure!(report["verdict"] == "pass" && report["before"] != report["after"], "the trace says {report}");
    let log = lab.directory("capture")?.join("log");
    let mut command = lab.installation.command(&["capture", "-w", "/dev/null", "--count", "2"]);
    let mut capture = Process::start(&mut command, log)?;
    let captured = wait::until("packets are captured", LATER, || {
        // Those that come before it has begun are not captured.
        drop(lab.client().enter(|| connect(server)));
        !capture.is_running()
    });
    captured.with_context(|| capture.log())?;
    let said = capture.log();
    ensure!(said.contains("2 packets captured"), "the capture says {said}");
    say("looked", "by a trace and a capture");
    Ok(())
}
