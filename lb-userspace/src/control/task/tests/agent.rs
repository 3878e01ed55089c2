//! An agent without a kernel: the loop, a real API over a Unix socket, and a datapath in memory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::super::*;
use crate::api::{Api, socket};
use crate::cli::client::Client;
use crate::config::Interfaces;
use crate::control::flows::Lister;
use crate::control::hold::Stations;
use crate::control::plan::{Capacity, Planner};
use crate::control::report::ReportRequests;
use crate::datapath::counters::Counters;
use crate::datapath::memory::Memory;
use crate::datapath::model::{BackendState, Command, Observed};
use crate::datapath::port::{Port, Served};
use crate::datapath::processes::Processes;
use crate::inventory::file;
use crate::store::MemoryStore;
use crate::supervise::Supervisor;

pub(super) const GROUP: &str = "/apis/loadbalancer.harvesterhci.io/v1beta1";
/// Everything here takes milliseconds; a busy machine gets some time.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// A datapath in memory that tests look into, and that refuses commands on request.
#[derive(Clone, Default)]
pub(super) struct Visible(Arc<Mutex<(Memory, u32)>>, Arc<AtomicUsize>);

#[derive(Debug, thiserror::Error)]
#[error("no room in the map")]
pub(super) struct Refused;

impl Visible {
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut (Memory, u32)) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Of how many backends counters have been read.
    pub(super) fn counted(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }

    /// Address and port of the backends that take new flows.
    pub(super) fn active(&self) -> Vec<String> {
        let observed = self.observe().unwrap();
        let active = observed.backends.values().filter(|backend| backend.state == BackendState::Active);
        let mut active: Vec<_> = active.map(|backend| backend.address.to_string()).collect();
        active.sort();
        active
    }
}

impl Datapath for Visible {
    type Error = Refused;

    fn observe(&self) -> Result<Observed, Refused> {
        Ok(self.with(|(memory, _)| memory.observe().unwrap()))
    }

    fn execute(&mut self, command: &Command) -> Result<(), Refused> {
        self.with(|(memory, refusals)| {
            if *refusals > 0 {
                *refusals -= 1;
                return Err(Refused);
            }
            memory.execute(command).unwrap();
            Ok(())
        })
    }

    fn serve(&mut self, ports: &BTreeMap<u32, Port>) -> Result<Served, Refused> {
        Ok(self.with(|(memory, _)| memory.serve(ports).unwrap()))
    }

    fn counters(&self, observed: &Observed) -> Result<Counters, Refused> {
        self.1.fetch_add(observed.backends.len(), Ordering::Relaxed);
        Ok(self.with(|(memory, _)| memory.counters(observed).unwrap()))
    }

    fn flow_table(&self) -> Arc<dyn crate::datapath::flows::FlowTable> {
        self.with(|(memory, _)| memory.flow_table())
    }
}

/// An agent without a kernel.
pub(super) struct Agent {
    pub(super) client: Client,
    pub(super) datapath: Visible,
    pub(super) inventory: watch::Sender<vms::Facts>,
    pub(super) registry: Arc<Registry>,
    pub(super) supervisor: Supervisor,
    pub(super) directory: PathBuf,
}

impl Agent {
    pub(super) async fn start(name: &str, first: vms::Facts) -> Self {
        let directory = std::env::temp_dir().join(format!("lb-control-{name}-{}", std::process::id()));
        let path = directory.join("lb.sock");
        let registry = Arc::new(Registry::open(Box::new(MemoryStore::default())).unwrap());
        let datapath = Visible::default();
        let (inventory, facts) = watch::channel(first);
        let (found, topology) = watch::channel(Arc::<Topology>::default());
        let (addresses, sought) = watch::channel(Arc::default());
        let (probes, wanted) = watch::channel(WantedBackends::new());
        let (states, health) = watch::channel(Snapshot::new());
        let mut supervisor = Supervisor::default();
        supervisor.start("links", |_| async move {
            find_nobody(sought, &found).await;
            Ok(())
        });
        supervisor.start("health", |_| async move {
            crate::health::task::run(wanted, states).await;
            Ok(())
        });
        let inputs = Inputs {
            resources: registry.watch(),
            inventory: facts,
            health,
            topology,
            leases: watch::channel(Leases::new()).1,
        };
        let (ended, _) = mpsc::channel(1);
        let outputs = Outputs {
            registry: Arc::clone(&registry),
            probes,
            addresses,
            leases: watch::channel(Arc::<Wanted>::default()).0,
            ended,
            announced: watch::channel(Announced::default()).0,
        };
        let control = control(datapath.clone(), inputs, outputs);
        let (reports, requests) = ReportRequests::channel();
        supervisor.start("control", |mut stop| async move {
            control.run(requests, async move { stop.requested().await }).await;
            Ok(())
        });
        let (listener, socket) = socket::bind(&path, None).await.unwrap();
        let flows = Lister::new(datapath.flow_table());
        let api = Api::new(Arc::clone(&registry), reports, flows, crate::control::observe::in_memory());
        supervisor.start("api", |stop| async move {
            let _socket = socket;
            Ok(api.serve(listener, stop).await?)
        });
        Self { client: Client::new(&path), datapath, inventory, registry, supervisor, directory }
    }

    pub(super) async fn with_front(name: &str) -> Self {
        let agent = Self::start(name, facts(&["web-1 192.0.2.11", "web-2 192.0.2.12"])).await;
        agent.create_front().await;
        agent
    }

    pub(super) async fn create_front(&self) {
        self.client.post(&format!("{GROUP}/ippools"), &pool()).await.unwrap();
        let front = json!({
            "apiVersion": "loadbalancer.harvesterhci.io/v1beta1", "kind": "LoadBalancer",
            "metadata": {"name": "front"},
            "spec": {
                "listeners": [{"name": "web", "port": 80, "protocol": "TCP", "backendPort": 8080}],
                "backendServerSelector": {"app": ["web"]},
            },
        });
        self.client.post(&format!("{GROUP}/namespaces/shop/loadbalancers"), &front).await.unwrap();
    }

    pub(super) async fn front(&self) -> Value {
        self.client.get(&format!("{GROUP}/namespaces/shop/loadbalancers/front")).await.unwrap()
    }

    pub(super) async fn stop(mut self) {
        self.supervisor.stop().await;
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}

pub(super) fn pool() -> Value {
    json!({
        "apiVersion": "loadbalancer.harvesterhci.io/v1beta1", "kind": "IPPool", "metadata": {"name": "lab"},
        "spec": {
            "ranges": [{"subnet": "192.0.2.0/24", "rangeStart": "192.0.2.80", "rangeEnd": "192.0.2.99"}],
            "selector": {"scope": [{"project": "*", "namespace": "*", "guestCluster": "*"}]},
        },
    })
}

/// A network in which no address is found: what is known of each is that.
pub(super) async fn find_nobody(
    mut sought: watch::Receiver<Arc<Addresses>>,
    found: &watch::Sender<Arc<Topology>>,
) {
    while sought.changed().await.is_ok() {
        let settled = Addresses::clone(&sought.borrow_and_update());
        found.send_replace(Topology { settled, ..Topology::default() }.into());
    }
    std::future::pending::<()>().await;
}

/// The loop, not yet running.
pub(super) fn control(datapath: Visible, inputs: Inputs, outputs: Outputs) -> Control<Visible> {
    let planner = Planner::new(Capacity { listeners: 16, backends: 64 }, 7);
    let interfaces = Interfaces { uplinks: Some(Vec::new()), ..Interfaces::default() };
    let cycle =
        Cycle::new(datapath, planner, interfaces, 251, Stations::new(crate::config::Inventory::HOLD_DOWN));
    let about = About {
        node: "node-1".into(),
        started: std::time::Instant::now(),
        store: outputs.registry.place(),
        provider: "file",
        inventory: "/etc/lb/vms.yaml".into(),
        inventory_problem: None,
        processes: Processes::NotServed { reason: "there is no kernel".to_owned() },
    };
    Control::new(cycle, inputs, outputs, about)
}

/// Facts of VMs written `name address`, in namespace shop with label app: web.
pub(super) fn facts(virtual_machines: &[&str]) -> vms::Facts {
    let vm = |vm: &&str| {
        let (name, address) = vm.split_once(' ').unwrap();
        json!({
            "namespace": "shop", "name": name, "labels": {"app": "web"}, "interfaces": [{"ipAddress": address}],
        })
    };
    let list: Vec<_> = virtual_machines.iter().map(vm).collect();
    let text = json!({ "virtualMachines": list }).to_string();
    vms::Facts { vms: file::parse(&text).unwrap().vms, ..vms::Facts::default() }
}
