//! Real files in a directory of their own.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::inventory::file::parse;
use crate::inventory::guest::model::Told;
use crate::model::family::Family;
use crate::model::meta::NamespacedName;

const DEADLINE: Duration = Duration::from_mins(1);

const WEB: &str = r#"virtualMachines:
  - namespace: shop
    name: web-1
    labels: {app: web}
    interfaces:
      - name: default
        mac: "02:00:00:00:01:0b"
        ipAddress: 192.0.2.11
        ipAddresses: [192.0.2.11]
  - namespace: shop
    name: web-2
    running: false
"#;

/// A provider that runs on a file of a directory of its own.
struct Running {
    directory: PathBuf,
    facts: watch::Receiver<Facts>,
    network: watch::Sender<Arc<Topology>>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(name: &str, text: Option<&str>) -> Self {
        Self::start_with(name, text, &[])
    }

    /// With lease files of these names, which are empty.
    fn start_with(name: &str, text: Option<&str>, leases: &[&str]) -> Self {
        let directory = std::env::temp_dir().join(format!("lb-inventory-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("vms.yaml");
        let leases: Vec<_> = leases.iter().map(|name| directory.join(name)).collect();
        for path in &leases {
            fs::write(path, "").unwrap();
        }
        if let Some(text) = text {
            fs::write(&path, text).unwrap();
        }
        let (network, topology) = watch::channel(Arc::default());
        let provider = Sources::new(Asked { file: Some(path), leases, ..Asked::default() }, topology);
        let facts = provider.facts();
        Self { directory, facts, network, task: tokio::spawn(provider.run()) }
    }

    fn file(&self) -> PathBuf {
        self.directory.join("vms.yaml")
    }

    async fn until(&mut self, condition: impl FnMut(&Facts) -> bool) -> Facts {
        timeout(DEADLINE, self.facts.wait_for(condition)).await.expect("in time").unwrap().clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// As editors do: whole or not at all.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn the_file_is_read_with_its_defaults() {
    let vms = parse(WEB).unwrap().vms;
    let web = &vms[&NamespacedName::new("shop", "web-1")];
    assert!(web.running && web.labels.get("app") == Some("web"));
    assert_eq!(web.station(Family::V4).unwrap().address.to_string(), "192.0.2.11");
    assert!(!vms[&NamespacedName::new("shop", "web-2")].running);
    assert!(parse("virtualMachines: []").unwrap().vms.is_empty());
    assert!(parse("virtualMachines:").unwrap().vms.is_empty());
}

#[test]
fn what_is_as_it_was_is_shared_with_the_facts_before() {
    let declared = parse(WEB).unwrap().vms;
    let completed =
        |told: &AllTold, before: &VirtualMachines| complete(&declared, told, &Sightings::default(), before);
    let as_declared = completed(&AllTold::new(), &VirtualMachines::new());
    assert!(Arc::ptr_eq(&as_declared, &declared), "nobody tells anything");
    let told = AllTold::from([(NamespacedName::new("shop", "web-1"), Told::Off)]);
    let off = completed(&told, &as_declared);
    let shared = |one: &VirtualMachines, other: &VirtualMachines| -> Vec<bool> {
        one.values().zip(other.values()).map(|(one, other)| Arc::ptr_eq(one, other)).collect()
    };
    assert_eq!(shared(&off, &as_declared), [false, true]);
    assert_eq!(shared(&completed(&told, &off), &off), [true, true]);
}

/// The YAML library's own limit refused the 7,353rd VM.
#[test]
fn an_inventory_of_ten_thousand_vms_is_read() {
    let labels: Vec<String> = (0..10).map(|number| format!("l{number}: x")).collect();
    let vm = |number: u32| {
        format!("  - {{namespace: shop, name: web-{number}, labels: {{{}}}}}\n", labels.join(", "))
    };
    let text: String = (0..10_000).map(vm).collect();
    assert_eq!(parse(&format!("virtualMachines:\n{text}")).unwrap().vms.len(), 10_000);
}

#[test]
fn an_error_names_field_line_and_column() {
    for (from, to, expected) in [
        ("labels:", "label:", "line 4, column 5: virtualMachines[0].label: unknown field `label`"),
        ("01:0b", "01", "line 7, column 9: virtualMachines[0].interfaces[0].mac: invalid value"),
        (
            "name: web-2",
            "name: web-1",
            "line 10, column 5: virtualMachines[1]: there is already a VM shop/web-1",
        ),
        ("name: web-2", "name: Web_2", "line 10, column 5: virtualMachines[1].name: \"Web_2\" is not a name"),
        (
            "namespace: shop\n    name: web-2",
            "name: web-2",
            "line 11, column 5: virtualMachines[1]: missing field `namespace`",
        ),
        ("running: false", "running: maybe", "line 12, column 14: virtualMachines[1].running: invalid"),
        ("virtualMachines:", "vms:", "line 1, column 1: vms: unknown field `vms`"),
    ] {
        let error = parse(&WEB.replacen(from, to, 1)).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

/// An agent waited for ever for the first reading of a file without VMs.
#[tokio::test]
async fn the_first_reading_is_told_even_of_a_file_without_vms() {
    let mut running = Running::start("empty", Some("virtualMachines: []\n"));
    timeout(DEADLINE, running.facts.changed()).await.expect("in time").unwrap();
    assert_eq!(*running.facts.borrow(), Facts::default());
}

#[tokio::test]
async fn a_change_is_seen_however_it_is_written() {
    let mut running = Running::start("change", Some(WEB));
    running.until(|facts| facts.vms.len() == 2).await;
    replace(&running.file(), &WEB.replace("192.0.2.11", "192.0.2.12"));
    running
        .until(|facts| {
            facts.vms.values().any(|vm| {
                vm.station(Family::V4).is_some_and(|s| s.address == std::net::IpAddr::from([192, 0, 2, 12]))
            })
        })
        .await;
    fs::write(running.file(), "virtualMachines: []").unwrap();
    let facts = running.until(|facts| facts.vms.is_empty()).await;
    assert_eq!(facts.problem, None);
}

#[tokio::test]
async fn a_vm_without_an_agent_gets_its_address_from_a_lease_or_a_neighbour() {
    let text = "virtualMachines:\n- {namespace: shop, name: web, interfaces: [{mac: '52:54:00:00:00:01'}]}\n";
    let mut running = Running::start_with("sightings", Some(text), &["leases"]);
    let at = |facts: &Facts, address: Option<[u8; 4]>| {
        let vm = facts.vms.values().next().unwrap();
        vm.station(Family::V4).map(|station| station.address) == address.map(Into::into)
    };
    running.until(|facts| facts.vms.len() == 1 && at(facts, None)).await;
    let station = lb_common::net::Mac([0x52, 0x54, 0, 0, 0, 1]);
    running.network.send_modify(|topology| {
        Arc::make_mut(topology).neighbours.insert((2, [192, 0, 2, 7].into()), station);
    });
    running.until(|facts| at(facts, Some([192, 0, 2, 7]))).await;
    fs::write(running.directory.join("leases"), "0 52:54:00:00:00:01 192.0.2.11 * *\n").unwrap();
    running.until(|facts| at(facts, Some([192, 0, 2, 11]))).await;
    fs::write(running.directory.join("leases"), "").unwrap();
    running.until(|facts| at(facts, Some([192, 0, 2, 7]))).await;
    running.network.send_modify(|topology| Arc::make_mut(topology).neighbours.clear());
    running.until(|facts| at(facts, None)).await;
    fs::remove_file(running.directory.join("leases")).unwrap();
    let facts = running.until(|facts| facts.lacking.is_some()).await;
    assert_eq!(facts.problem, None);
    assert!(facts.lacking.unwrap().contains("leases: cannot be read"));
}

#[tokio::test]
async fn a_wrong_file_keeps_the_last_good_facts_and_says_where() {
    let mut running = Running::start("wrong", Some(WEB));
    running.until(|facts| facts.vms.len() == 2).await;
    replace(&running.file(), &WEB.replace("labels:", "label:"));
    let facts = running.until(|facts| facts.problem.is_some()).await;
    assert_eq!(facts.vms.len(), 2);
    let problem = facts.problem.unwrap();
    assert!(problem.contains("vms.yaml: line 4, column 5: virtualMachines[0].label"), "{problem}");
    fs::remove_file(running.file()).unwrap();
    let facts =
        running.until(|facts| facts.problem.as_ref().is_some_and(|p| p.contains("cannot be read"))).await;
    assert_eq!(facts.vms.len(), 2);
    replace(&running.file(), WEB);
    running.until(|facts| facts.problem.is_none()).await;
}

#[tokio::test]
async fn a_file_that_comes_later_is_found() {
    let mut running = Running::start("later", None);
    let facts = running.until(|facts| facts.problem.is_some()).await;
    assert!(facts.vms.is_empty());
    replace(&running.file(), WEB);
    running.until(|facts| facts.problem.is_none() && facts.vms.len() == 2).await;
}

#[tokio::test]
async fn a_directory_that_is_replaced_is_found() {
    let mut running = Running::start("directory", Some(WEB));
    running.until(|facts| facts.vms.len() == 2).await;
    fs::remove_dir_all(&running.directory).unwrap();
    running.until(|facts| facts.problem.is_some()).await;
    fs::create_dir_all(&running.directory).unwrap();
    replace(&running.file(), "virtualMachines: []");
    running.until(|facts| facts.problem.is_none() && facts.vms.is_empty()).await;
    replace(&running.file(), WEB);
    running.until(|facts| facts.vms.len() == 2).await;
}
