//! Against this machine's kernel, in a network namespace of the test's own.

use std::future::Future;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lb_common::net::Mac;
use nix::sched::{CloneFlags, unshare};
use tokio::sync::{oneshot, watch};

use super::*;

const BACKEND: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 11));
const GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 254));
const BACKEND_V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x11));

fn set(list: impl IntoIterator<Item = IpAddr>) -> Addresses {
    list.into_iter().map(|address| (address, ())).collect()
}

/// Runs a test in a thread with its own network namespace, or says why it can't run.
fn in_namespace<F: Future<Output = ()> + 'static>(test: fn() -> F) {
    if !nix::unistd::geteuid().is_root() {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        eprintln!("skipped {name}: network namespaces need root");
        if let Some(file) = std::env::var_os("LB_TEST_SKIPS") {
            let file = std::fs::File::options().append(true).create(true).open(file);
            file.and_then(|mut file| writeln!(file, "{name}: network namespaces need root")).unwrap();
        }
        return;
    }
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn run_command(program: &str, arguments: &str) {
    let output = Command::new(program).args(arguments.split_whitespace()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {error}");
}

fn ip(arguments: &str) {
    run_command("ip", arguments);
}

struct Watching {
    wanted: watch::Sender<Arc<Addresses>>,
    topology: watch::Receiver<Arc<Topology>>,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Result<(), WatchLinks>>,
}

impl Watching {
    fn start() -> Self {
        Self::start_from(Topology::default())
    }

    fn start_from(first: Topology) -> Self {
        let (wanted, wants) = watch::channel(Arc::new(first.settled.clone()));
        let (publish, topology) = watch::channel(Arc::new(first));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(wants, publish, async move { drop(stopped.await) }));
        Self { wanted, topology, stop, task }
    }

    /// Waits until a snapshot is as described.
    async fn until(&mut self, what: &str, mut is_so: impl FnMut(&Topology) -> bool) -> Arc<Topology> {
        let waiting = tokio::time::timeout(Duration::from_secs(5), self.topology.wait_for(|t| is_so(t)));
        let found = waiting.await.map(|found| found.unwrap().clone());
        found.unwrap_or_else(|_| panic!("{what}: {:#?}", self.topology.borrow()))
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

#[test]
fn links_appear_and_vanish_with_their_bridge() {
    in_namespace(|| async {
        let mut watching = Watching::start();
        ip("link add br0 type bridge");
        ip("link add vnet1 type veth peer name vnet1p");
        ip("link set vnet1 master br0 up");
        let is_enslaved =
            |t: &Topology| t.link("vnet1").is_some_and(|link| link.up && t.bridge_of(link).is_some());
        let topology = watching.until("vnet1 in br0", is_enslaved).await;
        let link = topology.link("vnet1").unwrap();
        assert_eq!((link.kind, link.mtu), (LinkKind::Veth, 1500));
        assert!(link.mac.is_some());
        let bridge = topology.link("br0").unwrap();
        assert_eq!(bridge.kind, LinkKind::Bridge);
        assert_eq!(topology.ports_of(bridge.ifindex).count(), 1);
        ip("link set vnet1 nomaster");
        watching.until("vnet1 free", |t| t.link("vnet1").is_some_and(|l| l.master.is_none())).await;
        ip("link del vnet1");
        watching.until("vnet1 gone", |t| t.link("vnet1").is_none()).await;
        watching.end().await;
    });
}

#[test]
fn paths_and_default_routes_follow_the_routing_table() {
    in_namespace(|| async {
        ip("link add in0 type veth peer name in0p");
        ip("link set in0 up");
        ip("link set in0p up");
        ip("addr add 198.51.100.2/24 dev in0");
        let mut watching = Watching::start();
        watching.wanted.send_replace(set([BACKEND]).into());
        watching.until("in0", |t| t.link("in0").is_some() && t.paths.is_empty()).await;
        ip("route add default via 198.51.100.1");
        let topology = watching.until("a gateway", |t| t.paths.contains_key(&BACKEND)).await;
        let in0 = topology.link("in0").unwrap().ifindex;
        let gateway = Some(IpAddr::from([198, 51, 100, 1]));
        assert_eq!(topology.paths[&BACKEND], Path { ifindex: in0, gateway });
        assert_eq!(topology.default_routes, std::collections::BTreeSet::from([in0]));
        ip("route add 192.0.2.0/24 dev in0");
        watching.until("on the link", |t| t.paths.get(&BACKEND).is_some_and(|p| p.gateway.is_none())).await;
        ip("link set in0 down");
        watching.until("no path", |t| t.paths.is_empty() && t.default_routes.is_empty()).await;
        watching.end().await;
    });
}

/// More than are asked for at once; some of them are refused.
#[test]
fn each_of_many_addresses_has_its_own_path() {
    in_namespace(|| async {
        ip("link add in0 type veth peer name in0p");
        ip("link set in0 up");
        ip("link set in0p up");
        ip("addr add 10.0.0.1/24 dev in0");
        ip("addr add 2001:db8::1/64 dev in0 nodad");
        ip("route add 10.1.0.0/24 via 10.0.0.254");
        ip("route add unreachable 10.2.0.0/24");
        ip("route add blackhole 10.3.0.0/24");
        let number = |network: u8, host: u8| IpAddr::from([10, network, 0, host]);
        let v4 = (2..200).flat_map(|host| (0..5).map(move |network| number(network, host)));
        let v6 = (2..99).map(|host| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host]));
        let wanted = set(v4.chain(v6));
        let topology = snapshot(&wanted).await.unwrap();
        let ifindex = topology.link("in0").unwrap().ifindex;
        let expected = |address: IpAddr| match address {
            IpAddr::V4(v4) => match v4.octets() {
                [_, 0, ..] => Some(Path { ifindex, gateway: None }),
                [_, 1, ..] => Some(Path { ifindex, gateway: Some(number(0, 254)) }),
                _ => None,
            },
            IpAddr::V6(_) => Some(Path { ifindex, gateway: None }),
        };
        for &address in wanted.keys() {
            assert_eq!(topology.paths.get(&address), expected(address).as_ref(), "{address}");
        }
    });
}

#[test]
fn paths_and_default_routes_of_ipv6_follow_the_routing_table() {
    in_namespace(|| async {
        ip("link add in0 type veth peer name in0p");
        ip("link set in0 up");
        ip("link set in0p up");
        ip("addr add 2001:db8:1::2/64 dev in0 nodad");
        let mut watching = Watching::start();
        watching.wanted.send_replace(set([BACKEND_V6]).into());
        watching.until("in0", |t| t.link("in0").is_some() && t.paths.is_empty()).await;
        ip("route add default via fe80::1 dev in0");
        let topology = watching.until("a gateway", |t| t.paths.contains_key(&BACKEND_V6)).await;
        let in0 = topology.link("in0").unwrap().ifindex;
        let gateway = Some("fe80::1".parse().unwrap());
        assert_eq!(topology.paths[&BACKEND_V6], Path { ifindex: in0, gateway });
        assert_eq!(topology.default_routes, std::collections::BTreeSet::from([in0]));
        ip("route add 2001:db8::/64 dev in0");
        let is_on_link = |t: &Topology| t.paths.get(&BACKEND_V6).is_some_and(|p| p.gateway.is_none());
        watching.until("on the link", is_on_link).await;
        ip("link set in0 down");
        watching.until("no path", |t| t.paths.is_empty() && t.default_routes.is_empty()).await;
        watching.end().await;
    });
}

#[test]
fn wanted_neighbours_of_both_families_are_resolved_and_their_port_known() {
    in_namespace(|| async {
        ip("link add br0 type bridge");
        ip("link set br0 up");
        ip("addr add 192.0.2.1/24 dev br0");
        ip("addr add 2001:db8::1/64 dev br0 nodad");
        ip("link add vnet1 type veth peer name vm1");
        ip("link set vnet1 master br0 up");
        let vm = Vm::start("vm1");
        let mut watching = Watching::start();
        watching.wanted.send_replace(set([BACKEND, BACKEND_V6]).into());
        let resolved = |t: &Topology| t.next_hop(BACKEND).is_some() && t.next_hop(BACKEND_V6).is_some();
        let topology = watching.until("the MACs", resolved).await;
        assert_eq!(topology.settled, set([BACKEND, BACKEND_V6]));
        let mac = topology.next_hop(BACKEND).unwrap();
        assert_eq!(mac, Mac([2, 0, 0, 0, 1, 11]));
        assert_eq!(topology.next_hop(BACKEND_V6), Some(mac));
        let topology = watching.until("the port", |t| t.station(mac, None).is_some()).await;
        let number = |name| topology.link(name).unwrap().ifindex;
        assert_eq!(topology.station(mac, None), Some((number("br0"), number("vnet1"))));
        drop(vm);
        watching.until("the VM's port gone", |t| t.link("vnet1").is_none()).await;
        assert_eq!(watching.topology.borrow().station(mac, None), None);
        watching.end().await;
    });
}

#[test]
fn a_silent_neighbour_settles_after_a_while_and_one_without_a_path_at_once() {
    in_namespace(|| async {
        ip("link add in0 type veth peer name in0p");
        ip("link set in0 up");
        ip("link set in0p up");
        ip("addr add 192.0.2.1/24 dev in0");
        let mut watching = Watching::start_from(Topology { settled: set([GATEWAY]), ..Topology::default() });
        let topology = watching.until("in0", |t| t.link("in0").is_some()).await;
        assert_eq!(topology.settled, set([GATEWAY]), "it was settled before");
        let before = std::time::Instant::now();
        watching.wanted.send_replace(set([BACKEND, BACKEND_V6]).into());
        let topology =
            watching.until("the one without a path", |t| t.settled.contains_key(&BACKEND_V6)).await;
        assert_eq!(topology.settled, set([BACKEND_V6]));
        let topology = watching.until("the silent one", |t| t.settled.contains_key(&BACKEND)).await;
        assert_eq!((topology.settled.len(), topology.next_hop(BACKEND)), (2, None));
        assert!(before.elapsed() >= Duration::from_secs(1));
        watching.end().await;
    });
}

/// A process in a network namespace of its own, with one end of a cable.
struct Vm(std::process::Child);

impl Vm {
    fn start(end: &str) -> Self {
        let child = Command::new("unshare").args(["--net", "sleep", "60"]).spawn().unwrap();
        let vm = Self(child);
        let namespace = |pid: u32| std::fs::read_link(format!("/proc/{pid}/task/{pid}/ns/net"));
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while namespace(vm.0.id()).is_ok_and(|theirs| theirs == own) {
            assert!(std::time::Instant::now() < deadline, "no namespace");
            std::thread::yield_now();
        }
        let pid = vm.0.id();
        ip(&format!("link set {end} address 02:00:00:00:01:0b netns {pid}"));
        for command in [
            format!("addr add {BACKEND}/24 dev {end}"),
            format!("addr add {BACKEND_V6}/64 dev {end} nodad"),
            format!("link set {end} up"),
        ] {
            run_command("nsenter", &format!("--net=/proc/{pid}/ns/net ip {command}"));
        }
        vm
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
