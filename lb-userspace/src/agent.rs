//! The agent's life: what starts in which order, and how everything is connected.
//!
//! Nothing is changed before the configuration, the interfaces, the store and the pinned maps have been found
//! good. The API's socket appears last: whoever can connect finds a working agent. When the agent ends, however
//! that may be, programs and maps stay pinned and traffic goes on.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use nix::unistd::{Gid, Group};
use tokio::sync::{mpsc, watch};

use crate::api::socket::{self, BindSocket};
use crate::api::tls::{self, Authority, BindTls};
use crate::api::{Api, Endpoint, Users, VmNames};
use crate::config::{self, Config, NodeProcesses};
use crate::control::cycle::Cycle;
use crate::control::flows::Lister;
use crate::control::hold::Stations;
use crate::control::observe::Observer;
use crate::control::plan::{Capacity, Planner};
use crate::control::ports::{InterfaceProblem, assign};
use crate::control::registry::Registry;
use crate::control::report::ReportRequests;
use crate::control::reporter::About;
use crate::control::task::{Control, Inputs, Outputs};
use crate::datapath::Datapath as _;
use crate::datapath::flows::model::Survey;
use crate::datapath::flows::{self, FlowTable};
use crate::datapath::kernel::{Kernel, KernelError};
use crate::datapath::nudge;
use crate::datapath::nudge::model::{Ended, Nudge};
use crate::datapath::nudge::socket::Sockets;
use crate::datapath::port::{RefusedPort, Role};
use crate::datapath::processes::Processes;
use crate::health;
use crate::heap;
use crate::inventory::links::{self, Addresses, Topology, WatchLinks};
use crate::inventory::memory::MemoryProvider;
use crate::inventory::sources::{Asked, Sources};
use crate::inventory::vms::{self, Provider};
use crate::ipam::announce;
use crate::ipam::announce::model::Announced;
use crate::ipam::dhcp;
use crate::ipam::dhcp::clients::Settings;
use crate::ipam::dhcp::machine::Patience;
use crate::model::family::Family;
use crate::model::vm::VirtualMachine;
use crate::store::{RedbStore, StoreError};
use crate::supervise::Supervisor;

/// The store's file in the state directory.
const STORE_FILE: &str = "lb.redb";

/// Why the agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartAgent {
    /// Another agent runs, or the socket can't be made.
    #[error(transparent)]
    Socket(#[from] BindSocket),
    /// The API can't be served over TLS.
    #[error(transparent)]
    Tls(#[from] BindTls),
    /// The group that may use the socket is not known.
    #[error("api.socketGroup: {name:?}: {reason}; create it, or name another")]
    Group {
        /// Its name.
        name: String,
        /// Why it can't be used.
        reason: String,
    },
    /// The store can't be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The packet programs can't be loaded, or what is pinned does not fit.
    #[error(transparent)]
    Datapath(#[from] KernelError),
    /// The node's network can't be looked at.
    #[error(transparent)]
    Links(#[from] WatchLinks),
    /// Store and programs could not be opened to the end.
    #[error("open the store and the packet programs: {0}")]
    Opening(#[from] tokio::task::JoinError),
    /// A configured interface can't be used.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Interfaces(Vec<InterfaceProblem>),
    /// The programs can't be attached to an uplink or routed interface.
    #[error("interface {} ({}): {}", .0.name, .0.role, .0.reason)]
    Refused(RefusedPort),
}

/// Runs the agent until a signal asks it to stop.
///
/// # Errors
/// When it can't start, or one of its tasks fails.
pub async fn run(config: Config) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let pins = pins(&config);
    let supervisor = start(config).await?;
    supervisor.run().await?;
    let pins = pins.display();
    tracing::info!("stopped; traffic goes on: programs and maps stay in {pins} until `lb agent --detach`");
    Ok(())
}

/// Removes programs, maps and links from the kernel. Says whether there were any.
///
/// # Errors
/// When an agent runs, or something can't be removed.
pub async fn detach(config: &Config) -> Result<bool, StartAgent> {
    socket::check_free(&config.socket).await?;
    Ok(Kernel::detach(&config.pin_directory)?)
}

async fn start(config: Config) -> Result<Supervisor, StartAgent> {
    let started = Instant::now();
    socket::check_free(&config.socket).await?;
    let (published, topology) = watch::channel(Arc::new(links::snapshot(&Addresses::new()).await?));
    check_interfaces(&config, &topology.borrow())?;
    let is_fresh = !pins(&config).exists();
    let mut supervisor = Supervisor::default();
    // Each takes its time, and neither needs the other.
    let (opened, (provider, place, inventory, known)) = tokio::try_join!(open(&config), async {
        let (provider, place, inventory) = start_inventory(&mut supervisor, &config, topology.clone()).await;
        // Asked for before the first turn, so that backends found there are placed as they were.
        let known = addresses(&inventory.borrow());
        published.send_replace(links::snapshot(&known).await?.into());
        Ok((provider, place, inventory, known))
    })?;
    let Opened { registry, mut cycle, flow_table, observer, processes } = opened;
    if let Err(error) = attach(&mut cycle, &topology.borrow()) {
        drop(cycle);
        if is_fresh {
            Kernel::detach(&config.pin_directory)?;
        }
        return Err(error);
    }

    start_flows(&mut supervisor, Arc::clone(&flow_table));
    let ended = start_nudges(&mut supervisor, Arc::clone(&flow_table));
    let (addresses, wanted) = watch::channel(Arc::new(known));
    supervisor.start("links", |mut stop| async move {
        Ok(links::run(wanted, published, async move { stop.requested().await }).await?)
    });
    let (probes, health) = start_health(&mut supervisor);
    let (leases, lent) = start_dhcp(&mut supervisor, &config.dhcp);
    let vm_names = vm_names(inventory.clone());
    let inputs = Inputs { resources: registry.watch(), inventory, health, topology, leases: lent };
    let announced = start_announcements(&mut supervisor);
    let outputs = Outputs { registry: Arc::clone(&registry), probes, addresses, leases, ended, announced };
    let about = About {
        node: config.node.clone(),
        started,
        store: registry.place(),
        provider,
        inventory: place,
        inventory_problem: None,
        processes,
    };
    let mut control = Control::new(cycle, inputs, outputs, about);
    // Whoever can connect finds what follows from the facts of the start.
    control.turn();
    let (reports, requests) = ReportRequests::channel();
    supervisor.start_on_thread("control", |mut stop| async move {
        control.run(requests, async move { stop.requested().await }).await;
        Ok(())
    });
    start_heap(&mut supervisor);
    let api = Api::new(registry, reports, Lister::new(flow_table), observer).with_vm_names(vm_names);
    start_api(&mut supervisor, &config, api).await?;
    tracing::info!(node = config.node, "READY: serving the API at {}", config.socket.display());
    Ok(supervisor)
}

/// Names the VM of a namespace that has an address.
fn vm_names(inventory: watch::Receiver<vms::Facts>) -> VmNames {
    Arc::new(move |namespace, address| {
        let address: IpAddr = address.parse().ok()?;
        let vms = Arc::clone(&inventory.borrow().vms);
        // Whom it is the first address of comes before who has it beside others.
        let first = |vm: &VirtualMachine, family| vm.station(family).map(|station| station.address);
        let mine = || vms.values().filter(|vm| vm.namespace == namespace);
        let has_first = |vm: &&Arc<VirtualMachine>| {
            Family::ALL.into_iter().any(|family| first(vm, family) == Some(address))
        };
        let has = |vm: &&Arc<VirtualMachine>| vm.addresses().iter().any(|(_, known)| *known == address);
        mine().find(has_first).or_else(|| mine().find(has)).map(|vm| vm.name.clone())
    })
}

/// Serves the API on the Unix socket and, if that is configured, over TCP with TLS.
async fn start_api(supervisor: &mut Supervisor, config: &Config, api: Api) -> Result<(), StartAgent> {
    let group = config.api.socket_group.as_deref().map(group).transpose()?;
    let mut api = api.with_users(Users { group, certificates: config.api.users.clone() });
    if let Some(listen) = &config.api.listen {
        let (listener, Authority(authority)) = tls::bind(listen).await?;
        let address = listener.address().to_string();
        tracing::info!("serving the API at https://{address}");
        api = api.with_endpoint(Endpoint { address, authority });
        let over_tls = api.clone();
        supervisor.start("api-tls", |stop| async move {
            over_tls.serve_tls(listener, stop).await;
            Ok(())
        });
    }
    let (listener, socket) = socket::bind(&config.socket, group).await?;
    supervisor.start("api", |stop| async move {
        let _socket = socket;
        Ok(api.serve(listener, stop).await?)
    });
    Ok(())
}

fn group(name: &str) -> Result<Gid, StartAgent> {
    let unknown = |reason: String| StartAgent::Group { name: name.to_owned(), reason };
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err(unknown("there is no such group".into())),
        Err(error) => Err(unknown(error.to_string())),
    }
}

fn pins(config: &Config) -> PathBuf {
    config.pin_directory.join(lb_common::map::ABI_VERSION.to_string())
}

/// Attaches the programs; uplinks and routed interfaces that refuse them are errors at the start.
fn attach(cycle: &mut Cycle<Kernel>, topology: &Topology) -> Result<(), StartAgent> {
    cycle.serve_ports(topology)?;
    match cycle.refused_ports().iter().find(|port| port.role != Role::VmPort) {
        Some(port) => Err(StartAgent::Refused(port.clone())),
        None => Ok(()),
    }
}

/// What an agent works on.
struct Opened {
    registry: Arc<Registry>,
    cycle: Cycle<Kernel>,
    flow_table: Arc<dyn FlowTable>,
    observer: Observer,
    processes: Processes,
}

/// Opens the store, then the packet programs: what an earlier agent left serves on, even if this one can't start. And
/// reads the maps back, as the first turn would.
async fn open(config: &Config) -> Result<Opened, StartAgent> {
    let config = config.clone();
    let opening = tokio::task::spawn_blocking(move || {
        let store = RedbStore::open(&config.state_directory.join(STORE_FILE))?;
        let registry = Arc::new(Registry::open(Box::new(store))?.with_vlans(config.dhcp.vlans())?);
        let (kernel, processes) = open_kernel(&config)?;
        let (flow_table, observer) = (kernel.flow_table(), Observer::new(kernel.observation()));
        let mut cycle = cycle(kernel, config)?;
        cycle.read_back(Instant::now());
        Ok(Opened { registry, cycle, flow_table, observer, processes })
    });
    opening.await?
}

fn cycle(kernel: Kernel, config: Config) -> Result<Cycle<Kernel>, KernelError> {
    let config::Datapath { max_listeners: listeners, max_backends: backends, .. } = config.datapath;
    let planner = Planner::new(Capacity { listeners, backends }, kernel.maglev_seed()?);
    let stations = Stations::new(config.inventory.hold_down);
    let cycle = Cycle::new(kernel, planner, config.interfaces, config.maglev_slots, stations);
    Ok(cycle.with_dhcp(config.dhcp))
}

/// The packet programs; and those for processes, without which everything else works.
fn open_kernel(config: &Config) -> Result<(Kernel, Processes), KernelError> {
    let mut kernel = Kernel::open(&config.pin_directory, &config.datapath)?;
    let processes = kernel.serve_processes(&config.node_processes);
    if let Processes::NotServed { reason } = &processes
        && config.node_processes != NodeProcesses::None
    {
        tracing::warn!("processes of this node can't dial VIPs: {reason}");
    }
    Ok((kernel, processes))
}

fn check_interfaces(config: &Config, topology: &Topology) -> Result<(), StartAgent> {
    let problems = assign(topology, &config.interfaces).problems;
    if problems.is_empty() { Ok(()) } else { Err(StartAgent::Interfaces(problems)) }
}

/// Starts the provider of VM facts and waits for its first reading, good or not.
async fn start_inventory(
    supervisor: &mut Supervisor,
    config: &Config,
    topology: watch::Receiver<Arc<Topology>>,
) -> (&'static str, String, watch::Receiver<vms::Facts>) {
    let config::Inventory { file, libvirt, leases, .. } = config.inventory.clone();
    let asked = Asked { file, libvirt, leases };
    if asked.file.is_none() && asked.libvirt.is_none() {
        let provider = MemoryProvider::default();
        let facts = provider.facts();
        supervisor.start("inventory", |mut stop| async move {
            stop.requested().await;
            drop(provider);
            Ok(())
        });
        return ("none", String::new(), facts);
    }
    let name = match (&asked.file, &asked.libvirt) {
        (_, None) => "file",
        (None, Some(_)) => "libvirt",
        (Some(_), Some(_)) => "file and libvirt",
    };
    let provider = Sources::new(asked, topology);
    let (place, mut facts) = (provider.place(), provider.facts());
    supervisor.start("inventory", |mut stop| async move {
        tokio::select! {
            () = provider.run() => Ok(()),
            () = stop.requested() => Ok(()),
        }
    });
    // The sender lives as long as the task, whose end the supervisor reports.
    drop(facts.changed().await);
    facts.mark_changed();
    (name, place, facts)
}

/// Starts the walks over the flow table. Gives what each has counted.
fn start_flows(supervisor: &mut Supervisor, table: Arc<dyn FlowTable>) -> watch::Receiver<Arc<Survey>> {
    let (surveys, counted) = watch::channel(Arc::default());
    supervisor.start("flows", |mut stop| async move {
        flows::task::run(table, surveys, async move { stop.requested().await }).await;
        Ok(())
    });
    counted
}

/// Starts the nudges of dead backends' clients. Takes backends that have died.
fn start_nudges(supervisor: &mut Supervisor, table: Arc<dyn FlowTable>) -> mpsc::Sender<Ended> {
    /// Turns of the control loop that may end backends while a thousand segments are sent.
    const DEPTH: usize = 16;
    let (ended, over) = mpsc::channel(DEPTH);
    supervisor.start("nudges", |mut stop| async move {
        let mut sockets = Sockets::default();
        let send = move |nudge: &Nudge| sockets.send(nudge);
        nudge::task::run(table, over, send, async move { stop.requested().await }).await;
        Ok(())
    });
    ended
}

/// Starts what announces VIPs.
fn start_announcements(supervisor: &mut Supervisor) -> watch::Sender<Announced> {
    let (served, announced) = watch::channel(Announced::default());
    supervisor.start("announcements", |mut stop| async move {
        announce::task::run(announced, async move { stop.requested().await }).await;
        Ok(())
    });
    served
}

/// Starts the probes of health checks.
fn start_health(
    supervisor: &mut Supervisor,
) -> (watch::Sender<health::model::WantedBackends>, watch::Receiver<health::model::Snapshot>) {
    let (probes, wanted) = watch::channel(health::model::WantedBackends::new());
    let (states, health) = watch::channel(health::model::Snapshot::new());
    supervisor.start("health", |_| async move {
        health::task::run(wanted, states).await;
        Ok(())
    });
    (probes, health)
}

/// Starts what returns memory.
fn start_heap(supervisor: &mut Supervisor) {
    supervisor.start("heap", |mut stop| async move {
        heap::run(async move { stop.requested().await }).await;
        Ok(())
    });
}

/// Starts the clients that obtain addresses by DHCP.
fn start_dhcp(
    supervisor: &mut Supervisor,
    config: &config::Dhcp,
) -> (watch::Sender<Arc<dhcp::model::Wanted>>, watch::Receiver<dhcp::model::Facts>) {
    let (leases, wanted) = watch::channel(Arc::<dhcp::model::Wanted>::default());
    let (published, lent) = watch::channel(dhcp::model::Facts::new());
    let patience = Patience { probe: config.probe, longest_pause: config.longest_pause };
    let settings = Settings { hardware: config.hardware, patience };
    supervisor.start("dhcp", |mut stop| async move {
        dhcp::task::run(settings, wanted, published, async move { stop.requested().await }).await;
        Ok(())
    });
    (leases, lent)
}

fn addresses(facts: &vms::Facts) -> Addresses {
    let stations = facts.vms.values().flat_map(|vm| Family::ALL.map(|family| vm.station(family)));
    stations.flatten().map(|station| (station.address, ())).collect()
}
